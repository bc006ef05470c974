"""Writes tests/unit/model/sample_frames.jsonl: which frames of a clip in a file the reference takes.

    python reference/sample_frames_vectors.py QWEN_VL_UTILS [--check]

Frames: Qwen3VLVideoProcessor.sample_frames of transformers. The stretch between two times, which transformers does not
have: calculate_video_frame_range of qwen_vl_utils 0.0.14; QWEN_VL_UTILS is the folder it lies in (pip install
--no-deps --target DIR qwen-vl-utils==0.0.14). Inside a stretch the processor says how many, numpy.linspace which, as it does there.
--check compares instead of writing.
Each line: {"n": frames of the file, "fps": of it, "wish": {fps, num_frames, min_frames, max_frames, start, end}, and
"index": the frames, or where they are many "n_index" and "sha256": the first 16 digits over little-endian 64-bit
numbers}, or "refused": true. A single frame, which the reference's next step refuses, stands twice.
"""
import hashlib
import importlib.util
import json
import logging
import pathlib
import random
import sys
import types

import hf  # noqa: F401  (before transformers)
import numpy as np
import transformers
from transformers import Qwen3VLVideoProcessor
from transformers.video_utils import VideoMetadata

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests/unit/model/sample_frames.jsonl"
N_LISTED = 12  # indices written out
LENGTHS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 29, 30, 31, 75, 250, 300, 380, 767, 768, 769, 1536, 1537, 1800, 54000, 172800,
           215784, 1 << 23]
RATES = [24, 25, 30, 50, 60, 24000 / 1001, 30000 / 1001, 60000 / 1001, 23.976, 29.97, 59.94, 12.5, 15, 10, 7, 3, 2, 1,
         0.5, 1 / 30, 4.973474801061008, 4.946666666666666, 119.88, 240, 1000, 90000, 100000]
FPS = [0.01, 0.1, 1 / 3, 0.5, 1, 1.5, 2, 2.997, 3, 4, 5, 7.5, 10, 24, 30, 60, 1000, 1e300]
COUNTS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 20, 32, 33, 64, 100, 128, 255, 767, 768, 769, 1000, 2048, 16384]
PUBLISHED = {"min_frames": 4, "max_frames": 768}


def load_frame_range(folder):
    """qwen_vl_utils' own function; its module imports requests, for addresses only."""
    sys.modules.setdefault("requests", types.ModuleType("requests"))
    spec = importlib.util.spec_from_file_location("vision_process", f"{folder}/qwen_vl_utils/vision_process.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.logger.setLevel(logging.ERROR)
    return module.calculate_video_frame_range


def bounds(wish):
    """min_frames and max_frames to give the processor. Of one alone that crosses the published other one, qvl lets the
    given one count: the processor is told so by giving it both."""
    out = {**PUBLISHED, **{k: wish[k] for k in PUBLISHED if k in wish}}
    if "min_frames" in wish and "max_frames" not in wish:
        out["max_frames"] = max(out["max_frames"], out["min_frames"])
    return out


def take(frame_range, n, fps, wish):
    """The frames that the reference takes; a single one twice. ValueError: it refuses."""
    ele = {f"video_{k}": wish[k] for k in ("start", "end") if k in wish}
    first, last, n_inside = frame_range(ele, n, fps)
    processor = Qwen3VLVideoProcessor(fps=None if "num_frames" in wish else 2, **bounds(wish))
    index = processor.sample_frames(VideoMetadata(total_num_frames=n_inside, fps=fps),
                                    num_frames=wish.get("num_frames"), fps=wish.get("fps"))
    inside = np.linspace(first, last, len(index)).round().astype(int)
    assert ele or (inside == index).all()
    return [int(i) for i in inside] * (2 if len(inside) == 1 else 1)


def sample(frame_range, n, fps, wish):
    try:
        index = take(frame_range, n, fps, wish)
    except ValueError:
        return {"refused": True}
    if len(index) <= N_LISTED:
        return {"index": index}
    return {"n_index": len(index), "sha256": hashlib.sha256(np.array(index, "<u8").tobytes()).hexdigest()[:16]}


def draw_stretch(rnd, n, fps):
    """Half of the times are exactly those of frames, where ceil and floor meet rounding."""
    def time():
        frame = rnd.randrange(n + 2)
        return rnd.choice([frame / fps, round(frame / fps, 3), rnd.uniform(0, 1.2) * n / fps])
    out = {}
    if rnd.random() < 0.8:
        out["start"] = time()
    if rnd.random() < 0.8:
        out["end"] = time() or 1 / fps
    return out if out.get("start") or "end" in out else {"end": n / fps}


def draw_wish(rnd, n, fps):
    wish = draw_stretch(rnd, n, fps) if rnd.random() < 0.35 else {}
    kind = rnd.random()
    if kind < 0.3:
        wish["num_frames"] = rnd.choice(COUNTS)
    elif kind < 0.75:
        wish["fps"] = rnd.choice(FPS + [rnd.uniform(0.1, 8)])
    if kind >= 0.3:
        bound = sorted(rnd.choices(COUNTS, k=2))
        wish.update({k: b for k, b in zip(PUBLISHED, bound) if rnd.random() < 0.25})
    return wish


def cases():
    for n in LENGTHS:
        for fps in RATES:
            yield n, fps, {}
    for n in (1, 2, 3, 4, 5, 8, 30):
        for count in COUNTS:
            yield n, 30000 / 1001, {"num_frames": count}
            yield n, 25, {"max_frames": count}
            yield n, 25, {"min_frames": count, "fps": 1}
    rnd = random.Random(11)
    for _ in range(2400):
        n = rnd.choice([rnd.choice(LENGTHS), rnd.randrange(1, 300), rnd.randrange(1, 200000)])
        fps = rnd.choice([rnd.choice(RATES), rnd.uniform(1, 120), n / rnd.uniform(0.5, 7200)])
        yield n, fps, draw_wish(rnd, n, fps)


def main():
    frame_range = load_frame_range(sys.argv[1])
    lines = [json.dumps({"n": n, "fps": fps, "wish": wish, **sample(frame_range, n, fps, wish)}, separators=(",", ":"))
             for n, fps, wish in cases()]
    text = "".join(line + "\n" for line in lines)
    print(f"{len(lines)} clips, {text.count('refused')} refused, transformers {transformers.__version__}, "
          f"{len(text)} bytes")
    if "--check" not in sys.argv:
        OUT.write_text(text)
        return 0
    is_equal = OUT.read_text() == text
    print("ok indices equal" if is_equal else "not ok indices differ")
    return not is_equal


if __name__ == "__main__":
    sys.exit(main())
