"""The demo model: its config files, its tokenizer, and a quick forward pass for training.

The model is Hugging Face's Qwen3VLForConditionalGeneration. `Quick` computes what its forward does from the same
parameters, for batches of pictures of one size: patches as one matrix product, all pictures of a batch in one attention
call, the vocabulary only where an answer is. `python demo_model.py` compares the two (losses, at float32).
"""
import json
import os

import numpy as np
import torch
import torch.nn.functional as F

import demo_data
import golden_tokenizer

N_MERGE = 330
VOCAB = 640  # rows of the embedding; ids end at 256 + N_MERGE + 26
PATCH, MERGE = 16, 2
N_LOOK = 2  # heads of a layer that training shows where to look: those of one head of keys and values

TEXT = dict(attention_bias=False, attention_dropout=0.0, head_dim=64, hidden_act="silu", hidden_size=192,
            initializer_range=0.02, intermediate_size=512, max_position_embeddings=8192,
            model_type="qwen3_vl_text", num_attention_heads=4, num_hidden_layers=6, num_key_value_heads=2,
            rms_norm_eps=1e-6, use_cache=True, vocab_size=VOCAB, dtype="bfloat16", rope_theta=100000,
            rope_scaling=dict(mrope_interleaved=True, mrope_section=[12, 10, 10], rope_type="default"),
            tie_word_embeddings=True)
VISION = dict(deepstack_visual_indexes=[1, 3, 5], depth=7, hidden_act="gelu_pytorch_tanh", hidden_size=192,
              in_channels=3, initializer_range=0.02, intermediate_size=768, model_type="qwen3_vl", num_heads=4,
              num_position_embeddings=256, out_hidden_size=192, patch_size=PATCH, spatial_merge_size=MERGE,
              temporal_patch_size=2)
PROCESSOR = dict(do_convert_rgb=True, do_normalize=True, do_rescale=True, do_resize=True, image_mean=[0.5] * 3,
                 image_std=[0.5] * 3, merge_size=MERGE, patch_size=PATCH, resample=3, rescale_factor=1 / 255,
                 temporal_patch_size=2)
# A picture is at most 42 tokens, the frames of a clip together at most 80 of 64 × 64 pixels.
PICTURE_PIXELS = dict(longest_edge=43008, shortest_edge=4096)
CLIP_PIXELS = dict(longest_edge=327680, shortest_edge=4096)


# ---- tokenizer -----------------------------------------------------------------------------------

def corpus():
    """What the merges are learned from: questions and answers, without the strings that are to be read."""
    import random
    lines = []
    for task in ("scene", "box", "event", "differ", "form", "text"):
        for i in range(400):
            for q, a, _ in demo_data.sample(task, random.Random(f"corpus/{task}/{i}"), n_turn=2)["turns"]:
                lines.append(q)
                if task == "form" and a[0] == "{":
                    lines += ["{" + ",".join(f'"{k}":""' for k in json.loads(a)) + "}", '":"', '","', '{"', '"}']
                elif task not in ("text", "form"):
                    lines.append(a)
    return lines + ["user\nassistant\n<0.5 seconds>"] * 400


def make_tokenizer():
    golden_tokenizer.N_MERGE, golden_tokenizer.TEXT = N_MERGE, "\n".join(corpus())
    return golden_tokenizer.to_bytes(golden_tokenizer.make())


ADDED = {name: 256 + N_MERGE + i for i, (name, _) in enumerate(golden_tokenizer.ADDED)}
END, START, EOT = ADDED["<|im_end|>"], ADDED["<|im_start|>"], ADDED["<|endoftext|>"]
IMAGE, VIDEO = ADDED["<|image_pad|>"], ADDED["<|video_pad|>"]
VISION_START, VISION_END = ADDED["<|vision_start|>"], ADDED["<|vision_end|>"]


def config_tree():
    return dict(architectures=["Qwen3VLForConditionalGeneration"], image_token_id=IMAGE, model_type="qwen3_vl",
                qvl_demo=True,
                text_config=dict(TEXT, bos_token_id=EOT, eos_token_id=END), tie_word_embeddings=True,
                transformers_version="4.57.0", video_token_id=VIDEO, vision_config=VISION,
                vision_start_token_id=VISION_START, vision_end_token_id=VISION_END)


