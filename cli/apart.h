// Work in a process of its own, for libraries that end the program where ours return a code.
#ifndef HS_CLI_APART_H
#define HS_CLI_APART_H

#include "cli/cli.h"

// Runs work(call, options) in a child and gives its result and message as if it had run here.
// Whatever it does to its memory is lost. A child that dies is HS_ENOMEM, and then nothing is left
// beside `file` (what it writes, by hs_outfile; NULL: nothing). Call before threads are started or
// a database is opened.
int hs_apart(int (*work)(const hs_call *, const void *), const hs_call *call, const void *options,
             const char *file) HS_MUST_USE;

#endif
