// Layered graphs: names are whole and apart, ranks go upwards, widths and colours tell values, lines
// end at their nodes; files repeat; what is no such graph is refused.
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "model/core/prng.h"
#include "tests/unit/viz_common.h"

enum { MOST = 90, MOST_LINKS = 400 };

typedef struct made {
    char name[MOST][16];
    hs_fig_node node[MOST];
    hs_fig_link link[MOST_LINKS];
    hs_fig_graph graph;
} made;

// Ranks of a model of `layers`, and lines at random.
static void make(made *m, int n, int n_link, int layers, uint64_t seed) {
    hs_prng random = hs_prng_seed(seed);
    for (int i = 0; i < n; i++) {
        const int layer = (int)hs_prng_below(&random, (uint64_t)layers);
        const bool mlp = hs_prng_below(&random, 4) == 0;
        snprintf(m->name[i], sizeof m->name[i], mlp ? "MLP %d" : "L%dH%d", layer, i);
        m->node[i] = (hs_fig_node){m->name[i], 2 * layer + mlp};
    }
    strcpy(m->name[0], "embed");
    m->node[0].rank = -1;
    strcpy(m->name[n - 1], "logits");
    m->node[n - 1].rank = 2 * layers;
    for (int k = 0; k < n_link;) {
        const int64_t a = (int64_t)hs_prng_below(&random, (uint64_t)n);
        const int64_t b = (int64_t)hs_prng_below(&random, (uint64_t)n);
        if (m->node[a].rank >= m->node[b].rank) continue;
        const double value = (double)hs_prng_below(&random, 2001) / 1000 - 1;
        m->link[k++] = (hs_fig_link){a, b, value, (double)(k % 3) - 1};
    }
    m->graph = (hs_fig_graph){.title = "Circuit of a model",
                              .subtitle = "what carries the answer",
                              .node = m->node,
                              .n_node = n,
                              .link = m->link,
                              .n_link = n_link,
                              .positive = "raises the metric",
                              .negative = "lowers it",
                              .value_name = "score",
                              .port_note = "Queries left, keys in the middle, values right."};
}

static hs_fig *draw(const hs_fig_graph *g, const hs_fig_style *style) {
    hs_fig *fig;
    if (hs_fig_open_graph(&fig, g, style)) fail_msg("%s", hs_errmsg());
    return fig;
}

static void names_are_whole_and_apart(void **state) {
    (void)state;
    static const struct {
        int n, links, layers;
    } sizes[] = {{2, 1, 1}, {12, 30, 4}, {60, 200, 12}, {60, 200, 30}, {90, 400, 2}, {90, 0, 48}};
    static const double dpi[] = {72, 150, 300};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t k = 0; k < sizeof dpi / sizeof *dpi; k++) {
            static made m;
            make(&m, sizes[i].n, sizes[i].links, sizes[i].layers, i);
            hs_fig *fig = draw(&m.graph, &(hs_fig_style){.dpi = dpi[k], .lo = 1});
            const hs_page *p = hs_fig_page(fig);
            check_page(p);
            for (int n = 0; n < sizes[i].n; n++) {
                const hs_label *l = find_label(p, m.name[n]);
                if (!l) fail_msg("'%s' is not there", m.name[n]);
                assert_true(l->text.width == 0);
                for (int o = 0; o < n; o++) {
                    const hs_box a = l->box, b = find_label(p, m.name[o])->box;
                    if (m.node[o].rank > m.node[n].rank) assert_true(b.y + b.h < a.y);
                    if (m.node[o].rank < m.node[n].rank) assert_true(b.y > a.y + a.h);
                }
            }
            hs_fig_close(fig);
        }
}

// The line whose ends are nearest to two boxes.
static const hs_mark *line_between(const hs_page *p, const hs_box *from, const hs_box *to) {
    for (int64_t i = 0; i < p->n_mark; i++) {
        const hs_mark *s = &p->mark[i];
        if (s->kind != HS_MARK_LINE || s->line.n < 3) continue;
        const hs_xy a = s->line.at[0], b = s->line.at[s->line.n - 1];
        if (fabs(a.x - from->x - from->w / 2) < 1 && a.y < from->y && from->y - a.y < 8 &&
            b.x > to->x - 8 && b.x < to->x + to->w + 8 && b.y > to->y + to->h &&
            b.y - to->y - to->h < 8)
            return s;
    }
    return NULL;
}

