# retrieve: needle tests on the hand-built induction model, whose head 1.0 copies; what is printed, what
# is stored, masks, resuming, and what is refused.
. tests/cli/lib.sh
ind2=$DATA/closed/ind2
export HEADSCOPE_DB="$tmp/r.db"
# The model knows what follows 6, 1 and 8: the first copy says so. Its needles are the tokens there.
cat >"$tmp/n.jsonl" <<'EOT'
{"id":"a","tokens":[0,1,6,3,8,5,2,7,4,1,6],"needle":[3,6],"answer":[3,8,5]}
{"id":"b","tokens":[0,1,6,3,8,5,2,7,4,1],"needle":[2,4],"answer":[6,3]}
{"id":"c","tokens":[0,1,6,3,8,5,2,7,4,8],"needle":[5,7],"answer":[5,2]}
EOT
# And none that it can say.
cat >"$tmp/none.jsonl" <<'EOT'
{"id":"x","tokens":[0,1,6,3,8,5,2,7,4,1,6],"needle":[7,9],"answer":[7,4]}
EOT

# ---- scores ---------------------------------------------------------------------------------

# Three rows after prompts of 11, 10 and 10 tokens, of which 3, 2 and 2 are teacher-forced. A uniform
# head's largest weight is on position 0, the first of equals; a needle's token stands there once.
first() { exits 0 retrieve "$ind2" -f "$tmp/n.jsonl" --max-new 3 --mask-k 0,1,2 --json && cp "$out" "$tmp/first"; }
t "runs" first
heads() { cp "$tmp/first" "$out" && json "$1"; }
t "all tests are passed" heads '(d["run"], d["tests"], d["passed"]) == (1, 3, 3)'
t "all heads, in order" heads '[(h["layer"], h["head"]) for h in d["heads"]] == [(0, 0), (0, 1), (1, 0), (1, 1)]'
t "the copying head has all hits" heads 'd["heads"][2]["retrieval"] == d["heads"][2]["retrieval_tf"] == d["heads"][2]["activation_frequency"] == 1'
t "no other has any" heads 'all(h["retrieval"] == h["retrieval_tf"] == h["activation_frequency"] == 0 for h in d["heads"] if (h["layer"], h["head"]) != (1, 0))'
t "weights of uniform attention" heads 'near(d["heads"][3]["retrieval_soft"], ((1/11 + 1/12 + 1/13) / 3 + (1/10 + 1/11)) / 3, 1e-7)'
t "weight of the copying head" heads '.99 < d["heads"][2]["retrieval_soft"] < 1'
t "masking it ends the copying, others do not" heads '[(m["k"], m["top"], m["random_mean"], m["random_sd"]) for m in d["masking"]] == [(0, 1, 1, 0), (1, 0, 1, 0), (2, 0, 1, 0)]'
t "the verdict" heads '"top 1 leaves a recall of 0.000 on 3 tests" in d["verdict"] and "more harm" in d["verdict"]'

