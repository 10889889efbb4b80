# heatmap: every kind of figure in every format, the same bytes twice, what the picture says, and
# refusals with their statuses.
. tests/cli/lib.sh
m=$DATA/llama_gqa.gguf
export HEADSCOPE_DB=$tmp/run.db
printf '%s\n' '{"id": "a", "tokens": [1, 2, 3, 4, 5, 6, 7, 8]}' \
    '{"id": "b", "tokens": [9, 8, 7, 9, 8, 7, 9, 8, 7], "period": 3}' >"$tmp/p.jsonl"
t "record" exits 0 record "$m" -f "$tmp/p.jsonl" --maps all --observe sinks,stripes,massive,drains,sink_tokens:dims=3+5,tau=1.5 -q
t "record without maps" exits 0 record "$m" -f "$tmp/p.jsonl" -q
t "record an edit" exits 0 record "$m" -f "$tmp/p.jsonl" --maps all --observe sinks --span doc=2:5 --span tail=6:8 --do 'temper:L*,t=2' -q

# The texts of a picture as a Python dictionary d, and an expression about them.
cat >"$tmp/texts.py" <<'END'
import struct, sys
b = open(sys.argv[1], "rb").read()
at, d = 8, {}
while at < len(b):
    n, kind = struct.unpack(">I4s", b[at:at + 8])
    if kind == b"tEXt":
        k, v = b[at + 8:at + 8 + n].split(b"\0", 1)
        d[k.decode("latin-1")] = v.decode("latin-1")
    if kind == b"iTXt":
        k, v = b[at + 8:at + 8 + n].split(b"\0", 1)
        d[k.decode("latin-1")] = v.split(b"\0", 3)[3].decode()
    at += 12 + n
ok = eval("(" + sys.argv[2] + ")")
if not ok: print("#  ", d)
sys.exit(not ok)
END
tells() { python3 "$tmp/texts.py" "$1" "$2"; }

is_a() {
    case $1 in
    *.png) [ "$(head -c 8 "$1" | od -An -tx1 | tr -d ' ')" = 89504e470d0a1a0a ] ;;
    *.svg) python3 -c 'import sys, xml.dom.minidom as x; x.parse(sys.argv[1])' "$1" ;;
    *.pdf) [ "$(head -c 5 "$1")" = %PDF- ] && tail -c 8 "$1" | grep -q '%%EOF' ;;
    esac
}
twice() {
    file=$1
    shift
    exits 0 heatmap $runs "$@" --dpi 60 -o "$tmp/$file" && mv "$tmp/$file" "$tmp/first-$file" &&
        exits 0 heatmap $runs "$@" --dpi 60 -o "$tmp/$file" && cmp "$tmp/$file" "$tmp/first-$file" && is_a "$tmp/$file"
}
for end in png svg pdf; do
    runs='1 3'
    t "diff as $end" twice diff.$end --diff
    t "diff of a metric as $end" twice one.$end --diff --grid previous
    t "moved as $end" twice moved.$end --moved
    t "moved, a head as $end" twice head.$end --moved --head L1H1 --prompt b
    runs=1
    t "marks as $end" twice marks.$end --strip --head L1H0 --mark hidden_sinks
    t "map as $end" twice map.$end --head L0H1
    t "several heads as $end" twice some.$end --head 'L0H*,L1H0'
    t "layer as $end" twice layer.$end --layer 1
    t "all as $end" twice all.$end --all
    t "grid as $end" twice grid.$end --grid previous
    t "strip from as $end" twice from.$end --strip --head L1H0 --from 5
    t "strip to as $end" twice to.$end --strip --to 2
    t "over layers as $end" twice layers.$end --over-layers previous
    t "over positions as $end" twice positions.$end --over-positions entropy --head L0H0,L1H1
    t "bars as $end" twice bar.$end --bar induction --top 3
    t "overlap as $end" twice overlap.$end --overlap induction,previous,-previous --top 2
done

