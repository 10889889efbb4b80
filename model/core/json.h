// JSON: reading through cJSON (the only file that includes it is json.c), writing into an hs_buf.
#ifndef HS_CORE_JSON_H
#define HS_CORE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/core/buf.h"
#include "model/core/err.h"

// A parsed value; opaque, borrowed from the document that hs_json_parse returned.
typedef struct hs_json hs_json;

enum hs_json_type {
    HS_JSON_NULL,
    HS_JSON_BOOL,
    HS_JSON_NUM,
    HS_JSON_STR,
    HS_JSON_ARR,
    HS_JSON_OBJ
};

// Parses text[0..len) (no NUL needed). Trailing bytes other than white space, depth over 100 and
// NUL bytes are HS_EFORMAT; the message gives line and column. Free with hs_json_free.
int hs_json_parse(hs_json **out, const char *text, size_t len) HS_MUST_USE;
void hs_json_free(hs_json *);

enum hs_json_type hs_json_type(const hs_json *);
size_t hs_json_size(const hs_json *);          // items of an array or object, else 0
const hs_json *hs_json_first(const hs_json *); // first child, NULL when none
const hs_json *hs_json_next(const hs_json *);  // next sibling: iterate, do not index
const char *hs_json_key(const hs_json *);      // this member's name in its object
const hs_json *hs_json_get(const hs_json *obj, const char *key); // NULL when absent or no object
// As hs_json_get along "a.b.c".
const hs_json *hs_json_path(const hs_json *obj, const char *path);
// Typed reads: false (and *out untouched) when v is NULL or of another type. An integer is a
// number without fraction in +-2^53. Strings are UTF-8, NUL-terminated, never with a NUL inside.
bool hs_json_bool(const hs_json *v, bool *out);
bool hs_json_int(const hs_json *v, int64_t *out);
bool hs_json_num(const hs_json *v, double *out);
const char *hs_json_str(const hs_json *v); // NULL when not a string
// v as compact JSON text, appended to out.
void hs_json_print(const hs_json *v, hs_buf *out);

// Writing. A writer puts commas and nothing else; keys and values follow each other as in the
// text. Numbers round-trip (shortest %g that reads back); NaN and infinities become null.
typedef struct hs_jw {
    hs_buf *out;
    bool comma; // the next item needs one
} hs_jw;
void hs_jw_begin(hs_jw *, char bracket); // '{' or '['
void hs_jw_end(hs_jw *, char bracket);   // '}' or ']'
void hs_jw_key(hs_jw *, const char *key);
void hs_jw_str(hs_jw *, const char *s); // invalid UTF-8 becomes U+FFFD
void hs_jw_strn(hs_jw *, const char *s, size_t n);
void hs_jw_int(hs_jw *, int64_t v);
void hs_jw_num(hs_jw *, double v);
void hs_jw_f32(hs_jw *, float v); // shortest text that reads back to the same float
void hs_jw_bool(hs_jw *, bool v);
void hs_jw_null(hs_jw *);
void hs_jw_raw(hs_jw *, const char *json);   // text that is JSON already
void hs_jw_buf(hs_jw *, const hs_buf *json); // the same; a buffer that failed fails the output
// A key and its value.
void hs_jw_key_str(hs_jw *, const char *key, const char *v);
void hs_jw_key_int(hs_jw *, const char *key, int64_t v);
void hs_jw_key_num(hs_jw *, const char *key, double v);

#endif
