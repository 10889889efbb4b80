// Exports: both containers, read back by a small parser of our own that trusts nothing else.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/export.h"
#include "db/pack_internal.h"
#include "model/core/hash.h"
#include "model/core/json.h"
#include "model/core/mem.h"
#include "tests/lib/dbrun.h"

static void must(int rc) {
    if (rc) fail_msg("rc %d: %s", rc, hs_errmsg());
}

// Everything that the format of the path's ending holds, or (what) some of it.
static int export(hs_db *db, int64_t run, int64_t prompt, unsigned what, const char *path,
                  const hs_progress *progress) {
    const hs_export_format *f;
    hs_export_opts o = {.run = run, .prompt = prompt, .what = what};
    int rc = hs_export_find(&f, NULL, path);
    return rc ? rc : hs_db_export(db, f, &o, path, NULL, progress);
}

typedef struct array {
    char descr[8];
    int ndim;
    int64_t shape[4], count;
    const uint8_t *data;
} array;

static uint64_t get(const uint8_t *p, int n) {
    uint64_t v = 0;
    for (int i = n; i-- > 0;) v = v << 8 | p[i];
    return v;
}

// ---- npz ----------------------------------------------------------------------------------------

static void parse_npy(const uint8_t *p, size_t n, array *out) {
    assert_memory_equal(p, "\x93NUMPY\x01\x00", 8);
    size_t head = get(p + 8, 2);
    assert_int_equal((10 + head) % 64, 0);
    char dict[512];
    snprintf(dict, sizeof dict, "%.*s", (int)head, (const char *)p + 10);
    assert_int_equal(p[10 + head - 1], '\n');
    assert_int_equal(sscanf(dict, "{'descr': '%3s'", out->descr), 1);
    assert_non_null(strstr(dict, "'fortran_order': False"));
    char *at = strchr(dict, '(') + 1;
    out->ndim = 0;
    out->count = 1;
    for (; *at != ')'; out->ndim++) {
        out->shape[out->ndim] = strtoll(at, &at, 10);
        out->count *= out->shape[out->ndim];
        at += strspn(at, ", ");
    }
    out->data = p + 10 + head;
    assert_int_equal(n - 10 - head, (size_t)out->count * (out->descr[2] == '8' ? 8 : 4));
}

// Finds an entry through the central directory; false when there is none.
static bool npz_find(const hs_map *m, const char *name, array *out) {
    const uint8_t *end = m->data + m->size - 22;
    assert_int_equal(get(end, 4), 0x06054b50);
    size_t n = get(end + 10, 2);
    const uint8_t *c = m->data + get(end + 16, 4);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(get(c, 4), 0x02014b50);
        size_t len = get(c + 28, 2), size = get(c + 24, 4);
        const uint8_t *l = m->data + get(c + 42, 4);
        assert_int_equal(get(l, 4), 0x04034b50);
        assert_memory_equal(l + 14, c + 16, 12); // crc and sizes agree
        const uint8_t *body = l + 30 + get(l + 26, 2) + get(l + 28, 2);
        assert_int_equal(hs_crc32(body, size), get(c + 16, 4));
        if (len == strlen(name) + 4 && memcmp(c + 46, name, len - 4) == 0) {
            parse_npy(body, size, out);
            return true;
        }
        c += 46 + len + get(c + 30, 2);
    }
    assert_ptr_equal(c, end);
    return false;
}

// ---- safetensors --------------------------------------------------------------------------------

static bool st_find(const hs_map *m, const char *name, array *out) {
    hs_json *doc;
    uint64_t len = get(m->data, 8);
    assert_int_equal(len % 8, 0);
    must(hs_json_parse(&doc, (const char *)m->data + 8, len));
    const hs_json *e = hs_json_get(doc, name);
    if (e) {
        int64_t from = 0, to = 0;
        snprintf(out->descr, sizeof out->descr, "%s",
                 strcmp(hs_json_str(hs_json_get(e, "dtype")), "I64") ? "<f4" : "<i8");
        out->ndim = 0;
        out->count = 1;
        for (const hs_json *d = hs_json_first(hs_json_get(e, "shape")); d; d = hs_json_next(d)) {
            assert_true(hs_json_int(d, &out->shape[out->ndim]));
            out->count *= out->shape[out->ndim++];
        }
        const hs_json *offset = hs_json_first(hs_json_get(e, "data_offsets"));
        assert_true(hs_json_int(offset, &from) && hs_json_int(hs_json_next(offset), &to));
        out->data = m->data + 8 + len + from;
        assert_int_equal(to - from, out->count * (out->descr[2] == '8' ? 8 : 4));
        assert_true(8 + len + (uint64_t)to <= m->size);
        assert_int_equal((uintptr_t)out->data % (out->descr[2] == '8' ? 8 : 4), 0);
    }
    hs_json_free(doc);
    return e != NULL;
}

