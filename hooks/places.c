// Sets of positions; see places.h.
#include "hooks/places.h"

#include <stdlib.h>
#include <string.h>

#include "hooks/names.h"
#include "model/core/mem.h"

static bool is_all(const char *text) {
    return !strcmp(text, "all");
}

// Names of spans begin with none of these.
static bool is_number(char c) {
    return c == '-' || c == ':' || (c >= '0' && c <= '9');
}

// Steps over a whole number of at most 18 digits; false when there is none.
static bool skip_number(const char **at) {
    const char *digits = *at + (**at == '-');
    const size_t n = strspn(digits, "0123456789");
    if (n == 0 || n > 18) return false;
    *at = digits + n;
    return true;
}

static bool is_range(const char *s, const char *end) {
    const bool from = skip_number(&s);
    if (s == end) return from;
    if (*s++ != ':') return false;
    return s == end || (skip_number(&s) && s == end);
}

int hs_places_check(const char *text) {
    for (const char *at = text;; at++) {
        const size_t n = strcspn(at, "+"), own = n - (n && at[n - 1] == '?');
        if (own == 0 || (is_number(*at) && !is_range(at, at + own)))
            return hs_fail(HS_EARG, "'%.*s' is not a position: write 3, -1, 3:10 or a span's name",
                           (int)n, at);
        at += n;
        if (!*at) return HS_OK;
    }
}

static int unknown_span(const char *name, const hs_spans *of) {
    if (!of[0].n && !of[1].n)
        return hs_fail(HS_ENOTFOUND,
                       "there is no span '%s' (empty ones, and those that reach outside a prompt, "
                       "are none): give it with --span %s=A:B",
                       name, name);
    hs_buf names = {0};
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < of[k].n; i++)
            hs_buf_printf(&names, "%s%s", names.len ? ", " : "", of[k].at[i].name);
    int rc = hs_fail(
        HS_ENOTFOUND,
        "there is no span '%s' (empty ones, and those that reach outside a prompt, are none): the "
        "spans are %s",
        name, hs_buf_text(&names));
    hs_buf_free(&names);
    return rc;
}

static const hs_span *find_span(const char *name, const hs_spans *of) {
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < of[k].n; i++)
            if (!strcmp(of[k].at[i].name, name)) return &of[k].at[i];
    return NULL;
}

static int resolve_span(hs_range *r, const char *name, int64_t n_token, const hs_spans *of) {
    const hs_span last = {name, n_token - 1, n_token}, *span = find_span(name, of);
    if (!span && !strcmp(name, "END")) span = &last;
    if (!span) return unknown_span(name, of);
    *r = (hs_range){span->from, span->to};
    if (r->from < 0 || r->to > n_token)
        return hs_fail(HS_ERANGE, "span %s=%lld:%lld reaches outside the %lld positions", name,
                       (long long)r->from, (long long)r->to, (long long)n_token);
    return HS_OK;
}

static int resolve_part(hs_places *out, char *part, int64_t n_token, const hs_spans *of) {
    const size_t n = strlen(part);
    const bool may_lack = n && part[n - 1] == '?';
    int rc = hs_grow(&out->at, (size_t)out->n + 1, sizeof *out->at);
    if (rc) return rc;
    if (may_lack) part[n - 1] = 0;
    hs_range *r = &out->at[out->n];
    rc = is_number(*part) ? hs_range_parse(&r->from, &r->to, n_token, part)
                          : resolve_span(r, part, n_token, of);
    if (!rc && r->from >= r->to)
        rc = hs_fail(HS_ERANGE, "'%s' holds no position of the %lld", part, (long long)n_token);
    if (!rc) out->n++;
    return may_lack && (rc == HS_ERANGE || rc == HS_ENOTFOUND) ? HS_OK : rc;
}

int hs_places_resolve(hs_places *out, const char *text, int64_t n_token, hs_spans own,
                      hs_spans given) {
    const hs_spans of[2] = {own, given};
    out->n = 0;
    out->all = is_all(text);
    if (out->all) return HS_OK;
    char *copy = strdup(text);
    if (!copy) return hs_fail(HS_ENOMEM, "out of memory");
    int rc = HS_OK;
    for (char *part = copy, *next; part && !rc; part = next) {
        next = strchr(part, '+');
        if (next) *next++ = 0;
        rc = resolve_part(out, part, n_token, of);
    }
    free(copy);
    return rc;
}

void hs_places_free(hs_places *p) {
    free(p->at);
    *p = (hs_places){0};
}

bool hs_places_has(const hs_places *p, int64_t pos) {
    bool has = p->all;
    for (int i = 0; i < p->n && !has; i++) has = p->at[i].from <= pos && pos < p->at[i].to;
    return has;
}

int64_t hs_places_end(const hs_places *p) {
    int64_t end = p->all ? INT64_MAX : 0;
    for (int i = 0; i < p->n; i++)
        if (p->at[i].to > end) end = p->at[i].to;
    return end;
}
