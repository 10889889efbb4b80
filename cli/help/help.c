// Help, from the tables: the overview, commands (examples first), and whatever has a name.
#include "cli/help/help.h"

#include <string.h>

#include "analyses/prompt.h"
#include "cli/help/explain.h"
#include "cli/figures/figure.h"
#include "cli/help/topics.h"
#include "db/doc.h"
#include "db/query.h"
#include "hooks/intervention.h"
#include "model/tap.h"

enum { COLUMN = 26 };

// ---- the overview ---------------------------------------------------------------------------

static const char *const groups[] = {"models", "runs", "reading", "other"};

void hs_doc_commands(hs_doc *d) {
    if (d->roff) hs_doc_head(d, "commands");
    for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
        if (!d->roff) hs_doc_head(d, groups[g]);
        for (int i = 0; hs_cmds[i]; i++)
            if (strcmp(hs_cmds[i]->group, groups[g]) == 0)
                hs_doc_entry(d, hs_cmds[i]->name, hs_cmds[i]->title, 14);
    }
}

// "before a, b, c after"
static void topic_names(hs_doc *d, const char *before, const char *after) {
    hs_buf text = {0};
    hs_buf_str(&text, before);
    for (const hs_topic *t = hs_topics; t->name; t++)
        hs_buf_printf(&text, "%s%s", t == hs_topics ? "" : ", ", t->name);
    hs_buf_str(&text, after);
    hs_doc_para(d, hs_buf_text(&text));
    hs_buf_free(&text);
}

void hs_help_overview(FILE *to) {
    hs_doc d = hs_doc_text(to);
    hs_doc_para(&d, "headscope runs transformer models and watches every attention head.");
    hs_doc_code(&d, "headscope record model.gguf -p \"Mary had a little lamb\"\n"
                    "headscope heads --metric sink_alpha0 --top 5\n"
                    "headscope help COMMAND\n");
    hs_doc_commands(&d);
    topic_names(&d, "More: headscope help TOPIC, one of ", ".");
}

// ---- one command ----------------------------------------------------------------------------

static void options_of(hs_doc *d, const hs_opt *options) {
    for (const hs_opt *o = options; o->name; o++) {
        hs_buf term = {0}, text = {0};
        if (o->letter) hs_buf_printf(&term, "-%c, ", o->letter);
        hs_buf_printf(&term, "%s--%s", o->letter || d->roff ? "" : "    ", o->name);
        if (o->value) hs_buf_printf(&term, " %s", o->value);
        hs_buf_str(&text, o->help);
        if (o->fallback) hs_buf_printf(&text, " (default: %s)", o->fallback);
        hs_doc_entry(d, hs_buf_text(&term), hs_buf_text(&text), COLUMN);
        hs_buf_free(&term);
        hs_buf_free(&text);
    }
}

// A table without a title goes on with the one before.
static void all_options(hs_doc *d, const hs_cmd *cmd) {
    for (const hs_opt_group *g = cmd->options; g && g->options; g++) {
        if (*g->title) hs_doc_head(d, g->title);
        options_of(d, g->options);
    }
    hs_doc_head(d, "always");
    options_of(d, hs_opts_global);
}

static void examples(hs_doc *d, const hs_cmd *cmd) {
    hs_doc_head(d, "examples");
    for (int i = 0; cmd->examples && cmd->examples[i][0]; i++) {
        hs_buf words = {0};
        hs_buf_printf(&words, "headscope %s", cmd->examples[i][0]);
        hs_doc_entry(d, hs_buf_text(&words), cmd->examples[i][1], 6);
        hs_buf_free(&words);
    }
}

static void synopsis(hs_doc *d, const hs_cmd *cmd) {
    hs_buf line = {0};
    hs_buf_printf(&line, "headscope %s %s", cmd->name, cmd->synopsis);
    hs_doc_code(d, hs_buf_text(&line));
    hs_buf_free(&line);
}

// Text begins with examples, a manual page ends with them.
void hs_doc_command(hs_doc *d, const hs_cmd *cmd) {
    hs_buf what = {0};
    hs_buf_printf(&what, "headscope %s", cmd->name);
    hs_doc_title(d, hs_buf_text(&what), cmd->name, "1", cmd->title);
    hs_buf_free(&what);
    if (!d->roff) examples(d, cmd);
    hs_doc_head(d, d->roff ? "synopsis" : "usage");
    synopsis(d, cmd);
    if (d->roff) hs_doc_head(d, "description");
    hs_doc_body(d, cmd->about);
    all_options(d, cmd);
    if (d->roff) examples(d, cmd);
}

void hs_help_command(const hs_cmd *cmd, FILE *to) {
    hs_doc d = hs_doc_text(to);
    hs_doc_command(&d, cmd);
}

// Nothing else fails while a page is written.
int hs_help_rc(void) {
    return *hs_errmsg() ? HS_ENOMEM : HS_OK;
}

