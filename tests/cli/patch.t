# headscope patch: equal to eval --do of two prompts, what it prints and stores, what it refuses, the
# hand-built model's numbers, and what is left of it when it is stopped.
. tests/cli/lib.sh
db=$tmp/patch.db
p=$tmp/pairs.jsonl
python3 - >"$p" <<'END_PY'
import json, random
rng = random.Random(7)
for i in range(4):
    n = 8 + 3 * i % 7
    t = [rng.randrange(3, 60) for _ in range(n)]
    c = list(t)
    for j in (2, 4, 5): c[j] = (c[j] + 7 - 3) % 57 + 3
    d = {"id": f"p{i}", "tokens": t, "corrupt_tokens": c, "answer": 5 + i, "wrong": 11,
         "positions": {"S2": 4, "END": n - 2 if i == 1 else -1}}
    if i != 2: d["positions"]["S1"] = 2
    print(json.dumps(d))
END_PY

# ---- the numbers --------------------------------------------------------------------------------

cat >"$tmp/same.py" <<'END_PY'
# same.py BINARY MODEL PAIRS DB RUN POINT DIRECTION: the loss that every row of a run has on every pair is
# that of `eval --do` on the two halves as prompts of their own.
import json, subprocess, sys, tempfile
binary, model, prompts, db, run, point, direction = sys.argv[1:]
def hs(*words): return json.loads(subprocess.run([binary, *words], check=True, stdout=subprocess.PIPE).stdout)
d = hs("query", "SELECT p.ord, c.* FROM patch_cell AS c JOIN prompt AS p ON p.id = c.prompt_id WHERE p.run_id = " + run, "--db", db, "--json")
rows = [dict(zip(d["columns"], r)) for r in d["rows"]]
pairs = [json.loads(line) for line in open(prompts)]
assert len(rows) > 20, len(rows)
for row in rows[::5]:
    pair = pairs[row["ord"]]
    halves = [pair["tokens"], pair["corrupt_tokens"]]
    if direction == "denoise": halves.reverse()
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        for t in halves: f.write(json.dumps({"tokens": t, "positions": pair["positions"]}) + "\n")
        f.flush()
        unit = {"head": ",heads=L{layer}H{head}", "group": ",heads=L{layer}G{head}", "layer": ""}[row["kind"]].format(**row)
        spec = f"patch:{point}:{row['layer']}{unit},from=prompt:1,prompts=0,pos={row['pos']}"
        e = hs("eval", model, "-f", f.name, "--do", spec, "--json", "--per-token")
    said = e["prompts"][0]
    if said["nll"] != row["value"] or said["baseline_nll"] != row["base"]: sys.exit(f"# {spec}: {said['nll']}, not {row['value']}")
END_PY
same() {
    model=$DATA/$1.gguf point=$2 direction=$3
    shift 3
    exits 0 patch "$model" -f "$p" --point $point --direction $direction -o "$db" --metric nll --json "$@" &&
        json 'd["n"] == 4 and len(d["rows"]) > 1' &&
        python3 "$tmp/same.py" "$HEADSCOPE" "$model" "$p" "$db" "$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["run"])' "$out")" $point $direction
}
t "residuals at each position" same llama_gqa resid_pre denoise --pos each
t "heads at several places" same gpt2_masks z noise --pos S2,END,all
t "KV groups" same llama_gqa k denoise --pos S2+END,all,2:4
t "patterns" same gpt2_masks pattern denoise --pos all,END
t "what an MLP adds, where a pair has the position" same llama_gqa mlp_out noise --pos 'S1?,3:5,all,END'

# ---- the hand-built model -----------------------------------------------------------------------
# Its answer at position 15 is head 1.0's induction (9.941926) and head 1.1's mean of tokens (-0.031250).
# With two tokens of the first copy swapped the mean stays, and induction ends in another token.

