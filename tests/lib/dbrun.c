// See dbrun.h.
#include "tests/lib/dbrun.h"

#include <math.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const hs_dims dbrun_dims = {
    .n_layer = 2,
    .n_head = 3,
    .n_kv_head = 1,
    .d_model = 8,
    .d_head = 4,
    .d_ff = 16,
    .n_vocab = 50,
    .points = (HS_BIT(HS_N_POINT) - 1) & ~HS_BIT(HS_POS_EMBED),
};

// ---- numbers ------------------------------------------------------------------------------------

static double unit(uint64_t x) { // splitmix64's finisher: in (0, 1)
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return ((double)((x ^ (x >> 31)) >> 11) + 0.5) / 9007199254740992.0;
}

static uint64_t mix(uint64_t seed, int a, int b, int64_t c, int64_t d) {
    uint64_t x = seed * 1000003 + (uint64_t)(a + 2);
    x = x * 1000003 + (uint64_t)(b + 2);
    x = x * 1000003 + (uint64_t)c;
    return x * 1000003 + (uint64_t)d;
}

static double raw_weight(uint64_t seed, int layer, int head, int64_t i, int64_t j) {
    double u = unit(mix(seed, layer, head, i, j));
    return u * u * u + (j == 0 ? head : 0); // head 0 has no sink, the others do
}

float dbrun_weight(uint64_t seed, int layer, int head, int64_t i, int64_t j) {
    double sum = 0;
    if (j > i) return 0;
    for (int64_t k = 0; k <= i; k++) sum += raw_weight(seed, layer, head, i, k);
    return (float)(raw_weight(seed, layer, head, i, j) / sum);
}

static void weights(uint64_t seed, int layer, int head, int64_t i, float *row) {
    double sum = 0;
    for (int64_t k = 0; k <= i; k++) sum += raw_weight(seed, layer, head, i, k);
    for (int64_t k = 0; k <= i; k++) row[k] = (float)(raw_weight(seed, layer, head, i, k) / sum);
}

float dbrun_score(uint64_t seed, int layer, int head, int64_t i, int64_t j) {
    return j > i ? -INFINITY : (float)log(raw_weight(seed, layer, head, i, j));
}

float dbrun_act(uint64_t seed, enum hs_point point, int layer, int64_t row, int64_t k) {
    return (float)(4 * unit(mix(seed + 17, layer, (int)point, row, k)) - 2);
}

void dbrun_stats(uint64_t seed, int layer, int head, int64_t i, float stats[HS_N_STAT]) {
    float *row = calloc((size_t)i + 1, sizeof *row);
    double entropy = 0, distance = 0;
    int64_t top = 0;
    weights(seed, layer, head, i, row);
    for (int64_t k = 0; k <= i; k++) {
        if (row[k] > 0) entropy -= (double)row[k] * log((double)row[k]);
        distance += (double)(i - k) * (double)row[k];
        if (row[k] > row[top]) top = k;
    }
    stats[HS_STAT_ENTROPY] = (float)entropy;
    stats[HS_STAT_MAX] = row[top];
    stats[HS_STAT_ARGMAX] = (float)top;
    stats[HS_STAT_LSE] = dbrun_act(seed, HS_ROW_STATS, layer, i, head);
    stats[HS_STAT_FIRST] = row[0];
    stats[HS_STAT_SELF] = row[i];
    stats[HS_STAT_PREV] = i ? row[i - 1] : 0;
    stats[HS_STAT_DISTANCE] = (float)distance;
    free(row);
}

// ---- the engine ---------------------------------------------------------------------------------

typedef struct block {
    const hs_tap *tap;
    uint64_t seed;
    int layer;
    int64_t row0, n;
    dbrun_shape shape;
    float *stats;  // [n_head][HS_N_STAT][n]
    int first, rc; // heads first, first + threads, ...
    char error[512];
} block;

