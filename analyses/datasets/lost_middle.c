// Answers among documents: several short documents, each about another one of a kind, tell the same
// details; a question asks for one of them. The document that holds the answer stands at every
// place equally often, so that accuracy by place shows what is lost in the middle (Liu et al. 2023,
// arXiv 2307.03172).
#include "analyses/dataset/subjects.h"

#include <stdio.h>
#include <string.h>

enum { N_CHOICE = 4 };

struct work {
    hs_company company;
    int n_doc, n_detail;
    const char *cue;
    bool open;
};

// Document i, about `who`; returns the form in which the asked detail is told.
static int tell(struct work *w, hs_item *it, int i, int who, int detail) {
    char name[16];
    int asked = 0;
    snprintf(name, sizeof name, "doc%d", i + 1);
    hs_buf_printf(&it->text, "Document %d:", i + 1);
    const int doc = hs_item_from(it, name), gold = who ? -1 : hs_item_from(it, "gold");
    int order[HS_SUBJECT_DETAILS] = {0};
    hs_item_shuffle(it, order, w->n_detail);
    for (int k = 0; k < w->n_detail; k++) {
        const int form = hs_item_below(it, 2);
        if (order[k] == detail) asked = form;
        hs_buf_chr(&it->text, ' ');
        hs_company_tell(&w->company, it, order[k], who, form);
    }
    hs_item_to(it, doc);
    if (gold >= 0) hs_item_to(it, gold);
    return asked;
}

// Number 0 is asked about; wrong answers are those of 1 to 3.
static void draw(void *ctx, hs_item *it) {
    struct work *w = ctx;
    const int place = hs_item_turn(it, w->n_doc, 0);
    int order[HS_SUBJECT_WORDS] = {0}, form = 0;
    hs_company_draw(&w->company, it, NULL, w->n_doc);
    const int detail = hs_item_below(it, w->n_detail);
    it->open = w->open;
    it->right = hs_item_turn(it, N_CHOICE, 1);
    for (int i = 0, other = 1; i < N_CHOICE; i++)
        hs_item_choice(it, hs_company_what(&w->company, it, detail, i == it->right ? 0 : other++),
                       false);
    hs_item_shuffle(it, order, w->n_doc - 1);
    const int all = hs_item_from(it, "doc");
    for (int i = 0; i < w->n_doc; i++) {
        const int who = i == place ? 0 : 1 + order[i - (i > place)];
        const int told = tell(w, it, i, who, detail);
        if (!who) form = told;
        if (i + 1 < w->n_doc) hs_buf_chr(&it->text, '\n');
    }
    hs_item_to(it, all);
    hs_company_ask(&w->company, it, detail, 0, form, w->cue);
    hs_jw_key_str(&it->more, "topic", w->company.subject->name);
    hs_jw_key_int(&it->more, "gold", place + 1);
}

static int lost_middle_generate(hs_prompts *out, const hs_tok *tok, int64_t n_vocab,
                                const hs_args *args) {
    struct work w = {.n_doc = (int)hs_args_int(args, "documents"),
                     .n_detail = (int)hs_args_int(args, "details"),
                     .cue = hs_args_text(args, "cue"),
                     .open = !strcmp(hs_args_text(args, "ask"), "open")};
    (void)n_vocab; // the tokenizer has it
    int rc = hs_items_generate(out, tok, args, draw, &w);
    hs_company_free(&w.company);
    return rc;
}

static const hs_param params[] = {
    {"documents", HS_PARAM_INT, "10", N_CHOICE, HS_SUBJECT_WORDS, NULL, NULL,
     "how many; one of them holds the answer"},
    {"details", HS_PARAM_INT, "2", 1, HS_SUBJECT_DETAILS, NULL, NULL, "sentences of each"},
    HS_CUE_PARAM,
    HS_ASK_PARAM,
    HS_ITEM_PARAMS("60"),
    {0},
};

const hs_dataset hs_dataset_lost_middle = {
    .name = "lost_middle",
    .title = "An answer in one of several documents",
    .about = "Short documents (spans doc1, doc2, ...; doc: all; gold: the one with the answer) "
             "and a question that one of them answers, at every place equally often; the wrong "
             "choices are the same detail of other documents. The key gold is the document's "
             "number, from 1. For eval and calibrate.",
    .reference = "Liu et al. 2023, arXiv 2307.03172",
    .params = params,
    .generate = lost_middle_generate,
};
