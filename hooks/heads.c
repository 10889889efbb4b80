// Sets of heads; see names.h. The grammar of one part: [L]RANGE, then H or '.', then RANGE, where
// RANGE is '*', N or N-M; "L" goes with "H".
#include "hooks/names.h"

#include <stdlib.h>
#include <string.h>

#include "hooks/names_internal.h"
#include "model/core/mem.h"

static bool read_number(const char **at, int64_t *out) {
    const size_t n = strspn(*at, "0123456789");
    if (n == 0 || n > 6) return false;
    *out = atoi(*at);
    *at += n;
    return true;
}

hs_numbers hs_numbers_read(const char **at, int64_t count) {
    const hs_numbers bad = {0, -1};
    hs_numbers s;
    if (**at == '*') {
        ++*at;
        return (hs_numbers){0, count - 1};
    }
    if (!read_number(at, &s.from)) return bad;
    s.to = s.from;
    if (**at != '-') return s;
    ++*at;
    return !read_number(at, &s.to) || s.to < s.from ? bad : s;
}

static int add_part(hs_heads *set, const char *part, size_t n) {
    const char *at = part;
    const bool lettered = *at == 'L';
    at += lettered;
    const hs_numbers layers = hs_numbers_read(&at, set->n_layer);
    const bool joined = *at == (lettered ? 'H' : '.');
    at += joined;
    const hs_numbers heads = joined ? hs_numbers_read(&at, set->n_head) : (hs_numbers){0, -1};
    if (layers.to < 0 || heads.to < 0 || at != part + n)
        return hs_fail(HS_EARG, "'%.*s' is not a head: write L5H1, 5.1, L0-3H* or L*H0-2", (int)n,
                       part);
    if (layers.to >= set->n_layer || heads.to >= set->n_head)
        return hs_fail(HS_ERANGE, "'%.*s' does not exist: layers are 0 to %d, heads 0 to %d",
                       (int)n, part, set->n_layer - 1, set->n_head - 1);
    for (int64_t l = layers.from; l <= layers.to; l++)
        memset(set->on + (size_t)l * (size_t)set->n_head + heads.from, 1,
               (size_t)(heads.to - heads.from + 1));
    return HS_OK;
}

int hs_heads_parse(hs_heads *out, const hs_dims *dims, const char *sel) {
    *out = (hs_heads){.n_layer = dims->n_layer, .n_head = dims->n_head};
    const size_t count = (size_t)dims->n_layer * (size_t)dims->n_head;
    int rc = hs_alloc(&out->on, count, 1);
    if (rc || !strcmp(sel, "none")) return rc;
    if (!strcmp(sel, "all")) {
        memset(out->on, 1, count);
        return HS_OK;
    }
    for (;;) {
        size_t n = strcspn(sel, ",+");
        rc = add_part(out, sel, n);
        if (rc || !sel[n]) break;
        sel += n + 1;
    }
    if (rc) hs_heads_free(out);
    return rc;
}

void hs_heads_free(hs_heads *s) {
    free(s->on);
    *s = (hs_heads){0};
}

int64_t hs_heads_count(const hs_heads *s) {
    int64_t n = 0;
    for (int64_t i = 0; i < (int64_t)s->n_layer * s->n_head; i++) n += s->on[i];
    return n;
}
