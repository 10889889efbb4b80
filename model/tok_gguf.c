// Tokenizers in GGUF metadata (tokenizer.ggml.*); see tok_impl.h. The file names its
// pre-tokenizer and nothing else: the splits that go with a name are llama.cpp's
// (src/llama-vocab.cpp), written with the reference's own regexes where llama.cpp adapts them to
// std::regex. No normalizer is stored, and llama.cpp applies none.
#include <string.h>

#include "model/tok_impl.h"

// ---- pre-tokenizers by name ---------------------------------------------------------------------

#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define TAIL " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES
#define SLASH_TAIL " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES
#define LEAD "[^\\r\\n\\p{L}\\p{N}]?"
#define WORDS LEAD "\\p{L}+"
#define MARKED_WORDS                                                                               \
    "[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACES
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define ASCII_MARK "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]"

enum { MAX_SPLITS = 4 };

static const char *const gpt2[MAX_SPLITS] = {hs_gpt2_regex};
static const char *const smollm[MAX_SPLITS] = {"\\p{N}", hs_gpt2_regex};
static const char *const llama3[MAX_SPLITS] = {CONTRACTION "|" WORDS "|\\p{N}{1,3}|" TAIL};
static const char *const qwen2[MAX_SPLITS] = {CONTRACTION "|" WORDS "|\\p{N}|" TAIL};
static const char *const qwen35[MAX_SPLITS] = {
    CONTRACTION "|" LEAD "[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACES};
static const char *const tekken[MAX_SPLITS] = {LEAD UPPER "*" LOWER "+|" LEAD UPPER "+" LOWER
                                                          "*|\\p{N}|" SLASH_TAIL};
static const char *const gpt4o[MAX_SPLITS] = {LEAD UPPER "*" LOWER "+" CONTRACTION "?|" LEAD UPPER
                                                         "+" LOWER "*" CONTRACTION "?|"
                                                         "\\p{N}{1,3}|" SLASH_TAIL};
static const char *const deepseek3[MAX_SPLITS] = {"\\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
                                                  ASCII_MARK "[A-Za-z]+|" MARKED_WORDS};
static const char *const falcon[MAX_SPLITS] = {"[\\p{P}\\$\\+<=>\\^~\\|`]+", hs_gpt2_regex,
                                               "[0-9][0-9][0-9]"};
static const char *const fallback[MAX_SPLITS] = {"[\\p{P}\\$\\+<=>\\^~\\|]+", hs_gpt2_regex,
                                                 "\\p{N}+", "[0-9][0-9][0-9]"};

enum { NOTHING, IGNORE_MERGES = 1, ADD_BOS = 2 };

static const struct {
    const char *names; // a space between two
    const char *const *splits;
    int implies;
} pres[] = {
    {"default", fallback, NOTHING},
    {"gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert mpt "
     "olmo jais trillion granite-docling exaone4",
     gpt2, NOTHING},
    {"smollm starcoder refact command-r codeshell exaone minerva-7b mellum2", smollm, NOTHING},
    {"llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano", llama3,
     IGNORE_MERGES | ADD_BOS},
    {"dbrx smaug-bpe glm4 chatglm-bpe", llama3, NOTHING},
    {"qwen2 deepseek-r1-qwen kormo f2llmv2 stablelm2 megrez hunyuan solar-open grok-2", qwen2,
     NOTHING},
    {"qwen35", qwen35, NOTHING},
    {"tekken", tekken, IGNORE_MERGES | ADD_BOS},
    {"gpt-4o llama4 kanana2 talkie minimax-m2", gpt4o, NOTHING},
    {"deepseek-v3 hunyuan-dense joyai-llm hy_v4", deepseek3, NOTHING},
    {"falcon", falcon, NOTHING},
};

static bool in_list(const char *names, const char *name, size_t n) {
    for (size_t len; *names; names += len + (names[len] == ' ')) {
        len = strcspn(names, " ");
        if (len == n && !memcmp(names, name, n)) return true;
    }
    return false;
}

static int read_pre(hs_tok *t, const char *name, size_t n) {
    size_t i = 0;
    while (i < sizeof pres / sizeof *pres && !in_list(pres[i].names, name, n)) i++;
    if (i == sizeof pres / sizeof *pres)
        return hs_fail(HS_EUNSUPPORTED, "tokenizer.ggml.pre '%.*s' is not supported",
                       (int)(n < 64 ? n : 64), name);
    int rc = HS_OK;
    for (int k = 0; k < MAX_SPLITS && pres[i].splits[k] && !rc; k++)
        rc = hs_pre_add(&t->pre, pres[i].splits[k], strlen(pres[i].splits[k]), false, HS_ISOLATED,
                        false, false);
    t->bpe.ignore_merges = pres[i].implies & IGNORE_MERGES;
    t->add_bos = pres[i].implies & ADD_BOS;
    return rc;
}

// ---- metadata -----------------------------------------------------------------------------------

// The array `key`; absent gives an empty one.
static int read_array(const hs_ckpt *ck, const char *key, hs_meta *out) {
    if (!hs_ckpt_meta(ck, key, out))
        *out = (hs_meta){.type = HS_META_NULL};
    else if (out->type != HS_META_ARR)
        return hs_fail(HS_EFORMAT, "%s is not an array", key);
    return HS_OK;
}

static int read_vocab(hs_tok *t, const hs_meta *tokens) {
    int rc = hs_vocab_init(&t->vocab, t->arena, tokens->n);
    for (size_t i = 0; i < tokens->n && !rc; i++) {
        hs_meta s;
        if (!hs_meta_item(tokens, i, &s) || s.type != HS_META_STR)
            rc = hs_fail(HS_EFORMAT, "tokenizer.ggml.tokens: item %zu is not a text", i);
        // An id without a name stays unused.
        else if (s.n)
            rc = hs_vocab_put(&t->vocab, (int32_t)i, s.s, s.n);
    }
    t->vocab.n = tokens->n;
    return rc;
}

static int read_merges(hs_tok *t, const hs_meta *merges) {
    int rc = hs_bpe_init(&t->bpe, t->arena, merges->n);
    for (size_t i = 0; i < merges->n && !rc; i++) {
        hs_meta s;
        const char *space = NULL;
        if (hs_meta_item(merges, i, &s) && s.type == HS_META_STR && s.n > 1)
            space = memchr(s.s + 1, ' ', s.n - 1);
        if (!space)
            return hs_fail(HS_EFORMAT, "tokenizer.ggml.merges: item %zu is not two parts", i);
        rc = hs_bpe_put(&t->bpe, &t->vocab, s.s, (size_t)(space - s.s), space + 1,
                        (size_t)(s.s + s.n - space - 1), (uint32_t)i, false);
    }
    return rc;
}

// Added tokens that end a generation whatever else the metadata says, as in llama.cpp.
static bool is_end_name(const char *s, size_t n) {
    static const char names[] =
        "<|eot_id|> <|im_end|> <|end|> <|return|> <|call|> <|flush|> <|calls|> <end_of_turn> "
        "<|endoftext|> </s> <|eom_id|> <EOT> _<EOT> [EOT] [EOS] <|end_of_text|> "
        "<end_of_utterance> <eos> <｜end▁of▁sentence｜>";
    return in_list(names, s, n);
}

// Marks what is looked for in the text: control and unknown tokens, which are special, and user
// defined ones. A file without types has the end names only.
static int read_types(hs_tok *t, const hs_meta *types) {
    enum { UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4 };
    int rc = HS_OK;
    for (size_t i = 0; i < t->vocab.n && !rc; i++) {
        hs_piece *p = &t->vocab.at[i];
        hs_meta type;
        if (!(p->flags & HS_PIECE_USED)) continue;
        bool ends = is_end_name(p->s, p->n);
        if (!hs_meta_item(types, i, &type)) type.i = ends ? CONTROL : 0;
        if (type.i != UNKNOWN && type.i != CONTROL && type.i != USER_DEFINED) continue;
        if (type.i != USER_DEFINED) p->flags |= HS_PIECE_SPECIAL;
        if (ends) p->flags |= HS_PIECE_EOG;
        rc = hs_added_put(&t->raw, (hs_added_token){p->s, p->n, 0, (int32_t)i, 0});
    }
    return rc;
}

// The id under `key`, -1 when there is none or it is out of range.
static int32_t read_id(const hs_tok *t, const hs_ckpt *ck, const char *key) {
    hs_meta m;
    if (!hs_ckpt_meta(ck, key, &m) || m.type != HS_META_INT) return -1;
    return hs_vocab_has(&t->vocab, m.i) ? (int32_t)m.i : -1;
}

// What stands before and after every text.
static int read_added(hs_tok *t, const hs_ckpt *ck) {
    static const char eos_key[] = "tokenizer.ggml.eos_token_id";
    hs_meta m;
    t->bos = read_id(t, ck, "tokenizer.ggml.bos_token_id");
    if (hs_ckpt_meta(ck, "tokenizer.ggml.add_bos_token", &m) && m.type == HS_META_BOOL)
        t->add_bos = m.i;
    if (t->add_bos && t->bos < 0)
        return hs_fail(HS_EFORMAT, "a BOS token is to be added, but tokenizer.ggml.bos_token_id "
                                   "names none");
    if (hs_ckpt_meta(ck, "tokenizer.ggml.add_eos_token", &m) && m.type == HS_META_BOOL && m.i) {
        int32_t eos = read_id(t, ck, eos_key);
        if (eos < 0)
            return hs_fail(HS_EFORMAT, "an EOS token is to be added, but %s names none", eos_key);
        t->tail[t->n_tail++] = eos;
    }
    return HS_OK;
}

static int read_all(hs_tok *t, const hs_ckpt *ck) {
    hs_meta model, pre, tokens, merges, types;
    if (!hs_ckpt_meta(ck, "tokenizer.ggml.model", &model) || model.type != HS_META_STR ||
        (model.n == 4 && !memcmp(model.s, "none", 4)))
        return hs_fail(HS_ENOTFOUND, "it has no tokenizer (tokenizer.ggml.model)");
    if (model.n != 4 || memcmp(model.s, "gpt2", 4))
        return hs_fail(HS_EUNSUPPORTED,
                       "tokenizer model '%.*s' is not supported: only byte-level "
                       "BPE ('gpt2')",
                       (int)(model.n < 64 ? model.n : 64), model.s);
    int rc = read_array(ck, "tokenizer.ggml.tokens", &tokens);
    if (!rc) rc = read_array(ck, "tokenizer.ggml.merges", &merges);
    if (!rc) rc = read_array(ck, "tokenizer.ggml.token_type", &types);
    if (!rc && (tokens.n == 0 || merges.type != HS_META_ARR))
        rc = hs_fail(HS_EFORMAT, "tokenizer.ggml.tokens or tokenizer.ggml.merges is missing");
    if (!rc && types.type == HS_META_ARR && types.n != tokens.n)
        rc = hs_fail(HS_EFORMAT, "tokenizer.ggml.token_type has %zu items for %zu tokens", types.n,
                     tokens.n);
    if (!rc) rc = read_vocab(t, &tokens);
    if (!rc) rc = read_merges(t, &merges);
    if (!rc) rc = hs_bpe_finish(&t->bpe, &t->vocab, NULL, false, false);
    bool named = hs_ckpt_meta(ck, "tokenizer.ggml.pre", &pre) && pre.type == HS_META_STR && pre.n;
    if (!rc) rc = named ? read_pre(t, pre.s, pre.n) : read_pre(t, "default", strlen("default"));
    if (!rc) rc = read_types(t, &types);
    if (!rc) rc = hs_added_finish(&t->raw);
    return rc ? rc : read_added(t, ck);
}

int hs_tok_read_gguf(hs_tok *t, const hs_ckpt *ck) {
    return hs_prefix(read_all(t, ck), "%s", hs_ckpt_path(ck));
}
