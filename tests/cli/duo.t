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
small="--sink 2 --recent 4"

# ---- the probe ----------------------------------------------------------------------------------

first() { exits 0 duo "$ind2" -f "$tmp/twice.jsonl" $small --labels 9:17 --json && cp "$out" "$tmp/first"; }
t "runs" first
kept() { cp "$tmp/first" "$out" && json "$1"; }
t "what was done" kept '(d["run"], d["prompts"], d["sink"], d["recent"]) == (1, 1, 2, 4)'
t "all KV heads, in order" kept '[(h["layer"], h["kv_head"]) for h in d["heads"]] == [(0, 0), (0, 1), (1, 0), (1, 1)]'
t "the copying head must see far back" kept 'all(d["heads"][2]["probe"] > 100 * h["probe"] for i, h in enumerate(d["heads"]) if i != 2)'
t "one that looks back by one need not" kept 'd["heads"][0]["probe"] < 1e-5 and d["heads"][0]["z_error"] < .01'
t "one that adds nothing changes nothing" kept 'd["heads"][1]["probe"] == 0 and d["heads"][1]["z_error"] is None'
table() { exits 0 duo "$ind2" -f "$tmp/twice.jsonl" $small && prints '^4 KV heads stream one by one \(sink 2, recent 4\) on 1 prompts: run 2 in ' && sed -n 4p "$out" | grep -Eq '^L1G0 +H0 '; }
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

# ---- the run ------------------------------------------------------------------------------------

again() { exits 0 duo "$gqa" -f "$tmp/f.jsonl" $small --json && cp "$out" "$tmp/whole" && exits 0 duo "$gqa" -f "$tmp/f.jsonl" $small --resume --json && says 'is complete already' && cmp "$out" "$tmp/whole"; }
t "a complete run is left alone" again
stopped() { # as it was after one prompt
    python3 - "$HEADSCOPE_DB" <<'END_PY'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA foreign_keys = OFF")
run = db.execute("SELECT max(id) FROM run").fetchone()[0]
gone = f"(SELECT id FROM prompt WHERE run_id = {run} AND ord > 0)"
for table in "head_metric", "duo_prompt", "analysis_run", "token":
    db.execute(f"DELETE FROM {table} WHERE prompt_id IN {gone}")
db.execute(f"DELETE FROM prompt WHERE run_id = {run} AND ord > 0")
db.execute(f"UPDATE run SET status = 'interrupted' WHERE id = {run}")
db.commit()
END_PY
    exits 0 duo "$gqa" -f "$tmp/f.jsonl" $small --resume --json && cmp "$out" "$tmp/whole"
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
t "nothing recent" refused 2 '--recent' --recent 0
t "no run without the probe" exits 5 query duo --run 99
finish
