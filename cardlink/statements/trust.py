"""The trust list (F8): which keys may sign what, for which agencies; signed by a threshold of root keys."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Final

from cardlink.errors import Malformed
from cardlink.statements import cbor
from cardlink.statements.agency import check_agency_code
from cardlink.statements.akp_key import AkpKey, decode_akp_key, is_ml_dsa_44
from cardlink.statements.algorithms import ES256
from cardlink.statements.card import MAX_LIST_LENGTH, MAX_LIST_NUMBER
from cardlink.statements.claims import KEY_HASH_BYTES, UUID_BYTES, Claim, fields, items, octets, second, uint, word
from cardlink.statements.cose import Sign, SignedBySeveral, VerifyKey, parse_several, sign_several, verify_raw
from cardlink.statements.cose_key import CRV, EC2, KID_BYTES, KTY, P256, CoseKey, decode_cose_key
from cardlink.statements.refusal import Reason, Refused

MAX_TRUST_BYTES: Final = 4 << 20
MAX_LIFE_S: Final = 30 * 86_400
SKEW_S: Final = 300  # how far ahead of ours a signer's clock may be (F6: five minutes)
MAX_ROOTS: Final = 16
_WHAT: Final = "trust list"
_CLAIMS: Final = frozenset(
    map(int, (Claim.EXP, Claim.IAT, Claim.EPOCH, Claim.SEQ, Claim.ROOTS, Claim.KEYS, Claim.ANCHORS, Claim.LISTS))
)


class Use(StrEnum):
    """The one thing a signing key may sign (F2)."""

    CARD = "card"
    IDENTITY = "identity"
    QR = "qr"
    STATUS = "status"
    BUNDLE = "bundle"
    COMMAND = "command"
    DOOR = "door"
    AUDIT = "audit"


AGILE_USES: Final = frozenset({Use.IDENTITY})
"""What may be signed with ML-DSA as well; all else is short and checked by doors, and ES256 (F2)."""


class KeyState(IntEnum):
    """Where a signing key stands in its life."""

    ACTIVE = 0
    RETIRED = 1  # signs no more; what it signed stays good until its time to verify is over
    COMPROMISED = 2


class Profile(StrEnum):
    """What certificates under an anchor look like."""

    OWN = "own"
    FOREIGN_PIV = "foreign-piv"


@dataclass(frozen=True, slots=True)
class OtherKey:
    """A key of an algorithm that this program does not know; the list can be read, the key not used."""

    fields: object


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One signing key: its use, its scope, its times."""

    kid: bytes
    key: CoseKey | AkpKey | OtherKey
    scope: tuple[str, ...]
    use: Use
    signs_from_s: int
    signs_until_s: int
    verifies_until_s: int
    state: KeyState


