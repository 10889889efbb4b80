// The token strip: text set like prose, every token on a ground of its colour; see fig.h.
//
// What is set together is a piece (pieces.h); the grounds of its tokens divide it by their bytes.
// Pieces make words, words make lines; in a line, stretches of right-to-left text run that way. The page grows downwards to HS_MAX_SPAN, then lines are left
// out, never those around the mark, and a note says so.
// Cost: one measure of each piece.
#include <string.h>

#include "viz/furniture.h"
#include "viz/pieces.h"

enum { MOST = 1 << 20, MOST_BLANKS = 20, LONGEST = 400 };

static const double LARGE = 9.5, MEDIUM = 8.5, SMALL = 7.5; // text sizes, by length
static const double NARROW = 300, WIDE = 620;               // of the column
static const double PITCH = 1.75, UP = 1.1, DOWN = 0.42;    // lines and their grounds, in sizes
static const double SPACE = 0.318;                          // a blank, in sizes
static const double APART = 1.2;                            // between pieces, points
static const double UNDERLINE = 1.6;                        // points

// A piece of the text in its place.
typedef struct piece {
    hs_piece of;
    hs_text text;
    hs_text_box ink;
    double lead, wide; // blanks before the text, and the text
    double shift;      // from its left end to the text's origin
    int64_t line;
    double x;
} piece;

typedef struct strip {
    hs_page *p;
    const hs_fig_strip *f;
    double pt, column;
    piece *piece;
    int64_t n, n_line, first, most; // lines; the first that is drawn, and how many may be
} strip;

// ---- pieces -------------------------------------------------------------------------------------

static void measure(strip *s, piece *c, const char *bytes) {
    size_t blanks = strspn(bytes, " ");
    c->lead = (double)(blanks < MOST_BLANKS ? blanks : MOST_BLANKS) * SPACE * s->pt;
    c->text = (hs_text){.pt = s->pt};
    bool empty = blanks && !bytes[blanks];
    c->text.markup = empty     ? ""
                     : !*bytes ? hs_page_token(s->p, bytes)
                               : hs_page_line(s->p, bytes + blanks);
    c->ink = hs_page_measure(s->p, &c->text);
    double shrink = fmin(UP * s->pt / fmax(-c->ink.y0, 0.01), DOWN * s->pt / fmax(c->ink.y1, 0.01));
    if (shrink < 1) {
        c->text.pt *= shrink;
        c->ink = hs_page_measure(s->p, &c->text);
    }
    double room = s->column - c->lead - APART;
    if (c->ink.x1 - c->ink.x0 > room) {
        c->text.width = room;
        c->text.lines = 1;
        c->ink = hs_page_measure(s->p, &c->text);
        c->ink.advance = c->ink.x1;
    }
    c->shift = fmax(0, -c->ink.x0) + 0.5 * APART;
    c->wide = empty ? 0 : fmax(c->ink.advance, c->ink.x1) + fmax(0, -c->ink.x0) + APART;
}

// A text that no column could hold is not worth setting.
static void shorten(hs_buf *bytes) {
    size_t n = LONGEST;
    if (bytes->len <= n) return;
    while (n > LONGEST - 4 && ((unsigned char)bytes->data[n] & 0xc0) == 0x80) n--;
    bytes->data[bytes->len = n] = '\0';
    hs_buf_str(bytes, "…");
}

static void make_pieces(strip *s) {
    hs_buf bytes = {0};
    int32_t before = '\n';
    s->piece = hs_page_get(s->p, s->f->n, sizeof *s->piece);
    for (int64_t t = 0; t < s->f->n && !s->p->rc;) {
        piece *c = &s->piece[s->n++];
        *c = (piece){.of = hs_piece_at(s->f->label, s->f->n, t, &before, &bytes)};
        shorten(&bytes);
        s->p->rc = hs_buf_rc(&bytes);
        measure(s, c, hs_buf_text(&bytes));
        t += c->of.n;
    }
    hs_buf_free(&bytes);
}

// ---- lines --------------------------------------------------------------------------------------

static double width(const piece *c) {
    return c->lead + c->wide;
}

// The pieces up to where a line may break again.
static int64_t word_end(const strip *s, int64_t i) {
    while (!s->piece[i].of.ends && i + 1 < s->n && !s->piece[i + 1].of.opens) i++;
    return i + 1;
}

// A blank that would begin a line which was broken here is not needed.
static void drop_blank(const strip *s, piece *c) {
    if (c->wide > 0) c->lead = fmax(0, c->lead - SPACE * s->pt);
}

