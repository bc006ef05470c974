"""Golden vectors: Hugging Face transformers in float32 on the golden models.

Writes OUT/LETTER.safetensors for each model and OUT/manifest.json; the committed ones lie in tests/golden/vectors.
What the files hold is told at the top of tests/golden/vectors.h, their reader.

usage: make_vectors.py OUT [--models abcd] [--search N [--cases CASE,…]]

The prompts are those of tests/golden/conversations.json. --search N looks for prompts instead: for each case it tries N
numbers in the prompt's text, generates with each, and prints the numbers with the largest smallest margin (best logit
minus second best), to be entered in NUMBERS.
"""
import argparse
import hashlib
import json
import os
import pathlib
import platform
import shutil
import tempfile

import hf  # noqa: F401  (before transformers)
import numpy as np
import torch
import transformers
from PIL import Image
from safetensors.numpy import save_file
from transformers import (AutoImageProcessor, AutoTokenizer, AutoVideoProcessor, Qwen3VLForConditionalGeneration,
                          Qwen3VLProcessor)

import chat_vectors
import clip_vectors
import golden_model
import verify

CONVERSATIONS = pathlib.Path(golden_model.GOLDEN) / "conversations.json"
N_GENERATED = 256
N_ANSWER = 64              # of the turns before the last one
MIN_DISTINCT = 60          # ids among the 256: text that runs into a short loop proves little
# Case "one" is stored whole but for the logits; of larger tensors, and in the other cases, rows at a fixed stride.
MAX_BYTES, MAX_BYTES_ONE, MAX_STRIDED_BYTES = 16_000, 36_000, 10_000
# Of the conversations with clips: less of each intermediate, and of two of them only.
MAX_CLIP_BYTES = 4_000
NUMBER = "NNNN"            # stands in a conversation for four digits
VISION, END = "<|vision_start|>{}<|vision_end|>", "<|im_end|>\n<|im_start|>assistant\n"

PICTURE_CASES = ["text", "one", "three"]
CLIP_CASES = ["one_clip", "two_clips", "picture_clip", "clip_picture"]  # each in both forms of the prompt
N_TURN = 5
CASES = PICTURE_CASES + ["clip"] + [c + form for c in CLIP_CASES for form in ("", "_wrapped")] + ["tools"] + [
    f"turn{i + 1}" for i in range(N_TURN)]
TRACED = PICTURE_CASES + ["clip", "two_clips_wrapped", "clip_picture"]
# Number in the prompt, by model: chosen so that greedy decoding has a clear margin at each of its steps. Of a turn: in
# its own question.
NUMBERS = {
    "a": {"text": 535, "one": 352, "three": 127, "one_clip": 142, "one_clip_wrapped": 23, "two_clips": 51,
          "two_clips_wrapped": 199, "picture_clip": 444, "picture_clip_wrapped": 492, "clip_picture": 144,
          "clip_picture_wrapped": 72, "tools": 574, "turn1": 12, "turn2": 32, "turn3": 33, "turn4": 121,
          "turn5": 132},
    "b": {"text": 202, "one": 508, "three": 672, "one_clip": 426, "one_clip_wrapped": 795, "two_clips": 366,
          "two_clips_wrapped": 597, "picture_clip": 517, "picture_clip_wrapped": 320, "clip_picture": 318,
          "clip_picture_wrapped": 316, "tools": 43, "turn1": 91, "turn2": 35, "turn3": 7, "turn4": 16,
          "turn5": 113},
    "c": {"text": 477, "one": 23, "three": 277, "one_clip": 276, "one_clip_wrapped": 71, "two_clips": 696,
          "two_clips_wrapped": 142, "picture_clip": 10, "picture_clip_wrapped": 703, "clip_picture": 14,
          "clip_picture_wrapped": 670, "turn1": 34, "turn2": 111, "turn3": 77, "turn4": 118, "turn5": 247},
    "d": {"text": 454, "one": 459, "three": 75, "one_clip": 198, "one_clip_wrapped": 458, "two_clips": 763,
          "two_clips_wrapped": 101, "picture_clip": 135, "picture_clip_wrapped": 74, "clip_picture": 575,
          "clip_picture_wrapped": 80, "tools": 685, "turn1": 64, "turn2": 18, "turn3": 44, "turn4": 9,
          "turn5": 107},
}
# Whose logits over the 256 generated positions are stored whole (1,024 positions), for the bf16 mode.
TEACHER = {"a": ["text", "one"], "b": ["text", "three"], "c": [], "d": []}


