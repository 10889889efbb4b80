# The bench command: what it prints and leaves behind, never how fast anything is.
. tests/cli/lib.sh
m=$DATA/llama_gqa.gguf
dir=$tmp/scratch
mkdir "$dir"
bench() { exits 0 bench "$@" --quick --dir "$dir" --json; }

sections() {
    bench "$m" && cp "$out" "$tmp/full" && json '
set(d) == {"machine", "model", "repetitions", "quick", "ops", "jobs"} and d["quick"] is True and
{r["op"] for r in d["ops"]} == {"linear", "attention", "norm", "rope", "activation", "add"} and
{r["job"] for r in d["jobs"]} == {"load", "load to first token", "prefill", "record", "decode", "batch", "sweep"}'
}
t "a quick run has every section" sections
ceilings() {
    cp "$tmp/full" "$out" && json 'all(d["machine"][k] > 0 for k in ("f32_gflops f32_gflops_1 bf16_gflops bf16_gflops_1 read_gbs read_gbs_1 "
"copy_gbs copy_gbs_1 disk_mbs sync_ms join_us threads").split()) and d["machine"]["isa"] and d["machine"]["load_before"] >= 0'
}
t "ceilings are positive numbers" ceilings
numbers() {
    cp "$tmp/full" "$out" && json 'all(r["seconds"] > 0 for r in d["ops"] + d["jobs"]) and
all(r["rate"] > 0 and r["unit"] for r in d["ops"]) and
all((r["share"] is None) == (r["of"] is None) and (r["share"] is None or r["share"] > 0) for r in d["ops"] + d["jobs"])'
}
t "so are times, rates and shares" numbers
rows() {
    cp "$tmp/full" "$out" && json '[r["rows"] for r in d["ops"] if r["op"] == "linear" and r["detail"].startswith("head")] == [1, 8, 64, 256, 1024] and
sum(r["op"] == "linear" for r in d["ops"]) == 25 and
{r["unit"] for r in d["ops"] if r["rows"] < 16} == {"GB/s"} and
all(r["unit"] == "GF/s" for r in d["ops"] if r["op"] == "linear" and r["rows"] >= 16)'
}
t "products at every number of rows, few rows by memory" rows
shapes() { # 4 heads and 2 pairs of keys and values of 8; 32 wide, 40 inside
    cp "$tmp/full" "$out" && json '{r["detail"] for r in d["ops"] if r["op"] == "linear"} >= {"qkv, 64 x 32", "o, 32 x 32", "gate, up, 80 x 32", "down, 32 x 40"}'
}
t "of the model's shapes" shapes
costs() {
    cp "$tmp/full" "$out" && json '{(r["op"], r["detail"]) for r in d["ops"] if r["cost"] is not None} == {("attention", "with statistics")} and
{(r["job"], r["detail"]) for r in d["jobs"] if r["cost"] is not None} == {("record", "statistics of all heads"), ("record", "all maps")}'
}
t "the cost of watching" costs
agree() { # rates, shares and costs follow from times, shapes and ceilings
    cp "$tmp/full" "$out" && json '
(lambda same, peak, at: all(
    same(r["rate"] * r["seconds"], 2e-9 * n * k * r["rows"]) and same(r["share"], r["rate"] / peak)
    if r["rows"] >= 64 else same(r["weights_per_s"] * r["seconds"], n * k) and
    (r["rows"] > 1 or r["of"] == "memory" and same(r["share"], r["rate"] / d["machine"]["read_gbs"]))
    for r in d["ops"] if r["op"] == "linear" for n, k in [map(int, r["detail"].rsplit(", ")[-1].split(" x "))]) and
    all(same(b["cost"], b["seconds"] / a["seconds"] - 1) for a, b in zip(at, at[1:]) if b["cost"] is not None) and
    all(same(r["rate"] * r["seconds"], r["tokens"]) for r in d["jobs"] if r["unit"] == "tokens/s"))(
    lambda a, b: abs(a - b) <= 1e-9 * max(abs(a), abs(b), 1e-3), d["machine"]["f32_gflops"], d["ops"] + d["jobs"])'
}
t "figures agree with each other" agree
nothing_left() { [ -z "$(ls -A "$dir")" ]; }
t "no file stays" nothing_left