def write_files(folder):
    """All of the model but its weights; the tokenizer only where there is none (training goes on with what it had)."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "golden", "models", "a",
                           "chat_template.json")) as f:
        template = json.load(f)
    trees = {"config.json": config_tree(),
             "chat_template.json": template,
             "generation_config.json": dict(bos_token_id=EOT, do_sample=False, eos_token_id=[END, EOT],
                                            pad_token_id=EOT, transformers_version="4.57.0"),
             "preprocessor_config.json": dict(PROCESSOR, image_processor_type="Qwen2VLImageProcessorFast",
                                              size=PICTURE_PIXELS),
             "tokenizer_config.json": dict(clean_up_tokenization_spaces=False, eos_token="<|im_end|>",
                                           errors="replace", model_max_length=8192, pad_token="<|endoftext|>",
                                           tokenizer_class="Qwen2Tokenizer"),
             "video_preprocessor_config.json": dict(PROCESSOR, do_sample_frames=True, fps=demo_data.FPS,
                                                    max_frames=96, min_frames=4, size=CLIP_PIXELS,
                                                    video_processor_type="Qwen3VLVideoProcessor")}
    for name, tree in trees.items():
        with open(os.path.join(folder, name), "w") as f:
            json.dump(tree, f, indent=2, ensure_ascii=False)
            f.write("\n")
    path = os.path.join(folder, "tokenizer.json")
    if not os.path.exists(path):
        with open(path, "wb") as f:
            f.write(make_tokenizer())


def new_model():
    """Random weights whose scale fits a small model: each linear keeps the size of what it gets."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration
    tree = config_tree()
    tree["text_config"] = {k: v for k, v in tree["text_config"].items() if k != "dtype"}
    model = Qwen3VLForConditionalGeneration(Qwen3VLConfig(**tree)).float()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() < 2:
                continue
            fan_in = p[0].numel()
            if "embed" in name and "patch" not in name:
                p.normal_(0, 0.05 if "pos_embed" in name else 0.04)
                continue
            last = name.endswith(("proj.weight", "down_proj.weight", "linear_fc2.weight")) and not name.endswith(
                ("q_proj.weight", "k_proj.weight", "v_proj.weight", "gate_proj.weight", "up_proj.weight"))
            p.normal_(0, (0.3 if last else 0.8) / fan_in ** 0.5)
        whiten_patches(model)
    return model