static int send_scores(const block *b, int head, int64_t row0, int64_t n, float *tile) {
    int64_t n_key = row0 + n, ld = n_key + 2;
    for (int64_t r = 0; r < n; r++)
        for (int64_t k = 0; k < ld; k++)
            tile[r * ld + k] = dbrun_score(b->seed, b->layer, head, row0 + r, k);
    hs_tile t = {HS_SCORES, b->layer, head, 0, row0, n, n_key, tile, ld, NULL, 0, false, false};
    return b->tap->tile(b->tap->ctx, &t, false, b->first);
}

static int send_tile(const block *b, int head, int64_t row0, int64_t n, float *tile) {
    int64_t n_key = row0 + n, ld = n_key + 3; // rows are not packed
    for (int64_t r = 0; r < n; r++) {
        memset(tile + r * ld, 0, (size_t)ld * sizeof *tile);
        weights(b->seed, b->layer, head, row0 + r, tile + r * ld);
    }
    hs_tile t = {HS_PATTERN, b->layer,
                 head,       0,
                 row0,       n,
                 n_key,      tile,
                 ld,         b->stats + (int64_t)head * HS_N_STAT * b->n + (row0 - b->row0),
                 b->n,       false,
                 false};
    return b->tap->tile(b->tap->ctx, &t, false, b->first);
}

static void *send_heads(void *arg) {
    block *b = arg;
    float *tile = malloc((size_t)(b->shape.tile * (b->row0 + b->n + 3)) * sizeof *tile);
    for (int h = b->first; h < dbrun_dims.n_head && !b->rc; h += b->shape.threads) {
        uint8_t want = b->tap->tile_want ? b->tap->tile_want[b->layer * dbrun_dims.n_head + h] : 0;
        for (int64_t r = 0; r < b->n && !b->rc; r += b->shape.tile) {
            int64_t n = b->n - r < b->shape.tile ? b->n - r : b->shape.tile;
            if (want & HS_TILE_READ_SCORES) b->rc = send_scores(b, h, b->row0 + r, n, tile);
            if (!b->rc && (want & HS_TILE_READ_PATTERN))
                b->rc = send_tile(b, h, b->row0 + r, n, tile);
        }
    }
    if (b->rc) snprintf(b->error, sizeof b->error, "%s", hs_errmsg());
    free(tile);
    return NULL;
}

static int send_maps(const block *b) {
    enum { MAX = 8 };
    pthread_t thread[MAX];
    block part[MAX];
    int rc = HS_OK;
    for (int i = 0; i < b->shape.threads; i++) {
        part[i] = *b;
        part[i].first = i;
        if (pthread_create(&thread[i], NULL, send_heads, &part[i])) abort();
    }
    for (int i = 0; i < b->shape.threads; i++) {
        pthread_join(thread[i], NULL);
        if (part[i].rc && !rc) rc = hs_fail(part[i].rc, "%s", part[i].error);
    }
    return rc;
}

static int send_act(const block *b, enum hs_point point) {
    hs_site site = {point, b->layer < dbrun_dims.n_layer ? b->layer : -1, 0, b->row0, b->n};
    hs_view v = {.dtype = HS_F32};
    v.ndim = hs_point_shape(&dbrun_dims, point, b->n, v.shape);
    int64_t width = 1;
    for (int d = v.ndim - 1; d >= 0; d--) {
        v.stride[d] = width;
        width *= v.shape[d];
    }
    width /= b->n;
    v.stride[0] = width + 5; // rows are not packed
    float *data = calloc((size_t)(b->n * v.stride[0]), sizeof *data);
    for (int64_t r = 0; r < b->n; r++)
        for (int64_t k = 0; k < width; k++)
            data[r * v.stride[0] + k] = dbrun_act(b->seed, point, b->layer, b->row0 + r, k);
    v.data = data;
    int rc = b->tap->rows(b->tap->ctx, &site, &v, false);
    free(data);
    return rc;
}

static int send_stats(const block *b) {
    hs_site site = {HS_ROW_STATS, b->layer, 0, b->row0, b->n};
    hs_view v = {
        b->stats, HS_F32, 3, {dbrun_dims.n_head, HS_N_STAT, b->n}, {HS_N_STAT * b->n, b->n, 1}};
    return b->tap->rows(b->tap->ctx, &site, &v, false);
}

