# calibrate: on the hand-built induction model, where one head is known to be in the way; methods on
# models with grouped heads; what is printed and stored, resuming, what is refused.
. tests/cli/lib.sh
ind2=$DATA/closed/ind2
gqa=$DATA/llama_gqa.gguf
export HEADSCOPE_DB="$tmp/calibrate.db"
# Head 1.0 says what stood behind the last token before, seven or eight keys back. Where something
# else is right, the model gains when it cannot see that far.
python3 - "$tmp" <<'END_PY'
import json, random, sys
rng, tmp = random.Random(3), sys.argv[1]
base = [0, 1, 6, 3, 8, 5, 2, 7, 4]
after = dict(zip(base[1:], base[2:]))
items = [(r, last) for r in range(1, 7) for last in base[1:-1]]
rng.shuffle(items)
def line(k, r, last, induced):
    other = rng.choice([t for t in base[1:] if t != after[last]])
    right = after[last] if induced else other
    choices = [[after[last]], [other]]
    if k % 2: choices.reverse()
    return {"id": f"i{k}", "tokens": [*base, *base[1:r], last], "choices": choices, "answer": choices.index([right]), "spans": {"doc": [2, 5]}}
def write(name, rows): open(f"{tmp}/{name}.jsonl", "w").write("".join(json.dumps(x) + "\n" for x in rows))
other = [line(k, r, last, False) for k, (r, last) in enumerate(items)]
write("on", other[:16]); write("held", other[16:36]); write("all", other)
write("induced", [line(k, r, last, True) for k, (r, last) in enumerate(items)])
write("one", other[:1]); write("twice", other[10:20])
write("texts", [{"tokens": x["tokens"]} for x in other])
write("unasked", [{"tokens": x["tokens"]} for x in other[:9]])
write("open", [{"tokens": x["tokens"], "answer": x["choices"][x["answer"]] + [1]} for x in other])
write("spanless", [{k: v for k, v in x.items() if k != "spans"} for x in other])
END_PY
parts="--on $tmp/on.jsonl --held-out $tmp/held.jsonl"
stream=stream:s=1,w=2+4

# ---- what is found ------------------------------------------------------------------------------

