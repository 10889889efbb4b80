// Named parameters, "NAME:k=v,k=v": one table describes them, from which come parsing, checking,
// defaults, --help and what is stored with a run. Used by observers, data sets, interventions.
#ifndef HS_CORE_PARAM_H
#define HS_CORE_PARAM_H

#include <stdbool.h>
#include <stdint.h>

#include "model/core/buf.h"
#include "model/core/err.h"

enum hs_param_type { HS_PARAM_INT, HS_PARAM_NUM, HS_PARAM_TEXT, HS_PARAM_ENUM };

typedef struct hs_param {
    const char *name;
    enum hs_param_type type;
    const char *fallback; // as the user would write it
    double min, max;      // INT and NUM; min > max: unbounded
    const char *choices;  // ENUM: "alphaN|abs"
    const char *unit, *help;
} hs_param; // a table ends with name NULL

enum { HS_ARGS_MAX = 16 };

// Values in the order of the table; text is kept as written.
typedef struct hs_args {
    const hs_param *params; // NULL: no parameters
    union {
        int64_t i;
        double f;
        const char *s; // points into `text`
    } v[HS_ARGS_MAX];
    bool given[HS_ARGS_MAX]; // not a default
    hs_buf text;
} hs_args;

// A spec is "NAME" or "NAME:k=v,...": the length of NAME, and what follows the first ':' ("" when
// there is none; borrowed).
size_t hs_spec_name(const char *spec);
const char *hs_spec_args(const char *spec);

// Reads "k=v,k=v" (may be empty) against params; what is not given takes its default. Unknown or
// repeated keys, bad numbers and values outside the range are HS_EARG, the message says what is
// allowed. Free with hs_args_free, also after a failure.
int hs_args_parse(hs_args *out, const hs_param *params, const char *text) HS_MUST_USE;
void hs_args_free(hs_args *);
int64_t hs_args_int(const hs_args *, const char *name); // asserts that the name exists
double hs_args_num(const hs_args *, const char *name);
const char *hs_args_text(const hs_args *, const char *name); // TEXT and ENUM
bool hs_args_given(const hs_args *, const char *name);
// Whether "a|b|c" has the value.
bool hs_choices_have(const char *choices, const char *value);
// All values as a JSON object, defaults included, in table order.
void hs_args_json(const hs_args *, hs_buf *out);

#endif
