// Methods by name, their strengths, and the --do specs that they stand for; see calibration.h.
#include <stdlib.h>
#include <string.h>

#include "analyses/calibration.h"
#include "model/core/mem.h"

#define HS_ENTRY(name) extern const hs_calibration hs_calibration_##name;
#include "gen/calibrations.inc"
#undef HS_ENTRY

#define HS_ENTRY(name) &hs_calibration_##name,
const hs_calibration *const hs_calibrations[] = {
#include "gen/calibrations.inc"
    NULL,
};
#undef HS_ENTRY

int hs_calibration_find(const hs_calibration **out, const char *spec) {
    const size_t n = hs_spec_name(spec);
    hs_buf names = {0};
    for (int i = 0; hs_calibrations[i]; i++) {
        const char *name = hs_calibrations[i]->name;
        *out = hs_calibrations[i];
        if (strlen(name) == n && !strncmp(name, spec, n)) return HS_OK;
    }
    *out = NULL;
    for (int i = 0; hs_calibrations[i]; i++)
        hs_buf_printf(&names, "%s%s", i ? ", " : "", hs_calibrations[i]->name);
    int rc = hs_fail(HS_ENOTFOUND, "'%.*s' is not a calibration: there are %s", (int)n, spec,
                     hs_buf_text(&names));
    hs_buf_free(&names);
    return rc;
}

// ---- strengths ----------------------------------------------------------------------------------

// Part i of "a+b+c", false past the last.
static bool part_of(const char *list, int i, const char **at, size_t *n) {
    while (i-- > 0) {
        list = strchr(list, '+');
        if (!list) return false;
        list++;
    }
    *at = list;
    *n = strcspn(list, "+");
    return true;
}

static int count_parts(const char *list) {
    int n = 1;
    while ((list = strchr(list, '+'))) {
        list++;
        n++;
    }
    return n;
}

// Whether the parameter [name, name + n) is one that says how strong the method is.
static bool is_strength(const hs_calibration *m, const char *name, size_t n) {
    const char *part;
    size_t n_part;
    for (int i = 0; m->strength && part_of(m->strength, i, &part, &n_part); i++)
        if (n_part == n && !strncmp(part, name, n)) return true;
    return false;
}

static const char *value_of(const hs_calibrate *c, const char *name, size_t n) {
    const char *end = c->found.data + c->found.len;
    for (const char *at = c->found.data; at && at < end; at += strlen(at) + 1)
        if (!strncmp(at, name, n) && at[n] == '=') return at + n + 1;
    for (const hs_param *p = c->method->params; p && p->name; p++)
        if (strlen(p->name) == n && !strncmp(p->name, name, n))
            return hs_args_text(&c->args, p->name);
    return "";
}

static int name_strength(hs_calibrate *c, int i) {
    hs_buf text = {0};
    const char *name, *value;
    size_t n, n_value;
    for (int k = 0; c->method->strength && part_of(c->method->strength, k, &name, &n); k++)
        if (part_of(value_of(c, name, n), i, &value, &n_value))
            hs_buf_printf(&text, "%s%.*s=%.*s", k ? "," : "", (int)n, name, (int)n_value, value);
    int rc = hs_buf_rc(&text);
    if (!rc && !(c->strength[i] = strdup(hs_buf_text(&text)))) rc = HS_ENOMEM;
    hs_buf_free(&text);
    return rc == HS_ENOMEM ? hs_fail(rc, "out of memory") : rc;
}

static int read_strengths(hs_calibrate *c) {
    const char *name;
    size_t n;
    int rc = HS_OK;
    c->n_strength = 1;
    for (int k = 0; c->method->strength && part_of(c->method->strength, k, &name, &n); k++) {
        const int count = count_parts(value_of(c, name, n));
        if (k && count != c->n_strength)
            return hs_fail(HS_EARG,
                           "%.*s has %d values, and %s takes one of each together: give as many of "
                           "each, joined by +",
                           (int)n, name, count, c->method->strength);
        if (count > HS_CALIBRATION_STRENGTHS)
            return hs_fail(HS_EARG, "%.*s has %d values: at most %d are tried", (int)n, name, count,
                           HS_CALIBRATION_STRENGTHS);
        c->n_strength = count;
    }
    for (int i = 0; i < c->n_strength && !rc; i++) rc = name_strength(c, i);
    for (int i = 0; i < c->n_strength && !rc; i++)
        for (int k = 0; k < i && !rc; k++)
            if (!strcmp(c->strength[i], c->strength[k]))
                rc = hs_fail(HS_EARG, "%s is given twice", c->strength[i]);
    return rc;
}

