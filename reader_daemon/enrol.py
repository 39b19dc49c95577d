"""Enrolment: this door's own key, and what it pins for good: the root keys, its owner agency, its number."""

import hashlib
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from cardlink.errors import Malformed
from cardlink.statements import cbor
from cardlink.statements.agency import check_agency_code
from cardlink.statements.claims import UUID_BYTES, items, octets, text, uint
from cardlink.statements.cose_key import CoseKey, decode_cose_key, from_public_key
from cardlink.statements.refusal import Refused
from cardlink.statements.trust import MAX_ROOTS, MAX_TRUST_BYTES, Roots, Trust, accept_trust_list
from reader_daemon.centre import Centre
from reader_daemon.errors import EnrolmentRefused, NotEnrolled

FIELDS = {"door", "name", "owner", "roots", "epoch"}
_WHAT = "enrolment"
_ES256 = ec.ECDSA(hashes.SHA256())


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a door was told once, in the presence of a technician, and never takes from the channel again."""

    door: bytes
    name: str
    owner: str
    roots: Roots
    epoch: int

    def encode(self) -> bytes:
        """The bytes of `enrolment.cbor`."""
        return cbor.encode(
            {
                "door": self.door,
                "name": self.name,
                "owner": self.owner,
                "roots": _roots_fields(self.roots),
                "epoch": self.epoch,
            }
        )


class DoorKey:
    """This door's signing key (use `door`), on its own disk. Its `repr` shows the public part alone."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self.public = from_public_key(key.public_key())
        self.kid = self.public.kid()

    def __repr__(self) -> str:
        return f"DoorKey(kid={self.kid.hex()})"

    def sign(self, data: bytes) -> bytes:
        """ES256: r and s, 32 bytes each."""
        r, s = decode_dss_signature(self._key.sign(data, _ES256))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def load_key(path: Path) -> DoorKey:
    """Read the key file. Raises NotEnrolled when it is missing or no P-256 key."""
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise NotEnrolled("key-unreadable", path=path, why=error) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise NotEnrolled("key-unreadable", path=path, why="not a P-256 key")
    return DoorKey(key)


def make_key(path: Path) -> DoorKey:
    """The key in the file, made first when there is none. The file is its owner's alone from its first byte on."""
    if not path.exists():
        pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_private(path, pem)
    return load_key(path)


def write_private(path: Path, content: bytes) -> None:
    """Write a file as a whole, durable, mode 0600."""
    staged = path.with_name(path.name + ".new")
    staged.unlink(missing_ok=True)
    with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(staged, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def fingerprint(roots: Roots) -> str:
    """SHA-256 over the root keys and their threshold: what two people compare at enrolment."""
    return hashlib.sha256(cbor.encode(_roots_fields(roots))).hexdigest()


def load(path: Path) -> Enrolment:
    """Read the enrolment. Raises NotEnrolled."""
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise NotEnrolled("not-enrolled", path=path) from error
    except Malformed as error:
        raise NotEnrolled("enrolment-unreadable", path=path, why=error) from error


def decode(raw: bytes) -> Enrolment:
    """Read the bytes of `enrolment.cbor`. Raises Malformed."""
    value = cbor.decode(raw, max_bytes=8192)
    if not isinstance(value, dict) or value.keys() != FIELDS:
        raise Malformed(_WHAT, f"want exactly {', '.join(sorted(FIELDS))}")
    return _enrolment(value)


def enrol(
    centre: Centre,
    code: str,
    key: DoorKey,
    now: datetime,
    door: bytes | None = None,
    want_fingerprint: str | None = None,
) -> tuple[Enrolment, Trust]:
    """Show the one-time code and this door's public key; take what to pin and the first trust list.

    The roots come over the channel this once, so the technician compares their fingerprint with the centre's.
    Raises EnrolmentRefused, FeedError.
    """
    request: dict[str, object] = {"code": code, "key": key.public.fields()}
    if door is not None:
        request["door"] = door
    answer = centre.enrol(request)
    if answer.status == 403:
        raise EnrolmentRefused("enrolment-code")
    if answer.status != 200:
        raise EnrolmentRefused("enrolment-status", status=answer.status)
    try:
        value = cbor.decode(answer.body, max_bytes=MAX_TRUST_BYTES + 8192)
        if not isinstance(value, dict) or value.keys() != FIELDS | {"trust"} or not isinstance(value["trust"], bytes):
            raise Malformed(_WHAT, "unknown form")
        enrolment = _enrolment(value)
        trust = accept_trust_list(value["trust"], enrolment.roots, now)
    except Malformed as error:
        raise EnrolmentRefused("enrolment-answer", why=error) from error
    if door is not None and enrolment.door != door:
        raise EnrolmentRefused("enrolment-answer", why="it speaks of another door")
    if want_fingerprint is not None and fingerprint(enrolment.roots) != want_fingerprint.replace(" ", "").lower():
        raise EnrolmentRefused("enrolment-fingerprint", found=fingerprint(enrolment.roots))
    if isinstance(trust, Refused):
        raise EnrolmentRefused("enrolment-trust", why=trust.reason)
    return enrolment, trust


def _enrolment(value: dict[object, object]) -> Enrolment:
    return Enrolment(
        door=octets(value["door"], "door UUID", UUID_BYTES),
        name=text(value["name"], "door name", 200),
        owner=check_agency_code(value["owner"]),
        roots=_decode_roots(value["roots"]),
        epoch=uint(value["epoch"], "epoch"),
    )


def _roots_fields(roots: Roots) -> dict[int, object]:
    return {1: roots.threshold, 2: [key.fields() for key in roots.keys]}


def _decode_roots(value: object) -> Roots:
    if not isinstance(value, dict) or value.keys() != {1, 2}:
        raise Malformed("root keys", "want threshold and keys")
    keys: tuple[CoseKey, ...] = tuple(decode_cose_key(one) for one in items(value[2], "root keys", 1, MAX_ROOTS))
    threshold = uint(value[1], "root threshold", len(keys))
    if threshold < 1 or len(set(keys)) != len(keys):
        raise Malformed("root keys", "threshold of zero, or one key twice")
    return Roots(threshold, keys)
