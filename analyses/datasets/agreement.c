// Subject-verb agreement: "The keys near the cabinet" - are; the corrupted half has the subject in
// the other number, the rest is the same. An attractor is a noun between subject and verb (Linzen
// et al. 2016, Finlayson et al. 2021); words and templates are ours.
#include <string.h>

#include "analyses/dataset/pair.h"

static const char *const plain[] = {
    "Everybody knows that the [S]", "It is no secret that the [S]",  "In this town the [S]",
    "We were told that the [S]",    "After all these years the [S]", "They said that the [S]",
};
static const char *const apart[] = {
    "Everybody knows that the [S] near the [T]",   "It is no secret that the [S] behind the [T]",
    "In this town the [S] beside the [T]",         "We were told that the [S] next to the [T]",
    "After all these years the [S] above the [T]", "They said that the [S] that the [T] missed",
};
enum { N_TEMPLATE = sizeof plain / sizeof *plain };

static const char *const noun_words[] = {
    "key",     "keys",     "book",    "books",    "table",  "tables",  "teacher", "teachers",
    "student", "students", "doctor",  "doctors",  "farmer", "farmers", "lawyer",  "lawyers",
    "car",     "cars",     "house",   "houses",   "tree",   "trees",   "bird",    "birds",
    "dog",     "dogs",     "cat",     "cats",     "horse",  "horses",  "boy",     "boys",
    "girl",    "girls",    "worker",  "workers",  "writer", "writers", "door",    "doors",
    "window",  "windows",  "picture", "pictures", "flower", "flowers", "guard",   "guards",
    "lamp",    "lamps",    "box",     "boxes",    "friend", "friends", "singer",  "singers",
    NULL,
};
static const char *const verb_words[] = {
    "is", "are", "was", "were", "has", "have", NULL,
};

static const hs_word_list nouns = {"pairs of nouns", " ", 2, noun_words};
static const hs_word_list verbs = {"pairs of verbs", " ", 2, verb_words};

struct agreement {
    hs_words nouns, verbs;
    const char *attractor;
    int32_t of[2][8]; // the verbs of each number
};

// Whether a pair's attractor has the other number; no attractor is decided before.
static bool is_opposite(const char *attractor, bool toss) {
    return strcmp(attractor, "mixed") ? !strcmp(attractor, "opposite") : toss;
}

static void draw(void *ctx, hs_prng *prng, hs_pair *pair) {
    const struct agreement *s = ctx;
    int noun[2], verb;
    const int t = (int)hs_prng_below(prng, N_TEMPLATE), plural = (int)hs_prng_below(prng, 2);
    const bool opposite = is_opposite(s->attractor, hs_prng_below(prng, 2));
    const bool none = !strcmp(s->attractor, "none");
    hs_words_pick(&s->nouns, prng, 2, noun);
    hs_words_pick(&s->verbs, prng, 1, &verb);
    const hs_slot slots[] = {
        {"S", "SUBJECT", NULL, hs_word(&s->nouns, noun[0], plural),
         hs_word(&s->nouns, noun[0], !plural)},
        {"T", "ATTRACTOR", NULL, hs_word(&s->nouns, noun[1], plural != opposite), NULL},
    };
    hs_pair_fill(pair, none ? plain[t] : apart[t], slots, 2);
    hs_pair_answer(pair, " ", hs_word(&s->verbs, verb, plural), hs_word(&s->verbs, verb, !plural));
    pair->answers = s->of[plural];
    pair->wrongs = s->of[!plural];
    pair->n_answer = pair->n_wrong = s->verbs.n;
    hs_jw_key_int(&pair->more, "template", t);
    hs_jw_key_str(&pair->more, "number", plural ? "plural" : "singular");
    hs_jw_key_str(&pair->more, "attractor", none ? "none" : opposite ? "opposite" : "same");
}

static int agreement_generate(hs_prompts *out, const hs_tok *tok, int64_t n_vocab,
                              const hs_args *args) {
    (void)n_vocab;
    struct agreement s = {.attractor = hs_args_text(args, "attractor")};
    int rc = hs_words_open(&s.nouns, tok, &nouns, 2);
    if (!rc) rc = hs_words_open(&s.verbs, tok, &verbs, 1);
    for (int row = 0; row < s.verbs.n && !rc; row++)
        for (int plural = 0; plural < 2; plural++)
            s.of[plural][row] = hs_word_id(&s.verbs, row, plural);
    if (!rc) rc = hs_pairs_generate(out, tok, args, draw, &s);
    hs_words_free(&s.nouns);
    hs_words_free(&s.verbs);
    return rc;
}

static const hs_param params[] = {
    HS_DATASET_PARAMS("50"),
    {"attractor", HS_PARAM_ENUM, "none", 0, 0, "none|same|opposite|mixed", NULL,
     "a noun between subject and verb, of the subject's number or of the other one"},
    {0},
};

const hs_dataset hs_dataset_agreement = {
    .name = "agreement",
    .title = "Subject-verb agreement, with the other number's half",
    .about = "\"They said that the guards near the door\": are is an answer and is is wrong; the "
             "other half has the guard. \"answers\" and \"wrongs\" are all verbs of each number. "
             "Positions SUBJECT, ATTRACTOR (where there is one) and END; \"number\", \"attractor\" "
             "and \"template\" tell the kinds apart.",
    .reference = "Linzen et al. 2016, arXiv 1611.01368; Finlayson et al. 2021, arXiv 2106.06087",
    .params = params,
    .generate = agreement_generate,
};
