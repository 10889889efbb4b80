// The meter: effects reduced from rows of logits as they stream past; see effect.h.
//
// A row gives its numbers on its own, so that values do not depend on batches, and a mean is summed
// in order of positions. What lies before an edit is not run again: its rows are the baseline's,
// and diverge from it by exactly 0, as does any row that is equal to the bit.
// Memory: three numbers a scored row of the evaluation at hand; for kl and jsd the baseline's
// logits, n_vocab numbers a scored row of each prompt.
#include "analyses/effect.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

enum { ROWS = 64 };             // reduced together
enum { N_SEQUENCE_EFFECT = 3 }; // nll, kl, jsd: the first of enum hs_effect

struct prompt {
    const hs_prompt *prompt;
    hs_answer answer;
    bool measured;              // its baseline
    double *nll, *lse;          // [T - 1] of the baseline
    float *logits;              // [T - 1][n_vocab]; NULL: no effect needs them
    double at_end[HS_N_EFFECT]; // answer effects
};

struct seq {
    int prompt;
    int64_t from, to;
    double *row; // [N_SEQUENCE_EFFECT][to - from], NaN before it came
    double at_end[HS_N_EFFECT];
};

struct hs_meter {
    const hs_model *model;
    const hs_backend *be;
    hs_dev *dev;
    int64_t n_vocab;
    int n_layer;
    unsigned effects;
    bool scores, against, answers; // which kinds are wanted
    struct prompt *prompt;
    int n_prompt;
    // The evaluation at hand.
    struct seq *seq;
    double *row;     // of all sequences
    int64_t *wanted; // rows of the batch
    int n_seq;
    bool baseline;
};

// ---- open and close -----------------------------------------------------------------------------

static unsigned bits_where(bool (*has)(const hs_effect_info *)) {
    unsigned bits = 0;
    for (int i = 0; i < HS_N_EFFECT; i++) bits |= (unsigned)has(&hs_effects[i]) << i;
    return bits;
}

static bool is_against(const hs_effect_info *e) {
    return e->against;
}

static bool is_of_answer(const hs_effect_info *e) {
    return e->answer;
}

static int64_t n_scored(const hs_prompt *p) {
    return p->n_token > 0 ? p->n_token - 1 : 0;
}

static int open_prompt(const hs_meter *m, struct prompt *p, const hs_meter_prompt *in) {
    const size_t n = (size_t)n_scored(in->prompt);
    *p = (struct prompt){.prompt = in->prompt, .answer = in->answer};
    int rc = hs_answer_check(&p->answer, p->prompt, m->effects, "");
    if (!rc && m->scores) rc = hs_alloc(&p->nll, n, sizeof *p->nll);
    if (!rc && m->scores) rc = hs_alloc(&p->lse, n, sizeof *p->lse);
    if (!rc && m->against) rc = hs_alloc(&p->logits, n, (size_t)m->n_vocab * sizeof *p->logits);
    return rc;
}

int hs_meter_open(hs_meter **out, const hs_model *model, unsigned effects,
                  const hs_meter_prompt *prompt, int n_prompt) {
    const unsigned answers = bits_where(is_of_answer), against = bits_where(is_against);
    hs_meter *m;
    *out = NULL;
    int rc = hs_alloc(&m, 1, sizeof *m);
    if (rc) return rc;
    *m = (hs_meter){.model = model,
                    .be = hs_model_backend(model),
                    .dev = hs_model_dev(model),
                    .n_vocab = hs_model_config(model)->n_vocab,
                    .n_layer = (int)hs_model_config(model)->n_layer,
                    .effects = effects,
                    .scores = (effects & ~answers) != 0,
                    .against = (effects & against) != 0,
                    .answers = (effects & answers) != 0};
    rc = hs_alloc(&m->prompt, (size_t)n_prompt, sizeof *m->prompt);
    for (; !rc && m->n_prompt < n_prompt; m->n_prompt++)
        rc = open_prompt(m, &m->prompt[m->n_prompt], &prompt[m->n_prompt]);
    if (rc)
        hs_meter_close(m);
    else
        *out = m;
    return rc;
}

void hs_meter_close(hs_meter *m) {
    if (!m) return;
    for (int i = 0; i < m->n_prompt; i++) {
        free(m->prompt[i].nll);
        free(m->prompt[i].lse);
        free(m->prompt[i].logits);
    }
    free(m->prompt);
    free(m->seq);
    free(m->row);
    free(m->wanted);
    free(m);
}

int64_t hs_meter_bytes(const hs_model *model, unsigned effects, int64_t n_token) {
    const int64_t row = hs_model_config(model)->n_vocab * (int64_t)sizeof(float);
    return effects & bits_where(is_against) ? n_token * row : 0;
}

// ---- an evaluation ------------------------------------------------------------------------------

// Whether the prompt's position meets the LM head.
static bool is_wanted(const hs_meter *m, const struct prompt *p, int64_t pos) {
    return (m->scores && pos < n_scored(p->prompt)) || (m->answers && pos == p->answer.end);
}

