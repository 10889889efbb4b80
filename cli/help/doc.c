// Pages as text and as roff; see doc.h.
//
// roff that groff's man macros and mandoc both take without a warning: .TH .SH .PP .TP .RS .RE .nf
// .fi, and .nh .ad l, which keep options in one piece. The date of .TH stays empty, so that pages are the same whenever they are
// made. '-' is written \-, or a pasted option would begin with a typographic hyphen.
#include "cli/help/doc.h"

#include <ctype.h>
#include <string.h>

#include "cli/cli.h"
#include "gen/version.h"
#include "model/core/utf8.h"

enum { PIPED_WIDTH = 80, LEAST_WIDTH = 40, MOST_WIDTH = 100, CODE_INDENT = 2 };

hs_doc hs_doc_text(FILE *to) {
    int width = hs_terminal_width(fileno(to));
    if (!width) width = PIPED_WIDTH;
    if (width < LEAST_WIDTH) width = LEAST_WIDTH;
    return (hs_doc){.to = to, .width = width < MOST_WIDTH ? width : MOST_WIDTH};
}

hs_doc hs_doc_roff(FILE *to) {
    return (hs_doc){.to = to, .roff = true};
}

// ---- roff -----------------------------------------------------------------------------------

// n bytes, escaped. `begins`: they stand at the beginning of a line, where '.' and '\'' would make
// it a request.
static void escape(FILE *to, const char *s, size_t n, bool begins) {
    static const char plain[] = "\\-'`^~\"";
    static const char *const as[] = {"\\e", "\\-", "\\(aq", "\\(ga", "\\(ha", "\\(ti", "\\(dq"};
    if (begins && n && *s == '.') fputs("\\&", to);
    for (size_t i = 0; i < n;) {
        int32_t cp;
        size_t len = hs_utf8_decode(s + i, n - i, &cp);
        const char *special = cp > 0 && cp < 0x80 ? strchr(plain, cp) : NULL;
        if (special)
            fputs(as[special - plain], to);
        else if (cp >= 0x80)
            fprintf(to, "\\[u%04X]", (unsigned)cp);
        else if (cp >= ' ' && cp < 0x7f)
            fputc(cp, to);
        else if (cp >= 0)
            fputc(' ', to); // a control character
        i += len;
    }
}

// Lines of source, broken between words.
static void roff_text(FILE *to, const char *s, size_t n) {
    enum { LINE = 80 };
    size_t at = 0; // bytes of the line before escaping
    for (const char *end = s + n; s < end;) {
        while (s < end && (*s == ' ' || *s == '\n')) s++;
        size_t len = 0;
        while (s + len < end && s[len] != ' ' && s[len] != '\n') len++;
        if (at && at + 1 + len > LINE) {
            fputc('\n', to);
            at = 0;
        }
        if (at) fputc(' ', to);
        escape(to, s, len, at == 0);
        at += len + 1;
        s += len;
    }
    fputc('\n', to);
}

// Names keep their case: only a heading of plain words becomes capitals.
static void upper(FILE *to, const char *s) {
    if (s[strspn(s, "abcdefghijklmnopqrstuvwxyz ")]) {
        escape(to, s, strlen(s), false);
        return;
    }
    for (; *s; s++) fputc(toupper((unsigned char)*s), to);
}

// ---- text -----------------------------------------------------------------------------------

// Prints text filled between words; the first line goes on at column `at`, the others begin at
// `indent`.
static void fill(const hs_doc *d, const char *s, size_t n, int at, int indent) {
    bool begun = false; // the line holds a word
    for (const char *end = s + n; s < end;) {
        while (s < end && (*s == ' ' || *s == '\n')) s++;
        size_t len = 0;
        while (s + len < end && s[len] != ' ' && s[len] != '\n') len++;
        int wide = hs_utf8_width(s, len);
        if (begun && at + 1 + wide > d->width) {
            fputc('\n', d->to);
            at = 0;
            begun = false;
        }
        if (len) {
            int pad = begun ? 1 : at < indent ? indent - at : 0;
            fprintf(d->to, "%*s%.*s", pad, "", (int)len, s);
            at += pad + wide;
            begun = true;
        }
        s += len;
    }
    fputc('\n', d->to);
}

// ---- both -----------------------------------------------------------------------------------

enum { NOTHING, TITLE, HEAD, PARA, ENTRY, CODE };

// Before something is written: in text, an empty line between what does not belong together.
static void begin(hs_doc *d, int what) {
    bool joined = d->last == NOTHING || (d->last == HEAD && what != HEAD) ||
                  (d->last == what && what == ENTRY);
    if (!d->roff && !joined) fputc('\n', d->to);
    d->last = what;
}

