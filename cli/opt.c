// Reads a command's words by its option tables.
//
// Options stand anywhere; the value of one is the next word, whatever it begins with, or what
// follows '='. Letters combine ("-qh"), a letter's value may follow it at once ("-n24"). A lone "-"
// is a word, "--" ends the options. A repeated list option adds, any other: the last one counts.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "model/core/mem.h"

const hs_opt hs_opts_global[] = {
    {"help", 'h', HS_OPT_FLAG, offsetof(hs_globals, help), NULL, NULL, "this help"},
    {"quiet", 'q', HS_OPT_FLAG, offsetof(hs_globals, quiet), NULL, NULL,
     "no progress bar, no notes; errors only"},
    {"color", 0, HS_OPT_ENUM, offsetof(hs_globals, color), "auto|always|never", "auto",
     "colours; auto: on a terminal, unless NO_COLOR is set"},
    {0},
};

// ---- the nearest name -----------------------------------------------------------------------

// Edit distance with swaps of neighbours, for words up to 31 letters; longer ones are never near.
static int distance(const char *a, const char *b) {
    enum { MAX = 32 };
    size_t n = strlen(a), m = strlen(b);
    if (n >= MAX || m >= MAX) return MAX;
    int d[MAX][MAX];
    for (size_t i = 0; i <= n; i++) d[i][0] = (int)i;
    for (size_t j = 0; j <= m; j++) d[0][j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        for (size_t j = 1; j <= m; j++) {
            int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && d[i - 2][j - 2] + 1 < best) best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    }
    return d[n][m];
}

// A slip of the finger: one in a word of four letters or more, a few in a longer one that begins
// alike.
static bool is_slip(const char *word, const char *name, int d) {
    int len = (int)strlen(word);
    return d == 0 || (d == 1 && len >= 4) || (len >= 3 && *word == *name && d <= 1 + len / 4);
}

const char *hs_nearest(const char *word, const char *(*next)(const void *ctx, int i),
                       const void *ctx) {
    const char *best = NULL;
    int best_d = 0;
    const char *name;
    for (int i = 0; (name = next(ctx, i)) != NULL; i++) {
        int d = distance(word, name);
        if (is_slip(word, name, d) && (!best || d < best_d)) {
            best = name;
            best_d = d;
        }
    }
    return best;
}

// ---- looking options up ---------------------------------------------------------------------

// An option and the struct its value goes into.
typedef struct target {
    const hs_opt *opt;
    char *base;
} target;

// Option i over all groups of a command and the global ones; opt NULL past the end.
static target option_at(const hs_cmd *cmd, void *options, hs_globals *globals, int i) {
    for (const hs_opt_group *g = cmd->options; g && g->options; g++)
        for (const hs_opt *o = g->options; o->name; o++)
            if (i-- == 0) return (target){o, options ? (char *)options + g->offset : NULL};
    for (const hs_opt *o = hs_opts_global; o->name; o++)
        if (i-- == 0) return (target){o, (char *)globals};
    return (target){0};
}

const hs_opt *hs_opt_at(const hs_cmd *cmd, int i) {
    return option_at(cmd, NULL, NULL, i).opt;
}

static const char *option_name(const void *cmd, int i) {
    const hs_opt *opt = hs_opt_at(cmd, i);
    return opt ? opt->name : NULL;
}

static int unknown(const hs_cmd *cmd, const char *word, size_t len) {
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)len, word);
    const char *near = hs_nearest(name, option_name, cmd);
    if (near)
        return hs_fail(HS_EARG, "%s has no option --%s: did you mean --%s?", cmd->name, name, near);
    return hs_fail(HS_EARG, "%s has no option --%s: see headscope help %s", cmd->name, name,
                   cmd->name);
}

// ---- values ---------------------------------------------------------------------------------

int hs_parse_int(const char *what, const char *text, int64_t min, int64_t max, int64_t *out) {
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (end == text || *end)
        return hs_fail(HS_EARG, "%s takes a whole number, not '%s'", what, text);
    if (errno || v < min || v > max)
        return hs_fail(HS_EARG, "%s must lie in %lld..%lld, not %s", what, (long long)min,
                       (long long)max, text);
    *out = v;
    return HS_OK;
}

static int set_enum(const hs_opt *opt, const char *text, int *out) {
    size_t n = strlen(text);
    int i = 0;
    for (const char *c = opt->value;; i++) {
        const char *end = strchrnul(c, '|');
        if ((size_t)(end - c) == n && memcmp(c, text, n) == 0) {
            *out = i;
            return HS_OK;
        }
        if (!*end) break;
        c = end + 1;
    }
    return hs_fail(HS_EARG, "--%s is one of %s, not '%s'", opt->name, opt->value, text);
}

