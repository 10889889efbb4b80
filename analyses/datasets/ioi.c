// Indirect object identification (Wang et al. 2023): "... Mary and John ... John gave a ring to",
// and Mary is right. The structure and the flips are the paper's, the wording is ours: two clauses,
// both names in the first one, the subject again in the second one, and the indirect object is cut
// off. Per prompt the names are drawn without repetition from those that are one token.
#include <string.h>

#include "analyses/dataset/pair.h"

// [X] and [Y] are the names in their order, [S] is the subject again.
static const char *const templates[] = {
    "Yesterday, [X] and [Y] walked to the [P], and [S] handed a [O] to",
    "One evening, [X] and [Y] met at the [P], and [S] passed a [O] to",
    "Last week, [X] and [Y] spent a day at the [P]. [S] brought a [O] to",
    "Earlier, [X] and [Y] were waiting at the [P], and [S] wanted to give a [O] to",
    "That morning, [X] and [Y] were thinking about the [P], and [S] decided to give a [O] to",
    "In the end, [X] and [Y] had a quiet talk, and afterwards [S] said goodbye to",
    "On the way home, [X] and [Y] had a small quarrel. Later [S] wrote a letter to",
    "After dinner, [X] and [Y] drove to the [P], and [S] lent a [O] to",
    "After [X] and [Y] had arrived at the [P], [S] sold a [O] to",
    "When [X] and [Y] bought a [O] at the [P], [S] chose to give it to",
    "When [X] and [Y] saw a [O] at the [P], [S] agreed to give the [O] to",
    "While [X] and [Y] were resting at the [P], [S] threw a [O] to",
    "While [X] and [Y] were cleaning the [P], [S] gave a [O] to",
    "The [P] that [X] and [Y] visited had a [O], and [S] gave it to",
    "Our friends [X] and [Y] found a [O] at the [P], and [S] handed it to",
};
enum { N_TEMPLATE = sizeof templates / sizeof *templates };

static const char *const place_words[] = {
    "store",   "garden", "restaurant", "school",  "hospital", "office", "house",
    "station", "park",   "market",     "library", "museum",   NULL,
};
static const char *const object_words[] = {
    "ring",  "book", "coin", "key",  "flower", "ticket", "basket",
    "drink", "ball", "map",  "lamp", "box",    NULL,
};

// Who stands at the places of the indirect object and of the subject in the corrupted half: one of
// the prompt's own two or of three others.
enum who { A, B, R1, R2, R3, N_NAME };
static const struct flip {
    const char *name;
    enum who io, s1, s2;
} flips[] = {
    {"abc", R1, R2, R3}, {"s2_io", A, B, A}, {"io_s1", B, A, B}, {"io", R1, B, B},
    {"s", A, R1, R1},    {"s1", A, R1, B},   {"s2", A, B, R1},
};

struct ioi {
    hs_words names, places, objects;
    const struct flip *flip;
    const char *order;
    int64_t template;
};

static void draw(void *ctx, hs_prng *prng, hs_pair *pair) {
    struct ioi *s = ctx;
    int row[N_NAME], place, object;
    const char *name[N_NAME];
    // All is drawn whether it is used or not: the same seed gives the same clean halves whatever
    // the corruption.
    const int64_t drawn = (int64_t)hs_prng_below(prng, N_TEMPLATE);
    const bool abba = hs_prng_below(prng, 2);
    hs_words_pick(&s->names, prng, N_NAME, row);
    hs_words_pick(&s->places, prng, 1, &place);
    hs_words_pick(&s->objects, prng, 1, &object);
    for (int i = 0; i < N_NAME; i++) name[i] = hs_word(&s->names, row[i], 0);

    const int64_t t = s->template >= 0 ? s->template : drawn;
    const bool io_first = strcmp(s->order, "mixed") ? !strcmp(s->order, "abba") : abba;
    const struct flip *f = s->flip;
    const hs_slot slots[] = {
        {io_first ? "X" : "Y", "IO", NULL, name[A], name[f->io]},
        {io_first ? "Y" : "X", "S1", "S1_next", name[B], name[f->s1]},
        {"S", "S2", NULL, name[B], name[f->s2]},
        {"P", NULL, NULL, hs_word(&s->places, place, 0), NULL},
        {"O", NULL, NULL, hs_word(&s->objects, object, 0), NULL},
    };
    hs_pair_fill(pair, templates[t], slots, sizeof slots / sizeof *slots);
    hs_pair_answer(pair, " ", name[A], name[B]);
    hs_jw_key_int(&pair->more, "template", t);
    hs_jw_key_str(&pair->more, "order", io_first ? "ABBA" : "BABA");
    hs_jw_key_str(&pair->more, "corrupt", f->name);
}

static const hs_word_list first_names = {"names", " ", 1, hs_first_names};
static const hs_word_list places = {"places", " ", 1, place_words};
static const hs_word_list objects = {"objects", " ", 1, object_words};

static const struct flip *find_flip(const char *name) {
    const struct flip *f = flips;
    while (strcmp(f->name, name)) f++;
    return f;
}

static int ioi_generate(hs_prompts *out, const hs_tok *tok, int64_t n_vocab, const hs_args *args) {
    (void)n_vocab;
    const char *given = hs_args_text(args, "names");
    struct ioi s = {.flip = find_flip(hs_args_text(args, "corrupt")),
                    .order = hs_args_text(args, "order"),
                    .template = hs_args_int(args, "template")};
    int rc = *given ? hs_words_given(&s.names, tok, given, &first_names, N_NAME)
                    : hs_words_open(&s.names, tok, &first_names, N_NAME);
    if (!rc) rc = hs_words_open(&s.places, tok, &places, 1);
    if (!rc) rc = hs_words_open(&s.objects, tok, &objects, 1);
    if (!rc) rc = hs_pairs_generate(out, tok, args, draw, &s);
    hs_words_free(&s.names);
    hs_words_free(&s.places);
    hs_words_free(&s.objects);
    return rc;
}

static const hs_param params[] = {
    HS_DATASET_PARAMS("50"),
    {"corrupt", HS_PARAM_ENUM, "abc", 0, 0, "abc|s2_io|io_s1|io|s|s1|s2", NULL,
     "the other half: abc three other names, s2_io the second subject becomes the indirect object, "
     "io_s1 the first two names change places, io, s, s1, s2 another name there"},
    {"order", HS_PARAM_ENUM, "mixed", 0, 0, "mixed|abba|baba", NULL,
     "abba: the indirect object first; baba: the subject first"},
    {"template", HS_PARAM_INT, "-1", -1, N_TEMPLATE - 1, NULL, NULL,
     "only this one of the templates, -1: any"},
    {"names", HS_PARAM_TEXT, "", 0, 0, NULL, NULL,
     "first names joined by '+', five at least; empty: a hundred of ours"},
    {0},
};

const hs_dataset hs_dataset_ioi = {
    .name = "ioi",
    .title = "Indirect object identification, with a corrupted half",
    .about = "\"When Mary and John saw a coin at the park, John agreed to give the coin to\": the "
             "answer is the name that is there once, the wrong one is the subject's. Positions IO, "
             "S1, S1_next (the one behind S1), S2 and END; \"order\" and \"template\" tell the "
             "kinds apart. Feeds patching and the scores of name movers.",
    .reference = "Wang et al. 2023, arXiv 2211.00593",
    .params = params,
    .generate = ioi_generate,
};
