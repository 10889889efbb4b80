// Fuzz target: --do specs, a line each, against the sizes of a small model and a prompt; the first
// two bytes say how long it is and what the model lacks. What is accepted is then let loose on
// numbers of every point that it may write: it keeps to the rows, heads and keys that it is about.
// covers: hooks/intervention.c hooks/edits.c hooks/units.c hooks/places.c hooks/iv_ablate.c
// covers: hooks/iv_freeze.c hooks/iv_knock.c hooks/iv_mask.c hooks/iv_norm.c hooks/iv_patch.c
// covers: hooks/iv_boost.c hooks/iv_middle.c hooks/iv_var.c hooks/sink.c
// covers: hooks/iv_act.c hooks/iv_concentric.c hooks/iv_embeds.c hooks/iv_scale.c
// covers: hooks/iv_steer.c hooks/iv_temper.c
#include "hooks/intervention.h"
#include "model/core/json.h"
#include "tests/fuzz/shared.h"

enum { N_LAYER = 2, N_HEAD = 4, T_MAX = 9, MOST = 4, WIDTH = 32 };

static const hs_span spans[] = {{"a", 0, 2}, {"end", 3, 4}};

static hs_dims dims_of(uint8_t lacks) {
    hs_dims d = {
        .n_layer = N_LAYER,
        .n_head = N_HEAD,
        .n_kv_head = 2,
        .d_model = 6,
        .d_head = 3,
        .d_ff = 7,
        .n_vocab = 9,
        .attn_scale = 0.5,
        .points = HS_BIT(HS_N_POINT) - 1,
    };
    if (lacks & 1) d.points &= ~(HS_BIT(HS_MLP_OUT) | HS_BIT(HS_MLP_POST) | HS_BIT(HS_MLP_PRE));
    if (lacks & 2) d.points &= ~HS_BIT(HS_POS_EMBED);
    return d;
}

// What edits about channels and documents refer to; a prompt has as many of these as positions.
static const int64_t channels[] = {1, 4};
static const double looks[N_LAYER * N_HEAD * T_MAX] = {0.25, 0, 0.5};

// A number of any place, as an unedited run would hold it.
static float number_of(int64_t row, int64_t k) {
    return (float)((row * 31 + k * 17) % 23 - 11) / 4;
}

static int ref_rows(void *ctx, enum hs_point point, int layer, int64_t row0, int64_t n,
                    float *out) {
    const hs_dims *d = ctx;
    int64_t shape[4];
    (void)layer;
    const int ndim = hs_point_shape(d, point, 1, shape);
    const int64_t width = ndim == 3 ? shape[1] * shape[2] : shape[1];
    for (int64_t i = 0; i < n * width; i++) out[i] = number_of(row0 + i / width, i % width + 1);
    return HS_OK;
}

static int ref_map(void *ctx, enum hs_point point, int layer, int head, int64_t row0, int64_t n,
                   int64_t n_key, float *out, int64_t ld) {
    (void)ctx;
    (void)point;
    (void)layer;
    for (int64_t r = 0; r < n; r++)
        for (int64_t k = 0; k < n_key; k++) out[r * ld + k] = number_of(row0 + r, k + head);
    return HS_OK;
}

static void look_at(const hs_edit *e, const hs_dims *d, const char *spec) {
    hs_buf json = {0};
    hs_json *parsed;
    for (int l = 0; l <= N_LAYER; l++)
        for (int p = 0; p < HS_N_POINT; p++) {
            if (!(hs_edit_points(e)[l] & HS_BIT(p))) continue;
            need(d->points & HS_BIT(p) && hs_point_infos[p].writable);
            need((hs_point_infos[p].scope == HS_SCOPE_MODEL) == (l == N_LAYER));
        }
    need(!strcmp(hs_edit_spec(e), spec));
    hs_edit_json(e, &json);
    need(!hs_json_parse(&parsed, hs_buf_text(&json), json.len));
    need(hs_json_type(parsed) == HS_JSON_OBJ && hs_json_get(parsed, "target"));
    hs_json_free(parsed);
    hs_buf_free(&json);
}

// Whether a row has its first bits.
static bool as_it_was(const float *row, int64_t pos, int64_t n) {
    for (int64_t k = 0; k < n; k++) {
        const float was = number_of(pos, k);
        if (memcmp(&row[k], &was, sizeof was) != 0) return false;
    }
    return true;
}

// All rows of a prompt of n tokens and the one after it. Those before `first` keep their bits.
static void give_rows(const hs_tap *tap, const hs_dims *d, enum hs_point p, int layer, int seq,
                      int64_t n, int64_t first) {
    float data[(T_MAX + 1) * WIDTH];
    hs_view v = {data, HS_F32, 0, {0}, {0}};
    v.ndim = hs_point_shape(d, p, n + 1, v.shape);
    const int64_t width = v.ndim == 3 ? v.shape[1] * v.shape[2] : v.shape[1];
    need(width <= WIDTH);
    v.stride[0] = width;
    v.stride[1] = v.ndim == 3 ? v.shape[2] : 1;
    v.stride[2] = 1;
    for (int64_t i = 0; i < (n + 1) * width; i++) data[i] = number_of(i / width, i % width);
    const hs_site site = {p, layer == N_LAYER ? -1 : layer, seq, 0, n + 1};
    if (tap->rows(tap->ctx, &site, &v, true)) need(*hs_errmsg() != 0);
    for (int64_t r = 0; r < first; r++) need(as_it_was(data + r * width, r, width));
}

