// heatmap --masking: needle recall as more and more of the top retrieval heads are masked, and of as
// many random ones with the range of their draws. Between the numbers of heads that were tried the
// curves are straight.
#include "cli/figures/steps.h"

static const char *const names[] = {"top retrieval heads", "random heads"};

typedef struct curves {
    hs_steps steps;
    int64_t draws, tests;
} curves;

static int on_extent(void *ctx, const hs_query *q) {
    curves *c = ctx;
    const int64_t k = hs_query_int(q, "k");
    if (k > c->steps.most) c->steps.most = k;
    c->draws = hs_query_int(q, "draws");
    c->tests = hs_query_int(q, "tests");
    return HS_OK;
}

static int on_size(void *ctx, const hs_query *q) {
    static const char *const columns[] = {"random_low", "random_high", "top", "random_mean"};
    curves *c = ctx;
    int rc = HS_OK;
    for (int line = 0; line < 4 && !rc; line++)
        rc = hs_steps_add(&c->steps, line, hs_query_int(q, "k"), hs_query_num(q, columns[line]));
    return rc;
}

static int draw(hs_job *j, hs_fig **out) {
    curves c = {.steps = {.job = j}};
    hs_fig_line line[HS_STEPS_LINES];
    const char *faint = NULL, *y_title = NULL;
    int rc = hs_source_each(&j->r, "retrieve_masking", NULL, 0, on_extent, &c);
    if (!rc && (!c.draws || c.steps.most > HS_STEPS_MOST))
        rc = hs_fail(HS_ENOTFOUND,
                     "run %lld has no masked tests: headscope retrieve makes them, with --mask-k "
                     "above 0 and a model that passes some test",
                     (long long)j->r.run);
    if (!rc) rc = hs_source_each(&j->r, "retrieve_masking", NULL, 0, on_size, &c);
    if (!rc) rc = hs_job_caption(j, NULL, "Needle recall as more and more heads are masked");
    if (!rc)
        rc = hs_job_text(j, &y_title, "recall of the answer's words, mean of %lld tests",
                         (long long)c.tests);
    if (!rc)
        rc = hs_job_text(j, &faint, "lowest and highest of %lld random draws", (long long)c.draws);
    if (rc) return rc;
    const hs_fig_curve fig = {.title = j->title,
                              .subtitle = j->subtitle,
                              .x_title = "Number of heads masked",
                              .y_title = y_title,
                              .n = c.steps.most + 1,
                              .line = line,
                              .n_line = hs_steps_lines(&c.steps, names, line),
                              .faint_name = faint};
    return hs_fig_open_curve(out, &fig, &j->style);
}

const hs_figure hs_figure_masking = {
    .name = "masking",
    .title = "needle recall as more and more of the top retrieval heads are masked, and of others",
    .option = "masking",
    .takes = "",
    .example = "heatmap --masking",
    .draw = draw,
};
