"""Writes tests/data/clips/vectors.jsonl: what the reference makes of the clips in tests/data/clips.

    python reference/clip_file_vectors.py QWEN_VL_UTILS [--check]

Needs torchcodec 0.17 and FFmpeg 5 (reference/torchcodec.sh), Debian's python3-av (PYAV_PYTHON, default
/usr/bin/python3) and, in the folder QWEN_VL_UTILS, qwen_vl_utils 0.0.14. --check compares instead of writing.
Frames, rate, duration and size: torchcodec in its exact mode. Pixels: PyAV, turned by the display matrix, and torchcodec,
which must be equal but where OTHER_PIXELS says why not; both on the same libswscale. Frames taken: sample_frames of
transformers' processor, inside the stretch of qwen_vl_utils; sizes, grids, times and ids: the processor, over the golden
tokenizer, and over the published one where QVL_DATA (default ../shared/data) has it.
Each line: {"file", "codec", "w", "h", "n", "fps", "duration", "sha256": of each frame; "runs": [{"wish": options as
qvl names them, "index", "resized": [h, w], "grid", "patch_s", "wrapped", "plain": ids, in which [id, n] stands for n
times id; "published": the first 16 digits of SHA-256 over little-endian 32-bit ids, wrapped and plain} or {"wish",
"refused": true}]}.
"""
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import hf  # noqa: F401  (before transformers)
import numpy as np
from torchcodec.decoders import VideoDecoder
from transformers import AutoTokenizer, Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

import clip_vectors
import golden_model
import sample_frames_vectors

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests/data/clips"
TEXT = ("<|im_start|>user\nclip? <|vision_start|><|video_pad|><|vision_end|>What happens?<|im_end|>\n"
        "<|im_start|>assistant\n")
WISHES = [{}, {"fps": 4}, {"num_frames": 7}, {"fps": 10, "min_frames": 2, "max_frames": 6}, {"fps": 5, "total_pixels": 20000},
          {"max_pixels": 3000}, {"start": 0.2, "end": 0.6, "fps": 12.5}, {"start": 0.5}]
TURNS = {"h264-rotated-90.mp4": 1, "h264-rotated-180.mov": 2, "h264-rotated-270.mp4": 3}  # quarters, against the clock
# Which of the two the vectors hold, and why the other is another.
OTHER_PIXELS = {
    "h264-10bit.mp4": "pyav",  # torchcodec takes more than 8 bits through a filter of its own
    "hevc-10bit.mov": "pyav",
    "av1-10bit.mkv": "pyav",
    "vp9-odd-size.webm": "pyav",  # so it does with an odd side of 4:2:0
    "mpeg4-b-frames.avi": "pyav",  # has no times of presentation; torchcodec loses the last frame
    "vp8-hidden-frames.webm": "torchcodec",  # counts packets; asked for one without a picture it gives the next
    "h264-bt709.mp4": "torchcodec",  # PyAV 10 does not look at the tag; PyAV 18 gives torchcodec's bytes
}
PYAV = """
import av, hashlib, json, sys
import numpy
for path, turns in zip(sys.argv[1::2], sys.argv[2::2]):
    with av.open(path) as clip:
        print(json.dumps([hashlib.sha256(numpy.rot90(f.to_ndarray(format="rgb24"), int(turns)).tobytes()).hexdigest()
                          for f in clip.decode(video=0)]))
"""


def hashes_of_pyav(paths):
    args = [x for p in paths for x in (str(p), str(TURNS.get(p.name, 0)))]
    done = subprocess.run([os.environ.get("PYAV_PYTHON", "/usr/bin/python3"), "-c", PYAV, *args], check=True,
                          stdout=subprocess.PIPE, text=True)
    return dict(zip((p.name for p in paths), map(json.loads, done.stdout.splitlines())))


def hashes_of_torchcodec(path, n):
    """Each frame by a decoder of its own: what comes does not depend on what came before."""
    frames = (VideoDecoder(str(path), seek_mode="exact")[i] for i in range(n))
    return [hashlib.sha256(np.ascontiguousarray(f.permute(1, 2, 0).numpy()).tobytes()).hexdigest() for f in frames]


