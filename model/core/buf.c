// Growing byte strings; see buf.h.
#include "model/core/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

void *hs_buf_reserve(hs_buf *b, size_t n) {
    size_t need;
    if (b->rc) return NULL;
    if (!hs_add(b->len, n, &need) || !hs_add(need, 1, &need)) {
        b->rc = hs_fail(HS_ENOMEM, "out of memory: a text of %zu + %zu bytes", b->len, n);
        return NULL;
    }
    if (need > b->cap) {
        size_t cap = b->cap ? b->cap : 64;
        while (cap < need) cap = cap > SIZE_MAX / 2 ? need : cap * 2;
        b->rc = hs_grow(&b->data, cap, 1);
        if (b->rc) return NULL;
        b->cap = cap;
    }
    b->data[b->len] = 0;
    return b->data + b->len;
}

void hs_buf_add(hs_buf *b, const void *bytes, size_t n) {
    void *to = hs_buf_reserve(b, n);
    if (!to) return;
    if (n) memcpy(to, bytes, n);
    b->len += n;
    b->data[b->len] = 0;
}

void hs_buf_str(hs_buf *b, const char *s) {
    hs_buf_add(b, s, strlen(s));
}

void hs_buf_chr(hs_buf *b, char c) {
    hs_buf_add(b, &c, 1);
}

void hs_buf_printf(hs_buf *b, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n >= 0 && hs_buf_reserve(b, (size_t)n)) {
        vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    va_end(ap);
}

void hs_buf_clear(hs_buf *b) {
    b->len = 0;
    b->rc = HS_OK;
    if (b->data) b->data[0] = 0;
}

void hs_buf_free(hs_buf *b) {
    free(b->data);
    *b = (hs_buf){0};
}

int hs_buf_texts(char ***out, hs_buf *b, size_t n) {
    char **at = NULL, *block = NULL;
    int rc = b->rc;
    if (!rc) rc = hs_alloc(&block, n * sizeof *at + b->len, 1);
    if (!rc) {
        char *to = block + n * sizeof *at;
        at = (char **)(void *)block;
        memcpy(to, hs_buf_text(b), b->len);
        for (size_t i = 0; i < n; i++, to += strlen(to) + 1) at[i] = to;
    }
    hs_buf_free(b);
    *out = at;
    return rc;
}
