// Lists of observers, and the observation that stands between a hook set and them: it shows each
// one its own prompt's rows, in order, and nothing past the rows under observation.
#include <stdlib.h>
#include <string.h>

#include "analyses/observer.h"
#include "model/core/mem.h"

// ---- lists --------------------------------------------------------------------------------------

static int unknown(const char *name, size_t n) {
    hs_buf names = {0};
    for (int i = 0; hs_observers[i]; i++)
        hs_buf_printf(&names, "%s%s", i ? ", " : "", hs_observers[i]->name);
    int rc = hs_fail(HS_ENOTFOUND, "'%.*s' is not an observer: there are %s", (int)n, name,
                     hs_buf_text(&names));
    hs_buf_free(&names);
    return rc;
}

static int add(hs_observe_list *list, const hs_observer *observer, const char *args) {
    int rc = hs_grow(&list->item, (size_t)list->n + 1, sizeof *list->item);
    if (rc) return rc;
    hs_observe_item *item = &list->item[list->n++];
    item->observer = observer;
    return hs_prefix(hs_args_parse(&item->args, observer->params, args), "%s", observer->name);
}

// One "NAME" or "NAME:k=v,...", cut out of its spec.
static int add_named(hs_observe_list *list, const char *spec) {
    const size_t n = hs_spec_name(spec);
    int at = 0;
    while (hs_observers[at] &&
           (strncmp(hs_observers[at]->name, spec, n) || hs_observers[at]->name[n]))
        at++;
    if (!n || !hs_observers[at]) return unknown(spec, n);
    for (int i = 0; i < list->n; i++)
        if (list->item[i].observer == hs_observers[at])
            return hs_fail(HS_EARG, "observer '%.*s' is named twice", (int)n, spec);
    return add(list, hs_observers[at], hs_spec_args(spec));
}

// Bytes of the first item of a spec: up to a comma that is not inside its parameters, which go on
// while "k=v" follows.
static size_t item_length(const char *spec) {
    size_t n = strcspn(spec, ",");
    if (!memchr(spec, ':', n)) return n;
    while (spec[n]) {
        size_t next = strcspn(spec + n + 1, ",");
        const char *part = spec + n + 1;
        if (!memchr(part, '=', next) || strcspn(part, ":") < strcspn(part, "=")) break;
        n += 1 + next;
    }
    return n;
}

static int add_spec(hs_observe_list *list, const char *spec) {
    for (;;) {
        size_t n = item_length(spec);
        hs_buf item = {0};
        hs_buf_add(&item, spec, n);
        int rc = hs_buf_rc(&item);
        if (!rc) rc = add_named(list, item.data);
        hs_buf_free(&item);
        if (rc || !spec[n]) return rc;
        spec += n + 1;
    }
}

static bool has(const hs_observe_list *list, const hs_observer *observer) {
    for (int i = 0; i < list->n; i++)
        if (list->item[i].observer == observer) return true;
    return false;
}

// Stable: those that always run come first, each kind in the order it was named.
static int move_always_first(hs_observe_list *list) {
    hs_observe_item *sorted;
    int n = 0, rc = hs_alloc(&sorted, (size_t)list->n, sizeof *sorted);
    if (rc) return rc;
    for (int always = 1; always >= 0; always--)
        for (int i = 0; i < list->n; i++)
            if (list->item[i].observer->always == (always == 1)) sorted[n++] = list->item[i];
    free(list->item);
    list->item = sorted;
    return HS_OK;
}

int hs_observe_parse(hs_observe_list *out, const char *const *specs, int n_spec, bool with_always) {
    int rc = HS_OK;
    *out = (hs_observe_list){0};
    for (int i = 0; i < n_spec && !rc; i++) rc = add_spec(out, specs[i]);
    for (int i = 0; with_always && hs_observers[i] && !rc; i++)
        if (hs_observers[i]->always && !has(out, hs_observers[i]))
            rc = add(out, hs_observers[i], "");
    if (!rc) rc = move_always_first(out);
    if (rc) hs_observe_free(out);
    return rc;
}

void hs_observe_free(hs_observe_list *list) {
    for (int i = 0; i < list->n; i++) hs_args_free(&list->item[i].args);
    free(list->item);
    *list = (hs_observe_list){0};
}

// Adds one observer's points to the sets they belong to.
static void add_points(const hs_observer *observer, const hs_dims *dims, uint64_t *mask) {
    for (int p = 0; p < HS_N_POINT; p++) {
        if (!(observer->points & HS_BIT(p))) continue;
        const bool of_model = hs_point_infos[p].scope == HS_SCOPE_MODEL;
        for (int l = of_model ? dims->n_layer : 0; l < dims->n_layer + of_model; l++)
            mask[l] |= HS_BIT(p);
    }
}

void hs_observe_points(const hs_observe_list *list, const hs_dims *dims, uint64_t *mask) {
    for (int i = 0; i < list->n; i++) add_points(list->item[i].observer, dims, mask);
}

// ---- one observation ----------------------------------------------------------------------------

struct watcher {
    const hs_observation *observation;
    const hs_observer *observer;
    void *state;
    int64_t *next_row;  // [n_layer + 1][HS_N_POINT], the row that each point's next block starts at
    int64_t *next_tile; // [2][n_layer][n_head] the same for scores and pattern
};

