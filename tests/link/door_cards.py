"""Virtual cards for door tests, and the keys made for them."""

import os
import secrets
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from cardlink.piv.commands import wrap_object
from cardlink.piv.tables import KEYS, Algorithm, Interface, KeyRef
from cardlink.piv.yubico import Origin
from cardlink.statements.bundle import HolderCard
from cardlink.statements.card import CardCredential
from cardlink.statements.cose_key import from_public_key
from cardlink.transport.loopback import Loopback
from cardos.card import Card
from cardos.factory import make_blank
from cardos.piv.auth import default_pin_policy
from cardos.piv.keys import save_private
from cardos.records import Record, SlotKey, StoredObject, record_name
from cardos.store import MemoryStore
from cardos.vpcd import Answering


class Key:
    """A P-256 signing key."""

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.cose = from_public_key(self.private.public_key())
        self.kid = self.cose.kid()

    def sign(self, data: bytes) -> bytes:
        r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@dataclass
class Issued:
    """A virtual card and what the centre knows of it."""

    card: Card
    key: Key
    credential: CardCredential
    raw: bytes

    def connect(self, interface: Interface = Interface.CONTACTLESS) -> Loopback:
        return connect(self.card, interface)

    @property
    def holder(self) -> tuple[HolderCard, ...]:
        return (HolderCard(self.credential.card_uuid, self.credential.key.key_hash()),)


def connect(card: Answering, interface: Interface = Interface.CONTACTLESS) -> Loopback:
    """A card, or a card with a fault profile on, in the in-process carrier."""
    return Loopback(lambda apdu: card.transmit(apdu, interface))


def card_records(key: Key | None, objects: dict[int, bytes]) -> dict[bytes, bytes]:
    """What a card keeps that has a 9E key and these objects, as personalisation would leave it."""
    image = make_blank(os.urandom(10), (os.urandom(16), os.urandom(16), os.urandom(16)))
    records: list[Record] = [StoredObject(tag, wrap_object(tag, content)) for tag, content in objects.items()]
    if key is not None:
        private = save_private(key.private)
        policy = default_pin_policy(KEYS[KeyRef.CARD_AUTH])
        records.append(SlotKey(KeyRef.CARD_AUTH, Algorithm.P_256, private, Origin.GENERATED, policy))
    image.update((record_name(one.kind, one.number), one.encode()) for one in records)
    return image


def make_card(key: Key | None, objects: dict[int, bytes]) -> Card:
    """That card, powered up."""
    return Card(MemoryStore(card_records(key, objects)))


def uuid4() -> bytes:
    raw = bytearray(secrets.token_bytes(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    return bytes(raw)
