// heatmap --masking: what is left as more and more of the top retrieval heads are masked, and as many
// random ones, with the range of their draws: recall on needle tests, and F1 of answers where
// questions were asked. Between the numbers of heads that were tried the curves are straight.
#include "cli/figures/steps.h"

enum { RECALL, F1, N_MARK };
static const char *const names[N_MARK][2] = {
    {"recall, top heads masked", "recall, random heads masked"},
    {"F1, top heads masked", "F1, random heads masked"}};
static const char *const columns[N_MARK][4] = {
    {"random_low", "random_high", "top", "random_mean"},
    {"random_f1_low", "random_f1_high", "top_f1", "random_f1_mean"}};

typedef struct curves {
    hs_steps steps[N_MARK];
    int64_t draws, tests, questions;
} curves;

static int on_extent(void *ctx, const hs_query *q) {
    curves *c = ctx;
    const int64_t k = hs_query_int(q, "k");
    for (int i = 0; i < N_MARK; i++)
        if (k > c->steps[i].most) c->steps[i].most = k;
    c->draws = hs_query_int(q, "draws");
    c->tests = hs_query_int(q, "tests");
    c->questions = hs_query_int(q, "questions");
    return HS_OK;
}

static int on_size(void *ctx, const hs_query *q) {
    curves *c = ctx;
    int rc = HS_OK;
    for (int i = 0; i < (c->questions ? N_MARK : 1); i++)
        for (int line = 0; line < 4 && !rc; line++)
            rc = hs_steps_add(&c->steps[i], line, hs_query_int(q, "k"),
                              hs_query_num(q, columns[i][line]));
    return rc;
}

static int titles(hs_job *j, const curves *c, const char **y_title, const char **faint) {
    int rc = hs_job_caption(j, NULL,
                            c->questions ? "Recall and answers as more and more heads are masked"
                                         : "Needle recall as more and more heads are masked");
    if (!rc && c->questions)
        rc = hs_job_text(j, y_title, "recall of %lld tests, F1 of %lld questions",
                         (long long)c->tests, (long long)c->questions);
    else if (!rc)
        rc = hs_job_text(j, y_title, "recall of the answer's words, mean of %lld tests",
                         (long long)c->tests);
    if (!rc)
        rc = hs_job_text(j, faint, "lowest and highest of %lld random draws", (long long)c->draws);
    return rc;
}

static int draw(hs_job *j, hs_fig **out) {
    curves c = {.steps = {{.job = j}, {.job = j}}};
    hs_fig_line line[N_MARK * HS_STEPS_LINES];
    const char *faint = NULL, *y_title = NULL;
    int64_t n = 0;
    int rc = hs_source_each(&j->r, "retrieve_masking", NULL, 0, on_extent, &c);
    if (!rc && (!c.draws || c.steps->most > HS_STEPS_MOST))
        rc = hs_fail(HS_ENOTFOUND,
                     "run %lld has no masked tests: headscope retrieve makes them, with --mask-k "
                     "above 0 and a model that passes some test",
                     (long long)j->r.run);
    if (!rc) rc = hs_source_each(&j->r, "retrieve_masking", NULL, 0, on_size, &c);
    if (!rc) rc = titles(j, &c, &y_title, &faint);
    if (rc) return rc;
    for (int i = 0; i < N_MARK; i++) n += hs_steps_lines(&c.steps[i], names[i], line + n);
    const hs_fig_curve fig = {.title = j->title,
                              .subtitle = j->subtitle,
                              .x_title = "Number of heads masked",
                              .y_title = y_title,
                              .n = c.steps->most + 1,
                              .line = line,
                              .n_line = n,
                              .faint_name = faint};
    return hs_fig_open_curve(out, &fig, &j->style);
}

const hs_figure hs_figure_masking = {
    .name = "masking",
    .title = "needle recall, and F1 of answers, as more and more of the top retrieval heads are "
             "masked, and of others",
    .option = "masking",
    .takes = "",
    .example = "heatmap --masking",
    .draw = draw,
};
