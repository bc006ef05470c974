"""Writes tests/unit/model/resize_vectors.h: what torchvision, Pillow 13 and Pillow 12 make of pictures that both
this file and the C test generate from an integer hash, as SHA-256 of the resized bytes; and SHA-256 of the image
processor's pixel_values.

    python resize_vectors.py [--pillow12 DIR] [--check]     (--check compares with the committed file and writes nothing)

DIR: where Pillow 12.0 lies (pip install --target DIR pillow==12.0.0). One process holds one Pillow, so the
Pillow 12 column is made by a child process. Without DIR that column stays as it is committed.
"""
import argparse
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np

PATH = pathlib.Path(__file__).resolve().parent.parent / "tests/unit/model/resize_vectors.h"

# kind, seed, width, height -> width, height
CASES = [
    ("noise", 1, 64, 48, 32, 32),
    ("noise", 2, 61, 47, 128, 96),
    ("structure", 3, 640, 480, 320, 256),
    ("structure", 4, 333, 517, 352, 512),
    ("noise", 5, 100, 100, 100, 64),
    ("noise", 6, 100, 100, 64, 100),
    ("structure", 7, 100, 100, 160, 100),
    ("structure", 8, 100, 100, 100, 160),
    ("structure", 9, 1280, 720, 1280, 704),
    ("noise", 10, 1000, 10, 2560, 32),
    ("noise", 11, 10, 1000, 32, 2560),
    ("structure", 12, 2500, 300, 2496, 288),
    ("noise", 13, 300, 2500, 64, 512),
    ("structure", 14, 1, 1, 256, 256),
    ("structure", 15, 7, 1400, 32, 1280),
    ("noise", 16, 400, 900, 352, 320),
    ("noise", 17, 900, 400, 320, 352),
    ("structure", 18, 2304, 1536, 1152, 768),
    ("noise", 19, 33, 2, 64, 32),
    ("structure", 20, 257, 129, 256, 128),
    ("noise", 21, 12, 3000, 32, 992),
    ("structure", 22, 96, 64, 96, 64),
]
# kind, seed, width, height, min_pixels, max_pixels: through the whole processor
PROCESSOR_CASES = [
    ("structure", 31, 640, 480, 65536, 16777216),
    ("noise", 32, 131, 97, 4096, 65536),
    ("structure", 33, 50, 400, 65536, 131072),
]


