// Colored objects (Merullo et al. 2024): a solved question, then one to be answered, about the
// colour of one of three things. The other half is the same text with another of the three asked
// for: only that word differs. The wording is ours.
#include "analyses/dataset/pair.h"

enum { N_THING = 3 };

static const char *const object_words[] = {
    "pencil", "notebook", "pen",      "cup",     "plate",    "jug",
    "mug",    "puzzle",   "textbook", "leash",   "necklace", "bracelet",
    "bottle", "ball",     "envelope", "lighter", "bowl",     NULL,
};
// As they stand in the list, and as the answer.
static const char *const colour_words[] = {
    "red",  "Red",    "orange", "Orange", "yellow", "Yellow", "green", "Green", "blue",
    "Blue", "purple", "Purple", "brown",  "Brown",  "black",  "Black", NULL,
};
static const char *const places[] = {"table", "desk", "floor"};
static const char *const sights[] = {"there is", "you find", "I see"};
enum { N_PLACE = sizeof places / sizeof *places, N_SIGHT = sizeof sights / sizeof *sights };

static const hs_word_list objects = {"objects", " ", 1, object_words};
static const hs_word_list colours = {"colours", " ", 2, colour_words};

struct colored {
    hs_words objects, colours;
    int32_t wrongs[N_THING - 1];
};

// One question's things, in the order of the list.
struct question {
    int object[N_THING], colour[N_THING];
    int asked, other; // of the clean and of the corrupted half
    int place, sight;
};

static struct question draw_question(const struct colored *s, hs_prng *prng) {
    struct question q;
    hs_words_pick(&s->objects, prng, N_THING, q.object);
    hs_words_pick(&s->colours, prng, N_THING, q.colour);
    q.asked = (int)hs_prng_below(prng, N_THING);
    q.other = (q.asked + 1 + (int)hs_prng_below(prng, N_THING - 1)) % N_THING;
    q.place = (int)hs_prng_below(prng, N_PLACE);
    q.sight = (int)hs_prng_below(prng, N_SIGHT);
    return q;
}

static const char *article(const char *word) {
    return word[0] == 'o' ? " an " : " a ";
}

// The text up to the question for one thing. names: of the colours' positions and of the things',
// NULL when they have none.
static void tell(hs_pair *pair, const struct colored *s, const struct question *q,
                 const char *const names[2][N_THING]) {
    hs_pair_text(pair, "Q: On the ");
    hs_pair_text(pair, places[q->place]);
    hs_pair_text(pair, ", ");
    hs_pair_text(pair, sights[q->sight]);
    for (int i = 0; i < N_THING; i++) {
        const char *word[2] = {hs_word(&s->colours, q->colour[i], 0),
                               hs_word(&s->objects, q->object[i], 0)};
        hs_pair_text(pair, i == 0 ? "" : i < N_THING - 1 ? "," : ", and");
        hs_pair_text(pair, article(word[0]));
        for (int k = 0; k < 2; k++) {
            if (names)
                hs_pair_word(pair, names[k][i], NULL, word[k], word[k]);
            else
                hs_pair_text(pair, word[k]);
            hs_pair_text(pair, k == 0 ? " " : "");
        }
    }
    hs_pair_text(pair, ". What color is the ");
}

static void draw(void *ctx, hs_prng *prng, hs_pair *pair) {
    struct colored *s = ctx;
    const struct question solved = draw_question(s, prng), q = draw_question(s, prng);
    const char *names[2][N_THING];
    int n = 0;
    for (int i = 0; i < N_THING; i++) {
        names[0][i] = i == q.asked ? "COLOR" : i == q.other ? "WRONG" : "OTHER";
        names[1][i] = i == q.asked ? "OBJECT" : i == q.other ? "WRONG_OBJECT" : "OTHER_OBJECT";
        if (i != q.asked) s->wrongs[n++] = hs_word_id(&s->colours, q.colour[i], 1);
    }
    tell(pair, s, &solved, NULL);
    hs_pair_text(pair, hs_word(&s->objects, solved.object[solved.asked], 0));
    hs_pair_text(pair, "?\nA: ");
    hs_pair_text(pair, hs_word(&s->colours, solved.colour[solved.asked], 1));
    hs_pair_text(pair, "\n\n");
    tell(pair, s, &q, names);
    hs_pair_word(pair, "ASKED", NULL, hs_word(&s->objects, q.object[q.asked], 0),
                 hs_word(&s->objects, q.object[q.other], 0));
    hs_pair_text(pair, "?\nA:");
    hs_pair_answer(pair, " ", hs_word(&s->colours, q.colour[q.asked], 1),
                   hs_word(&s->colours, q.colour[q.other], 1));
    pair->wrongs = s->wrongs;
    pair->n_wrong = N_THING - 1;
}

static int colored_generate(hs_prompts *out, const hs_tok *tok, int64_t n_vocab,
                            const hs_args *args) {
    (void)n_vocab;
    struct colored s = {0};
    int rc = hs_words_open(&s.objects, tok, &objects, N_THING);
    if (!rc) rc = hs_words_open(&s.colours, tok, &colours, N_THING);
    if (!rc) rc = hs_pairs_generate(out, tok, args, draw, &s);
    hs_words_free(&s.objects);
    hs_words_free(&s.colours);
    return rc;
}

static const hs_param params[] = {
    HS_DATASET_PARAMS("50"),
    {0},
};

const hs_dataset hs_dataset_colored_objects = {
    .name = "colored_objects",
    .title = "Colours of three things, with a half that asks for another one",
    .about = "A solved question, then \"Q: On the desk, I see a red pen, a blue mug, and a green "
             "ball. What color is the mug? A:\": Blue, and not Green, for which the other half "
             "asks. Positions COLOR, WRONG, OTHER (the colours in the question), OBJECT, "
             "WRONG_OBJECT, OTHER_OBJECT (their things), ASKED and END; \"wrongs\" are both other "
             "colours.",
    .reference = "Merullo et al. 2024, arXiv 2310.08744",
    .params = params,
    .generate = colored_generate,
};
