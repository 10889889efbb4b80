// JSON; see json.h. Reading is in two steps: `check` walks the text once against the grammar of
// RFC 8259 without recursion (cJSON alone takes control bytes in strings, 01 and other things that
// are not JSON), then cJSON, which recurses no deeper than the check allowed, builds the tree.
#include "model/core/json.h"

#include <cjson/cJSON.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/utf8.h"

// cJSON copies a number into a buffer of 64 bytes and refuses the longer ones with no reason.
enum { MAX_DEPTH = 100, MAX_NUMBER = 63 };

// ---- checking -----------------------------------------------------------------------------------

struct scan {
    const unsigned char *start, *p, *end;
    const char *why; // NULL while all is well; then p is at the offending byte
};

static bool refuse(struct scan *s, const char *why) {
    s->why = why;
    return false;
}

static void skip_space(struct scan *s) {
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
        s->p++;
}

static bool at(const struct scan *s, char c) {
    return s->p < s->end && *s->p == (unsigned char)c;
}

static bool take(struct scan *s, char c) {
    if (!at(s, c)) return false;
    s->p++;
    return true;
}

static int hex_digit(unsigned char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// Four hex digits at p, or -1.
static int hex4(const unsigned char *p, const unsigned char *end) {
    int v = 0;
    for (int i = 0; i < 4; i++) {
        int digit = p + i < end ? hex_digit(p[i]) : -1;
        if (digit < 0) return -1;
        v = v << 4 | digit;
    }
    return v;
}

// After the backslash.
static bool check_escape(struct scan *s) {
    if (s->p < s->end && *s->p && strchr("\"\\/bfnrt", *s->p)) {
        s->p++;
        return true;
    }
    if (!take(s, 'u')) return refuse(s, "unknown escape in a string");
    int unit = hex4(s->p, s->end);
    if (unit < 0) return refuse(s, "\\u needs four hex digits");
    if (unit == 0) return refuse(s, "NUL in a string");
    if (unit >= 0xd800 && unit <= 0xdfff) {
        bool pair = unit < 0xdc00 && s->end - s->p >= 10 && s->p[4] == '\\' && s->p[5] == 'u';
        int low = pair ? hex4(s->p + 6, s->end) : -1;
        if (low < 0xdc00 || low > 0xdfff) return refuse(s, "half of a surrogate pair");
        s->p += 6;
    }
    s->p += 4;
    return true;
}

static bool check_string(struct scan *s) {
    if (!take(s, '"')) return refuse(s, "expected a string");
    while (s->p < s->end && *s->p != '"') {
        if (take(s, '\\')) {
            if (!check_escape(s)) return false;
        } else if (*s->p < 0x20) {
            return refuse(s, "control byte in a string");
        } else {
            int32_t cp;
            size_t n = hs_utf8_decode((const char *)s->p, (size_t)(s->end - s->p), &cp);
            if (cp == HS_UTF8_INVALID) return refuse(s, "a string is not UTF-8");
            s->p += n;
        }
    }
    return take(s, '"') || refuse(s, "unfinished string");
}

static bool take_digits(struct scan *s) {
    const unsigned char *from = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9') s->p++;
    return s->p > from;
}

static bool check_number(struct scan *s) {
    const unsigned char *from = s->p;
    take(s, '-');
    if (!take(s, '0') && !take_digits(s)) return refuse(s, "expected a value");
    if (take(s, '.') && !take_digits(s)) return refuse(s, "malformed number");
    if (at(s, 'e') || at(s, 'E')) {
        s->p++;
        if (!take(s, '+')) take(s, '-');
        if (!take_digits(s)) return refuse(s, "malformed number");
    }
    return s->p - from <= MAX_NUMBER || refuse(s, "a number of more than 63 characters");
}

static bool check_word(struct scan *s, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n)) return refuse(s, "expected a value");
    s->p += n;
    return true;
}

// A string, number or word.
static bool check_scalar(struct scan *s) {
    if (at(s, '"')) return check_string(s);
    if (at(s, 't')) return check_word(s, "true");
    if (at(s, 'f')) return check_word(s, "false");
    if (at(s, 'n')) return check_word(s, "null");
    return check_number(s);
}

// A member's name and colon, when the innermost bracket is an object's.
static bool check_key(struct scan *s, char bracket) {
    if (bracket != '{') return true;
    skip_space(s);
    if (!check_string(s)) return false;
    skip_space(s);
    return take(s, ':') || refuse(s, "expected ':'");
}