def n_generated(case):
    """Of case "clip" nothing: its intermediates are what it is for."""
    return 0 if case == "clip" else N_ANSWER if case in [f"turn{i}" for i in range(1, N_TURN)] else N_GENERATED


def drawn(part):
    """The pictures of a part: an image's own, or a clip's frames, whose seeds follow each other."""
    h, w, seed = part.get("image") or part["video"]
    return [(h, w, seed + i) for i in range(len(part.get("frames", [0])))]


class Model:
    def __init__(self, letter, folder):
        """folder: what golden_model.write made."""
        self.letter = letter
        self.sha256 = golden_model.sha256_of_files(folder)
        self.net, info = Qwen3VLForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32, output_loading_info=True)
        assert not any(info.values()), info
        self.net.eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.processor = AutoImageProcessor.from_pretrained(folder)
        self.clip_processor = AutoVideoProcessor.from_pretrained(folder)
        self.both = Qwen3VLProcessor(image_processor=self.processor, tokenizer=self.tokenizer,
                                     video_processor=self.clip_processor, chat_template=None)
        jinja = pathlib.Path(folder) / "chat_template.jinja"
        self.template = jinja.read_text() if jinja.exists() else json.loads(
            (pathlib.Path(folder) / "chat_template.json").read_text())["chat_template"]
        self.answers = {}  # of the turns so far

    def cases(self):
        """The published template of Thinking models is not the one that "tools" is written with."""
        return [c for c in CASES if (self.letter, c) != ("c", "tools")]

    def messages(self, case, number):
        """Messages of the case, and the template's text where that is given."""
        is_turn = case.startswith("turn")
        name = "turns" if is_turn else case.removesuffix("_wrapped")
        chat = json.loads(CONVERSATIONS.read_text())[name]

        def fill(x, number):
            return json.loads(json.dumps(x).replace(NUMBER, f"{number:04d}"))

        if not is_turn:
            chat = fill(chat, number)
            return chat["messages"], chat.get("text")
        out, n_turn = [], int(case[4:])
        for i, message in enumerate(chat["messages"][:n_turn]):
            turn = f"turn{i + 1}"
            out.append(fill(message, number if turn == case else NUMBERS[self.letter][turn]))
            if turn != case:
                out.append({"role": "assistant", "content": self.answers[turn]})
        return out, None

    def inputs(self, case, number):
        """The prompt as the chat template writes it, pictures and clips expanded, and the pixels."""
        messages, text = self.messages(case, number)
        if text is None:
            text = self.tokenizer.apply_chat_template([chat_vectors.for_reference(m) for m in messages], tokenize=False,
                                                      chat_template=self.template, add_generation_prompt=True)
        media = [p for m in messages if not isinstance(m["content"], str) for p in m["content"] if "text" not in p]
        seen = [{"pictures": [golden_model.picture(seed, h, w) for h, w, seed in drawn(p)],
                 **({"frames": p["frames"], "rate": p["rate"]} if "video" in p else {})} for p in media]
        return {**self.see(text, seen, case.endswith("_wrapped")), "parts": media}

    def see(self, text, media, is_wrapped, image_size=None, clip_size=None):
        """The template's text with its media as the processor takes them: {"pictures": [one]}, or of a clip {"pictures",
        "frames": their indices, "rate"}. Sizes: {"shortest_edge", "longest_edge"} instead of the model's."""
        out = {"media": media, "pixels": None, "clip_pixels": None, "image_grids": None, "clip_grids": None}
        if not media:
            return {**out, "ids": self.tokenizer(text)["input_ids"], "grids": np.zeros((0, 3), np.int32)}
        images = [Image.fromarray(m["pictures"][0]) for m in media if "frames" not in m]
        clips = [m for m in media if "frames" in m]
        more = {}
        if images:
            more["images"] = images
            more["images_kwargs"] = {"size": image_size} if image_size else {}
        if clips:
            more["videos"] = [np.stack(m["pictures"]) for m in clips]
            more["videos_kwargs"] = {"size": clip_size} if clip_size else {}
            more |= {"do_sample_frames": False, "return_metadata": True, "video_metadata": [
                {"total_num_frames": m["frames"][-1] + 1, "fps": m["rate"], "frames_indices": list(m["frames"])}
                for m in clips]}
        seen = self.both(text=[text], return_tensors="pt", **more)
        out["ids"] = self.tokenizer(clip_vectors.expand(self.both, seen, text, is_wrapped))["input_ids"]
        if is_wrapped or not clips:
            assert out["ids"] == seen["input_ids"][0].tolist()
        out["pixels"], out["image_grids"] = seen.get("pixel_values"), seen.get("image_grid_thw")
        out["clip_pixels"], out["clip_grids"] = seen.get("pixel_values_videos"), seen.get("video_grid_thw")
        grids = {"image": iter(out["image_grids"] if images else []), "video": iter(out["clip_grids"] if clips else [])}
        out["grids"] = np.array([next(grids["video" if "frames" in m else "image"]).tolist() for m in media], np.int32)
        return out

    def keywords(self, x, ids, n_batch=1):
        """Arguments of the model's forward and generate. ids: lists of one length."""
        ids = torch.tensor(ids)
        kw = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        for name, key in (("pixel_values", "pixels"), ("pixel_values_videos", "clip_pixels"),
                          ("image_grid_thw", "image_grids"), ("video_grid_thw", "clip_grids")):
            if x[key] is not None:
                kw[name] = x[key].repeat(n_batch, 1)
        if x["media"]:
            config = self.net.config
            kw["mm_token_type_ids"] = (ids == config.image_token_id).int() + 2 * (ids == config.video_token_id).int()
        return kw

    def positions(self, x):
        """[n, 3], and the position of the first generated token."""
        n = len(x["ids"])
        if not x["media"]:
            return np.arange(n)[:, None].repeat(3, 1).astype(np.int32), n
        kw = self.keywords(x, [x["ids"]])
        p, delta = self.net.model.get_rope_index(kw["input_ids"], kw["mm_token_type_ids"], kw.get("image_grid_thw"),
                                                 kw.get("video_grid_thw"))
        return np.ascontiguousarray(p[:, 0].numpy().T.astype(np.int32)), int(delta) + n

    def generate(self, x, ids, n=N_GENERATED):
        """n ids by greedy decoding for each prompt, and the smallest margin and the range of the logits."""
        self.net.model.rope_deltas = None
        out = self.net.generate(**self.keywords(x, ids, len(ids)), max_new_tokens=n, do_sample=False,
                                temperature=None, top_p=None, top_k=None, repetition_penalty=None,
                                eos_token_id=None, pad_token_id=0, return_dict_in_generate=True,
                                output_logits=True)
        logits = torch.stack(out.logits, 1)
        top = logits.topk(2, -1).values
        margin = (top[..., 0] - top[..., 1]).amin(-1)
        spread = logits.amax((1, 2)) - logits.amin((1, 2))
        return out.sequences[:, len(ids[0]):].tolist(), margin.tolist(), spread.tolist()

    def answer(self, case, ids):
        """What a turn leaves to the next ones: text, as a chat keeps it."""
        if case.startswith("turn"):
            self.answers[case] = self.tokenizer.decode(ids)

    def in_order(self, x, calls):
        """Rows of the tower, which sees the pictures first and then the clips, in the order of the prompt."""
        if len(calls) == 1:
            return calls[0]
        is_clip, n_patch = np.array(["frames" in m for m in x["media"]]), x["grids"].prod(1)
        pieces = []
        for call, mask in zip(calls, (~is_clip, is_clip)):
            per_row = n_patch[mask].sum() // len(call)
            pieces.append(iter(torch.split(call, (n_patch[mask] // per_row).tolist())))
        return torch.cat([next(pieces[int(k)]) for k in is_clip])

    def trace(self, x, ids, **more):
        """One forward pass; every named intermediate of MODEL.md."""
        self.net.model.rope_deltas = None
        with verify.intermediates(self.net) as found:
            self.net(**self.keywords(x, [ids]), **more)
        return {k: self.in_order(x, v).numpy().copy() for k, v in found.items()}


def store(out, meta, name, x):
    """x whole, or its rows 0, stride, 2 stride, … with the stride and the largest absolute value in the metadata."""
    stride, case = 1, name.split(".")[0]
    if case in PICTURE_CASES + ["clip", "far"]:
        if x.nbytes > (MAX_BYTES_ONE if case == "one" else MAX_BYTES):
            stride = -(-x.nbytes // MAX_STRIDED_BYTES)
    else:
        stride = -(-x.nbytes // MAX_CLIP_BYTES)
    out[name] = np.ascontiguousarray(x[::stride])
    meta[name] = {"rows": int(x.shape[0]), "stride": stride, "max_abs": float(np.abs(x).max())}


def far_positions(n):
    """A third of the rows at the start, a third as text from 200,000 on, a third with T there and H, W small. No prompt
    puts T that far from H and W, but only so does a text model show which axis turns the pairs past 3 * section."""
    i = np.arange(n)
    third = n // 3
    t = np.where(i < third, i, 200_000 + i)
    h = np.where(i < 2 * third, t, 5 + i)
    w = np.where(i < 2 * third, t, 9 + 2 * i)
    return np.stack([t, h, w], 1).astype(np.int32)


def make_case(model, case, out, meta):
    """Adds the case's tensors; returns what the manifest says of it."""
    number, n = NUMBERS[model.letter].get(case, 0), n_generated(case)
    x = model.inputs(case, number)
    if case in TRACED:
        for name, tensor in model.trace(x, x["ids"]).items():
            store(out, meta, f"{case}.{name}", tensor)
    out[f"{case}.ids"] = np.array(x["ids"], np.int32)
    out[f"{case}.positions"], following = model.positions(x)
    out[f"{case}.next"] = np.array([following], np.int32)
    out[f"{case}.number"] = np.array([number], np.int32)
    out[f"{case}.grids"] = x["grids"]
    out[f"{case}.n_frame"] = np.array([len(p.get("frames", [])) for p in x["parts"]], np.int32)
    out[f"{case}.pictures"] = np.array([d for p in x["parts"] for d in drawn(p)], np.int32).reshape(-1, 3)
    report = {"number": number, "n_prompt_tok": len(x["ids"])}
    for key in ("pixels", "clip_pixels"):
        if x[key] is not None:
            report[key.replace("pixels", "pixel_values_sha256")] = hashlib.sha256(x[key].numpy().tobytes()).hexdigest()
    if n == 0:
        return report
    (generated,), (margin,), (spread,) = model.generate(x, [x["ids"]], n)
    model.answer(case, generated)
    out[f"{case}.generated"] = np.array(generated, np.int32)
    if case in TEACHER[model.letter]:
        ids = x["ids"] + generated[:-1]
        model.net.model.rope_deltas = None
        logits = model.net(**model.keywords(x, [ids])).logits[0, -N_GENERATED:].numpy()
        assert (logits.argmax(-1) == np.array(generated)).all()
        out[f"{case}.teacher"] = logits.astype(np.float16)
    return {**report, "min_margin": round(margin, 6), "logits_range": round(spread, 3),
            "margin_of_range": round(margin / spread, 6), "distinct_ids": len(set(generated))}


def make(model):
    out, meta, report = {}, {}, {}
    for case in model.cases():
        report[case] = make_case(model, case, out, meta)
    x = model.inputs("text", 0)
    positions = far_positions(len(x["ids"]))
    position_ids = torch.tensor(positions.T[:, None].astype(np.int64))
    for name, tensor in model.trace(x, x["ids"], position_ids=position_ids).items():
        store(out, meta, f"far.{name}", tensor)
    out["far.ids"], out["far.positions"] = np.array(x["ids"], np.int32), positions
    return out, meta, report


def survivors(model, x, ids, n, floor):
    """Greedy decoding of several prompts at once; those whose margin falls below `floor` of the logits' range are
    dropped on the way. Returns (index, smallest margin, range, distinct ids) of the rest."""
    model.net.model.rope_deltas = None
    cache = transformers.DynamicCache(config=model.net.config.text_config)
    logits = model.net(**model.keywords(x, ids, len(ids)), past_key_values=cache, logits_to_keep=1).logits[:, -1]
    alive = torch.arange(len(ids))
    margin, low, high = torch.full((len(ids),), 1e9), torch.zeros(len(ids)), torch.zeros(len(ids))
    delta = int(model.net.model.rope_deltas[0]) if x["media"] else 0
    said = torch.zeros((len(ids), 0), dtype=torch.long)
    for i in range(n):
        top = logits.topk(2, -1)
        margin = torch.minimum(margin, top.values[:, 0] - top.values[:, 1])
        low, high = torch.minimum(low, logits.amin(-1)), torch.maximum(high, top.values[:, 0])
        said = torch.cat([said, top.indices[:, :1]], 1)
        keep = (margin > floor * (high - low)).nonzero()[:, 0]
        if len(keep) == 0:
            return []
        if len(keep) < len(alive):
            alive, margin, low, high, said = alive[keep], margin[keep], low[keep], high[keep], said[keep]
            cache.batch_select_indices(keep)
        position = torch.full((3, len(alive), 1), len(ids[0]) + i + delta)
        logits = model.net(input_ids=said[:, -1:], position_ids=position, past_key_values=cache).logits[:, -1]
    return [(int(k), float(m), float(h - l), len(set(g.tolist()))) for k, m, h, l, g
            in zip(alive, margin, high, low, said)]


def search_case(model, case, n, n_batch=128):
    """The best numbers below n: (margin over range, number, margin, distinct ids)."""
    best, n_new = [], n_generated(case)
    for first in range(0, n, n_batch):
        x = model.inputs(case, first)
        digits = model.tokenizer(f"{first:04d}")["input_ids"]  # the prompts differ in these only
        at = max(i for i in range(len(x["ids"])) if x["ids"][i:i + 4] == digits)
        ids = [x["ids"][:at] + model.tokenizer(f"{k:04d}")["input_ids"] + x["ids"][at + 4:]
               for k in range(first, first + n_batch)]
        best += [(m / s, first + k, m, d) for k, m, s, d in survivors(model, x, ids, n_new, 0.5e-3)
                 if d >= MIN_DISTINCT * n_new // N_GENERATED]
        best.sort(reverse=True)
        if best and best[0][0] > 1e-3:
            break
    return best


def search(model, n, cases):
    for case in model.cases():
        numbers = NUMBERS[model.letter]
        if n_generated(case) == 0 or cases and case not in cases:
            continue
        if case not in numbers or not case.startswith("turn"):
            best = search_case(model, case, n)
            print(model.letter, case, [f"{k}: {r:.1e} of range, {m:.4f}, {d} distinct" for r, k, m, d in best[:3]],
                  flush=True)
            numbers[case] = best[0][1]
        if case.startswith("turn"):
            x = model.inputs(case, numbers[case])
            model.answer(case, model.generate(x, [x["ids"]], n_generated(case))[0][0])
    print(model.letter, numbers, flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--models", default=golden_model.LETTERS)
    parser.add_argument("--search", type=int, default=0)
    parser.add_argument("--cases", default="")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    work = tempfile.mkdtemp()
    manifest = {"python": platform.python_version(), "torch": torch.__version__.split("+")[0],
                "transformers": transformers.__version__, "numpy": np.__version__,
                "dtype": "float32, one thread, attention sdpa", "models": {}, "vectors": {}}
    try:
        for letter in args.models:
            folder = os.path.join(work, letter)
            golden_model.write(letter, folder)
            model = Model(letter, folder)
            if args.search:
                search(model, args.search, args.cases.split(",") if args.cases else [])
                continue
            out, meta, report = make(model)
            path = os.path.join(args.out, letter + ".safetensors")
            save_file(out, path, metadata={"tensors": json.dumps(meta)})
            os.chmod(path, 0o644)
            manifest["models"][letter] = {"files": model.sha256, "cases": report}
        if not args.search:
            with open(os.path.join(args.out, "manifest.json"), "w") as f:
                json.dump(manifest, f, indent=1)
                f.write("\n")
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
