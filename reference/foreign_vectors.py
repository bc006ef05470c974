"""Folders as AWQ, GPTQ, compressed-tensors and FP8 quantise them, and what the reference computes with them.

Each case is a golden model some of whose matrices are stored as such a program stores them, their words, bytes, scales,
zeros and orders drawn by the same integer hash in Python and C (tests/golden/foreign_model.c). Their numbers are made
in float32:

  compressed-tensors   by that library's own decompress (with an order of columns, which its newer versions have dropped,
                       by its unpacking and the formula)
  FP8                  by transformers' _dequantize_fp8_weight
  AWQ, GPTQ            by the formulas of autoawq's dequantize_gemm and gptqmodel's dequantize_weight, written again here bit by
                       bit: the libraries ask for a GPU to be imported. --beside DIR compares with autoawq's and gptqmodel's own
                       sources, unpacked below DIR.

Written: tests/golden/foreign.safetensors: CASE.logits [vocab] f32, of the last token of a prompt with a picture; in the
metadata "cases", JSON: letter, quantization_config, how matrices are stored, SHA-256 of model.safetensors, and of all dequantised
matrices, f32, in the order of the file.

usage: foreign_vectors.py [--check] [--beside DIR]
"""
import argparse
import ast
import hashlib
import importlib.util
import json
import math
import pathlib
import struct
import sys
import tempfile

import hf  # noqa: F401  (before transformers)
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen3VLForConditionalGeneration
from transformers.integrations.finegrained_fp8 import _dequantize_fp8_weight

import golden_model
import make_vectors
from golden_model import U64, fnv1a, splitmix

OUT = pathlib.Path(golden_model.GOLDEN) / "foreign.safetensors"
PROMPT = "one"
TYPES = {"I32": np.int32, "I64": np.int64, "I8": np.int8, "F8_E4M3": np.uint8, "F32": np.uint32, "F16": np.uint16,
         "BF16": np.uint16}
TORCH = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


# ---- the cases -------------------------------------------------------------------------------------------

def ct(fmt, groups, **more):
    return {"quant_method": "compressed-tensors", "quantization_status": "compressed", "format": fmt, "ignore": ["lm_head"],
            "kv_cache_scheme": None, "config_groups": {f"group_{i}": g for i, g in enumerate(groups)}, **more}


def ct_group(bits, strategy, kind="int", symmetric=True, activations=None, targets=("Linear",), **more):
    weights = {"num_bits": bits, "type": kind, "symmetric": symmetric, "strategy": strategy, "dynamic": False,
               "observer": "minmax", "group_size": None, "block_structure": None, "actorder": None, **more}
    return {"targets": list(targets), "weights": weights, "input_activations": activations, "output_activations": None}


def how(kind, bits, rows=1, group=0, zero=None, scale="F16", order=False, extra=None):
    """rows, group: that share a scale, 0 all. zero: None, "middle" or "hash"."""
    return {"kind": kind, "bits": bits, "rows": rows, "group": group, "zero": zero, "scale": scale, "order": order,
            "extra": extra}


TOKEN = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}
AWQ = {"quant_method": "awq", "bits": 4, "version": "gemm", "modules_to_not_convert": ["visual"]}
GPTQ = {"quant_method": "gptq", "damp_percent": 0.01, "true_sequential": True, "meta": {"quantizer": ["gptqmodel:5.0.0"]}}

