// Shards; see shard.h.
#include "cli/shard.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum { MOST = 1000000 };

// What launchers tell their processes.
static const struct {
    const char *rank, *size;
} launchers[] = {
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"}, // Open MPI
    {"PMI_RANK", "PMI_SIZE"},                         // MPICH and its kin
    {"PMIX_RANK", "SLURM_NTASKS"},
    {"SLURM_PROCID", "SLURM_NTASKS"}, // srun
};

// A number of the environment; false when it is not there.
static int number(const char *name, int64_t *out, bool *there) {
    const char *text = getenv(name);
    *there = text && *text;
    return *there ? hs_parse_int(name, text, 0, MOST, out) : HS_OK;
}

static int of_launcher(hs_shard *s, bool *found) {
    int rc = HS_OK;
    *found = false;
    for (size_t k = 0; k < sizeof launchers / sizeof *launchers && !rc && !*found; k++) {
        bool rank = false, size = false;
        rc = number(launchers[k].rank, &s->i, &rank);
        if (!rc) rc = number(launchers[k].size, &s->n, &size);
        *found = !rc && rank && size;
        if (*found && s->i >= s->n)
            rc = hs_fail(HS_EARG, "--shard auto: %s=%" PRId64 " is not below %s=%" PRId64,
                         launchers[k].rank, s->i, launchers[k].size, s->n);
    }
    return rc;
}

// Each job of an array has its share, and its processes have shares of that.
static int of_array(hs_shard *s, bool *found) {
    bool id = false, count = false, min, step;
    int64_t task = 0, n = 0, first = 0, by = 1;
    int rc = number("SLURM_ARRAY_TASK_ID", &task, &id);
    if (!rc) rc = number("SLURM_ARRAY_TASK_COUNT", &n, &count);
    if (!rc) rc = number("SLURM_ARRAY_TASK_MIN", &first, &min);
    if (!rc) rc = number("SLURM_ARRAY_TASK_STEP", &by, &step);
    if (rc || !id || !count) return rc;
    task = by ? (task - first) / by : -1;
    if (task < 0 || task >= n)
        return hs_fail(HS_EARG,
                       "--shard auto: a job array whose tasks are not evenly numbered: give "
                       "--shard I/N");
    if (!*found) *s = (hs_shard){.n = 1};
    *found = true;
    if (n > MOST / s->n) return hs_fail(HS_EARG, "--shard auto: more than %d processes", MOST);
    s->i += task * s->n;
    s->n *= n;
    return HS_OK;
}

static int of_environment(hs_shard *s) {
    bool found;
    int rc = of_launcher(s, &found);
    if (!rc) rc = of_array(s, &found);
    s->launched = true;
    if (rc || found) return rc;
    return hs_fail(HS_EARG,
                   "--shard auto: neither mpirun nor srun started this process, nor is it in a job "
                   "array: give --shard I/N");
}

int hs_shard_parse(hs_shard *out, const char *text) {
    *out = (hs_shard){0};
    if (!text) return HS_OK;
    if (strcmp(text, "auto") == 0) return of_environment(out);
    char *slash, *end;
    const bool digits = strspn(text, "0123456789/") == strlen(text) && *text != '/';
    out->i = strtol(text, &slash, 10);
    out->n = *slash == '/' ? strtol(slash + 1, &end, 10) : 0;
    if (!digits || *slash != '/' || end == slash + 1 || *end)
        return hs_fail(HS_EARG, "--shard takes I/N, as 0/4, or auto, not '%s'", text);
    if (out->n < 1 || out->n > MOST)
        return hs_fail(HS_EARG, "--shard %s: there must be 1 shard at least, and %d at most", text,
                       MOST);
    if (out->i >= out->n)
        return hs_fail(HS_EARG,
                       "--shard %s: the shards of %" PRId64 " are 0/%" PRId64 " to %" PRId64
                       "/%" PRId64,
                       text, out->n, out->n, out->n - 1, out->n);
    return HS_OK;
}

int hs_shard_check(const hs_shard *s, int64_t n_prompt) {
    if (s->n <= n_prompt) return HS_OK;
    return hs_fail(
        HS_EARG,
        "%" PRId64 " shards of %" PRId64 " prompt%s: a shard needs a prompt at least: %s "
        "%" PRId64,
        s->n, n_prompt, n_prompt == 1 ? "" : "s",
        s->launched ? "start as many processes as there are prompts, at most" : "take N up to",
        n_prompt);
}

int hs_shard_path(hs_buf *out, const hs_shard *s, const char *path) {
    const size_t n = strlen(path);
    const bool db = n > 3 && strcmp(path + n - 3, ".db") == 0;
    hs_buf_add(out, path, db ? n - 3 : n);
    if (s->launched) hs_buf_printf(out, ".%" PRId64, s->i);
    if (db) hs_buf_str(out, ".db");
    return hs_buf_rc(out);
}
