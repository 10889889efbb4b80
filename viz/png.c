// PNG files through libpng; see png.h.
#include "viz/png.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "model/core/mem.h"
#include "model/core/outfile.h"

enum { KEY_MAX = 79 };

// What the callbacks of libpng need to report.
struct sink {
    FILE *file;
    int error;         // errno of the first failed write
    char message[200]; // of libpng itself
};

static void on_error(png_structp png, png_const_charp text) {
    struct sink *s = png_get_error_ptr(png);
    snprintf(s->message, sizeof s->message, "%s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text) {
    (void)png, (void)text; // libraries do not print
}

static void on_write(png_structp png, png_bytep data, size_t n) {
    struct sink *s = png_get_io_ptr(png);
    if (fwrite(data, 1, n, s->file) == n) return;
    s->error = errno ? errno : EIO;
    png_error(png, "write failed");
}

static void on_flush(png_structp png) {
    (void)png;
}

// PNG: 1 to 79 bytes of printable Latin-1, no space at an end, no two in a row.
static int check_key(const char *key) {
    size_t n = strlen(key);
    bool ok = n >= 1 && n <= KEY_MAX && key[0] != ' ' && key[n - 1] != ' ' && !strstr(key, "  ");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)key[i];
        ok &= (c >= 0x20 && c <= 0x7e) || c >= 0xa1;
    }
    return ok ? HS_OK
              : hs_fail(HS_EARG, "\"%s\" cannot name a text in a PNG: 1 to 79 printable characters",
                        key);
}

static bool ascii(const char *s) {
    for (; *s; s++)
        if ((unsigned char)*s >= 0x80) return false;
    return true;
}

// The key and value pointers of libpng are not const, but it only reads them.
static char *unconst(const char *s) {
    union {
        const char *in;
        char *out;
    } u = {.in = s};
    return u.out;
}

// The part that libpng may leave by longjmp: everything it needs afterwards lives in the caller.
static int encode(const hs_png *p, png_structp png, png_infop info, png_text *text, png_bytep row) {
    if (setjmp(png_jmpbuf(png))) return HS_EIO;
    png_set_IHDR(png, info, (png_uint_32)p->width, (png_uint_32)p->height, 8, PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_uint_32 per_metre = (png_uint_32)lround(p->dpi / 0.0254);
    png_set_pHYs(png, info, per_metre, per_metre, PNG_RESOLUTION_METER);
    // Flat colours: plain rows compress better and faster than differences.
    png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_FILTER_NONE);
    png_set_compression_level(png, 6);
    png_set_text(png, info, text, p->n_text);
    png_write_info(png, info);
    for (int y = 0; y < p->height; y++) {
        const uint32_t *in = p->pixel + (size_t)y * (size_t)p->stride;
        for (int x = 0; x < p->width; x++)
            for (int c = 0; c < 3; c++) row[3 * x + c] = (png_byte)(in[x] >> (16 - 8 * c) & 0xff);
        png_write_row(png, row);
    }
    png_write_end(png, NULL);
    return HS_OK;
}

static int write_file(const hs_png *p, struct sink *sink) {
    png_structp png = NULL;
    png_infop info = NULL;
    png_text *text = NULL;
    png_bytep row = NULL;
    int rc = hs_alloc(&text, (size_t)p->n_text, sizeof *text);
    if (!rc) rc = hs_alloc(&row, (size_t)p->width, 3);
    if (rc) goto out;
    for (int i = 0; i < p->n_text; i++) {
        bool plain = ascii(p->text[i].value);
        text[i] = (png_text){.compression = plain ? PNG_TEXT_COMPRESSION_NONE
                                                  : PNG_ITXT_COMPRESSION_NONE,
                             .key = unconst(p->text[i].key),
                             .text = unconst(p->text[i].value)};
    }
    png = png_create_write_struct(PNG_LIBPNG_VER_STRING, sink, on_error, on_warning);
    if (png) info = png_create_info_struct(png);
    if (!info) {
        rc = hs_fail(HS_ENOMEM, "no memory to write a PNG");
        goto out;
    }
    png_set_write_fn(png, sink, on_write, on_flush);
    rc = encode(p, png, info, text, row);
    if (rc && !sink->error) rc = hs_fail(HS_E, "libpng: %s", sink->message);
out:
    png_destroy_write_struct(&png, &info);
    free(row);
    free(text);
    return rc;
}

int hs_png_write(const hs_png *p, const char *path) {
    for (int i = 0; i < p->n_text; i++) {
        int rc = check_key(p->text[i].key);
        if (rc) return rc;
    }
    hs_outfile file;
    int rc = hs_outfile_open(&file, path);
    if (rc) return rc;
    struct sink sink = {.file = file.file};
    rc = write_file(p, &sink);
    if (sink.error) rc = hs_outfile_fail(path, sink.error);
    if (!rc) return hs_outfile_commit(&file);
    hs_outfile_abort(&file);
    return rc;
}
