// The products of a model with its weights, at its own shapes.
//
// All of them are done in turns, and each goes from layer to layer, so that weights come from where
// they lie in a real run: for most models memory and not a cache. Below 16 rows, where each weight is
// used a few times only, the rate is that of bytes read.
#include <stdlib.h>

#include "cli/bench/bench.h"
#include "model/core/mem.h"
#include "model/elem.h"

enum {
    MANY_ROWS = 16,         // from here on rates are of products
    MOST_NUMBERS = 1 << 27, // of an output
};

static const int64_t row_counts[] = {1, 8, 64, 256, 1024};
enum { N_ROW_COUNT = 5 };

// ---- sizes --------------------------------------------------------------------------------------

// Products that share their input.
typedef struct part {
    const char *name;
    enum hs_role role[3];
    int n_role;
    bool head;
} part;

static const part parts[] = {
    {"qkv", {HS_W_Q, HS_W_K, HS_W_V}, 3, false},
    {"o", {HS_W_O}, 1, false},
    {"gate, up", {HS_W_GATE, HS_W_UP}, 2, false},
    {"down", {HS_W_DOWN}, 1, false},
    {"head", {HS_W_HEAD}, 1, true},
};
enum { N_PART = 5 };

// Outputs and inputs of a role's matrix.
static void shape_of(const hs_config *c, enum hs_role role, int64_t *n, int64_t *k) {
    const int64_t q = c->n_head * c->d_head, kv = c->n_kv_head * c->d_head;
    const struct {
        enum hs_role role;
        int64_t n, k;
    } shapes[] = {
        {HS_W_Q, q, c->d_model},          {HS_W_K, kv, c->d_model},
        {HS_W_V, kv, c->d_model},         {HS_W_O, c->d_model, q},
        {HS_W_GATE, c->d_ff, c->d_model}, {HS_W_UP, c->d_ff, c->d_model},
        {HS_W_DOWN, c->d_model, c->d_ff}, {HS_W_HEAD, c->n_vocab, c->d_model},
    };
    *n = *k = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (shapes[i].role == role) *n = shapes[i].n, *k = shapes[i].k;
}

// Matrices of layers are taken to be of the type that most weights of the file have.
double hs_bench_bytes(const hs_model *m, bool head, int64_t n, int64_t k) {
    const hs_backend *be = hs_model_backend(m);
    const hs_view *table = hs_model_table(m, HS_W_HEAD);
    hs_view v = {.dtype = HS_F32, .ndim = 2, .shape = {n, k}, .stride = {k, 1}};
    for (int d = 0; d < HS_N_DTYPE; d++)
        if (hs_dtypes[d].name == hs_model_dtype(m)) v.dtype = (hs_dtype)d;
    if (head && table) v.dtype = table->dtype;
    // The reference reads the file's own numbers.
    if (be == &hs_backend_ref)
        return (double)n * (double)k * hs_dtypes[v.dtype].bytes / hs_dtypes[v.dtype].items;
    return (double)be->weight_bytes(hs_model_dev(m), &v, hs_model_weights(m));
}

static bool has_role(const hs_model *m, enum hs_role role) {
    return hs_model_weight(m, role, role == HS_W_HEAD ? -1 : 0) != NULL;
}

void hs_bench_matrices(const hs_model *m, double *weights, double *bytes) {
    const hs_config *c = hs_model_config(m);
    *weights = *bytes = 0;
    for (int i = 0; i < N_PART; i++)
        for (int j = 0; j < parts[i].n_role; j++) {
            const double times = parts[i].head ? 1 : (double)c->n_layer;
            int64_t n, k;
            if (!has_role(m, parts[i].role[j])) continue;
            shape_of(c, parts[i].role[j], &n, &k);
            *weights += times * (double)n * (double)k;
            *bytes += times * hs_bench_bytes(m, parts[i].head, n, k);
        }
}

double hs_bench_products(const hs_bench *b, const char **name) {
    const bool bf16 = hs_model_precision(b->model) == HS_PREC_BF16;
    *name = bf16 ? "bf16" : "f32";
    return bf16 ? b->ceiling.bf16[1] : b->ceiling.f32[1];
}

// ---- products -----------------------------------------------------------------------------------

// A part as this model has it.
typedef struct linear {
    const hs_bench *b;
    part part;
    int64_t n[3], n_all, k; // outputs of each product and of all, inputs
    const void *x;
    void *y;
    int64_t n_rows;
    int layers, next; // a repetition does so many layers, beginning with `next`
} linear;

static const hs_weight *weight(const linear *l, int i, int layer) {
    return hs_model_weight(l->b->model, l->part.role[i], l->part.head ? -1 : layer);
}

static int linear_once(const linear *l, int layer) {
    const hs_backend *be = hs_model_backend(l->b->model);
    hs_product products[3];
    int64_t before = 0;
    for (int i = 0; i < l->part.n_role; i++) {
        void *y = hs_elem_at(be->dtype, l->y, before * l->n_rows);
        products[i] = (hs_product){y, l->n[i], weight(l, i, layer), NULL};
        before += l->n[i];
    }
    return be->linear(hs_model_dev(l->b->model), products, l->part.n_role, l->x, l->k, l->n_rows);
}

