// headscope export RUN -o FILE: what a run stored, as npz or safetensors.
#include <string.h>

#include "cli/session.h"
#include "db/export.h"

struct options {
    hs_db_options db;
    hs_run_options run;
    const char *file, *what;
};

static const struct {
    const char *name;
    unsigned bit;
} whats[] = {
    {"maps", HS_EXPORT_MAPS},     {"acts", HS_EXPORT_ACTS}, {"stats", HS_EXPORT_STATS},
    {"tokens", HS_EXPORT_TOKENS}, {"all", HS_EXPORT_ALL},
};
enum { N_WHAT = sizeof whats / sizeof *whats };

// "maps,acts" as bits.
static int parse_what(const char *text, unsigned *out) {
    *out = 0;
    for (const char *c = text;; c++) {
        size_t n = strcspn(c, ",");
        int i = 0;
        while (i < N_WHAT && (strlen(whats[i].name) != n || memcmp(whats[i].name, c, n) != 0)) i++;
        if (i == N_WHAT)
            return hs_fail(HS_EARG,
                           "--what takes maps, acts, stats, tokens or all, joined by "
                           "commas, not '%.*s'",
                           (int)n, c);
        *out |= whats[i].bit;
        c += n;
        if (!*c) return HS_OK;
    }
}

static int run(const hs_call *call, const void *options) {
    const struct options *opt = options;
    hs_db *db = NULL;
    hs_bar bar;
    unsigned what;
    int64_t run_id, prompt = 0;
    if (!opt->file) return hs_fail(HS_EARG, "write where? -o FILE.npz or FILE.safetensors");
    int rc = parse_what(opt->what, &what);
    if (!rc) rc = hs_db_open(&db, hs_cli_db_path(&opt->db), HS_DB_READ);
    if (!rc) rc = hs_cli_run(call, 0, &opt->run, db, &run_id);
    if (!rc && opt->run.prompt) rc = hs_db_prompt(db, run_id, opt->run.prompt, &prompt);
    hs_bar_open(&bar, call);
    if (!rc) rc = hs_db_export(db, run_id, prompt, what, opt->file, &bar.progress);
    hs_bar_close(&bar);
    if (!rc) hs_note(call, "wrote %s", opt->file);
    hs_db_close(db);
    return rc;
}

static const hs_opt own[] = {
    {"output", 'o', HS_OPT_TEXT, offsetof(struct options, file), "FILE", NULL,
     "where to write; .npz or .safetensors chooses the format"},
    {"what", 0, HS_OPT_TEXT, offsetof(struct options, what), "LIST", "all",
     "maps, acts, stats, tokens, joined by commas"},
    {0},
};

const hs_cmd hs_cmd_export = {
    .name = "export",
    .group = "reading",
    .title = "writes what a run stored as npz or safetensors",
    .synopsis = "[RUN] -o FILE.npz|FILE.safetensors [options]",
    .about =
        "Arrays are named pN/HOOK, N the prompt's 0-based number, without a batch axis: "
        "p0/tokens int64 [T], p0/blocks.3.attn.hook_pattern [H, T, T], row statistics as "
        "p0/blocks.3.attn.hook_row_stats.entropy [H, T]. Where not every head's map was stored, "
        "head N's is p0/blocks.3.attn.hook_pattern.hN [T, T]. T counts decoded tokens too. All "
        "prompts unless --prompt is given.",
    .examples = (const char *const[][2]){{"export -o run.npz", "everything of the latest run"},
                                         {"export 3 --what maps --prompt 0 -o maps.safetensors",
                                          "one prompt's maps"},
                                         {NULL}},
    .options = (const hs_opt_group[]){{"options", own, 0},
                                      {"database", hs_opts_db_read, offsetof(struct options, db)},
                                      {"", hs_opts_prompt_of, offsetof(struct options, run)},
                                      {0}},
    .options_size = sizeof(struct options),
    .max_arg = 1,
    .run = run,
};
