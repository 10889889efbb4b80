# What is too little, too much or no number: threads, contexts, weights, odd sizes of models.
. tests/cli/lib.sh

# mk DIR KEY=VALUE...: a small random llama or gpt2 folder. Sizes: family, layer, d, head, kv, dh,
# ff, vocab, ctx; tied=0 gives an own head; scale multiplies all matrices; poke=TENSOR:INDEX:VALUE
# puts a number into one.
cat >"$tmp/mk.py" <<'END'
import json, os, random, struct, sys
o = dict(family="llama", layer=2, d=16, head=4, kv=2, dh=4, ff=24, vocab=29, ctx=64, tied=1, scale=1.0, poke="")
for a in sys.argv[2:]:
    k, v = a.split("=", 1)
    o[k] = type(o[k])(v)
rnd, tensors = random.Random(1), {}
def add(name, *shape, base=0.0):
    n = 1
    for s in shape: n *= s
    tensors[name] = (shape, [base + (rnd.random() - 0.5) * 0.6 * (1 if base else o["scale"]) for _ in range(n)])
d, q, kv = o["d"], o["head"] * o["dh"], o["kv"] * o["dh"]
if o["family"] == "llama":
    config = dict(model_type="llama", hidden_size=d, num_hidden_layers=o["layer"], num_attention_heads=o["head"],
                  num_key_value_heads=o["kv"], head_dim=o["dh"], intermediate_size=o["ff"], vocab_size=o["vocab"],
                  max_position_embeddings=o["ctx"], rms_norm_eps=1e-5, rope_theta=10000.0, hidden_act="silu",
                  tie_word_embeddings=bool(o["tied"]))
    add("model.embed_tokens.weight", o["vocab"], d)
    for l in range(o["layer"]):
        p = f"model.layers.{l}."
        for name, rows, cols in (("self_attn.q_proj", q, d), ("self_attn.k_proj", kv, d), ("self_attn.v_proj", kv, d),
                                 ("self_attn.o_proj", d, q), ("mlp.gate_proj", o["ff"], d), ("mlp.up_proj", o["ff"], d),
                                 ("mlp.down_proj", d, o["ff"])):
            add(p + name + ".weight", rows, cols)
        add(p + "input_layernorm.weight", d, base=1.0)
        add(p + "post_attention_layernorm.weight", d, base=1.0)
    add("model.norm.weight", d, base=1.0)
    if not o["tied"]: add("lm_head.weight", o["vocab"], d)
else:
    config = dict(model_type="gpt2", n_embd=d, n_layer=o["layer"], n_head=o["head"], n_inner=o["ff"],
                  vocab_size=o["vocab"], n_positions=o["ctx"], layer_norm_epsilon=1e-5, activation_function="gelu_new")
    add("wte.weight", o["vocab"], d)
    add("wpe.weight", o["ctx"], d)
    for l in range(o["layer"]):
        p = f"h.{l}."
        for name, rows, cols in (("attn.c_attn", d, 3 * d), ("attn.c_proj", d, d), ("mlp.c_fc", d, o["ff"]), ("mlp.c_proj", o["ff"], d)):
            add(p + name + ".weight", rows, cols)
            add(p + name + ".bias", cols)
        for n in ("ln_1", "ln_2"):
            add(p + n + ".weight", d, base=1.0)
            add(p + n + ".bias", d)
    add("ln_f.weight", d, base=1.0)
    add("ln_f.bias", d)
if o["poke"]:
    name, at, v = o["poke"].split(":")
    tensors[name][1][int(at)] = float(v)
os.makedirs(sys.argv[1], exist_ok=True)
head, data = {}, b""
for name, (shape, v) in tensors.items():
    b = struct.pack(f"<{len(v)}f", *v)
    head[name] = dict(dtype="F32", shape=list(shape), data_offsets=[len(data), len(data) + len(b)])
    data += b
head = json.dumps(head).encode()
head += b" " * (-len(head) % 8)
open(sys.argv[1] + "/model.safetensors", "wb").write(struct.pack("<Q", len(head)) + head + data)
json.dump(config, open(sys.argv[1] + "/config.json", "w"))
END
mk() { python3 "$tmp/mk.py" "$@"; }
m=$tmp/m f=$tmp/p.jsonl
mk "$m"
printf '{"tokens": [1, 2, 3, 4, 5, 6, 7, 1, 2, 3]}\n{"tokens": [5]}\n' >"$f"

