// Needle in a haystack (Kamradt 2023; lengths, depths and the prompt as Wu et al. 2024 have them): a
// fact among many sentences that have nothing to do with it, and a question about it. The haystack
// of a needle is one text: prompts of all lengths begin with the same tokens, up to the insertion.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/dataset/long.h"
#include "analyses/dataset/prose.h"
#include "analyses/dataset/words.h"
#include "model/core/json.h"
#include "model/core/mem.h"

enum {
    MAX_NEEDLES = 10000,
};

// A needle in tokens: before its answer, the answer, after it; and the question.
struct needle {
    hs_fact fact;
    hs_long text, question;
    int64_t from, to; // of the answer in text
};

struct work {
    hs_prompts *out;
    const hs_tok *tok;
    const hs_args *args;
    int32_t bos;
    int64_t *length, longest;
    int n_length;
    struct needle *needle;
    int64_t n_needle;
    hs_json **doc; // the lines of the user's needles, whose texts the facts borrow
    int64_t n_doc;
    hs_map file; // the user's haystack
};

// ---- needles ------------------------------------------------------------------------------------

// The sentence in three pieces, the answer with the space before it; the question, after which a cue
// is the sentence up to the answer.
static int make_needle(struct needle *n, const hs_tok *tok, bool cue) {
    hs_buf sentence = {0}, question = {0};
    hs_buf_printf(&sentence, " %s", n->fact.needle);
    int rc = hs_buf_rc(&sentence);
    if (rc) return rc;
    const char *start = sentence.data, *at = strstr(start, n->fact.answer);
    const char *after = at + strlen(n->fact.answer);
    at -= at > start && at[-1] == ' ';
    rc = hs_long_text(&n->text, tok, start, (size_t)(at - start));
    n->from = n->text.n;
    if (!rc) rc = hs_long_text(&n->text, tok, at, (size_t)(after - at));
    n->to = n->text.n;
    if (!rc && n->from == n->to) rc = hs_fail(HS_EARG, "'%s' has no token", n->fact.answer);
    if (!rc) rc = hs_long_text(&n->text, tok, after, strlen(after));
    hs_buf_printf(&question, "\nBased on the content of the book, Question: %s\nAnswer:%.*s",
                  n->fact.question, cue ? (int)(at - start) : 0, start);
    if (!rc) rc = hs_buf_rc(&question);
    if (!rc) rc = hs_long_text(&n->question, tok, question.data, question.len);
    hs_buf_free(&sentence);
    hs_buf_free(&question);
    return rc;
}

// A line of the user's needles.
static int read_fact(hs_fact *out, const hs_json *doc) {
    out->topic = hs_json_str(hs_json_get(doc, "topic"));
    out->needle = hs_json_str(hs_json_get(doc, "needle"));
    out->question = hs_json_str(hs_json_get(doc, "question"));
    out->answer = hs_json_str(hs_json_get(doc, "answer"));
    if (!out->needle || !out->question || !out->answer || !*out->answer)
        return hs_fail(HS_EFORMAT, "a needle is {\"needle\": SENTENCE, \"question\": TEXT, "
                                   "\"answer\": WORDS OF THE SENTENCE}");
    if (!strstr(out->needle, out->answer))
        return hs_fail(HS_EFORMAT,
                       "the answer '%s' does not stand in its needle: it must be words of the "
                       "sentence as they are there",
                       out->answer);
    if (!out->topic) out->topic = "own";
    return HS_OK;
}

static int add_line(struct work *w, const char *line, size_t n) {
    hs_json *doc;
    int rc = hs_grow(&w->doc, (size_t)w->n_doc + 1, sizeof(hs_json *));
    if (!rc) rc = hs_grow(&w->needle, (size_t)w->n_needle + 1, sizeof *w->needle);
    if (!rc) rc = hs_json_parse(&doc, line, n);
    if (rc) return rc;
    w->doc[w->n_doc++] = doc;
    w->needle[w->n_needle] = (struct needle){0};
    return read_fact(&w->needle[w->n_needle++].fact, doc);
}

