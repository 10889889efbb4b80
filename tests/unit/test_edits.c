// Edits: how specs are read and refused, which rows and prompts they are about, and what the write
// hook does with a batch.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/edit_internal.h"

static const hs_dims dims = {
    .n_layer = 3,
    .n_head = 4,
    .n_kv_head = 2,
    .d_model = 10,
    .d_head = 2,
    .d_ff = 7,
    .n_vocab = 9,
    .points = HS_BIT(HS_N_POINT) - 1,
};

static hs_edit *open_edit(const char *spec) {
    hs_edit *e;
    if (hs_edit_open(&e, &dims, spec)) fail_msg("%s: %s", spec, hs_errmsg());
    return e;
}

static void refused(const char *spec, int rc, const char *says) {
    hs_edit *e;
    const int got = hs_edit_open(&e, &dims, spec);
    if (got != rc) fail_msg("%s: rc %d: %s", spec, got, hs_errmsg());
    assert_null(e);
    if (!strstr(hs_errmsg(), says)) fail_msg("%s: \"%s\" lacks \"%s\"", spec, hs_errmsg(), says);
    if (!strstr(hs_errmsg(), "--do ")) fail_msg("\"%s\" names no spec", hs_errmsg());
}

// ---- specs --------------------------------------------------------------------------------------

static void json_is(const char *spec, const char *want) {
    hs_edit *e = open_edit(spec);
    hs_buf json = {0};
    hs_edit_json(e, &json);
    assert_string_equal(hs_buf_text(&json), want);
    assert_string_equal(hs_edit_spec(e), spec);
    hs_buf_free(&json);
    hs_edit_close(e);
}

static void specs_are_kept_with_their_defaults(void **state) {
    (void)state;
    json_is("scale:L1H2,by=0.5",
            "{\"target\":\"L1H2\",\"by\":0.5,\"pos\":\"all\",\"prompts\":\"all\"}");
    json_is("temper:L0,prompts=a+3,t=2,pos=1+-2",
            "{\"target\":\"L0\",\"t\":2,\"log\":0,\"pos\":\"1+-2\",\"prompts\":\"a+3\"}");
    json_is("ablate:L0M+L1N0-2",
            "{\"target\":\"L0M+L1N0-2\",\"mode\":\"zero\",\"reference\":\"prompts\",\"by\":\"all\","
            "\"from\":\"random\",\"seed\":0,\"pos\":\"all\",\"prompts\":\"all\"}");
}

static void specs_that_are_refused(void **state) {
    (void)state;
    refused("", HS_ENOTFOUND, "there is no intervention ''");
    refused("ablat:L0H0", HS_ENOTFOUND, "there is no intervention 'ablat': they are ablate, ");
    refused("ablate", HS_EARG, "a target comes first, as in ablate:");
    refused("ablate:", HS_EARG, "a target comes first");
    refused("ablate:mode=mean", HS_EARG, "a target comes first");
    refused("ablate:,mode=mean", HS_EARG, "a target comes first");
    refused("ablate:L0H9", HS_ERANGE, "heads 0 to 3");
    refused("ablate:L0H0,L0H1", HS_EARG, "NAME=VALUE");
    refused("ablate:L0H0,mode=men", HS_EARG, "zero|mean|resample|uniform|bos");
    refused("ablate:L0H0,mod=mean", HS_EARG, "mode, reference, by, from, seed, pos and prompts");
    refused("ablate:L0H0,mode=zero,mode=zero", HS_EARG, "given twice");
    refused("ablate:L0H0,heads=L0H0", HS_EARG, "'heads' is not known");
    refused("ablate:L0H0,seed=-1", HS_EARG, "seed=-1 is out of range");
    refused("scale:L0H0,by=x", HS_EARG, "a number is needed");
    refused("scale:L0H0,by=nan", HS_EARG, "a number is needed");
    refused("scale:L0H0,pos=1..3", HS_EARG, "pos: '1..3' is not a position");
    refused("scale:L0H0,pos=", HS_EARG, "pos: '' is not a position");
    refused("scale:z", HS_EARG, "'z' is not a unit");
    refused("temper:L0M", HS_EARG, "write heads (L5H1) or groups (L5G0)");
    refused("temper:L0H0,t=0", HS_EARG, "t=0 is out of range");
}

