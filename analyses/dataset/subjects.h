// Made-up people, ships and inns and what can be told of them, for questions that a text answers:
// of every subject the same details can be told, so that each answer stands among others of its
// kind. Lists are cut in two parts (analyses/dataset/item.h); within a part no word stands in two.
#ifndef HS_ANALYSES_DATASET_SUBJECTS_H
#define HS_ANALYSES_DATASET_SUBJECTS_H

#include "analyses/dataset/item.h"

enum {
    HS_SUBJECT_WORDS = 12, // of a list, in each part
    HS_SUBJECT_DETAILS = 3,
    HS_N_SUBJECT = 3,
};

// A detail. In `tell` stand {who} and {what}; in `ask` {who}.
typedef struct hs_detail {
    const char *tell[2], *ask, *what[2 * HS_SUBJECT_WORDS];
} hs_detail;

// Names are one of `first` and one of `last`, with what stands before and between them.
typedef struct hs_subject {
    const char *name, *opening, *before, *between;
    const char *first[2 * HS_SUBJECT_WORDS], *last[2 * HS_SUBJECT_WORDS];
    hs_detail detail[HS_SUBJECT_DETAILS];
} hs_subject;
extern const hs_subject hs_subjects[HS_N_SUBJECT];

// Some of one subject and what is told of them. No two share half a name or an answer.
typedef struct hs_company {
    const hs_subject *subject;
    hs_buf who[HS_SUBJECT_WORDS];
    int n_who;
    int what[HS_SUBJECT_DETAILS][HS_SUBJECT_WORDS]; // [detail][who]: number of the word
} hs_company;
// Draws n of a subject, by chance when NULL. Free once, after the last draw.
void hs_company_draw(hs_company *, hs_item *, const hs_subject *, int n);
void hs_company_free(hs_company *);
const char *hs_company_what(const hs_company *, const hs_item *, int detail, int who);
// Appends to the item's text one of the two sentences that tell a detail.
void hs_company_tell(const hs_company *, hs_item *, int detail, int who, int form);
// Appends the question after a detail that was told in the words of `form`, and the cue.
void hs_company_ask(const hs_company *, hs_item *, int detail, int who, int form, const char *cue);
#define HS_CUE_PARAM                                                                               \
    {                                                                                              \
        "cue", HS_PARAM_ENUM, "same", 0, 0, "same|other|no", NULL,                                 \
            "after 'Answer:' comes the sentence up to the answer, in the words of the text or in " \
            "others; or nothing, which is hard for small models"                                   \
    }

#endif
