#!/usr/bin/env python3
"""What Hugging Face transformers computes with a checkpoint, in one file that `qvl verify MODEL REF` compares with.

    python reference/verify.py MODEL REF          MODEL: a folder, or a name on the hub (Qwen/Qwen3-VL-2B-Instruct)
        [--dtype float32|bfloat16] [--device cpu|cuda] [--size MB] [--tokens N] [--top K]
    python reference/verify.py MODEL REF --check  the same again, compared with the REF that is there

Needs torch, torchvision, transformers (4.57 or 5.x), numpy and Pillow, and this one file. float32 is the default: `qvl
verify` can then tell a wrong build from a rounding. A bfloat16 reference rounds as much as what it is compared with, so
of it only ids, pixels and the agreement of the logits are judged.

REF is a safetensors file: u64 header length (little-endian), JSON, data. Its tensors are F32, I32 or U8, one after the
other from byte 0 of the data, each at a multiple of its element; the header's length is a multiple of 8. __metadata__:

    format      "qvl-reference"
    version     "1": a reader refuses higher ones
    sha256      of the three texts that follow (as decoded from JSON), one after the other, and the data
    about       JSON: model, config_sha256, dtype, device, thinking, versions {…}, sizes {"text": {…}, "vision": {…}}
                as in `qvl inspect --json`
    cases       JSON: [{"name", "parts": [{"text"} | {"picture": tensor} | {"clip": [tensor, …], "times": [s, …]}],
                "video_wrapper", "pixels": [{"shape": [frames, height, width], "sha256"}, …]}, …]: of each picture and clip,
                in order, the bytes [frames, height, width, 3] after resizing
    slices      JSON: {tensor: {"rows", "columns", "row_stride", "column_stride", "max_abs"}}

Pictures are PNG files as U8 [n]. Of a case, CASE.WHAT: ids [n] (the prompt's, expanded), output_ids [m] (greedy), top_ids
and top [m, k] (the best logits at each of them), log_sum [m] (logarithm of the sum of the exponentials of all); and
slices, rows and columns 0, stride, 2 stride, … of a whole tensor: the intermediates of MODEL.md by name, over prompt and
output but the last; decoder.norm and logits, of the rows that choose the output; pixels.K, [pixels, 3] of picture or
clip K.
"""
import argparse
import contextlib
import hashlib
import inspect
import io
import json
import math
import pathlib
import platform
import struct
import sys

import numpy as np
import torch
from PIL import Image, ImageDraw

try:
    import torchvision
except RuntimeError:  # built for another torch: the processors need none of its compiled operators
    n_thread = torch.get_num_threads()
    import hf  # noqa: F401
    torch.set_num_threads(n_thread)
    import torchvision
import transformers
from transformers import AutoProcessor, Qwen3VLForConditionalGeneration
from transformers.utils import cached_file

VERSION = "1"
LEAST_ROWS = 8             # of a slice; then columns are left out
PIXEL_SLICE = 1 / 40       # of the file, for all slices of pixels
CLIP_SECONDS = [0, 0.5, 1, 1.5, 2]


# ---- what is asked -------------------------------------------------------------------------------------

def shapes():
    """Flat colours with hard edges, no side a multiple of 32."""
    picture = Image.new("RGB", (610, 430), (250, 250, 246))
    pen = ImageDraw.Draw(picture)
    pen.ellipse((40, 60, 220, 240), fill=(214, 40, 40))
    pen.rectangle((300, 180, 450, 330), fill=(28, 80, 190))
    pen.polygon(((500, 60), (580, 210), (430, 170)), fill=(20, 140, 60))
    pen.line((20, 400, 590, 380), fill=(0, 0, 0), width=5)
    return picture


