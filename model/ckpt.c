// Opening checkpoints and everything that does not depend on the container; see ckpt.h.
// Tensors are views into read-only maps; names and indexes live in one arena. Opening costs one
// pass over the headers and no page of the weights.
#include "model/ckpt.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/ckpt_internal.h"
#include "model/core/hash.h"

// ---- names --------------------------------------------------------------------------------------

static const char *name_at(const hs_names *x, size_t i) {
    const char *name;
    memcpy(&name, (const char *)x->items + i * x->stride, sizeof name);
    return name;
}

// The slot of `name`, or the free one where it belongs.
static size_t probe(const hs_names *x, const char *name) {
    size_t s = hs_fnv(HS_FNV_SEED, name, strlen(name)) & x->mask;
    while (x->slot[s] && strcmp(name_at(x, x->slot[s] - 1), name)) s = (s + 1) & x->mask;
    return s;
}

int hs_names_build(hs_names *out, hs_arena *arena, const void *items, size_t n, size_t stride,
                   const char *what) {
    size_t slots = 16;
    while (slots / 2 < n) slots *= 2;
    if (n >= UINT32_MAX) return hs_fail(HS_EUNSUPPORTED, "%zu %ss: too many", n, what);
    *out = (hs_names){.items = items, .n = n, .stride = stride, .mask = slots - 1};
    int rc = hs_arena_get(arena, &out->slot, slots, sizeof *out->slot);
    for (size_t i = 0; !rc && i < n; i++) {
        const char *name = name_at(out, i);
        size_t s = probe(out, name);
        if (out->slot[s]) rc = hs_fail(HS_EFORMAT, "two %ss are named %s", what, name);
        out->slot[s] = (uint32_t)(i + 1);
    }
    return rc;
}

const void *hs_names_find(const hs_names *x, const char *name) {
    if (!x->n) return NULL;
    size_t s = probe(x, name);
    return x->slot[s] ? (const char *)x->items + (x->slot[s] - 1) * x->stride : NULL;
}

// ---- tensors ------------------------------------------------------------------------------------

int hs_ckpt_map(hs_ckpt *ck, const char *path, size_t *out) {
    int rc = hs_grow(&ck->maps, ck->n_maps + 1, sizeof *ck->maps);
    if (!rc) rc = hs_map_open(&ck->maps[ck->n_maps], path);
    if (!rc) *out = ck->n_maps++;
    return rc;
}

int hs_ckpt_size(const hs_view *shape, uint64_t *out) {
    const hs_dtype_traits *t = &hs_dtypes[shape->dtype];
    const int64_t row = shape->shape[shape->ndim - 1];
    int64_t n = 1, bytes;
    bool empty = false, fits = true;
    // An axis of 0 makes the tensor empty, but the strides of the others must fit all the same.
    for (int i = 0; i < shape->ndim; i++) {
        const int64_t dim = shape->shape[i];
        if (dim == 0)
            empty = true;
        else if (dim < 0 || __builtin_mul_overflow(n, dim, &n))
            fits = false;
    }
    if (row % t->items)
        return hs_fail(HS_EFORMAT, "rows of %lld numbers are not whole %s blocks of %d",
                       (long long)row, t->name, t->items);
    if (!fits || __builtin_mul_overflow(n / t->items, (int64_t)t->bytes, &bytes))
        return hs_fail(HS_EFORMAT, "its shape overflows");
    *out = empty ? 0 : (uint64_t)bytes;
    return HS_OK;
}

int hs_ckpt_add(hs_ckpt *ck, const hs_view *shape, const char *name, size_t n_name,
                const uint8_t *data, size_t n_data, uint64_t offset, uint64_t size) {
    if (memchr(name, 0, n_name)) return hs_fail(HS_EFORMAT, "a tensor's name holds a NUL");
    if (offset > n_data || size > n_data - offset)
        return hs_fail(HS_EFORMAT,
                       "its bytes run past the end of the file: truncated, or still downloading?");
    if (ck->n_tensors == ck->cap_tensors) {
        size_t cap = ck->cap_tensors ? ck->cap_tensors * 2 : 64;
        int rc = hs_grow(&ck->tensors, cap, sizeof *ck->tensors);
        if (rc) return rc;
        ck->cap_tensors = cap;
    }
    hs_tensor *t = &ck->tensors[ck->n_tensors];
    *t = (hs_tensor){.view = *shape, .bytes = (size_t)size};
    // The view's memory is const by its contract; hs_view has one data pointer for all uses.
    memcpy(&t->view.data, &(const uint8_t *){data + offset}, sizeof t->view.data);
    int64_t stride = 1;
    for (int i = shape->ndim - 1; i >= 0; i--) {
        t->view.stride[i] = stride;
        stride *= shape->shape[i]; // hs_ckpt_size has checked the product
    }
    int rc = hs_arena_str(ck->arena, &t->name, name, n_name);
    if (!rc) ck->n_tensors++;
    return rc;
}