static int read_needles(struct work *w, const char *path) {
    hs_map map;
    int64_t number = 0;
    int rc = hs_map_open(&map, path);
    if (rc) return rc;
    const char *at = (const char *)map.data, *end = at + map.size;
    while (at < end && !rc) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const size_t n = (size_t)((stop ? stop : end) - at);
        const bool blank = !n || (n == 1 && *at == '\r');
        number++;
        if (!blank) rc = hs_prefix(add_line(w, at, n), "%s:%" PRId64, path, number);
        at += n + 1;
    }
    hs_map_close(&map);
    if (!rc && !w->n_needle) rc = hs_fail(HS_EARG, "%s: the file holds no needles", path);
    return rc;
}

static int list_needles(struct work *w) {
    const char *path = hs_args_text(w->args, "needles");
    const int64_t n = hs_args_int(w->args, "n");
    int rc = HS_OK;
    if (*path) {
        rc = read_needles(w, path);
        if (!rc && hs_args_given(w->args, "n") && n > w->n_needle)
            rc = hs_fail(HS_EARG, "n=%" PRId64 ": %s has %" PRId64 " needles", n, path,
                         w->n_needle);
        if (!rc && hs_args_given(w->args, "n")) w->n_needle = n;
        return rc;
    }
    if (n > HS_N_FACT)
        return hs_fail(HS_EARG,
                       "n=%" PRId64 ": there are %d needles here, give your own with "
                       "needles=FILE.jsonl",
                       n, HS_N_FACT);
    rc = hs_alloc(&w->needle, (size_t)n, sizeof *w->needle);
    for (; w->n_needle < n && !rc; w->n_needle++)
        w->needle[w->n_needle].fact = hs_facts[w->n_needle];
    return rc;
}

// ---- haystacks ----------------------------------------------------------------------------------

// The user's text, which begins with a space so that a needle may stand before it; read once.
static int read_text(const struct work *w, hs_long *out, int64_t n) {
    hs_buf text = {0};
    int rc = HS_OK;
    if (!out->n) {
        hs_buf_chr(&text, ' ');
        hs_buf_add(&text, w->file.data, w->file.size);
        rc = hs_buf_rc(&text);
        if (!rc) rc = hs_long_text(out, w->tok, text.data, text.len);
        hs_buf_free(&text);
    }
    if (!rc && out->n < n)
        rc = hs_fail(HS_EARG,
                     "%s has %" PRId64 " tokens, and a prompt of %" PRId64 " wants %" PRId64
                     " of them: give a longer file or smaller lengths",
                     hs_args_text(w->args, "file"), out->n, w->longest, n);
    return rc;
}

// ---- prompts ------------------------------------------------------------------------------------

static int put_prompt(const struct work *w, const struct needle *n, const hs_long *hay,
                      int64_t length, int64_t end, int64_t depth, hs_long *prompt) {
    const int64_t at = hs_long_sentence(hay, w->tok, end * depth / 100);
    int rc = hs_long_begin(prompt, w->bos);
    if (!rc) rc = hs_long_ids(prompt, hay->tokens, at);
    const int64_t start = prompt->n;
    if (!rc) rc = hs_long_add(prompt, &n->text);
    if (!rc) rc = hs_long_ids(prompt, hay->tokens + at, end - at);
    if (!rc) rc = hs_long_add(prompt, &n->question);
    if (rc) return rc;
    return hs_long_put(w->out, w->tok, prompt,
                       &(hs_long_line){.from = start + n->from,
                                       .to = start + n->to,
                                       .length = length,
                                       .depth = (double)depth,
                                       .topic = n->fact.topic,
                                       .question = n->fact.question});
}

static int put_length(const struct work *w, const struct needle *n, const hs_long *hay,
                      int64_t length, hs_long *prompt) {
    const int64_t depths = hs_args_int(w->args, "depths");
    const int64_t fixed = (w->bos >= 0) + n->text.n + n->question.n;
    int rc = HS_OK;
    if (length <= fixed) {
        hs_buf what = {0};
        hs_buf_printf(&what, "the needle '%s' and its question", n->fact.topic);
        rc = hs_long_too_short(length, fixed + 1, hs_buf_text(&what));
        hs_buf_free(&what);
        return rc;
    }
    // Very short ones have no whole sentence.
    const int64_t end = hs_long_sentence(hay, w->tok, length - fixed);
    for (int64_t d = 0; d < depths && !rc; d++)
        rc = put_prompt(w, n, hay, length, end ? end : length - fixed,
                        depths > 1 ? llround(100.0 * (double)d / (double)(depths - 1)) : 50,
                        prompt);
    return rc;
}

