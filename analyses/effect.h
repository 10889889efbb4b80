// Effects: what an edit did to a model's output on a prompt, methods as in Michel et al. 2019
// (nll), Kullback-Leibler and Jensen-Shannon divergence, logit difference (Wang et al. 2022),
// probability difference (Hanna et al. 2023).
// Reduced row by row while logits stream past: no row of logits is kept but the baseline's.
#ifndef HS_ANALYSES_EFFECT_H
#define HS_ANALYSES_EFFECT_H

#include "analyses/observer.h"
#include "analyses/prompt.h"
#include "model/core/mem.h"

// A set of token ids: ascending, each once; borrowed.
typedef struct hs_ids {
    const int32_t *at;
    int64_t n;
} hs_ids;

// What a prompt's JSON line says of its answer: {"answer": ID or TEXT, "wrong": ID or TEXT,
// "answers": [all right ones], "wrongs": [all wrong ones], "positions": {"END": P}} (END: default
// the last position). -1, or n 0: not said.
typedef struct hs_answer {
    int32_t answer, wrong;
    int64_t end;
    hs_ids answers, wrongs;
} hs_answer;
// Lists are made in the arena; NULL: they are not looked at. HS_EFORMAT names the prompt for values
// of other types, ids outside the vocabulary, a text that is not one token, an END that it does not
// have, and lists that are empty, longer than the vocabulary, name a token twice, or have one in
// common. tok may be NULL: a text is then HS_EARG.
int hs_answer_of(hs_answer *out, const hs_prompt *prompt, const hs_tok *tok, int64_t n_vocab,
                 hs_arena *lists) HS_MUST_USE;
// All right tokens, and all wrong ones: the list, else the only one there is, in the answer itself.
static inline hs_ids hs_answer_right(const hs_answer *a) {
    return a->answers.n ? a->answers : (hs_ids){&a->answer, a->answer >= 0};
}
static inline hs_ids hs_answer_wrong(const hs_answer *a) {
    return a->wrongs.n ? a->wrongs : (hs_ids){&a->wrong, a->wrong >= 0};
}

// The one token of a text, as it stands within a sentence. HS_EFORMAT when it is none or several,
// HS_EARG without a tokenizer.
int hs_token_of(int32_t *out, const char *text, const hs_tok *tok) HS_MUST_USE;

// One metric of a prompt. Sequence metrics are means over the T - 1 scored positions, NaN where
// there is none; answer metrics are read at END.
enum hs_effect {
    HS_EFFECT_NLL,        // nats a token
    HS_EFFECT_KL,         // KL(unedited || edited), nats a token
    HS_EFFECT_JSD,        // nats a token
    HS_EFFECT_LOGIT_DIFF, // logit[answer] - logit[wrong]
    HS_EFFECT_PROB,       // of all right tokens together
    HS_EFFECT_PROB_DIFF,  // that less the wrong tokens'
    HS_EFFECT_ACCURACY,   // 1 when a right token has the largest logit; ties go to the lowest id
    HS_N_EFFECT,
};
typedef struct hs_effect_info {
    const char *name; // "nll"; the change against the baseline is called "delta_" name
    const char *unit, *about;
    bool answer, wrong; // needs
    bool sets;          // of which all count that there are
    bool against;       // needs the baseline's logits
    int harm;           // sign of the change that a unit's loss brings when the unit mattered
} hs_effect_info;
extern const hs_effect_info hs_effects[HS_N_EFFECT];
// "nll,kl" as bits 1 << HS_EFFECT_*. HS_ENOTFOUND lists the known names.
int hs_effects_parse(unsigned *out, const char *names) HS_MUST_USE;
// What an effect needs and the answer does not say: "answer", "wrong"; NULL: nothing.
const char *hs_answer_lacks(const hs_answer *, enum hs_effect effect);
// HS_EARG names the prompt, the first of the effects (bits) that needs more, after the option that
// asked for it ("--metric ", or ""), and what it needs.
int hs_answer_check(const hs_answer *, const hs_prompt *prompt, unsigned effects,
                    const char *option) HS_MUST_USE;

// Effects on an answer, of the row of logits at its END, into their places of out[HS_N_EFFECT]: those for
// which hs_answer_lacks nothing.
int hs_answer_measure(double *out, const hs_model *model, const hs_answer *answer,
                      const float *logits) HS_MUST_USE;

// Measures one evaluation after the other: `begin`, evaluate with the hook set, then read values.
typedef struct hs_meter hs_meter;
typedef struct hs_meter_prompt {
    const hs_prompt *prompt;
    hs_answer answer;
} hs_meter_prompt;
// effects: bits; prompts: copied, those of one chunk of work; what they point to (lists of answers
// too) is borrowed.
// HS_EARG naming a prompt that lacks an answer which an effect needs. Holds the baseline's scored
// logits when an effect needs them: hs_meter_bytes of them for a prompt of n_token.
int hs_meter_open(hs_meter **out, const hs_model *model, unsigned effects,
                  const hs_meter_prompt *prompt, int n_prompt) HS_MUST_USE;
void hs_meter_close(hs_meter *);
int64_t hs_meter_bytes(const hs_model *model, unsigned effects, int64_t n_token);
int hs_meter_hook(hs_meter *, hs_hooks *hooks) HS_MUST_USE; // reads HS_LOGITS
// Rows of a prompt that matter: later ones change nothing that is measured. At least 1.
int64_t hs_meter_rows(const hs_meter *, int prompt);

// Sequence of an evaluation: rows [from, to) of a prompt of the meter's; rows before `from` are as
// in its baseline, which must then have been measured before.
typedef struct hs_meter_seq {
    int prompt;
    int64_t from, to; // to 0: the prompt's length
} hs_meter_seq;
// The evaluation that follows, and is it the unedited one that others are compared with (rows from
// 0 on then)? Tells which rows of the batch must meet the LM head, for hs_batch's HS_LOGITS_ROWS;
// borrowed until the next begin. With HS_LOGITS_ALL the other rows are ignored.
int hs_meter_begin(hs_meter *, const hs_meter_seq *seq, int n_seq, bool baseline,
                   const int64_t **rows, int64_t *n_row) HS_MUST_USE;
// Value of an effect on sequence s of the last evaluation; the raw value, not the change.
double hs_meter_value(const hs_meter *, int seq, enum hs_effect effect);
// A sequence effect at one scored position.
double hs_meter_at(const hs_meter *, int seq, enum hs_effect effect, int64_t pos);
// The same of a prompt's baseline.
double hs_meter_base(const hs_meter *, int prompt, enum hs_effect effect);

// Percentile bootstrap of a mean: resamples values with a seeded generator. n < 2 gives NaN ends.
enum { HS_BOOTSTRAP_ROUNDS = 2000 };
#define HS_BOOTSTRAP_LEVEL 0.95
int hs_bootstrap(const double *value, int64_t n, int64_t rounds, uint64_t seed, double level,
                 double *low, double *high) HS_MUST_USE;
// The same of any number that n items together have: item[0 .. n) are those of one resample, an item
// as often as it was drawn. Resamples that have no such number (NaN) are left out; when more than
// half of them have none, the ends are NaN.
typedef double (*hs_statistic)(void *ctx, const int64_t *item, int64_t n);
int hs_bootstrap_of(hs_statistic fn, void *ctx, int64_t n, int64_t rounds, uint64_t seed,
                    double level, double *low, double *high) HS_MUST_USE;

#endif
