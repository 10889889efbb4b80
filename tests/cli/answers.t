# Prompts with several right and several wrong answers: what eval, sweep and patch say of them is what the
# logits say; one of each is a set of one; lists that cannot be are refused.
. tests/cli/lib.sh
m=$DATA/llama_gqa.gguf
db=$tmp/a.db
p=$tmp/pairs.jsonl
python3 - >"$p" <<'END_PY'
import json, random
rng = random.Random(11)
for i in range(5):
    n = 7 + 2 * i
    t = [rng.randrange(3, 60) for _ in range(n)]
    c = list(t)
    for j in (1, 4): c[j] = (c[j] + 4) % 57 + 3
    ids = rng.sample(range(3, 60), 30)
    d = {"id": f"p{i}", "tokens": t, "corrupt_tokens": c, "answer": ids[0], "wrong": ids[20], "positions": {"END": n - 2 if i == 1 else -1}}
    if i > 0: d["answers"] = ids[:20]
    if i > 1: d["wrongs"] = ids[20:]
    if i > 2: del d["answer"]
    if i > 3: del d["wrong"]
    print(json.dumps(d))
END_PY
single=$tmp/single.jsonl
head -n 1 "$p" >"$single"

# ---- against the logits -------------------------------------------------------------------------

cat >"$tmp/logits.py" <<'END_PY'
# logits.py NPZ PROMPTS EVAL KEY: what eval says of each prompt is what the logits of a recording say.
import json, math, struct, sys, zipfile
npz, prompts, said, key = sys.argv[1:]
z, d = zipfile.ZipFile(npz), json.load(open(said))
def logits(i, row):
    raw = z.read(f"p{i}/logits.npy")
    n = struct.unpack("<H", raw[8:10])[0]
    t, v = eval(raw[10:10 + n].decode())["shape"]
    return struct.unpack(f"<{v}f", raw[10 + n + 4 * v * row:10 + n + 4 * v * (row + 1)])
sums = {}
for i, line in enumerate(open(prompts)):
    q = json.loads(line)
    end = q["positions"]["END"]
    l = logits(i, end if end >= 0 else len(q["tokens"]) - 1)
    right, wrong, all = q.get("answers", [q.get("answer")]), q.get("wrongs", [q.get("wrong")]), sum(map(math.exp, l))
    prob = sum(math.exp(l[k]) for k in right) / all
    want = {"prob": prob, "prob_diff": prob - sum(math.exp(l[k]) for k in wrong) / all, "accuracy": float(l.index(max(l)) in right)}
    for metric, x in want.items():
        if abs(d["prompts"][i][key + metric] - x) > 1e-6: sys.exit(f"#   {q['id']} {metric}: {d['prompts'][i][key + metric]}, not {x}")
        sums.setdefault(metric, []).append(x)
for metric, x in sums.items():
    if abs(d[key + metric] - sum(x) / len(x)) > 1e-6: sys.exit(f"#   mean {metric}: {d[key + metric]}")
if set(sums["accuracy"]) != {0, 1}: sys.exit(f"#   accuracies {sums['accuracy']}: they tell nothing")
END_PY
recorded() { "$HEADSCOPE" record "$m" -f "$p" "$@" --acts logits -q -o "$tmp/rec.db" >/dev/null && "$HEADSCOPE" export --db "$tmp/rec.db" --what acts -q -o "$tmp/acts.npz"; }
evaluated() {
    exits 0 eval "$m" -f "$p" --metric prob,prob_diff --metric accuracy --per-token --json && cp "$out" "$tmp/eval.json" &&
        recorded && python3 "$tmp/logits.py" "$tmp/acts.npz" "$p" "$tmp/eval.json" ''
}
t "eval says what the logits say" evaluated
edited() {
    exits 0 eval "$m" -f "$p" --metric prob,prob_diff,accuracy --do ablate:L0H1-2 --per-token --json && cp "$out" "$tmp/eval.json" &&
        recorded && python3 "$tmp/logits.py" "$tmp/acts.npz" "$p" "$tmp/eval.json" baseline_ &&
        recorded --do ablate:L0H1-2 && python3 "$tmp/logits.py" "$tmp/acts.npz" "$p" "$tmp/eval.json" ''
}
t "and with an edit, and without" edited
as_before() { # the loss is the same with metrics and without
    exits 0 eval "$m" -f "$p" --metric prob --do ablate:L0H1 --json && cp "$out" "$tmp/with.json" && exits 0 eval "$m" -f "$p" --do ablate:L0H1 --json &&
        json "set(d) == {'nll', 'perplexity', 'tokens', 'baseline_nll', 'baseline_perplexity', 'kl'} and all(v == json.load(open('$tmp/with.json'))[k] for k, v in d.items())"
}
t "the loss stays what it is" as_before
people() {
    exits 0 eval "$m" -f "$p" --metric prob_diff --do ablate:L0H1 && prints '^prompt .* kl +prob_diff +base$' && prints '^prob_diff -?[0-9.]+ over 5 prompts, unedited -?[0-9.]+: [-+]' &&
        exits 0 eval "$m" -f "$p" --metric prob_diff --csv && prints '^prompt,tokens,nll,perplexity,prob_diff$' && ! prints over
}
t "for people, and as CSV" people
one() { # one of each is a set of one
    exits 0 eval "$m" -f "$single" --metric prob,prob_diff,accuracy,logit_diff --json && cp "$out" "$tmp/one.json" &&
        python3 -c 'import json, sys
d = json.load(open(sys.argv[1])); d["answers"] = [d.pop("answer")]; d["wrongs"] = [d.pop("wrong")]; print(json.dumps(d))' "$single" >"$tmp/lists.jsonl" &&
        exits 0 eval "$m" -f "$tmp/lists.jsonl" --metric prob,prob_diff,accuracy --json &&
        json "(lambda x: x.pop('logit_diff') != 0 and x == d)(json.load(open('$tmp/one.json')))"
}
t "one of each is a set of one" one

