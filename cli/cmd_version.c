// headscope version: everything a bug report needs, in one paste.
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
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

// The libraries' own version functions, found at run time: it is what is loaded that counts, and
// nothing here needs their headers.
static const struct {
    const char *name, *function; // const char *function(void)
} libraries[] = {
    {"sqlite", "sqlite3_libversion"},  {"zlib", "zlibVersion"},
    {"zstd", "ZSTD_versionString"},    {"cjson", "cJSON_Version"},
    {"utf8proc", "utf8proc_version"},  {"cairo", "cairo_version_string"},
    {"pango", "pango_version_string"},
};
enum { N_LIBRARY = sizeof libraries / sizeof *libraries };

static const char *library_version(const char *function) {
    void *at = dlsym(RTLD_DEFAULT, function);
    const char *(*call)(void) = NULL;
    memcpy(&call, &at, sizeof call);
    return call ? call() : "linked statically";
}

void hs_version_line(FILE *to) {
    fprintf(to, "headscope %s (%s)\n", HS_VERSION, HS_GIT);
}

// A row for people or for JSON.
static void put(hs_jw *json, bool people, const char *name, const char *value) {
    if (people) printf("%-9s %s\n", name, value);
    hs_jw_key(json, name);
    hs_jw_str(json, value);
}

static int run(const hs_call *call, const void *options) {
    (void)call;
    const struct options *opt = options;
    bool people = !opt->out.json;
    hs_dev *dev = NULL;
    const char *isa;
    int threads;
    int rc = engine(&dev, &isa, &threads);
    if (rc) return rc;
    struct utsname os;
    bool known = uname(&os) == 0;
    hs_buf json = {0};
    hs_jw j = {&json, false};
    hs_jw_begin(&j, '{');
    put(&j, people, "version", HS_VERSION);
    put(&j, people, "git", HS_GIT);
    put(&j, people, "compiler", HS_CC);
    put(&j, people, "system", known ? os.sysname : "?");
    put(&j, people, "release", known ? os.release : "?");
    put(&j, people, "machine", known ? os.machine : "?");
    put(&j, people, "backend", hs_backend_cpu.name);
    put(&j, people, "isa", isa);
    if (people) printf("threads   %d\n", threads);
    hs_jw_key(&j, "threads");
    hs_jw_int(&j, threads);
    for (int i = 0; i < N_LIBRARY; i++)
        put(&j, people, libraries[i].name, library_version(libraries[i].function));
    hs_jw_end(&j, '}');
    hs_backend_cpu.close(dev);
    if (!people) return hs_json_put(&json);
    hs_buf_free(&json);
    return HS_OK;
}

const hs_cmd hs_cmd_version = {
    .name = "version",
    .group = "other",
    .title = "version, compiler, libraries, kernels: for bug reports",
    .synopsis = "[options]",
    .about = "What was built, with what, and what this machine runs. headscope --version prints "
             "one line.",
    .examples = (const char *const[][2]){{"version", "what to paste into a bug report"}, {NULL}},
    .options = (const hs_opt_group[]){{"output", hs_opts_json, offsetof(struct options, out)}, {0}},
    .options_size = sizeof(struct options),
    .run = run,
};
