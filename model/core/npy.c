// numpy's .npy files, format versions 1 to 3 (numpy.lib.format):
//
//     "\x93NUMPY" major minor | length of the header: u16, from version 2 on u32 | header | numbers
//
// The header is a Python dictionary of three keys in any order, then spaces and a newline:
//
//     {'descr': '<f4', 'fortran_order': False, 'shape': (30, 576), }
//
// Nothing is believed before the size of the file says the same: the numbers must fill the rest of
// it exactly, so memory never exceeds twice the file (f2 becomes f32).
#include "model/core/npy.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/dtype.h"
#include "model/core/mem.h"

enum { PREFIX = 8, MOST_HEADER = 1 << 16, MOST_AXES = 32 };

// ---- the header ---------------------------------------------------------------------------------

struct text {
    const char *at, *end;
};

struct header {
    const char *descr; // in the header, not ended
    size_t n_descr;
    bool fortran;
    int ndim;
    uint64_t shape[2]; // the first two axes
    bool has_descr, has_order, has_shape;
};

static void skip_space(struct text *t) {
    while (t->at < t->end && strchr(" \t\r\n", *t->at) && *t->at) t->at++;
}

// Steps over a character that must come next, or a word.
static bool eat(struct text *t, const char *word) {
    const size_t n = strlen(word);
    skip_space(t);
    if ((size_t)(t->end - t->at) < n || memcmp(t->at, word, n)) return false;
    t->at += n;
    return true;
}

// 'text' or "text" without escapes.
static bool read_string(struct text *t, const char **s, size_t *n) {
    skip_space(t);
    if (t->at == t->end || (*t->at != '\'' && *t->at != '"')) return false;
    const char quote = *t->at++, *end = memchr(t->at, quote, (size_t)(t->end - t->at));
    if (!end) return false;
    *s = t->at;
    *n = (size_t)(end - t->at);
    t->at = end + 1;
    return true;
}

static bool read_number(struct text *t, uint64_t *out) {
    skip_space(t);
    const char *first = t->at;
    uint64_t v = 0;
    for (; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++)
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*t->at - '0'), &v))
            return false;
    *out = v;
    return t->at > first;
}

// (), (3,) or (3, 4, ...).
static bool read_shape(struct text *t, struct header *h) {
    uint64_t v;
    if (!eat(t, "(")) return false;
    while (!eat(t, ")")) {
        if (h->ndim == MOST_AXES || !read_number(t, &v)) return false;
        if (h->ndim < 2) h->shape[h->ndim] = v;
        h->ndim++;
        if (eat(t, ",")) continue;
        return h->ndim > 1 && eat(t, ")");
    }
    return true;
}

static bool is(const char *s, size_t n, const char *word) {
    return n == strlen(word) && !memcmp(s, word, n);
}

// One "key: value"; each key once.
static bool read_item(struct text *t, struct header *h) {
    const char *key;
    size_t n;
    bool *seen = NULL, ok = false;
    if (!read_string(t, &key, &n) || !eat(t, ":")) return false;
    if (is(key, n, "descr")) {
        seen = &h->has_descr;
        ok = read_string(t, &h->descr, &h->n_descr);
    } else if (is(key, n, "fortran_order")) {
        seen = &h->has_order;
        h->fortran = eat(t, "True");
        ok = h->fortran || eat(t, "False");
    } else if (is(key, n, "shape")) {
        seen = &h->has_shape;
        ok = !*seen && read_shape(t, h);
    }
    if (!ok || *seen) return false;
    *seen = true;
    return true;
}

static bool read_header(struct text t, struct header *h) {
    *h = (struct header){.shape = {1, 1}};
    if (!eat(&t, "{")) return false;
    while (!eat(&t, "}")) {
        if (!read_item(&t, h)) return false;
        if (eat(&t, ",")) continue;
        if (!eat(&t, "}")) return false;
        break;
    }
    skip_space(&t);
    return t.at == t.end && h->has_descr && h->has_order && h->has_shape;
}

