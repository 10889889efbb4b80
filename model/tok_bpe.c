// Byte-pair merging of one word (Sennrich et al., arXiv:1508.07909), exactly as the reference
// orders it: always the pair of lowest rank, of equals the leftmost. A doubly linked list of
// symbols and a heap of candidate pairs make it O(n log n) for a word of n bytes; a pair that
// has changed since it was pushed is dropped when it is popped.
#include <stdlib.h>
#include <string.h>

#include "model/tok_impl.h"

typedef struct hs_symbol {
    int32_t id; // -1: merged into the one before
    int32_t prev, next;
    uint32_t start, end; // bytes of the word
} hs_symbol;

typedef struct hs_pair {
    uint32_t rank;
    int32_t at; // symbol on the left
    int32_t id; // what the merge makes
} hs_pair;

// ---- the table of merges ------------------------------------------------------------------------

static uint64_t pair_key(int32_t left, int32_t right) {
    return (uint64_t)(uint32_t)(left + 1) << 32 | (uint32_t)(right + 1);
}

static size_t probe(const hs_bpe *b, uint64_t key) {
    size_t i = (key * UINT64_C(0x9e3779b97f4a7c15)) >> 32 & b->mask;
    while (b->slot[i].pair && b->slot[i].pair != key) i = (i + 1) & b->mask;
    return i;
}

static const hs_merge *find_merge(const hs_bpe *b, int32_t left, int32_t right) {
    const hs_merge *m = &b->slot[probe(b, pair_key(left, right))];
    return m->pair ? m : NULL;
}

int hs_bpe_init(hs_bpe *b, hs_arena *arena, size_t n_merges) {
    *b = (hs_bpe){.unk = -1};
    if (n_merges >= INT32_MAX / 2) return hs_fail(HS_EUNSUPPORTED, "%zu merges", n_merges);
    size_t slots = 16;
    while (slots / 2 < n_merges) slots *= 2;
    b->mask = slots - 1;
    return hs_arena_get(arena, &b->slot, slots, sizeof *b->slot);
}

int hs_bpe_put(hs_bpe *b, const hs_vocab *v, const char *left, size_t n_left, const char *right,
               size_t n_right, uint32_t rank, bool later_wins) {
    char small[256], *whole = small;
    const size_t n = n_left + n_right;
    if (n > sizeof small && !(whole = malloc(n)))
        return hs_fail(HS_ENOMEM, "out of memory: a merge of %zu bytes", n);
    if (n_left) memcpy(whole, left, n_left);
    if (n_right) memcpy(whole + n_left, right, n_right);
    int32_t l = hs_vocab_find(v, left, n_left), r = hs_vocab_find(v, right, n_right);
    int32_t id = hs_vocab_find(v, whole, n);
    if (whole != small) free(whole);
    if (l < 0 || r < 0 || id < 0)
        return hs_fail(HS_EFORMAT, "merge %u, '%.*s' with '%.*s': %s is not in the vocabulary",
                       rank, (int)(n_left < 64 ? n_left : 64), left,
                       (int)(n_right < 64 ? n_right : 64), right,
                       l < 0   ? "the left side"
                       : r < 0 ? "the right side"
                               : "the whole");
    hs_merge *m = &b->slot[probe(b, pair_key(l, r))];
    if (!m->pair || later_wins) *m = (hs_merge){pair_key(l, r), rank, id};
    return HS_OK;
}

// The ids of the byte tokens <0xHH> of letter's UTF-8; false unless all are there.
static bool byte_tokens(const hs_vocab *v, int32_t letter, int32_t out[2]) {
    static const char hex[] = "0123456789ABCDEF";
    char utf8[4];
    size_t n = hs_utf8_encode(letter, utf8);
    out[1] = -1;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)utf8[i];
        char name[6] = {'<', '0', 'x', hex[c >> 4], hex[c & 15], '>'};
        out[i] = hs_vocab_find(v, name, sizeof name);
        if (out[i] < 0) return false;
    }
    return true;
}

int hs_bpe_finish(hs_bpe *b, const hs_vocab *v, const char *unk, bool fuse_unk,
                  bool byte_fallback) {
    bool needs_unk = false;
    b->fuse_unk = fuse_unk;
    for (int i = 0; i < 256; i++) {
        char utf8[4];
        int32_t letter = hs_byte_letter((unsigned char)i);
        b->letter[i] = hs_vocab_find(v, utf8, hs_utf8_encode(letter, utf8));
        if (b->letter[i] < 0 && !(byte_fallback && byte_tokens(v, letter, b->fallback[i]))) {
            b->fallback[i][0] = -1;
            needs_unk = true;
        }
    }
    if (unk) b->unk = hs_vocab_find(v, unk, strlen(unk));
    if (unk && needs_unk && b->unk < 0)
        return hs_fail(HS_EFORMAT, "the unknown token '%s' is not in the vocabulary", unk);
    return HS_OK;
}

// ---- encoding a word ----------------------------------------------------------------------------

void hs_bpe_run_free(hs_bpe_run *run) {
    free(run->sym);
    free(run->heap);
    *run = (hs_bpe_run){0};
}

