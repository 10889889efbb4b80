// Sets of positions as users write them: positions "3" and "-1" (from the end), ranges "3:10",
// ":4", "-5:", and named spans, joined by '+'; "all" is every position, decoded ones too. "12?" and
// "NAME?" are there in prompts that have them, and nothing in the others.
#ifndef HS_HOOKS_PLACES_H
#define HS_HOOKS_PLACES_H

#include <stdbool.h>
#include <stdint.h>

#include "model/core/err.h"

// A named range of positions, half open: "--span NAME=A:B", or a prompt's own.
typedef struct hs_span {
    const char *name;
    int64_t from, to;
} hs_span;

typedef struct hs_spans {
    const hs_span *at; // borrowed
    int n;
} hs_spans;

typedef struct hs_range {
    int64_t from, to; // half open
} hs_range;

// The ranges of one set in one prompt. Zero-initialise; resolved again it keeps its memory.
typedef struct hs_places {
    bool all;
    hs_range *at; // owned
    int n;
} hs_places;

// HS_EARG for what is neither a position nor a range nor could name a span.
int hs_places_check(const char *text) HS_MUST_USE;
// Positions of a prompt of n_token tokens. HS_ERANGE for one that it does not have and for ranges
// without a position, HS_ENOTFOUND for a span without that name (the message lists the names). Of
// spans of one name the prompt's own is meant, then that of --span; END is the last position unless
// one of them says otherwise.
int hs_places_resolve(hs_places *out, const char *text, int64_t n_token, hs_spans own,
                      hs_spans given) HS_MUST_USE;
void hs_places_free(hs_places *);
bool hs_places_has(const hs_places *, int64_t pos);
// One more than the last of them; INT64_MAX of "all".
int64_t hs_places_end(const hs_places *);
static inline bool hs_places_none(const hs_places *p) {
    return !p->all && !p->n;
}

#endif
