// Statements that more than one file of db/ runs.
#ifndef HS_DB_SCHEMA_INTERNAL_H
#define HS_DB_SCHEMA_INTERNAL_H

#include "model/tap.h"

#define HS_SQL_COLUMN_DOC                                                                          \
    "INSERT INTO column_doc VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET unit = excluded.unit, "  \
    "about = excluded.about"
// name, kind, name of the analysis or NULL, unit, about, diverging
#define HS_SQL_METRIC                                                                              \
    "INSERT INTO metric VALUES (?, ?, (SELECT id FROM analysis WHERE name = ?), ?, ?, ?) "         \
    "ON CONFLICT DO UPDATE SET analysis_id = excluded.analysis_id, unit = excluded.unit, "         \
    "about = excluded.about, diverging = excluded.diverging"

#endif