def slope():
    """Smooth, much higher than wide."""
    y, x = np.mgrid[0:420, 0:150]
    pixels = np.stack([y * 255 // 420, x * 255 // 150, 255 - (x + y) * 255 // 570], -1)
    pixels[300:340, 30:120] = (240, 220, 20)
    return Image.fromarray(pixels.astype(np.uint8))


def grains():
    """Smaller than any model takes: every pixel another colour."""
    i = np.arange(36 * 30 * 3, dtype=np.uint32)
    return Image.fromarray((i * np.uint32(2654435761) >> np.uint32(24)).astype(np.uint8).reshape(30, 36, 3))


def clip():
    """An odd number of frames: a square moves, a circle appears."""
    frames = [Image.new("RGB", (200, 140), (235, 240, 245)) for _ in CLIP_SECONDS]
    for i, frame in enumerate(frames):
        pen = ImageDraw.Draw(frame)
        pen.rectangle((10 + 34 * i, 50, 40 + 34 * i, 80), fill=(230, 120, 10))
        if i >= 3:
            pen.ellipse((20, 90, 50, 120), fill=(120, 30, 160))
    return frames


def cases():
    text = ("Dr. Ann's café sold 1,234 cups in May — 17% more than in April. "
            "How many is that a day?\n\n```c\nint x = 42; /* ok */\n```")
    chinese = "用一句话介绍长江；再算一算：3.14×2＝多少？😀"
    return [("english", [text]), ("chinese", [chinese]),
            ("picture", [shapes(), "你看到了什么？"]),
            ("pictures", [slope(), "First, then:", grains(), "What changed from the first picture to the second?"]),
            ("clip", [clip(), "What happens, and when?"]),
            ("clip_picture", [clip(), shapes(), "Describe the clip, then the picture. 请用中文回答。"])]


# ---- the reference --------------------------------------------------------------------------------------

@contextlib.contextmanager
def intermediates(net):
    """Of the forward passes inside: every named intermediate of MODEL.md, in float32, a list of rows for each call."""
    found, handles = {}, []

    def add(name, tensor):
        copy = tensor.detach().to("cpu", torch.float32, copy=True)  # transformers 4.57 adds deepstack in place
        found.setdefault(name, []).append(copy.reshape(-1, tensor.shape[-1]))

    def keep(name):
        return lambda module, args, output: add(name, output[0] if isinstance(output, tuple) else output)

    def keep_input(name):
        return lambda module, args, kwargs: add(name, args[0] if args else kwargs["hidden_states"])

    visual, text = net.model.visual, net.model.language_model
    modules = [("vision.patch_embed", visual.patch_embed), ("vision.merger", visual.merger),
               ("decoder.norm", text.norm), ("logits", net.lm_head)]
    modules += [(f"vision.blocks.{i}", m) for i, m in enumerate(visual.blocks)]
    modules += [(f"vision.deepstack.{i}", m) for i, m in enumerate(visual.deepstack_merger_list)]
    modules += [(f"decoder.layers.{i}", m) for i, m in enumerate(text.layers)]
    for name, module in modules:
        handles.append(module.register_forward_hook(keep(name)))
    for name, module in (("vision.pos_embed", visual.blocks[0]), ("decoder.embed", text.layers[0])):
        handles.append(module.register_forward_pre_hook(keep_input(name), with_kwargs=True))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


class Reference:
    def __init__(self, args):
        torch.set_grad_enabled(False)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        self.device = args.device
        self.net, info = Qwen3VLForConditionalGeneration.from_pretrained(
            args.model, dtype=getattr(torch, args.dtype), output_loading_info=True)
        if info["missing_keys"]:  # the tied head is not among them
            sys.exit(f"{args.model}: weights are missing: {sorted(info['missing_keys'])[:3]}")
        self.net.eval().to(args.device)
        self.processor = AutoProcessor.from_pretrained(args.model)
        self.takes = inspect.signature(self.net.forward).parameters

    def render(self, parts):
        kinds = {str: "text", list: "video"}
        content = [{"type": kinds.get(type(p), "image"), "text": p} for p in parts]
        for item in content:
            if item["type"] != "text":
                item[item["type"]] = item.pop("text")
        return self.processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False,
                                                  add_generation_prompt=True)

    def see(self, parts):
        """The model's arguments for the prompt."""
        pictures = [p for p in parts if isinstance(p, Image.Image)]
        clips = [p for p in parts if isinstance(p, list)]
        more = {"images": pictures} if pictures else {}
        if clips:
            more |= {"videos": [np.stack(c) for c in clips], "do_sample_frames": False, "video_metadata": [
                {"total_num_frames": len(c), "fps": 1 / CLIP_SECONDS[1], "frames_indices": list(range(len(c)))}
                for c in clips]}
        out = self.processor(text=[self.render(parts)], return_tensors="pt", **more)
        return {k: v for k, v in out.items() if k in self.takes}

    def generate(self, x, n):
        self.net.model.rope_deltas = None
        x = {k: v.to(self.device) for k, v in x.items()}
        out = self.net.generate(**x, max_new_tokens=n, do_sample=False, temperature=None, top_p=None, top_k=None,
                                repetition_penalty=None)
        return out[0, x["input_ids"].shape[1]:].tolist()

    def trace(self, x, more_ids):
        """One forward pass over the prompt and more_ids: every named intermediate of MODEL.md, rows in the prompt's order.
        The tower sees all pictures first and then all clips."""
        more_ids = torch.tensor([more_ids], dtype=torch.long)
        long = dict(x)
        for key, value in (("input_ids", more_ids), ("attention_mask", torch.ones_like(more_ids)),
                           ("mm_token_type_ids", torch.zeros_like(more_ids))):
            if key in x:
                long[key] = torch.cat([x[key], value.to(x[key].dtype)], 1)
        self.net.model.rope_deltas = None
        with intermediates(self.net) as found:
            self.net(**{k: v.to(self.device) for k, v in long.items()}, use_cache=False)
        return found


def in_order(kinds, grids, calls):
    """Rows of the tower's two calls in the order of the prompt."""
    if len(calls) == 1:
        return calls[0]
    pieces = {}
    for kind, call in zip(("image", "video"), calls):
        patches = [math.prod(g) for k, g in zip(kinds, grids) if k == kind]
        per_row = sum(patches) // len(call)
        pieces[kind] = iter(torch.split(call, [n // per_row for n in patches]))
    return torch.cat([next(pieces[k]) for k in kinds])


def resized_bytes(rows, grid, processor, n_frame):
    """[frames, height, width, 3], back from the processor's rows of patches."""
    t, h, w = grid
    patch, merge, pair = processor.patch_size, processor.merge_size, processor.temporal_patch_size
    rows = rows.float().numpy().reshape(t, h // merge, w // merge, merge, merge, 3, pair, patch, patch)
    frames = rows.transpose(0, 6, 1, 3, 7, 2, 4, 8, 5).reshape(t * pair, h * patch, w * patch, 3)
    mean, std = np.array(processor.image_mean), np.array(processor.image_std)
    frames = np.rint((frames * std + mean) * 255)
    return frames[:n_frame].astype(np.uint8)


# ---- the file -------------------------------------------------------------------------------------------

class File:
    def __init__(self):
        self.tensors, self.slices = {}, {}

    def add(self, name, x, dtype):
        self.tensors[name] = np.ascontiguousarray(np.asarray(x, dtype))

    def add_slice(self, name, x, n_bytes):
        """Of x [rows, columns] about n_bytes, spread over all of it."""
        x = np.asarray(x)
        most = max(1, n_bytes // x.itemsize)
        n_row = min(len(x), max(LEAST_ROWS, most // x.shape[1]))
        row_stride = -(-len(x) // n_row)
        column_stride = -(-x.shape[1] * -(-len(x) // row_stride) // most)
        self.add(name, x[::row_stride, ::column_stride], x.dtype)
        self.slices[name] = {"rows": len(x), "columns": x.shape[1], "row_stride": row_stride,
                             "column_stride": column_stride, "max_abs": float(np.abs(x).max())}

    def n_bytes(self):
        return sum(x.nbytes for x in self.tensors.values())

    def write(self, path, about, told):
        names = sorted(self.tensors, key=lambda n: -self.tensors[n].itemsize)  # stable: each is aligned to its element
        data, header = b"", {}
        kind = {np.dtype(np.float32): "F32", np.dtype(np.int32): "I32", np.dtype(np.uint8): "U8"}
        for name in names:
            x = self.tensors[name]
            header[name] = {"dtype": kind[x.dtype], "shape": x.shape, "data_offsets": [len(data), len(data) + x.nbytes]}
            data += x.tobytes()

        def dump(x):
            return json.dumps(x, ensure_ascii=False, separators=(",", ":"))

        meta = {"about": dump(about), "cases": dump(told), "slices": dump(self.slices)}
        summed = "".join(meta.values()).encode() + data
        meta = {"format": "qvl-reference", "version": VERSION, "sha256": hashlib.sha256(summed).hexdigest(), **meta}
        text = dump({"__metadata__": meta, **header}).encode()
        text += b" " * (-len(text) % 8)
        pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


def read(path):
    """(tensors, metadata) of a REF."""
    data = pathlib.Path(path).read_bytes()
    n, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + n])
    meta = header.pop("__metadata__")
    kind = {"F32": np.float32, "I32": np.int32, "U8": np.uint8}
    return {k: np.frombuffer(data[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]],
                             kind[v["dtype"]]).reshape(v["shape"]) for k, v in header.items()}, meta


def sizes(config):
    t, v = config.text_config, config.vision_config
    return {"text": {"hidden": t.hidden_size, "layers": t.num_hidden_layers, "heads": t.num_attention_heads,
                     "kv_heads": t.num_key_value_heads, "head_dim": t.head_dim, "intermediate": t.intermediate_size,
                     "vocab": t.vocab_size},
            "vision": {"hidden": v.hidden_size, "layers": v.depth, "heads": v.num_heads,
                       "intermediate": v.intermediate_size, "out_hidden": v.out_hidden_size, "patch": v.patch_size,
                       "merge": v.spatial_merge_size, "temporal_patch": v.temporal_patch_size,
                       "position_embeddings": v.num_position_embeddings,
                       "deepstack_layers": list(v.deepstack_visual_indexes)}}


def png(picture):
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return np.frombuffer(out.getvalue(), np.uint8)


def add_parts(file, name, parts):
    told = []
    for i, part in enumerate(parts):
        if isinstance(part, str):
            told.append({"text": part})
            continue
        frames = part if isinstance(part, list) else [part]
        names = [f"{name}.file.{i}.{k}" for k in range(len(frames))]
        for key, frame in zip(names, frames):
            file.add(key, png(frame), np.uint8)
        told.append({"clip": names, "times": CLIP_SECONDS} if isinstance(part, list) else {"picture": names[0]})
    return told


def add_answer(file, name, ids, logits, n_top):
    top = logits.topk(min(n_top, logits.shape[1]), -1)
    file.add(f"{name}.output_ids", ids, np.int32)
    file.add(f"{name}.top_ids", top.indices, np.int32)
    file.add(f"{name}.top", top.values, np.float32)
    file.add(f"{name}.log_sum", torch.logsumexp(logits.double(), -1), np.float32)


def run_case(reference, file, name, parts, args):
    """What the file tells of the case, and what is to be sliced: {tensor: [rows, columns]}."""
    x = reference.see(parts)
    ids = x["input_ids"][0].tolist()
    answer = reference.generate(x, args.tokens)
    found = reference.trace(x, answer[:-1])
    media = [p for p in parts if not isinstance(p, str)]
    kinds = ["video" if isinstance(p, list) else "image" for p in media]
    rows, grids, pixels, whole = {}, [], [], {}
    at = {k: iter(x.get(f"{k}_grid_thw", torch.zeros(0, 3)).tolist()) for k in ("image", "video")}
    for i, (kind, part) in enumerate(zip(kinds, media)):
        grid = [int(g) for g in next(at[kind])]
        grids.append(grid)
        source = x["pixel_values" if kind == "image" else "pixel_values_videos"]
        begin = rows.get(kind, 0)
        rows[kind] = begin + math.prod(grid)
        processor = reference.processor.image_processor if kind == "image" else reference.processor.video_processor
        frames = resized_bytes(source[begin:rows[kind]], grid, processor, len(part) if kind == "video" else 1)
        pixels.append({"shape": list(frames.shape[:3]), "sha256": hashlib.sha256(frames.tobytes()).hexdigest()})
        whole[f"{name}.pixels.{i}"] = frames.reshape(-1, 3)
    file.add(f"{name}.ids", ids, np.int32)
    logits = torch.cat(found.pop("logits"))[len(ids) - 1:]
    add_answer(file, name, answer, logits, args.top)
    for what, calls in found.items():
        calls = in_order(kinds, grids, calls) if what.startswith("vision.") else torch.cat(calls)
        calls = calls[len(ids) - 1:] if what == "decoder.norm" else calls
        whole[f"{name}.{what}"] = calls.numpy()
    whole[f"{name}.logits"] = logits.numpy()
    is_wrapped = ids.count(reference.net.config.vision_start_token_id) > sum(
        g[0] if k == "video" else 1 for g, k in zip(grids, kinds))
    print(f"{name}: {len(ids)} ids, {len(answer)} answered: {reference.processor.tokenizer.decode(answer)!r}")
    return {"name": name, "parts": add_parts(file, name, parts), "video_wrapper": is_wrapped, "pixels": pixels}, whole


def make(args):
    reference, file, told, whole = Reference(args), File(), [], {}
    for name, parts in cases():
        one, more = run_case(reference, file, name, parts, args)
        told.append(one)
        whole |= more
    room = args.size * 1e6 - file.n_bytes()
    of_pixels = [n for n in whole if ".pixels." in n]
    for name, x in whole.items():
        share = PIXEL_SLICE / len(of_pixels) if name in of_pixels else (1 - PIXEL_SLICE) / (len(whole) - len(of_pixels))
        file.add_slice(name, x, int(room * share))
    config = pathlib.Path(cached_file(args.model, "config.json")).read_bytes()
    about = {"model": args.name or pathlib.Path(args.model).name if pathlib.Path(args.model).exists() else args.model,
             "config_sha256": hashlib.sha256(config).hexdigest(), "dtype": args.dtype, "device": args.device,
             "thinking": reference.render([""]).endswith("<think>\n"),
             "versions": {"transformers": transformers.__version__, "torch": torch.__version__,
                          "torchvision": torchvision.__version__, "python": platform.python_version()},
             "sizes": sizes(reference.net.config)}
    return file, about, told


def compare(path, file, told):
    """A newly made file with the one that is there: texts, ids, pixels and pictures equal, numbers near."""
    tensors, meta = read(path)
    n_bad = json.loads(meta["cases"]) != json.loads(json.dumps(told))
    if n_bad:
        print("not ok: the cases differ")
    for name in sorted(set(tensors) | set(file.tensors)):
        a, b = tensors.get(name), file.tensors.get(name)
        if a is None or b is None or a.shape != b.shape:
            is_same = False
        elif a.dtype == np.float32:
            is_same = np.abs(a - b).max() <= 2e-5 * max(1e-30, np.abs(a).max())
        else:
            is_same = name.endswith(".top_ids") or (a == b).all()  # the order of equal ones is nobody's
        if not is_same:
            n_bad += 1
            print(f"not ok: {name} differs")
    print(f"ok: {len(tensors)} tensors" if not n_bad else f"{path} differs")
    return bool(n_bad)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("ref")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", type=float, default=16, help="of the file, in MB")
    parser.add_argument("--tokens", type=int, default=48, help="of each answer at most")
    parser.add_argument("--top", type=int, default=64, help="logits that are kept whole at each token")
    parser.add_argument("--name", help="of the model, in the file")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    file, about, told = make(args)
    if args.check:
        return compare(args.ref, file, told)
    file.write(args.ref, about, told)
    print(f"{args.ref}: {pathlib.Path(args.ref).stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
