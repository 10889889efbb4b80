// Checkpoints for tests; see mkmodel.h. The writers share no code with the readers they test.
#include "tests/lib/mkmodel.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void need(bool ok, const char *what) {
    if (ok) return;
    perror(what);
    abort();
}

// ---- files --------------------------------------------------------------------------------------

void mk_dir(char out[PATH_MAX]) {
    const char *root = getenv("TMPDIR");
    snprintf(out, PATH_MAX, "%s/headscope-XXXXXX", root && *root ? root : "/tmp");
    need(mkdtemp(out) != NULL, out);
}

void mk_path(char out[PATH_MAX], const char *folder, const char *name) {
    need(snprintf(out, PATH_MAX, "%s/%s", folder, name) < PATH_MAX, name);
}

void mk_remove(const char *path) {
    char below[PATH_MAX];
    struct stat st;
    if (lstat(path, &st)) return;
    if (S_ISDIR(st.st_mode)) {
        DIR *dir = opendir(path);
        need(dir != NULL, path);
        for (struct dirent *e; (e = readdir(dir));) {
            if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
            mk_path(below, path, e->d_name);
            mk_remove(below);
        }
        closedir(dir);
    }
    need(!remove(path), path);
}

void mk_file(const char *folder, const char *name, const void *bytes, size_t n) {
    char path[PATH_MAX];
    mk_path(path, folder, name);
    FILE *f = fopen(path, "we");
    need(f != NULL, path);
    need(fwrite(bytes, 1, n, f) == n, path);
    need(!fclose(f), path);
}

// ---- tensors ------------------------------------------------------------------------------------

void mk_raw(mk *m, const char *name, hs_dtype dtype, int ndim, const int64_t *shape,
            const void *bytes, size_t n) {
    m->tensors = realloc(m->tensors, (m->n_tensors + 1) * sizeof *m->tensors);
    need(m->tensors != NULL, "realloc");
    mk_tensor *t = &m->tensors[m->n_tensors++];
    *t = (mk_tensor){.dtype = dtype, .ndim = ndim};
    need(strlen(name) < sizeof t->name, "a tensor's name is too long");
    strcpy(t->name, name);
    memcpy(t->shape, shape, (size_t)ndim * sizeof *shape);
    hs_buf_add(&t->bytes, bytes, n);
}

static void add_number(hs_buf *out, hs_dtype dtype, float v) {
    const uint16_t half = dtype == HS_F16 ? hs_f16_of_f32(v) : hs_bf16_of_f32(v);
    const double wide = (double)v;
    if (dtype == HS_F32)
        hs_buf_add(out, &v, sizeof v);
    else if (dtype == HS_F64)
        hs_buf_add(out, &wide, sizeof wide);
    else if (dtype == HS_F16 || dtype == HS_BF16)
        hs_buf_add(out, &half, sizeof half);
    else
        need(false, "mk_add writes F32, F16, BF16 and F64; use mk_raw");
}

void mk_add(mk *m, const char *name, hs_dtype dtype, int ndim, const int64_t *shape,
            const float *values) {
    hs_buf bytes = {0};
    int64_t n = 1;
    for (int i = 0; i < ndim; i++) n *= shape[i];
    for (int64_t i = 0; i < n; i++) add_number(&bytes, dtype, values[i]);
    mk_raw(m, name, dtype, ndim, shape, hs_buf_text(&bytes), bytes.len);
    hs_buf_free(&bytes);
}

void mk_free(mk *m) {
    for (size_t i = 0; i < m->n_tensors; i++) hs_buf_free(&m->tensors[i].bytes);
    free(m->tensors);
    hs_buf_free(&m->meta);
    *m = (mk){0};
}

// ---- GGUF ---------------------------------------------------------------------------------------

enum { GGUF_U32 = 4, GGUF_I32 = 5, GGUF_F32 = 6, GGUF_BOOL = 7, GGUF_STR = 8, GGUF_ARR = 9 };

static void put_u32(hs_buf *b, uint32_t v) {
    hs_buf_add(b, &v, sizeof v);
}

static void put_u64(hs_buf *b, uint64_t v) {
    hs_buf_add(b, &v, sizeof v);
}

static void put_str(hs_buf *b, const char *s) {
    put_u64(b, strlen(s));
    hs_buf_str(b, s);
}

void mk_value(mk *m, const char *key, uint32_t type, const void *bytes, size_t n) {
    put_str(&m->meta, key);
    put_u32(&m->meta, type);
    hs_buf_add(&m->meta, bytes, n);
    m->n_meta++;
}

