"""The program against Hugging Face transformers, live, on golden models with the real vocabulary.

For each item the same texts, pictures and clips go through `qvl run --dtype f32 --temp 0 --json --ids --logits --dump`
and through transformers in float32; compared are the prompt's ids, indices, grids and times of clips, the bytes of the
resized pictures and frames, every named intermediate, the generated ids and the best logits. Clips are decoded for the
reference by torchcodec, and skipped where it or qwen_vl_utils is missing (reference/torchcodec.sh).

usage: live.py QVL DATA_DIR [QWEN_VL_UTILS]   (DATA_DIR holds tokenizer/, photos/ and video/; without it there is
nothing to compare)
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

import chat_vectors
import golden_model
import make_vectors
import sample_frames_vectors

try:
    from torchcodec.decoders import VideoDecoder
except (ImportError, OSError, RuntimeError):
    VideoDecoder = None

LIMIT = 2e-4   # max|a-b| / max|b|, as in tests/golden
N_TOKEN, N_TOP = 64, 8
MAX_PIXELS, TOTAL_PIXELS = 200_000, 25_165_824

BIRD, OCR, DOCUMENT = "photos/sample-bird.jpg", "photos/ocr_example5.jpg", "photos/docparsing_example1.jpg"
SCREEN, CLIP = "photos/screenshot_demo.png", "video/activity.mp4"


def say(text):
    return {"role": "assistant", "content": text}


# (model, parts in order: text, or a file in DATA_DIR; options of clips). The last part is a text.
ITEMS = [
    ("a", ["Write a haiku about the sea, then translate it: 海は広い、大きいな。 "
           "def f(x):\n    return x ** 2  # ½ 🙂"], {}),
    ("a", [BIRD, "What animal is this, and where does it sit?"], {}),
    ("b", ["First: ", OCR, " second: ", SCREEN, " third: ", BIRD, " Compare them, in 3 points."], {}),
    ("c", [DOCUMENT, "请把图中的文字写出来。"], {}),
    ("d", [SCREEN, "12345 words; what does the screen show?"], {}),
    ("a", [CLIP, "What happens, and when?"], {"num_frames": 7}),
    ("b", ["Look at this clip? ", CLIP, " and ", BIRD, "Which one has a bird?"],
     {"start": 20.5, "end": 63, "wrapper": True}),
    ("d", [CLIP, "Describe it."], {"total_pixels": 1_500_000}),
    ("c", [CLIP, "什么时候？"], {"fps": 0.5, "start": 100, "max_frames": 9}),
]
# Up to the model only: the published settings.
DRY_ITEMS = [("a", [CLIP, "What happens?"], {}),
             ("a", [CLIP, "What happens?"], {"fps": 0.7, "start": 10, "wrapper": True})]
# A whole conversation.
TURNS = [
    {"role": "system", "content": "You are brief."},
    {"role": "user", "content": [{"image": BIRD}, {"text": "What is this?"}]}, say("A bird on a branch."),
    {"role": "user", "content": "Which colours does it have?"}, say("Brown, and a little white 🙂."),
    {"role": "user", "content": [{"text": "And these two? "}, {"image": OCR}, {"image": SCREEN}]}, say("Pages of text."),
    {"role": "user", "content": [{"text": "Now watch:"}, {"video": CLIP, "num_frames": 6, "end": 30.0}]},
    say("Somebody does something."),
    {"role": "user", "content": [{"image": DOCUMENT}, {"text": "Is it in the clip? 是吗？"}]},
]


class Failure(Exception):
    pass


def call_qvl(qvl, folder, args, dump):
    args = [qvl, "run", "-m", folder, "--dtype", "f32", "--temp", "0", "--json", "--ids", "--logits", str(N_TOP), "-q",
            "-n", str(N_TOKEN), "--ignore-eos", "--loop-guard", "off", "--max-pixels", str(MAX_PIXELS), *args,
            *(["--dump", dump] if dump else ["--dry-run"])]
    done = subprocess.run(args, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"qvl ended with {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def arguments(parts, data, wish):
    out = ["--video-wrapper"] if wish.get("wrapper") else []
    for key in wish.keys() - {"wrapper"}:
        out += ["--" + key.replace("_", "-"), str(wish[key])]
    for part in parts:
        kind = "--image" if part.startswith("photos/") else "--video" if part.startswith("video/") else "--prompt"
        out += [kind, part if kind == "--prompt" else os.path.join(data, part)]
    return out


def as_messages(parts, wish):
    keys = {"photos": "image", "video": "video"}
    content = [{keys.get(p.split("/")[0], "text"): p} for p in parts]
    return [{"role": "user", "content": [{**c, **wish} if "video" in c else c for c in content]}]


def write_messages(messages, data, path):
    """For --messages, in Hugging Face's form."""
    def part(p):
        kind = next(k for k in ("text", "image", "video") if k in p)
        return {"type": kind, **p, **({kind: os.path.join(os.path.abspath(data), p[kind])} if kind != "text" else {})}
    with open(path, "w") as f:
        json.dump({"messages": [m if isinstance(m["content"], str) else
                                {**m, "content": [part(p) for p in m["content"]]} for m in messages]}, f)


