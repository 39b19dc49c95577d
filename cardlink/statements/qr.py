"""The QR codes on the face (F5): a plain one and a signed one, both from the same fields.

The signed text is `<verify URL>#` and the decimal digits of the integer 01‖COSE: the URL part is QR byte mode, the
digits numeric mode, and a browser never sends what follows `#`.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from cardlink.errors import Malformed
from cardlink.statements import cbor
from cardlink.statements.agency import check_agency_code, covers
from cardlink.statements.card import MAX_LIST_LENGTH, MAX_LIST_NUMBER
from cardlink.statements.citizen import DIGITS, Sex
from cardlink.statements.claims import Claim, day, fields, items, second, text, uint
from cardlink.statements.cose import Received, Sign, parse_sign1, sign1
from cardlink.statements.identifier import Identifier, Scheme, build_identifier
from cardlink.statements.identity import MAX_NAME, MAX_TITLE
from cardlink.statements.refusal import Reason, Refused
from cardlink.statements.signers import verify_statement
from cardlink.statements.trust import Signer, Trust, Use

MAX_PLAIN_CHARACTERS: Final = 130  # Decision 838/QĐ-BNV
# Data codewords of version 12-M (ISO/IEC 18004, table 7): the largest code that fits the back at whole printer dots.
MAX_SIGNED_BITS: Final = 290 * 8
MAX_QR_BYTES: Final = 512
_BYTE_HEADER_BITS: Final = 4 + 16  # mode and count, versions 10 to 26
_NUMERIC_HEADER_BITS: Final = 4 + 12
_MARK: Final = 1  # before the COSE bytes, so that leading zeros survive and the form has a version
_WHAT: Final = "QR"
_SEX_WORDS: Final = {Sex.MALE: "Nam", Sex.FEMALE: "Nữ"}


@dataclass(frozen=True, slots=True)
class QrFields:
    """What both codes say."""

    issuer: str
    expires_s: int
    identifier: Identifier
    full_name: str
    birth_date: int
    sex: Sex
    title: str
    status_list: int
    status_index: int


@dataclass(frozen=True, slots=True)
class QrTexts:
    """The text of the plain code (front) and of the signed code (back), and the statement in the latter."""

    plain: str
    signed: str
    statement: bytes


def qr_texts(face: QrFields, title_code: str, verify_url: str, kid: bytes, sign: Sign) -> QrTexts:
    """Make both texts. A title too long for a code gives way to `title_code` there.

    Raises Malformed where even that does not fit: plain over 130 characters, signed over version 12-M.
    """
    plain = plain_text(face)
    if len(plain) > MAX_PLAIN_CHARACTERS:
        plain = plain_text(replace(face, title=title_code))
    if len(plain) > MAX_PLAIN_CHARACTERS:
        raise Malformed(_WHAT, f"plain text of {len(plain)} characters, at most {MAX_PLAIN_CHARACTERS}")
    statement = issue_qr(face, kid, sign)
    if signed_bits(verify_url, statement) > MAX_SIGNED_BITS:
        statement = issue_qr(replace(face, title=title_code), kid, sign)
    if signed_bits(verify_url, statement) > MAX_SIGNED_BITS:
        raise Malformed(_WHAT, f"statement of {len(statement)} bytes does not fit version 12-M")
    return QrTexts(plain, signed_text(verify_url, statement), statement)


def plain_text(face: QrFields) -> str:
    """Identifier, name, birth date (ddmmyyyy), sex and title, separated by `|`."""
    birth = f"{face.birth_date % 100:02d}{face.birth_date // 100 % 100:02d}{face.birth_date // 10_000:04d}"
    parts = (str(face.identifier), face.full_name, birth, _SEX_WORDS[face.sex], face.title)
    if any("|" in part for part in parts):
        raise Malformed(_WHAT, "a field holds the separator |")
    return "|".join(parts)


def signed_text(verify_url: str, statement: bytes) -> str:
    """The URL with the statement as decimal digits in its fragment."""
    if "#" in verify_url or not verify_url.isascii():
        raise Malformed(_WHAT, "verify URL must be ASCII without a fragment")
    return f"{verify_url}#{int.from_bytes(bytes((_MARK,)) + statement, 'big')}"


def parse_fragment(fragment: str) -> bytes:
    """Read the statement out of a scanned fragment: decimal digits without leading zeros."""
    if not (fragment.isascii() and fragment.isdigit()) or len(fragment) > 3 * MAX_QR_BYTES or fragment[0] == "0":
        raise Malformed(_WHAT, "fragment is no decimal number")
    number = int(fragment)
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    if raw[0] != _MARK:
        raise Malformed(_WHAT, "fragment of another form")
    return raw[1:]


def signed_bits(verify_url: str, statement: bytes) -> int:
    """How many bits of a QR code the signed text takes, in the two modes (ISO/IEC 18004 §7.4)."""
    url, digits = signed_text(verify_url, statement).split("#")
    rest = (0, 4, 7)[len(digits) % 3]
    return _BYTE_HEADER_BITS + 8 * (len(url) + 1) + _NUMERIC_HEADER_BITS + len(digits) // 3 * 10 + rest


def encode_qr(face: QrFields) -> bytes:
    """The claims to be signed."""
    identifier = face.identifier
    return cbor.encode(
        {
            Claim.ISS: face.issuer,
            Claim.EXP: face.expires_s,
            Claim.QR: [
                int(identifier.scheme),
                face.full_name,
                face.birth_date,
                int(face.sex),
                int(identifier.citizen_number),
                identifier.agency,
                face.title,
                identifier.third,
                face.status_list,
                face.status_index,
            ],
        }
    )


def issue_qr(face: QrFields, kid: bytes, sign: Sign) -> bytes:
    """Sign the QR statement."""
    payload = encode_qr(face)
    decode_claims(payload)
    return sign1(payload, kid, sign)


def read_qr(raw: bytes) -> Received[QrFields]:
    """Take a QR statement apart. Raises Malformed."""
    statement = parse_sign1(raw, max_bytes=MAX_QR_BYTES)
    if statement.typ is not None:
        raise Malformed(_WHAT, "unexpected type header")
    return Received(decode_claims(statement.payload), statement)


def decode_claims(payload: bytes) -> QrFields:
    """Read the claims of a QR statement."""
    claims = fields(cbor.decode(payload, max_bytes=MAX_QR_BYTES, max_depth=2), _WHAT, (Claim.ISS, Claim.EXP, Claim.QR))
    scheme, name, birth, sex, citizen, agency, title, third, number, index = items(claims[Claim.QR], _WHAT, 10, 10)
    scheme_number, sex_number = uint(scheme, "identifier scheme", 2), uint(sex, "sex", 2)
    if not scheme_number or not sex_number:
        raise Malformed(_WHAT, "scheme or sex is neither 1 nor 2")
    citizen_number = f"{uint(citizen, 'citizen number', 10**DIGITS - 1):0{DIGITS}d}"
    return QrFields(
        issuer=check_agency_code(claims[Claim.ISS]),
        expires_s=second(claims[Claim.EXP], "QR exp"),
        identifier=build_identifier(
            Scheme(scheme_number), check_agency_code(agency), citizen_number, text(third, "third field", 20)
        ),
        full_name=text(name, "full name", MAX_NAME),
        birth_date=day(birth, "birth date"),
        sex=Sex(sex_number),
        title=text(title, "title", MAX_TITLE),
        status_list=uint(number, "status list number", MAX_LIST_NUMBER),
        status_index=uint(index, "status index", MAX_LIST_LENGTH - 1),
    )


def verify_qr(received: Received[QrFields], trust: Trust, now: datetime) -> Signer | Refused:
    """Judge a scanned QR statement: signer, scope, the holder's agency, expiry. The status is asked elsewhere.

    The statement carries no time of issue, so the signer must be active now or its time to verify must still run.
    """
    face = received.value
    if not covers(face.issuer, face.identifier.agency):
        return Refused(Reason.FOREIGN_OBJECT, f"{face.issuer} says who works at {face.identifier.agency}")
    signer = trust.signers.get(received.statement.kid)
    signed_s = signer.entry.signs_from_s if signer is not None else 0
    verified = verify_statement(received.statement, Use.QR, face.issuer, signed_s, trust, now)
    if isinstance(verified, Refused):
        return verified
    if now.timestamp() >= face.expires_s:
        return Refused(Reason.EXPIRED, "QR")
    return verified