void mk_u32(mk *m, const char *key, uint32_t v) {
    mk_value(m, key, GGUF_U32, &v, sizeof v);
}

void mk_f32(mk *m, const char *key, float v) {
    mk_value(m, key, GGUF_F32, &v, sizeof v);
}

void mk_bool(mk *m, const char *key, bool v) {
    mk_value(m, key, GGUF_BOOL, &(uint8_t){v}, 1);
}

void mk_str(mk *m, const char *key, const char *v) {
    mk_value(m, key, GGUF_STR, "", 0);
    put_str(&m->meta, v);
}

// The head of an array; its items follow.
static void begin_array(mk *m, const char *key, uint32_t type, size_t n) {
    mk_value(m, key, GGUF_ARR, "", 0);
    put_u32(&m->meta, type);
    put_u64(&m->meta, n);
}

void mk_strs(mk *m, const char *key, size_t n, const char *const *v) {
    begin_array(m, key, GGUF_STR, n);
    for (size_t i = 0; i < n; i++) put_str(&m->meta, v[i]);
}

void mk_i32s(mk *m, const char *key, size_t n, const int32_t *v) {
    begin_array(m, key, GGUF_I32, n);
    hs_buf_add(&m->meta, v, n * sizeof *v);
}

void mk_f32s(mk *m, const char *key, size_t n, const float *v) {
    begin_array(m, key, GGUF_F32, n);
    hs_buf_add(&m->meta, v, n * sizeof *v);
}

static size_t align_up(size_t n, size_t alignment) {
    return (n + alignment - 1) / alignment * alignment;
}

static void pad(hs_buf *b, size_t start, size_t alignment) {
    while ((b->len - start) % alignment) hs_buf_chr(b, 0);
}

void mk_gguf(const mk *m, hs_buf *out) {
    const size_t alignment = m->alignment ? m->alignment : 32, start = out->len;
    hs_buf_str(out, "GGUF");
    put_u32(out, m->version ? m->version : 3);
    put_u64(out, m->n_tensors);
    put_u64(out, m->n_meta);
    hs_buf_add(out, hs_buf_text(&m->meta), m->meta.len);
    size_t offset = 0;
    for (size_t i = 0; i < m->n_tensors; i++) {
        const mk_tensor *t = &m->tensors[i];
        put_str(out, t->name);
        put_u32(out, (uint32_t)t->ndim);
        for (int d = t->ndim - 1; d >= 0; d--) put_u64(out, (uint64_t)t->shape[d]);
        put_u32(out, (uint32_t)hs_dtypes[t->dtype].gguf);
        put_u64(out, offset);
        offset = align_up(offset + t->bytes.len, alignment);
    }
    pad(out, start, alignment);
    for (size_t i = 0; i < m->n_tensors; i++) {
        hs_buf_add(out, hs_buf_text(&m->tensors[i].bytes), m->tensors[i].bytes.len);
        pad(out, start, alignment);
    }
    need(!hs_buf_rc(out), "mk_gguf");
}

// ---- safetensors --------------------------------------------------------------------------------

void mk_st(const mk *m, hs_buf *out) {
    hs_buf header = {0};
    size_t offset = 0;
    hs_buf_str(&header, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < m->n_tensors; i++) {
        const mk_tensor *t = &m->tensors[i];
        hs_buf_printf(&header, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", t->name,
                      hs_dtypes[t->dtype].st);
        for (int d = 0; d < t->ndim; d++)
            hs_buf_printf(&header, "%s%lld", d ? "," : "", (long long)t->shape[d]);
        hs_buf_printf(&header, "],\"data_offsets\":[%zu,%zu]}", offset, offset + t->bytes.len);
        offset += t->bytes.len;
    }
    hs_buf_chr(&header, '}');
    while (header.len % 8) hs_buf_chr(&header, ' ');
    put_u64(out, header.len);
    hs_buf_add(out, header.data, header.len);
    for (size_t i = 0; i < m->n_tensors; i++)
        hs_buf_add(out, hs_buf_text(&m->tensors[i].bytes), m->tensors[i].bytes.len);
    hs_buf_free(&header);
    need(!hs_buf_rc(out), "mk_st");
}

static void write_with(void (*make)(const mk *, hs_buf *), const mk *m, const char *folder,
                       const char *name) {
    hs_buf b = {0};
    make(m, &b);
    mk_file(folder, name, hs_buf_text(&b), b.len);
    hs_buf_free(&b);
}

void mk_write_gguf(const mk *m, const char *folder, const char *name) {
    write_with(mk_gguf, m, folder, name);
}

void mk_write_st(const mk *m, const char *folder, const char *name) {
    write_with(mk_st, m, folder, name);
}
