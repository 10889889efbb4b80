// The walk from this process's control group up to the root; see cgroup.h.
#include "model/core/cgroup.h"

#include <stdio.h>
#include <string.h>

int64_t hs_cgroup_least(int64_t (*limit)(const char *folder)) {
    static const char root[] = "/sys/fs/cgroup";
    char line[4200], folder[sizeof line + sizeof root], *group = NULL;
    int64_t least = limit(root);
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (!f) return least;
    while (!group && fgets(line, sizeof line, f))
        if (!strncmp(line, "0::/", 4)) group = line + 3;
    fclose(f);
    if (!group) return least;
    group[strcspn(group, "\n")] = 0;
    for (char *slash; (slash = strrchr(group, '/')); *slash = 0) {
        snprintf(folder, sizeof folder, "%s%s", root, group);
        const int64_t here = limit(folder);
        if (here < least) least = here;
    }
    return least;
}
