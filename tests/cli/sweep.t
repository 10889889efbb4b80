# headscope sweep: equal to the bit to eval --do of the same edits, what it prints and stores, what it
# refuses, and what is left of it when it is stopped.
. tests/cli/lib.sh
m=$DATA/llama_gqa.gguf
db=$tmp/sweep.db
p=$tmp/p.jsonl
python3 - >"$p" <<'END_PY'
import json, random
rng = random.Random(5)
for i in range(6):
    n = 7 + 3 * i % 8
    t = [rng.randrange(3, 60) for _ in range(n)]
    d = {"id": f"p{i}", "tokens": t, "answer": rng.randrange(3, 60), "wrong": rng.randrange(3, 60)}
    if i % 2: d["positions"] = {"END": n - 2}
    print(json.dumps(d))
END_PY
plain=$tmp/plain.jsonl
"$HEADSCOPE" dataset repeat:k=6,n=4 --n-vocab 40 -o "$plain"

# ---- the numbers --------------------------------------------------------------------------------

cat >"$tmp/same.py" <<'END_PY'
# same.py BINARY MODEL PROMPTS DB RUN SPEC: every unit of a run has on every prompt what `eval --do
# SPEC` says, @ being the unit; and the mean that `query sweep` tells.
import json, subprocess, sys
binary, model, prompts, db, run, spec = sys.argv[1:]
def hs(*words): return json.loads(subprocess.run([binary, *words], check=True, stdout=subprocess.PIPE).stdout)
def rows(*words):
    d = hs("query", *words, "--db", db, "--run", run, "--json")
    return [dict(zip(d["columns"], r)) for r in d["rows"]]
got = {}
for r in rows("sweep_prompts"):
    got.setdefault((r["layer"], r["idx"], r["unit"]), {}).setdefault(r["metric"], []).append((r["base"], r["value"]))
means = {(r["unit"], r["metric"]): r for r in rows("sweep")}
assert got, "no units"
moved = 0
for (_, _, unit), of in got.items():
    d = hs("eval", model, "-f", prompts, "--per-token", "--json", "--do", spec.replace("@", unit))
    want = [(q["baseline_nll"], q["nll"]) for q in d["prompts"]]
    if of["nll"] != want: sys.exit(f"#   {unit}: nll {of['nll']}, eval --do {want}")
    if "kl" in of and of["kl"] != [(0, q["kl"]) for q in d["prompts"]]: sys.exit(f"#   {unit}: kl {of['kl']}")
    moved += any(b != v for b, v in want)
    change = [v - b for b, v in want]
    r = means[unit, "nll"]
    if abs(r["value"] - sum(change) / len(change)) > 1e-12 or r["n"] != len(want): sys.exit(f"#   {unit}: mean {r}")
    if not r["ci_low"] <= r["value"] <= r["ci_high"]: sys.exit(f"#   {unit}: interval {r}")
if not moved: sys.exit("#   nothing moved")
END_PY
equal() { # equal SPEC SWEEP-OPTIONS...
    spec=$1
    shift
    rm -f "$db"
    exits 0 sweep "$m" -f "$p" -o "$db" "$@" --json && python3 "$tmp/same.py" "$HEADSCOPE" "$m" "$p" "$db" 1 "$spec"
}
for m in "$DATA/llama_gqa.gguf" "$DATA/gpt2_masks.gguf"; do
    for op in zero mean resample uniform bos; do
        t "heads, $op: as eval --do (${m##*/})" equal "ablate:@,mode=$op" --op $op --metric nll,kl
    done
    t "KV groups" equal 'ablate:@,mode=zero' --heads 'L*G*'
    t "layers" equal 'ablate:@,mode=mean' --heads 'L*' --op mean
    t "MLPs" equal 'ablate:@,mode=resample,seed=3' --heads 'L*M' --op resample --seed 3
    t "some heads, some positions" equal 'ablate:@,mode=zero,pos=2+-3' --heads L1H0-1 --pos 2+-3
    t "an intervention with @" equal 'temper:@,t=2' --op temper:@,t=2
    t "one that must see whole prompts" equal 'act:@,alpha=1.1,pos=-2' --op act:@,alpha=1.1,pos=-2
