// Labels: hs_utf8_visible decides what a reader could not see; here its stand-ins are set pale, and
// spaces and line ends get their signs. One pass, O(bytes).
#include "viz/label.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "model/core/utf8.h"

enum {
    LONGEST = 400, // bytes of a token that are looked at: far more than any label's width
    RUN = 4,       // from here on a run of spaces is counted, not drawn
};

enum mode { TOKEN, TEXT, PLAIN };

// Characters as they are, escaped in markup.
static void plain(hs_buf *b, enum mode mode, const char *s, size_t n) {
    static const char special[] = "<>&";
    static const char *const entity[] = {"&lt;", "&gt;", "&amp;"};
    for (; n; s++, n--) {
        const char *c = mode == PLAIN ? NULL : memchr(special, *s, sizeof special - 1);
        if (c)
            hs_buf_str(b, entity[c - special]);
        else
            hs_buf_chr(b, *s);
    }
}

// Something that stands for what cannot be shown.
static void mark(hs_buf *b, enum mode mode, const char *s, size_t n) {
    if (mode != PLAIN) hs_buf_str(b, "<span alpha=\"55%\">");
    plain(b, mode, s, n);
    if (mode != PLAIN) hs_buf_str(b, "</span>");
}

static void mark_text(hs_buf *b, enum mode mode, const char *text) {
    mark(b, mode, text, strlen(text));
}

// White space other than the plain space: it never shows, wherever it stands.
static bool is_white(int32_t cp) {
    return cp >= 0 && cp != ' ' && hs_utf8_is_space(cp);
}

static void mark_white(hs_buf *b, enum mode mode, int32_t cp) {
    const char *sign = cp == '\n' ? "↵" : cp == '\t' ? "⇥" : cp == '\r' ? "␍" : NULL;
    char code[16];
    snprintf(code, sizeof code, "<U+%04X>", (unsigned)cp);
    mark_text(b, mode, sign ? sign : code);
}

// A run of n blanks of a token.
static void boxes(hs_buf *b, size_t n) {
    static const char box[] = "␣␣␣␣";
    char text[32];
    if (n < RUN)
        snprintf(text, sizeof text, "%.*s", (int)(n * (sizeof box - 1) / RUN), box);
    else
        snprintf(text, sizeof text, "␣×%zu", n);
    mark_text(b, TOKEN, text);
}

// A stretch without spaces: what hs_utf8_visible left alone, and pale what it put in place.
static void stretch(hs_buf *b, enum mode mode, const char *s, size_t n) {
    static const char circle[] = "◌";
    hs_buf visible = {0};
    hs_utf8_visible(&visible, s, n, false);
    if (hs_buf_rc(&visible)) b->rc = hs_buf_rc(&visible);
    for (const char *v = hs_buf_text(&visible); *v;) {
        int32_t cp;
        size_t len = n ? hs_utf8_decode(s, n, &cp) : 0, used;
        if (len && strncmp(v, s, len) == 0) {
            plain(b, mode, v, len);
            used = len;
        } else if (strncmp(v, circle, sizeof circle - 1) == 0) {
            used = sizeof circle - 1;
            mark(b, mode, v, used);
            len = 0; // it carries the combining mark that follows
        } else {
            used = strcspn(v, ">") + 1;
            mark(b, mode, v, used);
        }
        v += used;
        s += len;
        n -= len;
    }
    hs_buf_free(&visible);
}

// Bytes of s before the next space that a stretch may not hold; at least one character.
static size_t stretch_length(enum mode mode, const char *s, size_t n) {
    size_t i = 0;
    while (i < n) {
        int32_t cp;
        size_t len = hs_utf8_decode(s + i, n - i, &cp);
        bool blank = mode == TOKEN && cp == ' ';
        if (i && (blank || is_white(cp))) break;
        i += len;
    }
    return i;
}

static void label(hs_buf *b, enum mode mode, const char *s) {
    size_t n = strlen(s), i = 0;
    bool cut = mode == TOKEN && n > LONGEST;
    if (cut) n = LONGEST;
    while (cut && n > LONGEST - 4 && ((unsigned char)s[n] & 0xc0) == 0x80) n--;
    while (i < n) {
        size_t blanks = mode == TOKEN ? strspn(s + i, " ") : 0;
        if (blanks > 1 || (blanks && (i == 0 || i + blanks == n))) {
            boxes(b, blanks);
            i += blanks;
            continue;
        }
        int32_t cp;
        size_t len = hs_utf8_decode(s + i, n - i, &cp);
        if (is_white(cp)) {
            mark_white(b, mode, cp);
        } else {
            len = stretch_length(mode, s + i, n - i);
            stretch(b, mode, s + i, len);
        }
        i += len;
    }
    if (cut) hs_buf_str(b, "…");
}

void hs_label_token(hs_buf *b, const char *bytes) {
    if (*bytes)
        label(b, TOKEN, bytes);
    else
        mark_text(b, TOKEN, "∅");
}

void hs_label_text(hs_buf *b, const char *bytes) {
    label(b, TEXT, bytes);
}

void hs_label_plain(hs_buf *b, const char *bytes) {
    label(b, PLAIN, bytes);
}
