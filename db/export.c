// Exports; see export.h. Here is what they share: formats by name, what is asked of them, prompts.
#include "db/export.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "db/export_internal.h"
#include "db/replay.h"

// The first of an ending is the one it stands for.
const hs_export_format *const hs_export_formats[] = {
    &hs_export_npz,     &hs_export_safetensors, &hs_export_csv,     &hs_export_json,
    &hs_export_bertviz, &hs_export_circuitsvis, &hs_export_circuit, NULL,
};

static const struct {
    const char *name;
    unsigned bit;
    const char *option; // of record, that stores it; NULL: always stored
} whats[] = {
    {"heads", HS_EXPORT_HEADS, NULL},       {"stats", HS_EXPORT_STATS, NULL},
    {"maps", HS_EXPORT_MAPS, "--maps all"}, {"acts", HS_EXPORT_ACTS, "--acts HOOKS"},
    {"tokens", HS_EXPORT_TOKENS, NULL},     {"edges", HS_EXPORT_EDGES, NULL},
};
enum { N_WHAT = sizeof whats / sizeof *whats };

// ---- formats and what is asked of them ----------------------------------------------------------

static bool ends_with(const char *path, const char *ending) {
    size_t n = strlen(path), m = strlen(ending);
    return n > m && strcmp(path + n - m, ending) == 0;
}

int hs_export_find(const hs_export_format **out, const char *name, const char *path) {
    hs_buf all = {0};
    *out = NULL;
    for (const hs_export_format *const *f = hs_export_formats; *f && !*out; f++) {
        if (name ? strcmp((*f)->name, name) == 0 : ends_with(path, (*f)->ending)) *out = *f;
        hs_buf_printf(&all, "%s%s", f == hs_export_formats ? "" : ", ",
                      name ? (*f)->name : (*f)->ending);
        // Formats after the one that an ending stands for need their name.
        if (!name && strcmp((*f)->ending, ".json") == 0) break;
    }
    int rc = HS_OK;
    if (!*out && name)
        rc = hs_fail(HS_EARG, "no format '%s': there are %s", name, hs_buf_text(&all));
    else if (!*out)
        rc = hs_fail(HS_EARG,
                     "%s: the ending chooses the format (%s): use one of them, --format, or "
                     "--publish for a database",
                     path, hs_buf_text(&all));
    hs_buf_free(&all);
    return rc;
}

// "heads, stats and tokens".
static void list_whats(hs_buf *out, unsigned bits) {
    for (int i = 0; i < N_WHAT; i++) {
        if (!(bits & whats[i].bit)) continue;
        bits &= ~whats[i].bit;
        hs_buf_printf(out, "%s%s", whats[i].name,
                      !bits                 ? ""
                      : (bits & (bits - 1)) ? ", "
                                            : " and ");
    }
}

static int not_held(const hs_export_format *f, unsigned bits, const char *word, size_t n) {
    hs_buf all = {0}, others = {0};
    list_whats(&all, f->what);
    for (const hs_export_format *const *o = hs_export_formats; *o; o++)
        if (bits && ((*o)->what & bits))
            hs_buf_printf(&others, "%s%s", others.len ? ", " : ": for that, write ", (*o)->name);
    int rc = hs_fail(HS_EARG, "--what: %s holds %s, not '%.*s'%s", f->name, hs_buf_text(&all),
                     (int)n, word, hs_buf_text(&others));
    hs_buf_free(&all);
    hs_buf_free(&others);
    return rc;
}

int hs_export_parse(const hs_export_format *f, const char *text, unsigned *out) {
    *out = text && strcmp(text, "all") ? 0 : text ? f->what : f->fallback;
    for (const char *c = *out ? "" : text; *c || !*out;) {
        size_t n = strcspn(c, ",");
        int i = 0;
        while (i < N_WHAT && (strlen(whats[i].name) != n || memcmp(whats[i].name, c, n))) i++;
        if (i == N_WHAT || !(f->what & whats[i].bit))
            return not_held(f, i < N_WHAT ? whats[i].bit : 0, c, n);
        *out |= whats[i].bit;
        c += n + (c[n] == ',' && c[n + 1]);
    }
    if (f->one_table && (*out & (*out - 1)))
        return hs_fail(HS_EARG,
                       "--what: a %s file is one table: ask for one thing, once a file, "
                       "or write .json, which holds them all",
                       f->name);
    return HS_OK;
}