t "a map tells" tells "$tmp/map.png" 'd["figure"] == "map" and d["head"] == "L0H1" and d["run"] == "1" and d["prompt"] == "a" and d["model"] and "L0H1" in d["Title"] and d["vmax"] == "1"'
t "a sheet tells" tells "$tmp/all.png" 'd["figure"] == "all" and d["heads"] == "all" and d["prompt"] == "a"'
t "a grid tells" tells "$tmp/grid.png" 'd["figure"] == "grid" and d["metric"] == "previous" and "prompt" not in d and "mean over its prompts" in d["Description"]'
t "a strip tells" tells "$tmp/from.png" 'd["figure"] == "strip" and d["from"] == "5" and d["heads"] == "L1H0" and "to" not in d'
t "a strip the other way tells" tells "$tmp/to.png" 'd["to"] == "2" and d["heads"] == "all heads, mean"'
t "curves tell" tells "$tmp/positions.png" 'd["statistic"] == "entropy" and d["heads"] == "L0H0,L1H1"'
t "bars tell" tells "$tmp/bar.png" 'd["metric"] == "induction" and "Top 3 heads" in d["Title"] and "standard error over" in d["Description"]'
t "overlap tells" tells "$tmp/overlap.png" 'd["metrics"] == "induction,previous,-previous" and "first 2 of two metrics" in d["Title"] and "at random share 0.50" in d["Description"] and d["vmin"] == "-1"'
t "diff tells" tells "$tmp/diff.png" 'd["figure"] == "diff" and d["metric"] == "entropy_nats, sink_alpha0" and d["run"] == "1" and d["run_after"] == "3" and d["edits_after"] == "--do temper:L*,t=2" and "edits" not in d and d["Description"].endswith("; after: run 3, --do temper:L*,t=2") and float(d["sink_alpha0.vmin"]) == -float(d["sink_alpha0.vmax"])'
t "diff of a metric tells" tells "$tmp/one.png" 'd["metric"] == "previous" and d["centre"] == "0"'
t "moved tells" tells "$tmp/moved.png" 'd["figure"] == "moved" and d["heads"] == "all heads, mean" and d["prompt"] == "a" and d["run_after"] == "3" and d["edits_after"] == "--do temper:L*,t=2" and "prompt a; all heads, mean; after: run 3" in d["Description"]'
t "marks tell" tells "$tmp/marks.png" 'd["mark"] == "hidden_sinks" and d["heads"] == "L1H0"'
t "moved shades spans" tells "$tmp/moved.png" 'd["spans"] == "doc=2:5 tail=6:8"'
# Without series, maps give the same column means: the same picture.
printf '%s\n' '{"id": "a", "tokens": [1, 2, 3, 4, 5, 6, 7, 8]}' >"$tmp/one.jsonl"
from_maps() {
    for o in '--observe sinks' '--maps all'; do
        rm -f "$tmp/m.db"
        # shellcheck disable=SC2086
        exits 0 record "$m" -f "$tmp/one.jsonl" $o -q -o "$tmp/m.db" &&
            exits 0 record "$m" -f "$tmp/one.jsonl" $o --span doc=2:5 --do 'temper:L*,t=2' -q -o "$tmp/m.db" &&
            exits 0 heatmap 1 2 --moved --layer 1 --cols 1: --db "$tmp/m.db" -o "$tmp/m$((i += 1)).png" || return 1
    done
    cmp "$tmp/m1.png" "$tmp/m2.png"
}
i=0
t "moved from maps is moved from series" from_maps
none_there() {
    exits 0 record "$m" -f "$tmp/one.jsonl" -q -o "$tmp/n.db" && exits 0 record "$m" -f "$tmp/one.jsonl" -q -o "$tmp/n.db" &&
        exits 5 heatmap 1 2 --moved --db "$tmp/n.db" -o "$tmp/none.png" && says '--observe sinks, or with --maps'
}
t "moved with neither" none_there
# The largest bar is the largest column mean.
tallest() {
    exits 0 query moved --run 3 --param other=1 --param layer=1 --param head=1 --prompt a --json &&
        json "open('$tmp/reach', 'w').write(str(max(max(r[2], r[3]) for r in d['rows'])))" &&
        exits 0 heatmap 1 3 --moved --head L1H1 --range data -o "$tmp/b.png" && tells "$tmp/b.png" "0 <= float(d['vmax']) - float(open('$tmp/reach').read()) < 0.25"
}
t "moved draws what the query moved tells" tallest
# Marks are what the queries find: another picture where they find some.
marked() {
    exits 0 query "$2" --prompt a --run 1 --json && json 'd["rows"]' && exits 0 heatmap 1 --strip -o "$tmp/b.png" &&
        exits 0 heatmap 1 --strip --mark "$1" -o "$tmp/c.png" && ! cmp -s "$tmp/b.png" "$tmp/c.png" && tells "$tmp/c.png" "d['mark'] == '$1'"
}
t "hidden sinks are marked" marked hidden_sinks hidden_sinks
t "VAR's sink tokens are marked" marked sink_tokens residual_sinks
t "sinks of one layer" exits 0 heatmap 1 3 --moved --layer 1 --mark sink_tokens -o "$tmp/b.png"
# The largest change is the one that diff tells.
reach() {
    exits 0 diff "$1" "$2" --metric entropy_nats --top 0 --json && json "open('$tmp/reach', 'w').write(str(max(abs(h['value']) for h in d['heads'])))" &&
        exits 0 heatmap "$1" "$2" --diff --grid entropy_nats -o "$tmp/b.png" && tells "$tmp/b.png" "abs(float(d['vmax']) - float(open('$tmp/reach').read())) < 1e-6 and float(d['vmax']) > 0.01"
}
t "diff draws what diff tells" reach 1 3
t "diff of one prompt" exits 0 heatmap 1 3 --diff --prompt b --grid rows.lse,maps,previous,entropy_nats -o "$tmp/b.png"
other_way() { exits 0 heatmap 3 1 --diff -o "$tmp/b.png" && tells "$tmp/b.png" 'd["run_after"] == "1" and d["edits"] == "--do temper:L*,t=2" and "before: --do temper:L*,t=2; after: run 1" in d["Description"]'; }
t "diff the other way round" other_way
of_prompt() { exits 0 heatmap 1 --bar induction --prompt b -o "$tmp/b.png" && tells "$tmp/b.png" 'd["prompt"] == "b" and "error" not in d["Description"]'; }
t "bars of one prompt" of_prompt
own_title() { exits 0 heatmap 1 --head L0H0 --title 'Mine <b>' -o "$tmp/b.png" && tells "$tmp/b.png" 'd["Title"] == "Mine <b>" and "run 1" in d["Description"]'; }
t "--title" own_title
to_data() { exits 0 heatmap 1 --head L0H0 --rows 4: --range data -o "$tmp/b.png" && tells "$tmp/b.png" 'float(d["vmax"]) < 1'; }
t "--range data" to_data
part() { exits 0 heatmap 1 --head L0H0 --rows -3: --cols :4 -o "$tmp/c.png" && exits 0 heatmap 1 --head L0H0 -o "$tmp/b.png" && ! cmp -s "$tmp/b.png" "$tmp/c.png"; }
t "part of a map" part
last() { exits 0 heatmap 1 --strip -o "$tmp/b.png" && exits 0 heatmap 1 --strip --from -1 -o "$tmp/c.png" && cmp "$tmp/b.png" "$tmp/c.png" && tells "$tmp/b.png" 'd["from"] == "7"'; }
t "a strip is from the last token" last
t "the mean of a row statistic" exits 0 heatmap 1 --grid lse -o "$tmp/b.png"
t "a stored series" exits 0 heatmap 1 --over-positions column_mean --layer 0 -o "$tmp/b.png"
t "a column of a result" exits 0 heatmap 1 --over-layers drains_peak.peak -o "$tmp/b.png"
t "several metrics" exits 0 heatmap 1 --over-layers previous,self_mass,drains_peak.peak -o "$tmp/b.png"
t "over another file" exits 0 heatmap 1 --all --theme screen --cmap magma --pool mean -o "$tmp/b.png"

