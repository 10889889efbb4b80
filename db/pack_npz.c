// npz: a zip archive of .npy entries, stored without compression, readable by numpy.load.
//
// The sizes of an entry are known before it is written; its checksum is put into its header
// afterwards. Zip64 fields appear where a size or offset needs them. Dates are the format's zero,
// so that two exports of the same thing are the same bytes.
#include <stdbool.h>
#include <string.h>

#include "db/pack_internal.h"
#include "model/core/buf.h"
#include "model/core/hash.h"

enum {
    LOCAL = 0x04034b50,
    CENTRAL = 0x02014b50,
    END = 0x06054b50,
    END64 = 0x06064b50,
    LOCATOR64 = 0x07064b50,
    CRC_AT = 14,
    VERSION = 20,
    VERSION64 = 45,
    DATE = 1 << 5 | 1 /* 1980-01-01 */
};
static const uint32_t MAX32 = 0xffffffff, MAX16 = 0xffff;

static void put(hs_buf *b, uint64_t v, int bytes) {
    for (int i = 0; i < bytes; i++) hs_buf_chr(b, (char)(v >> (8 * i) & 0xff));
}

static uint32_t clip(int64_t v) {
    return v >= MAX32 ? MAX32 : (uint32_t)v;
}

// The fields that a local and a central header share, from the version to the length of the name.
static void put_common(hs_buf *b, const hs_pack_entry *e, const hs_pack_note *n, bool big,
                       size_t extra) {
    put(b, big ? VERSION64 : VERSION, 2);
    put(b, 0, 2); // flags
    put(b, 0, 2); // stored
    put(b, 0, 2); // time
    put(b, DATE, 2);
    put(b, n->crc, 4);
    put(b, big ? MAX32 : (uint32_t)n->bytes, 4);
    put(b, big ? MAX32 : (uint32_t)n->bytes, 4);
    put(b, strlen(e->name) + 4, 2); // ".npy"
    put(b, extra, 2);
}

static void npy_header(hs_buf *out, const hs_pack_entry *e) {
    hs_buf dict = {0};
    hs_buf_printf(&dict, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                  hs_dtypes[e->dtype].npy);
    for (int d = 0; d < e->ndim; d++) hs_buf_printf(&dict, "%lld, ", (long long)e->shape[d]);
    hs_buf_str(&dict, "), }");
    while ((10 + dict.len + 1) % 64 && !hs_buf_rc(&dict)) hs_buf_chr(&dict, ' ');
    hs_buf_chr(&dict, '\n');
    hs_buf_add(out, "\x93NUMPY\x01\x00", 8);
    put(out, dict.len, 2);
    hs_buf_add(out, hs_buf_text(&dict), dict.len);
    if (hs_buf_rc(&dict)) out->rc = hs_buf_rc(&dict);
    hs_buf_free(&dict);
}

static int begin(hs_pack *p, const hs_pack_entry *e, size_t n) {
    (void)p, (void)e, (void)n;
    return HS_OK;
}

static int entry_begin(hs_pack *p, const hs_pack_entry *e) {
    hs_pack_note *note = hs_pack_note_of(p, e), sized;
    hs_buf head = {0}, npy = {0};
    npy_header(&npy, e);
    note->at = hs_pack_tell(p);
    note->bytes = (int64_t)npy.len;
    note->crc = hs_crc32(npy.data, npy.len);
    sized = *note;
    sized.bytes += hs_pack_bytes(e);
    bool big = sized.bytes >= MAX32;
    put(&head, LOCAL, 4);
    put_common(&head, e, &sized, big, big ? 20 : 0);
    hs_buf_printf(&head, "%s.npy", e->name);
    if (big) {
        put(&head, 1, 2);
        put(&head, 16, 2);
        put(&head, (uint64_t)sized.bytes, 8);
        put(&head, (uint64_t)sized.bytes, 8);
    }
    int rc = hs_buf_rc(&npy);
    if (!rc) rc = hs_buf_rc(&head);
    if (!rc) rc = hs_pack_raw(p, head.data, head.len);
    if (!rc) rc = hs_pack_raw(p, npy.data, npy.len);
    hs_buf_free(&head);
    hs_buf_free(&npy);
    return rc;
}

static int entry_end(hs_pack *p, const hs_pack_entry *e) {
    const hs_pack_note *note = hs_pack_note_of(p, e);
    return hs_pack_patch(p, note->at + CRC_AT, &note->crc, 4);
}

static void put_central(hs_buf *b, const hs_pack_entry *e, const hs_pack_note *n) {
    bool big = n->bytes >= MAX32 || n->at >= MAX32;
    put(b, CENTRAL, 4);
    put(b, VERSION64, 2); // made by
    put_common(b, e, n, big, big ? 28 : 0);
    put(b, 0, 2); // comment
    put(b, 0, 2); // disk
    put(b, 0, 2); // attributes
    put(b, 0, 4);
    put(b, big ? MAX32 : (uint32_t)n->at, 4);
    hs_buf_printf(b, "%s.npy", e->name);
    if (!big) return;
    put(b, 1, 2);
    put(b, 24, 2);
    put(b, (uint64_t)n->bytes, 8);
    put(b, (uint64_t)n->bytes, 8);
    put(b, (uint64_t)n->at, 8);
}

static void put_end(hs_buf *b, size_t n, int64_t at, int64_t size) {
    if (n >= MAX16 || at >= MAX32 || size >= MAX32) {
        put(b, END64, 4);
        put(b, 44, 8); // bytes that follow
        put(b, VERSION64, 2);
        put(b, VERSION64, 2);
        put(b, 0, 4);
        put(b, 0, 4);
        put(b, n, 8);
        put(b, n, 8);
        put(b, (uint64_t)size, 8);
        put(b, (uint64_t)at, 8);
        put(b, LOCATOR64, 4);
        put(b, 0, 4);
        put(b, (uint64_t)(at + size), 8);
        put(b, 1, 4);
    }
    put(b, END, 4);
    put(b, 0, 4); // disks
    put(b, n >= MAX16 ? MAX16 : n, 2);
    put(b, n >= MAX16 ? MAX16 : n, 2);
    put(b, clip(size), 4);
    put(b, clip(at), 4);
    put(b, 0, 2);
}

static int end(hs_pack *p) {
    const hs_pack_entry *e;
    size_t n;
    const hs_pack_note *note = hs_pack_notes(p, &e, &n);
    hs_buf b = {0};
    int64_t at = hs_pack_tell(p);
    for (size_t i = 0; i < n; i++) put_central(&b, &e[i], &note[i]);
    put_end(&b, n, at, (int64_t)b.len);
    int rc = hs_buf_rc(&b);
    if (!rc) rc = hs_pack_raw(p, b.data, b.len);
    hs_buf_free(&b);
    return rc;
}

const hs_pack_format hs_pack_npz = {begin, entry_begin, entry_end, end};
