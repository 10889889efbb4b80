// Figures: a page that is kept, and its file; see fig.h.
#include "viz/fig.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "viz/paint.h"
#include "viz/png.h"

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

static int check_path(const char *path) {
    size_t n = strlen(path);
    if (n > 4 && strcasecmp(path + n - 4, ".png") == 0) return HS_OK;
    return hs_fail(HS_EARG, "%s: pictures are written as .png", path);
}

// The texts of a file, at most MOST of them.
enum { MOST_TEXTS = 256 };
typedef struct texts {
    hs_page *page;
    hs_png_text at[MOST_TEXTS];
    int n, rc;
} texts;

static void say(texts *t, const char *key, const char *value) {
    if (t->rc || !value) return;
    if (t->n == MOST_TEXTS)
        t->rc = hs_fail(HS_EARG, "more than %d texts for one picture", MOST_TEXTS);
    else
        t->at[t->n++] = (hs_png_text){key, hs_page_plain(t->page, value)};
}

static int gather(texts *t, const char *const *meta) {
    const hs_page *p = t->page;
    say(t, "Title", p->title);
    say(t, "Description", p->subtitle);
    say(t, "Software", "headscope");
    for (; meta && meta[0]; meta += 2) say(t, meta[0], meta[1]);
    for (int i = 0; i < p->n_fact; i += 2) say(t, p->fact[i], p->fact[i + 1]);
    return t->rc ? t->rc : p->rc;
}

int hs_fig_save(hs_fig *f, const char *const *meta, const char *path) {
    const hs_page *p = f->page;
    texts t = {.page = f->page};
    hs_png png = {.width = p->width, .height = p->height, .dpi = p->style.dpi};
    int rc = check_path(path);
    if (!rc) rc = gather(&t, meta);
    if (!rc) rc = hs_paint(p);
    if (!rc) rc = hs_canvas_pixels(p->canvas, &png.pixel, &png.stride);
    png.text = t.at;
    png.n_text = t.n;
    return rc ? rc : hs_png_write(&png, path);
}
