"""The peer of the door benchmark: the same check done with yubikit. Runs in .venv-foreign, driven line by line.

Each `tap` on stdin opens a new session, reads the 9E certificate, verifies the issuer's signature on it, has the card
sign a fresh challenge and verifies that. It answers one JSON line with the seconds it took. Arguments: reader name,
the issuing CA's certificate (PEM file).
"""

import json
import os
import sys
from time import perf_counter
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from smartcard.System import readers
from ykman.pcsc import ScardSmartCardConnection
from yubikit.piv import KEY_TYPE, SLOT, PivSession


def tap(reader: Any, issuer: x509.Certificate) -> None:
    connection = ScardSmartCardConnection(reader.createConnection())
    try:
        session = PivSession(connection)
        certificate = session.get_certificate(SLOT.CARD_AUTH)
        certificate.verify_directly_issued_by(issuer)
        challenge = os.urandom(32)
        signature = session.sign(SLOT.CARD_AUTH, KEY_TYPE.ECCP256, challenge, hashes.SHA256())
        key = certificate.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise TypeError("the 9E certificate has no EC key")
        key.verify(signature, challenge, ec.ECDSA(hashes.SHA256()))
    finally:
        connection.close()


def main() -> None:
    wanted, issuer_path = sys.argv[1:3]
    with open(issuer_path, "rb") as file:
        issuer = x509.load_pem_x509_certificate(file.read())
    (reader,) = [one for one in readers() if one.name == wanted]
    for line in sys.stdin:
        if line.strip() != "tap":
            break
        started = perf_counter()
        tap(reader, issuer)
        print(json.dumps({"seconds": perf_counter() - started}), flush=True)


if __name__ == "__main__":
    main()