// What a word or a mode does not take is refused even where it says the default.
static void parameters_of_other_words(void **state) {
    (void)state;
    refused("mask:topk,w=3", HS_EARG, "w= is for mask:sink_recent, and this is mask:topk");
    refused("mask:keys,keys=0,s=4", HS_EARG, "s= is for mask:sink_recent, and this is mask:keys");
    refused("mask:sink_recent,k=64", HS_EARG, "k= is for mask:topk");
    refused("mask:topk,keys=all", HS_EARG, "keys= is for mask:keys");
    refused("norm:relu,zeta=2", HS_EARG, "zeta= is for norm:clipped, and this is norm:relu");
    refused("norm:softmax1,s=1", HS_EARG, "s= is for norm:sink");
    refused("norm:softmax,by=n", HS_EARG, "by= is for norm:relu");
    refused("ablate:L0H0,mode=zero,reference=x.jsonl", HS_EARG,
            "reference= is for mode=mean, and this is mode=zero");
    refused("ablate:L0H0,by=position", HS_EARG, "by= is for mode=mean, and this is mode=zero");
    refused("ablate:L0H0,seed=0,mode=mean", HS_EARG, "seed= is for mode=resample");
    refused("ablate:L0H0,from=random,mode=bos", HS_EARG, "from= is for mode=resample");
    hs_edit_close(open_edit("ablate:L0H0,seed=0,mode=resample"));
    hs_edit_close(open_edit("mask:topk,heads=L0H0,pos=1,prompts=0,k=1"));
}

static const hs_param *param_of(const hs_intervention *kind, const char *name) {
    for (const hs_param *p = kind->params; p && p->name; p++)
        if (!strcmp(p->name, name)) return p;
    fail_msg("%s has no parameter %s", kind->name, name);
    return NULL;
}

// The words that take a parameter exist, and its help begins with them.
static void help_says_who_takes_a_parameter(void **state) {
    (void)state;
    for (int i = 0; hs_interventions[i]; i++) {
        const hs_intervention *kind = hs_interventions[i];
        for (const hs_edit_only *o = kind->only; o && o->param; o++) {
            const char *help = param_of(kind, o->param)->help;
            const size_t n = strlen(o->words);
            if (strncmp(help, o->words, n) || help[n] != ':')
                fail_msg("%s: %s= is for %s: \"%s\"", kind->name, o->param, o->words, help);
            assert_true(
                hs_choices_have(o->by ? param_of(kind, o->by)->choices : kind->choices, o->words));
        }
    }
}

static void attention_modes_need_heads(void **state) {
    (void)state;
    static const char *const specs[] = {"ablate:L1M,mode=uniform", "ablate:L1,mode=bos",
                                        "ablate:L0H0+L1N2,mode=uniform"};
    for (size_t i = 0; i < 3; i++) refused(specs[i], HS_EARG, "is no head");
    hs_edit_close(open_edit("ablate:L1G0+L2H*,mode=uniform"));
}

static void points_are(const char *spec, uint64_t l0, uint64_t l1, uint64_t l2) {
    hs_edit *e = open_edit(spec);
    const uint64_t *p = hs_edit_points(e);
    if (p[0] != l0 || p[1] != l1 || p[2] != l2 || p[3]) fail_msg("%s: other points", spec);
    hs_edit_close(e);
}

static void edits_sit_where_they_have_effect(void **state) {
    (void)state;
    const uint64_t z = HS_BIT(HS_Z), out = HS_BIT(HS_MLP_OUT), post = HS_BIT(HS_MLP_POST);
    points_are("ablate:L0H1+L2G0", z, 0, z);
    points_are("ablate:L1M+L1N3+L0", HS_BIT(HS_ATTN_OUT) | out, out | post, 0);
    points_are("ablate:L1H0+L2G1,mode=bos", 0, HS_BIT(HS_PATTERN), HS_BIT(HS_PATTERN));
    points_are("scale:L1H0+L2M+L0N1", post, z, out);
    points_are("temper:L1,t=2", 0, HS_BIT(HS_SCORES), 0);
}