done
m=$DATA/llama_gqa.gguf
answers() { # logit_diff, prob and accuracy against what the logits say
    rm -f "$db"
    exits 0 sweep "$m" -f "$p" -o "$db" --metric logit_diff,prob,accuracy --json &&
        "$HEADSCOPE" record "$m" -f "$p" --do ablate:L1H2 --acts logits -q -o "$tmp/rec.db" >/dev/null &&
        "$HEADSCOPE" export --db "$tmp/rec.db" --what acts -q -o "$tmp/acts.npz" &&
        python3 - "$HEADSCOPE" "$db" "$p" "$tmp/acts.npz" <<'END_PY'
import io, json, math, struct, subprocess, sys, zipfile
binary, db, prompts, npz = sys.argv[1:]
z = zipfile.ZipFile(npz)
def logits(i, row):
    raw = z.read(f"p{i}/logits.npy")
    n = struct.unpack("<H", raw[8:10])[0]
    t, v = eval(raw[10:10 + n].decode())["shape"]
    return struct.unpack(f"<{v}f", raw[10 + n + 4 * v * row:10 + n + 4 * v * (row + 1)])
d = json.loads(subprocess.run([binary, "query", "sweep_prompts", "--db", db, "--json"], check=True, stdout=subprocess.PIPE).stdout)
rows = [dict(zip(d["columns"], r)) for r in d["rows"]]
for i, line in enumerate(open(prompts)):
    q = json.loads(line)
    l = logits(i, q.get("positions", {}).get("END", len(q["tokens"]) - 1))
    top = max(l)
    want = {"logit_diff": l[q["answer"]] - l[q["wrong"]],
            "prob": math.exp(l[q["answer"]] - top) / sum(math.exp(x - top) for x in l),
            "accuracy": float(l.index(top) == q["answer"])}
    for metric, x in want.items():
        got = [r["value"] for r in rows if r["prompt"] == i and r["unit"] == "L1H2" and r["metric"] == metric]
        if len(got) != 1 or abs(got[0] - x) > 1e-6: sys.exit(f"#   {q['id']} {metric}: {got}, not {x}")
END_PY
}
t "metrics of answers, from the logits of an edited run" answers
own() {
    rm -f "$db"
    exits 0 sweep "$m" -f "$p" -o "$db" --metric 'nll,ppl=exp(nll),rel=(nll - base_nll) / base_nll' --metric 'most=max(nll, 3.9)' --json &&
        json 'len(d) == 4 and [x["metric"] for x in d] == ["nll", "ppl", "rel", "most"] and d[2]["baseline"] == 0' &&
        "$HEADSCOPE" query sweep_prompts --db "$db" --json >"$out" &&
        json "(lambda at: all(near(at[k + ('ppl',)]['value'], math.exp(at[k + ('nll',)]['value']), 1e-9) and
                near(at[k + ('ppl',)]['base'], math.exp(at[k + ('nll',)]['base']), 1e-9) and
                near(at[k + ('rel',)]['value'], at[k + ('nll',)]['change'] / at[k + ('nll',)]['base'], 1e-12) for k in {x[:2] for x in at}))(
            {(r[0], r[2], r[3]): dict(zip(d['columns'], r)) for r in d['rows']})" &&
        exits 0 heads --metric delta_ppl --db "$db" --json && json 'len(d["heads"]) == 8' &&
        exits 0 heads --metric rel --db "$db" --json && json 'len(d["heads"]) == 8'
}
t "own metrics" own
batches() { # numbers do not depend on which prompts go together, nor on threads
    rm -f "$tmp/a.db" "$tmp/b.db"
    tail -n 2 "$p" >"$tmp/two.jsonl"
    exits 0 sweep "$m" -f "$p" -o "$tmp/a.db" --threads 1 && exits 0 sweep "$m" -f "$tmp/two.jsonl" -o "$tmp/b.db" --threads 3 &&
        "$HEADSCOPE" query sweep_prompts --db "$tmp/b.db" --csv | cut -d, -f2- | grep -v ^id >"$tmp/b" &&
        "$HEADSCOPE" query sweep_prompts --db "$tmp/a.db" --csv | cut -d, -f2- | grep '^p[45],' >"$tmp/a" && cmp "$tmp/a" "$tmp/b"
}
t "prompts alone, and with others" batches