# ---- threads --------------------------------------------------------------------------------
no_threads() {
    exits 2 record "$m" -f "$f" -o "$tmp/t.db" --threads "$1" && [ ! -e "$tmp/t.db" ] && says "${2-}"
}
t "no threads" no_threads 0 'leave it out'
t "fewer threads than none" no_threads -3
t "far too many threads" no_threads 99999999999
t "threads that are no number" no_threads two
environment() { HS_THREADS=$1 hs eval "$m" -f "$f"; [ $rc = 2 ] && says HS_THREADS; }
t "HS_THREADS=0" environment 0
t "HS_THREADS below 0" environment -1
many() {
    cores=$(python3 -c 'import os; print(len(os.sched_getaffinity(0)))')
    exits 0 eval "$m" -f "$f" --per-token --json --threads 1 && cp "$out" "$tmp/one" && [ ! -s "$err" ] &&
        exits 0 eval "$m" -f "$f" --per-token --json --threads $((cores + 9)) && cmp -s "$out" "$tmp/one" &&
        says "^$((cores + 9)) threads on [0-9]+ core" && [ "$(wc -l <"$err")" = 1 ] &&
        exits 0 eval "$m" -f "$f" -q --threads $((cores + 9)) && [ ! -s "$err" ]
}
t "more threads than cores: the same results, and a note" many

# ---- numbers that are none ------------------------------------------------------------------
# bad FAMILY TENSOR INDEX VALUE WORDS: exit 3, and the message names the tensor and the place
bad() {
    rm -rf "$tmp/bad"
    mk "$tmp/bad" family="$1" kv=4 tied=0 poke="$2:$3:$4" &&
        exits 3 record "$tmp/bad" -f "$f" -o "$tmp/bad.db" && says "tensor $2: .*$5.* (is )?not (a )?finite" &&
        [ ! -e "$tmp/bad.db" ]
}
t "a NaN in a matrix" bad llama model.layers.1.mlp.gate_proj.weight 37 nan 'row 2, column 5'
t "an infinity in a matrix" bad llama model.layers.0.self_attn.o_proj.weight 255 -inf 'row 15, column 15'
t "in one stored transposed" bad gpt2 h.1.mlp.c_fc.weight 25 inf 'row 1, column 1'
t "in the values of a fused one" bad gpt2 h.0.attn.c_attn.weight 33 nan 'row 1, column 0'
t "a NaN in a norm" bad llama model.layers.1.input_layernorm.weight 3 nan 'number 3'
t "an infinity in a bias" bad gpt2 h.0.attn.c_attn.bias 47 inf 'number 47'
t "a NaN in the last norm" bad gpt2 ln_f.bias 0 nan 'number 0'
t "in embeddings that are not the head" bad llama model.embed_tokens.weight 463 nan 'row 28, column 15'
t "in the head" bad llama lm_head.weight 17 nan 'row 1, column 1'
t "in embeddings that are the head" bad gpt2 wte.weight 16 inf 'row 1, column 0'
t "in a table of positions" bad gpt2 wpe.weight 1023 nan 'row 63, column 15'
bad_portable() { HS_ISA=generic bad llama model.layers.1.mlp.gate_proj.weight 37 nan 'row 2, column 5'; }
t "with the portable kernels" bad_portable

# ---- odd sizes ------------------------------------------------------------------------------
# Kernels of every instruction set against the reference in double precision, and the laws.
isas=$(for isa in generic avx2 avx512; do "$HEADSCOPE" eval "$m" -f "$f" --isa $isa >/dev/null 2>&1 && echo $isa; done)
odd() {
    rm -rf "$tmp/odd"
    mk "$tmp/odd" "$@" && exits 0 eval "$tmp/odd" -f "$f" --per-token --json --precision f64 && cp "$out" "$tmp/f64" || return 1
    for isa in $isas; do
        exits 0 eval "$tmp/odd" -f "$f" --per-token --json --isa "$isa" && python3 - "$out" "$tmp/f64" <<'END' || return 1
import json, sys
a, b = (json.load(open(p)) for p in sys.argv[1:])
for p, q in zip(a["prompts"], b["prompts"]):
    assert len(p["token_nll"]) == len(q["token_nll"])
    assert all(abs(x - y) < 2e-5 for x, y in zip(p["token_nll"], q["token_nll"])), (p, q)
END
        exits 0 verify "$tmp/odd" --json --isa "$isa" && json 'd["passed"]' || return 1
    done
    exits 0 record "$tmp/odd" -f "$f" --maps all -o "$tmp/odd.db" --json && json 'd["tokens"] == 11' && rm "$tmp/odd.db"
}
t "one head" odd head=1 kv=1 dh=8
t "one layer, one head of two numbers" odd layer=1 head=1 kv=1 dh=2 d=2 ff=1 vocab=11
t "heads that fill no vector" odd head=3 kv=1 dh=10 d=30
t "heads just past a vector" odd head=2 kv=2 dh=34 d=5
t "heads past two vectors" odd head=1 kv=1 dh=66 d=11 ff=67
t "a vocabulary of 8" odd vocab=8
t "a vocabulary past a panel" odd vocab=131 tied=0
t "one key-value head for five" odd head=5 kv=1 dh=6 d=9 ff=17
t "no power of two anywhere, learned positions" odd family=gpt2 head=3 dh=7 d=21 ff=13 vocab=37
t "one learned head" odd family=gpt2 head=1 dh=5 d=5 ff=3 vocab=9
one_token() {
    printf '{"tokens": [3]}\n' >"$tmp/one.jsonl"
    exits 0 record "$m" -f "$tmp/one.jsonl" --maps all --observe sinks -o "$tmp/one.db" --json && json 'd["tokens"] == 1' &&
        exits 0 heads --metric entropy_nats --db "$tmp/one.db" --json && json 'all(h["value"] == 0 for h in d["heads"])' &&
        exits 0 heads --metric sink_alpha0 --db "$tmp/one.db" --json && json 'all(h["value"] == 1 for h in d["heads"])'
}
t "a prompt of one token" one_token

