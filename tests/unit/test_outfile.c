// Files that appear whole or not at all, and devices, pipes and links that stay what they are.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model/core/outfile.h"

static char folder[] = "/tmp/hs-outfile-XXXXXX";

static const char *path_of(const char *name) {
    static char path[2][PATH_MAX];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static int n_files(void) {
    DIR *d = opendir(folder);
    int n = 0;
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void assert_holds(const char *path, const char *text) {
    char got[100] = "";
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    got[fread(got, 1, sizeof got - 1, f)] = 0;
    fclose(f);
    assert_string_equal(got, text);
}

static void write_text(const char *path, const char *text) {
    hs_outfile o;
    assert_int_equal(hs_outfile_open(&o, path), HS_OK);
    fputs(text, o.file);
    assert_int_equal(hs_outfile_commit(&o), HS_OK);
    assert_null(o.file);
}

static void appears_when_committed(void **state) {
    (void)state;
    hs_outfile o;
    assert_int_equal(hs_outfile_open(&o, path_of("a")), HS_OK);
    fputs("one", o.file);
    assert_int_not_equal(access(path_of("a"), F_OK), 0);
    assert_int_equal(hs_outfile_commit(&o), HS_OK);
    assert_holds(path_of("a"), "one");
    write_text(path_of("a"), "two");
    assert_holds(path_of("a"), "two");
    assert_int_equal(n_files(), 1);
    unlink(path_of("a"));
}

static void an_abort_changes_nothing(void **state) {
    (void)state;
    hs_outfile o;
    write_text(path_of("a"), "kept");
    assert_int_equal(hs_outfile_open(&o, path_of("a")), HS_OK);
    fputs("lost", o.file);
    hs_outfile_abort(&o);
    hs_outfile_abort(&o);
    assert_holds(path_of("a"), "kept");
    assert_int_equal(n_files(), 1);
    unlink(path_of("a"));
}

static void a_link_stays_a_link(void **state) {
    (void)state;
    struct stat st;
    write_text(path_of("real"), "old");
    assert_int_equal(symlink("real", path_of("link")), 0);
    write_text(path_of("link"), "new");
    assert_int_equal(lstat(path_of("link"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_holds(path_of("real"), "new");
    unlink(path_of("link"));
    unlink(path_of("real"));
}

static void a_pipe_is_written_not_replaced(void **state) {
    (void)state;
    struct stat st;
    assert_int_equal(mkfifo(path_of("pipe"), 0600), 0);
    FILE *both = fopen(path_of("pipe"), "r+b"); // so that neither end waits
    assert_non_null(both);
    write_text(path_of("pipe"), "through");
    char got[8] = "";
    assert_int_equal(fread(got, 1, 7, both), 7);
    assert_string_equal(got, "through");
    fclose(both);
    assert_int_equal(stat(path_of("pipe"), &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    assert_int_equal(n_files(), 1);
    unlink(path_of("pipe"));
}

static void failures_are_told(void **state) {
    (void)state;
    hs_outfile o;
    assert_int_equal(hs_outfile_open(&o, path_of("no/such/folder")), HS_EIO);
    assert_non_null(strstr(hs_errmsg(), "no/such/folder"));
    assert_null(o.file);
    assert_int_equal(hs_outfile_open(&o, folder), HS_EIO);
    struct stat st;
    if (stat("/dev/full", &st) || !S_ISCHR(st.st_mode)) return;
    assert_int_equal(hs_outfile_open(&o, "/dev/full"), HS_OK);
    fputs("too much", o.file);
    assert_int_equal(hs_outfile_commit(&o), HS_EIO);
    assert_int_equal(stat("/dev/full", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
}

// A writer that is killed leaves its file; the next one takes it over, or it is swept away.
static void leave(const char *path) {
    hs_outfile o;
    const pid_t pid = fork();
    if (pid == 0) {
        if (hs_outfile_open(&o, path) || fputs("a long text that was lost", o.file) < 0) _exit(1);
        fflush(o.file);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void what_the_dead_left_is_used(void **state) {
    (void)state;
    leave(path_of("a"));
    assert_int_equal(n_files(), 1);
    write_text(path_of("a"), "new");
    assert_holds(path_of("a"), "new");
    assert_int_equal(n_files(), 1);
    leave(path_of("a"));
    hs_outfile_sweep(path_of("a"));
    assert_int_equal(n_files(), 1);
    assert_holds(path_of("a"), "new");
    unlink(path_of("a"));
}

static void what_the_living_write_is_theirs(void **state) {
    (void)state;
    hs_outfile one, two;
    assert_int_equal(hs_outfile_open(&one, path_of("a")), HS_OK);
    fputs("one", one.file);
    assert_int_equal(hs_outfile_open(&two, path_of("a")), HS_OK);
    fputs("two", two.file);
    hs_outfile_sweep(path_of("a"));
    assert_int_equal(n_files(), 2);
    assert_int_equal(hs_outfile_commit(&two), HS_OK);
    assert_holds(path_of("a"), "two");
    assert_int_equal(hs_outfile_commit(&one), HS_OK);
    assert_holds(path_of("a"), "one");
    assert_int_equal(n_files(), 1);
    unlink(path_of("a"));
}

// Somebody's own file of that name, and a link laid there, are not written to.
static void strangers_are_left_alone(void **state) {
    (void)state;
    write_text(path_of("mine"), "kept");
    assert_int_equal(symlink("mine", path_of("a.headscope-0.part")), 0);
    assert_int_equal(mkdir(path_of("a.headscope-1.part"), 0700), 0);
    write_text(path_of("a"), "new");
    assert_holds(path_of("a"), "new");
    assert_holds(path_of("mine"), "kept");
    hs_outfile_sweep(path_of("a"));
    assert_int_equal(n_files(), 4);
    rmdir(path_of("a.headscope-1.part"));
    unlink(path_of("a.headscope-0.part"));
    unlink(path_of("mine"));
    unlink(path_of("a"));
}

static void assert_refused(const char *name, const char *why) {
    hs_outfile o;
    const int before = n_files();
    assert_int_equal(hs_outfile_open(&o, path_of(name)), HS_EIO);
    assert_non_null(strstr(hs_errmsg(), name));
    assert_non_null(strstr(hs_errmsg(), why));
    assert_int_equal(n_files(), before);
}

static void what_is_dear_is_not_replaced(void **state) {
    (void)state;
    write_text(path_of("db"), "SQLite format 3");
    write_text(path_of("model"), "GGUF....");
    write_text(path_of("text"), "GGU");
    assert_int_equal(symlink("nowhere", path_of("link")), 0);
    assert_refused("db", "a database");
    assert_refused("model", "a model");
    assert_refused("link", "a link to nothing");
    write_text(path_of("text"), "replaced");
    assert_int_equal(chmod(path_of("text"), 0400), 0);
    if (access(path_of("text"), W_OK)) assert_refused("text", "Permission denied: write elsewhere");
    assert_holds(path_of("text"), "replaced");
    unlink(path_of("db"));
    unlink(path_of("model"));
    unlink(path_of("text"));
    unlink(path_of("link"));
}

static void long_names_are_names(void **state) {
    (void)state;
    char name[300];
    memset(name, 'n', sizeof name);
    name[NAME_MAX] = 0;
    write_text(path_of(name), "long");
    assert_holds(path_of(name), "long");
    assert_int_equal(n_files(), 1);
    unlink(path_of(name));
    name[NAME_MAX] = 'n';
    name[NAME_MAX + 1] = 0;
    assert_refused(name, "choose a shorter one");
}

static int setup(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appears_when_committed),
        cmocka_unit_test(an_abort_changes_nothing),
        cmocka_unit_test(a_link_stays_a_link),
        cmocka_unit_test(a_pipe_is_written_not_replaced),
        cmocka_unit_test(failures_are_told),
        cmocka_unit_test(what_the_dead_left_is_used),
        cmocka_unit_test(what_the_living_write_is_theirs),
        cmocka_unit_test(strangers_are_left_alone),
        cmocka_unit_test(what_is_dear_is_not_replaced),
        cmocka_unit_test(long_names_are_names),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
