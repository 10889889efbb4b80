// Pass keys among filler, to be said at the end.
//
// number: one number among sentences that say the same again and again (Mohtashami & Jaggi 2023).
// It stands there twice; the needle is the first of the two.
// words: several keys of spelling-alphabet words in prose, then a question for each in a random
// order, all but the last with its answer (Xiao et al. 2024, DuoAttention). The spans "qa", all of
// the questions, and "key_1", "said_1", ..., the words in the prose and in an answer, have names.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/dataset/long.h"
#include "analyses/dataset/words.h"
#include "model/core/json.h"

enum { MAX_KEYS = 10, MAX_WORDS = 1000, MAX_NUMBER = 50000, GRID = 1000 };

static const char *const ordinals[MAX_KEYS] = {"first", "second",  "third",  "fourth", "fifth",
                                               "sixth", "seventh", "eighth", "ninth",  "tenth"};
static const char *const alphabet[] = {
    "alpha",  "bravo", "charlie", "delta",  "echo",     "foxtrot", "golf",   "hotel",  "india",
    "juliet", "kilo",  "lima",    "mike",   "november", "oscar",   "papa",   "quebec", "romeo",
    "sierra", "tango", "uniform", "victor", "whiskey",  "xray",    "yankee", "zulu"};
enum { N_WORD = sizeof alphabet / sizeof *alphabet };

struct work {
    hs_prompts *out;
    const hs_tok *tok;
    const hs_args *args;
    hs_prng prng;
    int32_t bos;
    hs_long prompt, hay;
    hs_long part[3 * MAX_KEYS]; // what each kind puts together
};

// Appends a text's tokens and empties it.
static int say(const struct work *w, hs_long *to, hs_buf *text) {
    int rc = hs_buf_rc(text);
    if (!rc) rc = hs_long_text(to, w->tok, text->data, text->len);
    hs_buf_clear(text);
    return rc;
}

// ---- a number -----------------------------------------------------------------------------------

enum { INTRO, FILLER, NUMBER, TELL, REPEAT, CLOSE, ASK, N_PART };
static const char *const number_parts[N_PART] = {
    [INTRO] = "A pass key is hidden in a text that does not matter. Find it and remember it: there "
              "will be a question about it.",
    [FILLER] = " The grass is wet. The road is long. The lamps are lit. We walk on. We come back "
               "again.",
    [TELL] = " The pass key is",
    [REPEAT] = ". Remember it.",
    [CLOSE] = " is the pass key.",
    [ASK] = "\nWhat is the pass key? The pass key is",
};

// Parts as tokens, and the prompt from them: its filler n times, `before` of them before the key.
static int add_parts(struct work *w, int64_t n, int64_t before, int64_t *at) {
    static const int told[] = {TELL, NUMBER, REPEAT, NUMBER, CLOSE};
    hs_long *p = &w->prompt;
    int rc = hs_long_begin(p, w->bos);
    if (!rc) rc = hs_long_add(p, &w->part[INTRO]);
    for (int64_t i = 0; i < before && !rc; i++) rc = hs_long_add(p, &w->part[FILLER]);
    *at = p->n + w->part[TELL].n;
    for (size_t i = 0; i < sizeof told / sizeof *told && !rc; i++)
        rc = hs_long_add(p, &w->part[told[i]]);
    for (int64_t i = before; i < n && !rc; i++) rc = hs_long_add(p, &w->part[FILLER]);
    return rc ? rc : hs_long_add(p, &w->part[ASK]);
}

static int put_number(struct work *w, int64_t length) {
    hs_buf text = {0};
    const int number = 1 + (int)hs_prng_below(&w->prng, MAX_NUMBER);
    int64_t at, fixed = w->bos >= 0;
    int rc = HS_OK;
    for (int i = 0; i < N_PART && !rc; i++) {
        if (number_parts[i])
            hs_buf_str(&text, number_parts[i]);
        else
            hs_buf_printf(&text, " %d", number);
        w->part[i].n = 0;
        rc = say(w, &w->part[i], &text);
        fixed += i == FILLER ? 0 : i == NUMBER ? 2 * w->part[i].n : w->part[i].n;
    }
    hs_buf_free(&text);
    const int64_t filler = w->part[FILLER].n;
    if (!rc && length < fixed + filler)
        rc = hs_long_too_short(length, fixed + filler, "the pass key, its question and filler");
    if (rc) return rc;
    const int64_t n = (length - fixed) / filler;
    const int64_t before = (int64_t)hs_prng_below(&w->prng, (uint64_t)n + 1);
    rc = add_parts(w, n, before, &at);
    if (rc) return rc;
    return hs_long_put(w->out, w->tok, &w->prompt,
                       &(hs_long_line){.from = at,
                                       .to = at + w->part[NUMBER].n,
                                       .length = length,
                                       .depth = 100 * (double)before / (double)n,
                                       .topic = "number",
                                       .question = "What is the pass key?"});
}