typedef bool (*find_fn)(const hs_map *, const char *, array *);

static float number(const array *a, int64_t i) {
    float f;
    memcpy(&f, a->data + 4 * i, 4);
    return f;
}

// ---- what is in them ----------------------------------------------------------------------------

static void check_content(const hs_map *m, find_fn find) {
    array a;
    assert_true(find(m, "p1/tokens", &a));
    assert_int_equal(a.ndim, 1);
    assert_int_equal(a.shape[0], 21 + 2);
    assert_string_equal(a.descr, "<i8");
    for (int64_t i = 0; i < a.count; i++)
        assert_int_equal(get(a.data + 8 * i, 8), (uint64_t)((7 * i + 1) % 50));
    assert_true(find(m, "p1/blocks.1.attn.hook_pattern", &a));
    assert_int_equal(a.ndim, 3);
    assert_int_equal(a.shape[0], 3);
    assert_int_equal(a.shape[2], 23);
    for (int64_t i = 0; i < a.count; i++)
        assert_true(number(&a, i) == dbrun_weight(1, 1, (int)(i / (23 * 23)), i / 23 % 23, i % 23));
    assert_true(find(m, "p1/blocks.0.attn.hook_attn_scores", &a));
    assert_int_equal(a.ndim, 3);
    assert_int_equal(a.count, 3 * 23 * 23);
    for (int64_t i = 0; i < a.count; i++)
        assert_true(number(&a, i) == dbrun_score(1, 0, (int)(i / (23 * 23)), i / 23 % 23, i % 23));
    assert_false(find(m, "p1/blocks.1.attn.hook_attn_scores", &a)); // not kept
    assert_false(find(m, "p0/blocks.0.attn.hook_pattern", &a));     // two heads only
    assert_false(find(m, "p0/blocks.0.attn.hook_pattern.h0", &a));
    assert_true(find(m, "p0/blocks.0.attn.hook_pattern.h2", &a));
    assert_true(find(m, "p0/blocks.0.attn.hook_pattern.h1", &a));
    assert_int_equal(a.ndim, 2);
    assert_true(number(&a, 22 + 1) == dbrun_weight(0, 0, 1, 1, 1));
    assert_true(find(m, "p0/blocks.1.attn.hook_k", &a));
    assert_int_equal(a.ndim, 3);
    assert_int_equal(a.shape[1], 1);
    assert_int_equal(a.shape[2], 4);
    assert_true(number(&a, 9) == dbrun_act(0, HS_K, 1, 2, 1));
    assert_true(find(m, "p0/logits", &a));
    assert_int_equal(a.shape[1], 50);
    assert_true(number(&a, 103) == dbrun_act(0, HS_LOGITS, 2, 2, 3));
    assert_true(find(m, "p1/blocks.0.attn.hook_row_stats.distance", &a));
    assert_int_equal(a.shape[0], 3);
    assert_int_equal(a.shape[1], 23);
    float stats[HS_N_STAT];
    dbrun_stats(1, 0, 2, 11, stats);
    assert_true(number(&a, 2 * 23 + 11) == stats[HS_STAT_DISTANCE]);
    assert_false(find(m, "p2/tokens", &a));
}

static hs_db *record(char *path, size_t n) {
    hs_db *db;
    dbrun what = {.n_prompt = 2,
                  .n_token = 20,
                  .n_decode = 2,
                  .maps = "L1H*,L0H1-2",
                  .acts = "k,logits,blocks.0.attn.hook_attn_scores"};
    dbrun_path(path, n, "export");
    must(dbrun_record(path, &what, NULL));
    must(hs_db_open(&db, path, HS_DB_READ));
    return db;
}

