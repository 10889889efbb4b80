# The default model, when it was fetched.
. tests/cli/lib.sh
export HEADSCOPE_DB=$tmp/run.db
[ -f "$REAL" ] || {
    skip "the default model" "not fetched"
    finish
    exit 0
}
text="When Mary and John went to the store, John gave a drink to"

info() {
    exits 0 info "$REAL" --json &&
        json '(d["arch"], d["n_layer"], d["n_head"], d["n_kv_head"], d["d_model"], d["d_head"], d["n_vocab"], d["n_ctx"], d["dtype"], d["parameters"]) == ("llama", 30, 9, 3, 576, 64, 49152, 8192, "q4_1", 134515008)'
}
t "info" info
tokens() {
    exits 0 tokens "$REAL" -p "Hello  wörld" --bos no --json && json '
d["prompts"][0]["ids"] == [t["id"] for t in d["prompts"][0]["tokens"]] and
"".join(t["piece"] for t in d["prompts"][0]["tokens"]) == "Hello  wörld" and
d["prompts"][0]["tokens"][0] == {"id": 19556, "piece": "Hello", "start": 0, "end": 5} and
d["prompts"][0]["tokens"][-1]["end"] == 13 and
all(a["end"] == b["start"] for a, b in zip(d["prompts"][0]["tokens"], d["prompts"][0]["tokens"][1:]))'
}
t "tokens" tokens
empty() { exits 0 tokens "$REAL" -p '' --bos no --json && json 'd["prompts"][0]["ids"] == [] == d["prompts"][0]["tokens"]'; }
t "tokens of the empty text" empty
bos() { exits 0 tokens "$REAL" -p 'a' --bos yes --json && json 'd["prompts"][0]["tokens"][0]["start"] == d["prompts"][0]["tokens"][0]["end"] == 0'; }
t "--bos yes adds one" bos
dash() { exits 0 tokens "$REAL" -p '-1 + 2' --json && json '"".join(t["piece"] for t in d["prompts"][0]["tokens"]) == "-1 + 2"'; }
t "a text that begins with a dash" dash

record() { exits 0 record "$REAL" -p "$text" --maps all --observe sinks,massive --json && json 'd == {"run": 1, "db": d["db"], "prompts": 1, "tokens": 14, "seconds": d["seconds"]}'; }
t "record" record
heads() { exits 0 heads --metric entropy_nats --top 10 --json && json 'len(d["heads"]) == 10'; }
t "heads" heads
t "attend" exits 0 attend --head L5H1 --from -1
t "query" exits 0 query sink_rate
t "heatmap" exits 0 heatmap --head L5H1 -o "$tmp/map.png"
massive() { exits 0 query massive --json && json 'len(d["rows"]) == 30 and max(abs(r[3]) / r[4] for r in d["rows"]) > 100'; }
t "its massive activations are there" massive
generate() { exits 0 generate "$REAL" -p "The capital of France is" -n 2 --json && json 'd["prompts"][0]["text"].startswith(" Paris") and d["prompts"][0]["id"] == "0"'; }
t "generate" generate
eval_text() { exits 0 eval "$REAL" -p "$text" --json && json '3 < d["nll"] < 5 and d["tokens"] == 13'; }
t "eval" eval_text
laws() { exits 0 verify "$REAL" --json && json 'd["passed"]'; }
t "the laws hold" laws

memory() { # megabytes of a recording of 512 tokens, weights and all
    "$HEADSCOPE" dataset repeat:k=128,r=4,n=1 -m "$REAL" -o "$tmp/p.jsonl" &&
        python3 - "$HEADSCOPE" record "$REAL" -f "$tmp/p.jsonl" --threads 2 -q -o "$tmp/mem.db" >"$out" 2>"$err" <<'END'
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
print("peak", peak, "MB")
sys.exit(peak > 300)
END
}
if [ -n "${HS_SANITIZED-}" ]; then
    skip "memory of a recording" "sanitizers take their own"
else
    t "memory of a recording" memory
fi
finish