static int set(target t, const char *text) {
    const hs_opt *opt = t.opt;
    void *at = t.base + opt->offset;
    char what[80];
    snprintf(what, sizeof what, "--%s", opt->name);
    switch (opt->type) {
    case HS_OPT_FLAG:
        *(bool *)at = true;
        return HS_OK;
    case HS_OPT_TEXT:
        *(const char **)at = text;
        return HS_OK;
    case HS_OPT_INT:
        return hs_parse_int(what, text, INT64_MIN, INT64_MAX, at);
    case HS_OPT_COUNT: {
        int rc = hs_parse_int(what, text, INT64_MIN, INT64_MAX, at);
        if (rc || *(int64_t *)at > 0) return rc;
        return hs_fail(HS_EARG,
                       "%s takes a number of at least 1, not %s: leave it out for the "
                       "default",
                       what, text);
    }
    case HS_OPT_NUM: {
        char *end;
        double v = strtod(text, &end);
        if (end == text || *end || v != v)
            return hs_fail(HS_EARG, "%s takes a number, not '%s'", what, text);
        *(double *)at = v;
        return HS_OK;
    }
    case HS_OPT_LIST: {
        hs_opt_list *list = at;
        int rc = hs_grow(&list->at, (size_t)list->n + 1, sizeof *list->at);
        if (!rc) list->at[list->n++] = text;
        return rc;
    }
    case HS_OPT_ENUM:
        return set_enum(opt, text, at);
    }
    return HS_OK;
}

// ---- words ----------------------------------------------------------------------------------

typedef struct parse {
    const hs_cmd *cmd;
    void *options;
    hs_globals *globals;
    char *const *word;
    int n, i; // words, the one being read
} parse;

// The value of an option: `inline_value` when it stood in the same word, else the next word.
static int take(parse *p, target t, const char *inline_value) {
    const hs_opt *opt = t.opt;
    if (opt->type == HS_OPT_FLAG) {
        if (inline_value) return hs_fail(HS_EARG, "--%s takes no value", opt->name);
        return set(t, NULL);
    }
    if (inline_value) return set(t, inline_value);
    if (p->i + 1 >= p->n)
        return hs_fail(HS_EARG, "--%s needs a value: --%s %s", opt->name, opt->name, opt->value);
    return set(t, p->word[++p->i]);
}

static int long_option(parse *p, const char *word) {
    size_t len = strcspn(word, "=");
    target t;
    for (int i = 0; (t = option_at(p->cmd, p->options, p->globals, i)).opt; i++)
        if (strlen(t.opt->name) == len && memcmp(t.opt->name, word, len) == 0)
            return take(p, t, word[len] ? word + len + 1 : NULL);
    return unknown(p->cmd, word, len);
}

static int letters(parse *p, const char *word) {
    for (; *word; word++) {
        target t;
        for (int i = 0; (t = option_at(p->cmd, p->options, p->globals, i)).opt; i++)
            if (t.opt->letter == *word) break;
        if (!t.opt)
            return hs_fail(HS_EARG, "%s has no option -%c: see headscope help %s", p->cmd->name,
                           *word, p->cmd->name);
        if (t.opt->type != HS_OPT_FLAG)
            return take(p, t, word[1] ? word + 1 + (word[1] == '=') : NULL);
        int rc = take(p, t, NULL);
        if (rc) return rc;
    }
    return HS_OK;
}

static int defaults(parse *p) {
    target t;
    for (int i = 0; (t = option_at(p->cmd, p->options, p->globals, i)).opt; i++) {
        int rc = t.opt->fallback && t.opt->type != HS_OPT_LIST ? set(t, t.opt->fallback) : HS_OK;
        if (rc) return rc;
    }
    return HS_OK;
}

int hs_opts_parse(const hs_cmd *cmd, void *options, hs_globals *globals, int n, char *const *words,
                  const char **arg, int *n_arg) {
    parse p = {cmd, options, globals, words, n, 0};
    *n_arg = 0;
    int rc = defaults(&p);
    bool only_words = false;
    for (; !rc && p.i < n; p.i++) {
        const char *w = words[p.i];
        if (only_words || w[0] != '-' || !w[1])
            arg[(*n_arg)++] = w;
        else if (strcmp(w, "--") == 0)
            only_words = true;
        else
            rc = w[1] == '-' ? long_option(&p, w + 2) : letters(&p, w + 1);
    }
    if (!rc && *n_arg > cmd->max_arg && !globals->help)
        rc = hs_fail(HS_EARG, "%s does not know what to do with '%s': see headscope help %s",
                     cmd->name, arg[cmd->max_arg], cmd->name);
    return rc;
}

void hs_opts_free(const hs_cmd *cmd, void *options) {
    target t;
    hs_globals unused = {0};
    for (int i = 0; (t = option_at(cmd, options, &unused, i)).opt; i++)
        if (t.opt->type == HS_OPT_LIST) free(((hs_opt_list *)(void *)(t.base + t.opt->offset))->at);
}
