// Data sets that ask: what each line promises, on several tokenizers and seeds; and that the
// calibration part and the held-out part share nothing.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/dataset/subjects.h"
#include "model/core/json.h"
#include "tests/lib/wordtok.h"

static const char *const tokenizers[] = {
    "tests/golden/data/tok_smollm", "tests/golden/data/tok_llama3", "tests/golden/data/tok_gpt2"};
enum { N_TOK = sizeof tokenizers / sizeof *tokenizers, N_VOCAB = 520, MOST = 1 << 14, CHOICES = 8 };

static hs_prompts *generate(const hs_tok *tok, const char *spec) {
    hs_prompts *p;
    assert_int_equal(hs_prompts_open(&p, tok, HS_BOS_AUTO, N_VOCAB), HS_OK);
    if (hs_prompts_add_dataset(p, spec)) fail_msg("%s: %s", spec, hs_errmsg());
    return p;
}

static void wont(const hs_tok *tok, const char *spec, const char *says) {
    hs_prompts *p;
    assert_int_equal(hs_prompts_open(&p, tok, HS_BOS_AUTO, N_VOCAB), HS_OK);
    if (hs_prompts_add_dataset(p, spec) != HS_EARG || !strstr(hs_errmsg(), says))
        fail_msg("'%s': '%s' does not say '%s'", spec, hs_errmsg(), says);
    hs_prompts_close(p);
}

static hs_buf lines_of(const hs_tok *tok, const char *spec) {
    hs_buf out = {0};
    hs_prompts *p = generate(tok, spec);
    for (int64_t i = 0; i < hs_prompts_count(p); i++) hs_prompt_jsonl(hs_prompts_at(p, i), &out);
    hs_prompts_close(p);
    return out;
}

// ---- lines --------------------------------------------------------------------------------------

struct line {
    const hs_prompt *p;
    const hs_tok *tok;
    char text[MOST], choice[CHOICES][64], answer[64];
    char thing[64], place[64]; // of yes_no, else empty
    int n_choice, right, part;
    double gold;
};

static void copy_text(char *to, size_t cap, const hs_json *v) {
    const char *s = hs_json_str(v);
    assert_true(s && strlen(s) < cap);
    strcpy(to, s);
}

// The tokens of [from, to) as text.
static void decode(const struct line *l, int64_t from, int64_t to, char out[MOST]) {
    hs_buf b = {0};
    assert_int_equal(hs_tok_decode(l->tok, l->p->tokens + from, (size_t)(to - from), false, &b), 0);
    assert_true(b.len < MOST);
    strcpy(out, hs_buf_text(&b));
    hs_buf_free(&b);
}

// Reads a line and checks what all of them promise.
static void read_line(struct line *l, const hs_tok *tok, const hs_prompt *p) {
    char all[MOST], part[16];
    hs_json *doc;
    int64_t right = -1;
    *l = (struct line){.p = p, .tok = tok, .gold = NAN};
    assert_int_equal(hs_json_parse(&doc, p->extra, strlen(p->extra)), HS_OK);
    copy_text(l->text, MOST, hs_json_get(doc, "text"));
    copy_text(part, sizeof part, hs_json_get(doc, "part"));
    hs_json_num(hs_json_get(doc, "gold"), &l->gold);
    if (hs_json_get(doc, "thing")) {
        copy_text(l->thing, sizeof l->thing, hs_json_get(doc, "thing"));
        copy_text(l->place, sizeof l->place, hs_json_get(doc, "place"));
    }
    const hs_json *choices = hs_json_get(doc, "choices");
    for (const hs_json *v = choices ? hs_json_first(choices) : NULL; v; v = hs_json_next(v)) {
        assert_true(l->n_choice < CHOICES);
        copy_text(l->choice[l->n_choice++], sizeof *l->choice, v);
    }
    if (choices) assert_true(hs_json_int(hs_json_get(doc, "answer"), &right));
    l->right = (int)right;
    copy_text(l->answer, sizeof l->answer, hs_json_get(doc, choices ? "answer_text" : "answer"));
    hs_json_free(doc);
    if (choices) {
        assert_in_range(right, 0, l->n_choice - 1);
        assert_string_equal(l->answer, l->choice[right]);
    }
    for (int i = 0; i < l->n_choice; i++) {
        assert_true(l->choice[i][0] == ' ' && l->choice[i][1] != ' ');
        for (int k = 0; k < i; k++) assert_string_not_equal(l->choice[i], l->choice[k]);
    }
    l->part = !strcmp(part, "held_out");
    assert_true(l->part || !strcmp(part, "calibration"));
    assert_int_equal(p->id[0], l->part ? 'h' : 'c');
    assert_int_equal(p->bos_len, hs_tok_adds_bos(tok));
    if (p->bos_len) assert_int_equal(p->tokens[0], hs_tok_bos(tok));
    decode(l, p->bos_len, p->n_token, all);
    assert_string_equal(all, l->text);
}

