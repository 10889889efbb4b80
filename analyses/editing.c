// Edited runs; see editing.h.
//
// What edits refer to comes from three places. Means over sets of prompts are taken once, before
// any edit; recorded runs are read where they lie; and prompts are run unedited when an evaluation
// needs them (sources.h).
#include "analyses/editing.h"

#include <stdlib.h>
#include <string.h>

#include "analyses/branch.h"
#include "analyses/channels.h"
#include "analyses/looks.h"
#include "analyses/reference.h"
#include "analyses/sources.h"
#include "model/core/mem.h"
#include "model/core/prng.h"

// The mean over a set of prompts, shared by the edits that name it.
struct set_mean {
    const char *name;
    bool by_position;
    uint64_t *points; // [n_layer + 1] of all these edits
    hs_mean *mean;
};

// Where the values that an edit refers to are kept.
enum { DRAWN = -1, PAIR = -2 };
enum place { NOWHERE, IN_SET, IN_RUN, IN_ROWS, IN_BRANCH, IN_MEAN, IN_MODEL, IN_DOCS };
struct wants {
    enum place place;
    int set;      // IN_SET
    int64_t from; // IN_ROWS of another prompt: its number, or how it is chosen
};

struct hs_editing {
    hs_editing_opts opts;
    hs_dims dims;
    hs_edit **edit;      // [n]
    struct wants *wants; // [n]
    int n;
    struct set_mean *sets;
    int n_set;
    bool any_channels; // wanted
    hs_channels channels;
    hs_looks looks;
    hs_sources sources;
    hs_branches *branches; // NULL: no edit has any
    hs_edits *edits;
    hs_edit_seq *seq; // of the last aim
    hs_ref *ref;
};

static const hs_ref_need *need_of(const hs_editing *e, int i) {
    return hs_edit_need(e->edit[i]);
}

hs_edit_prompt hs_edit_prompt_of(const hs_prompts *prompts, int64_t ord, hs_spans given) {
    const hs_prompt *p = hs_prompts_at(prompts, ord);
    return (hs_edit_prompt){
        .ord = ord, .id = p->id, .n_token = p->n_token, .own = p->spans, .given = given};
}

static hs_edit_prompt prompt_of(const hs_editing *e, int64_t ord) {
    return hs_edit_prompt_of(e->opts.prompts, ord, e->opts.spans);
}

// Whether edit i is about a row of the prompt.
static bool is_about(const hs_editing *e, int i, int64_t ord) {
    const hs_edit_prompt p = prompt_of(e, ord);
    return hs_edit_first(e->edit[i], &p) < p.n_token;
}

// The mean of one prompt at a position is that row.
static enum place place_of(const hs_ref_need *need) {
    if (need->from == HS_REF_NONE) return NOWHERE;
    if (need->from == HS_REF_CHANNELS) return IN_MODEL;
    if (need->from == HS_REF_DOCS) return IN_DOCS;
    if (need->from == HS_REF_RUN) return IN_RUN;
    if (need->from == HS_REF_BRANCH) return IN_BRANCH;
    if (need->from == HS_REF_SELF || need->from == HS_REF_PROMPT || need->from == HS_REF_WITHOUT)
        return IN_ROWS;
    if (strcmp(need->name, "prompt") != 0) return IN_SET;
    return need->by_position ? IN_ROWS : IN_MEAN;
}

// ---- prompts ------------------------------------------------------------------------------------

// Every edit against every prompt.
static int check_edits(const hs_editing *e) {
    const int64_t n = hs_prompts_count(e->opts.prompts);
    hs_edit_prompt *prompt;
    int rc = hs_alloc(&prompt, (size_t)n, sizeof *prompt);
    for (int64_t ord = 0; ord < n && !rc; ord++) prompt[ord] = prompt_of(e, ord);
    for (int i = 0; i < e->n && !rc; i++) rc = hs_edit_check_all(e->edit[i], prompt, n);
    free(prompt);
    return rc;
}

