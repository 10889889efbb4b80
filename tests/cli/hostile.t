# Files and words of ill will, as a user meets them: bombs of depth, length and count, patterns that
# run away, sizes that overflow, ways out of a folder. Each run has limited memory and time, ends
# with the status that is said here, and on failure with one line that names what is wrong. Damage
# byte by byte is in tests/unit/test_hostile*.c, random damage in tests/fuzz.
. tests/cli/lib.sh

# h.py GROUP: runs the cases of a group.
cat >"$tmp/h.py" <<'END'
import json, os, struct, subprocess, sys
sys.path.insert(0, "tests/cli")
import cage
EXE, DATA, TMP = sys.argv[1:4]
MODEL = DATA + "/llama_gqa.gguf"
cage = cage.Cage(EXE, TMP)
run, put = cage.run, cage.put

# ---- tokenizers -----------------------------------------------------------------------------
LEVEL = dict(type="ByteLevel", add_prefix_space=False, use_regex=False)
def tokenizer(vocab=dict(a=0, b=1, ab=2, ba=3), merges=["a b", "b a"], added=[], pre=LEVEL, **more):
    return dict(model=dict(type="BPE", vocab=vocab, merges=merges), added_tokens=added, pre_tokenizer=pre, decoder=dict(type="ByteLevel"), **more)
def token(i, text): return dict(id=i, content=text, special=True)
def tokens(name, want, file, text="abab"):
    put("tok/config.json", dict(model_type="llama"))
    put("tok/tokenizer.json", file)
    run(name, want, "tokens", "tok", "-p", text, "--json")

def tokenizers():
    tokens("as it should be", 0, tokenizer())
    tokens("merges in a circle", 0, tokenizer(dict(a=0, b=1, ab=2, aba=3, abab=4), ["a b", "ab a", "a b", "aba b", "ab ab"]), "ab" * 5000)
    tokens("a merge to nothing", 3, tokenizer(merges=["a b", "ab a"]))
    tokens("a merge of nothing", 3, tokenizer(merges=["a x"]))
    tokens("a merge 200,000 times", 0, tokenizer(merges=["a b"] * 200000))
    tokens("merges that are none", 3, tokenizer(merges=[1, None, ["a"]]))
    tokens("an id beyond all", 3, tokenizer(dict(a=0, b=2147483647), []))
    tokens("an id beyond the vocabulary", 3, tokenizer(dict(a=0, b=1000000000), []))
    tokens("an id below 0", 3, tokenizer(dict(a=-1), []))
    tokens("half an id", 3, tokenizer(dict(a=0.5), []))
    tokens("ids that are texts", 3, tokenizer(dict(a="0"), []))
    tokens("one id twice", 0, tokenizer(dict(a=0, b=0), []))
    tokens("no vocabulary: nothing is a token", 0, tokenizer({}, []))
    tokens("20,000 times one added token", 0, tokenizer(added=[token(4 + i, "<x>") for i in range(20000)]), "<x>")
    tokens("100,000 added tokens", 0, tokenizer(added=[token(4 + i, f"<{i}>") for i in range(100000)]), "<5>" * 1000)
    tokens("added tokens of any length", 0, tokenizer(added=[token(4 + i, "a" * (i + 2)) for i in range(1000)]), "a" * 20000)
    tokens("an added token of nothing", 0, tokenizer(added=[token(4, "")]))
    tokens("added tokens without text", 3, tokenizer(added=[dict(id=4)]))
    tokens("a million levels", 3, "[" * 1000000)
    tokens("100,000 normalizers", 3, tokenizer(normalizer=dict(type="Sequence", normalizers=[dict(type="NFC")] * 100000)))
    tokens("10,000 pre-tokenizers", 3, tokenizer(pre=dict(type="Sequence", pretokenizers=[LEVEL] * 10000)))
    tokens("a long number", 3, '{"model":' + "1" * 100000 + "}")
    tokens("a long text", 3, '{"model":"' + "a" * 20000000 + '"}')
    tokens("a member a million times", 3, "{" + ",".join(['"a":1'] * 1000000) + "}")
    tokens("half a pair", 3, '{"model":"\\ud800"}')
    tokens("a word of 100,000 bytes", 0, tokenizer(), "ab" * 50000)