def hashes(path, n, of_pyav):
    kind = OTHER_PIXELS.get(path.name)
    if kind == "pyav":
        return of_pyav
    ours = hashes_of_torchcodec(path, n)
    assert (ours == of_pyav) == (kind is None), path
    return ours


def total_pixels(wish, n):
    return min(wish.get("total_pixels", 25165824), wish.get("max_pixels", 1 << 40) * n)


def digits(ids):
    return hashlib.sha256(np.array(ids, "<u4").tobytes()).hexdigest()[:16]


def run(processors, frame_range, clip, wish):
    """processors: with the golden tokenizer, and with the published one where there is one."""
    out = {"wish": wish}
    try:
        index = sample_frames_vectors.take(frame_range, clip["n"], clip["fps"], wish)
    except ValueError:
        return {**out, "refused": True}
    frames = np.zeros((len(index), clip["h"], clip["w"], 3), np.uint8)
    ids = []
    for processor in processors:
        processor.video_processor.size = {"shortest_edge": 4096, "longest_edge": total_pixels(wish, len(index))}
        seen = processor(text=[TEXT], videos=[frames], do_sample_frames=False, return_metadata=True, video_metadata=[
            {"total_num_frames": clip["n"], "fps": clip["fps"], "frames_indices": list(index)}])
        wrapped, plain = (processor.tokenizer(clip_vectors.expand(processor, seen, TEXT, x))["input_ids"]
                          for x in (True, False))
        assert wrapped == [int(i) for i in seen["input_ids"][0]]
        ids.append([wrapped, plain])
    grid = [int(x) for x in seen["video_grid_thw"][0]]
    times = processors[0]._calculate_timestamps(list(index), clip["fps"], 2)
    assert len(times) == grid[0]
    return {**out, "index": index, "resized": [16 * grid[1], 16 * grid[2]], "grid": grid, "patch_s": times,
            "wrapped": clip_vectors.pack(ids[0][0]), "plain": clip_vectors.pack(ids[0][1]),
            **({"published": [digits(x) for x in ids[1]]} if len(ids) > 1 else {})}


def make(frame_range, tokenizers):
    processors = [Qwen3VLProcessor(image_processor=Qwen2VLImageProcessor(patch_size=16), tokenizer=t, chat_template=None,
                                   video_processor=Qwen3VLVideoProcessor(size={"shortest_edge": 4096,
                                                                               "longest_edge": 25165824}))
                  for t in tokenizers]
    paths = sorted(p for p in FOLDER.iterdir() if p.is_file() and p.suffix != ".jsonl")
    of_pyav = hashes_of_pyav(paths)
    for path in paths:
        m = VideoDecoder(str(path), seek_mode="exact").metadata
        clip = {"file": path.name, "codec": m.codec, "w": m.width, "h": m.height, "n": m.num_frames,
                "fps": m.average_fps, "duration": m.duration_seconds,
                "sha256": hashes(path, m.num_frames, of_pyav[path.name])}
        yield {**clip, "runs": [run(processors, frame_range, clip, wish) for wish in WISHES]}


def main():
    published = pathlib.Path(os.environ.get("QVL_DATA", "../shared/data")) / "tokenizer"
    if not published.exists():
        return print(f"SKIP: no {published}")
    with tempfile.TemporaryDirectory() as folder:
        golden_model.write("a", folder)
        tokenizers = [AutoTokenizer.from_pretrained(x) for x in (folder, published)]
    lines = list(make(sample_frames_vectors.load_frame_range(sys.argv[1]), tokenizers))
    text = "".join(json.dumps(x, separators=(",", ":")) + "\n" for x in lines)
    print(f"{len(lines)} clips, {sum(len(x['sha256']) for x in lines)} frames, "
          f"{sum('index' in r for x in lines for r in x['runs'])} prompts, {len(text)} bytes")
    out = FOLDER / "vectors.jsonl"
    if "--check" not in sys.argv:
        out.write_text(text)
        return 0
    is_equal = out.read_text() == text
    print("ok clip file vectors equal" if is_equal else "not ok clip file vectors differ")
    return not is_equal


if __name__ == "__main__":
    sys.exit(main())
