# Several processes on one database: who only reads never waits, who writes waits and in the end says
# why, and no two ever write into each other's rows.
. tests/cli/lib.sh
m=$DATA/llama_gqa.gguf
f=$tmp/p.jsonl
"$HEADSCOPE" dataset repeat:k=20,n=30 --n-vocab 40 -o "$f"
base=$tmp/base.db
hs record "$m" -f "$f" --maps all -o "$base"

cat >"$tmp/check.py" <<'END_PY'
# check.py DB N WHOLE: DB is sound and has N runs, each of them as the run of WHOLE but for row ids.
import re, sqlite3, sys
sys.path.insert(0, "tests/cli")
import dbcheck
db, n, whole = sys.argv[1], int(sys.argv[2]), sys.argv[3]
dbcheck.content(db)
def run(path, r):
    c = sqlite3.connect(path)
    q = {"token": "select p.ord, t.pos, t.token_id from token t join prompt p on p.id = t.prompt_id where p.run_id = ? order by 1, 2",
         "row_series": "select p.ord, s.layer, s.head, s.stat, s.row0, s.data from row_series s join prompt p on p.id = s.prompt_id where p.run_id = ? order by 1, 2, 3, 4, 5",
         "map_chunk": "select p.ord, m.layer, m.head, k.q0, k.data from map_chunk k join map m on m.id = k.map_id join prompt p on p.id = m.prompt_id where p.run_id = ? order by 1, 2, 3, 4",
         "run": "select status from run where id = ?"}
    return {k: c.execute(s, (r,)).fetchall() for k, s in q.items()}
want = run(whole, 1)
ids = [i for i, in sqlite3.connect(db).execute("select id from run order by 1")]
assert ids == list(range(1, n + 1)), ids
for r in ids: assert run(db, r) == want, f"run {r}"
END_PY
check() { python3 "$tmp/check.py" "$@" "$base"; }
each() { # the recordings in the background ended well, and said nothing
    ok=0
    for p in $pids; do wait "$p" || ok=1; done
    [ $ok = 0 ] && [ ! -s "$tmp/said" ]
}
record() { "$HEADSCOPE" record "$m" -f "$f" --maps all -q -o "$1"; }

# hold DB HOW: another process takes a lock and keeps it until `let_go`.
hold() {
    rm -f "$tmp/held" "$tmp/go"
    mkfifo "$tmp/held" "$tmp/go"
    python3 -c 'import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute(sys.argv[2])
if sys.argv[2] == "begin": db.execute("select count(*) from run").fetchone()
open(sys.argv[3], "w").write("held")
open(sys.argv[4]).read()' "$1" "$2" "$tmp/held" "$tmp/go" &
    holder=$!
    cat "$tmp/held" >/dev/null
}
let_go() {
    echo >"$tmp/go"
    wait "$holder"
}

# ---- recorders ------------------------------------------------------------------------------
several() { # into a file that none of them has made yet
    : >"$tmp/said"
    pids=
    for i in 1 2 3; do
        "$HEADSCOPE" record "$m" -f "$f" --maps all -q -o "$tmp/several.db" >/dev/null 2>>"$tmp/said" &
        pids="$pids $!"
    done
    each && check "$tmp/several.db" 3 && [ ! -e "$tmp/several.db-wal" ]
}
t "three recorders at once" several
resumers() { # of the same run: one does it, the other finds it done or says that it is being done
    timeout -s KILL 0.08 "$HEADSCOPE" record "$m" -f "$f" --maps all -q -o "$tmp/resumed.db" >/dev/null 2>&1
    "$HEADSCOPE" record "$m" -f "$f" --maps all -q -o "$tmp/resumed.db" --resume >/dev/null 2>"$tmp/said.1" &
    one=$!
    "$HEADSCOPE" record "$m" -f "$f" --maps all -q -o "$tmp/resumed.db" --resume >/dev/null 2>"$tmp/said.2" &
    two=$!
    wait $one; one=$?
    wait $two; two=$?
    cat "$tmp/said.1" "$tmp/said.2" >"$err"
    case $one$two in
    00) [ ! -s "$err" ] && runs=$("$HEADSCOPE" runs --db "$tmp/resumed.db" --csv | tail -n +2 | wc -l) ;;
    01 | 10) [ "$(wc -l <"$err")" = 1 ] && says 'another process writes the same run: let it finish' && runs=1 ;;
    *) false ;;
    esac && check "$tmp/resumed.db" "$runs"
    rc=$?
    rm -f "$tmp"/resumed.db*
    return $rc
}
resumed() { for i in 1 2 3 4; do resumers || return 1; done; }
t "two go on with the same run" resumed
both() { # observers beside a recorder
    cp "$base" "$tmp/both.db"
    : >"$tmp/said"
    "$HEADSCOPE" record "$m" -f "$f" --maps all -q -o "$tmp/both.db" >/dev/null 2>>"$tmp/said" &
    pids=$!
    "$HEADSCOPE" observe 1 spread -q --db "$tmp/both.db" >/dev/null 2>>"$tmp/said" &
    pids="$pids $!"
    each && check "$tmp/both.db" 2 &&
    exits 0 query "select count(*) n from analysis_run where source = 'offline'" --db "$tmp/both.db" --csv && prints '^30$'
}
t "an observer beside a recorder" both

