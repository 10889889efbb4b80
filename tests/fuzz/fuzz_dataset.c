// Fuzz target: data sets by their specs. The first byte picks a tokenizer, a line is the spec, and
// the rest two files of the user's, a haystack and, after a line "----", needles, which specs may
// name as hay.txt and needles.jsonl. The same spec gives the same lines, and they are read back as
// what they were; answers, needles and pairs are such as experiments take.
// covers: analyses/datasets/agreement.c analyses/datasets/bigram_backcopy.c
// covers: analyses/datasets/colored_objects.c analyses/datasets/docstring.c
// covers: analyses/datasets/gendered.c analyses/datasets/greater_than.c analyses/datasets/ioi.c
// covers: analyses/datasets/kv_json.c analyses/datasets/mqar.c analyses/datasets/needle.c
// covers: analyses/datasets/passkey.c analyses/datasets/repeat.c analyses/dataset/long.c
// covers: analyses/dataset/pair.c analyses/dataset/words.c analyses/dataset/item.c
// covers: analyses/dataset/subjects.c analyses/datasets/kv_lookup.c
// covers: analyses/datasets/lost_middle.c analyses/datasets/two_choice.c
// covers: analyses/datasets/yes_no.c
#include <fcntl.h>
#include <unistd.h>

#include "analyses/effect.h"
#include "analyses/needles.h"
#include "tests/fuzz/shared.h"
#include "tests/lib/mkmodel.h"
#include "tests/lib/wordtok.h"

enum { ALONE = 50 }; // ids of the vocabulary without a tokenizer

static char folder[PATH_MAX];
static hs_tok *tok[N_WORDTOK];

static void forget(void) {
    mk_remove(folder);
}

static void set_up(void) {
    if (*folder) return;
    mk_dir(folder);
    atexit(forget);
    for (int k = 0; k < N_WORDTOK; k++) tok[k] = wordtok_make((enum wordtok)k);
}

// Numbers that ask for little together, so that there is time for many inputs.
static bool is_small(const char *spec) {
    int64_t product = 1;
    for (const char *s = spec; *s;) {
        char *end = NULL;
        const bool digit = *s >= '0' && *s <= '9';
        const long long v = digit ? strtoll(s, &end, 10) : 0;
        s = digit ? end : s + 1;
        if (v > 3000) return strstr(spec, "seed") != NULL;
        product *= v > 1 ? v : 1;
        if (product > 300000) return false;
    }
    return true;
}

static int generate(hs_prompts **p, const hs_tok *t, const char *spec, hs_buf *lines) {
    need(!hs_prompts_open(p, t, HS_BOS_AUTO, t ? (int64_t)hs_tok_n_vocab(t) : ALONE));
    int rc = hs_prompts_add_dataset(*p, spec);
    need(!rc || *hs_errmsg());
    for (int64_t i = 0; i < hs_prompts_count(*p) && !rc; i++)
        hs_prompt_jsonl(hs_prompts_at(*p, i), lines);
    return rc;
}

static void look_at(hs_prompts *p, const hs_tok *t) {
    const int64_t n = hs_prompts_count(p), n_vocab = t ? (int64_t)hs_tok_n_vocab(t) : ALONE;
    hs_arena *lists;
    need(n > 0 && !hs_arena_open(&lists));
    for (int64_t i = 0; i < n; i++) {
        const hs_prompt *a = hs_prompts_at(p, i);
        const bool needle = a->extra && strstr(a->extra, "\"needle\":");
        hs_answer answer;
        hs_needle found;
        need(a->n_token > 0 && a->bos_len <= 1);
        need(!a->extra || !strstr(a->extra, "\"choices\":") || a->spans.n > 0);
        if (needle) {
            need(!hs_needle_of(&found, a, n_vocab) && found.from >= a->bos_len);
            hs_needle_free(&found);
        } else if (a->extra && strstr(a->extra, "\"corrupt_tokens\":")) {
            need(!hs_answer_of(&answer, a, t, n_vocab, lists) && answer.answer >= 0 &&
                 answer.wrong >= 0);
            need(answer.answer != answer.wrong && a->spans.n > 0);
        }
    }
    hs_arena_close(lists);
    if (hs_prompts_at(p, 0)->extra && strstr(hs_prompts_at(p, 0)->extra, "\"corrupt_tokens\":"))
        need(!hs_prompts_add_pairs(p) && hs_prompts_count(p) == 2 * n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    input in = {data, n};
    hs_prompts *p, *again;
    hs_buf lines = {0}, same = {0};
    if (n > 6000) return 0;
    set_up();
    const uint8_t which = take_byte(&in) % (N_WORDTOK + 1);
    const hs_tok *t = which ? tok[which - 1] : NULL;
    char *spec = text_of(take_until(&in, '\n'));
    const uint8_t *cut = in.n ? memmem(in.at, in.n, "\n----\n", 6) : NULL;
    const input hay = take_bytes(&in, cut ? (size_t)(cut - in.at) : in.n);
    take_bytes(&in, 6);
    mk_file(folder, "hay.txt", hay.at, hay.n);
    mk_file(folder, "needles.jsonl", in.at, in.n);
    const int back = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    need(back >= 0 && !chdir(folder));
    if (is_small(spec) && !strchr(spec, '/')) {
        const int rc = generate(&p, t, spec, &lines);
        need(generate(&again, t, spec, &same) == rc);
        need(lines.len == same.len && (!lines.len || !memcmp(lines.data, same.data, lines.len)));
        if (!rc) look_at(p, t);
        hs_prompts_close(p);
        hs_prompts_close(again);
    }
    need(!fchdir(back));
    close(back);
    hs_buf_free(&lines);
    hs_buf_free(&same);
    free(spec);
    return 0;
}
