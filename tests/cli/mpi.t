# A sweep under a real mpirun: --shard auto makes shards of its processes, one that was killed resumes,
# and the merged file is the unsharded one.
. tests/cli/lib.sh
command -v mpirun >/dev/null || {
    skip "shards under mpirun" "there is no mpirun here"
    finish
    exit 0
}
m=$DATA/llama_gqa.gguf
p=$tmp/p.jsonl
"$HEADSCOPE" dataset repeat:k=24,n=300 --n-vocab 40 -o "$p"
# As root in a container too, and on fewer cores than processes.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export PRTE_ALLOW_RUN_AS_ROOT=1 PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1
mpi() { timeout 120 mpirun -n "$@" >"$out" 2>"$err" </dev/null; }
mpi 2 true || { # a sandbox may forbid it
    skip "shards under mpirun" "mpirun cannot start two processes here"
    finish
    exit 0
}
sweep() { echo sweep "$m" -f "$p" --op zero,mean --metric nll,kl --threads 1 -o "$1"; }
same() {
    PYTHONPATH=tests/cli python3 -c 'import dbcheck, sys
what = dbcheck.differs(dbcheck.content(sys.argv[1]), dbcheck.content(sys.argv[2]))
if what: sys.exit("#   " + what)' "$1" "$2"
}
# shellcheck disable=SC2046 # words
"$HEADSCOPE" $(sweep "$tmp/whole.db") -q >/dev/null
# shellcheck disable=SC2046
two() { mpi 2 "$HEADSCOPE" $(sweep "$tmp/part.db") --shard auto && says 'shard 0/2: into .*part.0.db' && says 'shard 1/2: into .*part.1.db' && [ ! -e "$tmp/part.db" ]; }
t "two processes write two files" two
joined() { exits 0 merge "$tmp/all.db" "$tmp"/part.?.db && same "$tmp/whole.db" "$tmp/all.db"; }
t "merged they are the unsharded run" joined

cat >"$tmp/one" <<END
#!/bin/sh
# Process 1 is killed after a while, which mpirun does not notice.
if [ "\$OMPI_COMM_WORLD_RANK" = 1 ]; then
    timeout -s KILL "\$KILL_AFTER" "$HEADSCOPE" "\$@"
    exit 0
fi
exec "$HEADSCOPE" "\$@"
END
chmod +x "$tmp/one"
killed() {
    some=0
    for s in 0.05 0.1 0.2 0.4; do
        rm -f "$tmp"/k.?.db* "$tmp/k.db"
        # shellcheck disable=SC2046
        KILL_AFTER=$s mpi 2 "$tmp/one" $(sweep "$tmp/k.db") --shard auto || return 1
        hs merge "$tmp/k.db" "$tmp/k.0.db" "$tmp/k.1.db" && continue # it had finished
        [ ! -e "$tmp/k.db" ] || return 1
        some=$((some + 1))
        # shellcheck disable=SC2046
        mpi 2 "$HEADSCOPE" $(sweep "$tmp/k.db") --shard auto --resume && says 'is complete already' || return 1
        exits 0 merge "$tmp/k.db" "$tmp"/k.?.db && same "$tmp/whole.db" "$tmp/k.db" || return 1
    done
    [ $some -gt 0 ]
}
t "one is killed, all resume, merged they are the unsharded run" killed
many() { head -n 2 "$p" >"$tmp/two.jsonl" && ! mpi 3 "$HEADSCOPE" sweep "$m" -f "$tmp/two.jsonl" -o "$tmp/m.db" --shard auto && says '3 shards of 2 prompts'; }
t "more processes than prompts" many
finish
