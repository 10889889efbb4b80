// Effects: what an edit did to a model's output on a prompt, methods as in Michel et al. 2019
// (nll), Kullback-Leibler and Jensen-Shannon divergence, logit difference (Wang et al. 2022).
// Reduced row by row while logits stream past: no row of logits is kept but the baseline's.
#ifndef HS_ANALYSES_EFFECT_H
#define HS_ANALYSES_EFFECT_H

#include "analyses/observer.h"
#include "analyses/prompt.h"

// What a prompt's JSON line says of its answer: {"answer": ID or TEXT, "wrong": ID or TEXT,
// "positions": {"END": P}} (END: default the last position). -1: not said.
typedef struct hs_answer {
    int32_t answer, wrong;
    int64_t end;
} hs_answer;
// HS_EFORMAT names the prompt for values of other types, ids outside the vocabulary, a text that
// is not one token, and an END that it does not have.
int hs_answer_of(hs_answer *out, const hs_prompt *prompt, const hs_tok *tok,
                 int64_t n_vocab) HS_MUST_USE;

// One metric of a prompt. Sequence metrics are means over the T - 1 scored positions; answer
// metrics are read at END.
enum hs_effect {
    HS_EFFECT_NLL,        // nats a token
    HS_EFFECT_KL,         // KL(unedited || edited), nats a token
    HS_EFFECT_JSD,        // nats a token
    HS_EFFECT_LOGIT_DIFF, // logit[answer] - logit[wrong]
    HS_EFFECT_PROB,       // p[answer]
    HS_EFFECT_ACCURACY,   // 1 when answer has the largest logit, else 0
    HS_N_EFFECT,
};
typedef struct hs_effect_info {
    const char *name; // "nll"; the change against the baseline is called "delta_" name
    const char *unit, *about;
    bool answer, wrong; // needs
    bool against;       // needs the baseline's logits
} hs_effect_info;
extern const hs_effect_info hs_effects[HS_N_EFFECT];
// "nll,kl" as bits 1 << HS_EFFECT_*. HS_ENOTFOUND lists the known names.
int hs_effects_parse(unsigned *out, const char *names) HS_MUST_USE;

// Measures one evaluation after the other: `begin`, evaluate with the hook set, `take`.
typedef struct hs_meter hs_meter;
typedef struct hs_meter_prompt {
    const hs_prompt *prompt;
    hs_answer answer;
} hs_meter_prompt;
// effects: bits; prompts: borrowed, those of one chunk of work. HS_EARG naming a prompt that lacks
// an answer which an effect needs. Holds the baseline's scored logits when an effect needs them.
int hs_meter_open(hs_meter **out, const hs_model *model, unsigned effects,
                  const hs_meter_prompt *prompt, int n_prompt) HS_MUST_USE;
void hs_meter_close(hs_meter *);
int hs_meter_hook(hs_meter *, hs_hooks *hooks) HS_MUST_USE; // reads HS_LOGITS
// The evaluation that follows: sequence s is prompt of[s] (rows from position `from` on of each),
// and is it the unedited one that the others are compared with? Tells which rows of the batch must
// meet the LM head, for hs_batch; borrowed until the next begin.
int hs_meter_begin(hs_meter *, const int *of, int n_seq, int64_t from, bool baseline,
                   const int64_t **rows, int64_t *n_row) HS_MUST_USE;
// Value of an effect on sequence s of the last evaluation; the raw value, not the change.
double hs_meter_value(const hs_meter *, int seq, enum hs_effect effect);

// Percentile bootstrap of a mean: resamples values with a seeded generator. n < 2 gives NaN ends.
void hs_bootstrap(const double *value, int64_t n, int64_t rounds, uint64_t seed, double level,
                  double *low, double *high);

#endif
