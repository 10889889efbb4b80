// See cli.h. The program's main is linked under another name; what it prints goes to memory.
#include "tests/fuzz/cli.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/apart.h"
#include "model/core/json.h"
#include "model/core/utf8.h"
#include "tests/fuzz/shared.h"

int headscope_main(int argc, char **argv);

// In place of cli/apart.c: what draws stays in this process, which learns what it covers and finds.
int hs_apart(int (*work)(const hs_call *, const void *), const hs_call *call, const void *options,
             const char *file) {
    (void)file;
    return work(call, options);
}

enum { MAX_WORDS = 64 };

// File 1 is /dev/null for a while: "-" may be written to as a file. Returns what it was.
static int mute(void) {
    const int was = dup(STDOUT_FILENO), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    need(null >= 0 && dup2(null, STDOUT_FILENO) == STDOUT_FILENO);
    close(null);
    return was;
}

static void unmute(int was) {
    if (was < 0) {
        close(STDOUT_FILENO);
        return;
    }
    need(dup2(was, STDOUT_FILENO) == STDOUT_FILENO);
    close(was);
}

// What was printed while a stream was replaced.
typedef struct heard {
    FILE *was, *now;
    char *text;
    size_t n;
} heard;

static void listen(heard *h, FILE **stream) {
    h->was = *stream;
    h->now = open_memstream(&h->text, &h->n);
    need(h->now != NULL);
    *stream = h->now;
}

static void leave(heard *h, FILE **stream) {
    fclose(h->now);
    *stream = h->was;
}

static bool is_documented(int status) {
    return (status >= HS_EXIT_OK && status <= HS_EXIT_NOTHING) || status == HS_EXIT_INTERRUPTED;
}

static bool is_one_line(const heard *h) {
    static const char head[] = "headscope: ";
    const char *end = h->n ? memchr(h->text, '\n', h->n) : NULL;
    return h->n > sizeof head && !memcmp(h->text, head, sizeof head - 1) &&
           end == h->text + h->n - 1 && hs_utf8_valid(h->text, h->n);
}

// Our own reader takes no NUL in strings, which JSON may have.
static void check_json(const heard *h) {
    hs_json *v;
    for (char *at = h->text; (at = memmem(at, (size_t)(h->text + h->n - at), "\\u0000", 6));
         at += 6)
        at[5] = '1';
    need(!hs_json_parse(&v, h->text, h->n));
    hs_json_free(v);
}

int cli_run(const char *cwd, const char *const *words, hs_buf *said) {
    char *argv[MAX_WORDS + 2] = {strdup("headscope")};
    heard out = {0}, err = {0};
    bool json = false;
    int argc = 1, was = mute(), back = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (; words[argc - 1] && argc <= MAX_WORDS; argc++) {
        json = json || !strcmp(words[argc - 1], "--json");
        argv[argc] = strdup(words[argc - 1]);
    }
    need(back >= 0 && !chdir(cwd));
    listen(&out, &stdout);
    listen(&err, &stderr);
    int status = headscope_main(argc, argv);
    leave(&err, &stderr);
    leave(&out, &stdout);
    need(!fchdir(back));
    unmute(was);
    close(back);
    bool good = is_documented(status) && (status == HS_EXIT_OK || is_one_line(&err));
    if (!good) fprintf(stderr, "status %d: %.*s\n", status, (int)err.n, err.text);
    need(good);
    if (json && status == HS_EXIT_OK && out.n && *out.text == '{') check_json(&out);
    if (said) hs_buf_add(said, err.text, err.n);
    for (int i = 0; i < argc; i++) free(argv[i]);
    free(out.text);
    free(err.text);
    return status;
}
