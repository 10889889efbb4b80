// Checkpoints: GGUF v2/v3, safetensors (one file, or an index with shards), or a folder with
// config.json. Mapped read only; every length, offset and count is checked against the file
// before use, for all tensors, at open.
#ifndef HS_MODEL_CKPT_H
#define HS_MODEL_CKPT_H

#include <stdbool.h>

#include "model/core/json.h"
#include "model/core/mem.h"
#include "model/core/view.h"

typedef struct hs_ckpt hs_ckpt;

enum hs_container { HS_GGUF, HS_SAFETENSORS };

typedef struct hs_tensor {
    const char *name;
    hs_view view; // row-major, slowest axis first in both containers (GGUF's order is reversed)
    size_t bytes; // in the file
} hs_tensor;

// A metadata value: a GGUF key, or a member of config.json by dotted path ("rope_scaling.factor").
enum hs_meta_type {
    HS_META_NULL,
    HS_META_BOOL,
    HS_META_INT,
    HS_META_NUM,
    HS_META_STR,
    HS_META_ARR,
    HS_META_OBJ
};
typedef struct hs_meta {
    enum hs_meta_type type;
    int64_t i;      // BOOL, INT; NUM when it is integral
    double f;       // INT, NUM
    const char *s;  // STR: n bytes, not NUL-terminated in GGUF
    size_t n;       // STR: bytes; ARR, OBJ: items
    const void *at; // where an array's items are (opaque)
    enum hs_container from;
} hs_meta;

// path: a .gguf file; a .safetensors file (config.json beside it, or none: it then has no
// metadata); a folder with config.json and model.safetensors or model.safetensors.index.json; or a
// hub name "org/name", looked up (read only) under $HF_HUB_CACHE, $HF_HOME/hub or
// ~/.cache/huggingface/hub, refs/main first. A path that exists wins over a hub name.
// HS_EFORMAT: damaged; HS_EUNSUPPORTED: a pickle file (the message says why they are refused) or
// an unknown container or version; HS_ENOTFOUND: nothing there. A folder may hold no weights only
// when `need_weights` is false (tokenizers).
int hs_ckpt_open(hs_ckpt **out, const char *path, bool need_weights) HS_MUST_USE;
void hs_ckpt_close(hs_ckpt *);

enum hs_container hs_ckpt_container(const hs_ckpt *);
const char *hs_ckpt_path(const hs_ckpt *); // the resolved file or folder
size_t hs_ckpt_count(const hs_ckpt *);
const hs_tensor *hs_ckpt_at(const hs_ckpt *, size_t i);
const hs_tensor *hs_ckpt_find(const hs_ckpt *, const char *name); // NULL when absent; hashed

// False when absent. JSON null is HS_META_NULL and true.
bool hs_ckpt_meta(const hs_ckpt *, const char *key, hs_meta *out);
// Item i of an array; false past its end or for a nested array (GGUF arrays of arrays are not
// needed by any key we read). O(1) in GGUF, O(i) in JSON.
bool hs_meta_item(const hs_meta *arr, size_t i, hs_meta *out);
// Name of key i (GGUF: file order; JSON: top-level members); NULL past the end.
const char *hs_ckpt_meta_key(const hs_ckpt *, size_t i);

// Maps a file of the model's folder ("tokenizer.json"); HS_ENOTFOUND when there is none. For a
// lone GGUF there never is one. The caller closes the map.
int hs_ckpt_side_file(const hs_ckpt *, const char *name, hs_map *out) HS_MUST_USE;
// Such a file parsed; *out is NULL and the result HS_OK when there is none. Free with hs_json_free.
int hs_ckpt_side_json(const hs_ckpt *, const char *name, hs_json **out) HS_MUST_USE;

// Identifies the weights: FNV-1a over metadata, tensor names, types, shapes and the first and last
// 4 KiB of every tensor's bytes. Reads only those pages. Stable across machines and paths.
uint64_t hs_ckpt_fingerprint(const hs_ckpt *);

#endif
