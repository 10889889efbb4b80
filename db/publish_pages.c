// The description that Datasette reads (its metadata.json): what tables and columns mean, from
// column_doc and the observers; what a link to a row is called; what to sort and count by; and the
// named queries. Queries that use our SQL functions cannot run there: which those are, plain SQLite
// itself says.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/experiment.h"
#include "db/export_internal.h"
#include "db/publish_internal.h"
#include "db/query.h"
#include "db/record_internal.h"

typedef struct pages {
    hs_db db; // the copy, through plain SQLite: none of our functions
    hs_text out;
    hs_publish_result *result;
} pages;

// ---- tables -------------------------------------------------------------------------------------

// of: the tables that a view's columns come from, nearest first.
enum { N_FROM = 2, N_FACET = 3 };
static const struct page {
    const char *name, *about, *label, *of[N_FROM], *facets[N_FACET];
    bool hidden;
} known[] = {
    {.name = "v_run", .about = "The runs: what was run, and how much of it", .of = {"run"}},
    {.name = "v_head_metric",
     .about = "One number a head, prompt and metric; the newest analysis counts",
     .of = {"head_metric", "prompt"},
     .facets = {"metric", "layer", "prompt"}},
    {.name = "v_head_mean",
     .about = "The mean of a metric over a run's prompts, head by head",
     .of = {"head_metric", "prompt"},
     .facets = {"metric", "layer"}},
    {.name = "v_token",
     .about = "The tokens of every prompt",
     .of = {"token", "prompt"},
     .facets = {"prompt", "decoded"}},
    {.name = "v_map",
     .about = "The attention maps that are stored; headscope query 'select att_row(ID, QUERY)' "
              "reads one",
     .of = {"map", "prompt"},
     .facets = {"layer", "point"}},
    {.name = "v_act",
     .about = "The activations that are stored",
     .of = {"act", "prompt"},
     .facets = {"layer"}},
    {.name = "v_row_series",
     .about = "The statistics of every attention row that are stored",
     .of = {"row_series", "prompt"},
     .facets = {"stat", "layer"}},
    {.name = "v_series",
     .about = "The vectors that analyses gave",
     .of = {"series", "prompt"},
     .facets = {"analysis", "series"}},
    {.name = "meta", .about = "About this file"},
    {.name = "model", .about = "The models", .label = "name"},
    {.name = "run",
     .about = "The runs, with all that decides their results",
     .label = "created_at"},
    {.name = "intervention", .about = "What was changed in a run, in order"},
    {.name = "prompt", .about = "The prompts of the runs", .label = "label"},
    {.name = "token", .about = "Tokens; v_token is easier to read"},
    {.name = "map", .about = "Attention maps, their numbers in map_chunk", .label = "point"},
    {.name = "act", .about = "Activations, their numbers in act_chunk", .label = "name"},
    {.name = "map_chunk", .about = "The numbers of maps, packed", .hidden = true},
    {.name = "act_chunk", .about = "The numbers of activations, packed", .hidden = true},
    {.name = "row_series", .about = "The numbers of row statistics, packed", .hidden = true},
    {.name = "series", .about = "The numbers of vectors, packed", .hidden = true},
    {.name = "analysis", .about = "The analyses", .label = "title"},
    {.name = "metric", .about = "What metrics and series mean", .facets = {"kind"}},
    {.name = "analysis_run", .about = "Which analysis looked at which prompt", .label = "source"},
    {.name = "head_metric", .about = "One number a head; v_head_metric is easier to read"},
    {.name = "column_doc", .about = "What columns mean"},
};
enum { N_KNOWN = sizeof known / sizeof *known };

static const struct page *page_of(const char *name) {
    for (int i = 0; i < N_KNOWN; i++)
        if (strcmp(known[i].name, name) == 0) return &known[i];
    return NULL;
}

// What the columns of views mean that no table has.
static const char *view_column(const char *name) {
    static const char *const about[][2] = {
        {"name", "the head as L5H1"},
        {"prompt", "number of the prompt in its run, from 0"},
        {"prompts", "how many prompts"},
        {"tokens", "how many tokens, decoded ones too"},
        {"model", "name of the model"},
        {"arch", "family of the model"},
        {"series", "name of the vector; see metric"},
        {"analysis", "name of the analysis"},
        {"source", "online: while recording; offline: later"},
    };
    for (size_t i = 0; i < sizeof about / sizeof *about; i++)
        if (strcmp(about[i][0], name) == 0) return about[i][1];
    return NULL;
}

