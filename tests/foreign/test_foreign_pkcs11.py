"""OpenSC's PKCS #11 module uses the keys of a card from the factory: every slot, each algorithm, PIN and PUK.

The module makes no keys on a PIV card ("mechanism not supported"); piv-tool is OpenSC's way to them.
"""

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from cardlink.iso7816 import tlv
from foreign.certifier import Public, certify
from foreign.factory_card import ADMIN_KEY, AES_192, PIN, PUK, FactoryCard

MUTUAL = ["--admin", f"M:9B:{AES_192}"]
LOGIN = ["--login", "--pin", PIN]
IDS = {"9A": "01", "9C": "02", "9D": "03", "9E": "04"}
NEW_PIN = "246813"
SAID = "Thẻ mở cửa".encode()


def make_key(card: FactoryCard, slot: str, algorithm: str) -> Public:
    """Make a key with piv-tool and load a certificate for it, so that OpenSC finds it."""
    card.try_piv_tool(*MUTUAL, "--genkey", f"{slot}:{algorithm}", "--out", str(card.folder / "made"))
    key = load_pem_public_key(card.ykman("piv", "keys", "export", slot, "-").encode())
    assert isinstance(key, Public)
    load_certificate(card, slot, key)
    return key


def load_certificate(card: FactoryCard, slot: str, key: Public) -> None:
    agrees = slot not in ("9A", "9C", "9E") and isinstance(key, ec.EllipticCurvePublicKey)
    certificate = certify(key, f"Thẻ {slot}", agrees=agrees)
    path = card.folder / "certificate.pem"
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    card.try_piv_tool(*MUTUAL, "--cert", slot, "--in", str(path))


def test_the_module_makes_no_keys(card: FactoryCard) -> None:
    refused = card.try_pkcs11(*LOGIN, "--keypairgen", "--key-type", "EC:prime256v1", "--id", "01")
    assert "not supported" in refused.stderr


@pytest.mark.parametrize("slot", ["9A", "9C", "9E"])
@pytest.mark.parametrize(("algorithm", "hash_"), [("11", hashes.SHA256()), ("14", hashes.SHA384())])
def test_an_elliptic_key_made_in_a_slot_signs(
    card: FactoryCard, tmp_path: Path, slot: str, algorithm: str, hash_: hashes.HashAlgorithm
) -> None:
    key = make_key(card, slot, algorithm)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    mechanism = f"ECDSA-{hash_.name.upper()}"
    signature = used(card, tmp_path, "--sign", "-m", mechanism, "--signature-format", "openssl", "--id", IDS[slot])
    key.verify(signature, SAID, ec.ECDSA(hash_))


@pytest.mark.parametrize("slot", ["9A", "9C", "9D", "9E"])
def test_an_rsa_key_made_in_a_slot_signs(card: FactoryCard, tmp_path: Path, slot: str) -> None:
    key = make_key(card, slot, "07")
    assert isinstance(key, rsa.RSAPublicKey)
    plain = used(card, tmp_path, "--sign", "-m", "SHA256-RSA-PKCS", "--id", IDS[slot])
    key.verify(plain, SAID, padding.PKCS1v15(), hashes.SHA256())
    probabilistic = used(card, tmp_path, "--sign", "-m", "SHA256-RSA-PKCS-PSS", "--id", IDS[slot])
    key.verify(probabilistic, SAID, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())


def test_the_key_management_key_deciphers(card: FactoryCard, tmp_path: Path) -> None:
    key = make_key(card, "9D", "07")
    assert isinstance(key, rsa.RSAPublicKey)
    hidden = key.encrypt(SAID, padding.PKCS1v15())
    assert used(card, tmp_path, "--decrypt", "-m", "RSA-PKCS", "--id", "03", given=hidden) == SAID
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    hidden = key.encrypt(SAID, oaep)
    assert used(card, tmp_path, "--decrypt", "-m", "RSA-PKCS-OAEP", "--hash-algorithm", "SHA256", "--mgf",
                "MGF1-SHA256", "--id", "03", given=hidden) == SAID  # fmt: skip


@pytest.mark.parametrize(("algorithm", "curve"), [("11", ec.SECP256R1()), ("14", ec.SECP384R1())])
def test_the_key_management_key_agrees_on_secrets(
    card: FactoryCard, tmp_path: Path, algorithm: str, curve: ec.EllipticCurve
) -> None:
    key = make_key(card, "9D", algorithm)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    other = ec.generate_private_key(curve)
    point = other.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    derived = used(card, tmp_path, "--derive", "-m", "ECDH1-DERIVE", "--id", "03", given=point)
    assert derived == other.exchange(ec.ECDH(), key)


def test_retired_keys_are_found_by_the_key_history_and_agree(card: FactoryCard, tmp_path: Path) -> None:
    card.ykman("piv", "keys", "generate", "-a", "ECCP256", "-m", ADMIN_KEY, "82", str(tmp_path / "public.pem"))
    key = load_pem_public_key((tmp_path / "public.pem").read_bytes())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    certificate = certify(key, "Thẻ cũ", agrees=True).public_bytes(Encoding.DER)
    write_object(card, "1001", tlv.encode_all([(0x70, certificate), (0x71, b"\0"), (0xFE, b"")]))
    write_object(card, "6060", tlv.encode_all([(0xC1, b"\1"), (0xC2, b"\0"), (0xFE, b"")]))
    other = ec.generate_private_key(ec.SECP256R1())
    point = other.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    derived = used(card, tmp_path, "--derive", "-m", "ECDH1-DERIVE", "--id", "05", given=point)
    assert derived == other.exchange(ec.ECDH(), key)


