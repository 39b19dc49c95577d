"""The card credential (F3): what a door reads. It names no person."""

import re
from dataclasses import dataclass
from typing import Final

from cardlink.errors import Malformed
from cardlink.statements import cbor
from cardlink.statements.agency import check_agency_code
from cardlink.statements.claims import UUID_BYTES, Claim, fields, octets, second, uint
from cardlink.statements.cose import Received, Sign, Sign1, parse_sign1, sign1
from cardlink.statements.cose_key import CoseKey, decode_cose_key

MAX_CREDENTIAL_BYTES: Final = 252  # one short APDU with the object's header (F3)
STATUS_URI: Final = "urn:themo:status:"
MAX_LIST_NUMBER: Final = 0xFFFF
MAX_LIST_LENGTH: Final = 1 << 22  # F6
COSE_KEY: Final = 1  # confirmation method, RFC 8747 §3.1
_WHAT: Final = "card credential"
_CLAIMS: Final = frozenset(map(int, (Claim.ISS, Claim.EXP, Claim.IAT, Claim.CTI, Claim.CNF, Claim.STATUS)))
# `card-credential` (F3) as it is encoded, with times of four bytes; what a pattern cannot say is checked after.
_USUAL: Final = re.compile(
    rb"\xa6\x01([\x61-\x77]|\x78[\x18-\x23])([0-9A-Z.]+)"  # its length in front of the agency
    rb"\x04\x1a(.{4})\x06\x1a(.{4})\x07\x50(.{16})"
    rb"\x08\xa1\x01\xa4\x01\x02\x20\x01\x21\x58\x20(.{32})\x22([\xf4\xf5])"
    rb"\x19\xff\xff\xa1\x6bstatus_list\xa2\x63idx([\x00-\x17]|\x18[\x18-\xff]|\x19..|\x1a....)"
    rb"\x63uri(.)urn:themo:status:(0|[1-9][0-9]{0,4})",
    re.DOTALL,
)
_LEAST_INDEX: Final = {1: 0, 2: 24, 3: 1 << 8, 5: 1 << 16}  # that needs so many bytes (RFC 8949 §4.2.1)


@dataclass(frozen=True, slots=True)
class CardCredential:
    """What the issuer says about a card: whose it is, until when, its key, and where its status stands."""

    agency: str
    expires_s: int
    issued_s: int
    card_uuid: bytes
    key: CoseKey
    status_list: int
    status_index: int


def encode_card_credential(card: CardCredential) -> bytes:
    """The claims to be signed."""
    return cbor.encode(
        {
            Claim.ISS: card.agency,
            Claim.EXP: card.expires_s,
            Claim.IAT: card.issued_s,
            Claim.CTI: card.card_uuid,
            Claim.CNF: {COSE_KEY: card.key.fields()},
            Claim.STATUS: {
                "status_list": {"idx": card.status_index, "uri": status_uri(card.status_list)},
            },
        }
    )


def issue_card_credential(card: CardCredential, kid: bytes, sign: Sign) -> bytes:
    """Sign a card credential. Raises Malformed for values no door would accept and for more than 252 bytes."""
    payload = encode_card_credential(card)
    decode_claims(payload)
    raw = sign1(payload, kid, sign)
    if len(raw) > MAX_CREDENTIAL_BYTES:
        raise Malformed(_WHAT, f"too long: {len(raw)} bytes, at most {MAX_CREDENTIAL_BYTES}")
    return raw


def read_card_credential(raw: bytes) -> Received[CardCredential]:
    """Take a card credential apart. Raises Malformed; says nothing yet about who signed it."""
    statement = parse_sign1(raw, max_bytes=MAX_CREDENTIAL_BYTES)
    return Received(decode_card_credential(statement), statement)


def decode_card_credential(statement: Sign1) -> CardCredential:
    """Read the claims of a credential's envelope."""
    if statement.typ is not None:
        raise Malformed(_WHAT, "unexpected type header")
    return decode_claims(statement.payload)


