// Fuzz target: any bytes as text for people: labels of figures as Pango markup, and the UTF-8
// helpers below them.
// covers: viz/label.c model/core/utf8.c
#include <pango/pango.h>

#include "db/db_internal.h"
#include "model/core/utf8.h"
#include "tests/fuzz/shared.h"
#include "viz/label.h"

// Valid UTF-8 without control characters.
static void check_shown(const hs_buf *b) {
    need(!hs_buf_rc(b) && hs_utf8_valid(hs_buf_text(b), b->len));
    for (size_t i = 0; i < b->len; i++) need((unsigned char)b->data[i] >= ' ' && b->data[i] != 127);
}

static void label(void (*write)(hs_buf *, const char *), const char *s, bool markup) {
    hs_buf b = {0};
    write(&b, s);
    check_shown(&b);
    if (markup) {
        char *text = NULL;
        need(pango_parse_markup(hs_buf_text(&b), (int)b.len, 0, NULL, &text, NULL, NULL));
        need(*s == 0 || *text != 0);
        g_free(text);
    }
    hs_buf_free(&b);
}

static void decode(const char *s, size_t n) {
    bool valid = true;
    for (size_t i = 0, len; i < n; i += len) {
        int32_t cp;
        char again[4];
        len = hs_utf8_decode(s + i, n - i, &cp);
        need(len >= 1 && len <= n - i);
        valid = valid && cp != HS_UTF8_INVALID;
        if (cp == HS_UTF8_INVALID)
            need(len == 1);
        else
            need(hs_utf8_encode(cp, again) == len && !memcmp(again, s + i, len));
    }
    need(valid == hs_utf8_valid(s, n));
    need(hs_utf8_width(s, n) >= 0 && (size_t)hs_utf8_width(s, n) <= 2 * n);
}

static void show(const char *s, size_t n) {
    hs_buf b = {0}, readable = {0};
    hs_utf8_visible(&b, s, n, true);
    check_shown(&b);
    hs_sql_readable(&readable, s, n);
    need(!hs_buf_rc(&readable) && hs_utf8_valid(hs_buf_text(&readable), readable.len));
    need(!readable.len || !memchr(readable.data, 0, readable.len));
    hs_buf_free(&b);
    hs_buf_free(&readable);
}

// Spans tile the text in order; what is normal stays as it is.
static void normalize(enum hs_utf8_form form, const char *s, size_t n) {
    hs_buf once = {0}, map = {0}, twice = {0}, map2 = {0};
    need(!hs_utf8_normalize(form, s, n, &once, &map));
    need(map.len == once.len * sizeof(hs_utf8_from));
    int64_t from = 0, to = 0;
    for (size_t i = 0; i < once.len; i++) {
        hs_utf8_from span;
        memcpy(&span, map.data + i * sizeof span, sizeof span);
        need(span.from >= from && span.to >= to && span.from < span.to && span.to <= (int64_t)n);
        from = span.from;
        to = span.to;
    }
    need(!hs_utf8_normalize(form, hs_buf_text(&once), once.len, &twice, &map2));
    need(twice.len == once.len && (!once.len || !memcmp(once.data, twice.data, once.len)));
    hs_buf_free(&once);
    hs_buf_free(&map);
    hs_buf_free(&twice);
    hs_buf_free(&map2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    char *s = text_of((input){data, n});
    label(hs_label_token, s, true);
    label(hs_label_text, s, true);
    label(hs_label_plain, s, false);
    decode(s, n);
    show(s, n);
    normalize(HS_UTF8_NFC, s, n);
    normalize(HS_UTF8_NFD, s, n);
    free(s);
    return 0;
}
