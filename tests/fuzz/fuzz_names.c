// Fuzz target: everything that users write in one word. The first byte picks the parser, the rest is
// the text: selections of points and heads, positions, ranges, observers, data sets, parameters,
// globs (pattern, a line's end, name), spans.
// covers: hooks/names.c hooks/heads.c hooks/positions.c hooks/glob.c model/core/param.c
// covers: analyses/observe.c analyses/prompts.c
#include "analyses/observer.h"
#include "cli/session.h"
#include "hooks/glob.h"
#include "tests/fuzz/shared.h"

enum { N_LAYER = 5, N_HEAD = 3 };

static const hs_dims dims = {
    .n_layer = N_LAYER,
    .n_head = N_HEAD,
    .n_kv_head = 1,
    .d_model = 6,
    .d_head = 2,
    .n_vocab = 10,
    .points = (HS_BIT(HS_N_POINT) - 1) & ~HS_BIT(HS_POS_EMBED),
};

static void points(const char *text) {
    uint64_t mask[N_LAYER + 1] = {0}, any = 0;
    int rc = hs_points_select(mask, &dims, text);
    for (int l = 0; l <= N_LAYER; l++) {
        need(!(mask[l] & ~dims.points));
        any |= mask[l];
    }
    need(rc || any);
    enum hs_point point;
    int layer;
    if (hs_point_find(text, &point, &layer)) return;
    need(point < HS_N_POINT && (hs_point_infos[point].scope == HS_SCOPE_MODEL) == (layer < 0));
}

static void heads(const char *text) {
    hs_heads set;
    if (hs_heads_parse(&set, &dims, text)) return;
    need(hs_heads_count(&set) <= N_LAYER * N_HEAD);
    hs_heads_free(&set);
}

static void positions(const char *text) {
    int64_t from = 0, to = 0;
    if (!hs_pos_parse(&from, 7, text)) need(from >= 0 && from < 7);
    if (!hs_range_parse(&from, &to, 7, text)) need(0 <= from && from <= to && to <= 7);
}

static void observers(const char *text) {
    hs_observe_list list;
    if (hs_observe_parse(&list, &text, 1, true)) return;
    need(list.n >= 1);
    for (int i = 0; i < list.n; i++) {
        hs_buf json = {0};
        hs_args_json(&list.item[i].args, &json);
        hs_buf_free(&json);
    }
    hs_observe_free(&list);
}

// Small enough to generate, or a spec that is refused.
static void datasets(const char *text) {
    hs_prompts *p;
    for (size_t i = 0; text[i]; i++) // longer numbers ask for much
        if (strspn(text + i, "0123456789") > 3) return;
    need(!hs_prompts_open(&p, NULL, HS_BOS_NO, 100));
    if (hs_prompts_add_dataset(p, text)) need(*hs_errmsg());
    for (int64_t i = 0; i < hs_prompts_count(p); i++) need(hs_prompts_at(p, i)->n_token >= 0);
    hs_prompts_close(p);
}

static void parameters(const char *text) {
    static const hs_param params[] = {
        {"k", HS_PARAM_INT, "3", 1, 9, NULL, "n", "bounded"},
        {"n", HS_PARAM_INT, "-7", 1, 0, NULL, NULL, "unbounded"},
        {"x", HS_PARAM_NUM, "0.5", 0, 1, NULL, NULL, "bounded"},
        {"y", HS_PARAM_NUM, "1e9", 1, 0, NULL, NULL, "unbounded"},
        {"s", HS_PARAM_TEXT, "a b", 0, 0, NULL, NULL, "text"},
        {"e", HS_PARAM_ENUM, "one", 0, 0, "one|two", NULL, "choice"},
        {0},
    };
    hs_args args;
    hs_buf json = {0};
    need(hs_spec_name(text) <= strlen(text));
    if (!hs_args_parse(&args, params, hs_spec_args(text))) {
        const char *e = hs_args_text(&args, "e");
        need(hs_args_int(&args, "k") >= 1 && hs_args_int(&args, "k") <= 9);
        need(hs_args_num(&args, "x") >= 0 && hs_args_num(&args, "x") <= 1);
        need(!strcmp(e, "one") || !strcmp(e, "two"));
        hs_args_json(&args, &json);
    }
    hs_args_free(&args);
    hs_buf_free(&json);
}

static void globs(const char *text) {
    hs_buf all = {0};
    const char *name = strchr(text, '\n');
    const size_t n = hs_glob_part(text);
    need(n <= strlen(text));
    int rc = hs_glob_expand(&all, text,
                            name && (size_t)(name - text) < n ? (size_t)(name - text) : n);
    need(!rc || rc == HS_EARG || rc == HS_ENOMEM);
    for (const char *s = hs_buf_text(&all); !rc && s < all.data + all.len; s += strlen(s) + 1) {
        const bool found = hs_glob_match(s, name ? name + 1 : s);
        need(found || name || strpbrk(s, "*?"));
        need(!hs_glob_is_plain(s) || !name || found == !strcmp(s, name + 1));
    }
    hs_buf_free(&all);
}

static void spans(const char *text) {
    const char *one = "x";
    hs_prompts *p;
    hs_prompt_options o = {.text = {&one, 1}, .span = {&text, 1}};
    need(hs_cli_prompts_open(&p, &o, NULL, 10) && *hs_errmsg()); // there is no tokenizer
    hs_prompts_close(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static void (*const parsers[])(const char *) = {points,   heads,      positions, observers,
                                                    datasets, parameters, globs,     spans};
    input in = {data, n};
    if (n > 2000) return 0;
    const uint8_t which = take_byte(&in);
    char *text = text_of(in);
    parsers[which % (sizeof parsers / sizeof *parsers)](text);
    free(text);
    return 0;
}
