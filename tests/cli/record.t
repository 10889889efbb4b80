# Recording, and the commands that read what was recorded, on a tiny model.
. tests/cli/lib.sh
m=$DATA/llama_gqa.gguf
export HEADSCOPE_DB=$tmp/run.db
printf '%s\n' '{"id": "a", "tokens": [1, 2, 3, 4, 5, 6, 7, 8], "note": "kept"}' \
    '{"id": "b", "tokens": [9, 8, 7, 9, 8, 7, 9, 8, 7], "period": 3}' >"$tmp/p.jsonl"

# The content of databases that must be the same in two recordings: every table without the columns
# that tell times and command lines.
cat >"$tmp/content.py" <<'END'
import re, sqlite3, sys
def content(path):
    db = sqlite3.connect(path)
    assert db.execute("pragma integrity_check").fetchone() == ("ok",)
    assert not db.execute("pragma foreign_key_check").fetchall()
    tables = [n for n, in db.execute("select name from sqlite_schema where type = 'table' order by 1")]
    skip = re.compile("_at|wall|second|time|argv|status|duration|_ms|command")
    out = {}
    for t in tables:
        cols = [r[1] for r in db.execute(f"pragma table_info({t})") if not skip.search(r[1])]
        out[t] = db.execute(f"select {', '.join(cols)} from {t} order by {', '.join(cols)}").fetchall()
    return out
a, b = map(content, sys.argv[1:])
bad = [t for t in sorted(set(a) | set(b)) if a.get(t) != b.get(t)]
print("#   tables that differ:", bad) if bad else None
sys.exit(bool(bad))
END
same() { python3 "$tmp/content.py" "$1" "$2"; }

# ---- record ---------------------------------------------------------------------------------
recorded() {
    exits 0 record "$m" -f "$tmp/p.jsonl" --maps all --observe sinks,massive --observe stripes \
        --acts 'resid_post,logits' --label first --json &&
        json 'd["run"] == 1 and d["prompts"] == 2 and d["tokens"] == 17 and d["seconds"] > 0 and d["db"].endswith("run.db")'
}
t "record --json" recorded
again() {
    exits 0 record "$m" -f "$tmp/p.jsonl" --maps all --observe sinks,massive --observe stripes \
        --acts 'resid_post,logits' --label first -o "$tmp/again.db" && same "$HEADSCOPE_DB" "$tmp/again.db"
}
t "two recordings are equal" again
threads() {
    exits 0 record "$m" -f "$tmp/p.jsonl" --maps all --observe sinks,massive --observe stripes \
        --acts 'resid_post,logits' --label first --threads 3 --weights keep -o "$tmp/three.db" &&
        python3 - "$HEADSCOPE_DB" "$tmp/three.db" <<'END'
import sqlite3, sys
a, b = (sqlite3.connect(p).execute("select map_id, q0, data from map_chunk order by 1, 2").fetchall() for p in sys.argv[1:])
sys.exit(a != b or not a)
END
}
t "and their maps do not depend on threads or packing" threads
offline() { # every observer, on decoded rows too: online equals offline to the bit
    all=sinks,hidden_sinks,massive,drains,stripes,echo,spread:from=2
    exits 0 record "$m" -f "$tmp/p.jsonl" --maps all --acts 'v,resid_post' --generate 3 --observe "$all" -o "$tmp/both.db" &&
        exits 0 observe "rows,$all" --model "$m" --db "$tmp/both.db" && python3 - "$tmp/both.db" <<'END'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
runs = db.execute("select prompt_id, name, source, r.id from analysis_run r join analysis a on a.id = r.analysis_id").fetchall()
pairs = {}
for prompt, name, source, run in runs: pairs.setdefault((prompt, name), {})[source] = run
tables = [t for t, in db.execute("select name from sqlite_schema where type = 'table'")
          if any(c[1] == "analysis_run_id" for c in db.execute(f"pragma table_info({t})"))]
n, bad = 0, []
for key, pair in pairs.items():
    for t in tables:
        cols = ", ".join(c[1] for c in db.execute(f"pragma table_info({t})") if c[1] not in ("id", "analysis_run_id"))
        rows = [db.execute(f"select {cols} from {t} where analysis_run_id = ? order by {cols}", (pair.get(s),)).fetchall() for s in ("online", "offline")]
        n += len(rows[0])
        if rows[0] != rows[1]: bad.append((key, t))
if bad or n < 500 or len(pairs) != 16: print("#  ", n, len(pairs), bad)
sys.exit(bool(bad) or n < 500 or len(pairs) != 16)
END
}
t "observers see the same online and offline" offline
plain() { exits 0 record "$m" -f "$tmp/p.jsonl" -o "$tmp/plain.db" && prints '^run 1 in .*: 2 prompts, 17 tokens' && prints 'next: headscope heads'; }
t "record says what to do next" plain
journal() { [ -z "$(ls "$tmp" | grep -E 'db-(wal|shm|journal)')" ]; }
t "nothing but the file is left" journal
stops() { exits "$1" record "$m" -f "$tmp/p.jsonl" -o "$tmp/no.db" $2 && [ ! -e "$tmp/no.db" ]; }
t "no such observer" stops 5 "--observe sinkz"
t "no such hook" stops 5 "--acts hook_nothing"
t "no such head" stops 2 "--maps L9H0"
t "heads that make no sense" stops 2 "--maps five"
t "an unknown parameter" stops 2 "--observe sinks:q=1"
t "an unknown store" stops 2 "--store f64"
not_ours() { echo "not a database, but a text of some length" >"$tmp/text.db" && cp "$tmp/text.db" "$tmp/text" &&
    exits 3 record "$m" -f "$tmp/p.jsonl" -o "$tmp/text.db" && cmp "$tmp/text" "$tmp/text.db"; }
