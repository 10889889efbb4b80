// What fonts there are.
#ifndef HS_VIZ_FONTS_H
#define HS_VIZ_FONTS_H

#include "model/core/err.h"

// Reads Fontconfig's configuration and lists of fonts, once in a process and before anything is
// drawn: left to itself Fontconfig tries again without end when memory is out. HS_ENOMEM.
int hs_fonts_load(void) HS_MUST_USE;

#endif
