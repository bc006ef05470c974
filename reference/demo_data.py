"""What the demo model is taught and asked: pictures, forms and clips drawn by chance, with questions and true answers.

One seed, one sample, always the same: `sample(task, rng)` with `random.Random(seed)`. Training draws from seeds below
SCORE_SEED, scores and the files of demo/ from above, so none of these was ever seen in training.

A sample is a dict: task; media, a list of Picture or Clip; turns, a list of (question, answer, facts). `facts` holds
what a score needs beside the text (the box, the second). Pictures have sides that are multiples of 32 and areas within
the demo model's limits, so that no processor resizes them.

zoom draws the same at so many times the size, for people to look at; a processor brings it back.

`cells` of a picture are training's second target, one row for each 32 × 32 cell (each token that the decoder gets): what
stands in it. A model that is only told answers does not begin to read within hours on two cores. Its third target are the
`points` among a turn's facts: which cells the words of question and answer stand for, as (is it in the answer, begin, end,
cells), characters begin to end. Cells are counted through all pictures (or pairs of frames) of the sample; -1 - i is what
the prompt says of pair i, its second.
"""
import functools
import io
import math
import random
import re

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SCORE_SEED = 1 << 40
CELL = 32

COLOURS = [("red", "红色", (215, 35, 40)), ("orange", "橙色", (250, 140, 20)), ("yellow", "黄色", (245, 220, 40)),
           ("green", "绿色", (40, 160, 60)), ("blue", "蓝色", (40, 80, 215)), ("purple", "紫色", (135, 50, 165)),
           ("black", "黑色", (20, 20, 20))]
SHAPES = [("circle", "圆形"), ("square", "正方形"), ("triangle", "三角形"), ("star", "星形"), ("cross", "十字形")]

# No O and no I: fonts draw them like 0 and 1.
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
DIGITS = "0123456789"
SIGNS = ".-/:$"
CHARACTERS = LETTERS + DIGITS + SIGNS

FONT_DIR = "/usr/share/fonts/"
FONTS = ["truetype/dejavu/DejaVuSans.ttf", "truetype/dejavu/DejaVuSans-Bold.ttf", "truetype/dejavu/DejaVuSerif.ttf",
         "truetype/dejavu/DejaVuSansMono.ttf", "truetype/liberation/LiberationSans-Regular.ttf",
         "truetype/liberation/LiberationSans-Bold.ttf", "truetype/liberation/LiberationSerif-Regular.ttf",
         "truetype/liberation/LiberationSerif-Bold.ttf", "truetype/liberation/LiberationMono-Regular.ttf",
         "truetype/open-sans/OpenSans-Regular.ttf", "truetype/open-sans/OpenSans-Bold.ttf",
         "truetype/lato/Lato-Regular.ttf", "truetype/lato/Lato-Bold.ttf",
         "truetype/freefont/FreeSans.ttf", "truetype/freefont/FreeSerif.ttf", "truetype/hack/Hack-Regular.ttf"]
EASY_FONTS = 5  # of FONTS, for the first steps of training

KEYS = ["no", "date", "time", "name", "item", "qty", "tax", "total"]
LABELS = {"no": ["No.", "Number", "单号"], "date": ["Date", "日期"], "time": ["Time", "时间"], "name": ["Name", "姓名"],
          "item": ["Item", "商品"], "qty": ["Qty", "数量"], "tax": ["Tax", "税额"], "total": ["Total", "合计"]}

TASKS = ["scene", "text", "form", "box", "event", "differ"]


class Picture:
    """pixels: u8 [h, w, 3]; cells: int16 [h/32 · w/32, N_CELL], row by row."""

    def __init__(self, pixels, cells):
        self.pixels, self.cells = pixels, cells


class Clip:
    """frames: u8 [t, h, w, 3], the frames that a processor takes at FPS, an even number; times: their seconds;
    source: of the whole clip, for a file: (fps, n_frame, index of each of `frames`); cells: [t/2, cells, N_CELL];
    stills: what it shows before `wear`: (first frame of the source, image)."""

    def __init__(self, frames, times, source, cells, stills, wear):
        self.frames, self.times, self.source, self.cells = frames, times, source, cells
        self.stills, self.wear = stills, wear

    def every_frame(self):
        """All frames of the source, one after the other: `frames` as they are, between them what stands there."""
        _, n_frame, index = self.source
        seen = dict(zip(index, self.frames))
        for i in range(n_frame):
            still = [image for first, image in self.stills if first <= i][-1]
            yield seen[i] if i in seen else self.wear.put(still, random.Random(i))


# Columns of `cells`: 0 = nothing here (or class + 1), -1 = not asked.
N_SLOT = 6
CELL_COLOUR, CELL_SHAPE, CELL_BOX, CELL_KEY, CELL_SLOT = 0, 1, 2, 6, 7
CELL_INDEX = CELL_SLOT + N_SLOT  # which character of its string the first one in the cell is, from 1
CELL_COUNT, CELL_ALIKE = CELL_INDEX + 1, CELL_INDEX + 2  # things in the picture; those of the shape that stands in the cell
N_CELL = CELL_ALIKE + 1
MAX_INDEX = 12