static int send_block(block *b) {
    uint64_t want = b->tap->read[b->layer];
    int rc = HS_OK;
    b->stats = calloc((size_t)(dbrun_dims.n_head * HS_N_STAT * b->n), sizeof *b->stats);
    for (int h = 0; h < dbrun_dims.n_head; h++)
        for (int64_t r = 0; r < b->n; r++) {
            float s[HS_N_STAT];
            dbrun_stats(b->seed, b->layer, h, b->row0 + r, s);
            for (int k = 0; k < HS_N_STAT; k++)
                b->stats[((int64_t)h * HS_N_STAT + k) * b->n + r] = s[k];
        }
    for (int p = 0; p < HS_N_POINT && !rc; p++) {
        if (p == HS_PATTERN && want & (HS_BIT(HS_SCORES) | HS_BIT(HS_PATTERN))) rc = send_maps(b);
        if (rc || !(want & HS_BIT(p)) || p == HS_SCORES || p == HS_PATTERN) continue;
        rc = p == HS_ROW_STATS ? send_stats(b) : send_act(b, (enum hs_point)p);
    }
    free(b->stats);
    return rc;
}

static int send_model(const hs_tap *tap, uint64_t seed, int64_t row0, int64_t n, uint64_t points) {
    block b = {.tap = tap, .seed = seed, .layer = dbrun_dims.n_layer, .row0 = row0, .n = n};
    int rc = HS_OK;
    for (int p = 0; p < HS_N_POINT && !rc; p++)
        if (tap->read[b.layer] & points & HS_BIT(p)) rc = send_act(&b, (enum hs_point)p);
    return rc;
}

int dbrun_eval(const hs_tap *tap, uint64_t seed, int64_t row0, int64_t n, dbrun_shape shape) {
    int rc = send_model(tap, seed, row0, n, HS_BIT(HS_EMBED));
    for (int l = 0; l < dbrun_dims.n_layer && !rc; l++) {
        for (int64_t r = 0; r < n && !rc; r += shape.block) {
            int64_t k = n - r < shape.block ? n - r : shape.block;
            block b = {
                .tap = tap, .seed = seed, .layer = l, .row0 = row0 + r, .n = k, .shape = shape};
            rc = send_block(&b);
        }
        if (!rc && tap->layer_done) rc = tap->layer_done(tap->ctx, l);
    }
    return rc ? rc : send_model(tap, seed, row0, n, ~HS_BIT(HS_EMBED));
}

// ---- recording ----------------------------------------------------------------------------------

hs_model_facts dbrun_facts(void) {
    return (hs_model_facts){.dims = dbrun_dims,
                            .arch = "made-up",
                            .format = "none",
                            .dtype = "f32",
                            .backend = "cpu",
                            .isa = "generic",
                            .weights = "expand",
                            .fingerprint = 0x1234,
                            .n_param = 1000,
                            .n_ctx = 9999,
                            .threads = 1};
}

hs_run_info dbrun_info(void) {
    return (hs_run_info){.model_path = "folder/made-up.gguf",
                         .argv_json = "[\"record\"]",
                         .options_json = "{\"seed\":7}",
                         .bos = "auto",
                         .n_ctx = 9999,
                         .seed = 7,
                         .precision = "exact"};
}

