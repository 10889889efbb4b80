// From an op and units to the edits that --do takes.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/sweep/walk.h"
#include "model/core/mem.h"

static const char *const modes[] = {"zero", "mean", "resample", "uniform", "bos"};

static bool is_mode(const char *op) {
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (!strcmp(op, modes[i])) return true;
    return false;
}

// Whether "k=v,k=v" has the key.
static bool has_key(const char *args, const char *key) {
    const size_t n = strlen(key);
    for (; args; args = strchr(args, ',')) {
        if (*args == ',') args++;
        if (!strncmp(args, key, n) && args[n] == '=') return true;
    }
    return false;
}

int hs_sweep_spec(hs_buf *out, const hs_sweep_opts *o, const hs_unit *unit) {
    char name[HS_UNIT_NAME];
    const char *op = o->op;
    hs_unit_name(name, unit);
    if (is_mode(op)) {
        hs_buf_printf(out, "ablate:%s,mode=%s", name, op);
        if (!strcmp(op, "resample") && !has_key(o->op_args, "seed"))
            hs_buf_printf(out, ",seed=%llu", (unsigned long long)o->seed);
    } else if (strchr(op, '@')) {
        for (const char *c = op; *c; c++)
            if (*c == '@')
                hs_buf_str(out, name);
            else
                hs_buf_chr(out, *c);
    } else {
        return hs_fail(HS_ENOTFOUND,
                       "'%s' is not an op of a sweep: there are zero, mean, resample, uniform, "
                       "bos, and edits with @ where the unit goes, as in temper:@,t=2",
                       op);
    }
    if (o->op_args && *o->op_args)
        hs_buf_printf(out, "%s%s", strchr(hs_buf_text(out), ':') ? "," : ":", o->op_args);
    return hs_buf_rc(out);
}

int hs_walk_specs(char ***out, const hs_sweep_opts *o) {
    hs_buf text = {0};
    int rc = HS_OK;
    *out = NULL;
    for (int64_t i = 0; i < o->units->n && !rc; i++) {
        hs_buf one = {0};
        rc = hs_sweep_spec(&one, o, &o->units->at[i]);
        hs_buf_add(&text, hs_buf_text(&one), one.len + 1);
        hs_buf_free(&one);
    }
    if (!rc) return hs_buf_texts(out, &text, (size_t)o->units->n);
    hs_buf_free(&text);
    return rc;
}
