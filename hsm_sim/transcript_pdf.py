"""A transcript as PDF: A4, the system's DejaVu Sans (it has all Vietnamese letters), a line for everybody to sign.

On each page stand its number and the hash of the whole text.
"""

import hashlib
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from reportlab.lib.pagesizes import A4
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from hsm_sim.ceremony_texts import both
from hsm_sim.errors import BadRequest

MARGIN_PT = 46
BODY_PT, LEADING_PT, FOOT_PT = 9, 12.4, 6.5
SIGN_LEADING = 3
INDENT_PT = 12
COLUMNS_PT = (INDENT_PT, 165, 245, 325)
"""Where label, use, scope and fingerprint of a key stand."""
PLAIN, BOLD = "DejaVuSans", "DejaVuSans-Bold"
WIDTH, HEIGHT = A4
_CELLS = re.compile(r" {2,}")


def draw(body: str, key: str, persons: Sequence[str], fonts: Path) -> bytes:
    """Lay the text out. Raises BadRequest where the fonts are missing."""
    for name in (PLAIN, BOLD):
        file = fonts / f"{name}.ttf"
        if not file.exists():
            raise BadRequest(f"no font {file}: install fonts-dejavu-core", "fonts")
        pdfmetrics.registerFont(TTFont(name, str(file)))
    blocks = [block.split("\n") for block in body.strip().split("\n\n")]
    signing = [both("sign_here")]
    for person in persons:
        signing += [""] * (SIGN_LEADING - 1) + [f"  {person}  {'.' * 60}"]
    pages = _pages([*blocks, signing])
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=A4, invariant=True)
    canvas.setTitle(both("title"))
    for number, lines in enumerate(pages, 1):
        for row, line in enumerate(lines):
            _line(canvas, line, HEIGHT - MARGIN_PT - BODY_PT - row * LEADING_PT)
        canvas.setFont(PLAIN, FOOT_PT)
        canvas.drawString(MARGIN_PT, MARGIN_PT - 8, f"SHA-256 {hashlib.sha256(body.encode()).hexdigest()}")
        canvas.drawString(MARGIN_PT, MARGIN_PT - 18, f"Ed25519 {key}")
        canvas.drawRightString(WIDTH - MARGIN_PT, MARGIN_PT - 18, f"{both('page')} {number}/{len(pages)}")
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def _pages(blocks: Iterable[Sequence[str]]) -> list[list[str]]:
    """Lines on pages; what belongs together stays on one page where it fits on one."""
    a_page = int((HEIGHT - 2.4 * MARGIN_PT) / LEADING_PT)
    pages: list[list[str]] = [[]]
    for block in blocks:
        lines = [part for line in block if set(line) != {"="} for part in _wrapped(line)]
        if pages[-1] and len(pages[-1]) + 1 + len(lines) > a_page:
            pages.append([])
        if pages[-1]:
            pages[-1].append("")
        for line in lines:
            if len(pages[-1]) >= a_page:
                pages.append([])
            pages[-1].append(line)
    return pages


def _line(canvas: Canvas, line: str, height: float) -> None:
    if not line.startswith(" "):
        canvas.setFont(BOLD, BODY_PT)
        canvas.drawString(MARGIN_PT, height, line)
        return
    canvas.setFont(PLAIN, BODY_PT)
    for cell, at in zip(_CELLS.split(line.strip()), COLUMNS_PT, strict=False):
        canvas.drawString(MARGIN_PT + at, height, cell)


def _wrapped(line: str) -> list[str]:
    """Break a line between words where it is too wide; the rest is moved in."""
    room = WIDTH - 2 * MARGIN_PT - 2 * INDENT_PT
    parts = []
    while pdfmetrics.stringWidth(line, PLAIN, BODY_PT) > room and " " in line.strip():
        words = line.rstrip().rpartition(" ")
        head, tail = words[0], words[2]
        while pdfmetrics.stringWidth(head, PLAIN, BODY_PT) > room and " " in head.strip():
            head, _, word = head.rpartition(" ")
            tail = f"{word} {tail}"
        parts.append(head)
        line = f"  {tail}"
    return [*parts, line]
