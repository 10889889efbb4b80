// Safetensors: a u64 with the header's length, the header (JSON), then the tensors end to end:
//
//     {"__metadata__": {...}, "NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
//
// Offsets count from the end of the header. The tensors cover the rest of the file without gaps
// or overlaps (the format asks for it, so that nothing hides in a file). A model in several files
// has an index, model.safetensors.index.json, whose weight_map says which file holds each tensor.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/ckpt_internal.h"

// The reference reader's own limit on headers.
enum { MAX_HEADER = 100000000, MAX_CONFIG = 16 << 20, MAX_DIMS = 4 };

// ---- one file -----------------------------------------------------------------------------------

static int read_shape(const hs_json *shape, hs_view *v) {
    if (hs_json_type(shape) != HS_JSON_ARR) return hs_fail(HS_EFORMAT, "damaged: no shape");
    for (const hs_json *d = hs_json_first(shape); d; d = hs_json_next(d)) {
        if (v->ndim == MAX_DIMS)
            return hs_fail(HS_EUNSUPPORTED, "more than %d dimensions", MAX_DIMS);
        if (!hs_json_int(d, &v->shape[v->ndim]) || v->shape[v->ndim] < 0)
            return hs_fail(HS_EFORMAT, "damaged: its shape is not a list of sizes");
        v->ndim++;
    }
    if (v->ndim == 0) v->shape[v->ndim++] = 1; // a scalar is a vector of one
    return HS_OK;
}

static int read_tensor(hs_ckpt *ck, const hs_json *t, const uint8_t *data, size_t n_data) {
    hs_view v = {0};
    int64_t begin, end;
    uint64_t size;
    const char *type = hs_json_str(hs_json_get(t, "dtype"));
    if (!type) return hs_fail(HS_EFORMAT, "damaged: no dtype");
    const int dtype = hs_dtype_of_st(type, strlen(type));
    if (dtype < 0) return hs_fail(HS_EUNSUPPORTED, "its dtype %.40s is not supported", type);
    v.dtype = (hs_dtype)dtype;
    int rc = read_shape(hs_json_get(t, "shape"), &v);
    if (!rc) rc = hs_ckpt_size(&v, &size);
    if (rc) return rc;
    const hs_json *first = hs_json_first(hs_json_get(t, "data_offsets"));
    const hs_json *second = first ? hs_json_next(first) : NULL;
    if (!second || hs_json_next(second) || !hs_json_int(first, &begin) ||
        !hs_json_int(second, &end) || begin < 0 || end < begin)
        return hs_fail(HS_EFORMAT, "damaged: data_offsets is not [begin, end]");
    if ((uint64_t)(end - begin) != size)
        return hs_fail(HS_EFORMAT, "damaged: its shape takes %llu bytes, its offsets span %lld",
                       (unsigned long long)size, (long long)(end - begin));
    const char *name = hs_json_key(t);
    return hs_ckpt_add(ck, &v, name, strlen(name), data, n_data, (uint64_t)begin, size);
}

static int read_header(const hs_map *file, hs_json **header, size_t *n_header) {
    uint64_t n;
    *header = NULL;
    if (file->size < sizeof n) return hs_fail(HS_EFORMAT, "too short for safetensors: truncated?");
    memcpy(&n, file->data, sizeof n);
    if (n > MAX_HEADER)
        return hs_fail(HS_EFORMAT, "not safetensors, or damaged: a header of %llu bytes",
                       (unsigned long long)n);
    if (n > file->size - sizeof n)
        return hs_fail(HS_EFORMAT, "the file ends inside its header: truncated, or damaged");
    *n_header = (size_t)n;
    int rc = hs_json_parse(header, (const char *)file->data + sizeof n, (size_t)n);
    if (!rc && hs_json_type(*header) != HS_JSON_OBJ) rc = hs_fail(HS_EFORMAT, "not a JSON object");
    return hs_prefix(rc, "header");
}

static int read_st(hs_ckpt *ck, size_t map) {
    const hs_map *file = &ck->maps[map];
    const size_t before = ck->n_tensors;
    hs_json *header;
    size_t n = 0;
    int rc = read_header(file, &header, &n);
    if (rc) goto out;
    const uint8_t *data = file->data + sizeof(uint64_t) + n;
    const size_t n_data = (size_t)(file->data + file->size - data);
    for (const hs_json *t = hs_json_first(header); !rc && t; t = hs_json_next(t))
        if (strcmp(hs_json_key(t), "__metadata__"))
            rc = hs_prefix(read_tensor(ck, t, data, n_data), "tensor %.80s", hs_json_key(t));
    if (!rc) rc = hs_ckpt_check_ranges(ck, before, data, n_data, true);
out:
    hs_json_free(header);
    return rc;
}