# ---- denormal numbers -----------------------------------------------------------------------
denormal() { # the embedding's least numbers come through every addition
    mk "$tmp/small" scale=1e-40 && exits 0 record "$tmp/small" -f "$f" --acts hook_embed,blocks.1.hook_resid_post -o "$tmp/small.db" --isa "$1" &&
        exits 0 export --db "$tmp/small.db" -o "$tmp/small.npz" && rm "$tmp/small.db" && python3 - "$tmp/small.npz" <<'END'
import struct, sys, zipfile
def floats(z, name):
    b = z.read(name + ".npy")
    n, = struct.unpack_from("<H", b, 8)
    return struct.unpack_from(f"<{(len(b) - 10 - n) // 4}f", b, 10 + n)
z = zipfile.ZipFile(sys.argv[1])
a, b = floats(z, "p0/hook_embed"), floats(z, "p0/blocks.1.hook_resid_post")
assert len(a) == len(b) == 160 and a == b and sum(0 < abs(x) < 1.1e-38 for x in a) > 150
END
}
for isa in $isas; do t "denormal numbers stay: $isa" denormal "$isa"; done

# ---- contexts -------------------------------------------------------------------------------
mk "$tmp/gpt2" family=gpt2 kv=4
learned() { exits 2 eval "$tmp/gpt2" -f "$f" --ctx 65 && says '65 .*learned 64'; }
t "no positions past those that were learned" learned
t "all of them" exits 0 eval "$tmp/gpt2" -f "$f" --ctx 64
t "no context" exits 2 eval "$m" -f "$f" --ctx 0
t "a context below 0" exits 2 eval "$m" -f "$f" --ctx -64
t "a context past all numbers" exits 2 eval "$m" -f "$f" --ctx 9000000000000000000

# ---- memory ---------------------------------------------------------------------------------
refused() { exits 1 "$@" && says 'take [0-9.]+ [TGM]B of memory, [0-9.]+ [TGM]B are available' && [ ! -e "$tmp/big.db" ]; }
t "generate: more than memory, before any work" refused generate "$m" -f "$f" -n 2000000000 --ctx 2100000000
t "record: the same, and no file" refused record "$m" -f "$f" --generate 2000000000 --ctx 2100000000 -o "$tmp/big.db"
limited() { # limited MB COMMAND...: in an address space of so much, which sanitizers cannot do with
    python3 -c 'import os, resource, sys
limit = int(sys.argv[1]) << 20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
os.execvp(sys.argv[2], sys.argv[2:])' "$@"
}
long() {
    python3 -c 'print("{\"tokens\": [%s1]}" % ("1," * 100000))' >"$tmp/long.jsonl"
    mk "$tmp/fat" layer=1 d=512 head=8 kv=8 dh=64 ff=8 vocab=8
    text=$(limited 450 timeout 60 "$HEADSCOPE" eval "$tmp/fat" -f "$tmp/long.jsonl" --ctx 200000 --threads 1 2>&1)
    rc=$?
    printf '%s\n' "$text" >"$err"
    [ $rc = 1 ] && [ "$(wc -l <"$err")" = 1 ] && says '^headscope: 100001 tokens at once take .* of memory'
}
heavy() {
    mk "$tmp/heavy" d=256 ff=16384 vocab=16
    text=$(limited 190 timeout 60 "$HEADSCOPE" eval "$tmp/heavy" -f "$f" --weights expand --threads 1 2>&1)
    rc=$?
    printf '%s\n' "$text" >"$err"
    [ $rc = 1 ] && [ "$(wc -l <"$err")" = 1 ] && says '^headscope: .*heavy: its weights take 0.10 GB of memory'
}
if [ -z "${HS_SANITIZED-}" ]; then
    t "a prompt longer than memory" long
    t "weights larger than memory" heavy