ind2=$DATA/closed/ind2
cat >"$tmp/ind2.jsonl" <<'END'
{"id": "swapped", "tokens": [0, 1, 6, 3, 8, 5, 2, 7, 4, 1, 6, 3, 8, 5, 2, 7], "corrupt_tokens": [0, 1, 6, 3, 8, 5, 2, 4, 7, 1, 6, 3, 8, 5, 2, 7], "answer": 4, "wrong": 7, "positions": {"MOVED": 8}}
END
toy() {
    exits 0 patch "$ind2" -f "$tmp/ind2.jsonl" --point "$1" --pos "$2" -o "$db" --json &&
        json "near(d['clean'], 9.910676, 2e-6) and d['corrupt'] < 0.1 and (lambda r: $3)({x['unit']: x for x in d['rows']})"
}
t "induction brings all of it" toy z END 'near(r["L1H0"]["recovered"], 1) and near(r["L1H0"]["value"], 9.910676, 2e-6) and near(r["L1H1"]["recovered"], 0)'
t "heads below bring nothing by themselves at the end" toy z END 'all(abs(r[u]["recovered"]) < 1e-6 for u in ("L0H0", "L0H1"))'
# Another key that says "7 was before me": half of the look goes there, where the corrupted half has a 7.
t "what induction looks for is what the head below brought" toy k MOVED 'near(r["L1G0"]["value"], d["corrupt"] - 5, .02)'

# ---- what it prints -----------------------------------------------------------------------------

m=$DATA/llama_gqa.gguf
shape() {
    exits 0 patch "$m" -f "$p" --point "$1" --pos "$2" -o "$db" --json &&
        json 'set(d) >= {"run", "metric", "clean", "corrupt", "n", "rows"} and d["metric"] == "logit_diff"' &&
        json 'all(near(r["recovered"], (r["value"] - d["corrupt"]) / (d["clean"] - d["corrupt"]), 1e-9) for r in d["rows"] if r["n"] == d["n"])' &&
        json "$3"
}
t "rows of layers" shape resid_pre END '[r["layer"] for r in d["rows"]] == list(range(len(d["rows"]))) and "head" not in d["rows"][0] and "position" not in d["rows"][0]'
t "rows of heads" shape z all 'len({(r["layer"], r["head"]) for r in d["rows"]}) == len(d["rows"])'
t "rows of groups" shape v S2 'all(r["unit"] == "L%dG%d" % (r["layer"], r["head"]) for r in d["rows"])'
t "rows of positions" shape resid_pre each 'max(r["position"] for r in d["rows"]) == 13 and {r["n"] for r in d["rows"]} == {1, 2, 3, 4}'
t "rows of places by name" shape resid_mid 'S2,S1?' '[r["position"] for r in d["rows"]][:2] == ["S2", "S1?"] and d["rows"][1]["n"] == 3 and d["n"] == 4'
t "all of a clean prompt" shape resid_pre all 'd["rows"][0]["recovered"] == 1'
noised() {
    exits 0 patch "$m" -f "$p" --direction noise --heads L0 --pos all -o "$db" --json && json 'd["rows"][0]["recovered"] == 0 and len(d["rows"]) == 1'
}
t "all of it noised" noised
flat() {
    python3 -c 'import json
d = json.loads(open("'"$p"'").readline()); d["wrong"] = d["answer"]; print(json.dumps(d))' >"$tmp/flat.jsonl" &&
        exits 0 patch "$m" -f "$tmp/flat.jsonl" -o "$db" --json && json 'all(r["recovered"] is None and "score the same" in r["reason"] for r in d["rows"])' &&
        exits 0 patch "$m" -f "$tmp/flat.jsonl" -o "$db" && prints 'nothing can be recovered'
}
t "nothing to recover" flat
people() { exits 0 patch "$m" -f "$p" --point z --pos END -o "$db" --top 3 && prints 'denoising, on 4 pairs' && prints '^L[0-9]H[0-9] ' && [ "$(grep -c '^L' "$out")" = 3 ] && prints 'next: headscope query patch'; }
t "for people" people
csv() { exits 0 patch "$m" -f "$p" --point z --pos S2,END -o "$db" --csv && prints '^unit,layer,head,position,value,effect,recovered,n,' && [ "$(grep -c '^L' "$out")" -gt 8 ]; }
t "as CSV" csv
grid() { exits 0 patch "$m" -f "$p" --point z --pos END -o "$db" -q && exits 0 heatmap --grid patch_effect --db "$db" -o "$tmp/g.png" && [ -s "$tmp/g.png" ]; }
t "heads as a grid" grid
along() { exits 0 patch "$m" -f "$p" --pos each -o "$db" -q && exits 0 heatmap --over-positions patch_effect_at --db "$db" -o "$tmp/o.svg" && [ -s "$tmp/o.svg" ]; }
t "positions as curves" along
drawn() {
    exits 0 patch "$m" -f "$p" --point "$1" --pos "$2" -o "$db" -q || return 1
    shift 2
    exits 0 heatmap --patch --db "$db" -o "$tmp/p.svg" "$@" && grep -q 'brings back' "$tmp/p.svg"
}
t "layers and positions drawn" drawn resid_pre each
t "heads drawn" drawn z END
t "layers drawn" drawn mlp_out all
t "heads and places drawn" drawn z S2,END,all
t "groups of a layer drawn" drawn k each --layer 1
undrawn() { exits 0 record "$m" -f "$p" -q -o "$tmp/bare.db" && exits 5 heatmap --patch --db "$tmp/bare.db" -o "$tmp/no.png" && says 'headscope patch'; }
t "nothing to draw" undrawn
asked() { exits 0 query patch --db "$db" --json && json '"recovered" in d["columns"] and d["rows"]'; }
t "the query" asked