table() { exits 0 retrieve "$ind2" -f "$tmp/n.jsonl" --max-new 3 --mask-k 1 && prints '^3 of 3 needle tests passed: run 2 in ' && sed -n 5p "$out" | grep -Eq '^L1H0 +1.0000'; }
t "the table begins with the copying head" table
csv() { exits 0 retrieve "$ind2" -f "$tmp/n.jsonl" --max-new 3 --mask-k 0 --csv && [ "$(wc -l <"$out")" = 5 ] && prints '^name,layer,head,retrieval,retrieval_tf,retrieval_soft,activation_frequency'; }
t "CSV of all heads" csv
# Steps count, not the needle's tokens: test c, decoded on, comes back to its needle.
longer() { exits 0 retrieve "$ind2" -f "$tmp/n.jsonl" --max-new 8 --mask-k 0 --json && json 'd["passed"] == 3 and near(d["heads"][2]["retrieval"], 4 / 3, 1e-12) and d["masking"] == []'; }
t "decoding past the answer" longer
# One token of two or three: recall is at most a half.
short() { exits 0 retrieve "$ind2" -f "$tmp/n.jsonl" --max-new 1 --mask-k 0 --json && json 'd["passed"] == 0 and d["heads"][2]["retrieval"] is None and d["heads"][2]["retrieval_tf"] == 1'; }
t "half of an answer is not enough" short
shares() { exits 0 retrieve "$ind2" -f "$tmp/n.jsonl" --max-new 3 --mask-k 0,1,2 --no-share --json && json "d['heads'] == json.load(open('$tmp/first'))['heads'] and d['masking'] == json.load(open('$tmp/first'))['masking']"; }
t "from scratch: the same" shares
all_rows() { exits 0 retrieve "$ind2" -f "$tmp/n.jsonl" --max-new 3 --mask-k 1 --mask-all --json && json 'd["masking"][0]["top"] == 0 and d["masking"][0]["random_mean"] < 1'; }
t "masked in all rows, the head it builds on matters too" all_rows

# RazorAttention's scores are those of the observer, on a prompt of its own after the tests: four
# copies of as many tokens as fit.
echoes() {
    exits 0 record "$ind2" --dataset repeat:k=8,r=4,n=1 --observe echo -o "$tmp/e.db" || return 1
    for m in echo echo_induction; do
        exits 0 heads --metric $m --db "$tmp/e.db" --json && cp "$out" "$tmp/$m" &&
            heads "{(h['layer'], h['head'], h['$m']) for h in d['heads']} == {(h['layer'], h['head'], h['value']) for h in json.load(open('$tmp/$m'))['heads']}" || return 1
    done
}
t "echo and induction scores" echoes
apart() { exits 0 query prompts --run 1 --json && json '[r[1] for r in d["rows"]] == ["a", "b", "c", "a~masked", "b~masked", "c~masked", "(repeated tokens)"]'; }
t "of a prompt that comes last" apart

# ---- what is stored ---------------------------------------------------------------------------

metric() { exits 0 heads --run 1 --metric "$1" --top 1 --json && json 'd["heads"][0]["layer"] == 1 and d["heads"][0]["head"] == 0'; }
for m in retrieval retrieval_tf retrieval_soft activation_frequency; do t "heads --metric $m" metric $m; done
for m in retrieval retrieval_tf; do t "heatmap --grid $m" exits 0 heatmap 1 --grid $m -o "$tmp/g.png"; done
t "heatmap --masking" exits 0 heatmap 1 --masking -o "$tmp/m.svg"
best() { exits 0 query retrieve --run 1 --param top=1 --json && json 'd["rows"][0][0] == "L1H0" and d["rows"][0][-2:] == [3, 3]'; }
t "query retrieve: the best head" best
said() { exits 0 query retrieve_tests --run 1 --json && json '[dict(zip(d["columns"], r)) for r in d["rows"]][1] == {"prompt": 1, "id": "b", "tokens": 10, "kind": "needle", "passed": 1, "recall": 1.0, "f1": 0.8, "needle_from": 2, "needle_to": 4, "n_said": 3, "said": "6 3 8", "answer": "6 3"}'; }
t "query retrieve_tests" said
scores() { exits 0 query retrieve_scores --run 1 --json && json 'len(d["rows"]) == 12 and [r[3] for r in d["rows"]] == [0, 0, 1, 0] * 3'; }
t "query retrieve_scores: every head on every test" scores
drawn() { exits 0 query "SELECT k, ranking, count(DISTINCT draw), count(*) FROM retrieve_masked JOIN prompt ON prompt.id = prompt_id WHERE run_id = 1 GROUP BY 1, 2 ORDER BY 1, 2" --json && json 'd["rows"] == [[k, r, n, 3 * n] for k in (0, 1, 2) for r, n in (("random", 5), ("top", 1))]'; }
t "five draws of each size, on every test" drawn
kept() { exits 0 query "SELECT label, test, count(*) FROM retrieve_masked JOIN prompt ON prompt.id = prompt_id WHERE run_id = 1 GROUP BY ord" --json && json 'd["rows"] == [["a~masked", 0, 18], ["b~masked", 1, 18], ["c~masked", 2, 18]]'; }
t "each kept with a prompt of its own" kept