// The text of a span without the white space at its end, which a token may hold, and its place.
static const char *span_text(const struct line *l, const char *name, char out[MOST]) {
    char before[MOST];
    const hs_span *s = NULL;
    for (int i = 0; i < l->p->spans.n; i++)
        if (!strcmp(l->p->spans.at[i].name, name)) s = &l->p->spans.at[i];
    if (!s) fail_msg("no span %s", name);
    // White space alone is no token of it.
    decode(l, s->from, s->from + 1, before);
    assert_true(before[strspn(before, " \n")]);
    decode(l, s->to - 1, s->to, before);
    assert_true(before[strspn(before, " \n")]);
    decode(l, s->from, s->to, out);
    decode(l, l->p->bos_len, s->from, before);
    size_t n = strlen(out);
    while (n && isspace((unsigned char)out[n - 1])) out[--n] = 0;
    const size_t lead = strspn(out, " ");
    memmove(out, out + lead, n - lead + 1);
    return l->text + strlen(before) + lead;
}

// That the span is text[from, to).
static void is_span(const struct line *l, const char *name, const char *from, const char *to) {
    char got[MOST];
    const char *at = span_text(l, name, got);
    assert_non_null(to);
    if ((size_t)(to - from) != strlen(got) || strncmp(from, got, strlen(got)) != 0 || at != from)
        fail_msg("span %s is '%s' and not '%.*s'", name, got, (int)(to - from), from);
}

// ---- what is right ------------------------------------------------------------------------------

// Whether the cue and this choice, and a word's end, stand in text[from, to).
static bool tells(const char *from, const char *to, const char *cue, const char *choice) {
    char words[512], said[MOST];
    const int n = snprintf(words, sizeof words, "%s%s", cue, choice);
    snprintf(said, sizeof said, "%.*s", (int)(to - from), from);
    const char *at = strstr(said, words);
    return at && !isalnum((unsigned char)at[n]);
}

// The sentence after "Answer:" goes on in text[from, to) with the right choice and with no other.
static void only_right_is_told(const struct line *l, const char *from, const char *to) {
    const char *cue = strstr(l->text, "\nAnswer: ");
    assert_true(cue && cue > to - 1);
    cue += strlen("\nAnswer: ");
    assert_true(strlen(cue) > 8);
    assert_true(tells(from, to, cue, l->answer));
    for (int i = 0; i < l->n_choice; i++)
        if (i != l->right) assert_false(tells(from, to, cue, l->choice[i]));
}

static void check_two_choice(const struct line *l) {
    const char *from = l->text + strlen("Text: "), *to = strstr(l->text, "\nQuestion: ");
    assert_int_equal(strncmp(l->text, "Text: ", 6), 0);
    assert_int_equal(l->n_choice, 2);
    is_span(l, "doc", from, to);
    for (int i = 0; i < 2; i++) assert_true(tells(from, to, "", l->choice[i]));
    only_right_is_told(l, from, to);
}

