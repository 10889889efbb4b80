// Databases with damage, for the targets that read them: a small recorded run, changed as the
// input says, lies in a file of a scratch folder.
#ifndef HS_TESTS_FUZZ_DAMAGE_H
#define HS_TESTS_FUZZ_DAMAGE_H

#include <limits.h>

#include "tests/fuzz/shared.h"

// The folder, which goes when the process ends, and the file in it; made at first use.
const char *damage_folder(void);
const char *damage_path(void);
// Puts a fresh copy of the undamaged database there, nothing else.
void damage_fresh(void);

// A fresh copy with the damage that the input describes. Its first byte picks the kind:
//   0 bytes of the file: offset (3 bytes), length (1), bytes; and so on
//   1 columns: which (1), a number (1 byte, 8 when the top bit of the one before it is set); the
//     rest as a blob with a right checksum; and so on
//   2 SQL, run with every defence off
//   3 a write-ahead log beside it: page (1), pages then in the file (1), offset (2), length (1),
//     bytes; and so on, each a frame with right checksums
//   4 a journal to roll back: the same
void damage(input in);

#endif
