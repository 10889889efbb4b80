// Completion; see complete.h. Here: where the cursor is. What words there are: words.c.
#include "cli/help/complete.h"

#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"
#include "model/core/utf8.h"

// ---- the answer -----------------------------------------------------------------------------

// Words of these bytes mean themselves in bash, zsh and fish, wherever they stand.
static bool is_inert(const char *s) {
    size_t n = strspn(s,
                      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./@%+,:=-");
    return n && !s[n];
}

void hs_words_add(hs_words *w, const char *word, const char *about) {
    const char *typed = w->line->word + w->stem;
    if (!is_inert(word) || strncmp(word, typed, strlen(typed)) != 0) return;
    hs_buf_add(&w->lines, w->line->word, w->stem);
    hs_buf_printf(&w->lines, "%s\t", word);
    if (about) hs_utf8_visible(&w->lines, about, strlen(about), false);
    hs_buf_chr(&w->lines, '\n');
}

// ---- options --------------------------------------------------------------------------------

static const hs_opt *by_name(const hs_cmd *cmd, const char *name, size_t n) {
    const hs_opt *o;
    for (int i = 0; (o = hs_opt_at(cmd, i)); i++)
        if (strlen(o->name) == n && memcmp(o->name, name, n) == 0) return o;
    return NULL;
}

// The option whose value goes on after a word of letters ("-qo"), and where that value begins in
// the word; NULL when it takes none.
static const hs_opt *by_letters(const hs_cmd *cmd, const char *word, const char **value) {
    for (const char *c = word + 1; *c; c++) {
        const hs_opt *o;
        for (int i = 0; (o = hs_opt_at(cmd, i)); i++)
            if (o->letter == *c) break;
        if (!o) return NULL;
        if (o->type == HS_OPT_FLAG) continue;
        *value = c[1] ? c + 1 + (c[1] == '=') : NULL;
        return o;
    }
    return NULL;
}

// The option that a word names and that takes a value; *value is what the word holds of it, NULL
// when it is the next word.
static const hs_opt *option_of(const hs_cmd *cmd, const char *word, const char **value) {
    *value = NULL;
    if (strncmp(word, "--", 2) != 0) return by_letters(cmd, word, value);
    size_t n = strcspn(word + 2, "=");
    const hs_opt *o = by_name(cmd, word + 2, n);
    if (word[2 + n]) *value = word + 2 + n + 1;
    return o && o->type != HS_OPT_FLAG ? o : NULL;
}

static bool is_option(const char *word) {
    return word[0] == '-' && word[1];
}

// What the database's words depend on.
static void keep(hs_line *line, const hs_opt *opt, const char *value) {
    if (strcmp(opt->name, "db") == 0) line->db = value;
    if (strcmp(opt->name, "run") == 0) line->run = value;
}

static void option_names(hs_words *w, const hs_cmd *cmd) {
    const hs_opt *o;
    for (int i = 0; (o = hs_opt_at(cmd, i)); i++) {
        char name[80];
        snprintf(name, sizeof name, "--%s", o->name);
        hs_words_add(w, name, o->help);
    }
}

static void value_of(hs_words *w, const hs_opt *o) {
    hs_words_of(w, o->value);
}

// ---- words that are no options --------------------------------------------------------------

// A part of a synopsis: "[RUN]", "[QUERY | SQL]", "OBSERVER[:k=v,...]...".
typedef struct part {
    char name[64]; // without brackets, blanks and dots
    bool optional, repeats;
} part;

// Reads the part at *at; false at the end or where the options begin.
static bool next_part(const char **at, part *p) {
    const char *s = *at + strspn(*at, " ");
    size_t n = 0, out = 0;
    int depth = 0;
    for (; s[n] && (depth || s[n] != ' '); n++) depth += (s[n] == '[') - (s[n] == ']');
    *p = (part){.optional = *s == '[', .repeats = n > 3 && memcmp(s + n - 3, "...", 3) == 0};
    *at = s + n;
    if (!n || *s == '(' || *s == '-' || strncmp(s, "[-", 2) == 0) return false;
    for (size_t i = p->optional; i < n && out + 1 < sizeof p->name; i++) {
        if (s[i] == '[' || s[i] == ']') break;
        if (s[i] != ' ') p->name[out++] = s[i];
    }
    return strcmp(p->name, "options") != 0;
}

// What the next part stands for; where it may be left out, the one after it too.
static void words_here(hs_words *w, const hs_cmd *cmd) {
    const char *at = cmd->synopsis;
    part p;
    int i = 0;
    while (next_part(&at, &p)) {
        if (i++ < w->line->n_arg && !p.repeats) continue; // given
        hs_words_of(w, p.name);
        if (!p.optional) return;
    }
}

// ---- the whole line -------------------------------------------------------------------------

static void commands(hs_words *w) {
    for (int i = 0; hs_cmds[i]; i++) hs_words_add(w, hs_cmds[i]->name, hs_cmds[i]->title);
    hs_words_add(w, "--help", "the commands and topics");
    hs_words_add(w, "--version", "what was built, with what");
}

static void complete(hs_words *w, hs_line *line, int n, const char *const *words,
                     const char **arg) {
    const hs_opt *open = NULL; // its value is the next word
    const char *value;
    bool only_words = false;
    line->arg = arg;
    for (int i = 1; i < n - 1; i++) {
        if (open) {
            keep(line, open, words[i]);
            open = NULL;
        } else if (only_words || !is_option(words[i])) {
            arg[line->n_arg++] = words[i];
        } else if (strcmp(words[i], "--") == 0) {
            only_words = true;
        } else {
            open = option_of(line->cmd, words[i], &value);
            if (open && value) {
                keep(line, open, value);
                open = NULL;
            }
        }
    }
    if (open) {
        value_of(w, open);
    } else if (only_words || *line->word != '-') {
        words_here(w, line->cmd);
    } else if ((open = option_of(line->cmd, line->word, &value)) && value) {
        w->stem = (size_t)(value - line->word);
        value_of(w, open);
    } else {
        option_names(w, line->cmd);
    }
}

int hs_complete(hs_buf *out, int n, const char *const *words) {
    hs_line line = {.word = n ? words[n - 1] : ""};
    hs_words w = {.line = &line};
    const char **arg;
    int rc = hs_alloc(&arg, (size_t)n + 1, sizeof *arg);
    if (rc) return rc;
    if (n <= 1)
        commands(&w);
    else if ((line.cmd = hs_cmd_find(words[0])))
        complete(&w, &line, n, words, arg);
    if (w.files.len || w.any_file)
        hs_buf_printf(out, "files%s\n", w.any_file ? "" : hs_buf_text(&w.files));
    else
        hs_buf_str(out, w.folders ? "folders\n" : "words\n");
    hs_buf_add(out, hs_buf_text(&w.lines), w.lines.len);
    rc = hs_buf_rc(&w.lines) ? hs_buf_rc(&w.lines) : hs_buf_rc(&w.files);
    if (!rc) rc = hs_buf_rc(out);
    hs_buf_free(&w.lines);
    hs_buf_free(&w.files);
    free(arg);
    return rc;
}
