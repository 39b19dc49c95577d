"""The two faces of a card as images, every QR module a whole number of printer dots.

Front (Decision 838/QĐ-BNV): body, employing unit, title, photo, name, position with its colour and shape, chip
symbol, identifier, plain QR in a field of 12 x 12 mm. Back: the signed QR, at least 20 mm wide, and what it proves.
"""

import io
import math
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

import qrcode
from PIL import Image, ImageDraw, ImageFont
from qrcode.constants import ERROR_CORRECT_L, ERROR_CORRECT_M
from qrcode.util import MODE_8BIT_BYTE, MODE_NUMBER, QRData

from issuer.errors import Refused

CARD_MM = (85.725, 53.975)  # Decision 838/QĐ-BNV; ISO/IEC 7810 ID-1 allows 85.47-85.72 x 53.92-54.03
FRONT_QR_MM = 12.0  # at the most, without its quiet zone
SMALLEST_MODULE_MM = 0.16
BACK_QR_MM = 20.0  # at the least, without its quiet zone
QUIET_MODULES = 4  # ISO/IEC 18004 §9.1
PRINTER_DPI = 600
FONT_FOLDERS = (Path("/usr/share/fonts/truetype/dejavu"), Path("/usr/share/fonts/dejavu"), Path("/usr/share/fonts/TTF"))

TITLE = "THẺ CÁN BỘ, CÔNG CHỨC, VIÊN CHỨC"
RED, INK, GREY, PAPER, TINT = "#b3121d", "#1b1f27", "#5b6472", "#fffdf8", "#ece6d8"

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class FaceData:
    """What stands on a card. `photo` is a JPEG; `colour` is #rrggbb; `shape` one of SHAPES; texts are NFC."""

    managing_body: str
    employing_unit: str
    full_name: str
    position_title: str
    category: str
    identifier: str
    photo: bytes
    colour: str
    shape: str
    has_chip: bool
    issued_on: date
    expires_on: date
    plain_qr: str
    signed_qr_url: str  # `<verify URL>#`
    signed_qr_digits: str


@dataclass(frozen=True, slots=True)
class Faces:
    """Both faces as RGB images of PRINTER_DPI."""

    front: Image.Image
    back: Image.Image

    def png(self, side: str) -> bytes:
        """Return `front` or `back` as a PNG that carries its resolution."""
        out = io.BytesIO()
        (self.front if side == "front" else self.back).save(out, "PNG", dpi=(PRINTER_DPI, PRINTER_DPI))
        return out.getvalue()


def dots(mm: float) -> int:
    """Millimetres to printer dots."""
    return round(mm * PRINTER_DPI / 25.4)


def draw_faces(data: FaceData) -> Faces:
    """Draw both faces.

    Raises Refused `face-font-missing` where the fonts are not installed, `face-qr-too-large` when the plain QR does
    not fit 12 mm with modules of at least SMALLEST_MODULE_MM.
    """
    return Faces(_front(data), _back(data))


def _front(data: FaceData) -> Image.Image:
    image, pen = _blank()
    _emblem(pen, 9.2, 8.4, 5.2)
    _line(pen, (17, 2.6, 78, 5.8), data.managing_body.upper(), 2.5, colour=GREY, centred=True)
    _line(pen, (17, 5.9, 78, 9.6), data.employing_unit.upper(), 2.9, bold=True, centred=True)
    _line(pen, (17, 10.0, 78, 14.2), TITLE, 3.7, bold=True, colour=RED, centred=True)
    if data.has_chip:
        _contactless_symbol(pen, 80.2, 8.4)
    _photo(image, data.photo, (4.4, 16.4, 24.4, 43.1))
    pen.rectangle(_px((4.4, 16.4, 24.4, 43.1)), outline=GREY, width=dots(0.12))
    _line(pen, (27.5, 17.2, 82, 20.0), "Họ và tên", 2.0, colour=GREY)
    _line(pen, (27.5, 19.9, 82, 25.0), data.full_name.upper(), 4.2, bold=True)
    _line(pen, (27.5, 26.0, 82, 28.6), "Chức vụ, chức danh", 2.0, colour=GREY)
    _shape(pen, data.shape, (27.5, 29.1, 31.9, 33.5), data.colour)
    _line(pen, (33.2, 28.9, 82, 33.7), data.position_title, 3.4, bold=True)
    _line(pen, (27.5, 36.2, 68, 38.8), "Mã định danh", 2.0, colour=GREY)
    _line(pen, (27.5, 38.9, 67.5, 43.1), data.identifier, 3.3, bold=True, mono=True)
    _line(pen, (4.4, 44.2, 24.4, 46.8), data.category, 2.3, colour=INK, centred=True)
    symbol = _symbol([QRData(data.plain_qr.encode("utf-8"), mode=MODE_8BIT_BYTE)], ERROR_CORRECT_L)
    module = dots(FRONT_QR_MM) // len(symbol)
    if module * 25.4 / PRINTER_DPI < SMALLEST_MODULE_MM:
        raise Refused("face-qr-too-large", characters=len(data.plain_qr))
    _paste_symbol(image, symbol, module, centre=(75.2, 41.0))
    pen.rectangle(_px((0, 49.4, CARD_MM[0], CARD_MM[1])), fill=data.colour)
    for index in range(9):
        _shape(pen, data.shape, (4.4 + index * 9.4, 50.6, 6.7 + index * 9.4, 52.9), "#ffffff")
    return image


