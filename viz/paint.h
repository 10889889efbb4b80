// Draws a laid-out page and saves it with its metadata.
#ifndef HS_VIZ_PAINT_H
#define HS_VIZ_PAINT_H

#include "viz/layout.h"

// Gives the canvas its pixels and draws everything. HS_ENOMEM, HS_E.
int hs_paint(const hs_sheet *, const hs_page *, hs_canvas *) HS_MUST_USE;

#endif
