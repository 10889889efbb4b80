// Fuzz target: a pattern, a NUL, a text to find it in. Matches lie within the text, go forward and
// start and end between characters; a pattern that runs away is stopped.
// covers: model/core/regex.c
#include "model/core/regex.h"
#include "model/core/utf8.h"
#include "tests/fuzz/shared.h"

enum { MOST = 2000 }; // matches that are asked for

static bool is_boundary(const char *s, size_t n, size_t at) {
    return at == n || ((unsigned char)s[at] & 0xc0) != 0x80;
}

static void find_all(const hs_regex *re, const char *s, size_t n) {
    hs_regex_run *run;
    bool found = true;
    size_t start, end;
    need(!hs_regex_run_open(&run));
    for (size_t at = 0, k = 0; at <= n && k < MOST; k++) {
        int rc = hs_regex_find(re, run, s, n, at, &found, &start, &end);
        need(!rc || rc == HS_EUNSUPPORTED || rc == HS_ENOMEM);
        if (rc || !found) break;
        need(at <= start && start <= end && end <= n);
        need(is_boundary(s, n, start) && is_boundary(s, n, end));
        at = end;
        if (start == end) // on by one character
            do at++;
            while (at < n && !is_boundary(s, n, at));
    }
    hs_regex_run_close(run);
}

static void try_pattern(input pattern, bool literal, const char *s, size_t n) {
    hs_regex *re;
    char *text = text_of(pattern);
    int rc = hs_regex_open(&re, text, pattern.n, literal);
    if (rc)
        need(!re && (rc == HS_EUNSUPPORTED || rc == HS_EFORMAT) && *hs_errmsg());
    else
        find_all(re, s, n);
    hs_regex_close(re);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    input in = {data, n};
    const input pattern = take_until(&in, 0);
    char *text = text_of(in), *subject = malloc(in.n + 1);
    need(subject != NULL);
    hs_regex_subject(text, in.n, subject);
    need(hs_utf8_valid(subject, in.n));
    try_pattern(pattern, false, subject, in.n);
    try_pattern(pattern, true, subject, in.n);
    free(subject);
    free(text);
    return 0;
}
