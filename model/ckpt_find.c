// Where a checkpoint is and what its files are. The hub cache (huggingface_hub's layout) is
// CACHE/models--ORG--NAME/refs/main, which holds the name of a folder under snapshots/ beside it.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/ckpt_internal.h"

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

// The zip archive of torch.save, and the pickle protocols 2 to 5 of older files.
static bool is_pickle(const char *path, const hs_map *map) {
    static const char *const suffix[] = {".bin", ".pt", ".pth", ".ckpt", ".pkl"};
    const uint8_t *d = map->data;
    if (map->size >= 4 && !memcmp(d, "PK\3\4", 4)) return true;
    if (map->size >= 2 && d[0] == 0x80 && d[1] >= 2 && d[1] <= 5 &&
        !ends_with(path, ".safetensors"))
        return true;
    for (size_t i = 0; i < sizeof suffix / sizeof *suffix; i++)
        if (ends_with(path, suffix[i])) return true;
    return false;
}

enum hs_file_kind hs_ckpt_file_kind(const char *path, const hs_map *map) {
    if (map->size == 0) return HS_FILE_EMPTY;
    if (map->size >= 4 && !memcmp(map->data, "GGUF", 4)) return HS_FILE_GGUF;
    if (is_pickle(path, map)) return HS_FILE_PICKLE;
    if (ends_with(path, ".gguf")) return HS_FILE_GGUF; // its reader says what is wrong
    if (ends_with(path, ".safetensors")) return HS_FILE_ST;
    return map->size > 8 && map->data[8] == '{' ? HS_FILE_ST : HS_FILE_UNKNOWN;
}

int hs_ckpt_refuse_pickle(const char *path) {
    return hs_fail(HS_EUNSUPPORTED,
                   "%s: pickle files can run code when loaded; convert to "
                   "safetensors",
                   path);
}

bool hs_ckpt_is_plain_name(const char *name) {
    return *name && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, "..");
}

// "name" or "org/name" of letters, digits, '-', '_' and '.', as the hub allows.
static bool is_hub_name(const char *s) {
    int slashes = 0;
    for (const char *p = s; *p; p++) {
        if (*p == '/')
            slashes++;
        else if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", *p))
            return false;
    }
    return *s && *s != '.' && *s != '/' && slashes <= 1 && !ends_with(s, "/") && !strstr(s, "..");
}

// CACHE/models--ORG--NAME
static void hub_folder(hs_buf *out, const char *name) {
    static const struct {
        const char *env, *below;
    } places[] = {
        {"HF_HUB_CACHE", ""},
        {"HF_HOME", "/hub"},
        {"XDG_CACHE_HOME", "/huggingface/hub"},
        {"HOME", "/.cache/huggingface/hub"},
    };
    const char *root = NULL;
    size_t i = 0;
    for (; i < sizeof places / sizeof *places; i++)
        if ((root = getenv(places[i].env)) && *root) break;
    if (root && *root)
        hs_buf_printf(out, "%s%s/models--", root, places[i].below);
    else
        hs_buf_str(out, "/models--");
    const char *slash = strchr(name, '/');
    if (slash)
        hs_buf_printf(out, "%.*s--%s", (int)(slash - name), name, slash + 1);
    else
        hs_buf_str(out, name);
}

// The revision that refs/main names: the first line of that file.
static bool main_revision(const char *folder, char *out, int size) {
    hs_buf path = {0};
    bool found = false;
    hs_buf_printf(&path, "%s/refs/main", folder);
    FILE *f = hs_buf_rc(&path) ? NULL : fopen(path.data, "re");
    if (f) {
        found = fgets(out, size, f) != NULL;
        fclose(f);
    }
    hs_buf_free(&path);
    if (found) out[strcspn(out, "\r\n")] = 0;
    return found && hs_ckpt_is_plain_name(out);
}

// Without refs/main: the snapshot, when there is exactly one.
static int only_snapshot(const char *folder, char *out, size_t size) {
    hs_buf path = {0};
    int found = 0;
    hs_buf_printf(&path, "%s/snapshots", folder);
    DIR *dir = hs_buf_rc(&path) ? NULL : opendir(path.data);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (*e->d_name != '.' && strlen(e->d_name) < size && ++found == 1)
            memcpy(out, e->d_name, strlen(e->d_name) + 1);
    if (dir) closedir(dir);
    hs_buf_free(&path);
    return found;
}

int hs_ckpt_locate(hs_arena *arena, const char *path, const char **out) {
    char revision[256];
    hs_buf folder = {0};
    int rc;
    if (!access(path, F_OK)) return hs_arena_str(arena, out, path, strlen(path));
    if (!is_hub_name(path)) return hs_fail(HS_ENOTFOUND, "%s: no such file or folder", path);
    hub_folder(&folder, path);
    if ((rc = hs_buf_rc(&folder))) goto out;
    if (!main_revision(folder.data, revision, sizeof revision)) {
        int n = only_snapshot(folder.data, revision, sizeof revision);
        if (n != 1) {
            rc = n ? hs_fail(HS_ENOTFOUND,
                             "%s: %d snapshots in %s/snapshots and no refs/main; "
                             "give the folder of one",
                             path, n, folder.data)
                   : hs_fail(HS_ENOTFOUND,
                             "%s: no such file or folder, and no such model in the "
                             "hub cache (%s)",
                             path, folder.data);
            goto out;
        }
    }
    hs_buf_printf(&folder, "/snapshots/%s", revision);
    if ((rc = hs_buf_rc(&folder))) goto out;
    if (access(folder.data, F_OK))
        rc = hs_fail(HS_ENOTFOUND,
                     "%s: the hub cache names a snapshot that is not there (%s); "
                     "download it again",
                     path, folder.data);
    else
        rc = hs_arena_str(arena, out, folder.data, folder.len);
out:
    hs_buf_free(&folder);
    return rc;
}
