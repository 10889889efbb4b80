// Names of hook points; see names.h. The names are TransformerLens's (tap.h spells them once); its
// short names and the names that its later "bridge" gives to the same tensors are accepted too.
#include "hooks/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/glob.h"

enum { NAME_MAX_LEN = 64, LAYER_DIGITS = 6 };

// Other full names, and short names beside the aliases of tap.h.
typedef struct synonym {
    const char *name;
    enum hs_point point;
} synonym;
static const synonym full_synonyms[] = {
    {"embed.hook_out", HS_EMBED},
    {"pos_embed.hook_out", HS_POS_EMBED},
    {"blocks.%d.hook_in", HS_RESID_PRE},
    {"blocks.%d.attn.q.hook_out", HS_Q},
    {"blocks.%d.attn.k.hook_out", HS_K},
    {"blocks.%d.attn.v.hook_out", HS_V},
    {"blocks.%d.attn.o.hook_in", HS_Z},
    {"blocks.%d.attn.hook_out", HS_ATTN_OUT},
    {"blocks.%d.ln2.hook_in", HS_RESID_MID},
    {"blocks.%d.mlp.hook_out", HS_MLP_OUT},
    {"blocks.%d.hook_out", HS_RESID_POST},
    {"unembed.hook_out", HS_LOGITS},
};
static const synonym short_synonyms[] = {
    {"attn", HS_PATTERN}, {"attn_logits", HS_SCORES}, {"query", HS_Q},           {"key", HS_K},
    {"value", HS_V},      {"mlp_pre", HS_MLP_PRE},    {"mlp_post", HS_MLP_POST},
};
enum {
    N_FULL = sizeof full_synonyms / sizeof *full_synonyms,
    N_SHORT = sizeof short_synonyms / sizeof *short_synonyms
};

// Why a model may lack a point, for messages.
static const char *const lacks[HS_N_POINT] = {
    [HS_POS_EMBED] = "it has no learned positions",
    [HS_LN1_SCALE] = "it has no norms",
    [HS_LN1_NORMALIZED] = "it has no norms",
    [HS_LN2_SCALE] = "it has no norm before an MLP",
    [HS_LN2_NORMALIZED] = "it has no norm before an MLP",
    [HS_LNF_SCALE] = "it has no final norm",
    [HS_LNF_NORMALIZED] = "it has no final norm",
    [HS_ROT_Q] = "it has no rotary positions",
    [HS_ROT_K] = "it has no rotary positions",
    [HS_RESID_MID] = "its blocks have no separate MLP step",
    [HS_MLP_PRE] = "it has no MLPs",
    [HS_MLP_POST] = "it has no MLPs",
    [HS_MLP_OUT] = "it has no MLPs",
    [HS_MLP_PRE_LINEAR] = "it has no gated MLPs",
};

// `form` with the layer in place of its "%d".
static void fill(char out[NAME_MAX_LEN], const char *form, int layer) {
    const char *at = strstr(form, "%d");
    if (at)
        snprintf(out, NAME_MAX_LEN, "%.*s%d%s", (int)(at - form), form, layer, at + 2);
    else
        snprintf(out, NAME_MAX_LEN, "%s", form);
}

void hs_point_name(hs_buf *out, enum hs_point point, int layer) {
    char name[NAME_MAX_LEN];
    fill(name, hs_point_infos[point].name, layer);
    hs_buf_str(out, name);
}

// Reads a decimal number of a few digits, as this library writes it; NULL when there is none.
static const char *read_layer(const char *s, int *layer) {
    size_t n = strspn(s, "0123456789");
    if (n == 0 || n > LAYER_DIGITS || (n > 1 && *s == '0')) return NULL;
    *layer = atoi(s);
    return s + n;
}

// Whether name is `form` for some layer.
static bool is_form(const char *form, const char *name, int *layer) {
    const char *at = strstr(form, "%d");
    *layer = -1;
    if (!at) return !strcmp(form, name);
    size_t head = (size_t)(at - form);
    if (strncmp(form, name, head)) return false;
    const char *rest = read_layer(name + head, layer);
    return rest && !strcmp(rest, at + 2);
}

