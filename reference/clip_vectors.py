"""Writes tests/unit/engine/clips.jsonl: prompts with clips and pictures, and what transformers makes of them.

    python reference/clip_vectors.py [--check]

The conversations are those of tests/unit/text/data/chat.jsonl that show a clip and have ids (chat_vectors.py rendered
them with the published templates), with pictures and frames of sizes and times drawn here; QVL_DATA (default
../shared/data) holds tokenizer/. --check compares instead of writing.
Each line: {"thinking", "vision_ids", "tools_json", "messages", "text" as in chat.jsonl; "media": one for each picture
or clip of "text", in order, {"h", "w", "grid", "times" (of a clip: seconds of its frames)}; "wrapped": the ids that
the processor makes (transformers >= 5.10); "plain": those of the older form, in which the processor's own sequence
stands in place of the template's whole wrapper}. In ids, [id, n] stands for n times id.
"""
import itertools
import json
import os
import pathlib
import random
import re
import sys

import hf  # noqa: F401  (before transformers)
import numpy as np
import transformers
from PIL import Image
from transformers import AutoTokenizer, Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

ROOT = pathlib.Path(__file__).resolve().parent.parent
CHATS = ROOT / "tests/unit/text/data/chat.jsonl"
OUT = ROOT / "tests/unit/engine/clips.jsonl"
WRAPPER = "<|vision_start|><|video_pad|><|vision_end|>"
SIDES = [20, 32, 48, 64, 97, 128]
# Frames in the file, its frames a second, frames taken: odd numbers of frames, ties of %.1f, times of a long clip.
CLIPS = [(8, 2, 4), (4, 4, 4), (3, 30, 3), (75, 30, 5), (300, 30, 10), (7, 4, 7), (2, 10, 2), (250, 25, 6),
         (380, 29.97, 8), (54000, 30, 4), (11, 23.976, 11), (90000, 24, 2)]


def draw_media(rnd, text):
    for token in re.findall(r"<\|(image|video)_pad\|>", text):
        media = {"h": rnd.choice(SIDES), "w": rnd.choice(SIDES)}
        if token == "video":
            n, fps, n_taken = rnd.choice(CLIPS)
            media["indices"] = np.linspace(0, n - 1, n_taken).round().astype(int).tolist()
            media["fps"] = fps
        yield media


def expand(processor, seen, text, is_wrapped):
    """The template's text with the processor's own sequence in place of each pad; without the wrapper: in place of a
    clip's pad and what the template writes around it."""
    n = {"image": len(seen.get("image_grid_thw", [])), "video": len(seen.get("video_grid_thw", []))}
    left = {"image": iter([processor.replace_image_token(seen, i) for i in range(n["image"])]),
            "video": iter([processor.replace_video_token(seen, i) for i in range(n["video"])])}
    form = "$^" if is_wrapped else re.escape(WRAPPER)
    return re.sub(form + r"|<\|(image|video)_pad\|>", lambda m: next(left[m[1] or "video"]), text)


def run(processor, text, media):
    """The line's "media", "wrapped" and "plain"."""
    size = {"images": [m for m in media if "fps" not in m], "clips": [m for m in media if "fps" in m]}
    seen = processor(
        text=[text], images=[Image.new("RGB", (m["w"], m["h"])) for m in size["images"]] or None,
        videos=[np.zeros((len(m["indices"]), m["h"], m["w"], 3), np.uint8) for m in size["clips"]],
        video_metadata=[{"total_num_frames": m["indices"][-1] + 1, "fps": m["fps"], "frames_indices":
                         list(m["indices"])} for m in size["clips"]],
        do_sample_frames=False, return_metadata=True)
    grids = {"images": iter(seen.get("image_grid_thw", [])), "clips": iter(seen["video_grid_thw"])}
    out = [{"h": m["h"], "w": m["w"], "grid": [int(x) for x in next(grids["clips" if "fps" in m else "images"])],
            **({"times": [i / m["fps"] for i in m["indices"]]} if "fps" in m else {})} for m in media]

    wrapped = [int(i) for i in seen["input_ids"][0]]
    assert wrapped == processor.tokenizer(expand(processor, seen, text, True))["input_ids"]
    return {"media": out, "wrapped": wrapped,
            "plain": processor.tokenizer(expand(processor, seen, text, False))["input_ids"]}


def pack(ids):
    runs = ((i, len(list(g))) for i, g in itertools.groupby(ids))
    return [[i, n] if n > 2 else i for i, n in runs for _ in range(1 if n > 2 else n)]


def make(tokenizer):
    processor = Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(patch_size=16, size={"shortest_edge": 1024, "longest_edge": 1 << 24}),
        tokenizer=tokenizer, chat_template=None,
        video_processor=Qwen3VLVideoProcessor(size={"shortest_edge": 4096, "longest_edge": 25165824}))
    rnd = random.Random(5)
    for line in CHATS.read_text().split("\n"):
        chat = json.loads(line) if line else {"text": "", "ids": None}
        if "<|video_pad|>" in chat["text"] and chat.pop("ids"):
            x = run(processor, chat["text"], list(draw_media(rnd, chat["text"])))
            yield {**chat, "media": x["media"], "wrapped": pack(x["wrapped"]), "plain": pack(x["plain"])}


def main():
    data = pathlib.Path(os.environ.get("QVL_DATA", "../shared/data")) / "tokenizer"
    if not data.exists():
        return print(f"SKIP: no {data}")
    lines = list(make(AutoTokenizer.from_pretrained(data)))
    text = "".join(json.dumps(x, ensure_ascii=False, separators=(",", ":")) + "\n" for x in lines)
    n_clip = sum("times" in m for x in lines for m in x["media"])
    print(f"{len(lines)} conversations, {n_clip} clips, transformers {transformers.__version__}, "
          f"{len(text.encode())} bytes")
    if "--check" not in sys.argv:
        OUT.write_text(text)
        return 0
    is_equal = OUT.read_text() == text
    print("ok clip vectors equal" if is_equal else "not ok clip vectors differ")
    return not is_equal


if __name__ == "__main__":
    sys.exit(main())
