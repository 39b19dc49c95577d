"""The two states of a card, which never mix: what survives without power, and what a reset forgets."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from cardlink.errors import Malformed
from cardlink.gp.inventory import AppState
from cardlink.iso7816.apdu import Command
from cardlink.piv.commands import unwrap_object
from cardlink.piv.cvc import CVC_TAG
from cardlink.piv.objects import decode_discovery
from cardlink.piv.tables import DISCOVERY, Interface, KeyRef
from cardos.buffers import Chain, Outgoing
from cardos.gp.channel import Channel, Handshake
from cardos.piv.keys import PrivateKey, load_private, point_of
from cardos.piv.messaging import MessagingSession
from cardos.records import (
    DEFAULT_OPTION,
    AdminKey,
    CardData,
    ChannelOption,
    Chip,
    KeySet,
    Kind,
    Life,
    Owner,
    PkocKey,
    Record,
    Reference,
    Sequence,
    SlotKey,
    StoredObject,
    decode_record,
    record_name,
)
from cardos.store import Store

_ON_EVERY_CARD = (
    (Kind.CHIP, Chip.number),
    (Kind.LIFE, Owner.CARD),
    (Kind.LIFE, Owner.PIV),
    (Kind.REFERENCE, KeyRef.PIN),
    (Kind.REFERENCE, KeyRef.PUK),
    (Kind.ADMIN_KEY, AdminKey.number),
)

# What a card that was made before these records were thought of is taken for.
_LIVES: MappingProxyType[Owner, int] = MappingProxyType(
    {
        Owner.PIV: int(AppState.SELECTABLE),
        Owner.DOOR: int(AppState.SELECTABLE),
        Owner.PKOC: int(AppState.INSTALLED),  # until it has its key
    }
)
_MESSAGING_KEY = int(KeyRef.SECURE_MESSAGING)
_NO_DISCOVERY = 0x40  # the application PIN alone (SP 800-73pt1-5 §3.3.2)


class Persistent:
    """What the card keeps, decoded once, with `commit` as the only way to change it."""

    __slots__ = (
        "_loaded",
        "_pkoc_pair",
        "_points",
        "_store",
        "admin",
        "card_data",
        "channel_option",
        "chip",
        "cvc",
        "key_sets",
        "keys",
        "life",
        "messaging_suite",
        "objects",
        "pin_policy",
        "pkoc",
        "references",
        "sequences",
    )

    def __init__(self, store: Store) -> None:
        """Read a card. Raises Malformed when a record is broken or one that every card has is missing."""
        self._store = store
        self.chip = Chip(bytes(10))
        self.admin = AdminKey(0, b"")
        self.life: dict[Owner, int] = dict(_LIVES)
        self.channel_option = DEFAULT_OPTION
        self.sequences: dict[int, int] = {}
        self.card_data: dict[int, bytes] = {}
        self.references: dict[int, Reference] = {}
        self.keys: dict[int, SlotKey] = {}
        self.key_sets: dict[int, KeySet] = {}
        self.objects: dict[int, bytes] = {}
        self.pkoc: PkocKey | None = None
        self._pkoc_pair: tuple[PrivateKey, bytes] | None = None
        self._loaded: dict[int, PrivateKey] = {}
        self._points: dict[int, bytes] = {}
        # worked out of the records, since each command may ask: the cipher suite of secure messaging (0: none), the
        # certificate of its key, and the first byte of the PIN usage policy
        self.messaging_suite, self.cvc, self.pin_policy = 0, b"", _NO_DISCOVERY
        records = store.load()
        for name, raw in records.items():
            self._take(decode_record(name, raw))
        for kind, number in _ON_EVERY_CARD:
            if record_name(kind, number) not in records:
                raise Malformed("card image", f"no record of {kind.name} {number:02X}")
        if not self.key_sets:
            raise Malformed("card image", "no record of KEY_SET")

    def commit(self, put: Iterable[Record] = (), remove: Iterable[tuple[Kind, int]] = ()) -> None:
        """Change all of these records or none. Raises StoreFailed; then nothing has changed here either."""
        new, gone = tuple(put), tuple(remove)
        changes: dict[bytes, bytes | None] = {}
        for kind, number in gone:
            changes[record_name(kind, number)] = None
        for record in new:
            changes[record_name(record.kind, record.number)] = record.encode()
        self._store.commit(changes)
        for kind, number in gone:
            self._drop(kind, number)
        for record in new:
            self._take(record)

    def private_key(self, ref: int) -> PrivateKey:
        """The key object of a slot, made once and kept until the slot changes."""
        loaded = self._loaded.get(ref)
        if loaded is None:
            loaded = self._loaded[ref] = load_private(self.keys[ref].private)
        return loaded

    def point(self, ref: int) -> bytes:
        """The public point of an EC slot, 04‖X‖Y, worked out once."""
        point = self._points.get(ref)
        if point is None:
            point = self._points[ref] = point_of(self.private_key(ref))
        return point

    def pkoc_pair(self) -> tuple[PrivateKey, bytes] | None:
        """The PKOC key and its point, worked out once; None before the key was made."""
        if self._pkoc_pair is None and self.pkoc is not None:
            key = load_private(self.pkoc.private)
            self._pkoc_pair = key, point_of(key)
        return self._pkoc_pair

    def _take(self, record: Record) -> None:
        match record:
            case StoredObject():
                self.objects[record.number] = record.answer
                self._note(record.number)
            case Reference():
                self.references[record.number] = record
            case SlotKey():
                self.keys[record.number] = record
                self._loaded.pop(record.number, None)
                self._points.pop(record.number, None)
                self._note(record.number)
            case KeySet():
                self.key_sets[record.number] = record
            case AdminKey():
                self.admin = record
            case Life():
                self.life[record.number] = record.state
            case Chip():
                self.chip = record
            case Sequence():
                self.sequences[record.number] = record.value
            case CardData():
                self.card_data[record.number] = record.value
            case PkocKey():
                self.pkoc, self._pkoc_pair = record, None
            case ChannelOption():
                self.channel_option = record.option

    def _drop(self, kind: Kind, number: int) -> None:
        if kind is Kind.OBJECT:
            self.objects.pop(number, None)
            self._note(number)
        elif kind is Kind.REFERENCE:
            self.references.pop(number, None)
        elif kind is Kind.KEY:
            self.keys.pop(number, None)
            self._loaded.pop(number, None)
            self._points.pop(number, None)
            self._note(number)
        elif kind is Kind.KEY_SET:
            self.key_sets.pop(number, None)
        elif kind is Kind.SEQUENCE:
            self.sequences.pop(number, None)

    def _note(self, number: int) -> None:
        """A record changed: work out anew what depends on it. The numbers of keys and of objects never meet."""
        if number == DISCOVERY.tag:
            stored = self.objects.get(number)
            discovery = None if stored is None else decode_discovery(unwrap_object(number, stored))
            self.pin_policy = _NO_DISCOVERY if discovery is None else discovery.policy
        elif number in (CVC_TAG, _MESSAGING_KEY):
            key, stored = self.keys.get(_MESSAGING_KEY), self.objects.get(CVC_TAG)
            if key is None or stored is None:
                self.messaging_suite, self.cvc = 0, b""
            else:
                self.messaging_suite, self.cvc = key.algorithm, unwrap_object(CVC_TAG, stored)


@dataclass(slots=True)
class Security:
    """The PIV application's security status (SP 800-73pt2-5 §2.4.2): who has proved what since it was selected.

    `pin_at` and the like are the command counts of the last success. `challenge` and `witness` are used once.
    """

    pin: bool = False
    pin_at: int = -1
    global_pin: bool = False
    global_pin_at: int = -1
    occ: bool = False
    occ_at: int = -1
    pairing_code: bool = False
    admin: bool = False
    challenge: bytes = field(default=b"", repr=False)
    witness: bytes = field(default=b"", repr=False)


@dataclass(slots=True)
class Volatile:
    """What a reset forgets. `selected` is the AID of the application; `count` numbers the commands since power-up.

    `outside` is what had been proved when the channel opened. `messaging` is the open session of PIV secure messaging;
    `secure_messaging`: the command at hand came by it.
    """

    interface: Interface
    selected: bytes
    count: int = 0
    security: Security = field(default_factory=Security)
    chain: Chain | None = None
    outgoing: Outgoing = field(default_factory=Outgoing)
    handshake: Handshake | None = None
    channel: Channel | None = None
    outside: Security = field(default_factory=Security)
    messaging: MessagingSession | None = None
    secure_messaging: bool = False

    def begin_channel(self, channel: Channel) -> None:
        """A channel opened: remember what was proved before it."""
        self.channel, self.outside = channel, replace(self.security)

    def end_channel(self) -> None:
        """The channel, if there is one, is over, and with it what was proved inside it: it would be anybody's now."""
        if self.channel is not None:
            self.channel = None
            now, before = self.security, self.outside
            now.pin, now.global_pin = now.pin and before.pin, now.global_pin and before.global_pin
            now.occ, now.admin = now.occ and before.occ, now.admin and before.admin
            now.pairing_code = now.pairing_code and before.pairing_code
            now.challenge = now.witness = b""


@dataclass(frozen=True, slots=True)
class Platform:
    """What every handler is given: the card's two states and its source of random bytes."""

    persistent: Persistent
    volatile: Volatile
    random: Callable[[int], bytes]


Handler = Callable[[Platform, Command], bytes]
