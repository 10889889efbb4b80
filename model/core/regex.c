// Oniguruma patterns on PCRE2; see regex.h.
//
// Three differences matter for tokenizers. Syntax: translate() passes what both engines read
// alike, rewrites \w and script names, and refuses the rest. White space: PCRE2's \s holds U+180E,
// Unicode's does not. Age: Oniguruma 6.9.10 classifies by Unicode 16, PCRE2 10.42 by Unicode 14;
// subjects replace the characters in between by older ones of the same class and length.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "model/core/regex.h"

#include <pcre2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/core/buf.h"
#include "model/core/mem.h"
#include "model/core/utf8.h"

enum {
    MAX_PATTERN = 1 << 16,
    MATCH_LIMIT = 10 * 1000 * 1000, // steps of one match
    HEAP_LIMIT = 64 * 1024,         // KiB, of one match without JIT
    JIT_STACK = 1 << 20,
};

struct hs_regex {
    pcre2_code *code;
};

struct hs_regex_run {
    pcre2_match_context *context;
    pcre2_match_data *data;
    pcre2_jit_stack *stack;
};

// ---- subjects -----------------------------------------------------------------------------------

enum stand_in { LU, LL, LM, LO, HAN, MN, ND, NO, PO, SO, CF, N_STAND_IN };

// One character of each class in 3 and in 4 bytes, known since Unicode 7.
static const char *const stand_in[N_STAND_IN][2] = {
    [LU] = {"\u1e00", "\U00010400"},  [LL] = {"\u1e01", "\U00010428"},
    [LM] = {"\u1d2c", "\U00016b40"},  [LO] = {"\u1401", "\U00010000"},
    [HAN] = {"\u4e00", "\U00020000"}, [MN] = {"\u0900", "\U000101fd"},
    [ND] = {"\u0966", "\U000104a0"},  [NO] = {"\u2460", "\U00010107"},
    [PO] = {"\u2020", "\U00010100"},  [SO] = {"\u2300", "\U00010137"},
    [CF] = {"\u200b", "\U000110bd"},
};

