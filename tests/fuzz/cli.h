// The whole command line inside a fuzz target.
#ifndef HS_TESTS_FUZZ_CLI_H
#define HS_TESTS_FUZZ_CLI_H

#include "model/core/buf.h"

// Runs `headscope WORD...` (words end with NULL) in folder `cwd` and checks what every command
// promises: a documented status, never one without the other; on failure one line of UTF-8 on
// stderr that says what is wrong, and with --json a JSON text on stdout. Returns the status, and
// that line in `said` (NULL allowed, else empty).
int cli_run(const char *cwd, const char *const *words, hs_buf *said);

#endif
