// The schema, as tables of columns from which come both CREATE TABLE and the documentation that
// travels in the file (column_doc).
//
// All tables are STRICT. Foreign keys are single columns, so that Datasette links them. Row ids are
// never AUTOINCREMENT: the next one depends only on what the tables hold, and a run that was killed
// and resumed gets the same ids as an unbroken one. Columns whose names contain _at, time, argv or
// status are the only ones that differ between two recordings of the same thing.
//
// Blobs come last in their rows: reading the columns before them does not touch their pages.
// Chunks hold whole query rows (maps: causal rows hold their visible keys only), little-endian.
// head_metric keeps what every analysis run gave; the newest run of a prompt, metric and head is
// the one that counts (v_head_metric), so that an offline result shows without erasing the online
// one.
#include "db/db_internal.h"
#include "db/doc.h"
#include "db/schema_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct column {
    const char *name, *decl, *unit, *about;
} column;

typedef struct table {
    const char *name, *about;
    const column *columns; // ended by name NULL
    const char *tail;      // constraints and options
} table;

#define DTYPE "TEXT NOT NULL CHECK (dtype IN ('f32', 'f16', 'u8'))"
// clang-format off
#define CHUNK_COLUMNS                                                                              \
    {"codec", "TEXT NOT NULL CHECK (codec IN ('none', 'zstd'))", "", "compression of data"},       \
    {"raw_bytes", "INTEGER NOT NULL", "bytes", "length of data when uncompressed"},                \
    {"crc32", "INTEGER NOT NULL", "", "zlib's crc32 of data as stored"},                           \
    {"data", "BLOB NOT NULL", "", "the rows' numbers, row after row, little-endian"}
// clang-format on

