"""A whole card, read back after encoding: one exchanged, altered or missing object is named."""

import hashlib
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from card_certificates import anchor, authority, certificate, content_signer, point, trust_with
from statement_vectors import at, load, public_key, sign_with

from cardlink.check.readback import ReadBack, check_chuid, check_read_back
from cardlink.piv.chuid import encode_chuid, encode_unsigned_chuid
from cardlink.piv.fascn import FascN
from cardlink.piv.objects import encode_certificate
from cardlink.piv.security_object import encode_lds, encode_security_object
from cardlink.piv.tables import (
    CARD_CREDENTIAL,
    CERT_CARD_AUTH,
    CERT_PIV_AUTH,
    CHUID,
    FACIAL_IMAGE,
    IDENTITY_STATEMENT,
    SECURITY_OBJECT,
    KeyRef,
)
from cardlink.statements.card import read_card_credential
from cardlink.statements.identity import Identity, issue_identity, read_identity
from cardlink.statements.refusal import Reason, Refused
from issuer.trust import cms, profiles
from issuer.trust.ca import ContentSigner

FILE = load("card")
NOW = at(FILE)
CREDENTIAL = bytes.fromhex(FILE["good"][0]["raw"])
CARD_UUID = read_card_credential(CREDENTIAL).value.card_uuid
TRUST = trust_with(FILE, anchor(authority("ca", NOW)))
FACE = b"a made-up portrait"
KEYS = {KeyRef.CARD_AUTH: point("card-9e"), KeyRef.PIV_AUTH: point("card-9a")}
FASCN = FascN(9999, 9999, 999999)
FIVE_YEARS = timedelta(days=5 * 365)


def _certificate(label: str, slot: str, issuer: str = "ca", card_uuid: bytes = CARD_UUID) -> bytes:
    profile = profiles.CARD_PROFILES[slot]
    return encode_certificate(certificate(label, issuer, profile, NOW, card_uuid=card_uuid, ends=FIVE_YEARS))


def _chuid(signer: ContentSigner, card_uuid: bytes = CARD_UUID, expires: date = date(2031, 7, 1)) -> bytes:
    unsigned = encode_unsigned_chuid(FASCN, UUID(bytes=card_uuid), expires)
    return encode_chuid(FASCN, UUID(bytes=card_uuid), expires, cms.sign_chuid(signer, unsigned))


def _security(signer: ContentSigner, objects: dict[int, bytes]) -> bytes:
    contents = {1: objects[CHUID.tag], 2: objects[FACIAL_IMAGE.tag]}
    groups = {1: CHUID.container_id, 2: FACIAL_IMAGE.container_id}
    return encode_security_object(groups, cms.sign_security_object(signer, encode_lds(contents)))


def _identity(face: bytes = FACE) -> bytes:
    first: Identity = read_identity(bytes.fromhex(load("identity")["good"][0]["raw"])).value
    assert first.face_sha256 == hashlib.sha256(FACE).digest()
    if face == FACE:
        return bytes.fromhex(load("identity")["good"][0]["raw"])
    return issue_identity(first, public_key("identity").kid(), sign_with("identity"))


def _card(signer: ContentSigner | None = None, chuid: bytes | None = None) -> dict[int, bytes]:
    signer = signer or content_signer(NOW, ends=FIVE_YEARS)
    objects = {
        CARD_CREDENTIAL.tag: CREDENTIAL,
        IDENTITY_STATEMENT.tag: _identity(),
        CERT_CARD_AUTH.tag: _certificate("card-9e", "9E"),
        CERT_PIV_AUTH.tag: _certificate("card-9a", "9A"),
        CHUID.tag: chuid or _chuid(signer),
        FACIAL_IMAGE.tag: FACE,
    }
    return {**objects, SECURITY_OBJECT.tag: _security(signer, objects)}


def _refused(objects: dict[int, bytes], keys: dict[KeyRef, bytes] | None = None) -> Reason:
    judged = check_read_back(objects, keys or KEYS, TRUST, NOW)
    assert isinstance(judged, Refused)
    return judged.reason


def test_a_card_that_reads_as_written_is_taken() -> None:
    judged = check_read_back(_card(), KEYS, TRUST, NOW)
    assert isinstance(judged, ReadBack)
    assert judged.credential.card.card_uuid == judged.chuid.chuid.guid.bytes == CARD_UUID
    assert judged.identity.full_name == "Đặng Thị Bình Yên"
    assert set(judged.certificates) == set(KEYS)


