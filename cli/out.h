// What commands print: tables for people, CSV, JSON and JSON lines for programs, from one set of
// typed cells.
#ifndef HS_CLI_OUT_H
#define HS_CLI_OUT_H

#include "cli/cli.h"
#include "model/core/json.h"

typedef struct hs_out_options {
    bool json, jsonl, csv;
} hs_out_options;
extern const hs_opt hs_opts_json[];  // --json alone
extern const hs_opt hs_opts_table[]; // --json --jsonl --csv
// HS_EARG when more than one was asked for.
int hs_out_check(const hs_out_options *out) HS_MUST_USE;

// A column. key: its name in JSON and CSV, NULL = not there. title: its heading for people, NULL =
// not shown. digits: decimals of numbers in the table, negative: as many as they need.
typedef struct hs_col {
    const char *key, *title;
    int digits;
} hs_col;

// Cells are added row by row; the first failure sticks and hs_table_put tells.
typedef struct hs_table hs_table;
int hs_table_open(hs_table **out, const hs_col *cols, int n) HS_MUST_USE; // copies
void hs_table_close(hs_table *);
void hs_table_int(hs_table *, int64_t v);
void hs_table_num(hs_table *, double v); // NaN: as null
void hs_table_bool(hs_table *, bool v);
void hs_table_str(hs_table *, const char *s); // NULL: as null
void hs_table_strn(hs_table *, const char *s, size_t n);
void hs_table_null(hs_table *);
int64_t hs_table_rows(const hs_table *);
// Prints the table, or CSV or JSON lines. Fits the terminal when stdout is one.
int hs_table_put(const hs_table *, const hs_call *call, const hs_out_options *out) HS_MUST_USE;
// The same for more rows of a table whose beginning was printed: CSV without a header.
int hs_table_more(const hs_table *, const hs_out_options *out) HS_MUST_USE;
// Adds "key": [{...}, ...] to an object that is being written.
void hs_table_json(const hs_table *, hs_jw *json, const char *key);

// Prints a JSON text that is complete, with a newline, and frees the buffer.
int hs_json_put(hs_buf *json) HS_MUST_USE;

// "1.2 GB"; 1000-based.
void hs_bytes_text(char *out, size_t n, double bytes);
// "L5H1".
const char *hs_head_name(char out[24], int64_t layer, int64_t head);

#endif
