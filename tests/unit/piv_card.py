"""Cards for the tests of the PIV commands, and how to talk to them."""

from dataclasses import dataclass
from functools import cache

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import Command
from cardlink.piv import commands as piv
from cardlink.piv import tables
from cardlink.piv.tables import Algorithm, Interface
from cardlink.piv.templates import (
    Authentication,
    PublicKey,
    decode_public_key,
)
from cardlink.transport.connection import command as say
from cardlink.transport.loopback import Loopback
from cardos.card import Card
from cardos.defaults import FACTORY_ADMIN_KEY
from cardos.factory import make_blank
from cardos.store import MemoryStore

SERIAL = bytes.fromhex("0001000200C0FFEE0001")
TRANSPORT = (bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48)))  # made up for these tests
PIN, PUK, WRONG = b"123456\xff\xff", b"12345678", b"654321\xff\xff"
CONTACT, CONTACTLESS = Interface.CONTACT, Interface.CONTACTLESS


def sw(card: Card, apdu: Command | bytes, interface: Interface = CONTACT) -> int:
    raw = apdu if isinstance(apdu, bytes) else apdu.encode()
    return int.from_bytes(card.transmit(raw, interface)[-2:], "big")


def send(card: Card, apdu: Command) -> bytes:
    """Say one command over contact, with chain and GET RESPONSE; raises CardStatus."""
    return say(Loopback(card.transmit), apdu)


def become_admin(card: Card) -> None:
    template = tlv.unwrap(
        send(card, piv.general_authenticate(Algorithm.AES_192, 0x9B, Authentication(challenge=b""))), 0x7C
    )
    block = aes(FACTORY_ADMIN_KEY, tlv.unwrap(template, 0x81))
    send(card, piv.general_authenticate(Algorithm.AES_192, 0x9B, Authentication(response=block)))


def aes(key: bytes, block: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)  # noqa: S305 one block


def blank() -> Card:
    return Card(MemoryStore(make_blank(SERIAL, TRANSPORT)))


def selected() -> Card:
    card = blank()
    send(card, piv.select())
    return card


def admin() -> Card:
    card = selected()
    become_admin(card)
    return card


def verified() -> Card:
    card = selected()
    send(card, piv.verify(PIN))
    return card


def blocked() -> Card:
    card = selected()
    while sw(card, piv.verify(WRONG)) != 0x6983:
        pass
    return card


@dataclass(frozen=True, slots=True)
class Filled:
    card: Card
    keys: dict[int, PublicKey]


@cache
def records() -> tuple[dict[bytes, bytes], dict[int, PublicKey]]:
    """A card with a P-256 key in each slot and something in each object, and its public keys."""
    store = MemoryStore(make_blank(SERIAL, TRANSPORT))
    card = Card(store)
    send(card, piv.select())
    become_admin(card)
    keys: dict[int, PublicKey] = {
        ref: decode_public_key(send(card, piv.generate_key(ref, Algorithm.P_256)), Algorithm.P_256)
        for ref in (0x9A, 0x9C, 0x9D, 0x9E, 0x82)
    }
    for tag in tables.CONTAINERS:
        content = bytes.fromhex("4F0BA0000003080000100001005F2F024000") if tag == 0x7E else tag.to_bytes(3, "big") * 120
        send(card, piv.put_data(tag, content))
    return store.load(), keys


def filled_card() -> Filled:
    made, keys = records()
    return Filled(Card(MemoryStore(made)), keys)
