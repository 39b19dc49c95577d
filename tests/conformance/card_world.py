"""The cards that the tables speak of, from the factory to those with everything on them."""

from collections.abc import Callable
from functools import cache

from card_session import CODE, SERIAL, TRANSPORT, Session, put
from card_states import become_admin, begin, open_channel, select, select_domain
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from messaging_host import objects, tlv

from cardos.factory import make_blank
from cardos.store import Store

CONTENTS = {0x7E: bytes.fromhex("4F0BA0000003080000100001005F2F024000")}
OBJECTS = (
    *(0x5FC101 + number for number in range(0x23)),
    0x7E,
    0x7F61,
    0x5FFF20,
    0x5FFF21,
    0x5FFF00,
    0x5FFF01,
    0x5FFF10,
)
NO_OBJECT = (0x5FC104,)
ISSUED_SLOTS = (0x9A, 0x9C, 0x9D, 0x9E, 0x82, 0x95)


@cache
def blank() -> dict[bytes, bytes]:
    """As it leaves the factory: no objects, no keys in the slots."""
    return make_blank(SERIAL, TRANSPORT)


@cache
def counted() -> dict[bytes, bytes]:
    """From the factory, with SCP03's pseudo-random challenges, for which the card counts its channels (i = 70)."""
    return make_blank(SERIAL, TRANSPORT, 0x70)


@cache
def issued() -> dict[bytes, bytes]:
    """Every object filled, a P-256 key in each slot, PIN usage policy 40."""
    session = Session(blank())
    select(session)
    become_admin(session)
    for ref in ISSUED_SLOTS:
        session.must(f"00 47 00 {ref:02X} (AC [80 [11]]) 00")
    for tag in OBJECTS:
        if tag not in NO_OBJECT:
            put(session, tag, CONTENTS.get(tag, tag.to_bytes(3, "big") * 20))
    return session.store.load()


@cache
def empty() -> dict[bytes, bytes]:
    """Every object created and left empty; no keys."""
    session = Session(blank())
    select(session)
    become_admin(session)
    for tag in OBJECTS:
        if tag not in (*NO_OBJECT, 0x7E):
            put(session, tag, b"")
    return session.store.load()


def with_messaging(policy: str, suite: int = 0x27) -> dict[bytes, bytes]:
    """The issued card with a key 04 and its certificate, a pairing code, a Global PIN and that PIN usage policy."""
    session = Session(issued())
    select(session)
    become_admin(session)
    point = objects(objects(session.must(f"00 47 00 04 (AC [80 [{suite:02X}]]) 00"))[0x7F49])[0x86]
    put(session, 0x5FFF22, card_certificate(suite, point))
    put(session, 0x5FC123, b"\x99\x08" + CODE + b"\xfe\x00")
    session.must("00 24 01 00 (GLOBAL)")
    session.must(f"00 DB 3F FF (DISCOVERY {policy})")
    return session.store.load()


def card_certificate(suite: int, point: bytes) -> bytes:
    """The card verifiable certificate of a key 04, signed by a key of nobody (SP 800-73pt2-5 §4.1.5)."""
    curve, signed_as = {
        0x27: ("2A8648CE3D030107", "2A8648CE3D040302"),
        0x2E: ("2B81040022", "2A8648CE3D040303"),
    }[suite]
    body = tlv("5F29", b"\x80") + tlv("42", bytes(8)) + tlv("5F20", bytes.fromhex("0BADC0DE00004000800000000BADC0DE"))
    body += tlv("7F49", tlv("06", bytes.fromhex(curve)) + tlv("86", point)) + tlv("5F4C", b"\x00")
    signer = ec.generate_private_key(ec.SECP256R1() if suite == 0x27 else ec.SECP384R1())
    signature = signer.sign(body, ec.ECDSA(SHA256() if suite == 0x27 else SHA384()))
    algorithm = tlv("30", tlv("06", bytes.fromhex(signed_as)))
    return tlv("7F21", body + tlv("5F37", tlv("30", algorithm + tlv("03", b"\x00" + signature))))


@cache
def doors() -> dict[bytes, bytes]:
    """The issued card with a key for PKOC."""
    session = Session(issued())
    select_domain(session)
    open_channel(session)
    session.must("80 47 00 00 (AC [4F [PKOC] 80 [11]]) 00")
    return session.store.load()


@cache
def messaging() -> dict[bytes, bytes]:
    """With secure messaging, but without virtual contact interface."""
    return with_messaging("4000")


@cache
def vci() -> dict[bytes, bytes]:
    """With secure messaging and the virtual contact interface without pairing code."""
    return with_messaging("4C00")


@cache
def strong() -> dict[bytes, bytes]:
    """As vci, with cipher suite 7."""
    return with_messaging("4C00", 0x2E)


@cache
def two_pins() -> dict[bytes, bytes]:
    """With a Global PIN beside the PIV application PIN, which is primary (policy 6C 10)."""
    return with_messaging("6C10")


@cache
def pairing() -> dict[bytes, bytes]:
    """With secure messaging and the virtual contact interface after the pairing code."""
    return with_messaging("4800")


CARDS: dict[str, Callable[[], dict[bytes, bytes]]] = {
    one.__name__: one for one in (blank, counted, issued, empty, doors, messaging, vci, strong, two_pins, pairing)
}


def prepared(card: str, before: str, face: str, store: Store | None = None) -> Session:
    """A card of that name in that state. PIV is selected first, unless `before` begins otherwise."""
    session = Session(CARDS[card](), face, store)
    words = [word for word in before.split() if word != "-"]
    begin(session, words)
    return session
