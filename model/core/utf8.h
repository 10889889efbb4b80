// UTF-8 and what Unicode says about it. Any bytes are accepted everywhere: a byte that does not
// belong to a well-formed sequence (a stray or missing continuation, an overlong form, a surrogate,
// beyond U+10FFFF) stands alone as an invalid byte. utf8.c is the only file that includes utf8proc.
#ifndef HS_CORE_UTF8_H
#define HS_CORE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/core/buf.h"

enum { HS_UTF8_INVALID = -1 };

// The first code point of s[0..n), n >= 1, into *cp; returns its length, 1 to 4 bytes. An invalid
// byte gives HS_UTF8_INVALID and length 1.
size_t hs_utf8_decode(const char *s, size_t n, int32_t *cp);
// Writes a scalar value as 1 to 4 bytes, and returns how many.
size_t hs_utf8_encode(int32_t cp, char out[4]);
bool hs_utf8_valid(const char *s, size_t n);
// Unicode's White_Space property: 25 code points.
bool hs_utf8_is_space(int32_t cp);

// Columns that s[0..n) takes in a terminal: a grapheme cluster counts 0, 1 or 2 (wide CJK, emoji,
// joined emoji sequences), a control character 0, an invalid byte 1.
int hs_utf8_width(const char *s, size_t n);

// Appends s[0..n) so that a person sees all of it on one line: \n, \t, \r for these, <0xE2> for an
// invalid byte, <U+200B> for other control, format, private and unassigned code points (but for
// the joiners inside a word or emoji), a dotted circle under a combining mark that has no base,
// and, when mark_space, U+2423 for a space.
void hs_utf8_visible(hs_buf *out, const char *s, size_t n, bool mark_space);

// Where a byte of a normalised text came from: bytes [from, to) of the original.
typedef struct hs_utf8_from {
    int64_t from, to;
} hs_utf8_from;

enum hs_utf8_form { HS_UTF8_NFC, HS_UTF8_NFD };

// Appends s[0..n) normalised to `out`, and one hs_utf8_from a byte to `map`. Text that the form leaves
// as it is maps byte to byte; where it changes, every new byte maps to the whole stretch (a base
// and its marks) that it came from: both ends never decrease. Invalid bytes stay as they are.
//
// Canonical data is that of Unicode 9, for every character: the tokenizers library that defines
// the ids of tokenizer.json never moved on. Marks encoded later are left where they stand.
int hs_utf8_normalize(enum hs_utf8_form form, const char *s, size_t n, hs_buf *out,
                      hs_buf *map) HS_MUST_USE;

#endif
