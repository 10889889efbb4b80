// The parts of help that manual pages are made of too.
#ifndef HS_CLI_HELP_H
#define HS_CLI_HELP_H

#include "cli/cli.h"
#include "cli/help/doc.h"

void hs_doc_commands(hs_doc *d);                   // every command with its title, by group
void hs_doc_command(hs_doc *d, const hs_cmd *cmd); // its page

#endif
