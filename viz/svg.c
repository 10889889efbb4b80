// SVG after Cairo; see svg.h.
//
// Cairo numbers pictures, clips and groups with a counter of the whole process, so that the second
// drawing of a figure has other ids than the first. They are read in one pass, sorted, and replaced
// where they are defined and used (`id="image7"`, `"#image7"`, `url(#clip3)`).
// Cost: O(bytes + ids log ids).
#include "viz/svg.h"

#include <stdlib.h>
#include <stdbool.h>
#include <string.h>

#include "model/core/mem.h"

typedef struct id {
    const char *name; // letters, then the number
    size_t letters, length;
    int number; // the new one
} id;

typedef struct ids {
    id *at;
    size_t n;
} ids;

static const char LETTERS[] = "abcdefghijklmnopqrstuvwxyz", DIGITS[] = "0123456789";

// A numbered name; length 0 for every other, such as glyph0-1, which is the same on every run.
static id read_name(const char *s) {
    size_t letters = strspn(s, LETTERS), digits = strspn(s + letters, DIGITS);
    char end = s[letters + digits];
    bool numbered = letters && digits && (end == '"' || end == ')');
    return (id){.name = s, .letters = letters, .length = numbered ? letters + digits : 0};
}

static int by_name(const void *a, const void *b) {
    const id *x = a, *y = b;
    if (x->length != y->length) return x->length < y->length ? -1 : 1;
    return memcmp(x->name, y->name, x->length);
}

// Where the next id is named: after ` id="` or `#`; NULL at the end.
static const char *next_name(const char *s, bool *defined) {
    for (s = strpbrk(s, " #"); s; s = strpbrk(s + 1, " #")) {
        *defined = *s == ' ';
        if (*s == '#') return s + 1;
        if (strncmp(s, " id=\"", 5) == 0) return s + 5;
    }
    return NULL;
}

static int gather(ids *all, const char *text) {
    size_t cap = 0;
    bool defined;
    for (const char *s = next_name(text, &defined); s; s = next_name(s, &defined)) {
        id one = read_name(s);
        if (!defined || !one.length) continue;
        if (all->n == cap) {
            cap = cap ? 2 * cap : 64;
            int rc = hs_grow(&all->at, cap, sizeof *all->at);
            if (rc) return rc;
        }
        one.number = (int)all->n + 1;
        all->at[all->n++] = one;
    }
    if (all->n) qsort(all->at, all->n, sizeof *all->at, by_name);
    return HS_OK;
}

static void renumber(hs_buf *out, const ids *all, const char *text) {
    bool defined;
    for (const char *s; (s = next_name(text, &defined));) {
        id key = read_name(s);
        const id *found = NULL;
        if (key.length && all->n) found = bsearch(&key, all->at, all->n, sizeof *all->at, by_name);
        if (found) {
            hs_buf_add(out, text, (size_t)(s - text) + key.letters);
            hs_buf_printf(out, "%d", found->number);
            text = s + key.length;
        } else {
            hs_buf_add(out, text, (size_t)(s - text));
            text = s;
        }
    }
    hs_buf_str(out, text);
}

static void escape(hs_buf *out, const char *text) {
    static const char *const entity[] = {"&lt;", "&gt;", "&amp;", "&quot;"};
    static const char special[] = "<>&\"";
    for (; *text; text++) {
        const char *c = strchr(special, *text);
        if (c)
            hs_buf_str(out, entity[c - special]);
        else
            hs_buf_chr(out, *text);
    }
}

static void element(hs_buf *out, const char *name, const char *text) {
    if (!text || !*text) return;
    hs_buf_printf(out, "<%s>", name);
    escape(out, text);
    hs_buf_printf(out, "</%s>\n", name);
}

static void tell(hs_buf *out, const hs_svg_about *about) {
    element(out, "title", about->title);
    element(out, "desc", about->description);
    if (!about->n) return;
    hs_buf_str(out, "<metadata xmlns:hs=\"urn:headscope\">\n");
    for (int i = 0; i < about->n; i++) {
        hs_buf_str(out, "<hs:fact name=\"");
        escape(out, about->fact[2 * i]);
        hs_buf_str(out, "\">");
        escape(out, about->fact[2 * i + 1]);
        hs_buf_str(out, "</hs:fact>\n");
    }
    hs_buf_str(out, "</metadata>\n");
}

int hs_svg_tidy(hs_buf *out, const hs_buf *svg, const hs_svg_about *about) {
    const char *text = hs_buf_text(svg), *root = strstr(text, "<svg");
    const char *body = root ? strchr(root, '>') : NULL;
    if (!body) return hs_fail(HS_E, "drawing failed: the SVG has no root");
    body++;
    ids all = {0};
    int rc = gather(&all, body);
    if (!rc) {
        hs_buf_add(out, text, (size_t)(body - text));
        hs_buf_chr(out, '\n');
        tell(out, about);
        renumber(out, &all, body);
        rc = hs_buf_rc(out);
    }
    free(all.at);
    return rc;
}
