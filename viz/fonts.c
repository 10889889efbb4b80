// Fontconfig's part of drawing; see fonts.h.
#include "viz/fonts.h"

#include <stdbool.h>

#include <fontconfig/fontconfig.h>

int hs_fonts_load(void) {
    FcConfig *config = FcInitLoadConfigAndFonts();
    const bool set = config && FcConfigSetCurrent(config); // which counts a reference of its own
    if (config) FcConfigDestroy(config);
    return set ? HS_OK : hs_fail(HS_ENOMEM, "out of memory: the fonts cannot be read");
}
