// A page written once and read twice: as text on a terminal, and as a manual page's source.
//
// A page is a title, headings, paragraphs, entries (a term and its explanation) and code. Text is
// filled to the width; roff escapes whatever would be markup, so no word of a table can become one.
#ifndef HS_CLI_DOC_H
#define HS_CLI_DOC_H

#include <stdbool.h>
#include <stdio.h>

typedef struct hs_doc {
    FILE *to; // write errors stay on it
    bool roff;
    int width; // of text, in columns
    int last;  // what was written last, for the empty lines of text
} hs_doc;

// Text as wide as the terminal that `to` is, at most 100 columns; 80 when it is none.
hs_doc hs_doc_text(FILE *to);
hs_doc hs_doc_roff(FILE *to);

// The head of a page: "WHAT: title" as text, .TH and NAME in roff, where the page is called
// headscope-name, or headscope when name is NULL.
void hs_doc_title(hs_doc *, const char *what, const char *name, const char *section,
                  const char *title);
void hs_doc_head(hs_doc *, const char *heading);
void hs_doc_subhead(hs_doc *, const char *heading); // of roff; text has one kind
void hs_doc_para(hs_doc *, const char *text);
// Explanations begin at `column` of the text, on a line of their own after a longer term.
void hs_doc_entry(hs_doc *, const char *term, const char *text, int column);
void hs_doc_code(hs_doc *, const char *lines); // as they stand, indented
// A whole text, line by line: "# HEADING", "  code", "TERM :: explanation", else a paragraph.
void hs_doc_body(hs_doc *, const char *text);

#endif
