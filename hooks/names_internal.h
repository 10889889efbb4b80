// What the selections of heads and of units share.
#ifndef HS_HOOKS_NAMES_INTERNAL_H
#define HS_HOOKS_NAMES_INTERNAL_H

#include <stdint.h>

// Both ends included.
typedef struct hs_numbers {
    int64_t from, to;
} hs_numbers;

// Reads "*", "N" or "N-M" of `count` things and steps over it; to = -1 marks what cannot be read.
hs_numbers hs_numbers_read(const char **at, int64_t count);

#endif
