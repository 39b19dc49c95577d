"""The picture of a card as a drawing: one SVG that needs nothing else, or a page that holds it."""

from html import escape

from cardos.messages.catalogue import Texts
from cardos.picture import CardView, Counter, KeyLine, ObjectLine, administration, until

WIDTH = 860
_ROW, _PAD = 26, 28
_INK, _SOFT, _LINE, _PAPER = "#1d2733", "#66727f", "#d5dbe1", "#ffffff"
_GOOD, _WARN, _BAD, _OPEN = "#1f7a4d", "#a86400", "#b3261e", "#24578f"
_FONT = "font-family=\"'Noto Sans','DejaVu Sans',Arial,sans-serif\""


class _Drawing:
    """Shapes from the top down; `y` is where the next one goes."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.y = 0.0

    def text(self, x: float, y: float, said: str, *, size: int = 14, ink: str = _INK, **more: str) -> None:
        extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
        self.parts.append(f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{ink}"{extra}>{escape(said)}</text>')

    def box(self, x: float, y: float, width: float, height: float, fill: str, *, edge: str = "none") -> None:
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" fill="{fill}" stroke="{edge}"/>'
        )

    def heading(self, said: str) -> None:
        self.y += 22
        self.text(_PAD, self.y, said.upper(), size=12, ink=_SOFT, font_weight="bold", letter_spacing="1")
        self.parts.append(
            f'<line x1="{_PAD}" x2="{WIDTH - _PAD}" y1="{self.y + 8:g}" y2="{self.y + 8:g}" stroke="{_LINE}"/>'
        )
        self.y += 12


def as_svg(view: CardView, texts: Texts) -> str:
    """The whole picture."""
    drawing = _Drawing()
    _head(drawing, view, texts)
    drawing.heading(texts("picture.life"))
    _life(drawing, view, texts)
    drawing.heading(texts("picture.counters"))
    for counter in view.counters:
        _counter(drawing, counter, texts)
    drawing.heading(texts("picture.channel"))
    for line in administration(view):
        drawing.y += _ROW
        drawing.text(_PAD, drawing.y - 8, line)
    drawing.heading(texts("picture.keys", count=len(view.keys)))
    for key in view.keys:
        _key(drawing, key, texts)
    size = sum(one.size for one in view.objects)
    drawing.heading(texts("picture.objects", count=len(view.objects), bytes=size))
    _objects(drawing, view.objects, texts)
    height = drawing.y + _PAD
    title = escape(texts("picture.title", name=view.name, serial=view.serial))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}" '
        f'role="img" {_FONT}><title>{title}</title>'
        f'<rect width="100%" height="100%" fill="{_PAPER}"/>{"".join(drawing.parts)}</svg>\n'
    )


def as_html(view: CardView, texts: Texts) -> str:
    """A page with the picture in it."""
    title = escape(texts("picture.title", name=view.name, serial=view.serial))
    return (
        f'<!doctype html><html lang="{texts.lang}"><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width"><style>body{margin:1rem auto;max-width:'
        f"{WIDTH}px}}svg{{max-width:100%;height:auto}}</style>{as_svg(view, texts)}</html>\n"
    )


def _head(drawing: _Drawing, view: CardView, texts: Texts) -> None:
    drawing.box(0, 0, WIDTH, 84, "#eef2f6")
    # a chip with its contacts
    drawing.box(_PAD, 22, 52, 40, "#d8b45a", edge="#8a6d1f")
    for at in (35, 49):
        drawing.parts.append(f'<line x1="{_PAD}" x2="{_PAD + 52}" y1="{at}" y2="{at}" stroke="#8a6d1f"/>')
    drawing.parts.append(f'<line x1="{_PAD + 26}" x2="{_PAD + 26}" y1="22" y2="62" stroke="#8a6d1f"/>')
    drawing.text(_PAD + 72, 42, texts("picture.title", name=view.name, serial=view.serial), size=20, font_weight="bold")
    drawing.text(_PAD + 72, 64, texts("picture.chip", kdd=view.kdd), size=13, ink=_SOFT)
    drawing.y = 92


def _life(drawing: _Drawing, view: CardView, texts: Texts) -> None:
    step = (WIDTH - 2 * _PAD) / len(view.states)
    y = drawing.y + 14
    for place, (name, said, is_now) in enumerate(view.states):
        x = _PAD + place * step
        fill = (_BAD if view.is_dead else _GOOD) if is_now else "#eef2f6"
        drawing.box(x, y, step - 18, 30, fill)
        middle = x + (step - 18) / 2
        drawing.text(middle, y + 46, said, size=11, ink=_INK if is_now else _SOFT, text_anchor="middle")
        ink = _PAPER if is_now else _SOFT
        drawing.text(middle, y + 20, name, size=12, ink=ink, text_anchor="middle")
        if place + 1 < len(view.states):
            drawing.text(x + step - 9, y + 20, "›", size=16, ink=_SOFT, text_anchor="middle")
    drawing.y = y + 50
    for place, (name, state) in enumerate(view.applications):
        x = _PAD + place * (WIDTH - 2 * _PAD) / len(view.applications)
        drawing.text(x, drawing.y + 24, f"{name}: {state}", size=12, ink=_SOFT)
    drawing.y += 34


def _counter(drawing: _Drawing, counter: Counter, texts: Texts) -> None:
    drawing.y += _ROW
    y = drawing.y
    drawing.text(_PAD, y - 6, counter.name)
    gap = 4
    width = min(46.0, (330 - gap * counter.limit) / max(1, counter.limit))
    full = _GOOD if counter.left > 1 else _WARN
    for place in range(counter.limit):
        drawing.box(_PAD + 150 + place * (width + gap), y - 18, width, 14, full if place < counter.left else "#e6eaee")
    state = texts("picture.tries", left=counter.left, limit=counter.limit) if counter.left else texts("picture.blocked")
    drawing.text(_PAD + 500, y - 6, state, ink=_INK if counter.left else _BAD)
    if counter.is_factory:
        drawing.text(_PAD + 620, y - 6, texts("picture.factory"), ink=_WARN)


def _key(drawing: _Drawing, key: KeyLine, texts: Texts) -> None:
    drawing.y += _ROW
    y = drawing.y
    drawing.box(_PAD, y - 18, 34, 20, _OPEN)
    drawing.text(_PAD + 17, y - 4, f"{key.ref:02X}", size=13, ink=_PAPER, text_anchor="middle")
    drawing.text(_PAD + 46, y - 4, key.name)
    drawing.text(_PAD + 330, y - 4, key.algorithm, font_weight="bold")
    drawing.text(_PAD + 430, y - 4, f"{key.origin}, {key.pin}", ink=_SOFT)
    if key.subject:
        drawing.y += 20
        drawing.text(_PAD + 46, drawing.y - 4, key.subject, size=12, ink=_SOFT)
        ink = _BAD if key.is_expired else _GOOD
        drawing.text(WIDTH - _PAD, drawing.y - 4, until(key, texts), size=12, ink=ink, text_anchor="end")
    drawing.y += 4


def _objects(drawing: _Drawing, objects: tuple[ObjectLine, ...], texts: Texts) -> None:
    if not objects:
        return
    columns = (_PAD, _PAD + 76, _PAD + 320, _PAD + 500, _PAD + 640)
    drawing.y += 22
    heads = ("", texts("picture.object"), texts("picture.size"), texts("face.contact"), texts("face.contactless"))
    for x, head in zip(columns, heads, strict=True):
        drawing.text(x, drawing.y - 4, head, size=12, ink=_SOFT)
    most = max(one.size for one in objects)
    for one in objects:
        drawing.y += 24
        y = drawing.y - 4
        drawing.text(columns[0], y, f"{one.tag:06X}", size=13, ink=_SOFT)
        drawing.text(columns[1], y, one.name)
        drawing.box(columns[2], y - 10, max(2.0, 90 * one.size / most), 10, "#9db7d3")
        drawing.text(columns[2] + 98, y, f"{one.size} B", size=13)
        drawing.text(columns[3], y, one.contact, size=13)
        drawing.text(columns[4], y, one.contactless, size=13, ink=_WARN if one.is_public else _INK)
    drawing.y += 8