// The prompt of that id, else number.
static int find_prompt(const hs_editing *e, const char *name, int64_t *ord) {
    const int64_t n = hs_prompts_count(e->opts.prompts);
    for (*ord = 0; *ord < n; ++*ord)
        if (!strcmp(hs_prompts_at(e->opts.prompts, *ord)->id, name)) return HS_OK;
    if (!hs_pos_parse(ord, n, name)) return HS_OK;
    return hs_fail(HS_ENOTFOUND,
                   "no prompt '%s' in this run: give an id, or a number from 0 to %lld", name,
                   (long long)n - 1);
}

// The prompt that edit i takes values from when it edits `ord`: a drawn one by the seed and the
// edited prompt alone.
static int64_t taken_from(const hs_editing *e, int i, int64_t ord) {
    const int64_t n = hs_prompts_count(e->opts.prompts);
    if (need_of(e, i)->from != HS_REF_PROMPT) return ord;
    if (e->wants[i].from >= 0) return e->wants[i].from;
    if (e->wants[i].from == PAIR) return hs_prompts_pair(e->opts.prompts, ord);
    hs_prng random = hs_prng_seed(need_of(e, i)->seed * UINT64_C(0x9E3779B97F4A7C15) +
                                  (uint64_t)ord);
    return (ord + 1 + (int64_t)hs_prng_below(&random, (uint64_t)n - 1)) % n;
}

// Every edited prompt needs a source with a row for the first position that is edited, or for all.
static int check_rows(const hs_editing *e, int i, const hs_prompt *from, int64_t ord) {
    const hs_edit_prompt p = prompt_of(e, ord);
    const int64_t first = hs_edit_first(e->edit[i], &p), end = hs_edit_end(e->edit[i], &p);
    if (first >= p.n_token) return HS_OK;
    if (first >= from->n_token)
        return hs_fail(HS_ERANGE,
                       "prompt '%s' is edited from position %lld on, and '%s' has only %lld: "
                       "choose other positions, or another prompt",
                       p.id, (long long)first, from->id, (long long)from->n_token);
    if (need_of(e, i)->all_rows && end > from->n_token)
        return hs_fail(HS_ERANGE,
                       "prompt '%s' is edited up to position %lld, and '%s' has only %lld: choose "
                       "positions with pos=, prompts with prompts=, or another prompt",
                       p.id, (long long)end - 1, from->id, (long long)from->n_token);
    return HS_OK;
}

static int check_source(hs_editing *e, int i) {
    const hs_prompts *prompts = e->opts.prompts;
    const char *name = need_of(e, i)->name;
    const bool pair = !strcmp(name, "pair"), drawn = !strcmp(name, "random");
    int rc = HS_OK;
    e->wants[i].from = pair ? PAIR : DRAWN;
    if (pair)
        return hs_prompts_pair(prompts, 0) >= 0
                   ? HS_OK
                   : hs_fail(HS_EARG, "these prompts have no other halves: from=pair is for the "
                                      "pairs of headscope patch");
    if (drawn && hs_prompts_count(prompts) < 2)
        return hs_fail(HS_EARG, "there is no other prompt to take values from: give two at least");
    if (!drawn) rc = find_prompt(e, name, &e->wants[i].from);
    for (int64_t ord = 0; !drawn && !rc && ord < hs_prompts_count(prompts); ord++)
        rc = check_rows(e, i, hs_prompts_at(prompts, e->wants[i].from), ord);
    return rc;
}

// ---- means over sets ----------------------------------------------------------------------------

// "repeat:k=50+n=4", where '+' joins as ',' does elsewhere; else a file.
static int add_named(hs_prompts *to, const char *name) {
    if (hs_dataset_find(name) < 0) return hs_prompts_add_file(to, name);
    hs_buf spec = {0};
    hs_buf_str(&spec, name);
    for (size_t i = 0; i < spec.len; i++)
        if (spec.data[i] == '+') spec.data[i] = ',';
    int rc = hs_buf_rc(&spec);
    if (!rc) rc = hs_prompts_add_dataset(to, spec.data);
    hs_buf_free(&spec);
    return rc;
}