# ---- what it prints -----------------------------------------------------------------------------

rm -f "$db"
shape() {
    exits 0 sweep "$m" -f "$p" -o "$db" --json &&
        json 'set(d) >= {"run", "op", "metric", "baseline", "heads"} and d["run"] == 1 and d["op"] == "zero" and d["metric"] == "nll" and
            [(h["layer"], h["head"]) for h in d["heads"]] == [(l, h) for l in range(2) for h in range(4)] and
            all(set(h) == {"layer", "head", "value", "ci_low", "ci_high", "n"} and h["n"] == 6 and h["ci_low"] <= h["value"] <= h["ci_high"] for h in d["heads"])'
}
t "JSON" shape
several() {
    exits 0 sweep "$m" -f "$p" -o "$db" --op zero,temper:@,t=3,mean --metric nll,kl --json &&
        json '[(x["run"], x["op"], x["metric"]) for x in d] == [(r, o, m) for r, o in ((2, "zero"), (3, "temper:@,t=3"), (4, "mean")) for m in ("nll", "kl")]'
}
t "several ops and metrics are a list" several
units() { exits 0 sweep "$m" -f "$p" -o "$db" --heads 'L*M' --json && json '"heads" not in d and [(u["unit"], u["kind"], u["layer"], u["index"]) for u in d["units"]] == [("L0M", "mlp", 0, 0), ("L1M", "mlp", 1, 0)]'; }
t "other units" units
people() {
    exits 0 sweep "$m" -f "$p" -o "$db" --top 3 && prints '^zero of 8 heads on 6 prompts: run 6 in ' && prints '^nll [0-9.]+ unedited, nats/token$' &&
        [ "$(grep -c '^L[01]H[0-3] ' "$out")" = 3 ] && prints '^mean .change. of these 3: ' && prints 'heatmap 6 --grid delta_nll -o sweep.png'
}
t "for people" people
no_control() { exits 0 sweep "$m" -f "$p" -o "$db" --top 3 --control 0 && ! prints 'drawn at random'; }
t "without a control" no_control
control() { # of as many units as there are there is one draw
    exits 0 sweep "$m" -f "$p" -o "$db" --top 7 --json &&
        json 'd["control"]["units"] == 7 and d["control"]["low"] <= d["control"]["value"] <= d["control"]["high"] <= d["control"]["top"] and
            near(d["control"]["value"], sum(abs(h["value"]) for h in d["heads"]) / 8, 3e-3)'
}
t "the control is the mean of what is drawn from" control
csv() { exits 0 sweep "$m" -f "$p" -o "$db" --op zero,mean --csv && [ "$(wc -l <"$out")" = 17 ] && prints '^run,op,metric,unit,kind,layer,index,value,ci_low,ci_high,n$'; }
t "CSV" csv
jsonl() { exits 0 sweep "$m" -f "$p" -o "$db" --heads L0H1 --jsonl && [ "$(wc -l <"$out")" = 1 ] && json 'd["unit"] == "L0H1"'; }
t "JSON lines" jsonl
readers() {
    exits 0 heads --metric delta_nll --db "$db" --run 1 --json && cp "$out" "$tmp/heads.json" && exits 0 query sweep --db "$db" --run 1 --json &&
        json "(lambda h: all(near(h[r[0]], r[2], 1e-12) for r in d['rows']))({f\"L{x['layer']}H{x['head']}\": x['value'] for x in json.load(open('$tmp/heads.json'))['heads']})" &&
        exits 0 heatmap 1 --grid delta_nll --db "$db" -o "$tmp/grid.png" && exits 0 diff 1 4 --metric delta_nll --db "$db" --json && exits 0 show 1 --db "$db" --json
}
t "heads, heatmap, diff and show read it" readers
alone() { exits 0 sweep "$m" -f "$p" -o "$db" --op mean --json && cp "$out" "$tmp/alone.json" && exits 0 sweep "$m" -f "$p" -o "$db" --op mean --resume --json && says 'is complete already' && cmp "$out" "$tmp/alone.json"; }
t "a complete run is printed again" alone

