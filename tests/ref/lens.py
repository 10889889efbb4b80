#!/usr/bin/env python3
"""Makes lens.safetensors beside the models of tests/golden/data: transformers' hidden states through
its own final norm and head, and what each part of the model adds to a logit.

    python3 tests/ref/lens.py [DATA]

Needs numpy, torch (CPU), transformers >= 5, safetensors; tests/ref/fixtures.py makes the models and
the tokens. Everything runs in f64. lens [n_layer + 1, T, V] are logits, kl [n_layer + 1, T] is KL(last
|| row); for the likeliest token of each position, with the final norm's scale as it was: head
[T, n_layer, n_head], mlp [T, n_layer], embed [T], bias [T].
"""
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from transformers import GPT2LMHeadModel, LlamaForCausalLM

MODELS = ["llama_gqa", "llama_bias", "gpt2_untied"]


def look(model, ids):
    llama, c = isinstance(model, LlamaForCausalLM), model.config
    body = model.model if llama else model.transformer
    blocks, final = (body.layers, body.norm) if llama else (body.h, body.ln_f)
    outs = [b.self_attn.o_proj if llama else b.attn.c_proj for b in blocks]
    downs = [b.mlp.down_proj if llama else b.mlp.c_proj for b in blocks]
    resid, z, mlp = [], [], []
    blocks[0].register_forward_pre_hook(lambda m, a: resid.append(a[0][0]))
    for b, o, d in zip(blocks, outs, downs):
        o.register_forward_pre_hook(lambda m, a: z.append(a[0][0]))
        d.register_forward_hook(lambda m, a, y: mlp.append(y[0]))
        b.register_forward_hook(lambda m, a, y: resid.append((y[0] if isinstance(y, tuple) else y)
                                                             .reshape(len(ids), -1)))
    logits = model(torch.tensor([ids])).logits[0]
    lens = torch.stack([model.lm_head(final(r)) for r in resid])
    assert torch.allclose(lens[-1], logits, atol=1e-12)
    log_p = lens.log_softmax(-1)
    kl = (log_p[-1].exp() * (log_p[-1] - log_p)).sum(-1)

    top = logits.argmax(-1)
    x = resid[-1]
    eps = c.rms_norm_eps if llama else c.layer_norm_epsilon
    scale = ((x - (0 if llama else x.mean(-1, keepdim=True))) ** 2).mean(-1).add(eps).sqrt()
    def says(part):
        """Of each position: what these rows add to the logit, without constants."""
        part = part if llama else part - part.mean(-1, keepdim=True)
        return (part / scale[:, None] * final.weight * model.lm_head.weight[top]).sum(-1)
    n_head, zero = c.num_attention_heads, torch.zeros_like(x)
    head, bias = torch.zeros(len(ids), len(blocks), n_head, dtype=torch.float64), 0
    total = torch.zeros(len(ids), len(blocks), dtype=torch.float64)
    for l, (o, d) in enumerate(zip(outs, downs)):
        w = o.weight.T if llama else o.weight
        for h in range(n_head):
            part = slice(h * w.shape[0] // n_head, (h + 1) * w.shape[0] // n_head)
            head[:, l, h] = says(z[l][:, part] @ w[part])
        for b in (o.bias, d.bias):
            bias = bias + (0 if b is None else says(zero + b))
        total[:, l] = says(mlp[l] - (0 if d.bias is None else d.bias))
    if getattr(final, "bias", None) is not None:
        bias = bias + (final.bias * model.lm_head.weight[top]).sum(-1)
    embed = says(resid[0])
    bias = bias + torch.zeros_like(embed)
    assert torch.allclose(head.sum((1, 2)) + total.sum(1) + embed + bias,
                          logits.gather(1, top[:, None])[:, 0], atol=1e-12)
    out = {"lens": lens, "kl": kl, "head": head, "mlp": total, "embed": embed, "bias": bias,
           "top": top.double()}
    return {k: np.ascontiguousarray(v.numpy(), dtype=np.float32) for k, v in out.items()}


def main():
    data = Path(sys.argv[1] if len(sys.argv) > 1 else
                Path(__file__).resolve().parent.parent / "golden" / "data")
    torch.set_num_threads(1)
    for name in MODELS:
        family = LlamaForCausalLM if name.startswith("llama") else GPT2LMHeadModel
        model = family.from_pretrained(data / name, dtype=torch.float32,
                                       attn_implementation="eager").double().eval()
        ids = load_file(data / name / "golden.safetensors")["tokens"].tolist()
        with torch.no_grad():
            save_file(look(model, ids), data / name / "lens.safetensors")


if __name__ == "__main__":
    main()