t "a file that is no database is left alone" not_ours
other_db() { python3 -c 'import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.execute("create table t (x)"); d.commit()' "$tmp/other.db" &&
    exits 3 record "$m" -f "$tmp/p.jsonl" -o "$tmp/other.db" && exits 3 runs --db "$tmp/other.db"; }
t "somebody else's database is refused" other_db
no_folder() { exits 1 record "$m" -f "$tmp/p.jsonl" -o "$tmp/no/where.db"; }
t "no folder to write to" no_folder

# ---- resume ---------------------------------------------------------------------------------
complete() {
    cp "$tmp/plain.db" "$tmp/was.db" && exits 0 record "$m" -f "$tmp/p.jsonl" -o "$tmp/plain.db" --resume &&
        same "$tmp/was.db" "$tmp/plain.db"
}
t "--resume of a complete run adds nothing" complete
fresh() { : >"$tmp/empty.db" && exits 0 record "$m" -f "$tmp/p.jsonl" -o "$tmp/empty.db" --resume && same "$tmp/empty.db" "$tmp/plain.db"; }
t "--resume into an empty file starts one" fresh
other_options() { exits 0 record "$m" -f "$tmp/p.jsonl" -o "$tmp/plain.db" --resume --maps all --json && json 'd["run"] == 2'; }
t "other options are another run" other_options
other_ids() {
    sed 's/"a"/"A"/' "$tmp/p.jsonl" >"$tmp/ids.jsonl"
    exits 0 record "$m" -f "$tmp/ids.jsonl" -o "$tmp/plain.db" --resume --json && json 'd["run"] == 3'
}
t "other prompts too" other_ids
spans() {
    exits 0 record "$m" -f "$tmp/p.jsonl" -o "$tmp/plain.db" --resume --span a=1:3 --json && json 'd["run"] == 4' &&
        exits 0 record "$m" -f "$tmp/p.jsonl" -o "$tmp/plain.db" --resume --span a=1:3 --json && json 'd["run"] == 4'
}
t "and other spans" spans
"$HEADSCOPE" dataset repeat:k=20,n=30 --n-vocab 40 -o "$tmp/many.jsonl"
hs record "$m" -f "$tmp/many.jsonl" --observe stripes --maps all -o "$tmp/whole.db"
killed() { # stopped by a signal after a moment, then resumed: the same content
    rm -f "$tmp/killed.db"
    "$HEADSCOPE" record "$m" -f "$tmp/many.jsonl" --observe stripes --maps all -o "$tmp/killed.db" >"$out" 2>"$err" &
    sleep "$2"
    kill "-$1" $! 2>/dev/null
    wait $!
    rc=$?
    [ "$1" = KILL ] || [ $rc = 0 ] || [ $rc = 130 ] || return 1
    if [ $rc = 130 ] && [ -e "$tmp/killed.db" ]; then
        says '--resume' && exits 0 runs --db "$tmp/killed.db" && prints ' interrupted ' || return 1
    fi
    exits 0 record "$m" -f "$tmp/many.jsonl" --observe stripes --maps all -o "$tmp/killed.db" --resume &&
        same "$tmp/whole.db" "$tmp/killed.db"
}
for after in 0.01 0.03 0.06 0.1 0.2; do
    t "killed after $after s and resumed" killed KILL $after
    t "interrupted after $after s and resumed" killed INT $after
