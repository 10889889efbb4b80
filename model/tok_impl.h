// Shared by the files of model/tok*.c, their unit tests and fuzzers only.
//
//   text -> added tokens found -> normalised -> more added tokens -> cut into words by the
//   pre-tokenizer's steps -> byte-level BPE of each word -> ids with byte ranges of the text
//
//   tok_vocab.c  pieces, the byte alphabet, hashing        tok_json.c  tokenizer.json
//   tok_bpe.c    merges                                    tok_hf.c    the files beside it
//   tok_added.c  tokens recognised in the text             tok_gguf.c  GGUF metadata
//   tok_pre.c    cutting into words                        tok.c       open, encode, decode
#ifndef HS_MODEL_TOK_IMPL_H
#define HS_MODEL_TOK_IMPL_H

#include "model/core/regex.h"
#include "model/core/utf8.h"
#include "model/tok.h"

// ---- vocabulary ---------------------------------------------------------------------------------

// Vocabularies spell bytes in GPT-2's byte alphabet, one printable character a byte (a space is
// U+0120). A piece holds the bytes; a name with a character outside the alphabet is held as it is.
enum hs_piece_flag {
    HS_PIECE_USED = 1,
    HS_PIECE_SPELT = 2,
    HS_PIECE_SPECIAL = 4,
    HS_PIECE_EOG = 8
};

typedef struct hs_piece {
    const char *s; // n bytes, then a NUL
    uint32_t n;
    uint8_t flags;
} hs_piece;

typedef struct hs_vocab {
    hs_arena *arena; // borrowed
    hs_piece *at;    // [n], by id
    size_t n, cap;   // n = largest id + 1
    int32_t *slot;   // id + 1, 0 = free; open addressing by the piece's bytes and spelt flag
    size_t mask;
    char *pool; // of the arena, `left` bytes free
    size_t left;
} hs_vocab;

// Room for ids below cap and as many names.
int hs_vocab_init(hs_vocab *, hs_arena *, size_t cap) HS_MUST_USE;
// Names id as the vocabulary file writes it. A name given twice belongs to the later id.
int hs_vocab_put(hs_vocab *, int32_t id, const char *name, size_t n) HS_MUST_USE;
// The id of a name; -1 when there is none.
int32_t hs_vocab_find(const hs_vocab *, const char *name, size_t n);
// The id whose name spells these bytes; -1 when there is none.
int32_t hs_vocab_spelling(const hs_vocab *, const char *bytes, size_t n);
// An added token's text stands as it is.
int hs_vocab_put_added(hs_vocab *, int32_t id, const char *text, size_t n,
                       bool special) HS_MUST_USE;
static inline bool hs_vocab_has(const hs_vocab *v, int64_t id) {
    return id >= 0 && (uint64_t)id < v->n && (v->at[id].flags & HS_PIECE_USED);
}
// An id that the vocabulary lacks is nothing to mark.
static inline void hs_vocab_mark_end(hs_vocab *v, int64_t id) {
    if (hs_vocab_has(v, id)) v->at[id].flags |= HS_PIECE_EOG;
}
int32_t hs_byte_letter(unsigned char byte); // its code point in the byte alphabet

// ---- merges -------------------------------------------------------------------------------------

typedef struct hs_merge {
    uint64_t pair; // left id + 1 and right id + 1; 0 = free
    uint32_t rank;
    int32_t id;
} hs_merge;

typedef struct hs_bpe {
    hs_merge *slot; // open addressing
    size_t mask;
    // What a word's bytes begin as: one symbol, or when the letter is not in the vocabulary two
    // byte tokens (byte_fallback), the unknown token, or nothing.
    int32_t letter[256];
    int32_t fallback[256][2];
    int32_t unk; // -1
    bool fuse_unk;
    bool ignore_merges; // a word that is a token is that token
} hs_bpe;

int hs_bpe_init(hs_bpe *, hs_arena *, size_t n_merges) HS_MUST_USE;
// Adds a merge by the names of its sides. later_wins: of two equal pairs the second counts.
// HS_EFORMAT when a side or the whole is not in the vocabulary.
int hs_bpe_put(hs_bpe *, const hs_vocab *, const char *left, size_t n_left, const char *right,
               size_t n_right, uint32_t rank, bool later_wins) HS_MUST_USE;
// After the vocabulary is complete. unk: name of the unknown token, or NULL.
int hs_bpe_finish(hs_bpe *, const hs_vocab *, const char *unk, bool fuse_unk,
                  bool byte_fallback) HS_MUST_USE;

// Memory of encoding one word, reused.
typedef struct hs_bpe_run {
    struct hs_symbol *sym;
    struct hs_pair *heap;
    size_t sym_cap, heap_cap, heap_n;
} hs_bpe_run;
void hs_bpe_run_free(hs_bpe_run *);

// Appends the tokens of word[0..n); their ranges are bytes of the word plus `at`.
int hs_bpe_word(const hs_bpe *, const hs_vocab *, hs_bpe_run *, const char *word, size_t n,
                int64_t at, hs_tokens *out) HS_MUST_USE;
