// Cutting text into words; see tok_impl.h. Every pre-tokenizer that is supported is a list of
// steps "split at the matches of a regex", each applied to the pieces of the step before. A piece
// passes through all steps before the next piece is cut, so no list of pieces is kept; the depth
// of the recursion is the number of steps.
#include <string.h>

#include "model/tok_impl.h"

// The split of GPT-2 (ByteLevel with use_regex).
const char hs_gpt2_regex[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

void hs_pre_free(hs_pre *p) {
    for (int i = 0; i < p->n; i++) hs_regex_close(p->step[i].re);
    p->n = 0;
}

int hs_pre_add_whole(hs_pre *p, bool prefix_space) {
    if (p->n == HS_MAX_PRE)
        return hs_fail(HS_EUNSUPPORTED, "more than %d pre-tokenizers", HS_MAX_PRE);
    p->step[p->n++] = (hs_pre_step){.prefix_space = prefix_space};
    return HS_OK;
}

int hs_pre_add(hs_pre *p, const char *regex, size_t n, bool literal, enum hs_behavior behavior,
               bool invert, bool prefix_space) {
    int rc = hs_pre_add_whole(p, prefix_space);
    if (rc) return rc;
    hs_pre_step *s = &p->step[p->n - 1];
    s->behavior = behavior;
    s->invert = invert;
    rc = hs_regex_open(&s->re, regex, n, literal);
    if (rc) p->n--;
    return rc;
}

// ---- the pre_tokenizer of tokenizer.json --------------------------------------------------------

static const char *const behaviors[HS_N_BEHAVIOR] = {"Isolated", "Removed", "MergedWithPrevious",
                                                     "MergedWithNext", "Contiguous"};

static bool flag(const hs_json *o, const char *key, bool otherwise) {
    hs_json_bool(hs_json_get(o, key), &otherwise);
    return otherwise;
}

static int read_byte_level(hs_pre *p, const hs_json *o) {
    bool space = flag(o, "add_prefix_space", true);
    if (!flag(o, "use_regex", true)) return hs_pre_add_whole(p, space);
    return hs_pre_add(p, hs_gpt2_regex, strlen(hs_gpt2_regex), false, HS_ISOLATED, false, space);
}

static int read_split(hs_pre *p, const hs_json *o) {
    const char *name = hs_json_str(hs_json_get(o, "behavior"));
    const char *regex = hs_json_str(hs_json_path(o, "pattern.Regex"));
    const char *text = hs_json_str(hs_json_path(o, "pattern.String"));
    int behavior = 0;
    while (name && behavior < HS_N_BEHAVIOR && strcmp(name, behaviors[behavior])) behavior++;
    if (!name || behavior == HS_N_BEHAVIOR || (!regex && !text))
        return hs_fail(HS_EFORMAT, "pre_tokenizer Split: no pattern, or no known behavior");
    const char *pattern = regex ? regex : text;
    return hs_pre_add(p, pattern, strlen(pattern), !regex, (enum hs_behavior)behavior,
                      flag(o, "invert", false), false);
}

static int read_digits(hs_pre *p, const hs_json *o) {
    // Rust decides here, not Oniguruma: with 13 numbers that are new in Unicode 17.
    static const char re[] = "[\\p{N}\\x{11de0}-\\x{11de9}\\x{16ff4}-\\x{16ff6}]";
    return hs_pre_add(p, re, sizeof re - 1, false,
                      flag(o, "individual_digits", false) ? HS_ISOLATED : HS_CONTIGUOUS, false,
                      false);
}

static int read_whitespace(hs_pre *p, const hs_json *o) {
    static const char re[] = "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]+|"
                             "[^\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}\\s]+";
    (void)o;
    return hs_pre_add(p, re, sizeof re - 1, false, HS_REMOVED, true, false);
}

static int read_whitespace_split(hs_pre *p, const hs_json *o) {
    (void)o;
    return hs_pre_add(p, "\\s", 2, false, HS_REMOVED, false, false);
}

static const struct {
    const char *type;
    int (*read)(hs_pre *, const hs_json *);
} kinds[] = {
    {"ByteLevel", read_byte_level},
    {"Split", read_split},
    {"Digits", read_digits},
    {"Whitespace", read_whitespace},
    {"WhitespaceSplit", read_whitespace_split},
};

// Adds o's steps. ByteLevel must come last and once: what it leaves is the byte alphabet, in which
// a later step would read letters where the text has none.
static int read_one(hs_pre *p, const hs_json *o, bool *byte_level) {
    const char *type = hs_json_str(hs_json_get(o, "type"));
    if (!type) return hs_fail(HS_EFORMAT, "a pre_tokenizer without a type");
    if (*byte_level)
        return hs_fail(HS_EUNSUPPORTED, "pre_tokenizer %s after ByteLevel is not supported", type);
    if (!strcmp(type, "Sequence")) {
        const hs_json *item = hs_json_first(hs_json_get(o, "pretokenizers"));
        int rc = HS_OK;
        for (; item && !rc; item = hs_json_next(item)) rc = read_one(p, item, byte_level);
        return rc;
    }
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        if (strcmp(type, kinds[k].type)) continue;
        *byte_level = kinds[k].read == read_byte_level;
        return kinds[k].read(p, o);
    }
    return hs_fail(HS_EUNSUPPORTED, "pre_tokenizer %s is not supported", type);
}