done

# ---- generate -------------------------------------------------------------------------------
decoded() {
    exits 0 record "$m" -f "$tmp/p.jsonl" --generate 3 --maps all --acts logits -o "$tmp/gen.db" --json &&
        json '17 < d["tokens"] <= 23' && exits 0 query tokens --db "$tmp/gen.db" --prompt a --json &&
        json '[r[6] for r in d["rows"]] == [0] * 8 + [1] * (len(d["rows"]) - 8) and len(d["rows"]) > 8'
}
t "record --generate appends decoded tokens" decoded
greedy() {
    exits 0 query "select token_id from token where decoded and prompt_id = 1 order by pos" --db "$tmp/gen.db" --json && cp "$out" "$tmp/a" &&
        exits 0 generate "$m" -f "$tmp/p.jsonl" -n 3 --json &&
        python3 -c 'import json,sys; a, b = (json.load(open(f)) for f in sys.argv[1:]); sys.exit([r[0] for r in a["rows"]] != b["prompts"][0]["tokens"])' "$tmp/a" "$out"
}
t "those that generate gives" greedy
rows_of() { # the decoded rows are those of a fresh run over prompt and decoded tokens
    exits 0 query "select token_id from token join prompt on prompt.id = prompt_id where ord = 0 order by pos" --db "$tmp/gen.db" --json &&
        python3 -c 'import json,sys; print(json.dumps({"tokens": [r[0] for r in json.load(open(sys.argv[1]))["rows"]]}))' "$out" >"$tmp/fresh.jsonl" &&
        exits 0 record "$m" -f "$tmp/fresh.jsonl" --maps all --acts logits -o "$tmp/fresh.db" && python3 - "$tmp/gen.db" "$tmp/fresh.db" <<'END'
import sqlite3, sys
def rows(path):
    db = sqlite3.connect(path)
    q = "select layer, head, n_q from map where prompt_id = (select id from prompt where ord = 0) order by 1, 2"
    return db.execute(q).fetchall()
sys.exit(rows(sys.argv[1]) != rows(sys.argv[2]))
END
}
t "maps have a row for every one of them" rows_of
last_row() {
    exits 0 attend --db "$tmp/gen.db" --head L1H2 --from -1 --top 0 --json && cp "$out" "$tmp/a" &&
        exits 0 attend --db "$tmp/fresh.db" --head L1H2 --from -1 --top 0 --json &&
        python3 -c 'import json,sys; a, b = (json.load(open(f))["keys"] for f in sys.argv[1:]); sys.exit(a != b)' "$tmp/a" "$out"
}
t "with the bits of a fresh run" last_row

resumed() {
    exits 0 record "$m" -f "$tmp/p.jsonl" --generate 3 --maps all --acts logits -o "$tmp/n.db" --json && cp "$out" "$tmp/a" &&
        exits 0 record "$m" -f "$tmp/p.jsonl" --generate 3 --maps all --acts logits -o "$tmp/n.db" --resume --json &&
        python3 -c 'import json,sys; a, b = (json.load(open(f))["tokens"] for f in sys.argv[1:]); sys.exit(a != b or a <= 17)' "$tmp/a" "$out"
}
t "a resumed recording counts its tokens as an unbroken one" resumed

