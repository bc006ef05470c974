"""Trains the demo model (demo/model) from scratch, on two cores or on a GPU.

usage: train_demo.py STATE_DIR [--minutes M] [--out demo/model] [--cool]
       train_demo.py --check       (is the quick forward pass that of Hugging Face's classes?)

Goes on where STATE_DIR stopped; a new STATE_DIR begins with the weights in --out if there are any, else with random ones.
--cool lets the learning rate fall to nothing within the minutes given, which is how a run ends. Every sample is drawn
afresh (demo_data.py), so the accuracies of training are those of unseen samples. STATE_DIR/metrics.csv and curve.png hold
them; --out gets the averaged weights in bf16.

The recipe, and why:
- First the tower alone learns to name what stands in each cell (`cells` in demo_data.py), from tens of targets in one
  picture. Answers alone do not teach reading in hours. Then decoder and tower learn to answer, and the cells stay as
  a second loss.
- Characters are taught in the taps, and where text is asked for, the last features are now and then another picture's:
  so the decoder reads from the taps, and the model is a test of them.
- The loss of a question is on its answer only, and one word counts nearly as much as a description; several questions
  about one picture save its vision. Where an answer holds numbers (boxes, seconds), the decoder's middle is asked for them
  too: digits alone tell it too little to begin. Edges of boxes are rounded to what the tower can tell.
- The decoder is shown where to look (`points` in demo_data): two heads each of three layers, for a cell the same cell of
  the picture before, for a word of the question what it names, for a word of the answer what it is about. Left to answers,
  it took the colour of one thing and the place of another after hundreds of thousands of samples.
- What a word looked up is asked for at once: the answer's tokens are told after two thirds of the layers too.
- The tower sees some scenes mirrored, and its cells are put back: left and right are then told by positions alone, and
  the decoder is asked for the row and column of each cell.
- What is rare is drawn more often, and a thing weighs as much as another however few cells it covers: one cell of
  twenty-five, in one scene of seven, taught nobody the shape of a small thing in a large one (`nest` has six of them).
- How many things there are is asked of the tower's cells: a decoder, which reads them one after another, said "1" to every
  "How many circles?". What is asked for but not there is looked for at the first token.
- Which of two clips a cell is of is asked before the layer that answers, or the answer stays a guess.
- Muon for the matrices of the layers, AdamW for all else, slow where numbers come out; weights are averaged over the last
  thousand steps or so.
"""
import argparse
import csv
import functools
import itertools
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time

import hf  # noqa: F401  (before transformers)
import numpy as np
import torch
import torch.nn.functional as F

import demo_data
import demo_model
from demo_data import (CELL_ALIKE, CELL_BOX, CELL_COLOUR, CELL_COUNT, CELL_INDEX, CELL_KEY, CELL_SHAPE, CELL_SLOT,
                       CHARACTERS, COLOURS, KEYS, MAX_INDEX, N_SLOT, SHAPES)
from demo_model import END, IMAGE, START, VIDEO, VISION_END, VISION_START, rms

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Parts of the cell head: column of `cells`, number of classes.
HEADS = [(CELL_COLOUR, len(COLOURS) + 1), (CELL_SHAPE, len(SHAPES) + 1), (CELL_KEY, len(KEYS) + 1)]
HEADS += [(CELL_SLOT + i, len(CHARACTERS) + 1) for i in range(N_SLOT)] + [(CELL_INDEX, MAX_INDEX + 1)]
N_CLASS = sum(n for _, n in HEADS)
N_MARK, MARK, BLUR = 51, 20, 14        # of an edge of a box: marks in thousandths, and how far around it they count
LONGEST = 20                           # seconds of a clip: its moments are thousandths of that
BEFORE, ASKED, ANSWERED = 1, 2, 3      # layers of the decoder that are shown where to look
SEEN, KNOWN, THOUGHT = 1, 2, 3         # layers after which the decoder is asked: of cells; before it answers; when it does
LOOK = 0.4                             # weight of each of these losses
N_COUNT = 6                            # things, of one shape or of all, from none
N_PLACE = 8                            # rows, and columns, of cells of a scene at most
N_CHANGE, CHANGE = 4, [0.2, 1, 1, 1]   # of a cell since the picture before: none, new, gone, another colour; weights

N_HEAD_STEP = 250                      # in which a new cell head learns what a trained tower shows it, and nothing more

# Threads that spin a little between the thousands of small products of a step, and memory that is kept, in huge pages:
# a step takes six tenths of the time. Both are read when a process starts.
MALLOC = {"hugetlb": 1, "mmap_threshold": 8 << 30, "trim_threshold": 8 << 30, "top_pad": 256 << 20}
QUICK = {"GOMP_SPINCOUNT": "20000", "GLIBC_TUNABLES": ":".join(f"glibc.malloc.{k}={v}" for k, v in MALLOC.items())}

