// Named parameters: defaults, every type, every refusal, and the JSON that is stored with a run.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "model/core/param.h"

static const hs_param table[] = {
    {"rule", HS_PARAM_ENUM, "alphaN", 0, 0, "alphaN|abs", NULL, "which rule"},
    {"alpha", HS_PARAM_NUM, "5", 0, INFINITY, NULL, NULL, "factor"},
    {"rows", HS_PARAM_INT, "1", 1, 100, NULL, "rows", "fewest rows"},
    {"note", HS_PARAM_TEXT, "-", 0, 0, NULL, NULL, "any text"},
    {"free", HS_PARAM_INT, "-3", 1, 0, NULL, NULL, "unbounded"},
    {0},
};

static void refused(const char *text, const char *says) {
    hs_args a;
    assert_int_equal(hs_args_parse(&a, table, text), HS_EARG);
    if (!strstr(hs_errmsg(), says)) fail_msg("'%s' does not say '%s'", hs_errmsg(), says);
    hs_args_free(&a);
}

static void spec_is_split_at_the_first_colon(void **state) {
    (void)state;
    assert_int_equal(hs_spec_name("sinks"), 5);
    assert_string_equal(hs_spec_args("sinks"), "");
    assert_int_equal(hs_spec_name("act:rule=abs"), 3);
    assert_string_equal(hs_spec_args("act:rule=a:b"), "rule=a:b");
}

static void defaults_fill_what_is_not_given(void **state) {
    (void)state;
    hs_args a;
    assert_int_equal(hs_args_parse(&a, table, ""), HS_OK);
    assert_string_equal(hs_args_text(&a, "rule"), "alphaN");
    assert_true(hs_args_num(&a, "alpha") == 5.0);
    assert_int_equal(hs_args_int(&a, "rows"), 1);
    assert_string_equal(hs_args_text(&a, "note"), "-");
    assert_int_equal(hs_args_int(&a, "free"), -3);
    hs_args_free(&a);
}

static void values_are_read_in_any_order(void **state) {
    (void)state;
    hs_args a;
    assert_int_equal(hs_args_parse(&a, table, "note=x=y,rows=100,alpha=.25,rule=abs,free=-9"), 0);
    assert_string_equal(hs_args_text(&a, "rule"), "abs");
    assert_true(hs_args_num(&a, "alpha") == 0.25);
    assert_int_equal(hs_args_int(&a, "rows"), 100);
    assert_string_equal(hs_args_text(&a, "note"), "x=y");
    assert_int_equal(hs_args_int(&a, "free"), -9);
    hs_buf json = {0};
    hs_args_json(&a, &json);
    assert_string_equal(
        json.data, "{\"rule\":\"abs\",\"alpha\":0.25,\"rows\":100,\"note\":\"x=y\",\"free\":-9}");
    hs_buf_free(&json);
    hs_args_free(&a);
}

static void a_value_is_given_or_a_default(void **state) {
    (void)state;
    hs_args a;
    assert_int_equal(hs_args_parse(&a, table, "rows=1,note=-"), HS_OK); // as the defaults are
    assert_true(hs_args_given(&a, "rows"));
    assert_true(hs_args_given(&a, "note"));
    assert_false(hs_args_given(&a, "rule"));
    assert_false(hs_args_given(&a, "free"));
    hs_args_free(&a);
}

static void choices_are_whole_words(void **state) {
    (void)state;
    assert_true(hs_choices_have("add|project", "add"));
    assert_true(hs_choices_have("add|project", "project"));
    assert_true(hs_choices_have("add", "add"));
    assert_false(hs_choices_have("add|project", "ad"));
    assert_false(hs_choices_have("add|project", "projects"));
    assert_false(hs_choices_have("add|project", "add|project"));
    assert_false(hs_choices_have("add|project", ""));
}

static void wrong_parameters_are_refused(void **state) {
    (void)state;
    refused("beta=1", "rule, alpha, rows, note and free");
    refused("rows=2,rows=3", "twice");
    refused("rows", "NAME=VALUE");
    refused("=3", "NAME=VALUE");
    refused("rows=1,", "NAME=VALUE");
    refused("rows=0", "from 1 to 100");
    refused("rows=101", "from 1 to 100");
    refused("rows=1.5", "whole number");
    refused("rows= 1", "whole number");
    refused("rows=", "whole number");
    refused("rows=99999999999999999999", "whole number");
    refused("alpha=-0.1", "0 or more");
    refused("alpha=nan", "a number");
    refused("alpha=1x", "a number");
    refused("alpha=", "a number");
    refused("rule=alpha", "alphaN|abs");
    refused("rule=alphaN|abs", "alphaN|abs");
    refused("rule=", "alphaN|abs");
}

static void no_table_takes_no_parameters(void **state) {
    (void)state;
    hs_args a;
    assert_int_equal(hs_args_parse(&a, NULL, ""), HS_OK);
    hs_buf json = {0};
    hs_args_json(&a, &json);
    assert_string_equal(hs_buf_text(&json), "{}");
    hs_buf_free(&json);
    hs_args_free(&a);
    assert_int_equal(hs_args_parse(&a, NULL, "x=1"), HS_EARG);
    hs_args_free(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spec_is_split_at_the_first_colon),
        cmocka_unit_test(defaults_fill_what_is_not_given),
        cmocka_unit_test(values_are_read_in_any_order),
        cmocka_unit_test(a_value_is_given_or_a_default),
        cmocka_unit_test(choices_are_whole_words),
        cmocka_unit_test(wrong_parameters_are_refused),
        cmocka_unit_test(no_table_takes_no_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
