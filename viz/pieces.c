// Pieces of a text; see pieces.h. Units first, tokens up to the end of a character; then units that
// cannot be told apart on paper. What comes to no character in the end stays single bytes.
#include "viz/pieces.h"

#include <string.h>

#include "model/core/utf8.h"

enum { MOST_JOINED = 48, MOST_BYTES = 4 }; // tokens of a piece, of a character

static int32_t first_of(const char *s) {
    int32_t cp = 0;
    if (*s) hs_utf8_decode(s, strlen(s), &cp);
    return cp;
}

static int32_t last_of(const char *s) {
    int32_t cp = 0;
    for (size_t n = strlen(s), i = 0; i < n;) i += hs_utf8_decode(s + i, n - i, &cp);
    return cp;
}

int64_t hs_unit_at(const char *const *label, int64_t n, int64_t token, hs_buf *out) {
    hs_buf b = {0};
    int64_t count = 0;
    while (count < n - token && count < MOST_BYTES) {
        hs_buf_str(&b, label[token + count] ? label[token + count] : "");
        count++;
        if (last_of(hs_buf_text(&b)) != HS_UTF8_INVALID) break;
    }
    if (count > 1 && !hs_utf8_valid(hs_buf_text(&b), b.len)) {
        hs_buf_clear(&b);
        hs_buf_str(&b, label[token]); // not NULL: it begins a character
        count = 1;
    }
    hs_buf_add(out, hs_buf_text(&b), b.len);
    if (hs_buf_rc(&b)) out->rc = hs_buf_rc(&b);
    hs_buf_free(&b);
    return count;
}

// Letters that change with their neighbours: Arabic and Syriac, and the scripts of India.
static bool joins(int32_t cp) {
    return (cp >= 0x620 && cp <= 0x74f) || (cp >= 0x900 && cp <= 0xdff);
}

static bool is_mark(const char *s) {
    static const char circle[] = "◌"; // what a mark without a base is shown on
    hs_buf seen = {0};
    hs_utf8_visible(&seen, s, strlen(s), false);
    bool mark = strncmp(hs_buf_text(&seen), circle, sizeof circle - 1) == 0 &&
                strncmp(s, circle, sizeof circle - 1) != 0;
    hs_buf_free(&seen);
    return mark;
}

// Whether a unit goes on with what the ones before it began.
static bool goes_on(const char *before, const char *next) {
    enum { JOINER = 0x200d, EMOJI_STYLE = 0xfe0f, TONE_FIRST = 0x1f3fb, TONE_LAST = 0x1f3ff };
    if (!*before || !*next) return false;
    int32_t a = last_of(before), b = first_of(next);
    if (a == HS_UTF8_INVALID || b == HS_UTF8_INVALID) return false;
    if (a == JOINER || b == JOINER || b == EMOJI_STYLE || (b >= TONE_FIRST && b <= TONE_LAST))
        return true;
    return (joins(a) && joins(b)) || is_mark(next);
}

static int64_t gather(const char *const *label, int64_t n, int64_t token, hs_buf *bytes) {
    hs_buf next = {0};
    int64_t count = hs_unit_at(label, n, token, bytes);
    while (token + count < n && count < MOST_JOINED) {
        hs_buf_clear(&next);
        int64_t more = hs_unit_at(label, n, token + count, &next);
        if (!goes_on(hs_buf_text(bytes), hs_buf_text(&next))) break;
        hs_buf_str(bytes, hs_buf_text(&next));
        count += more;
    }
    if (hs_buf_rc(&next)) bytes->rc = hs_buf_rc(&next);
    hs_buf_free(&next);
    return count;
}

static bool right_to_left(int32_t cp) {
    return (cp >= 0x590 && cp <= 0x8ff) || (cp >= 0xfb1d && cp <= 0xfdff) ||
           (cp >= 0xfe70 && cp <= 0xfeff);
}

// Direction by the first letter.
static void direct(hs_piece *c, const char *s) {
    c->neutral = true;
    for (size_t n = strlen(s); n && c->neutral;) {
        int32_t cp;
        size_t len = hs_utf8_decode(s, n, &cp);
        bool letter = (cp | 32) >= 'a' && (cp | 32) <= 'z';
        c->neutral = cp < 0xc0 && !letter;
        c->rtl = right_to_left(cp);
        s += len;
        n -= len;
    }
}

// Scripts without spaces break around their characters, but not before closing marks.
static bool breaks_before(int32_t before, int32_t cp) {
    static const int32_t closing[] = {'.',    ',',    ';',    ':',    '!',    '?',    ')',
                                      ']',    '}',    '"',    '\'',   '\n',   0x3001, 0x3002,
                                      0x300d, 0x300f, 0xff01, 0xff09, 0xff0c, 0xff0e, 0xff1f};
    for (size_t i = 0; i < sizeof closing / sizeof *closing; i++)
        if (cp == closing[i]) return false;
    return before >= 0x2e80 || cp >= 0x2e80;
}

hs_piece hs_piece_at(const char *const *label, int64_t n, int64_t token, int32_t *before,
                     hs_buf *bytes) {
    hs_piece c = {.token = token};
    hs_buf_clear(bytes);
    c.n = gather(label, n, token, bytes);
    const char *text = hs_buf_text(bytes);
    int32_t cp = first_of(text);
    c.opens = cp == ' ' || *before == '\n' || breaks_before(*before, cp);
    if (*text) *before = last_of(text);
    c.ends = *text && *before == '\n';
    direct(&c, text);
    return c;
}
