#!/usr/bin/env python3
"""Makes weights.safetensors beside the models of tests/golden/data: what numpy and transformers say
of their weights.

    python3 tests/ref/weights.py [DATA]

Needs numpy, torch (CPU), transformers >= 5, safetensors; tests/ref/fixtures.py makes the models.
Everything runs in f64, on whole matrices of vocabulary x vocabulary; layer 0 on single tokens is
transformers' own. [n_layer, n_head] arrays by metric; copy_tokens are the tokens of the copying
scores; q_composition and so on are [later head, earlier head] over all layers; neuron_* are [layer,
neuron].
"""
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import GPT2LMHeadModel, LlamaForCausalLM

MODELS = ["llama_gqa", "llama_bias", "gpt2_bare", "gpt2_untied"]


def arrays(model):
    """Weights as rows multiply them: x W."""
    c, llama = model.config, isinstance(model, LlamaForCausalLM)
    n = lambda t: None if t is None else t.detach().numpy().astype(np.float64)
    out = {"llama": llama, "H": c.num_attention_heads, "layers": []}
    body = model.model if llama else model.transformer
    out["E"] = n((body.embed_tokens if llama else body.wte).weight)
    out["U"] = n(model.lm_head.weight).T
    final = body.norm if llama else body.ln_f
    out["gf"], out["bf"] = n(final.weight), n(getattr(final, "bias", None))
    for i, b in enumerate(body.layers if llama else body.h):
        l = {}
        norm = b.input_layernorm if llama else b.ln_1
        l["g"], l["b"] = n(norm.weight), n(getattr(norm, "bias", None))
        if llama:
            a = b.self_attn
            for k, p in (("q", a.q_proj), ("k", a.k_proj), ("v", a.v_proj), ("o", a.o_proj)):
                l[k], l["b" + k] = n(p.weight).T, n(p.bias)
            l["g2"] = n(b.post_attention_layernorm.weight)
            l["gate"], l["up"] = n(b.mlp.gate_proj.weight), n(b.mlp.up_proj.weight)
            l["down"] = n(b.mlp.down_proj.weight).T
        else:
            w, bias = n(b.attn.c_attn.weight), n(b.attn.c_attn.bias)
            for j, k in enumerate("qkv"):
                l[k], l["b" + k] = np.split(w, 3, 1)[j], np.split(bias, 3)[j]
            l["o"] = n(b.attn.c_proj.weight)
            l["g2"], l["up"] = n(b.ln_2.weight), n(b.mlp.c_fc.weight).T
            l["down"] = n(b.mlp.c_proj.weight)
        out["layers"].append(l)
    return out


def positivity(m):
    e = np.linalg.eigvals(m)
    return e.sum().real / np.abs(e).sum()


def spectrum(m):
    s = np.linalg.svd(m, compute_uv=False)
    p = s / s.sum()
    p = p[p > 1e-14]
    return {"norm": np.sqrt((s * s).sum()), "spectral": s[0], "nuclear": s.sum(),
            "rank": np.exp(-(p * np.log(p)).sum())}


def after_layer0(model, w, ids):
    """The residual after block 0 of each token alone, without its position."""
    x = torch.tensor(w["E"][ids])[:, None]
    if not w["llama"]:
        x = x - model.transformer.wpe.weight[0]
    return model(inputs_embeds=x, output_hidden_states=True,
                 use_cache=False).hidden_states[1][:, 0].detach().numpy()


def norm(w, x, g, b, eps):
    if w["llama"]:
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * g
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * g + b


def weigh(model):
    c, w = model.config, arrays(model)
    H, L, d = w["H"], len(w["layers"]), w["E"].shape[1]
    eps = c.rms_norm_eps if w["llama"] else c.layer_norm_epsilon
    centre = np.eye(d) - (0 if w["llama"] else 1 / d)
    U = centre @ np.diag(w["gf"]) @ w["U"]
    later = after_layer0(model, w, np.arange(len(w["E"])))
    ids = np.arange(0, len(w["E"]), 3)
    b1 = w["layers"][1]
    x1 = norm(w, later[ids], b1["g"], b1["b"], eps)
    out, circuits = {}, []

    def put(name, l, h, v):
        out.setdefault(name, np.zeros((L, H)))[l, h] = v

    for l, a in enumerate(w["layers"]):
        dh = a["o"].shape[0] // H
        group = H * dh // a["k"].shape[1]
        fold = centre @ np.diag(a["g"])
        for h in range(H):
            qs, ks = slice(h * dh, h * dh + dh), slice(h // group * dh, h // group * dh + dh)
            ov = fold @ a["v"][:, ks] @ a["o"][qs] @ centre
            qk = fold @ a["q"][:, qs] @ (fold @ a["k"][:, ks]).T
            circuits.append((ov, qk))
            for name, e in (("", w["E"]), ("_mlp0", later if l else w["E"])):
                put("ov_copying" + name, l, h, positivity(e @ ov @ U))
                put("qk_matching" + name, l, h, positivity(e @ qk @ e.T))
            for name, m in (("ov_", ov), ("qk_", qk)):
                for k, v in spectrum(m).items():
                    put(name + k, l, h, v)
            v = x1 @ a["v"][:, ks] + (0 if a["bv"] is None else a["bv"][ks])
            for name, sign in (("copy_score", 1), ("copy_score_negative", -1)):
                y = norm(w, sign * (v @ a["o"][qs]), w["gf"], w["bf"], eps) @ w["U"]
                rank = (y > y[np.arange(len(ids)), ids][:, None]).sum(1)
                put(name, l, h, (rank < 5).mean())
    for kind in "qkv":
        m = np.zeros((L * H, L * H))
        for to, (ov2, qk2) in enumerate(circuits):
            second = {"q": qk2, "k": qk2.T, "v": ov2}[kind]
            for at in range(to // H * H):
                ov1 = circuits[at][0]
                m[to, at] = np.linalg.norm(ov1 @ second) / np.linalg.norm(ov1) / np.linalg.norm(
                    second)
        out[kind + "_composition"] = m
    for kind in ("gate", "up", "down") if w["llama"] else ("up", "down"):
        logits = np.stack([(a[kind] if kind == "down" else a[kind] * a["g2"] @ centre) @ U
                           for a in w["layers"]])
        p = np.exp(logits - logits.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        out["neuron_" + kind], out["token_" + kind] = p.max(-1), p.argmax(-1).astype(np.float64)
    out["copy_tokens"] = ids.astype(np.float64)
    return {k: np.ascontiguousarray(v, dtype=np.float32) for k, v in out.items()}


def main():
    data = Path(sys.argv[1] if len(sys.argv) > 1 else
                Path(__file__).resolve().parent.parent / "golden" / "data")
    torch.set_num_threads(1)
    for name in MODELS:
        family = LlamaForCausalLM if name.startswith("llama") else GPT2LMHeadModel
        model = family.from_pretrained(data / name, dtype=torch.float32,
                                       attn_implementation="eager").double().eval()
        for module in model.modules():  # its upcast is to f32
            if hasattr(module, "reorder_and_upcast_attn"):
                module.reorder_and_upcast_attn = False
        with torch.no_grad():
            save_file(weigh(model), data / name / "weights.safetensors")


if __name__ == "__main__":
    main()
