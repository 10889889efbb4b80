#!/usr/bin/env python3
"""Writes the tiny checkpoint of CONTRIBUTING.md's family beside itself, and what transformers
computes from it: golden.safetensors holds the token ids and tensors that are named as the hook
points, without a batch axis. Needs torch, transformers and safetensors; no test runs it.
"""
import os

import torch
from safetensors.torch import save_file
from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM

here = os.path.dirname(os.path.abspath(__file__))
torch.manual_seed(0)
config = GPTBigCodeConfig(vocab_size=32, n_positions=16, n_embd=16, n_layer=2, n_head=4, n_inner=24,
                          bos_token_id=None, eos_token_id=None, attn_implementation="eager")
model = GPTBigCodeForCausalLM(config).eval()
for p in model.parameters():  # large enough that no term hides behind another
    p.data.normal_(0, 0.3)
model.save_pretrained(here)

tokens = torch.randint(0, config.vocab_size, (1, 12))
with torch.no_grad():
    out = model(tokens, output_attentions=True, output_hidden_states=True)
golden = {"tokens": tokens[0], "logits": out.logits[0]}
for layer, pattern in enumerate(out.attentions):
    golden["blocks.%d.attn.hook_pattern" % layer] = pattern[0]
    golden["blocks.%d.hook_resid_pre" % layer] = out.hidden_states[layer][0]
save_file({k: v.contiguous() for k, v in golden.items()},
          os.path.join(here, "golden.safetensors"))
