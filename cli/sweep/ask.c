// What a sweep is asked for, read and checked before a model is opened; see sweep.h.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/slope.h"
#include "cli/metric.h"
#include "cli/sweep/sweep.h"
#include "model/core/mem.h"

const char *const hs_rankings[HS_N_RANK] = {"asc", "desc", "random"};

// The length of the first of several things joined by commas: those within brackets and quotes do
// not count.
static size_t piece(const char *s) {
    int depth = 0;
    char quote = 0;
    size_t n = 0;
    for (; s[n] && (s[n] != ',' || depth > 0 || quote); n++) {
        if (quote)
            quote = s[n] == quote ? 0 : quote;
        else if (s[n] == '\'' || s[n] == '"')
            quote = s[n];
        else
            depth += (s[n] == '(' || s[n] == '{') - (s[n] == ')' || s[n] == '}');
    }
    return n;
}

// ---- ops --------------------------------------------------------------------------------------

// "k=v" goes on with the op before it: "temper:@,t=2".
static bool is_parameter(const char *s, size_t n) {
    const char *eq = memchr(s, '=', n), *colon = memchr(s, ':', n);
    return eq && (!colon || eq < colon);
}

static int append(char **text, const char *s, size_t n) {
    char *longer = NULL;
    if (asprintf(&longer, "%s%s%.*s", *text ? *text : "", *text ? "," : "", (int)n, s) < 0)
        return hs_fail(HS_ENOMEM, "out of memory");
    free(*text);
    *text = longer;
    return HS_OK;
}

static int add_op(hs_sweep_ask *a, const char *s, size_t n) {
    if (is_parameter(s, n) && a->n_op) {
        hs_sweep_op *last = &a->op[a->n_op - 1];
        return append(strchr(last->op, '@') ? &last->op : &last->args, s, n);
    }
    if (!n) return hs_fail(HS_EARG, "--op takes names joined by commas: zero,mean");
    if (a->n_op == HS_SWEEP_OPS) return hs_fail(HS_EARG, "--op: at most %d at once", HS_SWEEP_OPS);
    return append(&a->op[a->n_op++].op, s, n);
}

static int read_ops(hs_sweep_ask *a) {
    const hs_opt_list *list = &a->opt->op;
    int rc = list->n ? HS_OK : add_op(a, "zero", 4);
    for (int i = 0; i < list->n && !rc; i++)
        for (const char *s = list->at[i]; !rc;) {
            const size_t n = piece(s);
            rc = add_op(a, s, n);
            if (!s[n]) break;
            s += n + 1;
        }
    for (int i = 0; i < a->n_op && !rc && a->opt->pos; i++) {
        hs_buf pos = {0};
        hs_buf_printf(&pos, "pos=%s", a->opt->pos);
        rc = hs_buf_rc(&pos);
        if (!rc) rc = append(&a->op[i].args, hs_buf_text(&pos), pos.len);
        hs_buf_free(&pos);
    }
    return rc;
}

// ---- metrics ----------------------------------------------------------------------------------

// What expressions may name: the effects, the same without the edit, and the two that say which
// unit it is.
enum { N_VALUE = 2 * HS_N_EFFECT };
// clang-format off
static const char *const value_names[N_VALUE + 1] = {
    "nll", "kl", "jsd", "logit_diff", "prob", "prob_diff", "accuracy",
    "base_nll", "base_kl", "base_jsd", "base_logit_diff", "base_prob", "base_prob_diff",
    "base_accuracy", NULL};
// clang-format on

static bool is_name(const char *s, size_t n) {
    if (!n || n >= HS_METRIC_NAME || strchr("0123456789_", *s)) return false;
    return strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_") >= n;
}

