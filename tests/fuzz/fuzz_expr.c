// Fuzz target: what users write for numbers of their own: expressions (after a byte that is even) and
// shards (odd). An expression that is accepted gives the same for the same numbers, and reads what it
// says that it does and no more.
// covers: db/expr.c cli/shard.c
#include <math.h>
#include <string.h>

#include "cli/shard.h"
#include "db/expr.h"
#include "tests/fuzz/shared.h"

static const char *const names[] = {"nll", "kl", "prob", "base_nll", NULL};
enum { N_NAME = 4 };

static bool same(double a, double b) {
    return a == b || (isnan(a) && isnan(b));
}

static void expression(const char *text) {
    static const double values[] = {3, 0.5, NAN, -1e300};
    hs_expr *e;
    uint64_t used = 0;
    if (hs_expr_open(&e, text, names, &used)) return;
    need(!(used >> N_NAME));
    double v[N_NAME], first, again;
    memcpy(v, values, sizeof v);
    const int rc = hs_expr_value(e, v, &first);
    need(!isinf(first));
    for (int i = 0; i < N_NAME; i++)
        if (!(used >> i & 1)) v[i] = 7; // what it does not name
    need(hs_expr_value(e, v, &again) == rc);
    need(same(first, again));
    hs_expr_close(e);
}

static void shard(const char *text) {
    hs_shard s;
    if (hs_shard_parse(&s, text)) return;
    int64_t n = 0;
    need(s.i >= 0 && s.i < s.n);
    for (hs_shard k = {.n = s.n}; k.i < s.n && k.i < 100; k.i++) n += hs_shard_count(&k, 100);
    need(n == 100);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (!n) return 0;
    char *text = text_of((input){data + 1, n - 1});
    (data[0] & 1 ? shard : expression)(text);
    free(text);
    return 0;
}
