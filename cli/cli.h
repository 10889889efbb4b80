// The command line: commands are files cmd_NAME.c with one descriptor; option tables give parsing,
// usage and --help. Only this folder prints.
#ifndef HS_CLI_CLI_H
#define HS_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "model/core/buf.h"
#include "model/core/err.h"
#include "model/core/progress.h"

// Exit statuses (documented by `headscope help exit`).
enum hs_exit {
    HS_EXIT_OK = 0,
    HS_EXIT_FAILED = 1,
    HS_EXIT_USAGE = 2,
    HS_EXIT_UNSUPPORTED = 3,
    HS_EXIT_CHECK = 4,
    HS_EXIT_NOTHING = 5,
    HS_EXIT_INTERRUPTED = 130
};
int hs_exit_of(int rc); // the status for an hs_rc

// ---- options --------------------------------------------------------------------------------

enum hs_opt_type {
    HS_OPT_FLAG,  // bool
    HS_OPT_TEXT,  // const char *
    HS_OPT_INT,   // int64_t
    HS_OPT_COUNT, // int64_t, at least 1; 0: absent
    HS_OPT_NUM,   // double
    HS_OPT_LIST,  // hs_opt_list: may be repeated
    HS_OPT_ENUM,  // int: index into choices "a|b|c"
};

typedef struct hs_opt_list {
    const char **at; // owned by the parser
    int n;
} hs_opt_list;

typedef struct hs_opt {
    const char *name; // long, without dashes
    char letter;      // 0 = none
    enum hs_opt_type type;
    size_t offset; // of the value in the group's struct
    // How --help calls the value; ENUM: choices "a|b|c". Completion goes by it: the words of
    // complete.c's table ("METRIC", "OBSERVER[:k=v,...]") and endings of files ("FILE.png|FILE.svg").
    const char *value;
    const char *fallback; // the default as a user would write it; NULL: absent, zero
    const char *help;     // one line; the default is added to it
} hs_opt;                 // a table ends with name NULL

// Options that several commands share are one table and one struct, embedded in each command's own
// at `offset`.
typedef struct hs_opt_group {
    const char *title;
    const hs_opt *options;
    size_t offset;
} hs_opt_group; // a table ends with options NULL

// What every command understands.
typedef struct hs_globals {
    bool help, quiet;
    int color; // index into auto|always|never
} hs_globals;
extern const hs_opt hs_opts_global[];

// ---- commands -------------------------------------------------------------------------------

typedef struct hs_cmd hs_cmd;

// One call of a command.
typedef struct hs_call {
    const hs_cmd *cmd;
    const char *const *arg; // [n_arg] words that are no options, in order
    int n_arg;
    char *const *argv; // [argc] the whole command line, for the run's provenance
    int argc;
    bool quiet, color; // color: for stdout
} hs_call;

struct hs_cmd {
    const char *name, *group, *title; // title: one line
    // What follows the name: "MODEL -p TEXT [options]". The words before the first option are
    // those that are no options; completion goes by them as by an option's value.
    const char *synopsis;
    const char *about;                // for hs_doc_body
    const char *const (*examples)[2]; // command and what it does; ended by NULL
    const hs_opt_group *options;      // NULL: none of its own
    size_t options_size;              // of the options struct, zeroed before parsing
    int max_arg;                      // most words that are no options
    int (*run)(const hs_call *call, const void *options); // hs_rc; prints nothing on failure
};
extern const hs_cmd *const hs_cmds[];            // the registry that make writes; ended by NULL
const hs_cmd *hs_cmd_find(const char *name);     // NULL when there is none
const char *hs_cmd_name(const void *ctx, int i); // for hs_nearest
// Option i of a command, those that every command has last; NULL past the end.
const hs_opt *hs_opt_at(const hs_cmd *cmd, int i);

// Parses words[0..n) into options (already zeroed, of the command's size) and globals; words that
// are no options go to arg[0..*n_arg), which has room for n. HS_EARG names the word. Free the
// lists with hs_opts_free, after a failure too.
int hs_opts_parse(const hs_cmd *cmd, void *options, hs_globals *globals, int n, char *const *words,
                  const char **arg, int *n_arg) HS_MUST_USE;
void hs_opts_free(const hs_cmd *cmd, void *options);
// HS_EARG unless text is a whole number within [min, max]; `what` names it in the message.
int hs_parse_int(const char *what, const char *text, int64_t min, int64_t max,
                 int64_t *out) HS_MUST_USE;

// The nearest of names (next(ctx, i), NULL at the end) to a mistyped word; NULL when none is near.
const char *hs_nearest(const char *word, const char *(*next)(const void *ctx, int i),
                       const void *ctx);

// What `list` lists: name i of them, NULL past the last; for hs_nearest.
const char *hs_list_name(const void *ctx, int i);

// ---- help -----------------------------------------------------------------------------------

void hs_help_overview(FILE *to);
void hs_help_command(const hs_cmd *cmd, FILE *to);
// What the pages written so far came to: HS_ENOMEM when words of them found no memory.
int hs_help_rc(void) HS_MUST_USE;
// Whatever has that name: commands, topics, observers, data sets, queries, metrics, hook points,
// figures, tables of the database. HS_ENOTFOUND with a suggestion.
int hs_help_word(const char *word, FILE *to) HS_MUST_USE;
// The one of a kind: "query", "heads". HS_EARG for what is no kind.
int hs_help_of(const char *kind, const char *word, FILE *to) HS_MUST_USE;

// "headscope 0.1.0 (COMMIT)", what --version prints.
void hs_version_line(FILE *to);

// ---- progress and Ctrl-C --------------------------------------------------------------------

// A bar with rate and time left on stderr, only on a terminal and not with -q. Its steps return
// HS_ESTOP once Ctrl-C was pressed; a second Ctrl-C ends the program at once.
typedef struct hs_bar {
    hs_progress progress; // what libraries are given
    bool shown, drawn;
    const char *what;
    int64_t first;      // done when `what` began
    double began, last; // seconds
} hs_bar;
// Between open and close, Ctrl-C is left to the work's next progress step.
void hs_bar_open(hs_bar *bar, const hs_call *call);
void hs_bar_clear(hs_bar *bar); // wipes the line
void hs_bar_close(hs_bar *bar);
bool hs_interrupted(void);
double hs_now(void); // seconds of a monotonic clock
// Columns of the terminal that a descriptor is; 0 when it is none, or does not say.
int hs_terminal_width(int fd);
// A line on stderr for people, not with -q.
void hs_note(const hs_call *call, const char *fmt, ...) HS_PRINTF(2, 3);

#endif
