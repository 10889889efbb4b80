# What the machine can do to a command: no room, no rights, no memory, names and files that are
# none. Each ends in one line and status 1 (3 for content that is not a model's or a database's),
# leaves no half-written file, and what was committed before stays and can be gone on from.
. tests/cli/lib.sh
m=$DATA/llama_gqa.gguf
f=$tmp/p.jsonl
"$HEADSCOPE" dataset repeat:k=20,n=30 --n-vocab 40 -o "$f"
db=$tmp/run.db
hs record "$m" -f "$f" --maps all --acts logits -o "$db"

record() { exits "$1" record "$m" -f "$f" --maps all --acts logits -o "$2"; }
leaves() { # leaves PATTERN: no file of that pattern; an unfinished output is named .part
    [ -z "$(find "$tmp" -name "$1" -o -name '*.part')" ]
}
sound() { # sound DB N: the database is sound and holds N prompts or more, and less than all
    python3 - "$@" <<'END_PY'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
assert db.execute("pragma integrity_check").fetchone() == ("ok",)
n, = db.execute("select count(*) from prompt").fetchone()
sys.exit(not int(sys.argv[2]) <= n < 30)
END_PY
}

# ---- no room --------------------------------------------------------------------------------
within() { # within KB COMMAND...: no file grows past it, and a write fails as on a full disk
    python3 -c 'import os, resource, sys # Python ignores SIGXFSZ, and so does what it becomes
limit = int(sys.argv[1]) * 1000
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
os.execv(sys.argv[2], sys.argv[2:])' "$@"
}
beyond() { # the messages go through a pipe: a limit on files would cut the file they are in
    text=$(within "$1" "$HEADSCOPE" record "$m" -f "$f" --maps all --acts logits -o "$2" 2>&1 >/dev/null)
    rc=$?
    printf '%s\n' "$text" >"$err"
    [ $rc = 1 ] && [ "$(wc -l <"$err")" = 1 ] && says "^headscope: .*$2"
}
within_dfl() { # the same where nobody ignores SIGXFSZ for it
    python3 -c 'import resource, subprocess, sys
limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))
sys.exit(subprocess.run(sys.argv[1:], preexec_fn=limit, restore_signals=True, stderr=subprocess.PIPE).returncode != 1)' \
        "$HEADSCOPE" record "$m" -f "$f" -o "$tmp/signal.db"
}
t "the signal of a file limit is no end" within_dfl
tight() { beyond 8 "$tmp/tight.db" && record 0 "$tmp/tight.db"; }
t "no room for a schema" tight
halfway() {
    beyond 1500 "$tmp/half.db" && sound "$tmp/half.db" 1 && exits 0 show --db "$tmp/half.db" &&
        exits 0 record "$m" -f "$f" --maps all --acts logits -o "$tmp/half.db" --resume &&
        exits 0 show --db "$tmp/half.db" --json && json 'd["run"] == 1 and d["prompts"] == 30 and d["status"] == "complete"'
}
t "no room halfway; then resumed" halfway
output() {
    text=$(within 4 "$HEADSCOPE" "$@" 2>&1 >/dev/null)
    rc=$?
    printf '%s\n' "$text" >"$err"
    [ $rc = 1 ] && [ "$(wc -l <"$err")" = 1 ] && says "^headscope: .*out\." && leaves 'out.*'
}
t "no room for an export" output export --db "$db" -o "$tmp/out.npz"
t "nor for another" output export --db "$db" -o "$tmp/out.safetensors"
t "no room for a picture" output heatmap --db "$db" --grid entropy_nats --dpi 200 -o "$tmp/out.png"
kept() { # a file that is there stays as it was
    exits 0 export --db "$db" --what tokens -o "$tmp/kept.npz" && cp "$tmp/kept.npz" "$tmp/was" &&
        ! within 4 "$HEADSCOPE" export --db "$db" -o "$tmp/kept.npz" 2>"$err" && cmp "$tmp/was" "$tmp/kept.npz"
}
t "what an output would have replaced stays" kept
full() {
    "$HEADSCOPE" "$@" >/dev/full 2>"$err"
    [ $? = 1 ] && [ "$(wc -l <"$err")" = 1 ] && says 'cannot write' && ! says Success
}
if [ -c /dev/full ]; then
    t "little to a full device" full runs --db "$db"
    t "much to a full device" full query 'select * from token' --csv --db "$db"
    t "JSON to a full device" full heads --metric entropy_nats --json --db "$db"
    device() { "$HEADSCOPE" dataset repeat --n-vocab 40 -o /dev/full 2>"$err"; [ $? = 1 ] && [ -c /dev/full ]; }
    [ "$(id -u)" = 0 ] || t "a device is written to, not replaced" device