// A mean by position must reach the first position that is edited.
static int check_reach(const hs_editing *e, const struct set_mean *set, int64_t longest) {
    for (int i = 0; set->by_position && i < e->n; i++)
        for (int64_t ord = 0; ord < hs_prompts_count(e->opts.prompts); ord++) {
            const hs_edit_prompt p = prompt_of(e, ord);
            if (e->wants[i].place != IN_SET || &e->sets[e->wants[i].set] != set) break;
            const int64_t first = hs_edit_first(e->edit[i], &p);
            if (first < p.n_token && first >= longest)
                return hs_fail(HS_ERANGE,
                               "prompt '%s' is edited from position %lld on, and no reference is "
                               "longer than %lld: choose by=all, or other positions",
                               p.id, (long long)first, (long long)longest);
        }
    return HS_OK;
}

static int run_mean(const hs_editing *e, struct set_mean *set, const hs_prompts *prompts) {
    const int64_t n = hs_prompts_count(prompts), n_ctx = hs_model_config(e->opts.model)->n_ctx;
    int64_t longest = 0;
    hs_unedited *seq;
    int rc = hs_alloc(&seq, (size_t)n, sizeof *seq);
    for (int64_t i = 0; i < n && !rc; i++) {
        const hs_prompt *p = hs_prompts_at(prompts, i);
        if (p->n_token > longest) longest = p->n_token;
        if (p->n_token < 1 || p->n_token > n_ctx)
            rc = hs_fail(HS_ERANGE,
                         "prompt '%s' has %lld tokens, and the model's context takes 1 "
                         "to %lld",
                         p->id, (long long)p->n_token, (long long)n_ctx);
    }
    if (!rc) rc = check_reach(e, set, longest);
    if (!rc) rc = hs_mean_open(&set->mean, &e->dims, set->points, set->by_position ? longest : 0);
    for (int64_t i = 0; i < n && !rc; i++)
        seq[i] = (hs_unedited){.prompt = hs_prompts_at(prompts, i), .mean = set->mean};
    if (!rc) rc = hs_unedited_run(e->opts.model, seq, n, e->opts.progress);
    free(seq);
    return rc;
}

static int fill_set(const hs_editing *e, struct set_mean *set) {
    hs_prompts *prompts = NULL;
    if (!strcmp(set->name, "prompts")) return run_mean(e, set, e->opts.prompts);
    int rc = hs_prompts_open(&prompts, hs_model_tok(e->opts.model), hs_prompts_bos(e->opts.prompts),
                             e->dims.n_vocab);
    if (!rc) rc = add_named(prompts, set->name);
    if (!rc) rc = run_mean(e, set, prompts);
    hs_prompts_close(prompts);
    return rc == HS_ESTOP ? rc : hs_prefix(rc, "reference=%s", set->name);
}

static int join_set(hs_editing *e, int i) {
    const hs_ref_need *need = need_of(e, i);
    int s = 0, rc = HS_OK;
    while (s < e->n_set && (strcmp(e->sets[s].name, need->name) != 0 ||
                            e->sets[s].by_position != need->by_position))
        s++;
    if (s == e->n_set) {
        rc = hs_grow(&e->sets, (size_t)s + 1, sizeof *e->sets);
        if (rc) return rc;
        e->sets[s] = (struct set_mean){.name = need->name, .by_position = need->by_position};
        rc = hs_alloc(&e->sets[s].points, (size_t)e->dims.n_layer + 1, sizeof *e->sets[s].points);
        if (rc) return rc;
        e->n_set++;
    }
    e->wants[i].set = s;
    for (int l = 0; l <= e->dims.n_layer; l++) e->sets[s].points[l] |= need->points[l];
    return HS_OK;
}

// ---- recorded runs ------------------------------------------------------------------------------

