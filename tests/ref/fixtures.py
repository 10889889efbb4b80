#!/usr/bin/env python3
"""Makes tests/golden/data: small random models and what transformers computes with them.

    python3 tests/ref/fixtures.py [OUT]

Needs torch (CPU), transformers >= 5, safetensors, gguf, numpy. Not needed by `make test`: what it
writes is in the repository. Every model folder is loaded back by transformers (eager attention,
f32) before it is run, so that config.json means here what it means there. golden.safetensors holds
`tokens` and the activations by hook name, without batch axis. The .gguf beside some folders holds
the same weights as llama.cpp's converter lays them out (q and k rows of Llama interleaved).
"""
import json
import math
import shutil
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.models.llama import modeling_llama

torch.set_num_threads(1)
torch.manual_seed(0)
VOCAB, T = 64, 24
DTYPE = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


# ---- models --------------------------------------------------------------------------------------

def draw(model):
    """Random weights wide enough that attention is far from uniform."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim == 1:
                norm = "norm" in name or ".ln_" in name
                p.normal_(1.0 if norm and name.endswith("weight") else 0.0, 0.3)
            elif "embed" in name or "wte" in name or "wpe" in name:
                p.normal_(0.0, 1.0)
            else:
                gain = 2.0 if "q_proj" in name or "k_proj" in name or "c_attn" in name else 1.0
                p.normal_(0.0, gain / math.sqrt(p.shape[0] if "c_" in name else p.shape[1]))


def write_folder(folder, config, state, edit, shards):
    folder.mkdir(parents=True)
    for key, value in edit.items():
        if value is KeyError:
            config.pop(key, None)
        else:
            config[key] = value
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    if shards == 1:
        save_file(state, folder / "model.safetensors", {"format": "pt"})
        return
    names = sorted(state)
    files = [f"model-{i + 1:05}-of-{shards:05}.safetensors" for i in range(shards)]
    where = {n: files[i * shards // len(names)] for i, n in enumerate(names)}
    for f in files:
        save_file({n: state[n] for n in names if where[n] == f}, folder / f, {"format": "pt"})
    index = {"metadata": {"total_size": sum(t.nbytes for t in state.values())},
             "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def make(out, name, cls, config, dtype, edit={}, shards=1, prefix=True, head=False, masks=False,
         length=T):
    """A model folder and its golden file; returns the loaded model."""
    model = cls(config)
    draw(model)
    base = model.base_model_prefix + "."
    state = {}
    for key, value in model.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings and not head:
            continue
        key = key if prefix or not key.startswith(base) else key[len(base):]
        state[key] = value.to(DTYPE[dtype]).contiguous().clone()
    for layer in range(config.num_hidden_layers if masks else 0):
        n = config.n_positions
        mask = torch.tril(torch.ones(n, n, dtype=torch.uint8)).view(1, 1, n, n)
        state[f"{base if prefix else ''}h.{layer}.attn.bias"] = mask
        state[f"{base if prefix else ''}h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    saved = config.to_dict()
    for key in ("transformers_version", "_name_or_path", "architectures", "chunk_size_feed_forward",
                "id2label", "label2id", "output_attentions", "output_hidden_states", "return_dict",
                "problem_type", "is_encoder_decoder", "task_specific_params"):
        saved.pop(key, None)
    folder = out / name
    write_folder(folder, saved, state, edit, shards)
    loaded = cls.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    tokens = torch.randint(0, VOCAB, (length,))
    tokens[length // 2:] = tokens[:length - length // 2]  # repeats, for patterns worth having
    golden = capture(loaded, tokens)
    golden["tokens"] = tokens
    save_file({k: v.contiguous().clone() for k, v in golden.items()}, folder / "golden.safetensors")
    return loaded


# ---- activations ---------------------------------------------------------------------------------

def heads(x, n):
    return x.reshape(x.shape[0], n, -1)


def norm_parts(x, eps, centred):
    x = x.double()
    if centred:
        x = x - x.mean(-1, keepdim=True)
    scale = (x.pow(2).mean(-1, keepdim=True) + eps).sqrt()
    return scale.float(), (x / scale).float()


def capture(model, tokens):
    c = model.config
    llama = isinstance(model, LlamaForCausalLM)
    got, handles, rotated = {}, [], []

    def keep(name, module, after, view=lambda x: x):
        def hook(_module, args, result=None):
            value = result if after else args[0]
            value = value[0] if isinstance(value, tuple) else value
            got[name] = view(value[0].detach())
        handles.append(module.register_forward_hook(hook) if after
                       else module.register_forward_pre_hook(hook))

    n_head = c.num_attention_heads
    n_kv = c.num_key_value_heads if llama else n_head
    body = model.model if llama else model.transformer
    keep("hook_embed", body.embed_tokens if llama else body.wte, True)
    for i, block in enumerate(body.layers if llama else body.h):
        at = f"blocks.{i}."
        keep(at + "hook_resid_pre", block, False)
        keep(at + "hook_resid_post", block, True)
        if llama:
            attn, mlp = block.self_attn, block.mlp
            keep(at + "hook_resid_mid", block.post_attention_layernorm, False)
            keep(at + "attn.hook_q", attn.q_proj, True, lambda x: heads(x, n_head))
            keep(at + "attn.hook_k", attn.k_proj, True, lambda x: heads(x, n_kv))
            keep(at + "attn.hook_v", attn.v_proj, True, lambda x: heads(x, n_kv))
            keep(at + "mlp.hook_pre", mlp.gate_proj, True)
            keep(at + "mlp.hook_pre_linear", mlp.up_proj, True)
            out, down = attn.o_proj, mlp.down_proj
        else:
            attn, mlp = block.attn, block.mlp
            keep(at + "hook_resid_mid", block.ln_2, False)
            for j, part in enumerate("qkv"):
                keep_part(got, handles, attn.c_attn, at + "attn.hook_" + part, j, n_head)
            keep(at + "mlp.hook_pre", mlp.c_fc, True)
            out, down = attn.c_proj, mlp.c_proj
        keep(at + "attn.hook_z", out, False, lambda x: heads(x, n_head))
        keep(at + "hook_attn_out", out, True)
        keep(at + "mlp.hook_post", down, False)
        keep(at + "hook_mlp_out", down, True)

    plain = modeling_llama.apply_rotary_pos_emb

    def rotate(q, k, cos, sin, *args, **kwargs):
        q, k = plain(q, k, cos, sin, *args, **kwargs)
        rotated.append((q[0].transpose(0, 1).detach(), k[0].transpose(0, 1).detach()))
        return q, k

    modeling_llama.apply_rotary_pos_emb = rotate
    with torch.no_grad():
        result = model(tokens[None], output_attentions=True, use_cache=False)
    modeling_llama.apply_rotary_pos_emb = plain
    for h in handles:
        h.remove()

    got["logits"] = result.logits[0]
    eps = c.rms_norm_eps if llama else c.layer_norm_epsilon
    for i, pattern in enumerate(result.attentions):
        at = f"blocks.{i}."
        got[at + "attn.hook_pattern"] = pattern[0]
        for norm, x in (("ln1", "hook_resid_pre"), ("ln2", "hook_resid_mid")):
            got[at + norm + ".hook_scale"], got[at + norm + ".hook_normalized"] = \
                norm_parts(got[at + x], eps, not llama)
    for i, (q, k) in enumerate(rotated):
        got[f"blocks.{i}.attn.hook_rot_q"], got[f"blocks.{i}.attn.hook_rot_k"] = q, k
    w = body.layers[0].self_attn.o_proj.weight if llama else body.h[0].attn.c_proj.weight.T
    z = got["blocks.0.attn.hook_z"]
    got["blocks.0.attn.hook_result"] = torch.einsum(
        "thd,ohd->tho", z.double(), heads(w.detach(), n_head).double()).float()
    last = got[f"blocks.{c.num_hidden_layers - 1}.hook_resid_post"]
    got["ln_final.hook_scale"], got["ln_final.hook_normalized"] = norm_parts(last, eps, not llama)
    if not llama:
        got["hook_pos_embed"] = body.wpe.weight[:len(tokens)].detach()
    return got


def keep_part(got, handles, module, name, part, n_head):
    def hook(_module, _args, result):
        got[name] = heads(result[0].detach().chunk(3, -1)[part], n_head)
    handles.append(module.register_forward_hook(hook))


# ---- GGUF ----------------------------------------------------------------------------------------

GGUF_DTYPE = {"F32": None, "F16": gguf.GGMLQuantizationType.F16,
              "BF16": gguf.GGMLQuantizationType.BF16}


def add(writer, name, tensor, dtype):
    x = tensor.detach().float().contiguous().numpy()
    if x.ndim == 1 or dtype == "F32":
        writer.add_tensor(name, x)
    else:
        kind = GGUF_DTYPE[dtype]
        writer.add_tensor(name, gguf.quants.quantize(x, kind), raw_dtype=kind)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def pairs(x, n_head):
    """Halves to pairs, as the converter's permute."""
    return x.reshape(n_head, 2, x.shape[0] // n_head // 2, *x.shape[1:]).swapaxes(1, 2) \
        .reshape(x.shape)


def llama_gguf(path, model, dtype, tied):
    c, s = model.config, model.state_dict()
    w = gguf.GGUFWriter(path, "llama")
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_block_count(c.num_hidden_layers)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_key_length(c.head_dim)
    w.add_value_length(c.head_dim)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    w.add_vocab_size(c.vocab_size)
    w.add_rope_dimension_count(c.head_dim)
    rope = c.rope_parameters
    w.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "yarn":
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(rope["factor"])
        w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if rope["rope_type"] == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "llama3":
        plain = 1.0 / rope["rope_theta"] ** (torch.arange(0, c.head_dim, 2).double() / c.head_dim)
        add(w, "rope_freqs.weight", plain / model.model.rotary_emb.inv_freq.double(), "F32")
    add(w, "token_embd.weight", s["model.embed_tokens.weight"], dtype)
    add(w, "output_norm.weight", s["model.norm.weight"], dtype)
    if not tied:
        add(w, "output.weight", s["lm_head.weight"], dtype)
    names = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q",
             "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
             "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
    for layer in range(c.num_hidden_layers):
        for hf, ours in names.items():
            for kind in ("weight", "bias"):
                x = s.get(f"model.layers.{layer}.{hf}.{kind}")
                if x is None:
                    continue
                if ours == "attn_q":
                    x = pairs(x, c.num_attention_heads)
                if ours == "attn_k":
                    x = pairs(x, c.num_key_value_heads)
                add(w, f"blk.{layer}.{ours}.{kind}", x, dtype)
    finish(w)


def gpt2_gguf(path, model, dtype):
    c, s = model.config, model.state_dict()
    w = gguf.GGUFWriter(path, "gpt2")
    w.add_context_length(c.n_positions)
    w.add_embedding_length(c.n_embd)
    w.add_block_count(c.n_layer)
    w.add_feed_forward_length(c.n_inner or 4 * c.n_embd)
    w.add_head_count(c.n_head)
    w.add_layer_norm_eps(c.layer_norm_epsilon)
    w.add_vocab_size(c.vocab_size)
    add(w, "token_embd.weight", s["transformer.wte.weight"], dtype)
    add(w, "position_embd.weight", s["transformer.wpe.weight"], "F32")
    for kind in ("weight", "bias"):
        add(w, "output_norm." + kind, s["transformer.ln_f." + kind], dtype)
    names = {"ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
             "ln_2": "ffn_norm", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
    for layer in range(c.n_layer):
        for hf, ours in names.items():
            for kind in ("weight", "bias"):
                x = s[f"transformer.h.{layer}.{hf}.{kind}"]
                add(w, f"blk.{layer}.{ours}.{kind}", x.T if x.ndim == 2 else x, dtype)
    finish(w)


# ---- the set -------------------------------------------------------------------------------------

def llama(**more):
    base = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=40, num_hidden_layers=2,
                num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
                bos_token_id=None, eos_token_id=None)
    base.update(more)
    return LlamaConfig(**base)


def gpt2(**more):
    base = dict(vocab_size=VOCAB, n_positions=32, n_embd=32, n_layer=2, n_head=4,
                bos_token_id=None, eos_token_id=None)
    base.update(more)
    return GPT2Config(**base)


def main():
    out = Path(sys.argv[1] if len(sys.argv) > 1 else
               Path(__file__).resolve().parent.parent / "golden" / "data")
    for old in list(out.glob("llama_*")) + list(out.glob("gpt2_*")):
        shutil.rmtree(old) if old.is_dir() else old.unlink()

    m = make(out, "llama_gqa", LlamaForCausalLM, llama(rms_norm_eps=1e-5), "F16")
    llama_gguf(out / "llama_gqa.gguf", m, "F16", tied=False)
    m = make(out, "llama_bias", LlamaForCausalLM,
             llama(attention_bias=True, mlp_bias=True, head_dim=12, tie_word_embeddings=True,
                   num_hidden_layers=3), "BF16", shards=2)
    llama_gguf(out / "llama_bias.gguf", m, "BF16", tied=True)
    m = make(out, "llama_llama3", LlamaForCausalLM,
             llama(num_attention_heads=2, num_key_value_heads=1, rope_parameters={
                 "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0,
                 "high_freq_factor": 4.0, "original_max_position_embeddings": 32}), "F16")
    llama_gguf(out / "llama_llama3.gguf", m, "F16", tied=False)
    # Keys as transformers 4 wrote them.
    m = make(out, "llama_linear", LlamaForCausalLM, llama(), "F32", edit={
        "rope_parameters": KeyError, "rope_theta": 1000.0, "torch_dtype": "float32",
        "dtype": KeyError, "rope_scaling": {"type": "linear", "factor": 4.0}, "head_dim": KeyError,
        "pretraining_tp": 2, "hidden_act": "gelu"})
    m = make(out, "llama_yarn", LlamaForCausalLM, llama(num_attention_heads=2,
                                                        num_key_value_heads=2), "F16", edit={
        "rope_parameters": KeyError, "rope_theta": 100.0, "rope_scaling": {
            "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}})
    llama_gguf(out / "llama_yarn.gguf", m, "F16", tied=False)
    make(out, "llama_yarn_mscale", LlamaForCausalLM,
         llama(num_attention_heads=2, num_key_value_heads=2, hidden_act="relu", rope_parameters={
             "rope_type": "yarn", "rope_theta": 200.0, "factor": 6.0, "beta_fast": 8.0,
             "beta_slow": 2.0, "mscale": 1.2, "mscale_all_dim": 0.7, "truncate": False,
             "original_max_position_embeddings": 48}), "F16")
    make(out, "llama_yarn_factor", LlamaForCausalLM,
         llama(num_hidden_layers=1, hidden_act="gelu_pytorch_tanh", rope_parameters={
             "rope_type": "yarn", "rope_theta": 10000.0, "factor": None, "attention_factor": 0.8,
             "original_max_position_embeddings": 16}), "F16")
    # Longer than the trained context, where the frequencies change.
    make(out, "llama_dynamic", LlamaForCausalLM,
         llama(max_position_embeddings=16, rope_parameters={
             "rope_type": "dynamic", "rope_theta": 300.0, "factor": 3.0}), "F16")

    m = make(out, "gpt2_masks", GPT2LMHeadModel, gpt2(), "F16", masks=True)
    gpt2_gguf(out / "gpt2_masks.gguf", m, "F16")
    make(out, "gpt2_bare", GPT2LMHeadModel,
         gpt2(n_inner=48, n_layer=3, scale_attn_by_inverse_layer_idx=True, n_head=2,
              activation_function="gelu", reorder_and_upcast_attn=True), "BF16", prefix=False,
         head=True)
    make(out, "gpt2_untied", GPT2LMHeadModel,
         gpt2(n_head=8, scale_attn_weights=False, activation_function="quick_gelu",
              tie_word_embeddings=False, layer_norm_epsilon=1e-3), "F32")


if __name__ == "__main__":
    main()
