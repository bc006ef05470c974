"""Writes a golden model: a checkpoint folder of the real architecture and file layout with hashed weights.

The twin of tests/golden/golden_model.c: the same bytes (tests/golden/vectors/manifest.json holds their SHA-256).
The JSON files of a model lie in tests/golden/models/LETTER and are copied; tests/golden/tokenizer.json is shared;
the weights are an integer hash of (model letter, tensor name, element index), see `values`.

usage: golden_model.py LETTER OUT_DIR
"""
import hashlib
import json
import os
import shutil
import sys

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GOLDEN = os.path.join(ROOT, "tests", "golden")
LETTERS = "abcd"
N_SHARD = {"a": 1, "b": 1, "c": 3, "d": 1}
N_BASE = 556      # ids of the small BPE below the added tokens
UNIT = 37837.0    # standard deviation of the sum of four uniform 16-bit numbers: 65536 / sqrt(3)
U64 = np.uint64


def fnv1a(text):
    h = 0xCBF29CE484222325
    for b in text.encode():
        h = ((h ^ b) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def splitmix(z):
    """The finaliser of splitmix64, on an array of uint64."""
    z = (z ^ (z >> U64(30))) * U64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> U64(27))) * U64(0x94D049BB133111EB)
    return z ^ (z >> U64(31))


def values(letter, name, begin, end, std, mean, i_small):
    """Elements begin … end-1 of a tensor as bf16 (uint16), about normal. From i_small on std is a quarter."""
    i = np.arange(begin, end, dtype=U64)
    with np.errstate(over="ignore"):
        h = splitmix(U64(fnv1a(letter + "/" + name)) + (i + U64(1)) * U64(0x9E3779B97F4A7C15))
    u = sum(((h >> U64(16 * k)) & U64(0xFFFF)).astype(np.int64) for k in range(4)) - 131070
    scale = np.where(i < U64(i_small), std / UNIT, std / UNIT * 0.25)
    bits = (mean + scale * u.astype(np.float64)).astype(np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + U64(0x7FFF) + ((bits >> U64(16)) & U64(1))) >> U64(16)).astype(np.uint16)


def tensors(config):
    """(name, shape, std, mean, is_vocab) in the order of the file. The scales keep activations near one and make
    each mistake of model/mistake.h visible: small embeddings (RMSNorm eps), small patch embedding (LayerNorm eps), inputs
    of both GELUs around -2.4, where their two forms differ most."""
    t, v = config["text_config"], config["vision_config"]
    out = []

    def add(name, shape, std, mean=0.0, is_vocab=False):
        out.append((name, shape, std, mean, is_vocab))

    def linear(name, n_out, n_in, gain, bias_std=None, bias_mean=0.0):
        add(name + ".weight", [n_out, n_in], gain / float(np.sqrt(np.float64(n_in))))
        if bias_std is not None:
            add(name + ".bias", [n_out], bias_std, bias_mean)

    def layer_norm(name, n):
        add(name + ".weight", [n], 0.2, 1.0)
        add(name + ".bias", [n], 0.1)

    d, head = t["hidden_size"], t["head_dim"]
    p = "model.language_model."
    add(p + "embed_tokens.weight", [t["vocab_size"], d], 0.05, 0.0, True)
    for i in range(t["num_hidden_layers"]):
        q = f"{p}layers.{i}."
        add(q + "input_layernorm.weight", [d], 0.2, 1.0)
        linear(q + "self_attn.q_proj", t["num_attention_heads"] * head, d, 1.0)
        linear(q + "self_attn.k_proj", t["num_key_value_heads"] * head, d, 1.0)
        linear(q + "self_attn.v_proj", t["num_key_value_heads"] * head, d, 1.0)
        linear(q + "self_attn.o_proj", d, t["num_attention_heads"] * head, 0.5)
        add(q + "self_attn.q_norm.weight", [head], 0.2, 1.3)
        add(q + "self_attn.k_norm.weight", [head], 0.2, 1.3)
        add(q + "post_attention_layernorm.weight", [d], 0.2, 1.0)
        linear(q + "mlp.gate_proj", t["intermediate_size"], d, 1.5)
        linear(q + "mlp.up_proj", t["intermediate_size"], d, 1.0)
        linear(q + "mlp.down_proj", d, t["intermediate_size"], 0.5)
    add(p + "norm.weight", [d], 0.5, 80.0 / float(np.sqrt(np.float64(d))))
    if not config["tie_word_embeddings"]:
        add("lm_head.weight", [t["vocab_size"], d], 0.05, 0.0, True)

    e, m = v["hidden_size"], v["intermediate_size"]
    merged = e * v["spatial_merge_size"] ** 2
    p = "model.visual."
    kernel = [v["in_channels"], v["temporal_patch_size"], v["patch_size"], v["patch_size"]]
    add(p + "patch_embed.proj.weight", [e] + kernel, 0.05 / float(np.sqrt(np.float64(int(np.prod(kernel))))))
    add(p + "patch_embed.proj.bias", [e], 0.03)
    add(p + "pos_embed.weight", [v["num_position_embeddings"], e], 0.03)
    for i in range(v["depth"]):
        q = f"{p}blocks.{i}."
        layer_norm(q + "norm1", e)
        layer_norm(q + "norm2", e)
        linear(q + "attn.qkv", 3 * e, e, 1.3, 0.2)
        linear(q + "attn.proj", e, e, 0.5, 0.05)
        linear(q + "mlp.linear_fc1", m, e, 1.0, 0.3, -2.4)
        linear(q + "mlp.linear_fc2", e, m, 3.0, 0.05)
    names = [("merger.", e)] + [(f"deepstack_merger_list.{i}.", merged)
                                for i in range(len(v["deepstack_visual_indexes"]))]
    for name, n_norm in names:
        layer_norm(p + name + "norm", n_norm)
        linear(p + name + "linear_fc1", merged, merged, 1.0, 0.3, -2.4)
        linear(p + name + "linear_fc2", v["out_hidden_size"], merged, 3.0, 0.05)
    return out


