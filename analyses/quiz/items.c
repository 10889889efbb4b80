// What prompts ask, read from the other keys of their JSON lines; see quiz.h.
#include <stdlib.h>
#include <string.h>

#include "analyses/prompts_internal.h"
#include "analyses/quiz/quiz_internal.h"

struct reader {
    const hs_tok *tok;
    int64_t n_vocab;
    hs_arena *arena;
};

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

// The text without the spaces around it.
static const char *trim(const char *s, size_t *n) {
    *n = strlen(s);
    while (*n && is_space(s[*n - 1])) --*n;
    while (*n && is_space(*s)) s++, --*n;
    return s;
}

static bool same_trimmed(const char *a, const char *b) {
    size_t n, m;
    a = trim(a, &n);
    b = trim(b, &m);
    return n == m && !memcmp(a, b, n);
}

static bool is_word(const char *text, const char *word) {
    size_t n, i = 0;
    text = trim(text, &n);
    while (i < n && word[i] && (text[i] | 0x20) == word[i]) i++;
    return i == n && !word[i];
}

// ---- continuations ------------------------------------------------------------------------------

static int read_text(const struct reader *r, const char *text, hs_quiz_choice *out) {
    hs_tokens tokens = {0};
    int32_t *ids;
    size_t n;
    if (!r->tok)
        return hs_fail(HS_EARG, "a text needs a tokenizer: give it as a list of token ids");
    int rc = hs_tok_encode(r->tok, text, strlen(text), HS_BOS_NO, &tokens);
    if (rc) return rc;
    rc = hs_arena_get(r->arena, &ids, tokens.n, sizeof *ids);
    for (size_t i = 0; i < tokens.n && !rc; i++) ids[i] = tokens.at[i].id;
    if (!rc) rc = hs_arena_str(r->arena, &out->text, text, strlen(text));
    out->at = ids;
    out->n = (int64_t)tokens.n;
    hs_tokens_free(&tokens);
    if (rc) return rc;
    trim(text, &n);
    if (!n || !out->n) return hs_fail(HS_EFORMAT, "it is empty");
    out->n_byte = (int64_t)strlen(text);
    while (*text == ' ') text++, out->n_byte--;
    return HS_OK;
}

static int read_ids(const struct reader *r, const hs_json *list, hs_quiz_choice *out) {
    int32_t *ids, *to;
    int rc = hs_prompt_ids(list, &ids, &out->n);
    if (rc) return rc == HS_ERANGE ? HS_EFORMAT : rc; // as smaller ids outside the vocabulary
    if (!out->n) rc = hs_fail(HS_EFORMAT, "it is empty");
    for (int64_t i = 0; i < out->n && !rc; i++)
        if (ids[i] < 0 || ids[i] >= r->n_vocab)
            rc = hs_fail(HS_EFORMAT, "token %ld is not in the vocabulary, ids are 0 to %lld",
                         (long)ids[i], (long long)r->n_vocab - 1);
    if (!rc) rc = hs_arena_get(r->arena, &to, (size_t)out->n, sizeof *to);
    if (!rc) {
        memcpy(to, ids, (size_t)out->n * sizeof *to);
        out->at = to;
        out->n_byte = out->n;
    }
    free(ids);
    return rc;
}

// A text or a list of ids.
static bool continues(const hs_json *v) {
    return v && (hs_json_str(v) || hs_json_type(v) == HS_JSON_ARR);
}

static int read_one(const struct reader *r, const hs_json *v, hs_quiz_choice *out) {
    *out = (hs_quiz_choice){0};
    if (!continues(v)) return hs_fail(HS_EFORMAT, "it is neither a text nor a list of token ids");
    return hs_json_str(v) ? read_text(r, hs_json_str(v), out) : read_ids(r, v, out);
}

// All of a list, after `choice[n]` that are there.
static int read_list(const struct reader *r, const hs_json *list, const char *what,
                     hs_quiz_choice *choice, int *n) {
    int rc = HS_OK, i = 0;
    for (const hs_json *v = hs_json_first(list); v && !rc; v = hs_json_next(v), i++) {
        rc = hs_prefix(read_one(r, v, &choice[*n]), "%s %d", what, i);
        *n += !rc;
    }
    return rc;
}

static bool same_tokens(const hs_quiz_choice *a, const hs_quiz_choice *b) {
    return a->n == b->n && !memcmp(a->at, b->at, (size_t)a->n * sizeof *a->at);
}

// ---- choices ------------------------------------------------------------------------------------

// The number of the choice that has this text: the same one, else one that differs in the spaces
// around it.
static int find_text(const hs_quiz_item *item, const char *text) {
    for (int i = 0; i < item->n_choice; i++)
        if (item->choice[i].text && !strcmp(item->choice[i].text, text)) return i;
    for (int i = 0; i < item->n_choice; i++)
        if (item->choice[i].text && same_trimmed(item->choice[i].text, text)) return i;
    return -1;
}

