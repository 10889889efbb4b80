# The commands that run experiments (retrieve, influence, patch, lens, weights, duo) among strangers:
# prompts whose lines say absurd things, words that mean nothing, and databases that were changed
# behind their back. Each ends in the status that is said here, on failure with one line. STRANGE=all
# tries every change with everything that reads it.
[ ! -w /dev/shm ] || export TMPDIR=/dev/shm # hundreds of databases, none of which needs a disk
. tests/cli/lib.sh

# s.py GROUP: runs the cases of a group.
cat >"$tmp/s.py" <<'END'
import itertools, json, os, re, shutil, sqlite3, sys
sys.path.insert(0, "tests/cli")
import cage
EXE, DATA, TMP = sys.argv[1:4]
MODEL, IND2 = DATA + "/llama_gqa.gguf", DATA + "/closed/ind2"
cage = cage.Cage(EXE, TMP)
run, put = cage.run, cage.put

# ---- what prompts say -----------------------------------------------------------------------
PAIR = '"corrupt_tokens":[1,3,3],"answer":4,"wrong":5'
def line(name, want, members, *words):
    put("p.jsonl", '{"tokens":[1,2,3]%s}\n' % ("," + members if members else ""))
    run(f"{' '.join(words)}: {name}: {members[:60]}", want, words[0], MODEL, *words[1:], "-f", "p.jsonl", "-q", "--json", "-o", "s.db")

ODD = ("null", "true", "{}", '"x"', "1.5", "1e30", "-1", "99999999999999999999", '[[1]]', "[" * 1000)

def needles():
    def needle(want, members): line("needle", want, members, "retrieve", "--max-new", "2", "--mask-k", "1")
    needle(0, '"needle":[0,3],"answer":[2,3]')
    needle(0, '"needle":[1,2],"answer":7')
    needle(0, '"needle":[1,2],"answer":[2],"needle_text":"x","spans":{"needle":[2,1]}')
    for v in ODD: needle(3, f'"needle":{v},"answer":[2]')
    for v in ODD[:-1]: needle(3, f'"answer":{v},"needle":[1,2]')
    for v in ("[2,1]", "[1,1]", "[0,4]", "[-2,2]", "[1]", "[]", "[1,2,3]", "[1,2.5]", '["1","2"]', "[1,null]", "[0,9223372036854775807]",
              "[-9223372036854775808,1]", "[0,1e300]", "[1,2],"): needle(3, f'"needle":{v},"answer":[2]')
    for v in ("[]", "[64]", "[1,-1]", "[1,null]", "[2147483648]", "[1.5]", "64", "[" + ",".join(["64"] * 100000) + "]"): needle(3, f'"needle":[1,2],"answer":{v}')
    needle(2, '"needle":[1,2]')
    needle(2, '"answer":[1]')
    needle(2, "")
    needle(2, '"needle":[1,2],"answer":[' + ",".join(["2"] * 100000) + "]") # more than the context
    put("p.jsonl", '{"id":"(repeated tokens)","tokens":[1,2,3],"needle":[1,2],"answer":2}')
    run("the name of the prompt of repeated tokens", 2, "retrieve", MODEL, "-f", "p.jsonl", "--max-new", "2", "-o", "s.db")
    put("p.jsonl", '{"tokens":[1,2,3],"needle":[1,2],"answer":2}\n' * 3000)
    run("3,000 times the same", 0, "retrieve", MODEL, "-f", "p.jsonl", "--max-new", "1", "--mask-k", "0", "-q", "-o", "many.db")

