# Memory that runs out at an allocation of our choosing, alone or with all that follow: every command
# ends in status 0 with its usual output, or in status 1 with one line that says so; what was in a
# database stays, and an output is whole or as it was. Each command's first allocations, its last and
# some between are tried; `make oom` tries all of them.
. tests/cli/lib.sh
shim=$BUILD/tests/cli/oom.so
m=$DATA/llama_gqa.gguf
if [ -n "${HS_SANITIZED-}" ] || [ ! -e "$shim" ]; then
    skip "allocations that fail" "a sanitizer's allocators stand in the way"
    finish
    exit 0
fi
mkdir "$tmp/base"
printf '{"tokens": [1, 2, 3, 1, 2]}\n{"tokens": [5, 6]}\n' >"$tmp/base/p.jsonl"
printf '{"tokens":[0,1,6,3,8,5,2,7,4,1,6],"needle":[3,6],"answer":[3,8,5]}\n' >"$tmp/base/n.jsonl"
printf '{"tokens":[1,2,3,4,5],"corrupt_tokens":[1,2,9,4,5],"answer":3,"wrong":8,"positions":{"S":2}}\n{"tokens":[7,2,3,4],"corrupt_tokens":[7,2,8,4],"answer":7,"wrong":8,"positions":{"S":2}}\n' >"$tmp/base/c.jsonl"
for i in 1 6 3 8; do printf '{"tokens":[0,1,6,3,8,5,2,7,4,1,6,%s],"choices":[[7],[2]],"answer":%s}\n' $i $((i % 2)); done >"$tmp/base/q.jsonl"
printf '{"tokens":[1,2,3,4,5],"choices":[[3],[4,5]],"answer":1}\n{"tokens":[7,2,3],"answers":[[5,6],[8]]}\n' >"$tmp/base/a.jsonl"
hs record "$m" -f "$tmp/base/p.jsonl" --maps L0H0,L1H1 --acts 'blocks.1.hook_resid_post' --observe sinks -o "$tmp/base/run.db"
hs record "$m" -f "$tmp/base/p.jsonl" --maps all -o "$tmp/base/maps.db"
for i in 0 1; do hs sweep "$m" -f "$tmp/base/p.jsonl" --metric 'nll,a=exp(nll)' --shard $i/2 -o "$tmp/base/part.$i.db"; done
for f in out.npz out.safetensors out.png out.jsonl; do echo old >"$tmp/base/$f"; done

cat >"$tmp/oom.py" <<'END_PY'
import multiprocessing, os, re, shutil, subprocess, sys, tempfile
sys.path.insert(0, "tests/cli")
import dbcheck

tmp, binary, shim, step, *command = sys.argv[1:]
step = int(step) # 0: a sample
base = tmp + "/base"
def read(path):
    with open(path, "rb") as f: return f.read()
old = {f: read(f"{base}/{f}") for f in os.listdir(base) if f in command}

VOLATILE = re.compile(rb'\d+\.\d+ s$|"seconds":[^,}]*|("|^  )(program|recording|decoding)[": ]+[0-9.]+( .?B)?', re.M)
FONTS = re.compile(rb"^Fontconfig .*\n", re.M) # goes on without the rule that it had no memory for
env = dict(os.environ, LD_PRELOAD=shim)

