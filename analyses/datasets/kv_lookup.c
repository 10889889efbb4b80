// Values of keys as a quiz: pairs of words as a JSON object or as a list, and the question for the
// value of one key; choices are values of the same object. Keys are two words each, so that every
// half of a key stands in several. kv_json is the long one for retrieval heads.
#include "analyses/dataset/item.h"

#include <string.h>

enum { N_WORD = 8, MAX_PAIRS = 24, N_CHOICE = 4 };

// clang-format off
static const char *const first[2 * N_WORD] = {
    "red", "cold", "soft", "tall", "dark", "rough", "clean", "narrow",
    "green", "warm", "hard", "short", "bright", "smooth", "dusty", "wide"};
static const char *const second[2 * N_WORD] = {
    "lamp", "chair", "stone", "bottle", "window", "basket", "ladder", "mirror",
    "table", "shelf", "brick", "bucket", "curtain", "hammer", "pillow", "carpet"};
static const char *const value[2 * MAX_PAIRS] = {
    "river", "summer", "doctor", "silence", "copper", "engine", "butter", "island",
    "music", "winter", "pirate", "journal", "lemon", "castle", "thunder", "planet",
    "cotton", "museum", "rocket", "sailor", "garden", "honey", "tunnel", "monkey",
    "valley", "autumn", "farmer", "laughter", "silver", "camera", "pepper", "desert",
    "ballet", "spring", "knight", "novel", "cherry", "temple", "snow", "comet",
    "velvet", "theatre", "bicycle", "captain", "forest", "sugar", "bridge", "tiger"};
// clang-format on

struct work {
    int n_pair;
    bool json, open;
};

// What stands around a key and around a value.
static void put_pair(const struct work *w, hs_item *it, int key, int val) {
    const char *mark = w->json ? "\"" : "";
    hs_buf_printf(&it->text, "%s%s %s%s:", mark, hs_item_word(it, first, key / N_WORD),
                  hs_item_word(it, second, key % N_WORD), mark);
    if (val >= 0) hs_buf_printf(&it->text, " %s%s%s", mark, hs_item_word(it, value, val), mark);
}

static void draw(void *ctx, hs_item *it) {
    struct work *w = ctx;
    int key[N_WORD * N_WORD] = {0}, val[MAX_PAIRS] = {0}, other[MAX_PAIRS] = {0};
    const int asked = hs_item_turn(it, w->n_pair, 0);
    hs_item_shuffle(it, key, N_WORD * N_WORD);
    hs_item_shuffle(it, val, MAX_PAIRS);
    hs_item_shuffle(it, other, w->n_pair - 1);
    it->open = w->open;
    it->right = hs_item_turn(it, N_CHOICE, 1);
    for (int i = 0, k = 0; i < N_CHOICE; i++) {
        const int pair = i == it->right ? asked : other[k] + (other[k] >= asked);
        const char *word = hs_item_word(it, value, val[pair]);
        k += i != it->right;
        hs_item_choice(it, word, w->json);
    }
    const int doc = hs_item_from(it, "doc");
    if (w->json) hs_buf_chr(&it->text, '{');
    for (int i = 0; i < w->n_pair; i++) {
        put_pair(w, it, key[i], val[i]);
        if (i + 1 < w->n_pair) hs_buf_str(&it->text, w->json ? ", " : "\n");
    }
    if (w->json) hs_buf_chr(&it->text, '}');
    hs_item_to(it, doc);
    hs_buf_str(&it->text, "\n\n");
    put_pair(w, it, key[asked], -1);
    hs_jw_key_int(&it->more, "gold", asked);
}

static int kv_lookup_generate(hs_prompts *out, const hs_tok *tok, int64_t n_vocab,
                              const hs_args *args) {
    struct work w = {.n_pair = (int)hs_args_int(args, "pairs"),
                     .json = !strcmp(hs_args_text(args, "format"), "json"),
                     .open = !strcmp(hs_args_text(args, "ask"), "open")};
    (void)n_vocab; // the tokenizer has it
    return hs_items_generate(out, tok, args, draw, &w);
}

static const hs_param params[] = {
    {"pairs", HS_PARAM_INT, "12", N_CHOICE, MAX_PAIRS, NULL, NULL, "keys with their values"},
    {"format", HS_PARAM_ENUM, "json", 0, 0, "json|list", NULL,
     "a JSON object, or a line 'key: value' for each"},
    HS_ASK_PARAM,
    HS_ITEM_PARAMS("64"),
    {0},
};

const hs_dataset hs_dataset_kv_lookup = {
    .name = "kv_lookup",
    .title = "Values of keys, to choose from",
    .about = "A short object or list of keys of two words and their values (span doc), and one of "
             "the keys again: which of four values of the object is its own? The key gold is the "
             "number of its pair, from 0. For eval and calibrate.",
    .reference = "key-value retrieval as in Liu et al. 2023, arXiv 2307.03172",
    .params = params,
    .generate = kv_lookup_generate,
};
