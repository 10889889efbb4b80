// A shim for LD_PRELOAD that lets the program run out of memory at a chosen allocation.
//
// Everything that asks for memory is counted from the moment main is entered: the C library's
// allocators (which strdup, fopen, realpath and every library go through), maps of files and of
// memory, and threads, whose stacks are memory too. Two counters, because what the main thread asks
// for comes in the same order on every run, and what others ask for among themselves, too:
//
//     OOM_WHO=main|other   whose allocations are counted and refused
//     OOM_AT=N             the first one that is refused, from 1; 0 only counts
//     OOM_REST=1           and all after it, whoever asks
//     OOM_COUNT=FILE       where the number of allocations is written at exit
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

typedef int main_fn(int argc, char **argv, char **env);
typedef int start_fn(main_fn *, int, char **, void (*)(void), void (*)(void), void (*)(void),
                     void *);
typedef int create_fn(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

static struct {
    bool armed, others, rest;
    long at;
    const char *count_file;
    main_fn *main;
    create_fn *create;
    atomic_long *n; // shared with a child that main forks, which goes on from its parent's number
} oom;

static bool refused(void) {
    if (!oom.armed) return false;
    const bool mine = (gettid() != getpid()) == oom.others;
    const long n = mine ? atomic_fetch_add(oom.n, 1) + 1 : atomic_load(oom.n);
    const bool no = oom.at && (mine ? n == oom.at : false);
    if (!no && !(oom.rest && oom.at && n >= oom.at)) return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t n) {
    return refused() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size) {
    return refused() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n) {
    return n && refused() ? NULL : __libc_realloc(p, n);
}

void *aligned_alloc(size_t align, size_t n) {
    return refused() ? NULL : __libc_memalign(align, n);
}

void *memalign(size_t align, size_t n) {
    return aligned_alloc(align, n);
}

int posix_memalign(void **out, size_t align, size_t n) {
    void *p = aligned_alloc(align, n);
    if (!p) return ENOMEM;
    *out = p;
    return 0;
}

void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset) {
    if (refused()) return MAP_FAILED;
    return (void *)syscall(SYS_mmap, at, n, prot, flags, fd, offset);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg) {
    return refused() ? EAGAIN : oom.create(thread, attr, fn, arg);
}

static void tell(void) {
    char text[32];
    const bool armed = oom.armed;
    oom.armed = false;
    const int len = snprintf(text, sizeof text, "%ld\n", atomic_load(oom.n));
    const int fd = armed ? open(oom.count_file, O_WRONLY | O_CREAT | O_APPEND, 0666) : -1;
    if (fd < 0 || write(fd, text, (size_t)len) != len) return;
    close(fd);
}

static int armed_main(int argc, char **argv, char **env) {
    const char *who = getenv("OOM_WHO"), *at = getenv("OOM_AT"), *rest = getenv("OOM_REST");
    oom.count_file = getenv("OOM_COUNT");
    oom.others = who && strcmp(who, "other") == 0;
    oom.rest = rest && *rest == '1';
    oom.at = at ? atol(at) : 0;
    if (oom.count_file) atexit(tell);
    oom.n = (atomic_long *)syscall(SYS_mmap, NULL, sizeof *oom.n, PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    oom.armed = true;
    return oom.main(argc, argv, env);
}

int __libc_start_main(main_fn *fn, int argc, char **argv, void (*init)(void), void (*fini)(void),
                      void (*rtld_fini)(void), void *stack_end) {
    start_fn *start;
    *(void **)&start = dlsym(RTLD_NEXT, "__libc_start_main");
    *(void **)&oom.create = dlsym(RTLD_NEXT, "pthread_create");
    oom.main = fn;
    return start(armed_main, argc, argv, init, fini, rtld_fini, stack_end);
}
