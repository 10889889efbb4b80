// The command line's tables against its parser, and the writer of help and manual pages.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cli/help/complete.h"
#include "cli/help/doc.h"
#include "cli/help/explain.h"
#include "cli/help/man.h"
#include "cli/figures/figure.h"
#include "cli/help/topics.h"
#include "db/doc.h"

// ---- tables ---------------------------------------------------------------------------------

static void test_commands(void **state) {
    (void)state;
    for (int i = 0; hs_cmds[i]; i++) {
        const hs_cmd *c = hs_cmds[i];
        assert_ptr_equal(hs_cmd_find(c->name), c);
        assert_true(*c->title && c->title[strlen(c->title) - 1] != '.');
        assert_true(*c->about && c->synopsis && c->examples && c->examples[0][0]);
        assert_true(strlen(c->title) < 78);
    }
    assert_null(hs_cmd_find("nothing"));
}

static void test_options(void **state) {
    (void)state;
    for (int c = 0; hs_cmds[c]; c++) {
        const hs_opt *o, *other;
        for (int i = 0; (o = hs_opt_at(hs_cmds[c], i)); i++) {
            assert_true(*o->help);
            assert_true((o->type == HS_OPT_FLAG) == (o->value == NULL));
            for (int k = 0; k < i && (other = hs_opt_at(hs_cmds[c], k)); k++) {
                if (strcmp(o->name, other->name) == 0 || (o->letter && o->letter == other->letter))
                    fail_msg("%s: --%s and --%s", hs_cmds[c]->name, other->name, o->name);
            }
        }
    }
}

// ---- examples -------------------------------------------------------------------------------

// Cuts a line into words as a shell does, up to a '|' or '>': double quotes, backslashes in them.
static int split(char *line, char **word, int most) {
    int n = 0;
    for (char *in = line; *in && n < most;) {
        char *out = in;
        while (*in == ' ') in++;
        if (!*in || *in == '|' || *in == '>') break;
        word[n++] = out;
        for (bool quoted = false; *in && (quoted || *in != ' '); in++) {
            if (*in == '"')
                quoted = !quoted;
            else
                *out++ = *in;
        }
        if (*in) in++;
        *out = '\0';
    }
    return n;
}

// Reads "COMMAND WORD..." as main does; a failure tells what is wrong.
static void parses(const char *where, const char *text) {
    enum { MOST = 64 };
    char line[512], *word[MOST];
    const char *arg[MOST];
    assert_true(strlen(text) < sizeof line);
    strcpy(line, text);
    int n = split(line, word, MOST), n_arg = 0;
    assert_true(n > 0);
    const hs_cmd *cmd = hs_cmd_find(word[0]);
    if (!cmd) fail_msg("%s: %s: no such command", where, text);
    hs_globals globals = {0};
    void *options = calloc(1, cmd->options_size + 1);
    assert_non_null(options);
    if (hs_opts_parse(cmd, options, &globals, n - 1, word + 1, arg, &n_arg))
        fail_msg("%s: %s: %s", where, text, hs_errmsg());
    hs_opts_free(cmd, options);
    free(options);
}

static void test_examples(void **state) {
    (void)state;
    int n = 0;
    for (int i = 0; hs_cmds[i]; i++)
        for (int k = 0; hs_cmds[i]->examples[k][0]; k++, n++) {
            size_t len = strlen(hs_cmds[i]->name);
            parses(hs_cmds[i]->name, hs_cmds[i]->examples[k][0]);
            assert_memory_equal(hs_cmds[i]->examples[k][0], hs_cmds[i]->name, len);
            assert_true(*hs_cmds[i]->examples[k][1]);
        }
    assert_true(n > 20);
}

// Lines of a text that call the program.
static int calls_in(const char *where, const char *text) {
    static const char program[] = "  headscope ";
    char line[512];
    int n = 0;
    while (*text) {
        size_t len = strcspn(text, "\n");
        if (strncmp(text, program, strlen(program)) == 0) {
            snprintf(line, sizeof line, "%.*s", (int)(len - strlen(program)),
                     text + strlen(program));
            parses(where, line);
            n++;
        }
        text += len + (text[len] == '\n');
    }
    return n;
}

