// Decoding, display and canonical normalisation of UTF-8; see utf8.h. All linear in the text's
// length but for sorting the marks of one base, which is a counting sort over the 256 classes.
#include "model/core/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "model/core/mem.h"

// ---- bytes and code points ----------------------------------------------------------------------

static bool is_tail(unsigned char c) {
    return (c & 0xc0) == 0x80;
}

// Table 3-7 of the Unicode standard: the second byte's range depends on the first.
size_t hs_utf8_decode(const char *text, size_t n, int32_t *cp) {
    const unsigned char *s = (const unsigned char *)text;
    const unsigned char c = s[0];
    if (c < 0x80) {
        *cp = c;
        return 1;
    }
    *cp = HS_UTF8_INVALID;
    if (c >= 0xc2 && c <= 0xdf && n >= 2 && is_tail(s[1])) {
        *cp = (c & 0x1f) << 6 | (s[1] & 0x3f);
        return 2;
    }
    if (c >= 0xe0 && c <= 0xef && n >= 3 && is_tail(s[1]) && is_tail(s[2])) {
        if ((c == 0xe0 && s[1] < 0xa0) || (c == 0xed && s[1] > 0x9f)) return 1;
        *cp = (c & 0x0f) << 12 | (s[1] & 0x3f) << 6 | (s[2] & 0x3f);
        return 3;
    }
    if (c >= 0xf0 && c <= 0xf4 && n >= 4 && is_tail(s[1]) && is_tail(s[2]) && is_tail(s[3])) {
        if ((c == 0xf0 && s[1] < 0x90) || (c == 0xf4 && s[1] > 0x8f)) return 1;
        *cp = (c & 0x07) << 18 | (s[1] & 0x3f) << 12 | (s[2] & 0x3f) << 6 | (s[3] & 0x3f);
        return 4;
    }
    return 1;
}

size_t hs_utf8_encode(int32_t cp, char out[4]) {
    return (size_t)utf8proc_encode_char(cp, (utf8proc_uint8_t *)out);
}

bool hs_utf8_valid(const char *s, size_t n) {
    int32_t cp;
    for (size_t i = 0; i < n;) {
        i += hs_utf8_decode(s + i, n - i, &cp);
        if (cp == HS_UTF8_INVALID) return false;
    }
    return true;
}

bool hs_utf8_is_space(int32_t cp) {
    return (cp >= 9 && cp <= 13) || cp == ' ' || cp == 0x85 || cp == 0xa0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 || cp == 0x202f ||
           cp == 0x205f || cp == 0x3000;
}

// ---- display ------------------------------------------------------------------------------------

enum { VS16 = 0xfe0f, ZWNJ = 0x200c, ZWJ = 0x200d, MAX_WIDTH = 2 };

int hs_utf8_width(const char *s, size_t n) {
    int total = 0, cluster = 0;
    int32_t state = 0, before = HS_UTF8_INVALID;
    for (size_t i = 0; i < n;) {
        int32_t cp;
        i += hs_utf8_decode(s + i, n - i, &cp);
        int width = cp == HS_UTF8_INVALID ? 1 : utf8proc_charwidth(cp);
        bool starts = cp == HS_UTF8_INVALID || before == HS_UTF8_INVALID ||
                      utf8proc_grapheme_break_stateful(before, cp, &state);
        if (starts) {
            total += cluster;
            cluster = 0;
            state = 0;
        }
        cluster += cp == VS16 && cluster ? MAX_WIDTH : width;
        if (cluster > MAX_WIDTH) cluster = MAX_WIDTH;
        before = cp;
    }
    return total + cluster;
}

static bool is_mark(utf8proc_category_t c) {
    return c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_MC || c == UTF8PROC_CATEGORY_ME;
}

