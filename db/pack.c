// Writing files of named arrays; see pack_internal.h. What differs between the formats is a table
// of four functions each: npz (pack_npz.c) and safetensors, which is small and stands here.
#include "db/pack_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/buf.h"
#include "model/core/hash.h"
#include "model/core/json.h"
#include "model/core/mem.h"
#include "model/core/outfile.h"

struct hs_pack {
    const hs_pack_format *format;
    const hs_pack_entry *entry;
    size_t n, at;       // entry `at` is in work
    hs_pack_note *note; // [n]
    hs_outfile file;
    int64_t tell, left; // bytes written; bytes of the entry still to come
};

int64_t hs_pack_bytes(const hs_pack_entry *e) {
    int64_t n = hs_dtypes[e->dtype].bytes;
    for (int d = 0; d < e->ndim; d++) n *= e->shape[d];
    return n;
}

static int io_error(const hs_pack *p) {
    return hs_outfile_fail(p->file.path, errno);
}

int hs_pack_raw(hs_pack *p, const void *data, size_t n) {
    if (n && fwrite(data, 1, n, p->file.file) != n) return io_error(p);
    p->tell += (int64_t)n;
    return HS_OK;
}

int64_t hs_pack_tell(const hs_pack *p) {
    return p->tell;
}

int hs_pack_patch(hs_pack *p, int64_t at, const void *data, size_t n) {
    FILE *f = p->file.file;
    if (fseeko(f, (off_t)at, SEEK_SET) || fwrite(data, 1, n, f) != n || fseeko(f, 0, SEEK_END))
        return io_error(p);
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

void hs_pack_abort(hs_pack *p) {
    if (!p) return;
    hs_outfile_abort(&p->file);
    free(p->note);
    free(p);
}

int hs_pack_open(hs_pack **out, const hs_pack_format *format, const char *path,
                 const hs_pack_entry *entries, size_t n) {
    hs_pack *p;
    *out = NULL;
    int rc = hs_alloc(&p, 1, sizeof *p);
    if (rc) return rc;
    p->format = format;
    p->entry = entries;
    p->n = n;
    rc = hs_alloc(&p->note, n, sizeof *p->note);
    if (!rc) rc = hs_outfile_open(&p->file, path);
    if (!rc) rc = format->begin(p, entries, n);
    if (rc)
        hs_pack_abort(p);
    else
        *out = p;
    return rc;
}

int hs_pack_begin(hs_pack *p) {
    const hs_pack_entry *e = &p->entry[p->at];
    p->left = hs_pack_bytes(e);
    return p->format->entry_begin(p, e);
}

int hs_pack_write(hs_pack *p, const void *data, size_t n) {
    hs_pack_note *note = &p->note[p->at];
    if ((int64_t)n > p->left) return hs_fail(HS_E, "%s: too many numbers", p->entry[p->at].name);
    p->left -= (int64_t)n;
    note->crc = hs_crc32_more(note->crc, data, n);
    note->bytes += (int64_t)n;
    return hs_pack_raw(p, data, n);
}

int hs_pack_end(hs_pack *p) {
    const hs_pack_entry *e = &p->entry[p->at++];
    if (p->left) return hs_fail(HS_E, "%s: %" PRId64 " bytes are missing", e->name, p->left);
    return p->format->entry_end(p, e);
}

int hs_pack_commit(hs_pack *p) {
    int rc = p->at == p->n ? p->format->end(p) : hs_fail(HS_E, "entries are missing");
    if (!rc) rc = hs_outfile_commit(&p->file);
    hs_pack_abort(p);
    return rc;
}

// ---- safetensors: a JSON header, then the numbers of all entries end to end --------------------

static int st_begin(hs_pack *p, const hs_pack_entry *e, size_t n) {
    hs_buf json = {0};
    hs_jw j = {&json, false};
    int64_t at = 0;
    hs_jw_begin(&j, '{');
    for (size_t i = 0; i < n; i++) {
        hs_jw_key(&j, e[i].name);
        hs_jw_begin(&j, '{');
        hs_jw_key(&j, "dtype");
        hs_jw_str(&j, hs_dtypes[e[i].dtype].st);
        hs_jw_key(&j, "shape");
        hs_jw_begin(&j, '[');
        for (int d = 0; d < e[i].ndim; d++) hs_jw_int(&j, e[i].shape[d]);
        hs_jw_end(&j, ']');
        hs_jw_key(&j, "data_offsets");
        hs_jw_begin(&j, '[');
        hs_jw_int(&j, at);
        at += hs_pack_bytes(&e[i]);
        hs_jw_int(&j, at);
        hs_jw_end(&j, ']');
        hs_jw_end(&j, '}');
    }
    hs_jw_end(&j, '}');
    while (json.len % 8 && !hs_buf_rc(&json)) hs_buf_chr(&json, ' ');
    uint64_t len = json.len;
    int rc = hs_buf_rc(&json);
    if (!rc) rc = hs_pack_raw(p, &len, sizeof len);
    if (!rc) rc = hs_pack_raw(p, json.data, json.len);
    hs_buf_free(&json);
    return rc;
}

static int st_entry(hs_pack *p, const hs_pack_entry *e) {
    (void)p, (void)e;
    return HS_OK;
}

static int st_end(hs_pack *p) {
    (void)p;
    return HS_OK;
}

const hs_pack_format hs_pack_safetensors = {st_begin, st_entry, st_entry, st_end};