int hs_calibrate_open(hs_calibrate *c, const char *spec) {
    *c = (hs_calibrate){0};
    int rc = hs_calibration_find(&c->method, spec);
    if (!rc) rc = hs_args_parse(&c->args, c->method->params, hs_spec_args(spec));
    if (!rc) rc = read_strengths(c);
    return c->method ? hs_prefix(rc, "%s", c->method->name) : rc;
}

void hs_calibrate_close(hs_calibrate *c) {
    for (int i = 0; i < HS_CALIBRATION_STRENGTHS; i++) free(c->strength[i]);
    hs_args_free(&c->args);
    hs_buf_free(&c->found);
    *c = (hs_calibrate){0};
}

// ---- specs --------------------------------------------------------------------------------------

// Heads of a layer that stand together as a range.
void hs_calibrate_heads(hs_buf *out, const hs_heads *heads) {
    bool any = false;
    for (int l = 0; l < heads->n_layer; l++)
        for (int h = 0; h < heads->n_head; h++) {
            int last = h;
            if (!hs_heads_has(heads, l, h)) continue;
            while (last + 1 < heads->n_head && hs_heads_has(heads, l, last + 1)) last++;
            hs_buf_printf(out, "%sL%dH", any ? "+" : "", l);
            if (last == heads->n_head - 1 && h == 0)
                hs_buf_chr(out, '*');
            else if (last > h)
                hs_buf_printf(out, "%d-%d", h, last);
            else
                hs_buf_printf(out, "%d", h);
            any = true;
            h = last;
        }
}

// A part of a spec with parameters and heads in their places; *empty when a parameter has no value.
static void fill_part(const hs_calibrate *c, int strength, const char *part, size_t n,
                      const char *heads, hs_buf *out, bool *empty) {
    const char *end = part + n;
    *empty = false;
    while (part < end) {
        const char *close = *part == '{' ? memchr(part, '}', (size_t)(end - part)) : NULL;
        if (*part == '@') {
            hs_buf_str(out, heads);
            part++;
        } else if (close) {
            const size_t n_name = (size_t)(close - part) - 1;
            const char *value = value_of(c, part + 1, n_name);
            size_t n_value = strlen(value);
            if (is_strength(c->method, part + 1, n_name))
                part_of(value_of(c, part + 1, n_name), strength, &value, &n_value);
            *empty |= !n_value;
            hs_buf_add(out, value, n_value);
            part = close + 1;
        } else {
            hs_buf_chr(out, *part++);
        }
    }
}

static int fill(const hs_calibrate *c, int strength, const char *spec, const char *heads,
                hs_buf *out) {
    int rc = HS_OK;
    for (bool first = true; *spec && !rc; first = false) {
        hs_buf part = {0};
        const size_t n = strcspn(spec, ",");
        bool empty;
        fill_part(c, strength, spec, n, heads, &part, &empty);
        rc = hs_buf_rc(&part);
        if (!empty || first) hs_buf_printf(out, "%s%s", first ? "" : ",", hs_buf_text(&part));
        hs_buf_free(&part);
        spec += n + (spec[n] == ',');
    }
    hs_buf_chr(out, 0);
    return rc ? rc : hs_buf_rc(out);
}

static int heads_of_group(hs_buf *out, const hs_heads *heads, const int *group, int i) {
    hs_heads some = *heads;
    const size_t n = (size_t)(heads->n_layer * heads->n_head);
    int rc = hs_alloc(&some.on, n, sizeof *some.on);
    for (size_t k = 0; k < n && !rc; k++) some.on[k] = heads->on[k] && (group ? group[k] : 0) == i;
    if (!rc) hs_calibrate_heads(out, &some);
    free(some.on);
    return rc ? rc : hs_buf_rc(out);
}

int hs_calibrate_specs(const hs_calibrate *c, int strength, const hs_heads *heads, const int *group,
                       hs_buf *out, int *n) {
    int rc = HS_OK;
    *n = 0;
    for (int i = 0; c->method->specs[i] && !rc; i++) {
        hs_buf chosen = {0};
        const bool choose = strchr(c->method->specs[i], '@');
        if (choose) rc = heads_of_group(&chosen, heads, group, i);
        if (!rc && (!choose || chosen.len)) {
            rc = fill(c, strength, c->method->specs[i], hs_buf_text(&chosen), out);
            ++*n;
        }
        hs_buf_free(&chosen);
    }
    return rc;
}
