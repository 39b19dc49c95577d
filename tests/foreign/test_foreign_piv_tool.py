"""piv-tool (OpenSC) administers a card from the factory: each of its actions."""

import gzip
import subprocess
from datetime import date
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key

from cardlink.iso7816 import tlv
from cardlink.piv.chuid import encode_chuid
from cardlink.piv.fascn import NON_FEDERAL
from foreign.certifier import Public, certify
from foreign.factory_card import AES_192, PIN, TDEA, FactoryCard
from foreign.programs import LIMIT_S

MUTUAL = ["--admin", f"M:9B:{AES_192}"]
ALGORITHMS = {"11": "ECCP256", "14": "ECCP384", "07": "RSA2048"}
OBJECTS = {"9A": "01", "9C": "02", "9D": "03", "9E": "04"}
GUID = UUID("01234567-89ab-4def-8123-456789abcdef")


def chuid(guid: UUID) -> bytes:
    """A CHUID without a signature, with the 53 around it that piv-tool wants."""
    return tlv.encode(0x53, encode_chuid(NON_FEDERAL, guid, date(2035, 1, 1), b""))


def public_key(card: FactoryCard, slot: str) -> Public:
    """The key in a slot, as ykman reads it from the card's metadata."""
    key = load_pem_public_key(card.ykman("piv", "keys", "export", slot, "-").encode())
    assert isinstance(key, Public)
    return key


def write(card: FactoryCard, name: str, content: bytes) -> Path:
    path = card.folder / name
    path.write_bytes(content)
    return path


def read_object(card: FactoryCard, name: str) -> bytes:
    path = card.folder / "object"
    path.unlink(missing_ok=True)
    card.pkcs15("--read-data-object", name, "--output", str(path))
    return path.read_bytes()


def test_it_names_the_card(card: FactoryCard) -> None:
    assert card.piv_tool("--name").strip() == "Personal Identity Verification Card"


def test_it_waits_for_a_card_to_be_inserted(card: FactoryCard) -> None:
    argv = ["piv-tool", "--wait", "--name"]
    with subprocess.Popen(argv, env=card.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tool:
        assert tool.stderr is not None
        assert tool.stderr.readline().startswith("Waiting for a card")
        card.remove()
        card.insert()
        said, _ = tool.communicate(timeout=LIMIT_S)
    assert said.strip() == "Personal Identity Verification Card"


def test_the_serial_number_is_the_guid_of_the_chuid_that_it_wrote(card: FactoryCard) -> None:
    assert card.try_piv_tool("--serial").stdout == ""  # no CHUID yet
    card.try_piv_tool(*MUTUAL, "--object", "3000", "--in", str(write(card, "chuid", chuid(GUID))))
    assert bytes.fromhex(card.piv_tool("--serial")[:48]) == GUID.bytes
    assert read_object(card, "Card Holder Unique Identifier") == chuid(GUID)


def test_it_authenticates_the_administrator_by_mutual_authentication(card: FactoryCard, tmp_path: Path) -> None:
    card.piv_tool(*MUTUAL)
    (tmp_path / "wrong").write_text("00:" * 23 + "00")
    environ = {**card.environ, "PIV_EXT_AUTH_KEY": str(tmp_path / "wrong")}
    refused = FactoryCard(card.served, card.reader, card.image, card.program, environ).try_piv_tool(*MUTUAL)
    assert "admin_mode failed" in refused.stderr
    assert "admin_mode failed -1205" in card.try_piv_tool("--admin", f"M:9B:{TDEA}").stderr  # 9B has another algorithm


def test_its_external_authentication_gives_up_before_it_answers_the_challenge(card: FactoryCard) -> None:
    # OpenSC 0.23 counts the bytes of its own template wrongly, for every card.
    refused = card.try_piv_tool("--admin", f"A:9B:{AES_192}", "-v", "-v", "-v", "-v", "-v", "-v", "-v")
    assert "7C 12 81 10" in refused.stderr + refused.stdout
    assert "Allocated and computed lengths do not match" in refused.stderr + refused.stdout


@pytest.mark.parametrize("slot", OBJECTS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_makes_a_key_in_each_slot(card: FactoryCard, slot: str, algorithm: str) -> None:
    done = card.try_piv_tool(*MUTUAL, "--genkey", f"{slot}:{algorithm}", "--out", str(card.folder / "made"))
    # With OpenSSL 3 it cannot write down the key that the card gave it: its own fault, and the only one.
    assert done.stderr.startswith(("gen_key unable to gen RSA", "gen_key unable to gen EC key"))
    told = card.ykman("piv", "keys", "info", slot)
    assert f"Algorithm:              {ALGORITHMS[algorithm]}" in told
    assert "Origin:                 GENERATED" in told


def test_the_card_makes_no_short_rsa_key(card: FactoryCard) -> None:
    before = card.ykman("piv", "keys", "export", "9e", "-")
    assert "gen_key failed -1205" in card.try_piv_tool(*MUTUAL, "--genkey", "9E:06").stderr
    assert card.ykman("piv", "keys", "export", "9e", "-") == before


def test_nothing_is_made_or_written_without_the_administrator(card: FactoryCard) -> None:
    before = card.ykman("piv", "keys", "export", "9a", "-")
    assert "gen_key failed -1211" in card.try_piv_tool("--genkey", "9A:11").stderr
    assert card.ykman("piv", "keys", "export", "9a", "-") == before
    other = write(card, "other", chuid(uuid4()))
    assert card.try_piv_tool("--object", "3000", "--in", str(other)).returncode != 0
    assert bytes.fromhex(card.piv_tool("--serial")[:48]) == GUID.bytes


@pytest.mark.parametrize("slot", OBJECTS)
@pytest.mark.parametrize("compressed", [False, True])
def test_it_loads_a_certificate_plain_and_compressed(card: FactoryCard, slot: str, compressed: bool) -> None:
    certificate = certify(public_key(card, slot), f"Thẻ {slot}")
    if compressed:
        given = write(card, "certificate.gz", gzip.compress(certificate.public_bytes(Encoding.DER)))
    else:
        given = write(card, "certificate.pem", certificate.public_bytes(Encoding.PEM))
    # The exit code is the number of bytes written, cut to eight bits.
    card.try_piv_tool(*MUTUAL, "--compresscert" if compressed else "--cert", slot, "--in", str(given))
    read = card.pkcs15("--read-certificate", OBJECTS[slot])
    assert x509.load_pem_x509_certificate(read.encode()) == certificate
    assert card.ykman("piv", "certificates", "export", slot, "-") == certificate.public_bytes(Encoding.PEM).decode()


def test_it_writes_an_object_longer_than_one_apdu(card: FactoryCard) -> None:
    face = tlv.encode(0x53, tlv.encode_all([(0xBC, bytes(range(256)) * 40), (0xFE, b"")]))
    card.try_piv_tool(*MUTUAL, "--object", "6030", "--in", str(write(card, "face", face)))
    card.ykman("piv", "objects", "export", "-P", PIN, "FACIAL", str(card.folder / "read"))
    assert (card.folder / "read").read_bytes() == tlv.unwrap(face, 0x53)


def test_it_sends_apdus_and_fetches_long_answers(card: FactoryCard) -> None:
    told = card.piv_tool("-s", "00:A4:04:00:09:A0:00:00:03:08:00:00:10:00", "-s", "00:FD:00:00:00",
                         "-s", "00:CB:3F:FF:05:5C:03:5F:C1:02:00")  # fmt: skip
    assert told.count("Received (SW1=0x90, SW2=0x00)") == 3
    assert "05 07 00" in told
    assert "30 19 D4 E7 39" in told
