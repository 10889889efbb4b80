// Writes tiny checkpoints for tests: tensors and metadata are collected, then written as GGUF or
// safetensors. Any failure ends the test program with a message.
//
//     char dir[PATH_MAX];
//     mk_dir(dir);
//     mk m = {0};
//     mk_add(&m, "wte.weight", HS_F16, 2, (int64_t[]){5, 4}, values);
//     mk_write_st(&m, dir, "model.safetensors");
//     mk_file(dir, "config.json", json, strlen(json));
//     mk_free(&m);
//     ...
//     mk_remove(dir);
#ifndef HS_TESTS_LIB_MKMODEL_H
#define HS_TESTS_LIB_MKMODEL_H

#include <limits.h>
#include <stdbool.h>

#include "model/core/buf.h"
#include "model/core/dtype.h"

typedef struct mk_tensor {
    char name[128];
    hs_dtype dtype;
    int ndim;
    int64_t shape[4]; // slowest first, as hs_view has it; GGUF gets it reversed
    hs_buf bytes;
} mk_tensor;

// Zero-initialise; mk_free at the end.
typedef struct mk {
    mk_tensor *tensors;
    size_t n_tensors;
    hs_buf meta; // GGUF's keys as written
    uint64_t n_meta;
    uint32_t version;   // of GGUF; 0 = 3
    uint64_t alignment; // of GGUF's tensors; 0 = 32. The key general.alignment is the caller's.
} mk;

// A new empty folder under $TMPDIR or /tmp; a path removed with everything below it.
void mk_dir(char out[PATH_MAX]);
void mk_remove(const char *path);
void mk_file(const char *folder, const char *name, const void *bytes, size_t n);
// "FOLDER/NAME" into out.
void mk_path(char out[PATH_MAX], const char *folder, const char *name);

// Adds a tensor from f32 values, rounded to F32, F16, BF16 or F64.
void mk_add(mk *, const char *name, hs_dtype dtype, int ndim, const int64_t *shape,
            const float *values);
// Adds a tensor of any type from its bytes; n need not fit the shape (for damaged files).
void mk_raw(mk *, const char *name, hs_dtype dtype, int ndim, const int64_t *shape,
            const void *bytes, size_t n);

// GGUF metadata.
void mk_u32(mk *, const char *key, uint32_t v);
void mk_f32(mk *, const char *key, float v);
void mk_bool(mk *, const char *key, bool v);
void mk_str(mk *, const char *key, const char *v);
void mk_strs(mk *, const char *key, size_t n, const char *const *v);
void mk_i32s(mk *, const char *key, size_t n, const int32_t *v);
void mk_f32s(mk *, const char *key, size_t n, const float *v);
// Any value: its type number and its bytes as they go into the file.
void mk_value(mk *, const char *key, uint32_t type, const void *bytes, size_t n);

// The file's bytes appended to out, or written to FOLDER/NAME.
void mk_gguf(const mk *, hs_buf *out);
void mk_st(const mk *, hs_buf *out);
void mk_write_gguf(const mk *, const char *folder, const char *name);
void mk_write_st(const mk *, const char *folder, const char *name);
void mk_free(mk *);

#endif