// Targets that are points: heads= narrows those that have heads, and layers without any drop out.
static void points_and_their_heads(void **state) {
    (void)state;
    const uint64_t z = HS_BIT(HS_Z), k = HS_BIT(HS_K), pre = HS_BIT(HS_RESID_PRE);
    points_are("freeze:z", z, z, z);
    points_are("freeze:z:0+resid_pre:2", z, 0, pre);
    points_are("freeze:blocks.{0,2}.attn.hook_k", k, 0, k);
    points_are("freeze:z,heads=L1H1", 0, z, 0);
    points_are("freeze:z+resid_pre,heads=L1-2H0", pre, z | pre, z | pre);
    points_are("freeze:v:1,heads=L1G1", 0, HS_BIT(HS_V), 0);
    points_are("freeze:v,heads=L1H2-3", 0, HS_BIT(HS_V), 0);
    refused("freeze:v:1,heads=L1H3", HS_EARG,
            "heads L1H2 to L1H3 share keys and values: write L1G1");
    refused("freeze:z:0,heads=L1H1", HS_ERANGE, "none of them is in a layer of z:0");
    refused("freeze:resid_pre,heads=L1H1", HS_EARG, "resid_pre has no heads");
    refused("freeze:result", HS_EARG, "result can be read but not edited");
    refused("freeze:z:3", HS_ENOTFOUND, "the layers are 0 to 2");
    refused("freeze:z,heads=L1M", HS_EARG, "heads: 'L1M' does not fit here");
    refused("mask:sink_recen", HS_EARG, "'sink_recen' is none of sink_recent|");
    refused("mask:sink_recent,heads=L9H0", HS_ERANGE, "layers are 0 to 2");
}

static void what_edits_ask_for(void **state) {
    (void)state;
    hs_edit *e = open_edit("ablate:L0H0,mode=zero");
    assert_int_equal(hs_edit_need(e)->from, HS_REF_NONE);
    hs_edit_close(e);
    e = open_edit("ablate:L0H0+L2,mode=mean,by=position,reference=repeat:k=5+n=2");
    const hs_ref_need *need = hs_edit_need(e);
    assert_int_equal(need->from, HS_REF_MEAN);
    assert_string_equal(need->name, "repeat:k=5+n=2");
    assert_true(need->by_position);
    assert_true(need->points[0] == HS_BIT(HS_Z) && need->points[1] == 0);
    assert_true(need->points[2] == (HS_BIT(HS_ATTN_OUT) | HS_BIT(HS_MLP_OUT)));
    hs_edit_close(e);
    e = open_edit("ablate:L1G1,mode=resample,from=story,seed=7");
    need = hs_edit_need(e);
    assert_int_equal(need->from, HS_REF_PROMPT);
    assert_string_equal(need->name, "story");
    assert_int_equal(need->seed, 7);
    assert_true(need->points[1] == HS_BIT(HS_Z));
    hs_edit_close(e);
    e = open_edit("ablate:L1G1,mode=mean");
    assert_string_equal(hs_edit_need(e)->name, "prompts");
    assert_false(hs_edit_need(e)->by_position);
    hs_edit_close(e);
}

// An example says how a kind is used; one may name a file that is not here.
static void examples_can_be_read(void **state) {
    (void)state;
    hs_dims big = dims;
    big.n_layer = 12;
    for (int i = 0; hs_interventions[i]; i++) {
        hs_edit *e;
        const int rc = hs_edit_open(&e, &big, hs_interventions[i]->example);
        if (rc && rc != HS_EIO) fail_msg("%s: %s", hs_interventions[i]->example, hs_errmsg());
        hs_edit_close(e);
    }
}

// ---- prompts ------------------------------------------------------------------------------------

static const hs_span spans[] = {{"subject", 2, 4}, {"end", 6, 7}};
static const hs_edit_prompt story = {.ord = 3, .id = "story", .n_token = 7, .given = {spans, 2}};
static const hs_edit_prompt short_one = {.ord = 4, .id = "b", .n_token = 3};

static void first_is(const char *spec, const hs_edit_prompt *p, int64_t want) {
    hs_edit *e = open_edit(spec);
    if (hs_edit_check(e, p)) fail_msg("%s: %s", spec, hs_errmsg());
    assert_int_equal(hs_edit_first(e, p), want);
    hs_edit_close(e);
}

static void the_first_row_that_is_edited(void **state) {
    (void)state;
    first_is("scale:L0H0", &story, 0);
    first_is("scale:L0H0,pos=5+3:5", &story, 3);
    first_is("scale:L0H0,pos=-1", &story, 6);
    first_is("scale:L0H0,pos=end+subject", &story, 2);
    first_is("scale:L0H0,prompts=story", &story, 0);
    first_is("scale:L0H0,prompts=3+9,pos=4", &story, 4);
    first_is("scale:L0H0,prompts=03,pos=4", &story, 4);    // a number
    first_is("scale:L0H0,prompts=sto+4,pos=4", &story, 7); // not about it
    // What a prompt lacks is no matter where the edit is about others.
    first_is("scale:L0H0,prompts=story,pos=5", &short_one, 3);
}