def pairs():
    def pair(want, members, *words): line("pair", want, members, "patch", *words)
    for words in ((), ("--path",), ("--edges",), ("--point", "z", "--by", "gradient")): pair(0, PAIR, *words)
    for v in ("[1,2]", "[1,2,3,4]", "[]", "[1,2,3]", "[1,2,64]", "[1,2,-1]", "[1,2,1.5]", '"1,2,3"', "{}", "7", "null", "[[1],2,3]",
              "[1,2,99999999999]", "[" * 1000):
        for words in ((), ("--path",), ("--edges",)): pair((2, 3), f'"corrupt_tokens":{v},"answer":4,"wrong":5', *words)
    for v in ODD:
        pair((2, 3), f'"corrupt_tokens":[1,3,3],"wrong":5,"answer":{v}')
        pair((2, 3), f'"corrupt_tokens":[1,3,3],"answer":5,"wrong":{v}')
        pair(3, f'"corrupt_tokens":[1,3,3],"answer":5,"wrong":4,"positions":{{"END":{v}}}') if v != "-1" else None
        pair((0, 3), f'{PAIR},"positions":{v}')
        pair((0, 3), f'{PAIR},"spans":{v}')
    for v in ("[2,1]", "[0,9]", "[-9,1]", "[1]", "[1,2,3]", "[1,1]", '"1"', "3", "-4", "1e30", "[0,1e30]"):
        pair(5, f'{PAIR},"spans":{{"doc":{v}}}', "--pos", "doc")
        pair(0, f'{PAIR},"spans":{{"doc":{v}}}', "--pos", "doc?,END")
    pair(0, f'{PAIR},"spans":{{"a":[0,2],"b":[1,3]}},"positions":{{"a":2}}', "--pos", "a,b,a+b") # they overlap
    pair(0, f'{PAIR},"answer":5', "--metric", "prob") # the same key twice
    pair(0, PAIR + ',"spans":{' + ",".join(f'"s{i}":[0,{1 + i % 3}]' for i in range(50000)) + "}", "--pos", "s7,s49999")
    put("p.jsonl", '{"id":"a","tokens":[1,2,3],%s}\n{"id":"a~corrupt","tokens":[1,2,4],%s}\n' % (PAIR, PAIR))
    run("the name of another's half", 2, "patch", MODEL, "-f", "p.jsonl", "-o", "s.db")