static void check_lost_middle(const struct line *l) {
    const char *from = l->text, *last = strstr(l->text, "\nQuestion: ");
    int n_doc = 0;
    is_span(l, "doc", from, last);
    while (from < last) {
        char head[32], name[32];
        snprintf(head, sizeof head, "Document %d: ", ++n_doc);
        snprintf(name, sizeof name, "doc%d", n_doc);
        assert_int_equal(strncmp(from, head, strlen(head)), 0);
        const char *doc = from + strlen(head), *to = strchr(doc, '\n');
        is_span(l, name, doc, to);
        if (n_doc == (int)l->gold) {
            is_span(l, "gold", doc, to);
            only_right_is_told(l, doc, to);
        } else {
            assert_false(tells(doc, to, "", l->answer));
        }
        from = to + 1;
    }
    assert_int_equal(n_doc, 10);
    assert_int_equal(l->n_choice, 4);
    for (int i = 0; i < 4; i++) assert_true(tells(l->text, last, "", l->choice[i]));
}

static void check_kv_lookup(const struct line *l) {
    const char *to = strstr(l->text, "\n\n");
    hs_json *doc;
    char key[64], quoted[64];
    int own = 0, others = 0;
    is_span(l, "doc", l->text, to);
    assert_int_equal(hs_json_parse(&doc, l->text, (size_t)(to - l->text)), HS_OK);
    assert_int_equal(hs_json_size(doc), 12);
    assert_int_equal(sscanf(to, "\n\n\"%63[^\"]\":", key), 1);
    int pair = 0;
    for (const hs_json *v = hs_json_first(doc); v; v = hs_json_next(v), pair++) {
        snprintf(quoted, sizeof quoted, " \"%s\"", hs_json_str(v));
        if (!strcmp(hs_json_key(v), key)) {
            own++;
            assert_string_equal(quoted, l->answer);
            assert_int_equal(pair, (int)l->gold);
        }
        for (int i = 0; i < l->n_choice; i++) others += !strcmp(quoted, l->choice[i]);
    }
    assert_int_equal(own, 1);
    assert_int_equal(others, 4);
    assert_int_equal(l->n_choice, 4);
    hs_json_free(doc);
}

// The last text of the prompt, after the solved examples.
static const char *last_text(const struct line *l) {
    const char *at = l->text;
    for (const char *next; (next = strstr(at, "Text: ")); at = next + strlen("Text: ")) continue;
    return at;
}

static void check_yes_no(const struct line *l) {
    const char *from = last_text(l), *to = strstr(from, "\nQuestion: ");
    char asked[128], place[96];
    int things = -1; // the first sentence names the place
    is_span(l, "doc", from, to);
    snprintf(place, sizeof place, "This is %s %s. ", strchr("aeiou", l->place[0]) ? "an" : "a",
             l->place);
    assert_int_equal(strncmp(from, place, strlen(place)), 0);
    const char *article = strchr("aeiou", l->thing[0]) ? "an" : "a";
    snprintf(asked, sizeof asked, " %s %s", article, l->thing);
    assert_true(tells(from, to, asked, "") == (l->right == 0));
    snprintf(asked, sizeof asked, "\nQuestion: Is there %s %s?\nAnswer:", article, l->thing);
    assert_string_equal(to, asked);
    for (const char *at = from; at < to; at++) things += *at == '.';
    assert_int_equal(things, 6);
    assert_string_equal(l->choice[0], " Yes");
    assert_string_equal(l->choice[1], " No");
}

static const struct set {
    const char *name;
    void (*check)(const struct line *);
    int n_choice, n_gold; // n_gold 0: no such key
    int gold_from;
} sets[] = {
    {"two_choice", check_two_choice, 2, 0, 0},
    {"lost_middle", check_lost_middle, 4, 10, 1},
    {"kv_lookup", check_kv_lookup, 4, 12, 0},
    {"yes_no", check_yes_no, 2, 0, 0},
};
enum { TWO_CHOICE, N_SET = sizeof sets / sizeof *sets };

