// Layout of a figure; see layout.h.
//
//      title, subtitle
//      Query | labels | numbers | cells       | bar | numbers | bar label
//                               | numbers     |
//                               | labels      |
//                               | Key         |
//      legend, notes
//
// Labels and numbers of an axis are two lanes. Each lane is measured and thinned until its
// neighbours stand clear: labels every 1, 2, 5, 10, ... positions, counted from position 0; numbers
// at the same positions or at every 2nd, 5th, ... of them. Labels that are unusually tall (stacked
// accents, some scripts) are set smaller: to a roomy line, or to a tight one before labels are left
// out.
// Cost: O(labels drawn), whatever the number of tokens.
#include "viz/layout.h"

#include <math.h>
#include <string.h>

#include "viz/label.h"

static const double MARGIN = 12, TITLE_PT = 11, SUBTITLE_PT = 8.5, LABEL_PT = 8, NUMBER_PT = 6.5,
                    NOTE_PT = 7.5;
static const double LABEL_MAX = 110;   // points a label may be long
static const double TITLE_LEAST = 330; // a title may use this width above a narrow figure
// Ink of a roomy line above and below the baseline, in sizes; what a tight line keeps of it.
static const double LINE_UP = 0.95, LINE_DOWN = 0.32, TIGHT = 0.84;
static const double CLEAR = 1; // between neighbours of a lane
static const double GAP = 4;   // between lanes
static const double BAR_WIDTH = 10, BAR_GAP = 16, BAR_NUMBER_GAP = 5.5;
static const double BAR_LEAST = 72, BAR_MOST = 220;
static const double SWATCH = 9;

// One drawn label or number of an axis.
typedef struct item {
    int64_t position;
    hs_text text;
    hs_extent ink;
} item;

typedef struct lane {
    item *at;
    int64_t n, stride;
    double up, down, wide; // largest ink above and below the baseline, and along it
} lane;

typedef struct axis_plan {
    lane label, number;
    bool turned; // labels read upwards (x axis only)
} axis_plan;

typedef struct plan {
    hs_sheet *s;
    hs_canvas *c;
    hs_page *page;
    double px; // pixels a point
    axis_plan x, y;
    bool rehearsal; // marks and ticks are only measured, not put on the page
    int rc;         // first failure; later steps do nothing
} plan;

// ---- marks --------------------------------------------------------------------------------------

static hs_box ink_box(const hs_extent *e, double x, double y, bool turned) {
    if (turned) return (hs_box){x + e->y0, y - e->x1, e->y1 - e->y0, e->x1 - e->x0};
    return (hs_box){x + e->x0, y + e->y0, e->x1 - e->x0, e->y1 - e->y0};
}

// Doubles an array of the arena when it is full; false when it cannot.
static bool room(plan *p, void *array, int64_t n, int64_t *cap, size_t size) {
    if (p->rc || n < *cap) return !p->rc;
    int64_t more = *cap ? 2 * *cap : 64;
    void *bigger;
    p->rc = hs_arena_get(p->s->arena, &bigger, (size_t)more, size);
    if (p->rc) return false;
    if (n) memcpy(bigger, *(void **)array, (size_t)n * size);
    *(void **)array = bigger;
    *cap = more;
    return true;
}

static void put(plan *p, const hs_text *t, const hs_extent *e, double x, double y, bool turned,
                enum hs_tint tint) {
    hs_page *g = p->page;
    if (p->rehearsal || !room(p, &g->mark, g->n_mark, &g->cap_mark, sizeof *g->mark)) return;
    g->mark[g->n_mark++] = (hs_mark){*t, x, y, turned, tint, ink_box(e, x, y, turned)};
}

static void put_tick(plan *p, hs_rect r) {
    hs_page *g = p->page;
    if (p->rehearsal || !room(p, &g->tick, g->n_tick, &g->cap_tick, sizeof *g->tick)) return;
    g->tick[g->n_tick++] = r;
}

// ---- lanes --------------------------------------------------------------------------------------

// Points from the start of the axis to the middle of a position.
static double middle(const plan *p, const hs_axis *a, int64_t position) {
    double cells = ((double)(position - a->first) + 0.5) / (double)a->pool;
    return cells * a->cell / p->px;
}

