// Observers on maps with known answers, fed through a hook set as the engine feeds them: in tiles
// and row blocks of several heights, whose results must be equal to the bit.
#include "tests/unit/observers_common.h"

// ---- uniform rows and the 4 x 4 example ---------------------------------------------------------

static void uniform_rows_give_the_harmonic_numbers(void **state) {
    (void)state;
    static const struct {
        int64_t n;
        double alpha0, entropy;
    } table[] = {{40, .1069636, 2.758016}, {64, .0741233, 3.205753}, {128, .0424465, 3.878168}};
    for (size_t t = 0; t < sizeof table / sizeof *table; t++) {
        struct stream s = stream_of(1, 1, distinct, table[t].n);
        uniform(s.map, s.n_row);
        run(&s, "rows");
        has("entropy_nats L0H0", table[t].entropy, 5e-7);
        has("sink_alpha0 L0H0", table[t].alpha0, 5e-8);
        has("max_weight L0H0", table[t].alpha0, 5e-8);
        has("entropy_norm L0H0", 1 - 1.0 / (double)s.n_row, 1e-6);
        has("distance L0H0", ((double)s.n_row - 1) / 4, 1e-5);
        has("sink_row_share L0H0", 2.0 / ((double)s.n_row - 1), 1e-12); // 1/2 and 1/3
        run(&s, "sinks");
        has("column_mean[0] L0H0", table[t].alpha0, 5e-8);
        has("sink_max L0H0", table[t].alpha0, 5e-8);
        has("sink_position L0H0", 0, 0);
        free(s.map);
    }
    struct stream s = stream_of(1, 1, distinct, 64);
    uniform(s.map, 64);
    run(&s, "sinks");
    has("column_mean[1] L0H0", .059427, 5e-7);
    has("column_mean[2] L0H0", .052321, 5e-7);
    has("column_mean[7] L0H0", .037737, 5e-7);
    has("column_mean[31] L0H0", .021717, 5e-7);
    has("column_mean[63] L0H0", .015625, 5e-7);
    has("sink_last L0H0", 1. / 64, 1e-8);
    has_no("found:");
    run(&s, "hidden_sinks");
    has("hidden_sinks L0H0", 0, 0);
    run(&s, "hidden_sinks:alpha=3.32"); // 3.32 / 64 = .0519 lies between columns 2 and 3
    has("hidden_sinks L0H0", 2, 0);
    free(s.map);
}

static void the_4x4_example(void **state) {
    (void)state;
    struct stream s = four_rows();
    run(&s, "rows:eps=0.25");
    has("entropy_nats L0H0", .697891, 5e-7);
    has("entropy_norm L0H0", .673414, 5e-7);
    has("sink_alpha0 L0H0", .525, 1e-7);
    has("first_mass L0H0", 1.1 / 3, 1e-7);
    has("sink_row_share L0H0", 2.0 / 3, 1e-12);
    has("previous L0H0", 1.2 / 3, 1e-7);
    has("self_mass L0H0", 1.7 / 4, 1e-7);
    has("distance L0H0", 3.6 / 4, 1e-7);
    has("max_weight L0H0", 2.7 / 4, 1e-7);
    run(&s, "sinks");
    has("column_mean[0] L0H0", .525, 1e-7);
    has("column_mean[1] L0H0", .5, 1e-7);
    has("column_mean[2] L0H0", .15, 1e-7);
    has("column_mean[3] L0H0", .1, 1e-7);
    has("sink_half L0H0", .25, 1e-7);
    has("sink_last L0H0", .2, 1e-7);
    // Fewer than 8 rows see any position: position 0 alone is counted.
    has_line("found: 0 0 0 0.525");
    has_no("found: 0 0 1");
    run(&s, "sinks:min_rows=1,eps=0.14");
    has_line("found: 0 0 0 0.525");
    has_line("found: 0 0 1 0.5");
    has_line("found: 0 0 2 0.15");
    has_no("found: 0 0 3");
    free(s.map);
}