def no_cells(w, h):
    """Cells of which nothing is asked."""
    return np.full(((h // CELL) * (w // CELL), N_CELL), -1, np.int16)


def empty_cells(w, h):
    """Cells in which nothing stands; a box is asked only of things."""
    cells = no_cells(w, h)
    cells[:, [CELL_COLOUR, CELL_SHAPE]] = 0
    cells[:, CELL_KEY:CELL_COUNT] = 0
    return cells


# ---- noise and ground ----------------------------------------------------------------------------

@functools.lru_cache(None)
def noise_bank():
    return np.random.default_rng(5).normal(0, 1, 1 << 21).astype(np.float32)


class Wear:
    """What a camera or a file does to a picture: grain of `grain` levels, JPEG of a quality (0: none)."""

    def __init__(self, rng, grains):
        self.grain = rng.choice(grains)
        self.quality = rng.randint(60, 95) if rng.random() < 0.25 else 0

    def put(self, image, rng):
        """The worn picture, u8 [h, w, 3]."""
        pixels = np.asarray(image)
        if self.grain:
            bank = noise_bank()
            begin = int(rng.random() * (len(bank) - pixels.size))
            grain = bank[begin:begin + pixels.size].reshape(pixels.shape)
            pixels = np.clip(pixels + self.grain * grain, 0, 255).astype(np.uint8)
        if self.quality:
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "JPEG", quality=self.quality)
            pixels = np.asarray(Image.open(file))
        return np.array(pixels)


def ground_colour(rng):
    base = rng.choice((255, 250, 240, 225, 205))
    return tuple(max(0, min(255, base + rng.randint(-14, 14))) for _ in range(3)) if base < 255 else (255, 255, 255)


# ---- shapes --------------------------------------------------------------------------------------

class Thing:
    """A shape: kind and colour are indices, (x, y) its middle and r its half size in pixels, angle in degrees."""

    def __init__(self, shape, colour, x, y, r, angle, rgb):
        self.shape, self.colour, self.x, self.y, self.r, self.angle, self.rgb = shape, colour, x, y, r, angle, rgb

    def name(self, zh):
        return thing_name(self.shape, self.colour, zh)

    def outline(self):
        turn = math.radians(self.angle)
        if self.shape == 1:
            corners = [(1, 45), (1, 135), (1, 225), (1, 315)]
        elif self.shape == 2:
            corners = [(1, -90), (1, 30), (1, 150)]
        elif self.shape == 3:
            corners = [(1 if i % 2 == 0 else 0.45, -90 + 36 * i) for i in range(10)]
        else:
            a, far = 18.43, 1.0  # a cross whose arms are a third as wide as it is
            corners = []
            for quarter in range(4):
                corners += [(far, 90 * quarter - a), (far, 90 * quarter + a), (0.447, 90 * quarter + 45)]
        return [(self.x + self.r * f * math.cos(math.radians(deg) + turn),
                 self.y + self.r * f * math.sin(math.radians(deg) + turn)) for f, deg in corners]

    def box(self):
        if self.shape == 0:
            return self.x - self.r, self.y - self.r, self.x + self.r, self.y + self.r
        xs, ys = zip(*self.outline())
        return min(xs), min(ys), max(xs), max(ys)


def thing_name(shape, colour, zh):
    return COLOURS[colour][1] + SHAPES[shape][1] if zh else COLOURS[colour][0] + " " + SHAPES[shape][0]


def draw_things(things, w, h, ground, zoom):
    """The picture, and a mask whose pixels hold the index + 1 of the thing on top."""
    scale = 2 * zoom
    image = Image.new("RGB", (w * scale, h * scale), ground)
    mask = Image.new("L", (w, h), 0)
    pen, mask_pen = ImageDraw.Draw(image), ImageDraw.Draw(mask)
    for i, t in enumerate(things):
        put_thing(pen, t, scale, t.rgb)
        put_thing(mask_pen, t, 1, i + 1)
    return image.reduce(2), np.asarray(mask)


def put_thing(pen, t, scale, fill):
    if t.shape == 0:
        pen.ellipse([v * scale for v in t.box()], fill=fill)
    else:
        pen.polygon([(x * scale, y * scale) for x, y in t.outline()], fill=fill)


def by_cells(mask):
    """[cells, pixels of one] of [h, w]."""
    h, w = mask.shape
    return mask.reshape(h // CELL, CELL, w // CELL, CELL).swapaxes(1, 2).reshape(-1, CELL * CELL)


ENOUGH = 60  # pixels of a cell, for what covers them to stand in it


def shape_cells(things, mask, is_inside=False):
    """is_inside: the second thing lies on the first, and its cells are its own."""
    h, w = mask.shape
    cells = no_cells(w, h)
    cells[:, CELL_KEY:CELL_COUNT] = 0
    cells[:, CELL_COUNT] = len(things)
    by_cell = by_cells(mask)
    counts = np.stack([(by_cell == i + 1).sum(1) for i in range(len(things))], 1) if things else np.zeros((len(cells), 1))
    best = (counts[:, 1] >= ENOUGH).astype(int) if is_inside else counts.argmax(1)
    for i, row in enumerate(cells):
        n = counts[i, best[i]]
        if n == 0:
            row[CELL_COLOUR] = row[CELL_SHAPE] = 0
        elif n >= ENOUGH:
            t = things[best[i]]
            row[CELL_COLOUR], row[CELL_SHAPE] = t.colour + 1, t.shape + 1
            row[CELL_BOX:CELL_BOX + 4] = to_thousandths(t.box(), w, h)
            row[CELL_ALIKE] = sum(o.shape == t.shape for o in things)
    return cells


def cells_under(t, w, h):
    """The cells in which a thing stands, whatever lies on it; at least the one that it covers most."""
    mask = Image.new("L", (w, h), 0)
    put_thing(ImageDraw.Draw(mask), t, 1, 1)
    n = by_cells(np.asarray(mask)).sum(1)
    return np.flatnonzero(n >= min(ENOUGH, n.max())).tolist()


def to_thousandths(box, w, h):
    x1, y1, x2, y2 = box
    clip = lambda v: max(0, min(1000, round(v)))
    return [clip(x1 / w * 1000), clip(y1 / h * 1000), clip(x2 / w * 1000), clip(y2 / h * 1000)]


def random_thing(rng, w, h, r, taken=()):
    """A thing whose name is not taken, anywhere within the picture."""
    while True:
        shape, colour = rng.randrange(len(SHAPES)), rng.randrange(len(COLOURS))
        if (shape, colour) not in taken:
            break
    angle = rng.uniform(-15, 15) if shape != 1 else rng.uniform(-10, 10)
    rgb = tuple(max(0, min(255, v + rng.randint(-14, 14))) for v in COLOURS[colour][2])
    return Thing(shape, colour, rng.uniform(r + 2, w - r - 2), rng.uniform(r + 2, h - r - 2), r, angle, rgb)


def is_apart(t, things):
    return all(math.hypot(t.x - o.x, t.y - o.y) > (t.r + o.r) * 1.05 + 3 for o in things)


def random_things(rng, n, w, h, gap_x=0.0, r_range=(0.1, 0.24)):
    """n things that do not touch, of different names; middles at least gap_x apart from left to right."""
    side = min(w, h)
    for _ in range(200):
        things, names = [], set()
        for _ in range(60):
            if len(things) == n:
                return things
            shrink = 1.0 if n < 3 else 0.8
            r = max(9.0, rng.uniform(*r_range) * side * shrink)
            t = random_thing(rng, w, h, r, names)
            if is_apart(t, things) and all(abs(t.x - o.x) >= gap_x for o in things):
                things.append(t)
                names.add((t.shape, t.colour))
        if len(things) == n:
            return things
    raise RuntimeError("no room for the things")


def scene_size(rng):
    return rng.choice((128, 160, 160, 192)), rng.choice((128, 160, 160))


def relation(a, b):
    """Of a to b; None where neither direction is plain."""
    dx, dy = a.x - b.x, a.y - b.y
    if abs(dx) > 1.6 * abs(dy):
        return 0 if dx < 0 else 1
    if abs(dy) > 1.6 * abs(dx):
        return 2 if dy < 0 else 3
    return None


INSIDE = 4
RELATION = [("left of the", "左边"), ("right of the", "右边"), ("above the", "上边"), ("below the", "下边"),
            ("inside the", "里面")]


def is_chinese(rng):
    return rng.random() < 0.5


def pick(rng, zh, english, chinese):
    return rng.choice(chinese if zh else english)


def article(name):
    return ("an " if name[0] in "aeiou" else "a ") + name


def inside_pair(rng, w, h):
    big_r = rng.uniform(0.34, 0.44) * min(w, h)
    while True:
        big = random_thing(rng, w, h, big_r)
        if big.shape < 3 and big.colour != 6:
            return [big, put_inside(rng, big, w, h)]


def put_inside(rng, big, w, h):
    """A thing of another colour that lies in a big one."""
    small_r = max(10.0, big.r * (rng.uniform(0.3, 0.42) if big.shape != 2 else rng.uniform(0.24, 0.3)))
    while True:
        small = random_thing(rng, w, h, small_r, {(big.shape, big.colour)})
        if small.colour != big.colour:
            break
    slack = big.r * (0.3 if big.shape == 0 else 0.2 if big.shape == 1 else 0.08)
    small.x, small.y = big.x + rng.uniform(-slack, slack), big.y + rng.uniform(-slack, slack)
    return small


def describe(things, is_inside, zh):
    n = len(things)
    if n == 1:
        return f"1个图形：{things[0].name(zh)}。" if zh else f"1 shape: {article(things[0].name(zh))}."
    if n == 2:
        a, b = (things[1], things[0]) if is_inside else sorted(things, key=lambda t: t.x)
        how = INSIDE if is_inside else relation(a, b)
        if zh:
            return f"2个图形：{a.name(zh)}在{b.name(zh)}{RELATION[how][1]}。"
        return f"2 shapes: {article(a.name(zh))} {RELATION[how][0]} {b.name(zh)}."
    names = [t.name(zh) for t in sorted(things, key=lambda t: t.x)]
    if zh:
        return f"{n}个图形，从左到右：" + "、".join(names) + "。"
    return f"{n} shapes, from left to right: " + ", ".join(article(name) for name in names) + "."


def scene_things(rng, w, h, inside):
    kind = rng.random()
    if kind < inside:
        return inside_pair(rng, w, h), True
    n = rng.choice((1, 2, 2, 3, 3, 4))
    while True:
        things = random_things(rng, n, w, h, 12 if n > 2 else 0)
        if n != 2 or relation(*things) is not None:
            return things, False


def scene_turns(rng, things, is_inside, n_turn):
    turns = []
    for _ in range(n_turn):
        zh, kind = is_chinese(rng), rng.random()
        a, b = rng.sample(things, 2) if len(things) > 1 else (things[0], None)
        if kind < 0.4 or (kind < 0.6 and b is None):
            q = pick(rng, zh, ("Describe the picture.", "What is in this picture?", "What do you see?"),
                     ("描述这张图片。", "图里有什么？", "你看到了什么？"))
            turns.append((q, describe(things, is_inside, zh), {}))
        elif kind < 0.6:
            how = relation(a, b)
            if is_inside:
                a, b, how = things[1], things[0], INSIDE
            if how is None:
                continue
            q = f"{a.name(zh)}在{b.name(zh)}的哪边？" if zh else f"Where is the {a.name(zh)}, seen from the {b.name(zh)}?"
            ans = f"在{RELATION[how][1]}。" if zh else RELATION[how][0].removesuffix(" the").capitalize() + " it."
            turns.append((q, ans, {}))
        elif kind < 0.75:
            by_shape = rng.random() < 0.5
            if by_shape:
                k = rng.choice([a.shape, rng.randrange(len(SHAPES))])
                n = sum(t.shape == k for t in things)
                q = f"有几个{SHAPES[k][1]}？" if zh else f"How many {SHAPES[k][0]}{'e' * (k == 4)}s are there?"
            else:
                n = len(things)
                q = pick(rng, zh, ("How many shapes are there?", "Count the shapes."), ("有几个图形？", "数一数图形。"))
            turns.append((q, str(n), {"of": (SHAPES[k][zh], [t for t in things if t.shape == k])} if by_shape else {}))
        elif kind < 0.9:
            if sum(t.shape == a.shape for t in things) > 1:
                continue
            q = f"{SHAPES[a.shape][1]}是什么颜色？" if zh else f"What colour is the {SHAPES[a.shape][0]}?"
            turns.append((q, COLOURS[a.colour][zh], {"of": (SHAPES[a.shape][zh], [a])}))
        else:
            if sum(t.colour == a.colour for t in things) > 1:
                continue
            q = f"{COLOURS[a.colour][1]}的图形是什么形状？" if zh else f"Which shape is {COLOURS[a.colour][0]}?"
            turns.append((q, SHAPES[a.shape][zh], {"of": (COLOURS[a.colour][zh], [a])}))
    return turns


def scene(rng, n_turn=1, size=None, zoom=1, inside=0.15):
    """inside: how often one thing lies in another."""
    w, h = size or scene_size(rng)
    while True:
        things, is_inside = scene_things(rng, w, h, inside)
        turns = scene_turns(rng, things, is_inside, n_turn)
        if turns:
            break
    image, mask = draw_things(things, w, h, ground_colour(rng), zoom)
    picture = Picture(Wear(rng, (0, 2, 5, 9)).put(image, rng), shape_cells(things, mask, is_inside))
    point(turns, cells_by_name(w, h, things))
    return {"task": "scene", "media": [picture], "turns": turns}


def cells_by_name(w, h, *media):
    """{(shape, colour): cells} of the things in each of media."""
    where, n = {}, (w // CELL) * (h // CELL)
    for i, things in enumerate(media):
        for t in things:
            where.setdefault((t.shape, t.colour), []).extend(i * n + c for c in cells_under(t, w, h))
    return where


def mentions(text, is_answer, where):
    """Points of the things that text names; an article belongs to its thing."""
    points = []
    for (shape, colour), cells in where.items():
        names = f"(?:[Aa]n? )?{thing_name(shape, colour, False)}|{thing_name(shape, colour, True)}"
        points += [(is_answer, *m.span(), cells) for m in re.finditer(names, text)]
    return points


def point(turns, where):
    """Adds the points of names to turns. Where facts have `of`, (word of the question, things), these are meant by the
    word and by the answer."""
    for q, a, facts in turns:
        facts["points"] = mentions(q, False, where) + mentions(a, True, where)
        if "of" in facts:
            word, things = facts["of"]
            cells = [c for t in things for c in where[t.shape, t.colour]]
            facts["points"] += [(False, q.index(word), q.index(word) + len(word), cells), (True, 0, len(a), cells)]


NEST = 3, 2  # big things beside and below each other


def nest(rng):
    """Small things on big ones that overlap, for the tower: in scenes they are too few to learn from."""
    w, h = 224, 160
    bigs, smalls = [], []
    for i in range(NEST[0] * NEST[1]):
        big = Thing(rng.choice((0, 1, 1, 2)), rng.randrange(6), (i % NEST[0] + 0.5) * w / NEST[0] + rng.uniform(-9, 9),
                    (i // NEST[0] + 0.5) * h / NEST[1] + rng.uniform(-9, 9), rng.uniform(40, 64), rng.uniform(-15, 15), None)
        big.rgb = tuple(max(0, min(255, v + rng.randint(-14, 14))) for v in COLOURS[big.colour][2])
        bigs.append(big)
        smalls.append(put_inside(rng, big, w, h))
    rng.shuffle(bigs)
    image, mask = draw_things(bigs + smalls, w, h, ground_colour(rng), 1)
    cells = no_cells(w, h)
    for row, pixels in zip(cells, by_cells(mask)):
        counts = np.bincount(pixels, minlength=1 + len(bigs + smalls))[1 + len(bigs):]
        if counts.max() >= ENOUGH:
            t = smalls[counts.argmax()]
            row[CELL_COLOUR], row[CELL_SHAPE] = t.colour + 1, t.shape + 1
    return {"task": "nest", "media": [Picture(Wear(rng, (0, 2, 5, 9)).put(image, rng), cells)], "turns": []}


# ---- boxes ---------------------------------------------------------------------------------------

def box_json(things, w, h, zh, step):
    edges = lambda t: ",".join(str(step * round(v / step)) for v in to_thousandths(t.box(), w, h))
    return "[" + ",".join('{"bbox_2d":[%s],"label":"%s"}' % (edges(t), t.name(zh)) for t in things) + "]"


def box(rng, n_turn=1, size=None, zoom=1, step=1):
    """step: of the edges, in thousandths."""
    w, h = size or scene_size(rng)
    things = random_things(rng, rng.choice((1, 2, 2, 3)), w, h, 12, (0.13, 0.27))
    turns = []
    for t in rng.sample(things, min(n_turn, len(things))):
        zh = is_chinese(rng)
        if rng.random() < 0.12:
            wanted = sorted(things, key=lambda o: o.x)
            q = pick(rng, zh, ("Find all shapes, left to right. Give boxes.",), ("从左到右框出所有图形。",))
        else:
            wanted, name = [t], t.name(zh)
            q = pick(rng, zh, (f"Find the {name}. Give its box.", f"Where is the {name}? Answer with a box."),
                     (f"框出{name}。", f"找到{name}，给出坐标。"))
        turns.append((q, box_json(wanted, w, h, zh, step), {}))
    image, mask = draw_things(things, w, h, ground_colour(rng), zoom)
    picture = Picture(Wear(rng, (0, 2, 5, 9)).put(image, rng), shape_cells(things, mask))
    where = cells_by_name(w, h, things)
    point(turns, where)
    for _, a, facts in turns:       # the numbers too stand for the thing, whose name comes after them
        items = [m.span() for m in re.finditer(r'\{.*?\}', a)]
        facts["points"] += [(True, *span, cells) for span in items for _, *_, cells in mentions(a[slice(*span)], True, where)]
    return {"task": "box", "media": [picture], "turns": turns}


# ---- text ----------------------------------------------------------------------------------------

@functools.lru_cache(None)
def font(i, size):
    return ImageFont.truetype(FONT_DIR + FONTS[i], size, layout_engine=ImageFont.Layout.BASIC)


@functools.lru_cache(1)
def han_font(size):
    return ImageFont.truetype(FONT_DIR + "truetype/wqy/wqy-microhei.ttc", size, layout_engine=ImageFont.Layout.BASIC)


def ink(rng, ground, contrast):
    """A text colour that differs from the ground by `contrast` levels or more, darker or (on dark grounds) lighter."""
    level = sum(ground) / 3
    way = -1 if level > 127 else 1
    return tuple(int(max(0, min(255, v + way * (contrast + rng.randint(0, 25))))) for v in ground)


def put_text(pen, xy, text, face_i, points, fill, scale):
    """Draws on a baseline, `scale` times as large; gives (character, x of its middle at scale 1) of each character."""
    x, y = xy
    pen.text((x * scale, y * scale), text, font=font(face_i, points * scale), fill=fill, anchor="ls")
    face = font(face_i, points)
    ends = [face.getlength(text[:i + 1]) for i in range(len(text))]
    return [(c, x + (begin + end) / 2) for c, begin, end in zip(text, [0.0] + ends, ends)]


def cell_at(x, y, w):
    return int(y // CELL) * (w // CELL) + int(x // CELL)


def put_slots(cells, w, h, characters):
    """characters: (character, x, y of its middle, its number in its string or -1), line by line and from left to right:
    their order in a cell."""
    n_found = {}
    for c, x, y, index in characters:
        if 0 <= x < w and 0 <= y < h:
            i = cell_at(x, y, w)
            k = n_found[i] = n_found.get(i, -1) + 1
            if k < N_SLOT:
                cells[i, CELL_SLOT + k] = CHARACTERS.index(c) + 1
            if k == 0:
                cells[i, CELL_INDEX] = index


def read_points(begin, characters, w, h):
    """Points of the characters of an answer, of which they are those from `begin` on."""
    inside = [(begin + i, c) for i, c in enumerate(characters) if 0 <= c[1] < w and 0 <= c[2] < h]
    return [(True, i, i + 1, [cell_at(x, y, w)]) for i, (_, x, y, _) in inside]


def random_digits(rng, n):
    return "".join(rng.choice(DIGITS) for _ in range(n))


def random_date(rng):
    return f"20{random_digits(rng, 2)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"


def random_time(rng):
    return f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}"


def random_string(rng, n):
    """Of n characters: letters and digits, or the form of a date, a time, an amount, a number."""
    kind = rng.random()
    digits = lambda k: random_digits(rng, k)
    if kind < 0.35:
        if n == 10:
            return random_date(rng)
        if n == 5:
            return rng.choice((random_time(rng), f"{digits(2)}.{digits(2)}"))
        if n == 8:
            return f"{rng.randint(1, 28):02}/{rng.randint(1, 12):02}/{digits(2)}"
        if n in (6, 7):
            return "$" + digits(n - 4) + "." + digits(2)
        if n > 3:
            return rng.choice(LETTERS) + rng.choice(LETTERS) + "-" + digits(n - 3)
    if kind < 0.5:
        return "".join(rng.choice(LETTERS) for _ in range(n))
    if kind < 0.6:
        return digits(n)
    text = [rng.choice(LETTERS + DIGITS) for _ in range(n)]
    if n > 2 and rng.random() < 0.4:
        text[rng.randrange(1, n - 1)] = rng.choice(SIGNS)
    return "".join(text)


def text_size(rng):
    return rng.choice(((160, 64), (224, 64), (224, 64), (288, 64), (288, 64), (288, 64), (384, 96), (448, 96)))


def text(rng, n_turn=1, size=None, ease=0.0, zoom=1):
    """ease: 1 = few fonts, large, upright, clean; 0 = all that is asked of the model."""
    w, h = size or text_size(rng)
    most = 40 if h == 64 else 56
    face_i = rng.randrange(EASY_FONTS if rng.random() < ease else len(FONTS))
    n = rng.randint(1, 12)
    low = 20 if rng.random() < ease else 17
    for _ in range(100):
        string, points = random_string(rng, n), rng.randint(low, most)
        face = font(face_i, points)
        length = face.getlength(string)
        if length <= w - 8:
            break
        n = max(1, n - 1) if rng.random() < 0.3 else n
    ground = ground_colour(rng) if rng.random() < 0.8 else tuple(rng.randint(10, 60) for _ in range(3))
    colour = ink(rng, ground, rng.randint(70, 220) if rng.random() >= ease else 200)
    cap = points * 0.72
    x, y = rng.uniform(3, w - 4 - length), rng.uniform(cap + 4, h - 8 if h - 8 > cap + 4 else cap + 5)
    shrink = 2 if rng.random() < 0.3 else 1                 # drawn larger and reduced, as a scaled photograph is
    scale = shrink * zoom
    image = Image.new("RGB", (w * scale, h * scale), ground)
    placed = put_text(ImageDraw.Draw(image), (x, y), string, face_i, points, colour, scale)
    image = image.reduce(shrink)
    angle = 0.0 if rng.random() < max(ease, 0.3) else rng.uniform(-1, 1) * min(6.0, 500.0 / max(length, 50))
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    mx, my = x + length / 2, y - cap / 2
    if angle:
        image = image.rotate(angle, Image.BICUBIC, center=(mx * zoom, my * zoom), fillcolor=ground)
    characters = [(c, mx + (cx - mx) * cos, my - (cx - mx) * sin, i + 1) for i, (c, cx) in enumerate(placed)]
    cells = empty_cells(w, h)
    put_slots(cells, w, h, characters)
    pixels = Wear(rng, (0,) if rng.random() < ease else (0, 3, 6, 10)).put(image, rng)
    turns = [(pick(rng, is_chinese(rng), ("Read the text.", "What does it say?"), ("读出文字。", "上面写着什么？")), string,
              {"n": len(string), "points": read_points(0, characters, w, h)}) for _ in range(n_turn)]
    return {"task": "text", "media": [Picture(pixels, cells)], "turns": turns}


def page(rng, n_turn=0, size=None, ease=0.0):
    """Lines of text, each in a font of its own, without a question: for the cells only."""
    w, h = size or (224, 128)
    ground = ground_colour(rng) if rng.random() < 0.8 else tuple(rng.randint(10, 60) for _ in range(3))
    scale = 2 if rng.random() < 0.3 else 1
    image = Image.new("RGB", (w * scale, h * scale), ground)
    cells, characters, y = empty_cells(w, h), [], rng.uniform(0, 12)
    while True:
        face_i = rng.randrange(EASY_FONTS if rng.random() < ease else len(FONTS))
        points = round(17 + 23 * rng.random() ** 2)
        y += points * 0.75 + rng.uniform(3, 10)
        if y > h - 4:
            break
        string, x = "", rng.uniform(2, 30)
        while True:
            more = string + "".join(rng.choice(CHARACTERS) for _ in range(rng.randint(1, 4)))
            if x + font(face_i, points).getlength(more) > w - 3 or len(more) > 30:
                break
            string = more
        colour = ink(rng, ground, rng.randint(70, 220) if rng.random() >= ease else 200)
        placed = put_text(ImageDraw.Draw(image), (x, y), string, face_i, points, colour, scale)
        characters += [(c, cx, y - points * 0.36, -1) for c, cx in placed]
    put_slots(cells, w, h, characters)
    image = image.reduce(scale)
    return {"task": "page", "media": [Picture(Wear(rng, (0, 0, 3, 6)).put(image, rng), cells)], "turns": []}


# ---- forms ---------------------------------------------------------------------------------------

def field_value(rng, key):
    digits = lambda k: random_digits(rng, k)
    amount = lambda most: f"{rng.randint(0, most)}.{digits(2)}"
    return {"no": lambda: rng.choice(LETTERS) + "-" + digits(rng.choice((3, 4))),
            "date": lambda: random_date(rng),
            "time": lambda: random_time(rng),
            "name": lambda: "".join(rng.choice(LETTERS) for _ in range(rng.randint(3, 6))),
            "item": lambda: "".join(rng.choice(LETTERS) for _ in range(2)) + digits(2),
            "qty": lambda: str(rng.randint(1, 99)),
            "tax": lambda: amount(99), "total": lambda: ("$" if rng.random() < 0.4 else "") + amount(999)}[key]()


def form_size(rng):
    return rng.choice((192, 224)), rng.choice((160, 192))


def form(rng, n_turn=1, size=None, ease=0.0, zoom=1):
    w, h = size or form_size(rng)
    n = rng.randint(4, 6)
    keys = sorted(rng.sample(range(len(KEYS)), n))
    if rng.random() < 0.3:
        rng.shuffle(keys)
    han = rng.random() < 0.3
    face_i = rng.randrange(EASY_FONTS if rng.random() < ease else len(FONTS))
    points = rng.randint(17, 21)
    face = font(face_i, points)
    ground = ground_colour(rng)
    colour = ink(rng, ground, rng.randint(130, 220))
    shrink = 2 if rng.random() < 0.3 else 1
    scale = shrink * zoom
    image = Image.new("RGB", (w * scale, h * scale), ground)
    pen = ImageDraw.Draw(image)
    pitch = min(rng.uniform(24, 34), (h - 12) / n)
    top = rng.uniform(4, h - 8 - pitch * n)
    left = rng.uniform(4, 12)
    is_right = rng.random() < 0.5
    column = left + rng.uniform(62, 70)
    cells = empty_cells(w, h)
    characters, fields, read = [], {}, {}
    if rng.random() < 0.4:
        pen.rectangle([v * scale for v in (left - 3, top - 1, w - 4, top + pitch * n + 3)], outline=colour, width=scale)
    for row, k in enumerate(keys):
        key = KEYS[k]
        label = LABELS[key][-1] if han else rng.choice(LABELS[key][:-1])
        baseline = top + pitch * row + pitch * 0.5 + points * 0.36
        label_font = han_font(points * scale) if han else font(face_i, min(points, 18) * scale)
        pen.text((left * scale, baseline * scale), label, font=label_font, fill=colour, anchor="ls")
        value = field_value(rng, key)
        length = face.getlength(value)
        x = w - 8 - length if is_right or column + length > w - 6 else column
        y = baseline - points * 0.36
        placed = put_text(pen, (x, baseline), value, face_i, points, colour, scale)
        read[key] = [(c, cx, y, i + 1) for i, (c, cx) in enumerate(placed)], [(c, left + 12, y, 0) for c in f'"{key}":"']
        characters += read[key][0]
        fields[key] = value
        if 0 <= y < h:
            cells[cell_at(left + 12, y, w), CELL_KEY] = k + 1
    put_slots(cells, w, h, characters)
    image = image.reduce(shrink)
    if rng.random() > max(ease, 0.5):
        image = image.rotate(rng.uniform(-1.2, 1.2), Image.BICUBIC, fillcolor=ground)
    pixels = Wear(rng, (0, 2, 4)).put(image, rng)
    zh = is_chinese(rng)
    turns = []
    for i in range(n_turn):
        zh = is_chinese(rng)
        if i == 0 or rng.random() < 0.5:
            q = pick(rng, zh, ("Read the form as JSON.", "Return the fields as JSON."), ("把表单读成JSON。", "以JSON返回字段。"))
            answer, points = "{", []
            for key, value in fields.items():
                for part, characters in ((f'"{key}":"', read[key][1]), (value, read[key][0])):
                    points += read_points(len(answer), characters, w, h)
                    answer += part
                answer += '",'
            answer = answer[:-1] + "}"
        else:
            key = rng.choice(list(fields))
            q = f"{key}是什么？" if zh else f"What is the {key}?"
            answer, points = fields[key], read_points(0, read[key][0], w, h)
        turns.append((q, answer, {"points": points}))
    return {"task": "form", "media": [Picture(pixels, cells)], "turns": turns}


# ---- several pictures ----------------------------------------------------------------------------

def changed(rng, things, w, h):
    """The things after one change, and what is said of it in both languages."""
    kind = rng.choice(("colour", "gone", "new"))
    if kind == "new":
        for _ in range(300):
            t = random_thing(rng, w, h, max(9.0, rng.uniform(0.1, 0.2) * min(w, h)), {(o.shape, o.colour) for o in things})
            if is_apart(t, things):
                return things + [t], (f"{article(t.name(False)).capitalize()} was added.", f"多了{t.name(True)}。")
        kind = "gone"
    i = rng.randrange(len(things))
    t = things[i]
    if kind == "gone":
        return things[:i] + things[i + 1:], (f"The {t.name(False)} is gone.", f"{t.name(True)}不见了。")
    new = recoloured(rng, t, things)
    return things[:i] + [new] + things[i + 1:], (f"The {t.name(False)} became {COLOURS[new.colour][0]}.",
                                                 f"{t.name(True)}变成了{COLOURS[new.colour][1]}。")


def recoloured(rng, t, things):
    taken = {(o.shape, o.colour) for o in things}
    while True:
        colour = rng.randrange(len(COLOURS))
        if (t.shape, colour) not in taken:
            return Thing(t.shape, colour, t.x, t.y, t.r, t.angle, COLOURS[colour][2])


def differ(rng, n_turn=1, size=None, zoom=1):
    w, h = size or scene_size(rng)
    ground, wear = ground_colour(rng), Wear(rng, (0, 2, 5))
    before = random_things(rng, rng.choice((2, 3, 3)), w, h)
    after, said = changed(rng, before, w, h)
    media = []
    for things in (before, after):
        image, mask = draw_things(things, w, h, ground, zoom)
        media.append(Picture(wear.put(image, rng), shape_cells(things, mask)))
    turns = []
    for _ in range(n_turn):
        zh = is_chinese(rng)
        q = pick(rng, zh, ("What differs?", "What changed from the first picture to the second?"),
                 ("有什么不同？", "第二张图和第一张比有什么变化？"))
        turns.append((q, said[zh], {}))
    point(turns, cells_by_name(w, h, before, after))
    return {"task": "differ", "media": media, "turns": turns}


# ---- clips ---------------------------------------------------------------------------------------

FPS = 4
EVENTS = [("appears", "出现"), ("leaves", "消失"), ("turns", "变成")]


def chosen_frames(n_frame, fps):
    """The frames that the reference takes of a clip at FPS: evenly spread, first and last among them."""
    n = min(max(int(n_frame / fps * FPS), 4), 768, n_frame)
    return np.linspace(0, n_frame - 1, n).round().astype(int).tolist()


def pair_times(times):
    return [(times[i] + times[i + 1]) / 2 for i in range(0, len(times), 2)]


def make_clip(rng, w, h, seconds, n_event, taken=frozenset(), zoom=1):
    """A clip of things at rest, some of which appear, leave or change colour. Gives the clip and its events:
    (index of EVENTS, thing, colour after or None, true second, second to be said)."""
    fps = rng.choice((8, 10, 12))
    n_frame = max(8, round(seconds * fps))
    index = chosen_frames(n_frame, fps)
    index += [index[-1]] * (len(index) % 2)
    times = [i / fps for i in index]
    pairs = pair_times(times)
    # Events do not fall on the first or the last pair, and not two on one.
    moments = rng.sample(range(1, len(pairs)), min(n_event, len(pairs) - 1))
    moments.sort()
    ground = ground_colour(rng)
    n_thing = n_event + rng.choice((0, 1))
    while True:
        things = random_things(rng, n_thing, w, h, 0, (0.14, 0.22))
        if not any((t.shape, t.colour) in taken for t in things):
            break
    state = {}  # thing: (first frame of the source after its event, Thing or None before it, and after it)
    events = []
    for moment, t in zip(moments, rng.sample(things, len(moments))):
        first = rng.randint(index[2 * moment - 1] + 1, index[2 * moment + 1])
        kind = rng.randrange(3)
        new = recoloured(rng, t, things) if kind == 2 else None
        state[t] = (first, None if kind == 0 else t, t if kind == 0 else new)
        events.append((kind, t, new.colour if new else None, first / fps, pairs[moment]))
    frames, cells, drawn, stills = [], [], {}, []
    wear = Wear(rng, (0, 2, 4))
    for j, i in enumerate(index):
        now = [t if t not in state else state[t][2] if i >= state[t][0] else state[t][1] for t in things]
        present = [t for t in now if t]
        key = tuple(t is not None and id(t) for t in now)
        if key not in drawn:
            image, mask = draw_things(present, w, h, ground, zoom)
            drawn[key] = image, shape_cells(present, mask)
            stills.append((max([first for first, _, _ in state.values() if first <= i], default=0), image))
        frames.append(wear.put(drawn[key][0], rng))
        if j % 2:
            cells.append(drawn[key][1])
    return Clip(np.stack(frames), times, (fps, n_frame, index), np.stack(cells), stills, wear), events


def said_second(t):
    return f"{t:.1f}"


def said_event(e, zh):
    kind, t, colour, _, at = e
    name, at = t.name(zh), said_second(at)
    if zh:
        return f"{name}在第{at}秒" + ("变成" + COLOURS[colour][1] if kind == 2 else EVENTS[kind][1])
    return f"the {name} {EVENTS[kind][0]} " + (COLOURS[colour][0] + " " if kind == 2 else "") + f"at {at} s"


def asked_event(kind, colour, zh):
    """As it stands in a question: "appear", "leave", "turn red"."""
    if zh:
        return EVENTS[kind][1] + (COLOURS[colour][1] if kind == 2 else "")
    return ("appear", "leave", "turn")[kind] + (" " + COLOURS[colour][0] if kind == 2 else "")


def clip_size(rng, seconds):
    """Frames that the demo model's processor leaves as they are: CLIP_PIXELS in demo_model.py bounds all together."""
    if seconds < 4.8:
        return rng.choice(((64, 64), (96, 96), (128, 128)))
    if seconds < 8.5:
        return rng.choice(((64, 64), (96, 64), (96, 96)))
    return 64, 64


def event_turns(rng, events, n_turn):
    """Questions about one clip."""
    turns = []
    for _ in range(n_turn):
        zh, kind = is_chinese(rng), rng.random()
        e = rng.choice(events)
        if kind < 0.4:
            q = pick(rng, zh, ("What happens, and when?", "What happens at which second?"), ("发生了什么？什么时候？", "第几秒发生了什么？"))
            answer = "；".join(said_event(x, zh) for x in events) + "。" if zh else (
                "; ".join(said_event(x, zh) for x in events) + ".")
            answer = answer[0].upper() + answer[1:]
            facts = {"seconds": [x[3] for x in events]}
        elif kind < 0.85 or len(events) < 2:
            k, t, colour, true, at = e
            if zh:
                q = f"{t.name(zh)}什么时候{asked_event(k, colour, zh)}？"
                answer = f"第{said_second(at)}秒。"
            else:
                q = f"When does the {t.name(zh)} {asked_event(k, colour, zh)}?"
                answer = f"At {said_second(at)} s."
            facts = {"seconds": [true]}
        else:
            a, b = events[0][1].name(zh), events[1][1].name(zh)
            q1, q2 = (a, b) if rng.random() < 0.5 else (b, a)
            q = f"{q1}和{q2}，哪个先变化？" if zh else f"Which changes first, the {q1} or the {q2}?"
            answer = f"{a}。" if zh else f"The {a}."
            facts = {}
        turns.append((q, answer, facts))
    return turns


def point_events(turns, clips, w, h):
    """Adds to turns the points of events: where they are and when. clips: (clip, its events)."""
    where, of_event, i_pair, n = {}, {}, 0, (w // CELL) * (h // CELL)
    for clip, events in clips:
        pairs = pair_times(clip.times)
        for e in events:
            at = i_pair + pairs.index(e[4])
            cells = [at * n + c for c in cells_under(e[1], w, h)]
            where[e[1].shape, e[1].colour] = cells
            of_event[e] = cells + [-1 - at]
        i_pair += len(pairs)
    for q, a, facts in turns:
        facts["points"] = mentions(q, False, where)
        if "event" in facts:
            facts["points"].append((True, 0, len(a), of_event[facts["event"]]))
        for e, cells in of_event.items():
            said = (re.escape(said_event(e, False)[1:]), said_event(e, True), f"(?<=[ 第]){said_second(e[4])}(?= s|秒)")
            facts["points"] += [(True, *m.span(), cells) for text in said for m in re.finditer(text, a)]


def which_clip(rng, events):
    """A question about two clips, each with one event."""
    zh, which = is_chinese(rng), rng.randrange(2)
    kind, t, colour, true, at = events[which][0]
    if zh:
        q = f"{t.name(zh)}在哪个视频里{asked_event(kind, colour, zh)}？"
        answer = ("第一个。", "第二个。")[which]
    else:
        q = f"In which clip does the {t.name(zh)} {asked_event(kind, colour, zh)}?"
        answer = ("The first.", "The second.")[which]
    return q, answer, {"event": events[which][0]}


def event(rng, n_turn=1, size=None, span=(2.5, 20), zoom=1, two=0.25):
    """span: the least and greatest length in seconds; where there are two clips, of both together. two: how often."""
    seconds = rng.uniform(*span)
    w, h = size or clip_size(rng, seconds)
    n_clip = 2 if 5 < seconds < 18 and rng.random() < two else 1
    seconds /= n_clip
    if n_clip == 2:
        clips = []
        taken = set()
        for _ in range(2):
            clip, events = make_clip(rng, w, h, seconds, 1, taken, zoom)
            clips.append((clip, events))
            taken |= {(t.shape, t.colour) for _, t, _, _, _ in events}
        turns = [which_clip(rng, [events for _, events in clips]) for _ in range(n_turn)]
        point_events(turns, clips, w, h)
        return {"task": "event", "media": [c for c, _ in clips], "turns": turns}
    n_event = rng.choice((1, 1, 2)) if seconds > 4 else 1
    clip, events = make_clip(rng, w, h, seconds, n_event, zoom=zoom)
    turns = event_turns(rng, events, n_turn)
    point_events(turns, [(clip, events)], w, h)
    return {"task": "event", "media": [clip], "turns": turns}


def sample(task, rng, **how):
    return {"scene": scene, "text": text, "form": form, "box": box, "event": event, "differ": differ,
            "page": page, "nest": nest}[task](rng, **how)


def score_sample(task, i, seed=0):
    """Sample i of the unseen ones: what scores and demo/ are made of."""
    return sample(task, random.Random(f"{SCORE_SEED + seed}/{task}/{i}"))
