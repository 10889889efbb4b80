# Ends that come from outside: a reader who leaves, a stream that is closed, Ctrl-C, a file that is
# cut short or replaced while it is in use.
. tests/cli/lib.sh
m=$DATA/llama_gqa.gguf
f=$tmp/p.jsonl
"$HEADSCOPE" dataset repeat:k=20,n=30 --n-vocab 40 -o "$f"
db=$tmp/run.db
hs record "$m" -f "$f" --maps all -o "$db"

# ---- a reader who leaves --------------------------------------------------------------------
leaves() { # leaves ARGS...: the reader takes one line of many
    { "$HEADSCOPE" "$@" 2>"$err"; echo $? >"$tmp/status"; } | head -n 1 >"$out"
    rc=$(cat "$tmp/status")
    [ ! -s "$err" ] && [ "$(wc -l <"$out")" = 1 ] && { [ "$rc" = 141 ] || [ "$rc" = 1 ]; }
}
t "a query whose reader leaves" leaves query 'select a.*, b.* from token a, token b limit 20000' --csv --db "$db"
t "a data set whose reader leaves" leaves dataset repeat:k=100,n=2000 --n-vocab 400 -o -
t "an export whose reader leaves" leaves export --what stats --format csv --db "$db" -o -
ignored() { # where nobody is told by a signal
    { python3 -c 'import os, signal, sys
signal.signal(signal.SIGPIPE, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])' "$HEADSCOPE" query 'select * from token a, token b limit 20000' --csv --db "$db" 2>"$err"; } | head -n 1 >"$out"
    [ ! -s "$err" ]
}
t "one who ignores the signal" ignored

# ---- streams that are closed ----------------------------------------------------------------
blind() { # nothing can be told, and nothing goes elsewhere
    "$HEADSCOPE" heatmap --db "$db" --grid entropy_nats -o "$tmp/a.png" && "$HEADSCOPE" heatmap --db "$db" --grid entropy_nats -o "$tmp/b.png" <&- >&- 2>&- &&
        cmp "$tmp/a.png" "$tmp/b.png" &&
        "$HEADSCOPE" export --db "$db" -o "$tmp/a.npz" 2>"$err" && "$HEADSCOPE" export --db "$db" -o "$tmp/b.npz" <&- >&- 2>&- && cmp "$tmp/a.npz" "$tmp/b.npz"
}
t "all three closed" blind
no_out() { "$HEADSCOPE" "$@" >&- 2>"$err"; [ $? = 1 ] && [ "$(wc -l <"$err")" = 1 ] && says 'cannot write to standard output'; }
t "standard output closed" no_out runs --db "$db"
t "and for JSON" no_out heads --metric sink_alpha0 --json --db "$db"
no_err() { "$HEADSCOPE" runs --db "$tmp/none.db" 2>&- >"$out"; [ $? = 1 ] && [ ! -s "$out" ]; }
t "standard error closed" no_err
no_in() { "$HEADSCOPE" eval "$m" -f - <&- >"$out" 2>"$err"; [ $? = 1 ] && [ "$(wc -l <"$err")" = 1 ] && says 'standard input'; }
t "standard input closed" no_in
appended() { echo first >"$tmp/all.csv" && "$HEADSCOPE" export --what tokens --format csv --db "$db" -o - >>"$tmp/all.csv" && [ "$(head -n 1 "$tmp/all.csv")" = first ] && [ "$(wc -l <"$tmp/all.csv")" -gt 100 ]; }
t "an export behind what a file holds" appended

# ---- Ctrl-C ---------------------------------------------------------------------------------
cat >"$tmp/stop.py" <<'END_PY'
# stop.py TIMES PATTERN COMMAND...: SIGINT while it works; status 130 and one line like PATTERN.
# With TIMES 2 a second signal follows, and ends it whatever it does.
import re, signal, subprocess, sys, time
times, pattern, *command = sys.argv[1:]
signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background begin without
p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
time.sleep(1.5)
for _ in range(int(times)):
    p.send_signal(signal.SIGINT)
    time.sleep(0.3)  # signals that wait together are one