def _back(data: FaceData) -> Image.Image:
    image, pen = _blank()
    pen.rectangle(_px((0, 0, CARD_MM[0], 2.4)), fill=data.colour)
    parts = [
        QRData(data.signed_qr_url.encode("ascii"), mode=MODE_8BIT_BYTE),
        QRData(data.signed_qr_digits.encode("ascii"), mode=MODE_NUMBER),
    ]
    symbol = _symbol(parts, ERROR_CORRECT_M)
    module = math.ceil(BACK_QR_MM * PRINTER_DPI / 25.4 / len(symbol))
    side_mm = module * (len(symbol) + 2 * QUIET_MODULES) * 25.4 / PRINTER_DPI
    _paste_symbol(image, symbol, module, centre=(CARD_MM[0] - 4.0 - side_mm / 2, 27.5))
    edge = CARD_MM[0] - 6.0 - side_mm
    _line(pen, (5, 5.6, edge, 9.2), "KIỂM TRA THẺ", 3.3, bold=True, colour=RED)
    _paragraph(
        pen,
        (5, 10.4, edge, 25.5),
        2.25,
        [
            "Quét mã bằng máy ảnh điện thoại. Trang kiểm tra cho biết dữ liệu có đúng do cơ quan cấp thẻ ký hay không, "
            "và trạng thái hiện tại của thẻ.",
            "Mã không chứng minh người cầm thẻ là chủ thẻ: hãy so ảnh và giấy tờ.",
        ],
    )
    _line(pen, (5, 27.6, edge, 30.2), "Ngày cấp", 2.0, colour=GREY)
    _line(pen, (5, 30.1, edge, 33.4), f"{data.issued_on:%d/%m/%Y}", 2.9, bold=True)
    _line(pen, (26, 27.6, edge, 30.2), "Có giá trị đến", 2.0, colour=GREY)
    _line(pen, (26, 30.1, edge, 33.4), f"{data.expires_on:%d/%m/%Y}", 2.9, bold=True)
    _paragraph(
        pen,
        (5, 36.0, edge, 49.5),
        2.25,
        [
            "Thẻ dùng khi làm nhiệm vụ; đeo ở vị trí dễ nhìn. Mất thẻ phải báo ngay để khóa thẻ.",
            f"Nhặt được thẻ này xin gửi về: {data.employing_unit}.",
        ],
    )
    if not data.has_chip:
        _line(pen, (5, 49.6, edge, 52.4), "Thẻ không gắn chip: không dùng để mở cửa.", 2.2, bold=True)
    return image


# Drawing in millimetres


def _px(box: Box) -> tuple[int, int, int, int]:
    return dots(box[0]), dots(box[1]), dots(box[2]), dots(box[3])


