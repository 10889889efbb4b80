// What all ways to patch store alike; see patch.h.
#include "cli/patch/patch.h"
#include "model/core/mem.h"

int hs_patch_run_open(hs_study *s, hs_patch_work *w, const hs_analysis *as, const char *what) {
    static const char *const direction[] = {"denoise", "noise"};
    hs_buf text = {0};
    hs_jw j = {&text, false};
    *s = (hs_study){0};
    hs_jw_key_str(&j, "metric", hs_effects[w->opt->metric].name);
    hs_jw_key_str(&j, "direction", direction[w->opt->direction]);
    hs_buf_printf(&text, ",%s", what);
    int rc = hs_buf_rc(&text);
    if (!rc && !w->db) rc = hs_db_open(&w->db, w->path, HS_DB_CREATE);
    const hs_study_opts opts = {.call = w->call,
                                .session = &w->session,
                                .prompt = &w->opt->prompt,
                                .db = w->db,
                                .label = w->opt->label,
                                .resume = w->opt->resume,
                                .as = as,
                                .what = hs_buf_text(&text),
                                .n_prompt = w->n_pair};
    if (!rc) rc = hs_study_open(s, &opts);
    hs_buf_free(&text);
    return rc;
}

int hs_patch_run_left(const hs_study *s, int64_t **pair, int64_t *n) {
    *n = s->complete ? 0 : s->n - s->done;
    int rc = hs_alloc(pair, (size_t)*n, sizeof **pair);
    for (int64_t i = 0; i < *n && !rc; i++) (*pair)[i] = s->done + i;
    return rc;
}
