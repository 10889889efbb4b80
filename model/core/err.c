// The thread-local message behind hs_fail; see err.h.
#include "model/core/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "model/core/utf8.h"

enum { MSG_MAX = 1024 };

static _Thread_local char message[MSG_MAX];

// Keeps a message on one line and harmless to a terminal, whatever bytes a file smuggled into it:
// control characters (those of C1 too) and what is not UTF-8 become '?'.
static void one_line(char *s) {
    size_t n = strlen(s), to = 0;
    for (size_t i = 0, len; i < n; i += len) {
        int32_t cp;
        len = hs_utf8_decode(s + i, n - i, &cp);
        if (cp == HS_UTF8_INVALID || cp < 0x20 || (cp >= 0x7f && cp < 0xa0)) {
            s[to++] = '?';
        } else {
            memmove(s + to, s + i, len);
            to += len;
        }
    }
    s[to] = 0;
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
    if (rc == HS_OK || rc == HS_ESTOP) return rc;
    char head[MSG_MAX], text[2 * MSG_MAX + 4];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(head, sizeof head, fmt, ap);
    va_end(ap);
    // What is wrong matters more than the whole of a long name.
    const size_t said = strlen(message) + strlen(": ") + 1, room = MSG_MAX - 4;
    const size_t keep = said < room - 200 ? room - said : 200;
    if (strlen(head) > keep) strcpy(head + keep, "...");
    snprintf(text, sizeof text, "%s: %s", head, message);
    text[MSG_MAX - 1] = 0;
    one_line(text);
    memcpy(message, text, MSG_MAX);
    return rc;
}

const char *hs_errmsg(void) {
    return message;
}
