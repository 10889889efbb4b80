// headscope: finds the command, reads its options, runs it, and turns what it returns into one
// error line and an exit status.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "model/core/mem.h"

static int unknown_command(const char *word) {
    const char *near = hs_nearest(word, hs_cmd_name, NULL);
    if (near) return hs_fail(HS_EARG, "there is no command '%s': did you mean '%s'?", word, near);
    return hs_fail(HS_EARG, "there is no command '%s': headscope help lists them", word);
}

// Colour on stdout: the option, then NO_COLOR and CLICOLOR_FORCE, then whether it is a terminal.
static bool want_color(int option) {
    if (option) return option == 1;
    const char *no = getenv("NO_COLOR"), *force = getenv("CLICOLOR_FORCE");
    if (no && *no) return false;
    if (force && *force && strcmp(force, "0") != 0) return true;
    const char *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && !(term && strcmp(term, "dumb") == 0);
}

static int run_command(const hs_cmd *cmd, int argc, char **argv) {
    void *options = NULL;
    const char **arg = NULL;
    hs_globals globals = {0};
    int n_arg = 0;
    int rc = hs_alloc(&options, 1, cmd->options_size);
    if (!rc) rc = hs_alloc(&arg, (size_t)argc, sizeof *arg);
    if (!rc) rc = hs_opts_parse(cmd, options, &globals, argc - 2, argv + 2, arg, &n_arg);
    if (rc) goto out;
    if (globals.help) {
        hs_help_command(cmd, stdout);
        rc = hs_help_rc();
        goto out;
    }
    hs_call call = {.cmd = cmd,
                    .arg = arg,
                    .n_arg = n_arg,
                    .argv = argv,
                    .argc = argc,
                    .quiet = globals.quiet,
                    .color = want_color(globals.color)};
    rc = cmd->run(&call, options);
out:
    if (options) hs_opts_free(cmd, options);
    free(options);
    free(arg);
    return rc;
}

static int dispatch(int argc, char **argv) {
    if (argc < 2) {
        hs_help_overview(stderr);
        return hs_fail(HS_EARG, "no command given");
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) word = "help";
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        if (argc == 2) {
            hs_version_line(stdout);
            return HS_OK;
        }
        word = "version";
    }
    const hs_cmd *cmd = hs_cmd_find(word);
    if (cmd) return run_command(cmd, argc, argv);
    if (word[0] == '-')
        return hs_fail(HS_EARG, "options come after the command: headscope COMMAND %s", word);
    return unknown_command(word);
}

// A reader who has seen enough (a closed pipe) is no failure worth a line. Why an earlier write
// failed is no longer known here: the last one may well succeed.
static int flush_stdout(int rc) {
    errno = 0;
    bool bad = fflush(stdout) != 0 || ferror(stdout);
    if (!bad || rc) return rc;
    if (errno == EPIPE) exit(HS_EXIT_FAILED);
    return hs_fail(HS_EIO, "cannot write to standard output%s%s", errno ? ": " : "",
                   errno ? strerror(errno) : "");
}

// A file that was mapped and then cut short: its last pages are no more. Only what a signal handler
// may do is done; a database is sound without being closed.
static void on_bus(int sig) {
    static const char text[] =
        "headscope: a file became shorter, or could not be read, while it was "
        "in use (a model?): make it whole and run again; what was recorded is "
        "kept, and record goes on with --resume\n";
    (void)sig;
    if (isatty(STDERR_FILENO)) (void)!write(STDERR_FILENO, "\r\033[K", 4);
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(HS_EXIT_FAILED);
}

// A file must not become number 1 or 2, or what is printed ends up in it. Opened the wrong way round,
// so that using them still fails.
static void hold_standard_files(void) {
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv) {
    hold_standard_files();
    // Readers die quietly when their pipe closes, whatever the parent made of the signal.
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_IGN); // a file limit is a failed write like any other
    signal(SIGBUS, on_bus);
    int rc = flush_stdout(dispatch(argc, argv));
    if (rc) fprintf(stderr, "headscope: %s\n", *hs_errmsg() ? hs_errmsg() : "failed");
    return hs_exit_of(rc);
}