static void a_later_sink_is_the_largest_column(void **state) {
    (void)state;
    struct stream s = stream_of(1, 2, distinct, 20);
    for (int64_t i = 0; i < 20; i++) {
        map_of(&s, 0, 0)[i * 20 + (i < 12 ? i : 12)] = 1; // all later rows look at 12
        map_of(&s, 0, 1)[i * 20 + (i < 13 ? 0 : 13)] = 1; // seven rows see 13
    }
    run(&s, "sinks");
    has("sink_position L0H0", 12, 0); // eight rows see it
    has("sink_max L0H0", 1, 0);
    has("column_mean[12] L0H0", 1, 0);
    has("sink_position L0H1", 0, 0);
    has("sink_max L0H1", 13. / 20, 1e-12);
    run(&s, "sinks:min_rows=7");
    has("sink_position L0H1", 13, 0);
    run(&s, "sinks:min_rows=9");
    has("sink_position L0H0", 11, 0);
    has("sink_max L0H0", 1. / 9, 1e-12);
    free(s.map);
}

static void thresholds_are_strict_and_ties_go_first(void **state) {
    (void)state;
    struct stream s = stream_of(1, 1, distinct, 4);
    uniform(s.map, 4);
    run(&s, "rows:eps=0.25"); // 1/2 and 1/3, but not 1/4
    has("sink_row_share L0H0", 2. / 3, 1e-12);
    free(s.map);
    static const double tie[3][3] = {{1}, {.5, .5}, {0, .5, .5}}; // each column's mean is 1/2
    s = stream_of(1, 1, distinct, 3);
    memcpy(s.map, tie, sizeof tie);
    run(&s, "sinks:min_rows=1,eps=0.5");
    has("sink_max L0H0", .5, 0);
    has("sink_position L0H0", 0, 0);
    has_no("found:");
    free(s.map);
}

static void hidden_sinks_by_both_rules(void **state) {
    (void)state;
    struct stream s = four_rows();
    run(&s, "hidden_sinks"); // 5 / 4: never
    has("hidden_sinks L0H0", 0, 0);
    run(&s, "hidden_sinks:rule=abs,thr=0.12");
    has("hidden_sinks L0H0", 2, 0);
    has_line("found: 0 0 1 0.5");
    has_line("found: 0 0 2 0.15");
    has_no("found: 0 0 0");
    run(&s, "hidden_sinks:rule=abs,thr=0.05,min_rows=2"); // the last column is seen by one row
    has("hidden_sinks L0H0", 2, 0);
    run(&s, "hidden_sinks:rule=abs,thr=0.05");
    has("hidden_sinks L0H0", 3, 0);
    run(&s, "hidden_sinks:alpha=1"); // more than 1 / 4
    has("hidden_sinks L0H0", 1, 0);
    free(s.map);
}

// ---- the closed-form induction model ------------------------------------------------------------

static const int32_t copies[33] = {0, 1, 6, 3, 8, 5, 2, 7, 4, 1, 6, 3, 8, 5, 2, 7, 4,
                                   1, 6, 3, 8, 5, 2, 7, 4, 1, 6, 3, 8, 5, 2, 7, 4};

// Two layers of two heads: previous token, duplicate token, induction, uniform; beta = 8.
static struct stream ind2(int64_t n) {
    const double beta = 8;
    struct stream s = stream_of(2, 2, copies, n);
    double *prev = map_of(&s, 0, 0), *dup = map_of(&s, 0, 1), *ind = map_of(&s, 1, 0);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++) {
            prev[i * n + j] = j == i - 1 ? beta : 0;
            dup[i * n + j] = (copies[i] == copies[j] ? beta : 0) - (i == j ? 2 * beta : 0);
        }
    softmax(prev, n);
    softmax(dup, n);
    // The key of the induction head at j is the previous-token head's mixture of tokens there.
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++)
            for (int64_t m = 0; m <= j; m++)
                if (copies[m] == copies[i]) ind[i * n + j] += beta * prev[j * n + m];
    softmax(ind, n);
    uniform(map_of(&s, 1, 1), n);
    return s;
}

