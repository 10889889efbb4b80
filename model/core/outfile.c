// Files that appear whole or not at all; see outfile.h.
#include "model/core/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRIES = 100 }; // names beside the file that may be taken by others

static int io_error(const char *path, int error) {
    return hs_fail(HS_EIO, "%s: cannot write: %s", path, strerror(error));
}

// The file that `path` stands for: what a symbolic link names, else itself.
static int resolve(hs_buf *out, const char *path) {
    char *real = realpath(path, NULL);
    hs_buf_str(out, real ? real : path);
    free(real);
    return hs_buf_rc(out);
}

static int open_beside(hs_outfile *o, const char *path) {
    int fd = -1;
    for (int i = 0; i < TRIES && fd < 0; i++) {
        hs_buf_clear(&o->beside);
        hs_buf_printf(&o->beside, "%s.%ld-%d.part", hs_buf_text(&o->path), (long)getpid(), i);
        if (hs_buf_rc(&o->beside)) return hs_buf_rc(&o->beside);
        fd = open(o->beside.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST) break;
    }
    if (fd < 0) return io_error(path, errno);
    o->file = fdopen(fd, "wb");
    if (o->file) return HS_OK;
    int error = errno;
    close(fd);
    unlink(o->beside.data);
    return io_error(path, error);
}

int hs_outfile_open(hs_outfile *o, const char *path) {
    struct stat st;
    *o = (hs_outfile){0};
    int rc = resolve(&o->path, path);
    if (!rc && stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        o->file = fopen(path, "wbe");
        if (!o->file) rc = io_error(path, errno);
    } else if (!rc) {
        rc = open_beside(o, path);
    }
    if (rc) hs_outfile_abort(o);
    return rc;
}

int hs_outfile_commit(hs_outfile *o) {
    int rc = HS_OK;
    const char *path = hs_buf_text(&o->path);
    if (fflush(o->file) || ferror(o->file)) rc = io_error(path, errno);
    if (!rc && o->beside.len && fsync(fileno(o->file))) rc = io_error(path, errno);
    if (!rc && o->beside.len && rename(o->beside.data, path)) rc = io_error(path, errno);
    if (!rc) hs_buf_clear(&o->beside); // it has become the file
    hs_outfile_abort(o);
    return rc;
}

void hs_outfile_abort(hs_outfile *o) {
    if (o->file) {
        fclose(o->file);
        if (o->beside.len) unlink(o->beside.data);
    }
    hs_buf_free(&o->path);
    hs_buf_free(&o->beside);
    *o = (hs_outfile){0};
}
