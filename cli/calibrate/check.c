// What `calibrate` is asked for, against the model and its items, before anything runs; see
// calibrate.h.
#include <stdlib.h>
#include <string.h>

#include "cli/calibrate/calibrate.h"
#include "cli/memory.h"
#include "model/core/mem.h"

int hs_calibrate_check_options(const hs_calibrate_options *o) {
    if (o->seed < 0) return hs_fail(HS_EARG, "--seed takes a number from 0 on");
    if (o->keep < 0) return hs_fail(HS_EARG, "--keep takes a number from 0 on");
    if (o->decode < 0) return hs_fail(HS_EARG, "--decode takes a number from 0 on");
    if (o->screen_tokens < 0) return hs_fail(HS_EARG, "--screen-tokens takes a number from 0 on");
    return hs_out_check(&o->out);
}

// ---- items --------------------------------------------------------------------------------------

static bool has_choices(const hs_quiz_item *item) {
    return item->kind == HS_QUIZ_CHOICE || item->kind == HS_QUIZ_YES_NO;
}

// Items [from, to) that have choices, and answers of any kind.
static void count(const hs_calibrate_work *w, int64_t from, int64_t to, int64_t *choices,
                  int64_t *answers) {
    *choices = *answers = 0;
    for (int64_t i = from; i < to; i++) {
        *choices += has_choices(hs_quiz_at(w->quiz, i));
        *answers += hs_quiz_at(w->quiz, i)->kind != HS_QUIZ_TEXT;
    }
}

static int find_objective(hs_calibrate_work *w) {
    static const char *const name[] = {"calibration", "held-out"};
    const int asked = w->opt->objective;
    int64_t choices[2], answers[2];
    count(w, 0, w->n_on, &choices[0], &answers[0]);
    count(w, w->n_on, w->n, &choices[1], &answers[1]);
    for (int part = 0; part < 2; part++) {
        if (!answers[part] && asked != HS_CALIBRATE_NLL)
            return hs_fail(HS_EARG,
                           "the %s part has no answers: give items with \"choices\" and "
                           "\"answer\", or --objective nll for the loss of texts",
                           name[part]);
        if (!choices[part] && asked == HS_CALIBRATE_CHOICE_NLL)
            return hs_fail(HS_EARG, "--objective choice_nll: the %s part has no choices",
                           name[part]);
    }
    const bool of_choices = choices[0] && choices[1];
    w->objective = asked != HS_CALIBRATE_NLL && of_choices ? HS_MEASURE_CHOICE_NLL : HS_MEASURE_NLL;
    return HS_OK;
}

static int open_items(hs_calibrate_work *w) {
    hs_quiz_opts o = {.model = w->session.model,
                      .prompts = w->session.prompts,
                      .spans = {w->spans.span, w->spans.n_span},
                      .progress = &w->session.bar.progress};
    int rc = hs_quiz_open(&w->quiz, &o);
    o.decode = w->opt->decode;
    if (!rc) rc = hs_quiz_open(&w->decoding, &o);
    return rc ? rc : find_objective(w);
}

// ---- heads and specs ----------------------------------------------------------------------------

static int usual_heads(hs_calibrate_work *w) {
    const hs_calibration *m = w->method.method;
    const int n_head = w->dims.n_head, end = w->dims.n_layer - m->but_last;
    int rc = hs_heads_parse(&w->heads, &w->dims, "none");
    if (rc) return rc;
    if (m->first_layer >= end && m->by == HS_CALIBRATE_HEADS)
        return hs_fail(HS_ERANGE,
                       "%s leaves out the first %d layers and the last %d, and the model has %d: "
                       "choose heads with --heads",
                       m->name, m->first_layer, m->but_last, w->dims.n_layer);
    for (int i = m->first_layer * n_head; i < end * n_head; i++) w->heads.on[i] = 1;
    return HS_OK;
}

int hs_calibrate_check_spec(const hs_calibrate_work *w, const char *spec) {
    const hs_spans spans = {w->spans.span, w->spans.n_span};
    hs_edit *edit;
    int rc = hs_edit_open(&edit, &w->dims, spec);
    for (int64_t k = 0; k < w->n && !rc; k++) {
        const hs_edit_prompt p = hs_edit_prompt_of(w->session.prompts, k, spans);
        rc = hs_edit_check(edit, &p);
    }
    hs_edit_close(edit);
    return rc;
}

// Every strength with all heads, as those of each group, on all items: strengths out of range, spans
// that are not there.
static int check_specs(const hs_calibrate_work *w) {
    const int n_unit = w->dims.n_layer * w->dims.n_head;
    int rc = HS_OK;
    for (int s = 0; s < w->method.n_strength && !rc; s++)
        for (int g = 0; w->method.method->specs[g] && !rc; g++) {
            hs_buf text = {0};
            int n;
            for (int i = 0; i < n_unit; i++) w->group[i] = g;
            rc = hs_calibrate_specs(&w->method, s, &w->heads, w->group, &text, &n);
            const char *spec = text.data;
            for (int i = 0; i < n && !rc; i++, spec += strlen(spec) + 1)
                rc = hs_calibrate_check_spec(w, spec);
            rc = hs_prefix(rc, "%s, %s", w->method.method->name, w->method.strength[s]);
            hs_buf_free(&text);
        }
    memset(w->group, 0, (size_t)n_unit * sizeof *w->group);
    return rc;
}

int hs_calibrate_check_work(hs_calibrate_work *w) {
    const hs_context_opts opts = {0};
    w->dims = hs_dims_of(w->session.model);
    int rc = hs_cli_prompts_check(w->session.prompts, 0, hs_cli_n_ctx(w->session.model));
    if (!rc)
        rc = hs_do_open(&w->spans, &(hs_do_options){0}, &w->opt->prompt.span, &w->session,
                        hs_cli_db_path(&w->opt->db));
    if (!rc) rc = open_items(w);
    if (!rc && w->opt->heads && w->method.method->by != HS_CALIBRATE_HEADS)
        rc = hs_fail(HS_EARG, "--heads: %s chooses no heads", w->method.method->name);
    if (!rc)
        rc = w->opt->heads
                 ? hs_prefix(hs_heads_parse(&w->heads, &w->dims, w->opt->heads), "--heads")
                 : usual_heads(w);
    if (!rc) rc = hs_alloc(&w->group, (size_t)(w->dims.n_layer * w->dims.n_head), sizeof *w->group);
    if (!rc && w->method.method->settle)
        w->method.method->settle(&w->dims, &w->method.args, &w->method.found);
    if (!rc) rc = hs_buf_rc(&w->method.found);
    if (!rc) rc = check_specs(w);
    return rc ? rc
              : hs_cli_room_check(w->session.model, &opts, hs_cli_longest(w->session.prompts),
                                  HS_LOGITS_LAST);
}