# ---- sweep and patch ----------------------------------------------------------------------------

swept() { # what a sweep says of a head is what eval --do says
    exits 0 sweep "$m" -f "$p" -o "$db" --metric 'prob,prob_diff,accuracy,twice=2*prob_diff' --heads L1H2 --json &&
        json 'd[3]["metric"] == "twice" and near(d[3]["heads"][0]["value"], 2 * d[1]["heads"][0]["value"], 1e-12)' && cp "$out" "$tmp/sweep.json" &&
        exits 0 eval "$m" -f "$p" --metric prob,prob_diff,accuracy --do ablate:L1H2 --json &&
        json "all(near(x['heads'][0]['value'], d[x['metric']] - d['baseline_' + x['metric']], 1e-12) and x['baseline'] == d['baseline_' + x['metric']]
            for x in json.load(open('$tmp/sweep.json'))[:3])"
}
t "sweep" swept
heads() { exits 0 heads --metric delta_prob_diff --db "$db" --json && json 'len(d["heads"]) == 1'; }
t "stored as a metric of heads" heads
patched() { # the halves are prompts of their own, and a cell is an edit of one by the other
    exits 0 patch "$m" -f "$p" --point z --pos END --metric prob_diff -o "$db" --json && json 'd["metric"] == "prob_diff" and d["n"] == 5' && cp "$out" "$tmp/patch.json" &&
        exits 0 eval "$m" -f "$p" --metric prob_diff --json && json "near(json.load(open('$tmp/patch.json'))['clean'], d['prob_diff'], 1e-12)" &&
        python3 -c 'import json, sys
for line in open(sys.argv[1]):
    d = json.loads(line); d["tokens"] = d.pop("corrupt_tokens"); print(json.dumps(d))' "$p" >"$tmp/corrupt.jsonl" &&
        exits 0 eval "$m" -f "$tmp/corrupt.jsonl" --metric prob_diff --json && json "near(json.load(open('$tmp/patch.json'))['corrupt'], d['prob_diff'], 1e-12)"
}
t "patch" patched
estimated() {
    exits 0 patch "$m" -f "$p" --point z --pos END --metric prob_diff --by "$1" --verify 8 -o "$db" --json &&
        json 'd["metric"] == "prob_diff" and len(d["rows"]) == 8 and all(r["value"] != d["corrupt"] for r in d["rows"])' &&
        json "all(near(r['exact'], x['value'], 1e-9) for r, x in zip(d['rows'], json.load(open('$tmp/patch.json'))['rows']))"
}
t "by gradients" estimated gradient
t "AtP" estimated atp
t "GradDrop" exits 0 patch "$m" -f "$p" --point z --metric prob_diff --by atp --grad-drop -o "$db" --json
path() { exits 0 patch "$m" -f "$p" --path --metric prob_diff --pos END -o "$db" --json && json "near(d['clean'], json.load(open('$tmp/patch.json'))['clean'], 1e-12) and any(r['effect'] for r in d['rows'])"; }
t "paths" path
edges() { exits 0 patch "$m" -f "$p" --edges --metric prob_diff -o "$db" --json && json "d['metric'] == 'prob_diff' and near(d['clean'], json.load(open('$tmp/patch.json'))['clean'], 1e-6) and d['edges'][0]['value']"; }
t "edges" edges
race() { exits 0 sweep "$m" -f "$p" --metric prob_diff --by race --top 2 -o "$db" --json && json 'sum(h["top"] for h in d["heads"]) == 2'; }
t "a race" race
along() {
    rm -f "$tmp/at.db"
    exits 0 sweep "$m" -f "$p" --metric prob_diff --by gradient -o "$tmp/at.db" -q && exits 0 query sweep_positions --param metric=prob_diff --db "$tmp/at.db" --json &&
        json 'd["rows"] and all(r[d["columns"].index("metric")] == "prob_diff" for r in d["rows"])' &&
        exits 0 heatmap --over-positions delta_prob_diff_at --head L1H1 --db "$tmp/at.db" -o "$tmp/at.svg"
}
t "positions" along