def regexes():
    def split(name, want, regex, text="a" * 5000 + "b"):
        parts = [dict(type="Split", pattern=dict(Regex=regex), behavior="Isolated", invert=False), LEVEL]
        tokens(name, want, tokenizer(pre=dict(type="Sequence", pretokenizers=parts)), text)
    for regex in ("(a+)+$", "(a|aa)+$", "(a?){40}a{40}"): split(regex, 3, regex) # run away
    for regex in ("(a|a)*b", "(.*)*x", "(?:(?:(?:a*)*)*)*b", "(x+x+)+y", "(?=(a+))*b", "", "^", "$|a", "(?!)"): split(regex, 0, regex)
    split("a pattern that compiles to much", 3, "((a{1,100}){1,100}){1,100}")
    split("5,000 groups in each other", 3, "(" * 5000 + ")" * 5000)
    split("100,000 classes", 3, "[" * 100000)
    split("a look behind of any length", 3, "(?<=a{1,255}b)c")
    split("what another engine reads", 3, "[[:alpha:]&&[^a]]")
    split("n * n steps", 0, "a*b", "a" * 60000)

# ---- prompts --------------------------------------------------------------------------------
def prompts():
    def lines(name, want, text, *more):
        put("p.jsonl", text)
        run(name, want, "eval", MODEL, "-f", "p.jsonl", *more)
    lines("a line of 10 MB of tokens", 2, '{"tokens":[' + ",".join(["1"] * 5000000) + "]}")
    lines("a line of 10 MB of text", 2, '{"text":"' + "a" * 10000000 + '"}')
    lines("10 MB that are no JSON", 3, "x" * 10000000)
    lines("10 MB beside the tokens", 0, '{"tokens":[1,2],"x":"' + "a" * 10000000 + '"}')
    lines("10 MB of spaces", 2, " " * 10000000)
    lines("a million levels", 3, '{"tokens":' + "[" * 1000000)
    for ids, want in (("1,99999999", 2), ("-1", 2), ("99999999999999999999", 3), ("1.5", 3), ('"1"', 3), ("null", 3), ("[1]", 3), ("", 2)):
        lines(ids, want, '{"tokens":[%s]}' % ids)
    lines("NUL", 3, b'{"tokens":[1]}\0\n')
    lines("no UTF-8", 3, b'{"id":"\xff","tokens":[1]}')
    lines("an id twice", 2, '{"id":"a","tokens":[1]}\n' * 2)
    lines("an id of control characters", 2, '{"id":"a\\nb\\u001b[31m","tokens":[999999]}')
    lines("a period below 0", 3, '{"tokens":[1],"period":-1}')
    lines("two BOS tokens", 3, '{"tokens":[1],"bos_len":2}')
    lines("a list", 3, "[]")
    lines("nothing", 2, "")
    put("p.txt", b"\xff\xfe\0 " * 20000)
    run("a text that is none", 0, "tokens", DATA + "/tok_smollm", "-f", "p.txt", "--json")
    run("more prompts than there can be", 2, "dataset", "repeat:n=9999999999", "--n-vocab", "9")
    run("longer ones than there can be", 2, "dataset", "repeat:k=999999999", "--n-vocab", "9")