static void lines_say_what_is_true(void **state) {
    (void)state;
    struct line *l = malloc(sizeof *l);
    char spec[128];
    assert_non_null(l);
    for (int t = 0; t < N_TOK; t++) {
        hs_tok *tok = wordtok_at(tokenizers[t]);
        for (int s = 0; s < N_SET; s++)
            for (int seed = 0; seed < 8; seed++) {
                snprintf(spec, sizeof spec, "%s:n=20,seed=%d", sets[s].name, seed);
                hs_prompts *p = generate(tok, spec);
                assert_int_equal(hs_prompts_count(p), 20);
                for (int64_t i = 0; i < 20; i++) {
                    read_line(l, tok, hs_prompts_at(p, i));
                    assert_int_equal(l->part, i % 2);
                    sets[s].check(l);
                }
                hs_prompts_close(p);
            }
        hs_tok_close(tok);
    }
    free(l);
}

// ---- balance ------------------------------------------------------------------------------------

// Every place of the right answer among the choices, and of what tells it, equally often.
static void places_are_balanced(void **state) {
    (void)state;
    enum { N = 120 }; // of each part
    struct line *l = malloc(sizeof *l);
    hs_tok *tok = wordtok_at(tokenizers[0]);
    char spec[128];
    assert_non_null(l);
    for (int s = 0; s < N_SET; s++)
        for (int part = 0; part < 2; part++) {
            int right[CHOICES] = {0}, gold[16] = {0}, first[2][2] = {{0}};
            snprintf(spec, sizeof spec, "%s:part=%s,seed=5,n=%d", sets[s].name,
                     part ? "held_out" : "calibration", N);
            hs_prompts *p = generate(tok, spec);
            for (int64_t i = 0; i < N; i++) {
                read_line(l, tok, hs_prompts_at(p, i));
                assert_int_equal(l->part, part);
                assert_int_equal(l->n_choice, sets[s].n_choice);
                right[l->right]++;
                if (sets[s].n_gold) gold[(int)l->gold - sets[s].gold_from]++;
                if (s == TWO_CHOICE)
                    first[l->right]
                         [strstr(l->text, l->choice[0]) < strstr(l->text, l->choice[1])]++;
            }
            for (int k = 0; k < sets[s].n_choice; k++)
                assert_int_equal(right[k], N / sets[s].n_choice);
            for (int k = 0; k < sets[s].n_gold; k++) assert_int_equal(gold[k], N / sets[s].n_gold);
            if (s == TWO_CHOICE)
                for (int k = 0; k < 4; k++) assert_int_equal(first[k / 2][k % 2], N / 4);
            hs_prompts_close(p);
        }
    hs_tok_close(tok);
    free(l);
}

// ---- parts --------------------------------------------------------------------------------------

static bool has_word(const char *text, const char *word) {
    const size_t n = strlen(word);
    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word))
        if ((at == text || !isalnum((unsigned char)at[-1])) && !isalnum((unsigned char)at[n]))
            return true;
    return false;
}

// All texts of a part, of several seeds, and all its answers and choices, each once.
struct part {
    hs_buf text;
    char word[256][64];
    int n_word;
};

static void add_word(struct part *a, const char *word) {
    for (int i = 0; i < a->n_word; i++)
        if (!strcmp(a->word[i], word)) return;
    assert_true(a->n_word < 256);
    strcpy(a->word[a->n_word++], word);
}

static void read_part(struct part *a, const hs_tok *tok, const char *set, const char *part) {
    struct line *l = malloc(sizeof *l);
    char spec[128];
    assert_non_null(l);
    for (int seed = 0; seed < 12; seed++) {
        snprintf(spec, sizeof spec, "%s:n=40,part=%s,seed=%d", set, part, 1000003 * seed);
        hs_prompts *p = generate(tok, spec);
        for (int64_t i = 0; i < hs_prompts_count(p); i++) {
            read_line(l, tok, hs_prompts_at(p, i));
            hs_buf_str(&a->text, l->text);
            hs_buf_chr(&a->text, '\n');
            if (*l->thing) add_word(a, l->thing);
            for (int k = 0; k < l->n_choice && !*l->thing; k++) {
                const size_t skip = strspn(l->choice[k], " \"");
                l->choice[k][strcspn(l->choice[k] + skip, "\"") + skip] = 0;
                add_word(a, l->choice[k] + skip);
            }
        }
        hs_prompts_close(p);
    }
    assert_int_equal(hs_buf_rc(&a->text), HS_OK);
    free(l);
}

