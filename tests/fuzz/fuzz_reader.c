// Fuzz target: a damaged database under the commands that read one. The first byte picks the
// command line, the rest is the damage.
// covers: cli/reader.c cli/cmd_runs.c cli/cmd_show.c cli/cmd_heads.c cli/cmd_attend.c
// covers: cli/cmd_query.c cli/cmd_heatmap.c cli/cmd_export.c cli/cmd_observe.c cli/metric.c
// covers: cli/figures/figure.c cli/figures/figure_all.c cli/figures/figure_bar.c cli/figures/figure_grid.c cli/figures/figure_layer.c
// covers: cli/figures/figure_map.c cli/figure_over_layers.c cli/figure_over_positions.c cli/figures/figure_strip.c
// covers: db/query.c db/export.c db/export_maps.c db/export_csv.c db/export_json.c
// covers: db/export_arrays.c db/export_bertviz.c db/export_circuitsvis.c db/observe.c
// covers: db/replay.c db/reader.c
#include "tests/fuzz/cli.h"
#include "tests/fuzz/damage.h"

static const char *const lines[][10] = {
    {"runs", "--json"},
    {"show", "--json"},
    {"show", "1"},
    {"heads", "--metric", "entropy_nats", "--json"},
    {"heads", "--metric", "sink_max", "--csv"},
    {"attend", "--head", "L1H1", "--json"},
    {"attend", "--head", "L0H2", "--from", "-1"},
    {"attend", "--head", "L1H0", "--prompt", "1", "--json"},
    {"query", "tokens", "--json"},
    {"query", "prompts", "--jsonl"},
    {"query", "select * from map, map_chunk on map.id = map_id", "--limit", "99", "--json"},
    {"query", "select att_row(id, 3), att_at(id, 5, 2) from map", "--limit", "99"},
    {"query", "select att_series(data) from row_series", "--limit", "99", "--json"},
    {"heatmap", "--head", "L1H1", "-o", "out.png"},
    {"heatmap", "--grid", "entropy_nats", "-o", "out.png"},
    {"heatmap", "--grid", "first_mass", "--prompt", "p1", "-o", "out.png"},
    {"heatmap", "--head", "L1H0", "--rows", "2:5", "--cols", "0:-1", "-o", "out.svg"},
    {"heatmap", "--layer", "1", "--pool", "mean", "-o", "out.png"},
    {"heatmap", "--all", "-o", "out.pdf"},
    {"heatmap", "--strip", "--head", "L1H1", "--from", "-1", "-o", "out.svg"},
    {"heatmap", "--strip", "--to", "0", "-o", "out.png"},
    {"heatmap", "--over-layers", "sink_max,entropy", "-o", "out.svg"},
    {"heatmap", "--over-positions", "entropy", "--head", "L0H0", "-o", "out.svg"},
    {"heatmap", "--over-positions", "column_mean", "--layer", "1", "-o", "out.png"},
    {"heatmap", "--bar", "first_mass", "--top", "3", "-o", "out.png"},
    {"heatmap", "--grid", "entropy", "--range", "data", "-o", "out.pdf"},
    {"export", "-o", "out.npz"},
    {"export", "--prompt", "1", "-o", "out.safetensors"},
    {"export", "--what", "tokens,stats", "-o", "out.npz"},
    {"export", "-o", "out.csv"},
    {"export", "--what", "maps", "--heads", "L0H*", "--format", "csv", "-o", "-"},
    {"export", "--what", "all", "-o", "out.json"},
    {"export", "--format", "bertviz", "-o", "out.json"},
    {"export", "--format", "circuitsvis", "--layer", "1", "-o", "-"},
    {"observe", "sinks", "massive", "--json"},
    {"observe", "stripes", "spread", "echo"},
    {"observe", "hidden_sinks", "drains"},
};
enum { N_LINE = sizeof lines / sizeof *lines };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    input in = {data, n};
    const char *const *line = lines[take_byte(&in) % N_LINE];
    const char *words[14] = {0};
    int k = 0;
    for (; k < 10 && line[k]; k++) words[k] = line[k];
    words[k++] = "--db";
    words[k++] = "run.db";
    words[k++] = "-q";
    damage(in);
    cli_run(damage_folder(), words, NULL);
    return 0;
}