// ---- words --------------------------------------------------------------------------------------

struct key {
    hs_long *words, *told, *asked; // " alpha bravo"; the sentence with them; the question
    int64_t within;                // of the words in `told`
    double depth;                  // percent
    int64_t from, said;            // of the words in the prompt's prose, and in their answer
};

static int by_depth(const void *a, const void *b) {
    const double x = ((const struct key *)a)->depth, y = ((const struct key *)b)->depth;
    return (x > y) - (x < y);
}

static int make_key(struct work *w, struct key *key, int i) {
    hs_buf text = {0};
    key->words = &w->part[3 * i];
    key->told = &w->part[3 * i + 1];
    key->asked = &w->part[3 * i + 2];
    key->words->n = key->told->n = key->asked->n = 0;
    for (int64_t k = hs_args_int(w->args, "words"); k; k--)
        hs_buf_printf(&text, " %s", alphabet[hs_prng_below(&w->prng, N_WORD)]);
    int rc = say(w, key->words, &text);
    hs_buf_printf(&text, " Remember that it is the %s pass key to the vault:", ordinals[i]);
    if (!rc) rc = say(w, key->told, &text);
    key->within = key->told->n;
    if (!rc) rc = hs_long_add(key->told, key->words);
    hs_buf_chr(&text, '.');
    if (!rc) rc = say(w, key->told, &text);
    hs_buf_printf(&text,
                  "\nBased on the content of the book, what is the %s pass key to the vault? "
                  "Pass key:",
                  ordinals[i]);
    if (!rc) rc = say(w, key->asked, &text);
    hs_buf_free(&text);
    return rc;
}

// Prose up to `end` with the keys in it.
static int add_prose(struct work *w, struct key *key, int n_key, int64_t end) {
    hs_long *p = &w->prompt;
    int64_t at = 0;
    int rc = HS_OK;
    for (int i = 0; i < n_key && !rc; i++) {
        const int64_t wish = (int64_t)((double)end * key[i].depth / 100);
        const int64_t to = hs_long_sentence(&w->hay, w->tok, wish);
        rc = hs_long_ids(p, w->hay.tokens + at, to - at);
        key[i].from = p->n + key[i].within;
        if (!rc) rc = hs_long_add(p, key[i].told);
        at = to;
    }
    return rc ? rc : hs_long_ids(p, w->hay.tokens + at, end - at);
}

static void name_span(hs_jw *w, const char *kind, int i, int64_t from, int64_t n) {
    char name[32];
    snprintf(name, sizeof name, "%s_%d", kind, i + 1);
    hs_jw_key(w, name);
    hs_jw_begin(w, '[');
    hs_jw_int(w, from);
    hs_jw_int(w, from + n);
    hs_jw_end(w, ']');
}

static int put_line(struct work *w, const struct key *key, int n_key, int last, int64_t length,
                    int64_t asked) {
    const struct key *k = &key[last];
    hs_buf spans = {0}, question = {0};
    hs_jw jw = {.out = &spans};
    hs_jw_begin(&jw, '{');
    hs_jw_key(&jw, "qa");
    hs_jw_begin(&jw, '[');
    hs_jw_int(&jw, asked);
    hs_jw_int(&jw, w->prompt.n);
    hs_jw_end(&jw, ']');
    for (int i = 0; i < n_key; i++) {
        name_span(&jw, "key", i, key[i].from, key[i].words->n);
        if (i != last) name_span(&jw, "said", i, key[i].said, key[i].words->n);
    }
    hs_jw_end(&jw, '}');
    hs_buf_printf(&question, "What is the %s pass key to the vault?", ordinals[last]);
    int rc = hs_buf_rc(&spans) ? hs_buf_rc(&spans) : hs_buf_rc(&question);
    if (!rc)
        rc = hs_long_put(w->out, w->tok, &w->prompt,
                         &(hs_long_line){.from = k->from,
                                         .to = k->from + k->words->n,
                                         .length = length,
                                         .depth = k->depth,
                                         .topic = "words",
                                         .question = question.data,
                                         .spans = spans.data});
    hs_buf_free(&spans);
    hs_buf_free(&question);
    return rc;
}

