// Topics: pages that are about no single command. `help TOPIC` and headscope-TOPIC(7).
#ifndef HS_CLI_TOPICS_H
#define HS_CLI_TOPICS_H

#include "cli/help/doc.h"

typedef struct hs_topic {
    const char *name, *title;
    const char *text;        // for hs_doc_body
    void (*more)(hs_doc *d); // what comes from tables, after the text; NULL: nothing
} hs_topic;
extern const hs_topic hs_topics[];                   // ended by name NULL
void hs_doc_topic(hs_doc *d, const hs_topic *topic); // its page
const hs_topic *hs_topic_find(const char *name);

// The database format: the topic `database` and every column; headscope-db(5).
void hs_doc_format_page(hs_doc *d);

#endif