# name: letter, quantization_config, how the attention's matrices are stored and how the others, also the tower's
CASES = {
    "awq": ("a", {**AWQ, "group_size": 128, "zero_point": True}, [how("awq", 4, 1, 128, "hash")], False),
    "awq_whole_rows": ("b", {**AWQ, "group_size": -1, "zero_point": False}, [how("awq", 4)], False),
    "gptq": ("a", {**GPTQ, "bits": 4, "group_size": 128, "desc_act": False, "sym": True, "checkpoint_format": "gptq"},
             [how("gptq", 4, 1, 128, "middle")], False),
    "gptq_order": ("a", {**GPTQ, "bits": 4, "group_size": 32, "desc_act": True, "sym": False},
                   [how("gptq", 4, 1, 32, "hash", order=True)], False),
    "gptq_3_8": ("b", {**GPTQ, "bits": 3, "group_size": 64, "desc_act": True, "sym": False, "checkpoint_format": "gptq",
                       "dynamic": {r"+:.*\.mlp\..*": {"bits": 8, "group_size": -1}, r"-:.*visual.*": {}}},
                 [how("gptq", 3, 1, 64, "hash", order=True), how("gptq", 8, 1, 0, "hash", "BF16", order=True)], False),
    "gptq_v2_2_3": ("a", {**GPTQ, "bits": 2, "group_size": 16, "desc_act": False, "sym": False, "checkpoint_format": "gptq_v2",
                          "dynamic": {r".*\.mlp\..*": {"bits": 3, "group_size": 128}}},
                    [how("gptq_v2", 2, 1, 16, "hash"), how("gptq_v2", 3, 1, 128, "hash", "F32")], False),
    "packed_4": ("b", ct("pack-quantized", [ct_group(4, "group", group_size=16)]),
                 [how("packed", 4, 1, 16, scale="BF16")], True),
    "packed_4_zero": ("a", ct("pack-quantized", [ct_group(4, "group", symmetric=False, group_size=32)]),
                      [how("packed", 4, 1, 32, "hash", "BF16")], False),
    "packed_order": ("a", ct("pack-quantized", [ct_group(4, "group", group_size=64, actorder="group")]),
                     [how("packed", 4, 1, 64, scale="F32", order=True)], False),
    "packed_8_mixed": ("b", ct("mixed-precision", [
        {**ct_group(8, "channel", symmetric=False, targets=["re:.*self_attn.*"]), "format": "pack-quantized"},
        {**ct_group(8, "channel", targets=["re:.*mlp.*"], activations=TOKEN), "format": "int-quantized"}]),
        [how("packed", 8, 1, 0, "hash", "BF16"), how("int", 8, 1, 0, scale="BF16")], False),
    "int_8": ("a", ct("int-quantized", [ct_group(8, "channel", symmetric=False, targets=["re:.*self_attn.*"]),
                                        ct_group(8, "tensor", symmetric=False, targets=["re:.*mlp.*"])]),
              [how("int", 8, 1, 0, "hash", "F32"), how("int", 8, 0, 0, "hash", "F16", extra="input_scale")], False),
    "float_8": ("a", ct("float-quantized", [
        ct_group(8, "channel", "float", targets=["re:.*self_attn.*"]),
        ct_group(8, "tensor", "float", targets=["re:.*mlp.*"], activations={**TOKEN, "type": "float", "dynamic": False})]),
        [how("float", 8, 1, 0, scale="BF16"), how("float", 8, 0, 0, scale="F32", extra="input_scale")], True),
    "float_8_block": ("b", ct("float-quantized", [ct_group(8, "block", "float", block_structure=[128, 128])]),
                      [how("float", 8, 128, 128, scale="BF16")], False),
    "fp8_block": ("b", {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3", "weight_block_size": [128, 128],
                        "modules_to_not_convert": ["lm_head", "model.visual"]},
                  [how("fp8", 8, 128, 128, scale="BF16")], False),
    "fp8_whole": ("a", {"quant_method": "fp8", "activation_scheme": "static", "weight_block_size": None},
                  [how("fp8", 8, 0, 0, scale="F32", extra="activation_scale")], True),
}

SUFFIXES = {"quant": ("qweight", "qzeros", "scales", "g_idx"),
            "packed": ("weight_packed", "weight_zero_point", "weight_scale", "weight_g_idx"),
            "bytes": ("weight", "weight_zero_point", "weight_scale", None),
            "fp8": ("weight", None, "weight_scale_inv", None)}


def suffixes(kind):
    return SUFFIXES["quant" if kind in ("awq", "gptq", "gptq_v2") else "bytes" if kind in ("int", "float") else kind]


# ---- the parts of a matrix, drawn --------------------------------------------------------------------------

def hashed(case, name, n):
    with np.errstate(over="ignore"):
        return splitmix(U64(fnv1a(case + "/" + name)) + np.arange(1, n + 1, dtype=U64) * U64(0x9E3779B97F4A7C15))


def draw_scales(case, name, dtype, n, exponent):
    """2^-exponent to twice that, every bit of the mantissa drawn."""
    n_bit, bias = {"F32": (23, 127), "F16": (10, 15), "BF16": (7, 127)}[dtype]
    mantissa = hashed(case, name, n) >> U64(32) & U64((1 << n_bit) - 1)
    return (mantissa + U64((bias - exponent) << n_bit)).astype(TYPES[dtype])


def draw_words(case, name, n):
    return (hashed(case, name, n) & U64(0xFFFFFFFF)).astype(np.uint32).view(np.int32)


def draw_bytes(case, name, n, mask):
    return (hashed(case, name, n) & U64(mask)).astype(np.uint8)


def is_quantised(name, shape, has_vision):
    is_text = ".layers." in name and name.endswith("_proj.weight")
    return is_text or (has_vision and ".visual." in name and name.endswith(".weight") and len(shape) == 2 and "pos_embed" not in name)


