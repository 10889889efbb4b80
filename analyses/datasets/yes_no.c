// Questions with yes or no: a short text tells what there is at a place, a question asks whether
// there is some thing. Things that are not there are drawn as POPE does (Li et al. 2023, arXiv
// 2305.10355): any at all; such as many texts of the set have; or such as go with the place, which
// stand in other texts together with what is told.
#include <assert.h>
#include <string.h>

#include "analyses/dataset/item.h"

enum {
    N_PLACE = 6,  // of each part
    N_OWN = 10,   // things of a place
    N_COMMON = 8, // of each part: things that any place may have
    N_ALL = N_PLACE * N_OWN + N_COMMON,
    N_WHERE = 8,
    N_FORM = 3,
    MAX_THINGS = N_WHERE,
    MAX_SHOTS = 4,
};

struct place {
    const char *name;
    const char *thing[N_OWN];
};

// clang-format off
static const struct place places[2 * N_PLACE] = {
    {"kitchen", {"kettle", "toaster", "frying pan", "rolling pin", "teapot", "fridge", "corkscrew", "colander", "cake", "dishwasher"}},
    {"garage", {"bicycle", "toolbox", "tyre", "workbench", "lawnmower", "drill", "jack", "paint roller", "motorbike", "trailer"}},
    {"classroom", {"blackboard", "globe", "ruler", "pencil case", "atlas", "whiteboard", "skeleton", "abacus", "schoolbag", "teacher"}},
    {"beach", {"parasol", "surfboard", "sandcastle", "deckchair", "lifeguard", "crab", "seashell", "rowing boat", "seagull", "snorkel"}},
    {"farmyard", {"tractor", "hen", "haystack", "pitchfork", "cow", "scarecrow", "milk churn", "wheelbarrow", "pig", "cart"}},
    {"office", {"printer", "stapler", "computer", "calculator", "secretary", "photocopier", "calendar", "paper clip", "headset", "filing cabinet"}},
    {"bathroom", {"toothbrush", "bathtub", "sponge", "towel", "shower curtain", "hairdryer", "razor", "shampoo", "washbasin", "comb"}},
    {"park", {"fountain", "swing", "pond", "kite", "squirrel", "pram", "jogger", "statue", "duck", "picnic rug"}},
    {"harbour", {"lighthouse", "crane", "anchor", "fisherman", "ferry", "net", "buoy", "sailor", "yacht", "lobster pot"}},
    {"theatre", {"stage", "piano", "costume", "spotlight", "actor", "microphone", "orchestra", "wig", "ticket booth", "trapdoor"}},
    {"hospital", {"wheelchair", "nurse", "stretcher", "thermometer", "bandage", "syringe", "surgeon", "scale", "crutch", "ambulance"}},
    {"forest", {"stream", "fox", "mushroom", "tent", "waterfall", "owl", "log cabin", "hunter", "campfire", "deer"}},
};
static const char *const common[2 * N_COMMON] = {
    "cat", "dog", "clock", "box", "chair", "bench", "newspaper", "bucket",
    "cup", "bottle", "bag", "basket", "ladder", "rope", "coat", "hat"};
// clang-format on
static const char *const where[N_WHERE] = {
    "on the left", "on the right", "in the middle",  "at the back",
    "in front",    "by the wall",  "in the shadows", "right at the entrance"};
static const char *const form[N_FORM] = {"There is {thing} {where}.",
                                         "You can see {thing} {where}.",
                                         "Somebody notices {thing} {where}."};
// Of neither part. In this order small models that see them lean least to one answer.
static const char *const shot[MAX_SHOTS] = {
    "Text: This is a bakery. You can see an oven at the back. There is a loaf on the right.\n"
    "Question: Is there a violin?\nAnswer: No\n\n",
    "Text: This is a library. There is a desk by the wall. You can see a shelf in the middle.\n"
    "Question: Is there a vase?\nAnswer: No\n\n",
    "Text: This is a bus stop. There is a bin on the left. There is a puddle in front.\n"
    "Question: Is there a puddle?\nAnswer: Yes\n\n",
    "Text: This is a church. There is a candle in front. You can see an organ at the back.\n"
    "Question: Is there an organ?\nAnswer: Yes\n\n",
};

struct work {
    int n_thing, n_shot;
    enum negatives { RANDOM, POPULAR, ADVERSARIAL } negatives;
};

// Thing i of a part: the common ones first, then those of its places.
static const char *thing(const hs_item *it, int i) {
    if (i < N_COMMON) return hs_item_word(it, common, i);
    i -= N_COMMON;
    return places[2 * (i / N_OWN) + it->part].thing[i % N_OWN];
}

static void put_thing(hs_item *it, const char *name) {
    hs_buf_printf(&it->text, "%s %s", strchr("aeiou", *name) ? "an" : "a", name);
}

