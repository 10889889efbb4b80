// Shared by the files of model/ckpt*.c only.
#ifndef HS_MODEL_CKPT_INTERNAL_H
#define HS_MODEL_CKPT_INTERNAL_H

#include "model/ckpt.h"

// Names to their places in an array whose items begin with a `const char *`.
typedef struct hs_names {
    const void *items;
    size_t n, stride;
    uint32_t *slot; // place + 1, 0 = free; open addressing
    size_t mask;    // slots - 1, a power of two less one
} hs_names;

// HS_EFORMAT when two are the same: "two `what`s are named X".
int hs_names_build(hs_names *out, hs_arena *, const void *items, size_t n, size_t stride,
                   const char *what) HS_MUST_USE;
const void *hs_names_find(const hs_names *, const char *name); // NULL when absent

typedef struct hs_meta_entry {
    const char *key;
    hs_meta value;
} hs_meta_entry;

// An array of a GGUF value, hs_meta's `at`.
typedef struct hs_gguf_array {
    uint32_t type; // of the items
    const uint8_t *data;
    const uint64_t *offset; // [n] of each string in data; NULL for other types
} hs_gguf_array;

struct hs_ckpt {
    enum hs_container container;
    const char *path;   // the file or folder as found
    const char *folder; // where side files are; NULL for GGUF
    hs_arena *arena;    // names, metadata entries, indexes

    hs_map *maps; // every file, open till the end
    size_t n_maps;

    hs_tensor *tensors;
    size_t n_tensors, cap_tensors;
    hs_names tensor_names;

    // GGUF: all keys in file order. Safetensors: the members of config.json, names only.
    hs_meta_entry *entries;
    size_t n_entries;
    hs_names entry_names;    // GGUF only
    const uint8_t *meta_raw; // the bytes that the fingerprint covers
    size_t meta_size;
    hs_json *config; // NULL for GGUF, or when there is no config.json
};

// Maps one more file; *out is its place in ck->maps.
int hs_ckpt_map(hs_ckpt *ck, const char *path, size_t *out) HS_MUST_USE;

// Adds a tensor whose `size` bytes start `offset` into data[0..n_data); checks the range, that
// the shape has whole blocks and as many bytes as its type takes. shape: ndim sizes, slowest first.
int hs_ckpt_add(hs_ckpt *ck, const hs_view *shape, const char *name, size_t n_name,
                const uint8_t *data, size_t n_data, uint64_t offset, uint64_t size) HS_MUST_USE;
// The bytes that a tensor of that type and shape takes; HS_EFORMAT on overflow or partial blocks.
int hs_ckpt_size(const hs_view *shape, uint64_t *out) HS_MUST_USE;

// Refuses two tensors of [first, end) that share bytes; when `packed`, also bytes of data[0..n)
// that belong to no tensor.
int hs_ckpt_check_ranges(const hs_ckpt *ck, size_t first, const uint8_t *data, size_t n,
                         bool packed) HS_MUST_USE;

// ckpt_find.c: the kinds of files, and where a model's files are.
enum hs_file_kind { HS_FILE_UNKNOWN, HS_FILE_GGUF, HS_FILE_ST, HS_FILE_PICKLE, HS_FILE_EMPTY };
enum hs_file_kind hs_ckpt_file_kind(const char *path, const hs_map *map);
int hs_ckpt_refuse_pickle(const char *path);
bool hs_ckpt_is_plain_name(const char *name); // a file of the folder, not a way out of it
// The path itself when it exists, or the snapshot folder of a hub name. Into the arena.
int hs_ckpt_locate(hs_arena *, const char *path, const char **out) HS_MUST_USE;

// ckpt_gguf.c, ckpt_st.c: fill ck from the file or folder ck->path.
int hs_ckpt_read_gguf(hs_ckpt *ck, size_t map) HS_MUST_USE;
bool hs_gguf_item(const hs_meta *arr, size_t i, hs_meta *out);
int hs_ckpt_read_st_file(hs_ckpt *ck, size_t map) HS_MUST_USE;
int hs_ckpt_read_folder(hs_ckpt *ck, bool need_weights) HS_MUST_USE;

#endif
