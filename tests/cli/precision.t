# --precision: three ways to compute, told apart in the database, and how far verify says they are.
. tests/cli/lib.sh
m=$DATA/llama_gqa
printf '{"tokens": [1, 2, 3, 4, 5, 6, 7, 8]}\n' >"$tmp/p.jsonl"
db=$tmp/run.db

# ---- record ---------------------------------------------------------------------------------
record() { exits 0 record "$m" -f "$tmp/p.jsonl" -o "$db" --acts logits --json "$@"; }
each() { # with --resume, so that an equal run would be gone on with
    for p in exact bf16 f64; do record --precision $p --resume || return 1; done
    python3 - "$db" <<'END'
import json, sqlite3, sys
rows = sqlite3.connect(sys.argv[1]).execute("select precision, isa, options_json from run order by id").fetchall()
ok = [r[0] for r in rows] == ["exact", "bf16", "f64"] and (rows[2][1] == "f64") and rows[0][1] != "f64"
ok = ok and [json.loads(r[2])["precision"] for r in rows] == ["exact", "bf16", "f64"]
sys.exit(0 if ok else print("#  ", rows) or 1)
END
}
t "each precision is a run of its own and says so" each
again() { record --precision f64 --resume && json 'd["run"] == 3'; }
t "--resume finds the run of its precision" again
default() { record --resume && json 'd["run"] == 1'; }
t "exact is the default" default
t "no such precision" exits 2 record "$m" -f "$tmp/p.jsonl" -o "$db" --precision f16
isa() { HS_ISA=generic hs record "$m" -f "$tmp/p.jsonl" -o "$tmp/isa.db" --precision f64; }
t "kernels are not asked of the reference" isa

apart() { # bf16 further from double than exact is, and neither equal to it
    for r in 1 2 3; do hs export $r --db "$db" --what acts -o "$tmp/$r.safetensors" || return 1; done
    python3 - "$tmp" <<'END'
import json, struct, sys
def logits(path):
    with open(path, "rb") as f:
        n = struct.unpack("<Q", f.read(8))[0]
        a, b = json.loads(f.read(n))["p0/logits"]["data_offsets"]
        f.seek(8 + n + a)
        return struct.unpack("<%df" % ((b - a) // 4), f.read(b - a))
exact, bf16, f64 = (logits("%s/%d.safetensors" % (sys.argv[1], r)) for r in (1, 2, 3))
far = lambda x: max(abs(a - b) for a, b in zip(x, f64))
print("#  ", far(exact), far(bf16))
sys.exit(0 if 0 < far(exact) < 1e-4 < far(bf16) < 1 else 1)
END
}
t "bf16 is further from double than exact" apart

# ---- verify ---------------------------------------------------------------------------------
rounding='[c for c in d["checks"] if c["name"].startswith("rounding")]'
judged() { exits 0 verify "$1" --json && json "d['precision'] == 'exact' and len($rounding) > 12 and
    all(c['limit'] is not None and c['max_abs'] <= c['limit'] for c in $rounding if c['name'].find('nats') < 0)"; }
for model in "$m" "$DATA/gpt2_masks.gguf" "$DATA/llama_yarn" "$DATA/closed/rows4" "$DATA/closed/uniform"; do
    t "rounding of ${model#"$DATA"/} is judged" judged "$model"
done
every() { exits 0 verify "$m" --json && json "all(any(h in c['name'] for c in $rounding) for h in
    ['hook_embed', 'ln1.hook_scale', 'hook_q', 'hook_rot_k', 'hook_attn_scores', 'hook_pattern', 'hook_row_stats.',
     'hook_z', 'hook_attn_out', 'hook_resid_mid', 'hook_pre', 'hook_post', 'hook_mlp_out', 'ln_final.hook_normalized',
     'logits', 'KL divergence', 'change of nll'])"; }
t "every hook is among them" every
told() { exits 0 verify "$m" --precision bf16 --json && json "d['precision'] == 'bf16' and
    all(c['limit'] is None and c['passed'] for c in $rounding) and max(c['max_rel'] or 0 for c in $rounding) > 1e-4"; }
t "that of bf16 is told, not judged" told
reference() { exits 0 verify "$m" --precision f64 --json && json "d['passed'] and not $rounding"; }
t "the reference keeps the laws too" reference
loud() { # queries a thousand times as large: scores that f32 cannot hold to 1e-5
    mkdir "$tmp/loud" && cp "$DATA/llama_linear"/*.json "$tmp/loud" && python3 - "$DATA/llama_linear" "$tmp/loud" <<'END' && exits 4 verify "$tmp/loud" --json &&
import json, struct, sys
data = bytearray(open(sys.argv[1] + "/model.safetensors", "rb").read())
n = struct.unpack("<Q", data[:8])[0]
for name, t in json.loads(data[8:8 + n]).items():
    if "q_proj.weight" not in name: continue
    assert t["dtype"] == "F32"
    a, b = (8 + n + o for o in t["data_offsets"])
    data[a:b] = struct.pack("<%df" % ((b - a) // 4), *(1000 * x for x in struct.unpack("<%df" % ((b - a) // 4), data[a:b])))
open(sys.argv[2] + "/model.safetensors", "wb").write(data)
END
        json "not d['passed'] and any('hook_pattern' in c['name'] and not c['passed'] for c in $rounding)"
}
t "exit 4 when rounding goes too far" loud

finish
