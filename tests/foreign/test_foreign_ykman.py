"""ykman manages a card from the factory: every subcommand of `ykman piv`."""

import re
from itertools import product
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, pkcs12

from foreign.certifier import certify
from foreign.factory_card import ADMIN_KEY, MAKER, PIN, PUK, SERIAL, FactoryCard
from foreign.programs import run

ADMIN = ["-m", ADMIN_KEY]
WITH_PIN = ["-P", PIN]
NEW_PIN, NEW_PUK = "246813", "87654321"
OTHER_KEYS = {"aes128": "11" * 16, "aes192": "22" * 24, "aes256": "33" * 32, "tdes": "0102030405060708" * 3}
PRIVATE = {
    "ECCP256": ec.generate_private_key(ec.SECP256R1()),
    "ECCP384": ec.generate_private_key(ec.SECP384R1()),
    "RSA2048": rsa.generate_private_key(65537, 2048),
    "ED25519": ed25519.Ed25519PrivateKey.generate(),
    "X25519": x25519.X25519PrivateKey.generate(),
}


def piv(card: FactoryCard, *arguments: str) -> str:
    return card.ykman("piv", *arguments)


def refusal(card: FactoryCard, *arguments: str) -> str:
    done = card.try_ykman("piv", *arguments)
    assert done.returncode == 1
    return done.stderr


def generate(card: FactoryCard, slot: str, algorithm: str = "ECCP256", *options: str) -> Path:
    path = card.folder / f"{slot}.public.pem"
    piv(card, "keys", "generate", *ADMIN, "-a", algorithm, *options, slot, str(path))
    return path


def export_public(card: FactoryCard, slot: str) -> bytes:
    return piv(card, "keys", "export", slot, "-").encode()


