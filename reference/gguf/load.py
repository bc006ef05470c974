"""qvl on GGUF files that others have written, beside transformers on the same files' numbers.

    python load.py QVL [--llama.cpp DIR]

For each type that qvl reads: a golden model is written as two files by the Python package gguf, its matrices in that type
(where the package cannot make a type, blocks of random bytes with sensible scales: what is asked is whether they are
read rightly). The files are read again by the package, dequantised by it, and put into transformers; both programs
compute in float32. Ids must be equal, the best logits within LIMIT.

With a checkout of llama.cpp: besides, its own converter's files of a golden model; built in DIR/build, those of
llama-quantize, too.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "reference"))

import hf  # noqa: F401  (before transformers)
import gguf
import numpy as np
import torch
from PIL import Image
from transformers import AutoProcessor, Qwen3VLForConditionalGeneration

import golden_model
from convert import CONVERTER, gguf_name

PICTURE = str(ROOT / "demo" / "shapes.png")
QUESTION = "Read the first line."
LIMIT = 2e-4  # max|a-b| / max|b|, as in tests/golden
N_TOKEN, N_TOP = 8, 8
TYPES = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL"]
# Blocks that the package cannot make: where their f16 scales stand, and the second one's share of the first.
SCALES = {"Q4_K": [(0, 1.0), (2, 7.5)], "Q5_K": [(0, 1.0), (2, 15.5)], "Q6_K": [(208, 1.0)], "IQ4_NL": [(0, 1.0)]}
n_bad = 0


def tell(name, is_good, detail=""):
    global n_bad
    n_bad += not is_good
    print(("ok " if is_good else "not ok ") + name + (f": {detail}" if detail else ""), flush=True)


# ---- writing -----------------------------------------------------------------------------------------------------


def random_blocks(x, kind, rng):
    """Of x's shape and standard deviation, in a type that the package only reads."""
    n, n_bytes = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (x.shape[0], x.shape[1] // n, n_bytes), np.uint8)

    def set_scales(d):
        for at, share in SCALES[kind.name]:
            blocks[..., at:at + 2] = np.frombuffer(np.float16(d * share).tobytes(), np.uint8)

    set_scales(2.0 ** -10)
    spread = gguf.quants.dequantize(blocks.reshape(x.shape[0], -1), kind).std()
    set_scales(2.0 ** -10 * x.std() / spread)
    return blocks.reshape(x.shape[0], -1)


def encode(x, name, kind, rng):
    """Bytes and type of a tensor in a file of this kind: norms, biases and positions stay F32, rows that are no whole blocks
    go to Q8_0 and then to F16, as in llama.cpp."""
    if x.ndim == 1 or name == "v.position_embd.weight":
        return x, gguf.GGMLQuantizationType.F32
    for name_of_kind in (kind, "Q8_0", "F16"):
        k = gguf.GGMLQuantizationType[name_of_kind]
        n = gguf.GGML_QUANT_SIZES[k][0]
        if x.shape[-1] % n == 0 and (n == 1 or x.ndim == 2):
            break
    return (random_blocks(x, k, rng) if k.name in SCALES else gguf.quants.quantize(x, k)), k


def add_tokens(writer, folder):
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    n_row = json.loads((folder / "config.json").read_text())["text_config"]["vocab_size"]
    tokens = {i: (t, gguf.TokenType.NORMAL) for t, i in tokenizer["model"]["vocab"].items()}
    for t in tokenizer["added_tokens"]:
        tokens[t["id"]] = (t["content"], gguf.TokenType.CONTROL if t["special"] else gguf.TokenType.USER_DEFINED)
    rows = [tokens.get(i, (f"[PAD{i}]", gguf.TokenType.UNUSED)) for i in range(n_row)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([t for t, _ in rows])
    writer.add_token_types([k for _, k in rows])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]])


