// Tokenizers in a model's folder: tokenizer.json, or GPT-2's older vocab.json and merges.txt, with
// what the files beside them say about BOS and EOS; see tok_impl.h.
#include <string.h>

#include "model/tok_impl.h"

static bool has_side(const hs_ckpt *ck, const char *name) {
    hs_map map;
    if (hs_ckpt_side_file(ck, name, &map)) return false;
    hs_map_close(&map);
    return true;
}

// A special token's text: a string, or an object with "content".
static const char *text_of(const hs_json *v) {
    const char *s = v ? hs_json_str(v) : NULL;
    return s ? s : hs_json_str(hs_json_get(v, "content"));
}

// ---- bos, eos -----------------------------------------------------------------------------------

static int32_t id_of(const hs_tok *t, const char *text) {
    if (!text) return -1;
    for (size_t i = 0; i < t->raw.n; i++)
        if (t->raw.at[i].n == strlen(text) && !memcmp(t->raw.at[i].s, text, t->raw.at[i].n))
            return t->raw.at[i].id;
    return hs_vocab_find(&t->vocab, text, strlen(text));
}

// The post-processor has spoken already; tokenizer_config.json overrides it when it says whether
// BOS or EOS are added, as transformers 5 does.
static void read_config(hs_tok *t, const hs_ckpt *ck, const hs_json *config, const hs_json *map) {
    const hs_json *bos_name = hs_json_get(config, "bos_token");
    const hs_json *eos_name = hs_json_get(config, "eos_token");
    int32_t bos = id_of(t, text_of(bos_name ? bos_name : hs_json_get(map, "bos_token")));
    int32_t eos = id_of(t, text_of(eos_name ? eos_name : hs_json_get(map, "eos_token")));
    bool add_bos = false, add_eos = false;
    bool says_bos = hs_json_bool(hs_json_get(config, "add_bos_token"), &add_bos);
    bool says_eos = hs_json_bool(hs_json_get(config, "add_eos_token"), &add_eos);
    hs_meta m;
    if (bos < 0 && hs_ckpt_meta(ck, "bos_token_id", &m) && m.type == HS_META_INT &&
        hs_vocab_has(&t->vocab, m.i))
        bos = (int32_t)m.i;
    if (says_bos || says_eos) {
        t->add_bos = add_bos && bos >= 0;
        t->n_tail = add_eos && eos >= 0;
        t->tail[0] = eos;
    }
    if (bos >= 0 && (says_bos || !t->add_bos)) t->bos = bos;
    hs_vocab_mark_end(&t->vocab, eos);
}

static int read_beside(hs_tok *t, const hs_ckpt *ck) {
    hs_json *config = NULL, *map = NULL;
    int rc = hs_ckpt_side_json(ck, "tokenizer_config.json", &config);
    if (!rc) rc = hs_ckpt_side_json(ck, "special_tokens_map.json", &map);
    if (!rc) read_config(t, ck, config, map);
    hs_json_free(config);
    hs_json_free(map);
    return rc;
}

// ---- vocab.json and merges.txt ------------------------------------------------------------------

// The next line of text[*at..n) without its end; false after the last.
static bool next_line(const char *text, size_t n, size_t *at, const char **line, size_t *len) {
    if (*at >= n) return false;
    *line = text + *at;
    const char *end = memchr(*line, '\n', n - *at);
    *len = end ? (size_t)(end - *line) : n - *at;
    *at += *len + 1;
    if (*len && (*line)[*len - 1] == '\r') --*len;
    return true;
}

static int read_merges_txt(hs_tok *t, const char *text, size_t n) {
    const char *line;
    size_t at = 0, len, count = 0;
    while (next_line(text, n, &at, &line, &len)) count++;
    int rc = hs_bpe_init(&t->bpe, t->arena, count);
    uint32_t rank = 0;
    at = 0;
    while (!rc && next_line(text, n, &at, &line, &len)) {
        if (len == 0 || (len >= 8 && !memcmp(line, "#version", 8))) continue;
        const char *space = memchr(line, ' ', len);
        if (!space || memchr(space + 1, ' ', (size_t)(line + len - space - 1)))
            return hs_fail(HS_EFORMAT, "merge %u is not two parts", rank);
        rc = hs_bpe_put(&t->bpe, &t->vocab, line, (size_t)(space - line), space + 1,
                        (size_t)(line + len - space - 1), rank, true);
        rank++;
    }
    return rc;
}

