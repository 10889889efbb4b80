// headscope version: everything a bug report needs, in one paste.
#include <cairo.h>
#include <pango/pango.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "cli/out.h"
#include "cli/session.h"
#include "gen/version.h"

struct options {
    hs_out_options out;
};

static int engine(hs_dev **dev, const char **isa, int *threads) {
    hs_model_options none = {0};
    hs_dev_opts opts;
    int rc = hs_cli_dev(&none, &opts);
    if (!rc) rc = hs_backend_cpu.open(dev, &opts);
    if (rc) return rc;
    *isa = hs_backend_cpu.isa(*dev);
    *threads = hs_pool_threads(hs_backend_cpu.pool(*dev));
    return HS_OK;
}

static int run(const hs_call *call, const void *options) {
    (void)call;
    const struct options *opt = options;
    hs_dev *dev = NULL;
    const char *isa;
    int threads;
    int rc = engine(&dev, &isa, &threads);
    if (rc) return rc;
    struct utsname os;
    bool known = uname(&os) == 0;
    const char *const rows[][2] = {
        {"version", HS_VERSION},        {"git", HS_GIT},
        {"compiler", HS_CC},            {"system", known ? os.sysname : "?"},
        {"release", known ? os.release : "?"}, {"machine", known ? os.machine : "?"},
        {"backend", hs_backend_cpu.name}, {"isa", isa},
        {"sqlite", sqlite3_libversion()}, {"cairo", cairo_version_string()},
        {"pango", pango_version_string()},
    };
    hs_buf json = {0};
    hs_jw w = {&json, false};
    hs_jw_begin(&w, '{');
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!opt->out.json) printf("%-9s %s\n", rows[i][0], rows[i][1]);
        hs_jw_key(&w, rows[i][0]);
        hs_jw_str(&w, rows[i][1]);
    }
    if (!opt->out.json) printf("threads   %d\n", threads);
    hs_jw_key(&w, "threads");
    hs_jw_int(&w, threads);
    hs_jw_end(&w, '}');
    hs_backend_cpu.close(dev);
    if (opt->out.json) return hs_json_put(&json);
    hs_buf_free(&json);
    return HS_OK;
}

const hs_cmd hs_cmd_version = {
    .name = "version",
    .group = "other",
    .title = "version, compiler, libraries, kernels: for bug reports",
    .synopsis = "[options]",
    .about = "What was built, with what, and what this machine runs.",
    .examples = (const char *const[]){"version", "what to paste into a bug report", NULL},
    .options = (const hs_opt_group[]){{"output", hs_opts_json, offsetof(struct options, out)},
                                      {0}},
    .options_size = sizeof(struct options),
    .run = run,
};