static const column meta_columns[] = {
    {"key", "TEXT PRIMARY KEY", "", "what is said"},
    {"value", "TEXT NOT NULL", "", "about this file"},
    {0},
};
static const column model_columns[] = {
    {"id", "INTEGER PRIMARY KEY", "", "number of the model in this file"},
    {"name", "TEXT NOT NULL", "", "last part of the path it was loaded from"},
    {"arch", "TEXT NOT NULL", "", "family"},
    {"source", "TEXT NOT NULL", "", "path it was loaded from"},
    {"format", "TEXT NOT NULL", "", "container: gguf or safetensors"},
    {"weight_dtype", "TEXT NOT NULL", "", "number format of most weights, as stored"},
    {"fingerprint", "TEXT NOT NULL", "", "FNV-1a of metadata, tensor list and samples, in hex"},
    {"n_param", "INTEGER NOT NULL", "", "parameters"},
    {"n_layer", "INTEGER NOT NULL", "", "blocks"},
    {"n_head", "INTEGER NOT NULL", "", "query heads of a block"},
    {"n_kv_head", "INTEGER NOT NULL", "", "key and value heads of a block"},
    {"d_model", "INTEGER NOT NULL", "", "width of the residual stream"},
    {"d_head", "INTEGER NOT NULL", "", "width of a head"},
    {"d_ff", "INTEGER NOT NULL", "", "width of the MLP, 0 when there is none"},
    {"n_vocab", "INTEGER NOT NULL", "", "token ids"},
    {"n_ctx", "INTEGER NOT NULL", "tokens", "context length of the checkpoint"},
    {"points", "TEXT NOT NULL", "", "short names of the hook points it has"},
    {0},
};
static const column run_columns[] = {
    {"id", "INTEGER PRIMARY KEY", "", "number of the run"},
    {"model_id", "INTEGER NOT NULL REFERENCES model (id)", "", "what was run"},
    {"label", "TEXT", "", "a name that the user gave"},
    {"status", "TEXT NOT NULL CHECK (status IN ('running', 'complete', 'interrupted', 'failed'))",
     "", "running: under way, or killed; resumed by record --resume"},
    {"created_at", "TEXT NOT NULL", "UTC", "start"},
    {"ended_at", "TEXT", "UTC", "end; NULL while running or when killed"},
    {"tool_version", "TEXT NOT NULL", "", "version and commit of headscope"},
    {"argv_json", "TEXT NOT NULL", "", "command line, as a JSON array"},
    {"options_json", "TEXT NOT NULL", "", "all that decides the results; equal = the same run"},
    {"backend", "TEXT NOT NULL", "", "what computed"},
    {"isa", "TEXT NOT NULL", "", "instruction set of the kernels"},
    {"runtime_threads", "INTEGER NOT NULL", "", "worker threads; no result depends on them"},
    {"precision", "TEXT NOT NULL", "", "exact, or the name of a faster mode"},
    {"weights", "TEXT NOT NULL", "", "expand: f32 panels; keep: as stored; the same results"},
    {"n_ctx", "INTEGER NOT NULL", "tokens", "context length in use"},
    {"bos", "TEXT NOT NULL", "", "policy for a token at the start: auto, yes, no"},
    {"seed", "TEXT NOT NULL", "", "of everything random, decimal"},
    {"baseline_run_id", "INTEGER REFERENCES run (id)", "", "run that this one is compared with"},
    {0},
};
static const column intervention_columns[] = {
    {"run_id", "INTEGER NOT NULL REFERENCES run (id)", "", "the run"},
    {"ord", "INTEGER NOT NULL", "", "order in which they apply, from 0"},
    {"kind", "TEXT NOT NULL", "", "name of the intervention"},
    {"spec", "TEXT NOT NULL", "", "as given to --do"},
    {0},
};
static const column prompt_columns[] = {
    {"id", "INTEGER PRIMARY KEY", "", "row id"},
    {"run_id", "INTEGER NOT NULL REFERENCES run (id)", "", "the run"},
    {"ord", "INTEGER NOT NULL", "", "number in the run, from 0"},
    {"label", "TEXT NOT NULL", "", "the prompt's id"},
    {"text", "TEXT", "", "readable text; NULL when tokens were given; invalid bytes as <0xE2>"},
    {"n_token", "INTEGER NOT NULL", "tokens",
     "length, without decoded tokens; 0: nothing was run, results are of the model alone"},
    {"n_decoded", "INTEGER NOT NULL", "tokens", "decoded after the prompt"},
    {"bos_len", "INTEGER NOT NULL", "tokens", "added in front by the BOS policy"},
    {"period", "INTEGER", "tokens", "of a repeated-token prompt, when said"},
    {"extra_json", "TEXT", "", "other keys of the prompt's JSONL line"},
    {"recorded_at", "TEXT NOT NULL", "UTC", "when it was finished"},
    {0},
};
static const column token_columns[] = {
    {"prompt_id", "INTEGER NOT NULL REFERENCES prompt (id)", "", "the prompt"},
    {"pos", "INTEGER NOT NULL", "position", "0-based; decoded tokens follow the prompt's"},
    {"token_id", "INTEGER NOT NULL", "", "id in the vocabulary"},
    {"text", "TEXT", "", "readable piece; invalid bytes as <0xE2>; NULL without a tokenizer"},
    {"bytes", "BLOB", "", "the piece's exact bytes"},
    {"byte_from", "INTEGER", "bytes", "first byte in the prompt's text"},
    {"byte_to", "INTEGER", "bytes", "past the last byte in the prompt's text"},
    {"decoded", "INTEGER NOT NULL CHECK (decoded IN (0, 1))", "", "1 when the model wrote it"},
    {0},
};
static const column map_columns[] = {
    {"id", "INTEGER PRIMARY KEY", "", "what att_row(map, query) takes"},
    {"prompt_id", "INTEGER NOT NULL REFERENCES prompt (id)", "", "the prompt"},
    {"point", "TEXT NOT NULL CHECK (point IN ('pattern', 'attn_scores'))", "",
     "pattern: attention weights; attn_scores: what the softmax takes"},
    {"layer", "INTEGER NOT NULL", "", "0-based"},
    {"head", "INTEGER NOT NULL", "", "query head, 0-based"},
    {"n_q", "INTEGER NOT NULL", "rows", "query rows"},
    {"n_k", "INTEGER NOT NULL", "columns", "keys"},
    {"causal", "INTEGER NOT NULL CHECK (causal IN (0, 1))", "",
     "1: row i holds keys 0..i only; the others are 0, those of scores -inf"},
    {"dtype", DTYPE, "", "of the numbers; u8 rows begin with lowest value and step as f32"},
    {0},
};
static const column map_chunk_columns[] = {
    {"id", "INTEGER PRIMARY KEY", "", "row id"},
    {"map_id", "INTEGER NOT NULL REFERENCES map (id) DEFERRABLE INITIALLY DEFERRED", "", "the map"},
    {"q0", "INTEGER NOT NULL", "row", "first query row"},
    {"n_q", "INTEGER NOT NULL", "rows", "query rows"},
    CHUNK_COLUMNS,
    {0},
};
static const column act_columns[] = {
    {"id", "INTEGER PRIMARY KEY", "", "row id"},
    {"prompt_id", "INTEGER NOT NULL REFERENCES prompt (id)", "", "the prompt"},
    {"name", "TEXT NOT NULL", "", "hook point"},
    {"layer", "INTEGER", "", "0-based; NULL for points of the model"},
    {"n_pos", "INTEGER NOT NULL", "positions", "rows"},
    {"shape", "TEXT NOT NULL", "", "JSON array: the whole tensor's shape, positions first"},
    {"width", "INTEGER NOT NULL", "", "numbers a position"},
    {"dtype", DTYPE, "", "of the numbers; u8 rows begin with lowest value and step as f32"},
    {0},
};
static const column act_chunk_columns[] = {
    {"id", "INTEGER PRIMARY KEY", "", "row id"},
    {"act_id", "INTEGER NOT NULL REFERENCES act (id) DEFERRABLE INITIALLY DEFERRED", "",
     "the activation"},
    {"pos0", "INTEGER NOT NULL", "position", "first position"},
    {"n_pos", "INTEGER NOT NULL", "positions", "rows"},
    CHUNK_COLUMNS,
    {0},
};
static const column row_series_columns[] = {
    {"id", "INTEGER PRIMARY KEY", "", "row id"},
    {"prompt_id", "INTEGER NOT NULL REFERENCES prompt (id)", "", "the prompt"},
    {"layer", "INTEGER NOT NULL", "", "0-based"},
    {"head", "INTEGER NOT NULL", "", "query head, 0-based"},
    {"stat", "TEXT NOT NULL", "", "which summary of the attention row; see metric"},
    {"row0", "INTEGER NOT NULL", "row", "first query row"},
    {"n_row", "INTEGER NOT NULL", "rows", "query rows"},
    {"data", "BLOB NOT NULL", "", "for att_series(): HSf4, crc32, then f32 numbers"},
    {0},
};
static const column analysis_columns[] = {
    {"id", "INTEGER PRIMARY KEY", "", "row id"},
    {"name", "TEXT NOT NULL UNIQUE", "", "name for --observe"},
    {"title", "TEXT NOT NULL", "", "one line"},
    {"about", "TEXT NOT NULL", "", "what it measures and how"},
    {"reference", "TEXT", "", "paper"},
    {0},
};
static const column metric_columns[] = {
    {"name", "TEXT NOT NULL", "", "of a number or series that analyses give"},
    {"kind", "TEXT NOT NULL CHECK (kind IN ('metric', 'series', 'row'))", "",
     "metric: one number a head; series: a vector; row: in row_series"},
    {"analysis_id", "INTEGER REFERENCES analysis (id)", "", "who gives it; NULL: every recording"},
    {"unit", "TEXT NOT NULL", "", "unit, empty when it has none"},
    {"about", "TEXT NOT NULL", "", "definition"},
    {"diverging", "INTEGER NOT NULL CHECK (diverging IN (0, 1))", "", "1: drawn around zero"},
    {0},
};
static const column analysis_run_columns[] = {
    {"id", "INTEGER PRIMARY KEY", "", "row id; the newest of a prompt counts"},
    {"prompt_id", "INTEGER NOT NULL REFERENCES prompt (id)", "", "what was looked at"},
    {"analysis_id", "INTEGER NOT NULL REFERENCES analysis (id)", "", "by whom"},
    {"source", "TEXT NOT NULL CHECK (source IN ('online', 'offline'))", "",
     "online: during the recording; offline: from what it stored"},
    {"map_dtype", "TEXT NOT NULL CHECK (map_dtype IN ('f32', 'f16', 'u8'))", "",
     "format of the maps and activations it saw; f32 is exact"},
    {"params_json", "TEXT NOT NULL", "", "its parameters, defaults included"},
    {0},
};
static const column head_metric_columns[] = {
    {"prompt_id", "INTEGER NOT NULL REFERENCES prompt (id)", "", "the prompt"},
    {"metric", "TEXT NOT NULL", "", "see metric"},
    {"layer", "INTEGER NOT NULL", "", "0-based"},
    {"head", "INTEGER NOT NULL", "", "query head, 0-based"},
    {"analysis_run_id", "INTEGER NOT NULL REFERENCES analysis_run (id)", "", "who found it"},
    {"value", "REAL", "", "NULL when undefined"},
    {"reason", "TEXT", "", "why it is undefined"},
    {0},
};
static const column series_columns[] = {
    {"id", "INTEGER PRIMARY KEY", "", "row id"},
    {"prompt_id", "INTEGER NOT NULL REFERENCES prompt (id)", "", "the prompt"},
    {"analysis_run_id", "INTEGER NOT NULL REFERENCES analysis_run (id)", "", "who found it"},
    {"name", "TEXT NOT NULL", "", "see metric"},
    {"layer", "INTEGER NOT NULL", "", "0-based"},
    {"head", "INTEGER", "", "query head, 0-based; NULL: of the layer"},
    {"n", "INTEGER NOT NULL", "", "numbers"},
    {"data", "BLOB NOT NULL", "", "for att_series(): HSf8, crc32, then f64 numbers"},
    {0},
};
static const column column_doc_columns[] = {
    {"tbl", "TEXT NOT NULL", "", "table"},
    {"col", "TEXT NOT NULL", "", "column"},
    {"unit", "TEXT NOT NULL", "", "unit, empty when it has none"},
    {"about", "TEXT NOT NULL", "", "meaning"},
    {0},
};

