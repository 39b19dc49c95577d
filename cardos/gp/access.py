"""What a command of the security domain asks for before it acts."""

from cardlink.errors import CardStatus
from cardlink.gp.commands import ISD_AID
from cardlink.gp.inventory import LifeCycle
from cardlink.iso7816.sw import SW
from cardos.gp.channel import Channel
from cardos.records import Owner
from cardos.state import Platform


def require_channel(platform: Platform, name: str) -> Channel:
    """The open channel. Raises 6982 without one, or with one that was opened in another application."""
    channel = platform.volatile.channel
    if channel is None or channel.aid != ISD_AID:
        raise CardStatus(name, SW.SECURITY_STATUS_NOT_SATISFIED)
    return channel


def require_unlocked(platform: Platform, name: str) -> None:
    """Raise 6985 on a locked card: its keys and data stay as they are (GPCS §5.1.1.4)."""
    if platform.persistent.life[Owner.CARD] == LifeCycle.CARD_LOCKED:
        raise CardStatus(name, SW.CONDITIONS_NOT_SATISFIED)