// ---- the folder ---------------------------------------------------------------------------------

// FOLDER/NAME into the arena; *found tells whether it exists.
static int path_of(hs_ckpt *ck, const char *name, const char **out, bool *found) {
    hs_buf b = {0};
    hs_buf_printf(&b, "%s/%s", ck->folder, name);
    int rc = hs_buf_rc(&b);
    if (!rc) rc = hs_arena_str(ck->arena, out, b.data, b.len);
    *found = !rc && !access(*out, F_OK);
    hs_buf_free(&b);
    return rc;
}

// config.json into ck->config; its absence is no error here.
static int read_config(hs_ckpt *ck) {
    const char *path;
    bool found;
    size_t map;
    int rc = path_of(ck, "config.json", &path, &found);
    if (rc || !found) return rc;
    if ((rc = hs_ckpt_map(ck, path, &map))) return rc;
    const hs_map *file = &ck->maps[map];
    if (file->size > MAX_CONFIG)
        return hs_fail(HS_EFORMAT, "%s: %zu bytes, too large for a config", path, file->size);
    rc = hs_json_parse(&ck->config, (const char *)file->data, file->size);
    if (!rc && hs_json_type(ck->config) != HS_JSON_OBJ) rc = hs_fail(HS_EFORMAT, "not an object");
    if (rc) return hs_prefix(rc, "%s", path);
    ck->meta_raw = file->data;
    ck->meta_size = file->size;
    rc = hs_arena_get(ck->arena, &ck->entries, hs_json_size(ck->config), sizeof *ck->entries);
    for (const hs_json *m = hs_json_first(ck->config); !rc && m; m = hs_json_next(m))
        ck->entries[ck->n_entries++].key = hs_json_key(m);
    return rc;
}

int hs_ckpt_read_st_file(hs_ckpt *ck, size_t map) {
    const char *slash = strrchr(ck->path, '/');
    ck->container = HS_SAFETENSORS;
    int rc = !slash ? hs_arena_str(ck->arena, &ck->folder, ".", 1)
                    : hs_arena_str(ck->arena, &ck->folder, ck->path,
                                   slash == ck->path ? 1 : (size_t)(slash - ck->path));
    if (!rc) rc = read_config(ck);
    return rc ? rc : read_st(ck, map);
}

// One file of a model in several.
struct shard {
    const char *name;
    size_t first, end; // its tensors
};

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct shard *)a)->name, ((const struct shard *)b)->name);
}

// The distinct files of weight_map, sorted: the order does not depend on the index's.
static int list_shards(const hs_json *weight_map, struct shard **out, size_t *n_out) {
    struct shard *s;
    size_t n = 0;
    int rc = hs_alloc(&s, hs_json_size(weight_map), sizeof *s);
    if (rc) return rc;
    for (const hs_json *m = hs_json_first(weight_map); m; m = hs_json_next(m)) {
        const char *name = hs_json_str(m);
        if (!name || !hs_ckpt_is_plain_name(name)) {
            free(s);
            return hs_fail(HS_EFORMAT, "damaged: the file of tensor %.80s is not a file name",
                           hs_json_key(m));
        }
        s[n++].name = name;
    }
    qsort(s, n, sizeof *s, by_name);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!kept || strcmp(s[kept - 1].name, s[i].name)) s[kept++] = s[i];
    *out = s;
    *n_out = kept;
    return HS_OK;
}

static int read_shard(hs_ckpt *ck, struct shard *s) {
    const char *path;
    bool found;
    size_t map;
    int rc = path_of(ck, s->name, &path, &found);
    if (!rc && !found)
        rc = hs_fail(HS_ENOTFOUND, "%s: the index names this file and it is not there", path);
    if (!rc) rc = hs_ckpt_map(ck, path, &map);
    if (rc) return rc;
    s->first = ck->n_tensors;
    rc = hs_prefix(read_st(ck, map), "%s", path);
    s->end = ck->n_tensors;
    return rc;
}

