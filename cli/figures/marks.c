// Tokens that a method found, marked in figures of a prompt; see figure.h.
#include <string.h>

#include "cli/figures/figure.h"

// What --mark takes, and the named query that finds it: its rows have a position, a layer, and of
// heads a head.
static const struct {
    const char *name, *query;
    const char *one, *several; // what a position is, of one head and of several
} kinds[] = {
    {"hidden_sinks", "hidden_sinks", "hidden sink (ACT)", "hidden sink (ACT) of at least one head"},
    {"sink_tokens", "residual_sinks", "sink token (VAR)",
     "sink token (VAR) in at least one of the layers"},
};
enum { N_KIND = sizeof kinds / sizeof *kinds };

typedef struct marks {
    const hs_heads *heads;
    bool *at;
    int64_t n;
} marks;

static bool has_layer(const hs_heads *heads, int64_t layer) {
    for (int h = 0; h < heads->n_head; h++)
        if (hs_heads_has(heads, (int)layer, h)) return true;
    return false;
}

static int on_found(void *ctx, const hs_query *q) {
    const marks *m = ctx;
    const int64_t layer = hs_query_int(q, "layer"), head = hs_query_int(q, "head"),
                  position = hs_query_int(q, "position");
    if (layer < 0 || layer >= m->heads->n_layer || head < 0 || head >= m->heads->n_head ||
        position < 0 || position >= m->n)
        return HS_OK;
    const bool of_layer = hs_query_named(q, "head").type == HS_CELL_NULL;
    m->at[position] |= of_layer ? has_layer(m->heads, layer)
                                : hs_heads_has(m->heads, (int)layer, (int)head);
    return HS_OK;
}

static int no_kind(const char *name) {
    hs_buf all = {0};
    for (int k = 0; k < N_KIND; k++) hs_buf_printf(&all, "%s%s", k ? ", " : "", kinds[k].name);
    int rc = hs_fail(HS_EARG, "--mark: there is no '%s' to mark: there are %s", name,
                     hs_buf_text(&all));
    hs_buf_free(&all);
    return rc;
}

int hs_job_marks(hs_job *j, const hs_heads *heads, int64_t n, const bool **out, const char **name) {
    marks m = {.heads = heads, .n = n};
    int k = 0;
    *out = NULL;
    *name = NULL;
    if (!j->opt->mark) return HS_OK;
    while (k < N_KIND && strcmp(kinds[k].name, j->opt->mark) != 0) k++;
    if (k == N_KIND) return no_kind(j->opt->mark);
    int rc = hs_arena_get(j->arena, &m.at, (size_t)n, sizeof *m.at);
    if (!rc) rc = hs_source_each(&j->r, kinds[k].query, NULL, 0, on_found, &m);
    if (!rc) rc = hs_job_say(j, "mark", j->opt->mark);
    *out = m.at;
    *name = hs_heads_count(heads) == 1 ? kinds[k].one : kinds[k].several;
    return rc;
}
