// What tests of figures share: awkward labels, maps as callbacks, what holds for every page.
#ifndef HS_TESTS_VIZ_COMMON_H
#define HS_TESTS_VIZ_COMMON_H

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "viz/label.h"
#include "viz/page.h"

static const char *const awkward[] = {
    "<|im_start|>",
    "The",
    " quick",
    "\n",
    " السلام",
    " 日本語",
    " नमस्ते",
    "\xe2\x82",
    " 🙂",
    "   ",
    "supercalifragilisticexpialidociousness and more of it than any page has room for",
    "fg|Âjy",
    "z\u0310\u0310\u0310\u0310\u0310\u0310\u0310\u0329\u0329\u0329\u0329\u0329",
    "",
    "é",
    "한국어",
    " internationalization",
    " & <b>",
    "\u200d",
    "עברית",
    "i",
    "W",
    "།",
    "ཧཱུྃ",
};
enum { AWKWARD = sizeof awkward / sizeof *awkward };

static inline const char **awkward_labels(int64_t n, int shift) {
    const char **label = calloc((size_t)n, sizeof *label);
    for (int64_t i = 0; i < n; i++) label[i] = awkward[(i * 7 + i / AWKWARD + shift) % AWKWARD];
    return label;
}

// Maps that lie in memory, one after another. Rows must be asked for once each, in order.
typedef struct matrices {
    const float *at; // NULL: all 0
    int64_t n_q, n_k, asked;
} matrices;

static inline int matrix_row(void *ctx, int64_t m, int64_t i, float *out) {
    matrices *w = ctx;
    assert_int_equal(m * w->n_q + i, w->asked++);
    if (w->at)
        memcpy(out, w->at + (m * w->n_q + i) * w->n_k, (size_t)w->n_k * sizeof *out);
    else
        memset(out, 0, (size_t)w->n_k * sizeof *out);
    return HS_OK;
}

// Rows of zeroes; ctx holds n_k.
static inline int zero_row(void *ctx, int64_t m, int64_t i, float *out) {
    (void)m, (void)i;
    memset(out, 0, (size_t) * (const int64_t *)ctx * sizeof *out);
    return HS_OK;
}

// The n-th shape of a kind.
static inline const hs_mark *nth(const hs_page *p, enum hs_mark_kind kind, int n) {
    for (int64_t i = 0; i < p->n_mark; i++)
        if (p->mark[i].kind == kind && n-- == 0) return &p->mark[i];
    fail_msg("the page has too few shapes of kind %d", (int)kind);
    return NULL;
}

// The label whose markup is `text`; NULL when there is none.
static inline const hs_label *find_label(const hs_page *p, const char *text) {
    for (int64_t i = 0; i < p->n_mark; i++)
        if (p->mark[i].kind == HS_MARK_LABEL && strcmp(p->mark[i].label.text.markup, text) == 0)
            return &p->mark[i].label;
    return NULL;
}

static inline hs_box rect_box(const hs_page *p, hs_rect r) {
    return (hs_box){r.x / p->px, r.y / p->px, r.w / p->px, r.h / p->px};
}

// Whether two boxes are nearer than `clear` points.
static inline bool meet(hs_box a, hs_box b, double clear) {
    return a.x < b.x + b.w + clear && b.x < a.x + a.w + clear && a.y < b.y + b.h + clear &&
           b.y < a.y + a.h + clear;
}

static inline bool inside(hs_box a, hs_box b) {
    const double eps = 1e-9;
    return a.x >= b.x - eps && a.y >= b.y - eps && a.x + a.w <= b.x + b.w + eps &&
           a.y + a.h <= b.y + b.h + eps;
}

// The cell of a grid that holds the middle of a box.
static inline hs_box cell_around(const hs_page *p, const hs_cells *c, hs_box b) {
    double w = c->w / p->px, h = c->h / p->px;
    hs_box all = rect_box(p, c->rect);
    double left = all.x + floor((b.x + 0.5 * b.w - all.x) / w) * w;
    double top = all.y + floor((b.y + 0.5 * b.h - all.y) / h) * h;
    return (hs_box){left, top, w, h};
}

static inline bool printed_on(const hs_page *p, const hs_cells *c, hs_box b) {
    return meet(b, rect_box(p, c->rect), 0);
}

// No text outside the page, none on another; one that meets a ground lies wholly on it, and one
// that meets cells in a single cell. Ticks, bars and frames are grounds too small to hold text.
static inline void check_page(const hs_page *p) {
    double edge = HS_MARGIN - 2, w = p->width / p->px, h = p->height / p->px;
    hs_box page = {edge, edge, w - 2 * edge, h - 2 * edge};
    for (int64_t i = 0; i < p->n_mark; i++) {
        const hs_mark *s = &p->mark[i];
        if (s->kind == HS_MARK_CELLS) assert_true(inside(rect_box(p, s->cells.rect), page));
        if (s->kind != HS_MARK_LABEL || s->label.box.w == 0) continue;
        hs_box b = s->label.box;
        if (!inside(b, page)) fail_msg("'%s' leaves the page", s->label.text.markup);
        for (int64_t k = 0; k < p->n_mark; k++) {
            const hs_mark *o = &p->mark[k];
            if (o->kind == HS_MARK_LABEL) {
                if (k < i && o->label.box.w && meet(b, o->label.box, 0.5))
                    fail_msg("'%s' lies on '%s'", s->label.text.markup, o->label.text.markup);
            } else if (o->kind == HS_MARK_CELLS) {
                if (!meet(b, rect_box(p, o->cells.rect), 0.9)) continue;
                assert_true(inside(b, cell_around(p, &o->cells, b)));
            } else if (o->kind == HS_MARK_FILL || o->kind == HS_MARK_HATCH ||
                       o->kind == HS_MARK_FRAME) {
                hs_box r = rect_box(p, o->rect);
                assert_true(!meet(b, r, 0) || inside(b, r));
            }
        }
    }
}

// ---- a folder for one test

static char folder[64];

static inline const char *path_of(const char *name) {
    static char path[2][512];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static inline int setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/hs-viz-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static inline int entries(bool delete) {
    DIR *d = opendir(folder);
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        n += e->d_name[0] != '.';
        if (delete &&e->d_name[0] != '.') remove(path_of(e->d_name));
    }
    if (d) closedir(d);
    return n;
}

static inline int teardown(void **state) {
    (void)state;
    entries(true);
    return rmdir(folder);
}

#endif
