// Files that appear whole or not at all, and devices, pipes and links that stay what they are.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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
        cmocka_unit_test(appears_when_committed), cmocka_unit_test(an_abort_changes_nothing),
        cmocka_unit_test(a_link_stays_a_link),    cmocka_unit_test(a_pipe_is_written_not_replaced),
        cmocka_unit_test(failures_are_told),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