static const table tables[] = {
    {"meta", "Facts about the file.", meta_columns, "\n) STRICT, WITHOUT ROWID"},
    {"model", "The models that were run.", model_columns,
     ",\n  UNIQUE (fingerprint, source)\n) STRICT"},
    {"run", "One recording each, with all that it depended on.", run_columns, "\n) STRICT"},
    {"intervention", "The edits that a run was under, in order.", intervention_columns,
     ",\n  PRIMARY KEY (run_id, ord)\n) STRICT, WITHOUT ROWID"},
    {"prompt", "The prompts of a run; one of no tokens stands for the model itself.",
     prompt_columns, ",\n  UNIQUE (run_id, ord),\n  UNIQUE (run_id, label)\n) STRICT"},
    {"token", "The tokens of a prompt, decoded ones included.", token_columns,
     ",\n  PRIMARY KEY (prompt_id, pos)\n) STRICT, WITHOUT ROWID"},
    {"map", "The stored attention maps, one a head; their numbers are in map_chunk.", map_columns,
     ",\n  UNIQUE (prompt_id, point, layer, head)\n) STRICT"},
    {"map_chunk", "Rows of a map, about a MiB each.", map_chunk_columns,
     ",\n  UNIQUE (map_id, q0)\n) STRICT"},
    {"act", "The stored activations, one a hook point; their numbers are in act_chunk.",
     act_columns, ",\n  UNIQUE (prompt_id, name)\n) STRICT"},
    {"act_chunk", "Rows of an activation, about a MiB each.", act_chunk_columns,
     ",\n  UNIQUE (act_id, pos0)\n) STRICT"},
    {"row_series",
     "The summary of every attention row, always recorded: a series a head and statistic.",
     row_series_columns, ",\n  UNIQUE (prompt_id, layer, head, stat, row0)\n) STRICT"},
    {"analysis", "The observers that looked at something here.", analysis_columns, "\n) STRICT"},
    {"metric", "What the numbers of head_metric, series and row_series mean.", metric_columns,
     ",\n  PRIMARY KEY (name, kind)\n) STRICT, WITHOUT ROWID"},
    {"analysis_run", "One look of an observer at a prompt, with its parameters.",
     analysis_run_columns, ",\n  UNIQUE (prompt_id, analysis_id, source, params_json)\n) STRICT"},
    {"head_metric", "The metrics: one number a prompt, head and look; NULL has a reason.",
     head_metric_columns,
     ",\n  PRIMARY KEY (prompt_id, metric, layer, head, analysis_run_id),\n"
     "  CHECK ((value IS NULL) = (reason IS NOT NULL))\n) STRICT, WITHOUT ROWID"},
    {"series", "Vectors that observers found, over positions unless metric says otherwise.",
     series_columns,
     ",\n  UNIQUE (prompt_id, name, layer, head, analysis_run_id)\n"
     ") STRICT"},
    {"column_doc", "Unit and meaning of every column, in the file itself.", column_doc_columns,
     ",\n  PRIMARY KEY (tbl, col)\n) STRICT, WITHOUT ROWID"},
};
enum { N_TABLE = sizeof tables / sizeof *tables };