# ---- gradients, races, curves -------------------------------------------------------------------

gradient() { exits 0 sweep "$m" -f "$p" -o "$db" --by gradient --json && json 'd["by"] == "gradient" and len(d["heads"]) == 8 and any(h["value"] for h in d["heads"])'; }
t "estimates by gradients" gradient
# Metadata of pictures hold title and subtitle as they are.
pictures() {
    drawn() { exits 0 heatmap "$@" --db "$db" -o "$tmp/drawn.png"; }
    tells() { LC_ALL=C grep -aq "$1" "$tmp/drawn.png" || { echo "#   no $1"; return 1; }; }
    drawn --grid delta_nll && tells 'delta_nll: change of the loss when the head is edited' &&
        tells ' (sweep: zero, estimated by gradients), mean over its prompts' &&
        exits 0 sweep "$m" -f "$p" -o "$db" --op temper:@,t=2 --metric kl -q && drawn --bar delta_kl && tells ' (sweep: temper:@,t=2), mean over' &&
        exits 0 sweep "$m" -f "$p" -o "$db" --op mean,by=position --by race --top 3 --budget 0 -q && drawn --grid sweep_race.mean &&
        tells ' (sweep: mean,by=position, a race for the top), mean over' &&
        exits 0 record "$m" -f "$p" -o "$db" -q && drawn --grid entropy_nats && ! LC_ALL=C grep -aq 'sweep' "$tmp/drawn.png"
}
t "pictures say what was done, and how it was measured" pictures
positions() { # add up to the units, by prompt; of an edit at one position the others are 0
    rm -f "$tmp/at.db"
    for u in 'L*H*' 'L*G*' 'L*' 'L*M'; do
        exits 0 sweep "$m" -f "$p" -o "$tmp/at.db" --by gradient --metric "$1" --heads "$u" --op mean --json || return 1
    done
    exits 0 sweep "$m" -f "$p" -o "$tmp/at.db" --by gradient --metric "$1" --op mean --pos 2 --json || return 1
    for run in 1 2 3 4 5; do
        exits 0 query sweep_prompts --db "$tmp/at.db" --run $run --json && cp "$out" "$tmp/units.json" &&
            exits 0 query sweep_positions --param top=9999 --db "$tmp/at.db" --run $run --json || return 1
        python3 - "$tmp/units.json" "$out" "$p" $run "$1" <<'END_PY' || return 1
import json, math, sys
units, at = ([dict(zip(d["columns"], r)) for r in d["rows"]] for d in (json.load(open(f)) for f in sys.argv[1:3]))
lengths = [len(json.loads(line)["tokens"]) for line in open(sys.argv[3])]
run, metric = int(sys.argv[4]), sys.argv[5]
assert [abs(r["value"]) for r in at] == sorted((abs(r["value"]) for r in at), reverse=True)
assert at[0]["value"] and all(r["metric"] == metric for r in at)
for u in units:
    of = {r["position"]: r["value"] for r in at if (r["unit"], r["prompt"]) == (u["unit"], u["prompt"])}
    assert sorted(of) == list(range(lengths[u["prompt"]])), (u, of)
    assert abs(math.fsum(of.values()) - u["change"]) <= 1e-12 * (1 + abs(u["base"])), u
    assert run != 5 or not any(v for t, v in of.items() if t != 2)
assert len(at) == len(units) // len(lengths) * sum(lengths)
END_PY
    done
}
t "and of every position" positions nll
t "for sets of answers" positions prob_diff
t "for an answer" positions logit_diff
at_figures() { # of heads; of layers, where heads have none
    exits 0 heatmap 1 --over-positions delta_logit_diff_at --head L1H1 --db "$tmp/at.db" -o "$tmp/at.svg" && grep -q L1H1 "$tmp/at.svg" &&
        exits 0 heatmap 3 --over-positions delta_logit_diff_at --db "$tmp/at.db" -o "$tmp/at.svg" && grep -q 'all layers' "$tmp/at.svg" &&
        exits 0 heatmap 4 --over-positions delta_logit_diff_at_mlp --layer 1 --db "$tmp/at.db" -o "$tmp/at.svg" && grep -q 'layer 1' "$tmp/at.svg" &&
        exits 5 heatmap 3 --over-positions delta_logit_diff_at --head L1H1 --db "$tmp/at.db" -o "$tmp/no.svg" && says 'no series'
}
t "figures of positions" at_figures
race() { # without a limit all that is not decided is measured on all prompts
    exits 0 sweep "$m" -f "$p" -o "$db" --json && cp "$out" "$tmp/full.json" && exits 0 sweep "$m" -f "$p" -o "$db" --by race --top 3 --budget 0 --json &&
        says 'race: [0-9]+ of 48 edits' &&
        json "(lambda full: {(h['layer'], h['head']) for h in d['heads'] if h['top']} == set(sorted(full, key=lambda k: -full[k])[:3]))(
            {(h['layer'], h['head']): h['value'] for h in json.load(open('$tmp/full.json'))['heads']})" &&
        exits 0 query sweep_race --db "$db" --json && json 'len(d["rows"]) == 8'
}
t "a race finds the top" race
rm -f "$db"
prune() {
    exits 0 sweep "$m" -f "$p" -o "$db" --prune asc,desc,random --json && json '[x["run"] for x in d] == [1, 2] and "heads" in d[0]' && cp "$out" "$tmp/prune.json" &&
        exits 0 eval "$m" -f "$p" --json --do ablate:all --per-token &&
        json "(lambda c, n: {x['ranking'] for x in c} == {'asc', 'desc', 'random'} and
              all(near(x['value'], sum(q['baseline_nll'] for q in d['prompts']) / n, 1e-12) for x in c if x['removed'] == 0) and
              all(near(x['value'], sum(q['nll'] for q in d['prompts']) / n, 1e-12) for x in c if x['removed'] == 8) and
              all((x['draws'] == 5) == (x['ranking'] == 'random') and x['low'] <= x['value'] + 1e-12 and x['value'] <= x['high'] + 1e-12 for x in c))(
            json.load(open('$tmp/prune.json'))[1]['curve'], 6)"
}
t "the pruning curve begins and ends where it must" prune
first() { # the first of descending is the head that matters most, that of ascending the one that matters least
    python3 - "$tmp/prune.json" <<'END_PY'
import json, sys
one, two = json.load(open(sys.argv[1]))
change = [h["value"] for h in one["heads"]]
at = {(x["ranking"], x["removed"]): x["value"] for x in two["curve"]}
sys.exit(abs(at["desc", 1] - one["baseline"] - max(change)) > 1e-12 or abs(at["asc", 1] - one["baseline"] - min(change)) > 1e-12)
END_PY
}
t "its orders are those of importance" first
harm() { # of what falls when a head that matters is gone, that head goes first
    rm -f "$tmp/harm.db"
    exits 0 sweep "$m" -f "$p" -o "$tmp/harm.db" --metric logit_diff --prune desc --json &&
        json '(lambda at: near(at[1] - d[0]["baseline"], min(h["value"] for h in d[0]["heads"]), 1e-9))({x["removed"]: x["value"] for x in d[1]["curve"]})'
}
t "importance is harm" harm
curve() { exits 0 heatmap --prune --db "$db" -o "$tmp/prune.svg" && grep -q 'nll as more and more of the model' "$tmp/prune.svg"; }
t "its figure" curve
ranked() {
    exits 0 sweep "$m" -f "$p" -o "$db" --prune desc --rank 1 --json && json 'd["run"] == 3 and {x["ranking"] for x in d["curve"]} == {"desc"}' &&
        exits 5 heatmap 1 --prune --db "$db" -o "$tmp/no.svg" && says 'no pruning curve'
}
t "a curve by an earlier run" ranked
mlps() { exits 5 sweep "$m" -f "$p" -o "$db" --prune desc --rank 1 --heads 'L*M' && says 'does not tell what nll of L0M is worth'; }
t "an order needs every unit" mlps