def whiten_patches(model):
    """The patch embedding begins with the principal directions of what is drawn, each brought to equal strength, so
    that fine strokes are not drowned by brightness."""
    import random
    patches = []
    for i in range(240):
        task = ("text", "form", "scene", "text")[i % 4]
        pixels = demo_data.sample(task, random.Random(f"whiten/{i}"))["media"][0].pixels
        h, w = pixels.shape[:2]
        x = pixels.reshape(h // 16, 16, w // 16, 16, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 768)
        patches.append(x[x.std(1) > 12])
    x = torch.from_numpy(np.concatenate(patches)).float() / 127.5 - 1
    mean = x.mean(0)
    value, vector = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    n = VISION["hidden_size"]
    value, vector = value[-n:], vector[:, -n:]
    w = (vector / (value + 0.02).sqrt()).T                                    # [n, 768]
    turn, _ = torch.linalg.qr(torch.randn(n, n))
    w = 0.5 * turn @ w
    proj = model.model.visual.patch_embed.proj
    proj.weight.copy_((w / 2).view(n, 3, 1, 16, 16).expand(n, 3, 2, 16, 16))
    proj.bias.copy_(-(w @ mean))


# ---- quick forward -------------------------------------------------------------------------------

def merge_order(gh, gw):
    """Index [gh·gw] of patches (row by row) in the order of the tower: 2 × 2 blocks together."""
    i = np.arange(gh * gw).reshape(gh // MERGE, MERGE, gw // MERGE, MERGE)
    return i.transpose(0, 2, 1, 3).reshape(-1)


def to_patches(pixels):
    """u8 [n, h, w, 3] → f32 [n, patches in merge order, 768 (channel, row, column)]."""
    n, h, w, _ = pixels.shape
    x = pixels.view(n, h // 16, 16, w // 16, 16, 3).permute(0, 1, 3, 5, 2, 4).reshape(n, -1, 768)
    return x[:, torch.from_numpy(merge_order(h // 16, w // 16)).to(x.device)].float() / 127.5 - 1


class Quick:
    def __init__(self, model):
        self.model, self.visual, self.language = model, model.model.visual, model.model.language_model
        self.grids, self.device = {}, next(model.parameters()).device
        half = TEXT["head_dim"] // 2
        self.text_freq = 1.0 / (TEXT["rope_theta"] ** (torch.arange(half).float() / half))
        axis = torch.zeros(half, dtype=torch.long)
        for a in (1, 2):
            axis[a:TEXT["rope_scaling"]["mrope_section"][a] * 3:3] = a
        self.text_freq, self.axis = self.text_freq.to(self.device), axis.to(self.device)

    def grid(self, gh, gw):
        """Of a grid: position embedding's interpolation [patches, n_position], rotary cos and sin."""
        if (gh, gw) not in self.grids:
            side = int(VISION["num_position_embeddings"] ** 0.5)
            def line(n):
                at = np.linspace(0, side - 1, n)
                low = at.astype(int)
                high = np.minimum(low + 1, side - 1)
                w = np.zeros((n, side))
                w[np.arange(n), low] += 1 - (at - low)
                w[np.arange(n), high] += at - low
                return w
            order = merge_order(gh, gw)
            full = np.einsum("ha,wb->hwab", line(gh), line(gw)).reshape(gh * gw, side * side)[order]
            dim = VISION["hidden_size"] // VISION["num_heads"]
            freq = 1.0 / (10000.0 ** (np.arange(0, dim // 2, 2) / (dim // 2)))
            rows, columns = np.divmod(order, gw)
            angle = np.concatenate([rows[:, None] * freq, columns[:, None] * freq], 1)
            t = lambda a: torch.from_numpy(a).float().to(self.device)
            self.grids[gh, gw] = t(full), t(np.cos(angle)), t(np.sin(angle))
        return self.grids[gh, gw]

    def patch_rows(self, pixels):
        """Embedded patches [n, patches, hidden] of temporal patches u8 [n, 1 or 2, h, w, 3]; one frame stands for two."""
        proj = self.visual.patch_embed.proj
        w = proj.weight.view(-1, 3, 2, 256)
        if pixels.shape[1] == 1:
            return F.linear(to_patches(pixels[:, 0]), w.sum(2).reshape(-1, 768), proj.bias)
        return (F.linear(to_patches(pixels[:, 0]), w[:, :, 0].reshape(-1, 768), proj.bias)
                + F.linear(to_patches(pixels[:, 1]), w[:, :, 1].reshape(-1, 768)))

    def vision(self, pixels):
        """Features [n, cells, out] of temporal patches u8 [n, 1 or 2, h, w, 3], and one such tensor for each tap."""
        gh, gw = pixels.shape[-3] // 16, pixels.shape[-2] // 16
        table, cos, sin = self.grid(gh, gw)
        x = self.patch_rows(pixels) + table @ self.visual.pos_embed.weight
        taps = []
        for i, block in enumerate(self.visual.blocks):
            x = vision_block(x, cos, sin, block)
            if i in VISION["deepstack_visual_indexes"]:
                taps.append(merged(x, self.visual.deepstack_merger_list[len(taps)], True))
        return merged(x, self.visual.merger, False), taps

    def decode(self, ids, position, features, taps, at, answer_at, looks={}):
        """ids [n, L], position [3, n, L], features and taps [rows, hidden] that belong to the flat places `at`; logits at
        the flat places `answer_at`. Further, what is at all places after each layer, [n · L, hidden]; and of looks,
        {layer: (flat places [m], bool [m, L])}, how much of its attention each of these places gives to those that are
        true for it, in each of the first N_LOOK heads: [m, N_LOOK] for each layer. (The best of all heads would not do:
        each would look at another thing, and none know which.)"""
        n, length = ids.shape
        x = F.embedding(ids, self.language.embed_tokens.weight).view(n * length, -1)
        x = x.index_copy(0, at, features.to(x.dtype)) if len(at) else x
        angle = (position[..., None].float() * self.text_freq)            # [3, n, L, half]
        angle = torch.gather(angle, 0, self.axis.expand(1, n, length, -1))[0]
        cos, sin = angle.cos()[:, None], angle.sin()[:, None]
        x = x.view(n, length, -1)
        states, shares = [], []
        for i, layer in enumerate(self.language.layers):
            x, weights = text_layer(x, cos, sin, layer)
            if i in looks:
                rows, is_wanted = looks[i]
                of_rows = weights[rows // length, :N_LOOK, rows % length]
                shares.append((of_rows * is_wanted[:, None]).sum(-1))
            if i < len(taps) and len(at):
                x = x.view(n * length, -1).index_add(0, at, taps[i].to(x.dtype)).view(n, length, -1)
            states.append(x.reshape(n * length, -1))
        logits = F.linear(rms(states[-1][answer_at], self.language.norm.weight), self.language.embed_tokens.weight)
        return logits, states, shares


def rms(x, weight=None):
    """Of float32 rows, as they enter products; of narrower ones in their own type."""
    y = F.rms_norm(x, (x.shape[-1],), None if weight is None else weight.to(x.dtype), 1e-6)
    return y.bfloat16() if torch.is_autocast_enabled(x.device.type) else y


def turn(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def attend(q, k, v, hidden=None):
    """Plain attention, and its weights: at these sizes its backward pass takes a quarter of the fused one's time on a CPU."""
    score = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if hidden is not None:
        score = score.masked_fill(hidden, -1e30)
    weights = score.softmax(-1)
    return weights @ v, weights


def vision_block(x, cos, sin, block):
    n, p, d = x.shape
    heads = VISION["num_heads"]
    h = F.layer_norm(x, (d,), block.norm1.weight, block.norm1.bias, 1e-6)
    q, k, v = block.attn.qkv(h).view(n, p, 3, heads, d // heads).permute(2, 0, 3, 1, 4)
    cos, sin = cos.to(v.dtype), sin.to(v.dtype)
    q, k = turn(q, cos, sin), turn(k, cos, sin)
    o = attend(q, k, v)[0].transpose(1, 2).reshape(n, p, d)
    x = x + block.attn.proj(o)
    h = F.layer_norm(x, (d,), block.norm2.weight, block.norm2.bias, 1e-6)
    return x + block.mlp.linear_fc2(F.gelu(block.mlp.linear_fc1(h), approximate="tanh"))


def merged(x, merger, is_tap):
    n, p, d = x.shape
    if is_tap:
        x = F.layer_norm(x.view(n, p // 4, 4 * d), (4 * d,), merger.norm.weight, merger.norm.bias, 1e-6)
    else:
        x = F.layer_norm(x, (d,), merger.norm.weight, merger.norm.bias, 1e-6).view(n, p // 4, 4 * d)
    return merger.linear_fc2(F.gelu(merger.linear_fc1(x)))


def text_layer(x, cos, sin, layer):
    n, length, d = x.shape
    head, a = TEXT["head_dim"], layer.self_attn
    h = rms(x, layer.input_layernorm.weight)
    q = rms(a.q_proj(h).view(n, length, -1, head), a.q_norm.weight).transpose(1, 2)
    k = rms(a.k_proj(h).view(n, length, -1, head), a.k_norm.weight).transpose(1, 2)
    v = a.v_proj(h).view(n, length, -1, head).transpose(1, 2)
    cos, sin = cos.to(v.dtype), sin.to(v.dtype)
    q, k = turn(q, cos, sin), turn(k, cos, sin)
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    o, weights = attend(q, k, v, torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1))
    x = x + a.o_proj(o.transpose(1, 2).reshape(n, length, -1))
    h = rms(x, layer.post_attention_layernorm.weight)
    m = layer.mlp
    return x + m.down_proj(F.silu(m.gate_proj(h)) * m.up_proj(h)), weights
