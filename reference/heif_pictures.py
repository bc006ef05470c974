"""Makes the HEIC and AVIF pictures of tests/unit/media/data/heif, and beside each NAME.png with the pixels expected.

    python reference/heif_pictures.py [--check]     needs Pillow 13 with AVIF; to make: heif-enc 1.15, avifenc 0.11

HEIC is coded without loss but for the change to YCbCr: what went in is expected. Of AVIF, what Pillow (libavif) makes of
it, oriented and over white. --check asks Pillow again about the committed AVIF pictures; it makes none.
"""
import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib

import numpy as np
from PIL import Image, ImageChops, ImageOps

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests/unit/media/data/heif"
W, H = 45, 31  # both odd
LARGE = 8064, 6048  # what phones make; all of one colour, and no .png beside it
LARGE_COLOUR = 200, 120, 60
WITHOUT_LOSS = ["-L", "-p", "chroma=444"]


def picture(w=W, h=H, n_channel=3):
    """Gentle in colour, so that chroma of half the resolution stays near; alpha from 0 to 255."""
    y, x = np.mgrid[0:h, 0:w]
    a = np.stack([30 + 190 * x // w, 40 + 180 * y // h, 200 - 90 * (x + y) // (w + h), 255 * x // (w - 1)], -1)
    return Image.fromarray(a[..., :n_channel].astype(np.uint8))


def write_png16(path, a):
    """Pillow writes no RGB of 16 bits."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in a)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", a.shape[1], a.shape[0], 16, 2, 0, 0, 0))
                     + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def over_white(im):
    if "A" not in im.mode:
        return im.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", im.size, "white"), im.convert("RGBA")).convert("RGB")


def pillow(path):
    return over_white(ImageOps.exif_transpose(Image.open(path)))


def run(*args):
    subprocess.run(list(map(str, args)), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def heic(name, im, *options):
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "in.png"
        im.save(source)
        run("heif-enc", source, *options, "-o", OUT / name)
    over_white(im).save(OUT / f"{name}.png")


def make():
    OUT.mkdir(parents=True, exist_ok=True)
    heic("odd.heic", picture(), *WITHOUT_LOSS)
    heic("420.heic", picture(64, 48), "-L", "-p", "chroma=420")
    heic("alpha.heic", picture(n_channel=4), *WITHOUT_LOSS)
    heic("grey.heic", picture().convert("L"), *WITHOUT_LOSS)
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "in.png"
        fine = np.array(picture()).astype(int) * 257
        write_png16(source, fine)
        run("heif-enc", source, "-b", 10, *WITHOUT_LOSS, "-o", OUT / "10bit.heic")
        for n_bit in (10, 12):
            run("avifenc", "-d", n_bit, "-y", 444, "-s", 8, "--min", 5, "--max", 10, source, OUT / f"{n_bit}bit.avif")
        picture().save(OUT / "10bit.heic.png")
        write_png16(source, np.broadcast_to(np.array(LARGE_COLOUR) * 257, (*LARGE[::-1], 3)))
        run("heif-enc", source, "-b", 10, "-L", "-p", "chroma=420", "-p", "preset=ultrafast", "-o", OUT / "large.heic")
        picture(n_channel=4).save(source)
        run("heif-enc", source, "-A", *WITHOUT_LOSS, "-o", OUT / "alpha-lossless.avif")
        picture(128, 128).save(source)
        run("avifenc", "--grid", "2x2", "-y", "444", "-s", 8, "--min", 10, "--max", 20, source, OUT / "grid.avif")
    picture().save(OUT / "odd.avif", quality=90, subsampling="4:4:4")
    picture().save(OUT / "420.avif", quality=90, subsampling="4:2:0")
    picture().convert("L").save(OUT / "grey.avif", quality=90, subsampling="4:0:0")
    picture(n_channel=4).save(OUT / "alpha.avif", quality=90, subsampling="4:4:4")
    picture(n_channel=4).save(OUT / "premultiplied.avif", quality=95, subsampling="4:4:4", alpha_premultiplied=True)
    for i in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = i
        picture().save(OUT / f"turned-{i}.avif", quality=90, subsampling="4:4:4", exif=exif)
    for path in OUT.glob("*.avif"):
        pillow(path).save(f"{path}.png")


def main():
    if "--check" not in sys.argv:
        make()
    names = sorted(OUT.glob("*.avif"))
    differ = [p.name for p in names if ImageChops.difference(pillow(p), Image.open(f"{p}.png")).getbbox()]
    print(f"not ok AVIF pictures differ: {differ}" if differ or not names else f"ok {len(names)} AVIF pictures equal")
    return bool(differ or not names)


if __name__ == "__main__":
    sys.exit(main())
