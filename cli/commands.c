// The registry of commands, and the exit status of each result code.
#include <string.h>

#include "cli/cli.h"

#define HS_ENTRY(name) extern const hs_cmd hs_cmd_##name;
#include "gen/commands.inc"
#undef HS_ENTRY

const hs_cmd *const hs_cmds[] = {
#define HS_ENTRY(name) &hs_cmd_##name,
#include "gen/commands.inc"
#undef HS_ENTRY
    NULL,
};

int hs_exit_of(int rc) {
    static const struct {
        int rc, status;
    } map[] = {
        {HS_OK, HS_EXIT_OK},
        {HS_EARG, HS_EXIT_USAGE},
        {HS_ERANGE, HS_EXIT_USAGE},
        {HS_EFORMAT, HS_EXIT_UNSUPPORTED},
        {HS_EUNSUPPORTED, HS_EXIT_UNSUPPORTED},
        {HS_ECHECK, HS_EXIT_CHECK},
        {HS_ENOTFOUND, HS_EXIT_NOTHING},
        {HS_ESTOP, HS_EXIT_INTERRUPTED},
    };
    for (size_t i = 0; i < sizeof map / sizeof map[0]; i++)
        if (map[i].rc == rc) return map[i].status;
    return HS_EXIT_FAILED;
}

const hs_cmd *hs_cmd_find(const char *name) {
    for (int i = 0; hs_cmds[i]; i++)
        if (strcmp(hs_cmds[i]->name, name) == 0) return hs_cmds[i];
    return NULL;
}

const char *hs_cmd_name(const void *ctx, int i) {
    (void)ctx;
    return hs_cmds[i] ? hs_cmds[i]->name : NULL;
}