int hs_point_find(const char *name, enum hs_point *point, int *layer) {
    for (int p = 0; p < HS_N_POINT; p++)
        if (is_form(hs_point_infos[p].name, name, layer)) {
            *point = (enum hs_point)p;
            return HS_OK;
        }
    for (size_t i = 0; i < N_FULL; i++)
        if (is_form(full_synonyms[i].name, name, layer)) {
            *point = full_synonyms[i].point;
            return HS_OK;
        }
    return hs_fail(HS_ENOTFOUND, "'%s' is not the name of a hook point", name);
}

int hs_point_shape(const hs_dims *d, enum hs_point point, int64_t n_row, int64_t shape[4]) {
    const struct {
        int ndim;
        int64_t shape[3];
    } shapes[] = {
        [HS_SHAPE_D] = {2, {n_row, d->d_model}},
        [HS_SHAPE_1] = {2, {n_row, 1}},
        [HS_SHAPE_HEAD] = {3, {n_row, d->n_head, d->d_head}},
        [HS_SHAPE_KV] = {3, {n_row, d->n_kv_head, d->d_head}},
        [HS_SHAPE_FF] = {2, {n_row, d->d_ff}},
        [HS_SHAPE_RESULT] = {3, {n_row, d->n_head, d->d_model}},
        [HS_SHAPE_VOCAB] = {2, {n_row, d->n_vocab}},
        [HS_SHAPE_MAP] = {3, {d->n_head, n_row, n_row}},
        [HS_SHAPE_STATS] = {3, {d->n_head, HS_N_STAT, n_row}},
    };
    const int kind = hs_point_infos[point].shape;
    for (int i = 0; i < 4; i++) shape[i] = i < shapes[kind].ndim ? shapes[kind].shape[i] : 1;
    return shapes[kind].ndim;
}

// ---- selections ---------------------------------------------------------------------------------

struct selection {
    uint64_t *mask;
    const hs_dims *dims;
    bool any;    // the name in work selected something
    int lacking; // a point that it names and the model lacks, -1 = none
    bool beyond; // it names a layer past the last
};

// Puts one (point, layer) into the selection; layer -1 means all of them.
static void put(struct selection *s, enum hs_point point, int layer) {
    const bool of_model = hs_point_infos[point].scope == HS_SCOPE_MODEL;
    if (!(s->dims->points & HS_BIT(point))) {
        s->lacking = (int)point;
        return;
    }
    if (layer >= s->dims->n_layer) {
        s->beyond = true;
        return;
    }
    int from = of_model ? s->dims->n_layer : layer < 0 ? 0 : layer;
    int to = of_model ? from + 1 : layer < 0 ? s->dims->n_layer : layer + 1;
    for (int l = from; l < to; l++) s->mask[l] |= HS_BIT(point);
    s->any |= from < to;
}

// "L", or "L" and the kind of the block's part ("a", "mlp", "ln1"), after a short name.
static bool read_suffix(const char *s, bool separated, int *layer, const char **kind) {
    *layer = -1;
    *kind = "";
    if (!*s) return true;
    if (separated && *s != ':' && *s != '.') return false;
    s = read_layer(s + separated, layer);
    if (!s) return false;
    *kind = *s == ':' || *s == '.' ? s + 1 : s;
    return true;
}

// TransformerLens's (name, layer, kind) triples: the kind tells the norms apart, and is otherwise
// one of the letters and words for the attention, the MLP and the block.
static bool put_kind(struct selection *s, enum hs_point point, int layer, const char *kind) {
    static const char *const idle[] = {"",    "a", "attn",  "attention", "m",
                                       "mlp", "b", "block", "blocks"};
    const bool scale = point == HS_LNF_SCALE, normal = point == HS_LNF_NORMALIZED;
    if (scale || normal) {
        if (layer < 0)
            put(s, point, -1);
        else if (!strcmp(kind, "ln1"))
            put(s, scale ? HS_LN1_SCALE : HS_LN1_NORMALIZED, layer);
        else if (!strcmp(kind, "ln2"))
            put(s, scale ? HS_LN2_SCALE : HS_LN2_NORMALIZED, layer);
        else
            return false;
        return true;
    }
    if (layer >= 0 && hs_point_infos[point].scope == HS_SCOPE_MODEL) return false;
    for (size_t i = 0; i < sizeof idle / sizeof *idle; i++)
        if (!strcmp(kind, idle[i])) {
            put(s, point, layer);
            return true;
        }
    return false;
}

