# headscope merge: sharded sweeps are the unsharded one to the bit; a shard that was killed resumes;
# what does not belong together is refused.
. tests/cli/lib.sh
m=$DATA/gpt2_masks.gguf
p=$tmp/p.jsonl
"$HEADSCOPE" dataset repeat:k=7,n=7 --n-vocab 40 -o "$p"
same() {
    PYTHONPATH=tests/cli python3 -c 'import dbcheck, sys
what = dbcheck.differs(dbcheck.content(sys.argv[1]), dbcheck.content(sys.argv[2]))
if what: sys.exit("#   " + what)' "$1" "$2"
}
sweep() { "$HEADSCOPE" sweep "$m" -f "$p" -q "$@" >"$out" 2>"$err"; }
shards() { # shards N OPTIONS...: files part.0.db ...
    n=$1
    shift
    for i in $(seq 0 $((n - 1))); do sweep -o "$tmp/part.$i.db" --shard "$i/$n" "$@" || return 1; done
}
clear() { rm -f "$tmp"/part.*.db "$tmp/all.db" "$tmp/whole.db"; }
merged() { # merged N OPTIONS...
    n=$1
    shift
    clear
    sweep -o "$tmp/whole.db" "$@" && shards "$n" "$@" && exits 0 merge "$tmp/all.db" "$tmp"/part.*.db --json &&
        json "d['prompts'] % 7 == 0 and d['db'] == '$tmp/all.db'" && same "$tmp/whole.db" "$tmp/all.db"
}
t "two shards" merged 2
t "three, with two ops and three metrics" merged 3 --op mean,resample --metric 'nll,kl,ppl=exp(nll)'
t "as many as prompts" merged 7 --heads 'L*M'
t "gradients" merged 2 --by gradient
prints_same() { # the merged file gives what the whole one does
    merged 3 --op zero,mean && for q in sweep sweep_prompts; do
        exits 0 query "$q" --run 2 --db "$tmp/all.db" --json && [ ! -s "$err" ] && cp "$out" "$tmp/a.json" && exits 0 query "$q" --run 2 --db "$tmp/whole.db" --json && cmp "$out" "$tmp/a.json" || return 1
    done
}
t "queries give the same" prints_same
half() { exits 0 heads --metric delta_nll --db "$tmp/part.1.db" && says 'run 2 is shard 1/3: 2 of 7 prompts'; }
t "a shard is not shown as a whole" half
prune() { # then the curve, by the merged importance
    exits 0 sweep "$m" -f "$p" -o "$tmp/all.db" --prune asc --rank 1 && exits 5 sweep "$m" -f "$p" -o "$tmp/part.0.db" --prune asc --rank 1 && says 'is shard 0/3'
}
t "pruning curves come after it" prune

killed() { # a shard that was stopped at any moment
    "$HEADSCOPE" dataset repeat:k=14,n=160 --n-vocab 40 -o "$p"
    clear
    sweep -o "$tmp/whole.db" --op zero,mean && sweep -o "$tmp/part.0.db" --op zero,mean --shard 0/2 || return 1
    for s in 0.02 0.05 0.1 0.2 0.4; do
        rm -f "$tmp"/part.1.db* "$tmp/all.db"
        timeout -s KILL $s "$HEADSCOPE" sweep "$m" -f "$p" -q -o "$tmp/part.1.db" --op zero,mean --shard 1/2 >/dev/null 2>&1
        if [ $? = 137 ] && [ -s "$tmp/part.1.db" ] && "$HEADSCOPE" query 'select 1 from run limit 1' --db "$tmp/part.1.db" >/dev/null 2>&1; then
            hs merge "$tmp/all.db" "$tmp/part.0.db" "$tmp/part.1.db"
            case $rc in
            0) same "$tmp/whole.db" "$tmp/all.db" || return 1 ;; # all was there when the kill came
            1 | 5) ;;
            *) return 1 ;;
            esac
            rm -f "$tmp/all.db"
        fi
        sweep -o "$tmp/part.1.db" --op zero,mean --shard 1/2 --resume && exits 0 merge "$tmp/all.db" "$tmp/part.0.db" "$tmp/part.1.db" && same "$tmp/whole.db" "$tmp/all.db" || return 1
    done
}
t "a shard that was killed and resumed" killed

# ---- what is refused ----------------------------------------------------------------------------

"$HEADSCOPE" dataset repeat:k=7,n=7 --n-vocab 40 -o "$p"
clear
shards 2
refuses() { # refuses STATUS PATTERN FILES...
    want=$1 pattern=$2
    shift 2
    exits "$want" merge "$tmp/all.db" "$@" && says "$pattern" && [ ! -e "$tmp/all.db" ]
}
a=$tmp/part.0.db b=$tmp/part.1.db c=$tmp/part.c.db
t "a shard that is missing" refuses 5 'shard 1 of 2 is missing' "$a"
t "one that comes twice" refuses 1 'shard 0/2 comes twice' "$a" "$a"
other() { # other PATTERN OPTIONS...: the second shard made with them
    pattern=$1
    shift
    rm -f "$c"
    "$HEADSCOPE" sweep "$m" -f "$p" -q -o "$c" "$@" >/dev/null 2>&1 && refuses 1 "$pattern" "$a" "$c"
}
t "of another op" other 'have different options, op "zero" and "mean"' --shard 1/2 --op mean
t "of other metrics" other 'have different options, metrics' --shard 1/2 --metric kl
t "of other heads" other 'have different options, n_unit' --shard 1/2 --heads L0H0
t "of more shards" other 'is shard 0/2, .* shard 1/3' --shard 1/3
t "no shard" other 'no shard of a sweep is in it'
m=$DATA/llama_gqa.gguf
t "of another model" other 'have different models' --shard 1/2
m=$DATA/gpt2_masks.gguf
prompts() { head -n 6 "$p" >"$tmp/six.jsonl" && rm -f "$c" && "$HEADSCOPE" sweep "$m" -f "$tmp/six.jsonl" -q -o "$c" --shard 1/2 >/dev/null && refuses 1 'have different prompts' "$a" "$c"; }
t "of other prompts" prompts
version() { rm -f "$c" && cp "$b" "$c" && python3 -c 'import sqlite3, sys
d = sqlite3.connect(sys.argv[1]); d.execute("update run set tool_version = tool_version || 1"); d.commit()' "$c" && refuses 1 'one version' "$a" "$c"; }
t "of another version" version
unfinished() { rm -f "$c" && cp "$b" "$c" && python3 -c 'import sqlite3, sys
d = sqlite3.connect(sys.argv[1]); d.execute("update run set status = \"interrupted\""); d.commit()' "$c" && refuses 5 'shard 1/2 is unfinished, 3 prompts so far: finish it with sweep --resume' "$a" "$c"; }
t "one that is unfinished" unfinished
t "no such file" refuses 1 'no such database' "$a" "$tmp/none.db"
not_ours() { echo hello >"$tmp/x.db"; refuses 3 'not a database' "$a" "$tmp/x.db"; }
t "no database" not_ours
there() { exits 0 merge "$tmp/all.db" "$a" "$b" && cp "$tmp/all.db" "$tmp/copy.db" && exits 1 merge "$tmp/all.db" "$b" "$a" && says 'is there already' && cmp "$tmp/all.db" "$tmp/copy.db"; }
t "a database is never replaced" there
itself() { exits 1 merge "$a" "$a" "$b" && says 'is there already'; }
t "nor one of the shards" itself
t "nothing to merge" exits 2 merge "$tmp/new.db"
finish