# ---- questions ------------------------------------------------------------------------------

# Own ones: the model answers the first, and part of the second; of the third nothing.
cat >"$tmp/qa.jsonl" <<'EOT'
{"id":"a","tokens":[0,1,6,3,8,5,2,7,4,1],"needle":[2,5],"answer":[6,3,8]}
{"id":"b","tokens":[0,1,6,3,8,5,2,7,4,8],"needle":[5,6],"answer":[5]}
{"id":"c","tokens":[0,1,6,3,8,5,2,7,4,8],"needle":[1,2],"answer":[1]}
EOT
asked() { exits 0 retrieve "$ind2" -f "$tmp/n.jsonl" --max-new 3 --mask-k 0,1,2 --qa "$tmp/qa.jsonl" --json -o "$tmp/qa.db" && cp "$out" "$tmp/asked"; }
t "questions are asked under the same masks" asked
answers() { cp "$tmp/asked" "$out" && json "$1"; }
t "F1 of what is said without masks" answers '(d["questions"], d["answered"], d["f1"]) == (3, 1, 0.5)'
t "and with them" answers '[(m["k"], m["top_f1"], m["random_f1_mean"], m["random_f1_sd"], m["top_answered"]) for m in d["masking"]] == [(0, .5, .5, 0, 1/3), (1, d["masking"][1]["top_f1"], .5, 0, 0), (2, d["masking"][2]["top_f1"], .5, 0, 0)] and d["masking"][1]["top_f1"] < .5'
t "the needle tests are the same as without" answers "d['heads'] == json.load(open('$tmp/first'))['heads'] and [{k: m[k] for k in ('k', 'top', 'random_mean')} for m in d['masking']] == [{k: m[k] for k in ('k', 'top', 'random_mean')} for m in json.load(open('$tmp/first'))['masking']]"
t "one verdict about both" answers '"a recall of 0.000 on 3 tests and an F1 of" in d["verdict"] and "on 3 questions" in d["verdict"] and d["verdict"].endswith("more harm than random ones, for needles and for answers.")'
each() { exits 0 query retrieve_tests --run 1 --db "$tmp/qa.db" --json && json '[(r[1], r[3], r[4], round(r[6], 9)) for r in d["rows"] if r[0] > 2] == [("a~question", "question", 1, 1), ("b~question", "question", 0, .5), ("c~question", "question", 0, 0)]'; }
t "question by question" each
numbered() { exits 0 query "SELECT label, kind, test, count(*) FROM retrieve_masked JOIN prompt ON prompt.id = prompt_id WHERE ord IN (3, 6, 8) GROUP BY ord" --db "$tmp/qa.db" --json && json 'd["rows"] == [["a~masked", "needle", 0, 18], ["a~question", "question", 0, 18], ["c~question", "question", 2, 18]]'; }
t "and under masks by its number" numbered
t "drawn beside the recall" exits 0 heatmap 1 --masking -o "$tmp/qa.svg" --db "$tmp/qa.db"
both() { grep -q 'Recall and answers' "$tmp/qa.svg" && grep -q 'Needle recall' "$tmp/m.svg"; }
t "where there are some" both
sed -n 3p "$tmp/qa.jsonl" >"$tmp/hard.jsonl"
hard() { exits 0 retrieve "$ind2" -f "$tmp/n.jsonl" --max-new 3 --mask-k 1 --qa "$tmp/hard.jsonl" --json -o "$tmp/hard.db" && json '(d["questions"], d["answered"], d["f1"]) == (1, 0, 0) and "recall" in d["verdict"] and "F1" not in d["verdict"]'; }
t "no verdict about answers that nothing was right of" hard
unmasked() { exits 0 retrieve "$ind2" -f "$tmp/none.jsonl" --max-new 3 --mask-k 1 --qa "$tmp/qa.jsonl" --json -o "$tmp/weak.db" && json '(d["passed"], d["questions"], d["answered"], d["f1"], d["masking"]) == (0, 3, 1, .5, []) and "verdict" not in d'; }
t "without a passed test they are asked unmasked" unmasked