began = time.monotonic()
out, err = p.communicate(timeout=120)
if times == "2" and time.monotonic() - began > 5: sys.exit("#   took its time")
ok = p.returncode == 130 and re.fullmatch(pattern, err) or times == "2" and p.returncode == -signal.SIGINT and not err
if not ok: sys.exit(f"#   {p.returncode} {err}")
END_PY
stop() { python3 "$tmp/stop.py" "$@"; }
if [ -e "$REAL" ] && [ -z "${HS_SANITIZED-}" ]; then
    many="repeat:k=60,n=500"
    t "Ctrl-C while recording" stop 1 'headscope: interrupted(: .* of 500 prompts are in .*c.db; the same command with --resume goes on)?\n' "$HEADSCOPE" record "$REAL" --dataset $many -o "$tmp/c.db"
    t "Ctrl-C while evaluating" stop 1 'headscope: interrupted.*\n' "$HEADSCOPE" eval "$REAL" --dataset $many
    t "Ctrl-C in the unedited runs that a mean takes" stop 1 'headscope: interrupted.*\n' "$HEADSCOPE" record "$REAL" -p Hello --do ablate:L0H0,mode=mean,reference=repeat:k=60+n=500 -o "$tmp/e.db"
    t "which leave no database" test ! -e "$tmp/e.db"
    t "Ctrl-C while decoding" stop 1 'headscope: interrupted.*\n' "$HEADSCOPE" generate "$REAL" -p Hello -n 5000
    t "Ctrl-C while the laws are checked" stop 1 'headscope: interrupted.*\n' "$HEADSCOPE" verify "$REAL"
    on=' prompts of run 1 are in .*; the same command with --resume goes on'
    t "Ctrl-C while needles are looked for" stop 1 "headscope: interrupted(: .*$on)?\n" "$HEADSCOPE" retrieve "$REAL" -q -o "$tmp/r.db"
    t "Ctrl-C while texts are scored" stop 1 "headscope: interrupted(: .*$on)?\n" "$HEADSCOPE" influence "$REAL" --dataset $many --heads 'L*H0' -q -o "$tmp/i.db"
    t "Ctrl-C while patching" stop 1 "headscope: interrupted(: .*$on)?\n" "$HEADSCOPE" patch "$REAL" --dataset ioi:n=100 --pos each -q -o "$tmp/p.db"
    t "Ctrl-C while paths are patched" stop 1 "headscope: interrupted(: .*$on)?\n" "$HEADSCOPE" patch "$REAL" --dataset ioi:n=100 --path -q -o "$tmp/q.db"
    t "Ctrl-C while edges are estimated" stop 1 "headscope: interrupted(: .*$on)?\n" "$HEADSCOPE" patch "$REAL" --dataset ioi:n=100 --edges -q -o "$tmp/g.db"
    t "Ctrl-C while looking through a lens" stop 1 "headscope: interrupted(: .*$on)?\n" "$HEADSCOPE" lens "$REAL" --dataset $many --pos all -q -o "$tmp/l.db"
    t "Ctrl-C while weights are read" stop 1 "headscope: interrupted(: .*$on)?\n" "$HEADSCOPE" weights "$REAL" --composition 5 -q -o "$tmp/w.db"
    t "Ctrl-C while a data set is made" stop 2 - "$HEADSCOPE" dataset needle:lengths=2000000,n=3 -m "$REAL" -o "$tmp/d.jsonl"
    t "which leaves no file" test ! -e "$tmp/d.jsonl"
    t "Ctrl-C twice" stop 2 'headscope: interrupted.*\n' "$HEADSCOPE" record "$REAL" --dataset $many -o "$tmp/d.db"
fi

# ---- files that change while they are in use ------------------------------------------------
# The model is open when its prompts are waited for: opening the FIFO waits for that.
cut() { # cut MODEL FILE: the model's file loses its end
    mkfifo "$tmp/cut.fifo"
    cp "$db" "$tmp/cut.db"
    "$HEADSCOPE" record "$1" -f "$tmp/cut.fifo" -o "$tmp/cut.db" >"$out" 2>"$err" &
    { truncate -s 1000 "$2" && cat "$f"; } >"$tmp/cut.fifo"
    wait $!
    rc=$?
    rm "$tmp/cut.fifo"
    [ $rc = 1 ] && [ "$(wc -l <"$err")" = 1 ] && says '^headscope: a file became shorter.*--resume' &&
        exits 0 runs --db "$tmp/cut.db" --csv && [ "$(wc -l <"$out")" = 2 ]
}
cp "$m" "$tmp/cut.gguf"
cp -r "$DATA/llama_gqa" "$tmp/cut"
t "a GGUF that is cut short" cut "$tmp/cut.gguf" "$tmp/cut.gguf"
t "safetensors that are cut short" cut "$tmp/cut" "$tmp/cut/model.safetensors"
replaced() { # renamed over: the one that was opened goes on to be used
    mkfifo "$tmp/new.fifo"
    cp "$m" "$tmp/old.gguf"
    "$HEADSCOPE" record "$tmp/old.gguf" -f "$tmp/new.fifo" --maps all -o "$tmp/new.db" >"$out" 2>"$err" &
    { cp "$DATA/llama_bias.gguf" "$tmp/new.gguf" && mv "$tmp/new.gguf" "$tmp/old.gguf" && cat "$f"; } >"$tmp/new.fifo"
    wait $! && python3 - "$db" "$tmp/new.db" <<'END_PY'
import sqlite3, sys
a, b = (sqlite3.connect(p).execute("select data from row_series order by id").fetchall() for p in sys.argv[1:])
sys.exit(a != b)
END_PY
}
t "a model that is replaced" replaced
cat >"$tmp/shrink.py" <<'END_PY'
# A database cut at every eighth of its length while it is read: a line and a status, never a crash.
import os, shutil, subprocess, sys
binary, db, tmp = sys.argv[1:]
size, path, ends = os.path.getsize(db), tmp + "/shrunk.db", set()
for k in range(8):
    shutil.copy(db, path)
    p = subprocess.Popen([binary, "query", "select hex(data) from map_chunk", "--json", "--db", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    p.stdout.read(1) # it has begun, and waits for us to read on
    os.truncate(path, size * k // 8)
    err = p.communicate()[1]
    ends.add(p.returncode)
    if p.returncode not in (0, 1, 3) or p.returncode and (err.count("\n") != 1 or not err.startswith("headscope: ")): sys.exit(f"#   {p.returncode} {err}")
if not ends & {1, 3}: sys.exit(f"#   ended with {ends}")
END_PY
t "a database that is cut short" python3 "$tmp/shrink.py" "$HEADSCOPE" "$db" "$tmp"
finish
