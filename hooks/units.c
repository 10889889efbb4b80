// Units; see units.h. The grammar of one part: [L]RANGE, then nothing, M, or one of H . G N and a
// RANGE, where RANGE is '*', N or N-M.
//
// A selection marks bytes, one a unit there could be, kinds one after another; reading the marks
// off in order gives every unit once. Costs n_layer * (d_ff + heads) bytes while it is read.
#include "hooks/units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/names_internal.h"
#include "model/core/mem.h"

const char *const hs_unit_kinds[HS_N_UNIT] = {
    [HS_UNIT_HEAD] = "head", [HS_UNIT_GROUP] = "group",   [HS_UNIT_LAYER] = "layer",
    [HS_UNIT_MLP] = "mlp",   [HS_UNIT_NEURON] = "neuron",
};

// How kinds are written and called.
static const struct {
    const char *sign, *example, *plural;
} forms[HS_N_UNIT] = {
    [HS_UNIT_HEAD] = {"H", "heads (L5H1)", "heads"},
    [HS_UNIT_GROUP] = {"G", "groups (L5G0)", "groups"},
    [HS_UNIT_LAYER] = {"", "layers (L5)", "layers"},
    [HS_UNIT_MLP] = {"M", "MLPs (L5M)", "MLPs"},
    [HS_UNIT_NEURON] = {"N", "neurons (L5N7)", "neurons"},
};

static bool has_index(enum hs_unit_kind kind) {
    return kind != HS_UNIT_LAYER && kind != HS_UNIT_MLP;
}

const char *hs_unit_name(char out[HS_UNIT_NAME], const hs_unit *u) {
    int n = snprintf(out, HS_UNIT_NAME, "L%d%s", u->layer, forms[u->kind].sign);
    if (has_index(u->kind))
        snprintf(out + n, HS_UNIT_NAME - (size_t)n, "%lld", (long long)u->index);
    return out;
}

// Units of a kind in a layer.
static int64_t kind_width(const hs_dims *d, enum hs_unit_kind kind) {
    const bool mlp = d->points & HS_BIT(HS_MLP_OUT);
    switch (kind) {
    case HS_UNIT_HEAD:
        return d->n_head;
    case HS_UNIT_GROUP:
        return d->n_kv_head;
    case HS_UNIT_MLP:
        return mlp;
    case HS_UNIT_NEURON:
        return mlp ? d->d_ff : 0;
    default:
        return 1;
    }
}

// ---- reading ------------------------------------------------------------------------------------

struct selection {
    const hs_dims *dims;
    unsigned kinds;
    uint8_t *on[HS_N_UNIT]; // [n_layer][kind_width], NULL: no unit of the kind
};

static bool allowed(const struct selection *s, enum hs_unit_kind kind) {
    return s->kinds >> kind & 1;
}

// "heads (L5H1), groups (L5G0) or layers (L5)"
static void list_allowed(const struct selection *s, hs_buf *out) {
    int left = __builtin_popcount(s->kinds);
    for (int k = 0; k < HS_N_UNIT; k++) {
        if (!allowed(s, (enum hs_unit_kind)k)) continue;
        hs_buf_str(out, forms[k].example);
        left--;
        if (left) hs_buf_str(out, left == 1 ? " or " : ", ");
    }
}

static int not_allowed(const struct selection *s, const char *part, size_t n, const char *what) {
    hs_buf forms_here = {0};
    list_allowed(s, &forms_here);
    int rc = hs_fail(HS_EARG, "'%.*s' %s: write %s", (int)n, part, what, hs_buf_text(&forms_here));
    hs_buf_free(&forms_here);
    return rc;
}

static int beyond(const struct selection *s, const char *part, size_t n, enum hs_unit_kind kind) {
    const int64_t width = kind_width(s->dims, kind);
    if (!width)
        return hs_fail(HS_ERANGE, "'%.*s' does not exist: this model has no MLPs", (int)n, part);
    if (!has_index(kind))
        return hs_fail(HS_ERANGE, "'%.*s' does not exist: layers are 0 to %d", (int)n, part,
                       s->dims->n_layer - 1);
    return hs_fail(HS_ERANGE, "'%.*s' does not exist: layers are 0 to %d, %s 0 to %lld", (int)n,
                   part, s->dims->n_layer - 1, forms[kind].plural, (long long)width - 1);
}

