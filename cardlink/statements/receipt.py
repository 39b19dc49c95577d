"""The receipt (F13): a door says up to where it has applied the status feed. Signed with the door's own key."""

from dataclasses import dataclass
from typing import Final

from cardlink.errors import Malformed
from cardlink.statements import cbor
from cardlink.statements.claims import UUID_BYTES, Claim, fields, octets, second, uint
from cardlink.statements.cose import Received, Sign, Sign1, parse_sign1, sign1, verify_sign1
from cardlink.statements.cose_key import CoseKey
from cardlink.statements.refusal import Reason, Refused

MAX_RECEIPT_BYTES: Final = 256
_CLAIMS: Final = (Claim.SUB, Claim.IAT, Claim.EPOCH, Claim.SEQ)


@dataclass(frozen=True, slots=True)
class Receipt:
    """This door stood at this place of the feed at this time."""

    door_uuid: bytes
    time_s: int
    epoch: int
    seq: int


def encode_receipt(receipt: Receipt) -> bytes:
    """The claims to be signed."""
    return cbor.encode(
        {
            Claim.SUB: receipt.door_uuid,
            Claim.IAT: receipt.time_s,
            Claim.EPOCH: receipt.epoch,
            Claim.SEQ: receipt.seq,
        }
    )


def issue_receipt(receipt: Receipt, kid: bytes, sign: Sign) -> bytes:
    """Sign a receipt."""
    payload = encode_receipt(receipt)
    decode_claims(payload)
    return sign1(payload, kid, sign)


def read_receipt(raw: bytes) -> Received[Receipt]:
    """Take a receipt apart. Raises Malformed."""
    statement = parse_sign1(raw, max_bytes=MAX_RECEIPT_BYTES)
    if statement.typ is not None:
        raise Malformed("receipt", "unexpected type header")
    return Received(decode_claims(statement.payload), statement)


def decode_claims(payload: bytes) -> Receipt:
    """Read the claims of a receipt."""
    claims = fields(cbor.decode(payload, max_bytes=MAX_RECEIPT_BYTES, max_depth=1), "receipt", _CLAIMS)
    return Receipt(
        door_uuid=octets(claims[Claim.SUB], "door UUID", UUID_BYTES),
        time_s=second(claims[Claim.IAT], "receipt time"),
        epoch=uint(claims[Claim.EPOCH], "receipt epoch"),
        seq=uint(claims[Claim.SEQ], "receipt seq"),
    )


def verify_receipt(received: Received[Receipt], door_uuid: bytes, key: CoseKey) -> Receipt | Refused:
    """Judge a receipt by the key that the door was enrolled with."""
    if received.value.door_uuid != door_uuid:
        return Refused(Reason.WRONG_DOOR, f"receipt of {received.value.door_uuid.hex()}")
    return check_door_signature(received.statement, key) or received.value


def check_door_signature(statement: Sign1, key: CoseKey) -> Refused | None:
    """Refuse a statement that is not signed by this door key; None when it is."""
    if statement.kid != key.kid():
        return Refused(Reason.UNKNOWN_SIGNER, f"kid {statement.kid.hex()}")
    if not verify_sign1(statement, key.public_key()):
        return Refused(Reason.FORGED_STATEMENT, f"kid {statement.kid.hex()}")
    return None
