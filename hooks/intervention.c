// Edits: a --do spec, read and checked; see intervention.h. Applying them: edits.c.
//
// A spec is cut at commas outside braces: the target, then parameters. One table holds the kind's
// parameters and those of every kind, so that messages, defaults and the JSON know all of them.
#include "hooks/intervention.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/edit_internal.h"
#include "hooks/glob.h"
#include "model/core/json.h"
#include "model/core/mem.h"

const hs_param hs_edit_params[] = {
    {"pos", HS_PARAM_TEXT, "all", 0, 0, NULL, "positions",
     "rows that are edited: 3, -1, 3:10 or a name (--span, or the prompt's own), joined by +"},
    {"prompts", HS_PARAM_TEXT, "all", 0, 0, NULL, "prompts",
     "prompts that are edited: numbers or ids, joined by +"},
    {0},
};
const hs_param hs_edit_heads_param[] = {
    {"heads", HS_PARAM_TEXT, "all", 0, 0, NULL, "heads",
     "heads that are edited: L5H1, L5G0, L0-3H*, joined by +"},
    {0},
};

// ---- reading ------------------------------------------------------------------------------------

static int unknown_kind(const char *name, size_t n) {
    hs_buf names = {0};
    for (int i = 0; hs_interventions[i]; i++)
        hs_buf_printf(&names, "%s%s", i ? ", " : "", hs_interventions[i]->name);
    int rc = hs_fail(HS_ENOTFOUND, "there is no intervention '%.*s': they are %s", (int)n, name,
                     hs_buf_text(&names));
    hs_buf_free(&names);
    return rc;
}

static int count_params(const hs_param *p) {
    int n = 0;
    while (p && p[n].name) n++;
    return n;
}

static int make_params(hs_edit *e) {
    const bool heads = e->kind->target != HS_TARGET_UNITS;
    const hs_param *tables[] = {e->kind->params, hs_edit_params,
                                heads ? hs_edit_heads_param : NULL};
    int n = 0;
    for (int t = 0; t < 3; t++) n += count_params(tables[t]);
    assert(n <= HS_ARGS_MAX);
    int rc = hs_alloc(&e->params, (size_t)n + 1, sizeof *e->params);
    if (rc) return rc;
    hs_param *to = e->params;
    for (int t = 0; t < 3; t++)
        for (const hs_param *p = tables[t]; p && p->name; p++) *to++ = *p;
    return HS_OK;
}

// Cuts the target off what follows the name and reads the parameters.
static int read_args(hs_edit *e, const char *text) {
    const size_t n = hs_glob_part(text);
    if (!n || memchr(text, '=', n))
        return hs_fail(HS_EARG, "a target comes first, as in %s", e->kind->example);
    hs_buf_add(&e->target, text, n);
    int rc = hs_buf_rc(&e->target);
    return rc ? rc : hs_args_parse(&e->args, e->params, text[n] ? text + n + 1 : "");
}

static int add_place(hs_edit *e, int i, const char *param, bool rows) {
    assert(i <= HS_EDIT_PLACES);
    e->place[i] = hs_args_text(&e->args, param);
    e->place_rows[i] = rows;
    return hs_prefix(hs_places_check(e->place[i]), "%s", param);
}

static int read_places(hs_edit *e) {
    int i = 0, rc = add_place(e, i++, "pos", true);
    for (const hs_edit_place *p = e->kind->places; !rc && p && p->param; p++)
        rc = add_place(e, i++, p->param, p->rows);
    return rc;
}

// ---- targets ------------------------------------------------------------------------------------

static int target_units(hs_edit *e) {
    int rc = hs_units_parse(&e->units, &e->dims, e->target.data, e->kind->units);
    return rc ? rc : hs_units_heads(&e->heads, &e->dims, &e->units);
}

static int target_word(const hs_edit *e) {
    if (hs_choices_have(e->kind->choices, e->target.data)) return HS_OK;
    return hs_fail(HS_EARG, "'%s' is none of %s", e->target.data, e->kind->choices);
}

static int target_places(hs_edit *e) {
    e->place[1 + HS_EDIT_TARGET] = e->target.data;
    if (strcmp(e->target.data, "all")) return hs_places_check(e->target.data);
    return hs_fail(HS_EARG, "name the positions that it is about, as in %s", e->kind->example);
}

static int read_heads(hs_edit *e) {
    hs_units units;
    int rc = hs_units_parse(&units, &e->dims, hs_args_text(&e->args, "heads"),
                            1u << HS_UNIT_HEAD | 1u << HS_UNIT_GROUP);
    if (!rc) rc = hs_units_heads(&e->heads, &e->dims, &units);
    hs_units_free(&units);
    return hs_prefix(rc, "heads");
}