# ---- readers --------------------------------------------------------------------------------
watching() { # what a reader sees grows by whole prompts
    "$HEADSCOPE" dataset repeat:k=24,n=120 --n-vocab 40 -o "$tmp/long.jsonl"
    "$HEADSCOPE" record "$m" -f "$tmp/long.jsonl" --maps all --ctx 64 -q -o "$tmp/watch.db" >/dev/null 2>"$tmp/said" &
    writer=$!
    last=-1 seen=0
    while kill -0 $writer 2>/dev/null; do
        hs query 'select (select count(*) from prompt) p, (select count(*) from map) m, (select count(*) from token) t' --csv --db "$tmp/watch.db" || {
            [ $rc != 1 ] && [ $rc != 3 ] && return 1
            continue # not made yet
        }
        IFS=, read -r p maps tokens <<END
$(tail -n 1 "$out")
END
        [ "$p" -ge "$last" ] && [ "$maps" = $((p * 8)) ] && [ "$tokens" = $((p * 48)) ] || return 1
        [ "$p" = "$last" ] || seen=$((seen + 1))
        last=$p
    done
    wait $writer && [ ! -s "$tmp/said" ] && echo "#   seen at $seen moments" && [ $seen -ge 1 ]
}
t "a reader beside a recorder" watching
cp "$base" "$tmp/lock.db"
hold "$tmp/lock.db" begin
t "a reader beside a reader that stays" exits 0 heads --metric sink_alpha0 --db "$tmp/lock.db"
busy() { exits 1 "$@" && says "lock.db: writing: another process is using it: wait for it, or use another file"; }
t "a recorder beside a reader that stays" busy record "$m" -f "$f" -o "$tmp/lock.db"
let_go
hold "$tmp/lock.db" 'begin immediate'
t "a reader beside a writer" exits 0 heads --metric sink_alpha0 --db "$tmp/lock.db"
t "an export beside a writer" exits 0 export --db "$tmp/lock.db" -o "$tmp/lock.npz"
t "a recorder beside a writer that stays" busy record "$m" -f "$f" -o "$tmp/lock.db"
t "an observer beside a writer that stays" busy observe 1 spread --db "$tmp/lock.db"
let_go
freed() { record "$tmp/lock.db" >"$out" 2>"$err" && check "$tmp/lock.db" 2; }
t "and once it is gone" freed
hold "$tmp/lock.db" 'begin exclusive'
locked() { exits 1 runs --db "$tmp/lock.db" && says 'another process is using it'; }
t "a reader beside one who keeps all others out" locked
let_go
waits() { # a lock that is given back in time
    hold "$tmp/lock.db" 'begin exclusive'
    (sleep 1; echo >"$tmp/go") &
    exits 0 runs --db "$tmp/lock.db" && wait
}
t "a reader waits for a moment" waits
stopped() { # a writer that died leaves nothing that others wait for
    hold "$tmp/lock.db" 'begin immediate'
    kill -9 "$holder"
    wait "$holder" 2>/dev/null
    record "$tmp/lock.db" >"$out" 2>"$err" && check "$tmp/lock.db" 3
}
t "a writer that was killed" stopped
finish
