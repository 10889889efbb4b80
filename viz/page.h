// A figure laid out as a list of marks, in drawing order. Every kind of figure ends as a page, and
// paint.h draws any page; tests look at the page instead of pixels.
//
// Text, lines and dots are placed in points, what has to be exact in pixels (`px` of them a point);
// y grows downwards. A body is drawn around an origin of its own choice, negative coordinates
// included; hs_page_finish moves all of it to its place, puts the heading above and legend and
// notes below it, and sets the size.
//
// Builders return nothing: the first failure stays in `rc`, later calls do nothing, and
// hs_page_finish returns it.
#ifndef HS_VIZ_PAGE_H
#define HS_VIZ_PAGE_H

#include "model/core/mem.h"
#include "viz/canvas.h"
#include "viz/fig.h"

// A colour is 0xRRGGBB or one of the theme's.
enum hs_ink {
    HS_INK_NONE = 0x1000000, // of cells: left blank
    HS_INK_HATCHED,          // of cells: hatched
    HS_INK_PAGE,
    HS_INK_TEXT,
    HS_INK_PALE,
    HS_INK_FRAME,
    HS_INK_RULE, // lines behind data
    HS_INK_HATCH,
    HS_INK_SERIES, // and the next ones: lines of a figure, alike to nobody
    HS_INK_END = HS_INK_SERIES + 7,
    HS_N_SERIES = HS_INK_END - HS_INK_SERIES,
};

typedef struct hs_box {
    double x, y, w, h;
} hs_box; // points

typedef struct hs_rect {
    int x, y, w, h;
} hs_rect; // pixels

typedef struct hs_label {
    hs_text text;
    double x, y; // left end of the first baseline
    bool turned; // reads upwards
    hs_box box;  // its ink; w 0 = nothing to see
} hs_label;

// n_row x n_col cells of w x h pixels from the top left corner of `rect`, which holds all of them;
// each leaves `gap` pixels blank at its right and lower end.
typedef struct hs_cells {
    hs_rect rect;
    int w, h, gap;
    int64_t n_row, n_col;
    const uint32_t *ink; // [n_row][n_col]
    bool edged;          // a line where shown cells end and blank ones begin
} hs_cells;

typedef struct hs_xy {
    double x, y;
} hs_xy; // points

typedef struct hs_line {
    const hs_xy *at;
    int64_t n;
    double width; // points
} hs_line;

typedef struct hs_dot {
    double x, y, r; // points
} hs_dot;

enum hs_mark_kind {
    HS_MARK_FILL,  // rect
    HS_MARK_HATCH, // rect
    HS_MARK_FRAME, // rect: a thin line just outside of it
    HS_MARK_CELLS, // cells; ink is not used
    HS_MARK_LINE,  // line: connected
    HS_MARK_DOT,   // dot: filled
    HS_MARK_LABEL, // label
};

typedef struct hs_mark {
    enum hs_mark_kind kind;
    uint32_t ink;
    union {
        hs_rect rect;
        hs_cells cells;
        hs_line line;
        hs_dot dot;
        hs_label label;
    };
} hs_mark;

// One entry of the legend; text is markup.
typedef struct hs_key {
    enum hs_mark_kind kind; // FILL, HATCH, LINE or DOT
    uint32_t ink;
    const char *text;
} hs_key;

enum { HS_MOST_KEYS = 64, HS_MOST_NOTES = 8, HS_MOST_FACTS = 64 };

struct hs_page {
    hs_arena *arena; // owns what is below
    hs_canvas *canvas;
    hs_fig_style style; // defaults filled in; cmap is borrowed until the figure's open returns
    double px;
    int rc;
    int width, height; // pixels, once finished
    hs_mark *mark;
    int64_t n_mark, cap_mark;
    int64_t part; // the first mark of the part under way
    hs_key key[HS_MOST_KEYS];
    const char *note[HS_MOST_NOTES]; // markup
    const char *fact[HS_MOST_FACTS]; // key, value, key, value: for the file's metadata
    const char *title, *subtitle;    // plain, NULL = none
    int n_key, n_note, n_fact;
};