static int record_prompt(hs_rec *rec, const dbrun *w, const hs_observe_list *list, int ord) {
    int64_t n = w->n_token + ord;
    char id[16], text[32];
    int32_t *tokens = calloc((size_t)(n + w->n_decode), sizeof *tokens);
    int64_t *start = calloc((size_t)n, sizeof *start), *end = calloc((size_t)n, sizeof *end);
    hs_hooks *hooks = NULL;
    hs_observation *seen = NULL;
    for (int64_t i = 0; i < n + w->n_decode; i++) tokens[i] = (int32_t)((7 * i + ord) % 50);
    snprintf(id, sizeof id, "p%d", ord);
    snprintf(text, sizeof text, "prompt \xe2 %d", ord);
    hs_prompt p = {.id = id,
                   .text = text,
                   .text_len = (int64_t)strlen(text),
                   .tokens = tokens,
                   .start = start,
                   .end = end,
                   .n_token = n,
                   .period = 50};
    hs_subject subject = {
        .dims = dbrun_dims, .tokens = tokens, .n_token = n, .n_row = n + w->n_decode, .period = 50};
    int rc = hs_rec_prompt(rec, ord, &p);
    if (!rc) rc = hs_hooks_open(&hooks, &dbrun_dims);
    if (!rc) rc = hs_observation_open(&seen, list, &subject);
    if (!rc) rc = hs_observation_hook(seen, hooks);
    if (!rc) rc = hs_rec_hook(rec, hooks);
    const hs_tap *tap = rc ? NULL : hs_hooks_tap(hooks);
    if (!rc) rc = dbrun_eval(tap, (uint64_t)ord, 0, n, w->shape);
    for (int64_t i = 0; i < w->n_decode && !rc; i++)
        rc = dbrun_eval(tap, (uint64_t)ord, n + i, 1, w->shape);
    if (!rc && w->n_decode) rc = hs_rec_decoded(rec, tokens + n, w->n_decode, NULL);
    for (int i = 0; i < list->n && !rc; i++) {
        hs_emit emit;
        rc = hs_rec_emit(rec, &list->item[i], &emit);
        if (!rc) rc = hs_observation_finish(seen, i, &emit);
    }
    if (!rc)
        rc = hs_rec_prompt_end(rec);
    else
        hs_rec_prompt_cancel(rec);
    hs_observation_close(seen);
    hs_hooks_close(hooks);
    free(tokens);
    free(start);
    free(end);
    return rc;
}

static int keep(hs_rec *rec, const dbrun *w) {
    uint64_t acts[3] = {0};
    hs_heads maps = {0};
    int rc = hs_heads_parse(&maps, &dbrun_dims, w->maps ? w->maps : "none");
    if (!rc && w->acts) rc = hs_points_select(acts, &dbrun_dims, w->acts);
    if (!rc) rc = hs_rec_keep(rec, &maps, acts, w->store);
    hs_heads_free(&maps);
    return rc;
}

int dbrun_record(const char *path, const dbrun *what, int64_t *run) {
    dbrun w = *what;
    hs_db *db = NULL;
    hs_rec *rec = NULL;
    hs_observe_list list = {0};
    hs_model_facts facts = dbrun_facts();
    hs_run_info info = dbrun_info();
    if (w.threads) facts.threads = w.threads;
    int64_t done = 0;
    bool complete = false;
    if (!w.shape.block) w.shape = (dbrun_shape){64, 16, 1};
    int rc = hs_db_open(&db, path, HS_DB_CREATE);
    if (!rc) rc = hs_observe_parse(&list, &w.observe, w.observe ? 1 : 0, w.observe != NULL);
    if (!rc) rc = hs_rec_start(&rec, db, &facts, &info, w.resume, &done, &complete);
    if (!rc) rc = keep(rec, &w);
    if (!rc && run) *run = hs_rec_run(rec);
    int stop = w.stop_after ? w.stop_after : w.n_prompt;
    for (int i = (int)done; i < stop && !rc && !complete; i++)
        rc = record_prompt(rec, &w, &list, i);
    rc = hs_rec_close(rec, !rc && w.stop_after ? HS_ESTOP : rc);
    hs_observe_free(&list);
    hs_db_close(db);
    return rc == HS_ESTOP ? HS_OK : rc;
}

// ---- comparing ----------------------------------------------------------------------------------

static bool may_differ(const char *column) {
    static const char *const parts[] = {"_at",    "wall",     "second", "time",   "argv",
                                        "status", "duration", "_ms",    "command"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strstr(column, parts[i])) return true;
    return false;
}

