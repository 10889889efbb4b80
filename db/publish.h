// A database for publishing: a compact copy of the whole file, or of some runs, with nothing in it
// that was deleted, and a page description for Datasette beside it.
#ifndef HS_DB_PUBLISH_H
#define HS_DB_PUBLISH_H

#include "db/db.h"
#include "model/core/buf.h"
#include "model/core/progress.h"

enum hs_publish_drop {
    HS_DROP_MAPS = 1, // attention maps
    HS_DROP_ACTS = 2, // activations, attention scores among them
    HS_DROP_STATS = 4 // row statistics
};
// "maps,acts" as bits; NULL: none. HS_EARG.
int hs_publish_parse(const char *text, unsigned *out) HS_MUST_USE;

typedef struct hs_publish_opts {
    const int64_t *run; // [n_run] row ids; n_run 0: all
    int n_run;
    int64_t prompt; // row id, of the one run that is given; 0: all
    unsigned drop;
    bool keep_paths; // else paths of this machine become file names
} hs_publish_opts;

typedef struct hs_publish_result {
    int64_t bytes_from, bytes; // of the files
    int64_t paths;             // texts in which paths were cut
    int64_t baselines;         // runs whose baseline is not in the copy
    int64_t queries;           // named queries that the pages offer
    hs_buf pages;              // path of the description; owned
    hs_buf left_out;           // tables that are not headscope's, by name; owned
} hs_publish_result;
void hs_publish_result_free(hs_publish_result *);

// Writes path, and FILE.metadata.json for FILE.db; both beside and renamed. The copy keeps every
// row id, but prompts are numbered anew when one alone is taken. A database that is there is not
// replaced.
int hs_db_publish(hs_db *, const hs_publish_opts *opts, const char *path, hs_publish_result *result,
                  const hs_progress *progress) HS_MUST_USE;

#endif
