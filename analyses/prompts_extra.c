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

static int read_names(hs_spans *out, hs_span *at, hs_arena *arena, const hs_json *names,
                      int64_t n_token) {
    int rc = HS_OK;
    if (!names || hs_json_type(names) != HS_JSON_OBJ) return HS_OK;
    for (const hs_json *v = hs_json_first(names); v && !rc; v = hs_json_next(v)) {
        hs_span *span = &at[out->n];
        if (!read_ends(v, n_token, &span->from, &span->to)) continue;
        rc = hs_arena_str(arena, &span->name, hs_json_key(v), strlen(hs_json_key(v)));
        out->n += !rc;
    }
    return rc;
}

int hs_prompt_spans(hs_spans *out, hs_arena *arena, const char *extra, int64_t n_token) {
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
    if (!rc) rc = read_names(out, at, arena, positions, n_token);
    if (!rc) rc = read_names(out, at, arena, spans, n_token);
    hs_json_free(doc);
    return rc;
}