static double pitch(const plan *p, const hs_axis *a) {
    return (double)a->cell / p->px / (double)a->pool;
}

// The text of one label: measured, ellipsised when long, smaller when taller than a line. `line` is
// 1 for a roomy line, less for a tighter one, in which all of a Latin alphabet without accents fits
// from TIGHT on.
static void set_item(plan *p, item *it, const char *bytes, double pt, double line) {
    hs_buf b = {0};
    hs_label_token(&b, bytes);
    p->rc = hs_buf_rc(&b);
    it->text = (hs_text){.pt = pt};
    if (!p->rc) p->rc = hs_arena_str(p->s->arena, &it->text.markup, hs_buf_text(&b), b.len);
    hs_buf_free(&b);
    if (p->rc) return;
    it->ink = hs_canvas_measure(p->c, &it->text);
    double up = LINE_UP * line * pt / fmax(-it->ink.y0, 0.01);
    double down = LINE_DOWN * line * pt / fmax(it->ink.y1, 0.01);
    double shrink = fmin(up, down);
    if (shrink < 1) {
        it->text.pt *= shrink;
        it->ink = hs_canvas_measure(p->c, &it->text);
    }
    if (it->ink.x1 - it->ink.x0 > LABEL_MAX) {
        it->text.width = LABEL_MAX;
        it->text.lines = 1;
        it->ink = hs_canvas_measure(p->c, &it->text);
    }
}

// Sets every stride-th position; numbers when `label` is NULL.
static void fill_lane(plan *p, lane *l, const hs_axis *a, const char *const *label, double pt,
                      double line) {
    int64_t first = (a->first + l->stride - 1) / l->stride * l->stride;
    int64_t n = (a->first + a->count - first + l->stride - 1) / l->stride;
    *l = (lane){.stride = l->stride, .n = n > 0 ? n : 0};
    if (!p->rc) p->rc = hs_arena_get(p->s->arena, &l->at, (size_t)l->n, sizeof *l->at);
    for (int64_t i = 0; i < l->n && !p->rc; i++) {
        item *it = &l->at[i];
        it->position = first + i * l->stride;
        char number[HS_NUMBER];
        hs_number(number, (double)it->position, 0);
        set_item(p, it, label && label[it->position] ? label[it->position] : number, pt, line);
        l->up = fmax(l->up, -it->ink.y0);
        l->down = fmax(l->down, it->ink.y1);
        l->wide = fmax(l->wide, it->ink.x1 - it->ink.x0);
    }
}

// Thins a lane until neighbours stand clear, across the text or along it: to every base-th
// position, every 2nd of these, and so on.
static void thin_lane(plan *p, lane *l, const hs_axis *a, const char *const *label, double pt,
                      int64_t base, bool along) {
    double step = pitch(p, a);
    for (int64_t times = 1;; times = hs_round_up(times + 1)) {
        l->stride = base * times;
        double least = along ? 0.5 * pt : 0.9 * pt; // few texts need less: spares the measuring
        if (least > step * (double)l->stride && l->stride < a->count) continue;
        for (int tight = 0; tight < 2; tight++) {
            fill_lane(p, l, a, label, pt, tight ? TIGHT : 1);
            double need = along ? l->wide + 3 * CLEAR : l->up + l->down + CLEAR;
            if (p->rc || l->n <= 1 || need <= step * (double)l->stride) return;
        }
    }
}

static void plan_axis(plan *p, axis_plan *out, const hs_axis *a, bool is_x) {
    if (!a->label) {
        thin_lane(p, &out->number, a, NULL, LABEL_PT, 1, is_x);
        return;
    }
    if (is_x && a->count <= HS_MAX_SPAN / LABEL_PT) {
        out->label.stride = 1;
        fill_lane(p, &out->label, a, a->label, LABEL_PT, 1);
        out->turned = out->label.wide + 3 * CLEAR > pitch(p, a);
    } else {
        out->turned = is_x;
    }
    if (out->turned || !is_x) thin_lane(p, &out->label, a, a->label, LABEL_PT, 1, false);
    thin_lane(p, &out->number, a, NULL, NUMBER_PT, out->label.stride, is_x);
}

// ---- places -------------------------------------------------------------------------------------

// The baseline that puts small letters and digits in the middle of a cell.
static double centred(double middle, double pt) {
    return middle + 0.36 * pt;
}