# ---- containers -----------------------------------------------------------------------------
def st(header, data=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + data
def string(s): return struct.pack("<Q", len(s)) + s.encode()
def gguf(n_tensor, n_key, body): return b"GGUF" + struct.pack("<IQQ", 3, n_tensor, n_key) + body
def key(name, kind, value): return string(name) + struct.pack("<I", kind) + value

def containers():
    def one(name, data, want=3):
        put("m.gguf", data)
        run(name, want, "info", "m.gguf")
    one("300,000 keys", gguf(0, 300000, b"".join(key(f"k{i}", 4, b"\0\0\0\0") for i in range(300000))))
    one("one key twice", gguf(0, 2, key("a", 4, b"\0\0\0\0") * 2))
    one("200,000 levels of arrays", gguf(0, 1, key("a", 9, struct.pack("<IQ", 9, 1) * 200000)))
    one("an array of 2^62", gguf(0, 1, key("a", 9, struct.pack("<IQ", 7, 1 << 62))))
    one("an array of 2^61 texts", gguf(0, 1, key("a", 9, struct.pack("<IQ", 8, 1 << 61) + b"\0" * 100)))
    one("3,000,000 texts of nothing", gguf(0, 1, key("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 3000000) + b"\0" * 24000000)))
    one("2^63 tensors", gguf(1 << 63, 0, b""))
    one("2^32 keys", gguf(0, 1 << 32, b"\0" * 1000))
    one("another version", b"GGUF" + struct.pack("<IQQ", 1 << 31, 0, 0))
    for dims in ((1 << 63,), (1 << 32, 1 << 32), (1 << 31, 1 << 31, 4, 1), ((1 << 62) + 1, 4), (0,)):
        shape = struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in dims)
        one(f"a tensor of {dims}", gguf(1, 0, string("t") + shape + struct.pack("<IQ", 0, 0) + b"\0" * 64))
    for offset in (1, 32, 1 << 63, (1 << 64) - 32):
        one(f"a tensor at {offset}", gguf(1, 0, string("t") + struct.pack("<IQIQ", 1, 8, 0, offset) + b"\0" * 64))
    def folder(name, want, **files):
        for f in os.listdir(TMP + "/m") if os.path.isdir(TMP + "/m") else (): os.unlink(f"{TMP}/m/{f}")
        for f, data in files.items(): put("m/" + f.replace("__", "."), data)
        run(name, want, "info", "m")
    config = json.load(open(DATA + "/llama_gqa/config.json"))
    weights = open(DATA + "/llama_gqa/model.safetensors", "rb").read()
    n, tensor = 50000, lambda i: dict(dtype="F32", shape=[1], data_offsets=[4 * i, 4 * i + 4])
    folder("as it should be", 0, config__json=config, model__safetensors=weights)
    folder("50,000 tensors", 3, config__json=config, model__safetensors=st({f"t{i}": tensor(i) for i in range(n)}, bytes(4 * n)))
    folder("50,000 tensors, the last one first", 3, config__json=config, model__safetensors=st({f"t{i}": tensor(n - 1 - i) for i in range(n)}, bytes(4 * n)))
    folder("50,000 tensors of nothing", 3, config__json=config, model__safetensors=st({f"t{i}": dict(dtype="F32", shape=[0], data_offsets=[0, 0]) for i in range(n)}))
    folder("a header of 2^63 bytes", 3, config__json=config, model__safetensors=struct.pack("<Q", 1 << 63) + b"{}")
    folder("a million layers", 3, config__json=dict(config, num_hidden_layers=1000000), model__safetensors=weights)
    folder("a million sizes", 3, config__json=dict(config, num_attention_heads=[4] * 1000000), model__safetensors=weights)
    folder("500,000 members", 3, config__json={f"k{i}": i for i in range(500000)}, model__safetensors=weights)
    shards = lambda **where: dict(config__json=config, model__safetensors__index__json=dict(weight_map=where))
    for way in ("../m/model.safetensors", "/etc/passwd", "..", ".", "", "a/b", 7, None):
        folder(f"a shard at {way}", 3, **shards(t=way))
    folder("a shard that is not there", 1, **shards(t="a.safetensors"))
    folder("100,000 shards", 1, **shards(**{f"t{i}": f"f{i}.safetensors" for i in range(100000)}))
    folder("an index that is its own shard", 3, **shards(t="model.safetensors.index.json"))
    folder("a pickle", 3, config__json=config, pytorch_model__bin=b"\x80\x02}.")
    put("link/config.json", config)
    os.symlink("model.safetensors", TMP + "/link/model.safetensors")
    run("a link to itself", 1, "info", "link")
    # the hub's cache: refs/main names a folder
    os.environ["HF_HUB_CACHE"] = TMP + "/hub"
    for i, ref in enumerate((b"../../../m", b"..", b"", b"\0", b"a" * 100000, b"/etc")):
        put(f"hub/models--o--n{i}/refs/main", ref)
        run(f"a revision {ref[:20]!r}", 1, "info", f"o/n{i}")

def golden():
    tok = struct.pack("<3q", 1, 2, 3)
    def case(name, want, **t):
        head, data = {}, b""
        for k, (dtype, shape, b) in t.items():
            head[k.replace("__", ".")] = dict(dtype=dtype, shape=shape, data_offsets=[len(data), len(data) + len(b)])
            data += b
        put("g.safetensors", st(head, data))
        run(name, want, "verify", MODEL, "--golden", "g.safetensors")
    case("nothing but tokens", 5, tokens=("I64", [3], tok))
    case("no tokens", 3, hook_embed=("F32", [1], bytes(4)))
    case("tokens of another kind", 3, tokens=("F32", [6], tok), hook_embed=("F32", [1], bytes(4)))
    case("no tokens in tokens", 3, tokens=("I64", [0], b""), hook_embed=("F32", [0], b""))
    case("tokens that are no ids", 2, tokens=("I64", [3], struct.pack("<3q", 1, -1, 1 << 62)), hook_embed=("F32", [1], bytes(4)))
    case("a hook that there is not", 5, tokens=("I64", [3], tok), blocks__99__hook_resid_pre=("F32", [1], bytes(4)))
    case("another shape", 3, tokens=("I64", [3], tok), blocks__0__hook_resid_pre=("F32", [1], bytes(4)))
    case("numbers of no kind", 3, tokens=("I64", [3], tok), blocks__0__attn__hook_pattern=("BOOL", [4, 3, 3], bytes(36)))

# ---- words ----------------------------------------------------------------------------------
def words():
    put("p.jsonl", '{"tokens":[1,2,3]}')
    def record(name, want, *more): run(name, want, "record", MODEL, "-f", "p.jsonl", "-o", "w.db", *more)
    record("100 KB of heads", 0, "--maps", "L0H0," * 20000 + "L0H0")
    record("10,000 points", 0, "--acts", ",".join(["resid_post"] * 10000))
    record("braces that multiply", 2, "--acts", "{a,b}" * 200)
    record("a range of 100,000", 2, "--acts", "blocks.{0..99999}.hook_resid_pre")
    record("braces in braces", 2, "--acts", "{" * 1000 + "}" * 1000)
    record("braces of nothing", 5, "--acts", "{}" * 500)
    record("500 stars", 5, "--acts", "*a" * 500)
    record("a long number", 2, "--observe", "sinks:eps=" + "1" * 100000)
    record("no number", 2, "--observe", "sinks:eps=nan")
    record("heads beyond all", 2, "--maps", "L99999999999999999999H0")
    run("a long word", 2, "x" * 100000)
    run("a long option", 2, "info", "--" + "x" * 100000)
    run("a long path", 1, "info", "x" * 100000)
    run("lines in words", 2, "info", "--to\nkens")
    run("lines in paths", 1, "info", "no\nsuch\x1b[31m\rfile")
    run("no UTF-8", 1, "info", b"\xff\xfe")
    run("a range of nothing", 2, "heatmap", "--grid", "entropy_nats", "--range", "nan:inf", "--db", "w.db", "-o", "x.png")
    run("a picture beyond all", 2, "heatmap", "--grid", "entropy_nats", "--dpi", "1e308", "--db", "w.db", "-o", "x.png")
    def sql(name, want, text, *more): run(name, want, "query", text, "--db", "w.db", "--max-seconds", "2", *more)
    for text in ("delete from run where 1", "attach ':memory:' as x", "pragma writable_schema = 1", "select load_extension('x')", "vacuum into 'x'",
                 "create temp table t as select 1", "select 1; select 2", "select '", "select (((", " ", "select writefile('x', 'y')"):
        sql(text, 2, text)
    sql("rows without end", 1, "with recursive a(x) as (select 1 union all select x + 1 from a) select count(*) from a")
    sql("a value without end", 2, "select zeroblob(2000000000)")
    sql("a pattern of patterns", 2, "select 'a' like replace(hex(zeroblob(2000)), '0', 'a%')")
    sql("5,000 parentheses", 2, "select " + "(" * 5000 + "1" + ")" * 5000)
    sql("2,000 columns and one", 2, "select " + ",".join(["1"] * 2001))
    sql("two million bytes", 2, "select " + "1+" * 60000 + "1")
    sql("numbers beyond all", 0, "select att_at(1, 9223372036854775807, -9223372036854775808) where 0")
    sql("a map that there is not", 5, "select att_row(-1, 0)")

# ---- edits and sweeps -----------------------------------------------------------------------
def edits():
    def answers(name, want, line, metric="logit_diff,prob", *more):
        put("p.jsonl", line if line[0] == "{" else '{"tokens":[1,2,3],%s}' % line)
        run(name, want, "sweep", MODEL, "-f", "p.jsonl", "--metric", metric, "--heads", "L0H0", "-q", "-o", "w.db", *more)
    for v, want in (("1", 0), ("1e30", 3), ("-1", 3), ("64", 3), ("1.5", 3), ("[1]", 3), ("{}", 3), ("null", 3), ("true", 3),
                    ("9223372036854775808", 3), ('"two tokens"', 2), ('"\\ud83d\\ude00"', 2), ('""', 2), ("NaN", 3)):
        answers(f"answer {v}", want, f'"answer":{v},"wrong":2')
        answers(f"wrong {v}", want, f'"wrong":{v},"answer":2')
    for v, want in (('{"END":2}', 0), ('{"END":-1}', 0), ('{"END":3}', 3), ('{"END":-4}', 3), ('{"END":1e30}', 3), ('{"END":[0,1]}', 3),
                    ('{"END":{"END":1}}', 3), ('{"END":"1"}', 3), ('{"END":1.5}', 3), ("[1,2]", 3), ('"END"', 3), ("7", 3),
                    ("[" * 100000, 3), ("{" + ",".join(f'"p{i}":1' for i in range(100000)) + "}", 0)):
        answers(f"positions {v[:30]}", want, f'"answer":1,"wrong":2,"positions":{v}')
    answers("an answer of 10 MB", 2, '"answer":"' + "a " * 5000000 + '"', "prob")
    def metric(name, want, text): answers(name, want, '"answer":1', text)
    rows = "(values(1),(2),(3),(4),(5),(6),(7),(8))"
    metric("a loop", 2, "a=nll+(select max(a.column1) from " + ",".join(f"{rows} {c}" for c in "abcdefghijk") + ")")
    for text in ("nll) FROM numbers UNION SELECT (2", "(with recursive c(x) as (select 1 union all select x+1 from c) select max(x)+nll from c)",
                 "nll+load_extension('x')", "nll); attach 'x' as y; select (1", "nll + (select 1 from sqlite_master)", "nll+?", "nll/*",
                 "zeroblob(1e9)+nll", "randomblob(nll)", "printf('%.*c',1e9,'x')+nll", "nll+writefile('x','y')", "nll->'x'", '"nll2"+nll'):
        metric(text, 2, "a=" + text)
    metric("1,900 parentheses", 2, "a=" + "(" * 1900 + "nll" + ")" * 1900)
    metric("5,000 bytes", 2, "a=nll" + "+nll" * 1249)
    metric("texts that grow", 0, "a=nll" + "||nll" * 700)
    put("p.jsonl", '{"tokens":[1,2,3]}')
    def sweep(name, want, *more): run(name, want, "sweep", MODEL, "-f", "p.jsonl", "-q", "-o", "w.db", *more)
    sweep("draws without end", 2, "--top", "2", "--control", "1000000000000")
    for s in ("1/2/3", "/2", "1/", "-1/2", "1/2 ", "9" * 20 + "/" + "9" * 21, "0/1000001", "+0/2", "", "0//2", "1e0/2"):
        sweep(f"shard {s}", 2, "--shard", s)
    def do(name, want, *specs):
        run(name, want, "eval", MODEL, "-f", "p.jsonl", *[w for s in specs for w in ("--do", s)])
    do("10,000 units", 0, "ablate:" + "+".join(["L0H0"] * 10000))
    do("20,000 positions", 0, "ablate:L0H0,pos=" + "+".join(["0"] * 20000))
    do("3,000 edits", 0, *["scale:L0H0,by=1.01"] * 3000)
    do("a target of 100 KB", 2, "ablate:" + "x" * 100000)
    do("100 KB of parameters", 2, "ablate:L0H0" + ",mode=zero" * 10000)
    do("braces", 5, "{" * 5000)
    for s in ("scale:L0H0,by=nan", "scale:L0H0,by=1e38", "temper:L0H0,t=0", "temper:L0H0,t=1e-40", "@-1", "@", "@" + "9" * 20, "@x.db:"): do(s, 2, s)
    put("bad.db", b"SQLite format 3\0" + b"\xff" * 5000)
    for s in ("@bad.db:1", "patch:z:1,from=bad.db:1", "steer:resid_pre:1,vec=bad.db"): do(s, 3, s)

def told(): # what is wrong is told, however long the word is
    p = subprocess.run([EXE, "eval", MODEL, "-f", put("p.jsonl", '{"tokens":[1,2,3]}'), "--do", "ablate:" + "L0H0+" * 10000 + "L9H9"], stderr=subprocess.PIPE)
    if b"L9H9" not in p.stderr.split(b"...")[-1]: sys.exit(f"#   {p.stderr[-200:]}")

# ---- shards ---------------------------------------------------------------------------------
def shards():
    import shutil, sqlite3
    run("prompts", 0, "dataset", "repeat:k=6,n=4", "--n-vocab", "40", "-o", "four.jsonl")
    for i in "01": run(f"shard {i}", 0, "sweep", MODEL, "-f", "four.jsonl", "-q", "-o", f"s{i}.db", "--shard", f"{i}/2")
    def bend(name, want, *sql):
        shutil.copy(TMP + "/s1.db", TMP + "/bent.db")
        c = sqlite3.connect(TMP + "/bent.db", isolation_level=None)
        for s in ("pragma writable_schema = on", "pragma ignore_check_constraints = on", "pragma foreign_keys = off", *sql): c.execute(s)
        c.close()
        run(name, want, "merge", "merged.db", "s0.db", "bent.db")
        if os.path.exists(TMP + "/merged.db") != (want == 0): cage.complain(f"{name}: merged.db")
        if want == 0: os.unlink(TMP + "/merged.db")
    def options(a, b): return f"update run set options_json = replace(options_json, '{a}', '{b}')"
    bend("as it should be", 0, "select 1")
    bend("its last prompt is gone", 3, "delete from prompt where ord = 3")
    bend("its first prompt is gone", 3, "delete from prompt where ord = 1")
    bend("a prompt that is another's", 3, "update prompt set ord = 5 where ord = 3")
    bend("one of a million", 5, options("[1,2]", "[1,999999999]"))
    bend("not one of two", 1, options("[1,2]", "[5,2]"))
    bend("no JSON", 3, options('{"model"', '{model'))
    bend("levels", 3, options('{"model"', '{"a":' + "[" * 1000 + '1,"model"'))
    bend("10 MB", 1, options('{"model"', '{"' + "a" * 10000000 + '":1,"model"'))
    bend("a table that is a view", 3, "drop table sweep_unit", "create view sweep_unit as with recursive c(x) as (select 1 union all select x + 1 from c) "
         "select 1 prompt_id, x analysis_run_id, 'head' kind, x layer, 1 idx, 'nll' metric, 1.0 value, 2.0 base from c")
    bend("a table that is gone", 3, "drop table sweep_unit")
    bend("results of another analysis", 3, "update analysis set name = 'sinks'")
    bend("of an unknown one", 3, "update analysis set name = 'nope'")
    bend("a newer file", 3, "pragma user_version = 99")
    bend("numbers beyond all", 0, "update sweep_unit set value = 9e999, base = -9e999", "update head_metric set value = 9e999")
    c = sqlite3.connect(TMP + "/s1.db", isolation_level=None)
    names = [r[1] for r in c.execute("pragma table_info(run)")]
    shutil.copy(TMP + "/s1.db", TMP + "/many.db")
    c = sqlite3.connect(TMP + "/many.db")
    text, = c.execute("select options_json from run").fetchone()
    cells = ",".join("?1" if n == "id" else "?2" if n == "options_json" else n for n in names)
    for i in range(5000): c.execute(f"insert into run({','.join(names)}) select {cells} from run where id = 1", (i + 10, text.replace("[1,2]", "[1,1000000]").replace("{", f'{{"a{i}":1,', 1)))
    c.commit()
    c.close()
    run("5,000 runs of a million shards", 5, "merge", "merged.db", "many.db")

globals()[sys.argv[4]]()
sys.exit(cage.bad != 0)
END

hostile() { python3 "$tmp/h.py" "$HEADSCOPE" "$DATA" "$tmp" "$1"; }
t "tokenizers" hostile tokenizers
t "patterns" hostile regexes
t "prompts" hostile prompts
t "containers and folders" hostile containers
t "golden files" hostile golden
t "words and SQL" hostile words
t "edits and metrics" hostile edits
t "long words, and what is wrong with them" hostile told
t "shards" hostile shards
nothing() { # of what was forbidden
    [ -e "$tmp/w.db" ] && [ ! -e "$tmp/x" ] && [ -z "$(find "$tmp" -name 'x.*' -o -name '*.part')" ]
}
t "nothing was written that was not asked for" nothing
finish
