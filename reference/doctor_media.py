"""Makes src/cli/doctor_media.h: a tiny picture or clip in each format that `qvl doctor` tries, all of one colour.

    python reference/doctor_media.py      needs Pillow 13 with AVIF, PyAV 18 (libx264, libx265, libvpx, SVT-AV1), heif-enc

Encoders of other versions write other bytes: there is no --check. What is in the file is shown by tests/e2e/test_doctor.sh,
where qvl decodes it.
"""
import io
import pathlib
import subprocess
import tempfile

import av
import numpy as np
from PIL import Image

OUT = pathlib.Path(__file__).resolve().parent.parent / "src/cli/doctor_media.h"
COLOUR = 200, 60, 40
PICTURES = {"PNG": {"optimize": True}, "JPEG": {"quality": 50, "optimize": True}, "WebP": {"quality": 50},
            "AVIF": {"quality": 50}}
CLIPS = {"H.264": ("libx264", "mp4", {"crf": "30", "x264-params": "no-info=1"}),
         "H.265": ("libx265", "mp4", {"crf": "30", "x265-params": "info=0:log-level=none"}),
         "VP9": ("libvpx-vp9", "webm", {"crf": "40"}), "AV1": ("libsvtav1", "mp4", {})}


def flat(size):
    return np.full((size, size, 3), COLOUR, np.uint8)


def picture(kind, options):
    out = io.BytesIO()
    Image.fromarray(flat(32)).save(out, kind, **options)
    return out.getvalue()


def heic():
    with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder) / "in.png", pathlib.Path(folder) / "out.heic"
        Image.fromarray(flat(32)).save(source)
        subprocess.run(["heif-enc", "-q", "50", "--no-thumb-alpha", source, "-o", target], check=True, capture_output=True)
        return target.read_bytes()


def clip(codec, container, options):
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=2, options=options)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(2):
            for packet in stream.encode(av.VideoFrame.from_ndarray(flat(64), format="rgb24")):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)
    return out.getvalue()


def main():
    media = [(name, "IMAGE", picture(name, o)) for name, o in PICTURES.items()]
    media.insert(3, ("HEIC", "IMAGE", heic()))
    media += [(name, "VIDEO", clip(*how)) for name, how in CLIPS.items()]
    lines = ["/* Made by reference/doctor_media.py: pictures of 32 x 32 and clips of 64 x 64 pixels, all of one colour. */",
             "/* clang-format off */"]
    for name, kind, data in media:
        lines.append(f"static const uint8_t tiny_{name.replace('.', '').lower()}[] = {{")
        row = ""
        for byte in data:
            if len(row) > 110:
                lines.append(row)
                row = ""
            row += f"{byte},"
        lines += [row, "};"]
    lines.append("#define QVL_DOCTOR_MEDIA(X) \\")
    lines += [f'    X("{name}", QVL_PART_{kind}, tiny_{name.replace(".", "").lower()}) \\' for name, kind, _ in media]
    OUT.write_text("\n".join(lines)[:-2] + "\n/* clang-format on */\n")


if __name__ == "__main__":
    main()
