// Describing a named query: the comment lines that its text begins with; see query.h.
#include "db/query_internal.h"

#include <stdio.h>
#include <string.h>

const hs_query_info hs_queries[] = {
#define HS_QUERY(name, text) {#name, text},
#include "gen/queries.inc"
#undef HS_QUERY
    {0},
};

static void copy(char *out, size_t n, const char *s, size_t len) {
    while (len && (*s == ' ' || *s == '\n')) s++, len--;
    while (len && (s[len - 1] == ' ' || s[len - 1] == '\n')) len--;
    snprintf(out, n, "%.*s", (int)len, s);
}

const char *hs_query_line(const char *text, const char *head, int i, size_t *len) {
    for (; strncmp(text, "--", 2) == 0; text += *len + (text[*len] == '\n')) {
        *len = strcspn(text, "\n");
        if (strncmp(text, head, strlen(head)) == 0 && i-- == 0) {
            *len -= strlen(head);
            return text + strlen(head);
        }
    }
    return NULL;
}

int hs_query_title(const hs_query_info *q, char *out, size_t n) {
    size_t len;
    const char *line = hs_query_line(q->text, "-- title:", 0, &len);
    if (!line) return hs_fail(HS_ENOTFOUND, "query %s has no title", q->name);
    copy(out, n, line, len);
    return HS_OK;
}

bool hs_query_param(const hs_query_info *q, int i, char *name, size_t n_name, char *fallback,
                    size_t n_fallback, char *help, size_t n_help) {
    size_t len;
    const char *line = hs_query_line(q->text, "-- param:", i, &len);
    if (!line) return false;
    // NAME = FALLBACK : HELP
    const char *end = line + len, *eq = memchr(line, '=', len);
    const char *colon = eq ? memchr(eq, ':', (size_t)(end - eq)) : NULL;
    if (!eq) eq = end;
    if (!colon) colon = end;
    copy(name, n_name, line, (size_t)(eq - line));
    copy(fallback, n_fallback, eq + 1, eq < end ? (size_t)(colon - eq - 1) : 0);
    copy(help, n_help, colon + 1, colon < end ? (size_t)(end - colon - 1) : 0);
    return true;
}

const char *hs_query_given(const hs_query_opts *o, const char *name) {
    size_t n = strlen(name);
    for (int i = o->n_param - 1; i >= 0; i--)
        if (strncmp(o->param[i], name, n) == 0 && o->param[i][n] == '=') return o->param[i] + n + 1;
    return NULL;
}

bool hs_query_declared(const hs_query_info *info, const char *name, char *fallback, size_t n) {
    char have[64], help[8];
    for (int i = 0;
         info && hs_query_param(info, i, have, sizeof have, fallback, n, help, sizeof help); i++)
        if (strcmp(have, name) == 0) return true;
    return false;
}