def run(**more):
    cwd = tempfile.mkdtemp(dir=tmp)
    for f in old: shutil.copy(f"{base}/{f}", cwd)
    try:
        p = subprocess.run([binary, *command], cwd=cwd, env={**env, **more}, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        p.stdout = VOLATILE.sub(b"", p.stdout)
        p.files = {f: read(f"{cwd}/{f}") for f in os.listdir(cwd) if not re.search(r"\.db-(wal|shm|journal)$", f)}
        for f, b in p.files.items(): # what a database holds, with its log, if it is another one now
            log = any(os.path.exists(f"{cwd}/{f}-{end}") for end in ("wal", "journal"))
            if f.endswith(".db") and b and (b != old.get(f) or log): p.files[f] = dbcheck.content(f"{cwd}/{f}")
        return p
    finally: shutil.rmtree(cwd)

def count(who):
    path = f"{tmp}/count"
    run(OOM_WHO=who, OOM_COUNT=path)
    n = sum(int(line) for line in read(path).split())
    os.unlink(path)
    return n

def same(a, b): return dbcheck.differs(a, b) is None if isinstance(a, dict) and isinstance(b, dict) else a == b
def content(f): return dbcheck.content(f"{base}/{f}") if f in old and old[f] else {}

def whole(f, b): return f.endswith(".png") and b is not None and b.endswith(b"IEND\xaeB`\x82")

def judge(p):
    if p.returncode == 0: # Fontconfig may leave out a rule without a word: then other fonts are drawn
        if p.stdout != usual.stdout: return f"prints {p.stdout[:300]}"
        if FONTS.sub(b"", p.stderr) != usual.stderr: return f"says {p.stderr[:300]}"
        return next((f"leaves another {f}" for f in {**p.files, **usual.files}
                     if not same(p.files.get(f), usual.files.get(f)) and not whole(f, p.files.get(f))), None)
    if p.returncode != 1: return f"ends with {p.returncode}: {p.stderr[-300:]}"
    text = p.stderr.decode("utf-8", "replace")
    if text.count("\n") != 1 or not text.startswith("headscope: ") or "memory" not in text.lower(): return f"says {text[-300:]!r}"
    # Help is written word by word; GLib tells a broken assertion on stdout.
    if not usual.stdout.startswith(p.stdout) and command[0] not in ("help", "heatmap"): return f"prints {p.stdout[:300]}"
    for f, b in p.files.items():
        if b == old.get(f) or same(b, usual.files.get(f)): continue
        if whole(f, b): continue # drawn with fewer fonts, and said so
        if not f.endswith(".db"): return f"leaves half of {f}"
        for t, rows in content(f).items(): # a run's status may change
            if len(b[t]) < len(rows) or (t != "run" and not set(rows) <= set(b[t])): return f"loses rows of {t} in {f}"
    return None

def wrong(job):
    who, at, rest = job
    try: return judge(run(OOM_WHO=who, OOM_AT=str(at), OOM_REST=rest))
    except subprocess.TimeoutExpired: return "hangs"
    except dbcheck.Damage as e: return str(e)

# Without `step`: the first ones densely, then wider and wider apart, and the last.
def chosen(n):
    if step: return range(1, n + 1, step if n > 2000 else 1)
    at, out = 1.0, {n}
    while at <= n:
        out.add(int(at))
        at = max(at + 1, at * 2.5)
    return sorted(out)

usual = run()
if usual.returncode: sys.exit(f"#   failed with memory: {usual.stderr}")
counts = {who: count(who) for who in ("main", "other")}
jobs = [(who, at, rest) for who, n in counts.items() if n for at in chosen(n) for rest in "01"]
bad = {}
with multiprocessing.Pool(os.cpu_count()) as pool:
    for job, what in zip(jobs, pool.imap(wrong, jobs, 16 if step else 1)):
        if what: bad.setdefault(re.sub(r"\d+", "N", what), []).append((*job, what))
print(f"#   {sum(counts.values())} allocations, {len(jobs)} runs, {sum(map(len, bad.values()))} wrong", flush=True)
for cases in bad.values():
    print("#  ", len(cases), "times, as at", *cases[0][:3], "and", *cases[-1][:3], ":", cases[0][3])
sys.exit(bool(bad))
END_PY
starved() { python3 "$tmp/oom.py" "$tmp" "$HEADSCOPE" "$shim" "${OOM_STEP:-0}" "$@"; }
t "recording" starved record "$m" -f p.jsonl --maps all --acts logits --observe sinks,massive --observe stripes --threads 1 -o run.db
t "recording on two threads" starved record "$m" -f p.jsonl --generate 2 --threads 2 -q --json -o run.db
t "into a new database" starved record "$m" -f p.jsonl --threads 1 -o new.db
t "resuming" starved record "$m" -f p.jsonl --maps L0H0,L1H1 --acts 'blocks.1.hook_resid_post' --threads 1 --resume -o run.db
t "observers" starved observe 1 spread,stripes --db maps.db
t "a sweep" starved sweep "$m" -f p.jsonl --op zero,resample --metric 'nll,kl,a=exp(nll)' --threads 1 -o new.db
t "a sweep's curve" starved sweep "$m" -f p.jsonl --by gradient --prune asc,random --heads 'L*M' --json --threads 1 -o run.db
t "a lens" starved lens "$m" -f p.jsonl --pos -1 --track 3 --dla top --by source --json --threads 1 -o new.db
t "retrieval" starved retrieve "$DATA/closed/ind2" -f n.jsonl --max-new 3 --mask-k 1 --threads 1 -q --json -o new.db
hs retrieve "$DATA/closed/ind2" -f "$tmp/base/n.jsonl" --max-new 3 --mask-k 1 -o "$tmp/base/n.db"
hs patch "$m" -f "$tmp/base/c.jsonl" --point z --pos S,END -o "$tmp/base/c.db"
hs patch "$m" -f "$tmp/base/c.jsonl" --edges -o "$tmp/base/e.db"
hs lens "$m" -f "$tmp/base/c.jsonl" --pos all -o "$tmp/base/l.db"
t "what a complete retrieval says" starved retrieve "$DATA/closed/ind2" -f n.jsonl --max-new 3 --mask-k 1 --threads 1 --resume -q -o n.db
t "influence" starved influence "$m" -f p.jsonl --heads L0H1,L1H2 --control 1 --threads 1 --json -o new.db
t "influence by what a run found" starved influence "$m" -f p.jsonl --by sink_alpha0 --top 1 --control 0 --threads 1 -o run.db
t "patching" starved patch "$m" -f c.jsonl --pos S,END --threads 1 -o new.db
t "patching, estimated and measured" starved patch "$m" -f c.jsonl --point q --pos each --by atp --grad-drop --verify 2 --threads 1 --json -o new.db
t "paths" starved patch "$m" -f c.jsonl --path --to 'L1H*.q+L1G0.k' --pos S --threads 1 --json -o new.db
t "edges" starved patch "$m" -f c.jsonl --edges --top 5 --threads 1 -o new.db
t "streaming heads" starved duo "$m" -f c.jsonl --sink 1 --recent 2 --steps 2 --threads 1 --json -o new.db
t "calibrations" starved calibrate stream:s=1,w=2 "$DATA/closed/ind2" --on q.jsonl --keep 1 --threads 1 --json -q -o new.db
t "weights" starved weights "$m" --embed mlp0 --sample 5 --composition 2 --neurons 2 --json --threads 1 -o new.db
t "merging" starved merge all.db part.0.db part.1.db
t "runs" starved runs --db run.db
t "a run" starved show --db run.db --json
t "heads" starved heads --metric sink_alpha0 --db run.db
t "a token's attention" starved attend --head L1H1 --from 3 --db run.db
t "a named query" starved query sink_rate --json --db run.db
t "own SQL" starved query "select att_row(map_id, 1) from map_chunk" --csv --db run.db
t "export as npz" starved export --db run.db --what maps,tokens -o out.npz
t "export as safetensors" starved export --db run.db --what maps,acts -o out.safetensors
t "decoding" starved generate "$m" -f p.jsonl -n 3 --threads 1
t "evaluating" starved eval "$m" -f p.jsonl --per-token --json --threads 1
t "answers" starved eval "$m" -f a.jsonl --do ablate:L0H1,mode=mean --decode 2 --generate 4 --json --threads 1
t "the laws" starved verify "$m" --threads 1
t "a model" starved info "$m"
t "a model in safetensors" starved info "$DATA/llama_gqa" --json
t "tokens" starved tokens "$DATA/tok_smollm" -p 'Hello, world'
t "tokens of a GGUF" starved tokens "$DATA/tok_gguf_llama/tok.gguf" -p 'Hello, world' --json
t "a data set" starved dataset repeat:k=5,n=3 --n-vocab 40 -o out.jsonl
t "a data set of needles" starved dataset needle:n=1,lengths=200,depths=2 -m "$DATA/tok_smollm" --n-vocab 480 -o out.jsonl
t "a data set of keys and values" starved dataset mqar:n=2,length=20,pairs=3 --n-vocab 40 -o out.jsonl
t "help" starved help record
t "lists" starved list observers --json
# Most of what a picture asks for is asked for by Pango and Fontconfig, in a process of their own.
OOM_STEP=${OOM_STEP:+$((OOM_STEP * 20))}
t "a picture" starved heatmap --db run.db --grid entropy_nats -o out.png
t "a map" starved heatmap --db run.db --head L0H0 -o out.png
t "a lens drawn" starved heatmap --db l.db --lens -o out.png
t "patching drawn" starved heatmap --db c.db --patch -o out.png
t "a circuit drawn" starved heatmap --db e.db --circuit -o out.png
t "masking drawn" starved heatmap --db n.db --masking -o out.png
finish
