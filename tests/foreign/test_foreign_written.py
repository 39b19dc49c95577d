"""What foreign programs wrote to a card, our host reads: objects, certificates, attestations."""

import gzip
from datetime import date, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key

from cardlink.check.attestation import verify_attestation
from cardlink.piv.attestation import Attestation
from cardlink.piv.chuid import decode_chuid
from cardlink.piv.objects import decode_ccc, decode_certificate
from foreign.certifier import certify
from foreign.factory_card import ADMIN_KEY, AES_192, MAKER, PIN, SERIAL, FactoryCard

ADMIN = ["-m", ADMIN_KEY]
MUTUAL = ["--admin", f"M:9B:{AES_192}"]
TDES = ["-m", ADMIN_KEY, "-n", ADMIN_KEY, "-a", "tdes", "-f"]
BACK = ["-m", ADMIN_KEY, "-n", ADMIN_KEY, "-a", "aes192", "-f"]


def read_object(card: FactoryCard, name: str) -> bytes:
    path = card.folder / "object"
    card.ykman("piv", "objects", "export", "-P", PIN, name, str(path))
    return path.read_bytes()


def write(card: FactoryCard, name: str, content: bytes) -> str:
    path = card.folder / name
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("by", ["ykman", "yubico-piv-tool"])
def test_chuid_and_card_capabilities(card: FactoryCard, by: str) -> None:
    if by == "ykman":
        for name in ("CHUID", "CCC"):
            card.ykman("piv", "objects", "generate", *ADMIN, name)
    else:
        card.ykman("piv", "access", "change-management-key", *TDES)
        card.yubico("-a", "set-chuid", "-a", "set-ccc")
        card.ykman("piv", "access", "change-management-key", *BACK)
    chuid = decode_chuid(read_object(card, "CHUID"))
    assert chuid.fascn.agency == 9999
    assert chuid.expires == date(2030, 1, 1)
    assert chuid.guid.int
    assert chuid.signature == b""  # nobody's word: a host that asks whose it is refuses it
    assert decode_ccc(read_object(card, "CAPABILITY")).data_model == 0x10


@pytest.mark.parametrize("by", ["piv-tool", "ykman", "yubico-piv-tool"])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_certificate_plain_and_compressed(card: FactoryCard, by: str, compressed: bool) -> None:
    certificate = certify(ec.generate_private_key(ec.SECP256R1()).public_key(), "Thẻ")
    der = certificate.public_bytes(Encoding.DER)
    pem = write(card, "c.pem", certificate.public_bytes(Encoding.PEM))
    packed = write(card, "c.gz", gzip.compress(der))
    if by == "piv-tool":
        card.try_piv_tool(*MUTUAL, *(["-Z", "9A", "-i", packed] if compressed else ["-C", "9A", "-i", pem]))
    elif by == "ykman":
        card.ykman("piv", "certificates", "import", *ADMIN, *(["--compress"] if compressed else []), "9a", pem)
    else:
        card.ykman("piv", "access", "change-management-key", *TDES)
        given = ["-K", "GZIP", "-i", packed] if compressed else ["-i", pem]
        card.yubico("-a", "import-certificate", "-s", "9a", *given)
        card.ykman("piv", "access", "change-management-key", *BACK)
    found = decode_certificate(read_object(card, "AUTHENTICATION"))
    assert (found.certificate, found.compressed) == (der, compressed)


def test_an_attestation_that_ykman_fetched(card: FactoryCard, tmp_path: Path) -> None:
    card.ykman(
        "piv", "keys", "generate", *ADMIN, "-a", "ECCP384", "--pin-policy", "always", "82", str(tmp_path / "key")
    )
    card.ykman("piv", "keys", "attest", "-F", "DER", "82", str(tmp_path / "attested"))
    f9 = x509.load_pem_x509_certificate(card.ykman("piv", "certificates", "export", "f9", "-").encode())
    above = [one.public_bytes(Encoding.DER) for one in (f9, MAKER.batch(int.from_bytes(SERIAL[-2:], "big")))]
    roots = [MAKER.root().public_bytes(Encoding.DER)]
    judged = verify_attestation((tmp_path / "attested").read_bytes(), above, roots, MAKER.since + timedelta(days=1))
    assert isinstance(judged, Attestation)
    assert judged.certificate.public_key() == load_pem_public_key((tmp_path / "key").read_bytes())
