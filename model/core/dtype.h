// Number formats. One table holds what differs between them; a switch on a dtype elsewhere is a
// defect. Block formats (GGUF) pack `items` numbers into `bytes` bytes.
#ifndef HS_CORE_DTYPE_H
#define HS_CORE_DTYPE_H

#include <stddef.h>
#include <stdint.h>

typedef enum hs_dtype {
    HS_F32,
    HS_F16,
    HS_BF16,
    HS_F64,
    HS_I8,
    HS_U8,
    HS_I16,
    HS_I32,
    HS_I64,
    HS_Q4_0,
    HS_Q4_1,
    HS_Q5_0,
    HS_Q5_1,
    HS_Q8_0,
    HS_Q2_K,
    HS_Q3_K,
    HS_Q4_K,
    HS_Q5_K,
    HS_Q6_K,
    HS_N_DTYPE,
} hs_dtype;

typedef struct hs_dtype_traits {
    const char *name; // "f32", "q4_1": what info and the database show
    const char *st;   // safetensors name ("F32"), NULL where there is none
    const char *npy;  // numpy descr ("<f4"), NULL where there is none
    int gguf;         // ggml type number, -1 where there is none
    int items, bytes; // of one block; 1 item for plain formats
    // n numbers (a multiple of items) from src to dst; NULL where a conversion makes no sense.
    // src needs no alignment.
    void (*to_f32)(const void *src, float *dst, int64_t n);
    const struct hs_quant *quant; // what a block format's numbers are made of, NULL for plain ones
} hs_dtype_traits;

extern const hs_dtype_traits hs_dtypes[HS_N_DTYPE];

// Look-ups by a container's own name; -1 when it is not one of ours.
int hs_dtype_of_gguf(uint32_t type);
int hs_dtype_of_st(const char *name, size_t n);

float hs_f16_to_f32(uint16_t h);
uint16_t hs_f16_of_f32(float f); // round to nearest even, overflow to infinity
float hs_bf16_to_f32(uint16_t h);
uint16_t hs_bf16_of_f32(float f);

#endif