people() {
    exits 0 bench "$m" --quick --dir "$dir" --threads 1 --isa generic && prints 'generic kernels, 1 thread; best of [0-9]+ ' &&
        prints '^ceiling +1 thread +all' && prints '^f32 products +[0-9.]+ +[0-9.]+ +GF/s' &&
        prints '^linear +qkv, 64 x 32 ' && prints '^decode +weights '
}
t "tables for people; one thread and portable kernels" people
no_mlp() { bench "$DATA/closed/ind2" --precision f64 && json '{r["op"] for r in d["ops"]} == {"linear", "attention", "add"}'; }
t "a model without norms, rotation and MLPs, in double precision" no_mlp
gpt2() { bench "$DATA/gpt2_masks" --precision bf16 && json 'any(r["detail"].startswith("up, ") for r in d["ops"])'; }
t "a model whose MLPs are not gated, in bf16" gpt2

only() {
    exits 0 bench "$m" --only prefill --tokens 20 --reps 1 --dir "$dir" --json && json '
[(r["job"], r["tokens"]) for r in d["jobs"]] == [("prefill", 20), ("record", 20)] and d["ops"] == [] and
d["machine"]["f32_gflops"] is None and d["machine"]["read_gbs_1"] is None and d["repetitions"] == 1 and
all(r["share"] is None and r["of"] is None and r["rate"] > 0 for r in d["jobs"])'
}
t "one thing alone, at one length" only
for stage in load machine linear attention rows decode batch maps sweep; do
    one() { exits 0 bench "$m" --only $stage --quick --dir "$dir" && prints '^ceiling'; }
    t "$stage alone" one
done
as_asked() {
    exits 0 bench "$m" --only decode --weights expand --quick --dir "$dir" --json &&
        json '[r["detail"] for r in d["jobs"]] == ["weights expanded"]'
}
t "with weights as asked for" as_asked
long() { exits 2 bench "$m" --tokens 100000 --only prefill --dir "$dir" && says '100000.* --ctx' && nothing_left; }
t "prompts longer than the context" long
further() { exits 0 bench "$m" --tokens 200 --ctx 200 --only maps --quick --dir "$dir"; }
t "unless it is raised" further

home() { # beside the database that recordings go to
    (cd "$dir" && HEADSCOPE_DB=none/x.db exits 1 bench "$m" --quick) && says 'none' && says -- '--dir' &&
        (cd "$dir" && exits 0 bench "$m" --quick) && nothing_left
}
t "scratch files go where recordings do" home
helped() { exits 0 bench --help && prints '^examples$' && prints '[-]-quick'; }
t "help" helped
t "no model" exits 2 bench
t "a model that is not there" exits 1 bench "$tmp/none.gguf" --dir "$dir"
head -c 100 "$m" >"$tmp/cut.gguf"
t "a damaged model" exits 3 bench "$tmp/cut.gguf" --dir "$dir"
t "no such folder" exits 1 bench "$m" --dir "$tmp/none"
t "no such kernels" exits 2 bench "$m" --isa sse9 --dir "$dir"
t "no such option" exits 2 bench "$m" --fast
t "no such thing" exits 2 bench "$m" --only everything
t "a negative number of repetitions" exits 2 bench "$m" --reps -1
t "a negative length" exits 2 bench "$m" --tokens -1
t "two models" exits 2 bench "$m" "$m"
t "no file stays after a failure" nothing_left

stopped() { # by a signal, at some moment of the work
    python3 - "$HEADSCOPE" bench "$m" --dir "$dir" >"$out" 2>"$err" <<'END'
import signal, subprocess, sys, time
for after in (0.05, 0.3, 1, 2):
    p = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(after)
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=60)
    # Before the handler stands the signal simply ends it.
    if not (p.returncode == 130 and err.startswith(b"headscope: interrupted") or p.returncode == -signal.SIGINT and after < 0.1):
        sys.exit(f"after {after} s: {p.returncode} {err[:200]!r}")
    if p.returncode == 130 and out:
        sys.exit(f"after {after} s: printed {out[:200]!r}")
END
    [ $? = 0 ] && nothing_left
}
t "Ctrl-C ends it with 130 and leaves nothing" stopped
finish