// Index and files must tell the same: every entry is a tensor of the named file, and every tensor
// has an entry.
static int compare_index(const hs_ckpt *ck, const hs_json *weight_map, const struct shard *shards,
                         size_t n_shards) {
    hs_arena *arena;
    hs_names names;
    bool *listed = NULL;
    int rc = hs_arena_open(&arena);
    if (rc) return rc;
    rc = hs_names_build(&names, arena, ck->tensors, ck->n_tensors, sizeof *ck->tensors, "tensor");
    if (!rc) rc = hs_arena_get(arena, &listed, ck->n_tensors, sizeof *listed);
    for (const hs_json *m = hs_json_first(weight_map); !rc && m; m = hs_json_next(m)) {
        const struct shard key = {.name = hs_json_str(m)};
        const struct shard *s = bsearch(&key, shards, n_shards, sizeof *s, by_name);
        const hs_tensor *t = hs_names_find(&names, hs_json_key(m));
        size_t i = t ? (size_t)(t - ck->tensors) : 0;
        if (!s || !t || i < s->first || i >= s->end)
            rc = hs_fail(HS_EFORMAT, "tensor %.80s is not in %.80s, where the index says it is",
                         hs_json_key(m), key.name);
        else
            listed[i] = true;
    }
    for (size_t i = 0; !rc && i < ck->n_tensors; i++)
        if (!listed[i])
            rc = hs_fail(HS_EFORMAT, "the index does not list tensor %.80s", ck->tensors[i].name);
    hs_arena_close(arena);
    return rc;
}

static int read_index(hs_ckpt *ck, const char *path) {
    hs_map file;
    hs_json *index = NULL;
    struct shard *shards = NULL;
    size_t n = 0;
    int rc = hs_map_open(&file, path);
    if (rc) return rc;
    rc = file.size > MAX_HEADER ? hs_fail(HS_EFORMAT, "%zu bytes, too large", file.size)
                                : hs_json_parse(&index, (const char *)file.data, file.size);
    const hs_json *weight_map = hs_json_get(index, "weight_map");
    if (!rc && hs_json_type(weight_map) != HS_JSON_OBJ)
        rc = hs_fail(HS_EFORMAT, "it has no weight_map");
    if (!rc) rc = list_shards(weight_map, &shards, &n);
    if ((rc = hs_prefix(rc, "%s", path))) goto out;
    for (size_t i = 0; !rc && i < n; i++) rc = read_shard(ck, &shards[i]);
    if (!rc) rc = hs_prefix(compare_index(ck, weight_map, shards, n), "%s", path);
out:
    free(shards);
    hs_json_free(index);
    hs_map_close(&file);
    return rc;
}

// Why a folder without safetensors is refused.
static int no_weights(hs_ckpt *ck) {
    static const char *const pickles[] = {"pytorch_model.bin", "pytorch_model.bin.index.json",
                                          "model.pt", "model.pth", "model.ckpt"};
    for (size_t i = 0; i < sizeof pickles / sizeof *pickles; i++) {
        const char *path;
        bool found;
        int rc = path_of(ck, pickles[i], &path, &found);
        if (rc) return rc;
        if (found) return hs_ckpt_refuse_pickle(path);
    }
    return hs_fail(HS_ENOTFOUND,
                   "%s: not a model's folder: no %s in it; for GGUF give the file "
                   "itself",
                   ck->folder,
                   ck->config ? "model.safetensors and no model.safetensors.index.json"
                              : "config.json and no model.safetensors");
}

int hs_ckpt_read_folder(hs_ckpt *ck, bool need_weights) {
    const char *single, *index;
    bool has_single, has_index;
    size_t map;
    ck->container = HS_SAFETENSORS;
    ck->folder = ck->path;
    int rc = read_config(ck);
    if (!rc) rc = path_of(ck, "model.safetensors", &single, &has_single);
    if (!rc) rc = path_of(ck, "model.safetensors.index.json", &index, &has_index);
    if (rc) return rc;
    if (!has_single && !has_index) return need_weights ? no_weights(ck) : HS_OK;
    if (!ck->config && need_weights)
        return hs_fail(HS_ENOTFOUND, "%s: no config.json in this folder", ck->folder);
    if (!has_single) return read_index(ck, index);
    rc = hs_ckpt_map(ck, single, &map);
    return rc ? rc : hs_prefix(read_st(ck, map), "%s", single);
}
