// Private to the CPU backend: a packed weight, as panel.c makes it and linear.c multiplies by it.
#ifndef HS_CPU_PANEL_H
#define HS_CPU_PANEL_H

#include "model/cpu/dev.h"

struct hs_weight {
    const hs_kern *kern;
    int64_t n, k; // outputs, inputs
    enum hs_panel_format format;
    int digits, group;     // numbers of a word; numbers that share a scale, 0: no scales
    int64_t words, groups; // rows of words and of scales in a panel
    hs_cpu_block data;     // [panel]: words [words][nr], scale [groups][nr], min [groups][nr]
};

static inline int64_t hs_cpu_panel_count(const hs_weight *w) {
    return (w->n + w->kern->nr - 1) / w->kern->nr;
}

// A panel from column k0 on, which begins a word and a group.
static inline hs_panel hs_cpu_panel(const hs_weight *w, int64_t panel, int64_t k0) {
    const int64_t nr = w->kern->nr;
    const float *base = w->data.p + panel * (w->words + 2 * w->groups) * nr;
    hs_panel p = {.word = (const int32_t *)(const void *)(base + k0 / w->digits * nr)};
    if (!w->group) return p;
    p.group = w->group;
    p.scale = base + (w->words + k0 / w->group) * nr;
    p.min = p.scale + w->groups * nr;
    return p;
}

#endif
