// The tokens of a figure's prompt, as bytes and as labels; see figure.h.
#include <stdio.h>
#include <string.h>

#include "cli/figures/figure.h"
#include "viz/pieces.h"

// The database spells a byte that is no UTF-8 by itself as <0xE2>. Tokens that share a character are
// such bytes, and become them again, so that the character can be drawn.
static int unspell(hs_job *j, const char **label) {
    hs_buf b = {0};
    if (!strstr(*label, "<0x")) return HS_OK;
    for (const char *s = *label; *s;) {
        unsigned byte = 0;
        int n = 0;
        if (sscanf(s, "<0x%2X>%n", &byte, &n) == 1 && n == 6 && byte >= 0x80) {
            hs_buf_chr(&b, (char)byte);
            s += n;
        } else {
            hs_buf_chr(&b, *s++);
        }
    }
    int rc = hs_buf_rc(&b);
    if (!rc) rc = hs_arena_str(j->arena, label, hs_buf_text(&b), b.len);
    hs_buf_free(&b);
    return rc;
}

int hs_job_bytes(hs_job *j, int64_t n, const char *const **out) {
    const char **label;
    if (j->labels.n < n)
        return hs_fail(HS_EFORMAT, "%s: damaged: %lld tokens of %lld", hs_db_path(j->r.db),
                       (long long)j->labels.n, (long long)n);
    int rc = hs_arena_get(j->arena, &label, (size_t)n, sizeof *label);
    for (int64_t i = 0; i < n && !rc; i++) {
        label[i] = j->labels.text[i];
        if (!label[i]) rc = hs_job_text(j, &label[i], " [%d]", (int)j->labels.id[i]);
        if (!rc) rc = unspell(j, &label[i]);
    }
    *out = label;
    return rc;
}

// The parts of a character: its first token keeps the blank before it.
static int number_parts(hs_job *j, const char **label, int64_t count, const char *whole) {
    int rc = HS_OK;
    for (int64_t k = 0; k < count && !rc; k++)
        rc = hs_job_text(j, &label[k], "%s %d/%d", whole + (k ? strspn(whole, " ") : 0), (int)k + 1,
                         (int)count);
    return rc;
}

int hs_job_labels(hs_job *j, int64_t n, const char *const **out) {
    const char *const *bytes;
    const char **label;
    hs_buf whole = {0};
    *out = NULL;
    if (j->labels.n < n) return HS_OK;
    int rc = hs_job_bytes(j, n, &bytes);
    if (!rc) rc = hs_arena_get(j->arena, &label, (size_t)n, sizeof *label);
    for (int64_t i = 0; i < n && !rc;) {
        hs_buf_clear(&whole);
        int64_t count = hs_unit_at(bytes, n, i, &whole);
        rc = hs_buf_rc(&whole);
        label[i] = j->labels.text[i]; // NULL: its number
        if (!rc && count > 1) rc = number_parts(j, &label[i], count, hs_buf_text(&whole));
        i += count;
    }
    hs_buf_free(&whole);
    if (!rc) *out = label;
    return rc;
}
