// The progress bar, notes and Ctrl-C.
//
// The signal handler only sets a flag; the work asks for it at safe points through its progress
// callback, so what was committed stays whole. The flag is the program's only changing file-scope
// state: a handler has nowhere else to write.
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"

static atomic_bool interrupted; // the handler may run on any thread

static void on_signal(int sig) {
    interrupted = true;
    signal(sig, SIG_DFL); // the second one ends the program
}

bool hs_interrupted(void) {
    return interrupted;
}

double hs_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int hs_terminal_width(int fd) {
    struct winsize w;
    return ioctl(fd, TIOCGWINSZ, &w) == 0 ? w.ws_col : 0;
}

static int columns(void) {
    const int width = hs_terminal_width(STDERR_FILENO);
    return width ? width : 80;
}

static void wipe(hs_bar *bar) {
    if (bar->drawn) fputs("\r\033[K", stderr);
    bar->drawn = false;
}

static void draw(hs_bar *bar, int64_t done, int64_t total, double now) {
    enum { CELLS = 24 };
    double share = (double)done / (double)total;
    double took = now - bar->began;
    double rate = took > 0 ? (double)(done - bar->first) / took : 0;
    char cells[CELLS + 1];
    int full = (int)(share * CELLS);
    for (int i = 0; i < CELLS; i++) cells[i] = i < full ? '#' : '.';
    cells[CELLS] = 0;
    char line[160];
    int n = snprintf(line, sizeof line, "%s [%s] %3.0f%%", bar->what, cells, 100 * share);
    if (rate > 0 && took > 0.5 && n > 0 && (size_t)n < sizeof line) {
        int64_t left = (int64_t)((double)(total - done) / rate + 0.5);
        snprintf(line + n, sizeof line - (size_t)n, "  %.*f/s  %lld:%02lld left", rate < 10, rate,
                 (long long)(left / 60), (long long)(left % 60));
    }
    int width = columns() - 1;
    if (width < (int)sizeof line) line[width > 0 ? width : 0] = 0;
    fprintf(stderr, "\r%s\033[K", line);
    fflush(stderr);
    bar->drawn = true;
}

static int step(void *ctx, const char *what, int64_t done, int64_t total) {
    hs_bar *bar = ctx;
    if (interrupted) return hs_fail(HS_ESTOP, "interrupted");
    if (!bar->shown || total <= 0) return HS_OK;
    double now = hs_now();
    if (!bar->what || strcmp(bar->what, what) != 0) {
        bar->what = what;
        bar->first = done;
        bar->began = now;
        bar->last = 0;
    }
    if (now - bar->last < 0.1) return HS_OK;
    // Nothing is drawn for work that is over in a moment.
    if (now - bar->began < 0.3) return HS_OK;
    bar->last = now;
    draw(bar, done < total ? done : total, total, now);
    return HS_OK;
}

void hs_bar_open(hs_bar *bar, const hs_call *call) {
    *bar = (hs_bar){.progress = {step, bar}, .shown = !call->quiet && isatty(STDERR_FILENO)};
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
}

void hs_bar_clear(hs_bar *bar) {
    wipe(bar);
    bar->what = NULL;
}

void hs_bar_close(hs_bar *bar) {
    hs_bar_clear(bar);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

void hs_note(const hs_call *call, const char *fmt, ...) {
    if (call->quiet) return;
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}
