// Fuzz target: a safetensors file whose input is the header and the tensors; the length of the
// header, up to the first '|', is put in front so that mutations of the text need not mend it. An
// input without '|' is a whole file.
// covers: model/ckpt_st.c model/ckpt.c
#include "tests/fuzz/open.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    const uint8_t *bar = n ? memchr(data, '|', n) : NULL;
    hs_buf file = {0};
    if (bar) {
        const uint64_t header = (uint64_t)(bar - data);
        hs_buf_add(&file, &header, sizeof header);
        hs_buf_add(&file, data, header);
        hs_buf_add(&file, bar + 1, n - header - 1);
    } else {
        hs_buf_add(&file, data, n);
    }
    need(!hs_buf_rc(&file));
    open_bytes((const uint8_t *)hs_buf_text(&file), file.len);
    hs_buf_free(&file);
    return 0;
}
