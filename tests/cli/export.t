# Exports for other tools, read back with what Python has: numbers are those of the database.
. tests/cli/lib.sh
m=$DATA/llama_gqa.gguf
export HEADSCOPE_DB=$tmp/run.db
printf '%s\n' '{"id": "a", "tokens": [1, 2, 3, 4, 5, 6, 7, 8]}' \
    '{"id": "b, \"c\"", "tokens": [9, 8, 7, 9, 8, 7, 9, 8, 7], "image": "/some/folder/p.png"}' >"$tmp/p.jsonl"
hs record "$m" -f "$tmp/p.jsonl" --maps L0H*,L1H2 --acts 'logits' --observe sinks,massive,stripes --generate 2
hs record "$m" -f "$tmp/p.jsonl" --label plain

# What the database says, for the checks below: maps[prompt][layer, head] = rows, and rows of SQL.
cat >"$tmp/said.py" <<'END_PY'
import csv, json, struct, subprocess, sys
def rows(sql):
    r = subprocess.run([HEADSCOPE, "query", sql, "--json"], capture_output=True, text=True, check=True)
    return json.loads(r.stdout)["rows"]
def no(name): raise ValueError(name)
def load(path): return json.load(open(path, encoding="utf-8"), parse_constant=no)
def table(path): return list(csv.DictReader(open(path, encoding="utf-8", newline="")))
def f32(x): # the text of a number is as long as it has to be, and may be longer
    return [f32(v) for v in x] if isinstance(x, list) else x if x is None else struct.unpack("f", struct.pack("f", float(x)))[0]
def maps():
    out = {}
    for p, l, h, n in rows("select p.ord, layer, head, n_q from map join prompt p on p.id = prompt_id where point = 'pattern'"):
        q = ["att_row(m.id, %d)" % i for i in range(n)]
        row, = rows("select %s from map m join prompt p on p.id = prompt_id where point = 'pattern' and "
                    "p.run_id = 1 and ord = %d and layer = %d and head = %d" % (", ".join(q), p, l, h))
        out.setdefault(p, {})[l, h] = [f32(json.loads(r)) for r in row]
    return out
def full(m): return [r + [0] * (len(m) - len(r)) for r in m]
END_PY
check() { # check FILE...: runs Python from stdin after what is above
    { printf 'HEADSCOPE = "%s"\n' "$HEADSCOPE" && cat "$tmp/said.py" -; } >"$tmp/check.py"
    python3 "$tmp/check.py" "$@"
}

# ---- CSV ------------------------------------------------------------------------------------
heads_csv() {
    exits 0 export 1 -o "$tmp/heads.csv" && check "$tmp/heads.csv" <<'END_PY'
t = table(sys.argv[1])
want = rows("select prompt, label, layer, head, metric, value, reason from v_head_metric where run_id = 1 order by prompt, layer, head, metric")
assert len(t) == len(want) > 100
for r, (prompt, label, layer, head, metric, value, reason) in zip(t, want):
    assert (r["run"], r["prompt"], r["id"], r["layer"], r["head"]) == ("1", str(prompt), label, str(layer), str(head))
    assert r["name"] == "L%dH%d" % (layer, head) and r["metric"] == metric
    assert float(r["value"]) == value if value is not None else r["value"] == "" and r["reason"] == reason
END_PY
}
t "metrics of heads as CSV" heads_csv
maps_csv() {
    exits 0 export 1 --what maps -o "$tmp/maps.csv" && check "$tmp/maps.csv" <<'END_PY'
t, said = table(sys.argv[1]), maps()
assert len(t) == sum(len(r) for m in said.values() for x in m.values() for r in x) > 300
for r in t:
    assert f32(r["weight"]) == said[int(r["prompt"])][int(r["layer"]), int(r["head"])][int(r["query"])][int(r["key"])]
END_PY
}
t "maps as CSV" maps_csv
stats_csv() {
    exits 0 export 1 --what stats --prompt a --layer 1 -o "$tmp/stats.csv" && check "$tmp/stats.csv" <<'END_PY'
t = table(sys.argv[1])
n = 0
for head, stat, data in rows("select head, stat, att_series(data) from row_series where prompt_id = 1 and layer = 1"):
    have = [r for r in t if r["head"] == str(head)]
    assert f32([r[stat] for r in have]) == f32(json.loads(data)) and [r["pos"] for r in have] == [str(i) for i in range(len(have))]
    n += 1
assert n == 32 and {r["layer"] for r in t} == {"1"}
END_PY
}
t "row statistics as CSV" stats_csv
tokens_csv() {
    exits 0 export 1 --what tokens -o "$tmp/tokens.csv" && check "$tmp/tokens.csv" <<'END_PY'
t = table(sys.argv[1])
assert [int(r["token_id"]) for r in t] == [i for i, in rows("select token_id from token t join prompt p on p.id = prompt_id where run_id = 1 order by ord, pos")]
assert {r["id"] for r in t} == {"a", 'b, "c"'} and {r["token"] for r in t} == {""}
END_PY
}
t "tokens as CSV, ids that need quotes" tokens_csv
stdout() {
    exits 0 export 1 --format csv -o - && cmp "$out" "$tmp/heads.csv" && [ ! -s "$err" ] &&
        "$HEADSCOPE" export 1 --format csv -o - | cmp - "$tmp/heads.csv"
}
t "to standard output" stdout