static void the_induction_model(void **state) {
    (void)state;
    static const struct {
        const char *head;
        double prev, dup, ind, self, bos, entropy;
    } table[] = {
        {"L0H0", .997159, .000334, .000334, .059138, .062793, .024069},
        {"L0H1", .170001, .996157, .000334, .058877, .170001, .640561},
        {"L1H0", .114390, .000340, .995750, .166774, .114390, .771016},
        {"L1H1", .152472, .076323, .076323, .202327, .152472, 1.970887},
    };
    // The repeat is declared, half declared, or found.
    static const struct {
        int bos_len;
        int64_t period;
    } told[] = {{1, 8}, {0, 8}, {1, 0}, {0, 0}};
    struct stream s = ind2(17);
    hs_buf first = {0};
    for (int k = 0; k < 4; k++) {
        s.subject.bos_len = told[k].bos_len;
        s.subject.period = told[k].period;
        run(&s, "rows,stripes");
        for (int h = 0; h < 4; h++) {
            const struct {
                const char *name;
                double value;
            } expected[] = {{"previous", table[h].prev},  {"duplicate", table[h].dup},
                            {"induction", table[h].ind},  {"self_mass", table[h].self},
                            {"first_mass", table[h].bos}, {"entropy_nats", table[h].entropy}};
            for (int m = 0; m < 6; m++) {
                char what[64];
                snprintf(what, sizeof what, "%s %s", expected[m].name, table[h].head);
                has(what, expected[m].value, 6e-7);
            }
        }
        if (!k) hs_buf_str(&first, results.text.data);
        assert_string_equal(results.text.data, first.data);
    }
    hs_buf_free(&first);
    free(s.map);
}

static void the_definition_without_a_period_agrees(void **state) {
    (void)state;
    // One token more at the end breaks the repeat; its row has no earlier occurrence.
    static int32_t broken[18];
    memcpy(broken, copies, 17 * sizeof *broken);
    broken[17] = 500;
    struct stream whole = ind2(17), s = stream_of(2, 2, broken, 18);
    for (int c = 0; c < 4; c++)
        for (int64_t i = 0; i < 18; i++)
            for (int64_t j = 0; j <= i; j++)
                s.map[c * 18 * 18 + i * 18 + j] = i < 17 ? whole.map[c * 17 * 17 + i * 17 + j]
                                                         : 1. / 18;
    run(&whole, "stripes");
    char *expected = strdup(results.text.data);
    run(&s, "stripes");
    assert_string_equal(results.text.data, expected);
    run(&s, "echo");
    has_line("echo L0H0 = nan the prompt is not a repeated sequence");
    free(expected);
    free(whole.map);
    free(s.map);
}

static void matches_count_every_earlier_occurrence(void **state) {
    (void)state;
    static const int32_t tokens[] = {1, 5, 6, 5, 5, 1};
    struct stream s = stream_of(1, 1, tokens, 6);
    s.subject.bos_len = 1;
    uniform(s.map, 6);
    run(&s, "stripes"); // rows 3 and 4; the 1 of row 5 occurred only as the BOS
    has("duplicate L0H0", (1. / 4 + 2. / 5) / 2, 1e-7);
    has("induction L0H0", (1. / 4 + 2. / 5) / 2, 1e-7);
    // Row 3 has its weight on 2, after the 5 at 1; row 4 on itself, after the 5 at 3.
    memset(s.map, 0, 36 * sizeof *s.map);
    for (int i = 0; i < 6; i++) s.map[i * 6 + (i == 3 ? 2 : i)] = 1;
    run(&s, "stripes");
    has("duplicate L0H0", 0, 0);
    has("induction L0H0", 1, 0);
    free(s.map);
}

static void no_repeat_is_undefined(void **state) {
    (void)state;
    static const int32_t tokens[] = {1, 2, 3, 4, 5};
    struct stream s = stream_of(1, 1, tokens, 5);
    uniform(s.map, 5);
    run(&s, "stripes,echo");
    has_line("induction L0H0 = nan no token of the prompt occurs twice");
    has_line("duplicate L0H0 = nan no token of the prompt occurs twice");
    has_line("echo L0H0 = nan the prompt is not a repeated sequence");
    s.subject.period = 2; // not borne out by the tokens
    run(&s, "stripes,echo");
    has_line("induction L0H0 = nan");
    has_line("echo_induction L0H0 = nan");
    free(s.map);
}

