// Axes of positions; see furniture.h.
//
// Labels and numbers of an axis are two lanes. Each lane is measured and thinned until its
// neighbours stand clear: labels every 1, 2, 5, 10, ... positions, counted from position 0; numbers
// at the same positions or at every 2nd, 5th, ... of them. Labels that are unusually tall (stacked
// accents, some scripts) are set smaller: to a roomy line, or to a tight one before labels are left
// out.
// Cost: O(labels drawn), whatever the number of positions.
#include "viz/furniture.h"

#include <math.h>

static const double LABEL_MAX = 110; // points a label may be long
// Ink of a roomy line above and below the baseline, in sizes; what a tight line keeps of it.
static const double LINE_UP = 0.95, LINE_DOWN = 0.32, TIGHT = 0.84;
static const double CLEAR = 1; // between neighbours of a lane

// One drawn label or number.
typedef struct item {
    int64_t position;
    hs_text text;
    hs_text_box ink;
} item;

typedef struct lane {
    double pt; // all have its baseline, also those that had to be set smaller
    item *at;
    int64_t n, stride;
    double up, down, wide; // largest ink above and below the baseline, and along it
} lane;

typedef struct plan {
    hs_page *p;
    const hs_axis *a;
    lane label, number;
    bool below, turned; // turned: labels read upwards
} plan;

// Points from the start of the axis to the middle of a position.
static double middle(const plan *l, int64_t position) {
    double cells = ((double)(position - l->a->first) + 0.5) / (double)l->a->pool;
    return cells * l->a->cell / l->p->px;
}

static double pitch(const plan *l) {
    return l->a->cell / l->p->px / (double)l->a->pool;
}

// ---- lanes --------------------------------------------------------------------------------------

// The text of one label: measured, ellipsised when long, smaller when taller than a line. `line` is
// 1 for a roomy line, less for a tighter one, in which all of a Latin alphabet without accents fits
// from TIGHT on.
static void set_item(hs_page *p, item *it, const char *bytes, double pt, double line) {
    it->text = (hs_text){.markup = hs_page_token(p, bytes), .pt = pt};
    it->ink = hs_page_measure(p, &it->text);
    double up = LINE_UP * line * pt / fmax(-it->ink.y0, 0.01);
    double down = LINE_DOWN * line * pt / fmax(it->ink.y1, 0.01);
    double shrink = fmin(up, down);
    if (shrink < 1) {
        it->text.pt *= shrink;
        it->ink = hs_page_measure(p, &it->text);
    }
    if (it->ink.x1 - it->ink.x0 > LABEL_MAX) {
        it->text.width = LABEL_MAX;
        it->text.lines = 1;
        it->ink = hs_page_measure(p, &it->text);
    }
}

// Sets every stride-th position; numbers when `label` is NULL.
static void fill_lane(plan *l, lane *out, const char *const *label, double pt, double line) {
    const hs_axis *a = l->a;
    int64_t first = (a->first + out->stride - 1) / out->stride * out->stride;
    int64_t n = (a->first + a->count - first + out->stride - 1) / out->stride;
    *out = (lane){.pt = pt, .stride = out->stride, .n = n > 0 ? n : 0};
    out->at = hs_page_get(l->p, out->n, sizeof *out->at);
    if (!out->at) out->n = 0;
    for (int64_t i = 0; i < out->n; i++) {
        item *it = &out->at[i];
        it->position = first + i * out->stride;
        char number[HS_NUMBER];
        hs_number(number, (double)it->position, 0);
        bool named = label && label[it->position];
        set_item(l->p, it, named ? label[it->position] : number, pt, line);
        out->up = fmax(out->up, -it->ink.y0);
        out->down = fmax(out->down, it->ink.y1);
        out->wide = fmax(out->wide, it->ink.x1 - it->ink.x0);
    }
}