# ---- JSON -----------------------------------------------------------------------------------
json_all() {
    exits 0 export 1 --what all -o "$tmp/all.json" && check "$tmp/all.json" "$tmp/heads.csv" <<'END_PY'
d, said, t = load(sys.argv[1]), maps(), table(sys.argv[2])
assert d["run"] == 1 and d["n_layer"] == 2 and [p["id"] for p in d["prompts"]] == ["a", 'b, "c"']
assert [h["value"] for p in d["prompts"] for h in p["heads"]] == [float(r["value"]) if r["value"] else None for r in t]
for p in d["prompts"]:
    assert {(m["layer"], m["head"]) for m in p["maps"]} == set(said[p["prompt"]])
    for m in p["maps"]: assert f32(m["weight"]) == full(said[p["prompt"]][m["layer"], m["head"]])
    assert len(p["stats"]) == 8 and len(p["stats"][0]["entropy"]) == len(p["tokens"])
END_PY
}
t "everything as JSON" json_all
heads_json() { exits 0 export 1 --heads L1H3 --prompt 1 -o "$tmp/one.json" && cp "$tmp/one.json" "$out" &&
    json 'len(d["prompts"]) == 1 and {h["name"] for h in d["prompts"][0]["heads"]} == {"L1H3"} and "maps" not in d["prompts"][0]'; }
t "one head of one prompt" heads_json

# ---- pages ----------------------------------------------------------------------------------
bertviz() {
    exits 0 export 1 --format bertviz -o "$tmp/bv.json" && says 'the first prompt' && check "$tmp/bv.json" <<'END_PY'
d, said = load(sys.argv[1]), maps()[0]
n = len(d["tokens"])
assert set(d) == {"tokens", "include_layers", "heads", "attention"} and len(d["attention"]) == 2
assert d["include_layers"] == [0, 1] and d["heads"] == [0, 1, 2, 3] and n == len(said[0, 0])
for l, layer in enumerate(d["attention"]):
    assert len(layer) == 1 and len(layer[0]) == 4
    for h, a in enumerate(layer[0]): assert f32(a) == (full(said[l, h]) if (l, h) in said else [[0] * n] * n)
END_PY
}
t "for BertViz" bertviz
bertviz_layer() {
    exits 0 export 1 --format bertviz --layer 1 --prompt 1 -o "$tmp/bv.json" && check "$tmp/bv.json" <<'END_PY'
d, said = load(sys.argv[1]), maps()[1]
assert d["include_layers"] == [1] and d["heads"] == [2]
assert d["attention"][0] == [[[[0]]] * 4] and f32(d["attention"][1][0][2]) == full(said[1, 2])
END_PY
}
t "one layer keeps its number" bertviz_layer
circuitsvis() {
    exits 0 export 1 --format circuitsvis --prompt 1 --heads 'L0H1-2,L1H*' -o "$tmp/cv.json" && check "$tmp/cv.json" <<'END_PY'
d, said = load(sys.argv[1]), maps()[1]
assert set(d) == {"tokens", "attention", "attention_head_names"}
assert d["attention_head_names"] == ["L0H1", "L0H2", "L1H2"]
assert f32(d["attention"]) == [full(said[k]) for k in ((0, 1), (0, 2), (1, 2))] and len(d["tokens"]) == len(d["attention"][0])
END_PY
}
t "for CircuitsVis" circuitsvis
python3 -c 'import json; print(json.dumps({"tokens": [i * 7 % 40 + 1 for i in range(2000)]}))' >"$tmp/long.jsonl"
hs record "$m" -f "$tmp/long.jsonl" --ctx 2000 --maps L0H0-1 -o "$tmp/long.db"
large() { # rows by rows: a whole map is 16 MB, its text 30
    (ulimit -v 120000 && exits 0 export --db "$tmp/long.db" --format circuitsvis -o "$tmp/long.json") &&
        says '[0-9] MB, and browsers' && says '\-\-heads' && [ "$(wc -c <"$tmp/long.json")" -gt 50000000 ]
}
long_stats() {
    hs export --db "$tmp/long.db" --what stats --heads L1H2 -o "$tmp/long.csv" &&
        exits 0 export --db "$tmp/long.db" --what stats --heads L1H2 -o "$tmp/long.json" &&
        (HEADSCOPE_DB=$tmp/long.db && check "$tmp/long.csv" "$tmp/long.json") <<'END_PY'
t, d = table(sys.argv[1]), load(sys.argv[2])["prompts"][0]["stats"]
assert [r["pos"] for r in t] == [str(i) for i in range(2000)] and len(d) == 1
for stat in "entropy", "argmax", "distance":
    want = sum((json.loads(v) for v, in rows("select att_series(data) from row_series where layer = 1 and head = 2 and stat = '%s' order by row0" % stat)), [])
    assert f32([r[stat] for r in t]) == f32(d[0][stat]) == f32(want)
END_PY
}
t "statistics of many rows" long_stats
if [ -n "${HS_SANITIZED:-}" ]; then skip "a page too large" "the sanitizer needs more memory"; else t "a page too large: what to do" large; fi
rm -f "$tmp/long.json" "$tmp/long.db"

