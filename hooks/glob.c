// Globs; see glob.h. Braces are multiplied out into a bounded list first, so that matching is the
// plain two-pointer walk: no recursion, O(pattern x name) at worst.
#include "hooks/glob.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ALTERNATIVES = 1024, MAX_PART = 1024 };

size_t hs_glob_part(const char *sel) {
    size_t n = 0;
    for (int depth = 0; sel[n] && (sel[n] != ',' || depth > 0); n++) {
        if (sel[n] == '{') depth++;
        if (sel[n] == '}' && depth > 0) depth--;
    }
    return n;
}

// Reads "A..B"; false when s[0..n) is not that.
static bool read_range(const char *s, size_t n, long *from, long *to) {
    char *end;
    if (n > 16 || !memchr("0123456789", *s, 10)) return false;
    *from = strtol(s, &end, 10);
    if (strncmp(end, "..", 2) || !end[2] || !memchr("0123456789", end[2], 10)) return false;
    *to = strtol(end + 2, &end, 10);
    return end == s + n;
}

struct expansion {
    hs_buf *out;
    size_t count;
};

static int add(struct expansion *e, const char *head, size_t n_head, const char *mid, size_t n_mid,
               const char *tail) {
    if (++e->count > MAX_ALTERNATIVES)
        return hs_fail(HS_EARG, "braces stand for more than %d names: use '*'", MAX_ALTERNATIVES);
    hs_buf_add(e->out, head, n_head);
    hs_buf_add(e->out, mid, n_mid);
    hs_buf_add(e->out, tail, strlen(tail) + 1);
    return hs_buf_rc(e->out);
}

static int add_range(struct expansion *e, const char *head, size_t n_head, long from, long to,
                     const char *tail) {
    if (from > to)
        return hs_fail(HS_EARG, "{%ld..%ld}: a range runs from the lower number", from, to);
    int rc = HS_OK;
    for (long v = from; v <= to && !rc; v++) {
        hs_buf number = {0};
        hs_buf_printf(&number, "%ld", v);
        rc = hs_buf_rc(&number);
        if (!rc) rc = add(e, head, n_head, number.data, number.len, tail);
        hs_buf_free(&number);
    }
    return rc;
}

// Multiplies out the first brace of s into e; copies s when it has none.
static int expand_first(struct expansion *e, const char *s, bool *had) {
    size_t open = strcspn(s, "{}");
    *had = s[open] == '{';
    if (!s[open]) return add(e, s, open, "", 0, "");
    const char *at = s + open + 1, *close = at + strcspn(at, "{}");
    if (!*had || *close != '}')
        return hs_fail(HS_EARG, "'%s': braces must come in pairs and do not nest", s);
    for (;;) {
        size_t n = strcspn(at, ",}");
        long from, to;
        int rc = read_range(at, n, &from, &to) ? add_range(e, s, open, from, to, close + 1)
                                               : add(e, s, open, at, n, close + 1);
        if (rc || at + n == close) return rc;
        at += n + 1;
    }
}

int hs_glob_expand(hs_buf *out, const char *part, size_t n) {
    if (n > MAX_PART) return hs_fail(HS_EARG, "a name of %zu bytes is too long", n);
    hs_buf now = {0}, next = {0};
    hs_buf_add(&now, part, n);
    hs_buf_chr(&now, 0);
    int rc = hs_buf_rc(&now);
    // One brace of every string a round, until no string has one.
    for (bool more = true; more && !rc;) {
        struct expansion e = {.out = &next};
        more = false;
        hs_buf_clear(&next);
        for (const char *s = now.data; s < now.data + now.len && !rc; s += strlen(s) + 1) {
            bool had;
            rc = expand_first(&e, s, &had);
            more |= had;
        }
        hs_buf swap = now;
        now = next;
        next = swap;
    }
    if (!rc) {
        hs_buf_add(out, now.data, now.len);
        rc = hs_buf_rc(out);
    }
    hs_buf_free(&now);
    hs_buf_free(&next);
    return rc;
}

bool hs_glob_match(const char *pattern, const char *name) {
    const char *star = NULL, *retry = NULL;
    while (*name) {
        if (*pattern == '*') {
            star = pattern++;
            retry = name;
        } else if (*pattern == '?' || *pattern == *name) {
            pattern++;
            name++;
        } else if (star) {
            pattern = star + 1;
            name = ++retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*') pattern++;
    return !*pattern;
}
