"""Power cut at every write of every command: the card is as before or as after, and no try is won back."""

from collections.abc import Callable, Mapping

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from cardlink.gp import commands as gp
from cardlink.gp import inventory
from cardlink.gp.scp03 import SessionCiphers, StaticKeys, derive_session, host_cryptogram, maced_header
from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import Command
from cardlink.piv import commands as piv
from cardlink.piv import yubico
from cardlink.piv.templates import Authentication
from cardos.card import Card
from cardos.defaults import FACTORY_ADMIN_KEY
from cardos.errors import StoreFailed
from cardos.factory import TRANSPORT_KVN, make_blank
from cardos.records import Reference, decode_record, record_name
from cardos.store import MemoryStore

# keys made up for these tests
SERIAL = bytes.fromhex("0001000200C0FFEE0001")
TRANSPORT = StaticKeys(bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48)))
OWN = StaticKeys(bytes(32), bytes([1]) * 32, bytes([2]) * 32)
PIN, PUK, WRONG = b"123456\xff\xff", b"12345678", b"654321\xff\xff"


class PowerCut(Exception):
    """The card loses its power here."""


class CutStore(MemoryStore):
    """A store that loses power at write number `at`, counted from 1: before it, or just after it."""

    def __init__(self, records: Mapping[bytes, bytes]) -> None:
        super().__init__(records)
        self.at = 0
        self.after = False
        self.writes = 0

    def arm(self, at: int, *, after: bool) -> None:
        self.at, self.after, self.writes = at, after, 0

    def commit(self, changes: Mapping[bytes, bytes | None]) -> None:
        self.writes += 1
        if self.at == self.writes and not self.after:
            raise PowerCut
        super().commit(changes)
        if self.at == self.writes:
            raise PowerCut


class FullStore(MemoryStore):
    """A store without room."""

    is_full = False

    def commit(self, changes: Mapping[bytes, bytes | None]) -> None:
        if self.is_full:
            raise StoreFailed("no room")
        super().commit(changes)


class Channel:
    """A channel at level 01 in an application, enough to carry commands."""

    def __init__(self, card: Card, aid: bytes) -> None:
        card.transmit(gp.select(aid).encode())
        update = gp.decode_initialize_update(card.transmit(gp.initialize_update(0, bytes(8)).encode())[:-2])
        session = derive_session(TRANSPORT, bytes(8), update.card_challenge)
        self._ciphers, self._mcv = SessionCiphers(session), bytes(16)
        cryptogram = host_cryptogram(session, bytes(8), update.card_challenge)
        assert card.transmit(self.wrap(gp.external_authenticate(0x01, cryptogram)).encode()) == b"\x90\x00"

    def wrap(self, one: Command) -> Command:
        cla = one.cla | 0x04
        header = maced_header(bytes((cla, one.ins, one.p1, one.p2)), len(one.data) + 8)
        self._mcv = self._ciphers.c_mac(self._mcv, header + one.data)
        return Command(cla, one.ins, one.p1, one.p2, one.data + self._mcv[:8], one.le)


Step = Callable[[Card], Command]


def plain(*before: Command, then: Command) -> Step:
    def prepare(card: Card) -> Command:
        card.transmit(piv.SELECT_PIV_APDU)
        for one in before:
            card.transmit(one.encode())
        return then

    return prepare


def as_admin(*before: Command, then: Command) -> Step:
    def prepare(card: Card) -> Command:
        card.transmit(piv.SELECT_PIV_APDU)
        answer = card.transmit(piv.general_authenticate(0x0A, 0x9B, Authentication(challenge=b"")).encode())
        block = tlv.unwrap(tlv.unwrap(answer[:-2], 0x7C), 0x81)
        cipher = Cipher(algorithms.AES(FACTORY_ADMIN_KEY), modes.ECB())  # noqa: S305 one block
        response = Authentication(response=cipher.encryptor().update(block))
        assert card.transmit(piv.general_authenticate(0x0A, 0x9B, response).encode()) == b"\x90\x00"
        for one in before:
            card.transmit(one.encode())
        return then

    return prepare


def as_domain(then: Command) -> Step:
    return lambda card: Channel(card, gp.ISD_AID).wrap(then)


