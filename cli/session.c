// Model and prompts from their options, and what commands that run a model share.
#include <stdlib.h>
#include <string.h>

#include "cli/session.h"
#include "model/core/outfile.h"

// ---- the model ------------------------------------------------------------------------------

enum { MAX_THREADS = 1024 };

const hs_opt hs_opts_model[] = {
    {"threads", 0, HS_OPT_COUNT, offsetof(hs_model_options, threads), "N", NULL,
     "threads to use (default: all cores)"},
    {"ctx", 0, HS_OPT_COUNT, offsetof(hs_model_options, ctx), "N", NULL,
     "context length (default: the model's own)"},
    {"weights", 0, HS_OPT_ENUM, offsetof(hs_model_options, weights), "keep|expand", "keep",
     "keep weights in the numbers of the file, or expand them to f32 at load: more memory, "
     "same results"},
    {"isa", 0, HS_OPT_TEXT, offsetof(hs_model_options, isa), "ISA", NULL,
     "kernels: generic, avx2, avx512, avx512bf16 (default: the best this machine has)"},
    {"precision", 0, HS_OPT_ENUM, offsetof(hs_model_options, precision), "exact|bf16|f64", "exact",
     "exact: f32 sums of weights as stored; bf16: products of rounded numbers, faster; f64: the "
     "slow reference. verify tells how far they are apart"},
    {0},
};

int hs_cli_model_path(const hs_call *call, int i, const char **path) {
    *path = i < call->n_arg ? call->arg[i] : getenv("HEADSCOPE_MODEL");
    if (*path && **path) return HS_OK;
    return hs_fail(HS_EARG,
                   "no model given: headscope %s MODEL, or set HEADSCOPE_MODEL (a .gguf file, a "
                   "folder with config.json, or a hub name)",
                   call->cmd->name);
}

int hs_cli_dev(const hs_model_options *options, hs_dev_opts *out) {
    int64_t threads = options->threads;
    const char *env = getenv("HS_THREADS"), *isa = getenv("HS_ISA");
    if (threads > MAX_THREADS)
        return hs_fail(HS_EARG, "--threads must lie in 1..%d, not %lld", MAX_THREADS,
                       (long long)threads);
    if (!threads && env && *env) {
        int rc = hs_parse_int("HS_THREADS (unset: all cores)", env, 1, MAX_THREADS, &threads);
        if (rc) return rc;
    }
    *out = (hs_dev_opts){.threads = (int)threads,
                         .isa = options->isa,
                         .precision = (enum hs_precision)options->precision};
    if (!out->isa && isa && *isa) out->isa = isa;
    return HS_OK;
}

// A path with nothing there is a failure to open, not a selection that matched nothing.
static int open_failed(int rc) {
    return rc == HS_ENOTFOUND ? HS_EIO : rc;
}

static int open_model(hs_model **out, const char *path, const hs_model_options *options,
                      hs_model_opts *opts) {
    *out = NULL;
    opts->weights = (enum hs_weight_mode)options->weights;
    opts->n_ctx = options->ctx;
    int rc = hs_cli_dev(options, &opts->dev);
    return rc ? rc : open_failed(hs_model_open(out, path, opts));
}

int hs_cli_model_open(hs_model **out, const char *path, const hs_model_options *options,
                      const hs_progress *progress) {
    hs_model_opts opts = {.check_room = true, .progress = progress};
    return open_model(out, path, options, &opts);
}

int hs_cli_model_look(hs_model **out, const char *path, const hs_model_options *options) {
    hs_model_opts opts = {.no_weights = true};
    return open_model(out, path, options, &opts);
}

int hs_cli_tok_open(hs_ckpt **ckpt, hs_tok **tok, const char *path) {
    *tok = NULL;
    int rc = open_failed(hs_ckpt_open(ckpt, path, false));
    if (!rc) rc = hs_tok_open(tok, *ckpt);
    return rc == HS_ENOTFOUND && *ckpt ? HS_OK : rc;
}

int64_t hs_cli_n_ctx(const hs_model *model) {
    return hs_model_config(model)->n_ctx;
}

// ---- prompts --------------------------------------------------------------------------------

