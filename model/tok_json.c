// tokenizer.json, the format of the tokenizers library; see tok_impl.h. What changes ids is
// honoured or refused by name; truncation, padding and the decoder are not ids and are left out.
#include <stdlib.h>
#include <string.h>

#include "model/tok_impl.h"

static bool is_null(const hs_json *v) {
    return !v || hs_json_type(v) == HS_JSON_NULL;
}

static bool flag(const hs_json *o, const char *key) {
    bool v = false;
    hs_json_bool(hs_json_get(o, key), &v);
    return v;
}

// ---- model --------------------------------------------------------------------------------------

// Ids may have gaps, but not so many that a small file asks for a large table.
enum { GAP = 16, GAPS = 1 << 16 };

int hs_tok_read_vocab(hs_tok *t, const hs_json *vocab, size_t n_extra) {
    int64_t max = -1, id;
    size_t count = 0;
    if (!vocab || hs_json_type(vocab) != HS_JSON_OBJ)
        return hs_fail(HS_EFORMAT, "no vocabulary (model.vocab)");
    for (const hs_json *v = hs_json_first(vocab); v; v = hs_json_next(v), count++) {
        if (!hs_json_int(v, &id) || id < 0 || id >= INT32_MAX)
            return hs_fail(HS_EFORMAT, "token '%s' has no valid id", hs_json_key(v));
        if (id > max) max = id;
    }
    if (max > (int64_t)(GAP * count + GAPS))
        return hs_fail(HS_EFORMAT, "token id %lld in a vocabulary of %zu tokens", (long long)max,
                       count);
    size_t cap = ((size_t)(max + 1) > count ? (size_t)(max + 1) : count) + n_extra;
    int rc = hs_vocab_init(&t->vocab, t->arena, cap);
    for (const hs_json *v = hs_json_first(vocab); v && !rc; v = hs_json_next(v)) {
        hs_json_int(v, &id);
        rc = hs_vocab_put(&t->vocab, (int32_t)id, hs_json_key(v), strlen(hs_json_key(v)));
    }
    return rc;
}

// "left right", or ["left", "right"].
static int put_merge(hs_tok *t, const hs_json *m, uint32_t rank) {
    const char *left = hs_json_str(m), *right;
    size_t n_left = 0;
    if (left) {
        right = strchr(left, ' ');
        if (!right || strchr(right + 1, ' '))
            return hs_fail(HS_EFORMAT, "merge %u, '%s', is not two parts", rank, left);
        n_left = (size_t)(right++ - left);
    } else {
        const hs_json *first = hs_json_first(m), *second = first ? hs_json_next(first) : NULL;
        left = hs_json_str(first);
        right = second ? hs_json_str(second) : NULL;
        if (!left || !right || hs_json_next(second))
            return hs_fail(HS_EFORMAT, "merge %u is not a pair of texts", rank);
        n_left = strlen(left);
    }
    return hs_bpe_put(&t->bpe, &t->vocab, left, n_left, right, strlen(right), rank, true);
}

static int read_merges(hs_tok *t, const hs_json *merges) {
    if (!merges || hs_json_type(merges) != HS_JSON_ARR)
        return hs_fail(HS_EFORMAT, "no merges (model.merges)");
    int rc = hs_bpe_init(&t->bpe, t->arena, hs_json_size(merges));
    uint32_t rank = 0;
    for (const hs_json *m = hs_json_first(merges); m && !rc; m = hs_json_next(m)) {
        const char *line = hs_json_str(m);
        if (line && !strncmp(line, "#version", 8)) continue;
        rc = put_merge(t, m, rank++);
    }
    return rc;
}

static int check_model(const hs_json *model) {
    const char *type = hs_json_str(hs_json_get(model, "type"));
    if (!model || hs_json_type(model) != HS_JSON_OBJ) return hs_fail(HS_EFORMAT, "no model");
    if (type && strcmp(type, "BPE"))
        return hs_fail(HS_EUNSUPPORTED, "tokenizer model %s is not supported: only byte-level BPE",
                       type);
    double dropout = 0;
    hs_json_num(hs_json_get(model, "dropout"), &dropout);
    if (dropout != 0)
        return hs_fail(HS_EUNSUPPORTED, "model.dropout %g: random merges are not supported",
                       dropout);
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < sizeof affixes / sizeof *affixes; i++) {
        const char *s = hs_json_str(hs_json_get(model, affixes[i]));
        if (s && *s) return hs_fail(HS_EUNSUPPORTED, "model.%s is not supported", affixes[i]);
    }
    return HS_OK;
}

