// From a checkpoint's metadata to an hs_config, by the tables of the families (arch.h).
//
// Three passes over one family's tables: refusals (keys whose value would change results in a way
// this build does not compute), keys (each field of hs_config from the first of its names that is
// there and not null), the family's own last word. Then sizes are bounded, so that nothing later
// multiplies or allocates from an absurd number.
#include "model/arch.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/buf.h"

#define HS_ENTRY(name) extern const hs_arch hs_arch_##name;
#include "gen/archs.inc"
#undef HS_ENTRY

const hs_arch *const hs_archs[] = {
#define HS_ENTRY(name) &hs_arch_##name,
#include "gen/archs.inc"
#undef HS_ENTRY
    NULL,
};

enum { KEY_MAX = 128, LAYERS_MAX = 10000 };

// Where a config is read from: the container and the architecture's name there, for "%s".
struct source {
    const hs_ckpt *ckpt;
    bool gguf;
    const char *type;
};

// ---- values -------------------------------------------------------------------------------------

// A metadata value as JSON text, for comparison and messages.
static void print_meta(hs_buf *out, const hs_meta *m) {
    switch (m->type) {
    case HS_META_NULL:
        hs_buf_str(out, "null");
        break;
    case HS_META_BOOL:
        hs_buf_str(out, m->i ? "true" : "false");
        break;
    case HS_META_INT:
        hs_buf_printf(out, "%lld", (long long)m->i);
        break;
    case HS_META_NUM:
        hs_buf_printf(out, "%.9g", m->f);
        break;
    case HS_META_STR:
        hs_buf_printf(out, "\"%.*s\"", (int)(m->n < 80 ? m->n : 80), m->s);
        break;
    case HS_META_ARR:
        hs_buf_str(out, m->n ? "[...]" : "[]");
        break;
    case HS_META_OBJ:
        hs_buf_str(out, m->n ? "{...}" : "{}");
        break;
    }
}

static int wrong_value(const char *key, const hs_meta *m, const char *want) {
    hs_buf text = {0};
    print_meta(&text, m);
    int rc = hs_fail(HS_EFORMAT, "config key %s is %s, not %s", key, hs_buf_text(&text), want);
    hs_buf_free(&text);
    return rc;
}

// The first of `names` ("a|b|c") as it is written in the container; returns its length in `names`.
static int spell_key(const struct source *src, const char *names, char key[KEY_MAX]) {
    const int n = (int)strcspn(names, "|");
    const char *arch = strstr(names, "%s");
    const int head = arch ? (int)(arch - names) : n;
    if (head < n)
        snprintf(key, KEY_MAX, "%.*s%s%.*s", head, names, src->type, n - head - 2, arch + 2);
    else
        snprintf(key, KEY_MAX, "%.*s", n, names);
    return n;
}

// Finds the first of `names` that is there and not null; `key` gets its name.
static bool look_up(const struct source *src, const char *names, char key[KEY_MAX], hs_meta *out) {
    while (*names) {
        const int n = spell_key(src, names, key);
        if (hs_ckpt_meta(src->ckpt, key, out) && out->type != HS_META_NULL) return true;
        names += n + (names[n] == '|');
    }
    return false;
}

// ---- refusals -----------------------------------------------------------------------------------

// Whether m is one of the values in `accept`.
static bool is_accepted(const hs_meta *m, const char *accept) {
    hs_buf text = {0};
    bool yes = false;
    print_meta(&text, m);
    while (*accept && !yes) {
        const size_t n = strcspn(accept, "|");
        char *end;
        const double number = strtod(accept, &end);
        if (m->type == HS_META_INT || m->type == HS_META_NUM)
            yes = end == accept + n && n > 0 && number == m->f;
        else
            yes = n == text.len && !memcmp(accept, hs_buf_text(&text), n);
        accept += n + (accept[n] == '|');
    }
    hs_buf_free(&text);
    return yes;
}

static int check_refusals(const struct source *src, const hs_refusal *r) {
    char key[KEY_MAX];
    hs_meta m;
    for (; r && (r->hf || r->gguf); r++) {
        const char *names = src->gguf ? r->gguf : r->hf;
        if (!names || !look_up(src, names, key, &m) || is_accepted(&m, r->accept)) continue;
        hs_buf text = {0};
        print_meta(&text, &m);
        int rc = hs_fail(HS_EUNSUPPORTED, "config key %s is %s: %s", key, hs_buf_text(&text),
                         r->why);
        hs_buf_free(&text);
        return rc;
    }
    return HS_OK;
}

// ---- keys ---------------------------------------------------------------------------------------

