// How much memory this process may still take.
#ifndef HS_CORE_ROOM_H
#define HS_CORE_ROOM_H

#include <stdint.h>

// Bytes that can be allocated and used now without swapping or being killed: the least of what the
// machine has available, what this process's control groups leave, and its limit on addresses.
// INT64_MAX when nothing says.
int64_t hs_room_available(void);

// What this process holds in memory now, shared pages of files included; 0 when nothing says.
int64_t hs_room_held(void);

#endif