static bool check(struct scan *s) {
    char open[MAX_DEPTH];
    int depth = 0;
    do {
        // One value: a scalar, or brackets that open until one is empty or holds a scalar.
        skip_space(s);
        if (at(s, '{') || at(s, '[')) {
            if (depth == MAX_DEPTH) return refuse(s, "nested deeper than 100");
            open[depth++] = (char)*s->p++;
            skip_space(s);
            if (!at(s, open[depth - 1] == '{' ? '}' : ']')) {
                if (!check_key(s, open[depth - 1])) return false;
                continue;
            }
        } else if (!check_scalar(s)) {
            return false;
        }
        // What follows it: brackets that close, then a comma or the end.
        for (skip_space(s); depth && take(s, open[depth - 1] == '{' ? '}' : ']'); skip_space(s))
            depth--;
        if (depth) {
            if (!take(s, ',')) return refuse(s, "expected ',' or a closing bracket");
            if (!check_key(s, open[depth - 1])) return false;
        }
    } while (depth);
    return s->p == s->end || refuse(s, "text after the end of the value");
}

static int report(const struct scan *s) {
    size_t line = 1, column = 1;
    for (const unsigned char *q = s->start; q < s->p; q++) {
        column = *q == '\n' ? 1 : column + 1;
        line += *q == '\n';
    }
    return hs_fail(HS_EFORMAT, "not valid JSON at line %zu column %zu: %s", line, column,
                   s->p == s->end ? "the text ends too early" : s->why);
}

// ---- reading ------------------------------------------------------------------------------------

static const cJSON *node(const hs_json *v) {
    return (const cJSON *)v;
}

static const hs_json *wrap(const cJSON *v) {
    return (const hs_json *)v;
}

int hs_json_parse(hs_json **out, const char *text, size_t len) {
    *out = NULL;
    const unsigned char *start = (const unsigned char *)text;
    struct scan s = {start, start, start + len, NULL};
    if (!check(&s)) return report(&s);
    cJSON *tree = cJSON_ParseWithLengthOpts(text, len, NULL, false);
    if (!tree) return hs_fail(HS_ENOMEM, "out of memory: %zu bytes of JSON", len);
    *out = (hs_json *)tree;
    return HS_OK;
}

void hs_json_free(hs_json *v) {
    cJSON_Delete((cJSON *)v);
}

enum hs_json_type hs_json_type(const hs_json *v) {
    const cJSON *n = node(v);
    if (cJSON_IsObject(n)) return HS_JSON_OBJ;
    if (cJSON_IsArray(n)) return HS_JSON_ARR;
    if (cJSON_IsString(n)) return HS_JSON_STR;
    if (cJSON_IsNumber(n)) return HS_JSON_NUM;
    if (cJSON_IsBool(n)) return HS_JSON_BOOL;
    return HS_JSON_NULL;
}

const hs_json *hs_json_first(const hs_json *v) {
    const cJSON *n = node(v);
    return cJSON_IsObject(n) || cJSON_IsArray(n) ? wrap(n->child) : NULL;
}

const hs_json *hs_json_next(const hs_json *v) {
    return wrap(node(v)->next);
}

size_t hs_json_size(const hs_json *v) {
    size_t n = 0;
    for (const hs_json *c = hs_json_first(v); c; c = hs_json_next(c)) n++;
    return n;
}

const char *hs_json_key(const hs_json *v) {
    return node(v)->string;
}

// The last of duplicates wins, as in Python's reader and most others.
static const hs_json *get_n(const hs_json *obj, const char *key, size_t n) {
    const hs_json *found = NULL;
    if (!cJSON_IsObject(node(obj))) return NULL;
    for (const hs_json *c = hs_json_first(obj); c; c = hs_json_next(c))
        if (!strncmp(hs_json_key(c), key, n) && !hs_json_key(c)[n]) found = c;
    return found;
}

const hs_json *hs_json_get(const hs_json *obj, const char *key) {
    return get_n(obj, key, strlen(key));
}

const hs_json *hs_json_path(const hs_json *obj, const char *path) {
    for (;;) {
        size_t n = strcspn(path, ".");
        obj = get_n(obj, path, n);
        if (!obj || !path[n]) return obj;
        path += n + 1;
    }
}

bool hs_json_bool(const hs_json *v, bool *out) {
    if (!cJSON_IsBool(node(v))) return false;
    *out = cJSON_IsTrue(node(v));
    return true;
}

bool hs_json_num(const hs_json *v, double *out) {
    if (!cJSON_IsNumber(node(v))) return false;
    *out = node(v)->valuedouble;
    return true;
}

bool hs_json_int(const hs_json *v, int64_t *out) {
    double d;
    if (!hs_json_num(v, &d) || !(fabs(d) <= 0x1p53) || d != floor(d)) return false;
    *out = (int64_t)d;
    return true;
}

const char *hs_json_str(const hs_json *v) {
    return cJSON_IsString(node(v)) ? node(v)->valuestring : NULL;
}

