"""The faces of a card as a printer gets them: sizes in dots, and codes that a reader of somebody else's reads."""

import io
import itertools
from dataclasses import replace
from datetime import date

import pytest
import zxingcpp
from PIL import Image

from issuer.cards.face import BACK_QR_MM, CARD_MM, FRONT_QR_MM, PRINTER_DPI, SMALLEST_MODULE_MM, FaceData, draw_faces
from issuer.errors import Refused

PLAIN = "H38.012085000127.CC|Vàng Đức Sơn|07061985|Nam|Chuyên viên chính"
URL, DIGITS = "https://the.example/v#", "1" + "0123456789" * 45


def portrait() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (300, 400), "#7a8a99").save(out, "JPEG")
    return out.getvalue()


DATA = FaceData(
    managing_body="Ủy ban nhân dân tỉnh Lào Cai", employing_unit="Sở Nội vụ", full_name="Vàng Đức Sơn",
    position_title="Chuyên viên chính", category="Công chức", identifier="H38.012085000127.CC", photo=portrait(),
    colour="#1b5fa6", shape="circle", has_chip=True, issued_on=date(2026, 1, 2), expires_on=date(2031, 1, 1),
    plain_qr=PLAIN, signed_qr_url=URL, signed_qr_digits=DIGITS,
)  # fmt: skip


def symbol(image: Image.Image) -> tuple[str, Image.Image]:
    """The text of the only code on a face, and the code cut out at its outermost dark dots, black and white."""
    (found,) = zxingcpp.read_barcodes(image, formats=zxingcpp.barcode_formats_from_str("QRCode"))
    corners = (found.position.top_left, found.position.bottom_right)
    (left, top), (right, bottom) = ((corner.x, corner.y) for corner in corners)
    around = image.convert("L").point(lambda grey: 0 if grey > 127 else 255)
    near = around.crop((left - 8, top - 8, right + 9, bottom + 9))
    return found.text, near.crop(near.getbbox())


def runs(line: list[int]) -> list[int]:
    """How many dots of one colour follow each other."""
    return [len(list(group)) for _, group in itertools.groupby(line)]


def module_dots(code: Image.Image) -> int:
    """Dots of a module, of which every run in the code must be a multiple. The upper left eye is seven wide."""
    width, height = code.size
    assert width == height
    dots, rest = divmod(runs([code.getpixel((x, 0)) for x in range(width)])[0], 7)
    assert rest == 0
    for at in range(width):
        for line in ([code.getpixel((x, at)) for x in range(width)], [code.getpixel((at, y)) for y in range(width)]):
            assert all(run % dots == 0 for run in runs(line))
    return dots


def mm(dots: int) -> float:
    return dots * 25.4 / PRINTER_DPI


def test_the_plain_code_fits_its_field_in_modules_of_whole_printer_dots() -> None:
    text, code = symbol(draw_faces(DATA).front)
    assert text == PLAIN
    assert mm(code.width) <= FRONT_QR_MM == 12
    assert mm(module_dots(code)) >= SMALLEST_MODULE_MM


def test_the_signed_code_is_at_least_20_mm_wide_in_modules_of_whole_printer_dots() -> None:
    text, code = symbol(draw_faces(DATA).back)
    assert text == URL + DIGITS
    assert mm(code.width) >= BACK_QR_MM == 20
    assert code.width % module_dots(code) == 0


def test_a_face_has_the_size_of_a_card_and_its_file_says_so() -> None:
    image = Image.open(io.BytesIO(draw_faces(DATA).png("front")))
    assert [mm(side) for side in image.size] == pytest.approx(CARD_MM, abs=0.05)
    assert image.info["dpi"] == pytest.approx((PRINTER_DPI, PRINTER_DPI), abs=0.1)


def test_a_plastic_card_has_the_same_codes_and_says_that_it_opens_no_door() -> None:
    chip, plastic = draw_faces(DATA), draw_faces(replace(DATA, has_chip=False))
    assert symbol(plastic.front)[0] == PLAIN
    assert symbol(plastic.back)[0] == URL + DIGITS
    assert plastic.front.tobytes() != chip.front.tobytes()
    assert plastic.back.tobytes() != chip.back.tobytes()


def test_a_plain_text_too_long_for_its_field_is_refused() -> None:
    with pytest.raises(Refused, match="face-qr-too-large"):
        draw_faces(replace(DATA, plain_qr="Ờ" * 400))
