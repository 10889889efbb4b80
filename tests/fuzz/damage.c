// See damage.h.
#include "tests/fuzz/damage.h"

#include <sqlite3.h>
#include <stdio.h>

#include "model/core/hash.h"
#include "model/core/mem.h"
#include "tests/lib/dbrun.h"
#include "tests/lib/mkmodel.h"

enum { PAGE = 1024 };

static char folder[PATH_MAX], path[PATH_MAX];
static uint8_t *base; // the undamaged file
static size_t base_size;

static void put(const char *ending, const hs_buf *bytes) {
    char name[64];
    snprintf(name, sizeof name, "run.db%s", ending);
    need(!hs_buf_rc(bytes));
    mk_file(folder, name, bytes->data, bytes->len);
}

// ---- the undamaged run --------------------------------------------------------------------------

static void forget(void) {
    mk_remove(folder);
    free(base);
}

// Small pages: less of the file is empty space that damage does not change anything in.
static void make_base(void) {
    static const dbrun what = {.n_prompt = 2,
                               .n_token = 6,
                               .n_decode = 1,
                               .maps = "all",
                               .acts = "resid_post,attn_scores",
                               .observe = "sinks,massive",
                               .store = HS_STORE_U8};
    sqlite3 *sql = NULL;
    hs_map m = {0};
    mk_dir(folder);
    mk_path(path, folder, "run.db");
    atexit(forget);
    need(!dbrun_record(path, &what, NULL) && !sqlite3_open(path, &sql));
    need(!sqlite3_exec(sql, "PRAGMA page_size = 1024; VACUUM", NULL, NULL, NULL));
    sqlite3_close(sql);
    need(!hs_map_open(&m, path) && m.size % PAGE == 0);
    base_size = m.size;
    base = malloc(base_size);
    need(base != NULL);
    memcpy(base, m.data, base_size);
    hs_map_close(&m);
}

const char *damage_folder(void) {
    if (!base) make_base();
    return folder;
}

const char *damage_path(void) {
    if (!base) make_base();
    return path;
}

void damage_fresh(void) {
    dbrun_remove(damage_path());
    put("", &(hs_buf){.data = (char *)base, .len = base_size});
}

// ---- bytes --------------------------------------------------------------------------------------

static void patch_file(input in) {
    hs_buf file = {0};
    hs_buf_add(&file, base, base_size);
    need(!hs_buf_rc(&file));
    while (in.n) {
        const size_t at = (size_t)take_number(&in, 3) % base_size;
        const input bytes = take_bytes(&in, take_byte(&in));
        for (size_t i = 0; i < bytes.n && at + i < base_size; i++)
            file.data[at + i] = (char)bytes.at[i];
    }
    put("", &file);
    hs_buf_free(&file);
}

// A page of the database with some bytes changed.
static void patched_page(hs_buf *out, uint64_t page, input *in) {
    const size_t n_page = base_size / PAGE, from = out->len;
    const size_t at = (size_t)take_number(in, 2);
    const input bytes = take_bytes(in, take_byte(in));
    hs_buf_add(out, base + page % n_page * PAGE, PAGE);
    need(!hs_buf_rc(out));
    for (size_t i = 0; i < bytes.n; i++) out->data[from + (at + i) % PAGE] = (char)bytes.at[i];
}

static void add_big(hs_buf *out, uint64_t v) {
    for (int shift = 24; shift >= 0; shift -= 8) hs_buf_chr(out, (char)(v >> shift));
}

// The checksum of a log, taken on over out[from..].
static void wal_sum(hs_buf *out, size_t from, size_t n, uint32_t sum[2]) {
    need(!hs_buf_rc(out));
    for (size_t i = from; i < from + n; i += 8) {
        uint32_t word[2];
        memcpy(word, out->data + i, sizeof word); // little-endian, as the magic says
        sum[0] += word[0] + sum[1];
        sum[1] += word[1] + sum[0];
    }
}

static void put_wal(input in) {
    static const uint32_t head[] = {0x377f0682, 3007000, PAGE, 0, 1, 2};
    hs_buf file = {0}, wal = {0};
    uint32_t sum[2] = {0, 0};
    for (size_t i = 0; i < sizeof head / sizeof *head; i++) add_big(&wal, head[i]);
    wal_sum(&wal, 0, wal.len, sum);
    add_big(&wal, sum[0]);
    add_big(&wal, sum[1]);
    while (in.n) {
        const size_t frame = wal.len;
        const uint64_t page = take_byte(&in);
        add_big(&wal, page + 1);
        add_big(&wal, take_byte(&in));
        wal_sum(&wal, frame, 8, sum);
        add_big(&wal, head[4]);
        add_big(&wal, head[5]);
        hs_buf_add(&wal, "12345678", 8); // the frame's checksum: once its page is there
        patched_page(&wal, page, &in);
        wal_sum(&wal, frame + 24, PAGE, sum);
        for (int i = 0; i < 8; i++)
            wal.data[frame + 16 + i] = (char)(sum[i / 4] >> (24 - i % 4 * 8));
    }
    hs_buf_add(&file, base, base_size);
    need(!hs_buf_rc(&file));
    file.data[18] = file.data[19] = 2; // the database says that it has a log
    put("", &file);
    put("-wal", &wal);
    hs_buf_free(&file);
    hs_buf_free(&wal);
}