static int read_right(const struct reader *r, const hs_json *v, hs_quiz_item *out) {
    int64_t number;
    out->right = -1;
    if (!v)
        return hs_fail(HS_EFORMAT, "it has choices and no \"answer\": give the number of the right "
                                   "one, from 0, or its text");
    if (hs_json_int(v, &number)) {
        if (number >= 0 && number < out->n_choice) out->right = (int)number;
    } else if (hs_json_str(v)) {
        out->right = find_text(out, hs_json_str(v));
    } else if (hs_json_type(v) == HS_JSON_ARR) {
        hs_quiz_choice ids = {0};
        int rc = hs_prefix(read_ids(r, v, &ids), "answer");
        if (rc) return rc;
        for (int i = 0; i < out->n_choice; i++)
            if (same_tokens(&ids, &out->choice[i])) out->right = i;
    }
    if (out->right >= 0) return HS_OK;
    return hs_fail(
        HS_EFORMAT,
        "\"answer\" is none of its %d choices: give the number of the right one, from 0, "
        "or its text",
        out->n_choice);
}

static int check_apart(const hs_quiz_item *item) {
    for (int i = 0; i < item->n_choice; i++)
        for (int k = 0; k < i; k++)
            if (same_tokens(&item->choice[i], &item->choice[k]))
                return hs_fail(HS_EFORMAT, "choices %d and %d are the same", k, i);
    return HS_OK;
}

static bool asks_yes_no(const hs_quiz_item *item) {
    if (item->n_choice != 2 || !item->choice[0].text || !item->choice[1].text) return false;
    const bool first = is_word(item->choice[0].text, "yes");
    return is_word(item->choice[first ? 0 : 1].text, "yes") &&
           is_word(item->choice[first ? 1 : 0].text, "no");
}

static int read_choices(const struct reader *r, const hs_json *doc, const hs_json *list,
                        hs_quiz_item *out) {
    enum { MOST = 1000 };
    hs_quiz_choice *choice;
    const size_t n = hs_json_size(list);
    if (hs_json_type(list) != HS_JSON_ARR || n < 2 || n > MOST)
        return hs_fail(HS_EFORMAT, "\"choices\" is not a list of 2 to %d texts or lists of ids",
                       MOST);
    int rc = hs_arena_get(r->arena, &choice, n, sizeof *choice);
    out->choice = choice;
    if (!rc) rc = read_list(r, list, "choice", choice, &out->n_choice);
    if (!rc) rc = check_apart(out);
    if (!rc) rc = read_right(r, hs_json_get(doc, "answer"), out);
    out->kind = asks_yes_no(out) ? HS_QUIZ_YES_NO : HS_QUIZ_CHOICE;
    return rc;
}

// ---- open answers -------------------------------------------------------------------------------

static int read_open(const struct reader *r, const hs_json *doc, hs_quiz_item *out) {
    const hs_json *one = hs_json_get(doc, "answer"), *all = hs_json_get(doc, "answers");
    hs_quiz_choice *choice;
    int64_t number;
    if (hs_json_int(one, &number)) return HS_OK;
    if (!continues(one)) one = NULL;
    if (!all || hs_json_type(all) != HS_JSON_ARR || !continues(hs_json_first(all))) all = NULL;
    if (!one && !all) return HS_OK;
    int rc = hs_arena_get(r->arena, &choice, 1 + (all ? hs_json_size(all) : 0), sizeof *choice);
    out->choice = choice;
    if (!rc && one) {
        rc = hs_prefix(read_one(r, one, &choice[0]), "answer");
        out->n_choice += !rc;
    }
    if (!rc && all) rc = read_list(r, all, "answer", choice, &out->n_choice);
    out->kind = HS_QUIZ_OPEN;
    out->right = 0;
    return rc;
}

int hs_quiz_read(hs_quiz_item *out, const hs_prompt *prompt, int64_t ord, const hs_tok *tok,
                 int64_t n_vocab, hs_arena *arena) {
    const struct reader r = {tok, n_vocab, arena};
    hs_json *doc = NULL;
    *out = (hs_quiz_item){.kind = HS_QUIZ_TEXT, .prompt = prompt, .ord = ord, .right = -1};
    if (!prompt->extra) return HS_OK;
    int rc = hs_json_parse(&doc, prompt->extra, strlen(prompt->extra));
    const hs_json *choices = rc ? NULL : hs_json_get(doc, "choices");
    if (!rc) rc = choices ? read_choices(&r, doc, choices, out) : read_open(&r, doc, out);
    hs_json_free(doc);
    return hs_prefix(rc, "prompt '%s'", prompt->id);
}
