// Observers of single tokens: importance on the 4 x 4 example and random maps, sink tokens on
// residuals with known peaks.
#include "tests/unit/observers_common.h"

#include "model/core/prng.h"

// ---- importance ---------------------------------------------------------------------------------

static void importance_of_four_rows(void **state) {
    (void)state;
    struct stream s = four_rows();
    run(&s, "importance");
    has("received[0] L0H-1", 2.1, 1e-6);
    has("received[1] L0H-1", 1.5, 1e-6);
    has("received[2] L0H-1", .3, 1e-6);
    has("received[3] L0H-1", .1, 1e-6);
    has("importance[0] L0H-1", 3, 1e-6);
    has("importance[1] L0H-1", 2.4, 1e-6);
    has("importance[2] L0H-1", 1.2, 1e-6);
    has("importance[3] L0H-1", 1, 1e-6);
    has("weight[0] L0H-1", 1.578947, 1e-6);
    has("weight[1] L0H-1", 1.263158, 1e-6);
    has("weight[2] L0H-1", .631579, 1e-6);
    has("weight[3] L0H-1", .526316, 1e-6);
    has("importance_later[0] L0H-1", 3, 0);
    has("importance_later[1] L0H-1", 3, 1e-6);
    has("importance_later[2] L0H-1", 1 + 2 * .2 / 1.4, 1e-6);
    has("importance_later[3] L0H-1", 1, 1e-6);
    has_line("layers: 0 1 0.52499999");
    run(&s, "importance:r_min=0,r_max=10");
    has("importance[1] L0H-1", 7, 1e-5);
    free(s.map);
}

// Heads are summed, rows are not averaged; a layer that nobody saw has nothing.
static void importance_of_random_maps(void **state) {
    (void)state;
    enum { N = 23 };
    struct stream s = stream_of(2, 3, distinct, N);
    hs_prng random = hs_prng_seed(4);
    double sum[2][N] = {{0}};
    for (int k = 0; k < 6; k++) {
        double *map = map_of(&s, k / 3, k % 3);
        for (int i = 0; i < N * N; i++) map[i] = hs_prng_f64(&random) * 4;
        softmax(map, N);
        for (int i = 0; i < N; i++)
            for (int j = 0; j <= i; j++) sum[k / 3][j] += (double)(float)map[i * N + j];
    }
    run(&s, "importance");
    for (int l = 0; l < 2; l++)
        for (int j = 0; j < N; j++) {
            char what[40];
            double least = INFINITY, most = 0;
            for (int m = 0; m < N; m++) {
                least = fmin(least, sum[l][m]);
                most = fmax(most, sum[l][m]);
            }
            snprintf(what, sizeof what, "received[%d] L%dH-1", j, l);
            has(what, sum[l][j], 1e-9);
            snprintf(what, sizeof what, "importance[%d] L%dH-1", j, l);
            has(what, 1 + 2 * (sum[l][j] - least) / (most - least), 1e-9);
        }
    free(s.map);
}

static void importance_of_one_row(void **state) {
    (void)state;
    struct stream s = stream_of(1, 1, distinct, 1);
    uniform(s.map, 1);
    run(&s, "importance");
    has("importance[0] L0H-1", 1, 0); // nothing lies between the least and the most
    has("weight[0] L0H-1", 1, 0);
    has_line("layers: 0 1 1 0 NULL");
    free(s.map);
}

static void importance_the_wrong_way_round(void **state) {
    (void)state;
    const char *spec = "importance:r_min=4";
    struct stream s = stream_of(1, 1, distinct, 1);
    hs_observe_list list;
    hs_observation *o;
    assert_int_equal(hs_observe_parse(&list, &spec, 1, false), HS_OK);
    assert_int_equal(hs_observation_open(&o, &list, &s.subject), HS_EARG);
    assert_non_null(strstr(hs_errmsg(), "r_min=4 is above r_max=3"));
    hs_observe_free(&list);
    free(s.map);
}

// ---- sink tokens --------------------------------------------------------------------------------

enum { ROWS = 9, LAYERS = 4 };

// Ones, and peaks: channel 2 at positions 0 and 4 of layers 1 and up (massive at 0), channel 5 at
// position 6 everywhere (never at 0).
static void make_resid(float *pre, float *post) {
    for (int l = 0; l < LAYERS; l++)
        for (int i = 0; i < ROWS; i++)
            for (int c = 0; c < D; c++) {
                const bool early = l == 0, two = (i == 0 || i == 4) && c == 2;
                const bool five = i == 6 && c == 5;
                const int at = (l * ROWS + i) * D + c;
                pre[at] = two && !early ? -4000 : five ? 30 : 1;
                post[at] = two ? 4000 : five ? 5000 : 1;
            }
}