void hs_doc_title(hs_doc *d, const char *what, const char *name, const char *section,
                  const char *title) {
    begin(d, TITLE);
    if (!d->roff) {
        fprintf(d->to, "%s: %s\n", what, title);
        return;
    }
    fputs(".TH HEADSCOPE", d->to);
    if (name) {
        fputs("\\-", d->to);
        for (const char *s = name; *s; s++) fputc(toupper((unsigned char)*s), d->to);
    }
    fprintf(d->to, " %s \"\" \"headscope %s\" \"headscope\"\n.nh\n.ad l\n.SH NAME\nheadscope",
            section, HS_VERSION);
    if (name) {
        fputs("\\-", d->to);
        escape(d->to, name, strlen(name), false);
    }
    fputs(" \\- ", d->to);
    escape(d->to, title, strlen(title), false);
    fputc('\n', d->to);
}

void hs_doc_head(hs_doc *d, const char *heading) {
    begin(d, HEAD);
    if (d->roff) {
        fputs(".SH ", d->to);
        upper(d->to, heading);
    } else {
        fputs(heading, d->to);
    }
    fputc('\n', d->to);
}

void hs_doc_subhead(hs_doc *d, const char *heading) {
    begin(d, HEAD);
    if (d->roff) {
        fputs(".SS ", d->to);
        escape(d->to, heading, strlen(heading), false);
    } else {
        fputs(heading, d->to);
    }
    fputc('\n', d->to);
}

static void para(hs_doc *d, const char *s, size_t n) {
    bool opens = d->last == HEAD;
    begin(d, PARA);
    if (!d->roff) {
        fill(d, s, n, 0, 0);
        return;
    }
    if (!opens) fputs(".PP\n", d->to);
    roff_text(d->to, s, n);
}

void hs_doc_para(hs_doc *d, const char *text) {
    para(d, text, strlen(text));
}

static void entry(hs_doc *d, const char *term, size_t n_term, const char *s, size_t n, int column) {
    begin(d, ENTRY);
    if (d->roff) {
        fputs(".TP\n\\fB", d->to);
        escape(d->to, term, n_term, false);
        fputs("\\fR\n", d->to);
        if (n)
            roff_text(d->to, s, n);
        else
            fputs("\\&\n", d->to);
        return;
    }
    int at = 2 + hs_utf8_width(term, n_term);
    fprintf(d->to, "  %.*s", (int)n_term, term);
    if (at + 2 > column && n) {
        fputc('\n', d->to);
        at = 0;
    }
    fill(d, s, n, at, column);
}

void hs_doc_entry(hs_doc *d, const char *term, const char *text, int column) {
    entry(d, term, strlen(term), text, strlen(text), column);
}

// Lines of code up to `end`, without their first `strip` bytes.
static void code(hs_doc *d, const char *s, const char *end, size_t strip) {
    bool opens = d->last == HEAD;
    begin(d, CODE);
    if (d->roff) fprintf(d->to, "%s.RS 4\n.nf\n", opens ? "" : ".PP\n");
    while (s < end) {
        s += strip;
        size_t n = strcspn(s, "\n");
        if (d->roff)
            escape(d->to, s, n, true);
        else
            fprintf(d->to, "%*s%.*s", n ? CODE_INDENT : 0, "", (int)n, s);
        fputc('\n', d->to);
        s += n + (s[n] == '\n');
    }
    if (d->roff) fputs(".fi\n.RE\n", d->to);
}

void hs_doc_code(hs_doc *d, const char *lines) {
    code(d, lines, lines + strlen(lines), 0);
}

// ---- whole texts ----------------------------------------------------------------------------

// Past the last of the lines from s on that begin with two spaces.
static const char *code_end(const char *s) {
    while (strncmp(s, "  ", 2) == 0) {
        s += strcspn(s, "\n");
        s += *s == '\n';
    }
    return s;
}

void hs_doc_body(hs_doc *d, const char *text) {
    enum { COLUMN = 20 };
    while (*text) {
        size_t n = strcspn(text, "\n");
        const char *cut = memmem(text, n, " :: ", 4), *next = text + n + (text[n] == '\n');
        if (strncmp(text, "  ", 2) == 0) {
            next = code_end(text);
            code(d, text, next, 2);
        } else if (strncmp(text, "# ", 2) == 0) {
            char heading[80];
            snprintf(heading, sizeof heading, "%.*s", (int)n - 2, text + 2);
            hs_doc_head(d, heading);
        } else if (cut) {
            entry(d, text, (size_t)(cut - text), cut + 4, n - (size_t)(cut + 4 - text), COLUMN);
        } else if (n) {
            para(d, text, n);
        }
        text = next;
    }
}