# A grid of means is the mean: one head's row statistic, read both ways.
agrees() {
    exits 0 heatmap 1 --grid entropy --range data -o "$tmp/e.png" && exits 0 heatmap 1 --grid entropy_nats --range data -o "$tmp/n.png" &&
        tells "$tmp/e.png" 'open(sys.argv[1] + ".range", "w").write(d["vmin"][:7] + " " + d["vmax"][:7])' &&
        tells "$tmp/n.png" 'open(sys.argv[1] + ".range", "w").write(d["vmin"][:7] + " " + d["vmax"][:7])' && cmp "$tmp/e.png.range" "$tmp/n.png.range"
}
t "the mean of a row statistic is the metric" agrees

# The largest value drawn is that of the part, the row, the column, or the mean over heads.
largest() {
    sql=$1
    shift
    exits 0 heatmap 1 "$@" -o "$tmp/b.png" &&
        exits 0 query "SELECT max(w) FROM (SELECT $sql)" --json &&
        tells "$tmp/b.png" "abs(float(d['vmax']) - __import__('json').load(open('$out'))['rows'][0][0]) < 1e-6"
}
of="FROM map AS m JOIN token AS t ON t.prompt_id = m.prompt_id WHERE m.prompt_id = 1 AND m.point = 'pattern'"
t "a strip from a token" largest "att_at(m.id, 5, t.pos) AS w $of AND m.layer = 1 AND m.head = 0" --strip --head L1H0 --from 5
t "a strip to a token" largest "att_at(m.id, t.pos, 2) AS w $of AND m.layer = 1 AND m.head = 1" --strip --head L1H1 --to 2
t "a strip to the last token" largest "att_at(m.id, t.pos, 7) AS w $of AND m.layer = 1 AND m.head = 1" --strip --head L1H1 --to 7
t "a part's own range" largest "att_at(m.id, t.pos, 6) AS w $of AND m.layer = 0 AND m.head = 1 AND t.pos >= 6" --head L0H1 --rows 6: --cols 6:7 --range data
t "the mean of a layer" largest "avg(att_at(m.id, 5, t.pos)) AS w $of AND m.layer = 1 GROUP BY t.pos" --strip --layer 1 --from 5
t "the mean of all heads" largest "avg(att_at(m.id, t.pos, 3)) AS w $of GROUP BY t.pos" --strip --to 3

