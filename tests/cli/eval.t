# headscope eval of prompts that ask something: choices, open answers and free text are worth what losses
# of whole sequences and decoded tokens say, with and without an edit; questions that are none are refused.
. tests/cli/lib.sh
m=$DATA/llama_gqa.gguf
q=$tmp/q.jsonl
# Items of token ids, and every choice behind its prompt as a text of its own.
python3 - "$tmp" <<'END_PY'
import json, random, sys
rng, at = random.Random(5), sys.argv[1]
items, whole = open(at + "/q.jsonl", "w"), open(at + "/whole.jsonl", "w")
def ids(n): return [rng.randrange(3, 60) for _ in range(n)]
for i in range(8):
    t, c = ids(4 + 3 * i), [ids(1 + k % 3) for k in range(4)]
    c[0] = [7 + i]
    print(json.dumps({"id": f"c{i}", "tokens": t, "choices": c, "answer": i % 4 if i % 2 else c[i % 4]}), file=items)
    for k in range(4): print(json.dumps({"id": f"c{i}/{k}", "tokens": t + c[k]}), file=whole)
for i in range(4):
    t, a = ids(5 + i), [ids(2), ids(1)]
    print(json.dumps({"id": f"o{i}", "tokens": t, **({"answer": a[0]} if i % 2 else {"answers": a})}), file=items)
    print(json.dumps({"id": f"o{i}/0", "tokens": t + a[0]}), file=whole)
print(json.dumps({"id": "t", "tokens": ids(9)}), file=items)
END_PY

cat >"$tmp/check.py" <<'END_PY'
# check.py ITEMS WHOLE SAID EVAL KEY DECODE: EVAL, whose keys begin with KEY, is what the losses of the
# whole sequences (WHOLE, eval --per-token) and the decoded tokens (SAID, generate) say.
import json, math, sys
items, whole, said, got, key, decode = sys.argv[1:]
loss = {p["id"]: p["token_nll"] for p in json.load(open(whole))["prompts"]}
said = {p["id"]: p["tokens"] for p in json.load(open(said))["prompts"]}
d, sums = json.load(open(got)), {}
def near(a, b): return abs(a - b) < 1e-5
def want(p, name, x, g):
    sums.setdefault(name, []).append(x)
    if not near(g[key + name], x): sys.exit(f"#   {p['id']} {name}: {g[key + name]}, not {x}")
for line, g in zip(open(items), d["prompts"]):
    p = json.loads(line)
    if "choices" in p:
        c = p["choices"]
        right = c.index(p["answer"]) if isinstance(p["answer"], list) else p["answer"]
        ln = [-sum(loss[f"{p['id']}/{k}"][-len(c[k]):]) for k in range(4)]
        norm = [x / len(y) for x, y in zip(ln, c)]
        want(p, "answer_nll", -ln[right] / len(c[right]), g)
        want(p, "choice_nll", math.log(sum(map(math.exp, ln))) - ln[right], g)
        want(p, "accuracy", ln.index(max(ln)) == right, g)
        want(p, "accuracy_norm", norm.index(max(norm)) == right, g)
    elif "answer" in p or "answers" in p:
        all = p.get("answers", [p.get("answer")])
        s = said[p["id"]][:int(decode)]
        want(p, "answer_nll", sum(loss[p["id"] + "/0"][-len(all[0]):]) / len(all[0]), g)
        want(p, "exact_match", any(s[:len(a)] == a for a in all), g)
        want(p, "recall", max(sum(min(a.count(x), s.count(x)) for x in set(a)) / len(a) for a in all), g)
    elif g[key + "answer_nll"] is not None: sys.exit("#   a text has no answer")
    s = said[p["id"]]
    grams = [tuple(s[i:i + 4]) for i in range(len(s) - 3)]
    want(p, "repetition", sum(x in grams[:i] for i, x in enumerate(grams)) / len(grams), g)
for name, x in sums.items():
    if not near(d[key + name], sum(x) / len(x)): sys.exit(f"#   {name} of all: {d[key + name]}")
