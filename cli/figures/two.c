// The second run of figures that set two side by side; see figure.h.
#include <inttypes.h>
#include <string.h>

#include "cli/figures/figure.h"

enum { LONGEST = 90 }; // bytes of a run's edits in a caption

static int on_edit(void *ctx, const hs_query *q) {
    hs_buf *edits = ctx;
    const hs_cell c = hs_query_named(q, "spec");
    if (edits->len) hs_buf_chr(edits, ' ');
    if (c.type == HS_CELL_TEXT) hs_buf_printf(edits, "--do %.*s", (int)c.n, (const char *)c.data);
    return hs_buf_rc(edits);
}

// "--do act:L5H1 --do temper:L3,t=2", "" of a run that was not edited.
static int edits_of(hs_job *j, const hs_source *r, const char **out) {
    hs_buf edits = {0};
    int rc = hs_source_each(&(hs_source){r->db, r->run, NULL}, "show_interventions", NULL, 0,
                            on_edit, &edits);
    if (!rc) rc = hs_job_text(j, out, "%s", edits.len ? hs_buf_text(&edits) : "");
    hs_buf_free(&edits);
    return rc;
}

static const char *more(const char *edits) {
    return strlen(edits) > LONGEST ? "\u2026" : "";
}

int hs_job_two(hs_job *j, const char **out) {
    const char *before = "", *after = "", *number = "";
    int rc = edits_of(j, &j->r, &before);
    if (!rc) rc = edits_of(j, &j->after, &after);
    if (!rc) rc = hs_job_text(j, &number, "%" PRId64, j->after.run);
    if (!rc) rc = hs_job_say(j, "run_after", number);
    if (!rc && *before) rc = hs_job_say(j, "edits", before);
    if (!rc && *after) rc = hs_job_say(j, "edits_after", after);
    if (rc) return rc;
    return hs_job_text(j, out, "%s%.*s%s%safter: run %s%s%.*s%s", *before ? "before: " : "",
                       LONGEST, before, more(before), *before ? "; " : "", number,
                       *after ? ", " : "", LONGEST, after, more(after));
}