static void parts_share_nothing(void **state) {
    (void)state;
    hs_tok *tok = wordtok_at(tokenizers[0]);
    struct part *a = calloc(2, sizeof *a);
    assert_non_null(a);
    for (int s = 0; s < N_SET; s++) {
        memset(a, 0, 2 * sizeof *a);
        read_part(&a[0], tok, sets[s].name, "calibration");
        read_part(&a[1], tok, sets[s].name, "held_out");
        for (int k = 0; k < 2; k++) {
            assert_true(a[k].n_word >= 20);
            for (int i = 0; i < a[k].n_word; i++) {
                assert_true(has_word(a[k].text.data, a[k].word[i]));
                if (has_word(a[!k].text.data, a[k].word[i]))
                    fail_msg("%s: both parts have '%s'", sets[s].name, a[k].word[i]);
            }
        }
        hs_buf_free(&a[0].text);
        hs_buf_free(&a[1].text);
    }
    free(a);
    hs_tok_close(tok);
}

// Names: every word of a list comes up in its own part and never in the other.
static void names_keep_to_their_part(void **state) {
    (void)state;
    hs_tok *tok = wordtok_at(tokenizers[0]);
    struct part *a = calloc(2, sizeof *a);
    assert_non_null(a);
    read_part(&a[0], tok, "lost_middle", "calibration");
    read_part(&a[1], tok, "lost_middle", "held_out");
    for (int s = 0; s < HS_N_SUBJECT; s++) {
        const hs_subject *subject = &hs_subjects[s];
        const char *const *lists[] = {subject->first, subject->last, subject->detail[0].what,
                                      subject->detail[1].what};
        for (size_t k = 0; k < sizeof lists / sizeof *lists; k++)
            for (int i = 0; i < 2 * HS_SUBJECT_WORDS; i++) {
                const char *word = lists[k][i];
                if (!has_word(a[i % 2].text.data, word)) fail_msg("'%s' never comes", word);
                if (has_word(a[!(i % 2)].text.data, word)) fail_msg("both parts have '%s'", word);
            }
    }
    hs_buf_free(&a[0].text);
    hs_buf_free(&a[1].text);
    free(a);
    hs_tok_close(tok);
}

static void parts_make_the_whole(void **state) {
    (void)state;
    hs_tok *tok = wordtok_at(tokenizers[1]);
    char spec[3][128];
    for (int s = 0; s < N_SET; s++)
        for (int seed = 0; seed < 3; seed++) {
            hs_buf whole, of[2], again, other, turns = {0};
            snprintf(spec[0], sizeof *spec, "%s:n=13,seed=%d", sets[s].name, seed);
            snprintf(spec[1], sizeof *spec, "%s:n=7,part=calibration,seed=%d", sets[s].name, seed);
            snprintf(spec[2], sizeof *spec, "%s:n=20,part=held_out,seed=%d", sets[s].name, seed);
            whole = lines_of(tok, spec[0]);
            again = lines_of(tok, spec[0]);
            for (int k = 0; k < 2; k++) of[k] = lines_of(tok, spec[1 + k]);
            const char *at[] = {of[0].data, of[1].data};
            for (int i = 0; i < 13; i++) {
                const char *end = strchr(at[i % 2], '\n') + 1;
                hs_buf_add(&turns, at[i % 2], (size_t)(end - at[i % 2]));
                at[i % 2] = end;
            }
            assert_string_equal(whole.data, turns.data);
            assert_string_equal(whole.data, again.data);
            snprintf(spec[0], sizeof *spec, "%s:n=13,seed=%d", sets[s].name, seed + 1);
            other = lines_of(tok, spec[0]);
            assert_string_not_equal(whole.data, other.data);
            hs_buf *all[] = {&whole, &again, &other, &turns, &of[0], &of[1]};
            for (size_t k = 0; k < sizeof all / sizeof *all; k++) hs_buf_free(all[k]);
        }
    hs_tok_close(tok);
}