// Sizes that all kinds of figure share, in points.
#define HS_MARGIN 12.0
#define HS_GAP 4.0       // between pieces
#define HS_LABEL_PT 8.0  // token labels, numbers that stand alone
#define HS_NUMBER_PT 6.5 // numbers beside labels
#define HS_TITLE_PT 11.0
#define HS_SUBTITLE_PT 8.5 // titles of axes and bars too
#define HS_NOTE_PT 7.5
#define HS_VALUE_PT 7.0 // numbers printed in cells

// The body of a figure never takes more than MAX_SPAN points in either direction (at 150 dpi 2,050
// pixels) unless one pixel a cell does. A page has at most so many pixels.
enum { HS_MAX_SPAN = 984, HS_MOST_PIXELS = 100 * 1000 * 1000, HS_MOST_SIDE = 30000 };

// HS_EARG for a theme or a resolution that cannot be (20 to 1,200 dpi), HS_E without fonts.
// style: NULL = defaults.
int hs_page_open(hs_page **out, const hs_fig_style *) HS_MUST_USE;
void hs_page_close(hs_page *);

// Bytes as Pango markup that lives as long as the page, "" for NULL: a token (spaces made visible)
// or a line of text; see label.h.
const char *hs_page_token(hs_page *, const char *bytes);
const char *hs_page_line(hs_page *, const char *bytes);
const char *hs_page_plain(hs_page *,
                          const char *bytes); // such a line without markup; NULL for NULL
// n zeroed items that live as long as the page; NULL when rc is set.
void *hs_page_get(hs_page *, int64_t n, size_t size);
hs_text_box hs_page_measure(hs_page *, const hs_text *);

void hs_page_fill(hs_page *, hs_rect, uint32_t ink);
void hs_page_hatch(hs_page *, hs_rect, uint32_t ink);
void hs_page_frame(hs_page *, hs_rect, uint32_t ink);
void hs_page_cells(hs_page *, const hs_cells *); // ink: from hs_page_get
void hs_page_polyline(hs_page *, const hs_xy *at, int64_t n, double width, uint32_t ink); // same
void hs_page_dot(hs_page *, hs_dot, uint32_t ink);
// A text from the left end of its first baseline at (x, y); turned = upwards. text.markup: from
// hs_page_token or hs_page_line.
void hs_page_label(hs_page *, const hs_text *, double x, double y, bool turned, uint32_t ink);
// A text whose ink starts at (x, top); returns where its lines end.
double hs_page_block(hs_page *, const hs_text *, double x, double top, uint32_t ink);

// What everything drawn so far covers, in points; ticks and frames included. Of a part, its own.
hs_box hs_page_bounds(const hs_page *);
// Begins a part of the body, drawn around an origin of its own with what stands around it, and puts
// it to its place among what was drawn before, by whole pixels.
void hs_page_part(hs_page *);
void hs_page_put(hs_page *, int dx, int dy);
// Pixels of some points, rounded, at least 1.
int hs_page_pixels(const hs_page *, double points);
// Black or white, whichever is read better on a ground of 0xRRGGBB.
uint32_t hs_ink_over(uint32_t ground);
// The baseline that puts small letters and digits of a size in the middle, in points.
static inline double hs_centred(double middle, double pt) {
    return middle + 0.36 * pt;
}

// One more note or legend entry, below the figure (each once); a pair for the file's metadata.
// HS_EARG when there are too many.
void hs_page_note(hs_page *, const char *fmt, ...) HS_PRINTF(2, 3);
void hs_page_key(hs_page *, enum hs_mark_kind, uint32_t ink, const char *text);
void hs_page_fact(hs_page *, const char *key, const char *fmt, ...) HS_PRINTF(3, 4);

// Heading, legend, notes, size. HS_EARG when the page would be larger than HS_MOST_PIXELS; else the
// first failure of all before.
int hs_page_finish(hs_page *, const char *title, const char *subtitle) HS_MUST_USE;

// Takes the page: a figure, or nothing and the page closed when rc (or the page's) tells a failure.
int hs_fig_take(hs_fig **out, hs_page *, int rc) HS_MUST_USE;

#endif
