"""The DER that certificates and signatures on cards are put together from, against asn1crypto."""

import secrets

import pytest
from asn1crypto import algos, core, keys

from issuer.trust import der
from issuer.trust.x509 import agency_name, public_key_info


@pytest.mark.parametrize("value", [0, 1, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, (1 << 159) - 1, 1 << 255])
def test_an_integer_is_written_in_its_shortest_form_and_positive(value: int) -> None:
    assert der.integer(value) == core.Integer(value).dump()


@pytest.mark.parametrize(
    "raw",
    [
        bytes(31) + b"\x01" + bytes(31) + b"\x80",
        b"\xff" * 64,
        b"\x7f" * 64,
        *(pytest.param(secrets.token_bytes(64), id=f"by lot {n}") for n in range(3)),
    ],
)
def test_an_ecdsa_signature_is_written_as_asn1crypto_writes_it(raw: bytes) -> None:
    assert der.ecdsa_signature(raw) == algos.DSASignature.from_p1363(raw).dump()


@pytest.mark.parametrize("size", [0, 63, 65, 96])
def test_a_signature_of_another_length_is_not_written(size: int) -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        der.ecdsa_signature(bytes(size))


def test_a_set_stands_in_the_order_of_its_bytes() -> None:
    parts = [der.integer(value) for value in (300, 5, 2, 70_000)]
    assert der.set_of(*parts) == core.SetOf([300, 5, 2, 70_000], spec=core.Integer).dump()


def test_the_algorithms_are_those_that_asn1crypto_writes() -> None:
    assert algos.SignedDigestAlgorithm({"algorithm": "sha256_ecdsa"}).dump() == der.ECDSA_SHA256
    assert algos.DigestAlgorithm({"algorithm": "sha256"}).dump() == der.SHA256


def test_a_public_key_is_written_as_asn1crypto_writes_it() -> None:
    point = b"\x04" + secrets.token_bytes(64)
    curve = keys.ECDomainParameters("named", "secp256r1")
    expected = keys.PublicKeyInfo({"algorithm": {"algorithm": "ec", "parameters": curve}, "public_key": point})
    assert public_key_info(point) == expected.dump()


def test_a_name_with_an_unprintable_serial_number_is_not_written() -> None:
    with pytest.raises(UnicodeEncodeError):
        agency_name("H38", "Sở Thử", "Thẻ", "số")
