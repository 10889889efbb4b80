// The command line: commands are files cmd_NAME.c with one descriptor; option tables give parsing,
// usage and --help. Only this folder prints.
#ifndef HS_CLI_CLI_H
#define HS_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "model/core/err.h"
#include "model/core/progress.h"

// Exit statuses (documented in --help and the man page).
enum hs_exit { HS_EXIT_OK = 0, HS_EXIT_FAILED = 1, HS_EXIT_USAGE = 2, HS_EXIT_UNSUPPORTED = 3,
               HS_EXIT_CHECK = 4, HS_EXIT_NOTHING = 5, HS_EXIT_INTERRUPTED = 130 };
int hs_exit_of(int rc); // the status for an hs_rc

enum hs_opt_type {
    HS_OPT_FLAG,  // bool
    HS_OPT_TEXT,  // const char *
    HS_OPT_INT,   // int64_t
    HS_OPT_NUM,   // double
    HS_OPT_LIST,  // hs_opt_list: may be repeated
    HS_OPT_ENUM,  // int: index into choices "a|b|c"
};

typedef struct hs_opt_list {
    const char **at; // owned by the parser
    int n;
} hs_opt_list;

typedef struct hs_opt {
    const char *name;     // long, without dashes
    char letter;          // 0 = none
    enum hs_opt_type type;
    size_t offset;        // of the value in the command's options struct
    const char *value;    // how --help calls the value ("N", "FILE.db"); ENUM: choices "a|b|c"
    const char *help;     // one line, with the default
} hs_opt; // a table ends with name NULL

typedef struct hs_cmd {
    const char *name, *group, *title; // title: one line
    const char *synopsis;             // what follows the name: "MODEL -p TEXT [options]"
    const char *about;                // a paragraph
    const char *const *examples;      // pairs of command and what it does; ended by NULL
    const hs_opt *options;
    size_t options_size;              // of the options struct, zeroed before parsing
    int (*run)(const void *options, int n_arg, char **arg); // hs_rc; prints nothing on failure
} hs_cmd;
extern const hs_cmd *const hs_cmds[]; // the registry that make writes; ended by NULL

#endif