#define NAME "'L' || layer || 'H' || head AS name"
static const struct {
    const char *name, *about, *sql;
} views[] = {
    {"v_run", "Runs with their model, prompts and tokens.",
     "SELECT r.id, r.label, r.status, m.name AS model, m.arch, r.created_at, r.ended_at,\n"
     "  (SELECT count(*) FROM prompt AS p WHERE p.run_id = r.id) AS prompts,\n"
     "  (SELECT coalesce(sum(p.n_token + p.n_decoded), 0) FROM prompt AS p\n"
     "   WHERE p.run_id = r.id) AS tokens\n"
     "FROM run AS r JOIN model AS m ON m.id = r.model_id"},
    {"v_token", "Tokens with their run and prompt.",
     "SELECT p.run_id, p.ord AS prompt, p.label, t.pos, t.token_id, t.text, t.decoded\n"
     "FROM token AS t JOIN prompt AS p ON p.id = t.prompt_id"},
    {"v_map", "Stored maps with their run, prompt and head.",
     "SELECT a.id, p.run_id, p.ord AS prompt, p.label, a.point, a.layer, a.head,\n"
     "  " NAME ", a.n_q, a.n_k, a.causal, a.dtype\n"
     "FROM map AS a JOIN prompt AS p ON p.id = a.prompt_id"},
    {"v_act", "Stored activations with their run and prompt.",
     "SELECT a.id, p.run_id, p.ord AS prompt, p.label, a.name, a.layer, a.shape, a.dtype\n"
     "FROM act AS a JOIN prompt AS p ON p.id = a.prompt_id"},
    {"v_row_series", "Row summaries with their run, prompt and head.",
     "SELECT a.id, p.run_id, p.ord AS prompt, p.label, a.layer, a.head, " NAME ",\n"
     "  a.stat, a.row0, a.n_row\n"
     "FROM row_series AS a JOIN prompt AS p ON p.id = a.prompt_id"},
    {"v_series", "Series with their run, prompt and observer.",
     "SELECT s.id, p.run_id, p.ord AS prompt, p.label, a.name AS analysis, r.source,\n"
     "  s.name AS series, s.layer, s.head, s.n\n"
     "FROM series AS s JOIN prompt AS p ON p.id = s.prompt_id\n"
     "JOIN analysis_run AS r ON r.id = s.analysis_run_id\n"
     "JOIN analysis AS a ON a.id = r.analysis_id"},
    // With max(), SQLite takes the other columns from the row that has it.
    {"v_head_metric", "The newest value of every metric, prompt and head.",
     "SELECT p.run_id, m.prompt_id, p.ord AS prompt, p.label, m.layer, m.head, " NAME ",\n"
     "  m.metric, m.value, m.reason, max(m.analysis_run_id) AS analysis_run_id\n"
     "FROM head_metric AS m JOIN prompt AS p ON p.id = m.prompt_id\n"
     "GROUP BY m.prompt_id, m.metric, m.layer, m.head"},
    {"v_head_mean", "The same, averaged over the prompts of a run.",
     "SELECT run_id, layer, head, name, metric, avg(value) AS value, count(value) AS prompts,\n"
     "  CASE WHEN count(value) = 0 THEN min(reason) END AS reason\n"
     "FROM v_head_metric GROUP BY run_id, metric, layer, head"},
};
enum { N_VIEW = sizeof views / sizeof *views };

