// Reads what prompts say of their needles; see needles.h.
#include "analyses/needles.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/prompts_internal.h"

static int missing(const char *key) {
    return hs_fail(HS_EARG,
                   "it has no \"%s\": a needle test says \"needle\": [START, END], the positions "
                   "of the answer in the prompt, and \"answer\": [IDS]; the data set needle makes "
                   "such prompts",
                   key);
}

static int read_span(hs_needle *out, const hs_json *v, int64_t n_token) {
    if (!v) return missing("needle");
    const hs_json *first = hs_json_first(v);
    if (hs_json_type(v) != HS_JSON_ARR || hs_json_size(v) != 2 || !hs_json_int(first, &out->from) ||
        !hs_json_int(hs_json_next(first), &out->to))
        return hs_fail(HS_EFORMAT, "needle is not two positions, [START, END)");
    if (out->from < 0 || out->to > n_token || out->from >= out->to)
        return hs_fail(HS_EFORMAT,
                       "needle is [%" PRId64 ", %" PRId64 "): give START < END within the %" PRId64
                       " positions of the prompt",
                       out->from, out->to, n_token);
    return HS_OK;
}

static int check_id(int64_t id, int64_t n_vocab) {
    if (id >= 0 && id < n_vocab) return HS_OK;
    return hs_fail(HS_EFORMAT, "token %" PRId64 " is not in the vocabulary, ids are 0 to %" PRId64,
                   id, n_vocab - 1);
}

// One id, or a list of them.
static int read_answer(hs_needle *out, const hs_json *v, int64_t n_vocab) {
    int64_t id;
    int rc;
    if (!v) return missing("answer");
    if (hs_json_int(v, &id)) {
        rc = check_id(id, n_vocab);
        if (!rc) rc = hs_alloc(&out->answer, 1, sizeof *out->answer);
        if (!rc) out->answer[out->n_answer++] = (int32_t)id;
    } else {
        rc = hs_prompt_ids(v, &out->answer, &out->n_answer);
        if (rc == HS_ERANGE) rc = HS_EFORMAT; // as a smaller id outside the vocabulary
        if (!rc && !out->n_answer) rc = hs_fail(HS_EFORMAT, "no token: what is to be copied?");
        for (int64_t i = 0; i < out->n_answer && !rc; i++) rc = check_id(out->answer[i], n_vocab);
    }
    return hs_prefix(rc, "answer");
}

int hs_needle_of(hs_needle *out, const hs_prompt *prompt, int64_t n_vocab) {
    hs_json *doc = NULL;
    *out = (hs_needle){0};
    int rc = prompt->extra ? hs_json_parse(&doc, prompt->extra, strlen(prompt->extra)) : HS_OK;
    if (!rc) rc = read_span(out, hs_json_get(doc, "needle"), prompt->n_token);
    if (!rc) rc = read_answer(out, hs_json_get(doc, "answer"), n_vocab);
    hs_json_free(doc);
    return hs_prefix(rc, "prompt '%s'", prompt->id);
}

void hs_needle_free(hs_needle *n) {
    free(n->answer);
    *n = (hs_needle){0};
}
