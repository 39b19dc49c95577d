"""Making the PKOC key: by the issuer, in a channel of the security domain (docs/formats.md, F17)."""

from cardlink.access.pkoc import parse_generate_pkoc_key
from cardlink.gp.inventory import AppState
from cardlink.iso7816.apdu import Command
from cardlink.piv.tables import Algorithm
from cardlink.piv.templates import encode_public_key
from cardos.gp.access import require_channel, require_unlocked
from cardos.piv.keys import generate, public_of, save_private
from cardos.records import Life, Owner, PkocKey
from cardos.state import Platform

_NAME = "GENERATE ASYMMETRIC KEY PAIR"


def generate_pkoc_key(platform: Platform, command: Command) -> bytes:
    """Make the key, or another in its place, and with the first one make the application selectable.

    A locked application stays locked.
    """
    require_channel(platform, _NAME)
    require_unlocked(platform, _NAME)
    parse_generate_pkoc_key(command)
    key = generate(Algorithm.P_256)
    persistent = platform.persistent
    life = Life(Owner.PKOC, persistent.life[Owner.PKOC] | AppState.SELECTABLE)
    persistent.commit([PkocKey(save_private(key)), life])
    return encode_public_key(public_of(key))
