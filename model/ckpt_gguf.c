// GGUF, versions 2 and 3, little endian (ggml/docs/gguf.md):
//
//     "GGUF"  u32 version  u64 n_tensors  u64 n_keys
//     n_keys    x  string key   u32 type   value
//     n_tensors x  string name  u32 n_dims  u64 dims[n_dims]  u32 type  u64 offset
//     padding to general.alignment, then the tensors; offsets count from here
//
// A string is a u64 length and its bytes; an array a u32 type, a u64 count and its items. dims[0]
// is the fastest axis; views have it last. Everything is read once, in order: the work and the
// memory of opening are bounded by the size of the header.
#include <math.h>
#include <string.h>

#include "model/ckpt_internal.h"

enum { MAX_DIMS = 4, MAX_NESTING = 8, DEFAULT_ALIGNMENT = 32 };
enum { T_STRING = 8, T_ARRAY = 9 };

// Value types in their numbers' order: bytes in the file (0: they vary) and what they mean.
static const struct {
    uint8_t bytes;
    char kind;
} types[] = {
    {1, 'u'}, {1, 'i'}, {2, 'u'}, {2, 'i'}, {4, 'u'}, {4, 'i'}, {4, 'f'},
    {1, 'b'}, {0, 's'}, {0, 'a'}, {8, 'u'}, {8, 'i'}, {8, 'f'},
};
enum { N_TYPES = sizeof types / sizeof *types };

// The rest of the header.
struct cursor {
    const uint8_t *p;
    size_t left;
};

static int truncated(void) {
    return hs_fail(HS_EFORMAT, "the file ends inside its header: truncated, or damaged");
}

static bool get_u32(struct cursor *c, uint32_t *out) {
    if (c->left < sizeof *out) return false;
    memcpy(out, c->p, sizeof *out);
    c->p += sizeof *out;
    c->left -= sizeof *out;
    return true;
}

static bool get_u64(struct cursor *c, uint64_t *out) {
    if (c->left < sizeof *out) return false;
    memcpy(out, c->p, sizeof *out);
    c->p += sizeof *out;
    c->left -= sizeof *out;
    return true;
}

static bool get_bytes(struct cursor *c, uint64_t n, const uint8_t **out) {
    if (n > c->left) return false;
    *out = c->p;
    c->p += n;
    c->left -= (size_t)n;
    return true;
}

static bool get_string(struct cursor *c, const char **s, size_t *n) {
    const uint8_t *bytes;
    uint64_t len;
    if (!get_u64(c, &len) || !get_bytes(c, len, &bytes)) return false;
    *s = (const char *)bytes;
    *n = (size_t)len;
    return true;
}

// A name, copied so that it ends in a NUL.
static int get_name(struct cursor *c, hs_arena *arena, const char **out) {
    const char *s;
    size_t n;
    if (!get_string(c, &s, &n)) return truncated();
    if (memchr(s, 0, n)) return hs_fail(HS_EFORMAT, "damaged: a name holds a NUL");
    return hs_arena_str(arena, out, s, n);
}

// ---- metadata -----------------------------------------------------------------------------------

// A value of fixed size.
static hs_meta decode(uint32_t type, const uint8_t *p) {
    hs_meta m = {.from = HS_GGUF, .type = HS_META_INT};
    const int bytes = types[type].bytes;
    uint64_t u = 0;
    float f;
    memcpy(&u, p, (size_t)bytes);
    if (types[type].kind == 'f') {
        m.type = HS_META_NUM;
        memcpy(&f, p, sizeof f);
        if (bytes == 4)
            m.f = (double)f;
        else
            memcpy(&m.f, p, sizeof m.f);
        if (fabs(m.f) <= 0x1p53 && m.f == floor(m.f)) m.i = (int64_t)m.f;
    } else if (types[type].kind == 'i') {
        const int unused = 64 - 8 * bytes;
        m.i = (int64_t)(u << unused) >> unused;
        m.f = (double)m.i;
    } else if (u > INT64_MAX) {
        m.type = HS_META_NUM;
        m.f = (double)u;
    } else {
        m.i = (int64_t)u;
        m.f = (double)u;
    }
    if (types[type].kind == 'b') {
        m.type = HS_META_BOOL;
        m.i = u != 0;
    }
    return m;
}

static int read_array(struct cursor *c, hs_arena *arena, int nesting, hs_meta *out);

static int read_value(struct cursor *c, hs_arena *arena, uint32_t type, int nesting, hs_meta *out) {
    const uint8_t *p;
    if (type >= N_TYPES) return hs_fail(HS_EFORMAT, "damaged: value of unknown type %u", type);
    if (type == T_ARRAY) return read_array(c, arena, nesting, out);
    if (type == T_STRING) {
        *out = (hs_meta){.from = HS_GGUF, .type = HS_META_STR};
        return get_string(c, &out->s, &out->n) ? HS_OK : truncated();
    }
    if (!get_bytes(c, types[type].bytes, &p)) return truncated();
    if (types[type].kind == 'b' && *p > 1) return hs_fail(HS_EFORMAT, "damaged: a bool of %u", *p);
    *out = decode(type, p);
    return HS_OK;
}

