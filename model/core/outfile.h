// A file that is written beside its place and renamed when it is whole, so that nobody ever finds
// half of one. What is not a regular file (a device, a pipe) is written as it is, never replaced;
// a symbolic link stays, the file it names is replaced.
#ifndef HS_CORE_OUTFILE_H
#define HS_CORE_OUTFILE_H

#include <stdio.h>

#include "model/core/buf.h"

typedef struct hs_outfile {
    FILE *file;          // to write to; NULL when not open
    hs_buf path, beside; // beside is empty when the file is written in place
} hs_outfile;

// HS_EIO names the path. Ended by exactly one of the two below.
int hs_outfile_open(hs_outfile *out, const char *path) HS_MUST_USE;
// Flushes, closes and renames; HS_EIO when any of it fails, and then nothing is left behind.
int hs_outfile_commit(hs_outfile *) HS_MUST_USE;
// Closes and removes what was written. Does nothing when not open.
void hs_outfile_abort(hs_outfile *);

#endif