static bool has_heads(enum hs_shape s) {
    return s == HS_SHAPE_HEAD || s == HS_SHAPE_KV || s == HS_SHAPE_MAP;
}

// Keys and values belong to the heads of a group together.
static int check_groups(const hs_edit *e, int layer) {
    const int group = e->dims.n_head / e->dims.n_kv_head;
    for (int h = 0; h < e->dims.n_head; h++) {
        const int first = h / group * group;
        if (hs_heads_has(&e->heads, layer, h) == hs_heads_has(&e->heads, layer, first)) continue;
        return hs_fail(HS_EARG, "heads L%dH%d to L%dH%d share keys and values: write L%dG%d", layer,
                       first, layer, first + group - 1, layer, h / group);
    }
    return HS_OK;
}

static bool has_any(const hs_heads *s, int layer) {
    return memchr(s->on + (int64_t)layer * s->n_head, 1, (size_t)s->n_head) != NULL;
}

// Leaves out of the target what has heads, but none of those wanted.
static int narrow(hs_edit *e) {
    bool any = false, headed = false;
    int rc = HS_OK;
    for (int l = 0; l <= e->dims.n_layer && !rc; l++)
        for (int p = 0; p < HS_N_POINT && !rc; p++) {
            if (!(e->aim[l] & HS_BIT(p))) continue;
            if (!hs_point_infos[p].writable)
                return hs_fail(HS_EARG, "%s can be read but not edited", hs_point_infos[p].alias);
            const bool here = has_heads(hs_point_infos[p].shape);
            headed |= here;
            if (here && !has_any(&e->heads, l)) {
                e->aim[l] &= ~HS_BIT(p);
                continue;
            }
            any = true;
            if (hs_point_infos[p].shape == HS_SHAPE_KV) rc = check_groups(e, l);
        }
    if (rc) return rc;
    const char *heads = hs_args_text(&e->args, "heads");
    if (!headed && strcmp(heads, "all"))
        return hs_fail(HS_EARG, "heads=%s: %s has no heads", heads, e->target.data);
    return any ? HS_OK
               : hs_fail(HS_ERANGE, "heads=%s: none of them is in a layer of %s", heads,
                         e->target.data);
}

static int target_points(hs_edit *e) {
    hs_buf sel = {0};
    hs_buf_str(&sel, e->target.data);
    int rc = hs_buf_rc(&sel);
    for (size_t i = 0; i < sel.len && !rc; i++)
        if (sel.data[i] == '+') sel.data[i] = ',';
    if (!rc) rc = hs_alloc(&e->aim, (size_t)e->dims.n_layer + 1, sizeof *e->aim);
    if (!rc) rc = hs_points_select(e->aim, &e->dims, sel.data);
    hs_buf_free(&sel);
    return rc ? rc : narrow(e);
}

static int read_target(hs_edit *e) {
    if (e->kind->target == HS_TARGET_UNITS) return target_units(e);
    int rc = read_heads(e);
    if (rc) return rc;
    return e->kind->target == HS_TARGET_POINTS   ? target_points(e)
           : e->kind->target == HS_TARGET_PLACES ? target_places(e)
                                                 : target_word(e);
}

// What is given but would do nothing here was meant for another word, or another mode.
static int check_only(const hs_edit *e) {
    for (const hs_edit_only *o = e->kind->only; o && o->param; o++) {
        const char *word = o->by ? hs_args_text(&e->args, o->by) : e->target.data;
        const char *of = o->by ? o->by : e->kind->name, sign = o->by ? '=' : ':';
        if (!hs_args_given(&e->args, o->param) || hs_choices_have(o->words, word)) continue;
        return hs_fail(HS_EARG, "%s= is for %s%c%s, and this is %s%c%s", o->param, of, sign,
                       o->words, of, sign, word);
    }
    return HS_OK;
}

// ---- opening ------------------------------------------------------------------------------------

static int open_kind(hs_edit *e) {
    const enum hs_target target = e->kind->target;
    const hs_edit_setup setup = {
        .dims = &e->dims,
        .units = target == HS_TARGET_UNITS ? &e->units : NULL,
        .target = target == HS_TARGET_POINTS ? e->aim : NULL,
        .word = target == HS_TARGET_WORD ? e->target.data : NULL,
        .heads = &e->heads,
        .args = &e->args,
    };
    int rc = hs_alloc(&e->points, (size_t)e->dims.n_layer + 1, sizeof *e->points);
    if (rc) return rc;
    e->opened = true;
    return e->kind->open(&e->state, &setup, e->points, &e->need);
}