# ---- estimates ----------------------------------------------------------------------------------

verified() {
    exits 0 patch "$m" -f "$p" --point "$1" --pos each -o "$db" --verify 7 --json --by "$2" &&
        cp "$out" "$tmp/estimates.json" && exits 0 patch "$m" -f "$p" --point "$1" --pos each -o "$db" --json && json "
            (lambda e, x: len(e['rows']) == len(x) and sum('exact' in r for r in e['rows']) == 7 and
                all(near(r['exact'], x[r['unit'], r['position']], 1e-9) for r in e['rows'] if 'exact' in r) and
                near(e['clean'], d['clean'], 1e-5) and near(e['corrupt'], d['corrupt'], 1e-5))(
                json.load(open('$tmp/estimates.json')), {(r['unit'], r['position']): r['value'] for r in d['rows']})"
}
t "heads and positions, the largest measured" verified z gradient
t "queries by their softmax" verified q atp
t "keys by their softmax" verified k atp
drops() { exits 0 patch "$m" -f "$p" --point z --by atp --grad-drop -o "$db" --json && json 'all(r["grad_drop"] >= 0 for r in d["rows"]) and any(r["grad_drop"] > 0 for r in d["rows"])'; }
t "GradDrop" drops

# ---- what it refuses ----------------------------------------------------------------------------

