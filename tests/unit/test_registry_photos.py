"""Portraits: only a JPEG of sensible size, stored without whatever else the file carried."""

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from centre import NOW, jpeg, make_factory
from PIL import Image
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from issuer import database
from issuer.errors import NotFound, Refused
from issuer.registry import photos
from issuer.registry.photos import read_portrait
from issuer.registry.tables import Photo


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with database.transaction(make_factory(tmp_path)) as session:
        yield session


def refusal(raw: bytes) -> str:
    with pytest.raises(Refused) as refused:
        read_portrait(raw)
    return refused.value.code


def test_a_portrait_is_made_anew_within_its_box() -> None:
    made = read_portrait(jpeg(1200, 1600))
    assert (made.width, made.height) == (600, 800)
    with Image.open(io.BytesIO(made.jpeg)) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (600, 800))


def test_a_small_portrait_keeps_its_size() -> None:
    made = read_portrait(jpeg(354, 472))
    assert (made.width, made.height) == (354, 472)


def test_metadata_does_not_survive_and_the_picture_stands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter
    exif[0x010E] = "secret description"
    source = io.BytesIO()
    Image.new("RGB", (400, 300), "#445566").save(source, "JPEG", exif=exif, comment=b"secret comment")
    made = read_portrait(source.getvalue())
    assert b"secret" not in made.jpeg
    assert (made.width, made.height) == (300, 400)


@pytest.mark.parametrize("size", [(100, 400), (400, 100), (8001, 200)])
def test_a_picture_out_of_bounds_is_refused(size: tuple[int, int]) -> None:
    assert refusal(jpeg(*size)) == "photos.bad_size"


def test_a_header_that_promises_a_huge_picture_is_refused_unread() -> None:
    raw = bytearray(jpeg())
    place = raw.index(b"\xff\xc0")
    raw[place + 5 : place + 9] = struct.pack(">HH", 65000, 65000)
    assert refusal(bytes(raw)) in ("photos.bad_size", "photos.not_jpeg")


@pytest.mark.parametrize("format_", ["PNG", "GIF", "TIFF", "BMP"])
def test_another_format_is_refused_whatever_its_name(format_: str) -> None:
    made = io.BytesIO()
    Image.new("RGB", (400, 400)).save(made, format_)
    assert refusal(made.getvalue()) == "photos.not_jpeg"


@pytest.mark.parametrize("raw", [b"", b"\xff\xd8\xff", b"<svg/>", jpeg()[:400], b"x" * (photos.MAX_FILE_BYTES + 1)])
def test_what_is_no_picture_is_refused(raw: bytes) -> None:
    assert refusal(raw) in ("photos.not_jpeg", "photos.too_large")


def test_the_same_file_is_the_same_portrait(session: Session) -> None:
    first = photos.store(session, jpeg(), NOW)
    assert photos.store(session, jpeg(), NOW) == first
    assert photos.store(session, jpeg(colour="#000000"), NOW) != first
    assert session.scalar(select(func.count()).select_from(Photo)) == 2
    assert photos.get(session, first).sha256 == first
    with pytest.raises(NotFound):
        photos.get(session, bytes(32))


def test_a_folder_gives_files_named_by_number_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "anh"
    folder.mkdir()
    for name in ("010085012345.jpg", "010085012346.JPEG", "readme.txt", "12345.jpg", "010085012347.png"):
        (folder / name).write_bytes(jpeg())
    (folder / "010085012348.jpg").symlink_to("/etc/passwd")
    (folder / "010085012349.jpg").mkdir()
    assert sorted(photos.list_folder(folder)) == ["010085012345", "010085012346"]
    (folder / "010085012345.jpeg").write_bytes(jpeg())
    with pytest.raises(Refused, match=r"photos\.twice"):
        photos.list_folder(folder)
    with pytest.raises(NotFound, match=r"photos\.no_folder"):
        photos.list_folder(tmp_path / "none")
