"""Cards that misbehave, by name: what an attacker or a broken card does. `docs/faults.md` says what is answered.

A profile is put over a card's `transmit` and never changes the card. Written `NAME` or `NAME:PARAMETER`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cardlink.iso7816.sw import SW
from cardlink.piv.tables import CARD_CREDENTIAL, CERT_CARD_AUTH, CHUID
from cardos.card import Card
from cardos.errors import Failed
from cardos.hostile.answers import CBOR_BOMBS as CBOR_BOMBS
from cardos.hostile.answers import TLV_SHAPES as TLV_SHAPES
from cardos.hostile.answers import (
    always_sw,
    broken_tlv,
    cbor_bomb,
    echo,
    empty_61,
    endless_61,
    huge_answer,
    no_status_word,
    ping_pong_6c,
    six_c_and_61,
)
from cardos.hostile.answers import garbage as garbage
from cardos.hostile.channel import no_mac, plain_errors, replayed_answers, wrong_cryptogram, wrong_mac
from cardos.hostile.claims import POINT_KINDS as POINT_KINDS
from cardos.hostile.claims import SIGNATURE_JUNK as SIGNATURE_JUNK
from cardos.hostile.claims import clone as clone
from cardos.hostile.claims import cloned, junk_signature, only_uid, public_key, wrong_key
from cardos.hostile.claims import fixed_response as fixed_response
from cardos.hostile.claims import no_9e as no_9e
from cardos.hostile.claims import only_chuid as only_chuid
from cardos.hostile.claims import replayed as replayed
from cardos.hostile.claims import swapped_key as swapped_key
from cardos.hostile.claims import swapped_objects as swapped_objects
from cardos.hostile.faulty import Faulty as Faulty
from cardos.hostile.leaving import SLOW_S, WAITING_S, torn_after_exchange, waiting
from cardos.hostile.leaving import mute as mute
from cardos.hostile.leaving import slow as slow
from cardos.hostile.leaving import torn_at_byte as torn_at_byte
from cardos.hostile.leaving import torn_at_exchange as torn_at_exchange
from cardos.sealing import read_records
from cardos.store import MemoryStore
from cardos.vpcd import Answering

_SECONDS_MAX = 86_400.0
_COUNT_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Parameter:
    """What may stand after the colon: `wants` says it, `read` reads it (ValueError for anything else)."""

    wants: str
    read: Callable[[str], Any]
    default: Any = None

    @property
    def is_needed(self) -> bool:
        """There is nothing that would do in its place."""
        return self.default is None


@dataclass(frozen=True, slots=True)
class Profile:
    """One way to misbehave. Called with a card it gives that card with the profile on, its parameter at the default."""

    make: Callable[..., Answering]
    parameter: Parameter | None = None

    def __call__(self, card: Answering) -> Answering:
        return self.make(card) if self.parameter is None else self.make(card, self.parameter.default)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= _SECONDS_MAX:
        raise ValueError(text)
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 0 <= value <= _COUNT_MAX:
        raise ValueError(text)
    return value


def _place(text: str) -> int:
    if (value := _count(text)) == 0:
        raise ValueError(text)
    return value


def _sw(text: str) -> int:
    value = int(text, 16)
    if len(text) != 4 or value >> 12 not in (6, 9):
        raise ValueError(text)
    return value


def _other_card(text: str) -> Answering:
    return Card(MemoryStore(read_records(Path(text))))


def _one_of(names: tuple[str, ...]) -> Parameter:
    def read(text: str) -> str:
        if text not in names:
            raise ValueError(text)
        return text

    return Parameter(" | ".join(names), read, names[0])


def _swapped(tag: int) -> Profile:
    return Profile(lambda card, other: swapped_objects(card, other, (tag,)), _OTHER)


_OTHER = Parameter("image of another card", _other_card)
PROFILES: MappingProxyType[str, Profile] = MappingProxyType(
    {
        # silent, late, gone
        "mute": Profile(mute, Parameter("exchanges before", _count, 0)),
        "waiting": Profile(waiting, Parameter("seconds", _seconds, WAITING_S)),
        "slow": Profile(slow, Parameter("seconds for each exchange", _seconds, SLOW_S)),
        "torn-byte": Profile(torn_at_byte, Parameter("bytes before", _count, 100)),
        "torn-exchange": Profile(torn_at_exchange, Parameter("number of the exchange", _place, 2)),
        "torn-after": Profile(torn_after_exchange, Parameter("number of the exchange", _place, 2)),
        # answers that break the protocol or never end
        "garbage": Profile(garbage),
        "echo": Profile(echo),
        "sw": Profile(always_sw, Parameter("status word", _sw, int(SW.NO_PRECISE_DIAGNOSIS))),
        "no-status-word": Profile(no_status_word),
        "endless-61": Profile(endless_61),
        "empty-61": Profile(empty_61),
        "ping-pong-6c": Profile(ping_pong_6c),
        "6c-and-61": Profile(six_c_and_61),
        "huge-answer": Profile(huge_answer),
        "tlv": Profile(broken_tlv, _one_of(tuple(TLV_SHAPES))),
        "cbor": Profile(cbor_bomb, _one_of(tuple(CBOR_BOMBS))),
        # claims less than it has, or shows what is another's
        "no-9e": Profile(no_9e, Parameter("status word", _sw, int(SW.FUNCTION_NOT_SUPPORTED))),
        "only-chuid": Profile(only_chuid),
        "only-uid": Profile(only_uid),
        "clone": Profile(cloned),
        "wrong-key": Profile(wrong_key),
        "replayed": Profile(replayed),
        "signature": Profile(junk_signature, _one_of(tuple(SIGNATURE_JUNK))),
        "swapped-key": Profile(swapped_key, _OTHER),
        "swapped-credential": _swapped(CARD_CREDENTIAL.tag),
        "swapped-certificate": _swapped(CERT_CARD_AUTH.tag),
        "swapped-chuid": _swapped(CHUID.tag),
        # towards who encodes a card
        "public-key": Profile(public_key, _one_of(POINT_KINDS)),
        "wrong-mac": Profile(wrong_mac),
        "no-mac": Profile(no_mac),
        "replayed-answer": Profile(replayed_answers),
        "plain-error": Profile(plain_errors, Parameter("status word", _sw, int(SW.SECURITY_STATUS_NOT_SATISFIED))),
        "wrong-cryptogram": Profile(wrong_cryptogram),
    }
)


def faulty(text: str) -> Callable[[Answering], Answering]:
    """What `NAME` or `NAME:PARAMETER` puts over a card. Raises Failed for a name or parameter that is none."""
    name, colon, given = text.partition(":")
    profile = PROFILES.get(name)
    if profile is None:
        raise Failed("fault.unknown", name=name, names=", ".join(PROFILES))
    parameter = profile.parameter
    if parameter is None:
        if colon:
            raise Failed("fault.no-parameter", name=name)
        return profile
    if not colon:
        if parameter.is_needed:
            raise Failed("fault.wants-parameter", name=name, wants=parameter.wants)
        return profile
    try:
        value = parameter.read(given)
    except ValueError as error:
        raise Failed("fault.bad-parameter", name=name, text=given, wants=parameter.wants) from error
    return lambda card: profile.make(card, value)
