// Unedited runs that somebody looks at; see watched.h.
#include "analyses/watched.h"

#include <stdlib.h>

#include "model/core/mem.h"

int hs_watched_run(const hs_model *model, enum hs_point point, int layer, hs_hook hook,
                   const hs_seq *seq, int64_t n) {
    const hs_dims dims = hs_dims_of(model);
    hs_hooks *hooks = NULL;
    hs_context *context = NULL;
    uint64_t *points;
    int rc = hs_alloc(&points, (size_t)dims.n_layer + 1, sizeof *points);
    for (int l = 0; !rc && l < dims.n_layer; l++)
        if (layer == HS_WATCH_ALL || l == layer) points[l] = HS_BIT(point);
    hook.points = points;
    if (!rc) rc = hs_hooks_open(&hooks, &dims);
    if (!rc) rc = hs_hooks_add(hooks, &hook);
    if (!rc) rc = hs_context_open(&context, model, NULL);
    if (!rc) hs_context_set_tap(context, hs_hooks_tap(hooks));
    for (int64_t i = 0; i < n && !rc; i++)
        rc = hs_context_eval(context, &(hs_batch){.seq = &seq[i],
                                                  .n_seq = 1,
                                                  .layer_to = layer == HS_WATCH_ALL ? 0 : layer + 1,
                                                  .logits = HS_LOGITS_NONE});
    hs_context_close(context);
    hs_hooks_close(hooks);
    free(points);
    return rc;
}