static int read_spec(hs_edit *e) {
    const size_t n = hs_spec_name(e->spec);
    e->kind = hs_intervention_find(e->spec, n);
    if (!e->kind) return unknown_kind(e->spec, n);
    int rc = make_params(e);
    if (!rc) rc = read_args(e, hs_spec_args(e->spec));
    if (!rc) rc = read_places(e);
    if (!rc) rc = read_target(e);
    if (!rc) rc = check_only(e);
    return rc ? rc : open_kind(e);
}

int hs_edit_open(hs_edit **out, const hs_dims *dims, const char *spec) {
    hs_edit *e;
    *out = NULL;
    int rc = hs_alloc(&e, 1, sizeof *e);
    if (rc) return rc;
    e->dims = *dims;
    e->spec = strdup(spec);
    rc = e->spec ? hs_prefix(read_spec(e), "--do %s", spec) : hs_fail(HS_ENOMEM, "out of memory");
    if (rc)
        hs_edit_close(e);
    else
        *out = e;
    return rc;
}

void hs_edit_close(hs_edit *e) {
    if (!e) return;
    if (e->opened && e->kind->close) e->kind->close(e->state);
    hs_args_free(&e->args);
    hs_units_free(&e->units);
    hs_heads_free(&e->heads);
    hs_buf_free(&e->target);
    free(e->params);
    free(e->aim);
    free(e->points);
    free(e->spec);
    free(e);
}

const hs_intervention *hs_edit_kind(const hs_edit *e) {
    return e->kind;
}

const char *hs_edit_spec(const hs_edit *e) {
    return e->spec;
}

const uint64_t *hs_edit_points(const hs_edit *e) {
    return e->points;
}

const hs_ref_need *hs_edit_need(const hs_edit *e) {
    return &e->need;
}

void hs_edit_json(const hs_edit *e, hs_buf *out) {
    hs_buf args = {0};
    hs_args_json(&e->args, &args);
    hs_jw w = {.out = out};
    hs_jw_begin(&w, '{');
    hs_jw_key(&w, "target");
    hs_jw_str(&w, e->target.data);
    // The members of the other object follow: all kinds have some.
    hs_buf_chr(out, ',');
    if (args.len) hs_buf_add(out, args.data + 1, args.len - 1);
    if (!out->rc) out->rc = args.rc;
    hs_buf_free(&args);
}

// ---- prompts ------------------------------------------------------------------------------------

// Whether prompts='s part text[0..n) means the prompt.
static bool means(const char *text, size_t n, const hs_edit_prompt *p) {
    if (p->id && strlen(p->id) == n && !memcmp(p->id, text, n)) return true;
    if (!n || n > 18 || strspn(text, "0123456789") != n) return false;
    return strtoll(text, NULL, 10) == p->ord;
}

static bool is_about(const hs_edit *e, const hs_edit_prompt *p) {
    const char *text = hs_args_text(&e->args, "prompts");
    if (!strcmp(text, "all")) return true;
    for (;; text++) {
        const size_t n = strcspn(text, "+");
        if (means(text, n, p)) return true;
        text += n;
        if (!*text) return false;
    }
}

// What a kind is asked about a prompt before it runs.
static hs_edit_at before_run(const hs_edit *e, const hs_edit_prompt *p, const struct hs_aimed *a) {
    return (hs_edit_at){.edit = e, .n_token = p->n_token, .aimed = a};
}

int hs_edit_where_resolve(hs_edit_where *out, const hs_edit *e, const hs_edit_prompt *p) {
    int rc = HS_OK;
    out->about = is_about(e, p);
    out->rows = e->place_rows;
    out->from = 0;
    for (int i = 0; i < PLACES && out->about && !rc; i++) {
        if (!e->place[i]) continue;
        rc = hs_places_resolve(&out->place[i], e->place[i], p->n_token, p->own, p->given);
        // Positions that prompts may lack: this one does.
        if (!rc && hs_places_none(&out->place[i])) out->about = false;
    }
    if (!rc && out->about && e->kind->first) {
        const struct hs_aimed aimed = {.where = *out};
        const hs_edit_at at = before_run(e, p, &aimed);
        out->from = e->kind->first(e->state, &at);
    }
    return rc;
}

void hs_edit_where_free(hs_edit_where *w) {
    for (int i = 0; i < PLACES; i++) hs_places_free(&w->place[i]);
}

