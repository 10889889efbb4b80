// What fuzz targets share: a broken promise ends the process, inputs are cut into parts.
#ifndef HS_TESTS_FUZZ_SHARED_H
#define HS_TESTS_FUZZ_SHARED_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static inline void need(bool ok) {
    if (!ok) abort();
}

// What is left of an input.
typedef struct input {
    const uint8_t *at;
    size_t n;
} input;

static inline uint8_t take_byte(input *in) {
    if (!in->n) return 0;
    in->n--;
    return *in->at++;
}

// A little-endian number of n bytes, the missing ones 0.
static inline uint64_t take_number(input *in, int n) {
    uint64_t v = 0;
    for (int i = 0; i < n; i++) v |= (uint64_t)take_byte(in) << (8 * i);
    return v;
}

// At most n bytes.
static inline input take_bytes(input *in, size_t n) {
    input part = {in->at, n < in->n ? n : in->n};
    if (part.n) in->at += part.n;
    in->n -= part.n;
    return part;
}

// Up to the next byte `end`, which is dropped, or to the end of the input.
static inline input take_until(input *in, uint8_t end) {
    const uint8_t *found = in->n ? memchr(in->at, end, in->n) : NULL;
    input part = take_bytes(in, found ? (size_t)(found - in->at) : in->n);
    if (found) take_byte(in);
    return part;
}

// A copy that ends with NUL, of exactly its size, so that a sanitizer sees reads beyond it.
static inline char *text_of(input in) {
    char *s = malloc(in.n + 1);
    need(s != NULL);
    if (in.n) memcpy(s, in.at, in.n);
    s[in.n] = 0;
    return s;
}

#endif