static int mark(struct selection *s, enum hs_unit_kind kind, hs_numbers layers, hs_numbers index) {
    const int64_t width = kind_width(s->dims, kind);
    int rc = HS_OK;
    if (!s->on[kind]) rc = hs_alloc(&s->on[kind], (size_t)s->dims->n_layer, (size_t)width);
    for (int64_t l = layers.from; l <= layers.to && !rc; l++)
        memset(s->on[kind] + l * width + index.from, 1, (size_t)(index.to - index.from + 1));
    return rc;
}

// The kind that follows the layers, stepped over; HS_N_UNIT when there is none such.
static enum hs_unit_kind read_kind(const char **at, const char *end, bool lettered) {
    if (*at == end) return lettered ? HS_UNIT_LAYER : HS_N_UNIT;
    const char sign = *(*at)++;
    if (!lettered) return sign == '.' ? HS_UNIT_HEAD : HS_N_UNIT;
    for (int k = 0; k < HS_N_UNIT; k++)
        if (*forms[k].sign == sign) return (enum hs_unit_kind)k;
    return HS_N_UNIT;
}

static int add_part(struct selection *s, const char *part, size_t n) {
    const char *at = part, *end = part + n;
    const bool lettered = n && *at == 'L';
    at += lettered;
    const hs_numbers layers = hs_numbers_read(&at, s->dims->n_layer);
    enum hs_unit_kind kind = layers.to < 0 ? HS_N_UNIT : read_kind(&at, end, lettered);
    if (kind == HS_N_UNIT) return not_allowed(s, part, n, "is not a unit");
    const int64_t width = kind_width(s->dims, kind);
    hs_numbers index = {0, 0};
    if (has_index(kind)) index = hs_numbers_read(&at, width ? width : 1);
    if (index.to < 0 || at != end) return not_allowed(s, part, n, "is not a unit");
    if (kind == HS_UNIT_LAYER && !allowed(s, kind) && allowed(s, HS_UNIT_HEAD)) {
        kind = HS_UNIT_HEAD;
        index = (hs_numbers){0, s->dims->n_head - 1};
    }
    if (!allowed(s, kind)) return not_allowed(s, part, n, "does not fit here");
    if (layers.to >= s->dims->n_layer || index.to >= kind_width(s->dims, kind))
        return beyond(s, part, n, kind);
    return mark(s, kind, layers, index);
}

static int add_all(struct selection *s) {
    if (!allowed(s, HS_UNIT_HEAD)) return not_allowed(s, "all", 3, "is every head");
    return mark(s, HS_UNIT_HEAD, (hs_numbers){0, s->dims->n_layer - 1},
                (hs_numbers){0, s->dims->n_head - 1});
}

static int64_t marked(const struct selection *s, enum hs_unit_kind kind) {
    int64_t n = 0;
    for (int64_t i = 0; s->on[kind] && i < s->dims->n_layer * kind_width(s->dims, kind); i++)
        n += s->on[kind][i];
    return n;
}

static int read_off(const struct selection *s, hs_units *out) {
    int64_t n = 0;
    for (int k = 0; k < HS_N_UNIT; k++) n += marked(s, (enum hs_unit_kind)k);
    int rc = hs_alloc(&out->at, (size_t)n, sizeof *out->at);
    if (rc) return rc;
    for (int k = 0; k < HS_N_UNIT; k++) {
        const int64_t width = kind_width(s->dims, (enum hs_unit_kind)k);
        for (int64_t i = 0; s->on[k] && i < s->dims->n_layer * width; i++)
            if (s->on[k][i])
                out->at[out->n++] = (hs_unit){(enum hs_unit_kind)k, (int)(i / width), i % width};
    }
    return HS_OK;
}

int hs_units_parse(hs_units *out, const hs_dims *dims, const char *sel, unsigned kinds) {
    struct selection s = {.dims = dims, .kinds = kinds};
    *out = (hs_units){0};
    int rc = HS_OK;
    if (!strcmp(sel, "all")) {
        rc = add_all(&s);
    } else {
        for (;;) {
            const size_t n = strcspn(sel, ",+");
            rc = add_part(&s, sel, n);
            if (rc || !sel[n]) break;
            sel += n + 1;
        }
    }
    if (!rc) rc = read_off(&s, out);
    for (int k = 0; k < HS_N_UNIT; k++) free(s.on[k]);
    return rc;
}

