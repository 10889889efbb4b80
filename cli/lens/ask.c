// What a lens is asked for, checked against the model and all prompts before anything runs; see
// lens.h.
#include <stdlib.h>
#include <string.h>

#include "analyses/effect.h"
#include "cli/lens/lens.h"
#include "model/core/mem.h"

// ---- tokens -----------------------------------------------------------------------------------

// An id, or the text of one token.
static int read_token(int32_t *out, const hs_lens_work *w, const char *word) {
    const int64_t n_vocab = hs_model_config(w->session.model)->n_vocab;
    int64_t id = 0;
    if (*word && strspn(word, "0123456789") == strlen(word)) {
        int rc = hs_parse_int("a token's id", word, 0, n_vocab - 1, &id);
        *out = (int32_t)id;
        return rc;
    }
    int rc = hs_token_of(out, word, hs_model_tok(w->session.model));
    return rc == HS_EFORMAT ? HS_EARG : rc;
}

static int read_track(hs_lens_work *w, const char *list) {
    int rc = HS_OK;
    while (!rc) {
        const size_t n = strcspn(list, ",");
        char *word = strndup(list, n);
        rc = word ? hs_grow(&w->track, (size_t)w->n_track + 1, sizeof *w->track)
                  : hs_fail(HS_ENOMEM, "out of memory");
        if (!rc) rc = read_token(&w->track[w->n_track], w, word);
        for (int i = 0; i < w->n_track && !rc; i++)
            if (w->track[i] == w->track[w->n_track])
                rc = hs_fail(HS_EARG, "token %d is there twice", w->track[i]);
        w->n_track += !rc;
        free(word);
        if (!list[n]) break;
        list += n + 1;
    }
    return hs_prefix(rc, "--track");
}

static int read_name(hs_lens_name *out, const hs_lens_work *w, const char *word) {
    static const struct {
        const char *name;
        enum hs_lens_word word;
    } words[] = {{"top", HS_WORD_TOP}, {"answer", HS_WORD_ANSWER}, {"wrong", HS_WORD_WRONG}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcmp(words[i].name, word)) {
            out->word = words[i].word;
            return HS_OK;
        }
    out->word = HS_WORD_TOKEN;
    return read_token(&out->id, w, word);
}

// "top", "answer,minus=wrong", "4,minus=7".
static int read_dla(hs_lens_work *w) {
    static const char between[] = ",minus=";
    const char *text = w->opt->dla, *cut = strstr(text, between);
    char *word = strndup(text, cut ? (size_t)(cut - text) : strlen(text));
    int rc = word ? HS_OK : hs_fail(HS_ENOMEM, "out of memory");
    if (!rc) rc = read_name(&w->token, w, word);
    if (!rc && cut) rc = read_name(&w->minus, w, cut + strlen(between));
    if (!rc && w->minus.word == HS_WORD_TOP)
        rc = hs_fail(HS_EARG, "minus=top: top stands before minus alone");
    free(word);
    return hs_prefix(rc, "--dla %s", text);
}

static int read_by(hs_lens_work *w) {
    static const char *const names[] = {"neuron", "source"};
    for (int i = 0; i < w->opt->by.n; i++)
        for (const char *s = w->opt->by.at[i];; s++) {
            const size_t n = strcspn(s, ",");
            unsigned k = 0;
            while (k < 2 && (strlen(names[k]) != n || strncmp(names[k], s, n) != 0)) k++;
            if (k == 2)
                return hs_fail(HS_EARG, "--by takes neuron and source, not '%.*s'", (int)n, s);
            w->by |= k ? HS_DLA_SOURCE : HS_DLA_NEURON;
            s += n;
            if (!*s) break;
        }
    if (w->by && !w->opt->dla)
        return hs_fail(HS_EARG, "--by goes with --dla: it splits what that finds");
    if (w->by & HS_DLA_NEURON && hs_model_config(w->session.model)->mlp == HS_MLP_NONE)
        return hs_fail(HS_EARG, "--by neuron: the model has no MLPs");
    return HS_OK;
}

// ---- prompts ----------------------------------------------------------------------------------

static int find_positions(hs_lens_asked *out, const hs_lens_work *w, const hs_prompt *p) {
    const hs_spans given = {w->edits.span, w->edits.n_span};
    hs_places places = {0};
    int rc = hs_places_resolve(&places, w->opt->pos, p->n_token, p->spans, given);
    if (!rc) rc = hs_alloc(&out->pos, (size_t)p->n_token, sizeof *out->pos);
    for (int64_t i = 0; i < p->n_token && !rc; i++)
        if (hs_places_has(&places, i)) out->pos[out->n_pos++] = i;
    hs_places_free(&places);
    if (!rc && w->by & HS_DLA_SOURCE && out->n_pos > 1)
        rc = hs_fail(HS_EARG, "%lld positions, and --by source is about one: choose it with --pos",
                     (long long)out->n_pos);
    return hs_prefix(rc, "--pos: prompt '%s'", p->id);
}

static int find_token(int32_t *out, const hs_lens_name *name, const hs_prompt *p,
                      const hs_answer *answer) {
    const bool wrong = name->word == HS_WORD_WRONG;
    *out = name->word == HS_WORD_TOKEN    ? name->id
           : name->word == HS_WORD_ANSWER ? answer->answer
           : wrong                        ? answer->wrong
                                          : HS_LENS_TOP;
    if ((wrong || name->word == HS_WORD_ANSWER) && *out < 0)
        return hs_fail(HS_EARG,
                       "--dla: prompt '%s' says no \"%s\": give prompts as JSON lines with it, or "
                       "name a token",
                       p->id, wrong ? "wrong" : "answer");
    return HS_OK;
}

int hs_lens_ask(hs_lens_asked *out, const hs_lens_work *w, int64_t ord) {
    const hs_prompt *p = hs_prompts_at(w->session.prompts, ord);
    const hs_model *m = w->session.model;
    hs_answer answer = {.answer = -1, .wrong = -1};
    *out = (hs_lens_asked){0};
    int rc = find_positions(out, w, p);
    if (!rc && (w->token.word == HS_WORD_ANSWER || w->token.word == HS_WORD_WRONG ||
                w->minus.word == HS_WORD_ANSWER || w->minus.word == HS_WORD_WRONG))
        rc = hs_answer_of(&answer, p, hs_model_tok(m), hs_model_config(m)->n_vocab, NULL);
    if (!rc) rc = find_token(&out->token, &w->token, p, &answer);
    if (!rc) rc = find_token(&out->minus, &w->minus, p, &answer);
    return rc;
}

int hs_lens_check(hs_lens_work *w) {
    int rc = hs_prefix(hs_places_check(w->opt->pos), "--pos");
    for (int i = 0; i < w->opt->track.n && !rc; i++) rc = read_track(w, w->opt->track.at[i]);
    if (!rc && w->opt->dla) rc = read_dla(w);
    if (!rc) rc = read_by(w);
    int64_t n_pos = 0;
    for (int64_t i = 0; i < hs_prompts_count(w->session.prompts) && !rc; i++) {
        hs_lens_asked asked;
        rc = hs_lens_ask(&asked, w, i);
        n_pos += asked.n_pos;
        free(asked.pos);
    }
    if (!rc && !n_pos) rc = hs_fail(HS_ENOTFOUND, "--pos %s: no prompt has it", w->opt->pos);
    return rc;
}
