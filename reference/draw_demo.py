"""Draws the files of demo/ that people try the demo model on: six pictures, two clips, and demo/questions.txt with
questions about them and the true answers (files TAB question TAB answer). Drawn like the samples of the scores, from
seeds that training does not see, four times as large.

usage: draw_demo.py [OUT_DIR]
"""
import os
import random
import sys

from PIL import Image

import demo_data
from score_demo import write_clip

ZOOM = 4
# File names, task, seed, size before ZOOM.
PICTURES = [(["shapes.png"], "scene", 8, (160, 128)), (["boxes.png"], "box", 11, (160, 160)),
            (["text.png"], "text", 3, (288, 64)), (["receipt.png"], "form", 12, (224, 192)),
            (["before.png", "after.png"], "differ", 4, (160, 128))]
CLIPS = ["clip-1.mp4", "clip-2.mp4"]
CLIP_SEED, CLIP_SECONDS = 7, 8.0


def both_languages(turns):
    """The first English and the first Chinese question of some."""
    is_chinese = [any(ord(c) > 0x2FFF for c in q) for q, _, _ in turns]
    return [turns[is_chinese.index(zh)][:2] for zh in (False, True)]


def random_of(task, seed):
    return random.Random(f"{demo_data.SCORE_SEED}/demo/{task}/{seed}")


def draw_pictures(folder):
    lines = []
    for names, task, seed, size in PICTURES:
        sample = demo_data.sample(task, random_of(task, seed), size=size, zoom=ZOOM, n_turn=12)
        for name, picture in zip(names, sample["media"]):
            Image.fromarray(picture.pixels).save(os.path.join(folder, name), optimize=True)
        lines += [(" ".join(names), q, a) for q, a in both_languages(sample["turns"])]
    return lines


def draw_clips(folder):
    rng, lines, events, taken = random_of("event", CLIP_SEED), [], [], set()
    for name in CLIPS:
        clip, found = demo_data.make_clip(rng, 64, 64, CLIP_SECONDS, 1, taken, ZOOM)
        write_clip(clip, os.path.join(folder, name))
        events.append(found)
        taken |= {(t.shape, t.colour) for _, t, _, _, _ in found}
        lines += [(name, q, a) for q, a in both_languages(demo_data.event_turns(rng, found, 12))]
    both = both_languages([demo_data.which_clip(rng, events) for _ in range(12)])
    return lines + [(" ".join(CLIPS), q, a) for q, a in both]


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "demo")
    lines = draw_pictures(folder) + draw_clips(folder)
    with open(os.path.join(folder, "questions.txt"), "w", encoding="utf-8") as f:
        f.writelines("\t".join(line) + "\n" for line in lines)


if __name__ == "__main__":
    main()