static int read_model(hs_tok *t, const hs_json *model, size_t n_added) {
    int rc = check_model(model);
    if (!rc) rc = hs_tok_read_vocab(t, hs_json_get(model, "vocab"), n_added);
    if (!rc) rc = read_merges(t, hs_json_get(model, "merges"));
    if (rc) return rc;
    t->bpe.ignore_merges = flag(model, "ignore_merges");
    return hs_bpe_finish(&t->bpe, &t->vocab, hs_json_str(hs_json_get(model, "unk_token")),
                         flag(model, "fuse_unk"), flag(model, "byte_fallback"));
}

// ---- normalizer ---------------------------------------------------------------------------------

static int read_normalizer(hs_tok *t, const hs_json *o) {
    if (is_null(o)) return HS_OK;
    const char *type = hs_json_str(hs_json_get(o, "type"));
    if (!type) return hs_fail(HS_EFORMAT, "a normalizer without a type");
    if (!strcmp(type, "Sequence")) {
        const hs_json *item = hs_json_first(hs_json_get(o, "normalizers"));
        int rc = HS_OK;
        for (; item && !rc; item = hs_json_next(item)) rc = read_normalizer(t, item);
        return rc;
    }
    bool nfc = !strcmp(type, "NFC");
    if (!nfc && strcmp(type, "NFD"))
        return hs_fail(HS_EUNSUPPORTED, "normalizer %s is not supported", type);
    if (t->n_form == HS_MAX_FORMS)
        return hs_fail(HS_EUNSUPPORTED, "more than %d normalizers", HS_MAX_FORMS);
    t->form[t->n_form++] = nfc ? HS_UTF8_NFC : HS_UTF8_NFD;
    return HS_OK;
}

// ---- post_processor -----------------------------------------------------------------------------

// One more token around the text; the processors of a Sequence work from the inside out.
static int put_before(hs_tok *t, int64_t id) {
    if (!hs_vocab_has(&t->vocab, id))
        return hs_fail(HS_EFORMAT, "post_processor: token id %lld is not in the vocabulary",
                       (long long)id);
    if (t->add_bos)
        return hs_fail(HS_EUNSUPPORTED, "a post_processor that puts two tokens before the text");
    t->bos = (int32_t)id;
    t->add_bos = true;
    return HS_OK;
}

static int put_after(hs_tok *t, int64_t id) {
    if (!hs_vocab_has(&t->vocab, id))
        return hs_fail(HS_EFORMAT, "post_processor: token id %lld is not in the vocabulary",
                       (long long)id);
    if (t->n_tail == HS_MAX_TAIL)
        return hs_fail(HS_EUNSUPPORTED,
                       "a post_processor that puts more than %d tokens after the "
                       "text",
                       HS_MAX_TAIL);
    t->tail[t->n_tail++] = (int32_t)id;
    return HS_OK;
}

// The ids of one special token of a template, before or after the text.
static int template_token(hs_tok *t, const hs_json *o, const char *name, bool before) {
    const hs_json *token = name ? hs_json_get(hs_json_get(o, "special_tokens"), name) : NULL;
    const hs_json *v = hs_json_first(hs_json_get(token, "ids"));
    int64_t id;
    int rc = v ? HS_OK
               : hs_fail(HS_EFORMAT, "post_processor: no ids for token '%s'", name ? name : "");
    for (; v && !rc; v = hs_json_next(v)) {
        if (!hs_json_int(v, &id))
            rc = hs_fail(HS_EFORMAT, "post_processor: an id is no number");
        else
            rc = before ? put_before(t, id) : put_after(t, id);
    }
    return rc;
}

