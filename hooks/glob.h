// Glob patterns over hook names: comma-separated parts, braces as alternatives, '*' and '?'.
#ifndef HS_HOOKS_GLOB_H
#define HS_HOOKS_GLOB_H

#include <stdbool.h>
#include <stddef.h>

#include "model/core/buf.h"

// Bytes of the first part of `sel`: up to a comma outside braces, or the end.
size_t hs_glob_part(const char *sel);
// Appends every alternative of part[0..n) to out, each ended by NUL: "a{b,1..3}" gives ab, a1, a2,
// a3. HS_EARG for braces that do not match, nest, or stand for too many alternatives.
int hs_glob_expand(hs_buf *out, const char *part, size_t n) HS_MUST_USE;
// Whether a brace-free pattern matches the whole of name: '*' any bytes, '?' any one byte.
bool hs_glob_match(const char *pattern, const char *name);
static inline bool hs_glob_is_plain(const char *pattern) {
    for (; *pattern; pattern++)
        if (*pattern == '*' || *pattern == '?') return false;
    return true;
}

#endif