# ---- what is refused ----------------------------------------------------------------------------

refused() { # STATUS PATTERN MEMBERS [METRIC]: of a line
    printf '{"id": "x", "tokens": [1, 2, 3], "corrupt_tokens": [1, 4, 3], %s}\n' "$3" >"$tmp/line.jsonl"
    for c in eval 'patch -o none.db' 'sweep -o none.db'; do
        # shellcheck disable=SC2086
        exits "$1" $c "$m" -f "$tmp/line.jsonl" --metric "${4:-prob_diff}" && says "prompt 'x'" && says "$2" || return 1
    done
    [ ! -e none.db ]
}
t "no wrong one" refused 2 'says no "wrong", which --metric prob_diff needs' '"answers": [4, 5]'
t "no answer" refused 2 'says no "answer", which --metric prob needs' '"wrongs": [4, 5]' prob
t "lists alone do not tell one from one" refused 2 'says no "answer", which --metric logit_diff needs' '"answers": [4], "wrongs": [5]' logit_diff
t "an empty list" refused 3 'answers: an empty list' '"answers": [], "wrongs": [5]'
t "lists that meet" refused 3 'token 5 is one of the answers and of the wrong ones' '"answers": [4, 5], "wrongs": [6, 5]'
t "a list and one" refused 3 'token 5 is one of the answers' '"answers": [4, 5], "wrong": 5'
t "no such token" refused 3 'wrongs: no token 64: the vocabulary has 64' '"answer": 4, "wrongs": [64]'
t "a token twice" refused 3 'answers: token 4 stands there twice' '"answers": [4, 5, 4], "wrong": 6'
t "no list" refused 3 'answers: not a list' '"answers": 4, "wrong": 6'
long() { refused 3 'answers: 5000 tokens: the vocabulary has 64' "\"answers\": [$(seq -s, 5000)], \"wrong\": 6"; }
t "a list longer than the vocabulary" long
bare() { printf '{"tokens": [1, 2, 3], "answer": 4, "wrong": 5, "answers": ["any text"]}\n' >"$tmp/line.jsonl" && exits 0 eval "$m" -f "$tmp/line.jsonl" --metric logit_diff; }
t "lists of other things stop nobody who needs none" bare
others() { exits 2 eval "$m" -f "$p" --metric kl && says 'nll is always told' && exits 5 eval "$m" -f "$p" --metric nlll && says 'not a metric'; }
t "metrics that eval has anyway" others

# ---- greater-than -------------------------------------------------------------------------------

if [ -e "$REAL" ]; then
    greater() { # the data set's own lists: the model prefers later years, and the other half does not tell
        exits 0 eval "$REAL" --dataset greater_than:n=8 --metric prob_diff,accuracy --json && cp "$out" "$tmp/eval.json" &&
            exits 0 patch "$REAL" --dataset greater_than:n=8 --metric prob_diff --point resid_pre --heads L0+L29 --pos YY,END -o "$db" --json &&
            json "near(d['clean'], json.load(open('$tmp/eval.json'))['prob_diff'], 1e-6) and
                (lambda at: near(at['L0', 'YY'], 1) and near(at['L0', 'END'], 0) and abs(at['L29', 'END']) > abs(at['L29', 'YY']))(
                {(r['unit'], r['position']): r['recovered'] for r in d['rows']})"
    }
    t "greater_than on the real model" greater
else
    skip "greater_than on the real model" "no $REAL"
fi
finish