// Depth is bounded by what hs_json_parse lets through.
static void print(const hs_json *v, hs_jw *w) {
    switch (hs_json_type(v)) {
    case HS_JSON_NULL:
        hs_jw_null(w);
        return;
    case HS_JSON_BOOL:
        hs_jw_bool(w, cJSON_IsTrue(node(v)));
        return;
    case HS_JSON_NUM:
        hs_jw_num(w, node(v)->valuedouble);
        return;
    case HS_JSON_STR:
        hs_jw_str(w, node(v)->valuestring);
        return;
    case HS_JSON_ARR:
    case HS_JSON_OBJ:
        break;
    }
    const bool object = cJSON_IsObject(node(v));
    hs_jw_begin(w, object ? '{' : '[');
    for (const hs_json *c = hs_json_first(v); c; c = hs_json_next(c)) {
        if (object) hs_jw_key(w, hs_json_key(c));
        print(c, w);
    }
    hs_jw_end(w, object ? '}' : ']');
}

void hs_json_print(const hs_json *v, hs_buf *out) {
    print(v, &(hs_jw){.out = out});
}

// ---- writing ------------------------------------------------------------------------------------

static void put_comma(hs_jw *w) {
    if (w->comma) hs_buf_chr(w->out, ',');
    w->comma = true;
}

void hs_jw_begin(hs_jw *w, char bracket) {
    put_comma(w);
    hs_buf_chr(w->out, bracket);
    w->comma = false;
}

void hs_jw_end(hs_jw *w, char bracket) {
    hs_buf_chr(w->out, bracket);
    w->comma = true;
}

void hs_jw_key(hs_jw *w, const char *key) {
    hs_jw_str(w, key);
    hs_buf_chr(w->out, ':');
    w->comma = false;
}

void hs_jw_str(hs_jw *w, const char *s) {
    hs_jw_strn(w, s, strlen(s));
}

static void put_escaped(hs_buf *out, char c) {
    static const char plain[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
    const char *found = c ? strchr(plain, c) : NULL;
    if (found)
        hs_buf_printf(out, "\\%c", letter[found - plain]);
    else
        hs_buf_printf(out, "\\u%04x", c);
}

void hs_jw_strn(hs_jw *w, const char *s, size_t n) {
    put_comma(w);
    hs_buf_chr(w->out, '"');
    for (size_t i = 0; i < n;) {
        int32_t cp;
        size_t len = hs_utf8_decode(s + i, n - i, &cp);
        if (cp == HS_UTF8_INVALID)
            hs_buf_str(w->out, "\xef\xbf\xbd");
        else if (cp < 0x20 || cp == '"' || cp == '\\')
            put_escaped(w->out, (char)cp);
        else
            hs_buf_add(w->out, s + i, len);
        i += len;
    }
    hs_buf_chr(w->out, '"');
}

void hs_jw_int(hs_jw *w, int64_t v) {
    put_comma(w);
    hs_buf_printf(w->out, "%lld", (long long)v);
}

// Any decimal of `safe` digits survives the way through a normal number of the format, so that
// many digits, without trailing zeros, are the shortest text when they read back at all.
void hs_jw_num(hs_jw *w, double v) {
    enum { SAFE = DBL_DIG };
    char text[40];
    if (!isfinite(v)) {
        hs_jw_null(w);
        return;
    }
    int digits = fabs(v) < DBL_MIN ? 1 : SAFE;
    do snprintf(text, sizeof text, "%.*g", digits, v);
    while (digits++ < DBL_DECIMAL_DIG && strtod(text, NULL) != v);
    put_comma(w);
    hs_buf_str(w->out, text);
}

void hs_jw_f32(hs_jw *w, float v) {
    enum { SAFE = FLT_DIG };
    char text[40];
    if (!isfinite(v)) {
        hs_jw_null(w);
        return;
    }
    int digits = fabsf(v) < FLT_MIN ? 1 : SAFE;
    do snprintf(text, sizeof text, "%.*g", digits, (double)v);
    while (digits++ < FLT_DECIMAL_DIG && strtof(text, NULL) != v);
    put_comma(w);
    hs_buf_str(w->out, text);
}

void hs_jw_bool(hs_jw *w, bool v) {
    hs_jw_raw(w, v ? "true" : "false");
}

void hs_jw_null(hs_jw *w) {
    hs_jw_raw(w, "null");
}

void hs_jw_raw(hs_jw *w, const char *json) {
    put_comma(w);
    hs_buf_str(w->out, json);
}

void hs_jw_buf(hs_jw *w, const hs_buf *json) {
    hs_jw_raw(w, hs_buf_text(json));
    if (hs_buf_rc(json)) w->out->rc = hs_buf_rc(json);
}

void hs_jw_key_str(hs_jw *w, const char *key, const char *v) {
    hs_jw_key(w, key);
    hs_jw_str(w, v);
}

void hs_jw_key_int(hs_jw *w, const char *key, int64_t v) {
    hs_jw_key(w, key);
    hs_jw_int(w, v);
}

void hs_jw_key_num(hs_jw *w, const char *key, double v) {
    hs_jw_key(w, key);
    hs_jw_num(w, v);
}
