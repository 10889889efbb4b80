// Control groups (version 2): their limits hold for this process.
#ifndef HS_CORE_CGROUP_H
#define HS_CORE_CGROUP_H

#include <stdint.h>

// The least that `limit` tells of this process's group and those above it, up to the root, each
// given as its folder.
int64_t hs_cgroup_least(int64_t (*limit)(const char *folder));

#endif