if not 0 < sum(sums["accuracy"]) < 8: sys.exit("#   accuracies that tell nothing")
END_PY
worth() { # KEY [--do SPEC]: what is told under KEY, of a model edited so
    key=$1
    shift
    exits 0 eval "$m" -f "$tmp/whole.jsonl" --per-token --json "$@" && cp "$out" "$tmp/whole.json" &&
        exits 0 generate "$m" -f "$q" -n 12 --json "$@" && cp "$out" "$tmp/said.json" &&
        python3 "$tmp/check.py" "$q" "$tmp/whole.json" "$tmp/said.json" "$tmp/eval.json" "$key" 5
}
plain() { exits 0 eval "$m" -f "$q" --per-token --json --decode 5 --generate 12 && cp "$out" "$tmp/eval.json" && worth ''; }
t "items are worth what plain runs say" plain
edited() {
    exits 0 eval "$m" -f "$q" --per-token --json --decode 5 --generate 12 --do ablate:L0H1-2 --do scale:L1H0,by=3 && cp "$out" "$tmp/eval.json" &&
        worth baseline_ && worth '' --do ablate:L0H1-2 --do scale:L1H0,by=3
}
t "and under an edit, and without" edited
same() {
    exits 0 eval "$m" -f "$q" --json --threads 1 && cp "$out" "$tmp/one.json" && exits 0 eval "$m" -f "$q" --json --threads 2 && cmp "$out" "$tmp/one.json" &&
        exits 0 eval "$m" -f "$q" --json --do scale:L0H0,by=1 &&
        json "all(c['value'] == c['ci_low'] == c['ci_high'] == 0 for c in d['changes'].values()) and d['kl'] == 0 and
              all(d['baseline_' + k] == v == d[k] for k, v in json.load(open('$tmp/one.json')).items() if k != 'tokens')"
}
t "threads and an edit that is none change nothing" same
changes() {
    exits 0 eval "$m" -f "$q" --json --do ablate:L0 &&
        json "set(d['changes']) == {'answer_nll', 'choice_nll', 'accuracy', 'accuracy_norm', 'exact_match', 'recall'} and
              all(near(c['value'], d[k] - d['baseline_' + k], 1e-9) and c['ci_low'] <= c['value'] <= c['ci_high'] for k, c in d['changes'].items()) and
              d['changes']['answer_nll']['n'] == 12 and d['changes']['accuracy']['n'] == 8 and d['changes']['recall']['n'] == 4 and
              d['changes']['answer_nll']['ci_low'] < d['changes']['answer_nll']['ci_high']"
}
t "changes and their intervals" changes
texts() { exits 0 eval "$m" -f "$q" --json && json "near(d['perplexity'], math.exp(d['nll']), 1e-9)" && python3 -c 'import json, sys
for l in open(sys.argv[1]): print(json.dumps({k: v for k, v in json.loads(l).items() if k in ("id", "tokens")}))' "$q" >"$tmp/bare.jsonl" && cp "$out" "$tmp/asks.json" &&
    exits 0 eval "$m" -f "$tmp/bare.jsonl" --json && json "set(d) == {'nll', 'perplexity', 'tokens'} and all(json.load(open('$tmp/asks.json'))[k] == v for k, v in d.items())"; }
t "the loss of prompts is what it is without questions" texts
people() {
    exits 0 eval "$m" -f "$q" --do ablate:L0 --decode 3 && prints '^prompt .* kl +answer +choice +acc +acc_norm +exact +recall$' &&
        prints '^accuracy [01]\.[0-9]+ over 8 prompts, unedited [01]\.[0-9]+: [-+][0-9.]+, 95 % between [-+][0-9.]+ and [-+][0-9.]+$' &&
        exits 0 eval "$m" -f "$q" --csv && prints '^prompt,tokens,nll,perplexity,answer_nll,choice_nll,accuracy,accuracy_norm,exact_match,recall$' && ! prints over &&
        exits 0 eval "$m" -f "$q" --jsonl --do ablate:L0 && prints '^\{"prompt":"c0".*"baseline_accuracy":[01]' &&
        exits 0 eval "$m" -f "$q" && prints '^accuracy_norm [01]\.[0-9]+ over 8 prompts$'
}
t "for people, and as CSV and JSON lines" people

# ---- what is refused ----------------------------------------------------------------------------