// Appends one token; the array grows in powers of two.
int hs_tokens_push(hs_tokens *, int32_t id, int64_t start, int64_t end) HS_MUST_USE;

// ---- added tokens -------------------------------------------------------------------------------

enum hs_added_flag { HS_ADDED_SINGLE_WORD = 1, HS_ADDED_LSTRIP = 2, HS_ADDED_RSTRIP = 4 };

typedef struct hs_added_token {
    const char *s;
    size_t n, order; // order: of being put
    int32_t id;
    uint8_t flags;
} hs_added_token;

// Sorted by text once complete; a position's candidates are narrowed byte by byte.
typedef struct hs_added {
    hs_added_token *at;
    size_t n, cap;
    uint32_t first[257]; // tokens that begin with byte b: [first[b], first[b + 1])
    hs_regex *word;      // matches a word character; NULL when no token asks
} hs_added;

int hs_added_put(hs_added *, hs_added_token) HS_MUST_USE;
int hs_added_finish(hs_added *) HS_MUST_USE;
void hs_added_free(hs_added *);

// Cuts text[0..n) at added tokens, leftmost first, then longest: calls emit for every stretch in
// order, with the token's id or -1 for text between; stops when it fails.
typedef int (*hs_added_emit)(void *ctx, int32_t id, size_t start, size_t end);
int hs_added_cut(const hs_added *, hs_regex_run *, const char *text, const char *subject, size_t n,
                 hs_added_emit emit, void *ctx) HS_MUST_USE;

// ---- cutting into words -------------------------------------------------------------------------

enum hs_behavior {
    HS_ISOLATED,
    HS_REMOVED,
    HS_MERGED_WITH_PREVIOUS,
    HS_MERGED_WITH_NEXT,
    HS_CONTIGUOUS,
    HS_N_BEHAVIOR
};

typedef struct hs_pre_step {
    hs_regex *re; // NULL: leaves text whole
    enum hs_behavior behavior;
    bool invert;
    bool prefix_space; // puts a space before text that has none (ByteLevel's add_prefix_space)
} hs_pre_step;

enum { HS_MAX_PRE = 16 };
typedef struct hs_pre {
    hs_pre_step step[HS_MAX_PRE];
    int n;
} hs_pre;

extern const char hs_gpt2_regex[];
int hs_pre_add(hs_pre *, const char *regex, size_t n, bool literal, enum hs_behavior, bool invert,
               bool prefix_space) HS_MUST_USE;
// A step that only may add a space.
int hs_pre_add_whole(hs_pre *, bool prefix_space) HS_MUST_USE;
// The pre_tokenizer member of tokenizer.json.
int hs_pre_from_json(hs_pre *, const hs_json *) HS_MUST_USE;
void hs_pre_free(hs_pre *);

// Text on its way through the steps: offsets of words count in `text`.
typedef int (*hs_word_emit)(void *ctx, const char *word, size_t n, size_t start, bool prefixed);
// Calls emit for each word of text[0..n) in order. A prefixed word begins with a space that is
// not in the text: its first byte is before `start`.
int hs_pre_cut(const hs_pre *, hs_regex_run *, const char *text, const char *subject, size_t n,
               hs_word_emit emit, void *ctx) HS_MUST_USE;

// ---- the whole ----------------------------------------------------------------------------------

enum { HS_MAX_FORMS = 4, HS_MAX_TAIL = 4 };

struct hs_tok {
    hs_arena *arena;
    hs_vocab vocab;
    hs_bpe bpe;
    hs_added raw;    // looked for in the text as it is
    hs_added normed; // looked for after normalisation
    enum hs_utf8_form form[HS_MAX_FORMS];
    int n_form;
    hs_pre pre;
    int32_t bos; // -1
    bool add_bos;
    int32_t tail[HS_MAX_TAIL]; // ids that follow the text under AUTO and YES
    int n_tail;
};

int hs_tok_new(hs_tok **out) HS_MUST_USE; // empty, to be filled by one of the readers
// tokenizer.json's text.
int hs_tok_read_json(hs_tok *, const char *text, size_t n) HS_MUST_USE;
// tokenizer.json, or vocab.json with merges.txt, and the configuration files beside them.
int hs_tok_read_folder(hs_tok *, const hs_ckpt *) HS_MUST_USE;
int hs_tok_read_gguf(hs_tok *, const hs_ckpt *) HS_MUST_USE;
// Adds a token that is recognised in the text, as the reference does: its id is the one its text
// has in the vocabulary, or else *next, which then grows.
int hs_tok_add(hs_tok *, const char *text, size_t n, uint8_t flags, bool normalized, bool special,
               int32_t *next) HS_MUST_USE;
// The members of tokenizer.json's "model": vocabulary and merges.
int hs_tok_read_vocab(hs_tok *, const hs_json *vocab, size_t n_extra) HS_MUST_USE;

#endif
