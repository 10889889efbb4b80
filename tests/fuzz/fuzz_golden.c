// Fuzz target: the file of `verify --golden`: a safetensors header up to the first '|', then the
// tensors, against a model of tests/golden. Runs in the repository's root.
// covers: cli/verify/golden.c cli/capture.c
#include "cli/verify/verify.h"
#include "tests/fuzz/open.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static hs_model *model;
    static const hs_model_opts opts = {.dev = {.threads = 1}};
    input in = {data, n};
    const input header = take_until(&in, '|');
    const uint64_t length = header.n;
    hs_checks checks = {0};
    hs_buf file = {0};
    char path[64];
    if (!model) need(!hs_model_open(&model, "tests/golden/data/llama_gqa.gguf", &opts));
    hs_buf_add(&file, &length, sizeof length);
    hs_buf_add(&file, header.at, header.n);
    hs_buf_add(&file, in.at, in.n);
    need(!hs_buf_rc(&file));
    int fd = memory_file(path, file.data, file.len);
    int rc = hs_verify_golden(&checks, model, path, 0);
    need(rc ? rc < 0 && *hs_errmsg() : checks.n > 0 && checks.failed <= checks.n);
    free(checks.at);
    hs_buf_free(&file);
    close(fd);
    return 0;
}