// A short name, alone or with a layer: "z", "z:3", "z.3", "z3", "scale:4:ln1", "k6a".
static void put_short(struct selection *s, const char *text) {
    for (size_t i = 0; i < HS_N_POINT + N_SHORT; i++) {
        const bool own = i < HS_N_POINT;
        const char *alias = own ? hs_point_infos[i].alias : short_synonyms[i - HS_N_POINT].name;
        enum hs_point point = own ? (enum hs_point)i : short_synonyms[i - HS_N_POINT].point;
        size_t n = strlen(alias);
        int layer;
        const char *kind;
        if (strncmp(text, alias, n)) continue;
        if (!read_suffix(text + n, true, &layer, &kind) &&
            !read_suffix(text + n, false, &layer, &kind))
            continue;
        if (put_kind(s, point, layer, kind)) return;
    }
}

// Every name of `form` that the pattern matches.
static void put_matches(struct selection *s, const char *pattern, enum hs_point point,
                        const char *form) {
    const bool of_model = hs_point_infos[point].scope == HS_SCOPE_MODEL;
    for (int l = 0; l < (of_model ? 1 : s->dims->n_layer); l++) {
        char name[NAME_MAX_LEN];
        fill(name, form, l);
        if (hs_glob_match(pattern, name)) put(s, point, l);
    }
}

static void put_pattern(struct selection *s, const char *pattern) {
    for (int p = 0; p < HS_N_POINT; p++)
        put_matches(s, pattern, (enum hs_point)p, hs_point_infos[p].name);
    // The bridge's names only when the pattern is not about ours.
    const size_t n_full = s->any ? 0 : N_FULL;
    for (size_t i = 0; i < n_full; i++)
        put_matches(s, pattern, full_synonyms[i].point, full_synonyms[i].name);
}

static int nothing(const struct selection *s, const char *text) {
    if (s->beyond)
        return hs_fail(HS_ENOTFOUND, "'%s' selects nothing: the layers are 0 to %d", text,
                       s->dims->n_layer - 1);
    if (s->lacking >= 0)
        return hs_fail(HS_ENOTFOUND, "'%s' selects nothing: this model has no %s%s%s", text,
                       hs_point_infos[s->lacking].alias, lacks[s->lacking] ? ", " : "",
                       lacks[s->lacking] ? lacks[s->lacking] : "");
    return hs_fail(HS_ENOTFOUND, "'%s' selects no hook point: run 'headscope list hooks'", text);
}

// One name or pattern, its braces multiplied out: a branch that matches nothing is a mistake even
// where the others do.
static int put_one(uint64_t *mask, const hs_dims *dims, const char *text) {
    struct selection s = {.mask = mask, .dims = dims, .lacking = -1};
    enum hs_point point;
    int layer;
    if (!hs_glob_is_plain(text))
        put_pattern(&s, text);
    else if (!hs_point_find(text, &point, &layer))
        put(&s, point, layer);
    else
        put_short(&s, text);
    return s.any ? HS_OK : nothing(&s, text);
}

int hs_points_select(uint64_t *mask, const hs_dims *dims, const char *sel) {
    for (;;) {
        size_t n = hs_glob_part(sel);
        hs_buf names = {0};
        int rc = hs_glob_expand(&names, sel, n);
        for (const char *t = names.data; !rc && t < names.data + names.len; t += strlen(t) + 1)
            rc = put_one(mask, dims, t);
        hs_buf_free(&names);
        if (rc || !sel[n]) return rc;
        sel += n + 1;
    }
}