@pytest.mark.parametrize(
    ("tag", "content", "reason"),
    [
        (CARD_CREDENTIAL.tag, b"", Reason.MALFORMED_CREDENTIAL),
        (IDENTITY_STATEMENT.tag, b"", Reason.MALFORMED_IDENTITY),
        (CERT_CARD_AUTH.tag, b"", Reason.MALFORMED_CERTIFICATE),
        (CERT_PIV_AUTH.tag, b"\x70\x00\x71\x01\x00\xfe\x00", Reason.MALFORMED_CERTIFICATE),
        (CHUID.tag, b"", Reason.MALFORMED_CHUID),
        (CHUID.tag, encode_chuid(FASCN, UUID(bytes=CARD_UUID), date(2031, 7, 1), b"junk"), Reason.MALFORMED_CHUID),
        (SECURITY_OBJECT.tag, b"", Reason.MALFORMED_SECURITY_OBJECT),
        (SECURITY_OBJECT.tag, encode_security_object({1: 0x3000}, b"junk"), Reason.MALFORMED_SECURITY_OBJECT),
        (FACIAL_IMAGE.tag, b"another portrait", Reason.HASH_MISMATCH),
        (CERT_CARD_AUTH.tag, _certificate("clone", "9E"), Reason.KEY_MISMATCH),
        (CERT_PIV_AUTH.tag, _certificate("clone", "9A"), Reason.KEY_MISMATCH),
        (CERT_CARD_AUTH.tag, _certificate("card-9e", "9E", card_uuid=bytes(16)), Reason.UUID_MISMATCH),
        (CERT_CARD_AUTH.tag, _certificate("card-9e", "9A"), Reason.WRONG_EKU),
        (CERT_CARD_AUTH.tag, _certificate("card-9e", "9E", "stranger"), Reason.UNKNOWN_SIGNER),
        (CERT_PIV_AUTH.tag, _certificate("card-9a", "9A", "stranger"), Reason.UNKNOWN_SIGNER),
        (CARD_CREDENTIAL.tag, bytes.fromhex(FILE["good"][1]["raw"]), Reason.KEY_MISMATCH),
    ],
)
def test_an_object_that_is_not_what_was_written_is_named(tag: int, content: bytes, reason: Reason) -> None:
    assert _refused({**_card(), tag: content}) is reason


@pytest.mark.parametrize("tag", [row.tag for row in (CARD_CREDENTIAL, CERT_CARD_AUTH, CHUID, SECURITY_OBJECT)])
def test_a_missing_object_is_refused(tag: int) -> None:
    objects = _card()
    del objects[tag]
    assert _refused(objects).startswith("malformed-")


def test_a_key_that_the_credential_does_not_name_is_refused() -> None:
    assert _refused(_card(), {**KEYS, KeyRef.CARD_AUTH: point("clone")}) is Reason.KEY_MISMATCH
    assert _refused(_card(), {KeyRef.PIV_AUTH: point("card-9a")}) is Reason.KEY_MISMATCH


def test_chuid_of_another_card_is_refused() -> None:
    signer = content_signer(NOW)
    assert _refused(_card(signer, _chuid(signer, bytes(16)))) is Reason.UUID_MISMATCH


def test_a_credential_must_not_outlive_the_chuid() -> None:
    signer = content_signer(NOW)
    assert _refused(_card(signer, _chuid(signer, expires=date(2031, 6, 1)))) is Reason.EXPIRY_MISMATCH


def test_the_content_signer_must_be_one_under_an_anchor() -> None:
    def reason(signer: ContentSigner, now: Any = NOW) -> Reason:
        judged = check_chuid(_chuid(signer), TRUST, now)
        assert isinstance(judged, Refused)
        return judged.reason

    stranger = certificate("content", "stranger", profiles.CONTENT_SIGNER, NOW)
    assert reason(ContentSigner("content", stranger, sign_with("content"))) is Reason.UNKNOWN_SIGNER
    other_purpose = certificate("content", "ca", profiles.CARD_PROFILES["9C"], NOW)
    assert reason(ContentSigner("content", other_purpose, sign_with("content"))) is Reason.WRONG_EKU
    assert reason(content_signer(NOW, ends=timedelta(hours=1)), NOW + timedelta(days=1)) is Reason.EXPIRED
    own = certificate("content", "ca", profiles.CONTENT_SIGNER, NOW)
    assert reason(ContentSigner("content", own, sign_with("clone"))) is Reason.FORGED_STATEMENT


def test_a_chuid_altered_after_signing_is_refused() -> None:
    signer = content_signer(NOW)
    signature = cms.sign_chuid(signer, encode_unsigned_chuid(FASCN, UUID(bytes=CARD_UUID), date(2031, 7, 1)))
    later = encode_chuid(FASCN, UUID(bytes=CARD_UUID), date(2041, 7, 1), signature)
    judged = check_chuid(later, TRUST, NOW)
    assert isinstance(judged, Refused)
    assert judged.reason is Reason.HASH_MISMATCH


def test_a_security_object_by_another_signer_than_the_chuids_is_refused() -> None:
    objects = _card()
    other = certificate("clone", "ca", profiles.CONTENT_SIGNER, NOW, agency="H49.01.03")
    objects[SECURITY_OBJECT.tag] = _security(ContentSigner("clone", other, sign_with("clone")), objects)
    assert _refused(objects) is Reason.KEY_MISMATCH
    own = content_signer(NOW, ends=FIVE_YEARS)
    objects[SECURITY_OBJECT.tag] = _security(ContentSigner("content", own.certificate, sign_with("clone")), objects)
    assert _refused(objects) is Reason.FORGED_STATEMENT


def test_a_biometric_signature_is_no_security_object() -> None:
    signer = content_signer(NOW, ends=FIVE_YEARS)
    objects = _card(signer)
    lds = encode_lds({1: objects[CHUID.tag]})
    signed = cms.sign_biometric(signer, lds, bytes(25), CARD_UUID)
    objects[SECURITY_OBJECT.tag] = encode_security_object({1: CHUID.container_id}, signed)
    assert _refused(objects) is Reason.MALFORMED_SECURITY_OBJECT


def test_a_chuid_with_any_bit_flipped_is_refused() -> None:
    whole = _chuid(content_signer(NOW))
    for place in range(0, len(whole), 3):
        broken = whole[:place] + bytes((whole[place] ^ 1 << place % 8,)) + whole[place + 1 :]
        assert isinstance(check_chuid(broken, TRUST, NOW), Refused)