def parts_of(case, h, stem, n_out, n_in):
    """[(name, dtype, shape, data)] in the order of the file."""
    kind, bits = h["kind"], h["bits"]
    weight, zero, scale, order = (stem + s if s else None for s in suffixes(kind))
    n_group = math.ceil(n_in / h["group"]) if h["group"] else 1
    n_line = math.ceil(n_out / h["rows"]) if h["rows"] else 1

    def words(n):
        return (n * bits + 31) // 32

    out = []
    by_column = kind in ("awq", "gptq", "gptq_v2")
    if by_column:
        shape = [n_in, words(n_out)] if kind == "awq" else [words(n_in), n_out]
        zero_shape, scale_shape = [n_group, words(n_out)], [n_group, n_out]
    else:
        shape = [n_out, words(n_in)] if kind == "packed" else [n_out, n_in]
        zero_shape = [words(n_out), n_group] if kind == "packed" else [n_line, n_group]
        scale_shape = [n_line, n_group] if h["rows"] else [1] if h["scale"] == "F32" else []
        zero_shape = zero_shape if h["rows"] else [1]
    n = math.prod(shape)
    if by_column or kind == "packed":
        out.append((weight, "I32", shape, draw_words(case, weight, n)))
    elif kind == "int":
        out.append((weight, "I8", shape, draw_bytes(case, weight, n, 0xFF)))
    else:
        out.append((weight, "F8_E4M3", shape, draw_bytes(case, weight, n, 0xBF)))  # up to 1.875
    if h["zero"]:
        n = math.prod(zero_shape)
        if kind == "int":
            out.append((zero, "I8", zero_shape, draw_bytes(case, zero, n, 0x1F)))
        else:
            middle = np.full(n, 0x77777777, np.int32)
            out.append((zero, "I32", zero_shape, middle if h["zero"] == "middle" else draw_words(case, zero, n)))
    exponent = 4 if kind in ("float", "fp8") else bits + 3
    out.append((scale, h["scale"], scale_shape, draw_scales(case, scale, h["scale"], math.prod(scale_shape), exponent)))
    if h["order"] or kind == "gptq":
        i = np.arange(n_in, dtype=np.int64)
        group = h["group"] or n_in
        out.append((order, "I32", [n_in], ((i * 5 + 3) % n_in // group if h["order"] else i // group).astype(np.int32)))
    if kind == "packed":
        out.append((stem + "weight_shape", "I64", [2], np.array([n_out, n_in], np.int64)))
    if h["extra"]:
        out.append((stem + h["extra"], "F32", [], np.array([1.0], np.float32).view(np.uint32)))
    return out


def write(case, source, out_dir):
    """The golden folder with its matrices quantised; returns {name of the matrix: (how, shape)}."""
    _, config, hows, has_vision = CASES[case]
    out_dir.mkdir()
    for file in source.iterdir():
        if not file.name.endswith(".safetensors"):
            (out_dir / file.name).write_bytes(file.read_bytes())
    text = (source / "config.json").read_text()
    (out_dir / "config.json").write_text(text.replace("{", '{"quantization_config": ' + json.dumps(config) + ",", 1))
    blob = (source / "model.safetensors").read_bytes()
    n_header = int.from_bytes(blob[:8], "little")
    header, entries, quantised, at = json.loads(blob[8:8 + n_header]), [], {}, 8 + n_header
    for name, e in header.items():
        if name == "__metadata__":
            continue
        if is_quantised(name, e["shape"], has_vision):
            h = hows[-1] if ".self_attn." not in name else hows[0]
            quantised[name] = h, e["shape"]
            entries += parts_of(case, h, name[:-len("weight")], *e["shape"])
        else:
            begin, end = e["data_offsets"]
            entries.append((name, e["dtype"], e["shape"], np.frombuffer(blob[at + begin:at + end], np.uint8)))
    text, offset = '{"__metadata__":{"format":"pt"}', 0
    for name, dtype, shape, data in entries:
        text += f',"{name}":{{"dtype":"{dtype}","shape":[{",".join(map(str, shape))}],"data_offsets":[{offset},{offset + data.nbytes}]}}'
        offset += data.nbytes
    text += "}"
    text += " " * (-len(text) % 8)
    with open(out_dir / "model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text.encode() + b"".join(d.tobytes() for *_, d in entries))
    return quantised


# ---- the numbers they stand for ------------------------------------------------------------------------------

def stream(words, n_bit, n):
    """n numbers of n_bit out of each column of int32 words [n_word, any], a stream of bits, low ones first."""
    words = words.numpy().view(np.uint32)
    bits = (words[:, None] >> np.arange(32, dtype=np.uint32)[None, :, None] & 1).reshape(-1, words.shape[1])
    bits = bits[:n * n_bit].reshape(n, n_bit, -1)
    return (bits << np.arange(n_bit, dtype=np.uint32)[None, :, None]).sum(1).astype(np.int64)


def of_awq(p, h, n_out, n_in):
    reverse = np.array([0, 4, 1, 5, 2, 6, 3, 7])

    def unpack(words):
        nibbles = words.numpy().view(np.uint32)[:, :, None] >> np.arange(0, 32, 4, dtype=np.uint32) & 15
        return nibbles[:, :, reverse].reshape(words.shape[0], -1).astype(np.int64)

    q, s = unpack(p["qweight"]), p["scales"].float().numpy()
    z = unpack(p["qzeros"]) if "qzeros" in p else np.full(s.shape, 8)
    n = h["group"] or n_in
    return torch.from_numpy((q - z.repeat(n, 0)).astype(np.float32) * s.repeat(n, 0)).T


def of_gptq(p, h, n_out, n_in):
    bits = h["bits"]
    q, words = stream(p["qweight"], bits, n_in), p["qzeros"]
    if h["kind"] == "gptq" and bits != 3:
        words = torch.from_numpy((words.numpy().view(np.uint32) + np.uint32(0xFFFFFFFF // ((1 << bits) - 1))).view(np.int32))
    z = stream(words.T.contiguous(), bits, n_out).T
    if h["kind"] == "gptq" and bits == 3:
        z = z + 1 & 7
    g = p["g_idx"].numpy() if "g_idx" in p else np.arange(n_in) // (h["group"] or n_in)
    return torch.from_numpy((q - z[g]).astype(np.float32) * p["scales"].float().numpy()[g]).T


def scheme_of(h):
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    strategy = {0: "tensor", 1: "group" if h["group"] else "channel"}.get(h["rows"], "block")
    more = {"group": {"group_size": h["group"]}, "block": {"block_structure": [h["rows"], h["group"]]}}.get(strategy, {})
    return QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(
        num_bits=h["bits"], type="float" if h["kind"] == "float" else "int", symmetric=not h["zero"], strategy=strategy, **more))


def of_compressed(p, h, n_out, n_in):
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.compressors.pack_quantized import unpack_from_int32
    p = {k: v.float() if k == "weight_scale" else v for k, v in p.items() if k not in ("input_scale", "weight_g_idx")} | {
        k: v for k, v in p.items() if k == "weight_g_idx"}
    order = p.pop("weight_g_idx", None)
    if order is not None:
        q = unpack_from_int32(p["weight_packed"], h["bits"], torch.Size([n_out, n_in]))
        return q.float() * p["weight_scale"][:, order.long()]
    name = {"packed": "pack-quantized", "int": "int-quantized", "float": "float-quantized"}[h["kind"]]
    return BaseCompressor.get_value_from_registry(name).decompress(p, scheme_of(h))["weight"]


def of_fp8(p, h, n_out, n_in):
    return _dequantize_fp8_weight(p["weight"], p["weight_scale_inv"], [h["rows"], h["group"]] if h["rows"] else None,
                                  torch.float32)


DEQUANTISE = {"awq": of_awq, "gptq": of_gptq, "gptq_v2": of_gptq, "packed": of_compressed, "int": of_compressed,
              "float": of_compressed, "fp8": of_fp8}


def extract(path, names, space):
    """The functions of these names out of a file that cannot be imported as a whole."""
    tree = ast.parse(path.read_text())
    found = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name in names]
    for n in found:
        n.decorator_list, n.returns = [], None
    exec(compile(ast.Module(found, []), str(path), "exec"), space)  # noqa: S102
    return [space[name] for name in names]


def of_gptqmodel(folder, p, h, n_out, n_in):
    root, bits = next(folder.glob("gptqmodel-*/gptqmodel")), h["bits"]
    space = {"torch": torch, "t": torch, "PLANAR_BITS": ()}
    shift = extract(root / "utils/model_dequant.py", ["_require_int32_words_for_3bit", "_unpack_cols_3bit", "_pack_cols_3bit", "unpack_cols", "pack_cols",
                                                      "_shift_gptq_qzeros"], space)[-1]
    names = ["_torch_right_shift", "_torch_left_shift", "_init_wf_unsqueeze_buffers", "_dequantize_from_codes",
             "dequantize_weight"]
    methods = dict(zip(names, extract(root / "nn_modules/qlinear/__init__.py", names, space)))
    zeros = p["qzeros"]
    if h["kind"] == "gptq":  # convert_gptq_v1_to_v2_format_module: 0b0101…, 0x1111…, 0x0101…; 3 bits number by number
        zeros = shift(zeros, 3, delta=1) if bits == 3 else zeros + {2: 0x55555555, 4: 0x11111111, 8: 0x01010101}[bits]
    layer = type("Layer", (torch.nn.Module,), {**methods, "_wf_device": lambda self: "cpu"})()
    order = p.get("g_idx", torch.arange(n_in) // (h["group"] or n_in))
    for key, value in {"qweight": p["qweight"], "qzeros": zeros, "scales": p["scales"].float(), "g_idx": order, "bits": bits,
                       "maxq": (1 << bits) - 1, "pack_factor": 32 // bits, "pack_dtype_bits": 32, "planar": False,
                       "in_features": n_in, "enable_wf_unsqueeze": True,
                       "dequant_dtype": torch.int16 if bits == 8 else torch.int8}.items():
        setattr(layer, key, value)
    return layer.dequantize_weight().T


def of_autoawq(folder, p, h, n_out, n_in):
    path = next(folder.glob("autoawq-*/awq/utils/packing_utils.py"))
    spec = importlib.util.spec_from_file_location("packing_utils", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    eights = torch.full((p["scales"].shape[0], n_out // 8), 0x88888888 - (1 << 32), dtype=torch.int32)
    return module.dequantize_gemm(p["qweight"], p.get("qzeros", eights), p["scales"].float(), 4, h["group"] or n_in).T


BESIDE = {"awq": of_autoawq, "gptq": of_gptqmodel, "gptq_v2": of_gptqmodel}


# ---- all ----------------------------------------------------------------------------------------------------------

def run(case, work, folder):
    letter, config, hows, has_vision = CASES[case]
    source, out_dir = work / letter, work / case
    if not source.exists():
        golden_model.write(letter, str(source))
    quantised = write(case, source, out_dir)
    stored, numbers = load_file(out_dir / "model.safetensors"), {}
    net = Qwen3VLForConditionalGeneration.from_pretrained(source, dtype=torch.float32)
    state, digest = net.state_dict(), hashlib.sha256()
    for name, (h, (n_out, n_in)) in quantised.items():
        stem = name[:-len("weight")]
        p = {k[len(stem):]: v for k, v in stored.items() if k.startswith(stem)}
        x = DEQUANTISE[h["kind"]](p, h, n_out, n_in).contiguous()
        assert x.dtype == torch.float32 and list(x.shape) == [n_out, n_in] and bool(x.isfinite().all())
        if folder and h["kind"] in BESIDE:
            assert torch.equal(x, BESIDE[h["kind"]](pathlib.Path(folder), p, h, n_out, n_in)), "not as the library's own code"
        digest.update(x.numpy().tobytes())
        state[name].copy_(x)
    model = make_vectors.Model(letter, str(source))
    model.net = net.eval()
    x = model.inputs(PROMPT, make_vectors.NUMBERS[letter][PROMPT])
    logits = net(**model.keywords(x, [x["ids"]]), logits_to_keep=1).logits[0, -1]
    blob = (out_dir / "model.safetensors").read_bytes()
    print(f"ok {case}: {len(quantised)} matrices, logits up to {logits.abs().max():.2f}", flush=True)
    return logits, {"letter": letter, "config": config, "how": hows, "has_vision": has_vision,
                    "file_sha256": hashlib.sha256(blob).hexdigest(), "weights_sha256": digest.hexdigest()}


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--check", action="store_true")
    options.add_argument("--beside")
    options = options.parse_args()
    logits, cases = {}, {}
    with tempfile.TemporaryDirectory() as work:
        for case in CASES:
            logits[case + ".logits"], cases[case] = run(case, pathlib.Path(work), options.beside)
    if not options.check:
        save_file(logits, OUT, {"cases": json.dumps(cases)})
        return 0
    with open(OUT, "rb") as f:
        committed = json.loads(json.loads(f.read(int.from_bytes(f.read(8), "little")))["__metadata__"]["cases"])
    old = load_file(OUT)
    worst = max(float((old[k] - v).abs().max() / v.abs().max()) for k, v in logits.items())
    is_same = committed == json.loads(json.dumps(cases)) and worst < 1e-5
    print(f"{'ok' if is_same else 'not ok'} foreign_vectors: logits differ by {worst:.1e}")
    return 0 if is_same else 1


if __name__ == "__main__":
    sys.exit(main())