// ---- spans --------------------------------------------------------------------------------------

static void draw_neighbours(void *ctx, hs_item *it) {
    (void)ctx;
    hs_item_choice(it, "x", false);
    const int one = hs_item_from(it, "one");
    hs_buf_str(&it->text, "Text:");
    hs_item_to(it, one);
    const int two = hs_item_from(it, "two");
    hs_buf_str(&it->text, "Q.");
    hs_item_to(it, two);
}

// Spans that touch share no token.
static void neighbours_share_no_token(void **state) {
    (void)state;
    static const hs_param params[] = {HS_ITEM_PARAMS("2"), {0}};
    struct line *l = malloc(sizeof *l);
    hs_args args;
    hs_prompts *p;
    assert_non_null(l);
    assert_int_equal(hs_args_parse(&args, params, ""), HS_OK);
    for (int t = 0; t < N_TOK; t++) {
        hs_tok *tok = wordtok_at(tokenizers[t]);
        assert_int_equal(hs_prompts_open(&p, tok, HS_BOS_AUTO, N_VOCAB), HS_OK);
        assert_int_equal(hs_items_generate(p, tok, &args, draw_neighbours, NULL), HS_OK);
        read_line(l, tok, hs_prompts_at(p, 1));
        is_span(l, "one", l->text, l->text + 5);
        is_span(l, "two", l->text + 5, l->text + 7);
        hs_prompts_close(p);
        hs_tok_close(tok);
    }
    hs_args_free(&args);
    free(l);
}

// ---- what is not there --------------------------------------------------------------------------

// Things asked about that are not there: in how many of the part's texts they stand, and in how
// many of the same place.
static void count_absent(const hs_tok *tok, const char *kind, double *common, double *own) {
    enum { N = 300 };
    struct line *l = malloc(sizeof *l);
    hs_buf doc[N] = {{0}};
    char(*thing)[64] = calloc(N, sizeof *thing), (*place)[64] = calloc(N, sizeof *place);
    char spec[128];
    int n = 0, in_text = 0, in_place = 0, of_place = 0;
    assert_true(l && thing && place);
    snprintf(spec, sizeof spec, "yes_no:n=%d,part=held_out,negatives=%s", N, kind);
    hs_prompts *p = generate(tok, spec);
    for (int i = 0; i < N; i++) {
        read_line(l, tok, hs_prompts_at(p, i));
        const char *from = last_text(l);
        hs_buf_add(&doc[i], from, (size_t)(strstr(from, "\nQuestion: ") - from));
        strcpy(place[i], l->place);
        if (l->right) strcpy(thing[i], l->thing);
    }
    for (int i = 0; i < N; i++)
        for (int k = 0; k < N && *thing[i]; k++) {
            const bool same = !strcmp(place[i], place[k]), has = has_word(doc[k].data, thing[i]);
            n++;
            in_text += has;
            of_place += same;
            in_place += same && has;
        }
    *common = (double)in_text / n;
    *own = (double)in_place / of_place;
    for (int i = 0; i < N; i++) hs_buf_free(&doc[i]);
    hs_prompts_close(p);
    free(thing);
    free(place);
    free(l);
}

// With 6 things of which 2 are common: a common one is in 2 / 8 of all texts, one of the place in
// 4 / 10 of the place's and in none of the others.
static void what_is_absent_is_drawn_as_asked(void **state) {
    (void)state;
    double common[3], own[3];
    hs_tok *tok = wordtok_at(tokenizers[0]);
    count_absent(tok, "random", &common[0], &own[0]);
    count_absent(tok, "popular", &common[1], &own[1]);
    count_absent(tok, "adversarial", &common[2], &own[2]);
    assert_true(common[0] > 0.05 && common[0] < 0.13 && own[0] < 0.17);
    assert_true(common[1] > 0.2 && common[1] < 0.3 && own[1] > 0.15 && own[1] < 0.35);
    assert_true(common[2] > 0.03 && common[2] < 0.11 && own[2] > 0.3 && own[2] < 0.5);
    hs_tok_close(tok);
}

