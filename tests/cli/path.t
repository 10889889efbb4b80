# patch --path and --edges: paths on a model that can be computed by hand, what is printed, stored,
# drawn and resumed, and what is refused.
. tests/cli/lib.sh
ind2=$DATA/closed/ind2
m=$DATA/llama_gqa.gguf
export HEADSCOPE_DB="$tmp/p.db"
# The copying head looks for what came before: the first copy says 6 8 5 or 6 3 8. Token 3 at 3 and 8 at 4
# trade places; nothing else tells what comes after the last 6.
cat >"$tmp/pairs.jsonl" <<'END'
{"id":"a","tokens":[0,1,6,3,8,5,2,7,4,1,6],"corrupt_tokens":[0,1,6,8,3,5,2,7,4,1,6],"answer":3,"wrong":8,"positions":{"S":3,"END":10}}
{"id":"b","tokens":[0,1,6,4,8,5,2,7,3,1,6],"corrupt_tokens":[0,1,6,7,8,5,2,4,3,1,6],"answer":4,"wrong":7,"positions":{"S":3,"END":10}}
END
cat >"$tmp/three.jsonl" <<'END'
{"id":"a","tokens":[1,2,3,4,5,6,7],"corrupt_tokens":[1,2,9,4,5,6,7],"answer":3,"wrong":8,"positions":{"S":2}}
{"id":"b","tokens":[4,2,3,4,5,1],"corrupt_tokens":[4,2,8,4,5,1],"answer":7,"wrong":8,"positions":{"S":2}}
{"id":"c","tokens":[9,9,3,1,5],"corrupt_tokens":[9,9,7,1,5],"answer":1,"wrong":2,"positions":{"S":2}}
END

# ---- paths ----------------------------------------------------------------------------------

# Without norms and MLPs the way of a head of the last layer to the logits is all of what it does.
paths() { exits 0 patch "$ind2" -f "$tmp/pairs.jsonl" --path --pos END --json && cp "$out" "$tmp/first"; }
t "runs" paths
first() { cp "$tmp/first" "$out" && json "$1"; }
t "its shape" first '(d["run"], d["metric"], d["n"], d["to"], d["pos"]) == (1, "logit_diff", 2, "logits", "END") and [(r["layer"], r["head"]) for r in d["rows"]] == [(0, 0), (0, 1), (1, 0), (1, 1)]'
t "clean says the answer, corrupt the other" first 'd["clean"] > 9 and near(d["corrupt"], -d["clean"], .2)'
t "the copying head carries it" first 'near(d["rows"][2]["recovered"], 0, 1e-2) and near(d["rows"][2]["effect"], d["rows"][2]["value"] - d["clean"], 1e-9) and near(d["rows"][2]["percent"], 100 * d["rows"][2]["effect"] / d["clean"], 1e-9)'
t "heads below say nothing directly" first 'd["rows"][0]["effect"] == d["rows"][1]["effect"] == 0 and near(d["rows"][0]["recovered"], 1, 1e-9)'
everywhere() { exits 0 patch "$ind2" -f "$tmp/pairs.jsonl" --path --json && json "d['rows'] == json.load(open('$tmp/first'))['rows']"; }
t "all positions: those that the logits feel" everywhere
# Head 0.0 looks one back: what it says at 3 is the token at 2, which the copying head's key reads.
echo '{"id":"k","tokens":[0,1,6,3,8,5,2,7,4,1,6],"corrupt_tokens":[0,1,2,3,8,5,2,7,4,1,6],"answer":3,"wrong":8}' >"$tmp/k.jsonl"
keys() { exits 0 patch "$ind2" -f "$tmp/k.jsonl" --path --to L1H0.k --pos 3 --json && json 'd["rows"][0]["effect"] < -1 and d["rows"][1]["effect"] == 0 and d["rows"][2]["effect"] == d["rows"][3]["effect"] == 0'; }
t "who makes the key, and who comes after" keys
denoise() { exits 0 patch "$ind2" -f "$tmp/pairs.jsonl" --path --pos END --direction denoise --json && json 'near(d["rows"][2]["recovered"], 1, 1e-2) and d["rows"][2]["effect"] > 9'; }
t "denoising" denoise
table() { exits 0 patch "$ind2" -f "$tmp/pairs.jsonl" --path --pos END && prints '^paths of 4 senders to logits at END, noising, on 2 pairs: run' && sed -n 5p "$out" | grep -Eq '^L1H0 '; }
t "the table begins with the copying head" table
csv() { exits 0 patch "$ind2" -f "$tmp/pairs.jsonl" --path --pos END --csv && [ "$(wc -l <"$out")" = 5 ] && prints '^unit,layer,head,position,value,effect,recovered,n,.*,percent$'; }
t "CSV" csv
mlps() { exits 0 patch "$m" -f "$tmp/three.jsonl" --path --senders 'L*M' --freeze-mlps --pos S+END --json && json 'len(d["rows"]) > 1 and all("head" not in r and r["unit"] == "L%dM" % r["layer"] for r in d["rows"])'; }
t "MLPs" mlps
t "heads --metric" exits 0 heads --run 1 --metric path_effect
t "heatmap --grid" exits 0 heatmap 1 --grid path_effect -o "$tmp/g.png"
asked() { exits 0 query paths --run 1 --json && json 'd["rows"][0][0] == "L1H0" and len(d["rows"]) == 4'; }
t "query paths" asked
one() { exits 0 query paths --run 1 --prompt b --json && json 'all(r[d["columns"].index("n")] == 1 for r in d["rows"])'; }
t "of one pair" one

