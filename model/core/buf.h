// A growing byte string. Zero-initialise, append, hs_buf_free. The bytes are always followed by a
// NUL that is not counted. The first failed append sticks: later ones do nothing and hs_buf_rc
// tells, so that long print sequences are checked once.
#ifndef HS_CORE_BUF_H
#define HS_CORE_BUF_H

#include <stddef.h>

#include "model/core/err.h"

typedef struct hs_buf {
    char *data; // NULL while nothing was appended
    size_t len, cap;
    int rc;
} hs_buf;

void hs_buf_add(hs_buf *, const void *bytes, size_t n);
void hs_buf_str(hs_buf *, const char *s);
void hs_buf_chr(hs_buf *, char c);
void hs_buf_printf(hs_buf *, const char *fmt, ...) HS_PRINTF(2, 3);
// Space for n more bytes at the end, not yet counted in len; NULL on failure.
void *hs_buf_reserve(hs_buf *, size_t n);
void hs_buf_clear(hs_buf *); // keeps the memory
void hs_buf_free(hs_buf *);
// The n texts in the buffer, each with a NUL appended after it: pointers and what they point to are
// one block, which free() frees. The buffer is freed, whatever comes of it; it may have failed.
int hs_buf_texts(char ***out, hs_buf *, size_t n) HS_MUST_USE;
// HS_OK or HS_ENOMEM, from the first append that failed.
static inline int hs_buf_rc(const hs_buf *b) {
    return b->rc;
}
// The text, never NULL.
static inline const char *hs_buf_text(const hs_buf *b) {
    return b->data ? b->data : "";
}

#endif
