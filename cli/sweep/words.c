// Words for what a sweep did; see words.h.
#include "cli/sweep/words.h"

#include <stddef.h>
#include <string.h>

typedef struct pair {
    const char *key, *words;
} pair;

static const char *find(const pair *p, const char *key, const char *otherwise) {
    for (; p->key; p++)
        if (strcmp(p->key, key) == 0) return p->words;
    return otherwise;
}

const char *hs_sweep_plural(const char *kind) {
    static const pair names[] = {{"head", "heads"}, {"group", "groups"},   {"layer", "layers"},
                                 {"mlp", "MLPs"},   {"neuron", "neurons"}, {NULL, NULL}};
    return find(names, kind, "units");
}

const char *hs_sweep_how(const char *by) {
    static const pair how[] = {
        {"gradient", ", estimated by gradients"}, {"race", ", a race for the top"}, {NULL, NULL}};
    return find(how, by, "");
}
