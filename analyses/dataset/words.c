// What generators of data sets share; see words.h.
#include "analyses/dataset/words.h"

#include <stdlib.h>
#include <string.h>

#include "model/core/mem.h"

int hs_dataset_bos(int32_t *bos, const hs_prompts *to, const hs_tok *tok, const hs_args *args) {
    const char *wish = hs_args_text(args, "bos");
    const enum hs_bos policy = !strcmp(wish, "yes")  ? HS_BOS_YES
                               : !strcmp(wish, "no") ? HS_BOS_NO
                                                     : hs_prompts_bos(to);
    const bool add = policy == HS_BOS_YES || (policy == HS_BOS_AUTO && tok && hs_tok_adds_bos(tok));
    *bos = add && tok ? hs_tok_bos(tok) : -1;
    if (add && *bos < 0)
        return hs_fail(HS_EARG, "there is no BOS token to put in front: say bos=no");
    return HS_OK;
}

int hs_dataset_ids(int32_t **out, int64_t *n, const hs_tok *tok, int64_t n_vocab, int64_t least) {
    const int64_t n_id = tok && (int64_t)hs_tok_n_vocab(tok) < n_vocab
                             ? (int64_t)hs_tok_n_vocab(tok)
                             : n_vocab;
    int rc = hs_alloc(out, (size_t)n_id, sizeof **out);
    if (rc) return rc;
    *n = 0;
    for (int32_t id = 0; id < n_id; id++) {
        size_t bytes = 1;
        if (tok) hs_tok_piece(tok, id, &bytes);
        if (bytes && !(tok && hs_tok_is_special(tok, id))) (*out)[(*n)++] = id;
    }
    if (*n >= least) return HS_OK;
    free(*out);
    *out = NULL;
    return hs_fail(HS_EARG, "the vocabulary has %lld ordinary tokens, and %lld are needed",
                   (long long)*n, (long long)least);
}

// ---- one word -----------------------------------------------------------------------------------

int64_t hs_word_token(const hs_tok *tok, const hs_tokens *tokens, const char *text, size_t from,
                      size_t to) {
    for (size_t i = 0; i < tokens->n && from < to; i++) {
        const hs_token *t = &tokens->at[i];
        if (t->end != (int64_t)to || t->start == t->end) continue;
        // By what it stands for: a token for letters that the vocabulary lacks is no word.
        size_t n;
        const char *piece = hs_tok_piece(tok, t->id, &n);
        while (n && *piece == ' ') piece++, n--;
        return n == to - from && !memcmp(piece, text + from, n) ? (int64_t)i : -1;
    }
    return -1;
}

// The word's token after `before`, -1 when it is not one.
static int find_token(const hs_tok *tok, const char *before, const char *word, int32_t *id) {
    hs_buf text = {0};
    hs_tokens tokens = {0};
    *id = -1;
    hs_buf_str(&text, before);
    hs_buf_str(&text, word);
    int rc = hs_buf_rc(&text);
    if (!rc) rc = hs_tok_encode(tok, hs_buf_text(&text), text.len, HS_BOS_NO, &tokens);
    if (!rc && text.len) {
        const int64_t at = hs_word_token(tok, &tokens, text.data, strlen(before), text.len);
        if (at >= 0) *id = tokens.at[at].id;
    }
    hs_tokens_free(&tokens);
    hs_buf_free(&text);
    return rc;
}

// ---- messages -----------------------------------------------------------------------------------

// A few words of many.
enum { SHOWN = 12 };
struct some {
    hs_buf text;
    int n;
};

static void mention(struct some *s, const char *word) {
    if (s->n < SHOWN) hs_buf_printf(&s->text, "%s%s", s->n ? ", " : "", word);
    s->n++;
}

static const char *mentioned(struct some *s) {
    if (s->n > SHOWN) hs_buf_printf(&s->text, " and %d more", s->n - SHOWN);
    return s->n ? hs_buf_text(&s->text) : "none";
}

static int no_tokenizer(void) {
    return hs_fail(HS_EARG, "its words need a tokenizer: give a model that has one");
}

// ---- lists --------------------------------------------------------------------------------------

static int keep_row(hs_words *w, const hs_tok *tok, const hs_word_list *list, int row, bool *kept) {
    *kept = true;
    for (int f = 0; f < list->n_form; f++) {
        const int to = w->n * w->n_form + f;
        w->at[to] = list->words[row * list->n_form + f];
        int rc = find_token(tok, list->before, w->at[to], &w->id[to]);
        if (rc) return rc;
        *kept = *kept && w->id[to] >= 0;
    }
    w->n += *kept;
    return HS_OK;
}

static int too_few(const hs_words *w, const hs_word_list *list, int least) {
    struct some one = {0}, not = {0};
    for (int row = 0, k = 0; list->words[row * w->n_form]; row++) {
        const char *word = list->words[row * w->n_form];
        const bool kept = k < w->n && hs_word(w, k, 0) == word;
        mention(kept ? &one : &not, word);
        k += kept;
    }
    int rc = hs_fail(HS_EARG,
                     "of the %s too few are one token each for this tokenizer, %d are needed: %s "
                     "would do, but not %s; take a model with a larger vocabulary",
                     list->what, least, mentioned(&one), mentioned(&not ));
    hs_buf_free(&one.text);
    hs_buf_free(&not .text);
    return rc;
}

