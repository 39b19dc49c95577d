"""Signing by digest, for revocation lists longer than a frame: authorities' keys alone, counted and logged."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hsm_world import HsmWorld

from hsm_sim.core import Hsm, Peer
from hsm_sim.errors import BadRequest, Denied
from hsm_sim.keys import KeyInfo, Role, Use
from hsm_sim.policy import EVERYDAY

USER = Peer(Role.USER, 0)
LIST = bytes(3_000_000)
DIGEST = hashlib.sha256(LIST).digest()


@pytest.fixture
def world(tmp_path: Path) -> HsmWorld:
    return HsmWorld(tmp_path)


@pytest.fixture
def hsm(world: HsmWorld) -> Iterator[Hsm]:
    opened = world.open()
    yield opened
    opened.close()


def generate(hsm: Hsm, label: str, use: Use) -> KeyInfo:
    return KeyInfo.from_wire(hsm.call(Peer(Role.SO, 0), "generate", [label, "ec-p256", str(use), [], [0, 0, 0], True]))


def test_a_digest_is_signed_as_the_data_would_be_and_counted_after_a_restart(world: HsmWorld) -> None:
    hsm = world.open()
    info = generate(hsm, "ca", Use.CA)
    assert info.public is not None
    raw = hsm.call(USER, "sign_digest", ["ca", "ca", DIGEST])
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), info.public)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    point.verify(der, LIST, ec.ECDSA(hashes.SHA256()))
    assert hsm.uses_of("ca") == 1
    hsm.close()
    assert world.open().uses_of("ca") == 1


@pytest.mark.parametrize("use", sorted(EVERYDAY - {Use.CA}, key=str))
def test_no_other_key_signs_a_digest(hsm: Hsm, use: Use) -> None:
    generate(hsm, "key", use)
    with pytest.raises(Denied):
        hsm.call(USER, "sign_digest", ["key", str(use), DIGEST])
    with pytest.raises(Denied):
        hsm.call(USER, "sign_digest", ["key", "ca", DIGEST])


def test_the_officer_signs_no_digest_with_a_root_key(hsm: Hsm) -> None:
    generate(hsm, "root", Use.ROOT)
    with pytest.raises(Denied):
        hsm.call(Peer(Role.SO, 0), "sign_digest", ["root", "root", DIGEST])


@pytest.mark.parametrize("digest", [b"", DIGEST[:-1], DIGEST + b"\0", LIST[:48]])
def test_what_is_no_sha_256_is_not_signed(hsm: Hsm, digest: bytes) -> None:
    generate(hsm, "ca", Use.CA)
    with pytest.raises(BadRequest):
        hsm.call(USER, "sign_digest", ["ca", "ca", digest])


def test_a_key_signs_a_digest_for_its_own_use_alone(hsm: Hsm) -> None:
    generate(hsm, "ca", Use.CA)
    with pytest.raises(Denied, match="is for"):
        hsm.call(USER, "sign_digest", ["ca", "card", DIGEST])
