"""The card maker: blank cards as they are delivered, with the batch's transport keys."""

from cardlink.gp.inventory import AppState, LifeCycle
from cardlink.gp.scp03 import StaticKeys
from cardos.defaults import default_admin_key, default_references
from cardos.records import Chip, KeySet, Life, Owner, Record, record_name

TRANSPORT_KVN = 0x30


def make_blank(serial: bytes, transport_keys: StaticKeys | tuple[bytes, bytes, bytes]) -> dict[bytes, bytes]:
    """The records of a blank card, for a `MemoryStore` or `FileStore.create`.

    `serial` is the key diversification data, 10 bytes (see `Chip`); `transport_keys` ENC, MAC and DEK of the batch.
    Raises Malformed for other lengths.
    """
    keys = transport_keys if isinstance(transport_keys, StaticKeys) else StaticKeys(*transport_keys)
    records: tuple[Record, ...] = (
        Chip(serial),
        Life(Owner.CARD, LifeCycle.INITIALIZED),
        Life(Owner.PIV, AppState.SELECTABLE),
        *default_references(),
        default_admin_key(),
        KeySet(TRANSPORT_KVN, keys),
    )
    return {record_name(record.kind, record.number): record.encode() for record in records}
