// Help, from the tables: of commands (examples first), of topics, of observers, data sets and
// queries.
#include <string.h>

#include "analyses/observer.h"
#include "analyses/prompt.h"
#include "cli/cli.h"
#include "db/query.h"

enum { WIDTH = 80 };

// Prints text broken between words; the first line goes on at column `at`, the others begin at
// `indent`.
static void wrap(FILE *to, const char *text, int at, int indent) {
    bool begun = false; // the line holds a word
    while (*text) {
        text += strspn(text, " ");
        int n = (int)strcspn(text, " \n");
        if (begun && at + 1 + n > WIDTH) {
            fputc('\n', to);
            at = 0;
            begun = false;
        }
        if (n) at += fprintf(to, "%*s%.*s", begun ? 1 : at < indent ? indent - at : 0, "", n, text);
        begun |= n > 0;
        text += n;
        if (*text == '\n') {
            fputc('\n', to);
            at = 0;
            begun = false;
            text++;
        }
    }
    if (begun) fputc('\n', to);
}

// A term and its explanation, in two columns.
static void entry(FILE *to, const char *term, const char *text, int column) {
    int at = fprintf(to, "%s", term);
    if (at + 2 > column) {
        fputc('\n', to);
        at = 0;
    }
    wrap(to, text, at, column);
}

// ---- the overview ---------------------------------------------------------------------------

static const char *const groups[] = {"models", "runs", "reading", "other"};

void hs_help_overview(FILE *to) {
    fputs("headscope runs transformer models and watches every attention head.\n\n"
          "  headscope record model.gguf -p \"Mary had a little lamb\"\n"
          "  headscope heads --metric sink_alpha0 --top 5\n"
          "  headscope help COMMAND\n",
          to);
    for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
        fprintf(to, "\n%s\n", groups[g]);
        for (int i = 0; hs_cmds[i]; i++)
            if (strcmp(hs_cmds[i]->group, groups[g]) == 0)
                fprintf(to, "  %-10s %s\n", hs_cmds[i]->name, hs_cmds[i]->title);
    }
    fputs("\nMore: headscope help models, prompts, select, output, environment, exit.\n", to);
}

// ---- one command ----------------------------------------------------------------------------

static void option(FILE *to, const hs_opt *o) {
    hs_buf term = {0}, text = {0};
    if (o->letter)
        hs_buf_printf(&term, "  -%c, --%s", o->letter, o->name);
    else
        hs_buf_printf(&term, "      --%s", o->name);
    if (o->value) hs_buf_printf(&term, " %s", o->value);
    hs_buf_str(&text, o->help);
    if (o->fallback) hs_buf_printf(&text, " (default: %s)", o->fallback);
    entry(to, hs_buf_text(&term), hs_buf_text(&text), 26);
    hs_buf_free(&term);
    hs_buf_free(&text);
}

// A table without a title goes on with the one before.
static void option_table(FILE *to, const char *title, const hs_opt *options) {
    if (*title) fprintf(to, "\n%s\n", title);
    for (const hs_opt *o = options; o->name; o++) option(to, o);
}

void hs_help_command(const hs_cmd *cmd, FILE *to) {
    fprintf(to, "headscope %s: %s\n\nexamples\n", cmd->name, cmd->title);
    for (int i = 0; cmd->examples && cmd->examples[i][0]; i++)
        fprintf(to, "  headscope %s\n      %s\n", cmd->examples[i][0], cmd->examples[i][1]);
    fprintf(to, "\nusage\n  headscope %s %s\n\n", cmd->name, cmd->synopsis);
    wrap(to, cmd->about, 0, 0);
    for (const hs_opt_group *g = cmd->options; g && g->options; g++)
        option_table(to, g->title, g->options);
    option_table(to, "always", hs_opts_global);
}

// ---- topics ---------------------------------------------------------------------------------

static const struct topic {
    const char *name, *text;
} topics[] = {
    {"models",
     "MODEL is a .gguf file, a .safetensors file with config.json beside it, a folder with "
     "config.json and safetensors, or a hub name org/name that is looked up in the local Hugging "
     "Face cache ($HF_HUB_CACHE, $HF_HOME/hub, ~/.cache/huggingface/hub) and never downloaded. "
     "Without one, $HEADSCOPE_MODEL is taken.\n\n"
     "Results are those of f32 arithmetic on the weights exactly as stored. headscope list archs "
     "tells the families; a model that cannot be honoured exactly is refused by name (exit 3)."},
    {"prompts",
     "-p TEXT gives a prompt and may be repeated. -f FILE.jsonl reads an object a line: {\"text\": "
     "\"...\"} (or \"prompt\") is tokenised under --bos, {\"tokens\": [1, 2, 3]} is taken as it "
     "is; "
     "\"id\", \"period\" and \"bos_len\" are honoured, other keys kept. -f FILE.txt is one prompt. "
     "--dataset NAME:k=v,... makes prompts (headscope list datasets). All may be mixed.\n\n"
     "An option's value is the next word, whatever it begins with (-p \"-1 + 2\"), or follows "
     "'='."},
    {"select",
     "Layers, heads and positions are 0-based. Heads: L5H1 or 5.1, L0-3H*, several joined by "
     "commas; all; none. Hooks (--acts): exact names, globs with * and ?, and braces, joined by "
     "commas: blocks.{0..3,11}.hook_resid_post,logits; or a short name for every layer: z, "
     "resid_pre, pattern. Positions: 3, or -1 for the last. headscope list hooks gives the "
     "names. A selection that matches nothing is an error."},
    {"output",
     "Data goes to stdout, everything else to stderr. Tables are for people; --json prints one "
     "object, --jsonl one a row, --csv comma-separated values. A value that is not defined for a "
     "head is null, with a reason in the database. Colours: --color, NO_COLOR, CLICOLOR_FORCE. "
     "Output files are written beside and renamed: no half-written file is ever left."},
    {"environment", "HEADSCOPE_MODEL: the model when none is given.\n"
                    "HEADSCOPE_DB: the database when --db is not given (else headscope.db).\n"
                    "HS_THREADS, HS_ISA: as --threads and --isa.\n"
                    "NO_COLOR, CLICOLOR_FORCE: colours never, always.\n"
                    "HF_HUB_CACHE, HF_HOME: where hub names are looked up."},
    {"exit", "0: done.\n"
             "1: failed (a file that cannot be opened or written, memory, the database).\n"
             "2: wrong usage, an id, position or prompt out of range.\n"
             "3: a model or file that is damaged or not supported.\n"
             "4: a check failed.\n"
             "5: nothing matched.\n"
             "130: interrupted; what was committed stays, and the message says how to go on."},
    {NULL, NULL},
};

