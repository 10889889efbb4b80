// Tokenizers: opening, encoding, decoding; see tok.h and the map of files in tok_impl.h.
//
// Encoding takes one pass of each stage over the text and memory of a few times its length. Text
// that is not valid UTF-8 has no ids in the reference, which takes Unicode only: here each invalid
// byte is a character of its own for the pre-tokenizer (neither letter, number nor space) and then
// a byte like any other, so that decoding gives the same bytes back.
#include "model/tok.h"

#include <stdlib.h>
#include <string.h>

#include "model/ends.h"
#include "model/tok_impl.h"

enum { MAX_TEXT = 1 << 30 }; // bytes: a word's symbols are counted in 32 bits

// ---- opening ------------------------------------------------------------------------------------

int hs_tok_new(hs_tok **out) {
    hs_tok *t;
    *out = NULL;
    int rc = hs_alloc(&t, 1, sizeof *t);
    if (rc) return rc;
    t->bos = -1;
    rc = hs_arena_open(&t->arena);
    if (rc) {
        hs_tok_close(t);
        return rc;
    }
    *out = t;
    return HS_OK;
}

static int mark_ends(hs_tok *t, const hs_ckpt *ckpt) {
    hs_ends ends;
    int rc = hs_ends_read(&ends, ckpt);
    for (size_t i = 0; !rc && i < ends.n; i++) hs_vocab_mark_end(&t->vocab, ends.id[i]);
    hs_ends_free(&ends);
    return rc;
}

int hs_tok_open(hs_tok **out, const hs_ckpt *ckpt) {
    hs_tok *t;
    *out = NULL;
    int rc = hs_tok_new(&t);
    if (rc) return rc;
    rc = hs_ckpt_container(ckpt) == HS_GGUF ? hs_tok_read_gguf(t, ckpt)
                                            : hs_tok_read_folder(t, ckpt);
    if (!rc) rc = mark_ends(t, ckpt);
    if (rc) {
        hs_tok_close(t);
        return rc;
    }
    *out = t;
    return HS_OK;
}

void hs_tok_close(hs_tok *t) {
    if (!t) return;
    hs_added_free(&t->raw);
    hs_added_free(&t->normed);
    hs_pre_free(&t->pre);
    hs_arena_close(t->arena);
    free(t);
}

// text normalised by all of the tokenizer's forms, into out; map has a span of text a byte.
static int normalize(const hs_tok *t, const char *text, size_t n, hs_buf *out, hs_buf *map) {
    hs_buf from = {0}, from_map = {0};
    int rc = HS_OK;
    for (int f = 0; f < t->n_form && !rc; f++) {
        hs_buf_clear(out);
        hs_buf_clear(map);
        rc = hs_utf8_normalize(t->form[f], f ? from.data : text, f ? from.len : n, out, map);
        // A later form's map leads through the one before.
        hs_utf8_from *span = (hs_utf8_from *)(void *)map->data;
        const hs_utf8_from *before = (const hs_utf8_from *)(const void *)from_map.data;
        for (size_t i = 0; f && !rc && i < out->len; i++)
            span[i] = (hs_utf8_from){before[span[i].from].from, before[span[i].to - 1].to};
        if (!rc && f + 1 < t->n_form) {
            hs_buf_clear(&from);
            hs_buf_clear(&from_map);
            hs_buf_add(&from, out->data, out->len);
            hs_buf_add(&from_map, map->data, map->len);
            rc = hs_buf_rc(&from) ? hs_buf_rc(&from) : hs_buf_rc(&from_map);
        }
    }
    hs_buf_free(&from);
    hs_buf_free(&from_map);
    return rc;
}

