// Recorded runs for edits; see run_source.h. Values are read where they lie, a decoded chunk at a
// time: one of the tensor point asked for last, one of each head's map of the layer asked for last.
// Maps are asked for by several threads; one lock lets them in one by one.
#include "db/run_source.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "db/reader_internal.h"
#include "db/replay.h"
#include "model/core/mem.h"

struct hs_runs {
    const char *path;
    hs_db **db; // [n], opened so far
    int n;
    hs_dims dims;
    pthread_mutex_t lock;
};

// One prompt of a run, under way.
struct recorded {
    hs_runs *runs;
    hs_db *db;
    int64_t run, prompt, n_row;
    hs_reader act; // of the point and layer that follow
    enum hs_point act_point;
    int act_layer;
    hs_reader *map; // [n_head] of the point and layer that follow
    enum hs_point map_point;
    int map_layer;
};

int hs_runs_open(hs_runs **out, const char *path) {
    hs_runs *r;
    *out = NULL;
    int rc = hs_alloc(&r, 1, sizeof *r);
    if (rc) return rc;
    r->path = path;
    pthread_mutex_init(&r->lock, NULL);
    *out = r;
    return HS_OK;
}

void hs_runs_close(hs_runs *r) {
    if (!r) return;
    for (int i = 0; i < r->n; i++) hs_db_close(r->db[i]);
    pthread_mutex_destroy(&r->lock);
    free(r->db);
    free(r);
}

// ---- names --------------------------------------------------------------------------------------

static int open_db(hs_runs *r, const char *path, hs_db **out) {
    for (int i = 0; i < r->n; i++)
        if (!strcmp(hs_db_path(r->db[i]), path)) {
            *out = r->db[i];
            return HS_OK;
        }
    int rc = hs_grow(&r->db, (size_t)r->n + 1, sizeof *r->db);
    if (!rc) rc = hs_db_open(out, path, HS_DB_READ);
    if (!rc) r->db[r->n++] = *out;
    return rc;
}

// "3" or "FILE.db:3".
static int find_run(hs_runs *r, const char *name, hs_db **db, int64_t *run) {
    const char *colon = strrchr(name, ':'), *number = colon ? colon + 1 : name;
    const size_t n_digit = strspn(number, "0123456789");
    hs_buf path = {0};
    if (!n_digit || n_digit > 18 || number[n_digit] || colon == name)
        return hs_fail(HS_EARG, "'%s' is not a run: write its number, or FILE.db:NUMBER", name);
    if (colon)
        hs_buf_add(&path, name, (size_t)(colon - name));
    else
        hs_buf_str(&path, r->path);
    int rc = hs_buf_rc(&path);
    if (!rc) rc = open_db(r, hs_buf_text(&path), db);
    *run = strtoll(number, NULL, 10);
    if (!rc && !*run) rc = hs_fail(HS_ENOTFOUND, "runs are numbered from 1");
    if (!rc) rc = hs_db_run(*db, *run, run);
    hs_buf_free(&path);
    return rc;
}

int hs_runs_edits(hs_runs *r, const char *name, hs_buf *out, int *n) {
    sqlite3_stmt *s = NULL;
    hs_db *db;
    int64_t run;
    bool row = true;
    *n = 0;
    int rc = find_run(r, name, &db, &run);
    if (!rc)
        rc = hs_sql_prepare(db, &s, "SELECT spec FROM intervention WHERE run_id = ? ORDER BY ord");
    if (rc) return rc;
    hs_v id = hs_v_int(run);
    rc = hs_sql_bind(db, s, &id, 1);
    while (!rc && row) {
        rc = hs_sql_step(db, s, &row);
        const char *spec = !rc && row ? (const char *)sqlite3_column_text(s, 0) : NULL;
        if (!spec) continue;
        hs_buf_add(out, spec, strlen(spec) + 1);
        ++*n;
    }
    sqlite3_finalize(s);
    if (!rc) rc = hs_buf_rc(out);
    if (!rc && !*n)
        rc = hs_fail(HS_ENOTFOUND, "%s: run %" PRId64 " was under no intervention", hs_db_path(db),
                     run);
    return rc;
}

// ---- values -------------------------------------------------------------------------------------

