// npz past the limits of the plain zip format: 65,535 entries, 4 GB. The format writes to a file of
// our own here, in which the numbers of large entries are holes.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/pack_internal.h"
#include "tests/lib/dbrun.h"

// ---- the file, in place of pack.c ---------------------------------------------------------------

struct hs_pack {
    int fd;
    int64_t tell;
    const hs_pack_entry *entry;
    size_t n;
    hs_pack_note *note;
};

int hs_pack_raw(hs_pack *p, const void *data, size_t n) {
    assert_int_equal(pwrite(p->fd, data, n, p->tell), n);
    p->tell += (int64_t)n;
    return HS_OK;
}

int64_t hs_pack_tell(const hs_pack *p) {
    return p->tell;
}

int hs_pack_patch(hs_pack *p, int64_t at, const void *data, size_t n) {
    assert_int_equal(pwrite(p->fd, data, n, at), n);
    return HS_OK;
}

hs_pack_note *hs_pack_notes(hs_pack *p, const hs_pack_entry **entries, size_t *n) {
    *entries = p->entry;
    *n = p->n;
    return p->note;
}

hs_pack_note *hs_pack_note_of(hs_pack *p, const hs_pack_entry *e) {
    return &p->note[e - p->entry];
}

int64_t hs_pack_bytes(const hs_pack_entry *e) {
    return 4 * e->shape[0];
}

// Writes all entries, their numbers being holes.
static void write_all(hs_pack *p) {
    assert_int_equal(hs_pack_npz.begin(p, p->entry, p->n), HS_OK);
    for (size_t i = 0; i < p->n; i++) {
        const hs_pack_entry *e = &p->entry[i];
        assert_int_equal(hs_pack_npz.entry_begin(p, e), HS_OK);
        p->tell += hs_pack_bytes(e);
        p->note[i].bytes += hs_pack_bytes(e);
        p->note[i].crc = (uint32_t)(0xabcd0000 + i);
        assert_int_equal(hs_pack_npz.entry_end(p, e), HS_OK);
    }
    assert_int_equal(hs_pack_npz.end(p), HS_OK);
}

// ---- a reader that trusts nothing else ----------------------------------------------------------

static uint64_t get(const hs_pack *p, int64_t at, int n) {
    uint8_t b[8];
    uint64_t v = 0;
    assert_int_equal(pread(p->fd, b, (size_t)n, at), n);
    for (int i = n; i-- > 0;) v = v << 8 | b[i];
    return v;
}

// Number and place of the central headers, through the records at the end.
static void find_central(const hs_pack *p, uint64_t *n, uint64_t *at) {
    int64_t end = p->tell - 22;
    assert_int_equal(get(p, end, 4), 0x06054b50);
    *n = get(p, end + 10, 2);
    *at = get(p, end + 16, 4);
    if (*n < 0xffff && *at < 0xffffffff) return;
    assert_int_equal(get(p, end - 20, 4), 0x07064b50);
    int64_t big = (int64_t)get(p, end - 12, 8);
    assert_int_equal(big, end - 20 - 56);
    assert_int_equal(get(p, big, 4), 0x06064b50);
    assert_int_equal(get(p, big + 4, 8), 44);
    *n = get(p, big + 32, 8);
    assert_int_equal(get(p, big + 24, 8), *n);
    *at = get(p, big + 48, 8);
    assert_int_equal(get(p, big + 40, 8), (uint64_t)big - *at);
}