int hs_tok_add(hs_tok *t, const char *text, size_t n, uint8_t flags, bool normalized, bool special,
               int32_t *next) {
    if (n == 0) return HS_OK;
    int32_t id = hs_vocab_find(&t->vocab, text, n);
    if (id < 0) id = (*next)++;
    int rc = hs_vocab_put_added(&t->vocab, id, text, n, special);
    if (rc) return rc;
    hs_added_token added = {t->vocab.at[id].s, n, 0, id, flags};
    if (normalized && t->n_form) {
        hs_buf out = {0}, map = {0};
        rc = normalize(t, text, n, &out, &map);
        added.n = out.len;
        if (!rc) rc = hs_arena_str(t->arena, &added.s, hs_buf_text(&out), out.len);
        hs_buf_free(&out);
        hs_buf_free(&map);
    }
    if (rc || added.n == 0) return rc;
    return hs_added_put(normalized ? &t->normed : &t->raw, added);
}

// ---- encoding -----------------------------------------------------------------------------------

typedef struct encoder {
    const hs_tok *tok;
    hs_tokens *out;
    hs_regex_run *regex;
    hs_bpe_run bpe;
    const char *text; // the whole, and its subject for regexes
    char *subject;
    hs_buf normal, map, normal_subject; // of the segment at hand, when there is a normalizer

    const char *seg, *seg_subject; // the segment at hand, normalised
    const hs_utf8_from *span;      // of each of its bytes; NULL when it is text[base..]
    int64_t base;                  // where the segment begins in text
    size_t cut;                    // where the stretch being cut into words begins in seg
} encoder;

// Bytes [from, to) of the segment as bytes of the text.
static hs_token in_text(const encoder *e, int32_t id, int64_t from, int64_t to) {
    if (!e->span) return (hs_token){id, e->base + from, e->base + to};
    int64_t end = to > from ? e->base + e->span[to - 1].to : -1;
    int64_t start = from < (int64_t)(e->map.len / sizeof *e->span) ? e->base + e->span[from].from
                                                                   : e->base + e->span[from - 1].to;
    return (hs_token){id, start, end < start ? start : end};
}

static int emit_word(void *ctx, const char *word, size_t n, size_t start, bool prefixed) {
    encoder *e = ctx;
    const size_t first = e->out->n;
    const int64_t at = (int64_t)(e->cut + start);
    int rc = hs_bpe_word(&e->tok->bpe, &e->tok->vocab, &e->bpe, word, n, at - prefixed, e->out);
    for (size_t i = first; !rc && i < e->out->n; i++) {
        hs_token *t = &e->out->at[i];
        *t = in_text(e, t->id, t->start < at ? at : t->start, t->end);
    }
    return rc;
}

// A stretch of the normalised segment: an added token, or text to be cut into words.
static int emit_normed(void *ctx, int32_t id, size_t start, size_t end) {
    encoder *e = ctx;
    if (id >= 0) {
        hs_token t = in_text(e, id, (int64_t)start, (int64_t)end);
        return hs_tokens_push(e->out, t.id, t.start, t.end);
    }
    e->cut = start;
    return hs_pre_cut(&e->tok->pre, e->regex, e->seg + start, e->seg_subject + start, end - start,
                      emit_word, e);
}

// A stretch of the text: an added token, or a segment that normalises by itself.
static int emit_raw(void *ctx, int32_t id, size_t start, size_t end) {
    encoder *e = ctx;
    size_t n = end - start;
    if (id >= 0) return hs_tokens_push(e->out, id, (int64_t)start, (int64_t)end);
    e->base = (int64_t)start;
    e->seg = e->text + start;
    e->seg_subject = e->subject + start;
    e->span = NULL;
    if (e->tok->n_form) {
        int rc = normalize(e->tok, e->seg, n, &e->normal, &e->map);
        if (rc) return rc;
        hs_buf_clear(&e->normal_subject);
        n = e->normal.len;
        char *subject = hs_buf_reserve(&e->normal_subject, n);
        if (!subject) return hs_buf_rc(&e->normal_subject);
        hs_regex_subject(e->normal.data, n, subject);
        e->seg = e->normal.data;
        e->seg_subject = subject;
        e->span = (const hs_utf8_from *)(const void *)e->map.data;
    }
    return hs_added_cut(&e->tok->normed, e->regex, e->seg, e->seg_subject, n, emit_normed, e);
}

