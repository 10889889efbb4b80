// A text's tokens as pieces that are set together: a token, or the few that share a character or
// letters that join. Byte-level tokenizers cut through both, and drawn one by one they could not be
// read.
#ifndef HS_VIZ_PIECES_H
#define HS_VIZ_PIECES_H

#include <stdbool.h>
#include <stdint.h>

#include "model/core/buf.h"

typedef struct hs_piece {
    int64_t token, n; // the tokens of it
    bool opens;       // a line may begin here
    bool ends;        // and one ends here: the text has a line break
    bool rtl;         // its letters run from right to left
    bool neutral;     // it has no letters: it runs as its neighbours do
} hs_piece;

// The piece that begins at a token of n, labelled as in fig.h; its bytes into the buffer. before:
// the last character before it, '\n' at the start, and of it on return. Failures are the buffer's.
hs_piece hs_piece_at(const char *const *label, int64_t n, int64_t token, int32_t *before,
                     hs_buf *bytes);

// Appends the bytes of the tokens from one on up to the end of a character, mostly those of the
// token alone; returns how many tokens they are.
int64_t hs_unit_at(const char *const *label, int64_t n, int64_t token, hs_buf *out);

#endif
