"""The drawing of a card: one SVG that needs nothing else, well formed, in both languages, and no secret in it."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from card_certificates import certificate
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from cardlink.gp.inventory import LifeCycle
from cardlink.language.catalogue import Language
from cardlink.piv import commands as piv
from cardlink.piv.objects import encode_certificate
from cardlink.piv.tables import CONTAINERS, KEYS, Algorithm, KeyRef
from cardlink.piv.yubico import Origin
from cardos.__main__ import main
from cardos.factory import make_blank
from cardos.gp.keys import counter_number
from cardos.image import FileStore
from cardos.messages.catalogue import Texts
from cardos.picture import as_text, view_of
from cardos.picture_svg import as_html, as_svg
from cardos.piv.auth import default_pin_policy as policy
from cardos.piv.keys import generate, save_private
from cardos.records import Life, Owner, Sequence, SlotKey, StoredObject
from cardos.sealing import make_secret
from cardos.state import Persistent
from cardos.store import MemoryStore
from issuer.trust.profiles import CARD_PROFILES

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SECRET = b"<secret & more>"


def card(state: LifeCycle = LifeCycle.SECURED) -> Persistent:
    made = Persistent(MemoryStore(make_blank(bytes(10), (b"\x5e" * 16, b"\x5f" * 16, b"\x60" * 16))))
    der = certificate("card-9e", "ca", CARD_PROFILES["9E"], NOW, card_uuid=bytes(16))
    made.commit(
        [
            *(StoredObject(tag, piv.wrap_object(tag, SECRET)) for tag in CONTAINERS if tag not in (0x7E, 0x5FC122)),
            StoredObject(0x5FC101, piv.wrap_object(0x5FC101, encode_certificate(der))),
            StoredObject(0x5FFF12, piv.wrap_object(0x5FFF12, SECRET)),
            *(
                SlotKey(ref, Algorithm.P_256, save_private(generate(0x11)), Origin.GENERATED, policy(KEYS[ref]))
                for ref in (0x9A, 0x9E, 0x82)
            ),
            replace(made.references[KeyRef.PIN], left=0, is_default=False),
            Life(Owner.CARD, state),
            Sequence(counter_number(b"\x5e" * 16), 7),
        ]
    )  # fmt: skip
    return made


@pytest.mark.parametrize("lang", list(Language))
@pytest.mark.parametrize("state", list(LifeCycle))
def test_the_drawing_is_well_formed_and_shows_the_present_state(lang: str, state: LifeCycle) -> None:
    texts = Texts(lang)
    view = view_of(card(state), "a<b", texts, NOW)
    svg = as_svg(view, texts)
    root = ET.fromstring(svg)  # noqa: S314 our own drawing
    said = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts(f"life.{state.name}") in said
    assert "http" not in svg.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "a&lt;b" in as_html(view, texts)
    assert as_html(view, texts).startswith(f'<!doctype html><html lang="{lang}">')


@pytest.mark.parametrize("lang", list(Language))
def test_no_secret_is_shown(lang: str) -> None:
    texts, one = Texts(lang), card()
    view = view_of(one, "a", texts, NOW)
    for shown in (as_text(view, texts), as_svg(view, texts)):
        assert "secret" not in shown
        assert "123456" not in shown
        for key in one.keys.values():
            assert key.private.hex() not in shown.lower()
        assert (b"\x5e" * 16).hex() not in shown.lower()


def test_a_certificate_moves_no_cursor_and_breaks_no_drawing() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Nguyễn\x1b[2J<b>\x00")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=1))
    der = builder.sign(key, SHA256()).public_bytes(Encoding.DER)
    one, texts = card(), Texts("en")
    one.commit([StoredObject(0x5FC105, piv.wrap_object(0x5FC105, encode_certificate(der)))])
    view = view_of(one, "a", texts, NOW)
    for shown in (as_text(view, texts), as_svg(view, texts)):
        assert "Nguyễn\N{REPLACEMENT CHARACTER}[2J" in shown
        assert "\x1b" not in shown
    ET.fromstring(as_svg(view, texts))  # noqa: S314 our own drawing


def test_what_matters_is_said_in_words() -> None:
    texts = Texts("en")
    told = as_text(view_of(card(), "a", texts, NOW), texts)
    for words in (
        "OP_READY → INITIALIZED → [SECURED] → CARD_LOCKED → TERMINATED",
        "PIN            ░░░░░░░░░░  blocked\n",
        "PUK            ██████████  5 of 5 tries (factory value)",
        "SCP03 option i = 60, counters 30: 7",
        "9E  card authentication (doors) P-256     generated, no PIN",
        "82  retired key management",
        "expires 01/06/2027",
        "facial image                        17  PIN                secure channel + PIN",
    ):
        assert words in told, told
    later = as_text(view_of(card(), "a", texts, NOW + timedelta(days=4000)), texts)
    assert "EXPIRED 01/06/2027" in later


def test_the_command_draws_to_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = tmp_path / "a.card"
    FileStore.create(image, make_secret(image), make_blank(bytes(10), (bytes(16), bytes(16), bytes(16)))).close()
    svg, page = tmp_path / "a.svg", tmp_path / "a.html"
    assert main(["inspect", "--image", str(image), "--svg", str(svg), "--html", str(page), "--lang", "vi"]) == 0
    assert capsys.readouterr().out == f"đã vẽ {svg}\nđã vẽ {page}\n"
    assert svg.read_text(encoding="utf-8").startswith("<svg ")