// Sorted. U+180E is a format character, and no space; the rest came with Unicode 15, 15.1 and 16.
static const struct {
    int32_t from, to;
    enum stand_in as;
} newer[] = {
    {0x897, 0x897, MN},      {0xcf3, 0xcf3, MN},      {0xece, 0xece, MN},
    {0x180e, 0x180e, CF},    {0x1b4e, 0x1b4f, PO},    {0x1b7f, 0x1b7f, PO},
    {0x1c89, 0x1c89, LU},    {0x1c8a, 0x1c8a, LL},    {0x2427, 0x2429, SO},
    {0x2ffc, 0x2fff, SO},    {0x31e4, 0x31e5, SO},    {0x31ef, 0x31ef, SO},
    {0xa7cb, 0xa7cc, LU},    {0xa7cd, 0xa7cd, LL},    {0xa7da, 0xa7da, LU},
    {0xa7db, 0xa7db, LL},    {0xa7dc, 0xa7dc, LU},    {0x105c0, 0x105f3, LO},
    {0x10d40, 0x10d49, ND},  {0x10d4a, 0x10d4d, LO},  {0x10d4e, 0x10d4e, LM},
    {0x10d4f, 0x10d4f, LO},  {0x10d50, 0x10d65, LU},  {0x10d69, 0x10d6d, MN},
    {0x10d6e, 0x10d6e, PO},  {0x10d6f, 0x10d6f, LM},  {0x10d70, 0x10d85, LL},
    {0x10d8e, 0x10d8f, SO},  {0x10ec2, 0x10ec4, LO},  {0x10efc, 0x10eff, MN},
    {0x1123f, 0x11240, LO},  {0x11241, 0x11241, MN},  {0x11380, 0x11389, LO},
    {0x1138b, 0x1138b, LO},  {0x1138e, 0x1138e, LO},  {0x11390, 0x113b5, LO},
    {0x113b7, 0x113b7, LO},  {0x113b8, 0x113c0, MN},  {0x113c2, 0x113c2, MN},
    {0x113c5, 0x113c5, MN},  {0x113c7, 0x113ca, MN},  {0x113cc, 0x113d0, MN},
    {0x113d1, 0x113d1, LO},  {0x113d2, 0x113d2, MN},  {0x113d3, 0x113d3, LO},
    {0x113d4, 0x113d5, PO},  {0x113d7, 0x113d8, PO},  {0x113e1, 0x113e2, MN},
    {0x116d0, 0x116e3, ND},  {0x1171e, 0x1171e, MN},  {0x11b00, 0x11b09, PO},
    {0x11bc0, 0x11be0, LO},  {0x11be1, 0x11be1, PO},  {0x11bf0, 0x11bf9, ND},
    {0x11f00, 0x11f01, MN},  {0x11f02, 0x11f02, LO},  {0x11f03, 0x11f03, MN},
    {0x11f04, 0x11f10, LO},  {0x11f12, 0x11f33, LO},  {0x11f34, 0x11f3a, MN},
    {0x11f3e, 0x11f42, MN},  {0x11f43, 0x11f4f, PO},  {0x11f50, 0x11f59, ND},
    {0x11f5a, 0x11f5a, MN},  {0x1342f, 0x1342f, LO},  {0x13439, 0x1343f, CF},
    {0x13440, 0x13440, MN},  {0x13441, 0x13446, LO},  {0x13447, 0x13455, MN},
    {0x13460, 0x143fa, LO},  {0x16100, 0x1611d, LO},  {0x1611e, 0x1612f, MN},
    {0x16130, 0x16139, ND},  {0x16d40, 0x16d42, LM},  {0x16d43, 0x16d6a, LO},
    {0x16d6b, 0x16d6c, LM},  {0x16d6d, 0x16d6f, PO},  {0x16d70, 0x16d79, ND},
    {0x18cff, 0x18cff, LO},  {0x1b132, 0x1b132, LO},  {0x1b155, 0x1b155, LO},
    {0x1cc00, 0x1ccef, SO},  {0x1ccf0, 0x1ccf9, ND},  {0x1cd00, 0x1ceb3, SO},
    {0x1d2c0, 0x1d2d3, NO},  {0x1df25, 0x1df2a, LL},  {0x1e030, 0x1e06d, LM},
    {0x1e08f, 0x1e08f, MN},  {0x1e4d0, 0x1e4ea, LO},  {0x1e4eb, 0x1e4eb, LM},
    {0x1e4ec, 0x1e4ef, MN},  {0x1e4f0, 0x1e4f9, ND},  {0x1e5d0, 0x1e5ed, LO},
    {0x1e5ee, 0x1e5ef, MN},  {0x1e5f0, 0x1e5f0, LO},  {0x1e5f1, 0x1e5fa, ND},
    {0x1e5ff, 0x1e5ff, PO},  {0x1f6dc, 0x1f6dc, SO},  {0x1f774, 0x1f776, SO},
    {0x1f77b, 0x1f77f, SO},  {0x1f7d9, 0x1f7d9, SO},  {0x1f8b2, 0x1f8bb, SO},
    {0x1f8c0, 0x1f8c1, SO},  {0x1fa75, 0x1fa77, SO},  {0x1fa87, 0x1fa89, SO},
    {0x1fa8f, 0x1fa8f, SO},  {0x1faad, 0x1faaf, SO},  {0x1fabb, 0x1fabf, SO},
    {0x1fac6, 0x1fac6, SO},  {0x1face, 0x1facf, SO},  {0x1fada, 0x1fadc, SO},
    {0x1fadf, 0x1fadf, SO},  {0x1fae8, 0x1fae9, SO},  {0x1faf7, 0x1faf8, SO},
    {0x1fbcb, 0x1fbef, SO},  {0x2b739, 0x2b739, HAN}, {0x2ebf0, 0x2ee5d, HAN},
    {0x31350, 0x323af, HAN},
};

static const char *replacement(int32_t cp, size_t len) {
    size_t lo = 0, hi = sizeof newer / sizeof *newer;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (cp > newer[mid].to)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == sizeof newer / sizeof *newer || cp < newer[lo].from) return NULL;
    return stand_in[newer[lo].as][len - 3];
}

void hs_regex_subject(const char *text, size_t n, char *out) {
    if (n) memcpy(out, text, n);
    for (size_t i = 0; i < n;) {
        int32_t cp;
        size_t len = hs_utf8_decode(text + i, n - i, &cp);
        if (cp == HS_UTF8_INVALID) out[i] = 1;
        const char *other = len >= 3 ? replacement(cp, len) : NULL;
        if (other) memcpy(out + i, other, len);
        i += len;
    }
}

// ---- patterns -----------------------------------------------------------------------------------

// Oniguruma's word characters: of the other numbers only those of Latin-1.
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"

