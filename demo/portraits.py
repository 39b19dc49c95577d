"""Made-up portraits: drawn, not photographed, the same for the same number."""

import io
import random

from PIL import Image, ImageDraw, ImageFilter

SIZE = (354, 472)  # 3 x 4 cm at 300 dpi
SKIN = ("#f1c9a5", "#e8b98d", "#dba77a", "#f4d3b5")
HAIR = ("#1b1411", "#2a1d17", "#15100e", "#3a2a20", "#6b6b6b")
CLOTH = ("#ffffff", "#dfe8f3", "#23395d", "#2f4f3e", "#5a2a34", "#f3e9d2")
WALL = ("#cfe0ee", "#d9e6f2", "#c9d8e6", "#e3ebf2")


def draw_portrait(seed: str, is_female: bool, age: int) -> bytes:
    """Draw a face as a JPEG of SIZE; the same seed gives the same bytes with the same Pillow."""
    dice = random.Random(f"portrait {seed}")
    image = Image.new("RGB", SIZE, dice.choice(WALL))
    pen = ImageDraw.Draw(image)
    width, height = SIZE
    x, y = width // 2 + dice.randint(-4, 4), int(height * 0.44) + dice.randint(-6, 6)
    wide, tall = dice.randint(84, 96), dice.randint(112, 126)
    skin = dice.choice(SKIN)
    hair = "#8a8a8a" if age > 54 and dice.random() < 0.6 else dice.choice(HAIR[:4])
    shade = tuple(int(int(skin[i : i + 2], 16) * 0.86) for i in (1, 3, 5))
    if is_female:
        low = y + dice.choice((60, 120, 170))
        pen.rounded_rectangle((x - wide - 22, y - tall - 14, x + wide + 22, low), 100, fill=hair)
    cloth = dice.choice(CLOTH)
    pen.rounded_rectangle((x - 168, y + tall + 34, x + 168, height + 80), 90, fill=cloth)
    pen.polygon(
        [(x - 40, y + 80), (x + 40, y + 80), (x + 52, y + tall + 50), (x, y + tall + 92), (x - 52, y + tall + 50)],
        fill=shade,
    )
    collar = "#f7f7f7" if cloth != "#ffffff" else "#c8d2dd"
    pen.polygon(
        [(x - 58, y + tall + 32), (x, y + tall + 96), (x - 34, y + tall + 112), (x - 92, y + tall + 52)], fill=collar
    )
    pen.polygon(
        [(x + 58, y + tall + 32), (x, y + tall + 96), (x + 34, y + tall + 112), (x + 92, y + tall + 52)], fill=collar
    )
    for side in (-1, 1):
        pen.ellipse((x + side * wide - 14, y - 16, x + side * wide + 14, y + 34), fill=shade)
    pen.ellipse((x - wide, y - tall, x + wide, y + tall), fill=skin)
    top = dice.randint(40, 62)
    pen.chord(
        (x - wide - 8, y - tall - 18, x + wide + 8, y + tall - 20),
        180 + dice.randint(8, 20),
        360 - dice.randint(8, 20),
        fill=hair,
    )
    pen.ellipse((x - wide + 8, y - tall + top, x + wide - 8, y + tall - 6), fill=skin)
    for side in (-1, 1):
        eye = x + side * dice.randint(36, 40)
        pen.arc((eye - 22, y - 34, eye + 22, y - 8), 200, 340, fill=hair, width=5)
        pen.ellipse((eye - 15, y - 10, eye + 15, y + 8), fill="#fbfbfb")
        pen.ellipse((eye - 7, y - 9, eye + 7, y + 6), fill="#2a1a12")
    if dice.random() < 0.25:
        for side in (-1, 1):
            pen.rounded_rectangle(
                (x + side * 38 - 28, y - 18, x + side * 38 + 28, y + 18), 12, outline="#33373d", width=4
            )
        pen.line((x - 10, y - 4, x + 10, y - 4), fill="#33373d", width=4)
    pen.line([(x + 2, y + 4), (x - 8, y + 40), (x + 8, y + 42)], fill=shade, width=4, joint="curve")
    pen.arc((x - 30, y + 42, x + 30, y + 74), 20, 160, fill="#9c3b3b" if is_female else "#a05a4c", width=6)
    if age > 50:
        for side in (-1, 1):
            pen.arc(
                (x + side * 48 - 16, y + 20, x + side * 48 + 16, y + 70),
                60,
                120,
                fill=shade,
                width=3,
            )
    out = io.BytesIO()
    image.filter(ImageFilter.GaussianBlur(0.8)).save(out, "JPEG", quality=82)
    return out.getvalue()
