"""Small pictures of every kind that qvl-media reads, and what Pillow makes of them.

Writes tests/unit/media/data: the pictures; expected.txt with one line each (name, width, height, SHA-256 of the RGB
bytes, first and last pixel); photos.txt, the same for the photographs in QVL_DATA/photos.

Expected pixels are Pillow's: exif_transpose, alpha_composite over white where the picture has transparency, RGB.
Where qvl deliberately differs (16 bits per sample are rounded to 8) they are computed here from the samples. PNG and
TIFF files that Pillow cannot write are written here byte by byte.

usage: picture_vectors.py [--check]            needs Pillow 13 and numpy

--check writes elsewhere and compares. Without the photographs photos.txt stays as it is.
"""
import hashlib
import os
import shutil
import struct
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

ROOT = Path(__file__).resolve().parent.parent
COMMITTED = ROOT / "tests/unit/media/data"
OUT = COMMITTED  # --check: a folder of its own
PHOTOS = Path(os.environ.get("QVL_DATA", ROOT.parent / "shared/data")) / "photos"
ORIENTATION = 0x0112
lines = []


def noise(shape, seed, top=256):
    return np.random.default_rng(seed).integers(0, top, shape)


def picture(w, h):
    """Smooth in parts, with edges: something that compression and upsampling leave traces in."""
    y, x = np.mgrid[0:h, 0:w]
    a = np.stack([(x * 9 + y * 5) % 256, (x * y * 3 + 40) % 256, np.where((x // 4 + y // 3) % 2, 230, 20)], -1)
    return Image.fromarray(a.astype(np.uint8))


def over_white(im):
    im = im.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", im.size, (255, 255, 255, 255)), im).convert("RGB")


def pillow(path):
    im = ImageOps.exif_transpose(Image.open(path))
    has_alpha = im.mode in ("RGBA", "LA", "PA") or "transparency" in im.info
    return over_white(im) if has_alpha else im.convert("RGB")


def line(name, im):
    rgb, (w, h) = im.tobytes(), im.size
    first, last = rgb[:3].hex(), rgb[-3:].hex()
    return f"{name} {w} {h} {hashlib.sha256(rgb).hexdigest()} {first} {last}\n"


def expect(name, pixels=None):
    """pixels: the expected array where it is not Pillow's to say."""
    im = pillow(OUT / name) if pixels is None else Image.fromarray(np.asarray(pixels).astype(np.uint8))
    lines.append(line(name, im))


def save(name, im, **options):
    im.save(OUT / name, **options)
    expect(name)


def to8(v):
    return (np.asarray(v).astype(int) * 255 + 32767) // 65535


def grey(v):
    return np.dstack([v] * 3)


def blend(rgb, alpha):
    return np.asarray(over_white(Image.fromarray(np.dstack([rgb, alpha]).astype(np.uint8))))


# ---- PNG, byte by byte ------------------------------------------------------------------------------------------
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed_rows(a, depth):
    if depth == 16:
        return [r.astype(">u2").tobytes() for r in a]
    if depth == 8:
        return [r.astype("u1").tobytes() for r in a]
    bits = [((r.reshape(-1, 1) >> np.arange(depth - 1, -1, -1)) & 1).ravel() for r in a]
    return [np.packbits(b.astype(np.uint8)).tobytes() for b in bits]


def filtered_up(rows):
    """Each row as the difference to the one above (filter 2)."""
    a = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)
    return b"".join(b"\2" + r.tobytes() for r in np.diff(a, axis=0, prepend=np.zeros_like(a[:1])))


def png_bytes(a, kind, depth, interlaced=False, before=b"", after=b"", up=False):
    h, w = a.shape[:2]
    passes = [a[y::dy, x::dx] for x, y, dx, dy in ADAM7] if interlaced else [a]
    raw = b"".join(b"\0" + r for p in passes if p.size for r in packed_rows(p, depth))
    if up:
        raw = filtered_up(packed_rows(a, depth))
    head = struct.pack(">IIBBBBB", w, h, depth, kind, 0, 0, int(interlaced))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + before + chunk(b"IDAT", zlib.compress(raw, 9)) + after
            + chunk(b"IEND", b""))


def png(name, *args, pixels=None, **kw):
    (OUT / name).write_bytes(png_bytes(*args, **kw))
    expect(name, pixels)


def all_pngs():
    w, h = 11, 9
    for inter in (False, True):
        s = "i" if inter else ""
        for depth in (1, 2, 4, 8, 16):
            a = noise((h, w), depth, 1 << depth)
            is16 = depth == 16
            png(f"grey{depth}{s}.png", a, GREY, depth, inter, pixels=grey(to8(a)) if is16 else None)
            key = struct.pack(">H", a[2, 3])
            # Pillow compares the key of 2 and 4 bits with stretched samples; the key is a sample (PNG 11.3.2.1).
            full, stretched = np.where(a == a[2, 3], 0, 255), to8(a) if is16 else a * 255 // ((1 << depth) - 1)
            png(f"grey{depth}key{s}.png", a, GREY, depth, inter, chunk(b"tRNS", key),
                pixels=blend(grey(stretched), full) if depth in (2, 4, 16) else None)
            if depth <= 8:
                n = 1 << depth
                table = chunk(b"PLTE", noise((n, 3), 7).astype(np.uint8).tobytes())
                png(f"palette{depth}{s}.png", a, PALETTE, depth, inter, table)
                alpha = chunk(b"tRNS", noise(n - n // 3, 8).astype(np.uint8).tobytes())
                png(f"palette{depth}alpha{s}.png", a, PALETTE, depth, inter, table + alpha)
        for depth in (8, 16):
            is16 = depth == 16
            c, ca, ga = (noise((h, w, n), n + depth, 1 << depth) for n in (3, 4, 2))
            png(f"rgb{depth}{s}.png", c, RGB, depth, inter, pixels=to8(c) if is16 else None)
            key = (c == c[1, 1]).all(-1)
            png(f"rgb{depth}key{s}.png", c, RGB, depth, inter, chunk(b"tRNS", struct.pack(">3H", *c[1, 1])),
                pixels=blend(to8(c) if is16 else c, np.where(key, 0, 255)))
            png(f"rgba{depth}{s}.png", ca, RGBA, depth, inter,
                pixels=blend(to8(ca[..., :3]), to8(ca[..., 3])) if is16 else None)
            png(f"ga{depth}{s}.png", ga, GREY_ALPHA, depth, inter,
                pixels=blend(grey(to8(ga[..., 0])), to8(ga[..., 1])) if is16 else None)
    v = np.arange(256)
    png("over_white.png", np.dstack(np.meshgrid(v, v)), GREY_ALPHA, 8, up=True)  # every value at every alpha
    every = np.arange(65536).reshape(256, 256)
    png("every16.png", every, GREY, 16, up=True, pixels=grey(to8(every)))
    png("short_palette.png", noise((9, 11), 4, 4), PALETTE, 2, before=chunk(b"PLTE", bytes(range(9))))
    c = noise((9, 11, 3), 5)
    exif = chunk(b"eXIf", b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0")
    png("exif_behind.png", c, RGB, 8, after=exif)
    junk = chunk(b"iCCP", b"x\0\0" + zlib.compress(b"no profile")) + chunk(b"gAMA", struct.pack(">I", 10000))
    png("junk_chunks.png", c, RGB, 8, before=junk + chunk(b"zTXt", b"k\0\0" + zlib.compress(b"a" * 100000)),
        pixels=c)


# ---- TIFF, byte by byte -----------------------------------------------------------------------------------------
def tiff(name, a, photometric, depth, order="<", extra=None, orientation=1, rows=None, colours=None, deflate=False,
         pixels=None):
    h, w = a.shape[:2]
    n = a.shape[2] if a.ndim == 3 else 1
    rows = rows or h
    data = [r.astype(order + "u2").tobytes() for r in a] if depth == 16 else packed_rows(a, depth)
    strips = [b"".join(data[y:y + rows]) for y in range(0, h, rows)]
    strips = [zlib.compress(s) for s in strips] if deflate else strips
    out = bytearray((b"II*\0" if order == "<" else b"MM\0*") + bytes(4))
    offsets = []
    for s in strips:
        offsets.append(len(out))
        out += s
    tags = {256: ("H", [w]), 257: ("H", [h]), 258: ("H", [depth] * n), 259: ("H", [8 if deflate else 1]),
            262: ("H", [photometric]), 273: ("L", offsets), 274: ("H", [orientation]), 277: ("H", [n]),
            278: ("L", [rows]), 279: ("L", [len(s) for s in strips])}
    if extra is not None:
        tags[338] = ("H", [extra])
    if colours is not None:
        tags[320] = ("H", list(colours.ravel() * 257))
    entries = b""
    for tag, (kind, values) in sorted(tags.items()):
        value = struct.pack(order + kind * len(values), *values)
        if len(value) > 4:
            out += b"\0" * (len(out) % 2)
            at, value = len(out), bytes(value)
            out += value
            value = struct.pack(order + "L", at)
        entries += struct.pack(order + "HHL", tag, 3 if kind == "H" else 4, len(values)) + value.ljust(4, b"\0")
    out += b"\0" * (len(out) % 2)
    struct.pack_into(order + "L", out, 4, len(out))
    (OUT / name).write_bytes(bytes(out) + struct.pack(order + "H", len(tags)) + entries + bytes(4))
    if pixels is not False:
        expect(name, pixels)


def all_tiffs():
    h, w = 9, 11
    g8, g16, bits = noise((h, w), 1), noise((h, w), 2, 65536), noise((h, w), 3, 2)
    c8, c16 = noise((h, w, 3), 4), noise((h, w, 3), 5, 65536)
    a8, a16 = noise((h, w, 4), 6), noise((h, w, 4), 7, 65536)
    for order, s in (("<", "le"), (">", "be")):
        tiff(f"grey8{s}.tif", g8, 1, 8, order)
        tiff(f"white0_{s}.tif", g8, 0, 8, order)
        tiff(f"grey16{s}.tif", g16, 1, 16, order, pixels=grey(to8(g16)))
        tiff(f"bits{s}.tif", bits, 1, 1, order)
        tiff(f"bits0_{s}.tif", bits, 0, 1, order)
        tiff(f"rgb8{s}.tif", c8, 2, 8, order, rows=4)
        tiff(f"rgb16{s}.tif", c16, 2, 16, order, rows=4, deflate=True, pixels=to8(c16))
        tiff(f"rgba8{s}.tif", a8, 2, 8, order, extra=2)
        tiff(f"rgba16{s}.tif", a16, 2, 16, order, extra=2, pixels=blend(to8(a16[..., :3]), to8(a16[..., 3])))
        tiff(f"rgbx8{s}.tif", a8, 2, 8, order, extra=0, pixels=a8[..., :3])
        tiff(f"ga8{s}.tif", a8[..., :2], 1, 8, order, extra=2)
        tiff(f"palette8{s}.tif", g8, 3, 8, order, colours=noise((3, 256), 8))
        tiff(f"palette4{s}.tif", g8 & 15, 3, 4, order, colours=noise((3, 16), 9))
    for o in range(1, 9):
        tiff(f"exif{o}.tif", c8, 2, 8, orientation=o)
    tiff("cmyk.bad.tif", a8, 5, 8, pixels=False)
    tiff("premultiplied.bad.tif", a8, 2, 8, extra=1, pixels=False)


# ---- what Pillow writes -----------------------------------------------------------------------------------------
def all_jpegs():
    for w, h in [(1, 1), (1, 2), (2, 1), (3, 3), (17, 13), (40, 33)]:
        for sub, s in enumerate(("444", "422", "420")):
            save(f"{w}x{h}_{s}.jpg", picture(w, h), quality=80, subsampling=sub)
    p = picture(33, 25)
    save("progressive.jpg", p, quality=70, progressive=True)
    save("progressive444.jpg", p, quality=70, progressive=True, subsampling=0)
    save("411.jpg", p, quality=70, subsampling="4:1:1")
    save("restart.jpg", p, quality=70, restart_marker_blocks=1)
    save("grey.jpg", p.convert("L"))
    save("rgb.jpg", p, keep_rgb=True)
    save("cmyk_noise.jpg", Image.fromarray(noise((25, 33, 4), 1).astype(np.uint8), "CMYK"))
    save("cmyk.jpg", Image.new("CMYK", (8, 8), (10, 50, 100, 20)), quality=100)
    assert pillow(OUT / "cmyk.jpg").getpixel((0, 0)) == (226, 189, 143)


def with_orientation(o):
    exif = Image.Exif()
    exif[ORIENTATION] = o
    exif[0x010E] = "a description before the tag that matters"
    return exif


def all_others():
    p, (w, h) = picture(19, 14), (19, 14)
    rgba = Image.fromarray(np.dstack([np.asarray(p), noise((h, w), 2)]).astype(np.uint8))
    for o in range(1, 9):
        save(f"exif{o}.jpg", p, exif=with_orientation(o))
        save(f"exif{o}.png", p, exif=with_orientation(o))
        save(f"exif{o}.webp", p, exif=with_orientation(o), lossless=True)
    save("exif9.jpg", p, exif=with_orientation(9))
    save("lossy.webp", picture(40, 33), quality=60)
    save("lossy_alpha.webp", rgba, quality=60)
    save("lossless.webp", p, lossless=True)
    save("lossless_alpha.webp", rgba, lossless=True)
    save("animated.webp", rgba, save_all=True, append_images=[rgba.rotate(180)], lossless=True)
    save("1x1.webp", picture(1, 1), lossless=True)
    save("grey.gif", p.convert("L"))
    save("palette.gif", p.quantize(11))
    save("key.gif", p.quantize(11), transparency=3)
    save("animated.gif", p, save_all=True, append_images=[p.rotate(180)])
    save("1x1.gif", picture(1, 1))
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        save(f"{mode}.bmp", (rgba if mode == "RGBA" else p).convert(mode))
    save("palette4.bmp", p.quantize(11))
    save("lzw.tif", p, compression="tiff_lzw")
    save("packbits.tif", p, compression="packbits")
    save("fax4.tif", p.convert("1"), compression="group4")
    p.save(OUT / "jpeg.bad.tif", compression="jpeg")
    webp_frame_inside_canvas()


def webp_frame_inside_canvas():
    """An animation whose first frame covers a part of the canvas; Pillow itself never writes one."""
    frame = picture(5, 4)
    frame.save(OUT / "tmp.webp", lossless=True)
    vp8l = (OUT / "tmp.webp").read_bytes()[12:]
    (OUT / "tmp.webp").unlink()
    le24 = lambda v: struct.pack("<I", v)[:3]
    part = lambda kind, data: kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    anmf = le24(2) + le24(1) + le24(4) + le24(3) + le24(100) + b"\0" + vp8l
    for flags, name in ((0x12, "inset_alpha.webp"), (0x02, "inset.webp")):
        body = part(b"VP8X", bytes([flags, 0, 0, 0]) + le24(11) + le24(8))
        body += part(b"ANIM", bytes(6)) + part(b"ANMF", anmf)
        (OUT / name).write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body)
        expect(name)


def files(folder):
    """Those of this script: heif_pictures.py has a folder of its own inside."""
    return [p for p in folder.iterdir() if p.is_file()]


def write_all():
    for old in files(OUT):
        if old.name != "photos.txt":
            old.unlink()
    all_jpegs()
    all_pngs()
    all_tiffs()
    all_others()
    (OUT / "expected.txt").write_text("".join(sorted(lines)))
    if PHOTOS.is_dir():
        (OUT / "photos.txt").write_text("".join(line(p.name, pillow(p)) for p in sorted(PHOTOS.iterdir())))
    else:
        print("SKIP: no photographs: photos.txt is not made again")
    print(len(lines), "pictures,", sum(p.stat().st_size for p in files(OUT)), "bytes")


def is_same(a, b):
    """Equal bytes, or the same picture: another zlib packs the same pixels differently."""
    if a.read_bytes() == b.read_bytes():
        return True
    if a.suffix == ".txt":
        return False
    x, y = Image.open(a), Image.open(b)
    return (x.mode, x.size, dict(x.getexif()), x.tobytes()) == (y.mode, y.size, dict(y.getexif()), y.tobytes())


def main():
    global OUT
    if "--check" not in sys.argv:
        OUT.mkdir(parents=True, exist_ok=True)
        write_all()
        return 0
    with tempfile.TemporaryDirectory() as folder:
        OUT = Path(folder)
        shutil.copy(COMMITTED / "photos.txt", OUT)
        write_all()
        names = {p.name for p in files(OUT)} | {p.name for p in files(COMMITTED)}
        differ = [n for n in sorted(names) if not ((OUT / n).exists() and (COMMITTED / n).exists()
                                                   and is_same(OUT / n, COMMITTED / n))]
    print(f"not ok {differ} differ" if differ else "ok pictures equal")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