// Strings get a table of where each is, so that any of them is found at once.
static int read_strings(struct cursor *c, hs_arena *arena, size_t n, hs_gguf_array *a) {
    uint64_t *offset;
    const char *s;
    size_t len;
    int rc = hs_arena_get(arena, &offset, n, sizeof *offset);
    for (size_t i = 0; !rc && i < n; i++) {
        offset[i] = (uint64_t)(c->p - a->data);
        if (!get_string(c, &s, &len)) rc = truncated();
    }
    a->offset = offset;
    return rc;
}

static int read_array(struct cursor *c, hs_arena *arena, int nesting, hs_meta *out) {
    hs_gguf_array *a;
    uint32_t type;
    uint64_t n;
    if (nesting == MAX_NESTING) return hs_fail(HS_EFORMAT, "damaged: arrays nested too deep");
    if (!get_u32(c, &type) || !get_u64(c, &n)) return truncated();
    if (type >= N_TYPES) return hs_fail(HS_EFORMAT, "damaged: array of unknown type %u", type);
    // A string takes 8 bytes at least and an array 12: that bounds what is allocated below.
    const uint64_t least = type == T_STRING ? 8 : type == T_ARRAY ? 12 : types[type].bytes;
    if (n > c->left / least) return truncated();
    int rc = hs_arena_get(arena, &a, 1, sizeof *a);
    if (rc) return rc;
    *a = (hs_gguf_array){.type = type, .data = c->p};
    *out = (hs_meta){.from = HS_GGUF, .type = HS_META_ARR, .n = (size_t)n, .at = a};
    if (type == T_STRING) return read_strings(c, arena, (size_t)n, a);
    if (type == T_ARRAY) {
        // Checked and passed over: hs_meta_item does not give nested arrays.
        hs_meta skipped;
        for (uint64_t i = 0; !rc && i < n; i++) rc = read_array(c, arena, nesting + 1, &skipped);
        return rc;
    }
    c->p += n * least;
    c->left -= (size_t)(n * least);
    return HS_OK;
}

bool hs_gguf_item(const hs_meta *arr, size_t i, hs_meta *out) {
    const hs_gguf_array *a = arr->at;
    if (a->type == T_ARRAY) return false;
    if (a->type == T_STRING) {
        struct cursor c = {a->data + a->offset[i], SIZE_MAX}; // read_strings has checked them
        *out = (hs_meta){.from = HS_GGUF, .type = HS_META_STR};
        return get_string(&c, &out->s, &out->n);
    }
    *out = decode(a->type, a->data + i * types[a->type].bytes);
    return true;
}

static int read_entries(hs_ckpt *ck, struct cursor *c, uint64_t n) {
    const uint8_t *from = c->p;
    if (n > c->left / 13) return truncated(); // an empty key, its type and one byte
    int rc = hs_arena_get(ck->arena, &ck->entries, (size_t)n, sizeof *ck->entries);
    if (rc) return rc;
    for (; ck->n_entries < n; ck->n_entries++) {
        hs_meta_entry *e = &ck->entries[ck->n_entries];
        uint32_t type;
        if ((rc = get_name(c, ck->arena, &e->key))) return rc;
        if (!get_u32(c, &type)) return truncated();
        rc = read_value(c, ck->arena, type, 0, &e->value);
        if (rc) return hs_prefix(rc, "%s", e->key);
    }
    ck->meta_raw = from;
    ck->meta_size = (size_t)(c->p - from);
    return hs_names_build(&ck->entry_names, ck->arena, ck->entries, ck->n_entries,
                          sizeof *ck->entries, "metadata key");
}

// ---- tensors ------------------------------------------------------------------------------------

