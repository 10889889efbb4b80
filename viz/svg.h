// Cairo's SVG made the same on every run, and told what it shows.
#ifndef HS_VIZ_SVG_H
#define HS_VIZ_SVG_H

#include "model/core/buf.h"

typedef struct hs_svg_about {
    const char *title, *description; // UTF-8 without control characters; NULL = none
    const char *const *fact;         // n pairs of key, value
    int n;
} hs_svg_about;

// Appends the document in `svg` with its numbered ids counted anew in the order they appear, and
// with <title>, <desc> and <metadata>. HS_ENOMEM; HS_E when it has no <svg> element.
int hs_svg_tidy(hs_buf *out, const hs_buf *svg, const hs_svg_about *) HS_MUST_USE;

#endif