static void test_topics(void **state) {
    (void)state;
    int n = 0;
    for (int i = 0; hs_figures[i]; i++) parses("figures", hs_figures[i]->example);
    for (const hs_topic *t = hs_topics; t->name; t++) {
        n += calls_in(t->name, t->text);
        assert_true(*t->title && t->text[strlen(t->text) - 1] == '\n');
        assert_ptr_equal(hs_topic_find(t->name), t);
    }
    assert_true(n > 15);
    char *text = NULL;
    size_t len;
    FILE *to = open_memstream(&text, &len);
    assert_non_null(to);
    hs_help_overview(to);
    fclose(to);
    assert_int_equal(calls_in("overview", text), 3);
    free(text);
}

// What has a name has a page that says something.
static void test_pages(void **state) {
    (void)state;
    for (const hs_kind *k = hs_kinds; k->name; k++) {
        int n = 0;
        for (; k->at(n); n++) {
            char *text = NULL;
            size_t len;
            FILE *to = open_memstream(&text, &len);
            assert_non_null(to);
            hs_doc d = hs_doc_text(to);
            k->page(&d, n);
            fclose(to);
            assert_non_null(strstr(text, k->at(n)));
            assert_true(strlen(text) > 60);
            assert_null(strstr(text, "(null)"));
            free(text);
        }
        assert_true(n > 0);
    }
    hs_table_doc t;
    hs_column_doc c;
    for (int i = 0; hs_table_doc_at(i, &t); i++) {
        assert_true(*t.about && t.about[strlen(t.about) - 1] == '.');
        assert_true((t.select == NULL) == hs_column_doc_at(i, 0, &c));
    }
}

// ---- the nearest name -----------------------------------------------------------------------

static void test_nearest(void **state) {
    (void)state;
    assert_string_equal(hs_nearest("recrod", hs_cmd_name, NULL), "record");
    assert_string_equal(hs_nearest("head", hs_cmd_name, NULL), "heads");
    assert_null(hs_nearest("xyzzy", hs_cmd_name, NULL));
    assert_null(hs_nearest("", hs_cmd_name, NULL));
}

// ---- pages ----------------------------------------------------------------------------------

static char *page(bool roff, int width, void (*write)(hs_doc *)) {
    char *text = NULL;
    size_t len;
    FILE *to = open_memstream(&text, &len);
    assert_non_null(to);
    hs_doc d = roff ? hs_doc_roff(to) : hs_doc_text(to);
    if (width) d.width = width;
    write(&d);
    fclose(to);
    return text;
}

static void hostile(hs_doc *d) {
    hs_doc_title(d, "what", "na-me", "7", ".so /etc/passwd \\n(.z");
    hs_doc_head(d, "'heading with \"quotes\"");
    hs_doc_para(d, ".so a file 'tis \\fB -x `~^ \303\251\033 .TH");
    hs_doc_para(d, "'br");
    hs_doc_entry(d, ".term \"t\"", ".de x", 20);
    hs_doc_entry(d, "empty", "", 20);
    hs_doc_code(d, ".x\n'y\n\n\\e");
}

static void test_roff(void **state) {
    (void)state;
    static const char want[] = ".TH HEADSCOPE\\-NA-ME 7 \"\" \"headscope ";
    char *text = page(true, 0, hostile);
    assert_memory_equal(text, want, strlen(want));
    const char *rest = strchr(text, '\n');
    assert_string_equal(rest, "\n.nh\n.ad l\n.SH NAME\n"
                              "headscope\\-na\\-me \\- .so /etc/passwd \\en(.z\n"
                              ".SH \\(aqheading with \\(dqquotes\\(dq\n"
                              "\\&.so a file \\(aqtis \\efB \\-x \\(ga\\(ti\\(ha \\[u00E9]  .TH\n"
                              ".PP\n\\(aqbr\n"
                              ".TP\n\\fB.term \\(dqt\\(dq\\fR\n\\&.de x\n"
                              ".TP\n\\fBempty\\fR\n\\&\n"
                              ".PP\n.RS 4\n.nf\n\\&.x\n\\(aqy\n\n\\ee\n.fi\n.RE\n");
    free(text);
}

// A page for the tool, the database, each command and each topic.
static void test_manual(void **state) {
    (void)state;
    hs_buf name = {0};
    int n = 0, want = 2;
    while (hs_cmds[want - 2]) want++;
    for (const hs_topic *t = hs_topics; t->name; t++) want++;
    for (; hs_man_name(n, &name); n++) {
        char *text = NULL;
        size_t len;
        FILE *to = open_memstream(&text, &len);
        assert_non_null(to);
        hs_man_write(n, to);
        fclose(to);
        assert_memory_equal(text, ".TH HEADSCOPE", 13);
        free(text);
    }
    assert_int_equal(n, want);
    hs_buf_free(&name);
}

