// headscope merge OUT IN...: joins the databases of shards into one.
#include <inttypes.h>
#include <limits.h>

#include "cli/out.h"
#include "db/merge.h"

struct options {
    hs_out_options out;
};

static int report(const hs_call *call, const struct options *opt, const hs_merge_report *r) {
    const char *path = call->arg[0];
    if (r->left_out)
        hs_note(call, "%" PRId64 " run%s no shard%s: left out", r->left_out,
                r->left_out == 1 ? " is" : "s are", r->left_out == 1 ? "" : "s");
    if (opt->out.json) {
        hs_buf json = {0};
        hs_jw j = {&json, false};
        hs_jw_begin(&j, '{');
        hs_jw_key(&j, "db");
        hs_jw_str(&j, path);
        hs_jw_key(&j, "runs");
        hs_jw_int(&j, r->runs);
        hs_jw_key(&j, "prompts");
        hs_jw_int(&j, r->prompts);
        hs_jw_end(&j, '}');
        return hs_json_put(&json);
    }
    printf("%s: %" PRId64 " run%s, %" PRId64 " prompts, from %d file%s\n", path, r->runs,
           r->runs == 1 ? "" : "s", r->prompts, call->n_arg - 1, call->n_arg == 2 ? "" : "s");
    if (!call->quiet) printf("next: headscope query sweep --db %s\n", path);
    return HS_OK;
}

static int run(const hs_call *call, const void *options) {
    const struct options *opt = options;
    hs_merge_report r;
    hs_bar bar;
    if (call->n_arg < 2)
        return hs_fail(HS_EARG, "merge what? headscope merge OUT.db SHARD.db SHARD.db ...");
    hs_bar_open(&bar, call);
    int rc = hs_merge(call->arg[0], call->arg + 1, call->n_arg - 1, &r, &bar.progress);
    hs_bar_close(&bar);
    return rc ? rc : report(call, opt, &r);
}

const hs_cmd hs_cmd_merge = {
    .name = "merge",
    .group = "runs",
    .title = "joins the databases of shards into one",
    .synopsis = "OUT.db SHARD.db... [options]",
    .about = "Takes all shards of a sweep (sweep --shard), in any order, and writes a new database "
             "whose runs are those of one process: equal in every table but for times and command "
             "lines. Shards of different models, prompts, versions or options, a shard that is "
             "missing, unfinished or there twice are errors. Runs of the files that are no shards "
             "are left out. The new file appears when it is whole, and never replaces one.",
    .examples = (const char *const[][2]){{"merge all.db part.0.db part.1.db",
                                          "the two shards of sweep --shard 0/2 and 1/2"},
                                         {"merge all.db part.*.db",
                                          "those of mpirun -n 8 headscope sweep --shard auto"},
                                         {NULL}},
    .options = (const hs_opt_group[]){{"output", hs_opts_json, offsetof(struct options, out)}, {0}},
    .options_size = sizeof(struct options),
    .max_arg = INT_MAX,
    .run = run,
};
