// Writing PNG files: 8-bit RGB, resolution, text. png.c is the only file that knows libpng.
#ifndef HS_VIZ_PNG_H
#define HS_VIZ_PNG_H

#include <stdint.h>

#include "model/core/err.h"

typedef struct hs_png_text {
    const char *key, *value; // key: 1..79 printable Latin-1 bytes; value: UTF-8
} hs_png_text;

typedef struct hs_png {
    const uint32_t *pixel;     // 0x??RRGGBB: the top byte is not looked at
    int width, height, stride; // stride in pixels
    double dpi;
    const hs_png_text *text;
    int n_text;
} hs_png;

// Writes beside `path` and renames, so that path holds the whole picture or what it held before.
// ASCII values become tEXt chunks, others iTXt. No time is stored: equal pictures are equal files.
// HS_EARG for a key that PNG does not allow, HS_EIO when the folder or the disk refuses.
int hs_png_write(const hs_png *, const char *path) HS_MUST_USE;

#endif