static double phi(double peak) {
    return peak / sqrt((peak * peak + D - 1) / D + 1e-6);
}

static void number_in(const char *line, int field, double want) {
    const char *at = strstr(hs_buf_text(&results.text), line);
    if (!at) fail_msg("no line '%s' in:\n%s", line, hs_buf_text(&results.text));
    for (at = strchr(at, ':') + 1; field--; at = strchr(at + 1, ' ')) {
    }
    assert_true(fabs(strtod(at, NULL) - want) < 1e-9);
}

static void sinks_of_known_peaks(void **state) {
    (void)state;
    float pre[LAYERS * ROWS * D], post[LAYERS * ROWS * D];
    struct stream s = stream_of(LAYERS, 1, distinct, ROWS);
    make_resid(pre, post);
    s.pre = pre;
    s.resid = post;
    run(&s, "sink_tokens:tau=2.4");
    has_line("channels: 2 4 4 1\n"); // 5 is massive, but not at the first token
    has_no("channels: 5");
    has_no("found: 0");
    for (int l = 1; l < LAYERS; l++) {
        char line[40];
        for (int k = 0; k < 2; k++) {
            snprintf(line, sizeof line, "found: %d %d 2 ", l, 4 * k);
            number_in(line, 3, phi(4000));
            number_in(line, 4, phi(4000) / sqrt(D));
        }
        snprintf(line, sizeof line, "found: %d 6", l);
        has_no(line);
    }
    has("phi_peak[6] L0H-1", phi(30), 1e-9);
    has("phi_peak[1] L3H-1", phi(1), 1e-9);
    has("phi_peak[4] L3H-1", phi(4000), 1e-9);

    run(&s, "sink_tokens:tau=2.4,dims=5+2");
    has_line("channels: 5 0 4 1\n");
    has_line("found: 0 6 5 ");
    has_line("found: 3 4 2 ");
    run(&s, "sink_tokens:tau_share=0.998,dims=5"); // 30 among ones is .9972 of the most
    has_no("found:");
    run(&s, "sink_tokens:tau_share=0.98,dims=5");
    has_line("found: 2 6 5 ");
    run(&s, "sink_tokens"); // tau=20 is out of reach at this width
    has_no("found:");
    free(s.map);
}

// Decoded rows are seen and are no sinks; the median is the prompt's.
static void sinks_of_the_prompt_only(void **state) {
    (void)state;
    float pre[LAYERS * ROWS * D], post[LAYERS * ROWS * D];
    struct stream s = stream_of(LAYERS, 1, distinct, ROWS);
    make_resid(pre, post);
    s.pre = pre;
    s.resid = post;
    s.subject.n_token = 4;
    s.subject.n_row = ROWS;
    run(&s, "sink_tokens:tau=2.4,dims=2+5");
    has_line("found: 1 0 2 ");
    has_no("found: 1 4");
    has_no("found: 1 6");
    has_no("phi_peak[4]");
    free(s.map);
}

static void refused(const char *spec, int want, const char *text) {
    struct stream s = stream_of(1, 1, distinct, 1);
    hs_observe_list list;
    hs_observation *o = NULL;
    assert_int_equal(hs_observe_parse(&list, &spec, 1, false), HS_OK);
    const int rc = hs_observation_open(&o, &list, &s.subject);
    if (rc != want || !strstr(hs_errmsg(), text)) fail_msg("%s: %d: %s", spec, rc, hs_errmsg());
    hs_observe_free(&list);
    free(s.map);
}

static void sinks_refused(void **state) {
    (void)state;
    refused("sink_tokens:dims=6", HS_ERANGE, "there is no channel 6");
    refused("sink_tokens:dims=1+", HS_EARG, "dims=");
    refused("sink_tokens:tau=0.9", HS_EARG, "dims=");
    refused("sink_tokens:tau=2,tau_share=0.5", HS_EARG, "not both");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(importance_of_four_rows), cmocka_unit_test(importance_of_random_maps),
        cmocka_unit_test(importance_of_one_row),   cmocka_unit_test(importance_the_wrong_way_round),
        cmocka_unit_test(sinks_of_known_peaks),    cmocka_unit_test(sinks_of_the_prompt_only),
        cmocka_unit_test(sinks_refused),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    observed_free(&results);
    return failed;
}