struct hs_observation {
    hs_subject subject;
    struct watcher *watcher;
    int n;
    uint64_t *mask; // [n_layer + 1], scratch
};

static int open_watcher(struct watcher *w, hs_observation *o, const hs_observe_item *item) {
    const hs_dims *d = &o->subject.dims;
    *w = (struct watcher){.observation = o, .observer = item->observer};
    for (int p = 0; p < HS_N_POINT; p++)
        if (item->observer->points & HS_BIT(p) & ~d->points)
            return hs_fail(HS_EUNSUPPORTED, "%s needs %s, which this model lacks",
                           item->observer->name, hs_point_infos[p].alias);
    int rc = hs_alloc(&w->next_row, (size_t)d->n_layer + 1, HS_N_POINT * sizeof *w->next_row);
    if (!rc)
        rc = hs_alloc(&w->next_tile, (size_t)d->n_layer * (size_t)d->n_head,
                      2 * sizeof *w->next_tile);
    return rc ? rc : item->observer->open(&w->state, &o->subject, &item->args);
}

int hs_observation_open(hs_observation **out, const hs_observe_list *list,
                        const hs_subject *subject) {
    hs_observation *o;
    *out = NULL;
    int rc = hs_alloc(&o, 1, sizeof *o);
    if (rc) return rc;
    o->subject = *subject;
    if (!o->subject.n_row) o->subject.n_row = subject->n_token;
    rc = hs_alloc(&o->watcher, (size_t)list->n, sizeof *o->watcher);
    if (!rc) rc = hs_alloc(&o->mask, (size_t)subject->dims.n_layer + 1, sizeof *o->mask);
    for (int i = 0; i < list->n && !rc; i++) {
        o->n = i + 1;
        rc = open_watcher(&o->watcher[i], o, &list->item[i]);
    }
    if (rc)
        hs_observation_close(o);
    else
        *out = o;
    return rc;
}

void hs_observation_close(hs_observation *o) {
    if (!o) return;
    for (int i = 0; i < o->n; i++) {
        struct watcher *w = &o->watcher[i];
        if (w->state) w->observer->close(w->state);
        free(w->next_row);
        free(w->next_tile);
    }
    free(o->watcher);
    free(o->mask);
    free(o);
}

// Rows left to show of a block, 0 when all lie past the end; HS_E when rows are missing before it.
static int take(const struct watcher *w, int64_t *next, int64_t row0, int64_t *n_row) {
    const int64_t left = w->observation->subject.n_row - row0;
    if (*n_row > left) *n_row = left > 0 ? left : 0;
    if (*n_row && row0 != *next)
        return hs_fail(HS_E, "%s was shown row %lld where row %lld comes next", w->observer->name,
                       (long long)row0, (long long)*next);
    *next += *n_row;
    return HS_OK;
}

static int watch_rows(void *ctx, const hs_site *site, const hs_view *view) {
    const struct watcher *w = ctx;
    const int n_layer = w->observation->subject.dims.n_layer;
    const bool stats = hs_point_infos[site->point].shape == HS_SHAPE_STATS;
    if (site->seq != w->observation->subject.seq) return HS_OK;
    if (view->dtype != HS_F32 || (!stats && view->stride[view->ndim - 1] != 1))
        return hs_fail(HS_E, "%s was shown %s in a form it cannot read", w->observer->name,
                       hs_point_infos[site->point].alias);
    const int set = site->layer < 0 ? n_layer : site->layer;
    hs_site s = *site;
    hs_view v = *view;
    int rc = take(w, &w->next_row[set * HS_N_POINT + site->point], s.row0, &s.n_row);
    if (rc || !s.n_row) return rc;
    v.shape[stats ? 2 : 0] = s.n_row;
    return w->observer->rows(w->state, &s, &v);
}

static int watch_tile(void *ctx, const hs_tile *tile, int worker) {
    (void)worker;
    const struct watcher *w = ctx;
    const hs_dims *d = &w->observation->subject.dims;
    if (tile->seq != w->observation->subject.seq) return HS_OK;
    const int cell = tile->layer * d->n_head + tile->head;
    hs_tile t = *tile;
    int rc = take(w, &w->next_tile[2 * cell + (tile->point == HS_PATTERN)], t.row0, &t.n_row);
    if (rc || !t.n_row) return rc;
    if (t.n_key > t.row0 + t.n_row) t.n_key = t.row0 + t.n_row;
    return w->observer->tile(w->state, &t);
}

int hs_observation_hook(hs_observation *o, hs_hooks *hooks) {
    int rc = HS_OK;
    for (int i = 0; i < o->n && !rc; i++) {
        struct watcher *w = &o->watcher[i];
        memset(o->mask, 0, ((size_t)o->subject.dims.n_layer + 1) * sizeof *o->mask);
        add_points(w->observer, &o->subject.dims, o->mask);
        rc = hs_hooks_add(hooks, &(hs_hook){
                                     .points = o->mask,
                                     .rows = w->observer->rows ? watch_rows : NULL,
                                     .tile = w->observer->tile ? watch_tile : NULL,
                                     .ctx = w,
                                 });
    }
    return rc;
}

int hs_observation_finish(hs_observation *o, int i, const hs_emit *emit) {
    return o->watcher[i].observer->finish(o->watcher[i].state, emit);
}