// A size: a whole number from 1, or an array that repeats one.
static int read_int(const hs_meta *m, const char *key, int64_t *out) {
    hs_meta item = *m;
    if (m->type == HS_META_ARR) {
        if (m->n > LAYERS_MAX || !hs_meta_item(m, 0, &item)) return wrong_value(key, m, "a size");
        hs_meta other;
        for (size_t i = 1; hs_meta_item(m, i, &other); i++)
            if (other.type != HS_META_INT || other.i != item.i)
                return hs_fail(HS_EUNSUPPORTED, "config key %s differs from layer to layer", key);
    }
    const bool whole = item.type == HS_META_INT ||
                       (item.type == HS_META_NUM && item.f == (double)item.i);
    if (!whole || item.i < 1) return wrong_value(key, m, "a whole number from 1");
    *out = item.i;
    return HS_OK;
}

static int read_enum(const hs_meta *m, const char *key, const hs_enum_name *names, int *out) {
    if (m->type != HS_META_STR) return wrong_value(key, m, "a name");
    for (const hs_enum_name *e = names; e->name; e++)
        if (strlen(e->name) == m->n && !memcmp(e->name, m->s, m->n)) {
            *out = e->value;
            return HS_OK;
        }
    hs_buf known = {0};
    for (const hs_enum_name *e = names; e->name; e++)
        hs_buf_printf(&known, "%s%s", e == names ? "" : ", ", e->name);
    int rc = hs_fail(HS_EUNSUPPORTED, "config key %s is \"%.*s\"; this build knows %s", key,
                     (int)(m->n < 80 ? m->n : 80), m->s, hs_buf_text(&known));
    hs_buf_free(&known);
    return rc;
}

// Writes one field of cfg from a value that is there.
static int read_field(hs_config *cfg, const hs_config_key *k, const hs_meta *m, const char *key) {
    void *field = (char *)cfg + k->offset;
    switch (k->type) {
    case HS_KEY_COUNT:
        if (m->type == HS_META_ARR) {
            *(int64_t *)field = (int64_t)m->n;
            return HS_OK;
        }
        return read_int(m, key, field);
    case HS_KEY_INT:
        return read_int(m, key, field);
    case HS_KEY_NUM:
        if ((m->type != HS_META_NUM && m->type != HS_META_INT) || !isfinite(m->f))
            return wrong_value(key, m, "a number");
        *(double *)field = m->f;
        return HS_OK;
    case HS_KEY_BOOL:
        if (m->type != HS_META_BOOL) return wrong_value(key, m, "true or false");
        *(bool *)field = m->i != 0;
        return HS_OK;
    case HS_KEY_ENUM:
        return read_enum(m, key, k->names, field);
    }
    return HS_OK;
}

static void set_fallback(hs_config *cfg, const hs_config_key *k) {
    void *field = (char *)cfg + k->offset;
    switch (k->type) {
    case HS_KEY_INT:
    case HS_KEY_COUNT:
        *(int64_t *)field = (int64_t)k->fallback;
        break;
    case HS_KEY_NUM:
        *(double *)field = k->fallback;
        break;
    case HS_KEY_BOOL:
        *(bool *)field = k->fallback != 0;
        break;
    case HS_KEY_ENUM:
        *(int *)field = (int)k->fallback;
        break;
    }
}

static int read_keys(const struct source *src, const hs_config_key *k, hs_config *cfg) {
    char key[KEY_MAX];
    hs_meta m;
    for (; k->hf || k->gguf; k++) {
        const char *names = src->gguf ? k->gguf : k->hf;
        if (!names) continue;
        if (!look_up(src, names, key, &m)) {
            spell_key(src, names, key);
            if (k->required) return hs_fail(HS_EFORMAT, "config key %s is missing", key);
            set_fallback(cfg, k);
            continue;
        }
        int rc = read_field(cfg, k, &m, key);
        if (rc) return rc;
    }
    return HS_OK;
}

// ---- bounds -------------------------------------------------------------------------------------

