// Figures: a page that is kept, and its file; see fig.h.
#include "viz/fig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "model/core/outfile.h"
#include "viz/paint.h"
#include "viz/png.h"
#include "viz/svg.h"

struct hs_fig {
    hs_page *page;
};

int hs_fig_take(hs_fig **out, hs_page *page, int rc) {
    *out = NULL;
    if (!rc) rc = page->rc;
    if (!rc) rc = hs_alloc(out, 1, sizeof **out);
    if (rc)
        hs_page_close(page);
    else
        (*out)->page = page;
    return rc;
}

void hs_fig_close(hs_fig *f) {
    if (!f) return;
    hs_page_close(f->page);
    free(f);
}

const hs_page *hs_fig_page(const hs_fig *f) {
    return f->page;
}

static int choose_output(const char *path, enum hs_output *out) {
    static const char *const ending[] = {
        [HS_OUTPUT_PIXELS] = ".png", [HS_OUTPUT_SVG] = ".svg", [HS_OUTPUT_PDF] = ".pdf"};
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof ending / sizeof *ending; i++)
        if (n > 4 && strcasecmp(path + n - 4, ending[i]) == 0) {
            *out = (enum hs_output)i;
            return HS_OK;
        }
    return hs_fail(HS_EARG, "%s: pictures are written as .png, .svg or .pdf", path);
}

int hs_fig_format(const char *path) {
    enum hs_output output;
    return choose_output(path, &output);
}

// ---- what a file says about itself --------------------------------------------------------------

// Pairs of key, value, at most MOST of them.
enum { MOST_FACTS = 256 };
typedef struct facts {
    hs_page *page;
    const char *at[2 * MOST_FACTS];
    int n, rc;
} facts;

static void say(facts *t, const char *key, const char *value) {
    if (t->rc || !value) return;
    if (t->n == MOST_FACTS) {
        t->rc = hs_fail(HS_EARG, "more than %d texts for one picture", MOST_FACTS);
        return;
    }
    t->at[2 * t->n] = key;
    t->at[2 * t->n + 1] = hs_page_plain(t->page, value);
    t->n++;
}

static int gather(facts *t, const char *const *meta) {
    const hs_page *p = t->page;
    say(t, "Software", "headscope");
    for (; meta && meta[0]; meta += 2) say(t, meta[0], meta[1]);
    for (int i = 0; i < p->n_fact; i += 2) say(t, p->fact[i], p->fact[i + 1]);
    return t->rc ? t->rc : p->rc;
}

// ---- the three kinds of file --------------------------------------------------------------------

static int save_png(const hs_page *p, const facts *t, const char *path) {
    hs_png_text text[MOST_FACTS + 2];
    hs_png png = {.width = p->width, .height = p->height, .dpi = p->style.dpi, .text = text};
    if (p->title) text[png.n_text++] = (hs_png_text){"Title", p->title};
    if (p->subtitle) text[png.n_text++] = (hs_png_text){"Description", p->subtitle};
    for (int i = 0; i < t->n; i++)
        text[png.n_text++] = (hs_png_text){t->at[2 * i], t->at[2 * i + 1]};
    int rc = hs_canvas_pixels(p->canvas, &png.pixel, &png.stride);
    return rc ? rc : hs_png_write(&png, path);
}

static int save_svg(const hs_page *p, const facts *t, const char *path) {
    const hs_svg_about about = {p->title, p->subtitle, t->at, t->n};
    const hs_buf *drawn = NULL;
    hs_buf tidy = {0};
    int rc = hs_canvas_document(p->canvas, NULL, &drawn);
    if (!rc) rc = hs_svg_tidy(&tidy, drawn, &about);
    if (!rc) rc = hs_outfile_write(path, tidy.data, tidy.len);
    hs_buf_free(&tidy);
    return rc;
}

// A PDF has few fields: the facts become its keywords.
static int save_pdf(const hs_page *p, const facts *t, const char *path) {
    const hs_buf *drawn = NULL;
    hs_buf keywords = {0};
    for (int i = 0; i < t->n; i++)
        hs_buf_printf(&keywords, "%s%s: %s", i ? "; " : "", t->at[2 * i], t->at[2 * i + 1]);
    const hs_canvas_about about = {p->title, p->subtitle, hs_buf_text(&keywords)};
    int rc = hs_buf_rc(&keywords);
    if (!rc) rc = hs_canvas_document(p->canvas, &about, &drawn);
    if (!rc) rc = hs_outfile_write(path, drawn->data, drawn->len);
    hs_buf_free(&keywords);
    return rc;
}

int hs_fig_save(hs_fig *f, const char *const *meta, const char *path) {
    typedef int save(const hs_page *, const facts *, const char *);
    static save *const save_as[] = {
        [HS_OUTPUT_PIXELS] = save_png, [HS_OUTPUT_SVG] = save_svg, [HS_OUTPUT_PDF] = save_pdf};
    facts t = {.page = f->page};
    enum hs_output output = HS_OUTPUT_PIXELS;
    int rc = choose_output(path, &output);
    if (!rc) rc = gather(&t, meta);
    if (!rc) rc = hs_paint(f->page, output);
    return rc ? rc : save_as[output](f->page, &t, path);
}