# ---- edges ----------------------------------------------------------------------------------

edges() { exits 0 patch "$ind2" -f "$tmp/pairs.jsonl" --edges --threshold 1 --json && cp "$out" "$tmp/edges"; }
t "edges run" edges
graph() { cp "$tmp/edges" "$out" && json "$1"; }
t "a graph" graph 'all(abs(e["value"]) > 1 for e in d["edges"]) and {n["name"] for n in d["nodes"]} == {e[k] for e in d["edges"] for k in ("from", "to")}'
t "nodes go upwards" graph 'd["nodes"][0] == {"name": "embed", "kind": "embed"} and d["nodes"][-1] == {"name": "logits", "kind": "logits"}'
t "the copying head's edge is all of its path" graph '[e for e in d["edges"] if e["from"] == "L1H0"][0]["kind"] == "logits" and near([e["value"] for e in d["edges"] if e["from"] == "L1H0"][0], json.load(open("'"$tmp/first"'"))["rows"][2]["effect"], 1e-3)'
t "its values come from the embedding" graph '("embed", "L1H0", "v") in [(e["from"], e["to"], e["kind"]) for e in d["edges"]]'
groups() { exits 0 patch "$m" -f "$tmp/three.jsonl" --edges --top 30 --json && json 'len(d["edges"]) == 30 and sorted((-abs(e["value"]) for e in d["edges"])) == [-abs(e["value"]) for e in d["edges"]] and all(e["to"][2] == "G" for e in d["edges"] if e["kind"] in "kv") and all("group" in n for n in d["nodes"] if n["kind"] == "group")' && cp "$out" "$tmp/groups"; }
t "keys and values are of groups" groups
own() { exits 0 patch "$DATA/gpt2_masks.gguf" -f "$tmp/three.jsonl" --edges --top 60 --json -o "$tmp/gpt2.db" && json 'all(e["to"][2] == "H" for e in d["edges"] if e["kind"] in "qkv") and {e["kind"] for e in d["edges"]} == {"q", "k", "v", "mlp", "logits"} and all(n["kind"] != "group" for n in d["nodes"])'; }
t "or of heads where each has its own" own
asks() { exits 0 query circuit --param top=30 --json && json "[r[3] for r in d['rows']] == [e['value'] for e in json.load(open('$tmp/groups'))['edges']]"; }
t "query circuit: the same" asks
whole() { exits 0 query circuit --param top=0 --json && json '75 <= len(d["rows"]) <= 83'; }
t "all of them" whole
rows() { exits 0 patch "$m" -f "$tmp/three.jsonl" --edges --top 7 --csv && [ "$(wc -l <"$out")" = 8 ] && prints '^from,to,kind,value,n$'; }
t "edges as CSV" rows
people() { exits 0 patch "$m" -f "$tmp/three.jsonl" --edges --top 3 && prints 'heatmap [0-9]+ --circuit'; }
t "edges for people" people
for f in png svg pdf; do
    drawn() { exits 0 heatmap --circuit --top 25 -o "$tmp/c.$f" && [ "$(wc -c <"$tmp/c.$f")" -gt 1000 ]; }
    t "heatmap --circuit -o c.$f" drawn
