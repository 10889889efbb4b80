#!/usr/bin/env python3
"""Hand-built attention-only checkpoints whose attention is known in closed form.

Writes tests/golden/data/closed/{ind2,uniform,rows4}: config.json, model.safetensors (family
"attn_only") and prompts.jsonl. Standard library only; the output is the same on every run.

ind2     two layers, two heads: previous token, duplicate token, induction, uniform. The residual is
         [token V | previous token V | output V | position P], embeddings are one-hot and logits are
         the output block. Scores: beta = 8, scale 1.
uniform  one layer, two heads with q = 0 and no positions: A_ij = 1 / (i + 1).
rows4    one layer, one head whose pattern on four tokens is the 4 x 4 table below, from scores that
         are the table's logarithms.
"""
import json
import math
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "golden", "data", "closed")


def zeros(rows, cols):
    return [[0.0] * cols for _ in range(rows)]


def write_model(name, config, tensors, prompts):
    folder = os.path.join(OUT, name)
    os.makedirs(folder, exist_ok=True)
    header, data = {}, b""
    for key, rows in tensors.items():
        raw = b"".join(struct.pack("<%df" % len(r), *r) for r in rows)
        header[key] = {
            "dtype": "F32",
            "shape": [len(rows), len(rows[0])],
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(dict(model_type="attn_only", **config), f, indent=1)
        f.write("\n")
    with open(os.path.join(folder, "prompts.jsonl"), "w") as f:
        for p in prompts:
            f.write(json.dumps(p) + "\n")


def ind2():
    V, P, beta = 9, 33, 8.0
    D, dh = 3 * V + P, V + P
    tok, prv, out, pos = 0, V, 2 * V, 3 * V
    embed, place, unembed = zeros(V, D), zeros(P, D), zeros(V, D)
    for t in range(V):
        embed[t][tok + t] = 1.0
        unembed[t][out + t] = 1.0
    for p in range(P):
        place[p][pos + p] = 1.0
    t = {"embed.weight": embed, "pos_embed.weight": place, "unembed.weight": unembed}
    for layer in range(2):
        for m in "qkv":
            t["blocks.%d.attn.%s.weight" % (layer, m)] = zeros(2 * dh, D)
        t["blocks.%d.attn.o.weight" % layer] = zeros(D, 2 * dh)

    q, k, v, o = (t["blocks.0.attn.%s.weight" % m] for m in "qkvo")
    for p in range(P):  # 0.0: q = beta onehot(pos - 1), k = onehot(pos)
        if p:
            q[p - 1][pos + p] = beta
        k[p][pos + p] = 1.0
    for i in range(V):  # 0.0: OV copies token to previous token
        v[i][tok + i] = 1.0
        o[prv + i][i] = 1.0
    for i in range(V):  # 0.1: s = beta [same token] - 2 beta [same position], OV = 0
        q[dh + i][tok + i] = beta
        k[dh + i][tok + i] = 1.0
    for p in range(P):
        q[dh + V + p][pos + p] = -2.0 * beta
        k[dh + V + p][pos + p] = 1.0

    q, k, v, o = (t["blocks.1.attn.%s.weight" % m] for m in "qkvo")
    for i in range(V):
        q[i][tok + i] = beta  # 1.0: q = beta token, k = previous token
        k[i][prv + i] = 1.0
        for h, gain in ((0, 10.0), (1, 0.5)):  # OV copies token to output; 1.1 has q = 0
            v[h * dh + i][tok + i] = 1.0
            o[out + i][h * dh + i] = gain
    config = dict(n_layer=2, n_head=2, n_kv_head=2, d_model=D, d_head=dh, n_vocab=V, n_ctx=P,
                  attn_scale=1.0, positions="learned")
    block = [1, 6, 3, 8, 5, 2, 7, 4]
    write_model("ind2", config, t, [
        dict(id="twice", tokens=[0] + block * 2, period=8, bos_len=1),
        dict(id="four", tokens=[0] + block * 4, period=8, bos_len=1),
    ])


def uniform():
    V, D, dh, H = 16, 8, 4, 2
    t = {"embed.weight": [[math.sin(1.0 + 3 * i + 7 * j) for j in range(D)] for i in range(V)],
         "unembed.weight": [[math.cos(2.0 + 5 * i + 3 * j) for j in range(D)] for i in range(V)]}
    t["blocks.0.attn.q.weight"] = zeros(H * dh, D)
    for m, rows, cols in (("k", H * dh, D), ("v", H * dh, D), ("o", D, H * dh)):
        t["blocks.0.attn.%s.weight" % m] = [
            [math.sin(0.5 + i * 1.7 + j * 2.3 + len(m)) for j in range(cols)] for i in range(rows)]
    config = dict(n_layer=1, n_head=H, n_kv_head=H, d_model=D, d_head=dh, n_vocab=V, n_ctx=1024,
                  positions="none")
    write_model("uniform", config, t, [
        dict(id=str(T), tokens=[(i * 7 + i // 5) % V for i in range(T)])
        for T in (40, 64, 128, 256, 1024)])


def rows4():
    A = [[1.0], [.6, .4], [.3, .5, .2], [.2, .6, .1, .1]]
    D = 4
    one = [[1.0 if i == j else 0.0 for j in range(D)] for i in range(D)]
    q = zeros(D, D)  # q_i = ln A_i, k_j = onehot(j)
    for i, row in enumerate(A):
        for j, a in enumerate(row):
            q[j][i] = math.log(a)
    t = {"embed.weight": zeros(4, D), "pos_embed.weight": one, "unembed.weight": one,
         "blocks.0.attn.q.weight": q, "blocks.0.attn.k.weight": one,
         "blocks.0.attn.v.weight": one, "blocks.0.attn.o.weight": one}
    config = dict(n_layer=1, n_head=1, n_kv_head=1, d_model=D, d_head=D, n_vocab=4, n_ctx=4,
                  attn_scale=1.0, positions="learned")
    write_model("rows4", config, t, [dict(id="four", tokens=[0, 1, 2, 3])])


if __name__ == "__main__":
    ind2()
    uniform()
    rows4()
    sys.stdout.write("wrote %s\n" % os.path.normpath(OUT))