static void test_content(void **state) {
    (void)state;
    static const struct {
        const char *ending;
        find_fn find;
    } formats[] = {{"npz", npz_find}, {"safetensors", st_find}};
    char path[256], out[300];
    hs_db *db = record(path, sizeof path);
    for (size_t i = 0; i < 2; i++) {
        hs_map m;
        snprintf(out, sizeof out, "%s.%s", path, formats[i].ending);
        must(export(db, 1, 0, 0, out, NULL));
        must(hs_map_open(&m, out));
        check_content(&m, formats[i].find);
        hs_map_close(&m);
        unlink(out);
    }
    hs_db_close(db);
    dbrun_remove(path);
}

static void test_narrow(void **state) {
    (void)state;
    char path[256], out[300];
    hs_db *db = record(path, sizeof path);
    hs_map m;
    array a;
    snprintf(out, sizeof out, "%s.npz", path);
    must(export(db, 1, 2, HS_EXPORT_TOKENS | HS_EXPORT_ACTS, out, NULL));
    must(hs_map_open(&m, out));
    assert_true(npz_find(&m, "p1/tokens", &a));
    assert_true(npz_find(&m, "p1/logits", &a));
    assert_true(npz_find(&m, "p1/blocks.0.attn.hook_attn_scores", &a));
    assert_false(npz_find(&m, "p0/tokens", &a));
    assert_false(npz_find(&m, "p1/blocks.1.attn.hook_pattern", &a));
    assert_false(npz_find(&m, "p1/blocks.0.attn.hook_row_stats.max", &a));
    hs_map_close(&m);
    must(export(db, 1, 2, HS_EXPORT_MAPS, out, NULL));
    must(hs_map_open(&m, out));
    assert_true(npz_find(&m, "p1/blocks.1.attn.hook_pattern", &a));
    assert_false(npz_find(&m, "p1/blocks.0.attn.hook_attn_scores", &a));
    hs_map_close(&m);
    unlink(out);
    assert_int_equal(export(db, 1, 0, 0, path, NULL), HS_EARG);
    assert_int_equal(export(db, 9, 0, 0, out, NULL), HS_ENOTFOUND);
    assert_int_equal(export(db, 1, 0, 0, "/nowhere/at/all.npz", NULL), HS_EIO);
    assert_int_equal(access(out, F_OK), -1);
    hs_db_close(db);
    dbrun_remove(path);
}

static int stop_at_five(void *ctx, const char *what, int64_t done, int64_t total) {
    (void)what;
    *(int64_t *)ctx = total;
    return done == 5 ? hs_fail(HS_ESTOP, "stop") : HS_OK;
}

static void test_stopped(void **state) {
    (void)state;
    char path[256], out[300], part[400];
    hs_db *db = record(path, sizeof path);
    int64_t total = 0;
    hs_progress progress = {stop_at_five, &total};
    snprintf(out, sizeof out, "%s.npz", path);
    snprintf(part, sizeof part, "%s.headscope-0.part", out);
    assert_int_equal(export(db, 1, 0, 0, out, &progress), HS_ESTOP);
    assert_true(total > 5);
    assert_int_equal(access(out, F_OK), -1);
    assert_int_equal(access(part, F_OK), -1);
    hs_db_close(db);
    dbrun_remove(path);
}

// The packer itself refuses entries that are not as announced.
static void test_pack(void **state) {
    (void)state;
    char path[256];
    float v[4] = {0};
    hs_pack *p;
    hs_pack_entry e = {"x", HS_F32, 1, {3}};
    dbrun_path(path, sizeof path, "pack");
    strcat(path, ".npz");
    must(hs_pack_open(&p, &hs_pack_npz, path, &e, 1));
    must(hs_pack_begin(p));
    assert_int_equal(hs_pack_write(p, v, 16), HS_E);
    must(hs_pack_write(p, v, 8));
    assert_int_equal(hs_pack_end(p), HS_E);
    hs_pack_abort(p);
    must(hs_pack_open(&p, &hs_pack_npz, path, &e, 1));
    assert_int_equal(hs_pack_commit(p), HS_E);
    assert_int_equal(access(path, F_OK), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_content),
        cmocka_unit_test(test_narrow),
        cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_pack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
