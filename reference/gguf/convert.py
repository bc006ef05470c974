"""What `qvl convert` writes, read by the Python package gguf and, where there is one, by llama.cpp.

    python convert.py QVL [MODEL] [--llama.cpp DIR]        MODEL: a folder as published (demo/model)

With the package alone (in make reference): for each type, every tensor equals the bytes that gguf.quants.quantize makes of the
published weights; tokens, merges and numbers of the config equal what this file reads from the folder's JSON files.

With a checkout of llama.cpp that is built in DIR/build (llama-mtmd-cli, libllama), besides: every tensor and every key
equals those of its own converter's files, but for the keys listed below; llama.cpp loads the files; its logits lie
within a tolerance of qvl's in f32 arithmetic on the same file; asked about the demo's pictures, scaled so that neither
program resizes them, both answer the same, greedily (in Q8_0, where llama.cpp rounds activations to 8 bits, to three of four).
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TYPES = {"f16": "F16", "q8_0": "Q8_0", "bf16": "BF16"}
# What llama.cpp's converter takes from a model card or does not write, and qvl's own keys.
OTHER_KEYS = {"GGUF.kv_count", "GGUF.tensor_count", "general.name", "general.tags", "general.languages", "general.license",
              "general.sampling.min_p", "clip.vision.image_min_pixels", "clip.vision.image_max_pixels",
              "tokenizer.ggml.add_bos_token"}
# Largest difference of a logit over the standard deviation of all: llama.cpp rounds activations to the type of the weights.
TOLERANCE = {"f16": 0.001, "q8_0": 0.05, "bf16": 0.02}
n_bad = 0


def tell(name, is_good, detail=""):
    global n_bad
    n_bad += not is_good
    print(("ok " if is_good else "not ok ") + name + (f": {detail}" if detail else ""), flush=True)


class File:
    def __init__(self, path):
        reader = gguf.GGUFReader(str(path))
        self.keys = {name: ([t.name for t in field.types], field.contents()) for name, field in reader.fields.items()}
        self.tensors = {t.name: t for t in reader.tensors}

    def value(self, key):
        return self.keys[key][1] if key in self.keys else None


# ---- the folder, read here ---------------------------------------------------------------------------------------


def read_weights(model):
    """Canonical name -> f32 array, of every .safetensors file in the folder."""
    out = {}
    for path in sorted(model.glob("*.safetensors")):
        raw = np.memmap(path, np.uint8, "r")
        n = int(raw[:8].view("<u8")[0])
        for name, entry in json.loads(bytes(raw[8:8 + n])).items():
            if name == "__metadata__":
                continue
            begin, end = (8 + n + at for at in entry["data_offsets"])
            out[name] = (raw[begin:end], entry["dtype"], entry["shape"])
    return out


def widen(data, dtype, shape):
    if dtype == "BF16":
        return (data.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    return data.view("<f2" if dtype == "F16" else "<f4").astype(np.float32).reshape(shape)


NAMES = [
    ("model.language_model.embed_tokens", "token_embd"), ("model.language_model.norm", "output_norm"), ("lm_head", "output"),
    ("model.language_model.layers.", "blk."), (".input_layernorm", ".attn_norm"), (".self_attn.q_proj", ".attn_q"),
    (".self_attn.k_proj", ".attn_k"), (".self_attn.v_proj", ".attn_v"), (".self_attn.o_proj", ".attn_output"),
    (".self_attn.q_norm", ".attn_q_norm"), (".self_attn.k_norm", ".attn_k_norm"), (".post_attention_layernorm", ".ffn_norm"),
    (".mlp.gate_proj", ".ffn_gate"), (".mlp.up_proj", ".ffn_up"), (".mlp.down_proj", ".ffn_down"),
    ("model.visual.patch_embed.proj", "v.patch_embd"), ("model.visual.pos_embed", "v.position_embd"),
    ("model.visual.merger.norm", "v.post_ln"), ("model.visual.merger.linear_fc1", "mm.0"),
    ("model.visual.merger.linear_fc2", "mm.2"), ("model.visual.blocks.", "v.blk."), (".norm1", ".ln1"), (".norm2", ".ln2"),
    (".attn.qkv", ".attn_qkv"), (".attn.proj", ".attn_out"), (".mlp.linear_fc1", ".ffn_up"), (".mlp.linear_fc2", ".ffn_down"),
    ("model.visual.deepstack_merger_list.", "v.deepstack."), (".linear_fc1", ".fc1"), (".linear_fc2", ".fc2"),
]


def gguf_name(name, taps):
    for old, new in NAMES:
        name = name.replace(old, new)
    if name.startswith("v.deepstack."):
        _, _, i, rest = name.split(".", 3)
        name = f"v.deepstack.{taps[int(i)]}.{rest}"
    return name


def expected(x, name, kind):
    """The bytes and the type that a tensor has in a file of this kind."""
    if x.ndim == 1 or name == "v.position_embd.weight":
        kind = "F32"
    elif name.startswith("v.patch_embd.weight"):
        kind = "F16" if kind == "F16" else "F32"
    elif kind == "Q8_0" and x.shape[-1] % 32:
        kind = "F16"
    return gguf.quants.quantize(x, gguf.GGMLQuantizationType[kind]), kind


def check_tensors(label, weights, taps, text, eyes, kind):
    n, wrong = 0, []
    for name, (data, dtype, shape) in weights.items():
        x, out = widen(data, dtype, shape), gguf_name(name, taps)
        parts = [(out, x)] if x.ndim < 5 else [(out, x[:, :, 0]), (out + ".1", x[:, :, 1])]
        for part, values in parts:
            want, type_name = expected(np.ascontiguousarray(values), part, kind)
            got = text.tensors.get(part) or eyes.tensors.get(part)
            n += 1
            if (got is None or got.tensor_type.name != type_name or list(got.shape) != list(values.shape[::-1])
                    or got.data.tobytes() != want.tobytes()):
                wrong.append(part)
    n_written = len(text.tensors) + len(eyes.tensors)
    tell(f"{label}: {n} tensors are the package's bytes of the published weights", not wrong and n == n_written,
         ", ".join(wrong[:3]) or (f"{n_written} are written" if n != n_written else ""))


def check_keys(label, model, text, eyes, kind):
    config = json.loads((model / "config.json").read_text())
    c, v = config["text_config"], config["vision_config"]
    rope = c.get("rope_scaling") or c.get("rope_parameters")
    want = {
        "general.architecture": "qwen3vl", "general.type": "model", "qwen3vl.block_count": c["num_hidden_layers"],
        "qwen3vl.context_length": c["max_position_embeddings"], "qwen3vl.embedding_length": c["hidden_size"],
        "qwen3vl.feed_forward_length": c["intermediate_size"], "qwen3vl.attention.head_count": c["num_attention_heads"],
        "qwen3vl.attention.head_count_kv": c["num_key_value_heads"], "qwen3vl.attention.key_length": c["head_dim"],
        "qwen3vl.attention.value_length": c["head_dim"], "qwen3vl.rope.freq_base": c.get("rope_theta", rope.get("rope_theta")),
        "qwen3vl.rope.dimension_sections": rope["mrope_section"] + [0],
        "qwen3vl.attention.layer_norm_rms_epsilon": float(np.float32(c["rms_norm_eps"])),
        "qwen3vl.n_deepstack_layers": len(v["deepstack_visual_indexes"]), "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2", "general.file_type": {"F16": 1, "Q8_0": 7, "BF16": 32}[kind],
    }
    want_eyes = {
        "general.architecture": "clip", "general.type": "mmproj", "clip.has_vision_encoder": True, "clip.use_gelu": True,
        "clip.projector_type": "qwen3vl_merger", "clip.vision.projection_dim": c["hidden_size"],
        "clip.vision.image_size": int(v["num_position_embeddings"] ** 0.5) * v["patch_size"],
        "clip.vision.patch_size": v["patch_size"], "clip.vision.embedding_length": v["hidden_size"],
        "clip.vision.feed_forward_length": v["intermediate_size"], "clip.vision.block_count": v["depth"],
        "clip.vision.attention.head_count": v["num_heads"], "clip.vision.spatial_merge_size": v["spatial_merge_size"],
        "clip.vision.is_deepstack_layers": [i in v["deepstack_visual_indexes"] for i in range(v["depth"])],
    }
    wrong = [f"{k} is {f.value(k)}" for f, w in ((text, want), (eyes, want_eyes)) for k in w if f.value(k) != w[k]]
    tell(f"{label}: keys of the config", not wrong, "; ".join(wrong[:3]))

    file = json.loads((model / "tokenizer.json").read_text())
    added = {t["id"]: t for t in file["added_tokens"]}
    token = {i: t for t, i in file["model"]["vocab"].items()}
    tokens, types = [], []
    for i in range(c["vocab_size"]):
        text_of = added[i]["content"] if i in added else token.get(i, f"[PAD{i}]")
        tokens.append(text_of)
        is_control = i in added and (added[i]["special"] or text_of.startswith("<|"))
        types.append(3 if is_control else 4 if i in added else 1 if i in token else 5)
    merges = [m if isinstance(m, str) else " ".join(m) for m in file["model"]["merges"]]
    tell(f"{label}: {len(tokens)} tokens, their types, {len(merges)} merges",
         text.value("tokenizer.ggml.tokens") == tokens and text.value("tokenizer.ggml.token_type") == types
         and text.value("tokenizer.ggml.merges") == merges)


# ---- llama.cpp ---------------------------------------------------------------------------------------------------

CONVERTER = """
import pathlib, runpy, sys
root = pathlib.Path(sys.argv.pop(1))
sys.path[:0] = [str(root), str(root / "gguf-py")]
from conversion import base
real = base.TextModel.get_vocab_base_pre
def pre(self, tokenizer):  # a small vocabulary has another hash than the published one
    try:
        return real(self, tokenizer)
    except NotImplementedError:
        return "qwen2"