// Appends the meaning and unit of a column, from the first of the tables that says; nothing when
// none does.
static int column_about(pages *p, hs_buf *out, const char *column, const char *const *table,
                        int n_table) {
    sqlite3_stmt *s = NULL;
    bool row = false;
    int rc = hs_sql_prepare(&p->db, &s,
                            "SELECT about, unit FROM column_doc WHERE tbl = ? AND col = ?");
    for (int i = 0; i < n_table && table[i] && !rc && !row; i++) {
        hs_v v[] = {hs_v_text(table[i]), hs_v_text(column)};
        sqlite3_reset(s);
        rc = hs_sql_bind(&p->db, s, v, 2);
        if (!rc) rc = hs_sql_step(&p->db, s, &row);
    }
    if (!rc && row) {
        const char *about = (const char *)sqlite3_column_text(s, 0);
        const char *unit = (const char *)sqlite3_column_text(s, 1);
        hs_buf_str(out, about ? about : "");
        if (unit && *unit) hs_buf_printf(out, " [%s]", unit);
    }
    sqlite3_finalize(s);
    return rc ? rc : hs_buf_rc(out);
}

static int put_columns(pages *p, const char *table, const struct page *page) {
    const char *const self[] = {table}, *const *from = page && page->of[0] ? page->of : self;
    sqlite3_stmt *s = NULL;
    hs_jw *w = &p->out.json;
    hs_buf about = {0};
    hs_v v = hs_v_text(table);
    bool row = false;
    int rc = hs_sql_prepare(&p->db, &s, "SELECT name FROM pragma_table_info(?) ORDER BY cid");
    if (!rc) rc = hs_sql_bind(&p->db, s, &v, 1);
    if (!rc) rc = hs_sql_step(&p->db, s, &row);
    hs_jw_key(w, "columns");
    hs_jw_begin(w, '{');
    while (!rc && row) {
        const char *name = (const char *)sqlite3_column_text(s, 0);
        hs_buf_clear(&about);
        rc = column_about(p, &about, name, from, 1);
        const char *own = from != self && !about.len ? view_column(name) : NULL;
        if (own) hs_buf_str(&about, own);
        if (!rc && !about.len && from != self)
            rc = column_about(p, &about, name, from + 1, N_FROM - 1);
        if (about.len) {
            hs_jw_key(w, name);
            hs_jw_str(w, hs_buf_text(&about));
        }
        if (!rc) rc = hs_sql_step(&p->db, s, &row);
    }
    hs_jw_end(w, '}');
    sqlite3_finalize(s);
    hs_buf_free(&about);
    return rc;
}

// What an analysis says about a table of its own; NULL when none has it.
static const char *analysis_about(const char *table) {
    hs_analysis a;
    for (int i = 0; hs_analysis_at(i, &a); i++)
        for (const hs_result_table *t = a.tables; t && t->name; t++) {
            size_t n = strlen(a.name);
            if (strncmp(table, a.name, n) == 0 && table[n] == '_' &&
                strcmp(table + n + 1, t->name) == 0)
                return t->about;
        }
    return NULL;
}

// The column that names a run in links: labels, where every run has one.
static int run_label(pages *p, const char **out) {
    int64_t none = 0;
    int rc = hs_sql_int(&p->db, "SELECT count(*) FROM run WHERE label IS NULL", NULL, 0, &none,
                        NULL);
    if (!none) *out = "label";
    return rc;
}

static int put_table(pages *p, const char *name) {
    const struct page *page = page_of(name);
    const char *about = page ? page->about : analysis_about(name);
    const char *label = page ? page->label : NULL;
    hs_jw *w = &p->out.json;
    int rc = strcmp(name, "run") == 0 ? run_label(p, &label) : HS_OK;
    hs_jw_key(w, name);
    hs_jw_begin(w, '{');
    if (about) {
        hs_jw_key(w, "description");
        hs_jw_str(w, about);
    }
    if (label) {
        hs_jw_key(w, "label_column");
        hs_jw_str(w, label);
    }
    if (page && page->hidden) {
        hs_jw_key(w, "hidden");
        hs_jw_bool(w, true);
    }
    if (page && page->facets[0]) {
        hs_jw_key(w, "facets");
        hs_jw_begin(w, '[');
        for (int i = 0; i < N_FACET && page->facets[i]; i++) hs_jw_str(w, page->facets[i]);
        hs_jw_end(w, ']');
    }
    if (!rc) rc = put_columns(p, name, page);
    hs_jw_end(w, '}');
    return rc;
}

