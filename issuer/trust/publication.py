"""A change of trust and the list that says it: signed by the roots with nothing locked, stored in one transaction.

Root keys may take several persons, who take their time. So the change is rehearsed first in a transaction that is
rolled back: it tells which bytes the roots have to sign. They sign while the centre works on; then the change is made
again, now for good, and takes those signatures. Whatever moved in between makes other bytes: then all begins anew.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.orm import Session

from issuer.database import SessionFactory
from issuer.errors import Conflict
from issuer.trust import trust_list
from issuer.trust.port import KeyInfo, Signing

SIGNATURE_BYTES = 64
TRIES = 3

Change = Callable[[Session, Signing], None]


def nothing(session: Session, hsm: Signing) -> None:
    """No change: the next list says what the tables say anyway."""


def publish(
    factory: SessionFactory,
    hsm: Signing,
    now: datetime,
    change: Change = nothing,
    afterwards: Change = nothing,
) -> int:
    """Change, publish the next trust list, and do what follows from it, all in one transaction. Answers its number.

    Raises Conflict when something else kept changing what the list says while the persons signed, and Refused for a
    list that no door would take: it is not kept.
    """
    signed: dict[tuple[str, bytes], bytes] = {}
    for _ in range(TRIES):
        rehearsal = _Roots(hsm, signed)
        _run(factory, rehearsal, now, change, afterwards, is_for_good=False)
        for label, data in rehearsal.wanted:
            signed[label, data] = hsm.sign(label, trust_list.ROOT_USE, data)
        roots = _Roots(hsm, signed)
        number = _run(factory, roots, now, change, afterwards, is_for_good=True)
        if number is not None:
            return number
    raise Conflict("trust.moved", tries=TRIES)


def _run(
    factory: SessionFactory, hsm: "_Roots", now: datetime, change: Change, afterwards: Change, is_for_good: bool
) -> int | None:
    """One run; None, and nothing changed, when it is a rehearsal or a signature is missing."""
    with factory() as session:
        with session.begin() as transaction:
            change(session, hsm)
            number = trust_list.publish(session, hsm, now)
            if hsm.wanted or not is_for_good:
                transaction.rollback()
                return None
            trust_list.require_believed(session, number, now)
            afterwards(session, hsm)
        return number


@dataclass
class _Roots:
    """The HSM, but for root keys: those give the signature that was made before, or note that one is wanted."""

    hsm: Signing
    signed: dict[tuple[str, bytes], bytes]
    wanted: list[tuple[str, bytes]] = field(default_factory=list)

    def sign(self, label: str, use: str, data: bytes) -> bytes:
        """Sign; with a root key by what is at hand."""
        if use != trust_list.ROOT_USE:
            return self.hsm.sign(label, use, data)
        if (label, data) not in self.signed:
            self.wanted.append((label, data))
            return bytes(SIGNATURE_BYTES)
        return self.signed[label, data]

    def generate(self, label: str, kind: str, use: str, scope: tuple[str, ...]) -> KeyInfo:
        """Make a key."""
        return self.hsm.generate(label, kind, use, scope)

    def info(self, label: str) -> KeyInfo:
        """Describe one key."""
        return self.hsm.info(label)

    def keys(self) -> Sequence[KeyInfo]:
        """Describe all keys."""
        return self.hsm.keys()

    def sign_many(self, label: str, use: str, data: Sequence[bytes]) -> list[bytes]:
        """Sign each of several with one call."""
        return self.hsm.sign_many(label, use, data)

    def sign_digest(self, label: str, use: str, digest: bytes) -> bytes:
        """Sign what is long by its digest; no root does."""
        return self.hsm.sign_digest(label, use, digest)

    def random(self, n: int) -> bytes:
        """Draw random bytes."""
        return self.hsm.random(n)
