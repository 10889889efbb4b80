// Who is among the k largest: successive elimination under a budget. What it claims is said in
// analyses/experiments/sweep.h.
//
// Rounds end when 4, 8, 16, ... prompts are measured. After each:
//   1. Bounds. A unit is in when fewer than k units can be above it: its lower bound is above the
//      (k + 1)th largest upper bound; it is out when its upper bound is below the kth largest lower
//      bound. Such units are settled, and not measured again.
//   2. Budget. Of those that still race, the share q stays that spends what is left when it is kept
//      in each round to come; the others are decided by their mean: those first whose distance from
//      the cut is largest in standard errors. They keep their bounds, in which they may turn out
//      settled later, and are not measured again.
// At the end places go to settled units, then to accepted ones, then to the largest means.
//
// Estimates of every change, from gradients say, are used twice. Units are let into the race by
// their mean size. And what was measured on some prompts is carried to all of them by the line
// through (estimate, change): the regression estimator of a finite population's mean (Cochran,
// Sampling Techniques, 1977, chapter 7), x' = x + b (mean estimate of all - of those measured). Its
// error is that of the residuals, 1 / n of them and what the slope's error adds.
#include "analyses/sweep/race.h"

#include <math.h>
#include <stdlib.h>

#include "analyses/sweep/student.h"
#include "model/core/mem.h"
#include "model/core/prng.h"

enum { FIRST_ROUND = 4, MOST_ROUNDS = 64 };

// In the order in which places are given.
enum stand { SCREENED, LOST, REJECTED, RACING, ACCEPTED, WON };

// A unit in the race; all numbers count harm as positive.
struct runner {
    int64_t unit, n;
    double mean, guess;  // of the prompts measured: of changes, of their estimates
    double xx, xg, gg;   // sums of squares and products about these
    double guess_of_all; // mean estimate of all prompts
    double value, error; // the mean of all, as far as is known; its standard error
    bool fitted;         // by a line
    double low, high;
    double key; // what the next sort goes by
    enum stand stand;
};

struct race {
    const hs_race_field *field;
    const hs_race_opts *opts;
    double delta;
    struct runner *runner;    // [n_unit], by unit
    struct runner **order;    // [n_unit], scratch
    int64_t *racing;          // [n_racing] units to measure
    int64_t n_racing, n_let;  // n_let: let in by estimates
    int64_t *prompt, *now;    // [n_prompt]: the order of prompts; those of a round, ascending
    int64_t end[MOST_ROUNDS]; // prompts measured when a round ends
    int n_round;
    double *change; // of a round
    double *bound;  // [n_unit], scratch
    int64_t spent, limit;
};

// ---- orders -------------------------------------------------------------------------------------

static int by_key(const void *a, const void *b) {
    const struct runner *x = *(struct runner *const *)a, *y = *(struct runner *const *)b;
    if (x->key != y->key) return x->key < y->key ? 1 : -1;
    return x->unit < y->unit ? -1 : x->unit > y->unit;
}

static int by_place(const void *a, const void *b) {
    const struct runner *x = *(struct runner *const *)a, *y = *(struct runner *const *)b;
    return x->stand != y->stand ? (x->stand < y->stand ? 1 : -1) : by_key(a, b);
}