// Numbers and labels of the y axis, right-aligned: `right` is where the lane ends.
static void place_y_lane(plan *p, const lane *l, double right, double top, enum hs_tint tint) {
    for (int64_t i = 0; i < l->n; i++) {
        const item *it = &l->at[i];
        double y = top + middle(p, &p->s->y, it->position);
        put(p, &it->text, &it->ink, right - it->ink.x1, centred(y, it->text.pt), false, tint);
    }
}

static void place_x_lane(plan *p, const lane *l, double left, double top, bool turned,
                         enum hs_tint tint) {
    for (int64_t i = 0; i < l->n; i++) {
        const item *it = &l->at[i];
        double x = left + middle(p, &p->s->x, it->position);
        if (turned)
            put(p, &it->text, &it->ink, centred(x, it->text.pt), top + it->ink.x1, true, tint);
        else
            put(p, &it->text, &it->ink, x - 0.5 * (it->ink.x0 + it->ink.x1), top + l->up, false,
                tint);
    }
}

// Ticks where labels are thinned: they say which cell a label belongs to.
static void place_ticks(plan *p, const axis_plan *ap, bool is_x) {
    const hs_axis *a = is_x ? &p->s->x : &p->s->y;
    const lane *l = a->label ? &ap->label : &ap->number;
    hs_rect cells = p->page->cells;
    if (l->stride == 1) return;
    int length = (int)lround(2.5 * p->px), thick = (int)fmax(1, lround(0.6 * p->px));
    for (int64_t i = 0; i < l->n; i++) {
        int at = (int)floor(middle(p, a, l->at[i].position) * p->px) - thick / 2;
        put_tick(p, is_x ? (hs_rect){cells.x + at, cells.y + cells.h + 1, thick, length}
                         : (hs_rect){cells.x - length - 1, cells.y + at, length, thick});
    }
}

static double lane_height(const lane *l) {
    return l->n ? l->up + l->down : 0;
}

// Everything left of the cells; returns where the cells may begin.
static double place_y_axis(plan *p) {
    hs_text title = {.markup = p->s->y.title, .pt = SUBTITLE_PT};
    hs_extent e = hs_canvas_measure(p->c, &title);
    hs_rect cells = p->page->cells;
    double top = cells.y / p->px, height = cells.h / p->px, x = MARGIN;
    put(p, &title, &e, x - e.y0, top + 0.5 * (height + e.x1), true, HS_TINT_PALE);
    x += e.y1 - e.y0 + GAP;
    if (p->y.label.n) {
        x += p->y.label.wide + GAP;
        place_y_lane(p, &p->y.label, x - GAP, top, HS_TINT_TEXT);
    }
    x += p->y.number.wide + GAP;
    enum hs_tint tint = p->y.label.n ? HS_TINT_PALE : HS_TINT_TEXT;
    place_y_lane(p, &p->y.number, x - GAP, top, tint);
    return x;
}

// Everything right below the cells; returns where it ends.
static double place_x_axis(plan *p) {
    hs_rect cells = p->page->cells;
    double left = cells.x / p->px, width = cells.w / p->px, y = (cells.y + cells.h) / p->px;
    y += GAP; // more than a label of the last row, half a line high, reaches below its cell
    place_x_lane(p, &p->x.number, left, y, false, p->x.label.n ? HS_TINT_PALE : HS_TINT_TEXT);
    y += lane_height(&p->x.number) + GAP;
    if (p->x.label.n) {
        place_x_lane(p, &p->x.label, left, y, p->x.turned, HS_TINT_TEXT);
        y += (p->x.turned ? p->x.label.wide : lane_height(&p->x.label)) + GAP;
    }
    hs_text title = {.markup = p->s->x.title, .pt = SUBTITLE_PT};
    hs_extent e = hs_canvas_measure(p->c, &title);
    put(p, &title, &e, left + 0.5 * (width - e.x1), y - e.y0, false, HS_TINT_PALE);
    return y + e.y1 - e.y0;
}

typedef struct bar_plan {
    double height, wide; // of the bar, of its numbers; points
    double tick[16];
    int n;
    item number[16];
    hs_text label;
    hs_extent ink; // of the label
} bar_plan;

