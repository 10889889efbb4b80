# Commands that read a model: info, tokens, dataset, eval, generate, verify, and bad files.
. tests/cli/lib.sh
gguf=$DATA/llama_gqa.gguf
folder=$DATA/llama_gqa
ind2=$DATA/closed/ind2

# ---- info -----------------------------------------------------------------------------------
keys() {
    exits 0 info "$1" --json &&
        json 'all(k in d for k in "arch n_layer n_head n_kv_head d_model d_head n_vocab n_ctx dtype parameters".split())'
}
t "info of a GGUF file" keys "$gguf"
t "info of a folder" keys "$folder"
t "info of a safetensors file" keys "$folder/model.safetensors"
same_sizes() {
    exits 0 info "$gguf" --json && cp "$out" "$tmp/a"
    exits 0 info "$folder" --json
    python3 -c 'import json,sys
a, b = (json.load(open(f)) for f in sys.argv[1:])
sys.exit(any(a[k] != b[k] for k in ("arch", "n_layer", "n_head", "n_kv_head", "d_model", "parameters")))' "$tmp/a" "$out"
}
t "both containers of one model agree" same_sizes
tensors() { exits 0 info "$gguf" --tensors --json && json 'len(d["tensors"]) == d["n_tensor"]'; }
t "info --tensors" tensors
from_env() { HEADSCOPE_MODEL=$gguf hs info --json && json 'd["arch"] == "llama"'; }
t "the model of the environment" from_env
t "no model" exits 2 info

# ---- bad files ------------------------------------------------------------------------------
missing() { exits 1 "$1" "$tmp/none.gguf" -p x && says 'none.gguf'; }
t "a model that is not there: tokens" missing tokens
t "a model that is not there: info" exits 1 info "$tmp/none.gguf"
size=$(wc -c <"$gguf")
for cut in 0 1 3 4 8 23 100 1000 $((size / 2)) $((size - 32)) $((size - 1)); do
    head -c "$cut" "$gguf" >"$tmp/cut.gguf"
    t "info refuses a GGUF file cut at $cut" exits 3 info "$tmp/cut.gguf"
done
cp -r "$folder" "$tmp/folder"
size=$(wc -c <"$folder/model.safetensors")
for cut in 0 7 8 100 $((size - 1)); do
    head -c "$cut" "$folder/model.safetensors" >"$tmp/folder/model.safetensors"
    t "info refuses safetensors cut at $cut" exits 3 info "$tmp/folder"
done
cp "$folder/model.safetensors" "$tmp/folder/model.safetensors"
unknown_family() {
    sed 's/"model_type": *"llama"/"model_type": "lama"/' "$folder/config.json" >"$tmp/folder/config.json"
    exits 3 info "$tmp/folder" && says lama
}
t "an unknown family is named" unknown_family
printf 'PK\003\004' >"$tmp/pytorch_model.bin"
t "pickle files are refused" exits 3 info "$tmp/pytorch_model.bin"

# ---- dataset --------------------------------------------------------------------------------
same_bytes() {
    exits 0 dataset repeat:k=5,n=2 --n-vocab 40 && cp "$out" "$tmp/a" &&
        exits 0 dataset repeat:k=5,n=2 --n-vocab 40 -o "$tmp/b" && cmp "$tmp/a" "$tmp/b" &&
        [ "$(wc -l <"$tmp/b")" = 2 ]
}
t "a data set is the same every time" same_bytes
other_seed() { exits 0 dataset repeat:k=5,n=2,seed=7 --n-vocab 40 && ! cmp -s "$out" "$tmp/a"; }
t "another seed gives another" other_seed
t "no such data set" exits 5 dataset repeet --n-vocab 9
t "no such parameter" exits 2 dataset repeat:q=1 --n-vocab 9
t "no folder to write to" exits 1 dataset repeat --n-vocab 9 -o "$tmp/no/where"

