// Methods of calibration as specs: parameters, strengths, heads in their places.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "analyses/calibration.h"

enum { N_LAYER = 3, N_HEAD = 4 };
static const hs_dims dims = {.n_layer = N_LAYER, .n_head = N_HEAD, .n_kv_head = 2};

static hs_heads heads_of(const char *sel) {
    hs_heads h;
    if (hs_heads_parse(&h, &dims, sel)) fail_msg("%s", hs_errmsg());
    return h;
}

// The specs of a strength, joined by '|'.
static void specs_are(const char *method, int strength, const char *sel, const int *group,
                      const char *want) {
    hs_calibrate c;
    hs_heads h = heads_of(sel);
    hs_buf got = {0};
    int n;
    if (hs_calibrate_open(&c, method)) fail_msg("%s", hs_errmsg());
    assert_int_equal(hs_calibrate_specs(&c, strength, &h, group, &got, &n), HS_OK);
    for (size_t i = 0; i + 1 < got.len; i++)
        if (!got.data[i]) got.data[i] = '|';
    assert_string_equal(got.len ? got.data : "", want);
    int count = *want != 0;
    for (const char *s = want; *s; s++) count += *s == '|';
    assert_int_equal(n, count);
    hs_buf_free(&got);
    hs_heads_free(&h);
    hs_calibrate_close(&c);
}

static void refuses(const char *method, int rc, const char *says) {
    hs_calibrate c;
    const int got = hs_calibrate_open(&c, method);
    if (got != rc || !strstr(hs_errmsg(), says)) fail_msg("%s: %d '%s'", method, got, hs_errmsg());
    hs_calibrate_close(&c);
}

static void heads_are_ranges(void **state) {
    (void)state;
    static const char *const same[] = {"L0H0", "L0H1-2+L2H3", "L1H*", "L0H0+L0H2-3+L1H*+L2H1"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        hs_heads h = heads_of(same[i]);
        hs_buf got = {0};
        hs_calibrate_heads(&got, &h);
        assert_string_equal(got.data, same[i]);
        hs_buf_free(&got);
        hs_heads_free(&h);
    }
}

static void specs_of_strengths(void **state) {
    (void)state;
    specs_are("ssa", 0, "L0H1", NULL, "temper:L0H1,log=0.0113");
    specs_are("ssa:c=0.5+2", 1, "L0H1+L2H*", NULL, "temper:L0H1+L2H*,log=2");
    specs_are("stream:s=2,w=8", 0, "L1H0", NULL, "mask:sink_recent,s=2,w=8,heads=L1H0");
    specs_are("boost:span=doc+3:5,alpha=0.2", 0, "L1H0", NULL,
              "boost:doc+3:5,alpha=0.2,rows=after,heads=L1H0");
    // A part whose parameter is empty is left out.
    specs_are("boost:rows=,alpha=1", 0, "L1H0", NULL, "boost:doc,alpha=1,heads=L1H0");
    const int group[N_LAYER * N_HEAD] = {0, 1, -1, 0, 0, 0, 0, 0, 1, 1, 1, 1};
    specs_are("temper:sharp=0.5+0.9,flat=2+1.1", 1, "L0H*+L2H2", group,
              "temper:L0H0+L0H3,t=0.9|temper:L0H1+L2H2,t=1.1");
    specs_are("temper", 0, "L2H2", group, "temper:L2H2,t=1.4");
    specs_are("temper", 0, "L0H2", group, ""); // of neither
}

static void strengths_by_name(void **state) {
    (void)state;
    hs_calibrate c;
    assert_int_equal(hs_calibrate_open(&c, "temper:sharp=0.5+0.9,flat=2+1.1"), HS_OK);
    assert_int_equal(c.n_strength, 2);
    assert_string_equal(c.strength[0], "sharp=0.5,flat=2");
    assert_string_equal(c.strength[1], "sharp=0.9,flat=1.1");
    hs_calibrate_close(&c);
}

static void what_is_refused(void **state) {
    (void)state;
    refuses("nothing", HS_ENOTFOUND, "'nothing' is not a calibration: there are ");
    refuses("ss", HS_ENOTFOUND, "is not a calibration");
    refuses("ssa:x=1", HS_EARG, "x");
    refuses("ssa:c=1+2+1", HS_EARG, "ssa: c=1 is given twice");
    refuses("temper:sharp=0.5+0.6,flat=2", HS_EARG, "flat has 1 values");
    refuses("ssa:c=1+2+3+4+5+6+7+8+9+10+11+12+13+14+15+16+17", HS_EARG, "at most 16");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_are_ranges),
        cmocka_unit_test(specs_of_strengths),
        cmocka_unit_test(strengths_by_name),
        cmocka_unit_test(what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
