// Parsing of "k=v,k=v" against a table of parameters; see param.h. The text is copied once and cut
// in place, so values of type TEXT and ENUM point into that copy or at the table's default.
#include "model/core/param.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/json.h"

size_t hs_spec_name(const char *spec) {
    return strcspn(spec, ":");
}

const char *hs_spec_args(const char *spec) {
    const char *colon = strchr(spec, ':');
    return colon ? colon + 1 : "";
}

// "a, b and c" of a table, for messages.
static void list_names(const hs_param *params, hs_buf *out) {
    for (const hs_param *p = params; p->name; p++) {
        if (p != params) hs_buf_str(out, p[1].name ? ", " : " and ");
        hs_buf_str(out, p->name);
    }
}

static int unknown(const hs_param *params, const char *key) {
    if (!params || !params->name)
        return hs_fail(HS_EARG, "parameter '%s' is not known: there are no parameters here", key);
    hs_buf names = {0};
    list_names(params, &names);
    int rc = hs_fail(HS_EARG, "parameter '%s' is not known: the parameters are %s", key,
                     hs_buf_text(&names));
    hs_buf_free(&names);
    return rc;
}

bool hs_choices_have(const char *choices, const char *value) {
    size_t n = strlen(value);
    for (const char *c = choices;; c++) {
        size_t len = strcspn(c, "|");
        if (len == n && !memcmp(c, value, n)) return true;
        c += len;
        if (!*c) return false;
    }
}

static int check_range(const hs_param *p, double v) {
    if (p->min > p->max || (v >= p->min && v <= p->max)) return HS_OK;
    if (isinf(p->max))
        return hs_fail(HS_EARG, "%s=%.17g is out of range: %.17g or more", p->name, v, p->min);
    return hs_fail(HS_EARG, "%s=%.17g is out of range: from %.17g to %.17g", p->name, v, p->min,
                   p->max);
}

// strto* accept leading white space, which a spec never means.
static bool plain_start(const char *s) {
    return *s && !strchr(" \t\n\v\f\r", *s);
}

static int set_value(hs_args *a, size_t at, const char *value) {
    const hs_param *p = &a->params[at];
    char *end;
    errno = 0;
    switch (p->type) {
    case HS_PARAM_INT: {
        long long v = strtoll(value, &end, 10);
        if (!plain_start(value) || *end || errno)
            return hs_fail(HS_EARG, "%s=%s: a whole number is needed", p->name, value);
        a->v[at].i = v;
        return check_range(p, (double)v);
    }
    case HS_PARAM_NUM: {
        double v = strtod(value, &end);
        if (!plain_start(value) || *end || !isfinite(v))
            return hs_fail(HS_EARG, "%s=%s: a number is needed", p->name, value);
        a->v[at].f = v;
        return check_range(p, v);
    }
    case HS_PARAM_ENUM:
        if (!hs_choices_have(p->choices, value))
            return hs_fail(HS_EARG, "%s=%s: one of %s is needed", p->name, value, p->choices);
        a->v[at].s = value;
        return HS_OK;
    case HS_PARAM_TEXT:
        a->v[at].s = value;
        return HS_OK;
    }
    return HS_OK;
}

// The index of `key`, or of the end of the table.
static size_t find(const hs_param *params, const char *key) {
    size_t i = 0;
    while (params[i].name && strcmp(params[i].name, key)) i++;
    return i;
}

static int parse_pairs(hs_args *a, size_t n) {
    if (!a->text.len) return HS_OK;
    for (char *at = a->text.data, *next; at; at = next) {
        next = strchr(at, ',');
        if (next) *next++ = 0;
        char *value = strchr(at, '=');
        if (!value || value == at)
            return hs_fail(HS_EARG, "'%s': a parameter is written NAME=VALUE", at);
        *value++ = 0;
        size_t i = n ? find(a->params, at) : n;
        if (i == n) return unknown(a->params, at);
        if (a->given[i]) return hs_fail(HS_EARG, "parameter '%s' is given twice", at);
        a->given[i] = true;
        int rc = set_value(a, i, value);
        if (rc) return rc;
    }
    return HS_OK;
}

int hs_args_parse(hs_args *out, const hs_param *params, const char *text) {
    *out = (hs_args){.params = params};
    size_t n = 0;
    while (params && params[n].name) n++;
    assert(n <= HS_ARGS_MAX);
    hs_buf_str(&out->text, text);
    int rc = hs_buf_rc(&out->text);
    if (!rc) rc = parse_pairs(out, n);
    for (size_t i = 0; i < n && !rc; i++)
        if (!out->given[i]) rc = set_value(out, i, params[i].fallback);
    return rc;
}

void hs_args_free(hs_args *a) {
    hs_buf_free(&a->text);
    *a = (hs_args){0};
}

static size_t index_of(const hs_args *a, const char *name) {
    assert(a->params);
    size_t i = find(a->params, name);
    assert(a->params[i].name);
    return i;
}

int64_t hs_args_int(const hs_args *a, const char *name) {
    return a->v[index_of(a, name)].i;
}

double hs_args_num(const hs_args *a, const char *name) {
    return a->v[index_of(a, name)].f;
}

const char *hs_args_text(const hs_args *a, const char *name) {
    return a->v[index_of(a, name)].s;
}

bool hs_args_given(const hs_args *a, const char *name) {
    return a->given[index_of(a, name)];
}

void hs_args_json(const hs_args *a, hs_buf *out) {
    hs_jw w = {.out = out};
    hs_jw_begin(&w, '{');
    for (size_t i = 0; a->params && a->params[i].name; i++) {
        hs_jw_key(&w, a->params[i].name);
        switch (a->params[i].type) {
        case HS_PARAM_INT:
            hs_jw_int(&w, a->v[i].i);
            break;
        case HS_PARAM_NUM:
            hs_jw_num(&w, a->v[i].f);
            break;
        case HS_PARAM_ENUM:
        case HS_PARAM_TEXT:
            hs_jw_str(&w, a->v[i].s);
            break;
        }
    }
    hs_jw_end(&w, '}');
}
