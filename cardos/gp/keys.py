"""The card's SCP03 key sets: PUT KEY, DELETE, and the sequence counters of their ENC keys.

Source: GlobalPlatform Card Specification v2.3.1 ("GPCS") §11.2 and 11.8, Amendment D v1.1.2 ("Amd D") §6.2.2.1 and 7.2.
"""

from cardlink.errors import CardStatus, Malformed
from cardlink.gp.commands import (
    FIRST_KEY_ID,
    MULTIPLE_KEYS,
    SEQUENCE_COUNTER_BYTES,
    PutKey,
    parse_delete,
    parse_put_key,
)
from cardlink.gp.inventory import KeyEntry, encode_key_info
from cardlink.gp.keys import key_check_value
from cardlink.gp.scp03 import StaticKeys
from cardlink.iso7816.apdu import Command
from cardlink.iso7816.sw import SW
from cardos.gp.access import require_channel, require_unlocked
from cardos.gp.registry import owner_of
from cardos.records import KeySet, Kind, Sequence
from cardos.state import Persistent, Platform

KEY_SETS_MAX = 4
KEYS_OF_A_SET = 3
COUNTED_MAX = 64  # ENC keys whose counters are kept, for the life of the card
SEQUENCE_MAX = (1 << 8 * SEQUENCE_COUNTER_BYTES) - 1
KVN_MAX = 0x7F
NO_RECEIPT = b"\0"
_DELETE_BITS = 0x81  # b8: related objects too; b1: yubikit's "the last one too"


def put_key(platform: Platform, command: Command) -> bytes:
    """PUT KEY under the DEK of this channel, in one commit.

    P1 00 adds a whole set. P1 with a version replaces that set, under the version it has or another; or single keys of
    it, which then stay in it and keep their length. Check values are asked for: a set that was garbled on its way
    would lock everybody out.
    """
    name = "PUT KEY"
    dek = require_channel(platform, name).keys.dek
    require_unlocked(platform, name)
    first = command.p2 & ~MULTIPLE_KEYS
    if command.p1 > KVN_MAX or not FIRST_KEY_ID <= first <= KEYS_OF_A_SET:
        raise CardStatus(name, SW.INCORRECT_P1P2)
    sets = platform.persistent.key_sets
    if command.p1 and command.p1 not in sets:
        raise CardStatus(name, SW.REFERENCE_NOT_FOUND)
    try:
        request = parse_put_key(command)
        keys = _new_set(request, dek, sets.get(request.replace_kvn))
    except Malformed as error:
        raise CardStatus(name, SW.INCORRECT_DATA) from error
    replaced, kvn = request.replace_kvn, request.new_kvn
    if kvn in sets and kvn != replaced:
        raise CardStatus(name, SW.INCORRECT_DATA)
    if not replaced and len(sets) >= KEY_SETS_MAX:
        raise CardStatus(name, SW.NOT_ENOUGH_MEMORY)
    counted = platform.persistent.sequences
    if len(counted) >= COUNTED_MAX and counter_number(keys.enc) not in counted:
        raise CardStatus(name, SW.NOT_ENOUGH_MEMORY)
    gone = [(Kind.KEY_SET, replaced)] if replaced and replaced != kvn else []
    platform.persistent.commit([KeySet(kvn, keys)], gone)
    return request.answer()


def _new_set(request: PutKey, dek: bytes, old: KeySet | None) -> StaticKeys:
    """The set as it is after this PUT KEY. Raises Malformed when it would not be a whole one."""
    if not all(key.kcv for key in request.keys):
        raise Malformed("PUT KEY", "want check values")
    loaded = [key.decrypt(dek) for key in request.keys]
    first = request.first_key_id - FIRST_KEY_ID
    if len(loaded) == KEYS_OF_A_SET and not first:
        return StaticKeys(*loaded)
    if old is None or request.new_kvn != request.replace_kvn or first + len(loaded) > KEYS_OF_A_SET:
        raise Malformed("PUT KEY", "want ENC, MAC and DEK, or keys of the set that is replaced")
    keys = [old.keys.enc, old.keys.mac, old.keys.dek]
    keys[first : first + len(loaded)] = loaded
    return StaticKeys(*keys)


def delete(platform: Platform, command: Command) -> bytes:
    """DELETE of one whole key set. The applications are in ROM and stay.

    The last set stays as well, even where yubikit asks for it (b1 of P2): a YubiKey then has its factory's keys again,
    this card would have none and be out of everybody's reach.
    """
    name = "DELETE"
    require_channel(platform, name)
    require_unlocked(platform, name)
    if command.p1 or command.p2 & ~_DELETE_BITS:
        raise CardStatus(name, SW.INCORRECT_P1P2)
    try:
        request = parse_delete(command)
    except Malformed as error:
        raise CardStatus(name, SW.INCORRECT_DATA) from error
    persistent = platform.persistent
    if request.aid:
        raise CardStatus(name, SW.REFERENCE_NOT_FOUND if owner_of(request.aid) is None else SW.CONDITIONS_NOT_SATISFIED)
    if request.kvn not in persistent.key_sets:
        raise CardStatus(name, SW.REFERENCE_NOT_FOUND)
    if request.key_id or len(persistent.key_sets) == 1:
        raise CardStatus(name, SW.CONDITIONS_NOT_SATISFIED)
    persistent.commit((), [(Kind.KEY_SET, request.kvn)])
    return NO_RECEIPT


def find_set(platform: Platform, kvn: int) -> KeySet:
    """The key set of that version; version 0 stands for the first one. Raises CardStatus 6A88."""
    sets = platform.persistent.key_sets
    found = sets.get(kvn or min(sets))
    if found is None:
        raise CardStatus("INITIALIZE UPDATE", SW.REFERENCE_NOT_FOUND)
    return found


def counter_number(enc: bytes) -> int:
    """Where the counter of this ENC stands: its check value. The challenge hangs on ENC alone (Amd D §6.2.2.1), so the
    counter does too: it never goes back for a key, whichever version or order it is loaded in."""
    return int.from_bytes(key_check_value(enc), "big")


def counter_of(persistent: Persistent, kvn: int) -> int:
    """How many channels of this key set's ENC have begun."""
    return persistent.sequences.get(counter_number(persistent.key_sets[kvn].keys.enc), 0)


def advance(platform: Platform, kvn: int) -> bytes:
    """Count one more channel of this key set, in the store before anything is done with the number.

    Raises CardStatus 6985 when the counter is used up: the set must then be replaced.
    """
    value = counter_of(platform.persistent, kvn) + 1
    if value > SEQUENCE_MAX:
        raise CardStatus("INITIALIZE UPDATE", SW.CONDITIONS_NOT_SATISFIED)
    platform.persistent.commit([Sequence(counter_number(platform.persistent.key_sets[kvn].keys.enc), value)])
    return value.to_bytes(SEQUENCE_COUNTER_BYTES, "big")


def sequence_counter(platform: Platform) -> bytes:
    """The counter of the first key set, as GET DATA tells it."""
    persistent = platform.persistent
    return counter_of(persistent, min(persistent.key_sets)).to_bytes(SEQUENCE_COUNTER_BYTES, "big")


def key_information(platform: Platform) -> bytes:
    """E0 with a line for each key."""
    sets = platform.persistent.key_sets
    return encode_key_info(
        KeyEntry(FIRST_KEY_ID + index, kvn, key_bytes=len(sets[kvn].keys.enc))
        for kvn in sorted(sets)
        for index in range(KEYS_OF_A_SET)
    )