static int check_sizes(const hs_config *c) {
    const struct {
        const char *name;
        int64_t value, max;
    } sizes[] = {
        {"the number of layers", c->n_layer, LAYERS_MAX},
        {"the number of heads", c->n_head, 1 << 16},
        {"the number of key/value heads", c->n_kv_head, 1 << 16},
        {"the width", c->d_model, 1 << 20},
        {"the size of a head", c->d_head, 1 << 16},
        {"the width of the MLP", c->mlp == HS_MLP_NONE ? 1 : c->d_ff, 1 << 24},
        {"the vocabulary", c->n_vocab, 1 << 26},
        {"the context length", c->n_ctx, INT32_MAX},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].value < 1 || sizes[i].value > sizes[i].max)
            return hs_fail(HS_EFORMAT, "config: %s is %lld, outside 1 to %lld", sizes[i].name,
                           (long long)sizes[i].value, (long long)sizes[i].max);
    if (c->n_head * c->d_head > 1 << 24)
        return hs_fail(HS_EFORMAT, "config: %lld heads of %lld numbers are too many",
                       (long long)c->n_head, (long long)c->d_head);
    if (c->n_head % c->n_kv_head)
        return hs_fail(HS_EFORMAT, "config: %lld heads cannot share %lld key/value heads evenly",
                       (long long)c->n_head, (long long)c->n_kv_head);
    if (c->pos == HS_POS_ROPE && (c->rope_dim < 2 || c->rope_dim % 2 || c->rope_dim > c->d_head))
        return hs_fail(HS_EFORMAT,
                       "config: RoPE needs an even dimension from 2 to the size of a "
                       "head (%lld), not %lld",
                       (long long)c->d_head, (long long)c->rope_dim);
    if (c->norm_eps < 0) return hs_fail(HS_EFORMAT, "config: the norm's epsilon is negative");
    return HS_OK;
}

// ---- what families share ------------------------------------------------------------------------

const hs_enum_name hs_act_names[] = {
    {"silu", HS_ACT_SILU},
    {"swish", HS_ACT_SILU},
    {"gelu", HS_ACT_GELU},
    {"gelu_python", HS_ACT_GELU},
    {"gelu_new", HS_ACT_GELU_TANH},
    {"gelu_pytorch_tanh", HS_ACT_GELU_TANH},
    {"gelu_python_tanh", HS_ACT_GELU_TANH},
    {"gelu_fast", HS_ACT_GELU_TANH},
    {"gelu_accurate", HS_ACT_GELU_TANH},
    {"quick_gelu", HS_ACT_GELU_QUICK},
    {"relu", HS_ACT_RELU},
    {NULL, 0},
};

int hs_arch_heads(hs_config *c) {
    if (!c->n_kv_head) c->n_kv_head = c->n_head;
    if (!c->d_head && c->d_model % c->n_head)
        return hs_fail(HS_EFORMAT, "config: the width, %lld, is not a multiple of the %lld heads",
                       (long long)c->d_model, (long long)c->n_head);
    if (!c->d_head) c->d_head = c->d_model / c->n_head;
    if (c->attn_scale == 0) c->attn_scale = pow((double)c->d_head, -0.5);
    return HS_OK;
}

// ---- the family ---------------------------------------------------------------------------------

static_assert(sizeof(enum hs_act) == sizeof(int) && sizeof(enum hs_rope_scaling) == sizeof(int) &&
                  sizeof(enum hs_pos) == sizeof(int),
              "read_enum writes an int");

static const char *find_name(const char *const *names, const hs_meta *m) {
    for (; names && *names; names++)
        if (strlen(*names) == m->n && !memcmp(*names, m->s, m->n)) return *names;
    return NULL;
}

static int unknown_family(const struct source *src, const hs_meta *m) {
    hs_buf known = {0};
    for (const hs_arch *const *a = hs_archs; *a; a++)
        for (const char *const *t = src->gguf ? (*a)->gguf_types : (*a)->hf_types; t && *t; t++)
            hs_buf_printf(&known, "%s%s", known.len ? ", " : "", *t);
    int rc = hs_fail(HS_EUNSUPPORTED, "models of the kind \"%.*s\" are not supported; known are %s",
                     (int)(m->n < 80 ? m->n : 80), m->s, hs_buf_text(&known));
    hs_buf_free(&known);
    return rc;
}

int hs_arch_resolve(const hs_ckpt *ckpt, const hs_arch **arch, hs_config *cfg) {
    struct source src = {.ckpt = ckpt, .gguf = hs_ckpt_container(ckpt) == HS_GGUF};
    const char *key = src.gguf ? "general.architecture" : "model_type";
    hs_meta m;
    *arch = NULL;
    if (!hs_ckpt_meta(ckpt, key, &m) || m.type != HS_META_STR)
        return hs_fail(HS_EFORMAT, "config key %s is missing: it names the model's family", key);
    for (const hs_arch *const *a = hs_archs; *a && !src.type; a++) {
        src.type = find_name(src.gguf ? (*a)->gguf_types : (*a)->hf_types, &m);
        if (src.type) *arch = *a;
    }
    if (!*arch) return unknown_family(&src, &m);

    *cfg = (*arch)->base;
    int rc = check_refusals(&src, (*arch)->refusals);
    if (!rc) rc = read_keys(&src, (*arch)->keys, cfg);
    if (!rc && (*arch)->finish) rc = (*arch)->finish(cfg, ckpt);
    return rc ? rc : check_sizes(cfg);
}
