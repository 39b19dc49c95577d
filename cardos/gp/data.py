"""GET DATA and STORE DATA of the security domain (GPCS v2.3.1 §11.3 and 11.11)."""

from cardlink.errors import CardStatus, Malformed
from cardlink.gp.card_data import StoredTag, parse_card_data
from cardlink.gp.commands import parse_store_data
from cardlink.gp.inventory import CardTag, encode_capability, encode_recognition, parse_get_data
from cardlink.gp.scp03 import Option
from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import Command
from cardlink.iso7816.sw import SW
from cardlink.piv.tables import Interface
from cardos.gp.access import require_channel, require_unlocked
from cardos.gp.keys import key_information, sequence_counter
from cardos.records import CardData
from cardos.state import Platform

# What tells nothing of this one card; the rest would make it traceable over contactless.
_FOR_EVERYBODY = frozenset((CardTag.RECOGNITION, CardTag.CAPABILITY))
_TEMPLATES = frozenset((CardTag.KEY_INFO, CardTag.RECOGNITION, CardTag.CAPABILITY))
_STORED = frozenset(StoredTag)
STORED_BYTES_MAX = 1024


def get_data(platform: Platform, command: Command) -> bytes:
    """GET DATA in GlobalPlatform's class: the data object with its tag (§11.3.3.1)."""
    tag = _asked(platform, command)
    persistent = platform.persistent
    option = persistent.channel_option
    stored = persistent.card_data
    if tag == CardTag.KEY_INFO:
        return key_information(platform)
    if tag == CardTag.RECOGNITION:
        return encode_recognition(option)
    if tag == CardTag.CAPABILITY:
        return encode_capability(option)
    if tag == CardTag.CPLC:
        return persistent.chip.cplc(
            stored.get(StoredTag.PRE_PERSONALISER, bytes(8)), stored.get(StoredTag.PERSONALISER, bytes(8))
        ).encode()
    if tag == CardTag.DIVERSIFICATION:
        return tlv.encode(tag, persistent.chip.kdd)
    if tag == CardTag.SEQUENCE_COUNTER and option & Option.PSEUDO_RANDOM_CHALLENGE:
        return tlv.encode(tag, sequence_counter(platform))
    if tag in (CardTag.IIN, CardTag.CIN) and tag in stored:
        return tlv.encode(tag, stored[tag])
    raise CardStatus("GET DATA", SW.REFERENCE_NOT_FOUND)


def get_data_interindustry(platform: Platform, command: Command) -> bytes:
    """GET DATA in the interindustry class: key information and card data come without the template around them.

    ISO/IEC 7816-4 has the value alone for an even INS, YubiKeys answer so, and yubikit reads no other form; hosts after
    GlobalPlatform ask in GlobalPlatform's class. The primitive objects keep their tag in both, as CPLC does on cards.
    """
    answer = get_data(platform, command)
    tag = parse_get_data(command)
    return tlv.unwrap(answer, tag) if tag in _TEMPLATES else answer


def _asked(platform: Platform, command: Command) -> int:
    try:
        tag = parse_get_data(command)
    except Malformed as error:
        raise CardStatus("GET DATA", SW.INCORRECT_DATA) from error
    if platform.volatile.interface is not Interface.CONTACT and tag not in _FOR_EVERYBODY:
        raise CardStatus("GET DATA", SW.SECURITY_STATUS_NOT_SATISFIED)
    return tag


def store_data(platform: Platform, command: Command) -> bytes:
    """STORE DATA: the blocks are numbered from 00; the last one puts all of it into the store in one commit.

    What came so far belongs to the channel and goes with it; block 00 begins again.
    """
    name = "STORE DATA"
    channel = require_channel(platform, name)
    require_unlocked(platform, name)
    try:
        request = parse_store_data(command)
    except Malformed as error:
        raise CardStatus(name, SW.INCORRECT_P1P2) from error
    if not request.block:
        channel.stored = []
    blocks = channel.stored
    if request.block != len(blocks) or request.is_encrypted:
        channel.stored = []
        raise CardStatus(name, SW.INCORRECT_P1P2)
    blocks.append(request.data)
    if sum(map(len, blocks)) > STORED_BYTES_MAX:
        channel.stored = []
        raise CardStatus(name, SW.NOT_ENOUGH_MEMORY)
    if not request.is_last:
        return b""
    channel.stored = []
    try:
        objects = parse_card_data(b"".join(blocks), is_dgi=request.is_dgi)
    except Malformed as error:
        raise CardStatus(name, SW.INCORRECT_DATA) from error
    if not objects.keys() <= _STORED:
        raise CardStatus(name, SW.REFERENCE_NOT_FOUND)
    platform.persistent.commit([CardData(tag, value) for tag, value in objects.items()])
    return b""
