// Files that appear whole or not at all; see outfile.h.
//
// The unfinished file is PATH.headscope-I.part, with a lock on it for as long as its writer lives. A
// writer that was killed leaves one without a lock: the next writer of the same path takes it over.
// The lock is taken after the file was made, so its owner looks again whether it still has that name.
#include "model/core/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRIES = 100, SUFFIX_MAX = 24 };

int hs_outfile_fail(const char *path, int error) {
    static const struct {
        int error;
        const char *todo;
    } todos[] = {
        {ENOENT, "make its folder first"},
        {ENOTDIR, "make its folder first"},
        {EISDIR, "name a file"},
        {ENAMETOOLONG, "choose a shorter one"},
        {ENOSPC, "free some space, or write elsewhere"},
        {EDQUOT, "free some space, or write elsewhere"},
        {EFBIG, "raise the limit on files (ulimit -f), or write elsewhere"},
        {EACCES, "write elsewhere"},
        {EPERM, "write elsewhere"},
        {EROFS, "write elsewhere"},
    };
    const char *todo = NULL;
    if (error == ENOMEM) return hs_fail(HS_ENOMEM, "%s: out of memory", path);
    for (size_t i = 0; i < sizeof todos / sizeof *todos; i++)
        if (todos[i].error == error) todo = todos[i].todo;
    return hs_fail(HS_EIO, "%s: cannot write: %s%s%s", path, strerror(error ? error : EIO),
                   todo ? ": " : "", todo ? todo : "");
}

// The file that `path` stands for: what a symbolic link names, else itself.
static int resolve(char out[PATH_MAX], const char *path) {
    const bool there = realpath(path, out) != NULL;
    if (!there && errno == ENOMEM) return hs_outfile_fail(path, errno);
    if (strlen(there ? out : path) >= PATH_MAX - SUFFIX_MAX)
        return hs_outfile_fail(path, ENAMETOOLONG);
    if (!there) strcpy(out, path);
    return HS_OK;
}

// The name of the unfinished file: a long name is cut, so that it stays one.
static void name_beside(hs_outfile *o, int i) {
    const char *slash = strrchr(o->path, '/');
    const size_t folder = slash ? (size_t)(slash + 1 - o->path) : 0;
    size_t name = strlen(o->path) - folder;
    if (name > NAME_MAX - SUFFIX_MAX) name = NAME_MAX - SUFFIX_MAX;
    snprintf(o->beside, sizeof o->beside, "%.*s.headscope-%d.part", (int)(folder + name), o->path,
             i);
}

// A file descriptor of `name`, locked and empty; -1 with errno EEXIST when it is another's.
static int take(const char *name) {
    struct stat mine, there;
    bool made = true;
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 && errno == EEXIST) {
        made = false;
        fd = open(name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0) errno = EEXIST;
    }
    if (fd < 0) return -1;
    // A file system without locks keeps names apart by making them anew.
    const bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0 || (made && errno != EWOULDBLOCK);
    if (locked && !fstat(fd, &mine) && S_ISREG(mine.st_mode) && !lstat(name, &there) &&
        mine.st_ino == there.st_ino && mine.st_dev == there.st_dev && !ftruncate(fd, 0))
        return fd;
    close(fd);
    errno = EEXIST;
    return -1;
}

static int open_beside(hs_outfile *o, const char *path) {
    int fd = -1;
    for (int i = 0; i < TRIES && fd < 0; i++) {
        name_beside(o, i);
        fd = take(o->beside);
        if (fd < 0 && errno != EEXIST) break;
    }
    if (fd < 0) return hs_outfile_fail(path, errno);
    o->file = fdopen(fd, "wb");
    if (o->file) return HS_OK;
    int error = errno;
    unlink(o->beside);
    close(fd);
    return hs_outfile_fail(path, error);
}

// What is there may be replaced: a slip of the hand must not cost a recording, a model, or a file
// that was protected.
static int check_replaced(const char *path) {
    static const struct {
        const char *magic, *what;
    } kept[] = {{"SQLite format 3", "a database"}, {"GGUF", "a model"}};
    char head[16] = "";
    if (access(path, W_OK)) return hs_outfile_fail(path, errno);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? 0 : read(fd, head, sizeof head - 1);
    if (fd >= 0) close(fd);
    for (size_t i = 0; n > 0 && i < sizeof kept / sizeof *kept; i++)
        if (strncmp(head, kept[i].magic, strlen(kept[i].magic)) == 0)
            return hs_fail(HS_EIO, "%s: cannot write: it is %s: name another file, or remove it",
                           path, kept[i].what);
    return HS_OK;
}

static bool is_link(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
}

int hs_outfile_open(hs_outfile *o, const char *path) {
    struct stat st;
    *o = (hs_outfile){0};
    const bool there = stat(path, &st) == 0;
    int rc = there || errno == ENOENT ? resolve(o->path, path) : hs_outfile_fail(path, errno);
    if (!rc && !there && is_link(path))
        rc = hs_fail(HS_EIO, "%s: cannot write: it is a link to nothing: remove it", path);
    const bool out = strcmp(path, "/dev/stdout") ==
                     0; // a file that the shell opened, perhaps with >>
    const bool in_place = out || (there && !S_ISREG(st.st_mode));
    if (!rc && there && !in_place) rc = check_replaced(path);
    if (!rc && in_place) {
        o->file = out ? fdopen(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3), "wb") : fopen(path, "wbe");
        if (!o->file) rc = hs_outfile_fail(path, errno);
    } else if (!rc) {
        rc = open_beside(o, path);
    }
    if (rc) hs_outfile_abort(o);
    return rc;
}

void hs_outfile_sweep(const char *path) {
    hs_outfile o = {0};
    struct stat st;
    bool more = !resolve(o.path, path);
    for (int i = 0; i < TRIES && more; i++) {
        name_beside(&o, i);
        more = lstat(o.beside, &st) == 0;
        const int fd = more ? take(o.beside) : -1;
        if (fd < 0) continue;
        unlink(o.beside);
        close(fd);
    }
}

int hs_outfile_write(const char *path, const void *data, size_t n) {
    hs_outfile o;
    int rc = hs_outfile_open(&o, path);
    if (rc) return rc;
    if (!n || fwrite(data, 1, n, o.file) == n) return hs_outfile_commit(&o);
    rc = hs_outfile_fail(path, errno);
    hs_outfile_abort(&o);
    return rc;
}

int hs_outfile_commit(hs_outfile *o) {
    int rc = HS_OK;
    const char *path = o->path;
    errno = 0; // of an earlier write that failed nothing is known any more
    if (fflush(o->file) || ferror(o->file)) rc = hs_outfile_fail(path, errno);
    if (!rc && *o->beside && fsync(fileno(o->file))) rc = hs_outfile_fail(path, errno);
    if (!rc && *o->beside && rename(o->beside, path)) rc = hs_outfile_fail(path, errno);
    if (!rc) *o->beside = 0; // it has become the file
    hs_outfile_abort(o);
    return rc;
}

void hs_outfile_abort(hs_outfile *o) {
    if (o->file) {
        if (*o->beside) unlink(o->beside);
        fclose(o->file); // and with it the lock
    }
    o->file = NULL;
}