// ---- the numbers --------------------------------------------------------------------------------

static int find_dtype(const struct header *h, int *dtype) {
    for (*dtype = 0; *dtype < HS_N_DTYPE; ++*dtype) {
        const char *name = hs_dtypes[*dtype].npy;
        if (name && is(h->descr, h->n_descr, name) && hs_dtypes[*dtype].to_f32) return HS_OK;
    }
    return hs_fail(HS_EUNSUPPORTED,
                   "numbers of type '%.*s' cannot be read: save them with .astype('<f4')",
                   (int)(h->n_descr < 40 ? h->n_descr : 40), h->descr);
}

static int check_shape(const struct header *h) {
    if (h->ndim < 1 || h->ndim > 2)
        return hs_fail(HS_EUNSUPPORTED, "the array has %d axes: a vector or a matrix is needed",
                       h->ndim);
    if (h->fortran && h->ndim == 2)
        return hs_fail(HS_EUNSUPPORTED,
                       "the matrix is in Fortran order: save np.ascontiguousarray of it");
    if (!h->shape[0] || !h->shape[1]) return hs_fail(HS_EFORMAT, "the array is empty");
    return HS_OK;
}

static int read_numbers(hs_npy *out, const struct header *h, const uint8_t *bytes, size_t n) {
    int dtype;
    size_t count, need;
    int rc = find_dtype(h, &dtype);
    if (!rc) rc = check_shape(h);
    if (rc) return rc;
    if (!hs_mul(h->shape[0], h->shape[1], &count) ||
        !hs_mul(count, (size_t)hs_dtypes[dtype].bytes, &need) || need != n)
        return hs_fail(HS_EFORMAT, "%zu bytes of numbers are not %llu x %llu of type %s", n,
                       (unsigned long long)h->shape[0], (unsigned long long)h->shape[1],
                       hs_dtypes[dtype].npy);
    rc = hs_alloc(&out->data, count, sizeof *out->data);
    if (rc) return rc;
    hs_dtypes[dtype].to_f32(bytes, out->data, (int64_t)count);
    out->ndim = h->ndim;
    out->shape[0] = (int64_t)h->shape[0];
    out->shape[1] = (int64_t)h->shape[1];
    return HS_OK;
}

int hs_npy_read(hs_npy *out, const uint8_t *bytes, size_t n) {
    struct header h;
    *out = (hs_npy){0};
    if (n < PREFIX || memcmp(bytes, "\x93NUMPY", 6))
        return hs_fail(HS_EFORMAT, "not a .npy file: write it with np.save");
    const int version = bytes[6];
    if (version < 1 || version > 3)
        return hs_fail(HS_EUNSUPPORTED, "version %d of .npy files is not known: 1 to 3 are",
                       version);
    const size_t width = version == 1 ? 2 : 4;
    size_t len = 0;
    for (size_t i = 0; i < width && PREFIX + i < n; i++)
        len |= (size_t)bytes[PREFIX + i] << (8 * i);
    if (n - PREFIX < width || len > MOST_HEADER || n - PREFIX - width < len)
        return hs_fail(HS_EFORMAT, "the header is cut off or too long");
    const char *text = (const char *)bytes + PREFIX + width;
    if (!read_header((struct text){text, text + len}, &h))
        return hs_fail(HS_EFORMAT, "the header is damaged: write the file with np.save");
    const size_t start = PREFIX + width + len;
    return read_numbers(out, &h, bytes + start, n - start);
}

int hs_npy_open(hs_npy *out, const char *path) {
    hs_map map;
    *out = (hs_npy){0};
    int rc = hs_map_open(&map, path);
    if (rc) return rc;
    rc = hs_npy_read(out, map.data, map.size);
    hs_map_close(&map);
    return hs_prefix(rc, "%s", path);
}

void hs_npy_free(hs_npy *a) {
    free(a->data);
    *a = (hs_npy){0};
}
