// The words that the names of values in options and synopses stand for; see complete.h.
#include <stdlib.h>
#include <string.h>

#include "analyses/prompt.h"
#include "cli/help/complete.h"
#include "cli/help/explain.h"
#include "cli/help/man.h"
#include "cli/reader.h"
#include "db/export.h"
#include "hooks/intervention.h"
#include "viz/fig.h"

// ---- from the tables of this build ----------------------------------------------------------

static void metrics(hs_words *w) {
    hs_analysis giver;
    const hs_metric *m;
    for (int i = 0; (m = hs_metric_at(i, &giver)); i++) hs_words_add(w, m->name, m->about);
}

static void queries(hs_words *w) {
    char title[200];
    for (const hs_query_info *q = hs_queries; q->name; q++) {
        hs_query_title(q, title, sizeof title);
        hs_words_add(w, q->name, title);
    }
}

static void colormaps(hs_words *w) {
    for (const hs_cmap *c = hs_cmaps; c->name; c++) hs_words_add(w, c->name, c->about);
}

static void formats(hs_words *w) {
    for (int i = 0; hs_export_formats[i]; i++)
        hs_words_add(w, hs_export_formats[i]->name, hs_export_formats[i]->title);
}

static void lists(hs_words *w) {
    const char *name;
    for (int i = 0; (name = hs_list_name(NULL, i)); i++) hs_words_add(w, name, NULL);
}

static void pages(hs_words *w) {
    hs_buf name = {0};
    for (int i = 0; hs_man_name(i, &name); i++) hs_words_add(w, hs_buf_text(&name), NULL);
    hs_buf_free(&name);
}

static const hs_kind *kind_of(const hs_line *line) {
    for (const hs_kind *k = hs_kinds; line->n_arg && k->name; k++)
        if (strcmp(k->name, line->arg[0]) == 0) return k;
    return NULL;
}

// Names that help explains: first those of every kind, and the kinds.
static void names(hs_words *w) {
    const hs_kind *only = kind_of(w->line);
    const char *name;
    if (w->line->n_arg && !only) return;
    for (const hs_kind *k = hs_kinds; k->name; k++) {
        if (!only) hs_words_add(w, k->name, "a kind of name");
        if (only && k != only) continue;
        for (int i = 0; (name = k->at(i)); i++)
            if (only || !k->aside) hs_words_add(w, name, k->name);
    }
}

// ---- lists and parameters -------------------------------------------------------------------

// What follows the last comma of what is typed.
static void after_comma(hs_words *w) {
    const char *cut = strrchr(w->line->word + w->stem, ',');
    if (cut) w->stem = (size_t)(cut + 1 - w->line->word);
}

// "a|b|c" at the '=' of a parameter.
static void choices(hs_words *w, const char *all) {
    for (const char *c = all; c && *c;) {
        char word[64];
        size_t n = strcspn(c, "|");
        snprintf(word, sizeof word, "%.*s", (int)n, c);
        hs_words_add(w, word, NULL);
        c += n + (c[n] == '|');
    }
}

// Past "NAME:", the parameters: "k=", and after it the choices.
static void params(hs_words *w, const hs_param *p) {
    w->stem = (size_t)(hs_spec_args(w->line->word + w->stem) - w->line->word);
    after_comma(w);
    const char *typed = w->line->word + w->stem;
    size_t n = strcspn(typed, "=");
    if (typed[n]) w->stem += n + 1;
    for (; p && p->name; p++) {
        char word[64];
        snprintf(word, sizeof word, "%s=", p->name);
        if (!typed[n])
            hs_words_add(w, word, p->help);
        else if (strlen(p->name) == n && memcmp(p->name, typed, n) == 0)
            choices(w, p->choices);
    }
}

static bool is_spec(const hs_words *w, const char *name) {
    const char *typed = w->line->word + w->stem;
    size_t n = hs_spec_name(typed);
    return typed[n] == ':' && strlen(name) == n && memcmp(typed, name, n) == 0;
}

static void observers(hs_words *w) {
    for (int i = 0; hs_observers[i]; i++)
        if (is_spec(w, hs_observers[i]->name)) {
            params(w, hs_observers[i]->params);
            return;
        }
    after_comma(w);
    for (int i = 0; hs_observers[i]; i++)
        if (!hs_observers[i]->always)
            hs_words_add(w, hs_observers[i]->name, hs_observers[i]->title);
}

static void datasets(hs_words *w) {
    const char *typed = w->line->word + w->stem;
    const int given = hs_dataset_find(typed);
    if (given >= 0 && typed[hs_spec_name(typed)] == ':') {
        params(w, hs_datasets[given]->params);
        return;
    }
    for (int i = 0; hs_datasets[i]; i++)
        hs_words_add(w, hs_datasets[i]->name, hs_datasets[i]->title);
}

