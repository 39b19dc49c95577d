"""Each hostile profile does what its name says, and a host of ours survives it."""

import hashlib
import time
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cardlink.errors import CardStatus, LinkLost, Malformed
from cardlink.iso7816.apdu import Command
from cardlink.piv import commands as piv
from cardlink.piv.tables import KEYS, Interface
from cardlink.piv.templates import decode_response
from cardlink.piv.yubico import Origin
from cardlink.transport.connection import command as say
from cardlink.transport.loopback import Loopback
from cardos import faults
from cardos.card import Card
from cardos.factory import make_blank
from cardos.image import FileStore
from cardos.piv.auth import default_pin_policy
from cardos.piv.keys import generate, save_private
from cardos.records import SlotKey, StoredObject
from cardos.sealing import make_secret, read_secret
from cardos.store import MemoryStore
from cardos.vpcd import Answering

TRANSPORT = (bytes(16), bytes(16), bytes(16))  # made up for these tests
DIGEST = hashlib.sha256(b"challenge").digest()


def issued(mark: bytes) -> Card:
    card = Card(MemoryStore(make_blank(mark * 10, TRANSPORT)))
    private = save_private(generate(0x11))
    card.persistent.commit(
        [
            *(StoredObject(tag, piv.wrap_object(tag, mark * 300)) for tag in (0x5FFF20, 0x5FFF21, 0x5FC102, 0x5FC101)),
            SlotKey(0x9E, 0x11, private, Origin.GENERATED, default_pin_policy(KEYS[0x9E])),
        ]
    )
    return card


def ask(card: Answering, apdu: Command, interface: Interface = Interface.CONTACTLESS) -> bytes:
    return say(Loopback(lambda raw: card.transmit(raw, interface)), apdu)


def public(card: Card) -> ec.EllipticCurvePublicKey:
    key = card.persistent.private_key(0x9E)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.public_key()


def signs_as(card: Answering, key: ec.EllipticCurvePublicKey, digest: bytes = DIGEST) -> bool:
    answer = ask(card, piv.sign(0x11, 0x9E, digest))
    try:
        key.verify(decode_response(answer), digest, ec.ECDSA(Prehashed(SHA256())))
    except InvalidSignature:
        return False
    return True


NAMED = {"waiting": "waiting:0", "slow": "slow:0"}  # so that nobody waits for them


def hostile(name: str, image: Path) -> Answering:
    """A card with that profile on, by its name."""
    parameter = faults.PROFILES[name].parameter
    needs = parameter is not None and parameter.is_needed
    return faults.faulty(f"{name}:{image}" if needs else NAMED.get(name, name))(issued(b"\x11"))


@pytest.mark.parametrize("name", sorted(faults.PROFILES))
def test_every_profile_by_name_wraps_a_card_and_answers_select_or_is_mute(name: str, tmp_path: Path) -> None:
    make_secret(tmp_path / "b.card")
    FileStore.create(tmp_path / "b.card", read_secret(tmp_path / "b.card"), make_blank(b"\x22" * 10, TRANSPORT)).close()
    card = hostile(name, tmp_path / "b.card")
    assert card.atr == Card.atr
    card.reset()
    if name in ("mute", "waiting"):
        with pytest.raises(LinkLost):
            ask(card, piv.select())
    elif name == "only-uid":
        with pytest.raises(CardStatus, match="6A82"):
            ask(card, piv.select())
    else:
        assert ask(card, piv.select()).startswith(b"\x61")


@pytest.mark.parametrize("name", ["endless-61", "empty-61", "ping-pong-6c", "huge-answer", "no-status-word"])
def test_a_host_of_ours_ends_a_hostile_answer(name: str) -> None:
    card = faults.PROFILES[name](issued(b"\x11"))
    ask(card, piv.select())
    with pytest.raises(Malformed):
        ask(card, piv.get_data(0x5FFF20))


def test_garbage_is_no_data_object() -> None:
    card = faults.garbage(issued(b"\x11"), random=lambda size: bytes(size))
    ask(card, piv.select())
    with pytest.raises(Malformed):
        piv.unwrap_object(0x5FFF20, ask(card, piv.get_data(0x5FFF20)))