# ---- bad input ----------------------------------------------------------------------------------

refused() { # refused STATUS PATTERN OPTIONS...: before anything is stored
    want=$1 pattern=$2
    shift 2
    t "refused: $*" refuses "$want" "$pattern" "$@"
}
refuses() {
    want=$1 pattern=$2
    shift 2
    rm -f "$tmp/none.db"
    exits "$want" sweep "$m" -f "$plain" -o "$tmp/none.db" "$@" && says "$pattern" && [ ! -e "$tmp/none.db" ]
}
refused 2 'says no "answer", which --metric prob needs' --metric nll,prob
refused 2 'says no "answer"' --metric 'a=logit_diff * 2'
refused 5 "'nlll' is not a metric" --metric nlll
refused 2 'no such column: nlll: .* over nll, kl' --metric 'a=nlll + 1'
refused 2 'random\(\) is no function of numbers' --metric 'a=random() + nll'
refused 2 'names no metric' --metric 'a=1+1'
refused 2 'choose another name' --metric 'kl=nll'
refused 2 'small letters' --metric 'Nll=nll'
refused 2 'given twice' --metric nll,nll
refused 5 "not an op of a sweep" --op zeroo
refused 2 '' --op uniform --heads 'L*M'
refused 2 'no head 9|heads 0 to 3|L0H9' --heads L0H9
refused 2 'units of one kind' --heads 'L0H1+L0M'
refused 2 'position' --pos 99
refused 2 'no position before a prompt.s last' --pos -1
refused 2 'the shards of 4 are 0/4 to 3/4' --shard 5/4
refused 2 '1 shard at least' --shard 0/0
refused 2 'takes I/N' --shard x/y
refused 2 '5 shards of 4 prompts' --shard 0/5
refused 2 'neither mpirun nor srun' --shard auto
refused 2 'merge the shards first' --shard 0/2 --prune asc
refused 2 'leave out --shard' --shard 0/2 --by race
refused 2 'asc, desc and random' --prune up
refused 2 '--rank goes with --prune' --rank 1
refused 2 'estimates one metric' --by gradient --metric kl
refused 2 'built-in metrics' --by race --metric nll,kl
refused 2 'leaves some unmeasured' --by race --prune asc
refused 2 '--seed' --seed -1
refused 2 '--control' --control -1
refused 2 'probability' --by race --delta 1
head -n 1 "$plain" >"$tmp/single.jsonl"
alone_pool() { rm -f "$tmp/none.db"; exits 2 sweep "$m" -f "$tmp/single.jsonl" -o "$tmp/none.db" --op zero,resample && says 'no other prompt' && [ ! -e "$tmp/none.db" ]; }
t "a resample pool of one" alone_pool
no_rank() { exits 5 sweep "$m" -f "$p" -o "$db" --prune asc --rank 99 && says 'no run 99'; }
t "a rank that is not there" no_rank
one_token() { # a prompt without a scored position has no nll, and the others still do
    printf '{"tokens":[5]}\n{"tokens":[5,6,7]}\n' >"$tmp/short.jsonl"
    rm -f "$tmp/none.db"
    exits 0 sweep "$m" -f "$tmp/short.jsonl" -o "$tmp/none.db" --json && json 'all(h["n"] == 1 and h["value"] is not None and h["ci_low"] is None for h in d["heads"])' &&
        exits 0 heads --metric delta_nll --prompt 0 --db "$tmp/none.db" --json && json 'all(h["value"] is None and "one token" in h["reason"] for h in d["heads"])'
}
t "a prompt of one token" one_token