static bool is_hidden(utf8proc_category_t c) {
    return c == UTF8PROC_CATEGORY_CC || c == UTF8PROC_CATEGORY_CF || c == UTF8PROC_CATEGORY_CN ||
           c == UTF8PROC_CATEGORY_CO || c == UTF8PROC_CATEGORY_ZL || c == UTF8PROC_CATEGORY_ZP;
}

void hs_utf8_visible(hs_buf *out, const char *s, size_t n, bool mark_space) {
    bool has_base = false;
    for (size_t i = 0; i < n;) {
        int32_t cp;
        const char *at = s + i;
        size_t len = hs_utf8_decode(at, n - i, &cp);
        i += len;
        bool had_base = has_base;
        has_base = false;
        if (cp == HS_UTF8_INVALID) {
            hs_buf_printf(out, "<0x%02X>", (unsigned char)*at);
            continue;
        }
        utf8proc_category_t c = utf8proc_category(cp);
        if (cp == '\n' || cp == '\t' || cp == '\r') {
            hs_buf_str(out, cp == '\n' ? "\\n" : cp == '\t' ? "\\t" : "\\r");
        } else if (cp == ' ' && mark_space) {
            hs_buf_str(out, "\u2423");
        } else if (is_hidden(c) && !(had_base && (cp == ZWJ || cp == ZWNJ))) {
            hs_buf_printf(out, "<U+%04X>", (unsigned)cp);
        } else {
            if (is_mark(c) && !had_base) hs_buf_str(out, "\u25cc");
            hs_buf_add(out, at, len);
            has_base = true;
        }
    }
}

// ---- normalisation ------------------------------------------------------------------------------

// Marks, and characters that compose, of Unicode 10 to 16: the data of Unicode 9 has none of them.
static const int32_t later[][2] = {
    {0x7fd, 0x7fd},     {0x897, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},
    {0xc3c, 0xc3c},     {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x1715, 0x1715},
    {0x1abf, 0x1ace},   {0x1df6, 0x1dfa},   {0xa82c, 0xa82c},   {0x105c9, 0x105e4},
    {0x10d24, 0x10d27}, {0x10d69, 0x10d6d}, {0x10eab, 0x10eac}, {0x10efc, 0x10eff},
    {0x10f46, 0x10f50}, {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b},
    {0x11382, 0x113d3}, {0x113e1, 0x113e2}, {0x1145e, 0x1145e}, {0x11839, 0x1183a},
    {0x11930, 0x11930}, {0x11935, 0x11935}, {0x11938, 0x11938}, {0x1193d, 0x1193e},
    {0x11943, 0x11943}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34}, {0x11a47, 0x11a47},
    {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97},
    {0x11f41, 0x11f42}, {0x1611e, 0x1612f}, {0x16d63, 0x16d6a}, {0x16ff0, 0x16ff1},
    {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef},
    {0x1e4ec, 0x1e4ef}, {0x1e5ee, 0x1e5ef},
};

static bool is_later(int32_t cp) {
    size_t lo = 0, hi = sizeof later / sizeof *later;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (cp > later[mid][1])
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < sizeof later / sizeof *later && cp >= later[lo][0];
}

// Nothing on one side of an inert character (or byte) changes what the other normalises to.
static bool is_inert(int32_t cp) {
    return cp < 0x80 || is_later(cp);
}

// Whether cp may change what stands before it: a mark, or a Hangul vowel or final.
static bool leans_left(int32_t cp) {
    return (cp >= 0x1160 && cp <= 0x11ff) || (cp >= 0xd7b0 && cp <= 0xd7ff) ||
           is_mark(utf8proc_category(cp)) || utf8proc_get_property(cp)->combining_class;
}

// The end of the stretch that starts at s[0]: it normalises by itself.
static size_t stretch(const char *s, size_t n) {
    int32_t cp;
    size_t i = hs_utf8_decode(s, n, &cp);
    if (cp == HS_UTF8_INVALID || is_later(cp)) return i;
    while (i < n) {
        size_t len = hs_utf8_decode(s + i, n - i, &cp);
        if (is_inert(cp) || !leans_left(cp)) break;
        i += len;
    }
    return i;
}

