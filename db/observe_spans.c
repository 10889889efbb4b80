// Names of positions that observers of a recorded prompt may look at: the prompt's own, from the keys
// of its line, and those of the run's --span options.
#include <stdlib.h>
#include <string.h>

#include "analyses/prompt.h"
#include "db/observe_internal.h"
#include "model/core/json.h"

// "NAME=A:B"; what is no span names nothing.
static int add_given(hs_spans *to, hs_span *at, hs_arena *arena, const char *text) {
    const size_t n = strcspn(text, "=");
    char *end;
    if (!n || !text[n]) return HS_OK;
    const int64_t from = strtoll(text + n + 1, &end, 10);
    if (*end != ':') return HS_OK;
    at[to->n] = (hs_span){.from = from, .to = strtoll(end + 1, NULL, 10)};
    int rc = hs_arena_str(arena, &at[to->n].name, text, n);
    to->n += !rc;
    return rc;
}

static int read_given(hs_spans *to, hs_arena *arena, const char *options) {
    hs_json *doc;
    hs_span *at;
    int rc = hs_json_parse(&doc, options, strlen(options));
    if (rc) return rc;
    const hs_json *list = hs_json_get(doc, "span");
    const bool is_list = list && hs_json_type(list) == HS_JSON_ARR;
    rc = hs_arena_get(arena, &at, is_list ? hs_json_size(list) : 0, sizeof *at);
    to->at = at;
    for (const hs_json *v = is_list ? hs_json_first(list) : NULL; v && !rc; v = hs_json_next(v))
        if (hs_json_str(v)) rc = add_given(to, at, arena, hs_json_str(v));
    hs_json_free(doc);
    return rc;
}

// The bytes of each token in the text; *known false when some are not stored, or lie outside.
static int read_bytes(hs_db *db, int64_t prompt, hs_arena *arena, hs_prompt *p, bool *known) {
    sqlite3_stmt *s = NULL;
    const hs_v v = hs_v_int(prompt);
    int64_t *start = NULL, *end = NULL;
    bool row = true;
    int rc = hs_arena_get(arena, &start, (size_t)p->n_token, sizeof *start);
    if (!rc) rc = hs_arena_get(arena, &end, (size_t)p->n_token, sizeof *end);
    if (!rc)
        rc = hs_sql_prepare(db, &s,
                            "SELECT byte_from, byte_to FROM token WHERE prompt_id = ? AND "
                            "decoded = 0 ORDER BY pos");
    if (!rc) rc = hs_sql_bind(db, s, &v, 1);
    *known = true;
    for (int64_t i = 0; i < p->n_token && *known && !rc; i++) {
        rc = hs_sql_step(db, s, &row);
        if (rc) break;
        *known = row && sqlite3_column_type(s, 0) == SQLITE_INTEGER;
        start[i] = row ? sqlite3_column_int64(s, 0) : 0;
        end[i] = row ? sqlite3_column_int64(s, 1) : 0;
        *known = *known && start[i] >= 0 && end[i] <= p->text_len;
    }
    sqlite3_finalize(s);
    p->start = start;
    p->end = end;
    return rc;
}

static int read_own(hs_db *db, int64_t prompt, hs_arena *arena, hs_prompt *p) {
    bool known = true;
    if (!p->extra) return HS_OK;
    if (p->text) {
        int rc = read_bytes(db, prompt, arena, p, &known);
        if (rc) return rc;
    }
    if (!known) p->text = NULL;
    return hs_prompt_spans(&p->spans, arena, p);
}

static int copy_text(hs_arena *arena, sqlite3_stmt *s, int column, const char **out) {
    const char *text = (const char *)sqlite3_column_text(s, column);
    *out = NULL;
    return text ? hs_arena_str(arena, out, text, strlen(text)) : HS_OK;
}

int hs_observed_spans(hs_db *db, int64_t prompt, hs_arena *arena, hs_subject *subject) {
    sqlite3_stmt *s = NULL;
    const hs_v v = hs_v_int(prompt);
    hs_prompt p = {.n_token = subject->n_token};
    const char *options = NULL;
    bool row = false;
    subject->own = subject->given = (hs_spans){0};
    int rc = hs_sql_prepare(db, &s,
                            "SELECT p.text, p.extra_json, r.options_json FROM prompt AS p JOIN run "
                            "AS r ON r.id = p.run_id WHERE p.id = ?");
    if (!rc) rc = hs_sql_bind(db, s, &v, 1);
    if (!rc) rc = hs_sql_step(db, s, &row);
    if (!rc && row) rc = copy_text(arena, s, 0, &p.text);
    if (!rc && row) rc = copy_text(arena, s, 1, &p.extra);
    if (!rc && row) rc = copy_text(arena, s, 2, &options);
    sqlite3_finalize(s);
    p.text_len = p.text ? (int64_t)strlen(p.text) : 0;
    if (!rc) rc = read_own(db, prompt, arena, &p);
    if (!rc && options) rc = read_given(&subject->given, arena, options);
    subject->own = p.spans;
    return rc;
}