# ---- room -----------------------------------------------------------------------------------
# 2 million positions: maps of 2 layers and 4 heads take 64 TB as f32.
python3 -c 'print("{\"tokens\": [" + ",".join(["1"] * 2000000) + "]}")' >"$tmp/long.jsonl"
room() { # were it to begin, the limit would end it
    (ulimit -f 20000 && exits 1 record "$m" -f "$tmp/long.jsonl" --ctx 2000000 -o "$tmp/no.db" $2) &&
        says "take up to $1 " && [ ! -e "$tmp/no.db" ]
}
t "no room for maps" room '64.0 TB' "--maps all"
t "nor for patterns, which are maps" room '64.0 TB' "--acts pattern"
t "nor for both, which are the same" room '64.0 TB' "--acts pattern --maps L0H*"
t "nor for one layer's" room '32.0 TB' "--acts pattern:1"
t "nor for scores" room '64.0 TB' "--acts attn_scores"
t "nor for scores of 16 bits, the least they take" room '32.0 TB' "--acts attn_scores --store u8"
t "nor for both of them" room '128 TB' "--acts pattern,attn_scores"

# ---- reading --------------------------------------------------------------------------------
runs() { exits 0 runs --json && json 'd["runs"][0]["run"] == 1 and d["runs"][0]["label"] == "first" and d["runs"][0]["status"] == "complete"'; }
t "runs" runs
show() { exits 0 show 1 --json && json 'd["arch"] == "llama" and d["prompts"] == 2 and len(d["prompt_list"]) == 2 and d["argv_json"][1] == "record"'; }
t "show" show
t "show for people" exits 0 show
t "no such run" exits 5 show 7
t "a run that is no number" exits 2 show one
t "two runs at once" exits 2 heads 1 --run 2 --metric first_mass
for metric in entropy_nats entropy_norm sink_alpha0 first_mass sink_row_share distance self_mass previous max_weight; do
    has() { exits 0 heads --metric $metric --json && json 'd["run"] == 1 and d["metric"] == "'$metric'" and all(h["value"] is not None for h in d["heads"]) and len({(h["layer"], h["head"]) for h in d["heads"]}) == len(d["heads"]) > 4'; }
    t "$metric of every head without --observe" has
done
sorted() { exits 0 heads --metric entropy_nats --json && json '[h["value"] for h in d["heads"]] == sorted((h["value"] for h in d["heads"]), reverse=True)'; }
t "heads come sorted" sorted
top() { exits 0 heads --metric entropy_nats --top 3 --json && json 'len(d["heads"]) == 3'; }
t "--top" top
one_prompt() { exits 0 heads --metric induction --prompt b --json && json 'all(h["value"] is not None for h in d["heads"])'; }
t "--prompt by id" one_prompt
mean() {
    for p in 0 1; do hs heads --metric entropy_nats --sort head --prompt $p --json && cp "$out" "$tmp/h$p"; done
    hs heads --metric entropy_nats --sort head --json && python3 - "$tmp/h0" "$tmp/h1" "$out" <<'END'
import json, sys
a, b, m = ([h["value"] for h in json.load(open(f))["heads"]] for f in sys.argv[1:])
sys.exit(any(abs((x + y) / 2 - z) > 1e-12 for x, y, z in zip(a, b, m)))
END
}
t "without one the mean over the prompts" mean
undefined() { exits 0 heads --metric duplicate --prompt a --json && json 'all(h["value"] is None and h["reason"] for h in d["heads"])'; }
t "undefined is null with a reason" undefined
no_metric() { exits 5 heads --metric entropi && says 'entropy_nats'; }
t "no such metric: which there are" no_metric
not_yet() { exits 5 heads --metric echo && says '--observe echo'; }
t "a metric that was not recorded: how to" not_yet
t "no metric" exits 2 heads
t "no such prompt" exits 5 heads --metric distance --prompt z
one_layer() { exits 0 heads --metric distance --heads 'L0H*' --json && json 'all(h["layer"] == 0 for h in d["heads"])'; }
t "--heads" one_layer
where() { exits 0 heads --metric entropy_nats --where 'value > 0 and layer = 1' --json && json 'd["heads"] and all(h["layer"] == 1 for h in d["heads"])'; }
t "--where" where
t "--where nothing holds" exits 5 heads --metric entropy_nats --where 'value < 0'
t "--where that is no expression" exits 2 heads --metric entropy_nats --where 'valu < 0'
csv() { exits 0 heads --metric distance --csv && prints '^layer,head,value,prompts,reason$'; }
t "--csv" csv

