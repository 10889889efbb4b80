// Draws a laid-out page.
#ifndef HS_VIZ_PAINT_H
#define HS_VIZ_PAINT_H

#include "viz/page.h"

// Draws everything on the page's canvas. HS_ENOMEM, HS_E.
int hs_paint(const hs_page *, enum hs_output) HS_MUST_USE;

#endif
