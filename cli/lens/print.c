// What a lens found, read back from the database and printed; see lens.h.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/lens/lens.h"
#include "model/core/mem.h"
#include "model/core/utf8.h"

enum { SHOWN = 4, FOLLOWED = 4 }; // positions, and tokens of --track, that people are shown

// ---- reading ----------------------------------------------------------------------------------

static int keep_text(hs_arena *arena, const hs_query *q, const char *column, const char **out) {
    const hs_cell c = hs_query_named(q, column);
    *out = NULL;
    return c.type == HS_CELL_TEXT ? hs_arena_str(arena, out, c.data, c.n) : HS_OK;
}

static int on_row(void *ctx, const hs_query *q) {
    hs_lens_found *f = ctx;
    int rc = hs_grow(&f->at, (size_t)f->n + 1, sizeof *f->at);
    if (rc) return rc;
    hs_lens_line *s = &f->at[f->n++];
    *s = (hs_lens_line){.ord = hs_query_int(q, "prompt"),
                        .position = hs_query_int(q, "position"),
                        .layer = hs_query_int(q, "layer"),
                        .top = hs_query_int(q, "top"),
                        .rank = hs_query_int(q, "rank"),
                        .final_top = hs_query_int(q, "final_top"),
                        .logit = hs_query_num(q, "logit"),
                        .prob = hs_query_num(q, "prob"),
                        .kl = hs_query_num(q, "kl")};
    rc = keep_text(f->arena, q, "id", &s->id);
    if (!rc) rc = keep_text(f->arena, q, "token", &s->token);
    if (!rc) rc = keep_text(f->arena, q, "point", &s->point);
    if (!rc) rc = keep_text(f->arena, q, "text", &s->text);
    if (!rc) rc = keep_text(f->arena, q, "final_text", &s->final_text);
    return rc;
}

static hs_source source_of(const hs_lens_found *f) {
    return (hs_source){.db = f->w->db, .run = f->w->run};
}

int hs_lens_each(const hs_lens_found *f, const char *query, const hs_lens_line *of,
                 const char *param, hs_row_fn fn, void *ctx) {
    hs_source r = source_of(f);
    hs_buf position = {0};
    hs_buf_printf(&position, "position=%" PRId64, of->position);
    r.prompt = of->id;
    int rc = hs_buf_rc(&position);
    const char *const params[] = {hs_buf_text(&position), param};
    if (!rc) rc = hs_source_each(&r, query, params, param ? 2 : 1, fn, ctx);
    hs_buf_free(&position);
    return rc;
}

static int read_found(hs_lens_found *f, const hs_lens_work *w) {
    *f = (hs_lens_found){.w = w, .n_depth = hs_model_config(w->session.model)->n_layer + 1};
    const hs_source r = source_of(f);
    int rc = hs_arena_open(&f->arena);
    if (!rc) rc = hs_source_each(&r, "lens", NULL, 0, on_row, f);
    if (!rc && f->n % f->n_depth)
        rc = hs_fail(HS_EFORMAT, "%s: damaged: %" PRId64 " rows of a lens of %" PRId64 " layers",
                     hs_db_path(w->db), f->n, f->n_depth - 1);
    return rc;
}

static void close_found(hs_lens_found *f) {
    hs_arena_close(f->arena);
    free(f->at);
}

// ---- rows -------------------------------------------------------------------------------------

static const hs_col columns[] = {
    {"prompt", NULL, 0},
    {"id", NULL, 0},
    {"position", NULL, 0},
    {"token", NULL, 0},
    {"point", NULL, 0},
    {"layer", "layer", 0},
    {"top", NULL, 0},
    {NULL, "says", 0},
    {"text", NULL, 0},
    {"logit", "logit", 3},
    {"prob", "p", 4},
    {"kl", "KL (nats)", 4},
    {"rank", "final token's rank", 0},
    {"final_top", NULL, 0},
    {"final_text", NULL, 0},
};
enum { N_COLUMN = sizeof columns / sizeof *columns };

static void table_rows(hs_table *t, const hs_lens_line *s, int64_t n) {
    for (const hs_lens_line *end = s + n; s < end; s++) {
        hs_table_int(t, s->ord);
        hs_table_str(t, s->id);
        hs_table_int(t, s->position);
        hs_table_str(t, s->token);
        hs_table_str(t, s->point);
        hs_table_int(t, s->layer);
        hs_table_int(t, s->top);
        if (s->text)
            hs_table_str(t, s->text);
        else
            hs_table_int(t, s->top);
        hs_table_str(t, s->text);
        hs_table_num(t, s->logit);
        hs_table_num(t, s->prob);
        hs_table_num(t, s->kl);
        hs_table_int(t, s->rank);
        hs_table_int(t, s->final_top);
        hs_table_str(t, s->final_text);
    }
}