static const struct {
    const char *name, *sql;
} indexes[] = {
    {"run_model", "ON run (model_id)"},
    {"series_run", "ON series (analysis_run_id)"},
    {"head_metric_run", "ON head_metric (analysis_run_id)"},
};
enum { N_INDEX = sizeof indexes / sizeof *indexes };

static void table_sql(hs_buf *out, const table *t) {
    hs_buf_printf(out, "CREATE TABLE %s (", t->name);
    for (const column *c = t->columns; c->name; c++)
        hs_buf_printf(out, "%s\n  %s %s", c == t->columns ? "" : ",", c->name, c->decl);
    hs_buf_str(out, t->tail);
}

// Object i of the schema, in an order in which they can be made; false past the last.
static bool object_sql(int i, const char **name, hs_buf *out) {
    hs_buf_clear(out);
    if (i < N_TABLE) {
        *name = tables[i].name;
        table_sql(out, &tables[i]);
    } else if (i < N_TABLE + N_INDEX) {
        i -= N_TABLE;
        *name = indexes[i].name;
        hs_buf_printf(out, "CREATE INDEX %s %s", *name, indexes[i].sql);
    } else if (i < N_TABLE + N_INDEX + N_VIEW) {
        i -= N_TABLE + N_INDEX;
        *name = views[i].name;
        hs_buf_printf(out, "CREATE VIEW %s AS\n%s", *name, views[i].sql);
    } else {
        return false;
    }
    return true;
}

