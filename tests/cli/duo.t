# duo: streaming heads on the hand-built induction model, whose head 1.0 looks seven keys back, and on
# models with grouped heads and without; what is printed, what is stored, resuming, what is refused.
. tests/cli/lib.sh
ind2=$DATA/closed/ind2
gqa=$DATA/llama_gqa.gguf
export HEADSCOPE_DB="$tmp/duo.db"
head -n 1 "$ind2/prompts.jsonl" >"$tmp/twice.jsonl"
python3 - >"$tmp/f.jsonl" <<'END_PY'
import json, random
rng = random.Random(5)
for i in range(3):
    print(json.dumps({"id": f"t{i}", "tokens": [rng.randrange(3, 60) for _ in range(20 + i)], "spans": {"qa": [14, 18]}}))
END_PY
small="--sink 2 --recent 4 --sparsity 0"
some="--sink 2 --recent 4"
# Answers after the prompt, which the first copy tells.
cat >"$tmp/needles.jsonl" <<'EOT'
{"id":"a","tokens":[0,1,6,3,8,5,2,7,4,1,6],"needle":[3,6],"answer":[3,8,5]}
{"id":"b","tokens":[0,1,6,3,8,5,2,7,4,1],"needle":[2,4],"answer":[6,3]}
{"id":"c","tokens":[0,1,6,3,8,5,2,7,4,8],"needle":[5,7],"answer":[5,2]}
EOT

# ---- the probe ----------------------------------------------------------------------------------

first() { exits 0 duo "$ind2" -f "$tmp/twice.jsonl" $small --labels 9:17 --json && cp "$out" "$tmp/first"; }
t "runs" first
kept() { cp "$tmp/first" "$out" && json "$1"; }
t "what was done" kept '(d["run"], d["prompts"], d["sink"], d["recent"]) == (1, 1, 2, 4)'
t "all KV heads, in order" kept '[(h["layer"], h["kv_head"]) for h in d["heads"]] == [(0, 0), (0, 1), (1, 0), (1, 1)]'
t "the copying head must see far back" kept 'all(d["heads"][2]["probe"] > 100 * h["probe"] for i, h in enumerate(d["heads"]) if i != 2)'
t "one that looks back by one need not" kept 'd["heads"][0]["probe"] < 1e-5 and d["heads"][0]["z_error"] < .01'
t "one that adds nothing changes nothing" kept 'd["heads"][1]["probe"] == 0 and d["heads"][1]["z_error"] is None'
table() { exits 0 duo "$ind2" -f "$tmp/twice.jsonl" $small && prints '^4 KV heads stream one by one \(sink 2, recent 4\) on 1 prompt: run 2 in ' && sed -n 4p "$out" | grep -Eq '^L1G0 +H0 '; }
t "the table begins with the copying head" table
csv() { exits 0 duo "$ind2" -f "$tmp/twice.jsonl" $small --csv && [ "$(head -n 1 "$out")" = name,layer,kv_head,heads,probe,z_error ] && [ "$(wc -l <"$out")" = 5 ]; }
t "CSV of all KV heads" csv

# A group that streams: what the last row's loss says is of the same edit.
groups() {
    exits 0 duo "$gqa" -f "$tmp/f.jsonl" $small --json && cp "$out" "$tmp/groups" &&
        json 'd["prompts"] == 3 and len(d["heads"]) == 4 and all(h["probe"] > 0 and 0 < h["z_error"] < 2 for h in d["heads"])'
}
t "grouped heads" groups
same() {
    exits 0 heads --metric duo_probe --json && json "all(near(h['value'], g, 1e-12) for h, g in zip(sorted(d['heads'], key=lambda h: (h['layer'], h['head'])), [g['probe'] for g in json.load(open('$tmp/groups'))['heads'] for _ in range(2)]))"
}
t "query heads have their group's value" same
why() { exits 0 heads --run 1 --metric duo_z_error --json && json '[h["reason"] for h in d["heads"] if h["value"] is None] == ["z is 0 in all rows that lose keys"]'; }
t "a deviation of nothing has a reason instead" why
usual() {
    exits 0 duo "$gqa" -f "$tmp/f.jsonl" $small --labels 14:18 --json &&
        json "d['heads'] == json.load(open('$tmp/groups'))['heads']" &&
        exits 0 duo "$gqa" -f "$tmp/f.jsonl" $small --labels there --span there=14:18 --json &&
        json "d['heads'] == json.load(open('$tmp/groups'))['heads']"
}
t "labels: the span qa, positions, a span of one's own" usual
t "a grid" exits 0 heatmap --grid duo_probe -o "$tmp/g.png"
best() { exits 0 query duo --run 1 --param top=1 --json && json 'd["rows"][0][:4] == ["L1G0", 1, 0, "H0"]'; }
t "query duo: the dearest" best
t "influence by it" exits 0 influence "$gqa" -f "$tmp/f.jsonl" --by duo_probe --top 2 --control 0

# ---- gates --------------------------------------------------------------------------------------

