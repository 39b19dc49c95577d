"""OpenSC reads a card of ours: its own tools, and any program that goes through its PKCS #11 module."""

import re
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from foreign.conftest import Inserted
from foreign.programs import PKCS11_MODULE, attempt, run

SELECT = "00:A4:04:00:09:A0:00:00:03:08:00:00:10:00"
PIN_STATUS = "00:20:00:80"
LABELS = {
    "01": ("PIV AUTH", "Certificate for PIV Authentication"),
    "02": ("SIGN", "Certificate for Digital Signature"),
    "03": ("KEY MAN", "Certificate for Key Management"),
    "04": ("CARD AUTH", "Certificate for Card Authentication"),
}


def pkcs11(inserted: Inserted, *arguments: str, with_pin: bool = False) -> str:
    signing_in = ["--login", "--pin", "env:CARD_PIN"] if with_pin else []
    argv = ["pkcs11-tool", "--module", PKCS11_MODULE, "--slot-description", inserted.reader, *signing_in, *arguments]
    return run(argv, {**inserted.environ, "CARD_PIN": inserted.card.pin})


def read_certificate(inserted: Inserted, number: str, folder: Path) -> x509.Certificate:
    path = folder / f"{number}.der"
    pkcs11(inserted, "--read-object", "--type", "cert", "--id", number, "--output-file", str(path))
    return x509.load_der_x509_certificate(path.read_bytes())


def said(transcript: str, status: str) -> bool:
    sw1, sw2 = status[:2], status[2:]
    return transcript.rstrip().endswith(f"Received (SW1=0x{sw1}, SW2=0x{sw2})") or (
        f"Received (SW1=0x{sw1}, SW2=0x{sw2})" in transcript.split("Sending:")[-1]
    )


def test_opensc_takes_it_for_a_piv_card(inserted: Inserted) -> None:
    named = run(["opensc-tool", "--reader", inserted.reader, "-n"], inserted.environ)
    assert named.strip() == "Personal Identity Verification Card"


def test_piv_tool_tells_the_card_uuid_as_the_serial_number(inserted: Inserted) -> None:
    told = run(["piv-tool", "--reader", inserted.reader, "--serial"], inserted.environ)
    assert bytes.fromhex(told[:48]) == inserted.card.row.uuid.bytes


def test_the_token_is_named_after_the_holder(inserted: Inserted) -> None:
    slots = run(["pkcs11-tool", "--module", PKCS11_MODULE, "-L"], inserted.environ)
    ours = slots.split(inserted.reader)[1].split("\nSlot ")[0]
    assert re.search(r"token label +: Nguyễn Thị Ánh", ours)
    assert re.search(r"token flags +: .*login required.*PIN initialized", ours)
    assert inserted.card.row.uuid.hex[16:] in ours


def test_pkcs11_lists_the_four_keys_and_certificates_and_the_open_objects(inserted: Inserted) -> None:
    listed = pkcs11(inserted, "-O")
    for key, certificate in LABELS.values():
        assert f"{key} pubkey" in listed
        assert certificate in listed
    assert listed.count("EC_POINT 256 bits") == 4
    for name in ("Card Capability Container", "Card Holder Unique Identifier", "Security Object", "Discovery Object"):
        assert f"'{name}'" in listed
    assert "CARD AUTH key" in listed  # the one private key that is used without a PIN
    assert "Printed Information" not in listed


def test_after_the_pin_pkcs11_lists_the_private_objects_too(inserted: Inserted) -> None:
    listed = pkcs11(inserted, "-O", with_pin=True)
    for key, _ in LABELS.values():
        assert f"{key} key" in listed
    for name in ("Printed Information", "Cardholder Facial Image", "Cardholder Fingerprints"):
        assert f"'{name}'" in listed


def test_the_keys_of_the_listing_are_those_of_the_certificates(inserted: Inserted, tmp_path: Path) -> None:
    listed = pkcs11(inserted, "-O")
    points = re.findall(r"EC_POINT: +0441(04[0-9a-f]{128})", listed)
    for number, point in zip(LABELS, points, strict=True):
        key = read_certificate(inserted, number, tmp_path).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bytes.fromhex(point)) == key