WRONG_PIN = piv.verify(WRONG)
WRONG_PUK = piv.reset_retry_counter(b"00000000", PIN)
GENERATE = piv.generate_key(0x9A, 0x11)
COMMANDS: dict[str, Step] = {
    "verify": plain(then=piv.verify(PIN)),
    "verify after a wrong one": plain(WRONG_PIN, then=piv.verify(PIN)),
    "wrong verify": plain(then=WRONG_PIN),
    "change": plain(then=piv.change_reference_data(0x80, PIN, WRONG)),
    "change the PUK": plain(then=piv.change_reference_data(0x81, PUK, bytes(8))),
    "unblock": plain(WRONG_PIN, then=piv.reset_retry_counter(PUK, WRONG)),
    "wrong unblock": plain(then=WRONG_PUK),
    "unblock with a broken PIN": plain(WRONG_PUK, then=piv.reset_retry_counter(PUK, bytes(8))),
    "put data": as_admin(then=piv.put_data(0x5FC102, bytes(100))),
    "generate": as_admin(then=GENERATE),
    "import": as_admin(then=yubico.import_key(yubico.ImportedKey(0x11, 0x9D, (bytes(31) + b"\x07",)))),
    "move": as_admin(GENERATE, then=yubico.move_key(0x9A, 0x82)),
    "delete": as_admin(GENERATE, then=yubico.move_key(0x9A)),
    "set 9B": as_admin(then=yubico.set_management_key(0x0C, bytes(32))),
    "set retries": as_admin(piv.verify(PIN), then=yubico.set_pin_retries(3, 4)),
    "reset": as_admin(GENERATE, *(5 * [WRONG_PIN]), *(5 * [WRONG_PUK]), then=yubico.reset()),
    "rotate the keys": as_domain(gp.put_key_set(OWN, TRANSPORT.dek, 0x01, TRANSPORT_KVN).encode()),
    "add keys": as_domain(gp.put_key_set(OWN, TRANSPORT.dek, 0x01).encode()),
    "secure the card": as_domain(inventory.set_status(inventory.Scope.ISSUER_DOMAIN, 0x0F, gp.ISD_AID)),
}
# Those whose last step is expected to be refused.
REFUSED = {"wrong verify", "wrong unblock", "unblock with a broken PIN"}


def without_tries(records: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The records with every counter at its limit: the one thing that may lie between before and after."""
    level = dict(records)
    for ref in (0x80, 0x81):
        name = record_name(Reference.kind, ref)
        level[name] = bytes((level[name][0], level[name][0])) + level[name][2:]
    return level


def tries(records: Mapping[bytes, bytes]) -> list[int]:
    found = []
    for ref in (0x80, 0x81):
        name = record_name(Reference.kind, ref)
        record = decode_record(name, records[name])
        assert isinstance(record, Reference)
        found.append(record.left)
    return found


def run(step: Step, at: int = 0, *, after: bool = False) -> tuple[CutStore, dict[bytes, bytes], bytes | None]:
    """Prepare, cut the power at that write of the last command, and give store, records before it, and its answer."""
    store = CutStore(make_blank(SERIAL, TRANSPORT))
    card = Card(store)
    last = step(card).encode()
    before = store.load()
    store.arm(at, after=after)
    try:
        return store, before, card.transmit(last)
    except PowerCut:
        return store, before, None


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_cut_at_any_write_is_as_before_or_as_after(name: str) -> None:
    step = COMMANDS[name]
    store, before, answer = run(step)
    writes = store.writes
    assert answer is not None
    assert (answer[-2] in (0x90, 0x61)) is (name not in REFUSED)
    assert 1 <= writes <= 2
    after = store.load()
    for at in range(1, writes + 1):
        for late in (False, True):
            store, before, answer = run(step, at, after=late)
            assert answer is None
            left = store.load()
            # a new key differs from run to run; that one is there is all that can be compared
            assert left.keys() in (before.keys(), after.keys())
            if left.keys() == before.keys() and name != "generate":
                assert without_tries(left) in (without_tries(before), without_tries(after))
            # until the command has succeeded no counter is higher than before
            if left.keys() == before.keys() and without_tries(left) != without_tries(after):
                assert all(now <= then for now, then in zip(tries(left), tries(before), strict=True))
            assert len(Card(MemoryStore(left)).transmit(piv.SELECT_PIV_APDU)) == 26


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_without_room_is_6581_and_changes_nothing(name: str) -> None:
    store = FullStore(make_blank(SERIAL, TRANSPORT))
    card = Card(store)
    last = COMMANDS[name](card).encode()
    before = store.load()
    store.is_full = True
    assert card.transmit(last) == b"\x65\x81"
    assert store.load() == before
    card.transmit(piv.SELECT_PIV_APDU)
    assert card.transmit(piv.verify(b"").encode())[-2] in (0x63, 0x69, 0x90)


def test_cutting_the_power_right_after_verify_wins_no_try() -> None:
    store = CutStore(make_blank(SERIAL, TRANSPORT))
    for left in (4, 3, 2, 1, 0):
        card = Card(store)
        card.transmit(piv.SELECT_PIV_APDU)
        store.arm(1, after=True)
        with pytest.raises(PowerCut):
            card.transmit(WRONG_PIN.encode())
        assert tries(store.load())[0] == left
    card = Card(store)
    card.transmit(piv.SELECT_PIV_APDU)
    store.arm(0, after=False)
    assert card.transmit(piv.verify(PIN).encode()) == b"\x69\x83"
    assert store.writes == 0


def test_the_store_sees_the_counter_before_anything_is_compared() -> None:
    store = CutStore(make_blank(SERIAL, TRANSPORT))
    card = Card(store)
    card.transmit(piv.SELECT_PIV_APDU)
    store.arm(1, after=False)
    with pytest.raises(PowerCut):
        card.transmit(piv.verify(PIN).encode())
    card.reset()
    card.transmit(piv.SELECT_PIV_APDU)
    store.arm(0, after=False)
    assert card.transmit(piv.verify(b"").encode()) == b"\x63\xc5"


def test_a_torn_rotation_leaves_exactly_one_living_key_set() -> None:
    for at, late, alive in ((1, False, {TRANSPORT_KVN}), (1, True, {0x01})):
        store, _, _ = run(COMMANDS["rotate the keys"], at, after=late)
        assert set(Card(MemoryStore(store.load())).persistent.key_sets) == alive
