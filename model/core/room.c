// Room in memory, from /proc and the control groups (version 2); see room.h.
#include "model/core/room.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "model/core/cgroup.h"

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// The number after `key` in a file of lines "key number"; -1 when there is none.
static int64_t number_of(const char *path, const char *key) {
    char line[256];
    long long v = -1;
    const size_t n = strlen(key);
    FILE *f = fopen(path, "re");
    if (!f) return -1;
    while (v < 0 && fgets(line, sizeof line, f))
        if (strncmp(line, key, n) || sscanf(line + n, "%lld", &v) != 1) v = -1;
    fclose(f);
    return v;
}

// What one control group leaves: its limit less what cannot be dropped of what it holds.
static int64_t group_room(const char *folder) {
    char path[5000];
    snprintf(path, sizeof path, "%s/memory.max", folder);
    const int64_t max = number_of(path, ""); // "max" is no number
    if (max < 0) return INT64_MAX;
    snprintf(path, sizeof path, "%s/memory.current", folder);
    const int64_t held = number_of(path, "");
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    const int64_t cache = number_of(path, "inactive_file ");
    if (held < 0) return max;
    const int64_t room = max - held + (cache > 0 ? cache : 0);
    return room > 0 ? room : 0;
}

// Pages of field i of /proc/self/statm: 0 the address space, 1 what is in memory.
static int64_t own_pages(int i) {
    long long v[2] = {0};
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f) return 0;
    const bool known = fscanf(f, "%lld %lld", &v[0], &v[1]) == 2;
    fclose(f);
    return known ? v[i] * sysconf(_SC_PAGESIZE) : 0;
}

static int64_t addresses_left(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur == RLIM_INFINITY) return INT64_MAX;
    const int64_t left = (int64_t)limit.rlim_cur - own_pages(0);
    return left > 0 ? left : 0;
}

int64_t hs_room_available(void) {
    const int64_t kb = number_of("/proc/meminfo", "MemAvailable:");
    const int64_t machine = kb < 0 ? INT64_MAX : kb * 1024;
    return least(least(machine, hs_cgroup_least(group_room)), addresses_left());
}

int64_t hs_room_held(void) {
    return own_pages(1);
}
