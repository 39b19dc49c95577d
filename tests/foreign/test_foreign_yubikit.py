"""yubikit, the library behind Yubico's own programs, reads and uses a card of ours through its PivSession."""

import json
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cardlink.iso7816 import tlv
from foreign.conftest import Inserted, openssl_time
from foreign.programs import FOREIGN, run
from foreign.test_foreign_openssl import verify

SCRIPT = Path(__file__).with_name("yubikit_read.py")
SIGNATURE_OF_HASHES = 0xBB  # SP 800-73pt1-5 Appendix A, security object
SLOTS = ("9A", "9C", "9D", "9E")


@pytest.fixture(scope="module")
def told(inserted: Inserted) -> dict[str, Any]:
    run(["opensc-tool", "--reader", inserted.reader, "--reset"], inserted.environ)
    said = run([str(FOREIGN / "python"), str(SCRIPT), inserted.reader], inserted.environ, inserted.card.pin)
    found: dict[str, Any] = json.loads(said)
    return found


def test_it_opens_a_session(told: dict[str, Any]) -> None:
    assert tuple(map(int, told["version"].split("."))) >= (5, 7, 0)


def test_it_reads_the_chuid_and_writes_the_same_bytes_again(told: dict[str, Any], inserted: Inserted) -> None:
    chuid = told["chuid"]
    assert chuid["guid"] == inserted.card.row.uuid.hex
    assert date.fromisoformat(chuid["expires"]) == inserted.card.row.expires_on
    assert chuid["fasc_n"].startswith("[9999-9999-999999-")
    assert chuid["same_again"]


def test_every_key_was_made_on_the_card_and_no_secret_is_a_factory_one(told: dict[str, Any]) -> None:
    assert told["generated"] == dict.fromkeys(SLOTS, True)
    assert told["management_key"] == "AES256"
    assert not told["management_key_is_default"]
    assert not told["pin_is_default"]
    assert not told["puk_is_default"]


def test_only_the_card_authentication_key_signs_without_a_pin(told: dict[str, Any]) -> None:
    assert told["before_the_pin"] == {"9A": "6982", "9C": "6982", "9E": "verified"}


def test_the_pin_that_the_hsm_revealed_opens_the_other_keys(told: dict[str, Any]) -> None:
    assert told["wrong_pin_leaves"] == 4
    assert told["after_the_pin"] == {"9A": "verified", "9C": "verified", "9D": "agreed"}


def test_the_signature_key_asks_for_the_pin_each_time(told: dict[str, Any]) -> None:
    assert told["9C_again"] == "6982"


def test_the_face_on_the_chip_is_a_jpeg(told: dict[str, Any]) -> None:
    assert b"\xff\xd8\xff" in bytes.fromhex(told["face"])


@pytest.mark.parametrize("slot", SLOTS)
def test_the_certificates_it_reads_verify_up_to_the_root(
    told: dict[str, Any], inserted: Inserted, tmp_path: Path, slot: str
) -> None:
    certificate = x509.load_der_x509_certificate(bytes.fromhex(told["certificates"][slot]))
    path = tmp_path / "certificate.pem"
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    assert verify(path, inserted.card.root, inserted.card.issuing) == "OK"


def test_openssl_verifies_the_signature_of_the_chuid(told: dict[str, Any], inserted: Inserted, tmp_path: Path) -> None:
    (tmp_path / "cms").write_bytes(bytes.fromhex(told["chuid"]["signature"]))
    (tmp_path / "content").write_bytes(bytes.fromhex(told["chuid"]["signed"]))
    (tmp_path / "trusted").write_bytes(inserted.card.root.read_bytes() + inserted.card.issuing.read_bytes())
    argv = [
        "openssl", "cms", "-verify", "-inform", "DER", "-in", str(tmp_path / "cms"), "-content",
        str(tmp_path / "content"), "-binary", "-CAfile", str(tmp_path / "trusted"), "-purpose", "any",
        *openssl_time(), "-signer", str(tmp_path / "signer.pem"), "-out", str(tmp_path / "out"),
    ]  # fmt: skip
    run(argv)
    assert (tmp_path / "out").read_bytes() == (tmp_path / "content").read_bytes()

    # The same signer, whose certificate stands in the CHUID alone, signed the security object.
    (tmp_path / "hashes").write_bytes(tlv.find(bytes.fromhex(told["security_object"]), SIGNATURE_OF_HASHES))
    argv = [
        "openssl", "cms", "-verify", "-inform", "DER", "-in", str(tmp_path / "hashes"), "-certfile",
        str(tmp_path / "signer.pem"), "-noverify", "-out", str(tmp_path / "out"), "-binary",
    ]  # fmt: skip
    run(argv)
    assert sha256(bytes.fromhex(told["face"])).digest() in (tmp_path / "out").read_bytes()
