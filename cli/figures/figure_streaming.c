// heatmap --streaming: recall, or where there is none the loss, as more and more KV heads stream:
// those that the probe (and the gates) rank lowest, highest, and random ones with the range of their
// draws. Between the shares that were tried the curves are straight.
#include <string.h>

#include "cli/figures/steps.h"

static const struct {
    const char *ranking, *name;
} kinds[] = {{"lowest", "lowest by the probe"},
             {"highest", "highest by the probe"},
             {"lowest_gate", "lowest gates"},
             {"random", "random"}};
enum { N_KIND = sizeof kinds / sizeof *kinds };

typedef struct curves {
    hs_steps steps;
    int64_t draws, tests, passed;
} curves;

static int on_extent(void *ctx, const hs_query *q) {
    curves *c = ctx;
    const int64_t n = hs_query_int(q, "streaming"), draws = hs_query_int(q, "draws");
    if (n > c->steps.most) c->steps.most = n;
    if (draws > c->draws) c->draws = draws;
    c->tests = hs_query_int(q, "tests");
    c->passed = hs_query_int(q, "passed");
    return HS_OK;
}

static int on_share(void *ctx, const hs_query *q) {
    static const char *const columns[2][3] = {{"nll", "nll_low", "nll_high"},
                                              {"recall", "recall_low", "recall_high"}};
    curves *c = ctx;
    const char *const *of = columns[c->passed > 0];
    const int64_t n = hs_query_int(q, "streaming");
    char ranking[24];
    int k = 0;
    hs_query_text(q, "ranking", ranking, sizeof ranking);
    while (k < N_KIND && strcmp(kinds[k].ranking, ranking) != 0) k++;
    if (k == N_KIND) return HS_OK;
    int rc = hs_steps_add(&c->steps, HS_STEPS_FIRST + k, n, hs_query_num(q, of[0]));
    if (rc || hs_query_int(q, "draws") < 2) return rc;
    rc = hs_steps_add(&c->steps, HS_STEPS_LOW, n, hs_query_num(q, of[1]));
    return rc ? rc : hs_steps_add(&c->steps, HS_STEPS_HIGH, n, hs_query_num(q, of[2]));
}

static int draw(hs_job *j, hs_fig **out) {
    curves c = {.steps = {.job = j}};
    hs_fig_line line[HS_STEPS_LINES];
    const char *names[N_KIND], *faint = NULL, *y_title = "loss, nats a token";
    for (int k = 0; k < N_KIND; k++) names[k] = kinds[k].name;
    int rc = hs_source_each(&j->r, "duo_curve", NULL, 0, on_extent, &c);
    if (!rc && (!c.steps.most || c.steps.most > HS_STEPS_MOST))
        rc = hs_fail(HS_ENOTFOUND,
                     "run %lld has no sets of KV heads that stream: headscope duo makes them, with "
                     "--sparsity above 0",
                     (long long)j->r.run);
    if (!rc) rc = hs_source_each(&j->r, "duo_curve", NULL, 0, on_share, &c);
    if (!rc)
        rc = hs_job_caption(j, NULL,
                            c.passed ? "Recall as more and more KV heads stream"
                                     : "Loss as more and more KV heads stream");
    if (!rc && c.passed)
        rc = hs_job_text(j, &y_title, "recall of the answer's words, mean of %lld tests",
                         (long long)c.tests);
    if (!rc)
        rc = hs_job_text(j, &faint, "lowest and highest of %lld random draws", (long long)c.draws);
    if (rc) return rc;
    const hs_fig_curve fig = {.title = j->title,
                              .subtitle = j->subtitle,
                              .x_title = "Number of KV heads that stream",
                              .y_title = y_title,
                              .n = c.steps.most + 1,
                              .line = line,
                              .n_line = hs_steps_lines(&c.steps, names, line),
                              .faint_name = faint};
    return hs_fig_open_curve(out, &fig, &j->style);
}

const hs_figure hs_figure_streaming = {
    .name = "streaming",
    .title = "recall, or the loss, as more and more KV heads see the first and the last keys only",
    .option = "streaming",
    .takes = "",
    .example = "heatmap --streaming",
    .draw = draw,
};