static void calibrations(hs_words *w) {
    for (int i = 0; hs_calibrations[i]; i++)
        if (is_spec(w, hs_calibrations[i]->name)) {
            params(w, hs_calibrations[i]->params);
            return;
        }
    for (int i = 0; hs_calibrations[i]; i++)
        hs_words_add(w, hs_calibrations[i]->name, hs_calibrations[i]->title);
}

static void stats(hs_words *w) {
    for (int i = 0; i < HS_N_STAT; i++)
        hs_words_add(w, hs_stat_infos[i].name, hs_stat_infos[i].about);
}

static void heads(hs_words *w) {
    after_comma(w);
    hs_words_add(w, "all", "every head");
    hs_words_add(w, "none", "no head");
}

// Short names; full ones, of the layer that is typed, once they are begun.
static void hooks(hs_words *w) {
    after_comma(w);
    const char *typed = w->line->word + w->stem;
    int layer = strncmp(typed, "blocks.", 7) == 0 ? atoi(typed + 7) : 0;
    for (int p = 0; p < HS_N_POINT; p++) {
        const enum hs_point point = (enum hs_point)p;
        hs_buf name = {0};
        hs_point_name(&name, point, layer);
        hs_words_add(w, hs_point_infos[p].alias, hs_hook_about(point));
        if (*typed && strcmp(hs_buf_text(&name), hs_point_infos[p].alias) != 0)
            hs_words_add(w, hs_buf_text(&name), hs_hook_about(point));
        hs_buf_free(&name);
    }
}

// "NAME=VALUE" of the query that the line names.
static void query_params(hs_words *w) {
    const char *typed = w->line->word + w->stem;
    size_t n = strcspn(typed, "=");
    bool value = typed[n];
    const hs_query_info *q = hs_queries;
    while (w->line->n_arg && q->name && strcmp(q->name, w->line->arg[0]) != 0) q++;
    if (!w->line->n_arg || !q->name) return;
    if (value) w->stem += n + 1;
    char name[64], fallback[64], help[200], word[80];
    for (int i = 0;
         hs_query_param(q, i, name, sizeof name, fallback, sizeof fallback, help, sizeof help);
         i++) {
        snprintf(word, sizeof word, "%s=", name);
        if (!value)
            hs_words_add(w, word, help);
        else if (strncmp(typed, word, n + 1) == 0 && strcmp(name, "metric") == 0)
            metrics(w);
        else if (strncmp(typed, word, n + 1) == 0 && strchr(fallback, '|'))
            choices(w, fallback);
    }
}

// ---- from the database ----------------------------------------------------------------------

enum { MOST_ROWS = 2000 }; // more are no help to anybody
static const double MOST_SECONDS = 1;

// Opens the database that the line names.
static int open_db(const hs_line *line, hs_db **db) {
    const hs_db_options options = {line->db};
    const char *path = hs_cli_db_path(&options), *home = getenv("HOME");
    hs_buf full = {0};
    *db = NULL;
    if (strncmp(path, "~/", 2) == 0 && home) hs_buf_str(&full, home);
    hs_buf_str(&full, path + (full.len > 0));
    int rc = hs_buf_rc(&full);
    if (!rc) rc = hs_db_open(db, full.data, HS_DB_READ);
    hs_buf_free(&full);
    return rc;
}

// Adds a word for each row that a query gives; `add` makes it. No row, no words.
static void from_db(hs_words *w, const char *query, void (*add)(hs_words *, const hs_query *)) {
    const hs_line *line = w->line;
    hs_db *db;
    hs_query *q = NULL;
    bool row = false;
    int64_t run = 0;
    const bool runs = strcmp(query, "runs") == 0;
    int rc = open_db(line, &db);
    const char *number = line->run ? line->run : line->n_arg ? line->arg[0] : NULL;
    if (!rc && number && hs_parse_int("RUN", number, 1, INT64_MAX, &run)) run = 0;
    if (!rc && !runs) rc = hs_db_run(db, run, &run);
    if (!rc)
        rc = hs_query_open(
            &q, db, query,
            &(hs_query_opts){.run = run, .max_rows = MOST_ROWS, .max_seconds = MOST_SECONDS});
    while (!rc && !(rc = hs_query_step(q, &row)) && row) add(w, q);
    hs_query_close(q);
    hs_db_close(db);
}

static void add_run(hs_words *w, const hs_query *q) {
    char number[24], model[80], label[80], about[200];
    snprintf(number, sizeof number, "%lld", (long long)hs_query_int(q, "run"));
    hs_query_text(q, "model", model, sizeof model);
    hs_query_text(q, "label", label, sizeof label);
    snprintf(about, sizeof about, "%s, %lld prompts%s%s", model,
             (long long)hs_query_int(q, "prompts"), *label ? ": " : "", label);
    hs_words_add(w, number, about);
}

static void runs(hs_words *w) {
    from_db(w, "runs", add_run);
}

