// The two parts of a calibration; see calibrate.h.
//
// A built-in set that has parts gives both. Of any other set without --held-out, a file or a set
// without parts, one half is for calibration and the other held out, as a fixed shuffle has it. Items
// of a calibration part that is not built in are shuffled too: the race looks at its first ones first.
#include <stdlib.h>
#include <string.h>

#include "cli/calibrate/calibrate.h"
#include "model/core/mem.h"
#include "model/core/prng.h"

static bool has_param(const hs_dataset *set, const char *name) {
    for (const hs_param *p = set->params; p && p->name; p++)
        if (!strcmp(p->name, name)) return true;
    return false;
}

// The built-in set that a spec means, with a part to ask for; NULL for any other.
static const hs_dataset *parted(const char *spec) {
    const int i = hs_dataset_find(spec);
    return i >= 0 && has_param(hs_datasets[i], "part") ? hs_datasets[i] : NULL;
}

// Whether a spec says the parameter, and its value.
static bool says(const char *spec, const char *name, const char **value, size_t *n) {
    const size_t n_name = strlen(name);
    for (const char *at = hs_spec_args(spec); *at; at += strcspn(at, ","), at += *at == ',') {
        if (strncmp(at, name, n_name) || at[n_name] != '=') continue;
        *value = at + n_name + 1;
        *n = strcspn(*value, ",");
        return true;
    }
    return false;
}

// The spec of one part: what is said but for part= and, without keep_n, n=.
static void part_spec(hs_buf *out, const char *spec, const char *part, bool keep_n, int n) {
    char mark = ':';
    hs_buf_add(out, spec, hs_spec_name(spec));
    for (const char *at = hs_spec_args(spec); *at; at += strcspn(at, ","), at += *at == ',') {
        if (!strncmp(at, "part=", 5) || (!keep_n && !strncmp(at, "n=", 2))) continue;
        hs_buf_chr(out, mark);
        hs_buf_add(out, at, strcspn(at, ","));
        mark = ',';
    }
    hs_buf_printf(out, "%cpart=%s", mark, part);
    if (!keep_n) hs_buf_printf(out, ",n=%d", n);
}

static int read_set(hs_prompts **out, const hs_calibrate_work *w, const char *option,
                    const char *spec) {
    const hs_model *m = w->session.model;
    int rc = hs_prompts_open(out, hs_model_tok(m), (enum hs_bos)w->opt->prompt.bos,
                             hs_model_config(m)->n_vocab);
    if (!rc)
        rc = hs_dataset_find(spec) >= 0 ? hs_prompts_add_dataset(*out, spec)
                                        : hs_prompts_add_file(*out, spec);
    return hs_prefix(rc, "%s", option);
}

// ---- parts --------------------------------------------------------------------------------------

// Numbers 0 to n - 1 as they are, or shuffled by the seed (Fisher and Yates).
static int make_order(const hs_calibrate_work *w, int64_t **order, int64_t n, bool shuffle) {
    hs_prng random = hs_prng_seed((uint64_t)w->opt->seed);
    int rc = hs_alloc(order, (size_t)n, sizeof **order);
    for (int64_t i = 0; i < n && !rc; i++) (*order)[i] = i;
    for (int64_t i = n; shuffle && i > 1 && !rc; i--) {
        const int64_t k = (int64_t)hs_prng_below(&random, (uint64_t)i), x = (*order)[i - 1];
        (*order)[i - 1] = (*order)[k];
        (*order)[k] = x;
    }
    return rc;
}

// A held-out item whose id is taken already gets another.
static int add_held(hs_calibrate_work *w, const hs_prompt *p) {
    hs_buf id = {0};
    bool taken = false;
    for (int64_t i = 0; i < w->n_on && !taken; i++)
        taken = !strcmp(hs_prompts_at(w->session.prompts, i)->id, p->id);
    hs_buf_printf(&id, "%s%s", p->id, taken ? "~held_out" : "");
    int rc = hs_buf_rc(&id);
    if (!rc) rc = hs_prompts_add_copy(w->session.prompts, id.data, p);
    hs_buf_free(&id);
    return rc;
}

static int check_apart(const hs_calibrate_work *w) {
    for (int64_t k = w->n_on; k < w->n; k++)
        for (int64_t i = 0; i < w->n_on; i++) {
            const hs_prompt *a = hs_prompts_at(w->session.prompts, i);
            const hs_prompt *b = hs_prompts_at(w->session.prompts, k);
            if (a->n_token == b->n_token &&
                !memcmp(a->tokens, b->tokens, (size_t)a->n_token * sizeof *a->tokens))
                return hs_fail(HS_EARG,
                               "item '%s' of the held-out part is item '%s' of the calibration "
                               "part: nothing is proved by what was chosen by, take it out",
                               b->id, a->id);
        }
    return HS_OK;
}

