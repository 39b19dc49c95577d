"""The card maker: blank cards as they are delivered, with the batch's transport keys."""

from cardlink.errors import Malformed
from cardlink.gp.inventory import AppState, LifeCycle
from cardlink.gp.scp03 import OPTIONS, StaticKeys
from cardos.defaults import default_admin_key, default_references
from cardos.maker import Maker
from cardos.records import DEFAULT_OPTION, ChannelOption, Chip, KeySet, Life, Owner, Record, record_name

TRANSPORT_KVN = 0x30


def make_blank(
    serial: bytes,
    transport_keys: StaticKeys | tuple[bytes, bytes, bytes],
    channel_option: int = DEFAULT_OPTION,
    maker: Maker | None = None,
) -> dict[bytes, bytes]:
    """The records of a blank card, for a `MemoryStore` or `FileStore.create`.

    `serial` is the key diversification data, 10 bytes (see `Chip`); `transport_keys` ENC, MAC and DEK of the batch.
    `channel_option` is "i" of SCP03 (`OPTIONS`): what the chip can do for as long as it lives.
    `maker` puts key F9 and its certificate on the card, with which it attests keys; a card without a maker does not.
    Raises Malformed for other lengths and options.
    """
    if channel_option not in OPTIONS:
        raise Malformed("blank card", f"SCP03 option {channel_option:02X}")
    keys = transport_keys if isinstance(transport_keys, StaticKeys) else StaticKeys(*transport_keys)
    chip = Chip(serial)
    records: tuple[Record, ...] = (
        chip,
        Life(Owner.CARD, LifeCycle.INITIALIZED),
        Life(Owner.PIV, AppState.SELECTABLE),
        *default_references(),
        default_admin_key(),
        KeySet(TRANSPORT_KVN, keys),
        *(() if channel_option == DEFAULT_OPTION else (ChannelOption(channel_option),)),
        *(() if maker is None else maker.equip(chip)),
    )
    return {record_name(record.kind, record.number): record.encode() for record in records}