# ---- what is refused ------------------------------------------------------------------------
refused() { # refused STATUS PATTERN ARGS...: one line, and no file
    status=$1 pattern=$2
    shift 2
    exits "$status" export "$@" && says "$pattern" && [ -z "$(find "$tmp" -name 'no.*')" ]
}
t "an ending of no format" refused 2 'csv.*--format.*--publish' 1 -o "$tmp/no.xls"
t "no such format" refused 2 'circuitsvis' 1 --format excel -o "$tmp/no.csv"
t "activations as a table" refused 2 'npz' 1 --what acts -o "$tmp/no.csv"
t "metrics as arrays" refused 2 'csv, json' 1 --what heads -o "$tmp/no.npz"
t "two tables in one file" refused 2 'json' 1 --what heads,stats -o "$tmp/no.csv"
t "no such thing" refused 2 'heads, stats' 1 --what mops -o "$tmp/no.json"
t "maps that were not recorded" refused 5 '--maps' 2 --what maps -o "$tmp/no.csv"
t "nor for a page" refused 5 '--maps' 2 --format bertviz -o "$tmp/no.json"
t "nor of these heads" refused 5 'of these heads.*--maps' 1 --format circuitsvis --heads L1H3 -o "$tmp/no.json"
t "activations that were not recorded" refused 5 '--acts' 2 --what acts -o "$tmp/no.npz"
t "no such head" refused 2 'L9H0' 1 --heads L9H0 -o "$tmp/no.csv"
t "no such layer" refused 2 '' 1 --layer 9 -o "$tmp/no.csv"
t "heads and a layer" refused 2 'exclude' 1 --heads L0H0 --layer 1 -o "$tmp/no.csv"
t "some heads as arrays" refused 2 'npz' 1 --heads L0H0 -o "$tmp/no.npz"
t "two runs in one file" refused 2 'publish' 1 2 -o "$tmp/no.csv"
t "publishing without --publish" refused 2 'publish' 1 -o "$tmp/no.db"
t "what only publishing has" refused 2 'publish' 1 --drop maps -o "$tmp/no.csv"
own_db() { cp "$HEADSCOPE_DB" "$tmp/was" && exits 1 export 1 --format csv -o "$HEADSCOPE_DB" && cmp "$HEADSCOPE_DB" "$tmp/was"; }
t "over the database itself" own_db
stopped() { # at any moment: what was there stays, or the new file is whole
    hs export 1 --what all -o "$tmp/whole.json" || return 1
    for after in 0 0.005 0.01 0.02 0.04; do
        echo was >"$tmp/stop.json"
        "$HEADSCOPE" export 1 --what all -o "$tmp/stop.json" 2>"$err" &
        sleep $after
        kill -INT $! 2>/dev/null
        wait $!
        cmp -s "$tmp/stop.json" "$tmp/whole.json" || [ "$(cat "$tmp/stop.json")" = was ] || return 1
        [ -z "$(find "$tmp" -name '*.part')" ] || return 1
    done
}
t "stopped at any moment" stopped