@dataclass(frozen=True, slots=True)
class Anchor:
    """One X.509 certification authority, for cards checked by certificate."""

    certificate: bytes
    scope: tuple[str, ...]
    profile: Profile


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One status list: its number, how many cards it holds, who signs it."""

    number: int
    length: int
    signer: bytes


@dataclass(frozen=True, slots=True)
class Roots:
    """Root keys and how many of them must sign."""

    threshold: int
    keys: tuple[CoseKey, ...]


@dataclass(frozen=True, slots=True)
class TrustList:
    """What a trust list says. `allowed` are the cards (UUID, key-hash) that a compromised signer does not spoil."""

    expires_s: int
    issued_s: int
    epoch: int
    number: int
    roots: Roots
    keys: tuple[KeyEntry, ...]
    anchors: tuple[Anchor, ...]
    lists: tuple[ListEntry, ...]
    allowed: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Signer:
    """A key of an accepted list, ready to verify with; `public_key` is None for an algorithm that its use is not for.

    That is any algorithm unknown here, and ML-DSA for all but `AGILE_USES`.
    """

    entry: KeyEntry
    public_key: VerifyKey | None = field(repr=False)
    alg: int = ES256


@dataclass(frozen=True, slots=True)
class Trust:
    """An accepted trust list, with what look-ups need. `digest` is SHA-256 of the signed claims."""

    content: TrustList
    raw: bytes = field(repr=False)
    digest: bytes
    signers: Mapping[bytes, Signer] = field(repr=False)
    lists: Mapping[int, ListEntry] = field(repr=False)
    allowed: frozenset[tuple[bytes, bytes]] = field(repr=False)


def encode_trust_list(trust: TrustList) -> bytes:
    """The claims to be signed."""
    claims: dict[int, object] = {
        Claim.EXP: trust.expires_s,
        Claim.IAT: trust.issued_s,
        Claim.EPOCH: trust.epoch,
        Claim.SEQ: trust.number,
        Claim.ROOTS: {1: trust.roots.threshold, 2: [key.fields() for key in trust.roots.keys]},
        Claim.KEYS: [_key_fields(key) for key in trust.keys],
        Claim.ANCHORS: [{1: one.certificate, 2: list(one.scope), 3: str(one.profile)} for one in trust.anchors],
        Claim.LISTS: [{1: one.number, 2: one.length, 3: one.signer} for one in trust.lists],
    }
    if trust.allowed:
        claims[Claim.ALLOWED] = [list(card) for card in trust.allowed]
    return cbor.encode(claims)


def issue_trust_list(trust: TrustList, signers: Sequence[tuple[bytes, Sign]]) -> bytes:
    """Sign a trust list with one (kid, sign) per root key. Raises Malformed for a list no door would read."""
    payload = encode_trust_list(trust)
    decode_claims(payload)
    return sign_several(payload, signers)


def accept_trust_list(raw: bytes, held: Trust | Roots, now: datetime) -> Trust | Refused:
    """Judge a list against the one held, or against the pinned roots of an enrolment. Raises Malformed.

    The list must be signed by the threshold of the held roots and by its own. A lower number is refused; the same
    number is taken again only with the same content.
    """
    several = parse_several(raw, max_bytes=MAX_TRUST_BYTES)
    content = decode_claims(several.payload)
    digest = hashlib.sha256(several.payload).digest()
    for roots in (held if isinstance(held, Roots) else held.content.roots, content.roots):
        short = _check_signatures(several, roots)
        if short is not None:
            return short
    if isinstance(held, Trust):
        if content.number < held.content.number or content.epoch < held.content.epoch:
            return Refused(Reason.OLDER, f"trust list {content.number} after {held.content.number}")
        if content.number == held.content.number and digest != held.digest:
            return Refused(Reason.FORKED, f"two trust lists {content.number}")
    now_s = now.timestamp()
    if content.issued_s > now_s + SKEW_S:
        return Refused(Reason.NOT_YET_VALID, "trust list is issued later than now")
    if now_s >= content.expires_s:  # RFC 8392 §3.1.4: not on or after
        return Refused(Reason.EXPIRED, "trust list")
    return _ready(raw, content, digest)


def reload_trust_list(raw: bytes) -> Trust | Refused:
    """Read back a list that was accepted and stored: its own signatures are checked, not its age. Raises Malformed."""
    several = parse_several(raw, max_bytes=MAX_TRUST_BYTES)
    content = decode_claims(several.payload)
    short = _check_signatures(several, content.roots)
    if short is not None:
        return short
    return _ready(raw, content, hashlib.sha256(several.payload).digest())


def decode_claims(payload: bytes) -> TrustList:
    """Read the claims of a trust list."""
    claims = fields(cbor.decode(payload, max_bytes=MAX_TRUST_BYTES), _WHAT, _CLAIMS, (Claim.ALLOWED,))
    trust = TrustList(
        expires_s=second(claims[Claim.EXP], "trust list exp"),
        issued_s=second(claims[Claim.IAT], "trust list iat"),
        epoch=uint(claims[Claim.EPOCH], "trust list epoch"),
        number=uint(claims[Claim.SEQ], "trust list number"),
        roots=_decode_roots(claims[Claim.ROOTS]),
        keys=tuple(_decode_key(one) for one in items(claims[Claim.KEYS], "trust list keys")),
        anchors=tuple(_decode_anchor(one) for one in items(claims[Claim.ANCHORS], "trust list anchors")),
        lists=tuple(_decode_list(one) for one in items(claims[Claim.LISTS], "trust list lists")),
        allowed=tuple(_decode_allowed(one) for one in items(claims.get(Claim.ALLOWED, []), "allow-list")),
    )
    if not trust.issued_s < trust.expires_s <= trust.issued_s + MAX_LIFE_S:
        raise Malformed(_WHAT, "want a life of at most 30 days")
    kids = {key.kid: key.use for key in trust.keys}
    if len(kids) != len(trust.keys):
        raise Malformed(_WHAT, "one kid twice")
    if len({one.number for one in trust.lists}) != len(trust.lists):
        raise Malformed(_WHAT, "one status list twice")
    if any(kids.get(one.signer) is not Use.STATUS for one in trust.lists):
        raise Malformed(_WHAT, "the signer of a status list is no key of use status")
    return trust


def _check_signatures(several: SignedBySeveral, roots: Roots) -> Refused | None:
    """None when the threshold is met; a wrong signature in the name of a root key is a refusal of its own."""
    good = 0
    by_kid = {key.kid(): key for key in roots.keys}
    for one in several.signatures:
        key = by_kid.get(one.kid)
        if key is not None:
            if not verify_raw(key.public_key(), one.signature, several.to_be_signed(one)):
                return Refused(Reason.FORGED_STATEMENT, f"trust list, root key {one.kid.hex()}")
            good += 1
    if good < roots.threshold:
        return Refused(Reason.THRESHOLD_NOT_MET, f"{good} of {roots.threshold} root keys")
    return None


def _ready(raw: bytes, content: TrustList, digest: bytes) -> Trust:
    signers = {}
    for entry in content.keys:
        key = entry.key
        if isinstance(key, CoseKey) or (isinstance(key, AkpKey) and entry.use in AGILE_USES):
            signers[entry.kid] = Signer(entry, key.public_key(), key.alg)
        else:
            signers[entry.kid] = Signer(entry, None)
    return Trust(content, raw, digest, signers, {one.number: one for one in content.lists}, frozenset(content.allowed))


def _key_fields(key: KeyEntry) -> dict[int, object]:
    return {
        1: key.kid,
        2: key.key.fields if isinstance(key.key, OtherKey) else key.key.fields(),
        3: list(key.scope),
        4: str(key.use),
        5: key.signs_from_s,
        6: key.signs_until_s,
        7: key.verifies_until_s,
        8: int(key.state),
    }


def _decode_roots(value: object) -> Roots:
    roots = fields(value, "root keys", (1, 2))
    keys = tuple(decode_cose_key(one) for one in items(roots[2], "root keys", 1, MAX_ROOTS))
    threshold = uint(roots[1], "root threshold", len(keys))
    if threshold < 1 or len(set(keys)) != len(keys):
        raise Malformed("root keys", "threshold of zero, or one key twice")
    for key in keys:
        key.public_key()
    return Roots(threshold, keys)


def _decode_key(value: object) -> KeyEntry:
    key = fields(value, "trusted key", (1, 2, 3, 4, 5, 6, 7, 8))
    kid = octets(key[1], "kid", KID_BYTES)
    cose_key: CoseKey | AkpKey | OtherKey = OtherKey(key[2])
    if type(key[2]) is dict and key[2].get(KTY) == EC2 and key[2].get(CRV) == P256:
        cose_key = decode_cose_key(key[2])
    elif is_ml_dsa_44(key[2]):
        cose_key = decode_akp_key(key[2])
    if not isinstance(cose_key, OtherKey) and cose_key.kid() != kid:
        raise Malformed("trusted key", "kid is not the thumbprint of the key")
    use = word(key[4], "use")
    if use not in set(Use):
        raise Malformed("trusted key", f"unknown use {use}")
    entry = KeyEntry(
        kid=kid,
        key=cose_key,
        scope=_decode_scope(key[3]),
        use=Use(use),
        signs_from_s=second(key[5], "signs from"),
        signs_until_s=second(key[6], "signs until"),
        verifies_until_s=second(key[7], "verifies until"),
        state=KeyState(uint(key[8], "key state", KeyState.COMPROMISED)),
    )
    if not entry.signs_from_s < entry.signs_until_s <= entry.verifies_until_s:
        raise Malformed("trusted key", "want signs from < signs until <= verifies until")
    return entry


def _decode_anchor(value: object) -> Anchor:
    anchor = fields(value, "anchor", (1, 2, 3))
    profile = word(anchor[3], "anchor profile")
    if type(anchor[1]) is not bytes or not 1 <= len(anchor[1]) <= 8192:
        raise Malformed("anchor", "want a certificate of 1 to 8192 bytes")
    if profile not in set(Profile):
        raise Malformed("anchor", f"unknown profile {profile}")
    return Anchor(anchor[1], _decode_scope(anchor[2]), Profile(profile))


def _decode_list(value: object) -> ListEntry:
    entry = fields(value, "status list entry", (1, 2, 3))
    number = uint(entry[1], "status list number", MAX_LIST_NUMBER)
    length = uint(entry[2], "status list length", MAX_LIST_LENGTH)
    if not length:
        raise Malformed("status list entry", "a list of length 0")
    return ListEntry(number, length, octets(entry[3], "status list signer", KID_BYTES))


def _decode_allowed(value: object) -> tuple[bytes, bytes]:
    card_uuid, key_hash = items(value, "allow-list entry", 2, 2)
    return octets(card_uuid, "card UUID", UUID_BYTES), octets(key_hash, "key-hash", KEY_HASH_BYTES)


def _decode_scope(value: object) -> tuple[str, ...]:
    scope = tuple(check_agency_code(one, "scope") for one in items(value, "scope", 1, 256))
    if len(set(scope)) != len(scope):
        raise Malformed("scope", "one prefix twice")
    return scope