// That the run holds what the edit asks for.
static int probe(const hs_editing *e, const hs_ref_need *need, const hs_ref *ref) {
    int rc = HS_OK;
    for (int l = 0; l <= e->dims.n_layer; l++)
        for (int p = 0; p < HS_N_POINT && !rc; p++) {
            const enum hs_point point = (enum hs_point)p;
            if (!(need->points[l] & HS_BIT(p))) continue;
            if (hs_point_infos[p].shape != HS_SHAPE_MAP) {
                rc = ref->rows(ref->ctx, point, l < e->dims.n_layer ? l : -1, 0, 0, NULL);
                continue;
            }
            for (int h = 0; h < e->dims.n_head && !rc; h++)
                if (!need->heads || hs_heads_has(need->heads, l, h))
                    rc = ref->map(ref->ctx, point, l, h, 0, 0, 0, NULL, 0);
        }
    return rc;
}

static int check_run(const hs_editing *e, int i) {
    const hs_run_source *runs = e->opts.runs;
    bool probed = false;
    int rc = HS_OK;
    if (!runs) return hs_fail(HS_EARG, "recorded runs cannot be read here");
    for (int64_t ord = 0; ord < hs_prompts_count(e->opts.prompts) && !rc; ord++) {
        hs_ref ref = {0};
        if (!is_about(e, i, ord)) continue;
        rc = runs->open(runs->ctx, need_of(e, i)->name, hs_prompts_at(e->opts.prompts, ord), ord,
                        &ref);
        if (rc) break;
        if (!probed) rc = probe(e, need_of(e, i), &ref);
        probed = true;
        runs->close(runs->ctx, &ref);
    }
    return rc;
}

// ---- open and close -----------------------------------------------------------------------------

static int check_token(const hs_editing *e, int64_t token) {
    if (token < e->dims.n_vocab) return HS_OK;
    return hs_fail(HS_ERANGE, "there is no token %lld: they are 0 to %lld", (long long)token,
                   (long long)e->dims.n_vocab - 1);
}

// Notes what edit i refers to, and checks that it is there.
static int take_need(hs_editing *e, int i) {
    const hs_ref_need *need = need_of(e, i);
    switch (e->wants[i].place = place_of(need)) {
    case NOWHERE:
        break;
    case IN_SET:
        return join_set(e, i);
    case IN_RUN:
        return check_run(e, i);
    case IN_MODEL:
        e->any_channels = true;
        break;
    case IN_DOCS:
        return check_token(e, need->token);
    case IN_MEAN:
        hs_sources_mean(&e->sources, need);
        break;
    case IN_BRANCH:
        return e->branches ? HS_OK : hs_branches_open(&e->branches, &e->opts);
    case IN_ROWS:
        hs_sources_rows(&e->sources, need);
        if (need->from == HS_REF_PROMPT) return check_source(e, i);
    }
    return HS_OK;
}

// Whether what an edit refers to is a run of a prompt's tokens, or of some of them.
static bool runs_tokens(const hs_ref_need *need) {
    if (need->from != HS_REF_MEAN) return need->from != HS_REF_NONE && need->from != HS_REF_RUN;
    return !strcmp(need->name, "prompts") || !strcmp(need->name, "prompt");
}

// Given embeddings are not among the tokens.
static int check_versions(const hs_editing *e) {
    bool input = false;
    for (int i = 0; i < e->n; i++) input |= hs_edit_kind(e->edit[i])->input;
    for (int i = 0; i < e->n && input; i++)
        if (runs_tokens(need_of(e, i)))
            return hs_fail(
                HS_EARG,
                "--do %s: it refers to a run of the prompt by its tokens alone: it cannot "
                "be had beside given embeddings",
                hs_edit_spec(e->edit[i]));
    return HS_OK;
}

