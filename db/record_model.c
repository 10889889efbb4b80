// hs_rec_open: the facts of a loaded model for hs_rec_start.
#include "db/record_internal.h"

int hs_rec_open(hs_rec **out, hs_db *db, const hs_run_info *info, bool resume, int64_t *done,
                bool *complete) {
    const hs_model *m = info->model;
    const hs_backend *backend = hs_model_backend(m);
    hs_dev *dev = hs_model_dev(m);
    hs_model_facts f = {
        .dims = hs_dims_of(m),
        .arch = hs_model_arch(m)->name,
        .format = hs_ckpt_container(hs_model_ckpt(m)) == HS_GGUF ? "gguf" : "safetensors",
        .dtype = hs_model_dtype(m),
        .backend = backend->name,
        .isa = backend->isa(dev),
        .weights = hs_model_weights(m) == HS_WEIGHT_KEEP ? "keep" : "expand",
        .fingerprint = hs_ckpt_fingerprint(hs_model_ckpt(m)),
        .n_param = hs_model_n_params(m),
        .n_ctx = hs_model_config(m)->n_ctx,
        .threads = hs_pool_threads(backend->pool(dev)),
        .tok = hs_model_tok(m),
    };
    return hs_rec_start(out, db, &f, info, resume, done, complete);
}