static int refuse(const char *pattern, size_t n, const char *what, size_t len) {
    return hs_fail(HS_EUNSUPPORTED, "a regex uses '%.*s', which is not supported: %.*s", (int)len,
                   what, (int)(n < 200 ? n : 200), pattern);
}

// \p{Han} is the Script property in Oniguruma, Script_Extensions in PCRE2.
static size_t property(const char *p, size_t n, hs_buf *out) {
    const char *close = memchr(p, '}', n);
    size_t len = close ? (size_t)(close - p) : n;
    if (n < 3 || p[2] != '{' || !close) {
        hs_buf_add(out, p, n < 3 ? n : 3);
        return n < 3 ? n : 3;
    }
    static const char *const not_scripts[] = {"Any}", "Alphabetic}", "Join_Control}"};
    size_t name = 3 + (p[3] == '^');
    bool script = len - name > 2;
    for (size_t k = 0; k < sizeof not_scripts / sizeof *not_scripts; k++)
        if (!strncmp(p + name, not_scripts[k], strlen(not_scripts[k]))) script = false;
    hs_buf_add(out, p, name);
    if (script) hs_buf_str(out, "sc:");
    hs_buf_add(out, p + name, len - name + 1);
    return len + 1;
}

// The escape at p[0] == '\\'; its length, or 0 when it is refused.
static size_t escape(const char *p, size_t n, bool in_class, hs_buf *out) {
    if (n < 2) return 0;
    const char c = p[1];
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (c == 'p' || c == 'P') return property(p, n, out);
    if (c == 'w') {
        hs_buf_str(out, in_class ? WORD : "[" WORD "]");
        return 2;
    }
    if (c == 'W' && !in_class) {
        hs_buf_str(out, "[^" WORD "]");
        return 2;
    }
    // A bare \xHH is a byte there, a code point here.
    if (c == 'x' && !(n > 2 && (p[2] == '{' || (p[2] >= '0' && p[2] <= '7')))) return 0;
    if (letter && !strchr(in_class ? "dDsStrnfaex" : "dDsSAzZtrnfaex", c)) return 0;
    if (c >= '0' && c <= '9' && in_class) return 0;
    hs_buf_add(out, p, 2);
    return 2;
}

// The group that opens at p[0] == '(', up to what follows its kind; 0 when it is refused. A bare
// (?i) covers what follows in both engines only where the pattern begins.
static size_t group(const char *p, size_t n, bool first, hs_buf *out) {
    static const char *const kinds[] = {"(?:",  "(?=",  "(?!",  "(?>",
                                        "(?<=", "(?<!", "(?i:", "(?-i:"};
    if (n < 2 || p[1] == '*') return 0;
    size_t len = p[1] != '?';
    for (size_t k = 0; !len && k < sizeof kinds / sizeof *kinds; k++)
        if (n >= strlen(kinds[k]) && !strncmp(p, kinds[k], strlen(kinds[k])))
            len = strlen(kinds[k]);
    if (!len && first && n >= 4 && !strncmp(p, "(?i)", 4)) len = 4;
    hs_buf_add(out, p, len);
    return len;
}

static int translate(const char *p, size_t n, hs_buf *out) {
    size_t class_at = 0; // where the open class's first item is; 0 when none is open
    for (size_t i = 0; i < n;) {
        const char c = p[i];
        size_t used = 1;
        if (c == '\\') {
            used = escape(p + i, n - i, class_at, out);
            if (!used) return refuse(p, n, p + i, n - i < 2 ? n - i : 2);
        } else if (class_at) {
            // Nested classes and intersections are only in Oniguruma.
            if (c == '[' || (c == '&' && i + 1 < n && p[i + 1] == '&'))
                return refuse(p, n, p + i, 1);
            if (c == ']' && i > class_at) class_at = 0;
            hs_buf_chr(out, c);
        } else if (c == '[') {
            used = 1 + (i + 1 < n && p[i + 1] == '^');
            hs_buf_add(out, p + i, used);
            class_at = i + used;
        } else if (c == '(') {
            used = group(p + i, n - i, i == 0, out);
            if (!used) return refuse(p, n, p + i, n - i < 3 ? n - i : 3);
        } else {
            const char next = i + 1 < n ? p[i + 1] : 0;
            if ((c == '}' && next == '+') || (c == '{' && next == ','))
                return refuse(p, n, p + i, 2);
            hs_buf_chr(out, c);
        }
        i += used;
    }
    return hs_buf_rc(out);
}

