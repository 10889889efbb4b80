// Drawing a figure: sheet, layout, paint, file; see fig.h.
#include "viz/fig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "viz/label.h"
#include "viz/paint.h"
#include "viz/png.h"

static int check_path(const char *path) {
    size_t n = strlen(path);
    if (n > 4 && strcasecmp(path + n - 4, ".png") == 0) return HS_OK;
    return hs_fail(HS_EARG, "%s: pictures are written as .png", path);
}

// The texts of a file, at most MOST of them; strings live in the arena.
enum { MOST_TEXTS = 256 };
typedef struct texts {
    hs_arena *arena;
    hs_png_text at[MOST_TEXTS];
    int n, rc;
} texts;

static void say(texts *t, const char *key, const char *value) {
    if (t->rc || !value) return;
    if (t->n == MOST_TEXTS) {
        t->rc = hs_fail(HS_EARG, "more than %d texts for one picture", MOST_TEXTS);
        return;
    }
    hs_buf b = {0};
    hs_label_plain(&b, value);
    t->rc = hs_buf_rc(&b);
    t->at[t->n].key = key;
    if (!t->rc) t->rc = hs_arena_str(t->arena, &t->at[t->n].value, hs_buf_text(&b), b.len);
    hs_buf_free(&b);
    t->n++;
}

static void say_number(texts *t, const char *key, double v) {
    char number[32];
    snprintf(number, sizeof number, "%.9g", v);
    say(t, key, number);
}

static int save(const hs_sheet *s, const hs_page *page, hs_canvas *c, const char *title,
                const char *subtitle, const char *const *meta, const char *path) {
    texts t = {.arena = s->arena};
    say(&t, "Title", title);
    say(&t, "Description", subtitle);
    say(&t, "Software", "headscope");
    for (; meta && meta[0]; meta += 2) say(&t, meta[0], meta[1]);
    say(&t, "cmap", s->scale.cmap->name);
    say_number(&t, "vmin", s->scale.lo);
    say_number(&t, "vmax", s->scale.hi);
    if (s->scale.centred) say_number(&t, "centre", 0);
    if (t.rc) return t.rc;
    hs_png png = {
        .width = page->width, .height = page->height, .dpi = s->dpi, .text = t.at, .n_text = t.n};
    int rc = hs_canvas_pixels(c, &png.pixel, &png.stride);
    return rc ? rc : hs_png_write(&png, path);
}

static const hs_fig_style DEFAULT_STYLE = {.lo = 1, .hi = 0};

// What can be refused before any work, and the canvas.
static int begin(const hs_fig_style *style, const char *path, hs_canvas **out) {
    double dpi;
    *out = NULL;
    int rc = check_path(path);
    if (!rc) rc = hs_style_dpi(style, &dpi);
    return rc ? rc : hs_canvas_open(out, dpi);
}

static int finish(hs_sheet *s, hs_canvas *c, const char *title, const char *subtitle,
                  const char *const *meta, const char *path) {
    hs_page page;
    int rc = hs_layout(s, c, &page);
    if (!rc) rc = hs_paint(s, &page, c);
    return rc ? rc : save(s, &page, c, title, subtitle, meta, path);
}

int hs_fig_draw_map(const hs_fig_map *f, const hs_fig_style *style, const char *const *meta,
                    const char *path) {
    hs_canvas *c = NULL;
    hs_sheet *s = NULL;
    if (!style) style = &DEFAULT_STYLE;
    int rc = begin(style, path, &c);
    if (!rc) rc = hs_sheet_map(f, style, &s);
    if (!rc) rc = finish(s, c, f->title, f->subtitle, meta, path);
    hs_sheet_close(s);
    hs_canvas_close(c);
    return rc;
}

int hs_fig_draw_grid(const hs_fig_grid *f, const hs_fig_style *style, const char *const *meta,
                     const char *path) {
    hs_canvas *c = NULL;
    hs_sheet *s = NULL;
    if (!style) style = &DEFAULT_STYLE;
    int rc = begin(style, path, &c);
    if (!rc) rc = hs_sheet_grid(f, style, c, &s);
    if (!rc) rc = finish(s, c, f->title, f->subtitle, meta, path);
    hs_sheet_close(s);
    hs_canvas_close(c);
    return rc;
}