int hs_pre_from_json(hs_pre *p, const hs_json *o) {
    bool byte_level = false;
    int rc = o && hs_json_type(o) != HS_JSON_NULL ? read_one(p, o, &byte_level) : HS_OK;
    if (!rc && !byte_level)
        rc = hs_fail(HS_EUNSUPPORTED,
                     "no ByteLevel pre_tokenizer: only byte-level BPE is supported");
    return rc;
}

// ---- cutting ------------------------------------------------------------------------------------

typedef struct cutter {
    const hs_pre *pre;
    hs_regex_run *run;
    hs_buf spaced_text, spaced_subject; // one piece with a space before it
    hs_word_emit emit;
    void *ctx;
} cutter;

typedef struct piece {
    const char *text, *subject;
    size_t n, start; // start: where its first byte is in the whole text
    bool prefixed;   // text[0] is a space that the whole text does not have
} piece;

static int cut(cutter *c, int step, piece p);

static int cut_part(cutter *c, int step, const piece *p, size_t from, size_t to) {
    if (from == to) return HS_OK;
    bool prefixed = p->prefixed && from == 0;
    size_t start = p->start + from - (p->prefixed && from);
    return cut(c, step, (piece){p->text + from, p->subject + from, to - from, start, prefixed});
}

// Matches and what is between them follow each other; whether one joins the one before it, by
// [behavior][that one is a match][this one is].
static const bool joins[HS_N_BEHAVIOR][2][2] = {
    [HS_MERGED_WITH_PREVIOUS] = {{false, true}, {false, false}},
    [HS_MERGED_WITH_NEXT] = {{false, false}, {true, false}},
    [HS_CONTIGUOUS] = {{true, false}, {false, true}},
};

typedef struct stretch {
    size_t from, to;
    bool any, match;
} stretch;

// Takes the next piece [from, to) of p, and cuts the stretch before it when it does not join.
static int take(cutter *c, int step, const piece *p, stretch *s, size_t from, size_t to,
                bool match) {
    const hs_pre_step *st = &c->pre->step[step];
    match = match != st->invert;
    int rc = HS_OK;
    if (s->any && joins[st->behavior][s->match][match]) {
        s->to = to;
    } else {
        if (s->any && !(st->behavior == HS_REMOVED && s->match))
            rc = cut_part(c, step + 1, p, s->from, s->to);
        *s = (stretch){from, to, true, match};
    }
    s->match = match;
    return rc;
}

static int split(cutter *c, int step, const piece *p) {
    const hs_pre_step *st = &c->pre->step[step];
    stretch s = {0};
    size_t done = 0, start = 0, end = 0;
    bool found = true;
    int rc = HS_OK;
    for (size_t at = 0; at <= p->n;) {
        rc = hs_regex_find(st->re, c->run, p->subject, p->n, at, &found, &start, &end);
        if (rc || !found) break;
        // An empty match where the last one ended, or where the text begins, cuts nothing.
        if (start == end && end == done) {
            int32_t cp;
            at += at < p->n ? hs_utf8_decode(p->subject + at, p->n - at, &cp) : 1;
            continue;
        }
        if (done < start) rc = take(c, step, p, &s, done, start, false);
        if (!rc) rc = take(c, step, p, &s, start, end, true);
        if (rc) break;
        at = done = end;
    }
    if (!rc && done < p->n) rc = take(c, step, p, &s, done, p->n, false);
    if (!rc && s.any && !(st->behavior == HS_REMOVED && s.match))
        rc = cut_part(c, step + 1, p, s.from, s.to);
    return rc;
}

// p with a space before it, in the cutter's own memory: only the last step asks for it.
static int prefix(cutter *c, piece *p) {
    hs_buf_clear(&c->spaced_text);
    hs_buf_clear(&c->spaced_subject);
    hs_buf_chr(&c->spaced_text, ' ');
    hs_buf_add(&c->spaced_text, p->text, p->n);
    hs_buf_chr(&c->spaced_subject, ' ');
    hs_buf_add(&c->spaced_subject, p->subject, p->n);
    int rc = hs_buf_rc(&c->spaced_text);
    if (!rc) rc = hs_buf_rc(&c->spaced_subject);
    if (!rc) *p = (piece){c->spaced_text.data, c->spaced_subject.data, p->n + 1, p->start, true};
    return rc;
}

static int cut(cutter *c, int step, piece p) {
    if (step == c->pre->n) return c->emit(c->ctx, p.text, p.n, p.start, p.prefixed);
    const hs_pre_step *st = &c->pre->step[step];
    int rc = HS_OK;
    if (st->prefix_space && p.text[0] != ' ') rc = prefix(c, &p);
    if (rc) return rc;
    return st->re ? split(c, step, &p) : cut(c, step + 1, p);
}

int hs_pre_cut(const hs_pre *pre, hs_regex_run *run, const char *text, const char *subject,
               size_t n, hs_word_emit emit, void *ctx) {
    cutter c = {.pre = pre, .run = run, .emit = emit, .ctx = ctx};
    int rc = n ? cut(&c, 0, (piece){text, subject, n, 0, false}) : HS_OK;
    hs_buf_free(&c.spaced_text);
    hs_buf_free(&c.spaced_subject);
    return rc;
}
