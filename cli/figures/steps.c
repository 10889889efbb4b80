// Curves through a few whole numbers; see steps.h.
#include "cli/figures/steps.h"

#include <math.h>

int hs_steps_add(hs_steps *s, int line, int64_t x, double value) {
    if (x < 0 || x > s->most) return HS_OK;
    double **y = &s->y[line];
    const int64_t from = *y ? s->at[line] : x;
    if (!*y) {
        int rc = hs_arena_get(s->job->arena, y, (size_t)s->most + 1, sizeof **y);
        if (rc) return rc;
        for (int64_t i = 0; i <= s->most; i++) (*y)[i] = NAN;
    }
    (*y)[x] = value;
    for (int64_t i = from + 1; i < x; i++)
        (*y)[i] = (*y)[from] + (value - (*y)[from]) * (double)(i - from) / (double)(x - from);
    s->at[line] = x;
    return HS_OK;
}

int64_t hs_steps_lines(const hs_steps *s, const char *const *name,
                       hs_fig_line out[HS_STEPS_LINES]) {
    int64_t n = 0;
    for (int i = 0; i < HS_STEPS_LINES; i++) {
        if (!s->y[i]) continue;
        out[n++] = i < HS_STEPS_FIRST
                       ? (hs_fig_line){.y = s->y[i], .faint = true}
                       : (hs_fig_line){.y = s->y[i], .name = name[i - HS_STEPS_FIRST]};
    }
    return n;
}
