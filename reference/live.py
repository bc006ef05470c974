"""The program against Hugging Face transformers, live, on golden models with the real vocabulary.

For each item the same pictures and texts go through `qvl run --dtype f32 --temp 0 --json --ids --logits --dump` and
through transformers in float32; compared are the prompt's ids, the bytes of the resized pictures, every named
intermediate, the generated ids and the best logits.

usage: live.py QVL DATA_DIR   (DATA_DIR holds tokenizer/ and photos/; without it there is nothing to compare)
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

import hf  # noqa: F401  (before transformers)
import numpy as np
from PIL import Image, ImageOps

import golden_model
import make_vectors

LIMIT = 2e-4   # max|a-b| / max|b|, as in tests/golden
N_TOKEN, N_TOP = 64, 8
MAX_PIXELS = 200_000

# (model, parts in order: text, or a picture's file name). The last part is a text.
ITEMS = [
    ("a", ["Write a haiku about the sea, then translate it: 海は広い、大きいな。 "
           "def f(x):\n    return x ** 2  # ½ 🙂"]),
    ("a", ["sample-bird.jpg", "What animal is this, and where does it sit?"]),
    ("b", ["First: ", "ocr_example5.jpg", " second: ", "screenshot_demo.png", " third: ", "sample-bird.jpg",
           " Compare them, in 3 points."]),
    ("c", ["docparsing_example1.jpg", "请把图中的文字写出来。"]),
    ("d", ["screenshot_demo.png", "12345 words; what does the screen show?"]),
]


class Failure(Exception):
    pass


def run_qvl(qvl, folder, parts, photos, dump):
    args = [qvl, "run", "-m", folder, "--dtype", "f32", "--temp", "0", "--json", "--ids", "--logits", str(N_TOP), "-q",
            "-n", str(N_TOKEN), "--ignore-eos", "--loop-guard", "off", "--max-pixels", str(MAX_PIXELS), "--dump", dump]
    for part in parts:
        path = os.path.join(photos, part)
        args += ["--image", path] if os.path.exists(path) else ["--prompt", part]
    done = subprocess.run(args, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"qvl ended with {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def make_inputs(model, letter, parts, photos):
    pictures = [ImageOps.exif_transpose(Image.open(os.path.join(photos, p))).convert("RGB") for p in parts
                if os.path.exists(os.path.join(photos, p))]
    x = {"pixels": None, "grids": np.zeros((0, 3), np.int32)}
    if pictures:
        pixels = model.processor(images=pictures, size={"shortest_edge": 4096, "longest_edge": MAX_PIXELS},
                                 return_tensors="pt")
        x = {"pixels": pixels["pixel_values"], "grids": pixels["image_grid_thw"].numpy()}
    grids = iter(x["grids"])
    prompt = "<|im_start|>user\n"
    for part in parts:
        if os.path.exists(os.path.join(photos, part)):
            t, h, w = next(grids)
            prompt += make_vectors.VISION.format("<|image_pad|>" * int(t * h * w // 4))
        else:
            prompt += part
    prompt += make_vectors.END + ("<think>\n" if letter == "c" else "")
    x["ids"] = model.tokenizer(prompt)["input_ids"]
    return x


def load_model(letter, folder, tokenizer_dir):
    golden_model.write(letter, folder, tokenizer_dir)
    return make_vectors.Model(letter, folder)


def read_dump(dump, name):
    """All pieces of one intermediate (pictures, chunks, steps: NAME.npy, NAME.1.npy, …), one below the other."""
    pieces = []
    while True:
        path = os.path.join(dump, name + (f".{len(pieces)}" if pieces else "") + ".npy")
        if not os.path.exists(path):
            return np.concatenate(pieces) if pieces else None
        piece = np.load(path)
        pieces.append(piece.reshape(-1, piece.shape[-1]))


def check_pixels(dump, x):
    """Resized bytes, back from the reference's pixel_values."""
    at = 0
    for i, (t, h, w) in enumerate(x["grids"]):
        rows = x["pixels"].numpy()[at:at + h * w].reshape(h // 2, w // 2, 2, 2, 3, 2, 16, 16)[..., 0, :, :]
        at += h * w
        expected = np.rint(rows.transpose(0, 2, 5, 1, 3, 6, 4).reshape(h * 16, w * 16, 3) * 127.5 + 127.5)
        got = np.load(os.path.join(dump, f"prompt.pixels.{i}.npy"))
        if got.shape != expected.shape or (got != expected).any():
            raise Failure(f"picture {i}: resized bytes differ ({got.shape}, reference {expected.shape})")


def check_intermediates(dump, traced):
    worst = (0.0, "")
    for name, expected in traced.items():
        got = read_dump(dump, name)
        if got is None:
            raise Failure(f"{name} was not dumped")
        if len(got) < len(expected):  # only the rows whose logits were wanted
            expected = expected[-len(got):]
        got = got[:len(expected)]
        error = float(np.abs(got - expected).max() / np.abs(expected).max())
        worst = max(worst, (error, name))
        if not error <= LIMIT:
            raise Failure(f"{name}: {error:.1e} of the maximum")
    return worst


def check(qvl, model, letter, folder, parts, photos, dump):
    x = make_inputs(model, letter, parts, photos)
    out = run_qvl(qvl, folder, parts, photos, dump)
    if out["prompt_ids"] != x["ids"]:
        raise Failure("prompt ids differ")
    check_pixels(dump, x)
    (generated,), (margin,), (spread,) = model.generate(x, [x["ids"]], N_TOKEN)
    traced = model.trace(model.keywords(x, [x["ids"] + generated[:-1]]))
    worst = check_intermediates(dump, traced)
    logits = traced["logits"][-N_TOKEN:]
    for i, best in enumerate(out["logits"]):
        for token, value in best:
            if not abs(value - logits[i][token]) <= LIMIT * np.abs(logits).max():
                raise Failure(f"logits of token {i}: id {token} has {value}, the reference {logits[i][token]}")
    if out["output_ids"] != generated:
        at = next(i for i, (a, b) in enumerate(zip(out["output_ids"], generated)) if a != b)
        raise Failure(f"output id {at} differs (smallest margin of the reference {margin:.4f} of {spread:.1f})")
    return f"{len(x['ids'])} prompt ids, {len(traced)} intermediates, worst {worst[0]:.1e} ({worst[1]}), {N_TOKEN} ids"


def main():
    qvl, data = sys.argv[1:3]
    photos, work, n_bad = os.path.join(data, "photos"), tempfile.mkdtemp(), 0
    try:
        models = {}
        for letter, parts in ITEMS:
            folder = os.path.join(work, letter)
            if letter not in models:
                models = {letter: load_model(letter, folder, os.path.join(data, "tokenizer"))}
            dump = os.path.join(work, "dump")
            shutil.rmtree(dump, ignore_errors=True)
            name = f"live {letter}: " + ", ".join(p if "." in p and " " not in p else "text" for p in parts)
            try:
                print(f"ok {name}: {check(qvl, models[letter], letter, folder, parts, photos, dump)}", flush=True)
            except Failure as failure:
                n_bad += 1
                print(f"not ok {name}: {failure}", flush=True)
    finally:
        shutil.rmtree(work)
    return 1 if n_bad else 0


if __name__ == "__main__":
    sys.exit(main())