int64_t hs_meter_rows(const hs_meter *m, int prompt) {
    const struct prompt *p = &m->prompt[prompt];
    int64_t n = p->prompt->n_token;
    while (n > 1 && !is_wanted(m, p, n - 1)) n--;
    return n;
}

static int64_t end_of(const hs_meter *m, const hs_meter_seq *s) {
    return s->to ? s->to : m->prompt[s->prompt].prompt->n_token;
}

static int reserve(hs_meter *m, const hs_meter_seq *seq, int n_seq) {
    int64_t n = 0;
    for (int s = 0; s < n_seq; s++) n += end_of(m, &seq[s]) - seq[s].from;
    m->n_seq = 0;
    int rc = hs_grow(&m->seq, (size_t)n_seq, sizeof *m->seq);
    if (!rc) rc = hs_grow(&m->row, (size_t)n, N_SEQUENCE_EFFECT * sizeof *m->row);
    if (!rc) rc = hs_grow(&m->wanted, (size_t)n, sizeof *m->wanted);
    for (int64_t i = 0; !rc && i < n * N_SEQUENCE_EFFECT; i++) m->row[i] = NAN;
    return rc;
}

int hs_meter_begin(hs_meter *m, const hs_meter_seq *seq, int n_seq, bool baseline,
                   const int64_t **rows, int64_t *n_row) {
    int64_t row = 0;
    *rows = NULL;
    *n_row = 0;
    int rc = reserve(m, seq, n_seq);
    if (rc) return rc;
    for (int s = 0; s < n_seq; s++) {
        const struct prompt *p = &m->prompt[seq[s].prompt];
        const int64_t from = seq[s].from, to = end_of(m, &seq[s]);
        assert(baseline ? from == 0 : p->measured || (from == 0 && !m->against));
        m->seq[s] = (struct seq){seq[s].prompt, from, to, m->row + row * N_SEQUENCE_EFFECT, {0}};
        for (int i = 0; i < HS_N_EFFECT; i++)
            m->seq[s].at_end[i] = p->answer.end < from ? p->at_end[i] : NAN;
        for (int64_t pos = from; pos < to; pos++, row++)
            if (is_wanted(m, p, pos)) m->wanted[(*n_row)++] = row;
        m->prompt[seq[s].prompt].measured |= baseline;
    }
    m->n_seq = n_seq;
    m->baseline = baseline;
    *rows = m->wanted;
    return HS_OK;
}

// ---- rows of logits -----------------------------------------------------------------------------

// Divergences of n rows from the baseline's. What did not change diverges by nothing, whatever the
// last digit of a sum says.
static int diverge(const hs_meter *m, const struct seq *s, int64_t pos, int64_t n, const float *x,
                   int64_t ld, const double *lse) {
    const struct prompt *p = &m->prompt[s->prompt];
    const int64_t n_row = s->to - s->from, at = pos - s->from;
    const float *base = p->logits + pos * m->n_vocab;
    double *kl = s->row + HS_EFFECT_KL * n_row + at, *jsd = s->row + HS_EFFECT_JSD * n_row + at;
    int rc = m->be->divergence(m->dev, m->effects >> HS_EFFECT_KL & 1 ? kl : NULL,
                               m->effects >> HS_EFFECT_JSD & 1 ? jsd : NULL, base, m->n_vocab,
                               p->lse + pos, x, ld, lse, n, m->n_vocab);
    for (int64_t r = 0; r < n && !rc; r++)
        if (!memcmp(base + r * m->n_vocab, x + r * ld, (size_t)m->n_vocab * sizeof *x))
            kl[r] = jsd[r] = 0;
    return rc;
}

static void keep_baseline(const hs_meter *m, const struct seq *s, int64_t pos, int64_t n,
                          const float *x, int64_t ld, const double *lse) {
    const struct prompt *p = &m->prompt[s->prompt];
    const int64_t n_row = s->to - s->from;
    for (int64_t r = 0; r < n; r++) {
        const int64_t at = pos + r - s->from;
        p->nll[pos + r] = s->row[at];
        p->lse[pos + r] = lse[r];
        s->row[HS_EFFECT_KL * n_row + at] = s->row[HS_EFFECT_JSD * n_row + at] = 0;
        if (m->against)
            memcpy(p->logits + (pos + r) * m->n_vocab, x + r * ld, (size_t)m->n_vocab * sizeof *x);
    }
}

// At most ROWS scored rows of a sequence, from position pos on.
static int score(const hs_meter *m, const struct seq *s, int64_t pos, int64_t n, const float *x,
                 int64_t ld) {
    const struct prompt *p = &m->prompt[s->prompt];
    double lse[ROWS];
    int rc = m->be->log_sum_exp(m->dev, lse, x, ld, n, m->n_vocab);
    for (int64_t r = 0; r < n && !rc; r++)
        s->row[pos + r - s->from] = lse[r] - (double)x[r * ld + p->prompt->tokens[pos + r + 1]];
    if (!rc && m->baseline) keep_baseline(m, s, pos, n, x, ld, lse);
    if (!rc && !m->baseline && m->against) rc = diverge(m, s, pos, n, x, ld, lse);
    return rc;
}

