#!/usr/bin/env python3
"""Makes gradients_*.safetensors beside the models of tests/golden/data: what transformers' autograd
says of their activations.

    python3 tests/ref/gradients.py [DATA]

Needs torch (CPU), transformers >= 5, safetensors; tests/ref/fixtures.py makes the models. Everything
runs in f64 with eager attention. gradients_nll: of the mean negative log-likelihood of the scored
positions. gradients_diff: of logit[answer[0]] - logit[answer[1]] at the last position. Names are
those of hooks, without batch axis.
"""
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2LMHeadModel, LlamaForCausalLM

MODELS = ["llama_gqa", "llama_bias", "llama_yarn_factor", "gpt2_bare", "gpt2_untied"]
T = 12


def watch(model, got):
    """Hooks that keep the tensors whose gradients are wanted."""
    c, handles = model.config, []
    llama = isinstance(model, LlamaForCausalLM)
    n_head = c.num_attention_heads
    n_kv = c.num_key_value_heads if llama else n_head

    def keep(name, module, after, heads=0):
        def hook(_module, args, result=None):
            value = result if after else args[0]
            value = value[0] if isinstance(value, tuple) else value
            value.retain_grad()
            got[name] = (value, heads)
        handles.append(module.register_forward_hook(hook) if after
                       else module.register_forward_pre_hook(hook))

    for i, block in enumerate(model.model.layers if llama else model.transformer.h):
        at = f"blocks.{i}."
        attn = block.self_attn if llama else block.attn
        keep(at + "hook_resid_pre", block, False)
        if llama:
            keep(at + "attn.hook_q", attn.q_proj, True, n_head)
            keep(at + "attn.hook_k", attn.k_proj, True, n_kv)
            keep(at + "attn.hook_v", attn.v_proj, True, n_kv)
        else:
            keep(at + "attn.hook_qkv", attn.c_attn, True, n_head)
        keep(at + "attn.hook_z", attn.o_proj if llama else attn.c_proj, False, n_head)
        keep(at + "hook_mlp_out", block.mlp.down_proj if llama else block.mlp.c_proj, True)
    return handles


def gradients(model, tokens, measure):
    got, out = {}, {"tokens": tokens}
    handles = watch(model, got)
    model.zero_grad()
    measure(model(tokens[None], use_cache=False).logits[0]).backward()
    for h in handles:
        h.remove()
    for name, (value, heads) in got.items():
        grad = value.grad[0]
        parts = {name: grad}
        if name.endswith("qkv"):
            parts = {name[:-3] + p: x for p, x in zip("qkv", grad.chunk(3, -1))}
        for n, x in parts.items():
            out[n] = x.reshape(x.shape[0], heads, -1) if heads else x
    return {k: v.detach().to(torch.int64 if k == "tokens" else torch.float32).contiguous().clone()
            for k, v in out.items()}


def main():
    data = Path(sys.argv[1] if len(sys.argv) > 1 else
                Path(__file__).resolve().parent.parent / "golden" / "data")
    torch.set_num_threads(1)
    for name in MODELS:
        cls = LlamaForCausalLM if name.startswith("llama") else GPT2LMHeadModel
        model = cls.from_pretrained(data / name, dtype=torch.float32,
                                    attn_implementation="eager").double().eval()
        for module in model.modules():  # its upcast is to f32
            if hasattr(module, "reorder_and_upcast_attn"):
                module.reorder_and_upcast_attn = False
        tokens = load_file(data / name / "golden.safetensors")["tokens"][-T:].clone()
        answer = torch.tensor([5, 41])
        nll = gradients(model, tokens, lambda x: torch.nn.functional.cross_entropy(
            x[:-1], tokens[1:]))
        diff = gradients(model, tokens, lambda x: x[-1, answer[0]] - x[-1, answer[1]])
        diff["answer"] = answer
        save_file(nll, data / name / "gradients_nll.safetensors")
        save_file(diff, data / name / "gradients_diff.safetensors")


if __name__ == "__main__":
    main()