static int not_stored(const struct recorded *s, enum hs_point point, int layer, int head) {
    hs_buf name = {0};
    hs_point_name(&name, point, layer);
    const char *text = hs_buf_text(&name);
    int rc = head < 0 ? hs_fail(HS_ENOTFOUND,
                                "%s: run %" PRId64 " did not store %s: record it again with "
                                "--acts %s",
                                hs_db_path(s->db), s->run, text, text)
                      : hs_fail(HS_ENOTFOUND,
                                "%s: run %" PRId64 " did not store %s of L%dH%d: record it again "
                                "with %s%s",
                                hs_db_path(s->db), s->run, text, layer, head,
                                point == HS_PATTERN ? "--maps all" : "--acts ",
                                point == HS_PATTERN ? "" : text);
    hs_buf_free(&name);
    return rc;
}

static int check_shape(const struct recorded *s, const hs_reader *r, int64_t width) {
    if (r->n_row >= s->n_row && r->width >= width && (r->map ? r->causal : r->width == width))
        return HS_OK;
    return hs_fail(HS_EFORMAT, "%s: run %" PRId64 ": what is stored does not fit the prompt",
                   hs_db_path(s->db), s->run);
}

static int64_t row_width(const struct recorded *s, enum hs_point point) {
    int64_t shape[4], width = 1;
    const int ndim = hs_point_shape(&s->runs->dims, point, 1, shape);
    for (int a = 0; a < ndim; a++) width *= shape[a];
    return width;
}

static int open_act(struct recorded *s, enum hs_point point, int layer) {
    hs_buf name = {0};
    bool found = false;
    if (s->act.db && s->act_point == point && s->act_layer == layer) return HS_OK;
    hs_reader_close(&s->act);
    hs_point_name(&name, point, layer);
    int rc = hs_buf_rc(&name);
    if (!rc) rc = hs_reader_act(&s->act, s->db, s->prompt, hs_buf_text(&name), &found);
    hs_buf_free(&name);
    if (!rc && !found) rc = not_stored(s, point, layer, -1);
    if (!rc) rc = check_shape(s, &s->act, row_width(s, point));
    s->act_point = point;
    s->act_layer = layer;
    if (rc) hs_reader_close(&s->act);
    return rc;
}

static void close_maps(struct recorded *s) {
    for (int h = 0; h < s->runs->dims.n_head; h++) hs_reader_close(&s->map[h]);
}

static int open_map(struct recorded *s, enum hs_point point, int layer, int head) {
    hs_reader *map = &s->map[head];
    bool found = false;
    if (s->map_point != point || s->map_layer != layer) close_maps(s);
    s->map_point = point;
    s->map_layer = layer;
    if (map->db) return HS_OK;
    int rc = hs_reader_map(map, s->db, s->prompt, point, layer, head, &found);
    if (!rc && !found) rc = not_stored(s, point, layer, head);
    if (!rc) rc = check_shape(s, map, s->n_row);
    if (rc) hs_reader_close(map);
    return rc;
}

static int past_end(const struct recorded *s) {
    return hs_fail(HS_ENOTFOUND, "run %" PRId64 " has %" PRId64 " rows of the prompt", s->run,
                   s->n_row);
}

static int read_rows(struct recorded *s, enum hs_point point, int layer, int64_t row0, int64_t n,
                     float *out) {
    const int64_t width = row_width(s, point);
    int rc = open_act(s, point, layer);
    for (int64_t r = 0; r < n && !rc; r++)
        rc = hs_reader_row_full(&s->act, row0 + r, out + r * width, width);
    return rc;
}

static int on_rows(void *ctx, enum hs_point point, int layer, int64_t row0, int64_t n, float *out) {
    struct recorded *s = ctx;
    if (row0 < 0 || n < 0 || row0 > s->n_row - n) return past_end(s);
    pthread_mutex_lock(&s->runs->lock);
    int rc = read_rows(s, point, layer, row0, n, out);
    pthread_mutex_unlock(&s->runs->lock);
    return rc;
}

static int read_map(struct recorded *s, enum hs_point point, int layer, int head, int64_t row0,
                    int64_t n, int64_t n_key, float *out, int64_t ld) {
    int rc = open_map(s, point, layer, head);
    for (int64_t r = 0; r < n && !rc; r++)
        rc = hs_reader_row_full(&s->map[head], row0 + r, out + r * ld, n_key);
    return rc;
}

