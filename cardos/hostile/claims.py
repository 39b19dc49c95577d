"""Cards that claim less than they have, or show what is another card's."""

import os
from collections.abc import Callable, Iterable
from types import MappingProxyType

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cardlink.access.door import DOOR_AID, SIGNATURE
from cardlink.errors import CardStatus, Malformed
from cardlink.gp.scp03 import StaticKeys
from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import Ins
from cardlink.iso7816.sw import SUCCESS_BYTES, SW
from cardlink.piv import commands as piv
from cardlink.piv.tables import CHUID, CONTAINERS, KEYS, Algorithm, Interface, KeyRef
from cardlink.piv.templates import encode_response
from cardlink.piv.yubico import Origin
from cardos.card import Card
from cardos.factory import make_blank
from cardos.hostile.faulty import KEY_USES, Faulty, change_answers, ins_of, whole_answer
from cardos.piv.auth import default_pin_policy
from cardos.piv.keys import generate, save_private
from cardos.records import Record, SlotKey, StoredObject, record_name
from cardos.store import MemoryStore
from cardos.vpcd import Answering

_P_256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # SP 800-186 §3.2.1.3
_NOT_FOUND = SW.NOT_FOUND.to_bytes(2, "big")


def _names_door(apdu: bytes) -> bool:
    """Is it SELECT of the door application."""
    return ins_of(apdu) == Ins.SELECT and apdu[5 : 5 + len(DOOR_AID)] == DOOR_AID


def _uses_card_key(apdu: bytes) -> bool:
    return ins_of(apdu) in KEY_USES and apdu[3] == KeyRef.CARD_AUTH


def no_9e(card: Answering, sw: int = SW.FUNCTION_NOT_SUPPORTED) -> Faulty:
    """Claims not to know the card authentication key, nor the door application that uses it."""

    def transmit(apdu: bytes, interface: Interface) -> bytes:
        if _names_door(apdu):
            return _NOT_FOUND
        return sw.to_bytes(2, "big") if _uses_card_key(apdu) else card.transmit(apdu, interface)

    return Faulty(card, transmit)


def only_chuid(card: Answering) -> Faulty:
    """Offers nothing but what anybody can copy: the CHUID."""
    wanted = piv.get_data(CHUID.tag).data

    def transmit(apdu: bytes, interface: Interface) -> bytes:
        if _names_door(apdu) or (ins_of(apdu) == Ins.GET_DATA and apdu[5 : 5 + len(wanted)] != wanted):
            return _NOT_FOUND
        if ins_of(apdu) in KEY_USES:
            return SW.INS_NOT_SUPPORTED.to_bytes(2, "big")
        return card.transmit(apdu, interface)

    return Faulty(card, transmit)


def only_uid(card: Answering) -> Faulty:
    """Has no application at all: what is left is the number that its radio shows."""
    return Faulty(card, lambda apdu, interface: _NOT_FOUND if ins_of(apdu) == Ins.SELECT else b"\x6d\x00")


def swapped_objects(card: Answering, other: Answering, tags: Iterable[int]) -> Faulty:
    """Shows these objects of another card: a statement, certificate or CHUID that is not its own.

    The door application is hidden: it would show the card's own.
    """
    asked = frozenset(piv.get_data(tag).data for tag in tags)
    rest_from_other = False

    def transmit(apdu: bytes, interface: Interface) -> bytes:
        nonlocal rest_from_other
        if _names_door(apdu):
            return _NOT_FOUND
        if ins_of(apdu) == Ins.GET_RESPONSE:
            return (other if rest_from_other else card).transmit(apdu, interface)
        rest_from_other = ins_of(apdu) == Ins.GET_DATA and apdu[5:-1] in asked
        if ins_of(apdu) == Ins.SELECT:
            other.transmit(apdu, interface)
        return (other if rest_from_other else card).transmit(apdu, interface)

    return Faulty(card, transmit)


def swapped_key(card: Answering, other: Answering) -> Faulty:
    """Shows its own data and lets another card answer challenges; also through the door application."""
    face = Interface.CONTACTLESS

    def transmit(apdu: bytes, interface: Interface) -> bytes:
        nonlocal face
        face = interface
        if ins_of(apdu) == Ins.SELECT:
            other.transmit(apdu, interface)
        return (other if ins_of(apdu) == Ins.GENERAL_AUTHENTICATE else card).transmit(apdu, interface)

    def change(apdu: bytes, data: bytes) -> bytes:
        theirs, sw = whole_answer(other, apdu, face)
        return _with_signature(data, _signature_in(theirs)) if sw == SUCCESS_BYTES else data

    below = Faulty(card, transmit)
    return change_answers(below, lambda apdu: ins_of(apdu) == Ins.INTERNAL_AUTHENTICATE, change)


