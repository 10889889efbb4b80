// Greater-than (Hanna et al. 2023): "The war lasted from the year 1732 to the year 17", and what
// follows is a later year: above 32. The corrupted half begins in 01, where every year is later.
// It needs years that are cut before their last two digits, [17][32]. Tokenizers that take digits
// one by one or three by three get the same question about the last digit alone: "from the year
// 1732 to the year 173", above 2, and the corrupted half ends in 0.
#include <stdio.h>
#include <string.h>

#include "analyses/dataset/pair.h"

enum { FIRST_CENTURY = 11, LAST_CENTURY = 17, MOST = 100 };

static const char *const noun_words[] = {
    "war",          "battle",      "conflict",      "dispute",       "rebellion",
    "revolution",   "siege",       "campaign",      "expedition",    "journey",
    "voyage",       "quest",       "mission",       "project",       "plan",
    "program",      "study",       "research",      "experiment",    "trial",
    "case",         "debate",      "discussion",    "argument",      "crisis",
    "disaster",     "famine",      "drought",       "plague",        "epidemic",
    "reign",        "rule",        "dynasty",       "empire",        "kingdom",
    "alliance",     "treaty",      "peace",         "truce",         "agreement",
    "contract",     "partnership", "marriage",      "friendship",    "feud",
    "rivalry",      "competition", "tournament",    "festival",      "ceremony",
    "celebration",  "tour",        "exhibition",    "show",          "work",
    "construction", "building",    "repair",        "restoration",   "reform",
    "movement",     "strike",      "protest",       "boycott",       "occupation",
    "invasion",     "attack",      "raid",          "operation",     "pursuit",
    "search",       "hunt",        "trade",         "boom",          "depression",
    "recession",    "shortage",    "migration",     "exile",         "captivity",
    "imprisonment", "service",     "career",        "collaboration", "correspondence",
    "process",      "development", "growth",        "decline",       "expansion",
    "struggle",     "survey",      "investigation", "inquiry",       "lawsuit",
    "negotiations", "talks",       "sanctions",     "embargo",       "blockade",
    "pilgrimage",   "ritual",      "tradition",     "custom",        "winter",
    "era",          "period",      "age",           "phase",         NULL,
};
static const hs_word_list nouns = {"events", " ", 1, noun_words};

struct greater {
    hs_words nouns;
    int digits;         // of the year's end that is one token: 2 or 1
    int end;            // ends are 0 .. end - 1
    int32_t id[MOST];   // the token of each end
    char text[MOST][4]; // and its digits
};

static int one_token(const hs_tok *tok, const char *text, size_t from, int32_t *id) {
    hs_tokens t;
    *id = -1;
    int rc = hs_tok_encode(tok, text, strlen(text), HS_BOS_NO, &t);
    if (rc) return rc;
    const int64_t at = hs_word_token(tok, &t, text, from, strlen(text));
    if (at >= 0) *id = t.at[at].id;
    hs_tokens_free(&t);
    return HS_OK;
}

// Whether all ends of so many digits are tokens, and some year is cut before its end.
static int try_digits(struct greater *s, const hs_tok *tok, int digits, bool *fits) {
    char year[16];
    int rc = HS_OK;
    s->digits = digits;
    s->end = digits == 2 ? 100 : 10;
    *fits = true;
    for (int y = 0; y < s->end && *fits && !rc; y++) {
        snprintf(s->text[y], sizeof s->text[y], digits == 2 ? "%02d" : "%d", y);
        rc = one_token(tok, s->text[y], 0, &s->id[y]);
        *fits = s->id[y] >= 0;
    }
    int n_year = 0;
    for (int y = 100 * FIRST_CENTURY; y < 100 * (LAST_CENTURY + 1) && *fits && !rc; y++) {
        int32_t id;
        const size_t n = (size_t)snprintf(year, sizeof year, " %d", y);
        rc = one_token(tok, year, n - (size_t)digits, &id);
        n_year += id >= 0;
    }
    *fits = *fits && n_year > 0;
    return rc;
}

static void draw(void *ctx, hs_prng *prng, hs_pair *pair) {
    const struct greater *s = ctx;
    int noun;
    char before[16]; // the year without its end
    hs_words_pick(&s->nouns, prng, 1, &noun);
    const int century = FIRST_CENTURY + (int)hs_prng_below(prng, LAST_CENTURY - FIRST_CENTURY + 1);
    const int decade = (int)hs_prng_below(prng, 10);
    // At two digits from 02 to 98, so that either side has an end and 01 is another one.
    const int least = s->digits == 2 ? 2 : 1;
    const int y = least + (int)hs_prng_below(prng, (uint64_t)(s->end - 1 - least));
    const int later = y + 1 + (int)hs_prng_below(prng, (uint64_t)(s->end - 1 - y));
    const int earlier = (int)hs_prng_below(prng, (uint64_t)y + 1);
    if (s->digits == 2)
        snprintf(before, sizeof before, "%d", century);
    else
        snprintf(before, sizeof before, "%d%d", century, decade);
    hs_pair_text(pair, "The ");
    hs_pair_word(pair, "NOUN", NULL, hs_word(&s->nouns, noun, 0), hs_word(&s->nouns, noun, 0));
    hs_pair_text(pair, " lasted from the year ");
    hs_pair_text(pair, before);
    hs_pair_word(pair, "YY", NULL, s->text[y], s->text[s->digits == 2 ? 1 : 0]);
    hs_pair_text(pair, " to the year ");
    hs_pair_text(pair, before);
    hs_pair_answer(pair, "", s->text[later], s->text[earlier]);
    pair->answers = s->id + y + 1;
    pair->n_answer = s->end - 1 - y;
    pair->wrongs = s->id;
    pair->n_wrong = y + 1;
    hs_jw_key_int(&pair->more, "digits", s->digits);
    hs_jw_key_int(&pair->more, "year", y);
}

static int greater_generate(hs_prompts *out, const hs_tok *tok, int64_t n_vocab,
                            const hs_args *args) {
    (void)n_vocab;
    struct greater s = {0};
    bool fits = false;
    int rc = hs_words_open(&s.nouns, tok, &nouns, 1);
    for (int digits = 2; digits >= 1 && !fits && !rc; digits--)
        rc = try_digits(&s, tok, digits, &fits);
    if (!rc && !fits)
        rc = hs_fail(HS_EARG, "this tokenizer cuts years neither before their last two digits nor "
                              "before the last one, so that no end of a year can be asked for");
    if (!rc) rc = hs_pairs_generate(out, tok, args, draw, &s);
    hs_words_free(&s.nouns);
    return rc;
}

static const hs_param params[] = {
    HS_DATASET_PARAMS("50"),
    {0},
};

const hs_dataset hs_dataset_greater_than = {
    .name = "greater_than",
    .title = "Later years, with a half after which every year is later",
    .about = "\"The war lasted from the year 1732 to the year 17\": \"answers\" are the tokens of "
             "the ends above 32 and \"wrongs\" the others, so that the metric is the sum of the "
             "answers' probabilities less that of the wrongs'; \"answer\" and \"wrong\" are one of "
             "each. The other half begins in 01. Where digits are tokens of their own the question "
             "is about the last digit, and the other half ends in 0 (\"digits\" tells which). "
             "Positions NOUN, YY and END.",
    .reference = "Hanna et al. 2023, arXiv 2305.00586",
    .params = params,
    .generate = greater_generate,
};