static void put_journal(input in) {
    enum { SECTOR = 512 };
    hs_buf journal = {0};
    hs_buf_add(&journal, "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", 8);
    add_big(&journal, UINT32_MAX); // as many records as there are
    add_big(&journal, 7);
    add_big(&journal, take_number(&in, 2)); // pages that the file had
    add_big(&journal, SECTOR);
    add_big(&journal, PAGE);
    while (journal.len < SECTOR) hs_buf_chr(&journal, 0);
    while (in.n) {
        const uint64_t page = take_byte(&in);
        uint32_t sum = 7;
        add_big(&journal, page + 1);
        const size_t at = journal.len;
        patched_page(&journal, page, &in);
        for (int i = PAGE - 200; i > 0; i -= 200) sum += (uint8_t)journal.data[at + (size_t)i];
        add_big(&journal, sum);
    }
    put("-journal", &journal);
    hs_buf_free(&journal);
}

// ---- SQL ----------------------------------------------------------------------------------------

static int deny_files(void *ctx, int action, const char *name, const char *b, const char *c,
                      const char *d) {
    (void)ctx, (void)b, (void)c, (void)d;
    return action == SQLITE_ATTACH && name && *name ? SQLITE_DENY : SQLITE_OK;
}

static int stop(void *ctx) {
    (void)ctx;
    return 1;
}

static sqlite3 *open_wild(void) {
    sqlite3 *sql = NULL;
    need(!sqlite3_open(path, &sql));
    sqlite3_exec(sql, "PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY", NULL, NULL, NULL);
    sqlite3_limit(sql, SQLITE_LIMIT_LENGTH, 1 << 20);
    sqlite3_progress_handler(sql, 100000, stop, NULL);
    sqlite3_set_authorizer(sql, deny_files, NULL);
    return sql;
}

static void set_columns(input in) {
    static const char *const columns[] = {
        "map SET n_q = ?1",
        "map SET n_k = ?1",
        "map SET n_q = ?1, n_k = ?1",
        "map_chunk SET q0 = ?1",
        "map_chunk SET n_q = ?1",
        "map_chunk SET raw_bytes = ?1",
        "act SET n_pos = ?1",
        "act SET width = ?1",
        "act_chunk SET pos0 = ?1",
        "act_chunk SET n_pos = ?1",
        "row_series SET row0 = ?1",
        "row_series SET n_row = ?1",
        "model SET n_layer = ?1",
        "model SET n_head = ?1",
        "model SET n_kv_head = ?1",
        "model SET d_model = ?1",
        "model SET d_head = ?1",
        "model SET n_vocab = ?1",
        "prompt SET n_token = ?1",
        "prompt SET period = ?1",
        "prompt SET ord = ord + ?1",
        "token SET token_id = ?1",
        "token SET pos = pos + ?1",
        "token SET text = ?2",
        "series SET n = ?1",
        "map_chunk SET data = ?2, crc32 = ?3",
        "act_chunk SET data = ?2, crc32 = ?3",
        "map_chunk SET data = ?2, crc32 = ?3, codec = 'zstd'",
        "map_chunk SET codec = ?2",
        "row_series SET data = ?2",
        "series SET data = ?2",
        "map SET dtype = 'f16'",
        "map SET dtype = 'f32'",
        "act SET dtype = 'f32'",
        "act SET name = ?2",
        "map SET causal = 0",
        "head_metric SET layer = ?1",
        "head_metric SET value = ?1",
        "run SET options = ?2",
    };
    sqlite3 *sql = open_wild();
    sqlite3_exec(sql, "PRAGMA ignore_check_constraints = 1; PRAGMA foreign_keys = 0", NULL, NULL,
                 NULL);
    for (char text[200]; in.n > 2;) {
        sqlite3_stmt *s = NULL;
        const size_t pick = take_byte(&in) % (sizeof columns / sizeof *columns);
        const int64_t v = (int64_t)take_number(&in, take_byte(&in) & 0x80 ? 8 : 1);
        snprintf(text, sizeof text, "UPDATE OR IGNORE %s", columns[pick]);
        if (!sqlite3_prepare_v2(sql, text, -1, &s, NULL)) {
            sqlite3_bind_int64(s, 1, v);
            sqlite3_bind_blob64(s, 2, in.n ? (const void *)in.at : "", in.n, SQLITE_STATIC);
            sqlite3_bind_int64(s, 3, hs_crc32(in.at, in.n));
            sqlite3_step(s);
        }
        sqlite3_finalize(s);
    }
    sqlite3_close(sql);
}

static void run_sql(input in) {
    char *text = text_of(in), *save = NULL;
    sqlite3 *sql = open_wild();
    sqlite3_exec(sql, "PRAGMA writable_schema = 1; PRAGMA ignore_check_constraints = 1", NULL, NULL,
                 NULL);
    for (char *one = strtok_r(text, ";\n", &save); one; one = strtok_r(NULL, ";\n", &save))
        sqlite3_exec(sql, one, NULL, NULL, NULL);
    sqlite3_close(sql);
    free(text);
}

void damage(input in) {
    static void (*const kinds[])(input) = {patch_file, set_columns, run_sql, put_wal, put_journal};
    const uint8_t kind = take_byte(&in) % (sizeof kinds / sizeof *kinds);
    damage_fresh();
    kinds[kind](in);
}
