"""yubico-piv-tool 2.2.0 manages a card from the factory: each of its actions.

This version administers with three-key TDES alone, so ykman first sets 9B to that, as it must on a new YubiKey too.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, pkcs12

from foreign.certifier import certify
from foreign.factory_card import ADMIN_KEY, PIN, PUK, FactoryCard

VERIFY = ["-a", "verify-pin", "-P", PIN]
NEW_PIN, NEW_PUK = "246813", "87654321"
NEW_KEY = "1122334455667788112233445566778811223344556677AA"
SLOTS = ["9a", "9c", "9d", "9e", "82", "95"]
ALGORITHMS = ["ECCP256", "ECCP384", "RSA2048"]
PRIVATE = {
    "ECCP256": ec.generate_private_key(ec.SECP256R1()),
    "ECCP384": ec.generate_private_key(ec.SECP384R1()),
    "RSA2048": rsa.generate_private_key(65537, 2048),
}


@pytest.fixture(scope="module", autouse=True)
def tdes(card: FactoryCard) -> None:
    """Give the card a 9B that the program knows."""
    assert "Failed authentication" in card.try_yubico("-a", "set-chuid").stderr
    options = ["-m", ADMIN_KEY, "-n", ADMIN_KEY, "-a", "tdes", "-f"]
    card.ykman("piv", "access", "change-management-key", *options)


@pytest.fixture(autouse=True)
def forgotten(card: FactoryCard) -> Iterator[None]:
    """The card forgets after each test who was verified."""
    yield
    card.reset()


def generate(card: FactoryCard, slot: str, algorithm: str, *options: str) -> Path:
    path = card.folder / f"{slot}.public.pem"
    card.yubico("-a", "generate", "-s", slot, "-A", algorithm, "-o", str(path), *options)
    return path


def write_key(folder: Path, algorithm: str) -> Path:
    path = folder / "private.pem"
    path.write_bytes(PRIVATE[algorithm].private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    return path


def write_certificate(folder: Path, algorithm: str, *, agrees: bool = False) -> Path:
    path = folder / "certificate.pem"
    certificate = certify(PRIVATE[algorithm].public_key(), "Thẻ", agrees=agrees)
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return path


def test_it_tells_version_readers_and_status(card: FactoryCard) -> None:
    assert card.yubico("-a", "version").strip() == "Application version 5.7.0 found."
    assert card.reader in card.yubico("-a", "list-readers").splitlines()
    told = card.yubico("-a", "status")
    assert re.search(r"^Version:\t5.7.0$", told, re.MULTILINE)
    assert re.search(r"^Serial Number:\t\d+$", told, re.MULTILINE)
    assert re.search(r"^PIN tries left:\t5$", told, re.MULTILINE)


def test_it_sets_chuid_and_ccc(card: FactoryCard) -> None:
    card.yubico("-a", "set-chuid")
    card.yubico("-a", "set-ccc")
    told = card.yubico("-a", "status")
    assert re.search(r"^CHUID:\t3019d4e739", told, re.MULTILINE)
    assert re.search(r"^CCC:\tf015a000000116ff02", told, re.MULTILINE)


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_makes_a_key(card: FactoryCard, slot: str, algorithm: str) -> None:
    made = generate(card, slot, algorithm).read_bytes()
    assert card.ykman("piv", "keys", "export", slot, "-").encode() == made
    assert "GENERATED" in card.ykman("piv", "keys", "info", slot)


def test_a_pin_policy_goes_with_the_key(card: FactoryCard) -> None:
    generate(card, "9a", "ECCP256", "--pin-policy", "always")
    assert "PIN required for use:   ALWAYS" in card.ykman("piv", "keys", "info", "9a")
    refused = card.try_yubico("-a", "generate", "-s", "9a", "-A", "ECCP256", "--touch-policy", "always")
    assert "Key generation failed" in refused.stderr  # the card has no button


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_imports_a_key_and_its_certificate_and_tests_the_signature(
    card: FactoryCard, tmp_path: Path, algorithm: str
) -> None:
    card.yubico("-a", "import-key", "-s", "9a", "-i", str(write_key(tmp_path, algorithm)))
    assert "IMPORTED" in card.ykman("piv", "keys", "info", "9a")
    given = write_certificate(tmp_path, algorithm)
    card.yubico("-a", "import-certificate", "-s", "9a", "-i", str(given))
    assert card.yubico("-a", "read-certificate", "-s", "9a") == given.read_text()
    told = card.try_yubico(*VERIFY, "-a", "test-signature", "-s", "9a", "-i", str(given)).stderr
    assert re.search(r"Success\w* .*verification", told)
    card.yubico("-a", "delete-certificate", "-s", "9a")
    assert "Failed fetching certificate" in card.try_yubico("-a", "read-certificate", "-s", "9a").stderr


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_key_management_key_deciphers_or_agrees(card: FactoryCard, tmp_path: Path, algorithm: str) -> None:
    card.yubico("-a", "import-key", "-s", "9d", "-i", str(write_key(tmp_path, algorithm)))
    given = write_certificate(tmp_path, algorithm, agrees=algorithm != "RSA2048")
    told = card.try_yubico(*VERIFY, "-a", "test-decipher", "-s", "9d", "-i", str(given))
    assert re.search(r"Successfully performed (RSA decryption|ECDH exchange)", told.stderr)


def test_a_certificate_is_read_in_each_form(card: FactoryCard, tmp_path: Path) -> None:
    given = write_certificate(tmp_path, "RSA2048")
    certificate = x509.load_pem_x509_certificate(given.read_bytes())
    card.yubico("-a", "import-certificate", "-s", "9e", "-i", str(given))
    card.yubico("-a", "read-certificate", "-s", "9e", "-K", "DER", "-o", str(tmp_path / "der"))
    assert (tmp_path / "der").read_bytes() == certificate.public_bytes(Encoding.DER)
    ssh = card.yubico("-a", "read-certificate", "-s", "9e", "-K", "SSH")
    assert serialization.load_ssh_public_key(ssh.encode()) == certificate.public_key()
    told = card.yubico("-a", "status")
    assert re.search(r"^Slot 9e:\t$", told, re.MULTILINE)
    assert f"Fingerprint:\t{certificate.fingerprint(hashes.SHA256()).hex()}" in told


def test_key_and_certificate_come_from_one_pkcs12_file(card: FactoryCard, tmp_path: Path) -> None:
    key = PRIVATE["RSA2048"]
    certificate = certify(key.public_key(), "Thẻ")
    secret = serialization.BestAvailableEncryption(b"secret")
    bundle = pkcs12.serialize_key_and_certificates(b"x", key, certificate, None, secret)
    (tmp_path / "b.p12").write_bytes(bundle)
    bundled = ["-s", "82", "-K", "PKCS12", "-p", "secret", "-i", str(tmp_path / "b.p12")]
    card.yubico("-a", "import-key", "-a", "import-certificate", *bundled)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert card.ykman("piv", "keys", "export", "82", "-").encode() == public
    read = card.yubico("-a", "read-certificate", "-s", "82")
    assert x509.load_pem_x509_certificate(read.encode()) == certificate


@pytest.mark.parametrize("action", ["request-certificate", "selfsign-certificate"])
@pytest.mark.parametrize("algorithm", ["ECCP256", "RSA2048"])
def test_with_openssl_3_it_signs_no_certificate_since_it_never_asks_the_card(
    card: FactoryCard, tmp_path: Path, action: str, algorithm: str
) -> None:
    public = generate(card, "9a", algorithm)
    done = card.try_yubico(
        "-v2", *VERIFY, "-a", action, "-s", "9a", "-S", "/CN=x/", "-i", str(public), "-o", "/dev/null"
    )
    assert "Failed signing" in done.stderr
    assert "> 00 20 00 80 08" in done.stderr  # VERIFY stands in the transcript, GENERAL AUTHENTICATE does not
    assert not re.search(r"> [01]0 87 ", done.stderr.split("Successfully verified PIN")[1])


def test_objects_are_written_and_read(card: FactoryCard, tmp_path: Path) -> None:
    content = bytes(range(256)) * 3
    (tmp_path / "given").write_bytes(content)
    card.yubico("-a", "write-object", "--id", "0x5fc109", "-f", "binary", "-i", str(tmp_path / "given"))
    assert "Failed fetching object" in card.try_yubico("-a", "read-object", "--id", "0x5fc109").stderr
    card.yubico(*VERIFY, "-a", "read-object", "--id", "0x5fc109", "-f", "binary", "-o", str(tmp_path / "read"))
    assert (tmp_path / "read").read_bytes() == content
    assert content.hex() in card.yubico(*VERIFY, "-a", "read-object", "--id", "0x5fc109", "-f", "hex")


def test_pin_and_puk_are_changed_and_the_puk_unblocks(card: FactoryCard) -> None:
    card.yubico("-a", "change-pin", "-P", PIN, "-N", NEW_PIN)
    refused = card.try_yubico(*VERIFY)
    assert "4 tries left" in refused.stderr
    card.yubico("-a", "change-puk", "-P", PUK, "-N", NEW_PUK)
    assert card.try_yubico("-a", "unblock-pin", "-P", PUK, "-N", PIN).returncode == 1
    for _ in range(4):
        card.try_yubico(*VERIFY)
    assert "PIN tries left:\t0" in card.yubico("-a", "status")
    card.yubico("-a", "unblock-pin", "-P", NEW_PUK, "-N", PIN)
    card.yubico("-a", "change-puk", "-P", NEW_PUK, "-N", PUK)
    card.yubico(*VERIFY)
    assert "PUK tries remaining:      5/5" in card.ykman("piv", "info")


def test_the_tries_are_set_which_needs_the_pin_too(card: FactoryCard) -> None:
    tries = ["-a", "pin-retries", "--pin-retries", "7", "--puk-retries", "9"]
    assert "Failed changing pin retries" in card.try_yubico(*tries).stderr
    card.yubico(*VERIFY, *tries)
    told = card.ykman("piv", "info")
    assert "PIN tries remaining:      7/7" in told
    assert "PUK tries remaining:      9/9" in told
    card.yubico(*VERIFY, "-a", "pin-retries", "--pin-retries", "5", "--puk-retries", "5")


def test_the_management_key_is_changed_and_changed_back(card: FactoryCard) -> None:
    card.yubico("-a", "set-mgm-key", "-n", NEW_KEY)
    assert "Failed authentication" in card.try_yubico("-a", "set-ccc").stderr
    card.yubico(f"--key={NEW_KEY}", "-a", "set-mgm-key", "-n", ADMIN_KEY)
    card.yubico("-a", "set-ccc")


def test_it_attests_a_key_made_on_the_card_and_no_other(card: FactoryCard, tmp_path: Path) -> None:
    public = serialization.load_pem_public_key(generate(card, "9a", "ECCP256").read_bytes())
    attested = x509.load_pem_x509_certificate(card.yubico("-a", "attest", "-s", "9a").encode())
    assert attested.public_key() == public
    maker = x509.load_pem_x509_certificate(card.yubico("-a", "read-certificate", "-s", "f9").encode())
    attested.verify_directly_issued_by(maker)
    card.yubico("-a", "import-key", "-s", "9a", "-i", str(write_key(tmp_path, "ECCP256")))
    assert "Failed to attest data" in card.try_yubico("-a", "attest", "-s", "9a").stderr


def test_a_reset_needs_both_references_blocked_and_empties_the_card(card: FactoryCard) -> None:
    generate(card, "9a", "ECCP256")
    assert "are pincodes blocked" in card.try_yubico("-a", "reset").stderr
    for _ in range(5):
        card.try_yubico("-a", "verify-pin", "-P", "999999")
        card.try_yubico("-a", "change-puk", "-P", "99999999", "-N", NEW_PUK)
    card.yubico("-a", "reset")
    told = card.ykman("piv", "info")
    assert re.findall(r"WARNING: Using default (.*)!", told) == ["PIN", "PUK", "Management key"]
    assert "Slot" not in told
    assert "CHUID: No data available" in told
