"""Reads with yubikit what a card shows anybody. Runs in .venv-foreign: reader name as argument, JSON out."""

import json
import sys

from cryptography.hazmat.primitives.serialization import Encoding
from smartcard.System import readers
from ykman.pcsc import ScardSmartCardConnection
from yubikit.piv import OBJECT_ID, SLOT, Chuid, PivSession

SLOTS = {"9a": SLOT.AUTHENTICATION, "9c": SLOT.SIGNATURE, "9d": SLOT.KEY_MANAGEMENT, "9e": SLOT.CARD_AUTH}


def main() -> None:
    (reader,) = [one for one in readers() if one.name == sys.argv[1]]
    connection = ScardSmartCardConnection(reader.createConnection())
    try:
        session = PivSession(connection)
        told = {name: session.get_certificate(slot).public_bytes(Encoding.PEM).decode() for name, slot in SLOTS.items()}
        guid = Chuid.from_bytes(session.get_object(OBJECT_ID.CHUID)).guid.hex()
    finally:
        connection.close()
    print(json.dumps({"guid": guid, "certificates": told}))


if __name__ == "__main__":
    main()
