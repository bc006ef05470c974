"""Golden vectors: Hugging Face transformers in float32 on the golden models.

Writes OUT/LETTER.safetensors for each model and OUT/manifest.json; the committed ones lie in tests/golden/vectors.
What the files hold is told at the top of tests/golden/vectors.h, their reader.

usage: make_vectors.py OUT [--models abcd] [--search N]

--search N looks for prompts instead: for each case it tries N numbers in the prompt's text, generates 256 tokens with
each, and prints the numbers with the largest smallest margin (best logit minus second best), to be entered in NUMBERS.
"""
import argparse
import hashlib
import json
import os
import platform
import shutil
import tempfile

import hf  # noqa: F401  (before transformers)
import numpy as np
import torch
import transformers
from PIL import Image
from safetensors.numpy import save_file
from transformers import AutoImageProcessor, AutoTokenizer, AutoVideoProcessor, Qwen3VLForConditionalGeneration

import golden_model

N_GENERATED = 256
MIN_DISTINCT = 60          # ids among the 256: text that runs into a short loop proves little
# Case "one" is stored whole but for the logits; of larger tensors, and in the other cases, rows at a fixed stride.
MAX_BYTES, MAX_BYTES_ONE, MAX_STRIDED_BYTES = 16_000, 36_000, 10_000
VISION, END = "<|vision_start|>{}<|vision_end|>", "<|im_end|>\n<|im_start|>assistant\n"

# (height, width, seed) of each picture; the last of "three" is resized to 64x128.
PICTURES = {"text": [], "one": [(96, 160, 1)], "three": [(96, 160, 2), (64, 64, 3), (70, 130, 4)]}
# Four frames of a clip, two to each temporal patch; intermediates only.
FRAMES = [(64, 96, 5), (64, 96, 6), (64, 96, 7), (64, 96, 8)]
CLIP_TIMES = [0.5, 1.5]
TEXTS = {"text": ["Read line {} of the sign and write it down."],
         "one": [None, "What is in picture {}?"],
         "three": ["First ", None, ", then ", None, " and number {}: ", None, "What is the difference?"]}
# Number in the prompt, by model: chosen so that greedy decoding has a clear margin at each of its 256 steps.
NUMBERS = {"a": {"text": 535, "one": 352, "three": 127}, "b": {"text": 202, "one": 508, "three": 672},
           "c": {"text": 477, "one": 23, "three": 277}, "d": {"text": 454, "one": 459, "three": 75}}
