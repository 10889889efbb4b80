// The thread-local message behind hs_fail; see err.h.
#include "model/core/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MSG_MAX = 1024 };

static _Thread_local char message[MSG_MAX];

// Keeps a message on one line whatever bytes a file smuggled into it.
static void one_line(char *s) {
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f) *s = '?';
}

int hs_fail(int rc, const char *fmt, ...) {
    // The arguments may hold hs_errmsg() itself, so format beside and copy.
    char text[MSG_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    one_line(text);
    memcpy(message, text, sizeof text);
    return rc;
}

int hs_prefix(int rc, const char *fmt, ...) {
    if (rc == HS_OK) return rc;
    char head[MSG_MAX], text[2 * MSG_MAX + 4];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(head, sizeof head, fmt, ap);
    va_end(ap);
    one_line(head);
    snprintf(text, sizeof text, "%s: %s", head, message);
    text[MSG_MAX - 1] = 0;
    memcpy(message, text, MSG_MAX);
    return rc;
}

const char *hs_errmsg(void) {
    return message;
}
