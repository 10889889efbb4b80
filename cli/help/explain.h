// Pages about what commands work with: observers, experiments, interventions, data sets, queries,
// metrics, hook points and tables of the database, each from its own table. `help` shows them,
// topics list them.
#ifndef HS_CLI_EXPLAIN_H
#define HS_CLI_EXPLAIN_H

#include "analyses/calibration.h"
#include "analyses/experiment.h"
#include "cli/help/doc.h"
#include "model/core/buf.h"

// A kind of thing that has a name and a page.
typedef struct hs_kind {
    const char *name; // "observer"
    // `help NAME` shows its page only where nothing of an earlier kind has the name; else it is
    // told how to get there.
    bool aside;
    const char *(*at)(int i); // the name of thing i, NULL past the last
    void (*page)(hs_doc *, int i);
} hs_kind;
extern const hs_kind hs_kinds[]; // commands and topics first; ended by name NULL

// Metric i of all observers and experiments, and who gives it; NULL past the last.
const hs_metric *hs_metric_at(int i, hs_analysis *giver);
// The name of a hook point with "L" for the layer. Appends.
void hs_hook_form(hs_buf *out, enum hs_point point);
// "[T, n_head, d_head]"; what a point holds, in a line.
const char *hs_hook_shape(enum hs_point point);
const char *hs_hook_about(enum hs_point point);
// A column's entry, "about [unit]".
void hs_doc_explain(hs_doc *, const char *name, const char *about, const char *unit,
                    const char *fallback);
// The columns of table i of the database, or a view's SELECT.
void hs_doc_columns(hs_doc *, int table);

void hs_page_observer(hs_doc *, int i);
void hs_page_experiment(hs_doc *, int i);
void hs_page_intervention(hs_doc *, int i);
void hs_page_calibration(hs_doc *, int i);
void hs_page_dataset(hs_doc *, int i);
void hs_page_query(hs_doc *, int i);
void hs_page_metric(hs_doc *, int i);
void hs_page_hook(hs_doc *, int i);
void hs_page_figure(hs_doc *, int i);
void hs_page_table(hs_doc *, int i);

#endif