static int put_words(struct work *w, int64_t length) {
    const int n_key = (int)hs_args_int(w->args, "keys");
    struct key key[MAX_KEYS] = {0};
    int order[MAX_KEYS] = {0}, rc = HS_OK;
    hs_long *p = &w->prompt;
    int64_t fixed = w->bos >= 0;
    for (int i = 0; i < n_key; i++) {
        const int k = (int)hs_prng_below(&w->prng, (uint64_t)i + 1);
        order[i] = order[k];
        order[k] = i;
        key[i].depth = 5 + 90 * (double)hs_prng_below(&w->prng, GRID) / (GRID - 1);
    }
    qsort(key, (size_t)n_key, sizeof *key, by_depth);
    const int last = order[n_key - 1];
    for (int i = 0; i < n_key && !rc; i++) {
        rc = make_key(w, &key[i], i);
        fixed += key[i].told->n + key[i].asked->n + (i != last ? key[i].words->n : 0);
    }
    if (!rc && length <= fixed)
        rc = hs_long_too_short(length, fixed + 1,
                               "the pass keys (keys=, words=) and their questions");
    if (rc) return rc;
    const hs_prng prose = hs_prng_seed(hs_prng_u64(&w->prng));
    rc = hs_long_prose(&w->hay, w->tok, prose, length - fixed);
    const int64_t end = rc ? 0 : hs_long_sentence(&w->hay, w->tok, length - fixed);
    if (!rc) rc = hs_long_begin(p, w->bos);
    if (!rc) rc = add_prose(w, key, n_key, end);
    const int64_t asked = p->n;
    for (int i = 0; i < n_key && !rc; i++) {
        struct key *k = &key[order[i]];
        rc = hs_long_add(p, k->asked);
        k->said = p->n;
        if (!rc && order[i] != last) rc = hs_long_add(p, k->words);
    }
    return rc ? rc : put_line(w, key, n_key, last, length, asked);
}

// ---- the data set -------------------------------------------------------------------------------

static int passkey_generate(hs_prompts *out, const hs_tok *tok, int64_t n_vocab,
                            const hs_args *args) {
    struct work w = {.out = out, .tok = tok, .args = args};
    const bool words = !strcmp(hs_args_text(args, "kind"), "words");
    const int64_t n = hs_args_int(args, "n");
    int64_t *length = NULL;
    int n_length = 0;
    (void)n_vocab; // the tokenizer has it
    w.prng = hs_prng_seed((uint64_t)hs_args_int(args, "seed"));
    int rc = hs_long_needs(tok);
    if (!rc) rc = hs_dataset_bos(&w.bos, out, tok, args);
    if (!rc) rc = hs_long_lengths(&length, &n_length, hs_args_text(args, "lengths"));
    for (int i = 0; i < n_length && !rc; i++)
        for (int64_t k = 0; k < n && !rc; k++)
            rc = words ? put_words(&w, length[i]) : put_number(&w, length[i]);
    free(length);
    hs_long_free(&w.prompt);
    hs_long_free(&w.hay);
    for (size_t i = 0; i < sizeof w.part / sizeof *w.part; i++) hs_long_free(&w.part[i]);
    return rc;
}

static const hs_param params[] = {
    HS_LENGTHS_PARAM("256:960:3"),
    {"n", HS_PARAM_INT, "10", 1, 1e9, NULL, "prompts", "prompts of each length"},
    {"kind", HS_PARAM_ENUM, "number", 0, 0, "number|words", NULL,
     "a number in filler that repeats; or keys of words in prose"},
    {"keys", HS_PARAM_INT, "3", 1, MAX_KEYS, NULL, NULL,
     "kind=words: keys in a prompt; 10 in the paper"},
    {"words", HS_PARAM_INT, "8", 1, MAX_WORDS, NULL, NULL,
     "kind=words: words of a key; 32 in the paper"},
    HS_DATASET_DRAW,
    {0},
};

const hs_dataset hs_dataset_passkey = {
    .name = "passkey",
    .title = "Pass keys in filler",
    .about =
        "A number to be remembered among sentences that say nothing, or several keys of words, "
        "and the question for one of them. A prompt takes its length at most; the answer comes "
        "after. Feeds the retrieval scores and probes of streaming heads.",
    .reference = "Mohtashami & Jaggi 2023, arXiv 2305.16300; words: Xiao et al. 2024, arXiv "
                 "2410.10819",
    .params = params,
    .generate = passkey_generate,
};
