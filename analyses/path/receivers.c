// Inputs of heads as users write them; see experiments/path.h.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/experiments/path.h"
#include "model/core/mem.h"

static const struct {
    const char *name;
    enum hs_point point;
} inputs[] = {{"q", HS_Q}, {"k", HS_K}, {"v", HS_V}};
enum { N_INPUT = sizeof inputs / sizeof *inputs };

const char *hs_receiver_name(char out[HS_RECEIVER_NAME], const hs_receiver *r) {
    const char *name = r->point == HS_Q ? "q" : r->point == HS_K ? "k" : "v";
    snprintf(out, HS_RECEIVER_NAME, "L%d%c%d.%s", r->layer, r->point == HS_Q ? 'H' : 'G', r->index,
             name);
    return out;
}

void hs_receivers_free(hs_receivers *r) {
    free(r->at);
    *r = (hs_receivers){0};
}

static int by_place(const void *a, const void *b) {
    const hs_receiver *x = a, *y = b;
    if (x->layer != y->layer) return x->layer < y->layer ? -1 : 1;
    if (x->point != y->point) return x->point < y->point ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static int add(hs_receivers *r, hs_receiver one) {
    for (int i = 0; i < r->n; i++)
        if (by_place(&r->at[i], &one) == 0) return HS_OK;
    int rc = hs_grow(&r->at, (size_t)r->n + 1, sizeof *r->at);
    if (!rc) r->at[r->n++] = one;
    return rc;
}

// Units with one letter after them.
static int add_part(hs_receivers *out, const hs_dims *dims, char *part) {
    const unsigned kinds = 1u << HS_UNIT_HEAD | 1u << HS_UNIT_GROUP;
    const int group = dims->n_head / dims->n_kv_head;
    char *dot = strrchr(part, '.');
    hs_units units = {0};
    int input = 0;
    while (dot && input < N_INPUT && strcmp(dot + 1, inputs[input].name) != 0) input++;
    if (!dot || input == N_INPUT)
        return hs_fail(HS_EARG,
                       "'%s' is no receiver: write logits, or a head's input as L9H6.q, .k or .v",
                       part);
    *dot = 0;
    int rc = hs_units_parse(&units, dims, part, kinds);
    for (int64_t i = 0; i < units.n && !rc; i++) {
        const hs_unit *u = &units.at[i];
        const int at = (int)u->index, first = u->kind == HS_UNIT_HEAD ? at : at * group;
        const int n = u->kind == HS_UNIT_HEAD ? 1 : group;
        if (inputs[input].point != HS_Q)
            rc = add(out, (hs_receiver){u->layer, inputs[input].point, first / group});
        for (int h = first; h < first + n && inputs[input].point == HS_Q && !rc; h++)
            rc = add(out, (hs_receiver){u->layer, HS_Q, h});
    }
    hs_units_free(&units);
    return rc;
}

int hs_receivers_parse(hs_receivers *out, const hs_dims *dims, const char *text) {
    char *copy = strdup(text), *rest = copy;
    int rc = copy ? HS_OK : hs_fail(HS_ENOMEM, "out of memory");
    *out = (hs_receivers){0};
    if (!rc && strcmp(text, "logits") != 0)
        for (char *part; !rc && (part = strsep(&rest, "+,"));) rc = add_part(out, dims, part);
    free(copy);
    if (rc)
        hs_receivers_free(out);
    else if (out->n)
        qsort(out->at, (size_t)out->n, sizeof *out->at, by_place);
    return rc;
}