def read_media(part, data, frame_range):
    """As make_vectors.Model.see takes it, and for a clip what qvl must say of it."""
    if "image" in part:
        picture = ImageOps.exif_transpose(Image.open(os.path.join(data, part["image"]))).convert("RGB")
        return {"pictures": [np.array(picture)]}
    clip = VideoDecoder(os.path.join(data, part["video"]), seek_mode="exact")
    index = sample_frames_vectors.take(frame_range, clip.metadata.num_frames, clip.metadata.average_fps, part)
    frames = clip.get_frames_at(index).data
    return {"pictures": list(frames.permute(0, 2, 3, 1).numpy()), "frames": index, "rate": clip.metadata.average_fps,
            "n": clip.metadata.num_frames, "wish": part}


def make_inputs(model, messages, data, frame_range, is_wrapped):
    """All clips of a conversation have one size limit here, as the processor's."""
    media = [read_media(p, data, frame_range) for m in messages if not isinstance(m["content"], str)
             for p in m["content"] if "text" not in p]
    text = model.tokenizer.apply_chat_template([chat_vectors.for_reference(m) for m in messages], tokenize=False,
                                               chat_template=model.template, add_generation_prompt=True)
    clips = [m for m in media if "frames" in m]
    most = [min(m["wish"].get("total_pixels", TOTAL_PIXELS), MAX_PIXELS * len(m["frames"])) for m in clips]
    assert len(set(most)) <= 1
    return model.see(text, media, is_wrapped, {"shortest_edge": 4096, "longest_edge": MAX_PIXELS},
                     {"shortest_edge": 4096, "longest_edge": most[0]} if clips else None)


def load_model(letter, folder, tokenizer_dir):
    golden_model.write(letter, folder, tokenizer_dir)
    return make_vectors.Model(letter, folder)


def read_pieces(dump, name):
    pieces = []
    while True:
        path = os.path.join(dump, name + (f".{len(pieces)}" if pieces else "") + ".npy")
        if not os.path.exists(path):
            return pieces
        pieces.append(np.load(path))


def read_dump(dump, name):
    """All pieces of one intermediate (pictures, chunks, steps: NAME.npy, NAME.1.npy, …), one below the other."""
    pieces = read_pieces(dump, name)
    return np.concatenate([p.reshape(-1, p.shape[-1]) for p in pieces]) if pieces else None


