// Numbers of items: how right the choices and what was said are; see quiz.h.
//
// Exact match normalises as SQuAD does (Rajpurkar et al. 2016): lower case, without punctuation and
// without a, an and the, words joined by one space each. What is said has to begin with the words of
// an answer, since a model that goes on talking was right. Answers without words, and those of models
// without a tokenizer, are compared token by token.
#include <math.h>
#include <string.h>

#include "analyses/quiz/quiz_internal.h"
#include "analyses/retrieve/recall.h"

enum { GRAM = 4 };
static const double LOW_ENTROPY = 0.1; // nats

const hs_measure_info hs_measures[HS_N_MEASURE] = {
    [HS_MEASURE_NLL] = {"nll", "nats/token",
                        "-ln p of the right answer's tokens, mean; of prompts without one, of "
                        "their own",
                        .better = -1},
    [HS_MEASURE_CHOICE_NLL] = {"choice_nll", "nats",
                               "-ln of the right choice's share of the choices' probability",
                               .better = -1},
    [HS_MEASURE_ACCURACY] = {"accuracy", "", "1 when the right choice is the likeliest",
                             .better = 1},
    [HS_MEASURE_ACCURACY_NORM] = {"accuracy_norm", "",
                                  "1 when the right choice has the largest ln p a byte",
                                  .better = 1},
    [HS_MEASURE_YES] = {"yes_share", "", "1 when yes is likelier than no", .better = 0},
    [HS_MEASURE_F1] = {"f1", "", "F1 of the answer yes over all yes/no items (POPE)", .better = 1},
    [HS_MEASURE_EXACT_MATCH] = {"exact_match", "",
                                "1 when what is decoded begins with a right answer", .better = 1,
                                .decodes = true},
    [HS_MEASURE_RECALL] = {"recall", "", "share of the answer's words in what is decoded",
                           .better = 1, .decodes = true},
    [HS_MEASURE_REPETITION] = {"repetition", "",
                               "share of the 4-grams of free text that stood there before",
                               .better = -1, .decodes = true},
    [HS_MEASURE_ENTROPY] = {"generated_entropy_nats", "nats",
                            "entropy of the next token of free text, mean", .decodes = true},
    [HS_MEASURE_COLLAPSE] = {"entropy_collapse", "",
                             "share of the tokens of free text picked at an entropy below 0.1 nats",
                             .better = -1, .decodes = true},
};

// ---- choices ------------------------------------------------------------------------------------

static double mean(const double *v, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += v[i];
    return n > 0 ? sum / (double)n : (double)NAN;
}

// The choice with the largest ln p, or ln p a byte; the first among equals.
static int likeliest(const hs_quiz_item *item, const double *ln_p, bool by_byte) {
    int best = 0;
    double most = -INFINITY;
    for (int i = 0; i < item->n_choice; i++) {
        const double v = by_byte ? ln_p[i] / (double)item->choice[i].n_byte : ln_p[i];
        if (v <= most) continue;
        most = v;
        best = i;
    }
    return best;
}

static double share_loss(const hs_quiz_item *item, const double *ln_p) {
    const int best = likeliest(item, ln_p, false);
    double others = 0; // against the likeliest
    for (int i = 0; i < item->n_choice; i++)
        if (i != best) others += exp(ln_p[i] - ln_p[best]);
    return ln_p[best] - ln_p[item->right] + log1p(others);
}

static bool begins_with_y(const char *text) {
    while (*text && (*text | 0x20) != 'y' && (*text | 0x20) != 'n') text++;
    return (*text | 0x20) == 'y';
}

static void measure_choices(const hs_quiz_item *item, const double *ln_p, double *value) {
    const int best = likeliest(item, ln_p, false);
    value[HS_MEASURE_CHOICE_NLL] = share_loss(item, ln_p);
    value[HS_MEASURE_ACCURACY] = best == item->right;
    value[HS_MEASURE_ACCURACY_NORM] = likeliest(item, ln_p, true) == item->right;
    if (item->kind != HS_QUIZ_YES_NO) return;
    const bool said = begins_with_y(item->choice[best].text);
    const bool is = begins_with_y(item->choice[item->right].text);
    value[HS_MEASURE_YES] = said;
    value[HS_MEASURE_F1] = is ? 2 + said : said;
}

// ---- what is said -------------------------------------------------------------------------------

bool hs_quiz_answer_ends(const hs_quiz *q, int32_t id) {
    const hs_tok *tok = hs_model_tok(q->o.model);
    size_t n = 0;
    const char *piece = tok ? hs_tok_piece(tok, id, &n) : NULL;
    return hs_model_is_eog(q->o.model, id) || (piece && memchr(piece, '\n', n));
}

static bool starts(const hs_quiz_choice *answer, const int32_t *said, int64_t n) {
    return answer->n <= n && !memcmp(answer->at, said, (size_t)answer->n * sizeof *said);
}