def wrong_key(card: Answering) -> Faulty:
    """Shows its own data and answers with a key made just now, as a clone does."""
    stranger = ec.generate_private_key(ec.SECP256R1())
    return _signing(card, lambda: _random_signature(stranger))


def replayed(card: Answering) -> Faulty:
    """Answers every challenge with its answer to the first."""
    recorded: dict[int, bytes] = {}

    def change(apdu: bytes, data: bytes) -> bytes:
        return recorded.setdefault(ins_of(apdu), data)

    return change_answers(card, lambda apdu: ins_of(apdu) in KEY_USES, change)


def fixed_response(card: Answering, response: bytes) -> Faulty:
    """Answers every challenge with these bytes in place of a signature: zeros, DER junk, another key's."""
    return _signing(card, lambda: response)


_HALF = encode_dss_signature(1, 1)
SIGNATURE_JUNK: MappingProxyType[str, bytes] = MappingProxyType(
    {
        "empty": b"",
        "zeros": bytes(72),
        "r-zero": encode_dss_signature(0, 1),
        "s-zero": encode_dss_signature(1, 0),
        "s-order": encode_dss_signature(1, _P_256_ORDER),
        "r-order": encode_dss_signature(_P_256_ORDER, 1),
        "one": _HALF,
        "trailing": _HALF + b"\x00",
        "indefinite": b"\x30\x80" + _HALF[2:] + b"\x00\x00",
    }
)


def junk_signature(card: Answering, kind: str) -> Faulty:
    """Answers every challenge with one of `SIGNATURE_JUNK`."""
    return fixed_response(card, SIGNATURE_JUNK[kind])


def _signing(card: Answering, signature: Callable[[], bytes]) -> Faulty:
    def change(apdu: bytes, data: bytes) -> bytes:
        if ins_of(apdu) == Ins.INTERNAL_AUTHENTICATE:
            return _with_signature(data, signature())
        return encode_response(signature())

    return change_answers(card, lambda apdu: ins_of(apdu) in KEY_USES, change)


def _random_signature(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.sign(os.urandom(32), ec.ECDSA(SHA256()))


def _with_signature(answer: bytes, signature: bytes) -> bytes:
    """The answer of the door application with another signature in it."""
    return tlv.encode_all((tag, signature if tag == SIGNATURE else value) for tag, value in tlv.parse(answer))


def _signature_in(answer: bytes) -> bytes:
    return tlv.find(answer, SIGNATURE)


POINT_KINDS = ("zero", "off-curve", "stranger")


def public_key(card: Answering, kind: str) -> Faulty:
    """Names another public key when it makes a key pair: the point (0, 0), one off the curve, or a stranger's."""

    def change(apdu: bytes, data: bytes) -> bytes:
        at = data.find(b"\x86\x41\x04")
        if at < 0:
            return data
        return data[: at + 2] + _point(kind, data[at + 2 : at + 67]) + data[at + 67 :]

    return change_answers(card, lambda apdu: ins_of(apdu) == Ins.GENERATE_ASYMMETRIC_KEY_PAIR, change)


def _point(kind: str, own: bytes) -> bytes:
    if kind == "zero":
        return b"\x04" + bytes(64)
    if kind == "off-curve":
        return own[:-1] + bytes((own[-1] ^ 1,))
    stranger = ec.generate_private_key(ec.SECP256R1()).public_key()
    return stranger.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def clone(victim: Answering, interface: Interface = Interface.CONTACTLESS) -> dict[bytes, bytes]:
    """The records of a new card: what anybody can read from `victim` over one face, and keys 9A and 9E of its own."""
    victim.transmit(piv.select().encode(), interface)
    records: list[Record] = []
    for tag in CONTAINERS:
        try:
            records.append(StoredObject(tag, _read(victim, tag, interface)))
        except (CardStatus, Malformed):
            continue
    for ref in (KeyRef.PIV_AUTH, KeyRef.CARD_AUTH):
        private = save_private(generate(Algorithm.P_256))
        records.append(SlotKey(ref, Algorithm.P_256, private, Origin.GENERATED, default_pin_policy(KEYS[ref])))
    image = make_blank(os.urandom(10), StaticKeys(*(os.urandom(16) for _ in range(3))))
    image.update((record_name(one.kind, one.number), one.encode()) for one in records)
    return image


def cloned(card: Answering) -> Card:
    """A clone of the card in its place."""
    return Card(MemoryStore(clone(card)))


def _read(card: Answering, tag: int, interface: Interface) -> bytes:
    """The whole answer to GET DATA. Raises CardStatus when the card refuses."""
    data, sw = whole_answer(card, piv.get_data(tag).encode(), interface)
    if sw != SUCCESS_BYTES:
        raise CardStatus("GET DATA", int.from_bytes(sw, "big"))
    return data