# ---- a model too weak -------------------------------------------------------------------------

weak() { exits 0 retrieve "$ind2" -f "$tmp/none.jsonl" --max-new 2 --mask-k 1 --json && json 'd["tests"] == 1 and d["passed"] == 0 and d["masking"] == [] and "verdict" not in d and all(h["retrieval"] is None and h["activation_frequency"] is None and h["retrieval_tf"] is not None for h in d["heads"])'; }
t "no test passed, no score" weak
tells() { exits 0 retrieve "$ind2" -f "$tmp/none.jsonl" --max-new 2 && prints '^0 of 1 needle tests passed' && prints 'no test was passed, so that there is no retrieval score'; }
t "and it says so" tells
reason() { exits 0 heads --metric retrieval --json && json 'all(h["value"] is None and "did not pass" in h["reason"] for h in d["heads"])'; }
t "with the reason" reason
figure() { exits 5 heatmap --masking -o "$tmp/none.png" && says 'has no masked tests: headscope retrieve makes them'; }
t "nothing to draw" figure

# ---- resuming ---------------------------------------------------------------------------------

again() { exits 0 retrieve "$ind2" -f "$tmp/n.jsonl" --max-new 3 --mask-k 0,1,2 --resume --json && says 'run [0-9]+ is complete already' && json "d['heads'] == json.load(open('$tmp/first'))['heads']"; }
t "a complete run is left alone" again
# As it was after its first N prompts: what the others gave is gone. All tables must come out as in
# an unbroken run, whether it was stopped in the tests, under masks or among the questions.
cat >"$tmp/cut.py" <<'EOT'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA foreign_keys = OFF")
gone = "(SELECT id FROM prompt WHERE run_id = 1 AND ord >= %s)" % sys.argv[2]
for table in "head_metric retrieve_test retrieve_masked series analysis_run token".split():
    db.execute("DELETE FROM %s WHERE prompt_id IN %s" % (table, gone))
