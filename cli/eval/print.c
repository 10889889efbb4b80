// What eval prints: numbers of each prompt or token, then of all together; see eval.h.
#include <inttypes.h>
#include <math.h>

#include "cli/eval/eval.h"

static const char *const effect_baselines[HS_N_EFFECT] = {
    [HS_EFFECT_LOGIT_DIFF] = "baseline_logit_diff",
    [HS_EFFECT_PROB] = "baseline_prob",
    [HS_EFFECT_PROB_DIFF] = "baseline_prob_diff",
    [HS_EFFECT_ACCURACY] = "baseline_accuracy",
};

// ---- JSON ---------------------------------------------------------------------------------------

static void key_nums(hs_jw *j, const char *key, const double *v, int64_t n) {
    hs_jw_key(j, key);
    hs_jw_begin(j, '[');
    for (int64_t i = 0; i < n; i++) hs_jw_num(j, v[i]);
    hs_jw_end(j, ']');
}

static void json_asked(hs_jw *j, const hs_asked *a, int64_t from, int64_t to, bool together) {
    for (int m = 0; m < HS_N_MEASURE; m++) {
        const enum hs_measure measure = (enum hs_measure)m;
        if (!(a->told >> m & 1) || !(together || hs_asked_by_prompt(a, measure))) continue;
        hs_jw_key_num(j, hs_asked_keys[m].name, hs_asked_total(a, measure, a->edited, from, to));
        if (a->edited)
            hs_jw_key_num(j, hs_asked_keys[m].baseline,
                          hs_asked_total(a, measure, false, from, to));
    }
}

static void json_changes(hs_jw *j, const hs_asked *a) {
    if (!a->told || !a->edited) return;
    hs_jw_key(j, "changes");
    hs_jw_begin(j, '{');
    for (int m = 0; m < HS_N_MEASURE; m++) {
        if (!(a->told >> m & 1)) continue;
        hs_jw_key(j, hs_asked_keys[m].name);
        hs_jw_begin(j, '{');
        hs_jw_key_num(j, "value", a->change[m].value);
        hs_jw_key_num(j, "ci_low", a->change[m].low);
        hs_jw_key_num(j, "ci_high", a->change[m].high);
        hs_jw_key_int(j, "n", a->change[m].n);
        hs_jw_end(j, '}');
    }
    hs_jw_end(j, '}');
}

// What is known of prompts [from, to); together: as a whole.
static void json_means(hs_jw *j, const hs_eval *e, int64_t from, int64_t to, bool together) {
    const hs_scores *s = &e->scores;
    const double nll = hs_scores_mean(s, s->nll, from, to);
    hs_jw_key_num(j, "nll", nll);
    hs_jw_key_num(j, "perplexity", exp(nll));
    if (s->kl) {
        const double base = hs_scores_mean(s, s->base_nll, from, to);
        hs_jw_key_num(j, "baseline_nll", base);
        hs_jw_key_num(j, "baseline_perplexity", exp(base));
        hs_jw_key_num(j, "kl", hs_scores_mean(s, s->kl, from, to));
    }
    for (int i = 0; i < HS_N_EFFECT; i++) {
        if (!(e->effects >> i & 1)) continue;
        hs_jw_key_num(j, hs_effects[i].name, hs_scores_answers(s, i, s->kl != NULL, from, to));
        if (s->kl) hs_jw_key_num(j, effect_baselines[i], hs_scores_answers(s, i, false, from, to));
    }
    json_asked(j, &e->asked, from, to, together);
}

static void json_prompts(hs_jw *j, const hs_eval *e) {
    const hs_scores *s = &e->scores;
    hs_jw_key(j, "prompts");
    hs_jw_begin(j, '[');
    for (int64_t i = 0; i < s->n_prompt; i++) {
        const int64_t n = hs_scores_count(s, i, i + 1);
        hs_jw_begin(j, '{');
        hs_jw_key(j, "id");
        hs_jw_str(j, s->prompt[i]->id);
        json_means(j, e, i, i + 1, false);
        key_nums(j, "token_nll", s->nll[i], n);
        if (s->kl) key_nums(j, "baseline_token_nll", s->base_nll[i], n);
        if (s->kl) key_nums(j, "token_kl", s->kl[i], n);
        hs_jw_end(j, '}');
    }
    hs_jw_end(j, ']');
}

