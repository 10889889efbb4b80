// Rulers of values; see furniture.h.
#include "viz/furniture.h"

#include <math.h>

static const double TICK = 2.5, TICK_THICK = 0.6, NUMBER_GAP = 5.5;
static const double ROOM_UPRIGHT = 24, ROOM_LEVEL = 40; // points a number gets, about
static const double TITLE_LEAST = 60; // a title may be longer than a side that is shorter
enum { MOST_TICKS = 16 };

typedef struct marks {
    int n;
    double at[MOST_TICKS];
    hs_text number[MOST_TICKS];
    hs_text_box ink[MOST_TICKS];
    double wide, up, down;
} marks;

double hs_ruler_at(const hs_ruler *r, enum hs_side side, hs_rect area, double v) {
    double along = (v - r->lo) / (r->hi - r->lo);
    return side == HS_SIDE_BELOW ? along * (area.w - 1) : (1 - along) * (area.h - 1);
}

static void set_marks(hs_page *p, const hs_ruler *r, int most, marks *m) {
    double step;
    *m = (marks){0};
    m->n = hs_ticks(r->lo, r->hi, most, m->at, &step);
    for (int i = 0; i < m->n; i++) {
        char number[HS_NUMBER];
        hs_number(number, m->at[i], hs_decimals(step));
        m->number[i] = (hs_text){.markup = hs_page_line(p, number), .pt = HS_LABEL_PT};
        m->ink[i] = hs_page_measure(p, &m->number[i]);
        m->wide = fmax(m->wide, m->ink[i].x1);
        m->up = fmax(m->up, -m->ink[i].y0);
        m->down = fmax(m->down, m->ink[i].y1);
    }
}

// As many numbers as stand clear of each other.
static void plan(hs_page *p, const hs_ruler *r, enum hs_side side, hs_rect area, marks *m) {
    bool level = side == HS_SIDE_BELOW;
    double span = (level ? area.w : area.h) / p->px;
    int most = (int)fmin(span / (level ? ROOM_LEVEL : ROOM_UPRIGHT), MOST_TICKS - 2) + 1;
    do {
        set_marks(p, r, most, m);
        double need = HS_GAP + (level ? m->wide : m->up + m->down), apart = INFINITY;
        if (m->n > 1)
            apart = fabs(hs_ruler_at(r, side, area, m->at[1]) -
                         hs_ruler_at(r, side, area, m->at[0])) /
                    p->px;
        if (apart >= need) return;
    } while (--most >= 2);
    m->n = m->n > 0; // no room for two
}

void hs_page_tick(hs_page *p, enum hs_side side, hs_rect area, double at) {
    int length = hs_page_pixels(p, TICK), thick = hs_page_pixels(p, TICK_THICK);
    int off = (int)lround(at) - thick / 2;
    if (length + 1 >= HS_GAP * p->px) return;
    hs_rect tick = side == HS_SIDE_BELOW
                       ? (hs_rect){area.x + off, area.y + area.h + 1, thick, length}
                       : (hs_rect){side == HS_SIDE_RIGHT ? area.x + area.w + 1
                                                         : area.x - length - 1,
                                   area.y + off, length, thick};
    hs_page_fill(p, tick, HS_INK_FRAME);
}

static void put_rule(hs_page *p, enum hs_side side, hs_rect area, double at) {
    int thick = hs_page_pixels(p, TICK_THICK), off = (int)lround(at) - thick / 2;
    hs_page_fill(p,
                 side == HS_SIDE_BELOW ? (hs_rect){area.x + off, area.y, thick, area.h}
                                       : (hs_rect){area.x, area.y + off, area.w, thick},
                 HS_INK_RULE);
}

static void put_number(hs_page *p, enum hs_side side, hs_rect area, double at, const marks *m,
                       int i) {
    double left = area.x / p->px, right = left + area.w / p->px;
    double top = area.y / p->px, bottom = top + area.h / p->px;
    const hs_text_box *e = &m->ink[i];
    double x = side == HS_SIDE_RIGHT  ? right + NUMBER_GAP
               : side == HS_SIDE_LEFT ? left - NUMBER_GAP - e->x1
                                      : left + at / p->px - 0.5 * (e->x0 + e->x1);
    double y = side == HS_SIDE_BELOW ? bottom + NUMBER_GAP + m->up
                                     : hs_centred(top + at / p->px, HS_LABEL_PT);
    hs_page_label(p, &m->number[i], x, y, false, HS_INK_TEXT);
}

void hs_side_title(hs_page *p, enum hs_side side, const char *bytes, hs_rect area) {
    double left = area.x / p->px, top = area.y / p->px, w = area.w / p->px, h = area.h / p->px;
    double room = side == HS_SIDE_BELOW ? w : h;
    hs_text t = {.markup = hs_page_line(p, bytes), .pt = HS_SUBTITLE_PT};
    hs_text_box e = hs_page_measure(p, &t);
    if (e.x1 <= 0) return;
    if (e.x1 > fmax(room, TITLE_LEAST)) {
        t.width = fmax(room, TITLE_LEAST);
        t.lines = 1;
        e = hs_page_measure(p, &t);
    }
    hs_box drawn = hs_page_bounds(p);
    double across = left + 0.5 * (w - e.x1), up = top + 0.5 * (h + e.x1);
    if (side == HS_SIDE_RIGHT)
        hs_page_label(p, &t, drawn.x + drawn.w + HS_GAP - e.y0, up, true, HS_INK_PALE);
    else if (side == HS_SIDE_LEFT)
        hs_page_label(p, &t, drawn.x - HS_GAP - e.y1, up, true, HS_INK_PALE);
    else
        hs_page_label(p, &t, across, drawn.y + drawn.h + HS_GAP - e.y0, false, HS_INK_PALE);
}

void hs_page_ruler(hs_page *p, const hs_ruler *r, enum hs_side side, hs_rect area) {
    marks m;
    plan(p, r, side, area, &m);
    for (int i = 0; i < m.n; i++) {
        double at = hs_ruler_at(r, side, area, m.at[i]);
        if (r->rules) put_rule(p, side, area, at);
        hs_page_tick(p, side, area, at);
        put_number(p, side, area, at, &m, i);
    }
    hs_side_title(p, side, r->title, area);
}