int hs_export_nothing(const hs_export *e) {
    hs_buf what = {0}, how = {0};
    list_whats(&what, e->opts.what);
    for (int i = 0; i < N_WHAT; i++)
        if ((e->opts.what & whats[i].bit) && whats[i].option)
            hs_buf_printf(&how, "%s %s", how.len ? " or" : ": record it again with",
                          whats[i].option);
    int rc = hs_fail(HS_ENOTFOUND, "%s: run %" PRId64 " stored no %s%s%s", hs_db_path(e->db),
                     e->opts.run, hs_buf_text(&what), e->opts.heads ? " of these heads" : "",
                     hs_buf_text(&how));
    hs_buf_free(&what);
    hs_buf_free(&how);
    return rc;
}

// ---- the job ------------------------------------------------------------------------------------

int hs_export_step(hs_export *e) {
    return hs_progress_step(e->progress, "exporting", e->done++, e->total);
}

int hs_export_prompts(hs_export *e, int (*fn)(void *ctx, const hs_export_prompt *), void *ctx) {
    sqlite3_stmt *s = NULL;
    bool row = false;
    hs_v v[] = {hs_v_int(e->opts.run), hs_v_int(e->opts.prompt)};
    int rc = hs_sql_prepare(e->db, &s,
                            "SELECT id, ord, label, text FROM prompt WHERE run_id = ?1 AND "
                            "?2 IN (0, id) ORDER BY ord");
    if (!rc) rc = hs_sql_bind(e->db, s, v, 2);
    if (!rc) rc = hs_sql_step(e->db, s, &row);
    while (!rc && row) {
        hs_export_prompt p = {sqlite3_column_int64(s, 0), sqlite3_column_int64(s, 1),
                              (const char *)sqlite3_column_text(s, 2),
                              (const char *)sqlite3_column_text(s, 3)};
        rc = p.label ? hs_export_step(e) : hs_fail(HS_ENOMEM, "out of memory");
        if (!rc) rc = fn(ctx, &p);
        if (!rc) rc = hs_sql_step(e->db, s, &row);
    }
    sqlite3_finalize(s);
    return rc;
}

// The prompts of the job, and which one when there is room for one.
static int choose_prompts(hs_export *e, int64_t *left_out) {
    int64_t n = 0;
    hs_v v = hs_v_int(e->opts.run);
    int rc = hs_sql_int(e->db, "SELECT count(*) FROM prompt WHERE run_id = ?", &v, 1, &n, NULL);
    if (!rc && e->format->one_prompt && !e->opts.prompt) {
        rc = hs_db_prompt(e->db, e->opts.run, NULL, &e->opts.prompt);
        *left_out = n - 1;
    }
    int layered = !!(e->opts.what & HS_EXPORT_STATS) + !!(e->opts.what & HS_EXPORT_MAPS);
    e->total = (e->opts.prompt ? 1 : n) * (1 + layered * e->dims.n_layer);
    return rc;
}

int hs_db_export(hs_db *db, const hs_export_format *format, const hs_export_opts *opts,
                 const char *path, hs_export_result *result, const hs_progress *progress) {
    hs_export e = {.db = db, .format = format, .opts = *opts, .path = path, .progress = progress};
    hs_export_result unwanted;
    struct stat st;
    if (!result) result = &unwanted;
    *result = (hs_export_result){0};
    if (!e.opts.what) e.opts.what = format->fallback;
    if (opts->heads && !format->by_head)
        return hs_fail(HS_EARG, "%s holds all heads that were stored: leave the choice out",
                       format->name);
    int rc = hs_db_dims(db, opts->run, &e.dims);
    if (!rc) rc = hs_heads_parse(&e.heads, &e.dims, opts->heads ? opts->heads : "all");
    if (!rc) rc = choose_prompts(&e, &result->prompts);
    if (!rc) rc = format->write(&e);
    hs_heads_free(&e.heads);
    if (!rc && stat(path, &st) == 0 && S_ISREG(st.st_mode)) result->bytes = st.st_size;
    return rc;
}
