"""What a card keeps without power: one record for each thing that changes as a whole, and its bytes in the store.

A new kind is an addition: a card made before it has no such record and is taken for one in the kind's default state, so
its image opens. The image's version word changes only when the bytes of a kind that exists do; its number stays taken.
"""

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import ClassVar, Self

from cardlink.errors import Malformed
from cardlink.gp.inventory import Cplc
from cardlink.gp.keys import KDD_BYTES
from cardlink.gp.scp03 import Option, StaticKeys
from cardlink.piv.yubico import Origin, PinPolicy


class Kind(IntEnum):
    """The first byte of a record's name in the store; its number within the kind follows in four bytes."""

    CHIP = 1
    LIFE = 2
    REFERENCE = 3
    ADMIN_KEY = 4
    KEY = 5
    KEY_SET = 6
    OBJECT = 7
    CHANNEL = 32
    SEQUENCE = 33
    CARD_DATA = 34
    PKOC_KEY = 48


DEFAULT_OPTION = int(
    Option.R_MAC | Option.R_ENC
)  # SCP03 i = 60: random challenges, so opening a channel writes nothing


class Owner(IntEnum):
    """Whose life cycle a `Life` record holds. An application without a record is selectable.

    But for PKOC, which is only installed until its key has been made.
    """

    CARD = 0
    PIV = 1
    DOOR = 2
    PKOC = 3


def record_name(kind: Kind, number: int) -> bytes:
    """The name of a record in the store."""
    return bytes((kind,)) + number.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class Chip:
    """What the maker burned in: the key diversification data, which contains the chip's serial number.

    Its ten bytes are IC fabricator (2), IC type (2), IC serial (4) and IC batch (2), as in the CPLC.
    """

    kind: ClassVar[Kind] = Kind.CHIP
    number: ClassVar[int] = 0
    kdd: bytes

    def __post_init__(self) -> None:
        if len(self.kdd) != KDD_BYTES:
            raise Malformed("chip", f"key diversification data of {len(self.kdd)} bytes, want {KDD_BYTES}")

    @property
    def serial(self) -> bytes:
        """The chip's serial number, 4 bytes."""
        return self.kdd[4:8]

    def cplc(self, pre_personaliser: bytes = bytes(8), personaliser: bytes = bytes(8)) -> Cplc:
        """The card production life cycle data with the same numbers."""
        fabricator, ic_type, batch = (int.from_bytes(self.kdd[at : at + 2], "big") for at in (0, 2, 8))
        return Cplc(fabricator, ic_type, 0x0001, self.serial, batch, pre_personaliser, personaliser)

    def encode(self) -> bytes:
        return self.kdd

    @classmethod
    def decode(cls, number: int, raw: bytes) -> Self:
        return cls(raw)


@dataclass(frozen=True, slots=True)
class Life:
    """A life cycle state of the card or of an application."""

    kind: ClassVar[Kind] = Kind.LIFE
    number: Owner
    state: int

    def encode(self) -> bytes:
        return bytes((self.state,))

    @classmethod
    def decode(cls, number: int, raw: bytes) -> Self:
        return cls(Owner(number), raw[0])


@dataclass(frozen=True, slots=True)
class Reference:
    """A PIN or PUK with its retry counter: `left` of `limit` tries; at 0 it is blocked."""

    kind: ClassVar[Kind] = Kind.REFERENCE
    number: int
    value: bytes = field(repr=False)
    limit: int
    left: int
    is_default: bool = False

    def with_left(self, left: int) -> "Reference":
        """The same with that many tries left; written out, as each VERIFY makes two."""
        return Reference(self.number, self.value, self.limit, left, self.is_default)

    def encode(self) -> bytes:
        return struct.pack(">BB?", self.limit, self.left, self.is_default) + self.value

    @classmethod
    def decode(cls, number: int, raw: bytes) -> Self:
        limit, left, is_default = struct.unpack(">BB?", raw[:3])
        return cls(number, raw[3:], limit, left, is_default)


@dataclass(frozen=True, slots=True)
class AdminKey:
    """The PIV card application administration key 9B."""

    kind: ClassVar[Kind] = Kind.ADMIN_KEY
    number: ClassVar[int] = 0x9B
    algorithm: int
    key: bytes = field(repr=False)
    is_default: bool = False

    def encode(self) -> bytes:
        return struct.pack(">B?", self.algorithm, self.is_default) + self.key

    @classmethod
    def decode(cls, number: int, raw: bytes) -> Self:
        algorithm, is_default = struct.unpack(">B?", raw[:2])
        return cls(algorithm, raw[2:], is_default)


