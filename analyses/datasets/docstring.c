// Docstrings (Heimersheim & Janiak 2023): a Python function and the beginning of its documentation,
// which names the parameters one after the other; the next one is the answer. Two parameters stand
// before the documented ones and one behind. In the other half the parameters and those that the
// text documents are other names, and not the same ones. Names and words are ours.
#include "analyses/dataset/pair.h"

enum { P1, P2, M1, M2, M3, S1, N_PARAM, N_DOC = 2, N_NAME = 2 * N_PARAM + N_DOC, N_WORD = 7 };
enum { N_WRONG = N_PARAM - 1 };

// Positions of the parameters, of what is behind some of them, and of the documented ones.
static const char *const def_names[N_PARAM] = {"P1", "P2", "M1", "M2", "M3", "S1"};
static const char *const after_names[N_PARAM] = {[M1] = "M1_next", [M2] = "M2_next"};
static const char *const doc_names[N_DOC] = {"DOC_M1", "DOC_M2"};

static const char *const name_words[] = {
    "load",   "size",    "files",  "last",   "data",   "name",   "path",    "mode",   "host",
    "port",   "user",    "time",   "value",  "key",    "text",   "line",    "page",   "first",
    "count",  "limit",   "order",  "state",  "level",  "model",  "image",   "width",  "height",
    "color",  "style",   "table",  "field",  "group",  "date",   "start",   "end",    "step",
    "token",  "source",  "target", "output", "result", "error",  "message", "node",   "edge",
    "graph",  "weight",  "score",  "label",  "index",  "offset", "method",  "option", "format",
    "prefix", "version", NULL,
};
static const char *const plain_words[] = {
    "water",  "stone",   "river",  "garden", "music",   "winter",   "summer",
    "bread",  "market",  "forest", "letter", "morning", "paper",    "weather",
    "island", "machine", "glass",  "silver", "school",  "mountain", NULL,
};
static const char *const functions[] = {"scan", "build", "fetch", "merge", "check", "print"};
enum { N_FUNCTION = sizeof functions / sizeof *functions };

static const hs_word_list names = {"parameter names", " ", 1, name_words};
static const hs_word_list words = {"words", " ", 1, plain_words};

struct docstring {
    hs_words names, words;
    int32_t wrongs[N_WRONG];
};

static void draw(void *ctx, hs_prng *prng, hs_pair *pair) {
    struct docstring *s = ctx;
    int name[N_NAME], word[N_WORD], w = 0, n = 0;
    hs_words_pick(&s->names, prng, N_NAME, name);
    hs_words_pick(&s->words, prng, N_WORD, word);
    const int *def[2] = {name, name + N_PARAM}, *doc[2] = {name + M1, name + 2 * N_PARAM};
    hs_pair_text(pair, "def ");
    hs_pair_text(pair, functions[hs_prng_below(prng, N_FUNCTION)]);
    hs_pair_text(pair, "(self");
    for (int i = 0; i < N_PARAM; i++) {
        hs_pair_text(pair, ", ");
        hs_pair_word(pair, def_names[i], after_names[i], hs_word(&s->names, def[0][i], 0),
                     hs_word(&s->names, def[1][i], 0));
        if (i != M3) s->wrongs[n++] = hs_word_id(&s->names, name[i], 0);
    }
    hs_pair_text(pair, "):\n    \"\"\"");
    for (; w < 3; w++) {
        hs_pair_text(pair, w ? " " : "The ");
        hs_pair_text(pair, hs_word(&s->words, word[w], 0));
    }
    hs_pair_text(pair, "\n\n");
    for (int i = 0; i < N_DOC; i++) {
        hs_pair_text(pair, "    :param ");
        hs_pair_word(pair, doc_names[i], NULL, hs_word(&s->names, doc[0][i], 0),
                     hs_word(&s->names, doc[1][i], 0));
        hs_pair_text(pair, ":");
        for (int k = 0; k < 2; k++, w++) {
            hs_pair_text(pair, " ");
            hs_pair_text(pair, hs_word(&s->words, word[w], 0));
        }
        hs_pair_text(pair, "\n");
    }
    hs_pair_text(pair, "    :param");
    const int wrong = (int)hs_prng_below(prng, N_WRONG);
    hs_pair_answer(pair, " ", hs_word(&s->names, name[M3], 0),
                   hs_word(&s->names, name[wrong < M3 ? wrong : S1], 0));
    pair->wrongs = s->wrongs;
    pair->n_wrong = N_WRONG;
}

static int docstring_generate(hs_prompts *out, const hs_tok *tok, int64_t n_vocab,
                              const hs_args *args) {
    (void)n_vocab;
    struct docstring s = {0};
    int rc = hs_words_open(&s.names, tok, &names, N_NAME);
    if (!rc) rc = hs_words_open(&s.words, tok, &words, N_WORD);
    if (!rc) rc = hs_pairs_generate(out, tok, args, draw, &s);
    hs_words_free(&s.names);
    hs_words_free(&s.words);
    return rc;
}

static const hs_param params[] = {
    HS_DATASET_PARAMS("50"),
    {0},
};

const hs_dataset hs_dataset_docstring = {
    .name = "docstring",
    .title = "The next parameter of a docstring, with a half of other names",
    .about = "def scan(self, load, size, files, last, mode, key): and two lines of documentation, "
             ":param files:, :param last:; behind the third :param comes mode. Positions P1, P2, "
             "M1, M2, M3, S1 in the definition (M1_next and M2_next behind M1 and M2), DOC_M1, "
             "DOC_M2 and END; \"wrongs\" are all other parameters, of which \"wrong\" is one.",
    .reference = "Heimersheim and Janiak 2023, A circuit for Python docstrings in a 4-layer "
                 "attention-only transformer",
    .params = params,
    .generate = docstring_generate,
};
