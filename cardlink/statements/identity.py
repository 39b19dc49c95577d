"""The identity statement (F4): who the holder is. It counts only beside a verified card credential."""

from dataclasses import dataclass
from typing import Final

from cardlink.errors import Malformed
from cardlink.statements import cbor
from cardlink.statements.agency import check_agency_code, covers
from cardlink.statements.algorithms import ES256, LONGEST_SIGNATURE, ML_DSA_44, SIGNATURE_BYTES
from cardlink.statements.citizen import Sex
from cardlink.statements.claims import (
    KEY_HASH_BYTES,
    SHA256_BYTES,
    UUID_BYTES,
    Claim,
    day,
    fields,
    octets,
    second,
    text,
    uint,
)
from cardlink.statements.cose import Received, Sign, parse_sign1, sign1
from cardlink.statements.identifier import CATEGORIES, Identifier, Scheme, parse_identifier

MAX_IDENTITY_BYTES: Final = 1024
"""Of a statement by ES256; the claims alone are never longer either."""
MAX_ML_DSA_BYTES: Final = MAX_IDENTITY_BYTES + SIGNATURE_BYTES[ML_DSA_44] - SIGNATURE_BYTES[ES256] + 2
"""The same claims under ML-DSA-44: a longer signature, a longer head of it and of the algorithm's number."""
_MOST: Final = {ES256: MAX_IDENTITY_BYTES, ML_DSA_44: MAX_ML_DSA_BYTES}
_MOST_OF_OTHERS: Final = MAX_IDENTITY_BYTES + LONGEST_SIGNATURE
MAX_NAME: Final = 100
MAX_AGENCY_NAME: Final = 150
MAX_TITLE: Final = 150
MAX_CODE: Final = 20
_WHAT: Final = "identity statement"
_CLAIMS: Final = (Claim.ISS, Claim.EXP, Claim.IAT, Claim.CTI, Claim.IDENTITY)
_FIELDS: Final = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13)


@dataclass(frozen=True, slots=True)
class Identity:
    """The holder of one card. `birth_date` is the number yyyymmdd; `face_sha256` hashes the facial image object."""

    issuer: str
    expires_s: int
    issued_s: int
    card_uuid: bytes
    identifier: Identifier
    full_name: str
    birth_date: int
    sex: Sex
    agency: str
    agency_name: str
    position_code: str
    title: str
    category: str
    key_hash: bytes
    face_sha256: bytes | None = None

    @property
    def citizen_number(self) -> str:
        """The citizen number, which stands in the identifier too."""
        return self.identifier.citizen_number


def encode_identity(identity: Identity) -> bytes:
    """The claims to be signed."""
    holder: dict[int, object] = {
        1: int(identity.identifier.scheme),
        2: str(identity.identifier),
        3: identity.full_name,
        4: identity.birth_date,
        5: int(identity.sex),
        6: identity.citizen_number,
        7: identity.agency,
        8: identity.agency_name,
        9: identity.position_code,
        10: identity.title,
        11: identity.category,
        13: identity.key_hash,
    }
    if identity.face_sha256 is not None:
        holder[12] = identity.face_sha256
    return cbor.encode(
        {
            Claim.ISS: identity.issuer,
            Claim.EXP: identity.expires_s,
            Claim.IAT: identity.issued_s,
            Claim.CTI: identity.card_uuid,
            Claim.IDENTITY: holder,
        }
    )


def issue_identity(identity: Identity, kid: bytes, sign: Sign, alg: int = ES256) -> bytes:
    """Sign an identity statement. Raises Malformed for values that no reader would take."""
    payload = encode_identity(identity)
    decode_claims(payload)
    made = sign1(payload, kid, sign, alg=alg)
    if len(made) > _MOST[alg]:
        raise Malformed(_WHAT, f"too long: want at most {_MOST[alg]} bytes")
    return made


def read_identity(raw: bytes) -> Received[Identity]:
    """Take an identity statement apart. Raises Malformed, also when its fields contradict each other."""
    statement = parse_sign1(raw, max_bytes=_MOST_OF_OTHERS, is_agile=True)
    most = _MOST.get(statement.alg, _MOST_OF_OTHERS)
    if len(raw) > most:
        raise Malformed(_WHAT, f"too long: want at most {most} bytes")
    if statement.typ is not None:
        raise Malformed(_WHAT, "unexpected type header")
    return Received(decode_claims(statement.payload), statement)


def decode_claims(payload: bytes) -> Identity:
    """Read the claims of an identity statement."""
    claims = fields(cbor.decode(payload, max_bytes=MAX_IDENTITY_BYTES, max_depth=2), _WHAT, _CLAIMS)
    holder = fields(claims[Claim.IDENTITY], "holder", _FIELDS, (12,))
    number = uint(holder[1], "identifier scheme", 2)
    if not number:
        raise Malformed("identifier scheme", "want 1 or 2")
    identifier = parse_identifier(Scheme(number), text(holder[2], "identifier", 80))
    sex = uint(holder[5], "sex", 2)
    category = text(holder[11], "category", 8)
    if not sex or category not in CATEGORIES:
        raise Malformed(_WHAT, "sex is neither 1 nor 2, or the category is unknown")
    identity = Identity(
        issuer=check_agency_code(claims[Claim.ISS]),
        expires_s=second(claims[Claim.EXP], "identity exp"),
        issued_s=second(claims[Claim.IAT], "identity iat"),
        card_uuid=octets(claims[Claim.CTI], "card UUID", UUID_BYTES),
        identifier=identifier,
        full_name=text(holder[3], "full name", MAX_NAME),
        birth_date=day(holder[4], "birth date"),
        sex=Sex(sex),
        agency=check_agency_code(holder[7]),
        agency_name=text(holder[8], "agency name", MAX_AGENCY_NAME),
        position_code=text(holder[9], "position code", MAX_CODE, least=0),
        title=text(holder[10], "position title", MAX_TITLE),
        category=category,
        key_hash=octets(holder[13], "key-hash", KEY_HASH_BYTES),
        face_sha256=octets(holder[12], "facial image hash", SHA256_BYTES) if 12 in holder else None,
    )
    if identity.expires_s <= identity.issued_s:
        raise Malformed(_WHAT, "expires before it is issued")
    third = identity.category if identifier.scheme is Scheme.CATEGORY else identity.position_code
    if (identifier.citizen_number, identifier.agency, identifier.third) != (holder[6], identity.agency, third):
        raise Malformed(_WHAT, "identifier contradicts the fields beside it")
    return identity


def belongs_to_issuer(identity: Identity) -> bool:
    """Say whether the holder's agency is the issuer's or stands below it (F2)."""
    return covers(identity.issuer, identity.agency)