# ---- eval -----------------------------------------------------------------------------------
# methods/heads.md 0.6: the loss of IND2 over queries 9..15 is 0.000387.
closed_form() {
    exits 0 eval "$ind2" -f "$ind2/prompts.jsonl" --per-token --json && json '
near(sum(d["prompts"][0]["token_nll"][9:16]) / 7, 0.000387, 5e-7) and d["tokens"] == 16 + 32 and
len(d["prompts"][0]["token_nll"]) == 16 and
near(d["nll"], sum(sum(p["token_nll"]) for p in d["prompts"]) / d["tokens"], 1e-9)'
}
t "eval gives the closed-form loss" closed_form
one_token() {
    printf '{"tokens": [1]}\n{"tokens": [1, 2]}\n' >"$tmp/short.jsonl"
    exits 0 eval "$ind2" -f "$tmp/short.jsonl" --json && json 'd["tokens"] == 1'
}
t "a prompt of one token scores nothing" one_token
one_for_people() {
    printf '{"tokens": [1]}\n' >"$tmp/one.jsonl"
    exits 0 eval "$ind2" -f "$tmp/one.jsonl" && prints '^nll - over 0 positions' && ! prints nan &&
        exits 0 eval "$ind2" -f "$tmp/one.jsonl" --json && json 'd == {"nll": None, "perplexity": None, "tokens": 0}'
}
t "which people see as a dash" one_for_people
bad_prompt() { printf '%s\n' "$2" >"$tmp/bad.jsonl"; exits "$1" eval "$ind2" -f "$tmp/bad.jsonl"; }
t "an empty prompt" bad_prompt 2 '{"tokens": []}'
t "an id out of range" bad_prompt 2 '{"tokens": [1, 9]}'
t "a negative id" bad_prompt 2 '{"tokens": [-1]}'
t "no JSON" bad_prompt 3 '{"tokens": [1, 2'
t "a line without a prompt" bad_prompt 3 '{"id": "x"}'
too_long() { bad_prompt 2 "{\"tokens\": [$(seq -s, 200 | sed 's/[0-9]*/1/g')]}" && says 'context'; }
t "a prompt longer than the context" too_long
t "text without a tokenizer" exits 2 eval "$ind2" -p hello
t "no prompt" exits 2 eval "$ind2"
t "no such file" exits 1 eval "$ind2" -f "$tmp/none.jsonl"

# ---- generate -------------------------------------------------------------------------------
copies() { # the induction model repeats what it saw
    head -n 1 "$ind2/prompts.jsonl" >"$tmp/twice.jsonl"
    exits 0 generate "$ind2" -f "$tmp/twice.jsonl" -n 4 --json && json 'd["prompts"][0]["tokens"] == [1, 6, 3, 8]'
}
t "generate goes on with the pattern" copies
seeded() {
    exits 0 generate "$gguf" -f "$ind2/prompts.jsonl" -n 8 --temperature 2 --seed 3 --json && cp "$out" "$tmp/a"
    exits 0 generate "$gguf" -f "$ind2/prompts.jsonl" -n 8 --temperature 2 --seed 3 --json && cmp "$out" "$tmp/a" &&
        exits 0 generate "$gguf" -f "$ind2/prompts.jsonl" -n 8 --temperature 2 --seed 4 --json && ! cmp -s "$out" "$tmp/a"
}
t "sampling follows its seed" seeded
ends() { # ends EOS N: with this eos_token_id, and no tokenizer, prompt "a" is followed by N tokens
    rm -rf "$tmp/ends" && cp -r "$folder" "$tmp/ends" &&
        sed "s/\"eos_token_id\": null/\"eos_token_id\": $1/" "$folder/config.json" >"$tmp/ends/config.json" &&
        exits 0 generate "$tmp/ends" -f "$tmp/end.jsonl" -n 5 --json &&
        json "len(d['prompts'][0]['tokens']) == $2 and d['prompts'][0]['tokens'] == $free[:$2]" &&
        exits 0 record "$tmp/ends" -f "$tmp/end.jsonl" --generate 5 -o "$tmp/ends.db" --json &&
        json "d['tokens'] == 3 + $2"
}
printf '{"id": "a", "tokens": [1, 2, 3]}\n' >"$tmp/end.jsonl"
hs generate "$folder" -f "$tmp/end.jsonl" -n 5 --json
free=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["prompts"][0]["tokens"])' "$out")
# What the i-th token is, and how many come until it stands there for the first time.
token() { python3 -c "print($free[$1])"; }
until_token() { python3 -c "print($free.index($free[$1]) + 1)"; }
t "generating without an end" ends null 5
t "generating ends at eos_token_id" ends "$(token 2)" "$(until_token 2)"
t "and at any of several" ends "[99, $(token 1)]" "$(until_token 1)"
t "no room to generate" exits 2 generate "$ind2" -f "$ind2/prompts.jsonl" -n 4000