def add_text_keys(writer, c, n_tap):
    rope = c.get("rope_scaling") or c["rope_parameters"]
    writer.add_block_count(c["num_hidden_layers"])
    writer.add_context_length(c["max_position_embeddings"])
    writer.add_embedding_length(c["hidden_size"])
    writer.add_feed_forward_length(c["intermediate_size"])
    writer.add_head_count(c["num_attention_heads"])
    writer.add_head_count_kv(c["num_key_value_heads"])
    writer.add_key_length(c["head_dim"])
    writer.add_value_length(c["head_dim"])
    writer.add_layer_norm_rms_eps(c["rms_norm_eps"])
    writer.add_rope_freq_base(c.get("rope_theta") or rope["rope_theta"])
    writer.add_rope_dimension_sections(rope["mrope_section"] + [0])
    writer.add_num_deepstack_layers(n_tap)
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])


def add_vision_keys(writer, v):
    writer.add_type(gguf.GGUFType.MMPROJ)
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type("qwen3vl_merger")
    writer.add_vision_use_gelu(True)
    writer.add_vision_projection_dim(v["out_hidden_size"])
    writer.add_vision_image_size(int(v["num_position_embeddings"] ** 0.5) * v["patch_size"])
    writer.add_vision_patch_size(v["patch_size"])
    writer.add_vision_embedding_length(v["hidden_size"])
    writer.add_vision_feed_forward_length(v["intermediate_size"])
    writer.add_vision_block_count(v["depth"])
    writer.add_vision_head_count(v["num_heads"])
    writer.add_vision_attention_layernorm_eps(1e-6)
    writer.add_vision_spatial_merge_size(v["spatial_merge_size"])
    writer.add_vision_image_mean([0.5] * 3)
    writer.add_vision_image_std([0.5] * 3)
    writer.add_vision_is_deepstack_layers([i in v["deepstack_visual_indexes"] for i in range(v["depth"])])


def write_pair(folder, net, kind, out):
    """Two files of the net in folder `out`."""
    config = json.loads((folder / "config.json").read_text())
    c, v = config["text_config"], config["vision_config"]
    rng = np.random.default_rng(9)
    writers = [gguf.GGUFWriter(str(out / "model.gguf"), "qwen3vl"), gguf.GGUFWriter(str(out / "mmproj-model.gguf"), "clip")]
    add_text_keys(writers[0], c, len(v["deepstack_visual_indexes"]))
    add_tokens(writers[0], folder)
    add_vision_keys(writers[1], v)
    for name, x in net.state_dict().items():
        if name == "lm_head.weight" and config["tie_word_embeddings"]:
            continue
        target, x = gguf_name(name, v["deepstack_visual_indexes"]), x.numpy()
        for part, numbers in [(target, x)] if x.ndim < 5 else [(target, x[:, :, 0]), (target + ".1", x[:, :, 1])]:
            data, k = encode(np.ascontiguousarray(numbers), part, kind, rng)
            writers[part.startswith(("v.", "mm."))].add_tensor(part, data, raw_dtype=k)
    for writer in writers:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return out / "model.gguf", out / "mmproj-model.gguf"


# ---- comparing ---------------------------------------------------------------------------------------------------


def put_into(net, text, eyes, taps):
    """The files' numbers, dequantised, into transformers' parameters. Returns the types of the matrices."""
    found, types = {}, set()
    for path in (text, eyes):
        for t in gguf.GGUFReader(str(path)).tensors:
            x = gguf.quants.dequantize(t.data, t.tensor_type) if t.tensor_type.name not in ("F32", "F16") else t.data
            found[t.name] = np.asarray(x, np.float32).reshape([int(n) for n in t.shape[::-1]])
            types.add(t.tensor_type.name)
    for name, x in net.named_parameters():
        part = gguf_name(name, taps)
        new = np.stack([found[part], found[part + ".1"]], 2) if x.dim() == 5 else found[part]
        x.copy_(torch.from_numpy(new.copy()))
    net.tie_weights()
    return types