static int add_own(hs_sweep_ask *a, hs_sweep_metric *m, const char *s, size_t name, size_t n) {
    const uint64_t base = ((UINT64_C(1) << HS_N_EFFECT) - 1) << HS_N_EFFECT;
    if (!is_name(s, name))
        return hs_fail(HS_EARG,
                       "--metric NAME=EXPR: a name is of small letters, digits and _, not '%.*s'",
                       (int)name, s);
    m->effect = HS_N_EFFECT;
    m->text = strndup(s + name + 1, n - name - 1);
    if (!m->text) return hs_fail(HS_ENOMEM, "out of memory");
    int rc = hs_prefix(hs_expr_open(&m->expr, m->text, value_names, &m->used), "--metric %.*s",
                       (int)name, s);
    if (rc) return rc;
    for (int e = 0; e < HS_N_EFFECT; e++)
        if ((m->used | m->used >> HS_N_EFFECT) & (UINT64_C(1) << e)) {
            a->effects |= 1u << e;
            m->is_change |= hs_effects[e].against;
        }
    m->is_change |= (m->used & base) != 0;
    if (!m->used)
        return hs_fail(HS_EARG, "--metric %.*s: '%s' names no metric: it would be the same for all",
                       (int)name, s, m->text);
    return HS_OK;
}

static int add_effect(hs_sweep_ask *a, hs_sweep_metric *m) {
    unsigned bit = 0;
    int rc = hs_prefix(hs_effects_parse(&bit, m->name), "--metric");
    while (!rc && !(bit >> m->effect & 1)) m->effect++;
    a->effects |= bit;
    return rc;
}

// Names of others, in the database too, stay theirs.
static int check_name(const hs_sweep_ask *a, const hs_sweep_metric *m) {
    for (int i = 0; i < a->n_metric; i++)
        if (strcmp(a->metric[i].name, m->name) == 0)
            return hs_fail(HS_EARG, "--metric %s is given twice", m->name);
    if (m->effect == HS_N_EFFECT) {
        for (int e = 0; e < HS_N_EFFECT; e++)
            if (strcmp(hs_effects[e].name, m->name) == 0)
                return hs_fail(HS_EARG, "--metric %s=...: %s is there already: choose another name",
                               m->name, m->name);
        if (hs_metric_info(m->stored))
            return hs_fail(HS_EARG, "--metric %s=...: there is a metric %s: choose another name",
                           m->name, m->stored);
    }
    return HS_OK;
}

static int add_metric(hs_sweep_ask *a, const char *s, size_t n) {
    const char *eq = memchr(s, '=', n);
    const size_t name = eq ? (size_t)(eq - s) : n;
    if (a->n_metric == HS_SWEEP_METRICS)
        return hs_fail(HS_EARG, "--metric: at most %d at once", HS_SWEEP_METRICS);
    hs_sweep_metric m = {.effect = HS_EFFECT_NLL};
    snprintf(m.name, sizeof m.name, "%.*s", (int)name, s);
    int rc = eq ? add_own(a, &m, s, name, n) : add_effect(a, &m);
    snprintf(m.stored, sizeof m.stored, "%s%s", m.is_change ? "" : "delta_", m.name);
    if (!rc) rc = check_name(a, &m);
    a->metric[a->n_metric++] = m; // closed with the others, whatever rc says
    return rc;
}

static int read_metrics(hs_sweep_ask *a) {
    const hs_opt_list *list = &a->opt->metric;
    int rc = list->n ? HS_OK : add_metric(a, "nll", 3);
    for (int i = 0; i < list->n && !rc; i++)
        for (const char *s = list->at[i]; !rc;) {
            const size_t n = piece(s);
            rc = add_metric(a, s, n);
            if (!s[n]) break;
            s += n + 1;
        }
    return rc;
}

// What an expression says without the edit: there is no divergence then.
static void without(double v[N_VALUE], const double *base) {
    for (int e = 0; e < HS_N_EFFECT; e++) {
        v[e] = hs_effects[e].against ? 0 : base[e];
        v[HS_N_EFFECT + e] = v[e];
    }
}

int hs_sweep_measure(const hs_sweep_metric *m, const double *base, const double *value, double *raw,
                     double *raw_base) {
    double v[N_VALUE];
    if (!m->expr) {
        *raw = value[m->effect];
        *raw_base = hs_effects[m->effect].against ? 0 : base[m->effect];
        return HS_OK;
    }
    without(v, base);
    *raw_base = 0;
    int rc = m->is_change ? HS_OK : hs_expr_value(m->expr, v, raw_base);
    for (int e = 0; e < HS_N_EFFECT; e++) v[e] = value[e];
    return rc ? rc : hs_expr_value(m->expr, v, raw);
}

int hs_sweep_harm(const hs_sweep_metric *m) {
    return m->expr || hs_effects[m->effect].harm >= 0 ? 1 : -1;
}

