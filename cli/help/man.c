// The manual pages; see man.h. Each is the page that `help` shows, with what manual pages have
// besides. Numbered: the tool, its commands, the database format, the topics.
#include "cli/help/man.h"

#include "cli/help/help.h"
#include "cli/help/topics.h"

static int n_command(void) {
    int n = 0;
    while (hs_cmds[n]) n++;
    return n;
}

static int n_topic(void) {
    int n = 0;
    while (hs_topics[n].name) n++;
    return n;
}

bool hs_man_name(int i, hs_buf *name) {
    const int n_cmd = n_command();
    hs_buf_clear(name);
    if (i == 0)
        hs_buf_str(name, "headscope.1");
    else if (i <= n_cmd)
        hs_buf_printf(name, "headscope-%s.1", hs_cmds[i - 1]->name);
    else if (i == n_cmd + 1)
        hs_buf_str(name, "headscope-db.5");
    else if (i - n_cmd - 2 < n_topic())
        hs_buf_printf(name, "headscope-%s.7", hs_topics[i - n_cmd - 2].name);
    else
        return false;
    return true;
}

// The text of a topic as a section of its own.
static void section(hs_doc *d, const char *heading, const char *topic) {
    const hs_topic *t = hs_topic_find(topic);
    if (!t) return;
    hs_doc_head(d, heading);
    hs_doc_body(d, t->text);
}

static void see_also(hs_doc *d, const char *first) {
    hs_buf text = {0};
    hs_buf_str(&text, first);
    for (const hs_topic *t = hs_topics; t->name; t++)
        hs_buf_printf(&text, ", headscope-%s(7)", t->name);
    hs_doc_head(d, "see also");
    hs_doc_para(d, hs_buf_text(&text));
    hs_buf_free(&text);
}

static void tool(hs_doc *d) {
    hs_doc_title(d, "headscope", NULL, "1", "watch every attention head of a transformer model");
    hs_doc_head(d, "synopsis");
    hs_doc_code(d, "headscope COMMAND [MODEL] [options]\n"
                   "headscope help [NAME]\n"
                   "headscope --version");
    hs_doc_head(d, "description");
    hs_doc_para(d, "headscope loads a transformer checkpoint, runs it with its own forward pass, "
                   "watches every attention head through hooks, records what it saw into a SQLite "
                   "file, and reads, queries, exports and draws it.");
    hs_doc_para(d, "Options may stand anywhere after the command. An option's value is the next "
                   "word, whatever it begins with, or follows '='. headscope COMMAND --help "
                   "explains a command; each has a manual page, headscope-COMMAND(1).");
    hs_doc_commands(d);
    section(d, "exit status", "exit");
    section(d, "environment", "environment");
    hs_doc_head(d, "examples");
    hs_doc_code(d, "headscope record model.gguf -p \"Mary had a little lamb\" --maps all\n"
                   "headscope heads --metric sink_alpha0 --top 5\n"
                   "headscope attend --head L5H1 --from -1\n"
                   "headscope heatmap --head L5H1 -o head.png");
    see_also(d, "headscope-db(5)");
}

void hs_man_write(int i, FILE *to) {
    const int n_cmd = n_command();
    hs_doc d = hs_doc_roff(to);
    if (i == 0)
        tool(&d);
    else if (i <= n_cmd)
        hs_doc_command(&d, hs_cmds[i - 1]);
    else if (i == n_cmd + 1)
        hs_doc_format_page(&d);
    else
        hs_doc_topic(&d, &hs_topics[i - n_cmd - 2]);
    if (i != 0 && i != n_cmd + 1) see_also(&d, "headscope(1), headscope-db(5)");
}