db.execute("DELETE FROM prompt WHERE run_id = 1 AND ord >= %s" % sys.argv[2])
db.execute("UPDATE run SET status = 'interrupted'")
db.commit()
EOT
cat >"$tmp/same.py" <<'EOT'
import sqlite3, sys
a, b = [sqlite3.connect(p) for p in sys.argv[1:]]
tables = [r[0] for r in a.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")]
def rows(db, t):
    names = [r[1] for r in db.execute("PRAGMA table_info(%s)" % t)]
    kept = [n for n in names if not any(w in n for w in ("_at", "time", "argv", "status"))]
    return sorted(map(repr, db.execute("SELECT %s FROM %s" % (", ".join('"%s"' % n for n in kept), t))))
bad = [t for t in tables if rows(a, t) != rows(b, t)]
if bad: print("#  ", bad)
sys.exit(bool(bad))
EOT
stopped() {
    cp "$tmp/qa.db" "$tmp/s.db" && python3 "$tmp/cut.py" "$tmp/s.db" "$1" &&
        exits 0 retrieve "$ind2" -f "$tmp/n.jsonl" --max-new 3 --mask-k 0,1,2 --qa "$tmp/qa.jsonl" --resume --json -o "$tmp/s.db" &&
        json "{**d, 'db': 0} == {**json.load(open('$tmp/asked')), 'db': 0}" && python3 "$tmp/same.py" "$tmp/qa.db" "$tmp/s.db"
}
for n in 1 3 4 6 8 9; do t "a run that was stopped after $n of 10 prompts goes on and says the same" stopped $n; done
whole() { cut=$1 && set -- retrieve "$ind2" -f "$tmp/n.jsonl" --max-new 3 --mask-k 1 --qa "$tmp/qa.jsonl" --mask-all --json && rm -f "$tmp/w.db" &&
    exits 0 "$@" -o "$tmp/w.db" && cp "$tmp/w.db" "$tmp/s.db" && python3 "$tmp/cut.py" "$tmp/s.db" "$cut" && exits 0 "$@" --resume -o "$tmp/s.db" && python3 "$tmp/same.py" "$tmp/w.db" "$tmp/s.db"; }
for n in 4 7; do t "masked in all rows, stopped after $n" whole $n; done
partly() { cp "$tmp/qa.db" "$tmp/s.db" && python3 "$tmp/cut.py" "$tmp/s.db" 5 && exits 0 query retrieve_masking --db "$tmp/s.db" --json && json '[dict(zip(d["columns"], r))["tests"] for r in d["rows"]] == [2, 2, 2] and all(dict(zip(d["columns"], r))["questions"] == 0 for r in d["rows"])'; }
t "what there is of the masks can be asked for" partly

# ---- what is refused --------------------------------------------------------------------------

refused() { want=$1 words=$2; shift 2; exits "$want" retrieve "$ind2" "$@" && says "$words"; }
echo '{"id":"q","tokens":[0,1,6]}' >"$tmp/q.jsonl"
cp "$tmp/q.jsonl" "$tmp/plain.jsonl"
t "no needle" refused 2 "prompt 'q': it has no \"needle\": a needle test says" -f "$tmp/q.jsonl"
echo '{"id":"q","tokens":[0,1,6],"needle":[1,4],"answer":[1]}' >"$tmp/q.jsonl"
t "a needle outside" refused 3 "prompt 'q': needle is \[1, 4\): give START < END within the 3 positions" -f "$tmp/q.jsonl"
echo '{"id":"q","tokens":[0,1,6],"needle":[1,2],"answer":[]}' >"$tmp/q.jsonl"
t "no answer" refused 3 "prompt 'q': answer: no token" -f "$tmp/q.jsonl"
t "more heads than there are" refused 2 '--mask-k 5: the model has 4 heads: give at most 2' -f "$tmp/n.jsonl" --mask-k 2,5
t "as many others must be left" refused 2 '3 of 4 heads leaves fewer others to compare with: give at most 2' -f "$tmp/n.jsonl" --mask-k 3
for k in '' x 1, -1 1,,2 1.5; do t "--mask-k '$k'" refused 2 '--mask-k' -f "$tmp/n.jsonl" --mask-k "$k"; done
t "questions need a tokenizer" refused 2 '--qa 3: .*its texts need a tokenizer' -f "$tmp/n.jsonl" --qa 3
t "no such questions" refused 1 "--qa $tmp/nowhere: " -f "$tmp/n.jsonl" --qa "$tmp/nowhere"
for n in -1 99999999999999999999; do t "--qa $n" refused 2 'qa' -f "$tmp/n.jsonl" --qa $n; done
t "a question without its answer" refused 2 "prompt 'q~question': it has no \"needle\"" -f "$tmp/n.jsonl" --qa "$tmp/plain.jsonl"
t "no token to decode" refused 2 'max-new' -f "$tmp/n.jsonl" --max-new 0
t "no room in the context" refused 2 "prompt 'a': 11 tokens and 5000 to be decoded are more than the model's context of" -f "$tmp/n.jsonl" --max-new 5000
untold() { exits 2 retrieve "$ind2" && says 'no prompts are given with -f or --dataset: needle: its texts need a tokenizer'; }
t "no tests, and no tokenizer to make some" untold
t "a text without a tokenizer" refused 2 'token' -p hello
finish
