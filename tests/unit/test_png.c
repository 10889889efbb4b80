// The PNG writer: pixels, resolution and texts come back; failures leave nothing behind.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <png.h>

#include "model/core/mem.h"
#include "viz/png.h"

enum { W = 137, H = 59, STRIDE = 140 };

static char folder[64];
static uint32_t pixel[H * STRIDE];

static const char *path_of(const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int entries(void) {
    DIR *d = opendir(folder);
    assert_non_null(d);
    int n = 0;
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/hs-png-XXXXXX");
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < H * STRIDE; i++) pixel[i] = (uint32_t)i * 2654435761u >> 8;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        remove(path_of(e->d_name)); // "." and ".." are refused
    }
    if (d) closedir(d);
    return rmdir(folder);
}

static hs_png picture(const hs_png_text *text, int n) {
    return (hs_png){.pixel = pixel,
                    .width = W,
                    .height = H,
                    .stride = STRIDE,
                    .dpi = 254,
                    .text = text,
                    .n_text = n};
}

static void comes_back(void **state) {
    (void)state;
    const hs_png_text text[] = {{"Title", "plain"}, {"Model", "日本 é"}, {"Empty", ""}};
    hs_png p = picture(text, 3);
    assert_int_equal(hs_png_write(&p, path_of("a.png")), HS_OK);
    assert_int_equal(entries(), 1);

    FILE *f = fopen(path_of("a.png"), "rb");
    assert_non_null(f);
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_init_io(png, f);
    png_read_png(png, info, PNG_TRANSFORM_IDENTITY, NULL);
    assert_int_equal(png_get_image_width(png, info), W);
    assert_int_equal(png_get_image_height(png, info), H);
    assert_int_equal(png_get_color_type(png, info), PNG_COLOR_TYPE_RGB);
    assert_int_equal(png_get_bit_depth(png, info), 8);
    assert_int_equal(png_get_x_pixels_per_meter(png, info), 10000);
    assert_int_equal(png_get_y_pixels_per_meter(png, info), 10000);
    assert_int_equal(png_get_valid(png, info, PNG_INFO_tIME), 0);
    png_bytepp row = png_get_rows(png, info);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            png_bytep c = row[y] + 3 * x;
            uint32_t got = (uint32_t)c[0] << 16 | (uint32_t)c[1] << 8 | c[2];
            assert_int_equal(got, pixel[y * STRIDE + x] & 0xffffff);
        }
    png_textp back;
    int n = 0;
    png_get_text(png, info, &back, &n);
    assert_int_equal(n, 3);
    static const int form[] = {PNG_TEXT_COMPRESSION_NONE, PNG_ITXT_COMPRESSION_NONE,
                               PNG_TEXT_COMPRESSION_NONE};
    for (int i = 0; i < n; i++) {
        assert_string_equal(back[i].key, text[i].key);
        assert_string_equal(back[i].text, text[i].value);
        assert_int_equal(back[i].compression, form[i]);
    }
    png_destroy_read_struct(&png, &info, NULL);
    fclose(f);
}

static void same_bytes(void **state) {
    (void)state;
    const hs_png_text text[] = {{"Title", "x"}};
    hs_png p = picture(text, 1);
    hs_map map[2];
    assert_int_equal(hs_png_write(&p, path_of("a.png")), HS_OK);
    assert_int_equal(hs_png_write(&p, path_of("b.png")), HS_OK);
    assert_int_equal(hs_map_open(&map[0], path_of("a.png")), HS_OK);
    assert_int_equal(hs_map_open(&map[1], path_of("b.png")), HS_OK);
    assert_int_equal(map[0].size, map[1].size);
    assert_memory_equal(map[0].data, map[1].data, map[0].size);
    hs_map_close(&map[0]);
    hs_map_close(&map[1]);
}

static void bad_keys(void **state) {
    (void)state;
    char long_key[81];
    memset(long_key, 'k', 80);
    long_key[80] = 0;
    const char *bad[] = {"", " a", "a ", "a  b", "a\nb", "a\x7f", "a\x9f", long_key};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        hs_png_text text = {bad[i], "v"};
        hs_png p = picture(&text, 1);
        assert_int_equal(hs_png_write(&p, path_of("a.png")), HS_EARG);
        assert_int_equal(entries(), 0);
    }
    long_key[79] = 0;
    hs_png_text text = {long_key, "v"};
    hs_png p = picture(&text, 1);
    assert_int_equal(hs_png_write(&p, path_of("a.png")), HS_OK);
}

static void refused_places(void **state) {
    (void)state;
    hs_png p = picture(NULL, 0);
    assert_int_equal(hs_png_write(&p, "/nonexistent/folder/a.png"), HS_EIO);
    assert_non_null(strstr(hs_errmsg(), "/nonexistent/folder/a.png"));
    assert_int_equal(hs_png_write(&p, "/proc/a.png"), HS_EIO);
    // A folder with the picture's name: the rename fails, the temporary file goes.
    assert_int_equal(mkdir(path_of("d.png"), 0777), 0);
    assert_int_equal(hs_png_write(&p, path_of("d.png")), HS_EIO);
    assert_int_equal(entries(), 1);
}

// A disk that fills up, in the middle of a large picture or at the end of a small one: the file
// that was there stays as it was.
static void full_disk(int height) {
    FILE *f = fopen(path_of("a.png"), "wb");
    assert_non_null(f);
    fputs("before", f);
    fclose(f);
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 64;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    hs_png p = picture(NULL, 0);
    p.height = height;
    int rc = hs_png_write(&p, path_of("a.png"));
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(rc, HS_EIO);
    assert_non_null(strstr(hs_errmsg(), "a.png"));
    assert_int_equal(entries(), 1);
    hs_map map;
    assert_int_equal(hs_map_open(&map, path_of("a.png")), HS_OK);
    assert_int_equal(map.size, 6);
    assert_memory_equal(map.data, "before", 6);
    hs_map_close(&map);
}

static void full_disk_midway(void **state) {
    (void)state;
    full_disk(H);
}

static void full_disk_at_close(void **state) {
    (void)state;
    full_disk(1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(same_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(refused_places, setup, teardown),
        cmocka_unit_test_setup_teardown(full_disk_midway, setup, teardown),
        cmocka_unit_test_setup_teardown(full_disk_at_close, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