// Words one after the other; one that is wider than the column breaks anywhere.
static void break_lines(strip *s) {
    double x = 0;
    int64_t line = 0;
    for (int64_t i = 0; i < s->n;) {
        int64_t end = word_end(s, i);
        double wide = 0;
        for (int64_t k = i; k < end; k++) wide += width(&s->piece[k]);
        if (x > 0 && x + wide > s->column) {
            line++;
            x = 0;
            drop_blank(s, &s->piece[i]);
        }
        for (; i < end; i++) {
            piece *c = &s->piece[i];
            if (x > 0 && x + width(c) > s->column) {
                line++;
                x = 0;
            }
            c->line = line;
            c->x = x;
            x += width(c);
            if (c->of.ends) {
                line++;
                x = 0;
            }
        }
    }
    s->n_line = s->n ? s->piece[s->n - 1].line + 1 : 0;
}

// Within a line, the pieces from one right-to-left piece to the last before the next left-to-right
// one, neutral ones in between, change their order. The blank before them stays where it was.
static void turn_stretch(strip *s, int64_t from, int64_t to) {
    double left = s->piece[from].x + s->piece[from].lead;
    s->piece[from].lead = 0;
    for (int64_t i = to; i-- > from;) {
        s->piece[i].x = left;
        s->piece[i].of.rtl = true;
        left += width(&s->piece[i]);
    }
}

static void turn_lines(strip *s) {
    for (int64_t i = 0; i < s->n; i++) {
        if (!s->piece[i].of.rtl) continue;
        int64_t to = i + 1;
        for (int64_t k = to; k < s->n && s->piece[k].line == s->piece[i].line; k++) {
            if (s->piece[k].of.rtl) to = k + 1;
            if (!s->piece[k].of.rtl && !s->piece[k].of.neutral) break;
        }
        turn_stretch(s, i, to);
        i = to - 1;
    }
}

// The lines that are drawn: from the top, or around the mark when it is farther down.
static void choose_lines(strip *s) {
    int64_t at = 0;
    s->most = (int64_t)(HS_MAX_SPAN / (PITCH * s->pt));
    for (int64_t i = 0; i < s->n; i++)
        if (s->f->mark >= s->piece[i].of.token &&
            s->f->mark < s->piece[i].of.token + s->piece[i].of.n)
            at = s->piece[i].line;
    if (at < s->most) return;
    s->first = at + 3 < s->n_line ? at + 3 : s->n_line; // a little of what follows
    s->first -= s->most;
}

static bool drawn(const strip *s, const piece *c) {
    return c->line >= s->first && c->line < s->first + s->most;
}

static void say_left_out(const strip *s) {
    int64_t from = 0, to = s->f->n;
    if (s->n_line <= s->most) return;
    for (int64_t i = s->n; i-- > 0;)
        if (drawn(s, &s->piece[i])) from = s->piece[i].of.token;
    for (int64_t i = 0; i < s->n; i++)
        if (drawn(s, &s->piece[i])) to = s->piece[i].of.token + s->piece[i].of.n;
    hs_page_note(s->p, "The page holds tokens %lld to %lld of %lld.", (long long)from,
                 (long long)to - 1, (long long)s->f->n);
}

// ---- drawing ------------------------------------------------------------------------------------

static const char *label(const strip *s, int64_t token) {
    const char *bytes = s->f->label[token];
    return bytes ? bytes : "";
}

static double top_of(const strip *s, const piece *c) {
    return (double)(c->line - s->first) * PITCH * s->pt;
}

// Where its text begins: a blank goes before it, in its direction.
static double text_at(const piece *c) {
    return c->x + (c->of.rtl ? 0 : c->lead) + c->shift;
}

// Where the ground of the piece's k-th token begins: its share of the bytes.
static double ground_at(const strip *s, const piece *c, int64_t k) {
    size_t before = 0, all = 0;
    for (int64_t i = 0; i < c->of.n; i++) {
        size_t n = strlen(label(s, c->of.token + i)) + (c->of.n == 1);
        if (i < k) before += n;
        all += n;
    }
    double part = k == 0 ? 0 : width(c) * (double)before / (double)all;
    return c->of.rtl ? c->x + width(c) - part : c->x + part;
}

// A little is left blank between pieces, but never under their text.
static hs_rect ground(const strip *s, const piece *c, int64_t k) {
    double a = ground_at(s, c, k), b = ground_at(s, c, k + 1), px = s->p->px;
    double left = fmin(a, b), right = fmax(a, b), top = top_of(s, c);
    double text = text_at(c) + c->ink.x1; // where it ends
    int x = (int)lround(left * px), end = (int)lround(right * px), y = (int)floor(top * px);
    if (right >= c->x + width(c)) {
        int blank = end - hs_page_pixels(s->p, 0.5), least = (int)ceil(fmin(text, right) * px);
        end = blank > least ? blank : least;
    }
    return (hs_rect){x, y, end > x ? end - x : 1, (int)ceil((top + (UP + DOWN) * s->pt) * px) - y};
}

