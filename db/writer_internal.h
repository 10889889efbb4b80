// The writer thread: a queue of rows, bounded in bytes, in front of hs_apply. Producers block while
// it is full. Calls come from one thread at a time, in the order in which rows are to be written.
#ifndef HS_DB_WRITER_INTERNAL_H
#define HS_DB_WRITER_INTERNAL_H

#include "db/apply_internal.h"

typedef struct hs_writer hs_writer;
// The connection belongs to the writer until it is closed. max_bytes: of what waits in the queue;
// one row larger than that still passes, alone.
int hs_writer_open(hs_writer **out, hs_db *db, size_t max_bytes) HS_MUST_USE;
// Waits for what is queued, rolls back an open transaction, joins. Returns the first failure.
int hs_writer_close(hs_writer *) HS_MUST_USE;

// All of these queue and return: work goes on while the disk is written. A failure is told by a
// call that follows, and from then on by every call, until a rollback makes the writer usable
// again; one that nobody was told yet outlives the rollback.
int hs_writer_begin(hs_writer *) HS_MUST_USE;
int hs_writer_row(hs_writer *, const char *sql, const hs_v *v, int n) HS_MUST_USE; // copies
// As row, but the bytes of the last value are taken over (freed when written, or on failure).
int hs_writer_give(hs_writer *, const char *sql, const hs_v *v, int n) HS_MUST_USE;
int hs_writer_commit(hs_writer *) HS_MUST_USE;
int hs_writer_wait(hs_writer *) HS_MUST_USE; // until all of it is done: HS_OK = it is in the file
void hs_writer_rollback(hs_writer *);        // waits
hs_sink hs_writer_sink(hs_writer *);

#endif