bool hs_table_doc_at(int i, hs_table_doc *out) {
    if (i < N_TABLE)
        *out = (hs_table_doc){tables[i].name, tables[i].about, NULL};
    else if (i - N_TABLE < N_VIEW)
        *out = (hs_table_doc){views[i - N_TABLE].name, views[i - N_TABLE].about,
                              views[i - N_TABLE].sql};
    else
        return false;
    return true;
}

bool hs_column_doc_at(int i, int k, hs_column_doc *out) {
    if (i >= N_TABLE || !tables[i].columns[k].name) return false;
    const column *c = &tables[i].columns[k];
    *out = (hs_column_doc){c->name, c->decl, c->unit, c->about};
    return true;
}

static int put_docs(hs_db *db) {
    int rc = hs_sql_put(
        db,
        "INSERT INTO meta VALUES ('about', 'attention of a transformer, recorded by "
        "headscope; the meaning of every column is in column_doc, of every metric "
        "in metric; start with the views v_*')",
        NULL, 0);
    for (int t = 0; t < N_TABLE && !rc; t++)
        for (const column *c = tables[t].columns; c->name && !rc; c++) {
            hs_v v[] = {hs_v_text(tables[t].name), hs_v_text(c->name), hs_v_text(c->unit),
                        hs_v_text(c->about)};
            rc = hs_sql_put(db, HS_SQL_COLUMN_DOC, v, 4);
        }
    for (int i = 0; i < HS_N_STAT && !rc; i++) {
        hs_v v[] = {hs_v_text(hs_stat_infos[i].name),
                    hs_v_text("row"),
                    hs_v_null(),
                    hs_v_text(hs_stat_infos[i].unit),
                    hs_v_text(hs_stat_infos[i].about),
                    hs_v_int(0)};
        rc = hs_sql_put(db, HS_SQL_METRIC, v, 6);
    }
    return rc;
}