first() { exits 0 calibrate $stream "$ind2" $parts --json && cp "$out" "$tmp/first"; }
t "runs" first
kept() { cp "$tmp/first" "$out" && json "$1"; }
t "names that scripts use" kept '{"run", "method", "spec", "selected", "baseline", "calibrated", "held_out"} <= set(d) and (d["run"], d["method"], d["calibration"], d["held_out"]) == (1, "stream", 16, 20)'
t "the head that is in the way" kept 'd["selected"] == [{"layer": 1, "head": 0}] and d["spec"].startswith("mask:sink_recent,s=1,w=") and d["spec"].endswith(",heads=L1H0") and d["specs"] == [d["spec"]]'
t "it helps" kept 'd["verdict"].startswith("helps: choice_nll -") and d["verdict"].endswith(" on 20 held-out items") and d["objective"] == "choice_nll"'
t "every measure, with intervals" kept 'set(d["baseline"]) == set(d["calibrated"]) == set(d["changes"]) == {"nll", "choice_nll", "accuracy", "accuracy_norm"} and all(near(c["change"], d["calibrated"][m] - d["baseline"][m], 1e-12) and c["ci_low"] <= c["change"] <= c["ci_high"] and c["n"] == 20 for m, c in d["changes"].items())'
t "a verdict for each" kept 'd["changes"]["accuracy"]["verdict"] == "helps" and d["baseline"]["accuracy"] == 0'
exact() {
    exits 0 calibrate $stream "$ind2" $parts --screen exact --json &&
        json "all(d[k] == v for k, v in json.load(open('$tmp/first')).items() if k not in ('run', 'runs', 'seconds', 'candidates'))" &&
        exits 0 query calibrate_heads --run 4 --param top=1 --json && json 'd["rows"][0][0] == "L1H0" and d["rows"][0][4] is None and d["rows"][0][5] < -1'
}
t "heads one by one: the same" exact
tangent() { exits 0 query calibrate_heads --run 1 --json && json '(lambda r: len(r) == 8 and r[0][0] == "L1H0" and all(abs(x[4]) < .1 for x in r if x[0] != "L1H0"))(d["rows"])'; }
t "query calibrate_heads: none of the others comes near" tangent
tried() {
    exits 0 query calibrate_candidates --run 1 --json &&
        json "[r[9] for r in d['rows']] == [1] + [0] * (len(d['rows']) - 1) and d['rows'][0][11] == json.load(open('$tmp/first'))['spec'] and d['rows'][0][3] == 16"
}
t "query calibrate_candidates: the chosen one first" tried
proof() {
    exits 0 query calibrate --run 1 --json &&
        json "[r[:2] for r in d['rows']] == [['choice_nll', 1], ['accuracy', 0], ['accuracy_norm', 0], ['nll', 0]] and {r[0]: r[3] for r in d['rows']} == json.load(open('$tmp/first'))['baseline']"
}
t "query calibrate: the proof" proof
items() {
    exits 0 query calibrate_items --run 1 --json &&
        json "(lambda held: near(sum(held) / 20, json.load(open('$tmp/first'))['calibrated']['choice_nll'], 1e-9) and len(held) == 20)([r[5] for r in d['rows'] if r[2] == 'held_out' and r[3] > 0 and r[4] == 'choice_nll'])"
}
t "query calibrate_items: what it follows from" items
spec=$(python3 -c "import json; print(json.load(open('$tmp/first'))['spec'])")
before_after() { exits 0 diff 2 3 --json && exits 0 show 3 && prints 'mask:sink_recent' && exits 0 show 2 && prints 'before of calibration 1'; }
t "two runs of held-out prompts, for diff" before_after
few() { exits 0 calibrate $stream "$ind2" $parts --keep 0 --json && json 'd["runs"] == []'; }
t "--keep 0 records none" few
again() {
    exits 0 eval "$ind2" -f "$tmp/held.jsonl" --do "$spec" --json &&
        json "(lambda f: near(d['choice_nll'], f['calibrated']['choice_nll'], 1e-9) and near(d['baseline_choice_nll'], f['baseline']['choice_nll'], 1e-9) and d['accuracy'] == f['calibrated']['accuracy'])(json.load(open('$tmp/first')))"
}
t "eval --do gives the same numbers" again
people() {
    exits 0 calibrate $stream "$ind2" $parts && prints '^stream: [0-9]+ candidates on 16 items, proved on 20 held out: run ' && prints '^choice_nll +[0-9.]+ +[0-9.]+ +-[0-9.]+ ' &&
        prints '^1 head, w=' && prints '^helps: choice_nll -[0-9.]+ \[-[0-9.]+, -[0-9.]+\] on 20 held-out items$' && prints '^--do mask:sink_recent,s=1,w=.,heads=L1H0$' && prints 'headscope diff '
}
t "for people" people
rows() { exits 0 calibrate $stream "$ind2" $parts --csv && [ "$(head -n 1 "$out")" = measure,items,baseline,calibrated,change,ci_low,ci_high,verdict ] && [ "$(wc -l <"$out")" = 5 ]; }
t "CSV of measures" rows
nothing() {
    exits 0 calibrate $stream "$ind2" --on "$tmp/induced.jsonl" --heads L0H1+L1H0 --json &&
        json 'd["spec"] == "" and d["selected"] == [] and d["specs"] == [] and d["calibrated"] == d["baseline"] and d["runs"] == [] and d["verdict"].startswith("nothing is selected") and d["baseline"]["accuracy"] == 1'
}
t "nothing is selected where no head is in the way" nothing
halves() {
    exits 0 calibrate $stream "$ind2" --on "$tmp/all.jsonl" --json && says 'the set is split in halves: 21 items to calibrate on, 21 held out' && cp "$out" "$tmp/half" && json 'd["selected"] == [{"layer": 1, "head": 0}]' &&
        exits 0 calibrate $stream "$ind2" --on "$tmp/all.jsonl" --json && json "d['baseline'] == json.load(open('$tmp/half'))['baseline']" &&
        exits 0 calibrate $stream "$ind2" --on "$tmp/all.jsonl" --seed 7 --json && json "d['baseline'] != json.load(open('$tmp/half'))['baseline']"
}
t "a file without a held-out part is split, as a seed has it" halves
identity() { exits 0 calibrate boost:alpha=0 "$ind2" --heads all $parts --json && json 'd["verdict"].startswith("nothing is selected") and d["spec"] == ""'; }
t "strength 0 is the model as it is" identity
open_ones() { exits 0 calibrate $stream "$ind2" --on "$tmp/open.jsonl" --json && json 'd["objective"] == "nll" and "exact_match" in d["baseline"] and "choice_nll" not in d["baseline"]'; }
t "answers without choices: their loss, and what is decoded" open_ones
texts() { exits 0 calibrate $stream "$ind2" --on "$tmp/texts.jsonl" --objective nll --json && json 'set(d["baseline"]) == {"nll"}'; }
t "texts, when asked for" texts