// Types that exist and are not ours, for the message.
static const char *foreign_type(uint32_t type) {
    static const struct {
        uint32_t type;
        const char *name;
    } known[] = {
        {9, "Q8_1"},   {15, "Q8_K"},   {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"},
        {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"},   {22, "IQ2_S"},  {23, "IQ4_XS"},
        {29, "IQ1_M"}, {34, "TQ1_0"},  {35, "TQ2_0"},   {39, "MXFP4"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].type == type) return known[i].name;
    return "unknown";
}

// One tensor's line of the header; *offset counts from the start of the tensors. *name is NULL
// when not even that could be read.
static int read_info(struct cursor *c, const char **name, size_t *n_name, hs_view *v,
                     uint64_t *offset) {
    uint32_t n_dims, type;
    uint64_t dim;
    *name = NULL;
    if (!get_string(c, name, n_name) || !get_u32(c, &n_dims)) return truncated();
    if (n_dims < 1 || n_dims > MAX_DIMS)
        return hs_fail(HS_EFORMAT, "%u dimensions: damaged, or not a weight", n_dims);
    v->ndim = (int)n_dims;
    for (int i = v->ndim - 1; i >= 0; i--) {
        if (!get_u64(c, &dim)) return truncated();
        if (dim < 1 || dim > INT64_MAX) return hs_fail(HS_EFORMAT, "damaged: an axis of no size");
        v->shape[i] = (int64_t)dim;
    }
    if (!get_u32(c, &type) || !get_u64(c, offset)) return truncated();
    const int dtype = hs_dtype_of_gguf(type);
    if (dtype < 0)
        return hs_fail(HS_EUNSUPPORTED, "its type %u (%s) is not supported; quantise to another",
                       type, foreign_type(type));
    v->dtype = (hs_dtype)dtype;
    return HS_OK;
}

static int read_alignment(const hs_ckpt *ck, uint64_t *out) {
    hs_meta m;
    *out = DEFAULT_ALIGNMENT;
    if (!hs_ckpt_meta(ck, "general.alignment", &m)) return HS_OK;
    if (m.type != HS_META_INT || m.i < 1 || m.i > 1 << 30 || (m.i & (m.i - 1)))
        return hs_fail(HS_EFORMAT, "damaged: general.alignment is not a power of two");
    *out = (uint64_t)m.i;
    return HS_OK;
}

// Names are quoted in messages from the map: at most 80 bytes of them.
static int blame(int rc, const char *name, size_t n) {
    return name ? hs_prefix(rc, "tensor %.*s", (int)(n < 80 ? n : 80), name) : rc;
}

static int read_tensors(hs_ckpt *ck, struct cursor *c, uint64_t n, const hs_map *file) {
    uint64_t alignment;
    if (n > c->left / 32) return truncated(); // an empty name, one dimension, type and offset
    int rc = read_alignment(ck, &alignment);
    // The tensors' start is known once all infos are read: a first walk finds it.
    struct cursor walk = *c;
    const char *name;
    size_t n_name;
    hs_view v;
    uint64_t offset, size;
    for (uint64_t i = 0; !rc && i < n; i++) {
        rc = read_info(&walk, &name, &n_name, &v, &offset);
        rc = blame(rc, name, n_name);
    }
    if (rc) return rc;
    const uint64_t header = (uint64_t)(walk.p - file->data);
    const uint64_t start = (header + alignment - 1) / alignment * alignment;
    const uint8_t *data = file->data + (start < file->size ? start : file->size);
    const size_t n_data = (size_t)(file->data + file->size - data);
    for (uint64_t i = 0; !rc && i < n; i++) {
        v = (hs_view){0};
        rc = read_info(c, &name, &n_name, &v, &offset);
        if (!rc) rc = hs_ckpt_size(&v, &size);
        if (!rc && offset % alignment) rc = hs_fail(HS_EFORMAT, "damaged: it is not aligned");
        if (!rc) rc = hs_ckpt_add(ck, &v, name, n_name, data, n_data, offset, size);
        rc = blame(rc, name, n_name);
    }
    return rc ? rc : hs_ckpt_check_ranges(ck, 0, data, n_data, false);
}

// ---- the file -----------------------------------------------------------------------------------

static int check_version(uint32_t version) {
    if (version == 2 || version == 3) return HS_OK;
    if (version && (version & 0xffff) == 0)
        return hs_fail(HS_EUNSUPPORTED, "a big-endian GGUF file; convert it to little endian");
    if (version == 1) return hs_fail(HS_EUNSUPPORTED, "GGUF version 1; convert it to version 3");
    return hs_fail(HS_EUNSUPPORTED, "GGUF version %u; versions 2 and 3 are known", version);
}

int hs_ckpt_read_gguf(hs_ckpt *ck, size_t map) {
    const hs_map *file = &ck->maps[map];
    struct cursor c = {file->data, file->size};
    const uint8_t *magic;
    uint32_t version;
    uint64_t n_tensors, n_keys;
    hs_meta m;
    ck->container = HS_GGUF;
    if (!get_bytes(&c, 4, &magic) || memcmp(magic, "GGUF", 4))
        return hs_fail(HS_EFORMAT, "not a GGUF file, in spite of its name");
    if (!get_u32(&c, &version)) return truncated();
    int rc = check_version(version);
    if (rc) return rc;
    if (!get_u64(&c, &n_tensors) || !get_u64(&c, &n_keys)) return truncated();
    if ((rc = read_entries(ck, &c, n_keys))) return rc;
    if (hs_ckpt_meta(ck, "split.count", &m) && m.i > 1)
        return hs_fail(HS_EUNSUPPORTED, "one of %lld parts of a split model; merge them first",
                       (long long)m.i);
    return read_tensors(ck, &c, n_tensors, file);
}