def check_clips(model, out, x):
    """What the program says of its clips."""
    said, clips = out.get("videos", []), [(m, g) for m, g in zip(x["media"], x["grids"]) if "frames" in m]
    if len(said) != len(clips):
        raise Failure(f"{len(said)} clips, expected {len(clips)}")
    for v, (m, grid) in zip(said, clips):
        times = [float(f"{t:.1f}") for t in model.both._calculate_timestamps(list(m["frames"]), m["rate"], 2)]
        for key, expected in (("frame_indices", m["frames"]), ("grid_thw", grid.tolist()), ("timestamps", times),
                              ("frames_in_file", m["n"]), ("tokens", int(grid.prod()) // 4)):
            if v[key] != expected:
                raise Failure(f"{key} of a clip: {v[key]}, expected {expected}")
        if abs(v["fps"] / m["rate"] - 1) > 1e-8:
            raise Failure(f"fps of a clip: {v['fps']}, expected {m['rate']}")


def check_pixels(dump, x):
    """Resized bytes, back from the reference's pixel values; a clip's frame by frame."""
    at = {"pixels": 0, "clip_pixels": 0}
    for i, (m, (t, h, w)) in enumerate(zip(x["media"], x["grids"])):
        key = "clip_pixels" if "frames" in m else "pixels"
        rows = x[key].numpy()[at[key]:at[key] + t * h * w].reshape(t, h // 2, w // 2, 2, 2, 3, 2, 16, 16)
        at[key] += t * h * w
        frames = np.rint(rows.transpose(0, 6, 1, 3, 7, 2, 4, 8, 5).reshape(2 * t, h * 16, w * 16, 3) * 127.5 + 127.5)
        expected = frames[:len(m["pictures"])]
        got = np.concatenate([p.reshape(-1, *expected.shape[1:]) for p in read_pieces(dump, f"prompt.pixels.{i}")])
        if got.shape != expected.shape or (got != expected).any():
            raise Failure(f"picture or clip {i}: resized bytes differ ({got.shape}, reference {expected.shape})")


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


def check_answer(model, out, x, dump):
    check_pixels(dump, x)
    (generated,), (margin,), (spread,) = model.generate(x, [x["ids"]], N_TOKEN)
    traced = model.trace(x, x["ids"] + generated[:-1])
    worst = check_intermediates(dump, traced)
    logits = traced["logits"][-N_TOKEN:]
    for i, best in enumerate(out["logits"]):
        for token, value in best:
            if not abs(value - logits[i][token]) <= LIMIT * np.abs(logits).max():
                raise Failure(f"logits of token {i}: id {token} has {value}, the reference {logits[i][token]}")
    if out["output_ids"] != generated:
        at = next(i for i, (a, b) in enumerate(zip(out["output_ids"], generated)) if a != b)
        raise Failure(f"output id {at} differs (smallest margin of the reference {margin:.4f} of {spread:.1f})")
    return f"{len(traced)} intermediates, worst {worst[0]:.1e} ({worst[1]}), {N_TOKEN} ids"


def check(model, out, x, dump):
    if out["prompt_ids"] != x["ids"]:
        raise Failure("prompt ids differ")
    check_clips(model, out, x)
    answer = check_answer(model, out, x, dump) if dump else "no answer"
    n_frame = sum(len(m.get("frames", [])) for m in x["media"])
    return f"{len(x['ids'])} prompt ids, {n_frame} frames, {answer}"


def items(data, work):
    """(model, name, messages, arguments, wrapper, whether the model answers)"""
    for all_items, is_dry in ((ITEMS, False), (DRY_ITEMS, True)):
        for letter, parts, wish in all_items:
            name = ", ".join(os.path.basename(p) if "/" in p and " " not in p else "text" for p in parts)
            yield (letter, name + "".join(f" {k} {v}" for k, v in wish.items()) + (", dry" if is_dry else ""),
                   as_messages(parts, wish), arguments(parts, data, wish), bool(wish.get("wrapper")), is_dry)
    path = os.path.join(work, "messages.json")
    write_messages(TURNS, data, path)
    for is_wrapped in False, True:
        yield ("a", "five turns" + (", wrapper" if is_wrapped else ""), TURNS,
               ["--messages", path] + (["--video-wrapper"] if is_wrapped else []), is_wrapped, False)


def main():
    qvl, data = sys.argv[1:3]
    frame_range = sample_frames_vectors.load_frame_range(sys.argv[3]) if len(sys.argv) > 3 else None
    work, n_bad = tempfile.mkdtemp(), 0
    try:
        models = {}
        for letter, name, messages, args, is_wrapped, is_dry in items(data, work):
            has_clip = any("video" in p for m in messages if not isinstance(m["content"], str) for p in m["content"])
            if has_clip and not (VideoDecoder and frame_range and os.path.exists(os.path.join(data, CLIP))):
                print(f"SKIP: live {letter}: {name}: no torchcodec, qwen_vl_utils or {CLIP}", flush=True)
                continue
            folder = os.path.join(work, letter)
            if letter not in models:
                models = {letter: load_model(letter, folder, os.path.join(data, "tokenizer"))}
            dump = None if is_dry else os.path.join(work, "dump")
            shutil.rmtree(os.path.join(work, "dump"), ignore_errors=True)
            try:
                x = make_inputs(models[letter], messages, data, frame_range, is_wrapped)
                result = check(models[letter], call_qvl(qvl, folder, args, dump), x, dump)
                print(f"ok live {letter}: {name}: {result}", flush=True)
            except Failure as failure:
                n_bad += 1
                print(f"not ok live {letter}: {name}: {failure}", flush=True)
    finally:
        shutil.rmtree(work)
    return 1 if n_bad else 0


if __name__ == "__main__":
    sys.exit(main())
