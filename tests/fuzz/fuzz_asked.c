// Fuzz target: tokens and positions as options name them, on a small model with a tokenizer: a line
// each for --pos, --dla, --track and --by of lens, and --tokens of weights. What is taken is there in
// the vocabulary and in every prompt.
// covers: cli/lens/ask.c cli/weights/tokens.c
#include "cli/lens/lens.h"
#include "cli/weights/weights.h"
#include "tests/fuzz/shared.h"
#include "tests/lib/randmodel.h"
#include "tests/lib/wordtok.h"

static hs_session session;
static int64_t n_vocab;

static void forget(void) {
    hs_session_close(&session);
}

static void add(const char *id, int64_t n, const char *extra) {
    static const int32_t tokens[] = {5, 6, 7, 5, 6, 8};
    need(!hs_prompts_add_tokens(session.prompts, id, tokens, n, 0, 0, extra));
}

static void set_up(void) {
    char dir[PATH_MAX], path[PATH_MAX];
    rand_spec spec = rand_default("llama", false);
    if (session.model) return;
    hs_tok *tok = wordtok_make(WORDTOK_SPACED);
    spec.n_vocab = (int)hs_tok_n_vocab(tok);
    n_vocab = spec.n_vocab;
    hs_tok_close(tok);
    mk_dir(dir);
    rand_write(path, dir, &spec);
    wordtok_write(dir, WORDTOK_SPACED);
    need(!hs_cli_model_open(&session.model, path, &(hs_model_options){.threads = 1}, NULL));
    need(hs_model_tok(session.model) != NULL);
    need(!hs_prompts_open(&session.prompts, NULL, HS_BOS_NO, n_vocab));
    add("a", 6, "{\"positions\":{\"S2\":3,\"END\":-2},\"answer\":4,\"wrong\":9}");
    add("b", 3, "{\"spans\":{\"S2\":[0,2]},\"answer\":\" Mary\"}");
    mk_remove(dir);
    atexit(forget);
}

static bool is_token(int64_t id) {
    return id >= 0 && id < n_vocab;
}

static void check_prompt(const hs_lens_work *w, int64_t ord) {
    const hs_prompt *p = hs_prompts_at(session.prompts, ord);
    hs_lens_asked a;
    need(!hs_lens_ask(&a, w, ord));
    for (int64_t i = 0; i < a.n_pos; i++)
        need(a.pos[i] >= (i ? a.pos[i - 1] + 1 : 0) && a.pos[i] < p->n_token);
    need(a.token == HS_LENS_TOP || is_token(a.token));
    need(a.minus == HS_LENS_NONE || is_token(a.minus));
    free(a.pos);
}

static void lens(const char *pos, const char *dla, const char *track, const char *by) {
    const hs_lens_options o = {.track = {&track, *track != 0},
                               .by = {&by, *by != 0},
                               .pos = pos,
                               .dla = *dla ? dla : NULL};
    hs_lens_work w = {.opt = &o, .session = session};
    if (hs_lens_check(&w)) {
        need(*hs_errmsg());
    } else {
        for (int i = 0; i < w.n_track; i++) need(is_token(w.track[i]));
        for (int64_t i = 0; i < hs_prompts_count(session.prompts); i++) check_prompt(&w, i);
    }
    free(w.track);
}

static void tokens(const char *text) {
    const hs_opt_list texts = {&text, 1};
    hs_token_list list;
    if (!hs_token_list_parse(&list, &texts, session.model)) need(list.n > 0);
    for (int64_t i = 0; i < list.n; i++) need(is_token(list.id[i]));
    free(list.id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    enum { N_LINE = 5 };
    input in = {data, n};
    char *line[N_LINE];
    if (n > 2000) return 0;
    set_up();
    for (int i = 0; i < N_LINE; i++) line[i] = text_of(take_until(&in, '\n'));
    lens(line[0], line[1], line[2], line[3]);
    tokens(line[4]);
    for (int i = 0; i < N_LINE; i++) free(line[i]);
    return 0;
}