refused() {
    want=$1 what=$2
    shift 2
    exits "$want" patch "$m" -o "$tmp/no.db" "$@" && says "$what" && [ ! -e "$tmp/no.db" ]
}
line() { printf '%s\n' "$1" >"$tmp/line.jsonl"; }
t "no such point" refused 5 'see headscope list hooks' -f "$p" --point nonsense
t "a point of no layer" refused 2 'take one of resid_pre' -f "$p" --point logits
t "a point without gradients" refused 2 'no gradient to estimate by: take one of resid_pre' -f "$p" --point pattern --by gradient
t "a metric without gradients" refused 2 'kl has no gradient' -f "$p" --metric kl --by gradient
t "a name that a prompt lacks" refused 5 "prompt 'p2' .S1. leaves out prompts without it.*the spans are S2, END" -f "$p" --pos S1
t "a position that a prompt lacks" refused 2 "prompt 'p0'" -f "$p" --pos 12
t "a name that no prompt has" refused 5 'S3\?: no prompt has it' -f "$p" --pos 'S3?'
t "each and others" refused 2 'give it alone' -f "$p" --pos each,END
t "heads of a point that has groups" refused 2 'of k: groups' -f "$p" --point k --heads L0H0
t "GradDrop of plain gradients" refused 2 'goes with --by atp' -f "$p" --by gradient --grad-drop
t "what was measured, measured" refused 2 'goes with --by gradient' -f "$p" --verify 3
line '{"tokens": [1, 2, 3], "answer": 1, "wrong": 2}'
t "no other half" refused 2 'there is no corrupt_tokens.*give JSON lines' -f "$tmp/line.jsonl"
line '{"tokens": [1, 2, 3], "corrupt_tokens": [1, 2], "answer": 1, "wrong": 2}'
t "halves of different length" refused 3 'make them equally long' -f "$tmp/line.jsonl"
line '{"tokens": [1, 2, 3], "corrupt_tokens": [1, 3, 3], "answer": 1}'
t "no wrong answer" refused 2 'says no "wrong", which --metric logit_diff needs' -f "$tmp/line.jsonl"

# ---- going on -----------------------------------------------------------------------------------

again() {
    exits 0 patch "$m" -f "$p" --point z --by gradient --verify 4 -o "$tmp/again.db" --json && cp "$out" "$tmp/again.json" &&
        exits 0 patch "$m" -f "$p" --point z --by gradient --verify 4 -o "$tmp/again.db" --json --resume && says 'is complete already' &&
        cmp "$out" "$tmp/again.json" && exits 0 runs --db "$tmp/again.db" --json && json 'len(d["runs"]) == 2'
}
t "nothing is done twice" again
cat >"$tmp/kill.py" <<'END_PY'
# kill.py BINARY MODEL TMP: patching that is killed at random moments and resumed has what an unbroken one has.
import glob, json, os, random, signal, sqlite3, subprocess, sys, time
sys.path.insert(0, "tests/cli")
import dbcheck
binary, model, tmp = sys.argv[1:]
rng = random.Random(3)
with open(f"{tmp}/many.jsonl", "w") as f:
    for i in range(160):
        t = [rng.randrange(3, 60) for _ in range(12)]
        f.write(json.dumps({"tokens": t, "corrupt_tokens": [*t[:3], (t[3] - 3 + 1) % 57 + 3, *t[4:]], "answer": 4, "wrong": 5}) + "\n")
def patch(db, *more): return subprocess.Popen([binary, "patch", model, "-f", f"{tmp}/many.jsonl", "--point", "z", "--pos", "3,END", "-q", "-o", db, *more], stdout=subprocess.DEVNULL)
def prompts(db):
    try: return sqlite3.connect(db).execute("select count(*) from prompt").fetchone()[0] if os.path.exists(db) else 0
    except sqlite3.OperationalError: return 0
began = time.monotonic()
if patch(f"{tmp}/whole.db").wait(): sys.exit("#   the unbroken one failed")
took, want, partial = time.monotonic() - began, dbcheck.content(f"{tmp}/whole.db"), 0
for round in range(12):
    db = f"{tmp}/broken.db"
    for f in glob.glob(db + "*"): os.unlink(f)
    p = patch(db)
    time.sleep(rng.uniform(took / 4, took))
    p.send_signal(signal.SIGKILL)
    p.wait()
    partial += 0 < prompts(db) < 160
    if patch(db, "--resume").wait(): sys.exit("#   it did not go on")
    if what := dbcheck.differs(dbcheck.content(db), want): sys.exit(f"#   resumed: {what}")
    if partial == 2: break
if not partial: sys.exit("#   none was stopped halfway")
END_PY
t "killed and resumed" python3 "$tmp/kill.py" "$HEADSCOPE" "$m" "$tmp"
finish