# ---- methods ------------------------------------------------------------------------------------

for method in temper ssa boost:alpha=0.5+1 var:dims=0,tau_share=0.2,prefilter=0.01,rho=0.1 act:alpha=1.2 stream:s=1,w=3; do
    works() { exits 0 calibrate $method "$gqa" $parts --heads all --keep 2 --json && json 'd["candidates"] > 0 and d["verdict"] != "" and len(d["changes"]) in (0, 4)'; }
    t "$method" works
done

# ---- going on -----------------------------------------------------------------------------------

whole() {
    HEADSCOPE_DB="$tmp/whole.db" exits 0 calibrate $stream "$ind2" $parts --json && cp "$out" "$tmp/whole" &&
        HEADSCOPE_DB="$tmp/whole.db" exits 0 calibrate $stream "$ind2" $parts --json --resume && says 'run 1 is complete already' &&
        json "{k: v for k, v in d.items() if k != 'seconds'} == {k: v for k, v in json.load(open('$tmp/whole')).items() if k != 'seconds'}" &&
        HEADSCOPE_DB="$tmp/whole.db" exits 0 runs --json && json 'len(d["runs"]) == 3'
}
t "a complete one is told again, nothing is added" whole
other() { HEADSCOPE_DB="$tmp/whole.db" exits 0 calibrate stream:s=1,w=4 "$ind2" $parts --json --resume && json 'd["run"] == 4'; }
t "another strength is another run" other

# ---- what is refused ----------------------------------------------------------------------------

refused() { exits "$1" calibrate "$3" "$ind2" $4 && says "$2"; }
t "no method" eval 'exits 2 calibrate && says "no method given"'
t "no such method" refused 5 "'nothing' is not a calibration: there are act, " nothing "$parts"
t "no such parameter" refused 2 'stream: ' stream:q=1 "$parts"
t "a set without answers" refused 2 'the calibration part has no answers: give items with "choices"' $stream "--on $tmp/texts.jsonl"
t "a held-out part without answers" refused 2 'the held-out part has no answers' $stream "--on $tmp/held.jsonl --held-out $tmp/unasked.jsonl"
t "choices that are not there" refused 2 'the calibration part has no choices' $stream "--on $tmp/open.jsonl --objective choice_nll"
t "a calibration set of one" refused 2 'the calibration part has one item' $stream "--on $tmp/one.jsonl --held-out $tmp/held.jsonl"
t "a held-out set of one" refused 2 'the held-out part has one item' $stream "--on $tmp/held.jsonl --held-out $tmp/one.jsonl"
t "an item of both" refused 2 "item 'i1[0-5]~held_out' of the held-out part is item 'i1[0-5]' of the calibration part" $stream "--on $tmp/on.jsonl --held-out $tmp/twice.jsonl"
t "a span that is not there" refused 5 "boost, alpha=0.1: .*doc" boost "--on $tmp/spanless.jsonl --heads all"
t "a span beyond the prompt" refused 2 'boost, alpha=0.1: ' boost:span=3:99 "$parts --heads all"
t "a strength out of range" refused 2 'stream, w=-1: ' stream:w=8+-1 "$parts"
t "a strength that is no number" refused 2 'ssa, c=nan: ' ssa:c=nan "$parts"
t "no layers to choose from" refused 2 'choose heads with --heads' act "$parts"
t "heads that it does not have" refused 2 '--heads' $stream "$parts --heads L7H0"
t "no such set" eval 'hs calibrate stream "$ind2" --on nowhere.jsonl; [ $rc != 0 ] && says "--on: nowhere.jsonl"'
t "an answer that is no choice" eval 'echo "{\"tokens\":[1,2],\"choices\":[[1],[2]],\"answer\":2}" >"$tmp/bad.jsonl"; hs calibrate stream "$ind2" --on "$tmp/bad.jsonl" --held-out "$tmp/held.jsonl"; [ $rc != 0 ]'
untouched() { exits 2 calibrate ssa:c=nan "$ind2" $parts -o "$tmp/none.db" && [ ! -e "$tmp/none.db" ]; }
t "nothing is written before all is checked" untouched
finish