// ---- the rest ---------------------------------------------------------------------------------

static int read_prune(hs_sweep_ask *a) {
    const char *s = a->opt->prune;
    a->prune = s != NULL;
    while (s) {
        const size_t n = strcspn(s, ",");
        int k = 0;
        while (k < HS_N_RANK && (strlen(hs_rankings[k]) != n || memcmp(s, hs_rankings[k], n))) k++;
        if (k == HS_N_RANK)
            return hs_fail(HS_EARG,
                           "--prune takes asc, desc and random, joined by commas, not '%s'",
                           a->opt->prune);
        a->rank[k] = true;
        s = s[n] ? s + n + 1 : NULL;
    }
    return HS_OK;
}

static int check_gradient(const hs_sweep_ask *a) {
    const hs_sweep_metric *m = &a->metric[0];
    if (a->n_metric == 1 && !m->expr && hs_slope_has(m->effect)) return HS_OK;
    return hs_fail(HS_EARG, "--by gradient estimates one metric, nll, logit_diff, prob or "
                            "prob_diff: for others sweep --by exact");
}

static int check_race(const hs_sweep_ask *a) {
    if (a->n_metric > 1 || a->metric[0].expr)
        return hs_fail(HS_EARG,
                       "--by race is about one of the built-in metrics: give one --metric");
    if (a->shard.n)
        return hs_fail(HS_EARG, "--by race decides over all prompts at once: leave out --shard");
    if (a->opt->delta <= 0 || a->opt->delta >= 1)
        return hs_fail(HS_EARG, "--delta takes a probability, above 0 and below 1");
    return HS_OK;
}

static int check_prune(const hs_sweep_ask *a) {
    if (!a->prune)
        return a->rank_run ? hs_fail(HS_EARG, "--rank goes with --prune: it says by which run")
                           : HS_OK;
    if (a->shard.n)
        return hs_fail(
            HS_EARG,
            "--prune needs the importance over all prompts: merge the shards first, then "
            "sweep --prune %s --rank RUN -o MERGED.db",
            a->opt->prune);
    if (a->opt->by == HS_BY_RACE && !a->rank_run)
        return hs_fail(HS_EARG, "--prune needs the importance of every unit, and a race leaves "
                                "some unmeasured: sweep --by exact or gradient");
    if (a->rank_run && a->n_op > 1)
        return hs_fail(HS_EARG, "--rank is the order for one --op: prune them one by one");
    return HS_OK;
}

static int check(const hs_sweep_ask *a) {
    const hs_sweep_options *o = a->opt;
    if (o->seed < 0) return hs_fail(HS_EARG, "--seed takes a number from 0 on");
    if (o->control < 0 || o->control > HS_SWEEP_DRAWS)
        return hs_fail(HS_EARG, "--control takes a number from 0 (none) to %d", HS_SWEEP_DRAWS);
    if (!(o->budget >= 0 && o->budget <= 1))
        return hs_fail(HS_EARG, "--budget takes a share of the full sweep, from 0 (no limit) to 1");
    int rc = o->by == HS_BY_GRADIENT ? check_gradient(a) : HS_OK;
    if (!rc && o->by == HS_BY_RACE) rc = check_race(a);
    return rc ? rc : check_prune(a);
}

int hs_sweep_ask_open(hs_sweep_ask *a, const hs_sweep_options *opt) {
    *a = (hs_sweep_ask){.opt = opt};
    int rc = hs_out_check(&opt->out);
    if (!rc) rc = hs_shard_parse(&a->shard, opt->shard);
    if (!rc) rc = read_ops(a);
    if (!rc) rc = read_metrics(a);
    if (!rc) rc = read_prune(a);
    if (!rc && opt->rank) rc = hs_parse_int("--rank", opt->rank, 1, INT64_MAX, &a->rank_run);
    return rc ? rc : check(a);
}

void hs_sweep_ask_close(hs_sweep_ask *a) {
    for (int i = 0; i < a->n_op; i++) {
        free(a->op[i].op);
        free(a->op[i].args);
        hs_buf_free(&a->op[i].edit);
    }
    for (int i = 0; i < a->n_metric; i++) {
        hs_expr_close(a->metric[i].expr);
        free(a->metric[i].text);
    }
    *a = (hs_sweep_ask){0};
}