// Everything is checked before the model runs.
static int open_edits(hs_editing *e, const char *const *specs, int n) {
    int rc = HS_OK;
    for (; e->n < n && !rc; e->n += !rc) rc = hs_edit_open(&e->edit[e->n], &e->dims, specs[e->n]);
    if (!rc) rc = check_edits(e);
    if (!rc) rc = check_versions(e);
    for (int i = 0; i < n && !rc; i++) rc = hs_prefix(take_need(e, i), "--do %s", specs[i]);
    for (int s = 0; s < e->n_set && !rc; s++) rc = fill_set(e, &e->sets[s]);
    if (!rc && e->any_channels)
        rc = hs_channels_find(&e->channels, e->opts.model, e->opts.prompts, e->opts.progress);
    return rc;
}

int hs_editing_open(hs_editing **out, const hs_editing_opts *opts, const char *const *specs,
                    int n) {
    hs_editing *e;
    *out = NULL;
    int rc = hs_alloc(&e, 1, sizeof *e);
    if (rc) return rc;
    e->opts = *opts;
    e->dims = hs_dims_of(opts->model);
    rc = hs_edits_open(&e->edits, &e->dims);
    if (!rc) rc = hs_alloc(&e->edit, (size_t)n, sizeof *e->edit);
    if (!rc) rc = hs_alloc(&e->wants, (size_t)n, sizeof *e->wants);
    if (!rc) rc = hs_sources_open(&e->sources, &e->opts, &e->dims);
    if (!rc) rc = open_edits(e, specs, n);
    if (rc)
        hs_editing_close(e);
    else
        *out = e;
    return rc;
}

void hs_editing_close(hs_editing *e) {
    if (!e) return;
    hs_edits_close(e->edits);
    hs_sources_close(&e->sources);
    hs_branches_close(e->branches);
    hs_channels_free(&e->channels);
    hs_looks_free(&e->looks);
    for (int s = 0; s < e->n_set; s++) {
        hs_mean_close(e->sets[s].mean);
        free(e->sets[s].points);
    }
    for (int i = 0; e->edit && i < e->n; i++) hs_edit_close(e->edit[i]);
    void *const blocks[] = {e->edit, e->wants, e->sets, e->seq, e->ref, e};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) free(blocks[i]);
}

int hs_editing_count(const hs_editing *e) {
    return e->n;
}

const hs_edit *hs_editing_at(const hs_editing *e, int i) {
    return e->edit[i];
}

int hs_editing_hook(hs_editing *e, hs_hooks *hooks, int first, int n) {
    return n ? hs_edits_hook(e->edits, hooks, e->edit + first, n) : HS_OK;
}

// ---- aiming -------------------------------------------------------------------------------------

// Calls fn for each reference that edit k of sequence s needs; ref is where it goes.
typedef int (*each_need)(hs_editing *e, int edit, int64_t ord, hs_ref *ref);

static int for_each_need(hs_editing *e, const hs_editing_seq *seq, int n_seq, each_need fn) {
    hs_ref *ref = e->ref;
    int rc = HS_OK;
    for (int s = 0; s < n_seq; s++)
        for (int k = 0; k < seq[s].n && !rc; k++, ref++) {
            const int i = seq[s].first + k;
            if (e->wants[i].place != NOWHERE && is_about(e, i, seq[s].ord))
                rc = fn(e, i, seq[s].ord, ref);
        }
    return rc;
}

static int source_of(hs_editing *e, int i, int64_t ord, hs_source **out) {
    const char *run = e->wants[i].place == IN_RUN ? need_of(e, i)->name : NULL;
    return hs_sources_want(&e->sources, run, taken_from(e, i, ord), NULL, out);
}

// The run that edit i compares with: the prompt without a place.
static int other_of(hs_editing *e, int i, int64_t ord, hs_source **out) {
    const hs_edit_prompt p = prompt_of(e, ord);
    bool *gone;
    int rc = hs_alloc(&gone, (size_t)p.n_token, sizeof *gone);
    if (!rc) rc = hs_edit_gone(e->edit[i], &p, gone);
    if (!rc) rc = hs_sources_want(&e->sources, NULL, ord, gone, out);
    free(gone);
    return rc;
}

