// Work in a process of its own; see apart.h.
//
// Pango, GLib and Fontconfig abort or crash when memory is out, and say so on stderr in many lines.
// So a child draws: its result comes back in a shared page, what libraries say on stderr through a
// pipe, and that is shown only when the child came to its end.
#include "cli/apart.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model/core/outfile.h"

enum { SAID_MAX = 4096, PATIENCE = 120 }; // bytes; seconds

struct result {
    int done, rc;
    char message[1024];
};

struct child {
    pid_t pid;
    int pipe;            // its stderr
    char said[SAID_MAX]; // the beginning of it
    size_t n;
};

// Under a limit of memory threads of those libraries have been seen to wait for each other without
// end: then SIGALRM ends the child.
static void be_impatient(void) {
    struct rlimit limit;
    if (!getrlimit(RLIMIT_AS, &limit) && limit.rlim_cur != RLIM_INFINITY) alarm(PATIENCE);
}

static void be_child(struct result *r, int to, int (*work)(const hs_call *, const void *),
                     const hs_call *call, const void *options) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(to, STDERR_FILENO);
    be_impatient();
    r->rc = work(call, options);
    snprintf(r->message, sizeof r->message, "%s", hs_errmsg());
    r->done = 1;
    fflush(NULL);
    _exit(0);
}

// Reads what the child says until it ends.
static void attend(struct child *c) {
    for (;;) {
        char rest[256];
        const bool full = c->n == SAID_MAX;
        const ssize_t n = read(c->pipe, full ? rest : c->said + c->n,
                               full ? sizeof rest : SAID_MAX - c->n);
        if (n == 0 || (n < 0 && errno != EINTR)) return;
        if (n > 0 && !full) c->n += (size_t)n;
    }
}

static int result_of(const struct result *r, struct child *c, const char *file) {
    int status = 0;
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (r->done && r->rc) return hs_fail(r->rc, "%s", r->message);
    // Fontconfig goes on without the rules it had no memory for, and says so.
    if (r->done && memmem(c->said, c->n, "out of memory", 13))
        return hs_fail(HS_ENOMEM,
                       "memory ran out while fonts were read: %s may look different: draw it again",
                       file ? file : "the output");
    if (r->done) {
        fwrite(c->said, 1, c->n, stderr);
        return HS_OK;
    }
    if (file) hs_outfile_sweep(file);
    const int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (sig == SIGINT || sig == SIGTERM)
        return hs_fail(HS_ESTOP, "interrupted: nothing was written");
    if (!sig) fwrite(c->said, 1, c->n, stderr); // somebody called exit() and will have said why
    return hs_fail(
        HS_ENOMEM,
        "drawing ended early (signal %d): memory ran out, or it is a fault of ours: free "
        "some, or draw less or at lower --dpi; report it when there is plenty",
        sig);
}

int hs_apart(int (*work)(const hs_call *, const void *), const hs_call *call, const void *options,
             const char *file) {
    struct child c = {.pid = -1};
    int ends[2] = {-1, -1}, rc;
    struct result *r = mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                            0);
    if (r == MAP_FAILED) return hs_fail(HS_ENOMEM, "out of memory");
    if (pipe2(ends, O_CLOEXEC)) {
        rc = hs_fail(HS_EIO, "cannot start drawing: %s", strerror(errno));
        goto out;
    }
    fflush(NULL); // or the child writes it again
    void (*on_int)(int) = signal(SIGINT, SIG_IGN);
    c.pid = fork();
    if (c.pid == 0) {
        signal(SIGINT, on_int);
        be_child(r, ends[1], work, call, options);
    }
    rc = c.pid < 0 ? hs_fail(HS_ENOMEM,
                             "cannot start drawing: %s: memory is out, or too many processes run",
                             strerror(errno))
                   : HS_OK;
    close(ends[1]);
    ends[1] = -1;
    c.pipe = ends[0];
    if (!rc) attend(&c);
    if (!rc) rc = result_of(r, &c, file);
    signal(SIGINT, on_int);
out:
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0) close(ends[i]);
    munmap(r, sizeof *r);
    return rc;
}
