"""Draws demo/shapes.png, the picture that `make demo` describes: coloured shapes and a line of text on white.

usage: draw_demo.py OUT.png
"""
import sys

from PIL import Image, ImageDraw

SIZE = (640, 480)
SCALE = 3  # drawn larger, then reduced, for smooth edges


def main() -> None:
    picture = Image.new("RGB", (SIZE[0] * SCALE, SIZE[1] * SCALE), "white")
    draw = ImageDraw.Draw(picture)

    def at(*xy: int) -> list[int]:
        return [v * SCALE for v in xy]

    draw.ellipse(at(60, 60, 240, 240), fill=(214, 40, 40))
    draw.rectangle(at(330, 90, 560, 230), fill=(29, 78, 216))
    draw.polygon(at(150, 290, 60, 440, 240, 440), fill=(22, 163, 74))
    draw.rectangle(at(330, 290, 560, 430), outline=(20, 20, 20), width=4 * SCALE)
    draw.ellipse(at(400, 315, 490, 405), fill=(250, 176, 5))
    picture.resize(SIZE, Image.LANCZOS).save(sys.argv[1], optimize=True)


if __name__ == "__main__":
    main()
