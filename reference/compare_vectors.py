"""Committed golden vectors against regenerated ones.

Equal must be: names, shapes, ids, positions, grids, greedy continuations, the models' files and the pixel values.
Floating-point intermediates may differ by 2e-5 of a tensor's largest value (another processor, another order of sums;
a tenth of what the tests allow); on the machine that made them they are equal to the bit.

usage: compare_vectors.py COMMITTED REGENERATED
"""
import json
import os
import sys

import numpy as np
from safetensors import safe_open

import golden_model

LIMIT = 2e-5


def read(folder, letter):
    with safe_open(os.path.join(folder, letter + ".safetensors"), "np") as f:
        meta = json.loads(f.metadata()["tensors"])
        return {k: f.get_tensor(k) for k in f.keys()}, meta


def main():
    n_bad, (old_dir, new_dir) = 0, sys.argv[1:3]
    for letter in golden_model.LETTERS:
        (old, old_meta), (new, new_meta) = read(old_dir, letter), read(new_dir, letter)
        bad, worst = [], 0.0
        if old.keys() != new.keys():
            bad.append(f"other tensors: {sorted(old.keys() ^ new.keys())[:5]}")
        for name in old.keys() & new.keys():
            a, b = old[name], new[name]
            if a.shape != b.shape or a.dtype != b.dtype:
                bad.append(f"{name}: {a.shape} {a.dtype}, regenerated {b.shape} {b.dtype}")
            elif a.dtype == np.int32:
                if (a != b).any():
                    bad.append(f"{name} differs")
            else:
                limit = 1e-3 if a.dtype == np.float16 else LIMIT  # f16: one unit of its last place
                error = float(np.abs(a.astype(np.float64) - b).max() / np.abs(a).max())
                worst = max(worst, error if a.dtype == np.float32 else 0.0)
                if not error <= limit:
                    bad.append(f"{name}: {error:.1e} of the maximum")
        for name, m in old_meta.items():
            n = new_meta.get(name, {})
            if (m["rows"], m["stride"]) != (n.get("rows"), n.get("stride")):
                bad.append(f"{name}: other rows or stride")
        print(f"{'not ok' if bad else 'ok'} {letter}: {len(old)} tensors, largest difference {worst:.1e} of a maximum")
        for line in bad[:20]:
            print("   ", line)
        n_bad += len(bad)
    with open(os.path.join(old_dir, "manifest.json")) as f, open(os.path.join(new_dir, "manifest.json")) as g:
        old, new = json.load(f), json.load(g)
    for letter, model in old["models"].items():
        other = new["models"].get(letter, {})
        if model["files"] != other.get("files"):
            print(f"not ok {letter}: the model's files differ from the manifest")
            n_bad += 1
        for case, report in model["cases"].items():
            for key in ("pixel_values_sha256", "clip_pixel_values_sha256"):
                if report.get(key) != other.get("cases", {}).get(case, {}).get(key):
                    print(f"not ok {letter}: {key} of {case} differs")
                    n_bad += 1
    for key in ("torch", "transformers"):
        if old[key] != new[key]:
            print(f"note: {key} {new[key]}, committed vectors are of {old[key]}")
    return 1 if n_bad else 0


if __name__ == "__main__":
    sys.exit(main())