static int put_tables(pages *p) {
    sqlite3_stmt *s = NULL;
    bool row = false;
    int rc = hs_sql_prepare(&p->db, &s,
                            "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND "
                            "name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type DESC, rowid");
    if (!rc) rc = hs_sql_step(&p->db, s, &row);
    hs_jw_key(&p->out.json, "tables");
    hs_jw_begin(&p->out.json, '{');
    while (!rc && row) {
        rc = put_table(p, (const char *)sqlite3_column_text(s, 0));
        if (!rc) rc = hs_sql_step(&p->db, s, &row);
    }
    hs_jw_end(&p->out.json, '}');
    sqlite3_finalize(s);
    return rc;
}

// ---- queries ------------------------------------------------------------------------------------

// What a field that is left empty stands for, as SQL.
static void put_default(hs_buf *out, const hs_query_info *q, const char *param, size_t n) {
    char name[64], fallback[128], help[8], *end;
    if (n == 3 && memcmp(param, "run", 3) == 0) {
        hs_buf_str(out, "coalesce(nullif(:run, ''), (SELECT max(id) FROM run))");
        return;
    }
    bool found = false;
    for (int i = 0; !found && hs_query_param(q, i, name, sizeof name, fallback, sizeof fallback,
                                             help, sizeof help);
         i++)
        found = strlen(name) == n && memcmp(name, param, n) == 0;
    if (!found) fallback[0] = 0;
    fallback[strcspn(fallback, "|")] = 0;
    double number = strtod(fallback, &end);
    if (!*fallback)
        hs_buf_printf(out, "nullif(:%.*s, '')", (int)n, param);
    else if (!*end) // adding makes a number of what a form sends
        hs_buf_printf(out, "(0 + coalesce(nullif(:%.*s, ''), %g))", (int)n, param, number);
    else
        hs_buf_printf(out, "coalesce(nullif(:%.*s, ''), '%s')", (int)n, param, fallback);
}