def picture(kind, seed, w, h):
    """The C twin is test_picture in tests/unit/model/picture.c."""
    y, x, c = np.meshgrid(np.arange(h, dtype=np.uint32), np.arange(w, dtype=np.uint32),
                          np.arange(3, dtype=np.uint32), indexing="ij")
    v = (y * np.uint32(w) + x) * np.uint32(3) + c + np.uint32(seed * 0x9E3779B9 & 0xFFFFFFFF)
    v ^= v >> np.uint32(16)
    v *= np.uint32(0x7FEB352D)
    v ^= v >> np.uint32(15)
    v *= np.uint32(0x846CA68B)
    v ^= v >> np.uint32(16)
    noise = v >> np.uint32(24)
    if kind == "noise":
        return noise.astype(np.uint8)
    # ramps, discs and bars with a little grain: flat areas, soft and hard edges, saturated values
    ramp = (x * np.uint32(2 + seed % 3) + y * np.uint32(3)) >> np.uint32(2)
    disc = ((x * x + y * y + c * np.uint32(97)) >> np.uint32(9)) & np.uint32(1)
    bars = ((x // np.uint32(5 + seed % 7)) ^ (y // np.uint32(9))) & np.uint32(1)
    s = (ramp + c * np.uint32(40)) & np.uint32(127)
    s = s + disc * np.uint32(100) + (noise >> np.uint32(5))
    s = np.where((y // np.uint32(16)) % np.uint32(4) == 1, bars * np.uint32(255), s)
    return np.minimum(s, 255).astype(np.uint8)


def sha(a):
    return hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest()


def pillow_column():
    from PIL import Image
    return [sha(np.asarray(Image.fromarray(picture(k, s, w, h)).resize((ow, oh), Image.Resampling.BICUBIC)))
            for k, s, w, h, ow, oh in CASES]


def torchvision_shim():
    """torchvision built for CUDA imports on a CPU-only torch once its missing operators are declared."""
    import torch
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def torchvision_column():
    import torch
    from torchvision.transforms.v2 import functional as F
    out = []
    for k, s, w, h, ow, oh in CASES:
        t = torch.from_numpy(picture(k, s, w, h)).permute(2, 0, 1).contiguous()
        r = F.resize(t, [oh, ow], interpolation=F.InterpolationMode.BICUBIC, antialias=True)
        out.append(sha(r.permute(1, 2, 0).numpy()))
    return out


def processor_rows():
    import torch
    from transformers import Qwen2VLImageProcessor
    rows = []
    for k, s, w, h, lo, hi in PROCESSOR_CASES:
        processor = Qwen2VLImageProcessor(
            patch_size=16, temporal_patch_size=2, merge_size=2, size={"shortest_edge": lo, "longest_edge": hi},
            image_mean=[0.5] * 3, image_std=[0.5] * 3, resample=3, rescale_factor=1 / 255)
        t = torch.from_numpy(picture(k, s, w, h)).permute(2, 0, 1).contiguous()
        got = processor(images=[t], return_tensors="np")
        grid = [int(v) for v in got["image_grid_thw"][0]]
        rows.append((k, s, w, h, lo, hi, grid, sha(got["pixel_values"].astype("<f4"))))
    return rows


def pillow12_column(folder):
    if not folder:
        print("SKIP: Pillow 12 is not at hand (--pillow12): its column is not made again")
        return re.findall(r'"([0-9a-f]{64})"}}', PATH.read_text())
    child = subprocess.run([sys.executable, __file__, "--pillow-column"], check=True, capture_output=True,
                           env={**os.environ, "PYTHONPATH": folder})
    return json.loads(child.stdout)


def make(pillow12):
    import PIL
    import torchvision as tv
    import transformers
    lines = [f"/* Made by reference/resize_vectors.py with torchvision {tv.__version__}, Pillow {PIL.__version__} and "
             f"12.0.0,", f" * transformers {transformers.__version__}. Not edited by hand. */",
             "static const struct resize_vector resize_vectors[] = {"]
    columns = torchvision_column(), pillow_column(), pillow12_column(pillow12)
    for (k, s, w, h, ow, oh), a, b, c in zip(CASES, *columns, strict=True):
        lines += [f"    {{TEST_{k.upper()}, {s}, {w}, {h}, {ow}, {oh},",
                  f"     {{\"{a}\",", f"      \"{b}\",", f"      \"{c}\"}}}},"]
    lines += ["};", "", "static const struct processor_vector processor_vectors[] = {"]
    for k, s, w, h, lo, hi, grid, digest in processor_rows():
        lines += [f"    {{TEST_{k.upper()}, {s}, {w}, {h}, {lo}, {hi}, {{{grid[0]}, {grid[1]}, {grid[2]}}},",
                  f"     \"{digest}\"}},"]
    return "\n".join(lines + ["};", ""])


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--pillow12")
    args.add_argument("--check", action="store_true")
    args.add_argument("--pillow-column", action="store_true", help="print one column as JSON (the child)")
    args = args.parse_args()
    if args.pillow_column:
        print(json.dumps(pillow_column()))
        return 0
    library = torchvision_shim()
    text = make(args.pillow12)
    del library
    if not args.check:
        PATH.write_text(text)
        return 0
    # The head names the versions, down to a build tag that changes no byte.
    is_same = text.partition("*/")[2] == PATH.read_text().partition("*/")[2]
    print("ok resize vectors equal" if is_same else "not ok resize vectors differ")
    return 0 if is_same else 1


if __name__ == "__main__":
    sys.exit(main())
