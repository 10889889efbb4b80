// The table of pieces: id to bytes, and bytes or names to id; see tok_impl.h.
// One pass builds it: a name is turned into the bytes it spells, hashed (FNV-1a) and put into a
// table at most half full. 49,152 tokens take about 5 ms and 2 MB.
#include <stdlib.h>
#include <string.h>

#include "model/core/hash.h"
#include "model/tok_impl.h"

enum { POOL = 1 << 16 };

// ---- the byte alphabet --------------------------------------------------------------------------

// Bytes that print (in Latin-1) stand for themselves; the 68 others, in order, for U+0100 on.
static bool prints(int b) {
    return (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xff && b != 0xad);
}

enum { N_LOW = 33, FIRST_HIGH = 127, N_HIGH = 34, SOFT_HYPHEN = 0xad };

int32_t hs_byte_letter(unsigned char b) {
    if (prints(b)) return b;
    if (b < N_LOW) return 256 + b;
    return b == SOFT_HYPHEN ? 256 + N_LOW + N_HIGH : 256 + N_LOW + b - FIRST_HIGH;
}

// The byte that a letter stands for, -1 when it is not in the alphabet.
static int letter_byte(int32_t cp) {
    if (cp < 0 || cp > 256 + N_LOW + N_HIGH) return -1;
    if (cp < 256) return prints(cp) ? cp : -1;
    cp -= 256;
    if (cp < N_LOW) return cp;
    return cp < N_LOW + N_HIGH ? cp - N_LOW + FIRST_HIGH : SOFT_HYPHEN;
}

// Writes the bytes that name[0..n) spells to out[0..n) and their number to *len; false, with the
// name itself in out, when it has a character outside the alphabet.
static bool spell(const char *name, size_t n, char *out, size_t *len) {
    size_t k = 0;
    for (size_t i = 0; i < n;) {
        int32_t cp;
        i += hs_utf8_decode(name + i, n - i, &cp);
        int byte = letter_byte(cp);
        if (byte < 0) {
            memcpy(out, name, n);
            *len = n;
            return false;
        }
        out[k++] = (char)byte;
    }
    *len = k;
    return true;
}

// ---- hashing ------------------------------------------------------------------------------------

// The slot of that piece, or the free one where it belongs.
static size_t probe(const hs_vocab *v, const char *s, size_t n, bool spelt) {
    size_t i = hs_fnv(HS_FNV_SEED + spelt, s, n) & v->mask;
    for (; v->slot[i]; i = (i + 1) & v->mask) {
        const hs_piece *p = &v->at[v->slot[i] - 1];
        if (p->n == n && !(p->flags & HS_PIECE_SPELT) == !spelt && !memcmp(p->s, s, n)) break;
    }
    return i;
}

int hs_vocab_init(hs_vocab *v, hs_arena *arena, size_t cap) {
    *v = (hs_vocab){.arena = arena, .cap = cap};
    if (cap >= INT32_MAX / 2) return hs_fail(HS_EUNSUPPORTED, "a vocabulary of %zu tokens", cap);
    size_t slots = 16;
    while (slots / 2 < cap) slots *= 2;
    v->mask = slots - 1;
    int rc = hs_arena_get(arena, &v->at, cap, sizeof *v->at);
    if (!rc) rc = hs_arena_get(arena, &v->slot, slots, sizeof *v->slot);
    return rc;
}

// n bytes and a NUL in the pool.
static int keep(hs_vocab *v, size_t n, char **out) {
    if (v->left < n + 1) {
        v->left = n + 1 > POOL ? n + 1 : POOL;
        int rc = hs_arena_get(v->arena, &v->pool, v->left, 1);
        if (rc) {
            v->left = 0;
            return rc;
        }
    }
    *out = v->pool;
    v->pool += n + 1;
    v->left -= n + 1;
    return HS_OK;
}

int hs_vocab_put(hs_vocab *v, int32_t id, const char *name, size_t n) {
    char *s;
    size_t len;
    if (id < 0 || (size_t)id >= v->cap || n >= UINT32_MAX)
        return hs_fail(HS_EFORMAT, "token id %d is out of range (%zu tokens)", id, v->cap);
    int rc = keep(v, n, &s);
    if (rc) return rc;
    const bool spelt = spell(name, n, s, &len);
    s[len] = 0;
    size_t slot = probe(v, s, len, spelt);
    v->at[id] = (hs_piece){s, (uint32_t)len, HS_PIECE_USED | (spelt ? HS_PIECE_SPELT : 0)};
    v->slot[slot] = id + 1;
    if ((size_t)id >= v->n) v->n = (size_t)id + 1;
    return HS_OK;
}

int hs_vocab_put_added(hs_vocab *v, int32_t id, const char *text, size_t n, bool special) {
    int rc = hs_vocab_has(v, id) ? HS_OK : hs_vocab_put(v, id, text, n);
    if (rc) return rc;
    hs_piece *p = &v->at[id];
    if (p->n != n || memcmp(p->s, text, n)) {
        char *s;
        rc = keep(v, n, &s);
        if (rc) return rc;
        p->s = memcpy(s, text, n);
        p->n = (uint32_t)n;
    }
    if (special) p->flags |= HS_PIECE_SPECIAL;
    return HS_OK;
}

int32_t hs_vocab_spelling(const hs_vocab *v, const char *bytes, size_t n) {
    return v->slot[probe(v, bytes, n, true)] - 1;
}

int32_t hs_vocab_find(const hs_vocab *v, const char *name, size_t n) {
    char small[256], *s = small;
    size_t len;
    if (n > sizeof small && !(s = malloc(n))) return -1;
    bool spelt = spell(name, n, s, &len);
    int32_t id = v->slot[probe(v, s, len, spelt)] - 1;
    if (s != small) free(s);
    return id;
}