static int room_for(hs_words *w, size_t n) {
    int rc = hs_alloc(&w->at, n, sizeof *w->at);
    if (!rc) rc = hs_alloc(&w->id, n, sizeof *w->id);
    return rc;
}

int hs_words_open(hs_words *out, const hs_tok *tok, const hs_word_list *list, int least) {
    int n = 0;
    *out = (hs_words){.n_form = list->n_form};
    if (!tok) return no_tokenizer();
    while (list->words[n * list->n_form]) n++;
    int rc = room_for(out, (size_t)(n * list->n_form));
    for (int row = 0; row < n && !rc; row++) {
        bool kept;
        rc = keep_row(out, tok, list, row, &kept);
    }
    if (!rc && out->n < least) rc = too_few(out, list, least);
    return rc;
}

// ---- a user's list ------------------------------------------------------------------------------

// Words that are more than one token, with some that would do.
static int not_tokens(struct some * not, const hs_tok *tok, const hs_word_list *known) {
    hs_words w;
    struct some one = {0};
    int rc = hs_words_open(&w, tok, known, 0);
    for (int row = 0; row < w.n; row++) mention(&one, hs_word(&w, row, 0));
    if (!rc)
        rc = hs_fail(HS_EARG,
                     "%s must be one token each, and in this tokenizer these are not: %s; these "
                     "are: %s",
                     known->what, mentioned(not ), mentioned(&one));
    hs_words_free(&w);
    hs_buf_free(&one.text);
    return rc;
}

static int add_given(hs_words *w, const hs_tok *tok, const hs_word_list *known, const char *word,
                     struct some * not ) {
    int32_t id;
    for (int row = 0; row < w->n; row++)
        if (!strcmp(hs_word(w, row, 0), word))
            return hs_fail(HS_EARG, "%s: '%s' is there twice", known->what, word);
    int rc = find_token(tok, known->before, word, &id);
    if (!rc && id < 0) mention(not, *word ? word : "''");
    if (rc || id < 0) return rc;
    w->at[w->n] = word;
    w->id[w->n++] = id;
    return HS_OK;
}

int hs_words_given(hs_words *out, const hs_tok *tok, const char *text, const hs_word_list *known,
                   int least) {
    struct some not = {0};
    size_t n = 1;
    *out = (hs_words){.n_form = 1};
    if (!tok) return no_tokenizer();
    hs_buf_str(&out->text, text);
    int rc = hs_buf_rc(&out->text);
    for (const char *c = text; *c; c++) n += *c == '+';
    if (!rc) rc = room_for(out, n);
    for (char *at = out->text.data, *next; at && !rc; at = next) {
        next = strchr(at, '+');
        if (next) *next++ = 0;
        rc = add_given(out, tok, known, at, &not );
    }
    if (!rc && not .n) rc = not_tokens(&not, tok, known);
    if (!rc && out->n < least)
        rc = hs_fail(HS_EARG, "%d %s are too few: give %d at least, joined by '+'", out->n,
                     known->what, least);
    hs_buf_free(&not .text);
    return rc;
}

void hs_words_free(hs_words *w) {
    free(w->at);
    free(w->id);
    hs_buf_free(&w->text);
    *w = (hs_words){0};
}

void hs_words_pick(const hs_words *w, hs_prng *prng, int k, int *row) {
    for (int i = 0; i < k; i++) {
        int j;
        do {
            row[i] = (int)hs_prng_below(prng, (uint64_t)w->n);
            for (j = 0; j < i && row[j] != row[i]; j++) continue;
        } while (j < i);
    }
}

// ---- lists that are shared ----------------------------------------------------------------------

// clang-format off
const char *const hs_first_names[] = {
    "Mary", "John", "Anna", "Tom", "Emma", "James", "Alice", "Peter",
    "Sarah", "Paul", "Laura", "David", "Kate", "Mark", "Lisa", "Michael",
    "Jane", "Robert", "Susan", "George", "Rachel", "Henry", "Julia", "Jack",
    "Helen", "Daniel", "Claire", "Simon", "Maria", "Martin", "Linda", "Richard",
    "Karen", "Thomas", "Emily", "William", "Sophie", "Charles", "Amy", "Joseph",
    "Nancy", "Steve", "Ruth", "Brian", "Rose", "Kevin", "Grace", "Eric",
    "Lucy", "Adam", "Hannah", "Ben", "Olivia", "Luke", "Diana", "Matthew",
    "Barbara", "Andrew", "Margaret", "Edward", "Jessica", "Frank", "Jennifer", "Scott",
    "Michelle", "Jeff", "Rebecca", "Tony", "Amanda", "Oliver", "Nicole", "Patrick",
    "Victoria", "Samuel", "Elizabeth", "Stephen", "Andrea", "Anthony", "Carol", "Alan",
    "Eva", "Philip", "Ellen", "Victor", "Alexandra", "Oscar", "Catherine", "Ryan",
    "Martha", "Jason", "Angela", "Justin", "Christine", "Jonathan", "Melissa", "Nicholas",
    "Sandra", "Benjamin", "Katherine", "Alexander",
    NULL,
};
// clang-format on