fi
t "info tells what such a context takes" exits 0 info "$m" --tokens 2000000000 --json
told() { json 'd["memory"]["decoding"] > 1e11 and d["memory"]["recording"] == sum(d["memory"][k] for k in
"program weights tables rows keys_and_values block scratch recorder".split())'; }
told_parts() { exits 0 info "$m" --tokens 2000000000 --json && told; }
t "by its parts" told_parts
t "no tokens" exits 2 info "$m" --tokens 0
t "more tokens than can be counted" exits 2 info "$m" --tokens 3000000000

# What info says a recording takes, against what it took.
planned() { # planned MODEL TOKENS VOCABULARY
    python3 - "$HEADSCOPE" "$tmp" "$@" <<'END'
import json, os, random, resource, subprocess, sys
exe, tmp, model, n, vocab = sys.argv[1:]
rnd = random.Random(2)
with open(tmp + "/n.jsonl", "w") as f:
    json.dump({"tokens": [rnd.randrange(int(vocab)) for _ in range(int(n))]}, f)
plan = json.loads(subprocess.check_output([exe, "info", model, "--tokens", n, "--json"]))["memory"]
db = tmp + "/n.db"
subprocess.check_call([exe, "record", model, "-f", tmp + "/n.jsonl", "--ctx", "65536", "-o", db, "-q"], stdout=subprocess.DEVNULL)
held = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
os.unlink(db)
print("#", n, "tokens: planned", plan["recording"], "took", held)
sys.exit(not 0.88 < plan["recording"] / held < 1.13)
END
}
if [ -z "${HS_SANITIZED-}" ]; then
    mk "$tmp/wide" layer=4 d=256 head=8 kv=4 dh=32 ff=1024 vocab=2000 tied=0 ctx=65536
    for n in 10 1000 6000; do t "the plan for $n tokens" planned "$tmp/wide" $n 2000; done
    if [ -e "$REAL" ]; then
        for n in 10 400 1500; do t "the plan for $n tokens of a real model" planned "$REAL" $n 49152; done
    fi
fi

# ---- weights that nobody asks for -----------------------------------------------------------
unread() { # of 1.6 GB of zeros in a file without blocks, info reads the edges of tensors
    python3 - "$HEADSCOPE" "$tmp/sparse" <<'END'
import ctypes, json, mmap, os, struct, subprocess, sys
exe, folder = sys.argv[1:]
d, ff, vocab, layers, head, size = 1024, 8192, 1000, 12, {}, 0
def add(name, *shape):
    global size
    n = 4
    for s in shape: n *= s
    head[name] = dict(dtype="F32", shape=shape, data_offsets=[size, size + n])
    size += n
add("model.embed_tokens.weight", vocab, d)
for l in range(layers):
    p = f"model.layers.{l}."
    for name in "qkvo": add(f"{p}self_attn.{name}_proj.weight", d, d)
    for name in ("gate", "up"): add(f"{p}mlp.{name}_proj.weight", ff, d)
    add(p + "mlp.down_proj.weight", d, ff)
    for name in ("input", "post_attention"): add(f"{p}{name}_layernorm.weight", d)
add("model.norm.weight", d)
os.mkdir(folder)
text = json.dumps(head).encode()
text += b" " * (-len(text) % 8)
path = folder + "/model.safetensors"
with open(path, "wb") as f:
    f.write(struct.pack("<Q", len(text)) + text)
    f.truncate(8 + len(text) + size)
json.dump(dict(model_type="llama", hidden_size=d, num_hidden_layers=layers, num_attention_heads=16, num_key_value_heads=16, intermediate_size=ff,
               vocab_size=vocab, max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=1e4, hidden_act="silu", tie_word_embeddings=True),
          open(folder + "/config.json", "w"))
subprocess.check_call([exe, "info", folder], stdout=subprocess.DEVNULL)
libc, n = ctypes.CDLL(None), os.path.getsize(path)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
page = mmap.PAGESIZE
at, held = libc.mmap(None, n, 1, 1, os.open(path, os.O_RDONLY), 0), (ctypes.c_ubyte * (n // page + 1))()
libc.mincore(ctypes.c_void_p(at), ctypes.c_size_t(n), held)
read = sum(x & 1 for x in held) * page
print("#", read, "of", n, "bytes were read")
sys.exit(read > n // 20)
END
}
t "opening a large model reads none of it" unread

# ---- every kernel set on a real model -------------------------------------------------------
if [ -e "$REAL" ] && [ -z "${HS_SANITIZED-}" ]; then
    lawful() { exits 0 verify "$REAL" --isa "$1" --json && json 'd["passed"]'; }
    for isa in $isas; do t "the laws hold on a real model: $isa" lawful "$isa"; done
fi

finish