bool hs_edit_where_row(const hs_edit_where *w, int64_t pos) {
    if (pos < w->from) return false;
    for (int i = 0; i < PLACES; i++)
        if (w->rows[i] && !hs_places_has(&w->place[i], pos)) return false;
    return true;
}

static int64_t first_row(const hs_edit_where *w, int64_t n_token) {
    int64_t pos = w->about ? 0 : n_token;
    while (pos < n_token && !hs_edit_where_row(w, pos)) pos++;
    return pos;
}

static bool is_gone(const hs_edit *e, const hs_edit_where *w, int64_t pos) {
    return hs_places_has(&w->place[1 + e->need.place], pos);
}

// The run without a place has a row left, and the last one where that is compared.
static int check_left(const hs_edit *e, const hs_edit_where *w, int64_t n_token) {
    int64_t pos = 0;
    if (e->need.from != HS_REF_WITHOUT) return HS_OK;
    while (pos < n_token && is_gone(e, w, pos)) pos++;
    if (pos == n_token)
        return hs_fail(HS_ERANGE, "the span is the whole prompt: nothing is left to compare with");
    return e->need.last && is_gone(e, w, n_token - 1)
               ? hs_fail(HS_ERANGE, "the span holds the prompt's last position, whose row is "
                                    "compared with and without it")
               : HS_OK;
}

int hs_edit_gone(const hs_edit *e, const hs_edit_prompt *p, bool *gone) {
    hs_edit_where w = {0};
    int rc = hs_edit_where_resolve(&w, e, p);
    for (int64_t i = 0; i < p->n_token; i++) gone[i] = !rc && w.about && is_gone(e, &w, i);
    hs_edit_where_free(&w);
    return hs_prefix(rc, "--do %s, prompt %lld", e->spec, (long long)p->ord);
}

int hs_edit_ranges(const hs_edit *e, const hs_edit_prompt *p, int i, hs_places *out) {
    *out = (hs_places){0};
    return hs_prefix(hs_places_resolve(out, e->place[1 + i], p->n_token, p->own, p->given),
                     "--do %s, prompt %lld", e->spec, (long long)p->ord);
}

int hs_edit_check(const hs_edit *e, const hs_edit_prompt *p) {
    hs_edit_where w = {0};
    int rc = hs_edit_where_resolve(&w, e, p);
    if (!rc && w.about && w.from >= p->n_token)
        rc = hs_fail(HS_ERANGE, "the span reaches the end of the prompt, and no row comes after");
    if (!rc && w.about && first_row(&w, p->n_token) == p->n_token)
        rc = hs_fail(HS_ERANGE, "no position is in all of the ranges that it gives");
    if (!rc && w.about) rc = check_left(e, &w, p->n_token);
    if (!rc && w.about && e->kind->check) {
        const struct hs_aimed aimed = {.where = w};
        const hs_edit_at at = before_run(e, p, &aimed);
        rc = e->kind->check(e->state, &at);
    }
    hs_edit_where_free(&w);
    return hs_prefix(rc, "--do %s, prompt %lld", e->spec, (long long)p->ord);
}

int64_t hs_edit_first(const hs_edit *e, const hs_edit_prompt *p) {
    hs_edit_where w = {0};
    // What cannot be resolved is as good as edited from the start.
    const int64_t first = hs_edit_where_resolve(&w, e, p) ? 0 : first_row(&w, p->n_token);
    hs_edit_where_free(&w);
    return e->kind->whole && first < p->n_token ? 0 : first;
}

int64_t hs_edit_end(const hs_edit *e, const hs_edit_prompt *p) {
    hs_edit_where w = {0};
    int64_t end = p->n_token;
    if (!hs_edit_where_resolve(&w, e, p))
        while (end > 0 && !(w.about && hs_edit_where_row(&w, end - 1))) end--;
    hs_edit_where_free(&w);
    return end;
}

int hs_edit_check_all(const hs_edit *e, const hs_edit_prompt *prompt, int64_t n) {
    const char *text = hs_args_text(&e->args, "prompts");
    int rc = HS_OK;
    for (int64_t i = 0; i < n && !rc; i++) rc = hs_edit_check(e, &prompt[i]);
    if (rc || !strcmp(text, "all")) return rc;
    for (;; text++) {
        const size_t len = strcspn(text, "+");
        int64_t i = 0;
        while (i < n && !means(text, len, &prompt[i])) i++;
        if (i == n)
            return hs_fail(HS_ENOTFOUND, "--do %s: there is no prompt '%.*s' among the %lld",
                           e->spec, (int)len, text, (long long)n);
        text += len;
        if (!*text) return HS_OK;
    }
}
