// What `duo` is asked for, against the model and its prompts, before anything runs; see duo.h.
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "cli/duo/duo.h"
#include "cli/memory.h"

int hs_duo_check_options(const hs_duo_options *o) {
    if (o->seed < 0) return hs_fail(HS_EARG, "--seed takes a number from 0 on");
    if (o->sink < 0 || o->sink > INT32_MAX)
        return hs_fail(HS_EARG, "--sink takes a number from 0 to %d", INT32_MAX);
    if (o->recent > INT32_MAX) return hs_fail(HS_EARG, "--recent takes at most %d", INT32_MAX);
    if (o->steps < 0) return hs_fail(HS_EARG, "--steps takes a number from 0 on");
    if (!(o->rate > 0 && o->rate <= 1)) return hs_fail(HS_EARG, "--rate takes a number up to 1");
    if (!(o->price >= 0 && isfinite(o->price)))
        return hs_fail(HS_EARG, "--lambda takes a number from 0 on");
    return hs_out_check(&o->out);
}

// "25,50": ascending, each once; 0 alone: none.
static int read_shares(hs_duo_work *w) {
    const char *s = w->opt->sparsity;
    if (!strcmp(s, "0")) return HS_OK;
    for (; s; s = strchr(s, ',') ? strchr(s, ',') + 1 : NULL) {
        char word[24];
        int64_t share;
        snprintf(word, sizeof word, "%.*s", (int)strcspn(s, ","), s);
        int rc = hs_parse_int("--sparsity", word, 1, 100, &share);
        if (rc) return rc;
        int at = w->n_share;
        while (at > 0 && w->share[at - 1] > share) at--;
        if (at > 0 && w->share[at - 1] == share) continue;
        if (w->n_share == HS_DUO_MOST_SHARES)
            return hs_fail(HS_EARG, "--sparsity takes at most %d numbers", HS_DUO_MOST_SHARES);
        memmove(&w->share[at + 1], &w->share[at], (size_t)(w->n_share - at) * sizeof *w->share);
        w->share[at] = (int)share;
        w->n_share++;
    }
    return HS_OK;
}

hs_duo_opts hs_duo_opts_of(const hs_duo_work *w) {
    return (hs_duo_opts){.model = w->session.model,
                         .prompts = w->session.prompts,
                         .labels = w->opt->labels,
                         .spans = {w->spans.span, w->spans.n_span},
                         .sink = w->opt->sink,
                         .recent = w->opt->recent,
                         .progress = &w->session.bar.progress};
}

int hs_duo_check_work(hs_duo_work *w) {
    const hs_model *model = w->session.model;
    w->dims = hs_dims_of(model);
    w->n_kv = w->dims.n_layer * w->dims.n_kv_head;
    int rc = hs_cli_prompts_check(w->session.prompts, 0, hs_cli_n_ctx(model));
    if (!rc)
        rc = hs_do_open(&w->spans, &(hs_do_options){0}, &w->prompt.span, &w->session,
                        hs_cli_db_path(&w->opt->db));
    const hs_duo_opts o = hs_duo_opts_of(w);
    if (!rc && o.labels) rc = hs_prefix(hs_places_check(o.labels), "--labels");
    if (!rc) rc = hs_duo_check(&o);
    if (!rc) rc = read_shares(w);
    const hs_context_opts opts = {0};
    return rc ? rc
              : hs_cli_room_check(model, &opts, hs_cli_longest(w->session.prompts), HS_LOGITS_LAST);
}
