"""The card that `./run bench card` measures, in memory or in a file, and the commands that it is asked."""

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cardlink.gp.scp03 import StaticKeys
from cardlink.iso7816.apdu import EXTENDED_NE_MAX
from cardlink.piv.commands import SELECT_PIV_APDU, get_data, sign_with_card_key_apdu, verify, wrap_object
from cardlink.piv.cvc import CVC_TAG, ISSUER_ID_BYTES, issue_card_cvc
from cardlink.piv.objects import Discovery, encode_discovery
from cardlink.piv.pins import FACTORY_PIN, encode_pin
from cardlink.piv.secure_messaging import CS2
from cardlink.piv.tables import CERT_CARD_AUTH, DISCOVERY, KEYS, Algorithm, KeyRef
from cardlink.piv.yubico import Origin, PinPolicy
from cardos.factory import make_blank
from cardos.image import FileStore
from cardos.piv.auth import default_pin_policy
from cardos.piv.keys import save_private
from cardos.records import Record, SlotKey, StoredObject, record_name
from demo.slots import CardFile

SERIAL_BYTES = 10
CERTIFICATE_BYTES = 1500

SELECT = SELECT_PIV_APDU
GET_SHORT = get_data(DISCOVERY.tag).encode()
GET_LONG = get_data(CERT_CARD_AUTH.tag)._replace(le=EXTENDED_NE_MAX, extended=True).encode()
SIGN = sign_with_card_key_apdu(bytes(range(32)))
VERIFY = verify(encode_pin(FACTORY_PIN)).encode()


def random_keys(key_bytes: int = 32) -> StaticKeys:
    """An SCP03 key set of its own."""
    return StaticKeys(*(os.urandom(key_bytes) for _ in range(3)))


def sample_records(keys: StaticKeys | None = None, serial: bytes | None = None) -> dict[bytes, bytes]:
    """A blank with a card authentication key, a Discovery Object and something as long as a certificate."""
    policy = default_pin_policy(KEYS[KeyRef.CARD_AUTH])
    private = save_private(ec.generate_private_key(ec.SECP256R1()))
    added: tuple[Record, ...] = (
        SlotKey(KeyRef.CARD_AUTH, Algorithm.P_256, private, Origin.GENERATED, policy),
        StoredObject(DISCOVERY.tag, wrap_object(DISCOVERY.tag, encode_discovery(Discovery()))),
        StoredObject(CERT_CARD_AUTH.tag, wrap_object(CERT_CARD_AUTH.tag, os.urandom(CERTIFICATE_BYTES))),
    )
    records = make_blank(serial or os.urandom(SERIAL_BYTES), keys or random_keys())
    records.update(_by_name(added))
    return records


def messaging_key(issuer: ec.EllipticCurvePrivateKey) -> dict[bytes, bytes]:
    """The records that give a card secure messaging of cipher suite 2, certified by that issuer."""
    private = ec.generate_private_key(CS2.curve)
    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    cvc = issue_card_cvc(
        CS2, point, os.urandom(16), bytes(ISSUER_ID_BYTES), lambda body: issuer.sign(body, ec.ECDSA(CS2.signature_hash))
    )
    added: tuple[Record, ...] = (
        SlotKey(KeyRef.SECURE_MESSAGING, CS2.algorithm, save_private(private), Origin.GENERATED, PinPolicy.NEVER),
        StoredObject(CVC_TAG, wrap_object(CVC_TAG, cvc)),
    )
    return _by_name(added)


def _by_name(records: tuple[Record, ...]) -> dict[bytes, bytes]:
    return {record_name(record.kind, record.number): record.encode() for record in records}


def write_image(folder: Path) -> CardFile:
    """The card in a file, with the secret that seals it beside it."""
    image = folder / "bench.card"
    secret = os.urandom(32)
    image.with_name(image.name + ".key").write_text(secret.hex() + "\n", encoding="ascii")
    serial = os.urandom(SERIAL_BYTES)
    FileStore.create(image, secret, sample_records(serial=serial)).close()
    return CardFile("bench", image, serial.hex())
