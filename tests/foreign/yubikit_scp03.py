"""Opens SCP03 channels with yubikit. Runs in .venv-foreign: reader and the static keys as arguments, JSON out.

yubikit sends extended APDUs over a connection whose transport is USB and cuts commands into short ones over any other.
Which one a contact reader of another maker is, it can't know: `extended` tells it, as its connection class may.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from smartcard.System import readers
from ykman.pcsc import ScardSmartCardConnection
from yubikit.core import TRANSPORT
from yubikit.core.smartcard import ApduError
from yubikit.core.smartcard.scp import KeyRef, Scp03KeyParams, ScpKid, StaticKeys
from yubikit.piv import DEFAULT_MANAGEMENT_KEY, KEY_TYPE, OBJECT_ID, SLOT, InvalidPinError, PivSession
from yubikit.securitydomain import SecurityDomainSession

PIN = "123456"
SAID = "Thẻ mở cửa".encode()
NEW_KEYS = StaticKeys(bytes([0xB1] * 16), bytes([0xB2] * 16), bytes([0xB3] * 16))
NEW_KVN = 0x31


class ExtendedConnection(ScardSmartCardConnection):
    """A reader that takes extended APDUs."""

    @property
    def transport(self) -> TRANSPORT:
        return TRANSPORT.USB


def attempt(call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call answers, or how it is refused."""
    try:
        return call(*arguments)
    except ApduError as refused:
        return f"{refused.sw:04X}"
    except InvalidPinError as wrong:
        return f"{wrong.attempts_remaining} left"
    except ValueError as error:
        return str(error)


def domain(connection: ScardSmartCardConnection, keys: Scp03KeyParams) -> dict[str, Any]:
    """The security domain: what it tells, a key set more and less, stored data."""
    session = SecurityDomainSession(connection)
    told: dict[str, Any] = {
        "keys": {str(list(ref)): dict(kinds) for ref, kinds in session.get_key_information().items()},
        "recognition": session.get_card_recognition_data().hex(),
        "wrong_keys": attempt(lambda: session.authenticate(Scp03KeyParams(keys.ref, NEW_KEYS))),
        "wrong_kvn": attempt(lambda: session.authenticate(Scp03KeyParams(KeyRef(ScpKid.SCP03, 0x7E), keys.keys))),
    }
    session.authenticate(keys)
    session.put_key(KeyRef(ScpKid.SCP03, NEW_KVN), NEW_KEYS)
    told["added"] = sorted({ref.kvn for ref in session.get_key_information()})
    other = Scp03KeyParams(KeyRef(ScpKid.SCP03, NEW_KVN), NEW_KEYS)
    session = SecurityDomainSession(connection)
    session.authenticate(other)
    told["replaced"] = attempt(lambda: session.put_key(KeyRef(ScpKid.SCP03, NEW_KVN), NEW_KEYS, NEW_KVN))
    session = SecurityDomainSession(connection)
    session.authenticate(keys)
    session.delete_key(kvn=NEW_KVN)
    told["deleted"] = sorted({ref.kvn for ref in session.get_key_information()})
    told["deleted_key"] = attempt(lambda: SecurityDomainSession(connection).authenticate(other))
    session = SecurityDomainSession(connection)
    session.authenticate(keys)
    session.store_data(bytes.fromhex("4204" + b"VNTM".hex()))
    told["stored"] = SecurityDomainSession(connection).get_data(0x42).hex()
    told["clear"] = attempt(lambda: SecurityDomainSession(connection).store_data(bytes.fromhex("420100")))
    return told


def piv(connection: ScardSmartCardConnection, keys: Scp03KeyParams) -> dict[str, Any]:
    """PIV under SCP03: short and long commands and answers, the administrator, the holder."""
    session = PivSession(connection, keys)
    told: dict[str, Any] = {"version": str(session.version)}
    session.authenticate(DEFAULT_MANAGEMENT_KEY)
    for size in (1, 200, 230, 300, 3000):
        session.put_object(OBJECT_ID.FACIAL, bytes(size))
        session.verify_pin(PIN)
        told[f"object {size}"] = session.get_object(OBJECT_ID.FACIAL) == bytes(size)
    public = session.generate_key(SLOT.SIGNATURE, KEY_TYPE.ECCP256)
    session.verify_pin(PIN)
    signature = session.sign(SLOT.SIGNATURE, KEY_TYPE.ECCP256, SAID, hashes.SHA256())
    public.verify(signature, SAID, ec.ECDSA(hashes.SHA256()))
    private = rsa.generate_private_key(65537, 2048)
    session.put_key(SLOT.AUTHENTICATION, private)
    session.verify_pin(PIN)
    signature = session.sign(SLOT.AUTHENTICATION, KEY_TYPE.RSA2048, SAID, hashes.SHA256(), padding.PKCS1v15())
    private.public_key().verify(signature, SAID, padding.PKCS1v15(), hashes.SHA256())
    told["wrong_puk"] = attempt(lambda: session.change_puk("99999999", "12345678"))
    told["after_an_error"] = session.get_pin_attempts()
    told["clear_again"] = attempt(lambda: PivSession(connection).put_object(OBJECT_ID.IRIS, b"x"))
    return told


def main() -> None:
    name, extended, kvn, *parts = sys.argv[1:]
    (reader,) = [one for one in readers() if one.name == name]
    kind = ExtendedConnection if extended == "extended" else ScardSmartCardConnection
    connection = kind(reader.createConnection())
    keys = Scp03KeyParams(KeyRef(ScpKid.SCP03, int(kvn, 16)), StaticKeys(*map(bytes.fromhex, parts)))
    try:
        print(json.dumps({"domain": domain(connection, keys), "piv": piv(connection, keys)}))
    finally:
        connection.close()


if __name__ == "__main__":
    main()