const hs_opt hs_opts_prompt[] = {
    {"prompt", 'p', HS_OPT_LIST, offsetof(hs_prompt_options, text), "TEXT", NULL,
     "a prompt; may be repeated"},
    {"file", 'f', HS_OPT_LIST, offsetof(hs_prompt_options, file), "FILE.jsonl|FILE.txt", NULL,
     "prompts of a .jsonl (text or tokens a line) or .txt file; - reads JSON lines"},
    {"dataset", 0, HS_OPT_LIST, offsetof(hs_prompt_options, dataset), "DATASET[:k=v,...]", NULL,
     "prompts of a generator: see headscope list datasets"},
    {"bos", 0, HS_OPT_ENUM, offsetof(hs_prompt_options, bos), "auto|yes|no", "auto",
     "a beginning-of-sequence token before each text; auto: as the tokenizer says"},
    {"span", 0, HS_OPT_LIST, offsetof(hs_prompt_options, span), "NAME=A:B", NULL,
     "calls positions A to B-1 of each prompt NAME, for what takes spans; may be repeated"},
    {0},
};
const char *const hs_bos_names[] = {
    [HS_BOS_AUTO] = "auto", [HS_BOS_YES] = "yes", [HS_BOS_NO] = "no"};

static int add_all(hs_prompts *p, const hs_prompt_options *o) {
    int rc = HS_OK;
    for (int i = 0; !rc && i < o->text.n; i++)
        rc = hs_prompts_add_text(p, NULL, o->text.at[i], strlen(o->text.at[i]));
    for (int i = 0; !rc && i < o->file.n; i++) rc = hs_prompts_add_file(p, o->file.at[i]);
    for (int i = 0; !rc && i < o->dataset.n; i++) rc = hs_prompts_add_dataset(p, o->dataset.at[i]);
    return rc;
}

// "image=5:600"; whether a prompt is as long matters to those who use the span.
static int check_span(const char *text) {
    size_t n_name = strcspn(text, "=:,+");
    const char *a = text + n_name + 1;
    size_t n_a = n_name && text[n_name] == '=' ? strspn(a, "0123456789") : 0;
    const char *b = a + n_a + 1;
    size_t n_b = n_a && a[n_a] == ':' ? strspn(b, "0123456789") : 0;
    if (n_b && !b[n_b] && n_a <= 9 && n_b <= 9 && atol(a) < atol(b)) return HS_OK;
    return hs_fail(HS_EARG,
                   "--span takes NAME=A:B with 0 <= A < B, the positions from A up to B without "
                   "it, not '%s'",
                   text);
}

int hs_cli_prompts_open(hs_prompts **out, const hs_prompt_options *o, const hs_tok *tok,
                        int64_t n_vocab) {
    *out = NULL;
    if (o->text.n + o->file.n + o->dataset.n == 0)
        return hs_fail(HS_EARG, "no prompt given: -p TEXT, -f FILE or --dataset NAME");
    int rc = HS_OK;
    for (int i = 0; !rc && i < o->span.n; i++) rc = check_span(o->span.at[i]);
    if (!rc) rc = hs_prompts_open(out, tok, (enum hs_bos)o->bos, n_vocab);
    if (!rc) rc = add_all(*out, o);
    if (rc) {
        hs_prompts_close(*out);
        *out = NULL;
    }
    return rc;
}

int hs_cli_prompts_check(const hs_prompts *prompts, int64_t extra, int64_t n_ctx) {
    if (!hs_prompts_count(prompts)) return hs_fail(HS_EARG, "the prompt files hold no prompt");
    for (int64_t i = 0; i < hs_prompts_count(prompts); i++) {
        const hs_prompt *p = hs_prompts_at(prompts, i);
        if (!p->n_token)
            return hs_fail(HS_ERANGE, "prompt '%s' is empty: it needs a token at least", p->id);
        if (p->n_token > n_ctx - extra)
            return hs_fail(HS_ERANGE,
                           "prompt '%s' takes %lld positions, the model's context has %lld: "
                           "shorten it, or raise --ctx",
                           p->id, (long long)(p->n_token + extra), (long long)n_ctx);
    }
    return HS_OK;
}

// Results do not depend on threads, so more than cores is allowed.
static void note_threads(const hs_call *call, const hs_model *model) {
    const int threads = hs_pool_threads(hs_model_backend(model)->pool(hs_model_dev(model)));
    const int cores = hs_pool_cores();
    if (threads > cores)
        hs_note(call, "%d threads on %d core%s: more threads than cores do not help", threads,
                cores, cores == 1 ? "" : "s");
}

int64_t hs_cli_longest(const hs_prompts *prompts) {
    int64_t n = 0;
    for (int64_t i = 0; i < hs_prompts_count(prompts); i++)
        if (hs_prompts_at(prompts, i)->n_token > n) n = hs_prompts_at(prompts, i)->n_token;
    return n;
}

// ---- sessions -------------------------------------------------------------------------------

