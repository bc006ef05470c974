"""Golden models saved again by transformers: qvl must read what it writes, and find the same model in it.

Each model is loaded and saved with its processor as bf16 in one file, f32 in many shards, and f16. bf16 and f32 hold the
same values, so the logits must be equal to the bit; f16 rounds the smallest.

usage: resave.py QVL
"""
import json
import os
import subprocess
import sys
import tempfile

import hf  # noqa: F401  (before transformers)
import torch
from transformers import AutoProcessor, Qwen3VLForConditionalGeneration

import golden_model

PICTURE = os.path.join(golden_model.ROOT, "demo", "shapes.png")
SAVES = [("bf16", torch.bfloat16, "5GB", 0.0), ("f32", torch.float32, "600KB", 0.0), ("f16", torch.float16, "5GB", 1e-2)]


def answer(qvl, folder):
    done = subprocess.run([qvl, "run", "-m", folder, "--dtype", "f32", "--temp", "0", "--json", "--ids", "--logits", "8",
                           "-q", "-n", "16", "--ignore-eos", "--image", PICTURE, "--prompt", "Read the first line."],
                          capture_output=True, text=True)
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr.strip()


def difference(a, b):
    """Largest |a-b| of the 8 best logits at each position over the largest |a|; None where the ids differ."""
    if isinstance(b, str) or a["prompt_ids"] != b["prompt_ids"] or a["output_ids"] != b["output_ids"]:
        return None
    first, second = ([value for best in x["logits"] for _, value in best] for x in (a, b))
    return max(abs(x - y) for x, y in zip(first, second)) / max(map(abs, first))


def main():
    qvl, n_bad = sys.argv[1], 0
    for letter in golden_model.LETTERS:
        with tempfile.TemporaryDirectory() as work:
            source = os.path.join(work, "golden")
            golden_model.write(letter, source)
            expected = answer(qvl, source)
            for name, dtype, shard, limit in SAVES:
                folder = os.path.join(work, name)
                net = Qwen3VLForConditionalGeneration.from_pretrained(source, dtype=dtype)
                net.save_pretrained(folder, max_shard_size=shard)
                AutoProcessor.from_pretrained(source).save_pretrained(folder)
                found = answer(qvl, folder)
                error = difference(expected, found)
                is_equal = error is not None and error <= limit
                n_bad += not is_equal
                print(f"{'ok' if is_equal else 'not ok'} {letter} {name}, {len(os.listdir(folder))} files: " +
                      (found if isinstance(found, str) else "other ids" if error is None else f"{error:.1e}"), flush=True)
    return 1 if n_bad else 0


if __name__ == "__main__":
    sys.exit(main())