# ---- words ----------------------------------------------------------------------------------
def words():
    put("p.jsonl", '{"tokens":[1,2,3],"needle":[1,2],"positions":{"S":1},%s}' % PAIR)
    def cmd(name, want, *words): run(f"{name}: {' '.join(words)[:80]}", want, words[0], MODEL, *words[1:], "-f", "p.jsonl", "-q", "-o", "s.db")
    for to in ("", "L0H0", "L0H0.", ".q", "L0H0.o", "L0M.q", "L0N3.q", "logits+L0H0.q", "L0H0.q+", "L0H0.q q", "L-1H0.q", "L0H99999999999999999999.q",
               "L99H9.q", "L0H9.k", "L0G9.v", "L1-0H0.q", "x" * 100000, "+" * 10000): cmd("receivers", 2, "patch", "--path", "--pos", "S", "--to", to)
    cmd("5,000 times the same receivers", 0, "patch", "--path", "--pos", "S", "--to", "+".join(["L*H*.q,L*G*.v"] * 5000))
    for s in ("", "L0", "L9H0", "L0N0", "L0M0", "x", "L*M,", "L" * 100000): cmd("senders", (2, 0) if s == "L0" else 2, "patch", "--path", "--senders", s)
    for p in ("", ",", "S,", "each,each", "1:0", "3", "-4", "S2", "1.5", "9" * 30, "?", "S+", "0:99999999999999999999", ",".join(["S"] * 1000)):
        cmd("places", (2, 5), "patch", "--pos", p)
        if "," not in p: cmd("positions", (2, 5), "lens", "--pos", p)
    cmd("256 places", 0, "patch", "--pos", ",".join(["S"] * 256))
    cmd("a place of 10,000 parts", 0, "patch", "--pos", "+".join(["S"] * 10000))
    for t in ("", ",", "3,", "64", "-1", "1e3", "0x3", " 3", "3 ", "99999999999999999999", "Mary", "\x01", "x" * 100000): cmd("tracked", 2, "lens", "--track", t)
    cmd("every token tracked", 0, "lens", "--track", ",".join(map(str, range(64))))
    for d in ("", "topp", "top,minus=", ",minus=3", "3,minus=top", "64", "3,minus=64", "answer,minus=wrong,minus=3", "3,minus=3,", "top" * 10000):
        cmd("attributed", 2, "lens", "--dla", d)
    for b in ("", "neuron,", ",", "neurons", "source,neuron,x"): cmd("split", 2, "lens", "--dla", "top", "--by", b)
    def weights(name, want, *words): run(f"{name}: {' '.join(words)[:80]}", want, "weights", MODEL, *words, "-q", "-o", "s.db")
    for t in ("", ",", "#", "#,", "#64", "#-1", "#1.5", "#99999999999999999999999999", "Mary", "#3,Mary", "#3,#"): weights("tokens", 2, "--tokens", t)
    weights("4,000 tokens", 0, "--tokens", ",".join(["#3"] * 4000))
    for o in (("--length", "0"), ("--length", "1000001"), ("--sample", "-1"), ("--sort", "x" * 100000), ("--neurons", "99999999999999999999")): weights("numbers", 2, *o)
    weights("more than there are", 0, "--sample", "999999999", "--neurons", "999999999", "--composition", "999999999")
    for k in ("", ",", "0,", "-1", "1.5", "5", "9", "99999999999", "x", "1 ", ",".join(["1"] * 40) + ",x"): cmd("masked", 2, "retrieve", "--max-new", "2", "--mask-k", k)
    cmd("one size 10,000 times", 0, "retrieve", "--max-new", "2", "--mask-k", ",".join(["1"] * 10000))
    for n in ("0", "-1", "99999999999", "1000000"): cmd("decoded", 2, "retrieve", "--max-new", n)
    for h in ("", "L9H0", "L0", "x", "L0H0,", "+" * 1000): cmd("heads", (0, 2) if h == "L0" else 2, "influence", "--heads", h)
    cmd("draws", 2, "influence", "--heads", "L0H0", "--control", "1001")
    cmd("1,000 draws", 0, "influence", "--heads", "L0H0", "--control", "1000")
    for o in (("--sink", "-1"), ("--recent", "0"), ("--sink", "9" * 30), ("--sink", "9223372036854775807"), ("--labels", "S2"), ("--labels", ""), ("--labels", "3"), ("--labels", "1:1"), ("--steps", "-1"),
              ("--rate", "-1", "--steps", "1"), ("--rate", "nan", "--steps", "1"), ("--lambda", "1e999", "--steps", "1")): cmd("streaming", (2, 5), "duo", *o)
    cmd("a window beyond all", 2, "duo", "--sink", "2147483647", "--recent", "2147483647")
    cmd("a seed below 0", 2, "influence", "--heads", "L0H0", "--seed", "-9223372036854775808")

# ---- databases that were changed --------------------------------------------------------------
# Every column of what an experiment stored is set to values that no run has: in the type of the
# column, and, with the schema's defences off for that moment, of any type. What reads it, the
# command included, which finds its run complete, says a number or that the database is damaged.
ABSURD = ("-1", "0", "1000000000", "4611686018427387904", "NULL", "'x'", "''", "9e999", "-9e999", "1e308", "x'ff00'", "cast(x'c3' as text)",
          "printf('%.*c', 5000, 'L')", "'a' || char(10) || char(27) || '[31m'")
SHARED = {"head_metric": ("layer", "head", "value", "reason"), "series": ("layer", "head", "data"), "prompt": ("label", "ord", "n_token"),
          "model": ("n_layer", "n_head", "n_kv_head"), "analysis_run": ("params_json",), "token": ("pos", "token_id", "text")}

