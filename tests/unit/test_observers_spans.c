// Mass on spans: random maps against sums written out, names and ranges, and what has no mass.
#include "tests/unit/observers_common.h"

#include "model/core/prng.h"

enum { N = 21 };

static struct stream random_stream(const hs_span *own, int n_own, const hs_span *given,
                                   int n_given) {
    struct stream s = stream_of(1, 2, distinct, N);
    hs_prng random = hs_prng_seed(9);
    for (int h = 0; h < 2; h++) {
        double *map = map_of(&s, 0, h);
        for (int i = 0; i < N * N; i++) map[i] = hs_prng_f64(&random) * 4;
        softmax(map, N);
    }
    s.subject.n_token = 17;
    s.subject.n_row = N;
    s.subject.own = (hs_spans){own, n_own};
    s.subject.given = (hs_spans){given, n_given};
    return s;
}

// The mean over rows from `row` on of the weight on [from, to).
static double mean_mass(const struct stream *s, int head, int row, int from, int to) {
    double sum = 0;
    for (int i = row; i < N; i++)
        for (int j = from; j < to && j <= i; j++)
            sum += (double)(float)map_of(s, 0, head)[i * N + j];
    return sum / (N - row);
}

static void has_row(int head, const char *name, int from, int to, double mass) {
    char line[80];
    snprintf(line, sizeof line, "mass: 0 %d %s %d %d %d ", head, name, from, to, N - to);
    const char *at = strstr(hs_buf_text(&results.text), line);
    if (!at) fail_msg("no line '%s' in:\n%s", line, hs_buf_text(&results.text));
    char *end;
    assert_true(fabs(strtod(at + strlen(line), &end) - mass) < 1e-9);
    assert_true(fabs(strtod(end, NULL) - mass / (to - from)) < 1e-9);
}

static const hs_span own[] = {{"doc", 2, 6}, {"b", 6, 9}}, given[] = {{"doc", 0, 1}, {"q", 4, 12}};

static void masses(void **state) {
    (void)state;
    struct stream s = random_stream(own, 2, given, 2);
    run(&s, "spans");
    for (int h = 0; h < 2; h++) {
        char name[40];
        has_row(h, "doc", 2, 6, mean_mass(&s, h, 6, 2, 6)); // the prompt's own
        has_row(h, "b", 6, 9, mean_mass(&s, h, 9, 6, 9));
        has_row(h, "q", 4, 12, mean_mass(&s, h, 12, 4, 12));
        snprintf(name, sizeof name, "span_mass L0H%d", h); // 2:12, where they overlap once
        has(name, mean_mass(&s, h, 12, 2, 12), 1e-9);
        snprintf(name, sizeof name, "span_sink L0H%d", h);
        has(name, mean_mass(&s, h, 12, 0, 1), 1e-9);
        snprintf(name, sizeof name, "span_rest L0H%d", h);
        has(name, mean_mass(&s, h, 12, 1, 2) + mean_mass(&s, h, 12, 12, N), 1e-9);
    }
    run(&s, "spans:of=b?+0:3+none?");
    has_row(1, "0:3", 0, 3, mean_mass(&s, 1, 3, 0, 3));
    has_row(1, "b", 6, 9, mean_mass(&s, 1, 9, 6, 9));
    has("span_sink L0H1", 0, 0); // a span holds it
    has("span_mass L0H1", mean_mass(&s, 1, 9, 0, 3) + mean_mass(&s, 1, 9, 6, 9), 1e-9);
    has_no("doc");
    free(s.map);
}

// Rows behind a span at the prompt's end are the decoded ones.
static void at_the_end(void **state) {
    (void)state;
    struct stream s = random_stream(own, 2, NULL, 0);
    run(&s, "spans:of=-2:");
    has_row(0, "-2:", 15, 17, mean_mass(&s, 0, 17, 15, 17));
    free(s.map);
    s = random_stream(own, 2, NULL, 0);
    s.n_row = s.subject.n_row = 17;
    for (int i = 0; i < 17; i++) // the smaller map of the same stream
        memmove(map_of(&s, 0, 0) + i * 17, map_of(&s, 0, 0) + i * N, 17 * sizeof *s.map);
    run(&s, "spans:of=-2:");
    has_line("span_mass L0H0 = nan no row of this head was seen behind the last span");
    has_line("mass: 0 0 -2: 15 17 0 NULL NULL");
    free(s.map);
}

static void without_spans(void **state) {
    (void)state;
    static const hs_span outside[] = {{"far", 12, 18}, {"none", 4, 4}};
    struct stream s = random_stream(NULL, 0, outside, 2);
    run(&s, "spans");
    has_line("span_mass L0H0 = nan the prompt names no span: give --span NAME=A:B");
    has_line("span_rest L0H1 = nan the prompt names no span");
    has_no("mass:");
    free(s.map);
}

static void refused(const char *spec, int want, const char *text) {
    struct stream s = random_stream(own, 2, NULL, 0);
    hs_observe_list list;
    hs_observation *o = NULL;
    assert_int_equal(hs_observe_parse(&list, &spec, 1, false), HS_OK);
    const int rc = hs_observation_open(&o, &list, &s.subject);
    if (rc != want || !strstr(hs_errmsg(), text)) fail_msg("%s: %d: %s", spec, rc, hs_errmsg());
    hs_observe_free(&list);
    free(s.map);
}

static void spans_refused(void **state) {
    (void)state;
    refused("spans:of=doc2", HS_ENOTFOUND, "doc2");
    refused("spans:of=b+4:18", HS_ERANGE, "4:18");
    refused("spans:of=3-4", HS_EARG, "3-4");
    refused("spans:of=b+", HS_EARG, "spans:of=");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masses),
        cmocka_unit_test(at_the_end),
        cmocka_unit_test(without_spans),
        cmocka_unit_test(spans_refused),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    observed_free(&results);
    return failed;
}