static void draw_piece(const strip *s, const piece *c, const hs_scale *scale) {
    uint32_t ink = HS_INK_PALE;
    for (int64_t k = 0; k < c->of.n; k++) {
        double v = s->f->value[c->of.token + k];
        if (isnan(v)) continue;
        uint32_t colour = hs_scale_at(scale, v);
        hs_page_fill(s->p, ground(s, c, k), colour);
        ink = hs_ink_over(colour);
    }
    double x = c->x + (c->of.rtl ? 0 : c->lead) + c->shift;
    if (*c->text.markup) hs_page_label(s->p, &c->text, x, top_of(s, c) + UP * s->pt, false, ink);
}

// A frame of two colours, seen on every ground.
static void frame_mark(const strip *s) {
    for (int64_t i = 0; i < s->n; i++) {
        const piece *c = &s->piece[i];
        int64_t k = s->f->mark - c->of.token;
        if (k < 0 || k >= c->of.n || !drawn(s, c)) continue;
        hs_rect r = ground(s, c, k);
        int thick = hs_page_pixels(s->p, 1);
        for (int d = 0; d < thick; d++)
            hs_page_frame(s->p, (hs_rect){r.x - d, r.y - d, r.w + 2 * d, r.h + 2 * d}, HS_INK_TEXT);
    }
}

// A line below the ground, over the lower edge of the mark's frame.
static void underline(const strip *s) {
    bool any = false;
    for (int64_t i = 0; s->f->found && i < s->n; i++) {
        const piece *c = &s->piece[i];
        for (int64_t k = 0; k < c->of.n; k++) {
            if (!s->f->found[c->of.token + k]) continue;
            any = true;
            if (!drawn(s, c)) continue;
            hs_rect r = ground(s, c, k);
            r.y += r.h;
            r.h = hs_page_pixels(s->p, UNDERLINE);
            hs_page_fill(s->p, r, HS_INK_SERIES + 1);
        }
    }
    if (any && s->f->found_name)
        hs_page_key(s->p, HS_MARK_LINE, HS_INK_SERIES + 1, s->f->found_name);
}

static void draw(strip *s) {
    hs_reach reach = HS_REACH_EMPTY;
    bool pale = false;
    for (int64_t t = 0; t < s->f->n; t++) {
        hs_reach_add(&reach, s->f->value[t]);
        pale |= isnan(s->f->value[t]);
    }
    hs_fig_style *style = &s->p->style;
    if (!style->cmap) style->cmap = style->theme == HS_THEME_PAPER ? "blues" : "magma";
    const hs_range range = {fmin(0, reach.lo), reach.lo > reach.hi ? 1 : fmax(0, reach.hi), false};
    hs_scale scale = hs_page_scale(s->p, range, &reach);
    for (int64_t i = 0; i < s->n; i++)
        if (drawn(s, &s->piece[i])) draw_piece(s, &s->piece[i], &scale);
    frame_mark(s);
    underline(s);
    int64_t lines = s->n_line < s->most ? s->n_line : s->most;
    hs_colour_bar(s->p, &scale, s->f->bar_label,
                  (hs_rect){.w = hs_page_pixels(s->p, s->column),
                            .h = hs_page_pixels(s->p, (double)lines * PITCH * s->pt)});
    if (pale && s->f->pale_label) hs_page_note(s->p, "%s", s->f->pale_label);
    say_left_out(s);
}

// A column about twice as wide as high, within limits.
static void choose_sizes(strip *s) {
    size_t bytes = 0;
    for (int64_t t = 0; t < s->f->n; t++) bytes += strlen(label(s, t));
    s->pt = bytes < 1500 ? LARGE : bytes < 5000 ? MEDIUM : SMALL;
    double area = (double)bytes * 0.6 * s->pt * PITCH * s->pt;
    s->column = fmin(fmax(sqrt(2 * area), NARROW), WIDE);
}

int hs_fig_open_strip(hs_fig **out, const hs_fig_strip *f, const hs_fig_style *style) {
    *out = NULL;
    if (f->n < 1 || f->n > MOST || !f->label || !f->value || f->mark < -1 || f->mark >= f->n)
        return hs_fail(HS_EARG, "a strip of %lld tokens with a mark at %lld", (long long)f->n,
                       (long long)f->mark);
    strip s = {.f = f};
    int rc = hs_page_open(&s.p, style);
    if (rc) return rc;
    choose_sizes(&s);
    make_pieces(&s);
    if (!s.p->rc) {
        break_lines(&s);
        turn_lines(&s);
        choose_lines(&s);
        draw(&s);
    }
    return hs_fig_take(out, s.p, hs_page_finish(s.p, f->title, f->subtitle));
}