// Thins a lane until neighbours stand clear, across the text or along it: to every base-th
// position, every 2nd of these, and so on.
static void thin_lane(plan *l, lane *out, const char *const *label, double pt, int64_t base,
                      bool along) {
    double step = pitch(l);
    for (int64_t times = 1;; times = hs_round_up(times + 1)) {
        out->stride = base * times;
        double least = along ? 0.5 * pt : 0.9 * pt; // few texts need less: spares the measuring
        if (least > step * (double)out->stride && out->stride < l->a->count) continue;
        for (int tight = 0; tight < 2; tight++) {
            fill_lane(l, out, label, pt, tight ? TIGHT : 1);
            double need = along ? out->wide + 3 * CLEAR : out->up + out->down + CLEAR;
            if (l->p->rc || out->n <= 1 || need <= step * (double)out->stride) return;
        }
    }
}

static void plan_lanes(plan *l) {
    const hs_axis *a = l->a;
    if (!a->label) {
        thin_lane(l, &l->number, NULL, HS_LABEL_PT, 1, l->below);
        return;
    }
    if (l->below && a->count <= HS_MAX_SPAN / HS_LABEL_PT) {
        l->label.stride = 1;
        fill_lane(l, &l->label, a->label, HS_LABEL_PT, 1);
        l->turned = l->label.wide + 3 * CLEAR > pitch(l);
    } else {
        l->turned = l->below;
    }
    if (l->turned || !l->below) thin_lane(l, &l->label, a->label, HS_LABEL_PT, 1, false);
    if (!a->unnumbered) thin_lane(l, &l->number, NULL, HS_NUMBER_PT, l->label.stride, l->below);
}

// ---- places -------------------------------------------------------------------------------------

// Right-aligned: `right` is where the lane ends. Returns where it begins.
static double put_left(plan *l, const lane *from, double right, double top, uint32_t ink) {
    if (!from->n) return right;
    for (int64_t i = 0; i < from->n; i++) {
        const item *it = &from->at[i];
        double y = hs_centred(top + middle(l, it->position), from->pt);
        hs_page_label(l->p, &it->text, right - it->ink.x1, y, false, ink);
    }
    return right - from->wide - HS_GAP;
}

// Returns where the lane ends.
static double put_below(plan *l, const lane *from, double left, double top, bool turned,
                        uint32_t ink) {
    if (!from->n) return top;
    for (int64_t i = 0; i < from->n; i++) {
        const item *it = &from->at[i];
        double x = left + middle(l, it->position);
        if (turned)
            hs_page_label(l->p, &it->text, hs_centred(x, from->pt), top + it->ink.x1, true, ink);
        else
            hs_page_label(l->p, &it->text, x - 0.5 * (it->ink.x0 + it->ink.x1), top + from->up,
                          false, ink);
    }
    return top + (turned ? from->wide : from->up + from->down) + HS_GAP;
}

// Ticks where labels are thinned: they say which cell a label belongs to.
static void put_ticks(plan *l, hs_rect area) {
    const lane *from = l->a->label ? &l->label : &l->number;
    if (from->stride == 1) return;
    for (int64_t i = 0; i < from->n; i++)
        hs_page_tick(l->p, l->below ? HS_SIDE_BELOW : HS_SIDE_LEFT, area,
                     floor(middle(l, from->at[i].position) * l->p->px));
}

void hs_axis_left(hs_page *p, const hs_axis *a, hs_rect area) {
    plan l = {.p = p, .a = a};
    plan_lanes(&l);
    uint32_t beside = a->label ? HS_INK_PALE : HS_INK_TEXT;
    double top = area.y / p->px, x = area.x / p->px - HS_GAP;
    x = put_left(&l, &l.number, x, top, beside);
    put_left(&l, &l.label, x, top, HS_INK_TEXT);
    put_ticks(&l, area);
    hs_side_title(p, HS_SIDE_LEFT, a->title, area);
}

void hs_axis_below(hs_page *p, const hs_axis *a, hs_rect area) {
    plan l = {.p = p, .a = a, .below = true};
    plan_lanes(&l);
    uint32_t beside = a->label ? HS_INK_PALE : HS_INK_TEXT;
    // The gap is more than a label of the last row, half a line high, reaches below its cell.
    double left = area.x / p->px, y = (area.y + area.h) / p->px + HS_GAP;
    y = put_below(&l, &l.number, left, y, false, beside);
    put_below(&l, &l.label, left, y, l.turned, HS_INK_TEXT);
    put_ticks(&l, area);
    hs_side_title(p, HS_SIDE_BELOW, a->title, area);
}