static void lorem(hs_doc *d) {
    hs_doc_title(d, "what", "name", "7", "title");
    hs_doc_body(d, "# first\n"
                   "The quick brown fox jumps over the lazy dog and goes on and on.\n"
                   "\n"
                   "  code  stays\n  as it is\n"
                   "Exactly as wide as the page: forty signs\n"
                   "One more than that has to be broken: yes.\n"
                   "term :: explained in so many words that a line is not enough for it\n"
                   "a_term_that_is_longer_than_its_column :: below\n"
                   "last");
}

static void test_text(void **state) {
    (void)state;
    char *text = page(false, 40, lorem);
    assert_string_equal(text, "what: title\n"
                              "\n"
                              "first\n"
                              "The quick brown fox jumps over the lazy\n"
                              "dog and goes on and on.\n"
                              "\n"
                              "  code  stays\n"
                              "  as it is\n"
                              "\n"
                              "Exactly as wide as the page: forty signs\n"
                              "\n"
                              "One more than that has to be broken:\n"
                              "yes.\n"
                              "\n"
                              "  term              explained in so many\n"
                              "                    words that a line is\n"
                              "                    not enough for it\n"
                              "  a_term_that_is_longer_than_its_column\n"
                              "                    below\n"
                              "\n"
                              "last\n");
    free(text);
    FILE *none = tmpfile();
    assert_non_null(none);
    assert_int_equal(hs_doc_text(none).width, 80); // no terminal
    fclose(none);
}

// ---- completion -----------------------------------------------------------------------------

static void completes(int n, const char *const *words, const char *want) {
    hs_buf out = {0};
    assert_int_equal(hs_complete(&out, n, words), HS_OK);
    assert_string_equal(hs_buf_text(&out), want);
    hs_buf_free(&out);
}

static void test_complete(void **state) {
    (void)state;
    completes(1, (const char *const[]){"recor"},
              "words\nrecord\truns a model over prompts and records its heads\n");
    completes(
        2, (const char *const[]){"tokens", "--bo"},
        "words\n--bos\ta beginning-of-sequence token before each text; auto: as the tokenizer "
        "says\n");
    completes(3, (const char *const[]){"tokens", "--bos", ""}, "words\nauto\t\nyes\t\nno\t\n");
    completes(2, (const char *const[]){"tokens", "--bos=y"}, "words\n--bos=yes\t\n");
    completes(
        3, (const char *const[]){"tokens", "--bos=yes", "--bo"},
        "words\n--bos\ta beginning-of-sequence token before each text; auto: as the tokenizer "
        "says\n");
    completes(2, (const char *const[]){"info", ""}, "files .gguf .safetensors\n");
    completes(3, (const char *const[]){"info", "x", ""}, "words\n");
    completes(2, (const char *const[]){"man", "-o"}, "words\n");
    completes(3, (const char *const[]){"man", "-o", ""}, "folders\n");
    completes(3, (const char *const[]){"man", "-qo", ""}, "folders\n");
    completes(2, (const char *const[]){"nothing", ""}, "words\n");
    completes(4, (const char *const[]){"tokens", "--", "--bos", ""}, "words\n");
    completes(2, (const char *const[]){"tokens", "-z="}, "words\n");
    completes(2, (const char *const[]){"tokens", "--nothing=x"}, "words\n");
}

// Only words that mean themselves in a shell.
static void test_inert(void **state) {
    (void)state;
    static const char *const odd[] = {"a b",  "$x",  "`x`", "a;b", "a\nb",    "a\tb", "",
                                      "*",    "a'b", "a|b", "a&b", "(a)",     "a>b",  "~x",
                                      "a\\b", "!x",  "{a}", "#a",  "\303\251"};
    const hs_line line = {.word = "x="};
    hs_words w = {.line = &line, .stem = 2};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) hs_words_add(&w, odd[i], "about");
    assert_int_equal(w.lines.len, 0);
    hs_words_add(&w, "a-Z_0./@%+,:=", "two\nlines\033[m");
    assert_string_equal(hs_buf_text(&w.lines), "x=a-Z_0./@%+,:=\ttwo\\nlines<U+001B>[m\n");
    hs_buf_free(&w.lines);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands), cmocka_unit_test(test_options),
        cmocka_unit_test(test_examples), cmocka_unit_test(test_topics),
        cmocka_unit_test(test_pages),    cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_roff),     cmocka_unit_test(test_manual),
        cmocka_unit_test(test_text),     cmocka_unit_test(test_complete),
        cmocka_unit_test(test_inert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