// Version 0, an empty file, to 1.
static int make_all(hs_db *db) {
    hs_buf sql = {0};
    const char *name;
    int rc = HS_OK;
    for (int i = 0; !rc && object_sql(i, &name, &sql); i++) {
        rc = hs_buf_rc(&sql);
        if (!rc) rc = hs_sql_exec(db, hs_buf_text(&sql));
    }
    if (!rc) rc = put_docs(db);
    hs_buf_clear(&sql);
    hs_buf_printf(&sql, "PRAGMA application_id = %d", HS_DB_APP_ID);
    if (!rc) rc = hs_buf_rc(&sql);
    if (!rc) rc = hs_sql_exec(db, hs_buf_text(&sql));
    hs_buf_free(&sql);
    return rc;
}

// Step k takes a file of version k to k + 1, within the transaction of the whole migration. A step
// must leave the text of every object as make_all writes it.
static int (*const steps[])(hs_db *) = {make_all};
enum { VERSION = sizeof steps / sizeof *steps };

int hs_schema_id(void) {
    return HS_DB_APP_ID;
}

int hs_schema_version(void) {
    return VERSION;
}

static int version_of(hs_db *db, int64_t *out) {
    return hs_sql_int(db, "PRAGMA user_version", NULL, 0, out, NULL);
}

int hs_schema_migrate(hs_db *db) {
    int64_t version = 0;
    char set[64];
    int rc = version_of(db, &version);
    if (rc || version >= VERSION) return rc;
    rc = hs_sql_exec(db, "BEGIN IMMEDIATE");
    if (rc) return rc;
    rc = version_of(db, &version); // again: another process may have been faster
    for (int64_t k = version; !rc && k >= 0 && k < VERSION; k++) {
        rc = steps[k](db);
        snprintf(set, sizeof set, "PRAGMA user_version = %d", (int)k + 1);
        if (!rc) rc = hs_sql_exec(db, set);
    }
    if (!rc) rc = hs_sql_exec(db, "COMMIT");
    if (rc) sqlite3_exec(db->sql, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

static int check_object(hs_db *db, sqlite3_stmt *s, const char *name, const char *want) {
    hs_v v = hs_v_text(name);
    bool row = false;
    sqlite3_reset(s);
    int rc = hs_sql_bind(db, s, &v, 1);
    if (!rc) rc = hs_sql_step(db, s, &row);
    if (rc) return rc;
    const char *have = row ? (const char *)sqlite3_column_text(s, 0) : NULL;
    if (have && strcmp(have, want) == 0) return HS_OK;
    return hs_fail(HS_EFORMAT,
                   "%s: damaged: %s is not as headscope made it: restore a copy, or "
                   "record again",
                   db->path, name);
}

int hs_schema_check(hs_db *db) {
    int64_t version = 0;
    sqlite3_stmt *s = NULL;
    hs_buf sql = {0};
    const char *name;
    int rc = version_of(db, &version);
    if (rc) return rc;
    if (version > VERSION)
        return hs_fail(HS_EUNSUPPORTED,
                       "%s: written by a newer headscope (schema %" PRId64 ", this "
                       "build knows %d): use that one",
                       db->path, version, VERSION);
    if (version < VERSION)
        return hs_fail(HS_EFORMAT, "%s: schema %" PRId64 " was never written by headscope",
                       db->path, version);
    rc = hs_sql_prepare(db, &s, "SELECT sql FROM sqlite_schema WHERE name = ?");
    for (int i = 0; !rc && object_sql(i, &name, &sql); i++) {
        rc = hs_buf_rc(&sql);
        if (!rc) rc = check_object(db, s, name, hs_buf_text(&sql));
    }
    sqlite3_finalize(s);
    hs_buf_free(&sql);
    return rc;
}
