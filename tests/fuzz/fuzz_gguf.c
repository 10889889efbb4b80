// Fuzz target: a GGUF file. Its header is read, then every key, item and tensor.
// covers: model/ckpt_gguf.c model/ckpt.c
#include "tests/fuzz/open.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    open_bytes(data, n);
    return 0;
}