static int words_of(const hs_tok *tok, const int32_t *ids, int64_t n, hs_buf *words) {
    hs_buf text = {0};
    int rc = hs_tok_decode(tok, ids, (size_t)n, true, &text);
    if (!rc) rc = hs_mark_words(hs_buf_text(&text), text.len, words);
    hs_buf_free(&text);
    return rc;
}

static int match(const hs_tok *tok, const hs_quiz_choice *answer, const int32_t *said, int64_t n,
                 bool *out) {
    hs_buf a = {0}, b = {0};
    *out = starts(answer, said, n);
    if (*out || !tok) return HS_OK;
    int rc = words_of(tok, answer->at, answer->n, &a);
    if (!rc) rc = words_of(tok, said, n, &b);
    // Each word is followed by a space.
    if (!rc && a.len) *out = a.len <= b.len && !memcmp(a.data, b.data, a.len);
    hs_buf_free(&a);
    hs_buf_free(&b);
    return rc;
}

// The first answer's tokens at most `decode`, up to one that ends it.
static int measure_answer(const hs_quiz *q, const hs_quiz_item *item, const hs_quiz_found *f,
                          double *value) {
    const hs_tok *tok = hs_model_tok(q->o.model);
    int64_t n = 0;
    bool right = false;
    int rc = HS_OK;
    while (n < f->n_said && n < q->o.decode)
        if (hs_quiz_answer_ends(q, f->said[n++])) break;
    value[HS_MEASURE_RECALL] = 0;
    for (int i = 0; i < item->n_choice && !rc; i++) {
        const hs_quiz_choice *c = &item->choice[i];
        hs_marks marks;
        bool same;
        rc = match(tok, c, f->said, n, &same);
        if (!rc) rc = hs_mark(tok, c->at, c->n, f->said, n, &marks);
        if (rc) break;
        right |= same;
        if (marks.recall > value[HS_MEASURE_RECALL]) value[HS_MEASURE_RECALL] = marks.recall;
    }
    value[HS_MEASURE_EXACT_MATCH] = right;
    return rc;
}

// Texts are short: each 4-gram is looked for among those before it.
static double repetition(const int32_t *said, int64_t n) {
    int64_t again = 0;
    for (int64_t i = 0; i + GRAM <= n; i++) {
        int64_t k = 0;
        while (k < i && memcmp(said + k, said + i, GRAM * sizeof *said) != 0) k++;
        again += k < i;
    }
    return n < GRAM ? (double)NAN : (double)again / (double)(n - GRAM + 1);
}

static void measure_text(const hs_quiz *q, const hs_quiz_found *f, double *value) {
    const int64_t n = f->n_said < q->o.generate ? f->n_said : q->o.generate;
    int64_t low = 0;
    for (int64_t i = 0; i < n; i++) low += f->entropy[i] < LOW_ENTROPY;
    value[HS_MEASURE_REPETITION] = repetition(f->said, n);
    value[HS_MEASURE_ENTROPY] = mean(f->entropy, n);
    value[HS_MEASURE_COLLAPSE] = n ? (double)low / (double)n : (double)NAN;
}

int hs_quiz_measure(const hs_quiz *q, const hs_quiz_item *item, const hs_quiz_found *f,
                    double value[HS_N_MEASURE]) {
    for (int m = 0; m < HS_N_MEASURE; m++) value[m] = NAN;
    if (item->kind == HS_QUIZ_TEXT)
        value[HS_MEASURE_NLL] = mean(f->loss, item->prompt->n_token - 1);
    else
        value[HS_MEASURE_NLL] = -f->ln_p[item->right] / (double)item->choice[item->right].n;
    if (item->kind == HS_QUIZ_CHOICE || item->kind == HS_QUIZ_YES_NO)
        measure_choices(item, f->ln_p, value);
    if (q->o.generate) measure_text(q, f, value);
    return item->kind == HS_QUIZ_OPEN && q->o.decode ? measure_answer(q, item, f, value) : HS_OK;
}

// ---- totals -------------------------------------------------------------------------------------

double hs_measure_total(enum hs_measure m, const double *value, int64_t ld, int64_t n) {
    int64_t has = 0, of[4] = {0}; // no, no said yes, yes said no, yes
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const double v = value[i * ld];
        if (isnan(v)) continue;
        has++;
        sum += v;
        if (m == HS_MEASURE_F1) of[(int)v]++;
    }
    if (!has) return NAN;
    if (m != HS_MEASURE_F1) return sum / (double)has;
    // Neither yes nor said: there was nothing to find, and nothing was found.
    const int64_t wrong = of[1] + of[2];
    return of[3] + wrong ? 2 * (double)of[3] / (double)(2 * of[3] + wrong) : (double)NAN;
}