int hs_eval_json(const hs_eval *e) {
    hs_buf json = {0};
    hs_jw j = {&json, false};
    hs_jw_begin(&j, '{');
    json_means(&j, e, 0, e->scores.n_prompt, true);
    json_changes(&j, &e->asked);
    hs_jw_key_int(&j, "tokens", hs_scores_count(&e->scores, 0, e->scores.n_prompt));
    if (e->per_token) json_prompts(&j, e);
    hs_jw_end(&j, '}');
    return hs_json_put(&json);
}

// ---- tables -------------------------------------------------------------------------------------

// The last two of each are there under edits; metrics of prompts follow.
enum { PLAIN = 4, EDITED = 6, MOST = EDITED + 2 * HS_N_EFFECT + 2 * HS_N_MEASURE };
static const hs_col prompt_columns[EDITED] = {{"prompt", "prompt", 0},     {"tokens", "scored", 0},
                                              {"nll", "nll", 6},           {"perplexity", "ppl", 3},
                                              {"baseline_nll", "base", 6}, {"kl", "kl", 6}};
static const hs_col token_columns[EDITED] = {{"prompt", "prompt", 0},     {"position", "pos", 0},
                                             {"token", "next id", 0},     {"nll", "nll", 6},
                                             {"baseline_nll", "base", 6}, {"kl", "kl", 6}};

static int columns(hs_col *out, const hs_eval *e) {
    const bool edited = e->scores.kl != NULL;
    const int n_plain = edited ? EDITED : PLAIN;
    int n = 0;
    while (n < n_plain) {
        out[n] = prompt_columns[n];
        n++;
    }
    for (int i = 0; i < HS_N_EFFECT; i++) {
        if (!(e->effects >> i & 1)) continue;
        out[n++] = (hs_col){hs_effects[i].name, hs_effects[i].name, 6};
        if (edited) out[n++] = (hs_col){effect_baselines[i], "base", 6};
    }
    for (int m = 0; m < HS_N_MEASURE; m++) {
        if (!hs_asked_by_prompt(&e->asked, (enum hs_measure)m)) continue;
        out[n++] = (hs_col){hs_asked_keys[m].name, hs_asked_keys[m].title, 3};
        if (edited) out[n++] = (hs_col){hs_asked_keys[m].baseline, NULL, 3}; // told below
    }
    return n;
}

static void table_prompt(hs_table *t, const hs_eval *e, int64_t i) {
    const hs_scores *s = &e->scores;
    const double nll = hs_scores_mean(s, s->nll, i, i + 1);
    hs_table_str(t, s->prompt[i]->id);
    hs_table_int(t, hs_scores_count(s, i, i + 1));
    hs_table_num(t, nll);
    hs_table_num(t, exp(nll));
    if (s->kl) {
        hs_table_num(t, hs_scores_mean(s, s->base_nll, i, i + 1));
        hs_table_num(t, hs_scores_mean(s, s->kl, i, i + 1));
    }
    for (int k = 0; k < HS_N_EFFECT; k++) {
        if (!(e->effects >> k & 1)) continue;
        hs_table_num(t, hs_scores_answers(s, k, s->kl != NULL, i, i + 1));
        if (s->kl) hs_table_num(t, hs_scores_answers(s, k, false, i, i + 1));
    }
    for (int m = 0; m < HS_N_MEASURE; m++) {
        const enum hs_measure measure = (enum hs_measure)m;
        if (!hs_asked_by_prompt(&e->asked, measure)) continue;
        hs_table_num(t, hs_asked_total(&e->asked, measure, e->asked.edited, i, i + 1));
        if (s->kl) hs_table_num(t, hs_asked_total(&e->asked, measure, false, i, i + 1));
    }
}