def _blank() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Return a card with a faint guilloche, so that an empty area is not plain white."""
    size = (dots(CARD_MM[0]), dots(CARD_MM[1]))
    image = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(image)
    for wave in range(14):
        points = [
            (x, size[1] * (wave + 0.5) / 14 + dots(2.6) * math.sin(x / dots(9.0) + wave * 0.55))
            for x in range(0, size[0] + 8, 8)
        ]
        pen.line(points, fill=TINT, width=max(1, dots(0.08)))
    return image, pen


def _emblem(pen: ImageDraw.ImageDraw, x: float, y: float, radius: float) -> None:
    """A gold star on red: a stand-in where an office puts its emblem or logo."""
    pen.ellipse(_px((x - radius, y - radius, x + radius, y + radius)), fill=RED)
    pen.polygon(_star(x, y, radius * 0.72, radius * 0.28), fill="#f7d117")


def _star(x: float, y: float, outer: float, inner: float) -> list[tuple[int, int]]:
    corners = []
    for step in range(10):
        reach, angle = (outer, inner)[step % 2], math.pi * step / 5 - math.pi / 2
        corners.append((dots(x + reach * math.cos(angle)), dots(y + reach * math.sin(angle))))
    return corners


def _contactless_symbol(pen: ImageDraw.ImageDraw, x: float, y: float) -> None:
    for radius in (1.6, 2.9, 4.2):
        pen.arc(_px((x - radius - 3, y - radius, x + radius - 3, y + radius)), -45, 45, fill=INK, width=dots(0.55))


SHAPES = ("circle", "square", "triangle", "diamond", "star", "hexagon", "bar", "ring", "cross")


def _shape(pen: ImageDraw.ImageDraw, shape: str, box: Box, colour: str) -> None:
    """Draw a position's mark; the shape says what the colour says, for who can't tell colours apart."""
    left, top, right, bottom = box
    x, y, radius = (left + right) / 2, (top + bottom) / 2, (right - left) / 2
    match shape:
        case "circle":
            pen.ellipse(_px(box), fill=colour)
        case "ring":
            pen.ellipse(_px(box), outline=colour, width=dots(radius * 0.45))
        case "triangle":
            pen.polygon([(dots(x), dots(top)), (dots(right), dots(bottom)), (dots(left), dots(bottom))], fill=colour)
        case "diamond":
            pen.polygon(
                [(dots(x), dots(top)), (dots(right), dots(y)), (dots(x), dots(bottom)), (dots(left), dots(y))],
                fill=colour,
            )
        case "star":
            pen.polygon(_star(x, y, radius, radius * 0.42), fill=colour)
        case "hexagon":
            corners = [
                (x + radius * math.cos(math.pi * k / 3), y + radius * math.sin(math.pi * k / 3)) for k in range(6)
            ]
            pen.polygon([(dots(a), dots(b)) for a, b in corners], fill=colour)
        case "bar":
            pen.rectangle(_px((left, y - radius * 0.4, right, y + radius * 0.4)), fill=colour)
        case "cross":
            pen.rectangle(_px((left, y - radius * 0.3, right, y + radius * 0.3)), fill=colour)
            pen.rectangle(_px((x - radius * 0.3, top, x + radius * 0.3, bottom)), fill=colour)
        case _:
            pen.rectangle(_px(box), fill=colour)


def _photo(image: Image.Image, jpeg: bytes, box: Box) -> None:
    left, top, right, bottom = _px(box)
    with Image.open(io.BytesIO(jpeg)) as photo:
        source = photo.convert("RGB")
    want = (right - left) / (bottom - top)
    width, height = source.size
    if width / height > want:
        cut = round((width - height * want) / 2)
        source = source.crop((cut, 0, width - cut, height))
    else:
        cut = round((height - width / want) / 2)
        source = source.crop((0, cut, width, height - cut))
    image.paste(source.resize((right - left, bottom - top), Image.Resampling.LANCZOS), (left, top))


# QR symbols


def _symbol(parts: list[QRData], correction: int) -> list[list[bool]]:
    code = qrcode.QRCode(error_correction=correction, border=0)
    for part in parts:
        code.add_data(part)
    code.make(fit=True)
    return [[bool(cell) for cell in row] for row in code.get_matrix()]


def _paste_symbol(image: Image.Image, symbol: list[list[bool]], module: int, centre: tuple[float, float]) -> None:
    side = len(symbol)
    small = Image.new("1", (side + 2 * QUIET_MODULES,) * 2, 1)
    small.putdata([0 if _cell(symbol, x, y) else 1 for y in range(small.height) for x in range(small.width)])
    large = small.resize((small.width * module, small.height * module), Image.Resampling.NEAREST)
    image.paste(large.convert("RGB"), (dots(centre[0]) - large.width // 2, dots(centre[1]) - large.height // 2))


def _cell(symbol: list[list[bool]], x: int, y: int) -> bool:
    column, row = x - QUIET_MODULES, y - QUIET_MODULES
    return 0 <= row < len(symbol) and 0 <= column < len(symbol) and symbol[row][column]


# Text


@lru_cache(maxsize=256)
def _font(size: int, bold: bool, mono: bool) -> ImageFont.FreeTypeFont:
    name = f"DejaVuSans{'Mono' if mono else ''}{'-Bold' if bold else ''}.ttf"
    for folder in FONT_FOLDERS:
        if (folder / name).exists():
            return ImageFont.truetype(str(folder / name), size)
    raise Refused("face-font-missing", font=name)


def _line(
    pen: ImageDraw.ImageDraw,
    box: Box,
    text: str,
    height: float,
    *,
    bold: bool = False,
    mono: bool = False,
    colour: str = INK,
    centred: bool = False,
) -> None:
    """One line (or two smaller ones) of at most `height` mm type, made smaller until it fits the box."""
    left, top, right, bottom = _px(box)
    for scale in range(100, 39, -4):
        font = _font(dots(height * scale / 100), bold, mono)
        lines = [text] if scale > 66 or mono else _wrap(pen, text, font, right - left)
        spacing = round(font.size * 1.12)
        if (
            all(pen.textlength(line, font) <= right - left for line in lines)
            and spacing * len(lines) <= (bottom - top) * 1.25
        ):
            break
    y = (top + bottom) / 2 - spacing * (len(lines) - 1) / 2
    for line in lines:
        pen.text(
            ((left + right) / 2 if centred else left, y), line, fill=colour, font=font, anchor="mm" if centred else "lm"
        )
        y += spacing


def _paragraph(pen: ImageDraw.ImageDraw, box: Box, height: float, paragraphs: list[str]) -> None:
    left, top, right, bottom = _px(box)
    for scale in range(100, 49, -5):
        font = _font(dots(height * scale / 100), False, False)
        blocks = [_wrap(pen, text, font, right - left) for text in paragraphs]
        spacing = round(font.size * 1.25)
        if sum(len(block) + 0.4 for block in blocks) * spacing <= bottom - top:
            break
    y = float(top)
    for block in blocks:
        for line in block:
            pen.text((left, y), line, fill=INK, font=font)
            y += spacing
        y += spacing * 0.4


def _wrap(pen: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if pen.textlength(longer, font) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