static int linear_turn(void *arg, double *seconds) {
    linear *l = arg;
    const int n_layer = (int)hs_model_config(l->b->model)->n_layer;
    int rc = HS_OK;
    (void)seconds;
    for (int i = 0; i < l->layers && !rc; i++) {
        rc = linear_once(l, l->next);
        l->next = (l->next + 1) % n_layer;
    }
    return rc;
}

// false when the model has nothing of the part.
static bool find_part(linear *l, const hs_bench *b, const part *p) {
    *l = (linear){.b = b, .part = {.name = p->name, .head = p->head}};
    for (int i = 0; i < p->n_role; i++) {
        const int at = l->part.n_role;
        l->part.role[at] = p->role[i];
        if (!weight(l, at, 0)) continue;
        shape_of(hs_model_config(b->model), p->role[i], &l->n[at], &l->k);
        l->n_all += l->n[at];
        l->part.n_role++;
    }
    if (l->part.role[0] == HS_W_UP) l->part.name = "up";
    return l->part.n_role > 0;
}

// The share is that of the ceiling which binds: products need so much time, and reading the weights
// so much.
static void add_result(hs_bench *b, const linear *l, int64_t n_rows, double seconds) {
    char shape[64];
    hs_bench_row row = {.name = "linear", .detail = shape, .n = n_rows, .seconds = seconds};
    const double weights = (double)l->n_all * (double)l->k, flops = 2 * weights * (double)n_rows;
    const double bytes = hs_bench_bytes(b->model, l->part.head, l->n_all, l->k);
    const double products = flops / hs_bench_products(b, &row.of);
    const double reading = bytes / b->ceiling.read[1];
    row.share = products / seconds;
    row.rate = flops / seconds * 1e-9;
    row.unit = "GF/s";
    if (reading > products) {
        row.share = reading / seconds;
        row.of = "memory";
    }
    if (n_rows < MANY_ROWS) {
        row.rate = bytes / seconds * 1e-9;
        row.unit = "GB/s";
        row.weights = weights / seconds;
    }
    snprintf(shape, sizeof shape, "%s, %lld x %lld", l->part.name, (long long)l->n_all,
             (long long)l->k);
    hs_bench_add(b->ops, &row);
}

// All parts at one number of rows; 0 seconds for those whose output would be too large.
static int time_rows(hs_bench *b, linear *all, int n, int64_t n_rows, double seconds[N_PART]) {
    const int n_layer = (int)hs_model_config(b->model)->n_layer;
    hs_thing things[N_PART];
    int n_timed = 0;
    for (int i = 0; i < n; i++) {
        seconds[i] = 0;
        all[i].n_rows = n_rows;
        all[i].layers = n_rows < MANY_ROWS && !all[i].part.head ? n_layer : 1;
        if (n_rows > 1 && n_rows * all[i].n_all > MOST_NUMBERS) continue;
        things[n_timed++] = (hs_thing){linear_turn, &all[i], 0};
    }
    int rc = hs_bench_best(b, n_timed, things);
    for (int i = 0; i < n_timed && !rc; i++) {
        const linear *l = things[i].arg;
        seconds[l - all] = things[i].seconds / l->layers;
    }
    return rc;
}

int hs_bench_linear(hs_bench *b) {
    const int64_t most_rows = row_counts[N_ROW_COUNT - 1];
    const int dtype = hs_model_backend(b->model)->dtype;
    linear all[N_PART];
    double seconds[N_ROW_COUNT][N_PART];
    int64_t k = 0, outputs = 0;
    int n = 0;
    for (int i = 0; i < N_PART; i++) n += find_part(&all[n], b, &parts[i]);
    for (int i = 0; i < n; i++) {
        const int64_t numbers = most_rows * all[i].n_all;
        if (all[i].k > k) k = all[i].k;
        if (numbers > outputs) outputs = numbers;
    }
    if (outputs > MOST_NUMBERS) outputs = MOST_NUMBERS;
    void *x = NULL, *y = NULL;
    int rc = hs_bench_numbers(b, &x, most_rows * k);
    if (!rc) rc = hs_alloc(&y, (size_t)outputs, (size_t)hs_dtypes[dtype].bytes);
    for (int i = 0; i < n; i++) all[i].x = x, all[i].y = y;
    hs_bench_stage(b, "measuring products", N_ROW_COUNT);
    for (int r = 0; r < N_ROW_COUNT && !rc; r++)
        rc = time_rows(b, all, n, row_counts[r], seconds[r]);
    for (int i = 0; i < n && !rc; i++)
        for (int r = 0; r < N_ROW_COUNT; r++)
            if (seconds[r][i] > 0) add_result(b, &all[i], row_counts[r], seconds[r][i]);
    free(x);
    free(y);
    return rc;
}