# Whose logits over the 256 generated positions are stored whole (1,024 positions), for the bf16 mode.
TEACHER = {"a": ["text", "one"], "b": ["text", "three"], "c": [], "d": []}


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
        self.pad = self.net.config.image_token_id

    def inputs(self, case, number):
        """The prompt as the chat template writes it, pictures expanded, and the pixels."""
        pictures = [Image.fromarray(golden_model.picture(seed, h, w)) for h, w, seed in PICTURES[case]]
        out = {"grids": np.zeros((0, 3), np.int32), "pixels": None}
        if pictures:
            pixels = self.processor(images=pictures, return_tensors="pt")
            out["pixels"], out["grids"] = pixels["pixel_values"], pixels["image_grid_thw"].numpy().astype(np.int32)
        grids = iter(out["grids"])
        prompt = "<|im_start|>user\n"
        for part in TEXTS[case]:
            if part is None:
                t, h, w = next(grids)
                prompt += VISION.format("<|image_pad|>" * (t * h * w // 4))
            else:
                prompt += part.format(f"{number:04d}")
        prompt += END + ("<think>\n" if self.letter == "c" else "")
        out["ids"] = self.tokenizer(prompt)["input_ids"]
        return out

    def clip(self):
        """Ids and arguments of the forward pass with a clip, written without an outer wrapper (MODEL.md, "Prompt")."""
        frames = np.stack([golden_model.picture(seed, h, w) for h, w, seed in FRAMES])
        pixels = self.clip_processor(videos=[torch.from_numpy(frames).permute(0, 3, 1, 2)], do_sample_frames=False,
                                     return_tensors="pt")
        grid = pixels["video_grid_thw"]
        t, h, w = grid[0].tolist()
        assert t == len(CLIP_TIMES)
        prompt = "<|im_start|>user\n" + "".join(
            f"<{time:.1f} seconds>" + VISION.format("<|video_pad|>" * (h * w // 4)) for time in CLIP_TIMES)
        ids = torch.tensor([self.tokenizer(prompt + "What happens?" + END)["input_ids"]])
        return ids[0].tolist(), {
            "input_ids": ids, "attention_mask": torch.ones_like(ids),
            "pixel_values_videos": pixels["pixel_values_videos"], "video_grid_thw": grid,
            "mm_token_type_ids": (ids == self.net.config.video_token_id).int() * 2}

    def keywords(self, x, ids, n_batch=1):
        """Arguments of the model's forward and generate. ids: lists of one length."""
        ids = torch.tensor(ids)
        kw = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if x["pixels"] is not None:
            kw["pixel_values"] = x["pixels"].repeat(n_batch, 1)
            kw["image_grid_thw"] = torch.tensor(x["grids"], dtype=torch.long).repeat(n_batch, 1)
            kw["mm_token_type_ids"] = (ids == self.pad).int()
        return kw

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

    def trace(self, kw):
        """One forward pass; every named intermediate of MODEL.md."""
        found, handles = {}, []

        def keep(name):
            def hook(module, args, output):
                found[name] = (output[0] if isinstance(output, tuple) else output).detach()
            return hook

        def keep_input(name):
            def hook(module, args, kwargs):
                found[name] = (args[0] if args else kwargs["hidden_states"]).detach()
            return hook

        visual, text = self.net.model.visual, self.net.model.language_model
        modules = [("vision.patch_embed", visual.patch_embed), ("vision.merger", visual.merger),
                   ("decoder.norm", text.norm), ("logits", self.net.lm_head)]
        modules += [(f"vision.blocks.{i}", m) for i, m in enumerate(visual.blocks)]
        modules += [(f"vision.deepstack.{i}", m) for i, m in enumerate(visual.deepstack_merger_list)]
        modules += [(f"decoder.layers.{i}", m) for i, m in enumerate(text.layers)]
        for name, module in modules:
            handles.append(module.register_forward_hook(keep(name)))
        for name, module in (("vision.pos_embed", visual.blocks[0]), ("decoder.embed", text.layers[0])):
            handles.append(module.register_forward_pre_hook(keep_input(name), with_kwargs=True))
        self.net.model.rope_deltas = None
        self.net(**kw)
        for handle in handles:
            handle.remove()
        return {k: v.reshape(-1, v.shape[-1]).numpy().copy() for k, v in found.items()}


def store(out, meta, name, x):
    """x whole, or its rows 0, stride, 2 stride, … with the stride and the largest absolute value in the metadata."""
    stride = 1
    if x.nbytes > (MAX_BYTES_ONE if name.startswith("one.") else MAX_BYTES):
        stride = -(-x.nbytes // MAX_STRIDED_BYTES)
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


def make(model):
    out, meta, report = {}, {}, {}
    for case in PICTURES:
        number = NUMBERS[model.letter][case]
        x = model.inputs(case, number)
        kw = model.keywords(x, [x["ids"]])
        for name, tensor in model.trace(kw).items():
            store(out, meta, f"{case}.{name}", tensor)
        if x["pixels"] is None:
            positions, delta = np.arange(len(x["ids"]))[:, None].repeat(3, 1), 0
        else:
            p, d = model.net.model.get_rope_index(kw["input_ids"], kw["mm_token_type_ids"], kw["image_grid_thw"])
            positions, delta = p[:, 0].numpy().T, int(d)
        (generated,), (margin,), (spread,) = model.generate(x, [x["ids"]])
        out[f"{case}.ids"] = np.array(x["ids"], np.int32)
        out[f"{case}.positions"] = np.ascontiguousarray(positions.astype(np.int32))
        out[f"{case}.next"] = np.array([delta + len(x["ids"])], np.int32)
        out[f"{case}.grids"] = x["grids"]
        out[f"{case}.pictures"] = np.array(PICTURES[case], np.int32).reshape(-1, 3)
        out[f"{case}.generated"] = np.array(generated, np.int32)
        report[case] = {"number": number, "n_prompt_tok": len(x["ids"]), "min_margin": round(margin, 6),
                        "logits_range": round(spread, 3), "margin_of_range": round(margin / spread, 6),
                        "distinct_ids": len(set(generated))}
        if x["pixels"] is not None:
            report[case]["pixel_values_sha256"] = hashlib.sha256(x["pixels"].numpy().tobytes()).hexdigest()
        if case in TEACHER[model.letter]:
            ids = x["ids"] + generated[:-1]
            model.net.model.rope_deltas = None
            logits = model.net(**model.keywords(x, [ids])).logits[0, -N_GENERATED:].numpy()
            assert (logits.argmax(-1) == np.array(generated)).all()
            out[f"{case}.teacher"] = logits.astype(np.float16)
    ids, kw = model.clip()
    for name, tensor in model.trace(kw).items():
        store(out, meta, f"clip.{name}", tensor)
    positions, delta = model.net.model.get_rope_index(kw["input_ids"], kw["mm_token_type_ids"],
                                                      video_grid_thw=kw["video_grid_thw"])
    out["clip.ids"] = np.array(ids, np.int32)
    out["clip.positions"] = np.ascontiguousarray(positions[:, 0].numpy().T.astype(np.int32))
    out["clip.next"] = np.array([int(delta) + len(ids)], np.int32)
    out["clip.grids"] = kw["video_grid_thw"].numpy().astype(np.int32)
    out["clip.pictures"] = np.array(FRAMES, np.int32)
    report["clip"] = {"n_prompt_tok": len(ids), "pixel_values_sha256":
                      hashlib.sha256(kw["pixel_values_videos"].numpy().tobytes()).hexdigest()}

    x = model.inputs("text", 0)
    positions = far_positions(len(x["ids"]))
    kw = {"input_ids": torch.tensor([x["ids"]]), "position_ids": torch.tensor(positions.T[:, None].astype(np.int64))}
    for name, tensor in model.trace(kw).items():
        store(out, meta, f"far.{name}", tensor)
    out["far.ids"], out["far.positions"] = np.array(x["ids"], np.int32), positions
    return out, meta, report


def survivors(model, x, ids, floor):
    """Greedy decoding of several prompts at once; those whose margin falls below `floor` of the logits' range are
    dropped on the way. Returns (index, smallest margin, range, distinct ids) of the rest."""
    model.net.model.rope_deltas = None
    cache = transformers.DynamicCache(config=model.net.config.text_config)
    logits = model.net(**model.keywords(x, ids, len(ids)), past_key_values=cache, logits_to_keep=1).logits[:, -1]
    alive = torch.arange(len(ids))
    margin, low, high = torch.full((len(ids),), 1e9), torch.zeros(len(ids)), torch.zeros(len(ids))
    delta = 0 if x["pixels"] is None else int(model.net.model.rope_deltas[0])
    said = torch.zeros((len(ids), 0), dtype=torch.long)
    for i in range(N_GENERATED):
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


def search(model, n):
    for case in PICTURES:
        best, n_batch = [], 128
        for first in range(0, n, n_batch):
            x = model.inputs(case, first)
            digits = model.tokenizer(f"{first:04d}")["input_ids"]  # the prompts differ in these only
            at = next(i for i in range(len(x["ids"])) if x["ids"][i:i + 4] == digits)
            ids = [x["ids"][:at] + model.tokenizer(f"{k:04d}")["input_ids"] + x["ids"][at + 4:]
                   for k in range(first, first + n_batch)]
            best += [(m / s, first + k, m, d) for k, m, s, d in survivors(model, x, ids, 0.5e-3) if d >= MIN_DISTINCT]
            best.sort(reverse=True)
            if best and best[0][0] > 1e-3:
                break
        print(model.letter, case, [f"{k}: {r:.1e} of range, {m:.4f}, {d} distinct" for r, k, m, d in best[:3]],
              flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--models", default=golden_model.LETTERS)
    parser.add_argument("--search", type=int, default=0)
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
                search(model, args.search)
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