static int ascending(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int descending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

// Those that race, largest mean first.
static int64_t rank_racing(struct race *r) {
    int64_t n = 0;
    for (int64_t i = 0; i < r->field->n_unit; i++) {
        if (r->runner[i].stand != RACING) continue;
        r->runner[i].key = r->runner[i].value;
        r->order[n++] = &r->runner[i];
    }
    qsort(r->order, (size_t)n, sizeof *r->order, by_key);
    return n;
}

// ---- the budget ---------------------------------------------------------------------------------

// Edits from round `from` on when share q of n units stays in each round before its measurements.
static double cost(const struct race *r, int from, double n, double q) {
    double sum = 0;
    for (int i = from; i < r->n_round; i++) {
        n *= q;
        sum += n * (double)(r->end[i] - (i ? r->end[i - 1] : 0));
    }
    return sum;
}

// How many of n units may stay for round `from`.
static int64_t may_stay(const struct race *r, int from, int64_t n) {
    const double left = (double)(r->limit - r->spent);
    double low = 0, high = 1;
    if (!r->limit || cost(r, from, (double)n, 1) <= left) return n;
    for (int i = 0; i < 60; i++) {
        const double mid = (low + high) / 2;
        if (cost(r, from, (double)n, mid) <= left)
            low = mid;
        else
            high = mid;
    }
    return (int64_t)((double)n * low);
}

static void plan_rounds(struct race *r, int64_t first) {
    const int64_t n = r->field->n_prompt;
    r->n_round = 0;
    for (int64_t end = first; end < n; end *= 2) r->end[r->n_round++] = end;
    r->end[r->n_round++] = n;
}

static double estimate_at(const struct race *r, int64_t prompt, int64_t unit) {
    return r->opts->estimate ? r->field->harm * r->opts->estimate[prompt * r->field->n_unit + unit]
                             : 0;
}

// What the estimates say of a unit: the size that it is let in by, and their mean.
static void look_ahead(const struct race *r, struct runner *u) {
    const int64_t n = r->field->n_prompt;
    for (int64_t i = 0; i < n; i++) {
        const double guess = estimate_at(r, i, u->unit);
        u->guess_of_all += guess / (double)n;
        u->key += fabs(guess) / (double)n;
    }
}

// Whom the estimates let in, then a first round that leaves at least half of the budget.
static int start(struct race *r) {
    const int64_t n = r->field->n_unit, k = r->opts->k;
    int64_t first = FIRST_ROUND;
    plan_rounds(r, first);
    r->n_let = n;
    if (r->opts->estimate) r->n_let = may_stay(r, 0, n);
    if (r->n_let < n && r->n_let < 2 * k) r->n_let = 2 * k < n ? 2 * k : n;
    if (r->limit && r->n_let > r->limit)
        return hs_fail(HS_EARG,
                       "a budget of %lld edits does not measure %lld units once: give a larger "
                       "share of the full sweep",
                       (long long)r->limit, (long long)r->n_let);
    for (int64_t i = 0; i < n; i++) {
        r->runner[i] = (struct runner){.unit = i, .low = -INFINITY, .high = INFINITY};
        look_ahead(r, &r->runner[i]);
        r->order[i] = &r->runner[i];
    }
    qsort(r->order, (size_t)n, sizeof *r->order, by_key);
    for (int64_t i = 0; i < n; i++) r->order[i]->stand = i < r->n_let ? RACING : SCREENED;
    while (r->limit && first > 1 && 2 * first * r->n_let > r->limit) first /= 2;
    plan_rounds(r, first);
    return HS_OK;
}

// Decides the racing units that are farthest from the cut until `stay` are left; places: of the k
// those that are free.
static void cut_field(struct race *r, int64_t stay, int64_t places) {
    const int64_t n = rank_racing(r);
    if (stay >= n || places <= 0 || places >= n) return;
    const struct runner in = *r->order[places - 1], out = *r->order[places];
    for (int64_t i = 0; i < n; i++) {
        struct runner *u = r->order[i], other = i < places ? out : in;
        const double gap = fabs(u->value - other.value);
        const double spread = u->error * u->error + other.error * other.error;
        u->key = spread > 0 ? gap / sqrt(spread) : gap;
        u->stand = i < places ? ACCEPTED : REJECTED;
    }
    qsort(r->order, (size_t)n, sizeof *r->order, by_key);
    for (int64_t i = n - stay; i < n; i++) r->order[i]->stand = RACING;
}

// ---- measuring ----------------------------------------------------------------------------------

// Welford's sums, of two variables.
static void add_value(struct runner *u, double x, double guess) {
    const double dx = x - u->mean, dg = guess - u->guess, n = (double)++u->n;
    u->mean += dx / n;
    u->guess += dg / n;
    u->xx += dx * (x - u->mean);
    u->xg += dx * (guess - u->guess);
    u->gg += dg * (guess - u->guess);
}

static int measure_round(struct race *r, int round) {
    const int64_t from = round ? r->end[round - 1] : 0, n = r->end[round] - from;
    r->n_racing = 0;
    for (int64_t i = 0; i < r->field->n_unit; i++)
        if (r->runner[i].stand == RACING) r->racing[r->n_racing++] = i;
    for (int64_t i = 0; i < n; i++) r->now[i] = r->prompt[from + i];
    qsort(r->now, (size_t)n, sizeof *r->now, ascending);
    int rc = hs_grow(&r->change, (size_t)n, (size_t)r->n_racing * sizeof *r->change);
    if (!rc) rc = r->field->measure(r->field->ctx, r->now, n, r->racing, r->n_racing, r->change);
    for (int64_t i = 0; i < n && !rc; i++)
        for (int64_t u = 0; u < r->n_racing; u++)
            add_value(&r->runner[r->racing[u]], r->field->harm * r->change[i * r->n_racing + u],
                      estimate_at(r, r->now[i], r->racing[u]));
    r->spent += n * r->n_racing;
    return rc;
}

// The mean of all prompts, from those measured.
static void estimate_mean(const struct race *r, struct runner *u) {
    const double n = (double)u->n, all = (double)r->field->n_prompt;
    const double off = u->guess_of_all - u->guess;
    u->fitted = u->n > 2 && u->gg > 0 && u->n < r->field->n_prompt;
    const double slope = u->fitted ? u->xg / u->gg : 0, df = n - 1 - u->fitted;
    const double residual = u->xx - slope * u->xg, of_slope = u->fitted ? off * off / u->gg : 0;
    u->value = u->mean + slope * off;
    u->error = 0;
    if (df > 0 && residual > 0) u->error = sqrt(residual / df * ((1 - n / all) / n + of_slope));
}

// Values without a spread tell nothing of it, unless they are all there are.
static void set_bounds(const struct race *r, struct runner *u, double t) {
    double width = INFINITY;
    if (u->n == r->field->n_prompt)
        width = 0;
    else if (u->error > 0)
        width = t * u->error;
    u->low = u->value - width;
    u->high = u->value + width;
}

// The kth largest bound, k from 1, of those that were let through; -inf when there are fewer.
static double kth(struct race *r, bool high, int64_t k) {
    int64_t n = 0;
    for (int64_t i = 0; i < r->field->n_unit; i++)
        if (r->runner[i].stand != SCREENED)
            r->bound[n++] = high ? r->runner[i].high : r->runner[i].low;
    if (k > n) return -INFINITY;
    qsort(r->bound, (size_t)n, sizeof *r->bound, descending);
    return r->bound[k - 1];
}

static void settle(struct race *r, int round) {
    const double tail = r->delta / 2 / (double)r->n_let / r->n_round;
    const int64_t df = r->end[round] - 1;
    const double t = df > 0 ? hs_student_t(tail, df) : INFINITY;
    const double t_fitted = df > 1 ? hs_student_t(tail, df - 1) : INFINITY;
    for (int64_t i = 0; i < r->field->n_unit; i++) {
        struct runner *u = &r->runner[i];
        if (u->stand != RACING) continue;
        estimate_mean(r, u);
        set_bounds(r, u, u->fitted ? t_fitted : t);
    }
    const double above = kth(r, true, r->opts->k + 1), below = kth(r, false, r->opts->k);
    for (int64_t i = 0; i < r->field->n_unit; i++) {
        struct runner *u = &r->runner[i];
        if (u->stand < REJECTED || u->stand > ACCEPTED) continue;
        if (u->low > above)
            u->stand = WON;
        else if (u->high < below)
            u->stand = LOST;
    }
}

static int64_t count(const struct race *r, enum stand from, enum stand to) {
    int64_t n = 0;
    for (int64_t i = 0; i < r->field->n_unit; i++)
        n += r->runner[i].stand >= from && r->runner[i].stand <= to;
    return n;
}

// ---- the race -----------------------------------------------------------------------------------

static int run(struct race *r) {
    int rc = start(r);
    for (int i = 0; i < r->n_round && !rc; i++) {
        rc = measure_round(r, i);
        if (!rc) settle(r, i);
        const int64_t racing = count(r, RACING, RACING);
        const int64_t places = r->opts->k - count(r, ACCEPTED, WON);
        if (places <= 0 || places >= racing || i + 1 == r->n_round) break;
        cut_field(r, may_stay(r, i + 1, racing), places);
    }
    return rc;
}

// Hands out the places. A measured unit's place is settled by bounds; ties of exact means, which
// strict bounds leave open, are decided as a full sweep decides them.
static void finish(struct race *r, hs_race_unit *out, hs_race_report *report) {
    const int64_t n = r->field->n_unit;
    *report = (hs_race_report){
        .edits = r->spent, .full = n * r->field->n_prompt, .certain = true, .delta = r->delta};
    for (int64_t i = 0; i < n; i++) {
        struct runner *u = &r->runner[i];
        if (u->stand != SCREENED) u->key = u->value;
        r->order[i] = u;
    }
    qsort(r->order, (size_t)n, sizeof *r->order, by_place);
    for (int64_t i = 0; i < n; i++) {
        const struct runner *u = r->order[i];
        const bool flip = r->field->harm < 0;
        out[u->unit] = (hs_race_unit){.mean = u->n ? r->field->harm * u->value : (double)NAN,
                                      .low = flip ? -u->high : u->low,
                                      .high = flip ? -u->low : u->high,
                                      .n = u->n,
                                      .in = i < r->opts->k,
                                      .settled = u->stand == WON || u->stand == LOST ||
                                                 r->spent == report->full};
        report->certain &= out[u->unit].settled;
    }
}

static int check(const hs_race_field *f, const hs_race_opts *o) {
    if (o->k < 1 || o->k > f->n_unit)
        return hs_fail(HS_EARG, "a race for the top %lld of %lld units: give 1 to %lld",
                       (long long)o->k, (long long)f->n_unit, (long long)f->n_unit);
    if (!(o->delta >= 0 && o->delta < 1))
        return hs_fail(HS_EARG, "a probability of error of %g: give more than 0, less than 1",
                       o->delta);
    if (!(o->budget >= 0 && o->budget <= 1))
        return hs_fail(HS_EARG, "a budget of %g of the full sweep: give more than 0, at most 1",
                       o->budget);
    return f->n_prompt < 1 ? hs_fail(HS_EARG, "a race over no prompts") : HS_OK;
}

int hs_race_run(const hs_race_field *f, const hs_race_opts *opts, hs_race_unit *out,
                hs_race_report *report) {
    struct race r = {.field = f, .opts = opts, .delta = opts->delta > 0 ? opts->delta : 0.05};
    const size_t n_unit = (size_t)f->n_unit, n_prompt = (size_t)f->n_prompt;
    int rc = check(f, opts);
    if (rc) return rc;
    if (opts->budget > 0) // a fifth of 5 is 1, whatever the last digit of .2
        r.limit = 1 + (int64_t)(opts->budget * (double)f->n_unit * (double)f->n_prompt - 1 + 1e-6);
    rc = hs_alloc(&r.runner, n_unit, sizeof *r.runner);
    if (!rc) rc = hs_alloc(&r.order, n_unit, sizeof(struct runner *));
    if (!rc) rc = hs_alloc(&r.racing, n_unit, sizeof *r.racing);
    if (!rc) rc = hs_alloc(&r.bound, n_unit, sizeof *r.bound);
    if (!rc) rc = hs_alloc(&r.prompt, n_prompt, sizeof *r.prompt);
    if (!rc) rc = hs_alloc(&r.now, n_prompt, sizeof *r.now);
    if (!rc) {
        hs_prng random = hs_prng_seed(f->seed);
        for (int64_t i = 0; i < f->n_prompt; i++) {
            const int64_t j = (int64_t)hs_prng_below(&random, (uint64_t)i + 1);
            r.prompt[i] = r.prompt[j];
            r.prompt[j] = i;
        }
        rc = run(&r);
    }
    if (!rc) finish(&r, out, report);
    void *const blocks[] = {r.runner, r.order, r.racing, r.bound, r.prompt, r.now, r.change};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) free(blocks[i]);
    return rc;
}