static bool has_largest(const float *x, int64_t n, hs_ids of) {
    int64_t most = 0;
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[most]) most = i;
    for (int64_t i = 0; i < of.n; i++)
        if (of.at[i] == most) return true;
    return false;
}

static double probability(const float *x, double lse, hs_ids of) {
    double sum = 0;
    for (int64_t i = 0; i < of.n; i++) sum += exp((double)x[of.at[i]] - lse);
    return sum;
}

int hs_answer_measure(double *out, const hs_model *model, const hs_answer *a, const float *logits) {
    const int64_t n = hs_model_config(model)->n_vocab;
    const hs_ids right = hs_answer_right(a), wrong = hs_answer_wrong(a);
    double lse;
    int rc = hs_model_backend(model)->log_sum_exp(hs_model_dev(model), &lse, logits, n, 1, n);
    if (rc) return rc;
    out[HS_EFFECT_LOGIT_DIFF] = (double)NAN;
    if (a->answer >= 0 && a->wrong >= 0)
        out[HS_EFFECT_LOGIT_DIFF] = (double)logits[a->answer] - (double)logits[a->wrong];
    out[HS_EFFECT_PROB] = probability(logits, lse, right);
    out[HS_EFFECT_PROB_DIFF] = out[HS_EFFECT_PROB] - probability(logits, lse, wrong);
    out[HS_EFFECT_ACCURACY] = has_largest(logits, n, right);
    return HS_OK;
}

// The row of END.
static int judge(const hs_meter *m, struct seq *s, const float *x) {
    struct prompt *p = &m->prompt[s->prompt];
    int rc = hs_answer_measure(s->at_end, m->model, &p->answer, x);
    if (!rc && m->baseline) memcpy(p->at_end, s->at_end, sizeof p->at_end);
    return rc;
}

static int on_logits(void *ctx, const hs_site *site, const hs_view *view) {
    const hs_meter *m = ctx;
    struct seq *s = &m->seq[site->seq];
    const struct prompt *p = &m->prompt[s->prompt];
    const float *x = view->data;
    const int64_t ld = view->stride[0], end = site->row0 + site->n_row;
    const int64_t last = m->scores ? n_scored(p->prompt) : 0;
    int rc = HS_OK;
    for (int64_t pos = site->row0; pos < end && pos < last && !rc; pos += ROWS) {
        const int64_t left = (end < last ? end : last) - pos;
        rc = score(m, s, pos, left < ROWS ? left : ROWS, x + (pos - site->row0) * ld, ld);
    }
    if (!rc && m->answers && p->answer.end >= site->row0 && p->answer.end < end)
        rc = judge(m, s, x + (p->answer.end - site->row0) * ld);
    return rc;
}

int hs_meter_hook(hs_meter *m, hs_hooks *hooks) {
    uint64_t *points;
    int rc = hs_alloc(&points, (size_t)m->n_layer + 1, sizeof *points);
    if (rc) return rc;
    points[m->n_layer] = HS_BIT(HS_LOGITS);
    rc = hs_hooks_add(hooks, &(hs_hook){.points = points, .rows = on_logits, .ctx = m});
    free(points);
    return rc;
}

// ---- values -------------------------------------------------------------------------------------

double hs_meter_at(const hs_meter *m, int seq, enum hs_effect effect, int64_t pos) {
    const struct seq *s = &m->seq[seq];
    assert(seq < m->n_seq && !hs_effects[effect].answer && pos < s->to);
    if (pos < s->from) return effect == HS_EFFECT_NLL ? m->prompt[s->prompt].nll[pos] : 0;
    return s->row[(int64_t)effect * (s->to - s->from) + pos - s->from];
}

double hs_meter_value(const hs_meter *m, int seq, enum hs_effect effect) {
    const struct seq *s = &m->seq[seq];
    const int64_t n = n_scored(m->prompt[s->prompt].prompt);
    assert(seq < m->n_seq && m->effects >> effect & 1);
    if (hs_effects[effect].answer) return s->at_end[effect];
    double sum = 0;
    for (int64_t pos = 0; pos < n; pos++) sum += hs_meter_at(m, seq, effect, pos);
    return sum / (double)n;
}

double hs_meter_base(const hs_meter *m, int prompt, enum hs_effect effect) {
    const struct prompt *p = &m->prompt[prompt];
    const int64_t n = n_scored(p->prompt);
    assert(p->measured && m->effects >> effect & 1);
    if (hs_effects[effect].answer) return p->at_end[effect];
    double sum = 0;
    for (int64_t pos = 0; pos < n; pos++) sum += effect == HS_EFFECT_NLL ? p->nll[pos] : 0;
    return sum / (double)n;
}
