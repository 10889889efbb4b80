// What the keys of a JSON line may hold: lists of token ids, and names of positions; see
// prompts_internal.h.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/prompts_internal.h"

int hs_prompt_ids(const hs_json *list, int32_t **out, int64_t *n) {
    int32_t *ids;
    *out = NULL;
    *n = 0;
    if (hs_json_type(list) != HS_JSON_ARR) return hs_fail(HS_EFORMAT, "not a list of token ids");
    int rc = hs_alloc(&ids, hs_json_size(list), sizeof *ids);
    for (const hs_json *v = hs_json_first(list); v && !rc; v = hs_json_next(v)) {
        int64_t t;
        if (!hs_json_int(v, &t))
            rc = hs_fail(HS_EFORMAT, "something else than whole numbers in the list");
        else if (t < INT32_MIN || t > INT32_MAX)
            rc = hs_fail(HS_ERANGE, "token %" PRId64 " is not in the vocabulary", t);
        else
            ids[(*n)++] = (int32_t)t;
    }
    if (rc)
        free(ids);
    else
        *out = ids;
    return rc;
}

// A position, or [from, to), counted from the end when negative.
static bool read_ends(const hs_json *v, int64_t n_token, int64_t *from, int64_t *to) {
    const bool pair = hs_json_type(v) == HS_JSON_ARR && hs_json_size(v) == 2;
    const hs_json *first = pair ? hs_json_first(v) : v;
    if (!hs_json_int(first, from) || *from < -n_token || *from >= n_token) return false;
    *from += *from < 0 ? n_token : 0;
    *to = *from + 1;
    if (!pair) return true;
    if (!hs_json_int(hs_json_next(first), to) || *to < -n_token || *to > n_token) return false;
    *to += *to < 0 ? n_token : 0;
    return *from < *to;
}

// Where `what` begins in the text from byte `from` on, -1 for nowhere.
static int64_t find_text(const hs_prompt *p, const char *what, int64_t n, int64_t from) {
    const char *at = memmem(p->text + from, (size_t)(p->text_len - from), what, (size_t)n);
    return at ? at - p->text : -1;
}

// The tokens that have bytes of the only place where the text says this.
static int read_text(hs_span *span, const hs_prompt *p, const char *what) {
    const int64_t n = (int64_t)strlen(what), at = n ? find_text(p, what, n, 0) : -1;
    if (!n) return hs_fail(HS_EFORMAT, "it is empty");
    if (at < 0) return hs_fail(HS_EFORMAT, "the text does not say this");
    if (find_text(p, what, n, at + 1) >= 0)
        return hs_fail(HS_EFORMAT, "the text says this more than once: make it longer, or give "
                                   "positions, [FROM, TO]");
    span->from = span->to = 0;
    for (int64_t i = 0; i < p->n_token; i++) {
        if (p->start[i] >= at + n || p->end[i] <= at || p->start[i] == p->end[i]) continue;
        if (!span->to) span->from = i;
        span->to = i + 1;
    }
    return span->to ? HS_OK : hs_fail(HS_EFORMAT, "no token stands for this");
}

// *is: whether the value names positions; texts: whether one may be a text.
static int read_name(hs_span *span, const hs_prompt *p, const hs_json *v, bool texts, bool *is) {
    *is = texts && p->text && hs_json_str(v);
    if (*is) return hs_prefix(read_text(span, p, hs_json_str(v)), "\"%s\"", hs_json_key(v));
    *is = read_ends(v, p->n_token, &span->from, &span->to);
    return HS_OK;
}

static int read_names(hs_spans *out, hs_span *at, hs_arena *arena, const hs_json *names,
                      const hs_prompt *p, bool texts) {
    int rc = HS_OK;
    bool is;
    if (!names || hs_json_type(names) != HS_JSON_OBJ) return HS_OK;
    for (const hs_json *v = hs_json_first(names); v && !rc; v = hs_json_next(v)) {
        hs_span *span = &at[out->n];
        rc = read_name(span, p, v, texts, &is);
        if (rc || !is) continue;
        rc = hs_arena_str(arena, &span->name, hs_json_key(v), strlen(hs_json_key(v)));
        out->n += !rc;
    }
    return rc;
}

int hs_prompt_spans(hs_spans *out, hs_arena *arena, const hs_prompt *p) {
    const char *extra = p->extra;
    hs_json *doc;
    hs_span *at;
    *out = (hs_spans){0};
    // Most lines have neither; they need not be read again.
    if (!strstr(extra, "\"positions\"") && !strstr(extra, "\"spans\"")) return HS_OK;
    int rc = hs_json_parse(&doc, extra, strlen(extra));
    if (rc) return rc;
    const hs_json *positions = hs_json_get(doc, "positions"), *spans = hs_json_get(doc, "spans");
    const size_t n = (positions ? hs_json_size(positions) : 0) + (spans ? hs_json_size(spans) : 0);
    rc = hs_arena_get(arena, &at, n, sizeof *at);
    out->at = at;
    if (!rc) rc = read_names(out, at, arena, positions, p, false);
    if (!rc) rc = hs_prefix(read_names(out, at, arena, spans, p, true), "spans");
    hs_json_free(doc);
    return rc;
}