static int compile(hs_regex *re, const char *pattern, size_t n, const char *pcre, size_t len,
                   uint32_t options) {
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context) return hs_fail(HS_ENOMEM, "out of memory for a regex");
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    int code;
    PCRE2_SIZE at;
    re->code = pcre2_compile((PCRE2_SPTR)pcre, len, options, &code, &at, context);
    pcre2_compile_context_free(context);
    if (!re->code) {
        PCRE2_UCHAR why[128];
        if (code == PCRE2_ERROR_HEAP_FAILED) return hs_fail(HS_ENOMEM, "out of memory for a regex");
        pcre2_get_error_message(code, why, sizeof why);
        return hs_fail(HS_EUNSUPPORTED, "a regex is not understood (%s): %.*s", (const char *)why,
                       (int)(n < 200 ? n : 200), pattern);
    }
    // Where there is no JIT, matching is slower and otherwise the same.
    (void)pcre2_jit_compile(re->code, PCRE2_JIT_COMPLETE);
    return HS_OK;
}

int hs_regex_open(hs_regex **out, const char *pattern, size_t n, bool literal) {
    hs_buf pcre = {0};
    hs_regex *re = NULL;
    *out = NULL;
    if (n > MAX_PATTERN)
        return hs_fail(HS_EUNSUPPORTED, "a regex of %zu bytes: the limit is %d", n, MAX_PATTERN);
    if (!hs_utf8_valid(pattern, n)) return hs_fail(HS_EFORMAT, "a regex is not valid UTF-8");
    int rc = hs_alloc(&re, 1, sizeof *re);
    if (!rc && literal)
        hs_buf_add(&pcre, pattern, n);
    else if (!rc)
        rc = translate(pattern, n, &pcre);
    if (!rc) rc = hs_buf_rc(&pcre);
    uint32_t options = literal ? PCRE2_UTF | PCRE2_LITERAL
                               : PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE;
    if (!rc) rc = compile(re, pattern, n, hs_buf_text(&pcre), pcre.len, options);
    hs_buf_free(&pcre);
    if (rc) {
        hs_regex_close(re);
        return rc;
    }
    *out = re;
    return HS_OK;
}

void hs_regex_close(hs_regex *re) {
    if (!re) return;
    pcre2_code_free(re->code);
    free(re);
}

// ---- matching -----------------------------------------------------------------------------------

int hs_regex_run_open(hs_regex_run **out) {
    hs_regex_run *run;
    *out = NULL;
    int rc = hs_alloc(&run, 1, sizeof *run);
    if (rc) return rc;
    run->context = pcre2_match_context_create(NULL);
    run->data = pcre2_match_data_create(1, NULL);
    run->stack = pcre2_jit_stack_create(1 << 15, JIT_STACK, NULL); // NULL where there is no JIT
    if (!run->context || !run->data) {
        hs_regex_run_close(run);
        return hs_fail(HS_ENOMEM, "out of memory for matching a regex");
    }
    pcre2_set_match_limit(run->context, MATCH_LIMIT);
    pcre2_set_heap_limit(run->context, HEAP_LIMIT);
    if (run->stack) pcre2_jit_stack_assign(run->context, NULL, run->stack);
    *out = run;
    return HS_OK;
}

void hs_regex_run_close(hs_regex_run *run) {
    if (!run) return;
    pcre2_jit_stack_free(run->stack);
    pcre2_match_data_free(run->data);
    pcre2_match_context_free(run->context);
    free(run);
}

int hs_regex_find(const hs_regex *re, hs_regex_run *run, const char *subject, size_t n, size_t at,
                  bool *found, size_t *start, size_t *end) {
    PCRE2_SPTR s = (PCRE2_SPTR)subject;
    int got = pcre2_match(re->code, s, n, at, PCRE2_NO_UTF_CHECK, run->data, run->context);
    if (got == PCRE2_ERROR_JIT_STACKLIMIT)
        got = pcre2_match(re->code, s, n, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, run->data,
                          run->context);
    *found = got >= 0;
    if (got == PCRE2_ERROR_NOMATCH) return HS_OK;
    if (got == PCRE2_ERROR_NOMEMORY) return hs_fail(HS_ENOMEM, "out of memory in a regex");
    if (got < 0)
        return hs_fail(HS_EUNSUPPORTED,
                       "a regex of the tokenizer runs away on this text, at byte %zu (PCRE2 %d)",
                       at, got);
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(run->data);
    *start = range[0];
    *end = range[1];
    return HS_OK;
}
