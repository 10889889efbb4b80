// The tokens that end a generation, as a checkpoint lists them beside its tokenizer or without one.
#ifndef HS_MODEL_ENDS_H
#define HS_MODEL_ENDS_H

#include "model/ckpt.h"

typedef struct hs_ends {
    int32_t *id; // [n], owned: hs_ends_free
    size_t n;
} hs_ends;

// eos_token_id of config.json and of generation_config.json, a number or a list of them; in GGUF
// the ids of end of sequence, turn and message. Others are left out, none at all is an empty list.
// HS_EFORMAT when a file is damaged.
int hs_ends_read(hs_ends *out, const hs_ckpt *) HS_MUST_USE;
void hs_ends_free(hs_ends *);

#endif