attend() { exits 0 attend --head L1H0 --from 3 --top 0 --json && json 'd["from"] == 3 and len(d["keys"]) == 4 and near(sum(k["weight"] for k in d["keys"]), 1) and d["keys"][0]["weight"] >= d["keys"][1]["weight"]'; }
t "attend" attend
t "attend by another name of the head" exits 0 attend --head 1.0 --from -1
t "attend past the end" exits 2 attend --head L1H0 --from 99
t "attend from no such head" exits 2 attend --head L9H9
t "attend from several" exits 2 attend --head 'L0H*'
no_map() { exits 0 record "$m" -f "$tmp/p.jsonl" --maps L0H0 -o "$tmp/one.db" && exits 5 attend --head L1H0 --db "$tmp/one.db" && says '--maps'; }
t "attend without a map says how to store it" no_map

sink_rate() { exits 0 query sink_rate --prompt b --param eps=0.2 --json && json 'd["columns"] == ["position", "rate"] and [r[0] for r in d["rows"]] == list(range(9)) and all(0 <= r[1] <= 1 for r in d["rows"])'; }
t "query sink_rate" sink_rate
massive() { exits 0 query massive --json && json 'd["columns"] == ["layer", "pos", "channel", "value", "median"] and [r[0] for r in d["rows"]] == list(range(len(d["rows"])))'; }
t "query massive" massive
sql() { exits 0 query "select 1 as a, null as b, 2.5 as c, 'x'||char(10)||'y' as d" --json && json 'd == {"columns": ["a", "b", "c", "d"], "rows": [[1, None, 2.5, "x\ny"]]}'; }
t "query with SQL" sql
att_at() { exits 0 query 'select att_at(m.id, 3, 1), json_array_length(att_row(m.id, 3)) from map m limit 1' --json && json '0 < d["rows"][0][0] < 1 and d["rows"][0][1] >= 4'; }
t "att_row and att_at" att_at
t "SQL that writes" exits 2 query 'delete from run'
t "SQL that is none" exits 2 query 'selec 1'
t "two statements" exits 2 query 'select 1; select 2'
t "no such query" exits 5 query sink_rat
t "no such parameter" exits 2 query sink_rate --param epz=1
t "query alone" exits 0 query
limit() { exits 0 query tokens --max-rows 3 --csv && [ "$(wc -l <"$out")" = 4 ]; }
t "query --max-rows" limit

offline() {
    exits 0 record "$m" -f "$tmp/p.jsonl" --maps all -o "$tmp/off.db" && exits 0 observe 1 stripes --db "$tmp/off.db" &&
        exits 0 heads --metric induction --sort head --db "$tmp/off.db" --json && cp "$out" "$tmp/a" &&
        exits 0 heads --metric induction --sort head --json && cmp "$out" "$tmp/a"
}
t "observers offline = online" offline
t "observe nothing" exits 2 observe 1
t "observe what was not stored" exits 5 observe massive --db "$tmp/off.db"