static void plan_bar(plan *p, bar_plan *b) {
    const hs_scale *scale = &p->s->scale;
    double map = p->s->y.cell * (double)p->s->y.n / p->px;
    b->height = fmin(fmax(map, BAR_LEAST), BAR_MOST);
    b->label = (hs_text){.markup = p->s->bar_label, .pt = SUBTITLE_PT};
    b->ink = hs_canvas_measure(p->c, &b->label);
    b->height = fmin(fmax(b->height, b->ink.x1), BAR_MOST);
    if (b->ink.x1 > b->height) {
        b->label.width = b->height;
        b->label.lines = 1;
        b->ink = hs_canvas_measure(p->c, &b->label);
    }
    double step;
    b->n = hs_ticks(scale->lo, scale->hi, (int)(b->height / 24) + 1, b->tick, &step);
    for (int i = 0; i < b->n && !p->rc; i++) {
        char number[HS_NUMBER];
        hs_number(number, b->tick[i], hs_decimals(step));
        set_item(p, &b->number[i], number, LABEL_PT, 1);
        b->wide = fmax(b->wide, b->number[i].ink.x1);
    }
}

static double bar_gap(const plan *p) {
    return fmax(BAR_GAP, 0.5 * p->x.number.wide + GAP);
}

// The colour bar and its numbers, right of the cells; returns its right edge, *bottom its end.
static double place_bar(plan *p, const bar_plan *b, double *bottom) {
    hs_rect cells = p->page->cells;
    const hs_scale *scale = &p->s->scale;
    hs_rect bar = {.x = (int)ceil((cells.x + cells.w) + bar_gap(p) * p->px),
                   .y = cells.y,
                   .w = (int)lround(BAR_WIDTH * p->px),
                   .h = (int)lround(b->height * p->px)};
    p->page->bar = bar;
    double x = (bar.x + bar.w) / p->px + BAR_NUMBER_GAP;
    int length = (int)lround(2.5 * p->px), thick = (int)fmax(1, lround(0.6 * p->px));
    for (int i = 0; i < b->n; i++) {
        double up = (b->tick[i] - scale->lo) / (scale->hi - scale->lo);
        double y = bar.y + (1 - up) * (bar.h - 1);
        put_tick(p, (hs_rect){bar.x + bar.w + 1, (int)lround(y) - thick / 2, length, thick});
        const item *it = &b->number[i];
        put(p, &it->text, &it->ink, x, centred(y / p->px, it->text.pt), false, HS_TINT_TEXT);
    }
    x += b->wide;
    *bottom = (bar.y + bar.h) / p->px + GAP;
    if (b->ink.x1 <= 0) return x;
    x += GAP;
    double middle_y = (bar.y + 0.5 * bar.h) / p->px;
    put(p, &b->label, &b->ink, x - b->ink.y0, middle_y + 0.5 * b->ink.x1, true, HS_TINT_PALE);
    return x + b->ink.y1 - b->ink.y0;
}

// A block of text that starts at `top`; returns where it ends.
static double place_block(plan *p, const char *markup, double pt, bool bold, double x, double top,
                          double width, enum hs_tint tint) {
    if (!*markup) return top;
    hs_text t = {.markup = markup, .pt = pt, .bold = bold, .width = width, .lines = 4};
    hs_extent e = hs_canvas_measure(p->c, &t);
    put(p, &t, &e, x, top - e.y0, false, tint);
    return top + fmax(e.height, e.y1 - e.y0);
}

static double place_heading(plan *p, double width) {
    double y = place_block(p, p->s->title, TITLE_PT, true, MARGIN, MARGIN, width, HS_TINT_TEXT);
    if (*p->s->title && *p->s->subtitle) y += 0.5 * GAP;
    y = place_block(p, p->s->subtitle, SUBTITLE_PT, false, MARGIN, y, width, HS_TINT_PALE);
    return y > MARGIN ? y + 2.5 * GAP : y + GAP;
}

