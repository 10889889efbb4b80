// A user's expression over named numbers, evaluated by SQLite: "(nll - base_nll) / base_nll".
#ifndef HS_DB_EXPR_H
#define HS_DB_EXPR_H

#include <stdbool.h>
#include <stdint.h>

#include "model/core/err.h"

typedef struct hs_expr hs_expr;

// names: at most 64, ended by NULL. *used: bit i when names[i] is in it. HS_EARG says what is wrong
// with the text, and which names there are. An expression reads nothing else, and gives the same
// for the same numbers.
int hs_expr_open(hs_expr **out, const char *text, const char *const *names,
                 uint64_t *used) HS_MUST_USE;
void hs_expr_close(hs_expr *);
// value: one a name; NaN is NULL to the expression, and so is its result in *out when it is no
// number.
int hs_expr_value(hs_expr *, const double *value, double *out) HS_MUST_USE;

#endif