static int check_sizes(const hs_calibrate_work *w) {
    if (w->n_on < 2)
        return hs_fail(HS_EARG,
                       "the calibration part has %s: nothing can be chosen by it, give two items "
                       "at least%s",
                       w->n_on ? "one item" : "no items",
                       w->split ? ", which are four of a set that is split" : "");
    if (w->n - w->n_on < 2)
        return hs_fail(HS_EARG,
                       "the held-out part has %s: nothing can be shown by it, give two "
                       "items at least",
                       w->n > w->n_on ? "one item" : "no items");
    return check_apart(w);
}

// Items of a set that count: all of them, or the first ones where its size was left open.
static int64_t fit(const hs_prompts *set, bool open, int64_t tokens) {
    const int64_t n = hs_prompts_count(set);
    int64_t i = 0, sum = 0;
    if (!open) return n;
    for (; i < n; i++) {
        sum += hs_prompts_at(set, i)->n_token;
        if (sum > tokens && i >= HS_CALIBRATE_LEAST) break;
    }
    return i;
}

// A part as it is read.
typedef struct part {
    hs_buf spec;
    bool open; // a built-in set whose size was not said
    hs_prompts *set;
} part;

// Both parts into the session: items order[0 .. n_on) of `on`; of `held`, or the rest of `on`.
static int join(hs_calibrate_work *w, const part *first, const part *second, const int64_t *order) {
    const hs_prompts *on = first->set, *held = second->set;
    const hs_model *m = w->session.model;
    const int64_t n = fit(on, first->open, HS_CALIBRATE_TOKENS);
    const int64_t n_held = held ? fit(held, second->open, HS_CALIBRATE_HELD_TOKENS) : 0;
    int rc = hs_prompts_open(&w->session.prompts, hs_model_tok(m), (enum hs_bos)w->opt->prompt.bos,
                             hs_model_config(m)->n_vocab);
    w->n_on = held ? n : n / 2;
    for (int64_t i = 0; i < w->n_on && !rc; i++)
        rc = hs_prompts_add_copy(w->session.prompts, NULL, hs_prompts_at(on, order[i]));
    for (int64_t i = w->n_on; i < n && !rc; i++)
        rc = hs_prompts_add_copy(w->session.prompts, NULL, hs_prompts_at(on, order[i]));
    for (int64_t i = 0; i < n_held && !rc; i++) rc = add_held(w, hs_prompts_at(held, i));
    w->n = rc ? 0 : hs_prompts_count(w->session.prompts);
    return rc ? rc : check_sizes(w);
}

// The specs of both parts of --on where the set has parts.
static int name_parts(const hs_calibrate_work *w, const char *on, part *first, part *second) {
    const char *value;
    size_t n;
    first->open = !says(on, "n", &value, &n);
    if (says(on, "part", &value, &n) &&
        (n != strlen("calibration") || strncmp(value, "calibration", n)))
        return hs_fail(HS_EARG,
                       "--on %s: it is calibrated on part=calibration, and proved on part=held_out",
                       on);
    part_spec(&first->spec, on, "calibration", !first->open, HS_CALIBRATE_ITEMS);
    if (w->opt->held_out) return HS_OK;
    second->open = true;
    part_spec(&second->spec, on, "held_out", false, HS_CALIBRATE_HELD_OUT);
    return HS_OK;
}

// A built-in set as --held-out is its held-out part unless it says otherwise.
static void name_held(const char *spec, part *out) {
    const char *value;
    size_t n;
    if (parted(spec) && !says(spec, "part", &value, &n)) {
        out->open = !says(spec, "n", &value, &n);
        part_spec(&out->spec, spec, "held_out", !out->open, HS_CALIBRATE_HELD_OUT);
    } else {
        hs_buf_str(&out->spec, spec);
    }
}

static void close_part(part *p) {
    hs_prompts_close(p->set);
    hs_buf_free(&p->spec);
}

int hs_calibrate_open_sets(hs_calibrate_work *w) {
    const char *on = w->opt->on ? w->opt->on : w->method.method->usual;
    const bool parts = parted(on);
    part first = {0}, second = {0};
    int64_t *order = NULL;
    int rc = HS_OK;
    if (parts)
        rc = name_parts(w, on, &first, &second);
    else
        hs_buf_str(&first.spec, on);
    if (!rc && w->opt->held_out) name_held(w->opt->held_out, &second);
    if (!rc) rc = hs_buf_rc(&first.spec);
    if (!rc) rc = hs_buf_rc(&second.spec);
    if (!rc) rc = read_set(&first.set, w, "--on", hs_buf_text(&first.spec));
    if (!rc && second.spec.len)
        rc = read_set(&second.set, w, "--held-out", hs_buf_text(&second.spec));
    w->split = !second.set;
    if (!rc) rc = make_order(w, &order, hs_prompts_count(first.set), !parts);
    if (!rc) rc = join(w, &first, &second, order);
    free(order);
    close_part(&first);
    close_part(&second);
    return rc;
}
