# Work that is stopped at any moment, by a signal that cannot be caught or by one that can: what was
# committed is whole prompts in a sound database, --resume ends in the content of an unbroken
# recording, and an output file is whole or as it was. `make kill` stops a thousand; by hand, more of
# it or on another model:
#     KILLS=200 KILL_MODEL=model.gguf KILL_PROMPTS='repeat:k=32,n=10' BUILD=$PWD/build sh tests/cli/kill.t
. tests/cli/lib.sh
m=${KILL_MODEL:-$DATA/llama_gqa.gguf}
kills=${KILLS:-42}
[ -z "${KILLS-}" ] && [ -n "${HS_SANITIZED-}" ] && kills=20
"$HEADSCOPE" dataset "${KILL_PROMPTS:-repeat:k=20,n=40}" -m "$m" -o "$tmp/p.jsonl" 2>"$err" ||
    "$HEADSCOPE" dataset "${KILL_PROMPTS:-repeat:k=20,n=40}" --n-vocab 40 -o "$tmp/p.jsonl"

cat >"$tmp/kill.py" <<'END_PY'
import glob, json, os, random, re, shutil, signal, subprocess, sys, time
sys.path.insert(0, "tests/cli")
import dbcheck

tmp, binary, model, how, times, seed, *words = sys.argv[1:]
times, rng = int(times), random.Random(int(seed))
signals = {"kill": signal.SIGKILL, "int": signal.SIGINT, "term": signal.SIGTERM}
signals = list(signals.values()) if how == "study" else [signals.get(how, signal.SIGKILL)]

def fail(*what):
    print("#  ", *what)
    sys.exit(1)

def content(path, but="$^"):
    try: return dbcheck.content(path, but)
    except dbcheck.Damage as e: fail(e)

def remove(pattern):
    for f in glob.glob(pattern): os.unlink(f)

def copy(db, to): # with its log: opening the file itself would fold that in
    remove(to + "*")
    for end in ("", "-wal", "-journal"):
        if os.path.exists(db + end): shutil.copy(db + end, to + end)

# Runs a command and stops it after a random part of the time that it usually takes.
def stopped(command, longest):
    p = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try: p.wait(rng.uniform(0, 1.05) * longest)
    except subprocess.TimeoutExpired: p.send_signal(rng.choice(signals))
    text = p.communicate()[1].decode()
    if p.returncode == 130 and not re.fullmatch(r"headscope: interrupted.*\n", text): fail("said", repr(text))
    if p.returncode not in (0, 130, -signal.SIGKILL, *(-s for s in signals)): fail("ended with", p.returncode, text)
    return p.returncode, text

def timed(command):
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - began

# ---- recordings -----------------------------------------------------------------------------
def record(db):
    if how == "study": return [binary, *words, "-q", "-o", db]
    return [binary, "record", model, "-f", f"{tmp}/p.jsonl", "--maps", "all", "--acts", "blocks.*.hook_resid_post,logits",
            "--observe", "sinks,massive", "--observe", "stripes", "-q", "-o", db, *words]

def look(db, whole): # how many prompts it holds, each of them whole
    if not os.path.exists(db) or not sum(os.path.getsize(f) for f in glob.glob(db + "*")): return 0
    copy(db, tmp + "/look.db")
    part = content(tmp + "/look.db")
    if not part.get("run"): return 0
    last = max([r[0] for r in part["prompt"]], default=0)
    for t, rows in part.items(): # what describes tables and analyses comes with the first prompt
        want = [r for r in whole[t] if r[0] is None or r[0] <= last]
        late = how == "study" and not any(r[0] for r in whole[t]) # or with the one that has such an analysis
        if rows != want and (last and not late or not set(rows) <= set(want)): fail(f"after {last} prompts table {t} differs")
    return last

