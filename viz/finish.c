// The finished page: the body moved to its place, heading above, legend and notes below; see
// page.h.
//
//      title, subtitle
//      body
//      legend, notes
#include "viz/page.h"

#include <math.h>

static const double TITLE_LEAST = 330; // a title may use this width above a narrow figure
static const double SWATCH = 9;
enum { MOST_LINES = 8 }; // of the title, the subtitle, a note

void hs_page_part(hs_page *p) {
    p->part = p->n_mark;
}

// Whole pixels, so that exact rectangles stay exact. The points of a line move too.
void hs_page_put(hs_page *p, int dx, int dy) {
    double x = dx / p->px, y = dy / p->px;
    for (int64_t i = p->part; i < p->n_mark; i++) {
        hs_mark *s = &p->mark[i];
        switch (s->kind) {
        case HS_MARK_LABEL:
            s->label.x += x;
            s->label.y += y;
            s->label.box.x += x;
            s->label.box.y += y;
            break;
        case HS_MARK_CELLS:
            s->cells.rect.x += dx;
            s->cells.rect.y += dy;
            break;
        case HS_MARK_LINE: {
            hs_xy *at = hs_page_get(p, s->line.n, sizeof *at);
            for (int64_t k = 0; at && k < s->line.n; k++)
                at[k] = (hs_xy){s->line.at[k].x + x, s->line.at[k].y + y};
            s->line.at = at;
            break;
        }
        case HS_MARK_DOT:
            s->dot.x += x;
            s->dot.y += y;
            break;
        default:
            s->rect.x += dx;
            s->rect.y += dy;
        }
    }
    p->part = 0;
}

static hs_text block(const char *markup, double pt, double width) {
    return (hs_text){.markup = markup, .pt = pt, .width = width, .lines = MOST_LINES};
}

// Returns where the heading ends.
static double heading(hs_page *p, const char *title, const char *subtitle, double width) {
    hs_text big = block(title, HS_TITLE_PT, width), small = block(subtitle, HS_SUBTITLE_PT, width);
    big.bold = true;
    double y = hs_page_block(p, &big, HS_MARGIN, HS_MARGIN, HS_INK_TEXT);
    if (*title && *subtitle) y += 0.5 * HS_GAP;
    y = hs_page_block(p, &small, HS_MARGIN, y, HS_INK_PALE);
    return y > HS_MARGIN ? y + 2.5 * HS_GAP : y;
}

static void sample(hs_page *p, const hs_key *k, double x, double top) {
    hs_rect r = {(int)lround(x * p->px), (int)lround(top * p->px), hs_page_pixels(p, SWATCH),
                 hs_page_pixels(p, SWATCH)};
    double left = r.x / p->px, middle = top + 0.5 * SWATCH;
    if (k->kind == HS_MARK_LINE) {
        hs_xy *at = hs_page_get(p, 2, sizeof *at);
        if (!at) return;
        at[0] = (hs_xy){left, middle};
        at[1] = (hs_xy){left + SWATCH, middle};
        hs_page_polyline(p, at, 2, 1.5, k->ink);
    } else if (k->kind == HS_MARK_DOT) {
        hs_page_dot(p, (hs_dot){left + 0.5 * SWATCH, middle, 2.5}, k->ink);
    } else if (k->kind == HS_MARK_HATCH) {
        hs_page_hatch(p, r, k->ink);
        hs_page_frame(p, r, HS_INK_FRAME);
    } else {
        hs_page_fill(p, r, k->ink);
    }
}

// Entries side by side, as many as the width holds.
static double legend(hs_page *p, double y, double width) {
    double x = HS_MARGIN, lead = SWATCH + HS_GAP, tall = 0;
    for (int i = 0; i < p->n_key; i++) {
        hs_text t = {.markup = p->key[i].text, .pt = HS_NOTE_PT};
        hs_text_box e = hs_page_measure(p, &t);
        if (lead + e.x1 > width) {
            t.width = width - lead;
            t.lines = 1;
            e = hs_page_measure(p, &t);
        }
        if (x > HS_MARGIN && x + lead + e.x1 > HS_MARGIN + width) {
            x = HS_MARGIN;
            y += tall + 0.5 * HS_GAP;
            tall = 0;
        }
        double up = fmax(-e.y0, SWATCH), baseline = y + up;
        sample(p, &p->key[i], x, baseline - 0.36 * HS_NOTE_PT - 0.5 * SWATCH);
        hs_page_label(p, &t, x + lead, baseline, false, HS_INK_PALE);
        tall = fmax(tall, up + fmax(e.y1, 0.25 * HS_NOTE_PT));
        x += lead + e.x1 + 3 * HS_GAP;
    }
    return p->n_key ? y + tall + HS_GAP : y;
}

static void footing(hs_page *p, double y, double width) {
    y = legend(p, y, width);
    for (int i = 0; i < p->n_note; i++) {
        hs_text t = block(p->note[i], HS_NOTE_PT, width);
        y = hs_page_block(p, &t, HS_MARGIN, y, HS_INK_PALE);
    }
}

static int set_size(hs_page *p, double width) {
    hs_box b = hs_page_bounds(p);
    double right = fmax(b.x + b.w, HS_MARGIN + width), bottom = b.y + b.h;
    double w = ceil((right + HS_MARGIN) * p->px), h = ceil((bottom + HS_MARGIN) * p->px);
    if (w > HS_MOST_SIDE || h > HS_MOST_SIDE || w * h > HS_MOST_PIXELS)
        return hs_fail(HS_EARG,
                       "at %g dpi the picture has %.0f x %.0f pixels, more than %d million: give a "
                       "lower resolution",
                       p->style.dpi, w, h, HS_MOST_PIXELS / 1000000);
    p->width = (int)w;
    p->height = (int)h;
    return HS_OK;
}

int hs_page_finish(hs_page *p, const char *title, const char *subtitle) {
    p->title = hs_page_plain(p, title);
    p->subtitle = hs_page_plain(p, subtitle);
    hs_box body = hs_page_bounds(p);
    const char *big = hs_page_line(p, title), *small = hs_page_line(p, subtitle);
    hs_text titles[] = {{.markup = big, .pt = HS_TITLE_PT, .bold = true},
                        {.markup = small, .pt = HS_SUBTITLE_PT}};
    double natural = 1 + fmax(hs_page_measure(p, &titles[0]).x1, hs_page_measure(p, &titles[1]).x1);
    double width = fmax(body.w, fmin(natural, TITLE_LEAST));
    // The heading is drawn first to know its height; the body moves below it, then it moves too.
    int64_t n_body = p->n_mark;
    double top = heading(p, big, small, width);
    int64_t n_all = p->n_mark;
    p->n_mark = n_body;
    hs_page_put(p, (int)ceil((HS_MARGIN - body.x) * p->px), (int)ceil((top - body.y) * p->px));
    p->n_mark = n_all;
    body = hs_page_bounds(p);
    if (p->n_key || p->n_note) footing(p, body.y + body.h + 2.5 * HS_GAP, width);
    return p->rc ? p->rc : set_size(p, width);
}