static int class_of(int32_t cp) {
    return utf8proc_get_property(cp)->combining_class;
}

// Sorts at[0..n), marks of one base, by combining class and keeps the order of equals.
static void sort_marks(int32_t *at, int32_t *copy, size_t n) {
    size_t start[257] = {0};
    for (size_t i = 0; i < n; i++) start[class_of(at[i]) + 1]++;
    for (int c = 0; c < 256; c++) start[c + 1] += start[c];
    memcpy(copy, at, n * sizeof *at);
    for (size_t i = 0; i < n; i++) at[start[class_of(copy[i])]++] = copy[i];
}

// The canonical ordering of at[0..n); `copy` is as large.
static void reorder(int32_t *at, int32_t *copy, size_t n) {
    for (size_t i = 0; i < n;) {
        size_t from = i;
        while (i < n && class_of(at[i])) i++;
        if (i - from > 1) sort_marks(at + from, copy, i - from);
        if (i == from) i++;
    }
}

// A code point decomposes into at most four (canonically).
enum { MAX_PARTS = 4 };

// Normalises the stretch s[0..n) of valid UTF-8 and appends it to out.
static int normalize_stretch(enum hs_utf8_form form, const char *s, size_t n, hs_buf *out) {
    int32_t *cps;
    int rc = hs_alloc(&cps, 2 * MAX_PARTS * n, sizeof *cps);
    if (rc) return rc;
    size_t k = 0;
    for (size_t i = 0; i < n;) {
        int32_t cp;
        i += hs_utf8_decode(s + i, n - i, &cp);
        utf8proc_ssize_t parts = utf8proc_decompose_char(cp, cps + k, MAX_PARTS, UTF8PROC_DECOMPOSE,
                                                         NULL);
        if (parts >= 1 && parts <= MAX_PARTS)
            k += (size_t)parts;
        else
            cps[k++] = cp;
    }
    reorder(cps, cps + MAX_PARTS * n, k);
    if (form == HS_UTF8_NFC)
        k = (size_t)utf8proc_normalize_utf32(cps, (utf8proc_ssize_t)k,
                                             UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    for (size_t i = 0; i < k; i++) {
        char bytes[4];
        hs_buf_add(out, bytes, hs_utf8_encode(cps[i], bytes));
    }
    free(cps);
    return hs_buf_rc(out);
}

// Whether s[0..n) is one code point that no form changes.
static bool is_plain(const char *s, size_t n) {
    int32_t cp, parts[MAX_PARTS];
    if (hs_utf8_decode(s, n, &cp) < n) return false;
    return is_inert(cp) ||
           (utf8proc_decompose_char(cp, parts, MAX_PARTS, UTF8PROC_DECOMPOSE, NULL) == 1 &&
            parts[0] == cp);
}

int hs_utf8_normalize(enum hs_utf8_form form, const char *s, size_t n, hs_buf *out, hs_buf *map) {
    hs_buf_reserve(out, n); // what most texts need; failures are sticky
    hs_buf_reserve(map, n * sizeof(hs_utf8_from));
    for (size_t i = 0; i < n;) {
        const size_t len = stretch(s + i, n - i), begin = out->len;
        int rc = HS_OK;
        if (is_plain(s + i, len))
            hs_buf_add(out, s + i, len);
        else
            rc = normalize_stretch(form, s + i, len, out);
        if (!rc) rc = hs_buf_rc(out);
        if (rc) return rc;
        const size_t made = out->len - begin;
        const bool same = made == len && !memcmp(out->data + begin, s + i, len);
        for (size_t b = 0; b < made; b++) {
            hs_utf8_from span = {(int64_t)(same ? i + b : i),
                                 (int64_t)(same ? i + b + 1 : i + len)};
            hs_buf_add(map, &span, sizeof span);
        }
        i += len;
    }
    return hs_buf_rc(map);
}
