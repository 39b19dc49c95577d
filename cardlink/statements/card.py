"""The card credential (F3): what a door reads. It names no person."""

from dataclasses import dataclass
from struct import Struct
from typing import Final

from cardlink.errors import Malformed
from cardlink.statements import cbor
from cardlink.statements.agency import MAX_CHARACTERS, check_agency_code
from cardlink.statements.claims import UUID_BYTES, Claim, fields, octets, second, uint
from cardlink.statements.cose import Received, Sign, Sign1, parse_sign1, sign1
from cardlink.statements.cose_key import CoseKey, decode_cose_key

MAX_CREDENTIAL_BYTES: Final = 252  # one short APDU with the object's header (F3)
STATUS_URI: Final = "urn:themo:status:"
_STATUS_URI: Final = STATUS_URI.encode()
MAX_LIST_NUMBER: Final = 0xFFFF
MAX_LIST_DIGITS: Final = 5
MAX_LIST_LENGTH: Final = 1 << 22  # F6
COSE_KEY: Final = 1  # confirmation method, RFC 8747 §3.1
_WHAT: Final = "card credential"
_CLAIMS: Final = frozenset(map(int, (Claim.ISS, Claim.EXP, Claim.IAT, Claim.CTI, Claim.CNF, Claim.STATUS)))
# What stands behind the agency in the encoding of `card-credential` with times of four bytes, marks and values in turn.
_BEHIND_AGENCY: Final = Struct(">2s4s2s4s2s16s11s32sBB21s")
_MARKS: Final = (
    b"\x04\x1a",
    b"\x06\x1a",
    b"\x07\x50",
    b"\x08\xa1\x01\xa4\x01\x02\x20\x01\x21\x58\x20",
    0x22,
    b"\x19\xff\xff\xa1\x6bstatus_list\xa2\x63idx",
)
_URI_MARK: Final = b"\x63uri"
_INDEX_BYTES: Final = {0x18: (1, 24), 0x19: (2, 1 << 8), 0x1A: (4, 1 << 16)}  # its bytes, and the least that needs them


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
    size = len(payload)
    if size < 4 or payload[:2] != b"\xa6\x01":
        return None
    start, length = (4, payload[3]) if payload[2] == 0x78 else (3, payload[2] - 0x60)
    end = start + length
    if (start == 4 and length < 24) or not 1 <= length <= MAX_CHARACTERS or size < end + _BEHIND_AGENCY.size + 5:
        return None
    mark_exp, exp, mark_iat, iat, mark_cti, card_uuid, mark_cnf, x, mark_y, y, mark_status = _BEHIND_AGENCY.unpack_from(
        payload, end
    )
    agency, at = payload[start:end], end + _BEHIND_AGENCY.size
    index, at = payload[at], at + 1
    if index > 23:
        following, least = _INDEX_BYTES.get(index, (0, 0))
        index, at = int.from_bytes(payload[at : at + following], "big"), at + following
        if index < least or not following:
            return None
    uri, digits = payload[at : at + 5], payload[at + 5 + len(_STATUS_URI) :]
    expires_s, issued_s = int.from_bytes(exp, "big"), int.from_bytes(iat, "big")
    if (
        (mark_exp, mark_iat, mark_cti, mark_cnf, mark_y, mark_status) != _MARKS
        or (start == 3 and length > 23)
        or y & 0xFE != 0xF4
        or uri != _URI_MARK + bytes((0x60 | (len(_STATUS_URI) + len(digits)) & 0x1F,))
        or payload[at + 5 : at + 5 + len(_STATUS_URI)] != _STATUS_URI
        or not digits.isdigit()
        or not len(digits) <= MAX_LIST_DIGITS
        or (digits[0] == 0x30 and len(digits) > 1)
        or index >= MAX_LIST_LENGTH
        or int(digits) > MAX_LIST_NUMBER
        or not 0xFFFF < issued_s < expires_s  # below, four bytes are not the shortest form
        or card_uuid[6] >> 4 != 4
        or card_uuid[8] >> 6 != 2
        or not agency.isascii()
    ):
        return None
    return CardCredential(
        agency=check_agency_code(agency.decode()),
        expires_s=expires_s,
        issued_s=issued_s,
        card_uuid=card_uuid,
        key=CoseKey(x, y == 0xF5),
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
