// What a calibration is worth on items that it was not chosen by; see experiments/calibrate.h.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "analyses/effect.h"
#include "analyses/experiments/calibrate.h"
#include "model/core/mem.h"

const char *const hs_verdicts[] = {
    [HS_VERDICT_NONE] = "none", [HS_VERDICT_HELPS] = "helps", [HS_VERDICT_HARMS] = "harms"};

// Items that have the measure both times, and room for a resample of them.
struct pairs {
    enum hs_measure measure;
    double *before, *after; // [n]
    double *drawn;          // [n]
    int64_t n;
};

static double total(struct pairs *p, const double *value, const int64_t *item, int64_t n) {
    for (int64_t i = 0; i < n; i++) p->drawn[i] = value[item[i]];
    return hs_measure_total(p->measure, p->drawn, 1, n);
}

static double change(void *ctx, const int64_t *item, int64_t n) {
    struct pairs *p = ctx;
    return total(p, p->after, item, n) - total(p, p->before, item, n);
}

static enum hs_verdict verdict_of(const hs_gain *g) {
    const int better = hs_measures[g->measure].better;
    if (!better || g->n < HS_VERDICT_ITEMS || isnan(g->low) || isnan(g->high))
        return HS_VERDICT_NONE;
    const bool more = g->low > 0, less = g->high < 0;
    if (!more && !less) return HS_VERDICT_NONE;
    return more == (better > 0) ? HS_VERDICT_HELPS : HS_VERDICT_HARMS;
}

int hs_gain_of(hs_gain *out, enum hs_measure measure, const double *before, const double *after,
               int64_t ld, int64_t n_item, uint64_t seed) {
    struct pairs p = {.measure = measure};
    *out = (hs_gain){.measure = measure};
    int rc = hs_alloc(&p.before, (size_t)n_item, 3 * sizeof *p.before);
    if (rc) return rc;
    p.after = p.before + n_item;
    p.drawn = p.after + n_item;
    for (int64_t i = 0; i < n_item; i++) {
        if (isnan(before[i * ld]) || isnan(after[i * ld])) continue;
        p.before[p.n] = before[i * ld];
        p.after[p.n++] = after[i * ld];
    }
    out->n = p.n;
    out->baseline = hs_measure_total(measure, p.before, 1, p.n);
    out->calibrated = hs_measure_total(measure, p.after, 1, p.n);
    rc = hs_bootstrap_of(change, &p, p.n, HS_BOOTSTRAP_ROUNDS, seed, HS_BOOTSTRAP_LEVEL, &out->low,
                         &out->high);
    out->verdict = verdict_of(out);
    free(p.before);
    return rc;
}

void hs_gain_text(hs_buf *out, const hs_gain *g) {
    const char *name = hs_measures[g->measure].name;
    const double by = g->calibrated - g->baseline;
    if (g->n < HS_VERDICT_ITEMS)
        hs_buf_printf(out, "no verdict by %" PRId64 " item%s, it takes %d: ", g->n,
                      g->n == 1 ? "" : "s", HS_VERDICT_ITEMS);
    else if (g->verdict == HS_VERDICT_NONE)
        hs_buf_printf(out, "no difference that %" PRId64 " items can show: ", g->n);
    else
        hs_buf_printf(out, "%s: ", hs_verdicts[g->verdict]);
    hs_buf_printf(out, "%s %+.4f", name, by);
    if (!isnan(g->low)) hs_buf_printf(out, " [%+.4f, %+.4f]", g->low, g->high);
    if (g->verdict != HS_VERDICT_NONE) hs_buf_printf(out, " on %" PRId64 " held-out items", g->n);
}
