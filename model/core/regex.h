// The regular expressions of tokenizer files. They are written for Oniguruma (the engine of the
// reference) and run on PCRE2; what the two read differently is translated, or refused by name.
// regex.c is the only file that includes PCRE2.
#ifndef HS_CORE_REGEX_H
#define HS_CORE_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#include "model/core/err.h"

typedef struct hs_regex hs_regex;         // a compiled pattern: immutable, shared by threads
typedef struct hs_regex_run hs_regex_run; // memory of matching, one a thread; for any pattern

// literal: the pattern is a plain string. HS_EUNSUPPORTED when the pattern is not understood
// exactly; the message quotes it.
int hs_regex_open(hs_regex **out, const char *pattern, size_t n, bool literal) HS_MUST_USE;
void hs_regex_close(hs_regex *);

int hs_regex_run_open(hs_regex_run **out) HS_MUST_USE;
void hs_regex_run_close(hs_regex_run *);

// Writes the subject that stands for text[0..n) in matching into out[0..n): valid UTF-8 of the
// same length, so that offsets carry over. Each invalid byte becomes U+0001 (neither letter,
// number, space, punctuation nor symbol); each character that PCRE2 and the reference put into
// different classes becomes one that both put into the reference's. Subjects may be cut at
// character boundaries and joined.
void hs_regex_subject(const char *text, size_t n, char *out);

// The first match in subject[0..n) that starts at or after `at`: *found, and [*start, *end).
// Look-behind sees the bytes before `at`. HS_EUNSUPPORTED when the pattern runs away on this
// text (the match limits), HS_ENOMEM.
int hs_regex_find(const hs_regex *, hs_regex_run *, const char *subject, size_t n, size_t at,
                  bool *found, size_t *start, size_t *end) HS_MUST_USE;

#endif