static void echo_of_four_copies(void **state) {
    (void)state;
    static const double echo[] = {.000666, .996740, .000344, .090913};
    static const double induction[] = {.000666, .000334, .996443, .090913};
    static const char *const heads[] = {"L0H0", "L0H1", "L1H0", "L1H1"};
    struct stream s = ind2(33);
    for (int k = 0; k < 3; k++) {
        s.subject.bos_len = k == 0;
        s.subject.period = k < 2 ? 8 : 0;
        run(&s, "echo");
        for (int h = 0; h < 4; h++) {
            char what[64];
            snprintf(what, sizeof what, "echo %s", heads[h]);
            has(what, echo[h], 6e-7);
            snprintf(what, sizeof what, "echo_induction %s", heads[h]);
            has(what, induction[h], 6e-7);
        }
    }
    // A stripe is one diagonal: of the earlier copies the last one counts.
    double diagonal = 0;
    for (int i = 9; i < 33; i++) diagonal += 1. / (24 * (i + 1));
    run(&s, "stripes");
    has("duplicate L1H1", diagonal, 1e-7);
    has("induction L1H1", diagonal, 1e-7);
    free(s.map);
    // Two copies are enough, however they are declared; rows decoded after them do not count.
    hs_buf first = {0};
    for (int k = 0; k < 4; k++) {
        s = ind2(k ? 17 : 20);
        s.subject.n_token = 17;
        s.subject.n_row = s.n_row;
        s.subject.bos_len = k < 2;
        s.subject.period = k == 1 ? 8 : 0;
        run(&s, "echo,stripes");
        if (!k) hs_buf_str(&first, results.text.data);
        assert_string_equal(results.text.data, first.data);
        free(s.map);
    }
    has_no("nan");
    hs_buf_free(&first);
}

// ---- spread -------------------------------------------------------------------------------------

static void spread_of_simple_heads(void **state) {
    (void)state;
    enum { N = 300 };
    struct stream s = stream_of(1, 3, distinct, N);
    uniform(map_of(&s, 0, 0), N);
    for (int64_t i = 0; i < N; i++) map_of(&s, 0, 1)[i * N + (i ? i - 1 : 0)] = 1;
    for (int64_t i = 0; i < N; i++)
        map_of(&s, 0, 2)[i * N] += .6, map_of(&s, 0, 2)[i * N + i] += .4;
    run(&s, "spread:sink=0");
    double recent[3] = {0}, keys = 0;
    for (int i = 64; i < N; i++) {
        for (int k = 0; k < 3; k++) recent[k] += fmin(1, (16 << 2 * k) / (i + 1.)) / (N - 64);
        keys += (i + 1.) / (N - 64);
    }
    has("recent16 L0H0", recent[0], 1e-6);
    has("recent64 L0H0", recent[1], 1e-6);
    has("recent256 L0H0", recent[2], 1e-6);
    has("effective_keys L0H0", keys, 1e-3);
    has("sink_keys L0H0", 0, 0);
    has("span50 L0H1", 2, 0);
    has("span95 L0H1", 2, 0);
    has("recent16 L0H1", 1, 0);
    has("effective_keys L0H1", 1, 0);
    run(&s, "spread");
    has("sink_keys L0H2", .6, 1e-6);
    has("span50 L0H2", 0, 0); // the sinks alone hold half
    has("span95 L0H2", 1, 0);
    has("recent64 L0H2", .4, 1e-6);
    free(s.map);
    s = stream_of(1, 2, distinct, 4);
    uniform(map_of(&s, 0, 0), 4);
    for (int64_t i = 0; i < 4; i++) {
        map_of(&s, 0, 1)[i * 4] += .5;
        map_of(&s, 0, 1)[i * 4 + i] += .5;
    }
    run(&s, "spread:from=0");
    has("sink_keys L0H0", 1, 1e-7);
    run(&s, "spread:from=1,sink=0");
    has("span50 L0H1", 1, 0); // exactly half is enough
    has("span95 L0H1", 4, 0);
    free(s.map);
}

static void spread_needs_a_long_prompt(void **state) {
    (void)state;
    struct stream s = stream_of(1, 1, distinct, 64);
    uniform(s.map, 64);
    run(&s, "spread");
    has_line("span50 L0H0 = nan it needs rows from row 64 on");
    has_line("effective_keys L0H0 = nan it needs rows from row 64 on");
    run(&s, "spread:from=10");
    has_line("recent64 L0H0 = nan the prompt is no longer than this window");
    assert_true(observed_value(&results, "recent16 L0H0") > 0);
    free(s.map);
}

