// Fuzz target: a GGUF file. Its header is read, then every key, item and tensor.
#include "tests/fuzz/open.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    open_bytes(data, n);
    return 0;
}
