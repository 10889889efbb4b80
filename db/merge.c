// Which runs of which files are the shards of one run; see merge.h.
//
// A shard's options are those of the whole run with its number at their end, so that shards belong
// together when the rest is equal text. Where it is not, the first key that differs is named.
#include "db/merge_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/core/json.h"
#include "model/core/mem.h"
#include "model/core/outfile.h"

typedef struct merge {
    hs_db **db; // [n_db], the files in the order given
    int n_db;
    hs_merge_shard *shard; // [n_shard], file by file
    size_t n_shard;
    hs_merge_set *set; // [n_set], in the order of the first file
    size_t n_set;
    int64_t left_out;
} merge;

// ---- reading the files ----------------------------------------------------------------------

static int add_shard(merge *m, hs_db *db, sqlite3_stmt *s) {
    const char *options = (const char *)sqlite3_column_text(s, 1);
    const char *version = (const char *)sqlite3_column_text(s, 3);
    size_t len;
    hs_merge_shard r = {.db = db,
                        .run = sqlite3_column_int64(s, 0),
                        .complete = sqlite3_column_int(s, 2),
                        .n_prompt = sqlite3_column_int64(s, 4)};
    if (!options || !version) return hs_fail(HS_ENOMEM, "out of memory");
    if (!hs_shard_of_text(options, &len, &r.shard, &r.n_shard)) {
        m->left_out++;
        return HS_OK;
    }
    int rc = hs_grow(&m->shard, m->n_shard + 1, sizeof *m->shard);
    if (rc) return rc;
    if (asprintf(&r.whole, "%.*s}", (int)len, options) < 0) r.whole = NULL;
    r.version = strdup(version);
    m->shard[m->n_shard++] = r;
    return r.whole && r.version ? HS_OK : hs_fail(HS_ENOMEM, "out of memory");
}

static int read_file(merge *m, const char *path) {
    sqlite3_stmt *s = NULL;
    const size_t before = m->n_shard;
    hs_db *db = NULL;
    bool row = false;
    int rc = hs_db_open(&db, path, HS_DB_READ);
    if (rc) return rc;
    m->db[m->n_db++] = db;
    rc = hs_sql_prepare(db, &s,
                        "SELECT id, options_json, status = 'complete', tool_version, "
                        "(SELECT count(*) FROM prompt WHERE run_id = run.id) "
                        "FROM run ORDER BY id");
    if (!rc) rc = hs_sql_step(db, s, &row);
    while (!rc && row) {
        rc = add_shard(m, db, s);
        if (!rc) rc = hs_sql_step(db, s, &row);
    }
    sqlite3_finalize(s);
    if (!rc && m->n_shard == before)
        rc = hs_fail(HS_E, "%s: no shard of a sweep is in it: name files of sweep --shard", path);
    return rc;
}

// ---- what differs ---------------------------------------------------------------------------

// What a user calls an option by its key; others are called by the key.
static const char *option_name(const char *key) {
    static const char *const names[][2] = {{"model", "models"},
                                           {"prompts", "prompts"},
                                           {"n_prompt", "numbers of prompts"},
                                           {"isa", "kernels (--isa)"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i][0], key) == 0) return names[i][1];
    return key;
}

static int value_text(const hs_json *options, const char *key, hs_buf *out) {
    const hs_json *v = hs_json_get(options, key);
    if (v) hs_json_print(v, out);
    if (!v) hs_buf_str(out, "none");
    return hs_buf_rc(out);
}

// The first key of `a` whose value is another in `b`, told; HS_OK when there is none.
static int first_difference(const hs_merge_shard *a, const hs_merge_shard *b, const hs_json *left,
                            const hs_json *right) {
    int rc = HS_OK;
    for (const hs_json *v = hs_json_first(left); v && !rc; v = hs_json_next(v)) {
        hs_buf x = {0}, y = {0};
        const char *key = hs_json_key(v), *name = option_name(key);
        rc = value_text(left, key, &x);
        if (!rc) rc = value_text(right, key, &y);
        if (!rc && strcmp(hs_buf_text(&x), hs_buf_text(&y)) != 0) {
            if (name != key)
                rc = hs_fail(HS_E,
                             "%s and %s have different %s: merge takes the shards of one sweep",
                             hs_db_path(a->db), hs_db_path(b->db), name);
            else
                rc = hs_fail(HS_E,
                             "%s and %s have different options, %s %s and %s: merge takes the "
                             "shards of one sweep",
                             hs_db_path(a->db), hs_db_path(b->db), key, hs_buf_text(&x),
                             hs_buf_text(&y));
        }
        hs_buf_free(&x);
        hs_buf_free(&y);
    }
    return rc;
}

static int parse_options(const hs_merge_shard *r, hs_json **out) {
    return hs_prefix(hs_json_parse(out, r->whole, strlen(r->whole)),
                     "%s: run %" PRId64 "'s options", hs_db_path(r->db), r->run);
}