def write_object(card: FactoryCard, container: str, content: bytes) -> None:
    path = card.folder / "object"
    path.write_bytes(tlv.encode(0x53, content))
    card.try_piv_tool(*MUTUAL, "--object", container, "--in", str(path))


def used(card: FactoryCard, folder: Path, *arguments: str, given: bytes = SAID) -> bytes:
    """What pkcs11-tool made of the input with a key of the card, the PIN given."""
    (folder / "given").write_bytes(given)
    files = ["--input-file", str(folder / "given"), "--output-file", str(folder / "made")]
    card.pkcs11(*LOGIN, *arguments, *files)
    return (folder / "made").read_bytes()


def test_its_own_test_of_all_keys_finds_no_error(card: FactoryCard, tmp_path: Path) -> None:
    for slot in ("9A", "9C", "9D", "9E"):
        make_key(card, slot, "07" if slot in ("9C", "9D") else "11")
    done = card.try_pkcs11(*LOGIN, "--test")
    told = done.stdout + done.stderr
    for name in ("SIGN key", "KEY MAN key"):
        assert len(re.findall(rf"testing key \d+ \({name}\)", told)) >= 2
    assert "RSA-PKCS-OAEP: " in told
    # OpenSC draws random numbers as challenges of a 9B of three-key TDEA, which a new card's is not.
    assert re.findall(r"ERR: .*", told) == ["ERR: C_GenerateRandom failed: CKR_FUNCTION_NOT_SUPPORTED (0x54)"]
    assert "1 errors" in told
    set_admin_key(card, "tdes")
    assert card.pkcs11(*LOGIN, "--test").rstrip().endswith("No errors")
    drawn = [used(card, tmp_path, "--generate-random", "40") for _ in range(2)]
    assert [len(one) for one in drawn] == [40, 40]
    assert drawn[0] != drawn[1]
    set_admin_key(card, "aes192")


def set_admin_key(card: FactoryCard, algorithm: str) -> None:
    options = ["-m", ADMIN_KEY, "-n", ADMIN_KEY, "-a", algorithm, "-f"]
    card.ykman("piv", "access", "change-management-key", *options)


def test_the_pin_is_changed_and_changed_back(card: FactoryCard) -> None:
    card.pkcs11(*LOGIN, "--change-pin", "--new-pin", NEW_PIN)
    assert "CKR_PIN_INCORRECT" in card.try_pkcs11(*LOGIN, "-O").stderr
    card.pkcs11("--login", "--pin", NEW_PIN, "--change-pin", "--new-pin", PIN)
    card.pkcs11(*LOGIN, "-O")


def test_the_puk_unblocks_a_blocked_pin(card: FactoryCard, tmp_path: Path) -> None:
    for _ in range(5):
        card.try_yubico("-a", "verify-pin", "-P", "999999")
    assert "CKR_PIN_LOCKED" in card.try_pkcs11(*LOGIN, "-O").stderr
    style = tmp_path / "opensc.conf"
    style.write_text("app opensc-pkcs11 { pkcs11 { user_pin_unblock_style = set_pin_in_unlogged_session; } }")
    wrong = card.try_pkcs11("--unlock-pin", "--puk", "87654321", "--new-pin", NEW_PIN, configuration=style)
    assert "CKR_PIN_INCORRECT" in wrong.stderr
    card.pkcs11("--unlock-pin", "--puk", PUK, "--new-pin", NEW_PIN, configuration=style)
    card.pkcs11("--login", "--pin", NEW_PIN, "--change-pin", "--new-pin", PIN)
    assert "PIN tries remaining:      5/5" in card.ykman("piv", "info")


def test_pkcs15_tool_dumps_every_object(card: FactoryCard) -> None:
    make_key(card, "9A", "11")
    told = card.pkcs15("--dump")
    assert re.search(r"PKCS#15 Card \[Thẻ 9A\]", told)
    assert re.search(r"PIN \[PIN\](.*\n)+?\tReference +: 128 \(0x80\)", told)
    assert re.search(r"Private EC Key \[PIV AUTH key\](.*\n)+?\tFieldLength +: 256(.*\n)+?\tID +: 01", told)
    assert re.search(r"X.509 Certificate \[Certificate for PIV Authentication\](.*\n)+?\tID +: 01", told)


def test_pkcs15_tool_reads_the_public_key_in_each_form(card: FactoryCard) -> None:
    key = make_key(card, "9A", "11")
    assert load_pem_public_key(card.pkcs15("--read-public-key", "01").encode()) == key
    ssh = card.pkcs15("--read-ssh-key", "01").split()
    assert " ".join(ssh[:2]).encode() == key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


def test_pkcs15_tool_verifies_changes_and_unblocks(card: FactoryCard) -> None:
    assert card.try_pkcs15("--verify-pin", "--pin", "999999").returncode != 0
    card.pkcs15("--verify-pin", "--pin", PIN)
    card.pkcs15("--change-pin", "--auth-id", "01", "--pin", PIN, "--new-pin", NEW_PIN)
    assert card.try_pkcs15("--verify-pin", "--pin", PIN).returncode != 0
    card.pkcs15("--change-pin", "--auth-id", "02", "--pin", PUK, "--new-pin", "87654321")
    assert card.try_pkcs15("--unblock-pin", "--auth-id", "01", "--puk", PUK, "--new-pin", PIN).returncode != 0
    card.pkcs15("--unblock-pin", "--auth-id", "01", "--puk", "87654321", "--new-pin", PIN)
    card.pkcs15("--verify-pin", "--pin", PIN)
    card.pkcs15("--change-pin", "--auth-id", "02", "--pin", "87654321", "--new-pin", PUK)
    told = card.ykman("piv", "info")
    assert "PIN tries remaining:      5/5" in told
    assert "PUK tries remaining:      5/5" in told