static void give_tile(const hs_tap *tap, enum hs_point p, int layer, int head, int seq, int64_t n,
                      int64_t first, bool survey) {
    enum { LD = T_MAX + 3 };
    float data[(T_MAX + 1) * LD];
    for (int64_t i = 0; i < (n + 1) * LD; i++) data[i] = number_of(i / LD, i % LD);
    const int64_t rows = survey ? n : n + 1; // what is decoded is not surveyed
    const hs_tile t = {p, layer, head, seq, 0, rows, rows, data, LD, NULL, 0, survey, false};
    if (tap->tile(tap->ctx, &t, true, head)) need(*hs_errmsg() != 0);
    for (int64_t r = 0; r < rows; r++) {
        if (r < first) need(as_it_was(data + r * LD, r, LD));
        for (int64_t k = r + 1; k < LD; k++) { // masked, or past the tile
            const float was = number_of(r, k);
            need(!memcmp(&data[r * LD + k], &was, sizeof was));
        }
    }
}

// Everything that an evaluation of two sequences would show; the second has no edits.
static void let_loose(const hs_tap *tap, const hs_dims *d, int64_t n, int64_t first) {
    for (int s = 0; s < 2; s++)
        for (int l = 0; l <= N_LAYER; l++) {
            const int64_t kept = s ? n + 1 : first;
            for (int p = 0; p < HS_N_POINT; p++)
                if (tap->write[l] & HS_BIT(p) && hs_point_infos[p].shape != HS_SHAPE_MAP)
                    give_rows(tap, d, (enum hs_point)p, l, s, n, kept);
            for (int h = 0; l < N_LAYER && h < N_HEAD; h++) {
                const int want = tap->tile_want[l * N_HEAD + h];
                for (int survey = want & HS_TILE_SURVEY ? 1 : 0; survey >= 0; survey--) {
                    if (want & HS_TILE_WRITE_SCORES)
                        give_tile(tap, HS_SCORES, l, h, s, n, kept, survey);
                    if (want & HS_TILE_WRITE_PATTERN)
                        give_tile(tap, HS_PATTERN, l, h, s, n, kept, survey);
                }
            }
        }
}

// The edits of a prompt at work, all of which fit it.
static void apply(hs_edit *const *edit, int n, hs_dims *d, const hs_edit_prompt *p) {
    hs_edits *edits;
    hs_hooks *hooks;
    hs_ref ref[MOST];
    int64_t first = p->n_token;
    for (int i = 0; i < n; i++) {
        const int64_t row = hs_edit_first(edit[i], p);
        need(0 <= row && row <= p->n_token);
        if (row < first) first = row;
        ref[i] = (hs_ref){.ctx = d,
                          .n_row = T_MAX + 1,
                          .rows = ref_rows,
                          .map = ref_map,
                          .channel = channels,
                          .n_channel = 2,
                          .look = looks};
    }
    const hs_edit_seq seq[2] = {{edit, ref, n, *p}, {NULL, NULL, 0, *p}};
    need(!hs_edits_open(&edits, d));
    need(!hs_hooks_open(&hooks, d));
    need(!hs_edits_hook(edits, hooks, edit, n));
    need(!hs_edits_aim(edits, seq, 2));
    let_loose(hs_hooks_tap(hooks), d, p->n_token, first);
    hs_hooks_close(hooks);
    hs_edits_close(edits);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    input in = {data, n};
    hs_edit *edit[MOST];
    int n_edit = 0;
    if (n > 2000 || memchr(data, '/', n)) return 0; // no files but those of this folder
    const hs_edit_prompt p = {1, "story", 1 + take_byte(&in) % T_MAX, {NULL, 0}, {spans, 2}};
    hs_dims d = dims_of(take_byte(&in));
    while (in.n && n_edit < MOST) {
        char *spec = text_of(take_until(&in, '\n'));
        if (hs_edit_open(&edit[n_edit], &d, spec)) {
            need(!edit[n_edit] && *hs_errmsg());
        } else {
            look_at(edit[n_edit], &d, spec);
            const int rc = hs_edit_check(edit[n_edit], &p);
            need(!rc || hs_edit_check_all(edit[n_edit], &p, 1)); // asks more
            if (rc)
                hs_edit_close(edit[n_edit]);
            else
                n_edit++;
        }
        free(spec);
    }
    if (n_edit) apply(edit, n_edit, &d, &p);
    for (int i = 0; i < n_edit; i++) hs_edit_close(edit[i]);
    return 0;
}