def open_up(path): # without CHECK, STRICT and NOT NULL; returns what puts them back
    c = sqlite3.connect(path, isolation_level=None)
    was = c.execute("select name, sql from sqlite_schema where type = 'table' and sql is not null").fetchall()
    version = c.execute("pragma schema_version").fetchone()[0]
    def schema(of, version):
        c = sqlite3.connect(path, isolation_level=None)
        c.execute("pragma writable_schema = on")
        for name, sql in of: c.execute("update sqlite_schema set sql = ? where name = ?", (sql, name))
        c.execute(f"pragma schema_version = {version}")
        c.close()
    c.close()
    loose = [(n, re.sub(r"\bSTRICT, |\bSTRICT\b|(?<!IS )\bNOT NULL\b|\bINTEGER\b(?! PRIMARY)|\bREAL\b|\bTEXT\b|\bBLOB\b", "", s)) for n, s in was]
    schema(loose, version + 1)
    return lambda: schema(was, version + 2)

def falsified(make, own, readers, *sure): # sure: lies that are always told, to all readers
    every = os.environ.get("STRANGE") == "all"
    run("made", 0, *make, "-q", "-o", "true.db")
    c = sqlite3.connect(TMP + "/true.db")
    tables = {t: [r[1] for r in c.execute(f"pragma table_info({t})")] for (t,) in c.execute("select name from sqlite_schema where type = 'table'")}
    c.close()
    lies = [(t, f"{k} = {v}") for t in tables if t.startswith(own + "_") for k in tables[t] if k not in ("prompt_id", "analysis_run_id") for v in ABSURD]
    lies += [(t, f"{k} = {v}") for t, columns in SHARED.items() for k in columns if k in tables[t] for v in ABSURD]
    lies = lies if every else lies[:: len(lies) // 30 | 1]
    lies += [(t, "") for t in (*[t for t in tables if t.startswith(own + "_")], "head_metric", "series", "token", "prompt", "analysis_run")]
    path = TMP + "/false.db"
    turn = itertools.cycle(range(len(readers)))
    for table, lie in (*lies, *sure):
        shutil.copy(TMP + "/true.db", path)
        back = open_up(path)
        c = sqlite3.connect(path, isolation_level=None)
        for s in ("pragma ignore_check_constraints = on", "pragma foreign_keys = off",
                  f"update or ignore {table} set {lie}" if lie else f"delete from {table}"): c.execute(s)
        c.close()
        back()
        for reader in readers if every or not lie or (table, lie) in sure else [readers[next(turn)] for _ in range(2)]:
            shutil.copy(path, TMP + "/now.db")
            run(f"{reader[0]} {reader[-1]} of {table} {lie}", (0, 1, 3, 5), *reader, "--db" if reader[0] in ("query", "heatmap", "heads") else "-o", "now.db")

def complete(make): return [[*make, "--resume", "-q", "--json"], [*make, "--resume", "-q"]]
def asks(*names): return [["query", n, "--json"] for n in names]
def metrics(*names): return [["heads", "--json", "--metric", n] for n in names]
def draws(*options): return [["heatmap", "-o", "x.svg", *o.split()] for o in options]

def false_retrieval():
    put("n.jsonl", '{"id":"a","tokens":[0,1,6,3,8,5,2,7,4,1,6],"needle":[3,6],"answer":[3,8,5]}\n{"id":"b","tokens":[0,1,6,3,8,5,2,7,4,1],"needle":[2,4],"answer":[6,3]}\n')
    make = ["retrieve", IND2, "-f", "n.jsonl", "--max-new", "3", "--mask-k", "1,2"]
    falsified(make, "retrieve", complete(make) + asks("retrieve", "retrieve_tests", "retrieve_masking", "retrieve_scores") + draws("--masking", "--grid retrieval_tf") + metrics("retrieval"))

PAIRS = '{"id":"a","tokens":[1,2,3,4],"answer":3,"wrong":8,"corrupt_tokens":[1,2,9,4]}\n{"id":"b","tokens":[4,2,3],"answer":7,"wrong":8,"corrupt_tokens":[4,2,8]}\n'

def false_influence():
    put("c.jsonl", PAIRS)
    make = ["influence", MODEL, "-f", "c.jsonl", "--heads", "L0H1,L1H2", "--control", "2"]
    falsified(make, "influence", complete(make) + asks("influence", "influence_sets"))

def false_choice(): # heads that a run found, which decide what is masked
    put("c.jsonl", PAIRS)
    falsified(["weights", MODEL], "weights", [["influence", MODEL, "-f", "c.jsonl", "--by", "ov_copying", "--top", "2", "--control", "0", "--json"]] + metrics("ov_copying"))

def false_patching():
    put("c.jsonl", PAIRS)
    make = ["patch", MODEL, "-f", "c.jsonl", "--point", "z", "--pos", "each", "--by", "gradient", "--verify", "2"]
    falsified(make, "patch", complete(make) + asks("patch") + draws("--patch", "--patch --layer 1", "--grid patch_effect", "--over-positions patch_effect_at --head L0H0"),
              ("patch_cell", "layer = -1"), ("patch_cell", "head = 1000000000"), ("patch_cell", "place = 1000000000")) # what --verify measures

def false_paths():
    put("c.jsonl", PAIRS)
    make = ["patch", MODEL, "-f", "c.jsonl", "--path"]
    falsified(make, "path", complete(make) + asks("paths") + metrics("path_effect"))

def false_edges():
    put("c.jsonl", PAIRS)
    make = ["patch", MODEL, "-f", "c.jsonl", "--edges", "--top", "9"]
    falsified(make, "edges", complete(make) + asks("circuit") + draws("--circuit", "--circuit --prompt a"))

def false_lenses():
    put("c.jsonl", PAIRS)
    make = ["lens", MODEL, "-f", "c.jsonl", "--pos", "2", "--track", "3,5", "--dla", "top", "--by", "source"]
    falsified(make, "lens", complete(make) + asks("lens", "lens_track", "lens_first", "dla", "dla_sources") + draws("--lens", "--lens --prompt b --value rank", "--grid dla"))

def false_streaming():
    put("c.jsonl", PAIRS)
    make = ["duo", MODEL, "-f", "c.jsonl", "--sink", "1", "--recent", "1", "--steps", "2"]
    names = [f[:-4] for f in os.listdir("db/queries") if f.startswith("duo")]
    falsified(make, "duo", complete(make) + asks(*sorted(names)) + metrics("duo_probe") + draws("--grid duo_probe"))

def false_calibration():
    t = [0, 1, 6, 3, 8, 5, 2, 7, 4]
    put("q.jsonl", "".join('{"tokens":%s,"choices":[[%d],[%d]],"answer":1}\n' % ([*t, *t[1:r], t[k]], t[k + 1], t[k - 1] or 4) for r in range(1, 4) for k in range(2, 5)))
    make = ["calibrate", "stream:s=1,w=2", IND2, "--on", "q.jsonl", "--keep", "1"]
    names = [f[:-4] for f in os.listdir("db/queries") if f.startswith("calibrate")]
    falsified(make, "calibrate", complete(make) + asks(*sorted(names)), *(("calibrate_candidate", f"{k} = {v}") for k in ("spec", "heads", "chosen", "candidate") for v in ("'x'", "1")))

def false_weights():
    make = ["weights", MODEL, "--composition", "3", "--neurons", "3"]
    falsified(make, "weights", complete(make) + asks("weights", "weights_composition", "weights_neurons") + metrics("copy_score") + draws("--grid ov_copying"))

globals()[sys.argv[4]]()
sys.exit(cage.bad != 0)
END

strange() { python3 "$tmp/s.py" "$HEADSCOPE" "$DATA" "$tmp" "$1"; }
t "needles" strange needles
t "pairs, answers and spans" strange pairs
t "words of options" strange words
t "a retrieval that was changed" strange false_retrieval
t "texts' losses that were changed" strange false_influence
t "scores by which heads are chosen" strange false_choice
t "patching that was changed" strange false_patching
t "paths" strange false_paths
t "edges" strange false_edges
t "lenses" strange false_lenses
t "streaming heads" strange false_streaming
t "calibrations" strange false_calibration
t "weights" strange false_weights
finish