static bool word(char c) {
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// A query without its comments, and with defaults for what a form leaves empty.
static void web_sql(hs_buf *out, const hs_query_info *q) {
    const char *t = q->text;
    for (char quote = 0; *t; t++) {
        size_t n = 0;
        if (!quote && strncmp(t, "--", 2) == 0) {
            t += strcspn(t, "\n"); // a line of its own
            continue;
        }
        if (quote ? *t == quote : *t == '\'' || *t == '"') quote = quote ? 0 : *t;
        while (*t == ':' && !quote && word(t[n + 1])) n++;
        if (n)
            put_default(out, q, t + 1, n);
        else
            hs_buf_chr(out, *t);
        t += n;
    }
    while (out->len && out->data[out->len - 1] == '\n') out->data[--out->len] = 0;
}

static int put_query(pages *p, const hs_query_info *q, const char *sql) {
    char title[256], name[64], fallback[128], help[256];
    hs_jw *w = &p->out.json;
    hs_buf about = {0};
    int rc = hs_query_title(q, title, sizeof title);
    if (strstr(sql, ":run")) hs_buf_str(&about, "run: the latest when empty. ");
    if (strstr(sql, ":prompt"))
        hs_buf_str(&about, "prompt: row id in the table prompt; all when empty. ");
    for (int i = 0;
         hs_query_param(q, i, name, sizeof name, fallback, sizeof fallback, help, sizeof help); i++)
        hs_buf_printf(&about, "%s: %s (%s when empty). ", name, help,
                      *fallback ? fallback : "nothing");
    if (!rc) rc = hs_buf_rc(&about);
    hs_jw_key(w, q->name);
    hs_jw_begin(w, '{');
    hs_jw_key(w, "title");
    hs_jw_str(w, rc ? "" : title);
    if (about.len) {
        hs_jw_key(w, "description");
        hs_jw_strn(w, hs_buf_text(&about), about.len - 1);
    }
    hs_jw_key(w, "sql");
    hs_jw_str(w, sql);
    hs_jw_end(w, '}');
    hs_buf_free(&about);
    p->result->queries++;
    return rc;
}

static int put_queries(pages *p) {
    hs_buf sql = {0};
    int rc = HS_OK;
    hs_jw_key(&p->out.json, "queries");
    hs_jw_begin(&p->out.json, '{');
    for (const hs_query_info *q = hs_queries; q->name && !rc; q++) {
        sqlite3_stmt *s = NULL;
        hs_buf_clear(&sql);
        web_sql(&sql, q);
        rc = hs_buf_rc(&sql);
        if (rc) break;
        int code = sqlite3_prepare_v2(p->db.sql, hs_buf_text(&sql), -1, &s, NULL);
        if (code == SQLITE_OK) rc = put_query(p, q, hs_buf_text(&sql));
        // SQLITE_ERROR: a function or a table of ours that is not there.
        if (code != SQLITE_OK && code != SQLITE_ERROR) rc = hs_sql_fail(&p->db, "reading the copy");
        sqlite3_finalize(s);
    }
    hs_jw_end(&p->out.json, '}');
    hs_buf_free(&sql);
    return rc;
}

// ---- the file -----------------------------------------------------------------------------------

// "Attention of MODEL, MODEL".
static int put_title(pages *p) {
    sqlite3_stmt *s = NULL;
    bool row = false;
    hs_jw *w = &p->out.json;
    int rc = hs_sql_prepare(&p->db, &s,
                            "SELECT 'Attention of ' || group_concat(name, ', ') FROM "
                            "(SELECT DISTINCT name FROM model ORDER BY id)");
    if (!rc) rc = hs_sql_step(&p->db, s, &row);
    const char *title = !rc && row ? (const char *)sqlite3_column_text(s, 0) : NULL;
    hs_jw_key(w, "title");
    hs_jw_str(w, title ? title : "Attention");
    sqlite3_finalize(s);
    hs_jw_key(w, "description");
    hs_jw_str(w, "What the attention heads of transformer models do, recorded by headscope. Start "
                 "with v_head_mean, or with a query.");
    return rc;
}

// stem: Datasette's name of the database, that of the file without its last ending.
static int put_all(pages *p, const char *stem, size_t n) {
    hs_jw *w = &p->out.json;
    hs_buf name = {0};
    hs_buf_add(&name, stem, n);
    hs_jw_begin(w, '{');
    int rc = put_title(p);
    hs_jw_key(w, "databases");
    hs_jw_begin(w, '{');
    hs_jw_key(w, hs_buf_text(&name));
    hs_jw_begin(w, '{');
    if (!rc) rc = put_tables(p);
    if (!rc) rc = put_queries(p);
    for (int i = 0; i < 3; i++) hs_jw_end(w, '}');
    hs_buf_chr(&p->out.text, '\n');
    if (!rc) rc = hs_buf_rc(&name);
    hs_buf_free(&name);
    return rc;
}

int hs_publish_pages(hs_outfile *file, const char *path, hs_publish_result *result) {
    pages p = {.db = {.path = file->beside, .mode = HS_DB_READ}, .result = result};
    const char *slash = strrchr(path, '/'), *stem = slash ? slash + 1 : path;
    const char *dot = strrchr(stem, '.');
    size_t n = dot && dot > stem ? (size_t)(dot - stem) : strlen(stem);
    hs_buf_add(&result->pages, path, (size_t)(stem - path) + n);
    hs_buf_str(&result->pages, ".metadata.json");
    int rc = hs_buf_rc(&result->pages);
    if (!rc) rc = hs_text_open(&p.out, hs_buf_text(&result->pages));
    if (!rc && sqlite3_open_v2(p.db.path, &p.db.sql, SQLITE_OPEN_READONLY, NULL))
        rc = hs_sql_fail(&p.db, "reading the copy");
    if (!rc) rc = put_all(&p, stem, n);
    sqlite3_close(p.db.sql);
    if (!rc) rc = hs_outfile_commit(file);
    if (!rc) rc = hs_text_commit(&p.out);
    hs_text_close(&p.out);
    return rc;
}