done
again() { exits 0 heatmap --circuit --top 25 -o "$tmp/d.svg" && cmp "$tmp/c.svg" "$tmp/d.svg"; }
t "the same file again" again
few() { exits 5 heatmap --circuit --threshold 1e9 -o "$tmp/none.svg" && says "no edge of run"; }
t "edges beyond a threshold" few
exported() { exits 0 export --format circuit --top "$1" -o "$tmp/x.json" && python3 - "$tmp/x.json" "$tmp/$2" <<'END'
import json, sys
mine, said = (json.load(open(f)) for f in sys.argv[1:])
for key in ("metric", "clean", "corrupt", "n", "nodes", "edges"):
    assert mine[key] == said[key], key
assert mine["arch"] == "llama"
END
}
t "export --format circuit: what patch said" exported 30 groups
beyond() {
    x=$(python3 -c "import json; print(abs(json.load(open('$tmp/groups'))['edges'][12]['value']))")
    exits 0 export --format circuit --threshold "$x" -o - && json 'len(d["edges"]) == 12'
}
t "or what lies beyond a threshold" beyond
t "of one pair, other edges" exits 0 export --format circuit --prompt 1 -o "$tmp/one.json"
differs() { ! cmp -s "$tmp/one.json" "$tmp/x.json"; }
t "not the means" differs
t "--top is for edges" exits 2 export --top 3 -o "$tmp/x.npz"

# ---- resuming -------------------------------------------------------------------------------

cat >"$tmp/cut.py" <<'END'
# What a run that was stopped after its first pair leaves.
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA foreign_keys = OFF")
gone = "(SELECT id FROM prompt WHERE ord > 0)"
for (table,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
    if any(c[1] == "prompt_id" for c in db.execute("PRAGMA table_info('%s')" % table)):
        db.execute("DELETE FROM %s WHERE prompt_id IN %s" % (table, gone))
db.execute("DELETE FROM prompt WHERE ord > 0")
db.execute("UPDATE run SET status = 'interrupted'")
db.commit()
END
n=0
for way in "--path --to L1H*.q+L1G0.k --pos S+END" "--path --direction denoise" --edges; do
    n=$((n + 1))
    again() { exits 0 patch "$m" -f "$tmp/three.jsonl" $way --json -o "$tmp/r$n.db" --resume; }
    resumes() { again && cp "$out" "$tmp/r$n.json" && python3 "$tmp/cut.py" "$tmp/r$n.db" && again && cmp "$out" "$tmp/r$n.json"; }
    t "goes on where it was stopped: $way" resumes
    complete() { again && says 'complete already' && cmp "$out" "$tmp/r$n.json"; }
    t "a complete run is not done again: $way" complete
done

# ---- what is refused ------------------------------------------------------------------------

bad() { want=$1 words=$2; shift 2; exits "$want" patch "$m" -f "$tmp/three.jsonl" "$@" && says "$words"; }
t "a position that the logits do not feel" bad 2 'take END, or receivers' --path --pos S
t "no such receiver" bad 2 'no receiver: write logits' --path --to L1H0
t "a receiver that is not there" bad 2 'L99H0' --path --to L99H0.q
t "senders of other kinds" bad 2 'senders' --path --senders L1N3
t "estimates of paths" bad 2 'by does not go with --path' --path --by gradient
t "edges at a position" bad 2 'adds up all positions' --edges --pos END
t "edges by a metric without slope" bad 2 'no gradient' --edges --metric kl
t "nothing above the threshold" bad 5 'no edge of run' --edges --threshold 1e9
t "no circuit in a run" exits 5 heatmap 1 --circuit -o "$tmp/x.png"
t "none to export" exits 5 export 1 --format circuit -o "$tmp/x.json"
finish