static int differ(const hs_merge_shard *a, const hs_merge_shard *b) {
    hs_json *left = NULL, *right = NULL;
    int rc = parse_options(a, &left);
    if (!rc) rc = parse_options(b, &right);
    if (!rc) rc = first_difference(a, b, left, right);
    if (!rc) rc = first_difference(b, a, right, left);
    if (!rc)
        rc = hs_fail(HS_E, "%s and %s have different options", hs_db_path(a->db),
                     hs_db_path(b->db));
    hs_json_free(left);
    hs_json_free(right);
    return rc;
}

static int differ_in_number(const hs_merge_shard *a, const hs_merge_shard *b) {
    return hs_fail(HS_E,
                   "%s is shard %" PRId64 "/%" PRId64 ", %s shard %" PRId64 "/%" PRId64
                   ": merge takes the shards of one sweep",
                   hs_db_path(a->db), a->shard, a->n_shard, hs_db_path(b->db), b->shard,
                   b->n_shard);
}

// ---- sets -----------------------------------------------------------------------------------

// Any shard of a set.
static const hs_merge_shard *member(const hs_merge_set *set) {
    int64_t i = 0;
    while (!set->at[i]) i++;
    return set->at[i];
}

static int join(hs_merge_set *set, const hs_merge_shard *r) {
    const hs_merge_shard *one = member(set), *twin = set->at[r->shard];
    if (strcmp(one->version, r->version) != 0)
        return hs_fail(HS_E,
                       "%s was written by headscope %s, %s by %s: sweep all shards with one "
                       "version",
                       hs_db_path(one->db), one->version, hs_db_path(r->db), r->version);
    // One that was started anew counts for what was left of it before.
    if (twin && twin->complete && !r->complete) return HS_OK;
    if (twin && twin->complete && twin->db == r->db)
        return hs_fail(HS_E,
                       "%s: shard %" PRId64 "/%" PRId64 " comes twice, as runs %" PRId64
                       " and %" PRId64 ": sweep it into a new file",
                       hs_db_path(r->db), r->shard, r->n_shard, twin->run, r->run);
    if (twin && twin->complete)
        return hs_fail(HS_E,
                       "shard %" PRId64 "/%" PRId64 " comes twice: in %s and in %s: leave one out",
                       r->shard, r->n_shard, hs_db_path(twin->db), hs_db_path(r->db));
    set->at[r->shard] = r;
    return HS_OK;
}

static int new_set(merge *m, const hs_merge_shard *r) {
    int rc = hs_grow(&m->set, m->n_set + 1, sizeof *m->set);
    if (rc) return rc;
    hs_merge_set *set = &m->set[m->n_set];
    *set = (hs_merge_set){.n = r->n_shard};
    rc = hs_alloc(&set->at, (size_t)r->n_shard, sizeof *set->at);
    if (rc) return rc;
    set->at[r->shard] = r;
    m->n_set++;
    return HS_OK;
}

// The k-th shard of its file, `first` of the first one.
static int place(merge *m, const hs_merge_shard *r, size_t k, bool first) {
    for (size_t i = 0; i < m->n_set; i++) {
        const hs_merge_shard *one = member(&m->set[i]);
        if (strcmp(one->whole, r->whole) != 0) continue;
        return one->n_shard == r->n_shard ? join(&m->set[i], r) : differ_in_number(one, r);
    }
    return first ? new_set(m, r) : differ(member(&m->set[k < m->n_set ? k : 0]), r);
}

static int place_all(merge *m) {
    size_t k = 0;
    int rc = HS_OK;
    for (size_t i = 0; i < m->n_shard && !rc; i++) {
        const hs_merge_shard *r = &m->shard[i];
        k = i && m->shard[i - 1].db == r->db ? k + 1 : 0;
        // A number of shards is a stranger's: a list of them must not take more than files justify.
        if (r->n_shard > 1000 && r->n_shard > (int64_t)m->n_shard)
            rc = hs_fail(HS_ENOTFOUND,
                         "%s: a shard of %" PRId64 ", and there are %zu: name all files",
                         hs_db_path(r->db), r->n_shard, m->n_shard);
        if (!rc) rc = place(m, r, k, r->db == m->db[0]);
    }
    return rc;
}

static int missing(const hs_merge_set *set) {
    hs_buf names = {0};
    int64_t n = 0;
    for (int64_t i = 0; i < set->n; i++)
        if (!set->at[i] && n++ < 8) hs_buf_printf(&names, "%s%" PRId64, n > 1 ? ", " : "", i);
    if (n > 8) hs_buf_str(&names, ", ...");
    int rc = hs_buf_rc(&names);
    if (!rc && n)
        rc = hs_fail(HS_ENOTFOUND,
                     "shard%s %s of %" PRId64 " %s missing: name the file%s too, or sweep --shard "
                     "%s/%" PRId64 " first",
                     n > 1 ? "s" : "", hs_buf_text(&names), set->n, n > 1 ? "are" : "is",
                     n > 1 ? "s" : "", n > 1 ? "I" : hs_buf_text(&names), set->n);
    hs_buf_free(&names);
    return rc;
}