int hs_tokens_push(hs_tokens *t, int32_t id, int64_t start, int64_t end) {
    // Full exactly when n is a power of two from 16 up: no capacity to keep.
    if (t->n == 0 || (t->n >= 16 && !(t->n & (t->n - 1)))) {
        int rc = hs_grow(&t->at, t->n ? t->n * 2 : 16, sizeof *t->at);
        if (rc) return rc;
    }
    t->at[t->n++] = (hs_token){id, start, end};
    return HS_OK;
}

static bool before(const hs_pair *a, const hs_pair *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void push(hs_bpe_run *run, hs_pair p) {
    size_t i = run->heap_n++;
    for (; i && before(&p, &run->heap[(i - 1) / 2]); i = (i - 1) / 2)
        run->heap[i] = run->heap[(i - 1) / 2];
    run->heap[i] = p;
}

static hs_pair pop(hs_bpe_run *run) {
    const hs_pair top = run->heap[0], last = run->heap[--run->heap_n];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < run->heap_n; i = child) {
        if (child + 1 < run->heap_n && before(&run->heap[child + 1], &run->heap[child])) child++;
        if (!before(&run->heap[child], &last)) break;
        run->heap[i] = run->heap[child];
    }
    run->heap[i] = last;
    return top;
}

// Pushes the pair of symbol `at` and its right neighbour, when there is such a merge.
static void offer(const hs_bpe *b, hs_bpe_run *run, int32_t at) {
    if (at < 0 || run->sym[at].next < 0) return;
    const hs_merge *m = find_merge(b, run->sym[at].id, run->sym[run->sym[at].next].id);
    if (m) push(run, (hs_pair){m->rank, at, m->id});
}

static void add_symbol(hs_bpe_run *run, size_t *n, int32_t id, size_t start, size_t end) {
    int32_t i = (int32_t)(*n)++;
    run->sym[i] = (hs_symbol){id, i - 1, -1, (uint32_t)start, (uint32_t)end};
    if (i) run->sym[i - 1].next = i;
}

// The word as symbols; returns how many. An unknown token waits, to grow when unknowns fuse, and
// byte tokens do not flush it: both as the reference does.
static size_t first_symbols(const hs_bpe *b, hs_bpe_run *run, const char *word, size_t n) {
    size_t count = 0, unk_start = 0, unk_end = 0;
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)word[i];
        if (b->letter[c] >= 0) {
            if (unk_end) add_symbol(run, &count, b->unk, unk_start, unk_end);
            unk_end = 0;
            add_symbol(run, &count, b->letter[c], i, i + 1);
        } else if (b->fallback[c][0] >= 0) {
            add_symbol(run, &count, b->fallback[c][0], i, i + 1);
            if (b->fallback[c][1] >= 0) add_symbol(run, &count, b->fallback[c][1], i + 1, i + 1);
        } else if (b->unk >= 0) {
            if (unk_end && !b->fuse_unk) add_symbol(run, &count, b->unk, unk_start, unk_end);
            if (!unk_end || !b->fuse_unk) unk_start = i;
            unk_end = i + 1;
        }
    }
    if (unk_end) add_symbol(run, &count, b->unk, unk_start, unk_end);
    return count;
}

static void merge_all(const hs_bpe *b, hs_bpe_run *run, size_t n) {
    run->heap_n = 0;
    for (size_t i = 0; i + 1 < n; i++) offer(b, run, (int32_t)i);
    while (run->heap_n) {
        const hs_pair p = pop(run);
        hs_symbol *left = &run->sym[p.at];
        if (left->id < 0 || left->next < 0) continue;
        hs_symbol *right = &run->sym[left->next];
        const hs_merge *m = find_merge(b, left->id, right->id);
        if (!m || m->id != p.id) continue;
        left->id = p.id;
        left->end = right->end;
        left->next = right->next;
        right->id = -1;
        if (left->next >= 0) run->sym[left->next].prev = p.at;
        offer(b, run, left->prev);
        offer(b, run, p.at);
    }
}

// Grows *block to hold n items at least, doubling.
static int reserve(void *block, size_t *cap, size_t n, size_t size) {
    if (n <= *cap) return HS_OK;
    size_t want = n > 2 * *cap ? n : 2 * *cap;
    int rc = hs_grow(block, want, size);
    if (!rc) *cap = want;
    return rc;
}

int hs_bpe_word(const hs_bpe *b, const hs_vocab *v, hs_bpe_run *run, const char *word, size_t n,
                int64_t at, hs_tokens *out) {
    if (n == 0) return HS_OK;
    if (n > INT32_MAX / 2) return hs_fail(HS_ERANGE, "a word of %zu bytes: the limit is 1 GiB", n);
    int32_t whole = b->ignore_merges ? hs_vocab_spelling(v, word, n) : -1;
    if (whole >= 0) return hs_tokens_push(out, whole, at, at + (int64_t)n);
    // A byte makes at most two symbols; a symbol enters the heap once, and each merge adds two.
    int rc = reserve(&run->sym, &run->sym_cap, 2 * n, sizeof *run->sym);
    if (!rc) rc = reserve(&run->heap, &run->heap_cap, 6 * n, sizeof *run->heap);
    if (rc) return rc;
    const size_t count = first_symbols(b, run, word, n);
    merge_all(b, run, count);
    for (size_t i = 0; !rc && i < count; i++) {
        const hs_symbol *s = &run->sym[i];
        if (s->id >= 0) rc = hs_tokens_push(out, s->id, at + s->start, at + s->end);
    }
    return rc;
}
