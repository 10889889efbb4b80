// See observed.h.
#include "tests/lib/observed.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_listed(const hs_metric *m, const char *name) {
    while (m && m->name && strcmp(m->name, name)) m++;
    return m && m->name;
}

// What is undefined has a reason, what is defined has none, and both are in the descriptor.
static int take_metric(void *ctx, int layer, int head, const char *name, double value,
                       const char *reason) {
    observed *o = ctx;
    assert_true(is_listed(o->of->metrics, name));
    assert_true(isnan(value) == (reason != NULL));
    hs_buf_printf(&o->text, "%s L%dH%d = %.17g %s\n", name, layer, head, value,
                  reason ? reason : "");
    return hs_buf_rc(&o->text);
}

static int take_series(void *ctx, int layer, int head, const char *name, const double *v,
                       int64_t n) {
    observed *o = ctx;
    assert_true(is_listed(o->of->series, name));
    for (int64_t i = 0; i < n; i++)
        hs_buf_printf(&o->text, "%s[%d] L%dH%d = %.17g\n", name, (int)i, layer, head, v[i]);
    return hs_buf_rc(&o->text);
}

static int take_row(void *ctx, const char *table, const hs_value *values) {
    observed *o = ctx;
    const hs_result_table *t = o->of->tables;
    while (t && t->name && strcmp(t->name, table)) t++;
    assert_true(t && t->name);
    hs_buf_printf(&o->text, "%s:", table);
    for (int i = 0; t->columns[i].name; i++) {
        const bool whole = !strcmp(t->columns[i].type, "INTEGER");
        const bool text = !strcmp(t->columns[i].type, "TEXT");
        assert_true(values[i].type == HS_VAL_NULL ? i >= t->n_key
                                                  : whole == (values[i].type == HS_VAL_INT) &&
                                                        text == (values[i].type == HS_VAL_TEXT));
        if (values[i].type == HS_VAL_NULL)
            hs_buf_str(&o->text, " NULL");
        else if (text)
            hs_buf_printf(&o->text, " %s", values[i].s);
        else if (whole)
            hs_buf_printf(&o->text, " %lld", (long long)values[i].i);
        else
            hs_buf_printf(&o->text, " %.17g", values[i].f);
    }
    hs_buf_chr(&o->text, '\n');
    return hs_buf_rc(&o->text);
}

void observed_finish(observed *o, const hs_observe_list *list, hs_observation *seen) {
    const hs_emit emit = {o, take_metric, take_series, take_row};
    hs_buf_clear(&o->text);
    for (int i = 0; i < list->n; i++) {
        o->of = list->item[i].observer;
        if (hs_observation_finish(seen, i, &emit)) fail_msg("%s", hs_errmsg());
    }
}

void observed_free(observed *o) {
    hs_buf_free(&o->text);
}

double observed_value(const observed *o, const char *what) {
    const size_t n = strlen(what);
    for (const char *line = hs_buf_text(&o->text); line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, what, n) && !strncmp(line + n, " = ", 3)) return atof(line + n + 3);
    }
    fail_msg("no result is called '%s'", what);
    return (double)NAN;
}

void observed_near(const observed *o, const char *what, double expected, double tolerance) {
    const double got = observed_value(o, what);
    if (!(fabs(got - expected) <= tolerance)) fail_msg("%s = %.9g, not %.9g", what, got, expected);
}

void observed_has(const observed *o, const char *text) {
    if (!strstr(hs_buf_text(&o->text), text))
        fail_msg("'%s' is not in\n%s", text, hs_buf_text(&o->text));
}

void observed_lacks(const observed *o, const char *text) {
    if (strstr(hs_buf_text(&o->text), text))
        fail_msg("'%s' is in\n%s", text, hs_buf_text(&o->text));
}
