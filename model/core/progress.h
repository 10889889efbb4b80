// Progress of long work, told through a callback that the command line supplies; libraries never
// print. Returning HS_ESTOP asks the work to stop at the next safe point (Ctrl-C).
#ifndef HS_CORE_PROGRESS_H
#define HS_CORE_PROGRESS_H

#include <stdint.h>

#include "model/core/err.h"

typedef struct hs_progress {
    int (*step)(void *ctx, const char *what, int64_t done, int64_t total);
    void *ctx;
} hs_progress;

// HS_OK when p is NULL or has no callback.
static inline int hs_progress_step(const hs_progress *p, const char *what, int64_t done,
                                   int64_t total) {
    return p && p->step ? p->step(p->ctx, what, done, total) : HS_OK;
}

#endif
