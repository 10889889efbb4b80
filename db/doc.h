// The schema for people: every table and view with what it holds, every column with its unit and
// meaning, from the tables that CREATE TABLE comes from.
#ifndef HS_DB_DOC_H
#define HS_DB_DOC_H

#include <stdbool.h>

typedef struct hs_table_doc {
    const char *name, *about;
    const char *select; // a view's SELECT; NULL for tables
} hs_table_doc;
typedef struct hs_column_doc {
    const char *name;
    const char *decl; // "INTEGER NOT NULL REFERENCES run (id)"
    const char *unit; // empty when it has none
    const char *about;
} hs_column_doc;

// Table i, tables before views; false past the last.
bool hs_table_doc_at(int i, hs_table_doc *out);
// Column k of table i; false past the last, and for views.
bool hs_column_doc_at(int i, int k, hs_column_doc *out);
int hs_schema_id(void);      // PRAGMA application_id of every headscope file
int hs_schema_version(void); // PRAGMA user_version of files that this build writes

#endif