static void columns_of(sqlite3 *sql, const char *table, char *out, size_t n) {
    sqlite3_stmt *s;
    char *q = sqlite3_mprintf("SELECT name FROM pragma_table_info(%Q)", table);
    sqlite3_prepare_v2(sql, q, -1, &s, NULL);
    out[0] = 0;
    while (sqlite3_step(s) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(s, 0);
        size_t len = strlen(out);
        if (!may_differ(name)) snprintf(out + len, n - len, "%s\"%s\"", len ? ", " : "", name);
    }
    sqlite3_finalize(s);
    sqlite3_free(q);
}

static int64_t number(sqlite3 *sql, char *q) {
    sqlite3_stmt *s;
    int64_t v = -1;
    if (sqlite3_prepare_v2(sql, q, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
        v = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    sqlite3_free(q);
    return v;
}

static bool same_table(sqlite3 *sql, const char *t) {
    char c[2048];
    columns_of(sql, t, c, sizeof c);
    int64_t a = number(sql, sqlite3_mprintf("SELECT count(*) FROM a.\"%w\"", t));
    int64_t b = number(sql, sqlite3_mprintf("SELECT count(*) FROM b.\"%w\"", t));
    return a == b &&
           number(sql, sqlite3_mprintf("SELECT count(*) FROM (SELECT %s FROM a.\"%w\" EXCEPT "
                                       "SELECT %s FROM b.\"%w\")",
                                       c, t, c, t)) == 0;
}

void dbrun_diff(const char *a, const char *b, char *out, size_t n) {
    sqlite3 *sql;
    sqlite3_stmt *s;
    char *attach = sqlite3_mprintf("ATTACH %Q AS a; ATTACH %Q AS b", a, b);
    sqlite3_open(":memory:", &sql);
    out[0] = 0;
    if (sqlite3_exec(sql, attach, NULL, NULL, NULL)) snprintf(out, n, "cannot attach");
    sqlite3_free(attach);
    if (number(sql, sqlite3_mprintf("SELECT count(*) FROM (SELECT type, name, sql FROM "
                                    "a.sqlite_schema EXCEPT SELECT type, name, sql FROM "
                                    "b.sqlite_schema)")) ||
        number(sql, sqlite3_mprintf("SELECT (SELECT count(*) FROM a.sqlite_schema) - "
                                    "(SELECT count(*) FROM b.sqlite_schema)")))
        snprintf(out, n, "the schema");
    sqlite3_prepare_v2(sql, "SELECT name FROM a.sqlite_schema WHERE type = 'table'", -1, &s, NULL);
    while (!out[0] && sqlite3_step(s) == SQLITE_ROW)
        if (!same_table(sql, (const char *)sqlite3_column_text(s, 0)))
            snprintf(out, n, "table %s", (const char *)sqlite3_column_text(s, 0));
    sqlite3_finalize(s);
    sqlite3_close(sql);
}

void dbrun_integrity(const char *path, char *out, size_t n) {
    sqlite3 *sql;
    sqlite3_stmt *s = NULL;
    snprintf(out, n, "cannot open");
    sqlite3_open(path, &sql);
    if (sqlite3_prepare_v2(sql, "PRAGMA integrity_check", -1, &s, NULL) == SQLITE_OK &&
        sqlite3_step(s) == SQLITE_ROW)
        snprintf(out, n, "%s", (const char *)sqlite3_column_text(s, 0));
    sqlite3_finalize(s);
    if (sqlite3_prepare_v2(sql, "PRAGMA foreign_key_check", -1, &s, NULL) == SQLITE_OK &&
        sqlite3_step(s) == SQLITE_ROW)
        snprintf(out, n, "a foreign key of %s", (const char *)sqlite3_column_text(s, 0));
    sqlite3_finalize(s);
    sqlite3_close(sql);
}

void dbrun_path(char *out, size_t n, const char *name) {
    const char *dir = getenv("TMPDIR");
    // In memory where that is possible: tests of files wait for disks most of the time.
    if (!dir) dir = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(out, n, "%s/hs-%s-%d.db", dir, name, (int)getpid());
    dbrun_remove(out);
}

void dbrun_remove(const char *path) {
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    char p[4200];
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        snprintf(p, sizeof p, "%s%s", path, ends[i]);
        unlink(p);
    }
}
