// headscope-db(5): the database to the byte, from the schema's own tables.
#include "cli/cli.h"
#include "cli/help/explain.h"
#include "cli/help/topics.h"
#include "db/doc.h"

static const char blobs[] =
    "Numbers are stored in chunks of whole rows, in order: map_chunk holds rows q0 to q0 + n_q - 1 "
    "of a map, act_chunk rows pos0 to pos0 + n_pos - 1 of an activation. The columns beside data "
    "are enough to check a chunk before it is read: crc32 is that of data as stored, codec says "
    "whether it is compressed with zstd, raw_bytes is its length when it is not.\n"
    "Row i of a causal map holds keys 0 to i only; any other row all n_k. A row of an activation "
    "holds width numbers, in the order of shape. Everything is little-endian.\n"
    "f32 :: IEEE single precision, as computed.\n"
    "f16 :: IEEE half precision.\n"
    "u8 :: Each row begins with two f32, its lowest value and a step; then a byte a number: value "
    "= lowest + step * byte.\n"
    "The data of row_series and series is a blob of its own: the four bytes HSf4 (f32 numbers) or "
    "HSf8 (f64), the crc32 of what follows as 4 bytes, then the numbers.\n";

static const char functions[] =
    "headscope query registers these; other tools do not have them.\n"
    "att_row(map, query) :: A row of a map as a JSON array: its visible numbers.\n"
    "att_at(map, query, key) :: One number; for a key that the row does not see 0, or -inf of "
    "scores.\n"
    "att_series(data) :: A series as a JSON array; data is that column of row_series or series.\n"
    "att_keys(map, query) :: A row as a table of key, weight.\n"
    "att_each(data) :: A series as a table of pos, value.\n";

static const char versions[] =
    "A build reads and writes its own version. A file of an older one is brought up to date when "
    "it is opened for writing, in one transaction; a file of a newer one is refused. Columns keep "
    "their meaning within a version.\n";

static const char python[] = //
    "import sqlite3, struct, zlib\n"
    "db = sqlite3.connect(\"file:run.db?mode=ro\", uri=True)\n"
    "\n"
    "def attention(prompt, layer, head):\n"
    "    \"\"\"Rows of a stored f32 map, as lists.\"\"\"\n"
    "    map_id, n_k, causal = db.execute(\n"
    "        \"SELECT id, n_k, causal FROM v_map WHERE run_id = (SELECT max(id) FROM run)\"\n"
    "        \" AND point = 'pattern' AND dtype = 'f32' AND prompt = ? AND layer = ? AND head = "
    "?\",\n"
    "        (prompt, layer, head)).fetchone()\n"
    "    rows = []\n"
    "    for q0, n_q, crc, data in db.execute(\n"
    "            \"SELECT q0, n_q, crc32, data FROM map_chunk WHERE map_id = ? ORDER BY q0\",\n"
    "            (map_id,)):\n"
    "        assert zlib.crc32(data) == crc\n"
    "        at = 0\n"
    "        for q in range(q0, q0 + n_q):\n"
    "            n = min(q + 1, n_k) if causal else n_k\n"
    "            rows.append(list(struct.unpack_from(f\"<{n}f\", data, at)))\n"
    "            at += 4 * n\n"
    "    return rows\n"
    "\n"
    "print(attention(0, 0, 0)[-1])\n"
    "for row in db.execute(\"SELECT name, value FROM v_head_mean WHERE metric = "
    "'entropy_nats'\"):\n"
    "    print(*row)\n";

static void identity(hs_doc *d) {
    hs_buf text = {0};
    hs_buf_printf(&text, "PRAGMA application_id is %d (0x%08X), PRAGMA user_version %d.",
                  hs_schema_id(), (unsigned)hs_schema_id(), hs_schema_version());
    hs_doc_para(d, hs_buf_text(&text));
    hs_buf_free(&text);
}

static void columns(hs_doc *d) {
    hs_table_doc t;
    for (int i = 0; hs_table_doc_at(i, &t); i++) {
        hs_buf heading = {0};
        hs_buf_printf(&heading, "%s %s", t.select ? "view" : "table", t.name);
        hs_doc_subhead(d, hs_buf_text(&heading));
        hs_buf_free(&heading);
        hs_doc_para(d, t.about);
        hs_doc_columns(d, i);
    }
}

static void results(hs_doc *d) {
    hs_analysis a;
    for (int i = 0; hs_analysis_at(i, &a); i++)
        for (const hs_result_table *t = a.tables; t && t->name; t++) {
            hs_buf text = {0};
            hs_buf_printf(&text, "table %s_%s", a.name, t->name);
            hs_doc_subhead(d, hs_buf_text(&text));
            hs_buf_clear(&text);
            hs_buf_printf(&text,
                          "Made when %s %s first writes: %s. Its key is prompt_id and "
                          "analysis_run_id",
                          a.observer ? "the observer" : "the experiment", a.name, t->about);
            for (int k = 0; k < t->n_key; k++) hs_buf_printf(&text, ", %s", t->columns[k].name);
            hs_buf_str(&text, ".");
            hs_doc_para(d, hs_buf_text(&text));
            hs_buf_free(&text);
            for (const hs_column *c = t->columns; c->name; c++)
                hs_doc_explain(d, c->name, c->about, c->unit, NULL);
        }
}

void hs_doc_format_page(hs_doc *d) {
    const hs_topic *topic = hs_topic_find("database");
    hs_doc_title(d, "headscope-db", "db", "5", topic->title);
    hs_doc_head(d, "description");
    hs_doc_body(d, topic->text);
    hs_doc_head(d, "blobs");
    hs_doc_body(d, blobs);
    hs_doc_head(d, "SQL functions");
    hs_doc_body(d, functions);
    hs_doc_head(d, "versions");
    identity(d);
    hs_doc_body(d, versions);
    hs_doc_head(d, "reading from Python");
    hs_doc_code(d, python);
    hs_doc_head(d, "tables and views");
    columns(d);
    results(d);
    hs_doc_head(d, "see also");
    hs_doc_para(d, "headscope(1), headscope-query(1), headscope-export(1), sqlite3(1)");
}