base.TextModel.get_vocab_base_pre = pre
sys.argv[0] = str(root / "convert_hf_to_gguf.py")
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def check_converter(label, llama, model, type_name, text, eyes, work):
    for name, ours, extra in (("text", text, []), ("mmproj", eyes, ["--mmproj"])):
        path = work / f"theirs-{name}.gguf"
        subprocess.run([sys.executable, "-c", CONVERTER, str(llama), str(model), *extra, "--outtype", type_name, "--outfile",
                        str(path)], check=True, capture_output=True)
        theirs = File(path)
        keys = set(ours.keys) | set(theirs.keys)
        wrong = [k for k in keys if ours.keys.get(k) != theirs.keys.get(k) and k not in OTHER_KEYS
                 and not k.startswith("qvl.") and not (k.startswith("general.sampling.") and k not in theirs.keys)]
        wrong += sorted(set(ours.tensors) ^ set(theirs.tensors))
        for tensor, t in theirs.tensors.items():
            o = ours.tensors.get(tensor)
            if o is not None and (o.tensor_type != t.tensor_type or o.data.tobytes() != t.data.tobytes()):
                wrong.append(tensor)
        tell(f"{label}: {name}: {len(theirs.tensors)} tensors and the keys are those of llama.cpp's converter", not wrong,
             ", ".join(wrong[:4]))
        path.unlink()