void hs_units_free(hs_units *u) {
    free(u->at);
    *u = (hs_units){0};
}

// ---- what units are made of ---------------------------------------------------------------------

int hs_units_heads(hs_heads *out, const hs_dims *dims, const hs_units *units) {
    const int group = dims->n_head / dims->n_kv_head;
    int rc = hs_heads_parse(out, dims, "none");
    for (int64_t i = 0; i < units->n && !rc; i++) {
        const hs_unit *u = &units->at[i];
        uint8_t *row = out->on + (int64_t)u->layer * dims->n_head;
        if (u->kind == HS_UNIT_HEAD) row[u->index] = 1;
        if (u->kind == HS_UNIT_GROUP) memset(row + u->index * group, 1, (size_t)group);
    }
    return rc;
}

static hs_unit_cell cell_of(const hs_dims *d, const hs_unit *u) {
    const int64_t group = d->n_head / d->n_kv_head * d->d_head;
    const hs_unit_cell cells[HS_N_UNIT] = {
        [HS_UNIT_HEAD] = {u->layer, HS_Z, u->index * d->d_head, (u->index + 1) * d->d_head},
        [HS_UNIT_GROUP] = {u->layer, HS_Z, u->index * group, (u->index + 1) * group},
        [HS_UNIT_LAYER] = {u->layer, HS_ATTN_OUT, 0, d->d_model},
        [HS_UNIT_MLP] = {u->layer, HS_MLP_OUT, 0, d->d_model},
        [HS_UNIT_NEURON] = {u->layer, HS_MLP_POST, u->index, u->index + 1},
    };
    return cells[u->kind];
}

static int compare_cells(const void *pa, const void *pb) {
    const hs_unit_cell *a = pa, *b = pb;
    if (a->layer != b->layer) return a->layer < b->layer ? -1 : 1;
    if (a->point != b->point) return a->point < b->point ? -1 : 1;
    return a->from < b->from ? -1 : a->from > b->from;
}

// Joins neighbours that touch or overlap.
static void join(hs_unit_cells *c) {
    int64_t n = 0;
    for (int64_t i = 0; i < c->n; i++) {
        hs_unit_cell *last = n ? &c->at[n - 1] : NULL;
        const hs_unit_cell *now = &c->at[i];
        if (last && last->layer == now->layer && last->point == now->point &&
            last->to >= now->from) {
            if (now->to > last->to) last->to = now->to;
        } else {
            c->at[n++] = *now;
        }
    }
    c->n = n;
}

int hs_unit_cells_of(hs_unit_cells *out, const hs_dims *dims, const hs_units *units) {
    *out = (hs_unit_cells){0};
    int rc = hs_alloc(&out->at, 2 * (size_t)units->n, sizeof *out->at);
    if (rc) return rc;
    for (int64_t i = 0; i < units->n; i++) {
        const hs_unit *u = &units->at[i];
        out->at[out->n++] = cell_of(dims, u);
        if (u->kind == HS_UNIT_LAYER && dims->points & HS_BIT(HS_MLP_OUT))
            out->at[out->n++] = cell_of(dims, &(hs_unit){HS_UNIT_MLP, u->layer, 0});
    }
    qsort(out->at, (size_t)out->n, sizeof *out->at, compare_cells);
    join(out);
    return HS_OK;
}

void hs_unit_cells_free(hs_unit_cells *c) {
    free(c->at);
    *c = (hs_unit_cells){0};
}

const hs_unit_cell *hs_unit_cells_at(const hs_unit_cells *c, enum hs_point point, int layer,
                                     int64_t *n) {
    const hs_unit_cell key = {layer, point, 0, 0};
    int64_t lo = 0, hi = c->n;
    while (lo < hi) {
        const int64_t mid = lo + (hi - lo) / 2;
        if (compare_cells(&c->at[mid], &key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *n = 0;
    while (lo + *n < c->n && c->at[lo + *n].layer == layer && c->at[lo + *n].point == point) ++*n;
    return c->at + lo;
}

void hs_unit_cells_points(const hs_unit_cells *c, uint64_t *points) {
    for (int64_t i = 0; i < c->n; i++) points[c->at[i].layer] |= HS_BIT(c->at[i].point);
}
