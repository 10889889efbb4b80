// --do specs and the spans that they name; see edits.h.
#include "cli/edits.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/core/hash.h"
#include "model/core/mem.h"

const hs_opt hs_opts_do[] = {
    {"do", 0, HS_OPT_LIST, offsetof(hs_do_options, spec), "INTERVENTION[:TARGET,k=v,...]", NULL,
     "edit the run, in the order given; @RUN: as that run was edited; may be repeated: see list "
     "interventions"},
    {"embeds", 0, HS_OPT_LIST, offsetof(hs_do_options, embeds), "FILE.npy@START", NULL,
     "takes the rows of FILE, [n, d_model], as input embeddings from position START on, or of the "
     "span START; may be repeated"},
    {0},
};

// A copy of text[0..n) that lives as long as d.
static int keep(hs_do *d, const char *text, size_t n, char **out) {
    int rc = hs_grow(&d->text, (size_t)d->n_text + 1, sizeof *d->text);
    if (rc) return rc;
    *out = strndup(text, n);
    if (!*out) return hs_fail(HS_ENOMEM, "out of memory");
    d->text[d->n_text++] = *out;
    return HS_OK;
}

static int add_spec(hs_do *d, const char *spec) {
    int rc = hs_grow(&d->spec, (size_t)d->n + 1, sizeof *d->spec);
    if (!rc) d->spec[d->n++] = spec;
    return rc;
}

// The specs of "@3" or "@FILE.db:3".
static int add_run(hs_do *d, const char *run) {
    hs_buf specs = {0};
    char *spec;
    int n;
    int rc = hs_runs_edits(d->runs, run, &specs, &n);
    for (const char *at = specs.data; n && !rc; n--, at += strlen(at) + 1) {
        rc = keep(d, at, strlen(at), &spec);
        if (!rc) rc = add_spec(d, spec);
    }
    hs_buf_free(&specs);
    return hs_prefix(rc, "--do @%s", run);
}

// "FILE.npy@START" is an edit like others. A file's name may have an '@', too.
static int add_embeds(hs_do *d, const char *text) {
    const char *at = strrchr(text, '@');
    hs_buf spec = {0};
    char *kept;
    if (!at || at == text || !at[1])
        return hs_fail(HS_EARG, "--embeds %s: it takes FILE.npy@START, as in image.npy@5", text);
    if (strchr(text, ','))
        return hs_fail(HS_EARG,
                       "--embeds %s: a comma cannot be told from those between an edit's "
                       "parameters: give the file a name without",
                       text);
    hs_buf_printf(&spec, "embeds:%s,file=%.*s", at + 1, (int)(at - text), text);
    int rc = hs_buf_rc(&spec);
    if (!rc) rc = keep(d, spec.data, spec.len, &kept);
    if (!rc) rc = add_spec(d, kept);
    hs_buf_free(&spec);
    return rc;
}

// "NAME=A:B", which was checked with the prompts.
static int add_span(hs_do *d, const char *text) {
    const size_t n = strcspn(text, "=");
    char *name;
    int rc = hs_grow(&d->span, (size_t)d->n_span + 1, sizeof *d->span);
    if (!rc) rc = keep(d, text, n, &name);
    for (int i = 0; i < d->n_span && !rc; i++)
        if (!strcmp(d->span[i].name, name))
            rc = hs_fail(HS_EARG, "--span %s is given twice: give each span a name of its own",
                         name);
    if (rc) return rc;
    d->span[d->n_span++] = (hs_span){name, atol(text + n + 1), atol(strchr(text, ':') + 1)};
    return HS_OK;
}

int hs_do_open(hs_do *d, const hs_do_options *options, const hs_opt_list *span,
               const hs_session *session, const char *db_path) {
    const hs_dims dims = hs_dims_of(session->model);
    *d = (hs_do){0};
    int rc = hs_runs_open(&d->runs, db_path);
    if (!rc) d->source = hs_runs_source(d->runs, &dims);
    for (int i = 0; i < span->n && !rc; i++) rc = add_span(d, span->at[i]);
    for (int i = 0; i < options->embeds.n && !rc; i++) rc = add_embeds(d, options->embeds.at[i]);
    for (int i = 0; i < options->spec.n && !rc; i++) {
        const char *spec = options->spec.at[i];
        rc = *spec == '@' ? add_run(d, spec + 1) : add_spec(d, spec);
    }
    if (rc) return rc;
    const hs_editing_opts opts = {.model = session->model,
                                  .prompts = session->prompts,
                                  .spans = {d->span, d->n_span},
                                  .runs = &d->source,
                                  .progress = &session->bar.progress};
    rc = hs_editing_open(&d->editing, &opts, d->spec, d->n);
    while (!rc && d->n_input < d->n && hs_edit_kind(hs_editing_at(d->editing, d->n_input))->input)
        d->n_input++;
    return rc;
}

void hs_do_close(hs_do *d) {
    hs_editing_close(d->editing);
    hs_runs_close(d->runs);
    for (int i = 0; i < d->n_text; i++) free(d->text[i]);
    free(d->text);
    free(d->spec);
    free(d->span);
    *d = (hs_do){0};
}

// What a file of a parameter holds decides the results too.
static void json_file(hs_jw *w, const hs_json *params, const char *param, const char *key) {
    const char *path = hs_json_str(hs_json_get(params, param));
    struct stat file;
    hs_map map;
    char hex[24];
    if (!path || stat(path, &file) || !S_ISREG(file.st_mode) || hs_map_open(&map, path)) return;
    snprintf(hex, sizeof hex, "%016" PRIx64, hs_fnv(HS_FNV_SEED, map.data, map.size));
    hs_map_close(&map);
    hs_jw_key(w, key);
    hs_jw_str(w, hex);
}

static void json_files(hs_jw *w, const hs_buf *params) {
    hs_json *json = NULL;
    if (hs_json_parse(&json, hs_buf_text(params), params->len)) w->out->rc = HS_ENOMEM;
    json_file(w, json, "vec", "vec_hash");
    json_file(w, json, "file", "file_hash");
    json_file(w, json, "reference", "reference_hash");
    hs_json_free(json);
}

void hs_do_json(hs_jw *w, const hs_do *d) {
    if (!d->n) return;
    hs_jw_key(w, "do");
    hs_jw_begin(w, '[');
    for (int i = 0; i < d->n; i++) {
        const hs_edit *edit = hs_editing_at(d->editing, i);
        hs_buf params = {0};
        hs_edit_json(edit, &params);
        hs_jw_begin(w, '{');
        hs_jw_key(w, "name");
        hs_jw_str(w, hs_edit_kind(edit)->name);
        hs_jw_key(w, "params");
        hs_jw_buf(w, &params);
        json_files(w, &params);
        hs_jw_end(w, '}');
        hs_buf_free(&params);
    }
    hs_jw_end(w, ']');
}
