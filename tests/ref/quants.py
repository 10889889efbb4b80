"""Blocks of every GGUF format with random bytes, and the numbers that the `gguf` package reads from
them (needs numpy, gguf, safetensors): python tests/ref/quants.py tests/golden/data/quants.safetensors
"""
import sys

import numpy as np
from gguf import GGMLQuantizationType, quants
from safetensors.numpy import save_file

# Where each format keeps its binary16 scales: random bytes there must not be infinite or NaN.
SCALES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
}
BLOCKS = 3

random = np.random.default_rng(7)
out = {}
for name, places in SCALES.items():
    kind = getattr(quants, name)
    blocks = random.integers(0, 256, (BLOCKS, kind.type_size), dtype=np.uint8)
    for place in places:
        scales = random.normal(0, 0.1, BLOCKS).astype(np.float16)
        blocks[:, place:place + 2] = scales.view(np.uint8).reshape(BLOCKS, 2)
    numbers = quants.dequantize(blocks, GGMLQuantizationType[name]).astype(np.float32)
    out[name.lower() + ".blocks"] = blocks.reshape(-1)
    out[name.lower() + ".values"] = numbers.reshape(-1)
save_file(out, sys.argv[1])