static const uint8_t *start_of(const hs_tensor *t) {
    return t->view.data;
}

static int by_place(const void *a, const void *b) {
    const hs_tensor *x = *(const hs_tensor *const *)a, *y = *(const hs_tensor *const *)b;
    if (start_of(x) != start_of(y)) return start_of(x) < start_of(y) ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

int hs_ckpt_check_ranges(const hs_ckpt *ck, size_t first, const uint8_t *data, size_t n,
                         bool packed) {
    const size_t count = ck->n_tensors - first;
    const hs_tensor **order;
    int rc = hs_alloc(&order, count, sizeof *order);
    if (rc) return rc;
    for (size_t i = 0; i < count; i++) order[i] = &ck->tensors[first + i];
    qsort(order, count, sizeof *order, by_place);
    const uint8_t *end = data;
    for (size_t i = 0; !rc && i < count; i++) {
        if (start_of(order[i]) < end)
            rc = hs_fail(HS_EFORMAT, "damaged: tensors %s and %s share bytes", order[i - 1]->name,
                         order[i]->name);
        else if (packed && start_of(order[i]) > end)
            rc = hs_fail(HS_EFORMAT, "damaged: bytes of no tensor before %s", order[i]->name);
        end = start_of(order[i]) + order[i]->bytes;
    }
    if (!rc && packed && end != data + n)
        rc = hs_fail(HS_EFORMAT, "damaged: bytes of no tensor at the end");
    free(order);
    return rc;
}

// ---- opening ------------------------------------------------------------------------------------

static int read_file(hs_ckpt *ck) {
    size_t map;
    int rc = hs_ckpt_map(ck, ck->path, &map);
    if (rc) return rc;
    switch (hs_ckpt_file_kind(ck->path, &ck->maps[map])) {
    case HS_FILE_GGUF:
        return hs_prefix(hs_ckpt_read_gguf(ck, map), "%s", ck->path);
    case HS_FILE_ST:
        return hs_prefix(hs_ckpt_read_st_file(ck, map), "%s", ck->path);
    case HS_FILE_PICKLE:
        return hs_ckpt_refuse_pickle(ck->path);
    case HS_FILE_EMPTY:
        return hs_fail(HS_EFORMAT, "%s: the file is empty", ck->path);
    case HS_FILE_UNKNOWN:
        break;
    }
    return hs_fail(HS_EUNSUPPORTED,
                   "%s: neither GGUF nor safetensors; give a .gguf or "
                   ".safetensors file, or the model's folder",
                   ck->path);
}

int hs_ckpt_open(hs_ckpt **out, const char *path, bool need_weights) {
    struct stat st;
    hs_ckpt *ck;
    *out = NULL;
    int rc = hs_alloc(&ck, 1, sizeof *ck);
    if (rc) return rc;
    if ((rc = hs_arena_open(&ck->arena))) goto out;
    if ((rc = hs_ckpt_locate(ck->arena, path, &ck->path))) goto out;
    if (stat(ck->path, &st)) {
        rc = hs_fail(HS_EIO, "%s: %s", ck->path, strerror(errno));
        goto out;
    }
    rc = S_ISDIR(st.st_mode) ? hs_ckpt_read_folder(ck, need_weights) : read_file(ck);
    if (rc) goto out;
    rc = hs_names_build(&ck->tensor_names, ck->arena, ck->tensors, ck->n_tensors,
                        sizeof *ck->tensors, "tensor");
    if (!rc && need_weights && !ck->n_tensors) rc = hs_fail(HS_EFORMAT, "it holds no tensors");
    hs_prefix(rc, "%s", ck->path);
    // Whoever looks at a tensor's edge, or at a row of embeddings, wants no more than that read.
    for (size_t i = 0; !rc && i < ck->n_tensors; i++)
        hs_map_sparse(ck->tensors[i].view.data, ck->tensors[i].bytes);
out:
    if (rc)
        hs_ckpt_close(ck);
    else
        *out = ck;
    return rc;
}

void hs_ckpt_close(hs_ckpt *ck) {
    if (!ck) return;
    hs_json_free(ck->config);
    for (size_t i = 0; i < ck->n_maps; i++) hs_map_close(&ck->maps[i]);
    free(ck->maps);
    free(ck->tensors);
    hs_arena_close(ck->arena);
    free(ck);
}

// ---- reading ------------------------------------------------------------------------------------

enum hs_container hs_ckpt_container(const hs_ckpt *ck) {
    return ck->container;
}

const char *hs_ckpt_path(const hs_ckpt *ck) {
    return ck->path;
}

size_t hs_ckpt_count(const hs_ckpt *ck) {
    return ck->n_tensors;
}

const hs_tensor *hs_ckpt_at(const hs_ckpt *ck, size_t i) {
    return i < ck->n_tensors ? &ck->tensors[i] : NULL;
}

const hs_tensor *hs_ckpt_find(const hs_ckpt *ck, const char *name) {
    return hs_names_find(&ck->tensor_names, name);
}

static hs_meta meta_of_json(const hs_json *v) {
    hs_meta m = {.from = HS_SAFETENSORS, .n = hs_json_size(v), .at = v};
    bool b = false;
    switch (hs_json_type(v)) {
    case HS_JSON_NULL:
        m.type = HS_META_NULL;
        break;
    case HS_JSON_ARR:
        m.type = HS_META_ARR;
        break;
    case HS_JSON_OBJ:
        m.type = HS_META_OBJ;
        break;
    case HS_JSON_BOOL:
        m.type = HS_META_BOOL;
        hs_json_bool(v, &b);
        m.i = b;
        break;
    case HS_JSON_NUM:
        m.type = hs_json_int(v, &m.i) ? HS_META_INT : HS_META_NUM;
        hs_json_num(v, &m.f);
        break;
    case HS_JSON_STR:
        m.type = HS_META_STR;
        m.s = hs_json_str(v);
        m.n = strlen(m.s);
        break;
    }
    return m;
}

bool hs_ckpt_meta(const hs_ckpt *ck, const char *key, hs_meta *out) {
    if (ck->container == HS_GGUF) {
        const hs_meta_entry *e = hs_names_find(&ck->entry_names, key);
        if (e) *out = e->value;
        return e != NULL;
    }
    const hs_json *v = ck->config ? hs_json_path(ck->config, key) : NULL;
    if (v) *out = meta_of_json(v);
    return v != NULL;
}

bool hs_meta_item(const hs_meta *arr, size_t i, hs_meta *out) {
    if (arr->type != HS_META_ARR || i >= arr->n) return false;
    if (arr->from == HS_GGUF) return hs_gguf_item(arr, i, out);
    const hs_json *v = hs_json_first(arr->at);
    while (v && i--) v = hs_json_next(v);
    if (!v || hs_json_type(v) == HS_JSON_ARR) return false;
    *out = meta_of_json(v);
    return true;
}

const char *hs_ckpt_meta_key(const hs_ckpt *ck, size_t i) {
    return i < ck->n_entries ? ck->entries[i].key : NULL;
}

int hs_ckpt_side_file(const hs_ckpt *ck, const char *name, hs_map *out) {
    hs_buf path = {0};
    *out = (hs_map){.data = (const uint8_t *)""};
    if (!ck->folder || !hs_ckpt_is_plain_name(name))
        return hs_fail(HS_ENOTFOUND, "%s: there is no %s beside it", ck->path, name);
    hs_buf_printf(&path, "%s/%s", ck->folder, name);
    int rc = hs_buf_rc(&path);
    if (!rc && access(path.data, F_OK))
        rc = hs_fail(HS_ENOTFOUND, "%s: there is no %s", ck->folder, name);
    if (!rc) rc = hs_map_open(out, path.data);
    hs_buf_free(&path);
    return rc;
}

int hs_ckpt_side_json(const hs_ckpt *ck, const char *name, hs_json **out) {
    hs_map map;
    *out = NULL;
    int rc = hs_ckpt_side_file(ck, name, &map);
    if (rc) return rc == HS_ENOTFOUND ? HS_OK : rc;
    rc = hs_json_parse(out, (const char *)map.data, map.size);
    hs_map_close(&map);
    return hs_prefix(rc, "%s", name);
}

uint64_t hs_ckpt_fingerprint(const hs_ckpt *ck) {
    enum { EDGE = 4096 };
    uint64_t h = hs_fnv(HS_FNV_SEED, ck->meta_raw, ck->meta_size);
    for (size_t i = 0; i < ck->n_tensors; i++) {
        const hs_tensor *t = &ck->tensors[i];
        const char *type = hs_dtypes[t->view.dtype].name;
        h = hs_fnv(h, t->name, strlen(t->name) + 1);
        h = hs_fnv(h, type, strlen(type) + 1);
        h = hs_fnv(h, t->view.shape, (size_t)t->view.ndim * sizeof *t->view.shape);
        size_t edge = t->bytes < EDGE ? t->bytes : EDGE;
        h = hs_fnv(h, t->view.data, edge);
        h = hs_fnv(h, start_of(t) + t->bytes - edge, edge);
    }
    return h;
}