// By number, and by id where that is another word.
static void add_prompt(hs_words *w, const hs_query *q) {
    char number[24], id[200], text[200];
    snprintf(number, sizeof number, "%lld", (long long)hs_query_int(q, "prompt"));
    hs_query_text(q, "id", id, sizeof id);
    hs_query_text(q, "text", text, sizeof text);
    hs_words_add(w, number, *text ? text : id);
    if (strcmp(id, number) != 0) hs_words_add(w, id, text);
}

static void prompts(hs_words *w) {
    from_db(w, "prompts", add_prompt);
}

static void add_head(hs_words *w, const hs_query *q) {
    char name[24];
    hs_words_add(w, hs_head_name(name, hs_query_int(q, "layer"), hs_query_int(q, "head")), NULL);
}

// Heads whose maps the run has.
static void stored_heads(hs_words *w) {
    after_comma(w);
    from_db(w,
            "SELECT DISTINCT m.layer, m.head FROM prompt AS p JOIN map AS m ON m.prompt_id = p.id "
            "WHERE p.run_id = :run AND m.point = 'pattern' ORDER BY m.layer, m.head",
            add_head);
}

// ---- interventions --------------------------------------------------------------------------

// Parameters of an intervention, its own and those that all have.
static void edit_params(hs_words *w, const hs_intervention *v) {
    const size_t stem = w->stem;
    params(w, v->params);
    w->stem = stem;
    params(w, hs_edit_params);
    w->stem = stem;
    if (v->target != HS_TARGET_UNITS) params(w, hs_edit_heads_param);
}

// "NAME:TARGET,k=v,...", or "@RUN" for the edits of a recorded run.
static void interventions(hs_words *w) {
    const char *typed = w->line->word + w->stem;
    if (*typed == '@') {
        w->stem++;
        runs(w);
        return;
    }
    for (int i = 0; hs_interventions[i]; i++) {
        const hs_intervention *v = hs_interventions[i];
        char word[64];
        if (is_spec(w, v->name) && strchr(typed, ',')) {
            edit_params(w, v);
        } else if (is_spec(w, v->name)) {
            w->stem += strlen(v->name) + 1;
            if (v->target == HS_TARGET_WORD) choices(w, v->choices);
            if (v->target == HS_TARGET_POINTS) hooks(w);
            if (v->target == HS_TARGET_UNITS) hs_words_add(w, "all", "every head");
        } else {
            snprintf(word, sizeof word, "%s:", v->name);
            hs_words_add(w, word, v->title);
            continue;
        }
        return;
    }
}

// ---- the table ------------------------------------------------------------------------------

static void models(hs_words *w) {
    hs_buf_str(&w->files, " .gguf .safetensors");
}

static void folder(hs_words *w) {
    w->folders = true;
}

static const struct {
    const char *name;
    void (*add)(hs_words *);
} kinds[] = {
    {"CALIBRATION", calibrations},
    {"COLORMAP", colormaps},
    {"DATASET", datasets},
    {"FOLDER", folder},
    {"FORMAT", formats},
    {"HEADS", heads},
    {"HOOKS", hooks},
    {"INTERVENTION", interventions},
    {"L5H1", stored_heads},
    {"WHAT", lists},
    {"METRIC", metrics},
    {"MODEL", models},
    {"WORD", names},
    {"NAME=VALUE", query_params},
    {"OBSERVER", observers},
    {"PAGE", pages},
    {"PROMPT", prompts},
    {"QUERY", queries},
    {"RUN", runs},
    {"STAT", stats},
};

// "maps,acts,stats": any of them, joined by commas.
static void joined(hs_words *w, const char *all) {
    after_comma(w);
    for (const char *c = all; *c;) {
        char word[64];
        size_t n = strcspn(c, ",");
        snprintf(word, sizeof word, "%.*s", (int)n, c);
        hs_words_add(w, word, NULL);
        c += n + (c[n] == ',');
    }
}

// "FILE.png" adds an ending, "FILE" alone fits any.
static void file(hs_words *w, const char *name, size_t n) {
    if (n > 5 && name[4] == '.')
        hs_buf_printf(&w->files, " %.*s", (int)n - 4, name + 4);
    else
        w->any_file = true;
}

static void one(hs_words *w, const char *name, size_t n) {
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)n, name);
    word[strcspn(word, "[:")] = '\0'; // "OBSERVER[:k=v,...]", "INTERVENTION:TARGET[,k=v]..."
    const size_t stem = w->stem;
    if (strncmp(word, "FILE", 4) == 0)
        file(w, word, strlen(word));
    else if (*word >= 'a' && *word <= 'z')
        joined(w, word);
    else
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
            if (strcmp(kinds[i].name, word) == 0) kinds[i].add(w);
    w->stem = stem;
}

void hs_words_of(hs_words *w, const char *value) {
    for (const char *c = value; c && *c;) {
        size_t n = strcspn(c, "|");
        one(w, c, n);
        c += n + (c[n] == '|');
    }
}
