// A file that is written beside its place and renamed when it is whole, so that nobody ever finds
// half of one. What is not a regular file (a device, a pipe) is written as it is, never replaced;
// a symbolic link stays, the file it names is replaced.
#ifndef HS_CORE_OUTFILE_H
#define HS_CORE_OUTFILE_H

#include <limits.h>
#include <stdio.h>

#include "model/core/err.h"

// Names have room here, so that an unfinished file can be removed when memory is out.
typedef struct hs_outfile {
    FILE *file;                            // to write to; NULL when not open
    char path[PATH_MAX], beside[PATH_MAX]; // beside is empty when the file is written in place
} hs_outfile;

// HS_EIO names the path and what to do. What is there and is read only, a database or a GGUF model
// is not replaced. Ended by exactly one of the two below.
int hs_outfile_open(hs_outfile *out, const char *path) HS_MUST_USE;
// Flushes, closes and renames; HS_EIO when any of it fails, and then nothing is left behind.
int hs_outfile_commit(hs_outfile *) HS_MUST_USE;
// Closes and removes what was written. Does nothing when not open.
void hs_outfile_abort(hs_outfile *);

// A whole file of n bytes.
int hs_outfile_write(const char *path, const void *data, size_t n) HS_MUST_USE;

// Removes what writers of this path that were killed left beside it, as the next one would.
void hs_outfile_sweep(const char *path);
// The failure of a write to `path`, of that errno: HS_EIO, or HS_ENOMEM.
int hs_outfile_fail(const char *path, int error);

#endif
