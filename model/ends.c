// Ends of a generation; see ends.h. transformers reads config.json's ids where a model came without
// generation_config.json; where both list some, each of them ends a text that the model wrote.
#include "model/ends.h"

#include <stdlib.h>

#include "model/core/mem.h"

static int add(hs_ends *e, int64_t id) {
    if (id < 0 || id > INT32_MAX) return HS_OK;
    int rc = hs_grow(&e->id, e->n + 1, sizeof *e->id);
    if (!rc) e->id[e->n++] = (int32_t)id;
    return rc;
}

static int add_json(hs_ends *e, const hs_json *v) {
    int64_t id;
    if (!v) return HS_OK;
    int rc = hs_json_int(v, &id) ? add(e, id) : HS_OK;
    for (const hs_json *item = hs_json_first(v); !rc && item; item = hs_json_next(item))
        if (hs_json_int(item, &id)) rc = add(e, id);
    return rc;
}

static int read_folder(hs_ends *e, const hs_ckpt *ck) {
    static const char *const files[] = {"config.json", "generation_config.json"};
    int rc = HS_OK;
    for (size_t i = 0; !rc && i < sizeof files / sizeof *files; i++) {
        hs_json *file;
        rc = hs_ckpt_side_json(ck, files[i], &file);
        if (!rc) rc = add_json(e, hs_json_get(file, "eos_token_id"));
        hs_json_free(file);
    }
    return rc;
}

static int read_gguf(hs_ends *e, const hs_ckpt *ck) {
    static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    int rc = HS_OK;
    for (size_t k = 0; !rc && k < sizeof keys / sizeof *keys; k++) {
        hs_meta m;
        if (hs_ckpt_meta(ck, keys[k], &m) && m.type == HS_META_INT) rc = add(e, m.i);
    }
    return rc;
}

int hs_ends_read(hs_ends *out, const hs_ckpt *ck) {
    *out = (hs_ends){0};
    int rc = hs_ckpt_container(ck) == HS_GGUF ? read_gguf(out, ck) : read_folder(out, ck);
    if (rc) hs_ends_free(out);
    return rc;
}

void hs_ends_free(hs_ends *e) {
    free(e->id);
    *e = (hs_ends){0};
}