def run(command):
    return subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL).stdout


def check_logits(label, qvl, logits_of, path, type_name):
    worst, n_same = 0, 0
    prompts = ["What is this?", "How many circles are there?", "Write one short sentence about a lighthouse.",
               "请用中文介绍一下上海。"]
    for prompt in prompts:
        ours = json.loads(run([qvl, "run", "-q", "-m", str(path), "--dtype", "f32", "--quantize", "none", "--temp", "0",
                               "--json", "--ids", "--logits", "64", "-n", "1", "--ignore-eos", "--prompt", prompt]))
        theirs = np.frombuffer(run([logits_of, str(path), *map(str, ours["prompt_ids"])]), np.float32)
        top = ours["logits"][0]
        worst = max(worst, max(abs(theirs[i] - x) for i, x in top) / theirs.std())
        n_same += int(theirs.argmax()) == top[0][0]
    tell(f"{label}: logits of {len(prompts)} prompts, 64 best of each: largest difference {worst:.2g} deviations; "
         f"the same best token {n_same} of {len(prompts)}", worst <= TOLERANCE[type_name])


# Scaled to whole patches, within the limits of both programs: neither resizes them.
PICTURES = {"shapes.png": (192, 160), "boxes.png": (192, 192), "text.png": (288, 64), "receipt.png": (224, 192)}


