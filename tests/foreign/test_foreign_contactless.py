"""The contactless face of a card, as foreign programs see it: what is for everybody, nothing that needs PIN or 9B."""

from collections.abc import Iterator
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key

from foreign.certifier import certify
from foreign.factory_card import ADMIN_KEY, AES_192, PIN, FactoryCard, Ykman, factory_card

SLOTS = {"9a": "01", "9e": "04"}
ADMIN = ["-m", ADMIN_KEY]
SAID = "Thẻ mở cửa".encode()


@pytest.fixture(scope="module")
def keys() -> dict[str, ec.EllipticCurvePublicKey]:
    return {}


@pytest.fixture(scope="module")
def card(
    tmp_path_factory: pytest.TempPathFactory, program: Ykman, keys: dict[str, ec.EllipticCurvePublicKey]
) -> Iterator[FactoryCard]:
    """A card with CHUID, 9A and 9E, written in the contact slot and then laid on the reader."""
    with factory_card(tmp_path_factory.mktemp("contactless"), program) as made:
        made.ykman("piv", "objects", "generate", *ADMIN, "CHUID")
        for slot in SLOTS:
            pem = made.folder / f"{slot}.pem"
            made.ykman("piv", "keys", "generate", *ADMIN, "-a", "ECCP256", slot, str(pem))
            key = load_pem_public_key(pem.read_bytes())
            assert isinstance(key, ec.EllipticCurvePublicKey)
            keys[slot] = key
            pem.write_bytes(certify(key, f"Thẻ {slot}").public_bytes(Encoding.PEM))
            made.ykman("piv", "certificates", "import", *ADMIN, slot, str(pem))
        yield made.on_its_other_face()


def test_opensc_takes_it_for_a_piv_card_and_reads_its_serial_number(card: FactoryCard) -> None:
    assert card.piv_tool("--name").strip() == "Personal Identity Verification Card"
    assert len(bytes.fromhex(card.piv_tool("--serial")[:48])) == 16


def test_the_certificate_for_doors_is_read_and_the_holders_is_not(card: FactoryCard) -> None:
    assert "BEGIN CERTIFICATE" in card.yubico("-a", "read-certificate", "-s", "9e")
    assert "Failed fetching certificate" in card.try_yubico("-a", "read-certificate", "-s", "9a").stderr
    assert "PIV AUTH" not in card.pkcs15("--dump")


def test_the_key_for_doors_signs_without_a_pin(card: FactoryCard, keys: dict[str, ec.EllipticCurvePublicKey]) -> None:
    signature = card.sign_with_pkcs15(SLOTS["9e"], sha256(SAID).digest())
    keys["9e"].verify(signature, SAID, ec.ECDSA(hashes.SHA256()))


def test_pin_and_management_key_are_not_taken_and_cost_no_try(card: FactoryCard) -> None:
    assert card.try_yubico("-a", "verify-pin", "-P", PIN).returncode == 1
    assert card.try_pkcs15("--verify-pin", "--pin", "999999").returncode != 0
    assert "admin_mode failed" in card.try_piv_tool("--admin", f"M:9B:{AES_192}").stderr
    back = card.on_its_other_face()
    assert "PIN tries remaining:      5/5" in back.ykman("piv", "info")