// ---- residuals and values -----------------------------------------------------------------------

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void massive_finds_peaks_and_medians(void **state) {
    (void)state;
    // 2 layers of 5 x 6 entries (an even count), and of 15 (odd) with the first channels only.
    enum { N = 5 };
    float x[2 * N * D];
    uint32_t seed = 1;
    for (int i = 0; i < 2 * N * D; i++) {
        seed = seed * 1664525 + 1013904223;
        x[i] = ((float)(seed >> 8) / 8388608.0F - 1) * (i % 3 ? 1 : 1e-30F);
    }
    x[D + 4] = -5000;
    x[3 * D + 1] = 3000;
    x[4 * D + 1] = -3000; // as large as the one before, which comes first
    x[N * D + 2] = 99;
    struct stream s = stream_of(2, 1, distinct, N);
    s.resid = x;
    run(&s, "massive");
    for (int l = 0; l < 2; l++) {
        double size[N * D];
        char line[160];
        for (int i = 0; i < N * D; i++) size[i] = fabs((double)x[l * N * D + i]);
        qsort(size, N * D, sizeof *size, by_size);
        const double median = (size[N * D / 2 - 1] + size[N * D / 2]) / 2;
        if (l)
            snprintf(line, sizeof line, "top: 1 0 0 2 99 %.17g %.17g 0\n", median, 99 / median);
        else
            snprintf(line, sizeof line, "top: 0 0 1 4 -5000 %.17g %.17g 1\n", median,
                     5000 / median);
        has_line(line);
    }
    has_line("top: 0 1 3 1 3000 ");
    has_line("top: 0 2 4 1 -3000 ");
    run(&s, "massive:thr=98,ratio=50");
    has_line(" 1\ntop: 1 1"); // now the 99 is one as well
    run(&s, "massive:thr=98");
    has_line(" 0\ntop: 1 1"); // but it is not 1,000 times the median
    char *whole = strdup(results.text.data);
    s.subject.n_row = N + 3; // more rows might have come
    run(&s, "massive:thr=98");
    assert_string_equal(results.text.data, whole);
    free(whole);
    free(s.map);
}

static void massive_takes_an_odd_count_and_zeros(void **state) {
    (void)state;
    float x[D] = {0, 0, 0, 0, -2, (float)NAN};
    struct stream s = stream_of(1, 1, distinct, 1);
    s.resid = x;
    run(&s, "massive");
    has_line("top: 0 0 0 4 -2 0 NULL 0\n");
    has_line("top: 0 2 0 1 0 0 NULL 0\n");
    has_no("nan");
    free(s.map);
    const float odd[3] = {5, -1, 3};
    s = stream_of(1, 1, distinct, 1);
    s.subject.dims.d_model = 3;
    float wide[D] = {5, -1, 3};
    assert_memory_equal(odd, wide, sizeof odd);
    s.resid = wide;
    run(&s, "massive");
    has_line("top: 0 0 0 0 5 3 ");
    free(s.map);
}

static void drains_compare_the_first_with_the_others(void **state) {
    (void)state;
    // Two key-value heads, four query heads; norms of values 1, 2, 3, 4 and 5, 5, 5, 0.
    const float v[4 * 2 * D_HEAD] = {1, 0, 3, 4, 0, 2, 5, 0, 3, 0, 0, -5, 0, -4, 0, 0};
    const float x[4 * D] = {[0] = 30, [1] = 40, [D] = 3, [2 * D + 5] = -7, [3 * D] = 7};
    struct stream s = stream_of(1, 4, distinct, 4);
    s.subject.dims.n_kv_head = 2;
    s.v = v;
    s.resid = x;
    run(&s, "drains");
    has("value_drain L0H0", 1. / 3, 1e-12);
    has("value_drain L0H1", 1. / 3, 1e-12);
    has("value_drain L0H2", 5. / (10. / 3), 1e-12);
    has("value_drain L0H3", 1.5, 1e-12);
    has("value_norm[3] L0H1", 4, 0);
    has("value_norm[1] L0H2", 5, 0);
    has_line("value_drain_out L0H0 = nan it needs the model's weights");
    has_line("peak: 0 50 7 2 7.1428");
    has("resid_norm[0] L0H-1", 50, 0);
    free(s.map);
}

static void one_row_leaves_most_undefined(void **state) {
    (void)state;
    const float v[D_HEAD] = {1, 2}, x[D] = {1};
    struct stream s = stream_of(1, 1, distinct, 1);
    s.map[0] = 1;
    s.v = v;
    s.resid = x;
    run(&s, "rows,sinks,drains,massive,stripes,echo,spread,hidden_sinks");
    has("entropy_nats L0H0", 0, 0);
    has("entropy_norm L0H0", 0, 0);
    has("sink_alpha0 L0H0", 1, 0);
    has("sink_last L0H0", 1, 0);
    has_line("previous L0H0 = nan it is a mean over the rows after the first");
    has_line("first_mass L0H0 = nan it is a mean over the rows after the first");
    has_line("sink_row_share L0H0 = nan");
    has_line("sink_half L0H0 = nan");
    has_line("value_drain L0H0 = nan there is no other position");
    has_line("peak: 0 1 NULL NULL NULL\n");
    free(s.map);
}