static void lines_tell_values(void **state) {
    (void)state;
    const hs_fig_node node[] = {{"embed", -5}, {"L0H1", 0}, {"L0H2", 0}, {"L7H0", 9}, {"out", 99}};
    const hs_fig_link link[] = {{0, 1, 2, 0},  {0, 2, -1, 0},  {1, 3, 0.5, -1}, {2, 3, 0, 1},
                                {3, 4, -2, 0}, {0, 4, NAN, 0}, {1, 4, 1, 0}};
    enum { N = sizeof link / sizeof *link };
    const hs_fig_graph g = {.node = node, .n_node = 5, .link = link, .n_link = N};
    hs_fig *fig = draw(&g, NULL);
    const hs_page *p = hs_fig_page(fig);
    const hs_mark *line[N];
    check_page(p);
    for (int i = 0; i < N; i++) {
        line[i] = line_between(p, &find_label(p, node[link[i].from].name)->box,
                               &find_label(p, node[link[i].to].name)->box);
        if (!line[i]) fail_msg("line %d is not there", i);
    }
    assert_true(line[0]->ink == HS_INK_SERIES && line[1]->ink == HS_INK_SERIES + 1);
    assert_true(line[5]->ink == HS_INK_FRAME);
    assert_true(line[0]->line.width == line[4]->line.width);
    const double least = line[3]->line.width, most = line[0]->line.width;
    assert_true(most > 4 * least && line[5]->line.width == least);
    assert_true(fabs(line[6]->line.width - (least + most) / 2) < 1e-9);
    assert_true(fabs(line[1]->line.width - (least + most) / 2) < 1e-9);
    // Ports: left and right of the name's middle.
    const hs_box b = find_label(p, "L7H0")->box;
    assert_true(line[2]->line.at[line[2]->line.n - 1].x < b.x + 0.3 * b.w);
    assert_true(line[3]->line.at[line[3]->line.n - 1].x > b.x + 0.7 * b.w);
    // Wide lines lie over thin ones, boxes over all.
    assert_true(line[0] > line[6] && line[6] > line[2]);
    for (int i = 0; i < N; i++) assert_true(line[i] < nth(p, HS_MARK_FILL, 0));
    hs_fig_close(fig);
}

// Parallel lines are not crossed by how nodes came.
static void rows_are_ordered(void **state) {
    (void)state;
    enum { K = 6 };
    char name[2 * K][16];
    hs_fig_node node[2 * K];
    hs_fig_link link[K];
    for (int i = 0; i < K; i++) {
        snprintf(name[i], sizeof *name, "a%d", i);
        snprintf(name[K + i], sizeof *name, "b%d", i);
        node[i] = (hs_fig_node){name[i], 0};
        node[K + i] = (hs_fig_node){name[K + i], 1};
        link[i] = (hs_fig_link){i, K + (K - 1 - i), 1, 0};
    }
    hs_fig *fig = draw(&(hs_fig_graph){.node = node, .n_node = 2 * K, .link = link, .n_link = K},
                       NULL);
    const hs_page *p = hs_fig_page(fig);
    for (int i = 1; i < K; i++) {
        const double from = find_label(p, name[i])->box.x - find_label(p, name[i - 1])->box.x;
        const double to = find_label(p, name[2 * K - 1 - i])->box.x -
                          find_label(p, name[2 * K - i])->box.x;
        assert_true(from * to > 0);
    }
    hs_fig_close(fig);
}

static void files_repeat(void **state) {
    (void)state;
    static const char *const names[] = {"g.png", "g.svg", "g.pdf"};
    static made m;
    make(&m, 40, 90, 8, 3);
    for (int k = 0; k < 3; k++) {
        char *bytes[2];
        size_t n[2];
        for (int turn = 0; turn < 2; turn++) {
            hs_fig *fig = draw(&m.graph, NULL);
            if (hs_fig_save(fig, NULL, path_of(names[k]))) fail_msg("%s", hs_errmsg());
            hs_fig_close(fig);
            FILE *f = fopen(path_of(names[k]), "rb");
            assert_non_null(f);
            bytes[turn] = malloc(1 << 22);
            n[turn] = fread(bytes[turn], 1, 1 << 22, f);
            fclose(f);
        }
        assert_true(n[0] > 2000 && n[0] < 1 << 22 && n[0] == n[1]);
        assert_memory_equal(bytes[0], bytes[1], n[0]);
        free(bytes[0]);
        free(bytes[1]);
    }
}

static void what_is_no_graph_is_refused(void **state) {
    (void)state;
    const hs_fig_node node[] = {{"a", 0}, {"b", 1}, {"c", 1}};
    static const hs_fig_link bad[] = {{1, 0, 1, 0},  {1, 2, 1, 0}, {0, 3, 1, 0},
                                      {-1, 1, 1, 0}, {0, 0, 1, 0}, {0, 1, INFINITY, 0}};
    hs_fig *fig;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const hs_fig_graph g = {.node = node, .n_node = 3, .link = &bad[i], .n_link = 1};
        assert_int_equal(hs_fig_open_graph(&fig, &g, NULL), HS_EARG);
        assert_null(fig);
    }
    assert_int_equal(hs_fig_open_graph(&fig, &(hs_fig_graph){.node = node}, NULL), HS_EARG);
    assert_int_equal(hs_fig_open_graph(&fig, &(hs_fig_graph){.node = node, .n_node = 501}, NULL),
                     HS_EARG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_whole_and_apart),
        cmocka_unit_test(lines_tell_values),
        cmocka_unit_test(rows_are_ordered),
        cmocka_unit_test_setup_teardown(files_repeat, setup, teardown),
        cmocka_unit_test(what_is_no_graph_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