def check_pictures(label, qvl, llama, path, mmproj, work):
    from PIL import Image
    n, different = 0, []
    for line in (ROOT / "demo/questions.txt").read_text().splitlines():
        picture, question = line.split("\t")[:2]
        if picture not in PICTURES:
            continue
        small = work / picture
        Image.open(ROOT / "demo" / picture).convert("RGB").resize(PICTURES[picture], Image.Resampling.BICUBIC).save(small)
        ours = run([qvl, "run", "-q", "-m", str(path), "--quantize", "none", "--temp", "0", "-n", "64", str(small), "--prompt",
                    question]).decode().strip()
        theirs = run([str(llama / "build/bin/llama-mtmd-cli"), "-m", str(path), "--mmproj", str(mmproj), "--image", str(small),
                      "-p", question, "--temp", "0", "-n", "64", "--jinja", "-t", "2"]).decode().strip()
        n += 1
        if ours != theirs:
            different.append(f"{picture}, {question!r}: {ours!r}, llama.cpp {theirs!r}")
    tell(f"{label}: llama-mtmd-cli answers {n - len(different)} of {n} questions about pictures as qvl does",
         len(different) <= (n // 4 if label == "q8_0" else 0), "; ".join(different[:3]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("qvl")
    parser.add_argument("model", nargs="?", type=pathlib.Path, default=ROOT / "demo/model")
    parser.add_argument("--llama.cpp", dest="llama", type=pathlib.Path)
    parser.add_argument("--types", default="f16,q8_0,bf16")
    o = parser.parse_args()
    is_demo = o.model.resolve() == ROOT / "demo/model"
    taps = json.loads((o.model / "config.json").read_text())["vision_config"]["deepstack_visual_indexes"]
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        if o.llama:
            logits_of, lib = str(work / "llama_logits"), o.llama / "build/bin"
            subprocess.run(["cc", "-O1", "-o", logits_of, str(ROOT / "reference/gguf/llama_logits.c"), f"-I{o.llama}/include",
                            f"-I{o.llama}/ggml/include", f"-L{lib}", "-lllama", "-lggml", "-lggml-base", f"-Wl,-rpath,{lib}",
                            f"-Wl,-rpath-link,{lib}"], check=True)
        for type_name in o.types.split(","):
            label, path, mmproj = type_name, work / f"{type_name}.gguf", work / f"mmproj-{type_name}.gguf"
            subprocess.run([o.qvl, "convert", str(o.model), str(path), "--type", type_name, "-q"], check=True)
            text, eyes = File(path), File(mmproj)
            check_tensors(label, read_weights(o.model), taps, text, eyes, TYPES[type_name])
            check_keys(label, o.model, text, eyes, TYPES[type_name])
            if o.llama:
                check_converter(label, o.llama, o.model, type_name, text, eyes, work)
                check_logits(label, o.qvl, logits_of, path, type_name)
            if o.llama and is_demo:
                check_pictures(label, o.qvl, o.llama, path, mmproj, work)
            del text, eyes
            path.unlink(), mmproj.unlink()
    sys.exit(n_bad > 0)


if __name__ == "__main__":
    main()