found() {
    exits 0 duo "$ind2" -f "$tmp/twice.jsonl" $small --labels 9:17 --steps 120 --rate .05 --json && cp "$out" "$tmp/gates" &&
        json "[{k: h[k] for k in ('layer', 'kv_head', 'probe', 'z_error')} for h in d['heads']] == json.load(open('$tmp/first'))['heads']" &&
        json 'd["heads"][2]["gate"] > .9 and all(h["gate"] < .1 for i, h in enumerate(d["heads"]) if i != 2)'
}
t "the copying head's gate stays open, the others close" found
course() {
    exits 0 query duo_course --json && json 'd["columns"] == ["step", "prompt", "loss", "mean_gate", "n_open", "rate"] and [r[0] for r in d["rows"]] == list(range(120)) and d["rows"][0][2:5] == [0, 1, 4] and d["rows"][-1][4] == 1 and near(d["rows"][0][5], .05 / 10, 1e-15) and near(d["rows"][60][5], .05, 1e-15)'
}
t "query duo_course: all steps" course
many() {
    exits 0 duo "$gqa" -f "$tmp/f.jsonl" $small --steps 4 --rate .1 --json && cp "$out" "$tmp/four" && exits 0 heads --metric duo_gate --json &&
        json "all(near(h['value'], g, 1e-12) and h['prompts'] == 1 for h, g in zip(sorted(d['heads'], key=lambda h: (h['layer'], h['head'])), [g['gate'] for g in json.load(open('$tmp/four'))['heads'] for _ in range(2)]))" &&
        exits 0 query duo_course --json && json '[r[1] for r in d["rows"]] == [0, 1, 2, 0]'
}
t "prompts take turns, groups have one gate" many
people() { exits 0 duo "$ind2" -f "$tmp/twice.jsonl" $small --steps 3 && prints '^KV head +its heads +probe +z error +gate$' && prints '^4 of 4 gates are at least a half after 3 steps, their mean is ' && prints 'next: headscope query duo_course'; }
t "for people" people
free() { exits 0 duo "$ind2" -f "$tmp/twice.jsonl" $small --labels 9:17 --steps 20 --lambda 0 --json && json 'all(h["gate"] == 1 for h in d["heads"])'; }
t "without a price nothing closes" free

# ---- sets ---------------------------------------------------------------------------------------

sets() { exits 0 duo "$ind2" -f "$tmp/needles.jsonl" $some --sparsity 75,25,50,100,25 --json && cp "$out" "$tmp/sets"; }
t "sets of KV heads" sets
had() { cp "$tmp/sets" "$out" && json "$1"; }
t "all tests are passed" had '(d["tests"], d["passed"]) == (3, 3)'
t "none, then all shares: lowest, highest, five draws" had '[(c["share"], c["streaming"], c["ranking"], c.get("draw")) for c in d["curve"]] == [(s, s // 25, r, k) for s in (0, 25, 50, 75, 100) for r, k in [("lowest", None), ("highest", None)] + [("random", k) for k in range(5)]]'
t "no recall is lost while the copying head does not stream" had 'all((c["recall"] == 1) == (c["share"] < 100) for c in d["curve"] if c["ranking"] == "lowest")'
t "and all when it does" had 'all((c["recall"] < .5) == (c["share"] > 0) for c in d["curve"] if c["ranking"] == "highest")'
t "of one KV head, a draw in four has it" had '0 < sum(c["recall"] for c in d["curve"] if c["ranking"] == "random" and c["share"] == 50) <= 5'
# The loss of the same edit by eval --do.
loss() {
    exits 0 eval "$ind2" -f "$tmp/needles.jsonl" --per-token --json --do mask:sink_recent,s=2,w=4,heads=L1H0 &&
        json "near(sum(p['nll'] for p in d['prompts']) / 3, [c['nll'] for c in json.load(open('$tmp/sets'))['curve'] if c['share'] == 25 and c['ranking'] == 'highest'][0], 1e-9)" &&
        exits 0 eval "$ind2" -f "$tmp/needles.jsonl" --per-token --json --do mask:sink_recent,s=2,w=4 &&
        json "all(near(sum(p['nll'] for p in d['prompts']) / 3, c['nll'], 1e-9) for c in json.load(open('$tmp/sets'))['curve'] if c['share'] == 100)"
}
t "losses are those of eval --do" loss
verdict() { exits 0 duo "$ind2" -f "$tmp/needles.jsonl" $some && prints '^Streaming the 2 of 4 KV heads that the probe ranks lowest leaves a recall of 1.000, against 1.000 of the unedited model \(3 of 3 tests passed\); the highest 0\.' && prints 'next: headscope query duo ' && prints 'heatmap [0-9]+ --streaming'; }
t "the verdict" verdict
both() { exits 0 duo "$ind2" -f "$tmp/needles.jsonl" $some --steps 100 --rate .05 --sparsity 75 --json && json '[c["recall"] for c in d["curve"] if c["ranking"] == "lowest_gate"] == [1, 1] and [c["recall"] < .5 for c in d["curve"] if c["ranking"] == "highest_gate"] == [False, True]'; }
t "by the gates too" both
t "heatmap --streaming" exits 0 heatmap --streaming -o "$tmp/s.svg"
t "query duo_curve" exits 0 query duo_curve --json
# Without tests there is the loss; with tests that fail there is no recall.
bare() { exits 0 duo "$gqa" -f "$tmp/f.jsonl" $some --sparsity 50 && prints '^Streaming the 2 of 4 KV heads that the probe ranks lowest costs -?[0-9.]+ nats a token' && exits 0 heatmap --streaming -o "$tmp/s.png" && exits 0 query duo_sets --json && json 'all(r[5] is None and r[6:] == [0, 0] for r in d["rows"])'; }
t "no tests: the loss" bare
weak() { echo '{"id":"x","tokens":[0,1,6,3,8,5,2,7,4,1,6],"needle":[0,1],"answer":[0,0]}' >"$tmp/none.jsonl" && exits 0 duo "$ind2" -f "$tmp/none.jsonl" $some --sparsity 50 --json && json '(d["tests"], d["passed"]) == (1, 0) and all(c["recall"] is None and c["nll"] > 0 for c in d["curve"])'; }
t "no test passed: no recall" weak
tells() { exits 0 duo "$ind2" -f "$tmp/none.jsonl" $some && prints '^Without streaming 0 of 1 tests are passed, n = 0' && prints 'ranks lowest costs '; }
t "and it says so" tells
left() { exits 0 duo "$ind2" -f "$tmp/none.jsonl" $small --json && json 'd["curve"] == []' && exits 5 heatmap --streaming -o "$tmp/s.png" && says 'has no sets of KV heads that stream: headscope duo makes them'; }
t "--sparsity 0" left
seeds() { exits 0 duo "$gqa" -f "$tmp/f.jsonl" $some --sparsity 50 --seed 1 --json && cp "$out" "$tmp/one" && exits 0 duo "$gqa" -f "$tmp/f.jsonl" $some --sparsity 50 --seed 1 --json && json "d['curve'] == json.load(open('$tmp/one'))['curve']" && exits 0 duo "$gqa" -f "$tmp/f.jsonl" $some --sparsity 50 --seed 2 --json && json "d['curve'] != json.load(open('$tmp/one'))['curve']"; }
t "the seed decides" seeds