// A row has as many numbers as keys are visible: there must be room for those of the last.
static int on_map(void *ctx, enum hs_point point, int layer, int head, int64_t row0, int64_t n,
                  int64_t n_key, float *out, int64_t ld) {
    struct recorded *s = ctx;
    if (row0 < 0 || n < 0 || row0 > s->n_row - n || n_key < row0 + n) return past_end(s);
    pthread_mutex_lock(&s->runs->lock);
    int rc = read_map(s, point, layer, head, row0, n, n_key, out, ld);
    pthread_mutex_unlock(&s->runs->lock);
    return rc;
}

// ---- prompts ------------------------------------------------------------------------------------

static int check_model(const struct recorded *s) {
    const hs_dims *a = &s->runs->dims;
    hs_dims b;
    int rc = hs_db_dims(s->db, s->run, &b);
    if (rc) return rc;
    if (a->n_layer == b.n_layer && a->n_head == b.n_head && a->n_kv_head == b.n_kv_head &&
        a->d_model == b.d_model && a->d_head == b.d_head && a->d_ff == b.d_ff)
        return HS_OK;
    return hs_fail(HS_EARG,
                   "%s: run %" PRId64 " is of another model, of %d layers of %d heads and width "
                   "%" PRId64,
                   hs_db_path(s->db), s->run, b.n_layer, b.n_head, b.d_model);
}

// The prompt of that id, else number, and that it is as long.
static int find_prompt(struct recorded *s, const hs_prompt *p, int64_t ord) {
    hs_v by_id[] = {hs_v_int(s->run), hs_v_text(p->id)};
    hs_v by_ord[] = {hs_v_int(s->run), hs_v_int(ord)};
    bool found = false;
    int rc = hs_sql_int(s->db, "SELECT id FROM prompt WHERE run_id = ? AND label = ?", by_id, 2,
                        &s->prompt, &found);
    if (!rc && !found)
        rc = hs_sql_int(s->db, "SELECT id FROM prompt WHERE run_id = ? AND ord = ?", by_ord, 2,
                        &s->prompt, &found);
    if (!rc && !found)
        return hs_fail(HS_ENOTFOUND,
                       "%s: run %" PRId64 " has no prompt '%s', and none of number "
                       "%" PRId64,
                       hs_db_path(s->db), s->run, p->id, ord);
    hs_v id = hs_v_int(s->prompt);
    if (!rc)
        rc = hs_sql_int(s->db, "SELECT n_token FROM prompt WHERE id = ?", &id, 1, &s->n_row, NULL);
    if (!rc && s->n_row != p->n_token)
        rc = hs_fail(HS_ERANGE,
                     "%s: prompt '%s' of run %" PRId64 " has %" PRId64 " tokens, not %" PRId64
                     ": positions must correspond",
                     hs_db_path(s->db), p->id, s->run, s->n_row, p->n_token);
    return rc;
}

static void source_close(void *ctx, hs_ref *ref) {
    struct recorded *s = ref->ctx;
    (void)ctx;
    if (!s) return;
    hs_reader_close(&s->act);
    if (s->map) close_maps(s);
    free(s->map);
    free(s);
    *ref = (hs_ref){0};
}

static int source_open(void *ctx, const char *run, const hs_prompt *prompt, int64_t ord,
                       hs_ref *out) {
    hs_runs *runs = ctx;
    struct recorded *s;
    *out = (hs_ref){0};
    int rc = hs_alloc(&s, 1, sizeof *s);
    if (rc) return rc;
    s->runs = runs;
    *out = (hs_ref){.ctx = s, .rows = on_rows, .map = on_map};
    rc = find_run(runs, run, &s->db, &s->run);
    if (!rc) rc = check_model(s);
    if (!rc) rc = find_prompt(s, prompt, ord);
    if (!rc) rc = hs_alloc(&s->map, (size_t)runs->dims.n_head, sizeof *s->map);
    out->n_row = s->n_row;
    if (rc) source_close(ctx, out);
    return rc;
}

hs_run_source hs_runs_source(hs_runs *runs, const hs_dims *dims) {
    runs->dims = *dims;
    return (hs_run_source){.ctx = runs, .open = source_open, .close = source_close};
}