// ---- the stream as it comes ---------------------------------------------------------------------

static void rows_past_the_end_are_not_shown(void **state) {
    (void)state;
    struct stream s = stream_of(1, 1, distinct, 9);
    uniform(s.map, 9);
    s.subject.n_row = 0;
    s.subject.n_token = 4; // 5 more rows are decoded
    run(&s, "rows,sinks");
    has("sink_alpha0 L0H0", (1 + 1. / 2 + 1. / 3 + 1. / 4) / 4, 1e-7);
    has("column_mean[3] L0H0", 1. / 4, 1e-7);
    has_no("column_mean[4]");
    s.subject.n_row = 12; // of which 9 come
    run(&s, "rows,sinks");
    has("column_mean[8] L0H0", 1. / 9, 1e-7);
    has_no("column_mean[9]");
    free(s.map);
}

static void other_sequences_are_not_shown(void **state) {
    (void)state;
    struct stream s = four_rows();
    const char *spec = "rows,sinks";
    hs_observe_list list;
    hs_observation *o;
    hs_hooks *hooks;
    s.subject.seq = 1;
    assert_int_equal(hs_observe_parse(&list, &spec, 1, false), HS_OK);
    assert_int_equal(hs_observation_open(&o, &list, &s.subject), HS_OK);
    assert_int_equal(hs_hooks_open(&hooks, &s.subject.dims), HS_OK);
    assert_int_equal(hs_observation_hook(o, hooks), HS_OK);
    s.subject.seq = 0;
    assert_int_equal(feed(&s, hs_hooks_tap(hooks), 4, false), HS_OK);
    observed_finish(&results, &list, o);
    has_line("entropy_nats L0H0 = nan no row");
    has_line("sink_max L0H0 = nan no row");
    s.subject.seq = 1;
    assert_int_equal(feed(&s, hs_hooks_tap(hooks), 4, false), HS_OK);
    // The same rows again are out of order.
    assert_int_equal(feed(&s, hs_hooks_tap(hooks), 4, false), HS_E);
    assert_non_null(strstr(hs_errmsg(), "row 0"));
    hs_hooks_close(hooks);
    hs_observation_close(o);
    hs_observe_free(&list);
    free(s.map);
}

static void a_missing_point_is_named(void **state) {
    (void)state;
    struct stream s = four_rows();
    const char *spec = "sinks,massive";
    hs_observe_list list;
    hs_observation *o;
    s.subject.dims.points &= ~HS_BIT(HS_RESID_POST);
    assert_int_equal(hs_observe_parse(&list, &spec, 1, false), HS_OK);
    assert_int_equal(hs_observation_open(&o, &list, &s.subject), HS_EUNSUPPORTED);
    assert_null(o);
    assert_non_null(strstr(hs_errmsg(), "massive needs resid_post"));
    hs_observe_free(&list);
    free(s.map);
}

// ---- lists --------------------------------------------------------------------------------------

static void lists_are_read(void **state) {
    (void)state;
    static const char *const specs[] = {"sinks,hidden_sinks:rule=abs,thr=0.2,massive:thr=50,echo",
                                        "drains"};
    hs_observe_list list;
    assert_int_equal(hs_observe_parse(&list, specs, 2, true), HS_OK);
    static const char *const names[] = {"rows",    "sinks", "hidden_sinks",
                                        "massive", "echo",  "drains"};
    assert_int_equal(list.n, 6);
    for (int i = 0; i < 6; i++) assert_string_equal(list.item[i].observer->name, names[i]);
    assert_string_equal(hs_args_text(&list.item[2].args, "rule"), "abs");
    assert_true(hs_args_num(&list.item[2].args, "thr") == 0.2);
    assert_true(hs_args_num(&list.item[3].args, "thr") == 50);
    const hs_dims dims = {.n_layer = 2, .n_head = 1};
    uint64_t mask[3] = {0};
    hs_observe_points(&list, &dims, mask);
    assert_true(mask[1] ==
                (HS_BIT(HS_ROW_STATS) | HS_BIT(HS_PATTERN) | HS_BIT(HS_RESID_POST) | HS_BIT(HS_V)));
    assert_true(mask[0] == mask[1] && mask[2] == 0);
    hs_observe_free(&list);
    const char *rows = "echo,rows:eps=0.5";
    assert_int_equal(hs_observe_parse(&list, &rows, 1, true), HS_OK);
    assert_int_equal(list.n, 2);
    assert_string_equal(list.item[0].observer->name, "rows");
    assert_true(hs_args_num(&list.item[0].args, "eps") == 0.5);
    hs_observe_free(&list);
    assert_int_equal(hs_observe_parse(&list, NULL, 0, false), HS_OK);
    assert_int_equal(list.n, 0);
    hs_observe_free(&list);
}

