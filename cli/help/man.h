// The manual pages: headscope(1), headscope-COMMAND(1), headscope-db(5), headscope-TOPIC(7).
#ifndef HS_CLI_MAN_H
#define HS_CLI_MAN_H

#include <stdbool.h>
#include <stdio.h>

#include "model/core/buf.h"

// The file name of page i, "headscope-record.1", into name (which is cleared first); false past
// the last.
bool hs_man_name(int i, hs_buf *name);
// Page i as roff source. The same on every call, whatever the day.
void hs_man_write(int i, FILE *to);

#endif
