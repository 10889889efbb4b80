// Tokenizers. Byte-level BPE from tokenizer.json or from GGUF metadata; ids equal to the
// reference implementation on any byte string. Immutable after open, safe to share.
#ifndef HS_MODEL_TOK_H
#define HS_MODEL_TOK_H

#include <stdbool.h>

#include "model/ckpt.h"
#include "model/core/buf.h"

typedef struct hs_tok hs_tok;

enum hs_bos { HS_BOS_AUTO, HS_BOS_YES, HS_BOS_NO };

// One token with the bytes [start, end) of the text it came from. Neither end ever goes back from
// one token to the next; tokens that share a character have the bytes that are theirs. start = end
// for an added BOS or EOS and for a space that only the tokenizer saw (add_prefix_space). Where a
// normalizer changed the text, a token has the whole stretch that changed. Bytes that no token
// stands for (removed by the tokenizer, or letters its vocabulary lacks) may lie between ranges.
typedef struct hs_token {
    int32_t id;
    int64_t start, end;
} hs_token;

typedef struct hs_tokens {
    hs_token *at; // owned by the caller: hs_tokens_free
    size_t n;
    int bos_len; // tokens of `at` that BOS policy put in front (0 or 1)
} hs_tokens;
void hs_tokens_free(hs_tokens *);

// HS_ENOTFOUND when the checkpoint has no tokenizer (a model still runs on given ids);
// HS_EUNSUPPORTED for a tokenizer model, normalizer, pre-tokenizer, post-processor or option that
// changes ids in a way this build cannot follow (named in the message); HS_EFORMAT when damaged.
// Keeps nothing of the checkpoint.
int hs_tok_open(hs_tok **out, const hs_ckpt *ckpt) HS_MUST_USE;
void hs_tok_close(hs_tok *);

// Tokens of text[0..n), which may be any bytes. Added and special tokens in the text are
// recognised as the reference does. bos: AUTO = what the tokenizer's own post-processor or
// metadata says, EOS included; NO = the text alone. HS_EARG for HS_BOS_YES when there is no BOS
// token; HS_EUNSUPPORTED when a regex of the file runs away on this text; HS_ERANGE over 1 GiB.
// Bytes that are not UTF-8, which the reference does not take, are neither letters nor spaces for
// the pre-tokenizer and then bytes like any others.
int hs_tok_encode(const hs_tok *, const char *text, size_t n, enum hs_bos bos,
                  hs_tokens *out) HS_MUST_USE;

size_t hs_tok_n_vocab(const hs_tok *); // ids are 0 .. n_vocab-1
// The bytes a token stands for (decoded, not the byte-level alphabet); for a special token its
// name. *n = 0 and "" for an unused id. Borrowed.
const char *hs_tok_piece(const hs_tok *, int32_t id, size_t *n);
bool hs_tok_is_special(const hs_tok *, int32_t id);
bool hs_tok_is_eog(const hs_tok *, int32_t id); // end of sequence, of turn, of text
int32_t hs_tok_bos(const hs_tok *);             // -1 when there is none
bool hs_tok_adds_bos(const hs_tok *);           // what AUTO does
const char *hs_tok_kind(const hs_tok *);        // "bpe"
// Appends the bytes of ids[0..n) to out; special tokens are left out when skip_special.
int hs_tok_decode(const hs_tok *, const int32_t *ids, size_t n, bool skip_special,
                  hs_buf *out) HS_MUST_USE;

#endif
