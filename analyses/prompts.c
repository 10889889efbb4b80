// The set of prompts of a run; see prompt.h. Everything lives in one arena; ids are kept in an open
// hash table, since a file may hold hundreds of thousands.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/prompts_internal.h"
#include "model/core/hash.h"
#include "model/core/json.h"
#include "model/core/mem.h"

struct hs_prompts {
    const hs_tok *tok;
    enum hs_bos bos;
    int64_t n_vocab;
    hs_arena *arena;
    hs_prompt **at;
    int64_t n;
    int64_t *slot;  // [n_slot] index + 1 of the prompt with that id, 0 = free
    size_t n_slot;  // a power of two, more than twice n
    int64_t n_pair; // prompts from here on are the other halves of the first ones, 0: of none
};

int hs_prompts_open(hs_prompts **out, const hs_tok *tok, enum hs_bos bos, int64_t n_vocab) {
    hs_prompts *p;
    *out = NULL;
    int rc = hs_alloc(&p, 1, sizeof *p);
    if (rc) return rc;
    p->tok = tok;
    p->bos = bos;
    p->n_vocab = n_vocab;
    rc = hs_arena_open(&p->arena);
    if (rc)
        hs_prompts_close(p);
    else
        *out = p;
    return rc;
}

void hs_prompts_close(hs_prompts *p) {
    if (!p) return;
    hs_arena_close(p->arena);
    free(p->at);
    free(p->slot);
    free(p);
}

int64_t hs_prompts_count(const hs_prompts *p) {
    return p->n;
}

enum hs_bos hs_prompts_bos(const hs_prompts *p) {
    return p->bos;
}

const hs_prompt *hs_prompts_at(const hs_prompts *p, int64_t i) {
    return p->at[i];
}

// ---- ids ----------------------------------------------------------------------------------------

// The slot of an id: the one that holds it, or the free one where it would go.
static size_t find_slot(const hs_prompts *p, const char *id) {
    size_t s = (size_t)hs_fnv(HS_FNV_SEED, id, strlen(id));
    for (;; s++) {
        s &= p->n_slot - 1;
        if (!p->slot[s] || !strcmp(p->at[p->slot[s] - 1]->id, id)) return s;
    }
}

static int make_room(hs_prompts *p) {
    int rc = hs_grow(&p->at, (size_t)p->n + 1, sizeof *p->at);
    if (rc || 2 * (size_t)(p->n + 1) < p->n_slot) return rc;
    const size_t n_slot = p->n_slot ? 2 * p->n_slot : 64;
    int64_t *slot;
    rc = hs_alloc(&slot, n_slot, sizeof *slot);
    if (rc) return rc;
    free(p->slot);
    p->slot = slot;
    p->n_slot = n_slot;
    for (int64_t i = 0; i < p->n; i++) p->slot[find_slot(p, p->at[i]->id)] = i + 1;
    return HS_OK;
}

// ---- adding -------------------------------------------------------------------------------------

static int check(const hs_prompts *p, const char *id, const hs_prompt *in) {
    for (int64_t i = 0; i < in->n_token; i++)
        if (in->tokens[i] < 0 || in->tokens[i] >= p->n_vocab)
            return hs_fail(HS_ERANGE,
                           "prompt '%s': token %" PRId32 " at position %" PRId64
                           " is not in the vocabulary, ids are 0 to %" PRId64,
                           id, in->tokens[i], i, p->n_vocab - 1);
    if (in->bos_len < 0 || in->bos_len > 1 || in->bos_len > in->n_token)
        return hs_fail(HS_EARG, "prompt '%s': bos_len is 0, or 1 when a BOS token is there", id);
    if (in->period < 0) return hs_fail(HS_EARG, "prompt '%s': a period is a number of tokens", id);
    return HS_OK;
}

static int copy(hs_prompts *p, void *out, const void *from, int64_t n, size_t size) {
    int rc = hs_arena_get(p->arena, out, (size_t)n, size);
    if (!rc && n) memcpy(*(void **)out, from, (size_t)n * size);
    return rc;
}

// Copies a prompt into the set; id NULL = its number.
static int put(hs_prompts *p, const char *id, const hs_prompt *in) {
    char number[24];
    snprintf(number, sizeof number, "%" PRId64, p->n);
    if (!id) id = number;
    int rc = check(p, id, in);
    if (!rc) rc = make_room(p);
    if (rc) return rc;
    const size_t slot = find_slot(p, id);
    if (p->slot[slot]) return hs_fail(HS_EARG, "two prompts have the id '%s': ids must differ", id);
    hs_prompt *to;
    rc = hs_arena_get(p->arena, &to, 1, sizeof *to);
    if (rc) return rc;
    *to = *in;
    rc = hs_arena_str(p->arena, &to->id, id, strlen(id));
    if (!rc) rc = copy(p, &to->tokens, in->tokens, in->n_token, sizeof *in->tokens);
    if (!rc && in->text) {
        rc = hs_arena_str(p->arena, &to->text, in->text, (size_t)in->text_len);
        if (!rc) rc = copy(p, &to->start, in->start, in->n_token, sizeof *in->start);
        if (!rc) rc = copy(p, &to->end, in->end, in->n_token, sizeof *in->end);
    }
    if (!rc && in->extra) rc = hs_arena_str(p->arena, &to->extra, in->extra, strlen(in->extra));
    if (!rc && in->extra) rc = hs_prompt_spans(&to->spans, p->arena, in);
    if (rc) return rc;
    p->at[p->n++] = to;
    p->slot[slot] = p->n;
    return HS_OK;
}

