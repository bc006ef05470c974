"""Writes tests/unit/load/ggml_narrow_vectors.h: what the Python package gguf (llama.cpp's) makes of f32 numbers in each type
that `qvl convert` writes, as SHA-256 of the bytes. The numbers come from an integer hash, the same here and in the C test:
magnitudes from 2^-56 to beyond what F16 holds, ties of each type among them, and a block of zeros.

    python ggml_narrow_vectors.py [--check]     (--check compares with the committed file and writes nothing)
"""
import hashlib
import importlib.metadata
import pathlib

import gguf
import numpy as np

from ggml_vectors import write_or_check

PATH = pathlib.Path(__file__).resolve().parent.parent / "tests/unit/load/ggml_narrow_vectors.h"
N = 65536
BLOCK = 32
TYPES = ["F32", "F16", "BF16", "Q8_0"]


def numbers():
    i = np.arange(N, dtype=np.uint32)
    v = i.copy()
    v ^= v >> np.uint32(16)
    v *= np.uint32(0x7FEB352D)
    v ^= v >> np.uint32(15)
    v *= np.uint32(0x846CA68B)
    v ^= v >> np.uint32(16)
    x = np.ldexp(v.view(np.int32).astype(np.float32), -(i // BLOCK % 56).astype(np.int32))
    half = (v % np.uint32(255)).astype(np.float32) - np.float32(127)
    kind = i // BLOCK % 8
    x = np.where(kind == 0, np.where(i % BLOCK == 0, np.float32(127), half / np.float32(2)), x)  # ties of Q8_0
    x = np.where(kind == 1, (v % np.uint32(4096)).astype(np.float32) * np.float32(2.0**-25), x)  # of F16, subnormal
    x = np.where(kind == 2, (v & np.uint32(0xBFFF8000)).view(np.float32), x)  # of BF16
    x = np.where(kind == 3, (np.uint32(0x3F800000) | v & np.uint32(0x807FF000)).view(np.float32), x)  # of F16
    x[-BLOCK:] = 0
    return x.astype(np.float32)


def make():
    x = numbers()
    lines = [f"/* Made by reference/ggml_narrow_vectors.py with gguf {importlib.metadata.version('gguf')}. Not edited by hand. */",
             "static const struct narrow_vector narrow_vectors[] = {"]
    for name in TYPES:
        with np.errstate(over="ignore"):
            data = gguf.quants.quantize(x, gguf.GGMLQuantizationType[name])
        data = np.ascontiguousarray(data).tobytes()
        lines += [f"    {{QVL_GGML_{name}, {len(data)},", f"     \"{hashlib.sha256(data).hexdigest()}\"}},"]
    return "\n".join(lines + ["};", ""])


if __name__ == "__main__":
    write_or_check(PATH, make())