// ---- parameters ---------------------------------------------------------------------------------

static void cues_differ(void **state) {
    (void)state;
    static const char *const specs[] = {"two_choice:n=10,cue=same", "two_choice:n=10,cue=other",
                                        "two_choice:n=10,cue=no"};
    struct line *l = malloc(sizeof *l);
    hs_tok *tok = wordtok_at(tokenizers[2]);
    assert_non_null(l);
    for (int k = 0; k < 3; k++) {
        hs_prompts *p = generate(tok, specs[k]);
        for (int64_t i = 0; i < 10; i++) {
            read_line(l, tok, hs_prompts_at(p, i));
            const char *end = strstr(l->text, "\nQuestion: "), *cue = strstr(end, "\nAnswer:");
            cue += strlen("\nAnswer:");
            assert_true(k == 2 ? !*cue : *cue == ' ' && cue[strlen(cue) - 1] != ' ');
            if (k < 2) assert_true(tells(l->text, end, cue, l->answer) == (k == 0));
        }
        hs_prompts_close(p);
    }
    hs_tok_close(tok);
    free(l);
}

static void open_questions_have_their_answer(void **state) {
    (void)state;
    static const char *const specs[] = {"lost_middle:n=6,ask=open",
                                        "kv_lookup:n=6,ask=open,format=list"};
    struct line *l = malloc(sizeof *l);
    hs_tok *tok = wordtok_at(tokenizers[0]);
    assert_non_null(l);
    for (int k = 0; k < 2; k++) {
        hs_prompts *p = generate(tok, specs[k]);
        for (int64_t i = 0; i < 6; i++) {
            read_line(l, tok, hs_prompts_at(p, i));
            assert_int_equal(l->n_choice, 0);
            const char *cue = k ? strstr(l->text, "\n\n") + 2 : strstr(l->text, "\nAnswer: ") + 9;
            assert_true(tells(l->text, cue - 2, cue, l->answer));
        }
        hs_prompts_close(p);
    }
    hs_tok_close(tok);
    free(l);
}

static void sizes_are_kept(void **state) {
    (void)state;
    hs_tok *tok = wordtok_at(tokenizers[0]);
    hs_prompts *p = generate(tok, "lost_middle:n=2,documents=12,details=3");
    assert_int_equal(hs_prompts_at(p, 0)->spans.n, 12 + 2);
    hs_prompts_close(p);
    p = generate(tok, "lost_middle:n=2,documents=4,details=1");
    assert_int_equal(hs_prompts_at(p, 1)->spans.n, 4 + 2);
    hs_prompts_close(p);
    hs_prompts_close(generate(tok, "two_choice:n=4,who=12,details=3"));
    hs_prompts_close(generate(tok, "kv_lookup:n=4,pairs=24"));
    hs_prompts_close(generate(tok, "yes_no:n=9,things=8,negatives=adversarial,shots=0"));
    hs_prompts_close(generate(tok, "yes_no:n=9,things=8,negatives=popular,shots=1"));
    wont(tok, "lost_middle:documents=3", "documents");
    wont(tok, "lost_middle:documents=13", "documents");
    wont(tok, "two_choice:who=1", "who");
    wont(tok, "kv_lookup:pairs=25", "pairs");
    wont(tok, "yes_no:things=9", "things");
    wont(tok, "kv_lookup:part=test", "all|calibration|held_out");
    for (int s = 0; s < N_SET; s++) wont(NULL, sets[s].name, "tokenizer");
    hs_tok_close(tok);
}

// ---- lines of tests/data ------------------------------------------------------------------------