// ---- what commands work with ----------------------------------------------------------------

// "  name     about [unit] (default)"
static void explain(FILE *to, const char *name, const char *about, const char *unit,
                    const char *fallback) {
    hs_buf term = {0}, text = {0};
    hs_buf_printf(&term, "  %s", name);
    hs_buf_str(&text, about);
    if (unit && *unit) hs_buf_printf(&text, " [%s]", unit);
    if (fallback) hs_buf_printf(&text, " (default: %s)", *fallback ? fallback : "none");
    entry(to, hs_buf_text(&term), hs_buf_text(&text), 20);
    hs_buf_free(&term);
    hs_buf_free(&text);
}

static void params(FILE *to, const hs_param *p) {
    if (!p || !p->name) return;
    fputs("\nparameters (NAME:k=v,...)\n", to);
    for (; p->name; p++) explain(to, p->name, p->help, p->unit, p->fallback);
}

static void metrics(FILE *to, const char *title, const hs_metric *m) {
    if (!m || !m->name) return;
    fprintf(to, "\n%s\n", title);
    for (; m->name; m++) explain(to, m->name, m->about, m->unit, NULL);
}

static void describe(FILE *to, const char *kind, const char *name, const char *title,
                     const char *about, const char *reference) {
    fprintf(to, "%s (%s): %s\n\n", name, kind, title);
    if (about) wrap(to, about, 0, 0);
    if (reference && *reference) {
        fputc('\n', to);
        wrap(to, reference, fprintf(to, "after "), 0);
    }
}

static bool help_observer(const char *word, FILE *to) {
    for (int i = 0; hs_observers[i]; i++) {
        const hs_observer *o = hs_observers[i];
        if (strcmp(o->name, word) != 0) continue;
        describe(to, "observer", o->name, o->title, o->about, o->reference);
        params(to, o->params);
        metrics(to, "metrics, one number a head", o->metrics);
        metrics(to, "series", o->series);
        for (const hs_result_table *t = o->tables; t && t->name; t++) {
            fprintf(to, "\ntable %s_%s: %s\n", o->name, t->name, t->about);
            for (const hs_column *c = t->columns; c->name; c++)
                explain(to, c->name, c->about, c->unit, NULL);
        }
        return true;
    }
    return false;
}

static bool help_dataset(const char *word, FILE *to) {
    for (int i = 0; hs_datasets[i]; i++) {
        const hs_dataset *d = hs_datasets[i];
        if (strcmp(d->name, word) != 0) continue;
        describe(to, "data set", d->name, d->title, d->about, d->reference);
        params(to, d->params);
        return true;
    }
    return false;
}

static bool help_query(const char *word, FILE *to) {
    for (const hs_query_info *q = hs_queries; q->name; q++) {
        if (strcmp(q->name, word) != 0) continue;
        char title[200], name[64], fallback[64], text[200];
        hs_query_title(q, title, sizeof title);
        describe(to, "query", q->name, title, NULL, NULL);
        for (int i = 0;
             hs_query_param(q, i, name, sizeof name, fallback, sizeof fallback, text, sizeof text);
             i++)
            explain(to, name, text, NULL, fallback);
        fprintf(to, "\n%s", q->text);
        return true;
    }
    return false;
}

static bool help_topic(const char *word, FILE *to) {
    for (const struct topic *t = topics; t->name; t++) {
        if (strcmp(t->name, word) != 0) continue;
        wrap(to, t->text, 0, 0);
        return true;
    }
    return false;
}

static const char *word_at(const void *ctx, int i) {
    (void)ctx;
    int n = 0;
    for (int k = 0; hs_cmds[k]; k++)
        if (n++ == i) return hs_cmds[k]->name;
    for (int k = 0; topics[k].name; k++)
        if (n++ == i) return topics[k].name;
    for (int k = 0; hs_observers[k]; k++)
        if (n++ == i) return hs_observers[k]->name;
    for (int k = 0; hs_datasets[k]; k++)
        if (n++ == i) return hs_datasets[k]->name;
    return NULL;
}

int hs_help_word(const char *word, FILE *to) {
    const hs_cmd *cmd = hs_cmd_find(word);
    if (cmd) {
        hs_help_command(cmd, to);
        return HS_OK;
    }
    if (help_topic(word, to) || help_observer(word, to) || help_dataset(word, to) ||
        help_query(word, to))
        return HS_OK;
    const char *near = hs_nearest(word, word_at, NULL);
    if (near)
        return hs_fail(HS_ENOTFOUND, "there is no help on '%s': did you mean '%s'?", word, near);
    return hs_fail(HS_ENOTFOUND, "there is no help on '%s': headscope help lists the commands",
                   word);
}