// That shards are complete is what they say themselves.
static int check_prompts(const hs_merge_set *set) {
    const hs_merge_shard *one = set->at[0];
    hs_json *options = NULL;
    int64_t n = 0, want = -1;
    for (int64_t i = 0; i < set->n; i++) n += set->at[i]->n_prompt;
    int rc = parse_options(one, &options);
    const hs_json *v = rc ? NULL : hs_json_get(options, "n_prompt");
    if (!rc && (!v || !hs_json_int(v, &want) || want != n))
        rc = hs_fail(HS_EFORMAT,
                     "the shards of run %" PRId64 " in %s hold %" PRId64
                     " prompts together, not %" PRId64 ": sweep them anew",
                     one->run, hs_db_path(one->db), n, want);
    hs_json_free(options);
    return rc;
}

static int check_set(const hs_merge_set *set) {
    int rc = missing(set);
    for (int64_t i = 0; i < set->n && !rc; i++) {
        const hs_merge_shard *r = set->at[i];
        if (!r->complete)
            rc = hs_fail(HS_ENOTFOUND,
                         "%s: shard %" PRId64 "/%" PRId64 " is unfinished, %" PRId64
                         " prompt%s so far: finish it with sweep --resume first",
                         hs_db_path(r->db), r->shard, r->n_shard, r->n_prompt,
                         r->n_prompt == 1 ? "" : "s");
    }
    return rc ? rc : check_prompts(set);
}

// ---- the new file ---------------------------------------------------------------------------

static int write_all(const merge *m, hs_db *to, hs_merge_report *report,
                     const hs_progress *progress) {
    int64_t total = 0, done = 0;
    // The file counts for nothing until it is whole and has its name.
    int rc = hs_sql_exec(to, "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF");
    for (size_t i = 0; i < m->n_shard; i++) total += m->shard[i].n_prompt;
    for (size_t i = 0; i < m->n_set && !rc; i++)
        rc = hs_merge_run(to, &m->set[i], &done, total, progress);
    if (!rc) rc = hs_progress_step(progress, "merging prompts", total, total);
    *report = (hs_merge_report){(int64_t)m->n_set, done, m->left_out};
    return rc;
}

static int write_file(const merge *m, const char *out, hs_merge_report *report,
                      const hs_progress *progress) {
    hs_outfile file = {0};
    hs_db *to = NULL;
    int rc = hs_outfile_open(&file, out);
    if (!rc) rc = hs_db_open(&to, file.beside, HS_DB_CREATE);
    if (!rc) rc = write_all(m, to, report, progress);
    hs_db_close(to);
    if (!rc) return hs_outfile_commit(&file);
    hs_outfile_abort(&file);
    return rc;
}

// Neither a file nor what SQLite would take for a new file's log.
static int check_new(const char *out) {
    static const char *const endings[] = {"", "-wal", "-journal"};
    struct stat st;
    hs_buf path = {0};
    int rc = HS_OK;
    for (size_t i = 0; i < sizeof endings / sizeof *endings && !rc; i++) {
        hs_buf_clear(&path);
        hs_buf_printf(&path, "%s%s", out, endings[i]);
        rc = hs_buf_rc(&path);
        if (!rc && lstat(hs_buf_text(&path), &st) == 0)
            rc = hs_fail(HS_EIO, "%s is there already: merge writes a new database: name another",
                         hs_buf_text(&path));
    }
    hs_buf_free(&path);
    return rc;
}

static void close_all(merge *m) {
    for (size_t i = 0; i < m->n_set; i++) free(m->set[i].at);
    for (size_t i = 0; i < m->n_shard; i++) {
        free(m->shard[i].whole);
        free(m->shard[i].version);
    }
    for (int i = 0; i < m->n_db; i++) hs_db_close(m->db[i]);
    free(m->set);
    free(m->shard);
    free(m->db);
}

int hs_merge(const char *out, const char *const *in, int n_in, hs_merge_report *report,
             const hs_progress *progress) {
    merge m = {0};
    *report = (hs_merge_report){0};
    int rc = check_new(out);
    if (!rc) rc = hs_alloc(&m.db, (size_t)n_in + 1, sizeof *m.db);
    for (int i = 0; i < n_in && !rc; i++) rc = read_file(&m, in[i]);
    if (!rc) rc = place_all(&m);
    for (size_t i = 0; i < m.n_set && !rc; i++) rc = check_set(&m.set[i]);
    if (!rc) rc = write_file(&m, out, report, progress);
    close_all(&m);
    return rc;
}