// Two rules of the reference let a range go back: an unknown token that waits behind byte tokens,
// and white space that two added tokens claim. Ranges here never do.
static void keep_order(hs_tokens *t) {
    for (size_t i = 1; i < t->n; i++) {
        hs_token *a = &t->at[i - 1], *b = &t->at[i];
        if (b->start < a->start) b->start = a->start;
        if (b->end < a->end) b->end = a->end;
    }
}

int hs_tok_encode(const hs_tok *tok, const char *text, size_t n, enum hs_bos bos, hs_tokens *out) {
    encoder e = {.tok = tok, .out = out, .text = text};
    *out = (hs_tokens){0};
    if (bos == HS_BOS_YES && tok->bos < 0)
        return hs_fail(HS_EARG, "this tokenizer has no BOS token: use --bos auto or no");
    if (n > MAX_TEXT) return hs_fail(HS_ERANGE, "a text of %zu bytes: the limit is 1 GiB", n);
    int rc = hs_regex_run_open(&e.regex);
    if (!rc) rc = hs_alloc(&e.subject, n, 1);
    if (rc) goto out;
    hs_regex_subject(text, n, e.subject);
    if (bos == HS_BOS_YES || (bos == HS_BOS_AUTO && tok->add_bos)) {
        rc = hs_tokens_push(out, tok->bos, 0, 0);
        out->bos_len = 1;
    }
    if (!rc) rc = hs_added_cut(&tok->raw, e.regex, text, e.subject, n, emit_raw, &e);
    for (int i = 0; i < tok->n_tail && bos != HS_BOS_NO && !rc; i++)
        rc = hs_tokens_push(out, tok->tail[i], (int64_t)n, (int64_t)n);
    keep_order(out);
out:
    hs_regex_run_close(e.regex);
    hs_bpe_run_free(&e.bpe);
    hs_buf_free(&e.normal);
    hs_buf_free(&e.map);
    hs_buf_free(&e.normal_subject);
    free(e.subject);
    if (rc) hs_tokens_free(out);
    return rc;
}

void hs_tokens_free(hs_tokens *t) {
    free(t->at);
    *t = (hs_tokens){0};
}

// ---- what a tokenizer knows ---------------------------------------------------------------------

size_t hs_tok_n_vocab(const hs_tok *t) {
    return t->vocab.n;
}

const char *hs_tok_piece(const hs_tok *t, int32_t id, size_t *n) {
    bool known = hs_vocab_has(&t->vocab, id);
    *n = known ? t->vocab.at[id].n : 0;
    return known ? t->vocab.at[id].s : "";
}

static bool has_flag(const hs_tok *t, int32_t id, int flag) {
    return hs_vocab_has(&t->vocab, id) && (t->vocab.at[id].flags & flag);
}

bool hs_tok_is_special(const hs_tok *t, int32_t id) {
    return has_flag(t, id, HS_PIECE_SPECIAL);
}

bool hs_tok_is_eog(const hs_tok *t, int32_t id) {
    return has_flag(t, id, HS_PIECE_EOG);
}

int32_t hs_tok_bos(const hs_tok *t) {
    return t->bos;
}

bool hs_tok_adds_bos(const hs_tok *t) {
    return t->add_bos;
}

const char *hs_tok_kind(const hs_tok *t) {
    (void)t;
    return "bpe";
}

int hs_tok_decode(const hs_tok *t, const int32_t *ids, size_t n, bool skip_special, hs_buf *out) {
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= t->vocab.n)
            return hs_fail(HS_ERANGE, "token id %d: the vocabulary has %zu", ids[i], t->vocab.n);
        size_t len;
        const char *piece = hs_tok_piece(t, ids[i], &len);
        if (!(skip_special && hs_tok_is_special(t, ids[i]))) hs_buf_add(out, piece, len);
    }
    return hs_buf_rc(out);
}