static int put_table(const hs_lens_found *f, const hs_lens_line *s, int64_t n) {
    hs_table *t;
    int rc = hs_table_open(&t, columns, N_COLUMN);
    if (!rc) {
        table_rows(t, s, n);
        rc = hs_table_put(t, f->w->call, &f->w->opt->out);
    }
    hs_table_close(t);
    return rc;
}

// ---- for people -------------------------------------------------------------------------------

// `, "text"` or the token's number.
static void name_token(hs_buf *out, const char *text, int64_t id) {
    hs_buf_chr(out, ' ');
    if (!text) {
        hs_buf_printf(out, "%" PRId64, id);
        return;
    }
    hs_buf_chr(out, '"');
    hs_utf8_visible(out, text, strlen(text), false);
    hs_buf_chr(out, '"');
}

// Tokens that are followed, side by side: ranks and probabilities, of one after the other.
typedef struct paths {
    hs_lens_found *f;
    int64_t n;     // read
    int64_t *rank; // [n_track][n_depth]
    double *prob;
    const char *text[FOLLOWED]; // of the tokens, in the arena
} paths;

static int on_path(void *ctx, const hs_query *q) {
    paths *p = ctx;
    const int64_t depth = p->n % p->f->n_depth, token = p->n / p->f->n_depth;
    if (token >= FOLLOWED) return HS_OK;
    p->rank[p->n] = hs_query_int(q, "rank");
    p->prob[p->n++] = hs_query_num(q, "prob");
    if (depth) return HS_OK;
    hs_buf name = {0};
    const hs_cell text = hs_query_named(q, "text");
    if (text.type == HS_CELL_TEXT)
        hs_utf8_visible(&name, text.data, text.n, true);
    else
        hs_buf_printf(&name, "%" PRId64, hs_query_int(q, "token"));
    int rc = hs_buf_rc(&name);
    if (!rc) rc = hs_arena_str(p->f->arena, &p->text[token], hs_buf_text(&name), name.len);
    hs_buf_free(&name);
    return rc;
}

static int table_paths(hs_table **out, const paths *p) {
    hs_col cols[1 + 2 * FOLLOWED] = {{NULL, "layer", 0}};
    const int64_t n_depth = p->f->n_depth, n = p->n / n_depth;
    for (int64_t t = 0; t < n; t++) {
        cols[1 + 2 * t] = (hs_col){NULL, p->text[t], 0};
        cols[2 + 2 * t] = (hs_col){NULL, "p", 4};
    }
    int rc = hs_table_open(out, cols, (int)(1 + 2 * n));
    for (int64_t depth = 0; depth < n_depth && !rc; depth++) {
        hs_table_int(*out, depth - 1);
        for (int64_t t = 0; t < n; t++) {
            hs_table_int(*out, p->rank[t * n_depth + depth]);
            hs_table_num(*out, p->prob[t * n_depth + depth]);
        }
    }
    return rc;
}

static int put_track(hs_lens_found *f, const hs_lens_line *of) {
    paths p = {.f = f};
    hs_table *t = NULL;
    int rc = hs_arena_get(f->arena, &p.rank, (size_t)(FOLLOWED * f->n_depth), sizeof *p.rank);
    if (!rc) rc = hs_arena_get(f->arena, &p.prob, (size_t)(FOLLOWED * f->n_depth), sizeof *p.prob);
    if (!rc) rc = hs_lens_each(f, "lens_track", of, NULL, on_path, &p);
    if (!rc) rc = table_paths(&t, &p);
    if (!rc) puts("\nranks of");
    if (!rc) rc = hs_table_put(t, f->w->call, &f->w->opt->out);
    hs_table_close(t);
    return rc;
}

// The largest parts, and what all of a kind come to.
typedef struct shown {
    hs_table *t;
    int64_t n, most;
    double heads, mlps, embed, bias, logit;
    bool has_mlps;
    hs_buf of; // which token
} shown;