// How heads look at the documents of edit i when their content is taken away: measured once.
static int look_of(hs_editing *e, int i, int64_t ord, const double **out) {
    const hs_edit_prompt p = prompt_of(e, ord);
    hs_places docs;
    int rc = hs_edit_ranges(e->edit[i], &p, need_of(e, i)->place, &docs);
    if (!rc)
        rc = hs_looks_get(&e->looks, e->opts.model, hs_prompts_at(e->opts.prompts, ord), ord, &docs,
                          need_of(e, i)->token, out);
    hs_places_free(&docs);
    return rc;
}

static int note_source(hs_editing *e, int i, int64_t ord, hs_ref *ref) {
    hs_source *s;
    if (e->wants[i].place == IN_DOCS) return look_of(e, i, ord, &ref->look);
    if (e->wants[i].place == IN_SET || e->wants[i].place == IN_MODEL) return HS_OK;
    if (e->wants[i].place == IN_BRANCH) {
        const hs_edit_prompt p = prompt_of(e, ord);
        return hs_branches_want(e->branches, e->edit[i], &p);
    }
    int rc = source_of(e, i, ord, &s);
    return rc || need_of(e, i)->from != HS_REF_WITHOUT ? rc : other_of(e, i, ord, &s);
}

static int give_ref(hs_editing *e, int i, int64_t ord, hs_ref *ref) {
    const enum place place = e->wants[i].place;
    hs_source *s;
    if (place == IN_DOCS) return HS_OK;
    if (place == IN_MODEL) {
        *ref = (hs_ref){.channel = e->channels.at, .n_channel = e->channels.n};
        return HS_OK;
    }
    if (place == IN_SET) {
        *ref = hs_mean_ref(e->sets[e->wants[i].set].mean);
        return HS_OK;
    }
    if (place == IN_BRANCH) {
        *ref = hs_branches_ref(e->branches, e->edit[i], ord);
        return HS_OK;
    }
    int rc = source_of(e, i, ord, &s);
    if (!rc)
        *ref = place == IN_RUN    ? s->recorded
               : place == IN_MEAN ? hs_mean_ref(s->mean)
                                  : hs_held_ref(s->held);
    if (rc || need_of(e, i)->from != HS_REF_WITHOUT) return rc;
    rc = other_of(e, i, ord, &s);
    if (!rc) ref->other = &s->left;
    return rc;
}

static int make_room(hs_editing *e, const hs_editing_seq *seq, int n_seq) {
    size_t n = 0;
    for (int s = 0; s < n_seq; s++) n += (size_t)seq[s].n;
    int rc = hs_grow(&e->seq, (size_t)n_seq, sizeof *e->seq);
    if (!rc) rc = hs_grow(&e->ref, n, sizeof *e->ref);
    if (!rc && n) memset(e->ref, 0, n * sizeof *e->ref);
    return rc;
}

static int aim(hs_editing *e, const hs_editing_seq *seq, int n_seq) {
    int rc = make_room(e, seq, n_seq);
    if (rc) return rc;
    hs_sources_begin(&e->sources);
    if (e->branches) hs_branches_begin(e->branches);
    rc = for_each_need(e, seq, n_seq, note_source);
    if (!rc) rc = hs_sources_fill(&e->sources);
    if (!rc && e->branches) rc = hs_branches_fill(e->branches);
    if (!rc) rc = for_each_need(e, seq, n_seq, give_ref);
    const hs_ref *ref = e->ref;
    for (int s = 0; s < n_seq && !rc; s++) {
        e->seq[s] = (hs_edit_seq){e->edit + seq[s].first, ref, seq[s].n, prompt_of(e, seq[s].ord)};
        ref += seq[s].n;
    }
    return rc ? rc : hs_edits_aim(e->edits, e->seq, n_seq);
}

int hs_editing_aim(hs_editing *e, const hs_editing_seq *seq, int n_seq) {
    int rc = aim(e, seq, n_seq);
    // What the last aim referred to may be gone.
    if (rc && hs_edits_aim(e->edits, NULL, 0)) return hs_fail(HS_ENOMEM, "out of memory");
    return rc;
}