// A user's lines: the text begins with its span doc, in which the sentence after "Answer:" goes on
// with the right choice and with no other.
static void read_own(struct part *a, const hs_tok *tok, const char *path) {
    struct line *l = malloc(sizeof *l);
    int right[4] = {0};
    hs_prompts *p;
    assert_non_null(l);
    assert_int_equal(hs_prompts_open(&p, tok, HS_BOS_AUTO, N_VOCAB), HS_OK);
    if (hs_prompts_add_file(p, path)) fail_msg("%s", hs_errmsg());
    assert_int_equal(hs_prompts_count(p), 64);
    for (int64_t i = 0; i < 64; i++) {
        const hs_prompt *prompt = hs_prompts_at(p, i);
        hs_json *doc;
        int64_t answer;
        *l = (struct line){.p = prompt, .tok = tok};
        strcpy(l->text, prompt->text);
        assert_int_equal(hs_json_parse(&doc, prompt->extra, strlen(prompt->extra)), HS_OK);
        const hs_json *choices = hs_json_get(doc, "choices");
        assert_int_equal(hs_json_size(choices), 4);
        for (const hs_json *v = hs_json_first(choices); v; v = hs_json_next(v)) {
            copy_text(l->choice[l->n_choice], sizeof *l->choice, v);
            add_word(a, l->choice[l->n_choice++] + 1);
        }
        assert_true(hs_json_int(hs_json_get(doc, "answer"), &answer));
        assert_in_range(answer, 0, 3);
        right[l->right = (int)answer]++;
        strcpy(l->answer, l->choice[answer]);
        const char *end = strstr(l->text, "\nQuestion: ");
        is_span(l, "doc", l->text, end);
        // The sentence may stand in the middle of another one.
        char *cue = strstr(l->text, "\nAnswer: ") + strlen("\nAnswer: ");
        assert_true(strlen(cue) > 5);
        if (!tells(l->text, end, cue, l->answer)) *cue = (char)tolower((unsigned char)*cue);
        assert_true(tells(l->text, end, cue, l->answer));
        for (int k = 0; k < 4; k++) {
            assert_true(tells(l->text, end, "", l->choice[k]));
            if (k != answer) assert_false(tells(l->text, end, cue, l->choice[k]));
        }
        hs_buf_add(&a->text, l->text, (size_t)(end - l->text));
        hs_buf_chr(&a->text, '\n');
        hs_json_free(doc);
    }
    for (int k = 0; k < 4; k++) assert_int_equal(right[k], 16);
    hs_prompts_close(p);
    free(l);
}

static void own_lines_share_nothing(void **state) {
    (void)state;
    static const char *const paths[] = {"tests/data/choices.jsonl",
                                        "tests/data/choices_held_out.jsonl"};
    for (int t = 0; t < N_TOK; t++) {
        hs_tok *tok = wordtok_at(tokenizers[t]);
        struct part *a = calloc(2, sizeof *a);
        assert_non_null(a);
        for (int k = 0; k < 2; k++) read_own(&a[k], tok, paths[k]);
        for (int k = 0; k < 2; k++) {
            assert_int_equal(a[k].n_word, 64);
            for (int i = 0; i < 64; i++)
                if (has_word(a[!k].text.data, a[k].word[i]))
                    fail_msg("both files have '%s'", a[k].word[i]);
        }
        for (int k = 0; k < 2; k++) hs_buf_free(&a[k].text);
        free(a);
        hs_tok_close(tok);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_say_what_is_true),
        cmocka_unit_test(places_are_balanced),
        cmocka_unit_test(parts_share_nothing),
        cmocka_unit_test(names_keep_to_their_part),
        cmocka_unit_test(parts_make_the_whole),
        cmocka_unit_test(neighbours_share_no_token),
        cmocka_unit_test(what_is_absent_is_drawn_as_asked),
        cmocka_unit_test(cues_differ),
        cmocka_unit_test(open_questions_have_their_answer),
        cmocka_unit_test(sizes_are_kept),
        cmocka_unit_test(own_lines_share_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