static int open_session(hs_session *s, const hs_call *call, const hs_model_options *model) {
    const char *path;
    int rc = hs_cli_model_path(call, 0, &path);
    if (rc) return rc;
    hs_bar_open(&s->bar, call);
    rc = hs_cli_model_open(&s->model, path, model, &s->bar.progress);
    hs_bar_close(&s->bar);
    if (!rc) note_threads(call, s->model);
    return rc;
}

int hs_session_open(hs_session *s, const hs_call *call, const hs_model_options *model,
                    const hs_prompt_options *prompts) {
    int rc = open_session(s, call, model);
    // Nothing asks for Ctrl-C while prompts are read, perhaps from a pipe: it simply ends that.
    if (!rc)
        rc = hs_cli_prompts_open(&s->prompts, prompts, hs_model_tok(s->model),
                                 hs_model_config(s->model)->n_vocab);
    if (!rc) hs_bar_open(&s->bar, call);
    return rc;
}

int hs_session_open_usual(hs_session *s, const hs_call *call, const hs_model_options *model,
                          hs_prompt_options *prompts, const char **dataset) {
    const bool usual = !prompts->text.n && !prompts->file.n && !prompts->dataset.n;
    if (usual) prompts->dataset = (hs_opt_list){dataset, 1};
    int rc = hs_session_open(s, call, model, prompts);
    return usual && s->model ? hs_prefix(rc, "no prompts are given with -f or --dataset") : rc;
}

int hs_session_open_bare(hs_session *s, const hs_call *call, const hs_model_options *model,
                         const char *id) {
    int rc = open_session(s, call, model);
    if (!rc) rc = hs_prompts_open(&s->prompts, NULL, HS_BOS_NO, hs_model_config(s->model)->n_vocab);
    if (!rc) rc = hs_prompts_add_tokens(s->prompts, id, NULL, 0, 0, 0, NULL);
    if (!rc) hs_bar_open(&s->bar, call);
    return rc;
}

void hs_session_close(hs_session *s) {
    hs_bar_close(&s->bar);
    hs_prompts_close(s->prompts);
    hs_model_close(s->model);
    *s = (hs_session){0};
}

// ---- the database ---------------------------------------------------------------------------

const hs_opt hs_opts_db_read[] = {
    {"db", 0, HS_OPT_TEXT, offsetof(hs_db_options, path), "FILE.db", NULL,
     "the database (default: $HEADSCOPE_DB, else headscope.db)"},
    {0},
};
const hs_opt hs_opts_db_write[] = {
    {"db", 'o', HS_OPT_TEXT, offsetof(hs_db_options, path), "FILE.db", NULL,
     "the database (default: $HEADSCOPE_DB, else headscope.db)"},
    {0},
};
const hs_opt hs_opts_run[] = {
    {"run", 0, HS_OPT_TEXT, offsetof(hs_run_options, run), "RUN", NULL,
     "the run (default: the latest)"},
    {0},
};
const hs_opt hs_opts_prompt_of[] = {
    {"run", 0, HS_OPT_TEXT, offsetof(hs_run_options, run), "RUN", NULL,
     "the run (default: the latest)"},
    {"prompt", 0, HS_OPT_TEXT, offsetof(hs_run_options, prompt), "PROMPT", NULL,
     "a prompt of the run, by its 0-based number or its id"},
    {0},
};

const char *hs_cli_db_path(const hs_db_options *options) {
    const char *env = getenv("HEADSCOPE_DB");
    if (options->path) return options->path;
    return env && *env ? env : "headscope.db";
}

int hs_cli_run(const hs_call *call, int i, const hs_run_options *options, hs_db *db, int64_t *run) {
    const char *text = i < call->n_arg ? call->arg[i] : options->run;
    int64_t wanted = 0;
    if (i < call->n_arg && options->run && strcmp(options->run, call->arg[i]) != 0)
        return hs_fail(HS_EARG, "two runs given, %s and --run %s: give one", call->arg[i],
                       options->run);
    int rc = text ? hs_parse_int("RUN", text, 1, INT64_MAX, &wanted) : HS_OK;
    return rc ? rc : hs_db_run(db, wanted, run);
}

// ---- output files ---------------------------------------------------------------------------

int hs_write_file(const char *path, const hs_buf *text) {
    int rc = hs_buf_rc(text);
    if (rc) return rc;
    if (strcmp(path, "-") == 0) {
        fwrite(hs_buf_text(text), 1, text->len, stdout); // main looks for write errors
        return HS_OK;
    }
    return hs_outfile_write(path, text->data, text->len);
}