@pytest.mark.parametrize("sw", [0x6A81, 0x6982])
def test_a_card_that_denies_its_key(sw: int) -> None:
    card = faults.no_9e(issued(b"\x11"), sw=sw)
    ask(card, piv.select())
    assert ask(card, piv.get_data(0x5FFF20))
    with pytest.raises(CardStatus, match=f"{sw:04X}"):
        ask(card, piv.sign(0x11, 0x9E, DIGEST))


def test_a_card_that_offers_only_the_chuid() -> None:
    card = faults.only_chuid(issued(b"\x11"))
    ask(card, piv.select())
    assert ask(card, piv.get_data(0x5FC102))
    for refused in (piv.get_data(0x5FFF20), piv.get_data(0x5FC101), piv.sign(0x11, 0x9E, DIGEST)):
        with pytest.raises(CardStatus):
            ask(card, refused)


@pytest.mark.parametrize("after", [False, True])
def test_a_card_torn_at_an_exchange(after: bool) -> None:
    below = issued(b"\x11")
    card = faults.torn_at_exchange(below, 3, after_card=after)
    contact = Interface.CONTACT
    ask(card, piv.select(), contact)
    ask(card, piv.verify(b"123456\xff\xff"), contact)
    with pytest.raises(LinkLost):
        ask(card, piv.verify_clear(), contact)
    state = below.transmit(piv.verify(b"").encode(), contact)
    assert state == (b"\x63\xc5" if after else b"\x90\x00")
    with pytest.raises(LinkLost):
        ask(card, piv.select(), contact)
    card.reset()
    assert ask(card, piv.select(), contact)


def test_a_card_torn_at_every_byte() -> None:
    whole = len(piv.SELECT_PIV_APDU) + 26
    for number in range(whole):
        with pytest.raises(LinkLost):
            ask(faults.torn_at_byte(issued(b"\x11"), number), piv.select())
    assert ask(faults.torn_at_byte(issued(b"\x11"), whole), piv.select())


def test_a_slow_card_takes_its_time() -> None:
    card = faults.slow(issued(b"\x11"), delay_s=0.01)
    started = time.perf_counter()
    ask(card, piv.select())
    assert time.perf_counter() - started >= 0.01


def test_objects_and_keys_are_swapped_apart() -> None:
    one, two = issued(b"\x11"), issued(b"\x22")
    card: Answering = faults.swapped_objects(one, two, [0x5FFF20])
    ask(card, piv.select())
    assert piv.unwrap_object(0x5FFF20, ask(card, piv.get_data(0x5FFF20))) == b"\x22" * 300
    assert piv.unwrap_object(0x5FC102, ask(card, piv.get_data(0x5FC102))) == b"\x11" * 300
    assert signs_as(card, public(one))
    card = faults.swapped_key(one, two)
    ask(card, piv.select())
    assert piv.unwrap_object(0x5FFF20, ask(card, piv.get_data(0x5FFF20))) == b"\x11" * 300
    assert signs_as(card, public(two))
    assert not signs_as(card, public(one))


def test_a_recorded_answer_is_right_once() -> None:
    below = issued(b"\x11")
    card = faults.replayed(below)
    ask(card, piv.select())
    assert signs_as(card, public(below))
    assert not signs_as(card, public(below), hashlib.sha256(b"another").digest())


@pytest.mark.parametrize("junk", [b"", bytes(8), bytes.fromhex("3006020100020100"), bytes.fromhex("30060201010201")])
def test_a_made_up_signature_does_not_verify(junk: bytes) -> None:
    below = issued(b"\x11")
    card = faults.fixed_response(below, junk)
    ask(card, piv.select())
    assert not signs_as(card, public(below))


def test_a_clone_has_what_anybody_can_read_and_a_key_of_its_own() -> None:
    victim = issued(b"\x11")
    copy = Card(MemoryStore(faults.clone(victim)))
    ask(copy, piv.select())
    for tag in (0x5FFF20, 0x5FC102, 0x5FC101):
        assert piv.unwrap_object(tag, ask(copy, piv.get_data(tag))) == b"\x11" * 300
    assert 0x5FFF21 not in copy.persistent.objects
    assert signs_as(copy, public(copy))
    assert not signs_as(copy, public(victim))
    point = public(victim).public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert public(copy).public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) != point