fi
pipe() { # a reader who leaves is no failure to speak of
    "$HEADSCOPE" query 'select a.*, b.* from token a, token b limit 20000' --csv --db "$db" 2>"$err" | head -n 1 >"$out"
    [ ! -s "$err" ] && [ "$(wc -l <"$out")" = 1 ]
}
t "a closed pipe" pipe
closed() { # and the database does not end up as file 1
    "$HEADSCOPE" record "$m" -f "$f" -o "$tmp/closed.db" >&- 2>"$err"
    [ $? = 1 ] && [ "$(wc -l <"$err")" = 1 ] && exits 0 show --db "$tmp/closed.db" --json && json 'd["prompts"] == 30'
}
t "standard output is closed" closed
closed_png() {
    "$HEADSCOPE" heatmap --db "$db" --grid entropy_nats -o "$tmp/closed.png" >&- 2>/dev/null
    exits 0 heatmap --db "$db" --grid entropy_nats -o "$tmp/open.png" && cmp "$tmp/open.png" "$tmp/closed.png"
}
t "and nothing strays into a picture" closed_png

# ---- a full disk ----------------------------------------------------------------------------
disk=$tmp/disk
mkdir "$disk"
room() { mount -o "remount,size=$1k" "$disk"; }
same() { # same A B: databases of the same content
    python3 -c 'import sys
sys.path.insert(0, "tests/cli")
import dbcheck
sys.exit(dbcheck.differs(*(dbcheck.content(p) for p in sys.argv[1:])))' "$@"
}
filled() { # filled KB: the message names the file; then there is room, and it goes on
    rm -f "$disk"/*
    room "$1"
    record 1 "$disk/run.db" && says "$disk/run.db: writing: the disk is full: .* goes on with --resume" || return 1
    room 50000
    exits 0 record "$m" -f "$f" --maps all --acts logits -o "$disk/run.db" --resume && same "$disk/run.db" "$db"
}
brimful() { # brimful KB FILE ARGS...: no room for an output
    rm -f "$disk"/*
    room "$1"
    kb=$1 file=$2
    shift 2
    exits 1 "$@" -o "$disk/$file" && says "^headscope: $disk/$file: cannot write: No space left on device: free some space" && [ -z "$(ls "$disk")" ]
}
if mount -t tmpfs -o size=64k none "$disk" 2>/dev/null; then
    trap 'umount "$disk"; rm -rf "$tmp"' EXIT
    for kb in 40 500 800 1300 2000; do t "a disk of $kb kB" filled $kb; done
    for kb in 4 24; do
        t "a npz on $kb kB" brimful $kb a.npz export --db "$db"
        t "safetensors on $kb kB" brimful $kb a.safetensors export --db "$db"
        t "CSV on $kb kB" brimful $kb a.csv export --db "$db" --what stats
        t "a picture on $kb kB" brimful $kb a.png heatmap --db "$db" --grid entropy_nats --dpi 300
        t "a data set on $kb kB" brimful $kb a.jsonl dataset repeat:k=100,n=400 --n-vocab 400
    done
    rm -f "$disk"/*
    room 50000
    stuck() { # stuck KB ARGS...: stopped by a full disk, and gone on
        rm -f "$disk"/*
        room "$1"
        shift
        exits 1 "$@" -q -o "$disk/run.db" && says "$disk/run.db: writing: the disk is full: .* goes on with --resume" && room 50000 &&
            exits 0 "$@" -q -o "$disk/run.db" --resume && exits 0 "$@" -q -o "$disk/whole.db" && same "$disk/run.db" "$disk/whole.db"
    }
    t "a sweep on a full disk" stuck 100 sweep "$m" -f "$f" --op zero,mean --prune asc
    python3 - >"$tmp/pairs.jsonl" <<'END_PY'
import json
for i in range(30):
    t = [3 + (7 * i + 5 * k) % 40 for k in range(24)]
    print(json.dumps({"tokens": t, "corrupt_tokens": [t[0] - 1, *t[1:]], "answer": 4, "wrong": 5, "needle": [2, 4]}))
END_PY
    for kb in 40 300; do
        t "lenses on $kb kB" stuck $kb lens "$m" -f "$tmp/pairs.jsonl" --pos all --dla top
        t "patching on $kb kB" stuck $kb patch "$m" -f "$tmp/pairs.jsonl" --pos each --point z --by gradient
        t "edges on $kb kB" stuck $kb patch "$m" -f "$tmp/pairs.jsonl" --edges
    done
    t "influence on 100 kB" stuck 100 influence "$m" -f "$tmp/pairs.jsonl" --heads L0H0 --control 30
    t "streaming heads on 100 kB" stuck 100 duo "$m" -f "$tmp/pairs.jsonl" --sink 1 --recent 4
    t "retrieval on 110 kB" stuck 110 retrieve "$m" -f "$tmp/pairs.jsonl" --max-new 4
    t "weights on 80 kB" stuck 80 weights "$m" --composition 3 --neurons 3
    merged() {
        for i in 0 1; do exits 0 sweep "$m" -f "$f" -q -o "$tmp/part.$i.db" --shard $i/2 || return 1; done
        rm -f "$disk"/*
        room 100
        exits 1 merge "$disk/all.db" "$tmp/part.0.db" "$tmp/part.1.db" && says '/all.db.*: the disk is full: free some space and run it again' && [ -z "$(ls "$disk")" ]
    }
    t "a merge on a full disk" merged
    printed() {
        room 4
        "$HEADSCOPE" query 'select * from token' --csv --db "$db" >"$disk/out.csv" 2>"$err"
        [ $? = 1 ] && [ "$(wc -l <"$err")" = 1 ] && says 'cannot write to standard output'
    }
    t "what is printed" printed
else
    skip "a full disk" "this user may not mount one"
fi

# ---- no rights ------------------------------------------------------------------------------
mkdir "$tmp/folder" "$tmp/ro"
t "a folder as the database" record 1 "$tmp/folder"
t "a device as the database" record 1 /dev/null
t "a folder to read" exits 1 runs --db "$tmp/folder"
mkdir "$tmp/out.png" "$tmp/out.npz"
t "a folder as the picture" exits 1 heatmap --db "$db" --grid entropy_nats -o "$tmp/out.png"
t "a folder as the export" exits 1 export --db "$db" -o "$tmp/out.npz"
cp "$db" "$tmp/ro/run.db"
echo old >"$tmp/ro/old.npz"
chmod 444 "$tmp/ro/run.db" "$tmp/ro/old.npz"
printf '{"tokens":[1,2,3],"corrupt_tokens":[1,3,3],"answer":4,"wrong":5,"needle":[1,2]}\n' >"$tmp/pair.jsonl"
chmod 711 "$tmp"
mkdir "$tmp/own"
cp "$tmp/ro/old.npz" "$tmp/own"
chmod 777 "$tmp/own"
chmod 444 "$tmp/own/old.npz"
chmod 555 "$tmp/ro"
root=$HEADSCOPE
if [ "$(id -u)" = 0 ]; then # who may write everywhere becomes somebody who may not
    printf '#!/bin/sh\nexec python3 -c "import os, sys\nos.setgid(65534)\nos.setuid(65534)\nos.execv(sys.argv[1], sys.argv[1:])" "%s" "$@"\n' "$root" >"$tmp/nobody"
    chmod 755 "$tmp/nobody"
    HEADSCOPE=$tmp/nobody
fi
if hs version; then
    t "a folder that is read only" record 1 "$tmp/ro/new.db"
    t "a database that is read only" record 1 "$tmp/ro/run.db"
    for words in "influence --heads L0H0" "lens" "patch --pos each" "patch --path" "patch --edges" "retrieve --max-new 2" "duo --sink 0 --recent 1"; do
        t "${words%% *} into it" exits 1 ${words%% *} "$m" -f "$tmp/pair.jsonl" ${words#${words%% *}} -o "$tmp/ro/run.db"
    done
    t "weights into it" exits 1 weights "$m" -o "$tmp/ro/run.db"
    t "observers on it" exits 1 observe 1 spread --db "$tmp/ro/run.db"
    t "it can be read" exits 0 heads --metric entropy_nats --db "$tmp/ro/run.db"
    elsewhere() { exits 1 "$@" && says 'cannot write: Permission denied: write elsewhere'; }
    t "a picture into it" elsewhere heatmap --db "$tmp/ro/run.db" --grid entropy_nats -o "$tmp/ro/out.png"
    t "over a file that is read only" elsewhere export --db "$tmp/ro/run.db" -o "$tmp/own/old.npz"
    t "which stays" grep -q '^old$' "$tmp/own/old.npz"
    : >"$tmp/secret.gguf" && chmod 0 "$tmp/secret.gguf"
    t "a model that may not be read" exits 1 info "$tmp/secret.gguf"
    t "prompts that may not be read" exits 1 record "$m" -f "$tmp/secret.gguf" -o "$tmp/no.db"
else
    skip "files and folders without rights" "nobody else may run this"
fi
HEADSCOPE=$root
chmod 755 "$tmp/ro"

# ---- names ----------------------------------------------------------------------------------
long=$(printf '%0251d' 0)
t "a long name" exits 0 export --db "$db" --what tokens -o "$tmp/$long.npz"
todo() { exits 1 export --db "$db" --what tokens -o "$1" && says "cannot write: .*: $2"; }
t "a longer one" todo "$tmp/0$long.npz" 'choose a shorter one'
t "a folder that is not there" todo "$tmp/none/out.npz" 'make its folder first'
t "a file as a folder" todo "$tmp/p.jsonl/out.npz" 'make its folder first'
ln -s "$tmp/none" "$tmp/link.npz"
t "a link to nothing" todo "$tmp/link.npz" 'remove it'
ln -sf "$db" "$tmp/link.npz"
cp "$m" "$tmp/model.gguf"
kept() { # kept FILE STATUS ARGS...: refused, and the file is as it was
    cp "$1" "$tmp/was"
    kept=$1
    shift
    exits "$@" && cmp "$tmp/was" "$kept" && leaves no.part
}
t "an export over its database" kept "$db" 1 export --db "$db" -o "$tmp/link.npz"
t "a data set over a database" kept "$db" 1 dataset repeat --n-vocab 40 -o "$db"
t "a data set over a model" kept "$tmp/model.gguf" 1 dataset repeat --n-vocab 40 -o "$tmp/model.gguf"
t "a recording over its model" kept "$tmp/model.gguf" 3 record "$tmp/model.gguf" -f "$f" -o "$tmp/model.gguf"
t "a recording over its prompts" kept "$f" 3 record "$m" -f "$f" -o "$f"

# ---- no memory ------------------------------------------------------------------------------
lean() { # lean COMMAND...: at every limit either done, or one line and status 1
    python3 - "$HEADSCOPE" "$@" <<'END_PY'
import resource, subprocess, sys
ends = set()
for mb in [*range(32, 116, 12), 160, 220, 288]: # fonts are mapped, and take the most
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (mb << 20, mb << 20))
    p = subprocess.run(sys.argv[1:], preexec_fn=limit, capture_output=True, text=True)
    if p.returncode == 127: continue # the libraries themselves do not fit
    ends.add(p.returncode)
    if p.returncode and (p.returncode != 1 or p.stderr.count("\n") != 1 or not p.stderr.startswith("headscope: ")):
        print("#  ", mb, "MiB:", p.returncode, repr(p.stderr[:300]))
        sys.exit(1)
sys.exit(0 not in ends)
END_PY
}
if [ -n "${HS_SANITIZED-}" ]; then
    skip "limits of memory" "sanitizers reserve more"
else
    once() { rm -f "$tmp/lean.db" && hs record "$m" -f "$f" -o "$tmp/lean.db" && lean "$@"; }
    cp "$db" "$tmp/seen.db"
    t "memory for recording" once record "$m" -f "$f" --maps all --observe sinks,massive,stripes --threads 2 -o "$tmp/lean.db"
    t "and the database is sound" exits 0 runs --db "$tmp/lean.db"
    t "memory for evaluating" lean eval "$m" -f "$f"
    t "memory for decoding" lean generate "$m" -f "$f" -n 3
    t "memory for queries" lean query 'select att_row(map_id, 1) from map_chunk' --db "$db"
    t "memory for exports" lean export --db "$db" -o "$tmp/lean.npz"
    t "memory for observers" lean observe 1 stripes --db "$tmp/seen.db"
    t "memory for pictures" lean heatmap --db "$db" --grid entropy_nats -o "$tmp/lean.png"
    t "memory for maps" lean heatmap --db "$db" --head L0H0 -o "$tmp/lean.svg"
    t "memory for the laws" lean verify "$m" --threads 2
    t "memory for a look at a model" lean info "$m"
    t "memory for tokens" lean tokens "$DATA/tok_smollm" -p 'Hello, world'
    t "memory for heads" lean heads --metric sink_alpha0 --db "$db"
fi

# ---- files that are none --------------------------------------------------------------------
: >"$tmp/empty.gguf"
: >"$tmp/empty.safetensors"
: >"$tmp/empty.jsonl"
: >"$tmp/empty.db"
mkdir "$tmp/none" "$tmp/hollow"
: >"$tmp/hollow/config.json"
t "an empty GGUF" exits 3 info "$tmp/empty.gguf"
t "an empty safetensors" exits 3 info "$tmp/empty.safetensors"
t "an empty golden file" exits 3 verify "$m" --golden "$tmp/empty.safetensors"
t "no prompts" exits 2 record "$m" -f "$tmp/empty.jsonl" -o "$tmp/no.db"
t "an empty database" exits 3 runs --db "$tmp/empty.db"
t "an empty folder" exits 1 info "$tmp/none"
t "an empty config.json" exits 3 info "$tmp/hollow"
t "a folder as prompts" exits 1 record "$m" -f "$tmp/none" -o "$tmp/no.db"
t "a device as a model" exits 1 info /dev/zero
t "a device without end as prompts" exits 3 record "$m" -f /dev/zero -o "$tmp/no.db"
mkfifo "$tmp/fifo"
waits() { # nobody writes to the FIFO: it is refused, not waited for
    timeout -k 1 20 "$HEADSCOPE" "$@" >"$out" 2>"$err" </dev/null
    [ $? = 1 ] && [ "$(wc -l <"$err")" = 1 ] && says '^headscope: .*fifo'
}
t "a FIFO as a model" waits info "$tmp/fifo"
t "a FIFO as a golden file" waits verify "$m" --golden "$tmp/fifo"
t "a FIFO as the database" waits runs --db "$tmp/fifo"
fed() { # prompts may come through one
    cat "$f" >"$tmp/fifo" &
    exits 0 record "$m" -f "$tmp/fifo" -o "$tmp/fed.db" --json && wait && json 'd["prompts"] == 30'
}
t "prompts through a FIFO" fed
t "nothing was begun" leaves no.db
finish