// The things of a text, a third of which are common ones; the rest go with the place.
static void draw_things(const struct work *w, hs_item *it, int place, int *at) {
    int some[N_COMMON] = {0}, own[N_OWN] = {0}, order[MAX_THINGS] = {0};
    const int n_common = (w->n_thing + 1) / 3;
    hs_item_shuffle(it, some, N_COMMON);
    hs_item_shuffle(it, own, N_OWN);
    hs_item_shuffle(it, order, w->n_thing);
    for (int i = 0; i < w->n_thing; i++)
        at[order[i]] = i < n_common ? some[i] : N_COMMON + place * N_OWN + own[i - n_common];
}

// One that is not there.
static int draw_absent(const struct work *w, hs_item *it, int place, const int *at) {
    const int from = w->negatives == ADVERSARIAL ? N_COMMON + place * N_OWN : 0;
    const int n = w->negatives == RANDOM ? N_ALL : w->negatives == POPULAR ? N_COMMON : N_OWN;
    for (;;) {
        const int i = from + hs_item_below(it, n);
        int k = 0;
        while (k < w->n_thing && at[k] != i) k++;
        if (k == w->n_thing) return i;
    }
}

static void tell(const struct work *w, hs_item *it, int place, const int *at) {
    int spot[N_WHERE] = {0};
    hs_item_shuffle(it, spot, N_WHERE);
    hs_buf_str(&it->text, " This is ");
    put_thing(it, places[2 * place + it->part].name);
    hs_buf_chr(&it->text, '.');
    for (int i = 0; i < w->n_thing; i++) {
        const char *f = form[hs_item_below(it, N_FORM)], *mark = strchr(f, '{');
        hs_buf_printf(&it->text, " %.*s", (int)(mark - f), f);
        put_thing(it, thing(it, at[i]));
        hs_buf_printf(&it->text, " %s.", where[spot[i]]);
    }
}

static void draw(void *ctx, hs_item *it) {
    const struct work *w = ctx;
    int at[MAX_THINGS] = {0};
    const int place = hs_item_below(it, N_PLACE);
    it->right = hs_item_turn(it, 2, 0);
    hs_item_choice(it, "Yes", false);
    hs_item_choice(it, "No", false);
    draw_things(w, it, place, at);
    const int asked = it->right ? draw_absent(w, it, place, at) : at[hs_item_below(it, w->n_thing)];
    for (int i = MAX_SHOTS - w->n_shot; i < MAX_SHOTS; i++) hs_buf_str(&it->text, shot[i]);
    hs_buf_str(&it->text, "Text:");
    const int doc = hs_item_from(it, "doc");
    tell(w, it, place, at);
    hs_item_to(it, doc);
    hs_buf_str(&it->text, "\nQuestion: Is there ");
    put_thing(it, thing(it, asked));
    hs_buf_str(&it->text, "?\nAnswer:");
    hs_jw_key_str(&it->more, "place", places[2 * place + it->part].name);
    hs_jw_key_str(&it->more, "thing", thing(it, asked));
}

static int yes_no_generate(hs_prompts *out, const hs_tok *tok, int64_t n_vocab,
                           const hs_args *args) {
    const char *negatives = hs_args_text(args, "negatives");
    struct work w = {.n_thing = (int)hs_args_int(args, "things"),
                     .n_shot = (int)hs_args_int(args, "shots"),
                     .negatives = !strcmp(negatives, "random")    ? RANDOM
                                  : !strcmp(negatives, "popular") ? POPULAR
                                                                  : ADVERSARIAL};
    (void)n_vocab; // the tokenizer has it
    return hs_items_generate(out, tok, args, draw, &w);
}

static const hs_param params[] = {
    {"things", HS_PARAM_INT, "6", 2, N_WHERE, NULL, NULL, "told of a place"},
    {"negatives", HS_PARAM_ENUM, "random", 0, 0, "random|popular|adversarial", NULL,
     "things asked about that are not there: any; those that most texts have; those that go with "
     "the place"},
    {"shots", HS_PARAM_INT, "4", 0, MAX_SHOTS, NULL, NULL,
     "solved examples in front, the same in all prompts"},
    HS_ITEM_PARAMS("64"),
    {0},
};

const hs_dataset hs_dataset_yes_no = {
    .name = "yes_no",
    .title = "Is there such a thing? Yes or no",
    .about = "A short text (span doc) tells what there is at a place; the question asks for one "
             "thing that is there or, in half of the items, for one that is not: any, one that "
             "many texts have, or one that goes with the place. For eval and calibrate; f1 is "
             "POPE's measure.",
    .reference = "POPE, Li et al. 2023, arXiv 2305.10355",
    .params = params,
    .generate = yes_no_generate,
};