// The legend and the notes under the figure; returns where they end.
static double place_footing(plan *p, double y, double width) {
    if (!p->s->hatched && !p->s->n_note) return y;
    y += 2.5 * GAP;
    if (p->s->hatched) {
        p->page->legend = (hs_rect){(int)lround(MARGIN * p->px), (int)lround(y * p->px),
                                    (int)lround(SWATCH * p->px), (int)lround(SWATCH * p->px)};
        y = place_block(p, "undefined for this head", NOTE_PT, false, MARGIN + SWATCH + GAP, y,
                        width - SWATCH - GAP, HS_TINT_PALE);
        y += GAP;
    }
    for (int i = 0; i < p->s->n_note; i++)
        y = place_block(p, p->s->note[i], NOTE_PT, false, MARGIN, y, width, HS_TINT_PALE);
    return y;
}

// ---- values in cells ----------------------------------------------------------------------------

// Relative luminance, sRGB.
static double luminance(uint32_t rgb) {
    static const double weight[] = {0.2126, 0.7152, 0.0722};
    double sum = 0;
    for (int i = 0; i < 3; i++) {
        double c = (rgb >> (16 - 8 * i) & 0xff) / 255.0;
        sum += weight[i] * (c <= 0.04045 ? c / 12.92 : pow((c + 0.055) / 1.055, 2.4));
    }
    return sum;
}

static void place_values(plan *p) {
    const hs_sheet *s = p->s;
    hs_rect cells = p->page->cells;
    for (int64_t i = 0; s->value && i < s->x.n * s->y.n; i++) {
        if (!s->value[i]) continue;
        double x = (cells.x + ((double)(i % s->x.n) + 0.5) * s->x.cell) / p->px;
        double y = (cells.y + ((double)(i / s->x.n) + 0.5) * s->y.cell) / p->px;
        hs_text t = {.markup = s->value[i], .pt = s->value_pt};
        hs_extent e = hs_canvas_measure(p->c, &t);
        bool light = luminance(s->colour[i]) > 0.2;
        put(p, &t, &e, x - 0.5 * (e.x0 + e.x1), centred(y, t.pt), false,
            light ? HS_TINT_ON_LIGHT : HS_TINT_ON_DARK);
    }
}

// ---- page ---------------------------------------------------------------------------------------

static int page_size(plan *p, double width, double height) {
    double w = ceil(width * p->px), h = ceil(height * p->px);
    if (w > HS_MOST_SIDE || h > HS_MOST_SIDE || w * h > HS_MOST_PIXELS)
        return hs_fail(HS_EARG,
                       "at %g dpi the picture has %.0f x %.0f pixels, more than %d "
                       "million: give a lower resolution",
                       p->s->dpi, w, h, HS_MOST_PIXELS / 1000000);
    p->page->width = (int)w;
    p->page->height = (int)h;
    return HS_OK;
}

int hs_layout(hs_sheet *s, hs_canvas *c, hs_page *page) {
    *page = (hs_page){0};
    plan p = {.s = s, .c = c, .page = page, .px = s->dpi / 72};
    bar_plan bar = {0};
    plan_axis(&p, &p.x, &s->x, true);
    plan_axis(&p, &p.y, &s->y, false);
    plan_bar(&p, &bar);
    if (p.rc) return p.rc;

    // Widths come first, because the heading is broken into lines at them.
    p.rehearsal = true;
    double bar_bottom;
    page->cells = (hs_rect){.w = s->x.cell * (int)s->x.n, .h = s->y.cell * (int)s->y.n};
    page->cells.x = (int)ceil(place_y_axis(&p) * p.px);
    double right = place_bar(&p, &bar, &bar_bottom);
    hs_text title = {.markup = s->title, .pt = TITLE_PT, .bold = true};
    hs_text subtitle = {.markup = s->subtitle, .pt = SUBTITLE_PT};
    double natural = fmax(hs_canvas_measure(c, &title).x1, hs_canvas_measure(c, &subtitle).x1) + 1;
    double width = fmax(right - MARGIN, fmin(natural, TITLE_LEAST));
    page->cells.y = (int)ceil(place_heading(&p, width) * p.px);

    p.rehearsal = false;
    place_heading(&p, width);
    place_y_axis(&p);
    place_bar(&p, &bar, &bar_bottom);
    double bottom = fmax(place_x_axis(&p), bar_bottom);
    place_ticks(&p, &p.x, true);
    place_ticks(&p, &p.y, false);
    place_values(&p);
    bottom = place_footing(&p, bottom, width);
    return p.rc ? p.rc : page_size(&p, width + 2 * MARGIN, bottom + MARGIN);
}