TASKS = demo_data.TASKS + ["page"]
NUMBERED = ["box", "event"]
SHORT = {"scene": 0.8, "box": 0.8, "event": 0.8}    # by what power of its length an answer's tokens weigh less
SPANS = [((2.5, 4.7), 22), ((4.7, 8.4), 14), ((8.4, 14), 9), ((14, 20), 6)]  # seconds of clips, samples of a batch


# ---- batches -------------------------------------------------------------------------------------

@functools.lru_cache(1)
def tokenizer(path):
    from tokenizers import Tokenizer
    return Tokenizer.from_file(path)


class Encoder:
    def __init__(self, folder):
        self.tokenizer = tokenizer(os.path.join(folder, "tokenizer.json"))
        self.encoded = functools.lru_cache(20000)(lambda s: self.tokenizer.encode(s, add_special_tokens=False))
        self.word = functools.lru_cache(2000)(self.tokenizer.id_to_token)
        self.newline = self.pieces("\n")

    def pieces(self, s):
        return self.encoded(s).ids

    def encode(self, s):
        """Of a sample: ids, three positions each, which ids are answers (targets), where the cells go; and where to look:
        {layer: {place: places}}; what is not there is looked for at the very first."""
        ids, spans, seconds, looks = [START] + self.pieces("user\n"), [], [], {BEFORE: {}, ASKED: {}, ANSWERED: {}}

        def grid(token, gh, gw):
            ids.append(VISION_START)
            spans.append((len(ids), gh, gw))
            ids.extend([token] * (gh * gw) + [VISION_END])

        for m in s["media"]:
            if isinstance(m, demo_data.Picture):
                grid(IMAGE, m.pixels.shape[0] // 32, m.pixels.shape[1] // 32)
            else:
                for t in demo_data.pair_times(m.times):
                    begin = len(ids)
                    ids.extend(self.pieces(f"<{t:.1f} seconds>"))
                    seconds.append(range(begin, len(ids)))
                    grid(VIDEO, m.frames.shape[1] // 32, m.frames.shape[2] // 32)
        answers = []
        for i, (q, a, facts) in enumerate(s["turns"]):
            ids.extend([START] + self.pieces("user\n") if i else [])
            asked = len(ids)
            ids.extend(self.pieces(q) + [END] + self.newline)
            ids.extend([START] + self.pieces("assistant\n"))
            begin = len(ids)
            ids.extend(self.pieces(a) + [END])
            answers.append((begin, len(ids)))
            ids.extend(self.newline)
            for is_answer, first, last, targets in facts["points"]:
                # A word of the question is known at its last token, one of the answer looked up before each.
                at = [k for k, (b, e) in enumerate(self.encoded(a if is_answer else q).offsets) if b < last and e > first]
                for place in [begin - 1 + k for k in at] if is_answer else [asked + at[-1]]:
                    looks[ANSWERED if is_answer else ASKED].setdefault(place, set()).update(targets)
        n = len(ids)
        position, at, shift, end = np.zeros((3, n), np.int64), [], 0, 0
        for begin, gh, gw in spans:
            position[:, end:begin] = np.arange(end, begin) + shift
            k, here = gh * gw, begin + shift
            position[0, begin:begin + k] = here
            position[1, begin:begin + k] = here + np.repeat(np.arange(gh), gw)
            position[2, begin:begin + k] = here + np.tile(np.arange(gw), gh)
            at.append(np.arange(begin, begin + k))
            end, shift = begin + k, here + max(gh, gw) - (begin + k)
        position[:, end:] = np.arange(end, n) + shift
        cells = np.concatenate(at)
        for layer in (ASKED, ANSWERED):
            looks[layer] = {place: [k for t in targets for k in ([cells[t]] if t >= 0 else seconds[-1 - t])] or [0]
                            for place, targets in looks[layer].items()}
        looks[BEFORE] = {here: [there] for i, is_first in enumerate(first_units(s)) if not is_first
                         for here, there in zip(at[i], at[i - 1])}
        return np.array(ids), position, answers, cells, looks

    def numbers(self, ids):
        """Of an answer with boxes or moments: the places of their digits, and at each the whole number in thousandths."""
        words, places, values = [self.word(i) for i in ids], [], []
        for is_number, run in itertools.groupby(range(len(ids)), lambda i: words[i] in "0123456789."):
            run = list(run)
            number = "".join(words[i] for i in run)
            if is_number and number != "." and words[run[0] - 1] != "_":     # of bbox_2d
                places += run
                values += [float(number) * 1000 / LONGEST if "." in number else float(number)] * len(run)
        return places, values


def first_units(s):
    """Of each picture or pair of frames of a sample, whether none that it may be compared to is before it."""
    if s["task"] == "differ":
        return [True, False]
    return [i == 0 for m in s["media"] for i in range(len(units(m)[1]))]


def changes(samples):
    """Of each cell what happened since the picture before, an index of CHANGE; -1 where it cannot be told."""
    first = [f for s in samples for f in first_units(s)]
    cells = np.concatenate([units(m)[1] for s in samples for m in s["media"]]).astype(np.int64)
    colour, shape = cells[..., CELL_COLOUR], cells[..., CELL_SHAPE]
    before, shape_before = np.roll(colour, 1, 0), np.roll(shape, 1, 0)
    change = np.select([before == 0, colour == 0, True], [1, 2, 3])
    change[(colour == before) & (shape == shape_before)] = 0
    change[(colour < 0) | (before < 0) | np.array(first)[:, None]] = -1
    return change.reshape(-1)


def units(m):
    """Temporal patches u8 [n, 1 or 2, h, w, 3] and their cells [n, cells, N_CELL]."""
    if isinstance(m, demo_data.Picture):
        return m.pixels[None, None], m.cells[None]
    return m.frames.reshape(-1, 2, *m.frames.shape[1:]), m.cells


def draw(task, rng, ease, scale=1.0):
    """Samples of one task and one size, as many as make a step."""
    n, how = {"scene": 32, "box": 32, "text": 40, "form": 22, "differ": 18, "event": 0, "page": 28}[task], {}
    if task in ("scene", "box", "differ"):
        how = {"size": demo_data.scene_size(rng), "n_turn": 1 if task == "differ" or rng.random() < 0.4 else 3}
        # What this tower cannot tell is not to be guessed, digit by digit; what is rare and hard is drawn more often.
        how.update({"box": {"step": MARK}, "scene": {"inside": 0.3}}.get(task, {}))
    elif task == "text":
        how = {"size": demo_data.text_size(rng), "ease": ease}
        n = round(n * 64 * 224 / (how["size"][0] * how["size"][1]))
    elif task == "page" and rng.random() < 0.6:
        task = "nest"
    elif task == "page":
        how = {"size": rng.choice(((224, 128), (192, 160))), "ease": ease}
    elif task == "form":
        how = {"size": demo_data.form_size(rng), "ease": ease, "n_turn": rng.choice((1, 2))}
    else:
        span, n = rng.choices(SPANS, (6, 4, 2, 1) if ease > 0.5 else (4, 4, 3, 3))[0]
        how = {"span": span, "n_turn": rng.choice((1, 3)), "size": demo_data.clip_size(rng, span[1]), "two": 0.7}
    n = max(1, round(n * scale))
    return [demo_data.sample(task, rng, **how) for _ in range(n)]


def make_batch(encoder, samples):
    encoded = [encoder.encode(s) for s in samples]
    length = max(len(e[0]) for e in encoded)
    length += -length % 8
    n = len(samples)
    ids = np.full((n, length), demo_model.EOT)
    position = np.zeros((3, n, length), np.int64)
    at, answer_at, target, weight, turn_of, n_turn, n_target, number_in, number = [], [], [], [], [], 0, 0, [], []
    look_at, looks = {k: [] for k in (BEFORE, ASKED, ANSWERED)}, {k: [] for k in (BEFORE, ASKED, ANSWERED)}
    for i, (one, pos, answers, cells_at, wanted) in enumerate(encoded):
        ids[i, :len(one)], position[:, i, :len(one)] = one, pos
        at.append(cells_at + i * length)
        for layer, places in wanted.items():
            look_at[layer] += [place + i * length for place in places]
            looks[layer] += places.values()
        for begin, end in answers:
            answer_at.append(np.arange(begin - 1, end - 1) + i * length)
            target.append(one[begin:end])
            weight.append(np.full(end - begin, (end - begin) ** -SHORT.get(samples[0]["task"], 0), np.float32))
            turn_of.append(np.full(end - begin, n_turn))
            n_turn += 1
            if samples[0]["task"] in NUMBERED:
                places, values = encoder.numbers(one[begin:end].tolist())
                number_in += [n_target + k for k in places]
                number += values
            n_target += end - begin
    for layer in looks:
        is_wanted = np.zeros((len(looks[layer]), length), bool)
        for row, places in zip(is_wanted, looks[layer]):
            row[places] = True
        looks[layer] = is_wanted
    parts = [units(m) for s in samples for m in s["media"]]
    t = lambda a: torch.from_numpy(np.ascontiguousarray(a))
    return {"task": samples[0]["task"], "n": n, "ids": t(ids), "position": t(position), "at": t(np.concatenate(at)),
            "answer_at": t(np.concatenate(answer_at or [[]])).long(), "target": t(np.concatenate(target or [[]])).long(),
            "turn_of": t(np.concatenate(turn_of or [[]])).long(), "n_turn": n_turn, "length": np.array([len(e[0]) for e in encoded]),
            "weight": t(np.concatenate(weight or [np.zeros(0, np.float32)])),
            "looks": {k: (t(np.array(look_at[k], np.int64)), t(looks[k])) for k in looks if look_at[k]},
            "medium": t(np.concatenate([np.full(units(m)[1].shape[:2], i if len(s["media"]) > 1 else -1) for s in samples
                                        for i, m in enumerate(s["media"])], None)),
            "change": t(changes(samples)), "number_in": t(np.array(number_in, np.int64)), "number": t(np.array(number, np.float32)),
            "pixels": t(np.concatenate([p for p, _ in parts])),
            "cells": t(np.concatenate([c for _, c in parts]).astype(np.int64))}


def moved(x, device):
    """A batch, or part of one, on a device."""
    if isinstance(x, dict):
        return {k: moved(v, device) for k, v in x.items()}
    if isinstance(x, tuple):
        return tuple(moved(v, device) for v in x)
    return x.to(device) if torch.is_tensor(x) else x


def feed(folder, seed, i_worker, n_worker, plan, queue):
    """A process that draws batches after plan (weights of the tasks, then ease), which the trainer changes."""
    torch.set_num_threads(1)
    encoder, i = Encoder(folder), i_worker
    while True:
        rng = random.Random(f"{seed}/{i}")
        task = rng.choices(TASKS, plan[:len(TASKS)])[0]
        queue.put(make_batch(encoder, draw(task, rng, plan[-2], plan[-1])))
        i += n_worker


# ---- losses --------------------------------------------------------------------------------------

class Heads(torch.nn.Module):
    """Of training only. `classes` tells from a cell's features the classes of HEADS, then marks for each edge of its box;
    `edges` these four as numbers; `numbers` tells marks for the number (of NUMBERED) that the decoder is about to write.
    Marks teach to hold a number in a way that digits can be read from, which one value does not. `changes` tells from what
    the decoder makes of a cell which of CHANGE happened to it, `places` its row, its column, and whether it is of the
    first picture or of the second; `clips`, which of two clips it is of, which takes more layers to tell. `middles` tells
    where a thing is that was named. `counts` tells from a cell's features how many things there are, and how many of the
    shape that stands in it: a decoder, which reads cell after cell, is bad at that."""

    def __init__(self):
        super().__init__()
        self.classes = torch.nn.Linear(demo_model.VISION["out_hidden_size"], N_CLASS + 4 * N_MARK)
        self.edges = torch.nn.Linear(demo_model.VISION["out_hidden_size"], 4)
        self.numbers = torch.nn.Linear(demo_model.TEXT["hidden_size"], len(NUMBERED) * N_MARK)
        self.counts = torch.nn.Linear(demo_model.VISION["out_hidden_size"], 2 * N_COUNT)
        self.changes = torch.nn.Linear(demo_model.TEXT["hidden_size"], N_CHANGE)
        self.clips = torch.nn.Linear(demo_model.TEXT["hidden_size"], 2)
        self.middles = torch.nn.Linear(demo_model.TEXT["hidden_size"], 2)
        self.places = torch.nn.Linear(demo_model.TEXT["hidden_size"], 2 * N_PLACE + 2)


def mark_loss(marks, numbers):
    """Of marks [n, N_MARK] beside true numbers [n] in thousandths."""
    at = torch.arange(N_MARK, device=marks.device) * MARK
    near = torch.exp(-0.5 * ((at - numbers[:, None]) / BLUR) ** 2)
    return F.cross_entropy(marks.float(), near / near.sum(-1, keepdim=True))


def answer_loss(logits, batch):
    each = F.cross_entropy(logits.float(), batch["target"], reduction="none")
    return (each * batch["weight"]).sum() / batch["weight"].sum()


def class_loss(out, target, weight=None):
    """Mean loss of classes where the target is none of -1."""
    if weight is None:
        return F.cross_entropy(out, target, ignore_index=-1)
    each = F.cross_entropy(out, target, ignore_index=-1, reduction="none")
    return (each * weight).sum() / (weight * (target >= 0)).sum()


def share_of_thing(cells):
    """Weights [n · cells]: all things of a picture, and its ground, have one weight, shared by the cells they cover."""
    name = cells[..., CELL_COLOUR] * (len(SHAPES) + 1) + cells[..., CELL_SHAPE]
    return 1 / (name[:, :, None] == name[:, None]).sum(-1).flatten()


def cell_loss(features, taps, head, cells):
    """features and each of taps [n, cells, hidden]; the mean loss of what is asked, and the share of characters that
    are right. Shapes are told from the tower's last features, characters from the sum of the taps, so that a decoder
    needs both."""
    share = share_of_thing(cells)
    features, target = features.flatten(0, 1), cells.flatten(0, 1)
    out = head.classes(features).float()
    read = head.classes(sum(taps).flatten(0, 1)).float()
    total, begin, n_read, n_right = out.new_zeros(()), 0, 0, 0
    for column, n_class in HEADS:
        part, t = (out if column < CELL_SLOT else read)[:, begin:begin + n_class], target[:, column]
        begin += n_class
        if (t >= 0).any():
            is_thing = column in (CELL_COLOUR, CELL_SHAPE)
            total = total + class_loss(part, t, share if is_thing else None) * (1.0 if column < CELL_SLOT else 1.5)
        if CELL_SLOT <= column < CELL_INDEX:
            is_read = t > 0
            n_read += int(is_read.sum())
            n_right += int((part.argmax(1)[is_read] == t[is_read]).sum())
    for part, column in zip(head.counts(features).float().chunk(2, -1), (CELL_COUNT, CELL_ALIKE)):
        if (target[:, column] >= 0).any():
            total = total + LOOK * class_loss(part, target[:, column], share)
    box = target[:, CELL_BOX:CELL_BOX + 4]
    has_box = box[:, 0] >= 0
    if has_box.any():
        true = box[has_box].float()
        total = total + 20 * (head.edges(features[has_box]).float() - true / 1000).abs().mean()
        total = total + mark_loss(out[has_box, begin:].reshape(-1, N_MARK), true.flatten())
    return total, (n_right / n_read if n_read else None)


class Trainer:
    def __init__(self, state_dir, out_dir, device):
        self.state_dir, self.out_dir, self.device = state_dir, out_dir, device
        os.makedirs(state_dir, exist_ok=True)
        self.model = demo_model.new_model()
        self.head = Heads()
        self.i_step, self.n_sample, self.seconds, self.scores = 0, 0, 0.0, {}
        self.cell_weight, self.is_frozen = 1.0, False
        self.i_step_taught = 0             # before it the head does not teach the tower
        weights = os.path.join(out_dir, "model.safetensors")
        if os.path.exists(weights) and not os.path.exists(self.state_path()):
            from safetensors.torch import load_file
            self.model.load_state_dict({k: v.float() for k, v in load_file(weights).items()}, strict=False)
            self.go_on_counting()
            self.i_step_taught = self.i_step + N_HEAD_STEP
        self.model.to(device), self.head.to(device)
        self.quick = demo_model.Quick(self.model)
        self.make_optimizers()
        self.average = {k: v.detach().clone() for k, v in self.model.named_parameters()}
        self.load_state()

    def make_optimizers(self):
        """Rates beside each other: Adam moves all weights of a wide sum one way at once, so that what mergers and head
        say as numbers (edges of boxes) shakes by more than it is wrong, unless these are slow."""
        muon, still, apart = [], [], {1.0: [], 0.3: []}
        for name, p in self.model.named_parameters():
            if p.dim() == 2 and (".layers." in name or ".blocks." in name):
                muon.append(p)
            elif p.dim() >= 2:
                apart[0.3 if "merger" in name else 1.0].append(p)
            else:
                still.append(p)
        adam = [{"params": ps, "weight_decay": 0.02, "scale": scale} for scale, ps in apart.items()]
        adam += [{"params": ps, "weight_decay": 0.0, "scale": scale} for scale, ps in
                 ((0.3, still), (0.5, list(self.head.classes.parameters())), (0.1, list(self.head.edges.parameters())),
                  (0.5, list(self.head.numbers.parameters())), (0.5, list(self.head.changes.parameters())),
                  (0.5, list(self.head.places.parameters())), (0.5, list(self.head.middles.parameters())),
                  (0.5, list(self.head.counts.parameters())), (0.5, list(self.head.clips.parameters())))]
        self.optimizers = [
            torch.optim.Muon(muon, lr=1.0, weight_decay=0.02, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(adam, lr=1.0, betas=(0.9, 0.98), eps=1e-8)]
        self.rates = [2.0e-3, 1.0e-3]

    def go_on_counting(self):
        """From where the metrics beside the weights end; what the head says is not known of a new one."""
        there, here = (os.path.join(d, "metrics.csv") for d in (self.out_dir, self.state_dir))
        if os.path.exists(there) and not os.path.exists(here):
            shutil.copyfile(there, here)
            with open(here) as f:
                last = list(csv.DictReader(f))[-1]
            self.i_step, self.n_sample, self.seconds = int(last["step"]), int(last["samples"]), float(last["seconds"])
            keys = [t + k for t in demo_data.TASKS for k in ("", " loss")]
            self.scores = {k: float(last[k]) for k in keys if last[k]}

    def state_path(self):
        return os.path.join(self.state_dir, "state.pt")

    def load_state(self):
        if not os.path.exists(self.state_path()):
            return
        s = torch.load(self.state_path(), map_location=self.device, weights_only=False)
        self.model.load_state_dict(s["model"], strict=False)
        self.head.load_state_dict(s["head"])
        self.average = s["average"]
        for o, d in zip(self.optimizers, s["optimizers"]):
            o.load_state_dict(d)
        self.i_step, self.n_sample, self.seconds, self.scores = s["i_step"], s["n_sample"], s["seconds"], s["scores"]

    def save(self):
        state = {"model": self.model.state_dict(), "head": self.head.state_dict(), "average": self.average,
                 "optimizers": [o.state_dict() for o in self.optimizers], "i_step": self.i_step,
                 "n_sample": self.n_sample, "seconds": self.seconds, "scores": self.scores}
        torch.save(state, self.state_path() + ".part")
        os.replace(self.state_path() + ".part", self.state_path())

    def export(self):
        from safetensors.torch import save_file
        demo_model.write_files(self.out_dir)
        tensors = {k: v.to("cpu", torch.bfloat16).contiguous() for k, v in self.average.items() if k != "lm_head.weight"}
        save_file(tensors, os.path.join(self.out_dir, "model.safetensors"), metadata={"format": "pt"})

    def freeze_tower(self):
        """As it is on average, which is better than after any one step."""
        self.is_frozen = True
        with torch.no_grad():
            for name, p in self.model.model.visual.named_parameters():
                p.copy_(self.average["model.visual." + name])

    def score(self, name, value, weight=0.02):
        old = self.scores.get(name)
        self.scores[name] = value if old is None else old + weight * (value - old)

    def see(self, batch):
        """Features and taps of a batch. Some scenes are mirrored for the tower alone; their edges are then not asked."""
        pixels = batch["pixels"]
        if batch["task"] != "scene" or torch.rand(()) < 0.5:
            return self.quick.vision(pixels)
        batch["cells"][..., CELL_BOX:CELL_BOX + 4] = -1
        features, taps = self.quick.vision(pixels.flip(3))
        rows, columns = pixels.shape[2] // 32, pixels.shape[3] // 32
        back = torch.arange(rows * columns, device=self.device).view(rows, columns).flip(1).flatten()
        return features[:, back], [t[:, back] for t in taps]

    def thought_losses(self, batch, states, shares):
        """Of what the decoder's layers hold on their way to an answer: (name, weight, loss) of each."""
        task, language = batch["task"], self.quick.language
        seen, known = rms(states[SEEN][batch["at"]]), rms(states[KNOWN][batch["at"]])
        thought = rms(states[THOUGHT])
        early = F.linear(thought[batch["answer_at"]] * language.norm.weight, language.embed_tokens.weight)
        yield "early", LOOK, answer_loss(early, batch)
        if len(batch["number"]):
            marks = self.head.numbers(thought[batch["answer_at"][batch["number_in"]]]).chunk(len(NUMBERED), -1)
            yield "numbers", 1, mark_loss(marks[NUMBERED.index(task)], batch["number"])
        if (batch["change"] >= 0).any():
            yield "changes", LOOK, F.cross_entropy(self.head.changes(seen).float(), batch["change"], ignore_index=-1,
                                                   weight=torch.tensor(CHANGE, device=self.device))
        row, column, medium = self.head.places(seen).float().split((N_PLACE, N_PLACE, 2), -1)
        if task == "scene":
            rows, columns = batch["pixels"].shape[2] // 32, batch["pixels"].shape[3] // 32
            place = torch.arange(rows * columns, device=self.device).repeat(batch["n"])
            yield "places", LOOK, F.cross_entropy(row, place // columns) + F.cross_entropy(column, place % columns)
            if ASKED in batch["looks"]:
                yield "middles", LOOK, self.middle_loss(batch, thought)
        elif task == "differ":
            yield "media", LOOK, class_loss(medium, batch["medium"])
        elif task == "event" and (batch["medium"] >= 0).any():
            yield "media", 1, class_loss(self.head.clips(known).float(), batch["medium"])
        for layer, share in zip(sorted(batch["looks"]), shares):
            self.score(f"{task} look {layer}", float(share.detach().float().mean()))
            yield f"looking {layer}", LOOK, -share.float().clamp(min=1e-4).log().mean()

    def middle_loss(self, batch, thought):
        """Of where the things are that a question names: the mean row and column of their cells."""
        at, is_wanted = batch["looks"][ASKED]
        of_token = (batch["position"][1:] - batch["position"][:1])[:, at // is_wanted.shape[1]].float()   # [2, m, L]
        middle = (of_token * is_wanted).sum(-1) / is_wanted.sum(-1)
        return (self.head.middles(thought[at]).float() - middle.T).abs().mean()

    def step(self, batch, rate, is_speaking):
        batch = moved(batch, self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            with torch.set_grad_enabled(not self.is_frozen):
                features, taps = self.see(batch)
                known = (features, taps)
                if self.i_step < self.i_step_taught:
                    known = (features.detach(), [t.detach() for t in taps])
                loss, read = cell_loss(*known, self.head, batch["cells"])
            self.score(batch["task"] + " cells", float(loss.detach()))
            if read is not None:
                self.score(batch["task"] + " characters", read)
            is_speaking = is_speaking and batch["n_turn"] > 0
            if is_speaking:
                if batch["task"] in ("text", "form") and torch.rand(()) < 0.5:
                    features = features[torch.randperm(len(features), device=self.device)]
                logits, states, shares = self.quick.decode(
                    batch["ids"], batch["position"], features.flatten(0, 1), [t.flatten(0, 1) for t in taps], batch["at"],
                    batch["answer_at"], batch["looks"])
                answer = answer_loss(logits, batch)
                loss = answer if self.is_frozen else self.cell_weight * loss + answer
                for name, weight, lost in self.thought_losses(batch, states, shares):
                    self.score(f"{batch['task']} {name}", float(lost.detach()))
                    loss = loss + weight * lost
        loss.backward()
        if is_speaking:
            wrong = torch.zeros(batch["n_turn"], dtype=torch.long, device=self.device)
            wrong.index_add_(0, batch["turn_of"], (logits.argmax(-1) != batch["target"]).long())
            self.score(batch["task"], float((wrong == 0).float().mean()))
            self.score(batch["task"] + " loss", float(answer.detach()))
        torch.nn.utils.clip_grad_norm_(list(self.model.parameters()) + list(self.head.parameters()), 1.0)
        for o, r in zip(self.optimizers, self.rates):
            for g in o.param_groups:
                g["lr"] = r * rate * (g.get("scale", 1.0) if self.i_step >= self.i_step_taught else 1.0)
            o.step()
            o.zero_grad(set_to_none=True)
        self.i_step += 1
        self.n_sample += batch["n"]
        decay = min(0.998, self.i_step / (self.i_step + 10))
        with torch.no_grad():
            names = dict(self.model.named_parameters())
            torch._foreach_lerp_([self.average[k] for k in names], [p.detach() for p in names.values()], 1 - decay)


# ---- the run -------------------------------------------------------------------------------------

SEE = [2, 2, 2, 0, 0, 0, 4]       # weights of TASKS while only the tower learns
SPEAK = [5, 6, 3, 3, 4, 3, 2]


def write_curve(state_dir):
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    with open(os.path.join(state_dir, "metrics.csv")) as f:
        rows = list(csv.DictReader(f))
    figure, axes = plt.subplots(1, 2, figsize=(12, 4))
    x = [float(r["samples"]) / 1000 for r in rows]
    for task in demo_data.TASKS:
        for axis, key in zip(axes, (task, task + " loss")):
            y = [float(r[key]) if r.get(key) else float("nan") for r in rows]
            axis.plot(x, y, label=task)
    axes[0].set_title("answers exactly right"), axes[1].set_title("loss of answers"), axes[1].set_yscale("log")
    for axis in axes:
        axis.set_xlabel("thousand samples"), axis.legend(), axis.grid(True)
    figure.savefig(os.path.join(state_dir, "curve.png"), dpi=90)
    plt.close(figure)


def write_metrics(trainer):
    path = os.path.join(trainer.state_dir, "metrics.csv")
    keys = [t + k for t in TASKS for k in ("", " loss", " cells", " characters", " numbers", f" look {ANSWERED}")]
    is_new = not os.path.exists(path)
    with open(path, "a", newline="") as f:
        out = csv.writer(f)
        if is_new:
            out.writerow(["step", "samples", "seconds"] + keys)
        out.writerow([trainer.i_step, trainer.n_sample, round(trainer.seconds)] +
                     [f"{trainer.scores[k]:.4f}" if k in trainer.scores else "" for k in keys])


def reference_logits(model, batch, samples):
    """Of the same batch from Hugging Face's forward pass: pixel rows and grids as its processor makes them."""
    pixels, ids = batch["pixels"], batch["ids"]
    is_clip = pixels.shape[1] == 2
    n, _, h, w, _ = pixels.shape
    x = pixels.expand(-1, 2, -1, -1, -1).permute(0, 1, 4, 2, 3).float() / 127.5 - 1
    x = x.view(n, 2, 3, h // 32, 2, 16, w // 32, 2, 16).permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(-1, 1536)
    grids = [[1, h // 16, w // 16]] * n
    if is_clip:
        grids = [[len(m.frames) // 2, h // 16, w // 16] for s in samples for m in s["media"]]
    kind = "videos" if is_clip else "images"
    media = {"pixel_values_videos" if is_clip else "pixel_values": x, f"{kind[:-1]}_grid_thw": torch.tensor(grids)}
    mask = (torch.arange(ids.shape[1])[None] < torch.from_numpy(batch["length"])[:, None]).long()
    types = (ids == IMAGE).long() + 2 * (ids == VIDEO).long()
    out = model(input_ids=ids, attention_mask=mask, mm_token_type_ids=types, **media).logits
    return out.flatten(0, 1)[batch["answer_at"]]


def check():
    """The largest difference between the two forward passes, of each task, with random weights; exit code 1 if it is
    more than float32's rounding."""
    is_right = True
    with tempfile.TemporaryDirectory() as folder:
        demo_model.write_files(folder)
        encoder, model = Encoder(folder), demo_model.new_model().eval()
        quick = demo_model.Quick(model)
        for task in demo_data.TASKS:
            samples = draw(task, random.Random("check"), 0.5, 0.2)
            batch = make_batch(encoder, samples)
            features, taps = quick.vision(batch["pixels"])
            ours, *_ = quick.decode(batch["ids"], batch["position"], features.flatten(0, 1),
                                   [t.flatten(0, 1) for t in taps], batch["at"], batch["answer_at"])
            theirs = reference_logits(model, batch, samples)
            worst, size = float((ours - theirs).abs().max()), float(theirs.abs().max())
            is_right = is_right and worst < 1e-4 * size
            print(f"{task}: {len(samples)} samples, largest logit {size:.3f}, largest difference {worst:.1e}")
    print("quick forward pass: " + ("equal to the reference's" if is_right else "DIFFERS from the reference's"))
    sys.exit(not is_right)


def main():
    if sys.argv[1:] == ["--check"]:
        check()
    p = argparse.ArgumentParser()
    p.add_argument("state_dir")
    p.add_argument("--out", default=os.path.join(ROOT, "demo", "model"))
    p.add_argument("--minutes", type=float, default=1e9)
    p.add_argument("--cool", action="store_true")
    p.add_argument("--rate", type=float, default=1.0, help="learning rate, beside the usual one")
    p.add_argument("--cells", type=float, default=1.0, help="weight of the second loss")
    p.add_argument("--freeze", action="store_true", help="the decoder alone: twice as many steps in an hour")
    p.add_argument("--see", action="store_true", help="the tower alone, also where answers were learned before")
    p.add_argument("--weights", default="", help="scene,text,form,box,event,differ,page")
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--scale", type=float, default=1.0, help="of the batch sizes")
    a = p.parse_args()
    torch.set_grad_enabled(True)
    torch.set_num_threads(os.cpu_count())
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not os.environ.keys() & QUICK.keys():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **QUICK})
    torch.manual_seed(1)
    demo_model.write_files(a.out)
    trainer = Trainer(a.state_dir, a.out, device)
    trainer.cell_weight = a.cells
    if a.freeze:
        trainer.freeze_tower()
    plan = multiprocessing.Array("d", SEE + [1.0, a.scale])
    queue = multiprocessing.Queue(4)
    seed = f"train/{trainer.i_step}"
    for i in range(a.workers):
        multiprocessing.Process(target=feed, args=(a.out, seed, i, a.workers, plan, queue), daemon=True).start()
    begin = last = saved = time.time()
    first, is_stopped = trainer.i_step, []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: is_stopped.append(True))
    while time.time() - begin < a.minutes * 60 and not is_stopped:
        s = trainer.scores
        is_speaking = not a.see and ("scene" in s or s.get("page characters", 0) > 0.6)
        plan[:len(SEE)] = [float(w) for w in a.weights.split(",")] if a.weights else SPEAK if is_speaking else SEE
        plan[-2] = max(0.0, min(1.0, 1.5 - 1.8 * s.get("page characters", 0)))
        rate = a.rate * min(1.0, (trainer.i_step - first + 1) / 60)
        if a.cool:
            rate *= max(0.0, 1 - (time.time() - begin) / (a.minutes * 60))
        trainer.step(queue.get(), rate, is_speaking)
        now = time.time()
        trainer.seconds += now - last
        last = now
        if trainer.i_step % 10 == 0:
            done = " ".join(f"{t} {s[t]:.2f}" if t in s else f"{t} ({s[t + ' cells']:.2f})" for t in demo_data.TASKS
                            if t + " cells" in s)
            sys.stderr.write(f"\r{trainer.i_step} steps, {trainer.n_sample} samples, {trainer.seconds / 60:.1f} min, "
                             f"characters {s.get('page characters', 0):.2f} {s.get('text characters', 0):.2f}, "
                             f"{done}   ")
            sys.stderr.flush()
        if trainer.i_step % 50 == 0:
            write_metrics(trainer)
        if now - saved > 150:
            trainer.save()
            write_curve(a.state_dir)
            saved = now
    trainer.save()
    write_metrics(trainer)
    write_curve(a.state_dir)
    trainer.export()
    sys.stderr.write("\n")


if __name__ == "__main__":
    main()
