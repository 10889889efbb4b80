// Pronouns by gender: "The king was late because" - he; the corrupted half has the word of the
// other gender, in the same place. After the studies of gendered pronouns in GPT-2 small; the
// templates are ours. Each template asks for one pair of pronouns.
#include <string.h>

#include "analyses/dataset/pair.h"

// Pronouns by form, hers and his.
enum form { SUBJECT, OWNER, SELF };
static const char *const pronoun_words[] = {
    "she", "he", "her", "his", "herself", "himself", NULL,
};

static const struct template {
    const char *text;
    enum form form;
}
templates[] = {
    {"Yesterday [the][S] was late because", SUBJECT},
    {"In those days [the][S] often said that", SUBJECT},
    {"On Monday [the][S] stayed in bed, since", SUBJECT},
    {"Everybody knew that [the][S] would come if", SUBJECT},
    {"At last [the][S] went home, and there", SUBJECT},
    {"People say that [the][S] was tired, but", SUBJECT},
    {"This morning [the][S] could not find", OWNER},
    {"After the long journey [the][S] took off", OWNER},
    {"Before dinner [the][S] put a letter into", OWNER},
    {"In the mirror [the][S] looked at", SELF},
};
enum { N_TEMPLATE = sizeof templates / sizeof *templates };

static const char *const noun_words[] = {
    "queen",     "king",        "woman",       "man",      "girl",       "boy",        "mother",
    "father",    "sister",      "brother",     "daughter", "son",        "aunt",       "uncle",
    "wife",      "husband",     "princess",    "prince",   "actress",    "actor",      "lady",
    "gentleman", "grandmother", "grandfather", "niece",    "nephew",     "witch",      "wizard",
    "bride",     "groom",       "waitress",    "waiter",   "stepmother", "stepfather", "goddess",
    "god",       "widow",       "widower",     "duchess",  "duke",       "nun",        "monk",
    NULL,
};

static const hs_word_list pronouns = {"pronouns", " ", 2, pronoun_words};
static const hs_word_list nouns = {"pairs of nouns", " ", 2, noun_words};
static const hs_word_list names = {"pairs of names", " ", 2, hs_first_names};

struct gendered {
    hs_words pronouns, nouns, names;
    const char *who;
};

// The row of a pair of pronouns, -1 when they are not one token each.
static int find_form(const struct gendered *s, enum form form) {
    for (int row = 0; row < s->pronouns.n; row++)
        if (!strcmp(hs_word(&s->pronouns, row, 0), pronoun_words[2 * form])) return row;
    return -1;
}

static void draw(void *ctx, hs_prng *prng, hs_pair *pair) {
    const struct gendered *s = ctx;
    int noun, name, t, form;
    do {
        t = (int)hs_prng_below(prng, N_TEMPLATE);
        form = find_form(s, templates[t].form);
    } while (form < 0);
    const int his = (int)hs_prng_below(prng, 2);
    const bool toss = hs_prng_below(prng, 2);
    const bool named = strcmp(s->who, "mixed") ? !strcmp(s->who, "names") : toss;
    hs_words_pick(&s->nouns, prng, 1, &noun);
    hs_words_pick(&s->names, prng, 1, &name);
    const hs_words *from = named ? &s->names : &s->nouns;
    const int row = named ? name : noun;
    const hs_slot slots[] = {
        {"the", NULL, NULL, named ? "" : "the ", NULL},
        {"S", "SUBJECT", NULL, hs_word(from, row, his), hs_word(from, row, !his)},
    };
    hs_pair_fill(pair, templates[t].text, slots, 2);
    hs_pair_answer(pair, " ", hs_word(&s->pronouns, form, his), hs_word(&s->pronouns, form, !his));
    hs_jw_key_int(&pair->more, "template", t);
    hs_jw_key_str(&pair->more, "kind", named ? "name" : "noun");
    hs_jw_key_str(&pair->more, "gender", his ? "masculine" : "feminine");
}

static int gendered_generate(hs_prompts *out, const hs_tok *tok, int64_t n_vocab,
                             const hs_args *args) {
    (void)n_vocab;
    struct gendered s = {.who = hs_args_text(args, "who")};
    int rc = hs_words_open(&s.pronouns, tok, &pronouns, 1);
    if (!rc) rc = hs_words_open(&s.nouns, tok, &nouns, strcmp(s.who, "names") ? 1 : 0);
    if (!rc) rc = hs_words_open(&s.names, tok, &names, strcmp(s.who, "nouns") ? 1 : 0);
    if (!rc) rc = hs_pairs_generate(out, tok, args, draw, &s);
    hs_words_free(&s.pronouns);
    hs_words_free(&s.nouns);
    hs_words_free(&s.names);
    return rc;
}

static const hs_param params[] = {
    HS_DATASET_PARAMS("50"),
    {"who", HS_PARAM_ENUM, "mixed", 0, 0, "mixed|names|nouns", NULL,
     "what tells the gender: first names, or nouns such as queen and king"},
    {0},
};

const hs_dataset hs_dataset_gendered = {
    .name = "gendered",
    .title = "Pronouns by a gendered name or noun, with the other gender's half",
    .about = "\"Yesterday the king was late because\": he is the answer, she is wrong, and the "
             "other half has the queen. Subjects, possessives and reflexives. Positions SUBJECT "
             "and END; \"gender\", \"kind\" and \"template\" tell the kinds apart.",
    .reference = "after Mathwin et al. 2023, gendered pronouns in GPT-2 small",
    .params = params,
    .generate = gendered_generate,
};