# ---- the run ------------------------------------------------------------------------------------

again() { exits 0 duo "$gqa" -f "$tmp/f.jsonl" $some --steps 2 --json && cp "$out" "$tmp/whole" && exits 0 duo "$gqa" -f "$tmp/f.jsonl" $some --steps 2 --resume --json && says 'is complete already' && cmp "$out" "$tmp/whole"; }
t "a complete run is left alone" again
stopped() { # as it was after one prompt
    python3 - "$HEADSCOPE_DB" <<'END_PY'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA foreign_keys = OFF")
run = db.execute("SELECT max(id) FROM run").fetchone()[0]
gone = f"(SELECT id FROM prompt WHERE run_id = {run} AND ord > 0)"
for table in "head_metric", "duo_prompt", "duo_course", "duo_curve", "analysis_run", "token":
    db.execute(f"DELETE FROM {table} WHERE prompt_id IN {gone}")
db.execute(f"DELETE FROM prompt WHERE run_id = {run} AND ord > 0")
db.execute(f"UPDATE run SET status = 'interrupted' WHERE id = {run}")
db.commit()
END_PY
    exits 0 duo "$gqa" -f "$tmp/f.jsonl" $some --steps 2 --resume --json && cmp "$out" "$tmp/whole"
}
t "a stopped one goes on and says the same" stopped

# ---- what is refused ----------------------------------------------------------------------------

refused() { want=$1 words=$2; shift 2; exits "$want" duo "$gqa" -f "$tmp/f.jsonl" "$@" && says "$words"; }
t "nothing is left out" refused 2 "prompt 't0': its last label row, 17, sees 18 keys, and a sink of 16 with 64 recent ones leaves none out"
t "one more is enough" refused 2 'a sink of 2 with 16 recent' --sink 2 --recent 16
t "up to the last label row" exits 0 duo "$gqa" -f "$tmp/f.jsonl" --sink 2 --recent 15
t "labels that a prompt lacks" refused 5 "prompt 't0': .*nowhere" $small --labels nowhere
t "labels that are none" refused 2 '--labels: ' $small --labels 3:x
t "a negative sink" refused 2 '--sink takes a number' --sink -1
t "steps backwards" refused 2 '--steps takes a number' --steps -1
t "no rate" refused 2 '--rate takes a number' --rate 0
t "a negative price" refused 2 '--lambda takes a number' --lambda -1
t "no share" refused 2 '--sparsity' $some --sparsity 50,0
t "more than all" refused 2 '--sparsity' $some --sparsity 101
t "nothing recent" refused 2 '--recent' --recent 0
t "no run without the probe" exits 5 query duo --run 99
finish
