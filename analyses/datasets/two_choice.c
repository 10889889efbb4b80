// Questions with two answers to choose from: a short text tells details of several people, ships or
// inns, and a question asks for a detail of one; the other answer is the same detail of another.
// The right one is told first in half of the items and is the first choice in half of them.
#include "analyses/dataset/subjects.h"

enum { MAX_TOLD = HS_SUBJECT_WORDS * HS_SUBJECT_DETAILS };

struct work {
    hs_company company;
    int n_who, n_detail;
    const char *cue;
};

static void swap(int *a, int *b) {
    const int c = *a;
    *a = *b;
    *b = c;
}

// The text: every detail of everyone, in any order but that of the two that could be the answer.
// Returns the form of the asked one.
static int tell(struct work *w, hs_item *it, int detail, bool right_first) {
    const int n = w->n_who * w->n_detail;
    int order[MAX_TOLD] = {0}, at[2] = {0}, asked = 0;
    hs_item_shuffle(it, order, n);
    for (int i = 0; i < n; i++)
        for (int who = 0; who < 2; who++)
            if (order[i] == who * w->n_detail + detail) at[who] = i;
    if ((at[0] < at[1]) != right_first) swap(&order[at[0]], &order[at[1]]);
    hs_buf_str(&it->text, w->company.subject->opening);
    for (int i = 0; i < n; i++) {
        const int form = hs_item_below(it, 2);
        if (order[i] == detail) asked = form;
        hs_buf_chr(&it->text, ' ');
        hs_company_tell(&w->company, it, order[i] % w->n_detail, order[i] / w->n_detail, form);
    }
    return asked;
}

// Who is asked about is number 0, the wrong answer is of number 1.
static void draw(void *ctx, hs_item *it) {
    struct work *w = ctx;
    const int turn = hs_item_turn(it, 4, 0);
    hs_company_draw(&w->company, it, NULL, w->n_who);
    const int detail = hs_item_below(it, w->n_detail);
    it->right = turn / 2;
    for (int i = 0; i < 2; i++)
        hs_item_choice(it, hs_company_what(&w->company, it, detail, i != it->right), false);
    hs_buf_str(&it->text, "Text:");
    const int doc = hs_item_from(it, "doc");
    hs_buf_chr(&it->text, ' ');
    const int form = tell(w, it, detail, turn % 2);
    hs_item_to(it, doc);
    hs_company_ask(&w->company, it, detail, 0, form, w->cue);
    hs_jw_key_str(&it->more, "topic", w->company.subject->name);
}

static int two_choice_generate(hs_prompts *out, const hs_tok *tok, int64_t n_vocab,
                               const hs_args *args) {
    struct work w = {.n_who = (int)hs_args_int(args, "who"),
                     .n_detail = (int)hs_args_int(args, "details"),
                     .cue = hs_args_text(args, "cue")};
    (void)n_vocab; // the tokenizer has it
    int rc = hs_items_generate(out, tok, args, draw, &w);
    hs_company_free(&w.company);
    return rc;
}

static const hs_param params[] = {
    {"who", HS_PARAM_INT, "3", 2, HS_SUBJECT_WORDS, NULL, NULL,
     "how many people, ships or inns a text is about"},
    {"details", HS_PARAM_INT, "2", 1, HS_SUBJECT_DETAILS, NULL, NULL, "sentences about each"},
    HS_CUE_PARAM,
    HS_ITEM_PARAMS("64"),
    {0},
};

const hs_dataset hs_dataset_two_choice = {
    .name = "two_choice",
    .title = "Questions with two answers, both in the text",
    .about = "A short text (span doc) about made-up people, ships or inns and a question "
             "with two answers, both from the text; the right one is told first in half of the "
             "items, and the first choice in half of them. For eval and calibrate.",
    .reference = "written for this project",
    .params = params,
    .generate = two_choice_generate,
};