// A kind that must see the whole prompt is given it from its start on, whatever rows it edits, and
// edits no others for that.
static void kinds_that_see_the_whole_prompt(void **state) {
    (void)state;
    static const struct {
        const char *spec;
        int first, end;
    } cases[] = {{"scale:L0H0", 0, 7},
                 {"scale:L0H0,pos=3:5", 0, 5},
                 {"scale:L0H0,pos=-1", 0, 7},
                 {"scale:L0H0,prompts=sto", 7, 0},
                 {"scale:L0H0,pos=nobody?", 7, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hs_edit *e = open_edit(cases[i].spec);
        hs_intervention kind = *hs_edit_kind(e);
        kind.whole = true;
        e->kind = &kind;
        assert_int_equal(hs_edit_first(e, &story), cases[i].first);
        assert_int_equal(hs_edit_end(e, &story), cases[i].end);
        hs_edit_where where = {0};
        assert_int_equal(hs_edit_where_resolve(&where, e, &story), HS_OK);
        if (i == 1) assert_true(!hs_edit_where_row(&where, 2) && hs_edit_where_row(&where, 3));
        hs_edit_where_free(&where);
        hs_edit_close(e);
    }
}

static void unfit(const char *spec, const hs_edit_prompt *p, int rc, const char *says) {
    hs_edit *e = open_edit(spec);
    assert_int_equal(hs_edit_check(e, p), rc);
    if (!strstr(hs_errmsg(), says)) fail_msg("%s: \"%s\" lacks \"%s\"", spec, hs_errmsg(), says);
    if (!strstr(hs_errmsg(), spec)) fail_msg("\"%s\" does not name %s", hs_errmsg(), spec);
    hs_edit_close(e);
}

static void positions_that_a_prompt_lacks(void **state) {
    (void)state;
    unfit("scale:L0H0,pos=7", &story, HS_ERANGE, "prompt 3: position 7 does not exist");
    unfit("scale:L0H0,pos=1+-8", &story, HS_ERANGE, "-8");
    unfit("scale:L0H0,pos=object", &story, HS_ENOTFOUND, "subject, end");
    unfit("scale:L0H0,pos=subject", &short_one, HS_ENOTFOUND, "--span subject=A:B");
    unfit("scale:L0H0,pos=2:2", &story, HS_ERANGE, "holds no position");
}

static void all_prompts_together(void **state) {
    (void)state;
    const hs_edit_prompt both[] = {story, short_one};
    static const struct {
        const char *spec;
        int rc;
    } cases[] = {
        {"scale:L0H0", HS_OK},
        {"scale:L0H0,pos=2", HS_OK},
        {"scale:L0H0,pos=3", HS_ERANGE}, // the second is too short
        {"scale:L0H0,pos=3,prompts=3", HS_OK},
        {"scale:L0H0,prompts=b+story", HS_OK},
        {"scale:L0H0,prompts=b+5", HS_ENOTFOUND},
        {"scale:L0H0,prompts=+b", HS_ENOTFOUND},
        {"scale:L0H0,prompts=sto", HS_ENOTFOUND},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hs_edit *e = open_edit(cases[i].spec);
        assert_int_equal(hs_edit_check_all(e, both, 2), cases[i].rc);
        hs_edit_close(e);
    }
    assert_non_null(strstr(hs_errmsg(), "there is no prompt 'sto' among the 2"));
}

// ---- the write hook -----------------------------------------------------------------------------

struct world {
    hs_edits *edits;
    hs_hooks *hooks;
    const hs_tap *tap;
    hs_edit *edit[4];
    int n;
};

static void build(struct world *w, const char *const *specs) {
    *w = (struct world){0};
    assert_int_equal(hs_edits_open(&w->edits, &dims), HS_OK);
    assert_int_equal(hs_hooks_open(&w->hooks, &dims), HS_OK);
    while (specs[w->n]) {
        w->edit[w->n] = open_edit(specs[w->n]);
        w->n++;
    }
    assert_int_equal(hs_edits_hook(w->edits, w->hooks, w->edit, w->n), HS_OK);
    w->tap = hs_hooks_tap(w->hooks);
}

static void tear_down(struct world *w) {
    hs_hooks_close(w->hooks);
    hs_edits_close(w->edits);
    for (int i = 0; i < w->n; i++) hs_edit_close(w->edit[i]);
}

// Two rows of z at positions 2 and 3 of a sequence, which hold 1, 2, ...; what they became.
static const float *rows_of(const struct world *w, int seq, int layer) {
    static float row[16];
    for (int i = 0; i < 16; i++) row[i] = (float)(i + 1);
    const hs_view view = {row, HS_F32, 3, {2, 4, 2}, {8, 2, 1}};
    const hs_site site = {HS_Z, layer, seq, 2, 2};
    assert_int_equal(w->tap->rows(w->tap->ctx, &site, &view, true), HS_OK);
    return row;
}

static void rows_are(const struct world *w, int seq, int layer, const float want[16]) {
    const float *have = rows_of(w, seq, layer);
    for (int i = 0; i < 16; i++)
        if (have[i] != want[i]) fail_msg("seq %d, number %d: %g", seq, i, (double)have[i]);
}

static const float plain[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

static void each_sequence_has_its_own_edits(void **state) {
    (void)state;
    struct world w;
    build(&w,
          (const char *const[]){"scale:L1H1,by=10", "ablate:L1H2,pos=3", "scale:L1G0,by=2", NULL});
    hs_edit *const lists[] = {w.edit[0], w.edit[2], w.edit[1]};
    const hs_edit_seq seqs[] = {
        {lists, NULL, 2, story},     // 10, then 2
        {NULL, NULL, 0, story},      // none
        {lists + 2, NULL, 1, story}, // 0 at one row
        {lists, NULL, 1, short_one}, //
    };
    assert_int_equal(hs_edits_aim(w.edits, seqs, 4), HS_OK);
    rows_are(&w, 0, 1, (float[]){2, 4, 60, 80, 5, 6, 7, 8, 18, 20, 220, 240, 13, 14, 15, 16});
    rows_are(&w, 1, 1, plain);
    rows_are(&w, 2, 1, (float[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0, 15, 16});
    rows_are(&w, 3, 1, (float[]){1, 2, 30, 40, 5, 6, 7, 8, 9, 10, 110, 120, 13, 14, 15, 16});
    rows_are(&w, 0, 2, plain); // another layer
    // The next aim forgets the last.
    assert_int_equal(hs_edits_aim(w.edits, seqs + 1, 1), HS_OK);
    rows_are(&w, 0, 1, plain);
    rows_are(&w, 3, 1, plain);
    tear_down(&w);
}

static void prompts_choose_sequences(void **state) {
    (void)state;
    struct world w;
    build(&w, (const char *const[]){"ablate:L0H*,prompts=b", NULL});
    const hs_edit_seq seqs[] = {
        {w.edit, NULL, 1, story}, {w.edit, NULL, 1, short_one}, {w.edit, NULL, 1, story}};
    for (int k = 0; k < 2; k++) { // each takes the other's place
        assert_int_equal(hs_edits_aim(w.edits, seqs + k, 2), HS_OK);
        rows_are(&w, k, 0, plain);
        rows_are(&w, 1 - k, 0, (float[16]){0});
    }
    tear_down(&w);
}

static void a_failed_aim_leaves_nothing_that_acts(void **state) {
    (void)state;
    struct world w;
    build(&w, (const char *const[]){"ablate:L0H*,pos=3", NULL});
    const hs_edit_seq seqs[] = {{w.edit, NULL, 1, story}, {w.edit, NULL, 1, short_one}};
    assert_int_equal(hs_edits_aim(w.edits, seqs, 2), HS_ERANGE);
    assert_non_null(strstr(hs_errmsg(), "ablate:L0H*,pos=3"));
    rows_are(&w, 0, 0, plain);
    tear_down(&w);
}

// A reference whose row r at layer l is 100 l + r in every number.
static int ref_rows(void *ctx, enum hs_point point, int layer, int64_t row0, int64_t n,
                    float *out) {
    (void)ctx;
    assert_int_equal(point, HS_Z);
    for (int64_t r = 0; r < n; r++)
        for (int i = 0; i < 8; i++) out[r * 8 + i] = (float)(100 * layer + row0 + r);
    return row0 == 99 ? hs_fail(HS_ENOTFOUND, "row 99 is not held") : HS_OK;
}

static void means_and_other_prompts_take_the_place(void **state) {
    (void)state;
    struct world w;
    build(&w, (const char *const[]){"ablate:L1H0,mode=mean", "ablate:L1H3,mode=resample", NULL});
    const hs_ref refs[] = {{.n_row = INT64_MAX, .rows = ref_rows}, {.n_row = 3, .rows = ref_rows}};
    const hs_edit_seq seq = {w.edit, refs, 2, story};
    assert_int_equal(hs_edits_aim(w.edits, &seq, 1), HS_OK);
    // Row 3 of a source of three rows is its first.
    rows_are(&w, 0, 1,
             (float[]){102, 102, 3, 4, 5, 6, 102, 102, 103, 103, 11, 12, 13, 14, 100, 100});
    tear_down(&w);
}

static void edits_act_in_order(void **state) {
    (void)state;
    struct world w;
    build(&w, (const char *const[]){"ablate:L0H0,mode=mean", "scale:L0H0,by=3", NULL});
    hs_edit *const back[] = {w.edit[1], w.edit[0]};
    const hs_ref refs[] = {{.n_row = INT64_MAX, .rows = ref_rows},
                           {.n_row = INT64_MAX, .rows = ref_rows}};
    const hs_edit_seq seqs[] = {{w.edit, refs, 2, story}, {back, refs, 2, story}};
    assert_int_equal(hs_edits_aim(w.edits, seqs, 2), HS_OK);
    assert_true(rows_of(&w, 0, 0)[0] == 6); // row 2's mean is 2, times 3
    assert_true(rows_of(&w, 1, 0)[0] == 2);
    tear_down(&w);
}

static void what_a_reference_lacks_is_said_with_the_spec(void **state) {
    (void)state;
    struct world w;
    build(&w, (const char *const[]){"ablate:L1H0,mode=mean", NULL});
    const hs_ref ref = {.n_row = INT64_MAX, .rows = ref_rows}, none = {.rows = ref_rows};
    hs_edit_seq seq = {w.edit, &ref, 1, story};
    assert_int_equal(hs_edits_aim(w.edits, &seq, 1), HS_OK);
    float row[8] = {0};
    const hs_view view = {row, HS_F32, 3, {1, 4, 2}, {8, 2, 1}};
    const hs_site site = {HS_Z, 1, 0, 99, 1};
    assert_int_equal(w.tap->rows(w.tap->ctx, &site, &view, true), HS_ENOTFOUND);
    assert_string_equal(hs_errmsg(), "--do ablate:L1H0,mode=mean: row 99 is not held");
    tear_down(&w);
    // An empty source has no rows to begin anew with.
    build(&w, (const char *const[]){"ablate:L1H0,mode=resample", NULL});
    seq = (hs_edit_seq){w.edit, &none, 1, story};
    assert_int_equal(hs_edits_aim(w.edits, &seq, 1), HS_OK);
    assert_int_equal(w.tap->rows(w.tap->ctx, &site, &view, true), HS_ERANGE);
    tear_down(&w);
}

static void tiles_go_to_the_heads_meant(void **state) {
    (void)state;
    struct world w;
    build(&w, (const char *const[]){"ablate:L0G1+L1H0,mode=uniform", "temper:L0H0-1,t=2", NULL});
    static const uint8_t want[12] = {
        HS_TILE_WRITE_SCORES | HS_TILE_WRITE_PATTERN, HS_TILE_WRITE_SCORES | HS_TILE_WRITE_PATTERN,
        HS_TILE_WRITE_SCORES | HS_TILE_WRITE_PATTERN, HS_TILE_WRITE_SCORES | HS_TILE_WRITE_PATTERN,
        HS_TILE_WRITE_PATTERN};
    assert_memory_equal(w.tap->tile_want, want, 12); // a hook has one set of heads
    const hs_edit_seq seq = {w.edit, NULL, 2, story};
    assert_int_equal(hs_edits_aim(w.edits, &seq, 1), HS_OK);
    for (int h = 0; h < 4; h++) {
        float row[8] = {9, 9, 9, 7, 9, 9, 9, 9}; // positions 2 and 3
        hs_tile tile = {HS_PATTERN, 0, h, 0, 2, 2, 4, row, 4, NULL, 0, false, false};
        assert_int_equal(w.tap->tile(w.tap->ctx, &tile, true, 5), HS_OK);
        assert_true(row[0] == (h < 2 ? 9.0f : 1.0f / 3) && row[3] == 7);
        assert_true(row[4] == (h < 2 ? 9.0f : 0.25f) && row[7] == row[4]);
        float scores[8] = {8, 6, 4, 7, 2, -INFINITY, 9, 9};
        tile.point = HS_SCORES;
        tile.row = scores;
        assert_int_equal(w.tap->tile(w.tap->ctx, &tile, true, 5), HS_OK);
        assert_true(scores[0] == (h < 2 ? 4 : 8) && scores[3] == 7 && scores[5] == -INFINITY);
    }
    tear_down(&w);
}

// Later rows may even turn around; what is masked stays masked.
static void temper_leaves_the_masked(void **state) {
    (void)state;
    struct world w;
    build(&w, (const char *const[]){"temper:L0H0,log=-1", NULL});
    const hs_edit_seq seq = {w.edit, NULL, 1, story};
    assert_int_equal(hs_edits_aim(w.edits, &seq, 1), HS_OK);
    float row[3] = {-INFINITY, 5, -INFINITY};
    const hs_tile tile = {HS_SCORES, 0, 0, 0, 2, 1, 3, row, 3, NULL, 0, false, false};
    assert_int_equal(w.tap->tile(w.tap->ctx, &tile, true, 0), HS_OK);
    assert_true(row[0] == -INFINITY && row[2] == -INFINITY);
    assert_true(row[1] == (float)(5 * (1 - log(3))));
    tear_down(&w);
}

// ---- scratch ------------------------------------------------------------------------------------

// A kind that puts a mark into its scratch at the scores and looks for it at the pattern.
static int probe_tile(void *state, const hs_edit_at *at, const hs_tile *tile) {
    float *scratch;
    (void)state;
    const int64_t n = 10 + 1000 * at->worker;
    const float mark = (float)(at->worker * 10 + (at->edit->spec[8] - '0'));
    int rc = hs_edit_scratch(at, n, &scratch);
    if (rc) return rc;
    if (tile->point == HS_PATTERN)
        assert_true(scratch[0] == mark && scratch[n - 1] == -mark);
    else
        scratch[0] = mark, scratch[n - 1] = -mark;
    return HS_OK;
}

static void scratch_is_per_worker_and_edit(void **state) {
    (void)state;
    static const hs_intervention probe = {.name = "probe", .close = free, .tile = probe_tile};
    static const int workers[] = {2, 0, 7, 1};
    struct world w;
    build(&w, (const char *const[]){"temper:L0", "temper:L1", "temper:L2", "ablate:L0H0,mode=bos",
                                    NULL});
    for (int i = 0; i < 3; i++) {
        w.edit[i]->kind = &probe;
        w.edit[i]->points[0] = HS_BIT(HS_SCORES) | HS_BIT(HS_PATTERN);
        memset(w.edit[i]->heads.on, 1, 12);
    }
    const hs_edit_seq seq = {w.edit, NULL, 3, story};
    assert_int_equal(hs_edits_aim(w.edits, &seq, 1), HS_OK);
    hs_tile tile = {.n_row = 1, .n_key = 1};
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 4; i++) { // all scores first: workers are at it at once
            tile.point = round ? HS_PATTERN : HS_SCORES;
            assert_int_equal(w.tap->tile(w.tap->ctx, &tile, true, workers[i]), HS_OK);
        }
    assert_int_equal(w.tap->tile(w.tap->ctx, &tile, true, 1 << 20), HS_ERANGE);
    tear_down(&w);
}

// ---- surveys ------------------------------------------------------------------------------------

// A kind without a survey multiplies, even there; one with a survey looks there and adds later.
static int times_tile(void *state, const hs_edit_at *at, const hs_tile *tile) {
    (void)state;
    (void)at;
    tile->row[0] *= 3;
    return HS_OK;
}
static int plus_tile(void *state, const hs_edit_at *at, const hs_tile *tile) {
    (void)state;
    assert_false(tile->survey && tile->point == HS_PATTERN);
    tile->row[0] += (float)(at->aimed->index + 1);
    return HS_OK;
}
static double sums[3][4]; // [sequence][edit], as they keep them
static int plus_survey(void *state, const hs_edit_at *at, const hs_tile *tile) {
    double *kept = hs_edit_kept(at, 2);
    (void)state;
    assert_int_equal(tile->point, HS_PATTERN);
    assert_non_null(kept);
    kept[0] += (double)tile->row[0];
    sums[tile->seq][at->aimed->index] = kept[0];
    return HS_OK;
}
static int keep_two(void *state, const hs_edit_at *at, const hs_site *site, const hs_view *view) {
    double *kept;
    (void)state;
    (void)site;
    (void)view;
    return hs_edit_keep(at, 2, &kept);
}
static const hs_intervention times = {.name = "times", .close = free, .tile = times_tile};
static const hs_intervention plus = {
    .name = "plus", .close = free, .rows = keep_two, .tile = plus_tile, .survey = plus_survey};

// "temper:L0..": edits 0 and 2 survey and 1 does not; 3 surveys another layer. Two sequences are of
// the same prompt.
static void build_surveys(struct world *w) {
    build(w, (const char *const[]){"temper:L0H0", "temper:L1H0", "temper:L0H0", "temper:L2", NULL});
    for (int i = 0; i < w->n; i++) {
        w->edit[i]->kind = i == 1 ? &times : &plus;
        w->edit[i]->points[0] = i < 3 ? HS_BIT(HS_PATTERN) | HS_BIT(HS_SCORES) : 0;
        w->edit[i]->points[1] = 0;
        w->edit[i]->points[2] = i < 3 ? 0 : HS_BIT(HS_PATTERN);
        w->edit[i]->points[0] |= i < 3 && i != 1 ? HS_BIT(HS_Z) : 0;
        memset(w->edit[i]->heads.on, 0, 12);
        w->edit[i]->heads.on[i < 3 ? 1 : 9] = 1;
    }
    hs_hooks_close(w->hooks); // what they write has changed
    assert_int_equal(hs_hooks_open(&w->hooks, &dims), HS_OK);
    assert_int_equal(hs_edits_hook(w->edits, w->hooks, w->edit, w->n), HS_OK);
    w->tap = hs_hooks_tap(w->hooks);
}

static float meets(const struct world *w, enum hs_point point, int seq, bool survey, float x) {
    const hs_tile tile = {.point = point,
                          .head = 1,
                          .seq = seq,
                          .n_row = 1,
                          .n_key = 1,
                          .row = &x,
                          .ld = 1,
                          .survey = survey};
    assert_int_equal(w->tap->tile(w->tap->ctx, &tile, true, 0), HS_OK);
    return x;
}

static void surveys_look_in_their_order(void **state) {
    (void)state;
    struct world w;
    build_surveys(&w);
    assert_int_equal(w.tap->tile_want[1],
                     HS_TILE_SURVEY | HS_TILE_WRITE_PATTERN | HS_TILE_WRITE_SCORES);
    assert_int_equal(w.tap->tile_want[9], HS_TILE_SURVEY | HS_TILE_WRITE_PATTERN);
    assert_int_equal(w.tap->tile_want[0], 0);
    const hs_edit_seq seqs[] = {{w.edit, NULL, 4, story},
                                {w.edit + 1, NULL, 1, short_one}, // nobody surveys this one
                                {w.edit, NULL, 4, story}};
    for (int round = 1; round <= 2; round++) {
        assert_int_equal(hs_edits_aim(w.edits, seqs, 3), HS_OK);
        for (int s = 0; s < 3; s++) rows_of(&w, s, 0); // which makes room
        for (int layer = 0; layer < 3; layer++)
            for (int s = 0; s < 3; s++)
                assert_int_equal(w.tap->survey(w.tap->ctx, layer, s), s != 1 && layer != 1 ? 7 : 0);
        // Scores are edited as ever; at the pattern only the kind in the middle does anything.
        assert_true(meets(&w, HS_SCORES, 0, true, 1) == (1 + 1) * 3 + 3);
        assert_true(meets(&w, HS_PATTERN, 0, true, 5) == 15);
        assert_true(meets(&w, HS_PATTERN, 0, false, 5) == (5 + 1) * 3 + 3);
        assert_true(meets(&w, HS_PATTERN, 1, false, 5) == 15);
        assert_true(meets(&w, HS_PATTERN, 2, true, 7) == 21);
        // Each has its own numbers, kept from one evaluation to the next: of what came before it.
        assert_true(sums[0][0] == 5 * round && sums[0][2] == 15 * round);
        assert_true(sums[2][0] == 7 * round && sums[2][2] == 21 * round);
    }
    tear_down(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(specs_are_kept_with_their_defaults),
        cmocka_unit_test(specs_that_are_refused),
        cmocka_unit_test(parameters_of_other_words),
        cmocka_unit_test(help_says_who_takes_a_parameter),
        cmocka_unit_test(attention_modes_need_heads),
        cmocka_unit_test(edits_sit_where_they_have_effect),
        cmocka_unit_test(points_and_their_heads),
        cmocka_unit_test(what_edits_ask_for),
        cmocka_unit_test(examples_can_be_read),
        cmocka_unit_test(the_first_row_that_is_edited),
        cmocka_unit_test(kinds_that_see_the_whole_prompt),
        cmocka_unit_test(positions_that_a_prompt_lacks),
        cmocka_unit_test(all_prompts_together),
        cmocka_unit_test(each_sequence_has_its_own_edits),
        cmocka_unit_test(prompts_choose_sequences),
        cmocka_unit_test(a_failed_aim_leaves_nothing_that_acts),
        cmocka_unit_test(means_and_other_prompts_take_the_place),
        cmocka_unit_test(edits_act_in_order),
        cmocka_unit_test(what_a_reference_lacks_is_said_with_the_spec),
        cmocka_unit_test(tiles_go_to_the_heads_meant),
        cmocka_unit_test(temper_leaves_the_masked),
        cmocka_unit_test(scratch_is_per_worker_and_edit),
        cmocka_unit_test(surveys_look_in_their_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