// ---- everything that has a name -------------------------------------------------------------

static const char *command_at(int i) {
    return hs_cmds[i] ? hs_cmds[i]->name : NULL;
}
static void page_command(hs_doc *d, int i) {
    hs_doc_command(d, hs_cmds[i]);
}
static const char *topic_at(int i) {
    return hs_topics[i].name;
}
static void page_topic(hs_doc *d, int i) {
    hs_doc_topic(d, &hs_topics[i]);
}
static const char *observer_at(int i) {
    return hs_observers[i] ? hs_observers[i]->name : NULL;
}
static const char *experiment_at(int i) {
    return hs_experiments[i] ? hs_experiments[i]->name : NULL;
}
static const char *intervention_at(int i) {
    return hs_interventions[i] ? hs_interventions[i]->name : NULL;
}
static const char *calibration_at(int i) {
    return hs_calibrations[i] ? hs_calibrations[i]->name : NULL;
}
static const char *dataset_at(int i) {
    return hs_datasets[i] ? hs_datasets[i]->name : NULL;
}
static const char *query_at(int i) {
    return hs_queries[i].name;
}
static const char *metric_at(int i) {
    hs_analysis giver;
    const hs_metric *m = hs_metric_at(i, &giver);
    return m ? m->name : NULL;
}
static const char *hook_at(int i) {
    return i < HS_N_POINT ? hs_point_infos[i].alias : NULL;
}
static const char *figure_at(int i) {
    return hs_figures[i] ? hs_figures[i]->name : NULL;
}
static const char *table_at(int i) {
    hs_table_doc t;
    return hs_table_doc_at(i, &t) ? t.name : NULL;
}

const hs_kind hs_kinds[] = {
    {"command", false, command_at, page_command},
    {"topic", false, topic_at, page_topic},
    {"observer", false, observer_at, hs_page_observer},
    {"experiment", true, experiment_at, hs_page_experiment},
    {"intervention", false, intervention_at, hs_page_intervention},
    {"calibration", true, calibration_at, hs_page_calibration},
    {"dataset", false, dataset_at, hs_page_dataset},
    {"query", true, query_at, hs_page_query},
    {"metric", true, metric_at, hs_page_metric},
    {"hook", true, hook_at, hs_page_hook},
    {"figure", true, figure_at, hs_page_figure},
    {"table", true, table_at, hs_page_table},
    {0},
};

static int index_in(const hs_kind *kind, const char *word) {
    const char *name;
    if (kind->at == dataset_at) return hs_dataset_find(word);
    for (int i = 0; (name = kind->at(i)); i++)
        if (strcmp(name, word) == 0) return i;
    return -1;
}

// Name i over all kinds, or over one.
static const char *name_at(const void *only, int i) {
    const char *name = NULL;
    for (const hs_kind *k = hs_kinds; k->name; k++) {
        if (only && k != only) continue;
        int n = 0;
        while (n < i && k->at(n)) n++;
        if ((name = k->at(n))) return name;
        i -= n;
    }
    return NULL;
}

static int no_help(const hs_kind *only, const char *word) {
    const char *near = hs_nearest(word, name_at, only), *kind = only ? only->name : "";
    if (near)
        return hs_fail(HS_ENOTFOUND, "there is no help on %s%s'%s': did you mean '%s'?", kind,
                       only ? " " : "", word, near);
    return hs_fail(HS_ENOTFOUND,
                   "there is no help on %s%s'%s': headscope help lists commands and topics", kind,
                   only ? " " : "", word);
}

int hs_help_word(const char *word, FILE *to) {
    hs_doc d = hs_doc_text(to);
    hs_buf more = {0};
    int n = 0;
    for (const hs_kind *k = hs_kinds; k->name; k++) {
        int i = index_in(k, word);
        if (i < 0) continue;
        if (k->aside && n)
            hs_buf_printf(&more, "%sheadscope help %s %s", more.len ? ", " : "See also: ", k->name,
                          word);
        else
            k->page(&d, i);
        n++;
    }
    if (more.len) hs_doc_para(&d, hs_buf_text(&more));
    hs_buf_free(&more);
    return n ? HS_OK : no_help(NULL, word);
}

int hs_help_of(const char *kind, const char *word, FILE *to) {
    const hs_kind *k = hs_kinds;
    while (k->name && strcmp(k->name, kind) != 0) k++;
    if (!k->name)
        return hs_fail(
            HS_EARG,
            "help explains one thing: headscope help NAME, or KIND NAME with a kind of "
            "command, topic, observer, experiment, intervention, dataset, query, metric, hook, "
            "figure, table");
    int i = index_in(k, word);
    if (i < 0) return no_help(k, word);
    hs_doc d = hs_doc_text(to);
    k->page(&d, i);
    return HS_OK;
}
