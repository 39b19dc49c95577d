"""The registry: what stands on the card, in which state it is, and which step leads where (GPCS §5).

An application joins with one row here; which commands it has is the dispatcher's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cardlink.access.door import DOOR_AID
from cardlink.access.pkoc import PKOC_AID
from cardlink.gp.commands import ISD_AID
from cardlink.gp.inventory import AppState, LifeCycle, Scope, StatusEntry
from cardlink.piv.tables import PIV_AID
from cardos.records import Owner

# GPCS Table 6-1: security domain, card lock, card terminate, CVM management
_DOMAIN_PRIVILEGES = bytes.fromhex("9E0000")


class Warned(Exception):
    """A command that was carried out and still answers with a warning, 62xx or 63xx, beside its data."""

    def __init__(self, data: bytes, sw: int) -> None:
        super().__init__(data, sw)
        self.data = data
        self.sw = sw


@dataclass(frozen=True, slots=True)
class Row:
    """An application of the card: its name, and whose `Life` record is its own."""

    aid: bytes
    owner: Owner


APPLICATIONS = (Row(PIV_AID, Owner.PIV), Row(DOOR_AID, Owner.DOOR), Row(PKOC_AID, Owner.PKOC))

# GPCS §5.1.1, Figure 5-1: forward only, but CARD_LOCKED comes back to SECURED; TERMINATED is the end.
CARD_STEPS: Mapping[int, frozenset[int]] = MappingProxyType(
    {
        LifeCycle.OP_READY: frozenset((LifeCycle.INITIALIZED, LifeCycle.TERMINATED)),
        LifeCycle.INITIALIZED: frozenset((LifeCycle.SECURED, LifeCycle.TERMINATED)),
        LifeCycle.SECURED: frozenset((LifeCycle.CARD_LOCKED, LifeCycle.TERMINATED)),
        LifeCycle.CARD_LOCKED: frozenset((LifeCycle.SECURED, LifeCycle.TERMINATED)),
        LifeCycle.TERMINATED: frozenset(),
    }
)


def entries(scope: Scope, life: Mapping[Owner, int]) -> tuple[StatusEntry, ...]:
    """What GET STATUS of this scope tells. The applications are in ROM: there are no load files and no modules."""
    if scope is Scope.ISSUER_DOMAIN:
        return (StatusEntry(ISD_AID, life[Owner.CARD], _DOMAIN_PRIVILEGES, ISD_AID),)
    if scope is Scope.APPLICATIONS:
        return tuple(StatusEntry(row.aid, life[row.owner], domain=ISD_AID) for row in APPLICATIONS)
    return ()


def owner_of(aid: bytes) -> Owner | None:
    """Whose life cycle the application of this name has; None where there is no such application."""
    return next((row.owner for row in APPLICATIONS if row.aid == aid), None)


def next_application_state(now: int, asked: int) -> int | None:
    """Where SET STATUS leads an application: locked (80), or back to what it was before; None: no such step.

    GPCS §5.3.1.2 and Table 11-92: only b8 of the state asked for counts.
    """
    if bool(asked & AppState.LOCKED) == bool(now & AppState.LOCKED):
        return None
    return now ^ AppState.LOCKED
