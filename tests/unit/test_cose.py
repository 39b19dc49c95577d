"""COSE envelopes, keys, thumbprints."""

import subprocess
import sys
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st
from statement_vectors import HERE, load, private_key, public_key, raw, read_key, rows, sign_with

from cardlink.errors import Malformed
from cardlink.statements import cbor, cose
from cardlink.statements.challenge import door_challenge_digest, verify_answer
from cardlink.statements.cose_key import CoseKey, decode_cose_key, from_point, from_public_key, thumbprint


def test_the_committed_vectors_are_what_their_program_writes() -> None:
    done = subprocess.run([sys.executable, str(HERE / "make.py"), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_thumbprint_is_that_of_rfc_9679() -> None:
    example = load("cose_key")["thumbprint"]
    key = from_point(bytes.fromhex("04" + example["x"] + example["y"]))
    assert thumbprint(key.public_key()).hex() == example["sha256"]
    assert key.kid().hex() == example["sha256"][:16]


@rows("cose_key", "good")
def test_a_key_is_written_as_it_was_read(row: dict[str, str]) -> None:
    key = read_key(row["raw"])
    assert key.encode() == raw(row) == cbor.encode(key.fields())
    assert key.kid().hex() == row["kid"]
    assert key.key_hash().hex() == row["key_hash"]
    assert from_public_key(key.public_key()) == key


@rows("cose_key", "bad")
def test_a_broken_key_is_malformed(row: dict[str, str]) -> None:
    with pytest.raises(Malformed, match=row["why"]):
        decode_cose_key(cbor.decode(raw(row), max_bytes=256)).public_key()


@rows("cose_key", "bad_points")
def test_a_broken_point_is_malformed(row: dict[str, str]) -> None:
    with pytest.raises(Malformed, match="COSE_Key"):
        from_point(bytes.fromhex(row["point"]))


def test_a_key_on_another_curve_is_malformed() -> None:
    with pytest.raises(Malformed, match="P-256"):
        from_public_key(ec.generate_private_key(ec.SECP384R1()).public_key())


@given(st.integers(1, 2**250))
def test_compression_keeps_every_key(number: int) -> None:
    public = ec.derive_private_key(number, ec.SECP256R1()).public_key()
    key = from_public_key(public)
    assert key.public_key().public_numbers() == public.public_numbers()
    assert key.encode() == cbor.encode(key.fields())


@rows("cose", "good")
def test_a_statement_is_taken_apart_and_verified(row: dict[str, str]) -> None:
    statement = cose.parse_sign1(raw(row), max_bytes=252)
    assert statement.raw == raw(row)
    assert statement.kid == public_key("card").kid()
    assert statement.to_be_signed() == cbor.encode(["Signature1", statement.protected, b"", statement.payload])
    assert cose.verify_sign1(statement, public_key("card").public_key())
    assert not cose.verify_sign1(statement, public_key("clone").public_key())


@rows("cose", "bad")
def test_a_broken_envelope_is_malformed(row: dict[str, str]) -> None:
    with pytest.raises(Malformed, match=row["why"]):
        cose.parse_sign1(raw(row), max_bytes=1 << 16)


@rows("cose", "good_several")
def test_a_list_of_signatures_is_taken_apart_and_verified(row: dict[str, str]) -> None:
    several = cose.parse_several(raw(row), max_bytes=1 << 16)
    assert [one.kid for one in several.signatures] == [public_key("root-1").kid(), public_key("root-2").kid()]
    for one, label in zip(several.signatures, ("root-1", "root-2"), strict=True):
        signed = several.to_be_signed(one)
        assert signed == cbor.encode(["Signature", b"", one.protected, b"", several.payload])
        assert cose.verify_raw(public_key(label).public_key(), one.signature, signed)


@rows("cose", "bad_several")
def test_a_broken_list_of_signatures_is_malformed(row: dict[str, str]) -> None:
    with pytest.raises(Malformed, match=row["why"]):
        cose.parse_several(raw(row), max_bytes=1 << 16)


@pytest.mark.parametrize("size", [0, 22, 23, 24, 255, 256, 65_535, 65_536])
def test_a_payload_of_any_size_is_signed_in_its_shortest_form(size: int) -> None:
    made = cose.sign1(bytes(size), public_key("card").kid(), sign_with("card"))
    statement = cose.parse_sign1(made, max_bytes=1 << 17)
    assert statement.payload == bytes(size)
    assert cose.verify_sign1(statement, public_key("card").public_key())


def test_a_type_header_is_kept_and_signed() -> None:
    made = cose.sign1(b"", public_key("card").kid(), sign_with("card"), "application/statuslist+cwt")
    statement = cose.parse_sign1(made, max_bytes=252)
    assert statement.typ == "application/statuslist+cwt"
    assert cose.verify_sign1(statement, public_key("card").public_key())


def test_a_signer_that_answers_der_is_caught() -> None:
    with pytest.raises(Malformed, match="signature"):
        cose.sign1(b"", public_key("card").kid(), lambda data: b"\x30" * 70)


def test_an_envelope_larger_than_allowed_is_malformed() -> None:
    made = cose.sign1(bytes(300), public_key("card").kid(), sign_with("card"))
    with pytest.raises(Malformed, match="too long"):
        cose.parse_sign1(made, max_bytes=252)


def _challenge() -> tuple[CoseKey, bytes]:
    content = load("challenge")
    digest = door_challenge_digest(bytes.fromhex(content["door"]), bytes.fromhex(content["nonce"]))
    assert digest.hex() == content["digest"]
    return read_key(content["key"]), digest


@rows("challenge", "good")
def test_an_answer_to_the_challenge_is_taken(row: dict[str, str]) -> None:
    key, digest = _challenge()
    assert verify_answer(key.public_key(), digest, raw(row))


@rows("challenge", "bad")
def test_a_broken_signature_is_no_answer(row: dict[str, str]) -> None:
    key, digest = _challenge()
    assert not verify_answer(key.public_key(), digest, raw(row))


def test_the_challenge_binds_door_and_nonce() -> None:
    door, nonce = bytes(15) + b"\x01", bytes(31) + b"\x01"
    digests = {door_challenge_digest(d, n) for d in (door, bytes(16)) for n in (nonce, bytes(32))}
    assert len(digests) == 4
    broken: list[tuple[bytes, bytes]] = [(door[:15], nonce), (door, nonce[:31]), (door + b"\x00", nonce), (door, b"")]
    for bad_door, bad_nonce in broken:
        with pytest.raises(Malformed, match=r"16 bytes|32 bytes"):
            door_challenge_digest(bad_door, bad_nonce)


def test_a_raw_signature_of_another_length_is_refused() -> None:
    key: Any = private_key("card").public_key()
    good = sign_with("card")(b"data")
    assert cose.verify_raw(key, good, b"data")
    for broken in (b"", good[:63], good + b"\x00"):
        assert not cose.verify_raw(key, broken, b"data")


_HALVES = st.integers(1, (1 << 256) - 1) | st.sampled_from((1, 0x7F, 0x80, 0xFF, 0x100, 1 << 247, 1 << 248, 1 << 255))


@given(_HALVES, _HALVES)
def test_a_signature_is_written_as_the_backend_writes_it(r: int, s: int) -> None:
    assert cose._der_signature(r.to_bytes(32, "big"), s.to_bytes(32, "big")) == encode_dss_signature(r, s)