static int put_needle(const struct work *w, int64_t i, hs_long *hay, hs_long *prompt) {
    struct needle *n = &w->needle[i];
    const uint64_t seed = (uint64_t)hs_args_int(w->args, "seed") +
                          (uint64_t)i * 0x9e3779b97f4a7c15u;
    int rc = make_needle(n, w->tok, !strcmp(hs_args_text(w->args, "cue"), "yes"));
    const int64_t room = w->longest - (w->bos >= 0) - n->text.n - n->question.n;
    if (!rc)
        rc = w->file.data ? read_text(w, hay, room)
                          : hs_long_prose(hay, w->tok, hs_prng_seed(seed), room);
    for (int k = 0; k < w->n_length && !rc; k++) rc = put_length(w, n, hay, w->length[k], prompt);
    return rc;
}

static int open_work(struct work *w) {
    const char *path = hs_args_text(w->args, "file");
    int rc = hs_long_needs(w->tok);
    if (!rc) rc = hs_dataset_bos(&w->bos, w->out, w->tok, w->args);
    if (!rc) rc = hs_long_lengths(&w->length, &w->n_length, hs_args_text(w->args, "lengths"));
    for (int i = 0; i < w->n_length && !rc; i++)
        if (w->length[i] > w->longest) w->longest = w->length[i];
    if (!rc && *path) rc = hs_map_open(&w->file, path);
    if (!rc) rc = list_needles(w);
    return rc;
}

static void close_work(struct work *w) {
    for (int64_t i = 0; i < w->n_needle; i++) {
        hs_long_free(&w->needle[i].text);
        hs_long_free(&w->needle[i].question);
    }
    for (int64_t i = 0; i < w->n_doc; i++) hs_json_free(w->doc[i]);
    free(w->needle);
    free(w->doc);
    free(w->length);
    if (w->file.data) hs_map_close(&w->file);
}

static int needle_generate(hs_prompts *out, const hs_tok *tok, int64_t n_vocab,
                           const hs_args *args) {
    struct work w = {.out = out, .tok = tok, .args = args};
    hs_long hay = {0}, prompt = {0};
    (void)n_vocab; // the tokenizer has it
    int rc = open_work(&w);
    for (int64_t i = 0; i < w.n_needle && !rc; i++) rc = put_needle(&w, i, &hay, &prompt);
    hs_long_free(&hay);
    hs_long_free(&prompt);
    close_work(&w);
    return rc;
}

static const hs_param params[] = {
    HS_LENGTHS_PARAM("256:960:4"),
    {"depths", HS_PARAM_INT, "10", 1, 101, NULL, NULL,
     "places of the needle, from 0 to 100 % of the haystack; 1: in its middle"},
    {"n", HS_PARAM_INT, "3", 1, MAX_NEEDLES, NULL, "needles", "how many different needles"},
    {"cue", HS_PARAM_ENUM, "yes", 0, 0, "yes|no", NULL,
     "yes: after 'Answer:' comes the needle's sentence up to the answer, without which small "
     "models "
     "say nothing; no: as in the paper"},
    {"file", HS_PARAM_TEXT, "", 0, 0, NULL, NULL, "your own haystack, a text file"},
    {"needles", HS_PARAM_TEXT, "", 0, 0, NULL, NULL,
     "your own needles, JSON lines {\"needle\": SENTENCE, \"question\": TEXT, \"answer\": WORDS OF "
     "THE SENTENCE, \"topic\": WORD or nothing}"},
    HS_DATASET_DRAW,
    {0},
};

const hs_dataset hs_dataset_needle = {
    .name = "needle",
    .title = "Needle in a haystack",
    .about = "A fact among many sentences that have nothing to do with it, then a question about "
             "it, at several lengths and depths. A prompt takes its length at most, its question "
             "included, and less by no more than a sentence; the answer comes after. Feeds the "
             "retrieval scores.",
    .reference = "Wu et al. 2024, arXiv 2404.15574",
    .params = params,
    .generate = needle_generate,
};