# ---- stopped ------------------------------------------------------------------------------------

"$HEADSCOPE" dataset repeat:k=24,n=120 --n-vocab 40 -o "$tmp/many.jsonl"
cat >"$tmp/kill.py" <<'END_PY'
# kill.py BINARY MODEL TMP SIGNAL TIMES OPTIONS: sweeps stopped at random moments and resumed until they are
# complete have what an unbroken one has; in between they hold whole prompts, and readers say so.
import glob, os, random, re, signal, sqlite3, subprocess, sys, time
sys.path.insert(0, "tests/cli")
import dbcheck
binary, model, tmp, how, times, options = sys.argv[1:]
command = [binary, "sweep", model, "-f", f"{tmp}/many.jsonl", *options.split(), "-q"]
def sweep(db, *more): return subprocess.Popen([*command, "-o", db, *more], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
began = time.monotonic()
whole = f"{tmp}/{how}-whole.db"
for f in glob.glob(whole + "*"): os.unlink(f)
if sweep(whole).wait(): sys.exit("#   the unbroken sweep failed")
took, want, rng, hit, partial = time.monotonic() - began, dbcheck.content(whole), random.Random(7), 0, 0
for round in range(3 * int(times)):
    db = f"{tmp}/{how}.db"
    for f in glob.glob(db + "*"): os.unlink(f)
    for attempt in range(8):
        p = sweep(db, *(["--resume"] if attempt else []))
        stop = attempt < 4 and hit < int(times)
        if stop:
            time.sleep(rng.uniform(0, took))
            p.send_signal(getattr(signal, how))
        text = p.communicate(timeout=300)[1]
        if p.returncode == 0: break
        hit += 1
        if not stop: sys.exit(f"#   a sweep ended with {p.returncode}: {text}")
        if p.returncode == 130 and text and not re.search("interrupted", text): sys.exit(f"#   said {text}")
        if p.returncode not in (130, -9, -2): sys.exit(f"#   ended with {p.returncode}: {text}")
        runs = sqlite3.connect(db).execute("select r.id, r.status, (select count(*) from prompt p where p.run_id = r.id) from run r order by 1 desc").fetchall() if os.path.exists(db) and os.path.getsize(db) else []
        if runs and runs[0][1] != "complete" and runs[0][2]:
            partial += 1
            n = runs[0][2]
            for reader in (["heads", "--metric", "delta_nll"], ["query", "prompts"], ["show"]):
                said = subprocess.run([binary, *reader, "--db", db], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True).stderr
                if not re.search(f"run {runs[0][0]} .*: {n} of 120 prompts", said) and "no metric" not in said and "has no delta" not in said: sys.exit(f"#   {reader} said {said!r}")
    if what := dbcheck.differs(dbcheck.content(db), want): sys.exit(f"#   resumed: {what}")
    if hit >= int(times): break
print(f"#   {hit} stopped, {partial} of them halfway")
if not partial: sys.exit("#   none was stopped halfway")
END_PY
stops=${KILLS:-8}
t "killed and resumed" python3 "$tmp/kill.py" "$HEADSCOPE" "$m" "$tmp" SIGKILL "$stops" "--op zero,uniform --metric nll,kl --prune asc,random"
t "interrupted and resumed" python3 "$tmp/kill.py" "$HEADSCOPE" "$m" "$tmp" SIGINT 3 "--op zero,uniform --metric nll,kl --prune asc,random"
t "estimates, killed and resumed" python3 "$tmp/kill.py" "$HEADSCOPE" "$m" "$tmp" SIGKILL 3 "--by gradient --op zero,mean"
finish