# ---- drawing and exports --------------------------------------------------------------------
png() { [ "$(head -c 8 "$1" | od -An -tx1 | tr -d ' ')" = 89504e470d0a1a0a ]; }
map_png() { exits 0 heatmap --head L0H1 -o "$tmp/m.png" && png "$tmp/m.png"; }
t "heatmap of a head" map_png
grid_png() { exits 0 heatmap --grid previous -o "$tmp/g.png" --dpi 60 --cmap magma --range 0:1 --theme screen && png "$tmp/g.png"; }
t "heatmap of a metric" grid_png
same_png() { exits 0 heatmap --grid previous -o "$tmp/h.png" --dpi 60 --cmap magma --range 0:1 --theme screen && cmp "$tmp/g.png" "$tmp/h.png"; }
t "the same picture every time" same_png
not_drawn() { exits "$1" heatmap $2 -o "$tmp/n.png" && [ ! -e "$tmp/n.png" ]; }
t "heatmap of nothing" not_drawn 2 ""
t "heatmap of two things" not_drawn 2 "--head L0H0 --grid previous"
t "no resolution" not_drawn 2 "--grid previous --dpi 0"
t "no such colour map" not_drawn 2 "--grid previous --cmap jetset"
t "no such range" not_drawn 2 "--grid previous --range 1:0"
t "no such metric to draw" not_drawn 5 "--grid previos"
t "a picture of another kind" exits 2 heatmap --grid previous -o "$tmp/x.bmp"
t "no folder for the picture" exits 1 heatmap --grid previous -o "$tmp/no/x.png"
npz() {
    exits 0 export 1 -o "$tmp/run.npz" && python3 - "$tmp/run.npz" <<'END'
import ast, struct, sys, zipfile
z = zipfile.ZipFile(sys.argv[1])
assert z.testzip() is None
def npy(name):
    b = z.read(name)
    assert b[:6] == b"\x93NUMPY"
    n = struct.unpack("<H", b[8:10])[0]
    h = ast.literal_eval(b[10:10 + n].decode())
    assert not h["fortran_order"]
    return h["descr"], h["shape"], b[10 + n:]
names = {n[:-4] if n.endswith(".npy") else n: n for n in z.namelist()}
d, s, b = npy(names["p0/tokens"])
assert d == "<i8" and s == (8,) and struct.unpack("<8q", b) == (1, 2, 3, 4, 5, 6, 7, 8)
d, s, b = npy(names["p1/blocks.1.attn.hook_pattern"])
assert d == "<f4" and s[1:] == (9, 9)
first = struct.unpack("<9f", b[:36])
assert first[0] == 1 and not any(first[1:])
d, s, b = npy(names["p0/blocks.0.attn.hook_row_stats.entropy"])
assert d == "<f4" and s[1] == 8
assert npy(names["p0/logits"])[1][0] == 8 and npy(names["p0/blocks.0.hook_resid_post"])[1][0] == 8
END
}
t "export to npz" npz
round_trip() { # what one prompt exports is what verify takes, once its names are plain
    exits 0 export 1 --prompt a -o "$tmp/a.safetensors" && python3 - "$tmp/a.safetensors" "$tmp/golden.safetensors" <<'END' && exits 0 verify "$m" --golden "$tmp/golden.safetensors"
import json, struct, sys
b = open(sys.argv[1], "rb").read()
n = struct.unpack("<Q", b[:8])[0]
h = {k[3:] if k.startswith("p0/") else k: v for k, v in json.loads(b[8:8 + n]).items() if k != "__metadata__"}
t = json.dumps(h).encode()
t += b" " * (-len(t) % 8)
open(sys.argv[2], "wb").write(struct.pack("<Q", len(t)) + t + b[8 + n:])
END
}
t "export to safetensors, and verify --golden takes it" round_trip
t "export to neither" exits 2 export 1 -o "$tmp/run.zip"
t "export of nothing known" exits 2 export 1 --what mops -o "$tmp/x.npz"
t "export without a file" exits 2 export 1
t "no folder to export to" exits 1 export 1 -o "$tmp/no/x.npz"

# ---- bad databases --------------------------------------------------------------------------
t "no database" exits 1 runs --db "$tmp/none.db"
cut_db() { head -c 5000 "$HEADSCOPE_DB" >"$tmp/cut.db" && exits 3 runs --db "$tmp/cut.db"; }
t "a database cut short" cut_db
older() {
    exits 0 record "$m" -f "$tmp/p.jsonl" --maps all --observe stripes -o "$tmp/old.db" &&
        python3 -c "import sqlite3; sqlite3.connect('$tmp/old.db').execute('CREATE TABLE hidden_sinks_found (was REAL) STRICT')" &&
        cp "$tmp/old.db" "$tmp/before.db" &&
        exits 3 record "$m" -f "$tmp/p.jsonl" --observe hidden_sinks -o "$tmp/old.db" && says 'old.db: its table hidden_sinks_found has other columns.*another file' &&
        exits 3 observe 1 stripes hidden_sinks --db "$tmp/old.db" && says 'its table hidden_sinks_found has other columns' &&
        cmp "$tmp/old.db" "$tmp/before.db" && exits 0 observe 1 stripes --db "$tmp/old.db"
}
t "an observer's table of another version" older
finish