def said(db): # of a complete run
    out = subprocess.run([*record(db), "--resume", "--json"], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    return {k: v for k, v in json.loads(out).items() if k not in ("db", "seconds")}

def recordings():
    hit, partial, rounds, db = 0, 0, 0, f"{tmp}/{how}.db"
    unbroken = f"{tmp}/{'whole' if not words else seed if how == 'study' else 'edited'}.db"
    if not os.path.exists(unbroken): timed(record(unbroken))
    took = timed(record(tmp + "/timing.db"))
    remove(tmp + "/timing.db*")
    whole = content(unbroken)
    n_prompt = len(whole["prompt"])
    deadline = time.monotonic() + 120 + 10 * times * took
    while hit < times:
        if time.monotonic() > deadline: fail("only", hit, "of", times, "recordings were hit")
        held, attempt = 0, 0
        remove(db + "*")
        while True: # until it is complete
            attempt += 1
            stop = attempt < 6 and hit < times
            longest = took * max(0.2, 1 - held / n_prompt) if stop else 1000
            rc, text = stopped(record(db) + (["--resume"] if attempt > 1 else []), longest)
            if rc == 0:
                if text: fail("said", text)
                break
            if not stop: fail("the resumed recording ended with", rc, text)
            hit += 1
            if rc == 130 and "--resume" not in text and look(db, whole) > held: fail("said", repr(text))
            now = look(db, whole)
            if now < held: fail("held", held, "prompts, now", now)
            partial += held < now < n_prompt
            held = now
        rounds += 1
        if what := dbcheck.differs(content(db), whole): fail("resumed:", what)
        if glob.glob(db + "-*"): fail("left behind:", glob.glob(db + "-*"))
        if how == "study" and (what := [said(f) for f in (db, unbroken)]) and what[0] != what[1]: fail("prints", *what)
    print(f"#   {hit} stopped, {partial} of them with new prompts, {rounds} recordings completed")
    if times > 5 and n_prompt > 1 and not partial: fail("no recording was stopped halfway")

# ---- observers on what is recorded ----------------------------------------------------------
NUMBERS = "^id$|^analysis_run_id$" # rows that are written again get new ones

def observing():
    db, hit = tmp + "/observed.db", 0
    command = [binary, "observe", "1", "spread", "echo", "-q", "--db", db]
    copy(tmp + "/whole.db", db)
    before, took = content(db), timed(command)
    after, values = content(db), content(db, NUMBERS)
    for _ in range(20 * times):
        if hit == times: break
        copy(tmp + "/whole.db", db)
        hit += stopped(command, took)[0] != 0
        copy(db, tmp + "/look.db")
        part = content(tmp + "/look.db")
        for t in after:
            if not set(before[t]) <= set(part[t]) <= set(after[t]): fail(f"table {t} lost or has what it should not")
        timed(command)
        if what := dbcheck.differs(content(db, NUMBERS), values): fail("observed again:", what)
        if glob.glob(db + "-*"): fail("left behind:", glob.glob(db + "-*"))
    print(f"#   {hit} stopped")
    if hit < times: fail("too few")

# ---- output files ---------------------------------------------------------------------------
def output():
    ending, *words_ = words
    out, hit, kept, late = f"{tmp}/out/a.{ending}", 0, 0, 0
    os.makedirs(tmp + "/out", exist_ok=True)
    command = [binary, *words_, "-q", "-o", out]
    took = timed(command)
    with open(out, "rb") as f: whole = f.read()
    for _ in range(20 * times):
        if hit == times: break
        old = rng.choice((None, b"old"))
        if os.path.exists(out): os.unlink(out)
        if old:
            with open(out, "wb") as f: f.write(old)
        rc, _ = stopped(command, took)
        hit += rc != 0
        got = open(out, "rb").read() if os.path.exists(out) else None
        if got != whole and (rc == 0 or got != old): fail("after", rc, "the output is neither whole nor as it was")
        kept += rc != 0 and got == old
        late += rc != 0 and got == whole
        if len(os.listdir(tmp + "/out")) > 2: fail("left behind:", os.listdir(tmp + "/out"))
    timed(command)
    if os.listdir(tmp + "/out") != [f"a.{ending}"]: fail("left behind:", os.listdir(tmp + "/out"))
    remove(tmp + "/out/*")
    print(f"#   {hit} stopped: {kept} outputs as they were, {late} whole already")
    if hit < times: fail("too few")

{"observe": observing, "output": output}.get(how, recordings)()
END_PY
killed() { python3 "$tmp/kill.py" "$tmp" "$HEADSCOPE" "$m" "$@"; }
share() { echo $((kills * $1 / 100 + 1)); }
t "recordings stopped by SIGKILL and resumed" killed kill "$(share 30)" 1
t "by SIGINT" killed int "$(share 10)" 2
t "by SIGTERM" killed term "$(share 10)" 3
t "edited recordings" killed kill "$(share 15)" 5 --do ablate:L0H1,mode=mean --do ablate:L1H0,mode=resample
pairs=$tmp/pairs.jsonl needles=$tmp/needles.jsonl
items=$tmp/items.jsonl
python3 - "$pairs" "$needles" "$items" <<'END_PY'
import json, random, sys
rng = random.Random(3)
with open(sys.argv[1], "w") as f:
    for i in range(60):
        t = [rng.randrange(3, 40) for _ in range(8 + i % 5)]
        print(json.dumps({"tokens": t, "corrupt_tokens": [*t[:3], (t[3] - 3 + 1) % 37 + 3, *t[4:]], "answer": 4, "wrong": 5, "positions": {"S": 3}}), file=f)
with open(sys.argv[2], "w") as f: # for the hand-built model, which says what stands behind 6, 1 and 8
    for i in range(60):
        last, at, n = rng.choice([(6, 3, 3), (1, 2, 2), (8, 5, 2)])
        t = [0, 1, 6, 3, 8, 5, 2, 7, 4]
        print(json.dumps({"tokens": [*t, *t[1:rng.randrange(1, 4)], last], "needle": [at, at + n], "answer": t[at:at + n]}), file=f)
with open(sys.argv[3], "w") as f: # items with choices, of which a head is in the way
    after = dict(zip(t[1:], t[2:]))
    for r in range(1, 7):
        for last in t[1:8]:
            print(json.dumps({"tokens": [*t, *t[1:r], last], "choices": [[after[last]], [5 if after[last] != 5 else 4]], "answer": 1}), file=f)
END_PY
study() { killed study "$@"; }
t "retrieval, masks and all" study "$(share 5)" 12 retrieve "$DATA/closed/ind2" -f "$needles" --max-new 6 --mask-k 1,2
t "influence" study "$(share 4)" 13 influence "$m" -f "$pairs" --heads L0H1,L1H2
t "patching" study "$(share 4)" 14 patch "$m" -f "$pairs" --point z --pos each
t "estimates of it" study "$(share 4)" 15 patch "$m" -f "$pairs" --point q --pos each --by atp --grad-drop
t "paths" study "$(share 4)" 16 patch "$m" -f "$pairs" --path --to 'L1H*.q+L1G0.k' --pos S
t "edges" study "$(share 4)" 17 patch "$m" -f "$pairs" --edges
t "lenses" study "$(share 4)" 18 lens "$m" -f "$pairs" --pos all --dla answer,minus=wrong --by neuron --track 3,5
t "streaming heads" study "$(share 4)" 20 duo "$m" -f "$pairs" --sink 1 --recent 2 --steps 3
t "calibrations" study "$(share 6)" 21 calibrate stream:s=1,w=2+4 "$DATA/closed/ind2" --on "$items" --keep 5
t "weights" study "$(share 4)" 19 weights "$m" --composition 3 --neurons 3
t "observers stopped and run again" killed observe "$(share 10)" 4
db=$tmp/whole.db
seed=5
for ending in npz safetensors csv json; do
    t "exports to $ending stopped" killed output "$(share 4)" $seed $ending export --db "$db"
    seed=$((seed + 1))
done
t "pictures stopped" killed output "$(share 5)" 10 png heatmap --db "$db" --grid entropy_nats
t "data sets stopped" killed output "$(share 4)" 11 jsonl dataset repeat:k=200,n=4000 --n-vocab 400
finish
