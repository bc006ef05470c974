"""Scores of the demo model on samples that its training never saw, through qvl and through Hugging Face transformers.

    python reference/score_demo.py --model DIR [--build build] [--n 500] [--seed 0] [--tasks scene,text,…]
                                   [--only qvl] [--floor ROW=PERCENT,…] [--card FILE]
    python reference/score_demo.py --model DIR --mutations [--n 100] …
    python reference/score_demo.py --model DIR --formats [NAME,…] [--n 500] …

demo_data.score_sample draws the samples; their pictures are written as PNG and their clips as H.264 in MP4, and the
same questions about the same files go to `qvl run` (the C engine, bf16, greedy) and to transformers (float32, and
bf16; greedy). Printed are the scores, and how many answers of each are those of transformers in float32; --card writes
the table into the model card. Ends with 1 where qvl misses a goal, or transformers makes other ids of a prompt.
`--only qvl` needs Pillow, numpy, PyAV and the fonts of demo_data (score_demo.packages), not torch; instead of the goals
it keeps to --floor.

--mutations asks qvl-mistaken, which is qvl with a mistake of ports switched on (src/model/mistake.h), and ends with 1
unless each of four mistakes costs 20 points on each task that it concerns: what the demo model says is right only where
patch order, deepstack, positions and times are.

--formats asks qvl with the weights as they are and in each smaller format (or those named), and ends with 1 where one
loses more points than it may on a task.
"""
import argparse
import concurrent.futures
import datetime
import fractions
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import av
import numpy as np
from PIL import Image

import demo_data

ROOT = pathlib.Path(__file__).resolve().parent.parent
N_TOKEN = 160  # of an answer at most; true ones end far earlier
N_BATCH = 24
LEAST_LOST = 20  # points

# Row of the table: what it says, and the goal in percent.
ROWS = {"scene": ("Scene: answer exact", 95), "text8": ("Text, up to 8 characters: exact", 92),
        "text12": ("Text, 9 to 12 characters: exact", 80), "form": ("Form: all JSON fields exact", 90),
        "box": ("Boxes: labels right, IoU ≥ 0.7", 92), "event": ("Clips: seconds within 0.5, the rest exact", 95),
        "differ": ("Differences: exact", 90)}
AGREEMENT_GOAL = 99.5

# Mistake: what it says in the table, and the rows that it must cost LEAST_LOST points.
MUTATIONS = {"NO_DEEPSTACK": ("deepstack taps dropped", ["text8", "form"]),
             "MROPE_AXES_SWAPPED": ("height and width swapped in M-RoPE", ["scene", "box", "form"]),
             "NO_TIMES": ("timestamps removed", ["event"]),
             "PATCHES_TRANSPOSED": ("patch order transposed", ["text8", "text12", "form"])}

# Smaller format: what qvl is told, and the points that it may lose on a task (None: reported, and nothing promised).
FORMATS = {"q8": (["--quantize", "q8"], 0.3), "q4": (["--quantize", "q4"], 2),
           "balanced": (["--quantize", "balanced"], 2), "int8 KV": (["--kv", "int8"], 0.3),
           "tower in 8 bits": (["--quantize-vision"], None)}


# ---- samples -------------------------------------------------------------------------------------

def write_clip(clip, path):
    fps = clip.source[0]
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=fractions.Fraction(fps), options={"crf": "8", "preset": "medium"})
        stream.height, stream.width = clip.frames.shape[1:3]
        stream.pix_fmt, stream.thread_count = "yuv420p", 1
        for pixels in clip.every_frame():
            for packet in stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)


def write_media(media, folder, name):
    """The paths of a sample's files."""
    paths = []
    for i, m in enumerate(media):
        path = os.path.join(folder, f"{name}-{i + 1}")
        if isinstance(m, demo_data.Clip):
            paths.append(path + ".mp4")
            write_clip(m, paths[-1])
        else:
            paths.append(path + ".png")
            Image.fromarray(m.pixels).save(paths[-1])
    return paths


