// Repeats; see repeats.h. The unknown period is the smallest one of the string, from the failure
// function of Knuth, Morris and Pratt: O(T).
#include "analyses/repeats.h"

#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

// The smallest period of x[0..n) that leaves two whole copies, 0 when there is none.
static int64_t smallest_period(const int32_t *x, int64_t n, int64_t *border) {
    for (int64_t i = 1, k = 0; i < n; i++) {
        while (k > 0 && x[i] != x[k]) k = border[k - 1];
        if (x[i] == x[k]) k++;
        border[i] = k;
    }
    if (n < 2) return 0;
    const int64_t period = n - border[n - 1];
    return 2 * period <= n ? period : 0;
}

static int look_for_period(hs_repeats *r, const int32_t *x, int64_t n, int64_t bos_len) {
    int64_t *border;
    int rc = hs_alloc(&border, (size_t)n, sizeof *border);
    if (rc) return rc;
    const int64_t last = bos_len > 0 ? bos_len : 1;
    for (int64_t start = bos_len; start <= last && start < n && !r->period; start++) {
        memset(border, 0, (size_t)n * sizeof *border);
        r->period = smallest_period(x + start, n - start, border);
        r->start = start;
    }
    free(border);
    return HS_OK;
}

// Follows a stated period from the end back to where it stops holding.
static void check_period(hs_repeats *r, const int32_t *x, int64_t n, int64_t bos_len, int64_t k) {
    int64_t i = n;
    while (i - 1 - k >= bos_len && x[i - 1] == x[i - 1 - k]) i--;
    r->start = i - k;
    r->period = r->start >= bos_len && r->start + 2 * k <= n ? k : 0;
}

struct place {
    int32_t token;
    int64_t at;
};

static int by_token(const void *a, const void *b) {
    const struct place *p = a, *q = b;
    if (p->token != q->token) return p->token < q->token ? -1 : 1;
    return (p->at > q->at) - (p->at < q->at);
}

// Links of a prompt without a period: the latest earlier place of each token, by a sorted index.
static int link_equal(int64_t *earlier, const int32_t *x, int64_t n, int64_t from) {
    struct place *place;
    int rc = hs_alloc(&place, (size_t)n, sizeof *place);
    if (rc) return rc;
    for (int64_t i = 0; i < n; i++) place[i] = (struct place){x[i], i};
    qsort(place + from, (size_t)(n - from), sizeof *place, by_token);
    for (int64_t i = from + 1; i < n; i++)
        if (place[i].token == place[i - 1].token) earlier[place[i].at] = place[i - 1].at;
    free(place);
    return HS_OK;
}

int hs_repeats_open(hs_repeats *out, const hs_subject *s) {
    const int32_t *x = s->tokens;
    const int64_t n = s->n_token, from = s->bos_len < n ? s->bos_len : n;
    *out = (hs_repeats){0};
    int rc = hs_alloc(&out->earlier, (size_t)n, sizeof *out->earlier);
    if (rc) return rc;
    for (int64_t i = 0; i < n; i++) out->earlier[i] = -1;
    if (s->period > 0 && s->period < n) check_period(out, x, n, from, s->period);
    if (s->period <= 0) rc = look_for_period(out, x, n, from);
    if (!rc && !out->period) rc = link_equal(out->earlier, x, n, from);
    for (int64_t i = out->start + out->period; i < n && out->period; i++)
        out->earlier[i] = i - out->period;
    for (int64_t i = 0; i < n; i++) out->n_with += out->earlier[i] >= 0;
    if (rc) hs_repeats_close(out);
    return rc;
}

void hs_repeats_close(hs_repeats *r) {
    free(r->earlier);
    *r = (hs_repeats){0};
}