refused() { # STATUS PATTERN MEMBERS [WORDS]
    printf '{"id": "x", "tokens": [1, 2, 3], %s}\n' "$3" >"$tmp/line.jsonl"
    exits "$1" eval "$m" -f "$tmp/line.jsonl" ${4:+$4} && says "$2" && [ ! -s "$out" ]
}
t "choices without an answer" refused 3 "prompt 'x': it has choices and no \"answer\"" '"choices": [[1], [2]]'
t "a number that no choice has" refused 3 'is none of its 2 choices' '"choices": [[1], [2]], "answer": 2'
t "one choice" refused 3 'not a list of 2' '"choices": [[1]], "answer": 0'
t "the same choice twice" refused 3 'choices 0 and 2 are the same' '"choices": [[1], [2], [1]], "answer": 0'
t "an empty choice" refused 3 'choice 1: it is empty' '"choices": [[1], []], "answer": 0'
t "no such token" refused 3 'choice 1: token 64 is not in the vocabulary' '"choices": [[1], [64]], "answer": 0'
t "an empty answer" refused 3 'answer: it is empty' '"answer": []'
t "texts without a tokenizer" refused 2 'needs a tokenizer' '"answer": "yes"'
t "more than the context takes" refused 2 'the model.s context takes' '"answer": [1, 2]' '--decode 100000'
t "free text that it does not take" refused 2 'the model.s context takes' '"x": 1' '--generate 100000'
t "none to decode" refused 2 'decode' '"answer": [1, 2]' '--decode 0'
t "two accuracies" refused 2 'leave it out' '"choices": [[1], [2]], "answer": 0' '--metric accuracy'
numbers() { printf '{"tokens": [1, 2, 3], "answer": 4}\n' >"$tmp/line.jsonl" && exits 0 eval "$m" -f "$tmp/line.jsonl" --metric accuracy --json && json "set(d) == {'nll', 'perplexity', 'tokens', 'accuracy'}"; }
t "an answer that is a number is what it was" numbers

# ---- texts ----------------------------------------------------------------------------------------

if [ -f "$REAL" ]; then
    cat >"$tmp/texts.jsonl" <<'END_TEXTS'
{"id": "france", "text": "The capital of France is", "choices": [" London", " Paris", " Rome"], "answer": "Paris"}
{"id": "sky", "text": "The sky is blue. Is the sky blue? Answer:", "choices": [" yes", " no"], "answer": 0}
{"id": "ice", "text": "Ice is cold. Is ice hot? Answer:", "choices": [" No", " Yes"], "answer": " No"}
{"id": "italy", "text": "The capital of Italy is", "answers": [" Rome", " the city of Rome"], "spans": {"land": "Italy"}}
END_TEXTS
    words() {
        exits 0 eval "$REAL" -f "$tmp/texts.jsonl" --per-token --json &&
            json "d['prompts'][0]['accuracy'] == 1 and d['prompts'][3]['exact_match'] == 1 and 'f1' not in d['prompts'][1] and
                  (lambda yes: d['yes_share'] == sum(yes) / 2 and near(d['f1'], 2 * yes[0] / (1 + sum(yes))))([p['yes_share'] for p in d['prompts'][1:3]]) and
                  [p['accuracy'] for p in d['prompts'][1:3]] == [d['prompts'][1]['yes_share'], 1 - d['prompts'][2]['yes_share']]"
    }
    t "texts, yes and no" words
    spans() {
        exits 0 eval "$REAL" -f "$tmp/texts.jsonl" --json --do 'ablate:L0H0,pos=land?' && json "d['kl'] > 0 and d['changes']['f1']['value'] == 0 and d['changes']['exact_match']['n'] == 1" &&
            sed 's/"Italy"}/"Spain"}/' "$tmp/texts.jsonl" >"$tmp/none.jsonl" && exits 3 eval "$REAL" -f "$tmp/none.jsonl" && says 'none.jsonl:4: spans: "land": the text does not say this' &&
            sed 's/"Italy"}/"a"}/' "$tmp/texts.jsonl" >"$tmp/twice.jsonl" && exits 3 eval "$REAL" -f "$tmp/twice.jsonl" && says 'twice.jsonl:4: .* more than once'
    }
    t "spans given as texts" spans
    needles() {
        exits 0 eval "$REAL" --dataset needle:n=1,lengths=256,depths=2 --decode 20 --per-token --json &&
            json "len(d['prompts']) >= 2 and all(0 <= p['recall'] <= 1 and p['exact_match'] in (0, 1) for p in d['prompts']) and 0 <= d['recall'] <= 1"
    }
    t "needles" needles
else
    for name in "texts, yes and no" "spans given as texts" "needles"; do skip "$name" "no model"; done
fi
finish