static const char *const roles[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                    "pad_token", "cls_token", "mask_token"};
enum { N_ROLES = sizeof roles / sizeof *roles };

// The special tokens by role, where the vocabulary has them. GPT-2's own serves for all.
static int add_roles(hs_tok *t, const hs_json *config, const hs_json *map) {
    static const char end[] = "<|endoftext|>";
    int32_t none = -1;
    int rc = HS_OK;
    for (int i = 0; i < N_ROLES && !rc; i++) {
        const hs_json *v = hs_json_get(config, roles[i]);
        const char *text = text_of(v ? v : hs_json_get(map, roles[i]));
        if (!text) text = end;
        if (id_of(t, text) >= 0) rc = hs_tok_add(t, text, strlen(text), 0, false, true, &none);
    }
    t->bos = id_of(t, end);
    hs_vocab_mark_end(&t->vocab, t->bos);
    return rc;
}

// The two files do not name a pre-tokenizer: only GPT-2's own is certain.
static int check_family(const hs_ckpt *ck, const hs_json *config) {
    hs_meta m;
    const char *class = hs_json_str(hs_json_get(config, "tokenizer_class"));
    bool other = hs_ckpt_meta(ck, "model_type", &m) && m.type == HS_META_STR &&
                 !(m.n == 4 && !memcmp(m.s, "gpt2", 4));
    if (other || (class && strncmp(class, "GPT2", 4)))
        return hs_fail(HS_EUNSUPPORTED, "vocab.json and merges.txt do not say how this family "
                                        "splits text: tokenizer.json is needed");
    return HS_OK;
}

static int read_pair(hs_tok *t, const hs_ckpt *ck) {
    hs_json *vocab = NULL, *config = NULL, *map = NULL;
    hs_map merges = {0};
    int rc = hs_ckpt_side_json(ck, "vocab.json", &vocab);
    if (!rc) rc = hs_ckpt_side_json(ck, "tokenizer_config.json", &config);
    if (!rc) rc = hs_ckpt_side_json(ck, "special_tokens_map.json", &map);
    if (!rc) rc = check_family(ck, config);
    if (!rc) rc = hs_prefix(hs_tok_read_vocab(t, vocab, 0), "vocab.json");
    if (!rc) rc = hs_ckpt_side_file(ck, "merges.txt", &merges);
    if (!rc)
        rc = hs_prefix(read_merges_txt(t, (const char *)merges.data, merges.size), "merges.txt");
    if (!rc) rc = hs_bpe_finish(&t->bpe, &t->vocab, NULL, false, false);
    bool space = false;
    hs_json_bool(hs_json_get(config, "add_prefix_space"), &space);
    if (!rc)
        rc = hs_pre_add(&t->pre, hs_gpt2_regex, strlen(hs_gpt2_regex), false, HS_ISOLATED, false,
                        space);
    if (!rc) rc = add_roles(t, config, map);
    if (!rc) rc = hs_added_finish(&t->raw);
    hs_map_close(&merges);
    hs_json_free(vocab);
    hs_json_free(config);
    hs_json_free(map);
    return rc;
}

// ---- what the folder has ------------------------------------------------------------------------

int hs_tok_read_folder(hs_tok *t, const hs_ckpt *ck) {
    hs_map map;
    int rc = hs_ckpt_side_file(ck, "tokenizer.json", &map);
    if (!rc) {
        rc = hs_prefix(hs_tok_read_json(t, (const char *)map.data, map.size), "%s/tokenizer.json",
                       hs_ckpt_path(ck));
        hs_map_close(&map);
    } else if (rc == HS_ENOTFOUND && has_side(ck, "merges.txt") && has_side(ck, "vocab.json")) {
        rc = hs_prefix(read_pair(t, ck), "%s", hs_ckpt_path(ck));
    } else if (rc == HS_ENOTFOUND) {
        const char *other = has_side(ck, "tokenizer.model") ? "SentencePiece (tokenizer.model)"
                            : has_side(ck, "vocab.txt")     ? "WordPiece (vocab.txt)"
                                                            : NULL;
        return other ? hs_fail(HS_EUNSUPPORTED,
                               "%s: %s tokenizers are not supported: only "
                               "byte-level BPE, from tokenizer.json",
                               hs_ckpt_path(ck), other)
                     : hs_fail(HS_ENOTFOUND, "%s: there is no tokenizer.json", hs_ckpt_path(ck));
    }
    return rc ? rc : read_beside(t, ck);
}