@dataclass(frozen=True, slots=True)
class SlotKey:
    """A private key: `private` is PKCS #8 (DER); `pin_policy` is fixed when the key is made and goes where it goes."""

    kind: ClassVar[Kind] = Kind.KEY
    number: int
    algorithm: int
    private: bytes = field(repr=False)
    origin: Origin
    pin_policy: PinPolicy

    def encode(self) -> bytes:
        return bytes((self.algorithm, self.origin, self.pin_policy)) + self.private

    @classmethod
    def decode(cls, number: int, raw: bytes) -> Self:
        return cls(number, raw[0], raw[3:], Origin(raw[1]), PinPolicy(raw[2]))


@dataclass(frozen=True, slots=True)
class PkocKey:
    """The key of the PKOC application, P-256 as PKCS #8 (DER): it signs what a reader chose and nothing else."""

    kind: ClassVar[Kind] = Kind.PKOC_KEY
    number: ClassVar[int] = 0
    private: bytes = field(repr=False)

    def encode(self) -> bytes:
        return self.private

    @classmethod
    def decode(cls, number: int, raw: bytes) -> Self:
        return cls(raw)


@dataclass(frozen=True, slots=True)
class KeySet:
    """One SCP03 key set; `number` is its key version."""

    kind: ClassVar[Kind] = Kind.KEY_SET
    number: int
    keys: StaticKeys = field(repr=False)

    def encode(self) -> bytes:
        return self.keys.enc + self.keys.mac + self.keys.dek

    @classmethod
    def decode(cls, number: int, raw: bytes) -> Self:
        third = len(raw) // 3
        return cls(number, StaticKeys(raw[:third], raw[third : 2 * third], raw[2 * third :]))


@dataclass(frozen=True, slots=True)
class ChannelOption:
    """What SCP03 of this card can do, option "i", burned in by the maker. Without a record it is 60."""

    kind: ClassVar[Kind] = Kind.CHANNEL
    number: ClassVar[int] = 0
    option: int

    def encode(self) -> bytes:
        return bytes((self.option,))

    @classmethod
    def decode(cls, number: int, raw: bytes) -> Self:
        return cls(raw[0])


@dataclass(frozen=True, slots=True)
class Sequence:
    """The sequence counter of the ENC key whose check value is `number`: its last value used. Without a record it is 0.

    It stays when its key set is replaced or deleted: a key that comes back goes on where it was.
    """

    kind: ClassVar[Kind] = Kind.SEQUENCE
    number: int
    value: int

    def encode(self) -> bytes:
        return self.value.to_bytes(3, "big")

    @classmethod
    def decode(cls, number: int, raw: bytes) -> Self:
        return cls(number, int.from_bytes(raw, "big"))


@dataclass(frozen=True, slots=True)
class CardData:
    """What STORE DATA left in the security domain; `number` is the tag: 42, 45, 9F66, 9F67."""

    kind: ClassVar[Kind] = Kind.CARD_DATA
    number: int
    value: bytes

    def encode(self) -> bytes:
        return self.value

    @classmethod
    def decode(cls, number: int, raw: bytes) -> Self:
        return cls(number, raw)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A PIV data object; `answer` is the whole TLV that GET DATA gives: 53 {...}, 7E {...} or 7F61 {...}."""

    kind: ClassVar[Kind] = Kind.OBJECT
    number: int
    answer: bytes = field(repr=False)

    def encode(self) -> bytes:
        return self.answer

    @classmethod
    def decode(cls, number: int, raw: bytes) -> Self:
        return cls(number, raw)


Record = (
    Chip | Life | Reference | AdminKey | SlotKey | PkocKey | KeySet | StoredObject | ChannelOption | Sequence | CardData
)
_TYPES: dict[Kind, type[Record]] = {
    Kind.CHIP: Chip,
    Kind.LIFE: Life,
    Kind.REFERENCE: Reference,
    Kind.ADMIN_KEY: AdminKey,
    Kind.KEY: SlotKey,
    Kind.KEY_SET: KeySet,
    Kind.OBJECT: StoredObject,
    Kind.CHANNEL: ChannelOption,
    Kind.SEQUENCE: Sequence,
    Kind.CARD_DATA: CardData,
    Kind.PKOC_KEY: PkocKey,
}


def decode_record(name: bytes, raw: bytes) -> Record:
    """Read one record. Raises Malformed for a name or value that no version of this program wrote."""
    try:
        kind, number = Kind(name[0]), int.from_bytes(name[1:], "big")
        return _TYPES[kind].decode(number, raw)
    except (ValueError, IndexError, struct.error) as error:
        raise Malformed("card record", f"{name.hex()}: {error}") from error