def decode_claims(payload: bytes) -> CardCredential:
    """Read the claims of a card credential."""
    card = _read_usual(payload)
    return _read_any(payload) if card is None else card


def _read_usual(payload: bytes) -> CardCredential | None:
    """Read the one shape that issued credentials have, in a third of the time; None says: read it the long way.

    A door reads thousands of these a day and one at a time, so this is its hot path. What is read here is the
    deterministic encoding, byte for byte; anything in doubt is left to `_read_any`. A test holds the two together.
    """
    found = _USUAL.fullmatch(payload)
    if found is None:
        return None
    length, agency, exp, iat, card_uuid, x, y, idx, uri_head, digits = found.groups()
    expires_s, issued_s = int.from_bytes(exp, "big"), int.from_bytes(iat, "big")
    index = idx[0] if len(idx) == 1 else int.from_bytes(idx[1:], "big")
    if (
        len(agency) != (length[0] - 0x60 if len(length) == 1 else length[1])
        or uri_head[0] != 0x60 + len(STATUS_URI) + len(digits)
        or not _LEAST_INDEX[len(idx)] <= index < MAX_LIST_LENGTH
        or int(digits) > MAX_LIST_NUMBER
        or not 0xFFFF < issued_s < expires_s  # below, four bytes are not the shortest form
        or card_uuid[6] >> 4 != 4
        or card_uuid[8] >> 6 != 2
    ):
        return None
    return CardCredential(
        agency=check_agency_code(agency.decode()),
        expires_s=expires_s,
        issued_s=issued_s,
        card_uuid=card_uuid,
        key=CoseKey(x, y == b"\xf5"),
        status_list=int(digits),
        status_index=index,
    )


def _read_any(payload: bytes) -> CardCredential:
    """Read any claims, or say what is wrong with them."""
    claims = fields(cbor.decode(payload, max_bytes=MAX_CREDENTIAL_BYTES, max_depth=4), _WHAT, _CLAIMS)
    confirmation = fields(claims[Claim.CNF], "card credential cnf", (COSE_KEY,))
    number, index = _decode_status(claims[Claim.STATUS])
    card_uuid = octets(claims[Claim.CTI], "card UUID", UUID_BYTES)
    if card_uuid[6] >> 4 != 4 or card_uuid[8] >> 6 != 2:
        raise Malformed("card UUID", "not a version 4 UUID")
    card = CardCredential(
        agency=check_agency_code(claims[Claim.ISS]),
        expires_s=second(claims[Claim.EXP], "card credential exp"),
        issued_s=second(claims[Claim.IAT], "card credential iat"),
        card_uuid=card_uuid,
        key=decode_cose_key(confirmation[COSE_KEY]),
        status_list=number,
        status_index=index,
    )
    if card.expires_s <= card.issued_s:
        raise Malformed(_WHAT, "expires before it is issued")
    return card


def status_uri(number: int) -> str:
    """The name of status list n."""
    return f"{STATUS_URI}{number}"


def parse_status_uri(value: object) -> int:
    """Read the number of a status list out of its name; the number has no leading zeros."""
    if type(value) is str and value.startswith(STATUS_URI):
        digits = value[len(STATUS_URI) :]
        if digits.isascii() and digits.isdigit() and len(digits) <= 5:
            number = int(digits)
            if number <= MAX_LIST_NUMBER and str(number) == digits:
                return number
    raise Malformed("status list name", f"want {STATUS_URI}n")


def _decode_status(value: object) -> tuple[int, int]:
    if type(value) is not dict or value.keys() != {"status_list"}:
        raise Malformed("card credential status", "want status_list alone")
    entry = value["status_list"]
    if type(entry) is not dict or entry.keys() != {"idx", "uri"}:
        raise Malformed("card credential status", "want idx and uri alone")
    return parse_status_uri(entry["uri"]), uint(entry["idx"], "status index", MAX_LIST_LENGTH - 1)
