"""What a door is told once, at its enrolment, and pins for good: its number, its owner, the root keys."""

import hashlib

from sqlalchemy.orm import Session

from cardlink.statements import cbor
from cardlink.statements.trust import Roots
from issuer.access.tables import Door
from issuer.trust import status, trust_list


def answer(session: Session, door: Door) -> bytes:
    """Write the answer to a door that showed its code; the trust list in it spares the door a request."""
    return cbor.encode(
        {
            "door": door.id.bytes,
            "name": door.name,
            "owner": door.owner_agency,
            "roots": roots_fields(trust_list.roots(session)),
            "epoch": status.head(session).epoch,
            "trust": trust_list.current(session),
        }
    )


def fingerprint(roots: Roots) -> str:
    """SHA-256 over the root keys and their threshold: the technician compares it with what the door shows."""
    return hashlib.sha256(cbor.encode(roots_fields(roots))).hexdigest()


def roots_fields(roots: Roots) -> dict[int, object]:
    """The root keys as F8 writes them."""
    return {1: roots.threshold, 2: [key.fields() for key in roots.keys]}
