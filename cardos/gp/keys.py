"""The card's SCP03 key sets: PUT KEY, DELETE, and the sequence counter of each.

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
from cardlink.gp.scp03 import StaticKeys
from cardlink.iso7816.apdu import Command
from cardlink.iso7816.sw import SW
from cardos.gp.access import require_channel, require_unlocked
from cardos.gp.registry import owner_of
from cardos.records import KeySet, Kind, Record, Sequence
from cardos.state import Platform

KEY_SETS_MAX = 4
KEYS_OF_A_SET = 3
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
    put: list[Record] = [KeySet(kvn, keys)]
    gone = [(Kind.KEY_SET, replaced)] if replaced and replaced != kvn else []
    # a set with another ENC starts its counter again; with the same one no challenge may come twice
    if not replaced or keys.enc != sets[replaced].keys.enc:
        gone += [(Kind.SEQUENCE, one) for one in {kvn, replaced} if one in platform.persistent.sequences]
    elif replaced != kvn and replaced in platform.persistent.sequences:
        put.append(Sequence(kvn, platform.persistent.sequences[replaced]))
        gone.append((Kind.SEQUENCE, replaced))
    platform.persistent.commit(put, gone)
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
    gone = [(Kind.KEY_SET, request.kvn)]
    if request.kvn in persistent.sequences:
        gone.append((Kind.SEQUENCE, request.kvn))
    persistent.commit((), gone)
    return NO_RECEIPT


def find_set(platform: Platform, kvn: int) -> KeySet:
    """The key set of that version; version 0 stands for the first one. Raises CardStatus 6A88."""
    sets = platform.persistent.key_sets
    found = sets.get(kvn or min(sets))
    if found is None:
        raise CardStatus("INITIALIZE UPDATE", SW.REFERENCE_NOT_FOUND)
    return found


def advance(platform: Platform, kvn: int) -> bytes:
    """Count one more channel of this key set, in the store before anything is done with the number.

    Raises CardStatus 6985 when the counter is used up: the set must then be replaced.
    """
    value = platform.persistent.sequences.get(kvn, 0) + 1
    if value > SEQUENCE_MAX:
        raise CardStatus("INITIALIZE UPDATE", SW.CONDITIONS_NOT_SATISFIED)
    platform.persistent.commit([Sequence(kvn, value)])
    return value.to_bytes(SEQUENCE_COUNTER_BYTES, "big")


def sequence_counter(platform: Platform) -> bytes:
    """The counter of the first key set, as GET DATA tells it."""
    persistent = platform.persistent
    return persistent.sequences.get(min(persistent.key_sets), 0).to_bytes(SEQUENCE_COUNTER_BYTES, "big")


def key_information(platform: Platform) -> bytes:
    """E0 with a line for each key."""
    sets = platform.persistent.key_sets
    return encode_key_info(
        KeyEntry(FIRST_KEY_ID + index, kvn, key_bytes=len(sets[kvn].keys.enc))
        for kvn in sorted(sets)
        for index in range(KEYS_OF_A_SET)
    )
