// An ordinary main for a fuzz target: feeds it every file of the folders (or every file) named as
// arguments, in order of name. A finding is a crash; inputs that cannot be read are a failure.
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "model/core/buf.h"
#include "model/core/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

// Runs one file, in memory of exactly its size so that a sanitizer sees reads beyond it.
static int replay_file(const char *path) {
    hs_map map;
    uint8_t *copy;
    if (hs_map_open(&map, path)) {
        fprintf(stderr, "%s\n", hs_errmsg());
        return -1;
    }
    copy = malloc(map.size ? map.size : 1);
    for (size_t i = 0; copy && i < map.size; i++) copy[i] = map.data[i];
    if (copy) LLVMFuzzerTestOneInput(copy, map.size);
    free(copy);
    hs_map_close(&map);
    return copy ? 1 : -1;
}

// The inputs run below path, or -1.
static int replay(const char *path) {
    struct stat st;
    struct dirent **names;
    int ran = 0;
    if (stat(path, &st) || !S_ISDIR(st.st_mode)) return replay_file(path);
    int n = scandir(path, &names, NULL, alphasort);
    if (n < 0) {
        perror(path);
        return -1;
    }
    for (int i = 0; i < n; i++) {
        hs_buf file = {0};
        hs_buf_printf(&file, "%s/%s", path, names[i]->d_name);
        if (ran >= 0 && names[i]->d_name[0] != '.') {
            int one = replay(hs_buf_text(&file));
            ran = one < 0 ? -1 : ran + one;
        }
        hs_buf_free(&file);
        free(names[i]);
    }
    free(names);
    return ran;
}

int main(int argc, char **argv) {
    int total = 0;
    for (int i = 1; i < argc; i++) {
        int ran = replay(argv[i]);
        if (ran < 0) return 1;
        total += ran;
    }
    printf("replayed %d inputs\n", total);
    return 0;
}