static void table_tokens(hs_table *t, const hs_scores *s, int64_t i) {
    for (int64_t k = 0; k < hs_scores_count(s, i, i + 1); k++) {
        hs_table_str(t, s->prompt[i]->id);
        hs_table_int(t, k);
        hs_table_int(t, s->prompt[i]->tokens[k + 1]);
        hs_table_num(t, s->nll[i][k]);
        if (!s->kl) continue;
        hs_table_num(t, s->base_nll[i][k]);
        hs_table_num(t, s->kl[i][k]);
    }
}

// The lines below the table.
static void put_loss(const hs_scores *s) {
    const int64_t n = hs_scores_count(s, 0, s->n_prompt);
    const double nll = hs_scores_mean(s, s->nll, 0, s->n_prompt);
    if (!n) {
        puts("\nnll - over 0 positions, perplexity -");
        return;
    }
    printf("\nnll %.6f over %" PRId64 " positions, perplexity %.3f\n", nll, n, exp(nll));
    if (!s->kl) return;
    const double base = hs_scores_mean(s, s->base_nll, 0, s->n_prompt);
    printf("unedited %.6f, perplexity %.3f: %+.6f, kl %.6f\n", base, exp(base), nll - base,
           hs_scores_mean(s, s->kl, 0, s->n_prompt));
}

static void put_effects(const hs_scores *s, unsigned effects) {
    for (int e = 0; e < HS_N_EFFECT; e++) {
        if (!(effects >> e & 1)) continue;
        const double value = hs_scores_answers(s, e, s->kl != NULL, 0, s->n_prompt);
        const double base = hs_scores_answers(s, e, false, 0, s->n_prompt);
        printf("%s %.6f over %" PRId64 " prompts", hs_effects[e].name, value, s->n_prompt);
        if (s->kl) printf(", unedited %.6f: %+.6f", base, value - base);
        putchar('\n');
    }
}

static void put_number(const char *before, double v, const char *format) {
    fputs(before, stdout);
    if (isnan(v))
        putchar('-');
    else
        printf(format[0] == '+' ? "%+.4f" : "%.4f", v);
}

static void put_asked(const hs_asked *a) {
    for (int m = 0; m < HS_N_MEASURE; m++) {
        const hs_change *c = &a->change[m];
        if (!(a->told >> m & 1)) continue;
        fputs(hs_asked_keys[m].name, stdout);
        put_number(" ", hs_asked_total(a, (enum hs_measure)m, a->edited, 0, a->n), "");
        printf(" over %" PRId64 " prompt%s", c->n, c->n == 1 ? "" : "s");
        if (a->edited) {
            put_number(", unedited ", hs_asked_total(a, (enum hs_measure)m, false, 0, a->n), "");
            put_number(": ", c->value, "+");
            put_number(", 95 % between ", c->low, "+");
            put_number(" and ", c->high, "+");
        }
        putchar('\n');
    }
}

int hs_eval_table(const hs_eval *e, const hs_call *call, const hs_out_options *out) {
    const hs_scores *s = &e->scores;
    hs_table *t;
    hs_col cols[MOST];
    const int n = columns(cols, e);
    int rc = e->per_token ? hs_table_open(&t, token_columns, s->kl ? EDITED : PLAIN)
                          : hs_table_open(&t, cols, n);
    if (rc) return rc;
    for (int64_t i = 0; i < s->n_prompt; i++) {
        if (e->per_token)
            table_tokens(t, s, i);
        else
            table_prompt(t, e, i);
    }
    rc = hs_table_put(t, call, out);
    hs_table_close(t);
    if (rc || out->csv || out->jsonl) return rc;
    put_loss(s);
    put_effects(s, e->effects);
    put_asked(&e->asked);
    return HS_OK;
}
