# A recording that is stopped at any moment, by a signal that cannot be caught or by one that can:
# what was committed is whole prompts in a sound database, and --resume ends in the content of an
# unbroken recording. By hand, more of it or on another model:
#     KILLS=200 KILL_MODEL=model.gguf KILL_PROMPTS='repeat:k=32,n=10' BUILD=$PWD/build sh tests/cli/kill.t
. tests/cli/lib.sh
m=${KILL_MODEL:-$DATA/llama_gqa.gguf}
kills=${KILLS:-30}
[ -z "${KILLS-}" ] && [ -n "${HS_SANITIZED-}" ] && kills=10
"$HEADSCOPE" dataset "${KILL_PROMPTS:-repeat:k=20,n=40}" -m "$m" -o "$tmp/p.jsonl" 2>"$err" ||
    "$HEADSCOPE" dataset "${KILL_PROMPTS:-repeat:k=20,n=40}" --n-vocab 40 -o "$tmp/p.jsonl"

cat >"$tmp/kill.py" <<'END_PY'
import glob, os, random, re, shutil, signal, sqlite3, subprocess, sys, time

tmp, binary, model, how, times, seed = sys.argv[1:]
times, rng = int(times), random.Random(int(seed))
ACTS = "blocks.*.hook_resid_post,logits"
SKIP = re.compile("_at|wall|second|time|argv|status|duration|_ms|command")
SIGNAL = {"kill": signal.SIGKILL, "int": signal.SIGINT, "term": signal.SIGTERM}[how]

def command(db):
    return [binary, "record", model, "-f", f"{tmp}/p.jsonl", "--maps", "all", "--acts", ACTS,
            "--observe", "sinks,massive", "--observe", "stripes", "-q", "-o", db]

def fail(*what):
    print("#  ", *what)
    sys.exit(1)

# Every table's rows without the columns that tell times, and the prompt that each belongs to.
def content(path):
    db = sqlite3.connect(path)
    if (got := db.execute("pragma integrity_check").fetchone()) != ("ok",): fail(path, got)
    if db.execute("pragma foreign_key_check").fetchall(): fail(path, "foreign keys")
    names = [n for n, in db.execute("select name from sqlite_schema where type = 'table' order by 1")]
    def prompt_of(table, depth=0):
        if table == "prompt": return "{0}.id"
        for _, _, parent, column, to, *_ in db.execute(f"pragma foreign_key_list({table})"):
            up = prompt_of(parent, depth + 1) if depth < 4 else None
            if up == "{0}.id": return "{0}." + column
            if up:
                alias = f"{parent}_{depth}"
                return f"(select {up.format(alias)} from {parent} {alias} where {alias}.{to or 'id'} = {{0}}.{column})"
        return None
    out = {}
    for t in names:
        cols = ", ".join(f"{t}.{r[1]}" for r in db.execute(f"pragma table_info({t})") if not SKIP.search(r[1]))
        prompt = (prompt_of(t) or "null").format(t)
        out[t] = db.execute(f"select {prompt}, {cols} from {t} order by {cols}").fetchall()
    db.close()
    return out

def same(a, b, what):
    for t in sorted(set(a) | set(b)):
        if a.get(t) != b.get(t): fail(what, "table", t, "differs:", len(a.get(t, [])), len(b.get(t, [])))

# A copy is looked at: opening the file itself would fold its log in.
def look(db, whole):
    for f in glob.glob(tmp + "/look.db*"): os.unlink(f)
    if not os.path.exists(db) or not sum(os.path.getsize(f) for f in glob.glob(db + "*")): return 0
    for end in ("", "-wal", "-journal"):
        if os.path.exists(db + end): shutil.copy(db + end, tmp + "/look.db" + end)
    part = content(tmp + "/look.db")
    if not part.get("run"): return 0
    last = max([r[0] for r in part["prompt"]], default=0)
    for t, rows in part.items(): # what describes tables and analyses comes with the first prompt
        want = [r for r in whole[t] if r[0] is None or r[0] <= last]
        if rows != want and (last or not set(rows) <= set(want)): fail(f"after {last} prompts table {t} differs")
    return last

whole_db = tmp + "/whole.db"
began = time.monotonic()
if not os.path.exists(whole_db): subprocess.run(command(whole_db), check=True, stdout=subprocess.DEVNULL)
else: subprocess.run(command(tmp + "/timing.db"), check=True, stdout=subprocess.DEVNULL)
took = time.monotonic() - began
if os.path.exists(tmp + "/timing.db"): os.unlink(tmp + "/timing.db")
whole = content(whole_db)
n_prompt, done, hit, partial, rounds = len(whole["prompt"]), 0, 0, 0, 0
deadline = time.monotonic() + 120 + 10 * times * took
while hit < times:
    if time.monotonic() > deadline: fail("only", hit, "of", times, "recordings were hit")
    db, held, attempt = f"{tmp}/{how}.db", 0, 0
    for f in glob.glob(db + "*"): os.unlink(f)
    while True: # until it is complete
        attempt += 1
        stop = attempt < 6 and hit < times
        p = subprocess.Popen(command(db) + (["--resume"] if attempt > 1 else []),
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if stop:
            try: p.wait(rng.uniform(0, 1.05) * took * max(0.2, 1 - held / n_prompt))
            except subprocess.TimeoutExpired: p.send_signal(SIGNAL)
        text = p.communicate()[1].decode()
        if p.returncode == 0:
            if text: fail("said", text)
            break
        if not stop: fail("the resumed recording ended with", p.returncode, text)
        hit += 1
        if p.returncode == 130:
            if not re.fullmatch(r"headscope: interrupted.*\n", text): fail("said", repr(text))
            if "--resume" not in text and look(db, whole) > held: fail("said", repr(text))
        elif p.returncode != -SIGNAL: fail("ended with", p.returncode, text)
        now = look(db, whole)
        if now < held: fail("held", held, "prompts, now", now)
        partial += held < now < n_prompt
        held = now
    rounds += 1
    same(content(db), whole, "resumed")
    if glob.glob(db + "-*"): fail("left behind:", glob.glob(db + "-*"))
print(f"#   {hit} stopped, {partial} of them with new prompts, {rounds} recordings completed")
if times > 5 and not partial: fail("no recording was stopped halfway")
END_PY
stopped() { python3 "$tmp/kill.py" "$tmp" "$HEADSCOPE" "$m" "$@"; }
t "stopped by SIGKILL and resumed" stopped kill "$kills" 1
t "stopped by SIGINT and resumed" stopped int $((kills / 3)) 2
t "stopped by SIGTERM and resumed" stopped term $((kills / 3)) 3
finish