@pytest.mark.parametrize("number", ["01", "02"])
def test_pkcs11_signs_after_the_pin_and_the_certificate_verifies_it(
    inserted: Inserted, tmp_path: Path, number: str
) -> None:
    (tmp_path / "said").write_text("Thẻ mở cửa")
    pkcs11(
        inserted, "--sign", "--mechanism", "ECDSA-SHA256", "--signature-format", "openssl", "--id", number,
        "--input-file", str(tmp_path / "said"), "--output-file", str(tmp_path / "signature"), with_pin=True,
    )  # fmt: skip
    key = read_certificate(inserted, number, tmp_path).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    signature = (tmp_path / "signature").read_bytes()
    key.verify(signature, (tmp_path / "said").read_bytes(), ec.ECDSA(hashes.SHA256()))


def test_the_key_management_key_agrees_on_a_secret_after_the_pin(inserted: Inserted, tmp_path: Path) -> None:
    key = read_certificate(inserted, "03", tmp_path).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    other = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "point").write_bytes(other.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    files = ["--input-file", str(tmp_path / "point"), "--output-file", str(tmp_path / "shared")]
    pkcs11(inserted, "--derive", "--mechanism", "ECDH1-DERIVE", "--id", "03", *files, with_pin=True)
    assert (tmp_path / "shared").read_bytes() == other.exchange(ec.ECDH(), key)


def test_the_card_authentication_key_signs_without_a_pin(inserted: Inserted, tmp_path: Path) -> None:
    key = read_certificate(inserted, "04", tmp_path).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    digest = sha256(b"door").digest()
    (tmp_path / "digest").write_bytes(digest)
    files = ["--input", str(tmp_path / "digest"), "--output", str(tmp_path / "signature")]
    argv = ["pkcs15-crypt", "--reader", inserted.reader, "--sign", "--key", "04", "--signature-format", "openssl"]
    run([*argv, *files], inserted.environ)
    key.verify((tmp_path / "signature").read_bytes(), b"door", ec.ECDSA(hashes.SHA256()))


def test_pkcs15_tool_dumps_the_holders_card(inserted: Inserted) -> None:
    told = run(["pkcs15-tool", "--reader", inserted.reader, "--dump"], inserted.environ)
    assert "PKCS#15 Card [Nguyễn Thị Ánh" in told
    for key, certificate in LABELS.values():
        assert f"Private EC Key [{key} key]" in told
        assert f"X.509 Certificate [{certificate}]" in told


def test_the_printed_information_is_read_after_the_pin(inserted: Inserted, tmp_path: Path) -> None:
    path = tmp_path / "printed"
    wanted = ["--read-object", "--type", "data", "--label", "Printed Information", "--output-file", str(path)]
    pkcs11(inserted, *wanted, with_pin=True)
    assert b"NGUYEN THI ANH" in path.read_bytes()
    assert inserted.card.row.stock_serial is not None
    assert inserted.card.row.stock_serial.encode() in path.read_bytes()


def test_a_wrong_pin_signs_in_nobody_and_a_reset_forgets_the_right_one(inserted: Inserted) -> None:
    wrong = "000000" if inserted.card.pin != "000000" else "111111"
    argv = ["pkcs11-tool", "--module", PKCS11_MODULE, "--slot-description", inserted.reader, "--login", "--pin"]
    refused = attempt([*argv, wrong, "-O"], inserted.environ)
    assert refused.returncode != 0
    assert "CKR_PIN_INCORRECT" in refused.stderr
    pkcs11(inserted, "-O", with_pin=True)
    tool = ["opensc-tool", "--reader", inserted.reader]
    assert said(run([*tool, "-s", SELECT, "-s", PIN_STATUS], inserted.environ), "9000")
    run([*tool, "--reset"], inserted.environ)
    assert said(run([*tool, "-s", SELECT, "-s", PIN_STATUS], inserted.environ), "63C5")