# ---- refusals -------------------------------------------------------------------------------
refused() {
    status=$1 words=$2
    shift 2
    exits "$status" heatmap 1 "$@" -o "$tmp/none.png" && says "$words" && [ ! -e "$tmp/none.png" ]
}
t "nothing to draw" refused 2 'draw what\? .*--all.*--strip'
t "two figures" refused 2 'two figures' --head L0H0 --grid previous
t "three figures" refused 2 'two figures' --all --bar previous --strip
t "an option of another figure" refused 2 '--top does not go with --grid' --grid previous --top 3
t "rows of a grid" refused 2 '--rows does not go with --grid' --grid previous --rows 1:2
t "from, but no strip" refused 2 '--from does not go with --head' --head L0H0 --from 1
t "from and to" refused 2 'not both' --strip --from 1 --to 1
t "no such position" refused 2 '--from' --strip --from 8
t "no such row" refused 2 '--rows' --head L0H0 --rows 3:9
t "an empty part" refused 2 'holds no position' --head L0H0 --cols 3:3
t "no such layer" refused 2 '--layer' --layer 77
t "no such head" refused 2 '--head' --head L0H77
t "no head" refused 2 'no head' --head none
t "no such metric" refused 5 'previous' --grid previos
t "no such series" refused 5 'previos' --over-positions previos
t "no such table" refused 5 'it has' --grid drains_peak.pek
t "results that were not recorded" refused 5 '--observe hidden_sinks' --grid hidden_sinks_found.column_mean
t "too many metrics" refused 2 'at most 7' --over-layers a,b,c,d,e,f,g,h
t "no metric" refused 2 'over-layers' --over-layers ,
t "too many bars" refused 2 'at most' --bar previous --top 1000
t "one metric overlaps with nothing" refused 5 'no two metrics' --overlap previous
t "overlap with none" refused 5 "has a metric 'previos'" --overlap induction,previos
t "overlap of one prompt" refused 2 'not about one prompt' --overlap induction,previous --prompt a
t "a bad range" refused 2 '--range' --head L0H0 --range 1:1
t "no colour map" refused 2 'list colormaps' --head L0H0 --cmap jetset
t "a resolution" refused 2 'dpi' --head L0H0 --dpi 5000
two() { exits "$1" heatmap $2 --diff --grid "$3" -o "$tmp/none.png" && says "$4" && [ ! -e "$tmp/none.png" ]; }
t "diff of one run" two 2 1 previous 'which two runs'
t "diff of the latest run" two 2 '' previous 'which two runs'
t "diff of the same run" two 2 '1 1' previous 'is one run'
t "diff with no such run" two 5 '1 9' previous 'no run 9'
t "diff of no such metric" two 5 '1 3' previos 'previos'
t "diff of too many metrics" two 2 '1 3' a,b,c,d,e,f,g 'more than 6'
t "no such mark" refused 2 'hidden_sinks, sink_tokens' --strip --mark massive
t "a mark of another figure" refused 2 '--mark does not go with --grid' --grid previous --mark hidden_sinks
unmarked() { exits 5 heatmap 3 1 --moved --layer 1 --mark sink_tokens -o "$tmp/none.png" && says '--observe sink_tokens'; }
t "marks that were not recorded" unmarked
t "moved of one run" refused 2 'heatmap --moved 1 2' --moved
parts() { exits 2 heatmap 1 3 --moved --cols "$1" -o "$tmp/none.png" && says -- '--cols'; }
t "moved of no position" parts 3:3
t "moved past the end" parts 3:99
alone() { exits 2 heatmap 1 3 --all -o "$tmp/none.png" && says 'is of one run'; }
t "another figure of two runs" alone
unstored() { exits 5 heatmap 2 "$@" -o "$tmp/none.png" && says "--maps $want_maps"; }
want_maps=L0H1
t "a map that was not stored" unstored --head L0H1
want_maps='L1H\*'
t "a layer that was not stored" unstored --layer 1
want_maps=all
t "maps that were not stored" unstored --all
no_kind() { exits 2 heatmap 1 --all -o "$tmp/none.$1" --db "$tmp/missing.db" && says '\.png'; }
t "another ending, before anything is read" no_kind bmp
t "no ending" no_kind pngx
nowhere() { exits 2 heatmap 1 --all && says 'write where'; }
t "no file" nowhere

# A kind is a file.
listed() { exits 0 list figures --json && json "sorted(r['name'] for r in d['figures']) == sorted('$(echo cli/figures/figure_*.c)'.replace('cli/figures/figure_', '').replace('.c', '').replace('_', '-').split())"; }
t "list figures" listed
finish