# ---- publishing -----------------------------------------------------------------------------
whole() {
    exits 0 export --publish -o "$tmp/paper.db" && says 'paper.metadata.json' && says 'folders of this machine' && check "$tmp/paper.db" "$HEADSCOPE_DB" <<'END_PY'
import sqlite3
new, old = (sqlite3.connect(p) for p in sys.argv[1:])
for q in "pragma user_version", "pragma application_id", "pragma page_size", "pragma journal_mode":
    assert new.execute(q).fetchone() == old.execute(q).fetchone(), q
assert new.execute("pragma integrity_check").fetchone() == ("ok",) and not new.execute("pragma foreign_key_check").fetchall()
changed = {("model", "source"), ("run", "argv_json"), ("prompt", "extra_json")}
for t, in old.execute("select name from sqlite_master where type = 'table'").fetchall():
    for c in [c[1] for c in old.execute(f"pragma table_info({t})")]:
        a, b = (d.execute(f'select "{c}" from {t} order by 1').fetchall() for d in (new, old))
        assert (a != b) == ((t, c) in changed), (t, c)
text = open(sys.argv[1], "rb").read()
assert b"/some/folder" not in text and sys.argv[2].rsplit("/", 1)[0].encode() not in text
assert json.loads(new.execute("select argv_json from run").fetchone()[0])[2] == "llama_gqa.gguf"
END_PY
}
t "publishing a database" whole
same_answers() {
    for command in 'heads --metric entropy_nats --json' 'attend --run 1 --head L1H2 --from 3 --json' 'query sink_rate --param eps=0.1 --json --run 1' 'runs --csv'; do
        # shellcheck disable=SC2086 # words
        hs $command && cp "$out" "$tmp/was" && exits 0 $command --db "$tmp/paper.db" && cmp "$out" "$tmp/was" || return 1
    done
}
t "it answers as the original" same_answers
pages() { # every query of the pages runs on plain SQLite, with a form's empty fields
    check "$tmp/paper.db" "$tmp/paper.metadata.json" <<'END_PY'
import re, sqlite3
db, d = sqlite3.connect(sys.argv[1]), load(sys.argv[2])["databases"]["paper"]
assert len(d["queries"]) >= 12 and d["tables"]["map_chunk"]["hidden"] and d["tables"]["prompt"]["label_column"] == "label"
for name, q in d["queries"].items():
    assert q["title"], name
    db.execute(q["sql"], {p: "" for p in re.findall(r":(\w+)", q["sql"])}).fetchall()
r = db.execute(d["queries"]["top_heads"]["sql"], {"run": "1", "prompt": "", "metric": "entropy_nats", "top": "2"}).fetchall()
assert [list(x) for x in r] == rows("select 'L' || layer || 'H' || head, layer, head, value from v_head_mean where run_id = 1 and metric = 'entropy_nats' order by value desc limit 2"), r
kinds = [len(db.execute(d["queries"]["head_kinds"]["sql"], {"run": "1", "prompt": "", "top": n}).fetchall()) for n in ("1", "2", "")]
assert kinds[0] * 2 == kinds[1] and kinds[0] * 3 == kinds[2] > 0, kinds
END_PY
}
t "its pages" pages
part() {
    exits 0 export 1 --publish --prompt 1 --drop maps,acts -o "$tmp/part.db" && exits 0 show --db "$tmp/part.db" --json &&
        json 'd["run"] == 1 and d["prompts"] == 1' && exits 0 heads --metric entropy_nats --prompt 0 --db "$tmp/part.db" &&
        exits 5 attend --head L1H2 --db "$tmp/part.db" && [ "$(wc -c <"$tmp/part.db")" -lt "$(wc -c <"$tmp/paper.db")" ]
}
t "one prompt without maps" part
several() { exits 0 export 1 2 --publish --keep-paths -o "$tmp/two.db" && ! says 'folders' && exits 0 runs --db "$tmp/two.db" --json && json '[r["run"] for r in d["runs"]] == [1, 2]'; }
t "several runs, paths kept" several
unpublished() { # unpublished STATUS ARGS...
    status=$1
    shift
    exits "$status" export --publish "$@" && [ -z "$(find "$tmp" -name 'no.*')" ]
}
t "no such run to publish" unpublished 5 7 -o "$tmp/no.db"
t "a prompt of two runs" unpublished 2 1 2 --prompt 0 -o "$tmp/no.db"
t "nothing known to drop" unpublished 2 --drop tokens -o "$tmp/no.db"
t "a part of runs" unpublished 2 --heads L0H0 -o "$tmp/no.db"
t "no folder to publish to" unpublished 1 -o "$tmp/no/x.db"
t "to a device" unpublished 2 -o /dev/null
over() { cp "$tmp/paper.db" "$tmp/was" && exits 1 export --publish 2 -o "$tmp/paper.db" && cmp "$tmp/paper.db" "$tmp/was" &&
    exits 1 export --publish -o "$HEADSCOPE_DB"; }
t "no database is replaced" over
full_disk() {
    text=$(python3 -c 'import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (200000, 200000))
os.execv(sys.argv[1], sys.argv[1:])' "$HEADSCOPE" export --publish -o "$tmp/no.db" 2>&1)
    [ $? = 1 ] && printf '%s\n' "$text" | grep -q "^headscope: $tmp/no.db: cannot write" && [ -z "$(find "$tmp" -name 'no.*')" ]
}
t "no room to publish" full_disk
finish
