// What `retrieve` is asked for, against the model and its prompts, before anything runs; see
// retrieve.h.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/memory.h"
#include "cli/retrieve/retrieve.h"
#include "model/core/mem.h"

static const int64_t default_k[] = {0, 2, 5, 10, 20, 30, 50};
enum { N_DEFAULT_K = sizeof default_k / sizeof *default_k };

int hs_retrieve_check_options(const hs_retrieve_options *o) {
    if (o->seed < 0) return hs_fail(HS_EARG, "--seed takes a number from 0 on");
    if (o->max_new > INT32_MAX) return hs_fail(HS_EARG, "--max-new takes at most %d", INT32_MAX);
    return hs_out_check(&o->out);
}

// As many random heads are drawn among the others.
static int check_k(const hs_retrieve_work *w, int64_t k) {
    const int64_t most = w->n_head / 2;
    if (k <= most) return HS_OK;
    if (k > w->n_head)
        return hs_fail(HS_ERANGE,
                       "--mask-k %" PRId64 ": the model has %" PRId64
                       " heads: give at most %" PRId64
                       ", so that as many others are left to compare with",
                       k, w->n_head, most);
    return hs_fail(HS_ERANGE,
                   "--mask-k %" PRId64 " of %" PRId64 " heads leaves fewer others to compare with: "
                   "give at most %" PRId64,
                   k, w->n_head, most);
}

static int add_k(hs_retrieve_work *w, int64_t k) {
    int64_t at = w->n_k;
    for (int64_t i = 0; i < w->n_k; i++)
        if (w->k[i] == k) return HS_OK;
    if (w->n_k == HS_RETRIEVE_MOST_K)
        return hs_fail(HS_EARG, "--mask-k takes at most %d numbers", HS_RETRIEVE_MOST_K);
    for (; at > 0 && w->k[at - 1] > k; at--) w->k[at] = w->k[at - 1];
    w->k[at] = k;
    w->n_k++;
    return HS_OK;
}

// "2,5,10"; 0 alone: nothing is masked.
static int read_k(hs_retrieve_work *w) {
    const char *s = w->opt->mask_k;
    int rc = HS_OK;
    for (int i = 0; !s && i < N_DEFAULT_K && !rc; i++)
        if (default_k[i] <= w->n_head / 2) rc = add_k(w, default_k[i]);
    while (s && !rc) {
        const size_t n = strcspn(s, ",");
        char word[24];
        int64_t k;
        snprintf(word, sizeof word, "%.*s", (int)n, s);
        rc = hs_parse_int("--mask-k", word, 0, INT32_MAX, &k);
        if (!rc) rc = check_k(w, k);
        if (!rc) rc = add_k(w, k);
        s = s[n] ? s + n + 1 : NULL;
    }
    if (w->n_k == 1 && !w->k[0]) w->n_k = 0;
    return rc;
}

static int read_needles(hs_retrieve_work *w) {
    int rc = hs_alloc(&w->needles, (size_t)w->n_needle, sizeof *w->needles);
    for (int64_t i = 0; i < w->n_needle && !rc; i++)
        rc = hs_needle_of(&w->needles[i], hs_prompts_at(w->session.prompts, i), w->dims.n_vocab);
    return rc;
}

// A prompt and what is said after it must fit into the model's context.
static int check_lengths(const hs_retrieve_work *w) {
    const int64_t n_ctx = hs_cli_n_ctx(w->session.model);
    for (int64_t i = 0; i < w->n_needle; i++) {
        const hs_prompt *p = hs_prompts_at(w->session.prompts, i);
        const int64_t answer = w->needles[i].n_answer, n = p->n_token - 1;
        const int64_t said = w->opt->max_new > answer ? w->opt->max_new : answer;
        if (n + said > n_ctx)
            return hs_fail(HS_ERANGE,
                           "prompt '%s': %" PRId64 " tokens and %" PRId64
                           " to be decoded are more than the model's context of %" PRId64
                           ": give shorter prompts or a smaller --max-new",
                           p->id, p->n_token, said, n_ctx);
    }
    return HS_OK;
}

hs_retrieve_opts hs_retrieve_opts_of(const hs_retrieve_work *w) {
    return (hs_retrieve_opts){.model = w->session.model,
                              .prompts = w->session.prompts,
                              .needles = w->needles,
                              .n_test = w->n_needle,
                              .max_new = w->opt->max_new,
                              .from_scratch = w->opt->no_share,
                              .progress = &w->session.bar.progress};
}

int hs_retrieve_check(hs_retrieve_work *w) {
    w->dims = hs_dims_of(w->session.model);
    w->n_head = (int64_t)w->dims.n_layer * w->dims.n_head;
    w->n_test = hs_prompts_count(w->session.prompts);
    int rc = read_k(w);
    if (!rc) rc = hs_retrieve_add_masked(w);
    if (!rc) rc = hs_cli_prompts_check(w->session.prompts, 0, hs_cli_n_ctx(w->session.model));
    if (!rc) rc = read_needles(w);
    if (!rc) rc = check_lengths(w);
    if (rc) return rc;
    const hs_retrieve_opts o = hs_retrieve_opts_of(w);
    const hs_context_opts opts = hs_retrieve_context(&o, (int)(w->n_k * (1 + HS_RETRIEVE_DRAWS)));
    rc = hs_cli_room_check(w->session.model, &opts, hs_cli_longest(w->session.prompts),
                           HS_LOGITS_LAST);
    return rc ? rc : hs_retrieve_add_echo(w);
}
