// headscope man: the manual pages as roff source.
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/help/man.h"
#include "cli/out.h"
#include "model/core/outfile.h"

struct options {
    const char *folder;
};

static int write_page(int i, const char *folder, const char *name) {
    hs_buf path = {0};
    hs_outfile file = {0};
    hs_buf_printf(&path, "%s/%s", folder, name);
    int rc = hs_buf_rc(&path);
    if (!rc) rc = hs_outfile_open(&file, path.data);
    if (!rc) {
        hs_man_write(i, file.file); // the commit looks for write errors
        rc = hs_outfile_commit(&file);
    }
    hs_buf_free(&path);
    return rc;
}

static int write_all(const hs_call *call, const char *folder) {
    hs_buf name = {0};
    int rc = HS_OK, n = 0;
    if (mkdir(folder, 0777) && errno != EEXIST)
        return hs_fail(HS_EIO, "%s: cannot make this folder: %s", folder, strerror(errno));
    for (; !rc && hs_man_name(n, &name); n++) {
        rc = hs_buf_rc(&name);
        if (!rc) rc = write_page(n, folder, hs_buf_text(&name));
    }
    if (!rc) hs_note(call, "wrote %d pages to %s", n, folder);
    hs_buf_free(&name);
    return rc;
}

// One page, by its file's name, or the names of all (page NULL).
static int print(const char *page) {
    hs_buf name = {0};
    bool found = false;
    for (int i = 0; hs_man_name(i, &name); i++) {
        if (!page)
            puts(hs_buf_text(&name));
        else if (strcmp(hs_buf_text(&name), page) == 0) {
            hs_man_write(i, stdout);
            found = true;
        }
    }
    hs_buf_free(&name);
    if (found || !page) return HS_OK;
    return hs_fail(HS_ENOTFOUND, "there is no page '%s': headscope man lists them", page);
}

static int run(const hs_call *call, const void *options) {
    const struct options *opt = options;
    const char *page = call->n_arg ? call->arg[0] : NULL;
    if (!opt->folder) return print(page);
    if (page) return hs_fail(HS_EARG, "--output writes all pages: leave out '%s'", page);
    return write_all(call, opt->folder);
}

static const hs_opt own[] = {
    {"output", 'o', HS_OPT_TEXT, offsetof(struct options, folder), "FOLDER", NULL,
     "write all pages into this folder"},
    {0},
};

const hs_cmd hs_cmd_man = {
    .name = "man",
    .group = "other",
    .title = "the manual pages, as roff source",
    .synopsis = "[PAGE] [options]",
    .about = "Prints a page, or without one the names of all. They are made from the same tables "
             "as --help. make install puts them where man finds them.",
    .examples = (const char *const[][2]){{"man headscope-db.5 | man -l -", "reads a page"},
                                         {"man -o pages", "writes all of them"},
                                         {NULL}},
    .options = (const hs_opt_group[]){{"options", own, 0}, {0}},
    .options_size = sizeof(struct options),
    .max_arg = 1,
    .run = run,
};