static int on_shown(void *ctx, const hs_query *q) {
    shown *s = ctx;
    char part[16], unit[40], text[64];
    const double value = hs_query_num(q, "value");
    hs_query_text(q, "part", part, sizeof part);
    hs_query_text(q, "unit", unit, sizeof unit);
    if (!s->of.len) {
        s->logit = hs_query_num(q, "logit");
        hs_query_text(q, "token", text, sizeof text);
        name_token(&s->of, *text ? text : NULL, hs_query_int(q, "token_id"));
        hs_query_text(q, "minus", text, sizeof text);
        if (hs_query_named(q, "minus_id").type == HS_CELL_INT) {
            hs_buf_str(&s->of, " less that of");
            name_token(&s->of, *text ? text : NULL, hs_query_int(q, "minus_id"));
        }
    }
    if (!strcmp(part, "head")) s->heads += value;
    if (!strcmp(part, "mlp")) s->mlps += value;
    s->has_mlps |= !strcmp(part, "mlp");
    if (!strcmp(part, "embed")) s->embed = value;
    if (!strcmp(part, "bias")) s->bias = value;
    if (!strcmp(part, "rest") || !strcmp(part, "bias") || !strcmp(part, "embed")) return HS_OK;
    if (s->n++ >= s->most) return HS_OK;
    hs_table_str(s->t, unit);
    hs_table_str(s->t, part);
    hs_table_num(s->t, value);
    return HS_OK;
}

static int put_dla(const hs_lens_found *f, const hs_lens_line *of) {
    static const hs_col cols[] = {{NULL, "unit", 0}, {NULL, "kind", 0}, {NULL, "adds", 6}};
    shown s = {.most = f->w->opt->top};
    int rc = hs_table_open(&s.t, cols, 3);
    if (!rc) rc = hs_lens_each(f, "dla", of, "by=value", on_shown, &s);
    if (!rc) rc = hs_buf_rc(&s.of);
    if (!rc) {
        printf("\nlogit of%s: %.6f = heads %.6f", hs_buf_text(&s.of), s.logit, s.heads);
        if (s.has_mlps) printf(" + MLPs %.6f", s.mlps);
        printf(" + embeddings %.6f + biases %.6f\n", s.embed, s.bias);
        rc = hs_table_put(s.t, f->w->call, &f->w->opt->out);
    }
    hs_buf_free(&s.of);
    hs_table_close(s.t);
    return rc;
}

static int put_position(hs_lens_found *f, const hs_lens_line *s) {
    hs_buf line = {0};
    hs_buf_printf(&line, "\nprompt %s, position %" PRId64, s->id ? s->id : "", s->position);
    if (s->token) hs_buf_chr(&line, ',');
    if (s->token) name_token(&line, s->token, 0);
    hs_buf_str(&line, " ->");
    name_token(&line, s->final_text, s->final_top);
    int rc = hs_buf_rc(&line);
    if (!rc) puts(hs_buf_text(&line));
    hs_buf_free(&line);
    if (!rc) rc = put_table(f, s, f->n_depth);
    if (!rc && f->w->n_track) rc = put_track(f, s);
    return !rc && f->w->opt->dla ? put_dla(f, s) : rc;
}

static void put_next(const hs_lens_found *f) {
    const char *path = hs_db_path(f->w->db), *db = " --db ";
    if (strcmp(path, "headscope.db") == 0) db = path = "";
    if (f->w->call->quiet) return;
    printf("\nnext: headscope query %s --run %" PRId64 "%s%s\n", f->w->opt->dla ? "dla" : "lens",
           f->w->run, db, path);
    if (f->w->opt->dla)
        printf("      headscope heatmap %" PRId64 " --grid dla -o dla.png%s%s\n", f->w->run, db,
               path);
    printf("      headscope heatmap %" PRId64 " --lens -o lens.png%s%s\n", f->w->run, db, path);
}

static int put_people(hs_lens_found *f) {
    const int64_t n = f->n / f->n_depth;
    int rc = HS_OK;
    printf("logit lens of %" PRId64 " position%s%s: run %" PRId64 " in %s\n", n, n == 1 ? "" : "s",
           f->w->opt->norm == HS_LENS_FROZEN ? ", with the final norm's scale of the run" : "",
           f->w->run, hs_db_path(f->w->db));
    for (int64_t i = 0; i < n && i < SHOWN && !rc; i++)
        rc = put_position(f, &f->at[i * f->n_depth]);
    if (n > SHOWN) printf("\n... and %" PRId64 " positions more\n", n - SHOWN);
    if (!rc) put_next(f);
    return rc;
}

int hs_lens_print(const hs_lens_work *w) {
    const hs_out_options *out = &w->opt->out;
    hs_lens_found f;
    int rc = read_found(&f, w);
    if (!rc)
        rc = out->json                ? hs_lens_json(&f)
             : out->jsonl || out->csv ? put_table(&f, f.at, f.n)
                                      : put_people(&f);
    close_found(&f);
    return rc;
}