static void wrong_lists_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *spec;
        int rc;
        const char *says;
    } wrong[] = {
        {"", HS_ENOTFOUND, "there are"},        {"sink", HS_ENOTFOUND, "sinks"},
        {"sinks,", HS_ENOTFOUND, "'' is not"},  {"sinks,sinks", HS_EARG, "twice"},
        {"sinks:eps", HS_EARG, "sinks: 'eps'"}, {"sinks:eps=2", HS_EARG, "from 0 to 1"},
        {"echo:k=1", HS_EARG, "no parameters"}, {"sinks,eps=0.2", HS_ENOTFOUND, "'eps=0.2'"},
    };
    hs_observe_list list;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (hs_observe_parse(&list, &wrong[i].spec, 1, true) != wrong[i].rc ||
            !strstr(hs_errmsg(), wrong[i].says))
            fail_msg("'%s': %s", wrong[i].spec, hs_errmsg());
        assert_null(list.item);
    }
}

// Descriptors feed SQL, --help and documentation: none may leave a hole there.
static void descriptors_are_complete(void **state) {
    (void)state;
    for (int i = 0; hs_observers[i]; i++) {
        const hs_observer *o = hs_observers[i];
        assert_true(o->name && o->title && o->about && o->reference && o->points);
        assert_true((o->rows || o->tile) && o->open && o->finish && o->close);
        for (const hs_metric *m = o->metrics; m && m->name; m++) assert_true(m->unit && m->about);
        for (const hs_metric *m = o->series; m && m->name; m++) assert_true(m->unit && m->about);
        for (const hs_param *p = o->params; p && p->name; p++) assert_true(p->help && p->fallback);
        for (const hs_result_table *t = o->tables; t && t->name; t++) {
            assert_true(t->about && t->n_key > 0);
            for (const hs_column *c = t->columns; c->name; c++)
                assert_true(c->type && c->unit && c->about);
        }
        hs_args args;
        assert_int_equal(hs_args_parse(&args, o->params, ""), HS_OK);
        hs_args_free(&args);
    }
}

static int clean_up(void **state) {
    (void)state;
    observed_free(&results);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uniform_rows_give_the_harmonic_numbers),
        cmocka_unit_test(the_4x4_example),
        cmocka_unit_test(a_later_sink_is_the_largest_column),
        cmocka_unit_test(thresholds_are_strict_and_ties_go_first),
        cmocka_unit_test(hidden_sinks_by_both_rules),
        cmocka_unit_test(the_induction_model),
        cmocka_unit_test(the_definition_without_a_period_agrees),
        cmocka_unit_test(matches_count_every_earlier_occurrence),
        cmocka_unit_test(no_repeat_is_undefined),
        cmocka_unit_test(echo_of_four_copies),
        cmocka_unit_test(spread_of_simple_heads),
        cmocka_unit_test(spread_needs_a_long_prompt),
        cmocka_unit_test(massive_finds_peaks_and_medians),
        cmocka_unit_test(massive_takes_an_odd_count_and_zeros),
        cmocka_unit_test(drains_compare_the_first_with_the_others),
        cmocka_unit_test(one_row_leaves_most_undefined),
        cmocka_unit_test(rows_past_the_end_are_not_shown),
        cmocka_unit_test(other_sequences_are_not_shown),
        cmocka_unit_test(a_missing_point_is_named),
        cmocka_unit_test(lists_are_read),
        cmocka_unit_test(wrong_lists_are_refused),
        cmocka_unit_test(descriptors_are_complete),
    };
    return cmocka_run_group_tests(tests, NULL, clean_up);
}