def export_certificate(card: FactoryCard, slot: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(piv(card, "certificates", "export", slot, "-").encode())


def public_pem(private: object) -> bytes:
    assert hasattr(private, "public_key")
    pem: bytes = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def test_info_warns_of_the_factory_secrets(card: FactoryCard) -> None:
    told = piv(card, "info")
    assert "PIV version:              5.7" in told
    assert "Management key algorithm: AES192" in told
    assert re.findall(r"WARNING: Using default (.*)!", told) == ["PIN", "PUK", "Management key"]


def test_pin_and_puk_are_changed_and_the_puk_unblocks(card: FactoryCard) -> None:
    piv(card, "access", "change-pin", "-P", PIN, "-n", NEW_PIN)
    assert "4 tries left" in refusal(card, "access", "change-pin", "-P", PIN, "-n", "111111")
    piv(card, "access", "change-puk", "-p", PUK, "-n", NEW_PUK)
    assert "default PIN" not in piv(card, "info")
    assert "4 tries left" in refusal(card, "access", "unblock-pin", "-p", PUK, "-n", PIN)
    piv(card, "access", "unblock-pin", "-p", NEW_PUK, "-n", PIN)
    piv(card, "access", "change-puk", "-p", NEW_PUK, "-n", PUK)
    told = piv(card, "info")
    assert "PIN tries remaining:      5/5" in told
    assert "PUK tries remaining:      5/5" in told


def test_the_tries_are_set_which_brings_the_factory_secrets_back(card: FactoryCard) -> None:
    piv(card, "access", "change-pin", "-P", PIN, "-n", NEW_PIN)
    piv(card, "access", "set-retries", *ADMIN, "-P", NEW_PIN, "-f", "7", "9")
    told = piv(card, "info")
    assert "PIN tries remaining:      7/7" in told
    assert "PUK tries remaining:      9/9" in told
    assert "default PIN" in told
    piv(card, "access", "set-retries", *ADMIN, *WITH_PIN, "-f", "5", "5")


@pytest.mark.parametrize("algorithm", OTHER_KEYS)
def test_the_management_key_is_changed_with_its_algorithm(card: FactoryCard, algorithm: str) -> None:
    other = OTHER_KEYS[algorithm]
    piv(card, "access", "change-management-key", *ADMIN, "-n", other, "-a", algorithm, "-f")
    assert f"Management key algorithm: {algorithm.upper()}" in piv(card, "info")
    if other != ADMIN_KEY:
        assert "Authentication with management key failed" in refusal(card, "objects", "generate", *ADMIN, "CCC")
    piv(card, "access", "change-management-key", "-m", other, "-n", ADMIN_KEY, "-a", "aes192", "-f")
    assert "Using default Management key" in piv(card, "info")


def test_a_random_management_key_is_told_and_opens_the_card(card: FactoryCard) -> None:
    told = piv(card, "access", "change-management-key", *ADMIN, "--generate", "-a", "aes256", "-f")
    made = re.search(r"[0-9a-f]{64}", told)
    assert made
    piv(card, "access", "change-management-key", "-m", made[0], "-n", ADMIN_KEY, "-a", "aes192", "-f")
    assert "Using default Management key" in piv(card, "info")


def test_a_management_key_kept_behind_the_pin_opens_the_card(card: FactoryCard) -> None:
    piv(card, "access", "change-management-key", *ADMIN, *WITH_PIN, "--protect", "-a", "aes256", "-f")
    told = piv(card, "info")
    assert "Management key is stored on the YubiKey, protected by PIN" in told
    piv(card, "objects", "generate", *WITH_PIN, "CCC")  # no key is asked for: it is read from the card
    piv(card, "access", "change-management-key", *WITH_PIN, "-n", ADMIN_KEY, "-a", "aes192", "-f")
    assert "Using default Management key" in piv(card, "info")


SIGNING, AGREEING = ("9a", "9c", "9e"), ("9d", "82", "95")
ANYWHERE = ("ECCP256", "ECCP384", "RSA2048")


@pytest.mark.parametrize(
    ("slot", "algorithm"),
    [
        *product(SIGNING, (*ANYWHERE, "ED25519")),
        *product(AGREEING, (*ANYWHERE, "X25519")),
    ],
)
def test_a_key_is_generated_and_exported(card: FactoryCard, slot: str, algorithm: str) -> None:
    path = generate(card, slot, algorithm)
    assert export_public(card, slot) == path.read_bytes()
    told = piv(card, "keys", "info", slot)
    assert f"Algorithm:              {algorithm}" in told
    assert "Origin:                 GENERATED" in told


@pytest.mark.parametrize("algorithm", PRIVATE)
def test_a_key_is_imported(card: FactoryCard, tmp_path: Path, algorithm: str) -> None:
    private = PRIVATE[algorithm]
    (tmp_path / "private.pem").write_bytes(
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret"))
    )
    slot = "9d" if algorithm == "X25519" else "9c"
    piv(card, "keys", "import", *ADMIN, "-p", "secret", "--pin-policy", "always", slot, str(tmp_path / "private.pem"))
    told = piv(card, "keys", "info", slot)
    assert f"Algorithm:              {algorithm}" in told
    assert "Origin:                 IMPORTED" in told
    assert "PIN required for use:   ALWAYS" in told
    assert export_public(card, slot) == public_pem(private)


def test_a_key_is_moved_and_deleted(card: FactoryCard) -> None:
    key = generate(card, "9a").read_bytes()
    piv(card, "keys", "move", *ADMIN, "9a", "84")
    assert export_public(card, "84") == key
    assert "No key stored in slot 9A" in refusal(card, "keys", "info", "9a")
    piv(card, "keys", "delete", *ADMIN, "84")
    assert "No key stored in slot 84" in refusal(card, "keys", "info", "84")


@pytest.mark.parametrize("algorithm", ["ECCP256", "ECCP384", "RSA2048", "ED25519"])
def test_a_self_signed_certificate_verifies_with_its_own_key(card: FactoryCard, algorithm: str) -> None:
    path = generate(card, "9c", algorithm)
    piv(card, "certificates", "generate", *ADMIN, *WITH_PIN, "-s", "CN=Thẻ Mở,O=Sở", "-d", "9", "9c", str(path))
    certificate = export_certificate(card, "9c")
    certificate.verify_directly_issued_by(certificate)
    assert certificate.subject.rfc4514_string() == "CN=Thẻ Mở,O=Sở"
    assert certificate.public_key() == serialization.load_pem_public_key(path.read_bytes())


@pytest.mark.parametrize("algorithm", ["ECCP256", "ECCP384", "RSA2048", "ED25519"])
def test_a_request_is_signed_by_the_key_in_the_slot(card: FactoryCard, tmp_path: Path, algorithm: str) -> None:
    path = generate(card, "9a", algorithm)
    piv(card, "certificates", "request", *WITH_PIN, "-s", "CN=Nguyễn Thị Ánh", "9a", str(path), str(tmp_path / "csr"))
    request = x509.load_pem_x509_csr((tmp_path / "csr").read_bytes())
    assert request.is_signature_valid
    assert request.public_key() == serialization.load_pem_public_key(path.read_bytes())


@pytest.mark.parametrize("compressed", [False, True])
def test_a_certificate_is_imported_checked_against_its_key_exported_and_deleted(
    card: FactoryCard, tmp_path: Path, compressed: bool
) -> None:
    key = serialization.load_pem_public_key(generate(card, "9a").read_bytes())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    certificate = certify(key, "Thẻ")
    (tmp_path / "c.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    piv(card, "objects", "generate", *ADMIN, "CHUID")
    before = piv(card, "objects", "export", "CHUID", "-")
    options = ["--compress"] if compressed else []
    piv(card, "certificates", "import", *ADMIN, *WITH_PIN, "--verify", *options, "9a", str(tmp_path / "c.pem"))
    assert export_certificate(card, "9a") == certificate
    assert piv(card, "objects", "export", "CHUID", "-") != before  # Windows forgets what it knew of the card
    piv(card, "certificates", "delete", *ADMIN, "9a")
    assert "No certificate found" in refusal(card, "certificates", "export", "9a", "-")


def test_a_certificate_of_another_key_is_not_imported_when_checked(card: FactoryCard, tmp_path: Path) -> None:
    generate(card, "9a")
    other = certify(ec.generate_private_key(ec.SECP256R1()).public_key(), "Thẻ")
    (tmp_path / "c.pem").write_bytes(other.public_bytes(Encoding.PEM))
    refused = refusal(card, "certificates", "import", *ADMIN, *WITH_PIN, "-v", "9a", str(tmp_path / "c.pem"))
    assert "do not match" in refused or "does not match" in refused
    assert "No certificate found" in refusal(card, "certificates", "export", "9a", "-")


def test_an_elliptic_key_management_key_does_not_sign_the_check(card: FactoryCard, tmp_path: Path) -> None:
    key = serialization.load_pem_public_key(generate(card, "9d").read_bytes())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    (tmp_path / "c.pem").write_bytes(certify(key, "Thẻ", agrees=True).public_bytes(Encoding.PEM))
    # SP 800-73pt2-5 Appendix A: such a key agrees on secrets; ykman checks every key by a signature.
    assert "does not match" in refusal(
        card, "certificates", "import", *ADMIN, *WITH_PIN, "--verify", "9d", str(tmp_path / "c.pem")
    )
    piv(card, "certificates", "import", *ADMIN, "9d", str(tmp_path / "c.pem"))
    assert export_certificate(card, "9d").public_key() == key


def test_key_and_certificate_come_from_one_pkcs12_file(card: FactoryCard, tmp_path: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    certificate = certify(private.public_key(), "Thẻ")
    bundle = pkcs12.serialize_key_and_certificates(b"x", private, certificate, None, NoEncryption())
    (tmp_path / "b.p12").write_bytes(bundle)
    piv(card, "keys", "import", *ADMIN, "9e", str(tmp_path / "b.p12"))
    piv(card, "certificates", "import", *ADMIN, "--verify", "9e", str(tmp_path / "b.p12"))
    assert export_public(card, "9e") == public_pem(private)
    assert export_certificate(card, "9e") == certificate


def test_objects_are_generated_imported_and_exported(card: FactoryCard, tmp_path: Path) -> None:
    piv(card, "objects", "generate", *ADMIN, "CHUID")
    piv(card, "objects", "generate", *ADMIN, "CCC")
    told = piv(card, "info")
    assert re.search(r"^CHUID: 3019d4e739", told, re.MULTILINE)
    assert re.search(r"^CCC:   f015a000000116ff02", told, re.MULTILINE)
    for name, content in {"IRIS": bytes(300), "SECURITY": b"\xba\x00", "5fff11": b"certificates"}.items():
        (tmp_path / "given").write_bytes(content)
        piv(card, "objects", "import", *ADMIN, name, str(tmp_path / "given"))
        piv(card, "objects", "export", *WITH_PIN, name, str(tmp_path / "read"))
        assert (tmp_path / "read").read_bytes() == content
    # behind the PIN
    assert "9A" not in refusal(card, "objects", "export", "-P", "999999", "IRIS", str(tmp_path / "read"))


def test_openssl_verifies_an_attestation_up_to_the_card_makers_root(card: FactoryCard, tmp_path: Path) -> None:
    path = generate(card, "9a", "ECCP256", "--pin-policy", "always")
    piv(card, "keys", "attest", "9a", str(tmp_path / "attested.pem"))
    attested = x509.load_pem_x509_certificate((tmp_path / "attested.pem").read_bytes())
    assert attested.public_key() == serialization.load_pem_public_key(path.read_bytes())
    batch = MAKER.batch(int.from_bytes(SERIAL[-2:], "big"))
    between = b"".join(one.public_bytes(Encoding.PEM) for one in (export_certificate(card, "f9"), batch))
    (tmp_path / "between.pem").write_bytes(between)
    (tmp_path / "root.pem").write_bytes(MAKER.root().public_bytes(Encoding.PEM))
    within = ["-attime", str(int(MAKER.since.timestamp()) + 86_400)]
    trusted = ["-CAfile", str(tmp_path / "root.pem"), "-untrusted", str(tmp_path / "between.pem")]
    run(["openssl", "verify", "-x509_strict", *within, *trusted, str(tmp_path / "attested.pem")])


def test_an_imported_key_is_not_attested(card: FactoryCard, tmp_path: Path) -> None:
    (tmp_path / "k.pem").write_bytes(
        PRIVATE["ECCP256"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    piv(card, "keys", "import", *ADMIN, "9a", str(tmp_path / "k.pem"))
    assert card.try_ykman("piv", "keys", "attest", "9a", "-").returncode == 1


def test_a_reset_brings_the_factory_state_back(card: FactoryCard) -> None:
    generate(card, "9a")
    piv(card, "access", "change-pin", "-P", PIN, "-n", NEW_PIN)
    piv(card, "access", "change-management-key", *ADMIN, "-n", "44" * 32, "-a", "aes256", "-f")
    piv(card, "reset", "-f")
    told = piv(card, "info")
    assert re.findall(r"WARNING: Using default (.*)!", told) == ["PIN", "PUK", "Management key"]
    assert "Slot" not in told
    assert "CHUID: No data available" in told
