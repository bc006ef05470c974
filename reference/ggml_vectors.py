"""Writes tests/unit/load/ggml_vectors.h: what the Python package gguf (llama.cpp's) makes of blocks of each type that qvl
reads, as SHA-256 of the f32 numbers and the first of them. The blocks are bytes of an integer hash, the same here
and in the C test, but for the f16 scales, whose magnitude is kept below 2 (numbers below the normal ones stay).

    python ggml_vectors.py [--check]     (--check compares with the committed file and writes nothing)
"""
import hashlib
import importlib.metadata
import pathlib
import sys

import gguf
import numpy as np

PATH = pathlib.Path(__file__).resolve().parent.parent / "tests/unit/load/ggml_vectors.h"
N_BLOCK = 2048

# type, places of f16 scales in a block
TYPES = [
    ("Q8_0", [0]), ("Q4_0", [0]), ("Q4_1", [0, 2]), ("Q5_0", [0]), ("Q5_1", [0, 2]), ("IQ4_NL", [0]),
    ("Q4_K", [0, 2]), ("Q5_K", [0, 2]), ("Q6_K", [208]), ("F16", [0]), ("BF16", []),
]


def blocks_of(name, scales):
    kind = gguf.GGMLQuantizationType[name]
    n, n_bytes = gguf.GGML_QUANT_SIZES[kind]
    if n == 1:  # numbers, not blocks: as many as 2048 blocks of 32
        n_row, per_row = N_BLOCK, 32 * n_bytes
    else:
        n_row, per_row = N_BLOCK, n_bytes
    v = np.arange(n_row * per_row, dtype=np.uint32) + np.uint32(int(kind) * 0x9E3779B9 & 0xFFFFFFFF)
    v ^= v >> np.uint32(16)
    v *= np.uint32(0x7FEB352D)
    v ^= v >> np.uint32(15)
    v *= np.uint32(0x846CA68B)
    v ^= v >> np.uint32(16)
    blocks = (v >> np.uint32(24)).astype(np.uint8).reshape(n_row * per_row // n_bytes, n_bytes)
    for at in scales:
        blocks[:, at + 1] &= 0xBF
    if name == "BF16":
        blocks[:, 1] &= 0xBF
    return kind, blocks


def make():
    lines = [f"/* Made by reference/ggml_vectors.py with gguf {importlib.metadata.version('gguf')}. Not edited by hand. */",
             "static const struct ggml_vector ggml_vectors[] = {"]
    for name, scales in TYPES:
        kind, blocks = blocks_of(name, scales)
        if name == "F16":
            numbers = blocks.view(np.float16).astype(np.float32)
        else:
            numbers = gguf.quants.dequantize(blocks, kind)
        numbers = np.ascontiguousarray(numbers, dtype="<f4").ravel()
        assert np.isfinite(numbers).all()
        first = ", ".join(f"0x{bits:08x}" for bits in numbers[:4].view(np.uint32))
        lines += [f"    {{QVL_GGML_{name},", f"     {len(numbers)},",
                  f"     {{{first}}},", f"     \"{hashlib.sha256(numbers.tobytes()).hexdigest()}\"}},"]
    return "\n".join(lines + ["};", ""])


def write_or_check(path, text):
    """With --check: compares with what is committed, all but the first line, which says the library's version."""
    if "--check" not in sys.argv[1:]:
        path.write_text(text)
    elif text.split("\n", 1)[1] != path.read_text().split("\n", 1)[1]:
        sys.exit(f"{path} differs from what the library makes")


if __name__ == "__main__":
    write_or_check(PATH, make())