static int read_template(hs_tok *t, const hs_json *o) {
    bool before = true;
    int rc = HS_OK;
    const hs_json *p = hs_json_first(hs_json_get(o, "single"));
    for (; p && !rc; p = hs_json_next(p)) {
        const char *which = hs_json_str(hs_json_path(p, "Sequence.id"));
        if (which) {
            if (strcmp(which, "A") || !before)
                return hs_fail(HS_EUNSUPPORTED,
                               "post_processor: a template with more than one text");
            before = false;
        } else {
            rc = template_token(t, o, hs_json_str(hs_json_path(p, "SpecialToken.id")), before);
        }
    }
    if (!rc && before) rc = hs_fail(HS_EUNSUPPORTED, "post_processor: a template without a text");
    return rc;
}

// Bert's and Roberta's: "cls" before and "sep" after, each [name, id].
static int read_cls_sep(hs_tok *t, const hs_json *o) {
    int64_t cls, sep;
    const hs_json *c = hs_json_first(hs_json_get(o, "cls"));
    const hs_json *s = hs_json_first(hs_json_get(o, "sep"));
    if (!c || !s || !hs_json_next(c) || !hs_json_next(s) || !hs_json_int(hs_json_next(c), &cls) ||
        !hs_json_int(hs_json_next(s), &sep))
        return hs_fail(HS_EFORMAT, "post_processor: no ids of cls and sep");
    int rc = put_before(t, cls);
    return rc ? rc : put_after(t, sep);
}

static int read_post(hs_tok *t, const hs_json *o) {
    if (is_null(o)) return HS_OK;
    const char *type = hs_json_str(hs_json_get(o, "type"));
    if (!type) return hs_fail(HS_EFORMAT, "a post_processor without a type");
    if (!strcmp(type, "ByteLevel")) return HS_OK; // trims the reference's offsets, no ids
    if (!strcmp(type, "TemplateProcessing")) return read_template(t, o);
    if (!strcmp(type, "RobertaProcessing") || !strcmp(type, "BertProcessing"))
        return read_cls_sep(t, o);
    if (strcmp(type, "Sequence"))
        return hs_fail(HS_EUNSUPPORTED, "post_processor %s is not supported", type);
    int rc = HS_OK;
    for (const hs_json *p = hs_json_first(hs_json_get(o, "processors")); p && !rc;
         p = hs_json_next(p))
        rc = read_post(t, p);
    return rc;
}

// ---- added tokens -------------------------------------------------------------------------------

static int read_added(hs_tok *t, const hs_json *list, int32_t next) {
    int rc = HS_OK;
    for (const hs_json *a = hs_json_first(list); a && !rc; a = hs_json_next(a)) {
        const char *text = hs_json_str(hs_json_get(a, "content"));
        if (!text) return hs_fail(HS_EFORMAT, "an added token without content");
        uint8_t flags = (uint8_t)((flag(a, "single_word") ? HS_ADDED_SINGLE_WORD : 0) |
                                  (flag(a, "lstrip") ? HS_ADDED_LSTRIP : 0) |
                                  (flag(a, "rstrip") ? HS_ADDED_RSTRIP : 0));
        rc = hs_tok_add(t, text, strlen(text), flags, flag(a, "normalized"), flag(a, "special"),
                        &next);
    }
    return rc;
}

int hs_tok_read_json(hs_tok *t, const char *text, size_t n) {
    hs_json *doc;
    int rc = hs_json_parse(&doc, text, n);
    if (rc) return rc;
    const hs_json *added = hs_json_get(doc, "added_tokens"), *model = hs_json_get(doc, "model");
    const char *version = hs_json_str(hs_json_get(doc, "version"));
    if (version && strcmp(version, "1.0"))
        rc = hs_fail(HS_EUNSUPPORTED, "tokenizer.json version %s", version);
    // New ids follow the number of the model's tokens, whatever their ids are.
    if (!rc) rc = read_model(t, model, hs_json_size(added));
    if (!rc) rc = read_normalizer(t, hs_json_get(doc, "normalizer"));
    if (!rc) rc = hs_pre_from_json(&t->pre, hs_json_get(doc, "pre_tokenizer"));
    if (!rc) rc = read_added(t, added, (int32_t)hs_json_size(hs_json_get(model, "vocab")));
    if (!rc) rc = hs_added_finish(&t->raw);
    if (!rc) rc = hs_added_finish(&t->normed);
    if (!rc) rc = read_post(t, hs_json_get(doc, "post_processor"));
    hs_json_free(doc);
    return rc;
}