# ---- verify ---------------------------------------------------------------------------------
for model in "$gguf" "$folder" "$DATA/gpt2_masks" "$DATA/gpt2_masks.gguf" "$ind2" "$DATA/closed/rows4"; do
    holds() { exits 0 verify "$model" --json && json 'd["passed"] and len(d["checks"]) > 12'; }
    t "the laws hold on ${model#"$DATA"/}" holds
done
generic() { HS_ISA=generic HS_THREADS=1 hs verify "$gguf" --json && json 'd["passed"]'; }
t "and with the portable kernels" generic
t "unknown kernels" exits 2 verify "$gguf" --isa sse9
golden() { exits 0 verify "$1" --golden "$folder/golden.safetensors" --json && json 'd["passed"] and len(d["checks"]) > 20'; }
t "golden activations, safetensors" golden "$folder"
t "golden activations, GGUF" golden "$gguf"
strict() { exits 4 verify "$folder" --golden "$folder/golden.safetensors" --atol 1e-12; }
t "exit 4 when a difference exceeds --atol" strict
other_model() { ! hs verify "$DATA/llama_llama3" --golden "$1" && [ $rc -le 4 ]; }
t "another model's activations fail" other_model "$folder/golden.safetensors"
masked() { # other tools write a large number where we have -inf; the visible scores are 0 here
    python3 - "$tmp/scores.safetensors" "$1" <<'END'
import json, struct, sys
T, H = 3, 2
scores = [float(sys.argv[2]) if j <= i else -1e9 for h in range(H) for i in range(T) for j in range(T)]
data = struct.pack("<3q", 0, 1, 2) + struct.pack(f"<{len(scores)}f", *scores)
head = json.dumps({"tokens": {"dtype": "I64", "shape": [T], "data_offsets": [0, 24]},
                   "blocks.0.attn.hook_attn_scores": {"dtype": "F32", "shape": [H, T, T], "data_offsets": [24, len(data)]}})
head += " " * (-len(head) % 8)
open(sys.argv[1], "wb").write(struct.pack("<Q", len(head)) + head.encode() + data)
END
    hs verify "$DATA/closed/uniform" --golden "$tmp/scores.safetensors"
    [ $rc = "$2" ]
}
t "scores are compared where a query sees the key" masked 0 0
t "and there they are" masked 0.01 4
edited() { # edited FROM TO STATUS: the golden file with a name replaced by one as long
    python3 -c 'import sys
b = open(sys.argv[1], "rb").read()
assert sys.argv[2].encode() in b and len(sys.argv[2]) == len(sys.argv[3])
open(sys.argv[4], "wb").write(b.replace(sys.argv[2].encode(), sys.argv[3].encode()))' \
        "$folder/golden.safetensors" "$1" "$2" "$tmp/g.safetensors" &&
        exits "$3" verify "$folder" --golden "$tmp/g.safetensors"
}
t "an unknown name in the file" edited blocks.0.hook_attn_out blocks.0.hook_attn_oot 5
t "a layer that is not there" edited blocks.0.hook_attn_out blocks.9.hook_attn_out 5
t "no tokens in the file" edited '"tokens"' '"tokenz"' 3
only_tokens() {
    python3 - "$tmp/only.safetensors" <<'END'
import struct, sys
head = b'{"tokens": {"dtype": "I64", "shape": [2], "data_offsets": [0, 16]}}'
head += b" " * (-len(head) % 8)
open(sys.argv[1], "wb").write(struct.pack("<Q", len(head)) + head + struct.pack("<2q", 0, 1))
END
    exits 5 verify "$folder" --golden "$tmp/only.safetensors" && says 'nothing but tokens'
}
t "nothing to compare" only_tokens
t "no such golden file" exits 1 verify "$folder" --golden "$tmp/none.safetensors"
finish