int hs_prompts_add_tokens(hs_prompts *p, const char *id, const int32_t *tokens, int64_t n,
                          int bos_len, int64_t period, const char *extra) {
    return put(
        p, id,
        &(hs_prompt){
            .tokens = tokens, .n_token = n, .bos_len = bos_len, .period = period, .extra = extra});
}

int hs_prompts_add_copy(hs_prompts *p, const char *id, const hs_prompt *of) {
    return put(p, id ? id : of->id, of);
}

int hs_prompts_put_text(hs_prompts *p, const char *id, const char *text, size_t n, int64_t period,
                        const char *extra) {
    if (!p->tok)
        return hs_fail(HS_EARG, "there is no tokenizer for text: give prompts as token ids, "
                                "{\"tokens\": [1, 2, 3]}");
    hs_tokens tokens;
    int32_t *id_of = NULL;
    int64_t *start = NULL, *end = NULL;
    int rc = hs_tok_encode(p->tok, text, n, p->bos, &tokens);
    if (rc) return rc;
    rc = hs_alloc(&id_of, tokens.n, sizeof *id_of);
    if (!rc) rc = hs_alloc(&start, tokens.n, sizeof *start);
    if (!rc) rc = hs_alloc(&end, tokens.n, sizeof *end);
    for (size_t i = 0; i < tokens.n && !rc; i++) {
        id_of[i] = tokens.at[i].id;
        start[i] = tokens.at[i].start;
        end[i] = tokens.at[i].end;
    }
    if (!rc)
        rc = put(p, id,
                 &(hs_prompt){.text = text,
                              .text_len = (int64_t)n,
                              .tokens = id_of,
                              .start = start,
                              .end = end,
                              .n_token = (int64_t)tokens.n,
                              .bos_len = tokens.bos_len,
                              .period = period,
                              .extra = extra});
    free(id_of);
    free(start);
    free(end);
    hs_tokens_free(&tokens);
    return rc;
}

int hs_prompts_add_text(hs_prompts *p, const char *id, const char *text, size_t n) {
    return hs_prompts_put_text(p, id, text, n, 0, NULL);
}

// ---- pairs --------------------------------------------------------------------------------------

int64_t hs_prompts_pair(const hs_prompts *p, int64_t i) {
    if (!p->n_pair) return -1;
    return i < p->n_pair ? i + p->n_pair : i - p->n_pair;
}

static int add_half(hs_prompts *p, const hs_prompt *clean) {
    hs_json *doc = NULL;
    hs_buf id = {0};
    int32_t *tokens = NULL;
    int64_t n = 0;
    int rc = clean->extra ? hs_json_parse(&doc, clean->extra, strlen(clean->extra)) : HS_OK;
    const hs_json *v = doc ? hs_json_get(doc, "corrupt_tokens") : NULL;
    if (!rc && !v)
        rc = hs_fail(HS_EARG,
                     "there is no corrupt_tokens, the prompt that it is compared with: give JSON "
                     "lines that have it, or a data set of pairs");
    if (!rc) rc = hs_prompt_ids(v, &tokens, &n);
    if (v) rc = hs_prefix(rc, "corrupt_tokens");
    if (!rc && n != clean->n_token)
        rc = hs_fail(HS_EFORMAT,
                     "%" PRId64 " tokens, and corrupt_tokens are %" PRId64
                     ": halves are compared position by position, make them equally long",
                     clean->n_token, n);
    if (!rc && !memcmp(tokens, clean->tokens, (size_t)n * sizeof *tokens))
        rc = hs_fail(HS_EFORMAT, "corrupt_tokens are the prompt itself");
    hs_buf_printf(&id, "%s~corrupt", clean->id);
    if (!rc) rc = hs_buf_rc(&id);
    if (!rc)
        rc = hs_prompts_add_tokens(p, id.data, tokens, n, clean->bos_len, clean->period,
                                   clean->extra);
    hs_buf_free(&id);
    free(tokens);
    hs_json_free(doc);
    return rc;
}

int hs_prompts_add_pairs(hs_prompts *p) {
    const int64_t n = p->n;
    int rc = HS_OK;
    for (int64_t i = 0; i < n && !rc; i++)
        rc = hs_prefix(add_half(p, p->at[i]), "prompt '%s'", p->at[i]->id);
    p->n_pair = rc ? 0 : n;
    return rc;
}

// ---- data sets ----------------------------------------------------------------------------------

int hs_prompts_add_dataset(hs_prompts *p, const char *spec) {
    const int at = hs_dataset_find(spec);
    if (at < 0) {
        hs_buf names = {0};
        for (int i = 0; hs_datasets[i]; i++)
            hs_buf_printf(&names, "%s%s", i ? ", " : "", hs_datasets[i]->name);
        int rc = hs_fail(HS_ENOTFOUND, "'%.*s' is not a data set: there are %s",
                         (int)hs_spec_name(spec), spec, hs_buf_text(&names));
        hs_buf_free(&names);
        return rc;
    }
    hs_args args;
    int rc = hs_args_parse(&args, hs_datasets[at]->params, hs_spec_args(spec));
    if (!rc) rc = hs_datasets[at]->generate(p, p->tok, p->n_vocab, &args);
    hs_args_free(&args);
    return hs_prefix(rc, "%s", hs_datasets[at]->name);
}
