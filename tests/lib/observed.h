// What observers wrote, as text with every digit: one line a number, so that equal texts are results
// equal to the bit. Asserts through cmocka.
//
//     metric L0H1 = 0.5 reason
//     series[3] L0H1 = 0.25
//     table: 0 1 0.5 NULL
#ifndef HS_TESTS_LIB_OBSERVED_H
#define HS_TESTS_LIB_OBSERVED_H

#include "analyses/observer.h"

typedef struct observed {
    hs_buf text;
    const hs_observer *of; // the one in work
} observed;

// Lets every item of an observation write; the text is cleared first.
void observed_finish(observed *, const hs_observe_list *list, hs_observation *o);
void observed_free(observed *);
// The number of the line "WHAT = ..."; fails when there is none.
double observed_value(const observed *, const char *what);
void observed_near(const observed *, const char *what, double expected, double tolerance);
void observed_has(const observed *, const char *text);
void observed_lacks(const observed *, const char *text);

#endif