def ask_transformers(net, processor):
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}]
    text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    inputs = processor(text=[text], images=[Image.open(PICTURE).convert("RGB")], return_tensors="pt")
    done = net.generate(**inputs, max_new_tokens=N_TOKEN, min_new_tokens=N_TOKEN, do_sample=False,
                        return_dict_in_generate=True, output_logits=True)
    n = inputs["input_ids"].shape[1]
    return inputs["input_ids"][0].tolist(), done.sequences[0, n:].tolist(), [x[0].numpy() for x in done.logits]


def ask_qvl(qvl, text, eyes):
    done = subprocess.run([qvl, "run", "-m", str(text), "--mmproj", str(eyes), "--dtype", "f32", "--temp", "0", "--json",
                           "--ids", "--logits", str(N_TOP), "-q", "-n", str(N_TOKEN), "--ignore-eos", "--image", PICTURE,
                           "--prompt", QUESTION], capture_output=True, text=True)
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr.strip()


def compare(label, qvl, folder, net, processor, text, eyes):
    taps = json.loads((folder / "config.json").read_text())["vision_config"]["deepstack_visual_indexes"]
    types = put_into(net, text, eyes, taps)
    prompt, answer, logits = ask_transformers(net, processor)
    found = ask_qvl(qvl, text, eyes)
    if isinstance(found, str):
        tell(label, False, found)
        return
    largest = max(float(np.abs(x).max()) for x in logits)
    error = max(abs(value - float(x[i])) for x, best in zip(logits, found["logits"]) for i, value in best) / largest
    is_equal = found["prompt_ids"] == prompt and found["output_ids"] == answer
    tell(label, is_equal and error <= LIMIT, ("" if is_equal else "other ids; ") + f"{error:.1e} ({' '.join(sorted(types))})")


def run(command):
    done = subprocess.run([str(x) for x in command], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]}: {done.stderr[-2000:]}")


# The converter imports sentencepiece before it finds that this family has no use for it.
NO_SENTENCEPIECE = """
import sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/gguf-py"]
from conversion import base
def has_none(self, *_, **__):
    raise FileNotFoundError
base.TextModel._set_vocab_sentencepiece = has_none
"""


def compare_converted(qvl, llama, letter, folder, net, processor, work):
    """Files of llama.cpp's own programs."""
    for kind in ("f32", "f16", "bf16", "q8_0"):
        text, eyes = work / f"real-{kind}.gguf", work / f"mmproj-real-{kind}.gguf"
        for out, more in ((text, []), (eyes, ["--mmproj"])):
            run([sys.executable, "-c", NO_SENTENCEPIECE + CONVERTER, llama, folder, "--outfile", out, "--outtype", kind, *more])
        compare(f"{letter}: llama.cpp's converter, {kind}", qvl, folder, net, processor, text, eyes)
    quantize = llama / "build" / "bin" / "llama-quantize"
    for kind in ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL", "Q4_K_M", "Q5_K_M", "Q6_K"] if quantize.exists() else []:
        run([quantize, work / "real-f32.gguf", work / "small.gguf", kind])
        compare(f"{letter}: llama-quantize {kind}", qvl, folder, net, processor, work / "small.gguf",
                work / "mmproj-real-q8_0.gguf")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("qvl")
    parser.add_argument("--llama.cpp", dest="llama", type=pathlib.Path)
    o = parser.parse_args()
    qvl = os.path.abspath(o.qvl)
    for letter, kinds in (("a", TYPES), ("d", ["F32", "Q8_0", "Q6_K"])):  # d: an untied head, YaRN
        with tempfile.TemporaryDirectory() as name:
            work = pathlib.Path(name)
            folder = work / "golden"
            golden_model.write(letter, str(folder))
            processor = AutoProcessor.from_pretrained(folder)
            original = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
            net = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
            for kind in kinds:
                compare(f"{letter}: {kind}", qvl, folder, net, processor, *write_pair(folder, original, kind, work))
            if o.llama and letter == "a":
                compare_converted(qvl, o.llama, letter, folder, net, processor, work)
    return 1 if n_bad else 0


if __name__ == "__main__":
    sys.exit(main())
