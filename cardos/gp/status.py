"""GET STATUS and SET STATUS (GPCS v2.3.1 §11.4 and 11.10)."""

from cardlink.errors import CardStatus, Malformed
from cardlink.gp.commands import ISD_AID
from cardlink.gp.inventory import (
    SCOPES,
    LifeCycle,
    Scope,
    encode_old_status,
    encode_status,
    parse_get_status,
    parse_set_status,
)
from cardlink.iso7816.apdu import Command
from cardlink.iso7816.sw import SW
from cardos.gp.access import require_channel, require_unlocked
from cardos.gp.registry import CARD_STEPS, entries, next_application_state, owner_of
from cardos.records import Life, Owner
from cardos.state import Platform


def get_status(platform: Platform, command: Command) -> bytes:
    """GET STATUS: the security domain, or the applications on the card, in the form asked for.

    All that this card has fits in one answer, so there is never a next occurrence to ask for.
    """
    name = "GET STATUS"
    require_channel(platform, name)
    if command.p1 not in SCOPES or command.p2 & ~0x03:
        raise CardStatus(name, SW.INCORRECT_P1P2)
    try:
        query = parse_get_status(command)
    except Malformed as error:
        raise CardStatus(name, SW.INCORRECT_DATA) from error
    found = [one for one in entries(query.scope, platform.persistent.life) if one.aid.startswith(query.aid)]
    if not found or query.is_next:
        raise CardStatus(name, SW.REFERENCE_NOT_FOUND)
    return encode_status(found, query.tags) if query.is_tlv else encode_old_status(found)


def set_status(platform: Platform, command: Command) -> bytes:
    """SET STATUS: one step of the card's life cycle, or lock and unlock an application."""
    name = "SET STATUS"
    require_channel(platform, name)
    try:
        scope, asked, aid = parse_set_status(command)
    except Malformed as error:
        raise CardStatus(name, SW.INCORRECT_P1P2) from error
    life = platform.persistent.life
    if scope is Scope.ISSUER_DOMAIN:
        if aid not in (b"", ISD_AID):
            raise CardStatus(name, SW.REFERENCE_NOT_FOUND)
        if asked not in CARD_STEPS[life[Owner.CARD]]:
            raise CardStatus(name, SW.CONDITIONS_NOT_SATISFIED)
        platform.persistent.commit([Life(Owner.CARD, asked)])
        return b""
    require_unlocked(platform, name)
    if scope is Scope.DOMAIN_AND_APPLICATIONS:
        if aid != ISD_AID:
            raise CardStatus(name, SW.REFERENCE_NOT_FOUND)
        # the issuer domain itself cannot be locked, the card can
        raise CardStatus(name, SW.CONDITIONS_NOT_SATISFIED)
    owner = owner_of(aid)
    if owner is None:
        raise CardStatus(name, SW.REFERENCE_NOT_FOUND)
    state = next_application_state(life[owner], asked)
    if state is None:
        raise CardStatus(name, SW.CONDITIONS_NOT_SATISFIED)
    platform.persistent.commit([Life(owner, state)])
    return b""


def is_locked(platform: Platform) -> bool:
    """Is the card in CARD_LOCKED."""
    return platform.persistent.life[Owner.CARD] == LifeCycle.CARD_LOCKED