// Checks the header of entry i at *at, and moves on to the next; central: where the first is.
static void check_central(const hs_pack *p, size_t i, uint64_t central, uint64_t *at) {
    int64_t c = (int64_t)*at;
    assert_int_equal(get(p, c, 4), 0x02014b50);
    assert_int_equal(get(p, c + 16, 4), 0xabcd0000 + i);
    uint64_t packed = get(p, c + 20, 4), size = get(p, c + 24, 4), local = get(p, c + 42, 4);
    uint64_t name = get(p, c + 28, 2), extra = get(p, c + 30, 2);
    int64_t x = c + 46 + (int64_t)name;
    if (extra) { // the large fields, in their order
        assert_int_equal(get(p, x, 2), 1);
        assert_int_equal(get(p, x + 2, 2), extra - 4);
        assert_true(size == 0xffffffff && packed == 0xffffffff && local == 0xffffffff);
        size = get(p, x + 4, 8);
        packed = get(p, x + 12, 8);
        local = get(p, x + 20, 8);
    }
    assert_int_equal(size, packed);
    assert_int_equal(size, p->note[i].bytes);
    assert_int_equal(local, p->note[i].at);
    assert_int_equal(get(p, (int64_t)local, 4), 0x04034b50);
    assert_int_equal(get(p, (int64_t)local + 14, 4), 0xabcd0000 + i);
    uint64_t here = get(p, (int64_t)local + 22, 4), more = get(p, (int64_t)local + 28, 2);
    assert_int_equal(more != 0, size >= 0xffffffff);
    if (more) here = get(p, (int64_t)local + 30 + (int64_t)name + 4, 8);
    assert_int_equal(here, size);
    int64_t body = (int64_t)local + 30 + (int64_t)name + (int64_t)more;
    assert_int_equal(get(p, body, 4), 0x4d554e93); // "\x93NUM"
    int64_t end = body + (int64_t)size;
    assert_int_equal(end, i + 1 < p->n ? p->note[i + 1].at : (int64_t)central);
    *at += 46 + name + extra;
}

static void check_all(const hs_pack *p) {
    const size_t some = p->n > 100 ? 101 : 1;
    uint64_t n, at;
    find_central(p, &n, &at);
    const uint64_t central = at;
    assert_int_equal(n, p->n);
    for (size_t i = 0; i < p->n; i++)
        if (i % some == 0 || i + 1 == p->n)
            check_central(p, i, central, &at);
        else
            at += 46 + get(p, (int64_t)at + 28, 2) + get(p, (int64_t)at + 30, 2);
}

// ---- the tests ----------------------------------------------------------------------------------

static void with_entries(const hs_pack_entry *entry, size_t n) {
    char path[256];
    dbrun_path(path, sizeof path, "zip64");
    hs_pack p = {.entry = entry, .n = n, .note = calloc(n, sizeof(hs_pack_note))};
    p.fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(p.fd >= 0);
    write_all(&p);
    check_all(&p);
    close(p.fd);
    unlink(path);
    free(p.note);
}

static void test_size(void **state) {
    (void)state;
    const int64_t most = 0xffffffffLL / 4; // numbers of 4 GB, less one
    const hs_pack_entry entry[] = {
        {"a", HS_F32, 1, {most - 32}},     // with its header just below the limit
        {"b", HS_F32, 1, {most - 31}},     // begins below 4 GB, ends at the limit
        {"c", HS_F32, 1, {2 * most}},      // 8 GB, beyond it
        {"d", HS_F32, 1, {5}},             // small, far behind
        {"e", HS_F32, 1, {3 * most + 17}}, //
    };
    with_entries(entry, sizeof entry / sizeof *entry);
}

static void test_limit(void **state) {
    (void)state;
    for (int64_t less = 20; less < 60; less++) { // the limit is within: a header is 128 bytes
        const hs_pack_entry entry[] = {{"a", HS_F32, 1, {0x40000000LL - less}},
                                       {"b", HS_F32, 1, {1}}};
        with_entries(entry, 2);
    }
}

static void test_count(void **state) {
    (void)state;
    static const size_t counts[] = {65534, 65535, 65536};
    size_t most = 65536;
    char *names = calloc(most, 8);
    hs_pack_entry *entry = calloc(most, sizeof *entry);
    for (size_t i = 0; i < most; i++) {
        snprintf(names + 8 * i, 8, "%zu", i);
        entry[i] = (hs_pack_entry){names + 8 * i, HS_F32, 1, {1}};
    }
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) with_entries(entry, counts[k]);
    free(entry);
    free(names);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
