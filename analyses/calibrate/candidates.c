// What is tried on the calibration part, and which of it goes on; see experiments/calibrate.h.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analyses/experiments/calibrate.h"
#include "model/core/mem.h"

enum {
    MOST_HEADS = 64, // of a set but the last
    N_SIZE = 8,      // of sets at a strength
    MOST_CANDIDATES = HS_CALIBRATION_STRENGTHS * N_SIZE,
    N_CUT = 2,
    LEAST_ALIVE = 2,
    LEAST_ITEMS = 8,
};

// ---- sets ---------------------------------------------------------------------------------------

// Heads that gain, those that gain most first, of equal ones the first; returns how many.
static int64_t rank(int64_t *order, const double *estimate, int64_t n) {
    int64_t m = 0;
    for (int64_t u = 0; u < n; u++) {
        if (!(estimate[u] < 0)) continue;
        int64_t k = m++;
        for (; k > 0 && estimate[order[k - 1]] > estimate[u]; k--) order[k] = order[k - 1];
        order[k] = u;
    }
    return m;
}

static int find_specs(hs_candidate *c) {
    const char *at = c->text.data;
    int rc = hs_alloc(&c->spec, (size_t)c->n_spec, sizeof *c->spec);
    for (int i = 0; i < c->n_spec && !rc; i++, at += strlen(at) + 1) c->spec[i] = at;
    return rc;
}

static int add(hs_candidates *out, const hs_calibrate *method, const hs_dims *dims,
               const int *group, int strength, const int64_t *head, int64_t n_head) {
    int rc = hs_grow(&out->at, (size_t)out->n + 1, sizeof *out->at);
    if (rc) return rc;
    hs_candidate *c = &out->at[out->n++];
    *c = (hs_candidate){.strength = strength, .n_head = n_head};
    rc = hs_heads_parse(&c->heads, dims, "none");
    for (int64_t i = 0; i < n_head && !rc; i++) c->heads.on[head[i]] = 1;
    if (!rc) rc = hs_calibrate_specs(method, strength, &c->heads, group, &c->text, &c->n_spec);
    return rc ? rc : find_specs(c);
}

int hs_candidates_open(hs_candidates *out, const hs_calibrate *method, const hs_dims *dims,
                       const int *group, const double *estimate) {
    const int64_t n = (int64_t)dims->n_layer * dims->n_head;
    int64_t *order;
    *out = (hs_candidates){0};
    int rc = hs_alloc(&order, (size_t)n, sizeof *order);
    for (int s = 0; s < method->n_strength && !rc; s++) {
        if (!estimate) {
            rc = add(out, method, dims, group, s, NULL, 0);
            continue;
        }
        const int64_t gain = rank(order, estimate + s * n, n);
        for (int64_t k = 1; k <= MOST_HEADS && k < gain && !rc; k *= 2)
            rc = add(out, method, dims, group, s, order, k);
        if (gain && !rc) rc = add(out, method, dims, group, s, order, gain);
    }
    free(order);
    if (rc) hs_candidates_close(out);
    return rc;
}

void hs_candidates_close(hs_candidates *c) {
    for (int i = 0; i < c->n; i++) {
        hs_heads_free(&c->at[i].heads);
        hs_buf_free(&c->at[i].text);
        free(c->at[i].spec);
    }
    free(c->at);
    *c = (hs_candidates){0};
}

// ---- the race -----------------------------------------------------------------------------------

double hs_candidates_mean(int n, const double *value, int64_t n_item, int c) {
    double sum = 0;
    int64_t count = 0;
    for (int64_t i = 0; i < n_item; i++) {
        const double x = value[i * (1 + n) + c];
        if (isnan(value[i * (1 + n)])) continue;
        sum += x;
        count++;
    }
    return count ? sum / (double)count : (double)NAN; // NaN too where one item has no loss
}

// Of those alive only the `keep` best on items [0, done) stay, of equal ones the first.
static void cut(int n, const double *value, int64_t done, int keep, bool *alive) {
    double mean[MOST_CANDIDATES];
    for (int c = 0; c < n; c++) {
        mean[c] = alive[c] ? hs_candidates_mean(n, value, done, 1 + c) : INFINITY;
        if (isnan(mean[c])) mean[c] = INFINITY; // an edit that leaves no loss to compare
    }
    for (int c = 0; c < n; c++) {
        int before = 0;
        for (int k = 0; k < n; k++) before += mean[k] < mean[c] || (k < c && mean[k] == mean[c]);
        alive[c] &= before < keep;
    }
}

// Cut i is made before this item: too few items decide nothing.
static int64_t cut_at(int64_t n_item, int i) {
    return n_item < LEAST_ITEMS ? n_item : n_item >> (2 - i);
}

int64_t hs_candidates_cut(int64_t n_item, int64_t done) {
    int i = 0;
    while (i < N_CUT && cut_at(n_item, i) <= done) i++;
    return i < N_CUT ? cut_at(n_item, i) : n_item;
}

void hs_candidates_alive(int n, const double *value, int64_t n_item, int64_t done, bool *alive) {
    for (int c = 0; c < n; c++) alive[c] = true;
    for (int i = 0; i < N_CUT && cut_at(n_item, i) <= done && cut_at(n_item, i) < n_item; i++) {
        const int part = 2 << i, keep = (n + part - 1) / part;
        cut(n, value, cut_at(n_item, i), keep < LEAST_ALIVE ? LEAST_ALIVE : keep, alive);
    }
}

int hs_candidates_best(int n, const double *value, int64_t n_item) {
    bool alive[MOST_CANDIDATES];
    double least = hs_candidates_mean(n, value, n_item, 0);
    int best = -1;
    hs_candidates_alive(n, value, n_item, n_item, alive);
    for (int c = 0; c < n; c++) {
        const double mean = alive[c] ? hs_candidates_mean(n, value, n_item, 1 + c) : (double)NAN;
        if (!(mean < least)) continue;
        least = mean;
        best = c;
    }
    return best;
}