def write_shard(path, letter, part, n_base):
    """One safetensors file: 8 bytes of header length, JSON padded with blanks to a multiple of 8, data."""
    header, offset = '{"__metadata__":{"format":"pt"}', 0
    for name, shape, *_ in part:
        end = offset + 2 * int(np.prod(shape))
        header += f',"{name}":{{"dtype":"BF16","shape":[{",".join(map(str, shape))}],"data_offsets":[{offset},{end}]}}'
        offset = end
    header += "}"
    header += " " * (-len(header) % 8)
    with open(path, "wb") as f:
        f.write(len(header).to_bytes(8, "little") + header.encode())
        for name, shape, std, mean, is_vocab in part:
            n = int(np.prod(shape))
            i_small = n_base * shape[-1] if is_vocab else n
            for begin in range(0, n, 1 << 20):
                f.write(values(letter, name, begin, min(begin + (1 << 20), n), std, mean, i_small).tobytes())
    return offset


def write(letter, out_dir, tokenizer_dir=None):
    """With tokenizer_dir (a folder with the published tokenizer.json) the model has the real vocabulary."""
    os.makedirs(out_dir, exist_ok=True)
    source = os.path.join(GOLDEN, "models", letter)
    for file in sorted(os.listdir(source)):
        shutil.copyfile(os.path.join(source, file), os.path.join(out_dir, file))
    shutil.copyfile(os.path.join(tokenizer_dir or GOLDEN, "tokenizer.json"), os.path.join(out_dir, "tokenizer.json"))
    n_base = N_BASE
    if tokenizer_dir:
        n_base = use_real_vocabulary(out_dir, tokenizer_dir)
    with open(os.path.join(out_dir, "config.json")) as f:
        all_tensors = tensors(json.load(f))
    n_shard = N_SHARD[letter]
    if n_shard == 1:
        write_shard(os.path.join(out_dir, "model.safetensors"), letter, all_tensors, n_base)
        return
    n, total, weight_map = len(all_tensors), 0, []
    for i in range(n_shard):
        file = f"model-{i + 1:05d}-of-{n_shard:05d}.safetensors"
        part = all_tensors[n * i // n_shard:n * (i + 1) // n_shard]
        total += write_shard(os.path.join(out_dir, file), letter, part, n_base)
        weight_map += [f'    "{t[0]}": "{file}"' for t in part]
    with open(os.path.join(out_dir, "model.safetensors.index.json"), "w") as f:
        f.write('{\n  "metadata": {\n    "total_size": %d\n  },\n  "weight_map": {\n' % total)
        f.write(",\n".join(weight_map) + "\n  }\n}\n")


def use_real_vocabulary(out_dir, tokenizer_dir):
    """Rewrites the ids in the folder's JSON files to the published ones; returns the number of base tokens."""
    n_base, n_row = 151643, 151936
    file = "tokenizer_config.json"
    shutil.copyfile(os.path.join(tokenizer_dir, file), os.path.join(out_dir, file))

    def shift(x):
        if isinstance(x, dict):
            return {k: n_row if k == "vocab_size" else move(v) if k.endswith("_token_id") else shift(v)
                    for k, v in x.items()}
        return x

    def move(ids):
        return [move(i) for i in ids] if isinstance(ids, list) else None if ids is None else ids - N_BASE + n_base

    for file in ("config.json", "generation_config.json"):
        path = os.path.join(out_dir, file)
        if os.path.exists(path):
            with open(path) as f:
                tree = json.load(f)
            with open(path, "w") as f:
                json.dump(shift(tree), f, indent=2)
    return n_base


def picture(seed, h, w):
    """A test picture [h, w, 3] uint8: slopes, and a hashed shade for each 8x8 block and channel."""
    y, x, c = np.meshgrid(np.arange(h, dtype=U64), np.arange(w, dtype=U64), np.arange(3, dtype=U64), indexing="ij")
    block = ((y >> U64(3)) * U64(4096) + (x >> U64(3))) * U64(3) + c
    with np.errstate(over="ignore"):
        hash_ = splitmix(U64(seed) * U64(0x9E3779B97F4A7C15) + block)
    return (((x * (c + U64(2)) + y * (U64(3) - c)) & U64(127)) + (hash_ >> U64(57))).astype(np.uint8)


def sha256_of_files(folder):
    out = {}
    for file in sorted(os.listdir(folder)):
        with open(os.path.join(folder, file), "rb") as f:
            out[file] = hashlib.sha256(f.read()).hexdigest()
    return out


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2])