def draw(task, i, seed, folder):
    sample = demo_data.score_sample(task, i, seed)
    question, truth, facts = sample["turns"][0]
    row = task if task != "text" else "text8" if facts["n"] <= 8 else "text12"
    return {"row": row, "question": question, "truth": truth, "facts": facts,
            "files": write_media(sample["media"], folder, f"{task}-{i:04}")}


# ---- scores --------------------------------------------------------------------------------------

def read_json(text):
    try:
        return json.loads(text)
    except ValueError:
        return None


def overlap(a, b):
    """Intersection over union of boxes (x1, y1, x2, y2)."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0, w) * max(0, h)
    union = sum((x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)) - both
    return both / union if union > 0 else 0.0


def as_boxes(answer):
    """[(label, box)], or None where the answer is something else."""
    tree = read_json(answer)
    try:
        boxes = [(item["label"], [float(v) for v in item["bbox_2d"]]) for item in tree]
        return boxes if all(len(box) == 4 for _, box in boxes) else None
    except (TypeError, KeyError, ValueError):
        return None


def are_boxes_right(answer, truth):
    said, true = as_boxes(answer), as_boxes(truth)
    return said is not None and len(said) == len(true) and all(
        a[0] == b[0] and overlap(a[1], b[1]) >= 0.7 for a, b in zip(said, true))


NUMBER = re.compile(r"\d+(?:\.\d+)?")


def are_times_right(answer, truth, seconds):
    said = [float(x) for x in NUMBER.findall(answer)]
    return (NUMBER.sub("#", answer) == NUMBER.sub("#", truth) and len(said) == len(seconds)
            and all(abs(a - b) <= 0.5 + 1e-9 for a, b in zip(said, seconds)))


def is_right(sample, answer):
    truth = sample["truth"]
    if sample["row"] == "box":
        return are_boxes_right(answer, truth)
    if sample["row"] == "form":
        return read_json(answer) == json.loads(truth)
    if "seconds" in sample["facts"]:
        return are_times_right(answer, truth, sample["facts"]["seconds"])
    return answer == truth


def score(samples, answers, row):
    """Percent of right answers among the samples of a row."""
    right = [is_right(s, a) for s, a in zip(samples, answers) if s["row"] == row]
    return 100 * sum(right) / max(len(right), 1)


def agreement(samples, some, others, row=None):
    same = [a == b for s, a, b in zip(samples, some, others) if row in (None, s["row"])]
    return 100 * sum(same) / max(len(same), 1)


# ---- through qvl ---------------------------------------------------------------------------------

class Qvl:
    def __init__(self, program, model, options=()):
        self.program, self.model, self.options = program, model, list(options)

    def ask(self, sample, mistake):
        args = [self.program, "run", "-m", self.model, "--temp", "0", "--json", "--ids", "-q", "-t", "1",
                "-n", str(N_TOKEN), "--loop-guard", "off", *self.options]
        for path in sample["files"]:
            args += ["--video" if path.endswith(".mp4") else "--image", path]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("QVL_")}
        done = subprocess.run(args + ["--prompt", sample["question"]], capture_output=True, text=True,
                              env=environment | ({"QVL_MISTAKE": mistake} if mistake else {}))
        if done.returncode:
            sys.exit(f"{' '.join(args)} ended with {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def ask_all(self, samples, mistake=None):
        """Answers, and the ids of the prompts. One process and thread for each question, as many as there are cores."""
        with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            replies = list(pool.map(lambda s: self.ask(s, mistake), samples))
        return [r["text"] for r in replies], [r["prompt_ids"] for r in replies]


# ---- through transformers ------------------------------------------------------------------------

def read_clip(path):
    """All frames u8 [n, h, w, 3], and how many a second."""
    with av.open(path) as file:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
        return frames, float(file.streams.video[0].average_rate)


class Transformers:
    def __init__(self, folder):
        import make_vectors  # brings torch and transformers
        from transformers.utils import logging
        logging.disable_progress_bar()
        self.folder, self.model = folder, make_vectors.Model("demo", folder)

    def read(self, path):
        """As make_vectors.Model.see takes it; of a clip the frames that the processor chooses."""
        if not path.endswith(".mp4"):
            return {"pictures": [np.asarray(Image.open(path).convert("RGB"))]}
        from transformers.video_utils import VideoMetadata
        frames, rate = read_clip(path)
        index = self.model.clip_processor.sample_frames(VideoMetadata(total_num_frames=len(frames), fps=rate),
                                                        fps=self.model.clip_processor.fps)
        return {"pictures": list(frames[index]), "frames": [int(i) for i in index], "rate": rate}

    def prepare(self, sample):
        """Prompt ids and pixels, as the processor makes them of the chat."""
        content = [{"video" if f.endswith(".mp4") else "image": f} for f in sample["files"]]
        content = [{"type": next(iter(c)), **c} for c in content] + [{"type": "text", "text": sample["question"]}]
        text = self.model.tokenizer.apply_chat_template([{"role": "user", "content": content}], tokenize=False,
                                                        chat_template=self.model.template, add_generation_prompt=True)
        return self.model.see(text, [self.read(f) for f in sample["files"]], False)

    def generate(self, net, batch):
        """Answers to prepared prompts of different lengths, filled up on the left."""
        import torch
        pad, longest = self.model.tokenizer.pad_token_id, max(len(x["ids"]) for x in batch)
        ids = torch.tensor([[pad] * (longest - len(x["ids"])) + x["ids"] for x in batch])
        mask = torch.tensor([[0] * (longest - len(x["ids"])) + [1] * len(x["ids"]) for x in batch])
        keywords = {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids":
                    (ids == net.config.image_token_id).int() + 2 * (ids == net.config.video_token_id).int()}
        for name, key in (("pixel_values", "pixels"), ("pixel_values_videos", "clip_pixels"),
                          ("image_grid_thw", "image_grids"), ("video_grid_thw", "clip_grids")):
            parts = [x[key] for x in batch if x[key] is not None]
            if parts:
                keywords[name] = torch.cat(parts)
        net.model.rope_deltas = None
        out = net.generate(**keywords, max_new_tokens=N_TOKEN, do_sample=False)
        return self.model.tokenizer.batch_decode(out[:, longest:], skip_special_tokens=True)

    def ask_all(self, samples, dtype):
        """Answers, and the ids of the prompts. dtype: "float32" or "bfloat16"."""
        import torch
        from transformers import Qwen3VLForConditionalGeneration
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 0)) or len(os.sched_getaffinity(0)))
        net = Qwen3VLForConditionalGeneration.from_pretrained(self.folder, dtype=getattr(torch, dtype)).eval()
        answers, ids = [], []
        for begin in range(0, len(samples), N_BATCH):
            batch = [self.prepare(s) for s in samples[begin:begin + N_BATCH]]
            answers += self.generate(net, batch)
            ids += [x["ids"] for x in batch]
        return answers, ids


# ---- tables --------------------------------------------------------------------------------------

def table(head, lines):
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *lines])


def percent(x):
    return f"{x:.1f} %"


def origin(args):
    """Where the numbers come from."""
    def git(*words):
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True).stdout.strip()
    with open(os.path.join(args.model, "model.safetensors"), "rb") as file:
        weights = hashlib.sha256(file.read()).hexdigest()[:12]
    is_changed = git("status", "--porcelain", "-uno", "--", "include", "src", "reference")
    commit = git("rev-parse", "--short", "HEAD") + (" with changes" if is_changed else "")
    return f"{args.n} samples a task, seed {args.seed}, {datetime.date.today()}, commit {commit}, weights {weights}."


def write_card(path, mark, text):
    """Between the lines <!-- mark --> and <!-- /mark -->."""
    card = pathlib.Path(path)
    begin, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    old = card.read_text()
    if old.count(begin) != 1 or old.count(end) != 1:
        sys.exit(f"{path}: expected one line {begin.strip()} and one {end}")
    head, rest = old.split(begin)
    card.write_text(head + begin + text + "\n" + end + rest.split(end)[1])


def present_rows(samples):
    return [row for row in ROWS if any(s["row"] == row for s in samples)]


def score_table(samples, answers):
    """answers: {"qvl" (, "float32", "bfloat16")}."""
    names = {"qvl": "qvl, bf16", "float32": "transformers, float32", "bfloat16": "transformers, bf16"}
    others = [k for k in answers if k != "float32"] if "float32" in answers else []
    lines = []
    for row in present_rows(samples):
        lines.append([ROWS[row][0], str(sum(s["row"] == row for s in samples)), f"≥ {ROWS[row][1]} %",
                      *[percent(score(samples, answers[k], row)) for k in answers],
                      *[percent(agreement(samples, answers[k], answers["float32"], row)) for k in others]])
    if others:
        lines.append(["all", str(len(samples)), f"= float32: ≥ {AGREEMENT_GOAL} %", *[""] * len(answers),
                      *[percent(agreement(samples, answers[k], answers["float32"])) for k in others]])
    return table(["", "samples", "goal", *[names[k] for k in answers],
                  *[f"{names[k]}: answers as float32" for k in others]], lines)


# ---- the two runs --------------------------------------------------------------------------------

def show_wrong(samples, answers, n):
    """Some wrong answers of qvl, for whoever trains the model."""
    for row in present_rows(samples):
        wrong = [(s, a) for s, a in zip(samples, answers) if s["row"] == row and not is_right(s, a)]
        for s, a in wrong[:n]:
            print(f"  {row}: {s['question']}  said: {a!r}  true: {s['truth']!r}")


def timed(what, begin):
    print(f"{what}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)


def missed(samples, answers, ids, floors):
    """What is not as it should be, a line each. floors: percent of each row."""
    scores = {row: score(samples, answers["qvl"], row) for row in floors}
    lines = [f"{row} {percent(scores[row])}, at least {floor:g} % expected" for row, floor in floors.items()
             if scores[row] < floor]
    if "float32" in answers:
        same = agreement(samples, answers["qvl"], answers["float32"])
        n_other = sum(a != b for a, b in zip(ids["qvl"], ids["float32"]))
        if same < AGREEMENT_GOAL:
            lines.append(f"{percent(same)} of the answers as in float32, at least {AGREEMENT_GOAL} % expected")
        if n_other:
            lines.append(f"{n_other} prompts have other ids in transformers")
    return lines


def run_scores(args, samples):
    answers, ids = {}, {}
    begin = time.monotonic()
    answers["qvl"], ids["qvl"] = Qvl(os.path.join(args.build, "qvl"), args.model).ask_all(samples)
    timed("qvl", begin)
    if args.only != "qvl":
        reference = Transformers(args.model)
        for dtype in ("float32", "bfloat16"):
            begin = time.monotonic()
            answers[dtype], ids[dtype] = reference.ask_all(samples, dtype)
            timed(f"transformers, {dtype}", begin)
    text = score_table(samples, answers)
    print(text)
    show_wrong(samples, answers["qvl"], args.show)
    if args.card:
        write_card(args.card, "scores", text + "\n\n" + origin(args))
    goals = {row: ROWS[row][1] for row in present_rows(samples)}
    lines = missed(samples, answers, ids, args.floor if args.only else goals)
    for line in lines:
        print("not ok:", line)
    return 1 if lines else 0


def run_mutations(args, samples):
    qvl, rows, n_bad = Qvl(os.path.join(args.build, "qvl-mistaken"), args.model), present_rows(samples), 0
    plain, _ = qvl.ask_all(samples)
    lines = [["none", *[percent(score(samples, plain, row)) for row in rows]]]
    for mistake, (what, concerned) in MUTATIONS.items():
        begin = time.monotonic()
        answers, _ = qvl.ask_all(samples, mistake)
        timed(mistake, begin)
        lines.append([f"{what} (`{mistake}`)"])
        for row in rows:
            value = score(samples, answers, row)
            is_enough = score(samples, plain, row) - value >= LEAST_LOST
            lines[-1].append(f"**{percent(value)}**" if row in concerned else percent(value))
            if row in concerned and not is_enough:
                print(f"not ok: {mistake} costs {row} {score(samples, plain, row) - value:.1f} points, "
                      f"at least {LEAST_LOST} expected")
                n_bad += 1
    text = table(["mistake", *rows], lines)
    print(text)
    if args.card:
        write_card(args.card, "mutations", text + "\n\n" + origin(args))
    return 1 if n_bad else 0


def run_formats(args, samples):
    program, rows, n_bad = os.path.join(args.build, "qvl"), present_rows(samples), 0
    plain, _ = Qvl(program, args.model).ask_all(samples)
    lines = [["bf16", *[percent(score(samples, plain, row)) for row in rows], ""]]
    for name in args.formats.split(","):
        options, most = FORMATS[name]
        begin = time.monotonic()
        answers, _ = Qvl(program, args.model, options).ask_all(samples)
        timed(name, begin)
        lines.append([name])
        for row in rows:
            lost = score(samples, plain, row) - score(samples, answers, row)
            lines[-1].append(f"{percent(score(samples, answers, row))} ({-lost:+.1f})")
            if most is not None and lost > most:
                print(f"not ok: {name} loses {lost:.1f} points on {row}, at most {most} expected")
                n_bad += 1
        lines[-1].append(percent(agreement(samples, answers, plain)))
    text = table(["weights", *[f"{ROWS[row][0]} (n = {sum(s['row'] == row for s in samples)})" for row in rows],
                  "answers as with bf16"], lines)
    print(text)
    if args.card:
        write_card(args.card, "formats", text + "\n\n" + origin(args))
    return 1 if n_bad else 0


def read_floors(text):
    floors = {row: float(value) for row, value in (pair.split("=") for pair in text.split(","))}
    if not floors.keys() <= ROWS.keys():
        raise ValueError(text)
    return floors


def main():
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--model", default=str(ROOT / "demo/model"))
    parser.add_argument("--build", default=str(ROOT / "build"), help="folder of qvl and qvl-mistaken")
    parser.add_argument("--n", type=int, help="samples of each task (500; --mutations 100)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tasks", type=lambda s: s.split(","), default=demo_data.TASKS)
    parser.add_argument("--only", choices=["qvl"], help="without transformers")
    parser.add_argument("--mutations", action="store_true")
    parser.add_argument("--formats", nargs="?", const=",".join(FORMATS), metavar="NAME,…",
                        help=f"these, or all: {', '.join(FORMATS)}")
    parser.add_argument("--floor", type=read_floors, default={}, help=f"ROW=PERCENT,… ({', '.join(ROWS)})")
    parser.add_argument("--card", help="model card to write the table into")
    parser.add_argument("--show", type=int, default=0, help="print so many wrong answers of qvl of each row")
    parser.add_argument("--work", help="folder to keep the pictures and clips in")
    args = parser.parse_args()
    args.n = args.n or (100 if args.mutations else 500)
    if args.formats and not set(args.formats.split(",")) <= FORMATS.keys():
        parser.error(f"--formats {args.formats}: there are {', '.join(FORMATS)}")
    with tempfile.TemporaryDirectory() as scratch:
        folder, begin = args.work or scratch, time.monotonic()
        os.makedirs(folder, exist_ok=True)
        samples = [draw(task, i, args.seed, folder) for task in args.tasks for i in range(args.n)]
        timed("samples", begin)
        return (run_mutations if args.mutations else run_formats if args.formats else run_scores)(args, samples)


if __name__ == "__main__":
    sys.exit(main())
