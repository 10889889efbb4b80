// Draws a laid-out page.
#ifndef HS_VIZ_PAINT_H
#define HS_VIZ_PAINT_H

#include "viz/page.h"

// Gives the page's canvas its pixels and draws everything. HS_ENOMEM, HS_E.
int hs_paint(const hs_page *) HS_MUST_USE;

#endif
