// Colour maps as equally spaced stops, read by linear interpolation in sRGB.
//
// Sources of the numbers: viridis and magma by Stefan van der Walt and Nathaniel Smith (2015, CC0),
// cividis by Nunez, Anderton and Renslow (2018), all three sampled at 33 points from the published
// 256-entry tables; blues and rdbu are the 9- and 11-class schemes of ColorBrewer (Cynthia Brewer).
// 33 stops stay within 2/255 of the tables (cividis 6/255, in a short kink near its dark end).
#include "viz/fig.h"

#include <math.h>
#include <string.h>

static const uint32_t viridis[] = {
    0x440154, 0x470d60, 0x48186a, 0x482374, 0x472d7b, 0x453681, 0x424086, 0x3f4989, 0x3b528b,
    0x375a8d, 0x33638d, 0x2f6a8e, 0x2c728e, 0x297a8e, 0x26818e, 0x23898e, 0x21908c, 0x1f988b,
    0x1f9f88, 0x21a685, 0x28ae80, 0x31b57b, 0x3ebc74, 0x4cc26c, 0x5dc963, 0x6ece58, 0x82d34c,
    0x96d83f, 0xabdc32, 0xc0df24, 0xd5e21a, 0xeae51a, 0xfde725,
};
static const uint32_t magma[] = {
    0x000004, 0x030311, 0x0a0822, 0x130d33, 0x1d1146, 0x28115a, 0x36106a, 0x430f76, 0x50127c,
    0x5d177f, 0x691c81, 0x762181, 0x822681, 0x8f2a81, 0x9c2e7f, 0xa9327d, 0xb63779, 0xc33b75,
    0xcf4170, 0xdb486a, 0xe65163, 0xee5c5e, 0xf5695c, 0xf9785d, 0xfb8761, 0xfd9668, 0xfea571,
    0xfeb47b, 0xfec387, 0xfed194, 0xfde0a2, 0xfceeb0, 0xfcfdbf,
};
static const uint32_t cividis[] = {
    0x00224e, 0x00285b, 0x002e6a, 0x043371, 0x1a386f, 0x273e6e, 0x32436d, 0x3b496c, 0x434e6c,
    0x4b546c, 0x52596d, 0x5a5f6e, 0x61656f, 0x686a71, 0x6f7073, 0x757676, 0x7c7b78, 0x848179,
    0x8b8778, 0x938d78, 0x9b9376, 0xa39a75, 0xaba072, 0xb3a670, 0xbbad6c, 0xc3b469, 0xccba64,
    0xd4c15f, 0xddc958, 0xe6d051, 0xefd748, 0xf8df3c, 0xfee838,
};
static const uint32_t blues[] = {
    0xf7fbff, 0xdeebf7, 0xc6dbef, 0x9ecae1, 0x6baed6, 0x4292c6, 0x2171b5, 0x08519c, 0x08306b,
};
static const uint32_t grey[] = {0xffffff, 0x000000};
static const uint32_t rdbu[] = {
    0x67001f, 0xb2182b, 0xd6604d, 0xf4a582, 0xfddbc7, 0xf7f7f7,
    0xd1e5f0, 0x92c5de, 0x4393c3, 0x2166ac, 0x053061,
};
static const uint32_t rdbu_r[] = {
    0x053061, 0x2166ac, 0x4393c3, 0x92c5de, 0xd1e5f0, 0xf7f7f7,
    0xfddbc7, 0xf4a582, 0xd6604d, 0xb2182b, 0x67001f,
};

#define STOPS(table) .n = (int)(sizeof table / sizeof *table), .stop = table
const hs_cmap hs_cmaps[] = {
    {.name = "viridis", .about = "dark violet to yellow, even to the eye", STOPS(viridis)},
    {.name = "magma", .about = "black over violet to pale yellow", STOPS(magma)},
    {.name = "cividis", .about = "blue to yellow, alike with red-green blindness", STOPS(cividis)},
    {.name = "blues", .about = "white to dark blue", STOPS(blues)},
    {.name = "grey", .about = "white to black, for print", STOPS(grey)},
    {.name = "rdbu", .about = "red negative, blue positive", .diverging = true, STOPS(rdbu)},
    {.name = "rdbu_r", .about = "blue negative, red positive", .diverging = true, STOPS(rdbu_r)},
    {.name = NULL},
};

const hs_cmap *hs_cmap_find(const char *name) {
    for (const hs_cmap *m = hs_cmaps; m->name; m++)
        if (strcmp(m->name, name) == 0) return m;
    return NULL;
}

uint32_t hs_cmap_at(const hs_cmap *m, double t) {
    t = t > 0 ? fmin(t, 1) : 0; // NaN too
    double at = t * (m->n - 1);
    int i = (int)at < m->n - 1 ? (int)at : m->n - 2;
    double f = at - i;
    uint32_t rgb = 0;
    for (int shift = 16; shift >= 0; shift -= 8) {
        double a = m->stop[i] >> shift & 0xff, b = m->stop[i + 1] >> shift & 0xff;
        rgb |= (uint32_t)lrint(a + f * (b - a)) << shift;
    }
    return rgb;
}
