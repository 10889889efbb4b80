// Fuzz target: a .npy file, whole, or (first byte '{') its header's text up to the first '|' and the
// numbers after it, so that mutations of the text need not mend its length.
// covers: model/core/npy.c
#include "model/core/buf.h"
#include "model/core/err.h"
#include "model/core/npy.h"
#include "tests/fuzz/shared.h"

static void try(const uint8_t *bytes, size_t n) {
    hs_npy a;
    int rc = hs_npy_read(&a, bytes, n);
    need(rc ? rc < 0 && !a.data && !a.ndim && *hs_errmsg() : a.data != NULL);
    if (rc) return;
    need((a.ndim == 1 && a.shape[1] == 1) || a.ndim == 2);
    need(a.shape[0] > 0 && a.shape[1] > 0 && a.shape[0] <= (int64_t)n / a.shape[1] / 2);
    float sum = 0;
    for (int64_t i = 0; i < a.shape[0] * a.shape[1]; i++) sum += a.data[i];
    (void)sum;
    hs_npy_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    const uint8_t *bar = n && *data == '{' ? memchr(data, '|', n) : NULL;
    if (!bar) {
        try(data, n);
        return 0;
    }
    const size_t len = (size_t)(bar - data);
    hs_buf file = {0};
    hs_buf_add(&file, "\x93NUMPY\x02", 8);
    for (int i = 0; i < 4; i++) hs_buf_chr(&file, (char)(len >> (8 * i)));
    hs_buf_add(&file, data, len);
    hs_buf_add(&file, bar + 1, n - len - 1);
    need(!hs_buf_rc(&file));
    // Of exactly its size, so that a sanitizer sees reads beyond it.
    uint8_t *exact = malloc(file.len);
    need(exact != NULL);
    memcpy(exact, file.data, file.len);
    try(exact, file.len);
    free(exact);
    hs_buf_free(&file);
    return 0;
}
