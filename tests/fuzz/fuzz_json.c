// Fuzz target: JSON. What parses prints as JSON that parses and prints the same; any bytes written
// as a string are JSON, and the string reads back when the bytes were UTF-8 without NUL.
// covers: model/core/json.c
#include "model/core/json.h"
#include "model/core/utf8.h"
#include "tests/fuzz/shared.h"

static size_t walk(const hs_json *v) {
    size_t n = 1;
    int64_t i;
    double d;
    bool b;
    if (hs_json_int(v, &i)) need(hs_json_num(v, &d) && (double)i == d);
    if (hs_json_str(v)) need(hs_utf8_valid(hs_json_str(v), strlen(hs_json_str(v))));
    need(!hs_json_bool(v, &b) || hs_json_type(v) == HS_JSON_BOOL);
    for (const hs_json *c = hs_json_first(v); c; c = hs_json_next(c)) n += walk(c);
    return n;
}

static void text(const char *s, size_t n) {
    hs_json *once, *again;
    hs_buf first = {0}, second = {0};
    int rc = hs_json_parse(&once, s, n);
    if (rc) {
        need(!once && (rc == HS_EFORMAT || rc == HS_ENOMEM));
        return;
    }
    hs_json_print(once, &first);
    need(!hs_json_parse(&again, hs_buf_text(&first), first.len));
    need(walk(once) == walk(again));
    hs_json_print(again, &second);
    need(first.len == second.len && !memcmp(first.data, second.data, first.len));
    hs_json_free(once);
    hs_json_free(again);
    hs_buf_free(&first);
    hs_buf_free(&second);
}

static void string(const char *s, size_t n) {
    hs_json *v;
    hs_buf out = {0};
    hs_jw_strn(&(hs_jw){.out = &out}, s, n);
    const bool nul = n && memchr(s, 0, n);
    int rc = hs_json_parse(&v, hs_buf_text(&out), out.len);
    need(nul ? rc == HS_EFORMAT : !rc);
    if (!rc && hs_utf8_valid(s, n)) {
        const char *back = hs_json_str(v);
        need(strlen(back) == n && (!n || !memcmp(back, s, n)));
    }
    hs_json_free(v);
    hs_buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    text((const char *)data, n);
    string((const char *)data, n);
    return 0;
}
