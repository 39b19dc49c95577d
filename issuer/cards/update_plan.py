"""What of an issued card has to be made anew, and the plan of the update that does it.

Everything is told by the register alone: who signed what is on the chip, which authority certified its keys, which
master key its key set comes from. What the holder chose or knows stays: keys, UUID, PIN and PUK.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from cardlink.piv.cvc import MESSAGING_CVC
from cardlink.piv.tables import (
    CARD_CREDENTIAL,
    CHUID,
    FACIAL_IMAGE,
    IDENTITY_STATEMENT,
    PRINTED_INFORMATION,
    SECURITY_OBJECT,
    SM_CERT_SIGNER,
    Container,
)
from cardlink.statements.trust import KeyState
from issuer.cards.plan import Act, Plan, Step, write_of
from issuer.cards.profiles import CardProfile
from issuer.cards.states import BLOCKED, IN_THE_MAKING, CardState
from issuer.cards.tables import Card, CardCertificate
from issuer.days import local_day
from issuer.errors import Refused
from issuer.trust import ca, masters
from issuer.trust.tables import AuthorityRow, CardMasterRow, SignerRow

NEAR_END = timedelta(days=60)
"""So long before doors stop believing a key, or a certificate ends, what hangs on it is made anew."""
UPDATABLE = (
    CardState.ENCODED,
    CardState.PRINTED,
    CardState.CHECKED,
    CardState.HANDED_OVER,
    CardState.ACTIVE,
)
"""States in which a card with a chip counts or is about to. A blocked one is updated after its block is taken back."""


class What(StrEnum):
    """One thing on a card that somebody vouches for."""

    CREDENTIAL = "credential"
    IDENTITY = "identity"
    CERTIFICATES = "certificates"
    CONTENT = "content"  # CHUID, security object and face
    KEYS = "keys"  # the GP key set and 9B


class Why(StrEnum):
    """What is wrong with the key behind it, worst first."""

    COMPROMISED = "compromised"
    ENDING = "ending"
    REPLACED = "replaced"  # still believed: renewed when the card is here anyway, and no reason to call it in


class Part(StrEnum):
    """What an update renews together."""

    STATEMENTS = "statements"
    CERTIFICATES = "certificates"
    CONTENT = "content"
    KEYS = "keys"


_PARTS = {
    What.CREDENTIAL: (Part.STATEMENTS,),
    What.IDENTITY: (Part.STATEMENTS,),
    What.CERTIFICATES: (Part.CERTIFICATES,),
    What.CONTENT: (Part.CONTENT, Part.STATEMENTS),  # the identity statement names the hash of the face
    What.KEYS: (Part.KEYS,),
}
_CONTENT_ROWS = (CHUID, PRINTED_INFORMATION, FACIAL_IMAGE, SECURITY_OBJECT, SM_CERT_SIGNER)


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing on a card that is due, the key behind it, and why."""

    what: What
    label: str
    why: Why

    @property
    def is_pressing(self) -> bool:
        """Whether the card has to be called in for it."""
        return self.why is not Why.REPLACED


@dataclass(frozen=True, slots=True)
class KeysAtFault:
    """The labels behind things on cards that are not as they should be, by what they sign. Read once for many cards."""

    signers: dict[str, Why]
    authorities: dict[str, Why]
    master_of_now: str
    masters: dict[str, Why]
    near: datetime

    def why(self, what: What, label: str | None, card: Card) -> Why | None:
        """Why this thing of a card is due; None: it is not. What ends with or after the card is not ending."""
        found = self._of(what).get(label or "")
        return None if found is Why.ENDING and not self.outlives(card) else found

    def outlives(self, card: Card) -> bool:
        """Whether the card counts longer than what is near its end."""
        return card.expires_on > local_day(self.near)

    def _of(self, what: What) -> dict[str, Why]:
        if what is What.KEYS:
            return self.masters
        return self.signers if what in (What.CREDENTIAL, What.IDENTITY) else self.authorities

    def pressing(self, what: What, why: Why) -> list[str]:
        """The labels for which cards are called in."""
        return sorted(label for label, found in self._of(what).items() if found is why)


def keys_at_fault(session: Session, now: datetime) -> KeysAtFault:
    """Look at all keys: compromised, near their end, or replaced."""
    near = now + NEAR_END
    signers: dict[str, Why] = {}
    for label, state, ends in session.execute(select(SignerRow.label, SignerRow.state, SignerRow.verifies_until)):
        signers |= _at_fault(label, state, ends, near)
    authorities: dict[str, Why] = {}
    kinds = AuthorityRow.kind.in_((ca.ISSUING, ca.CONTENT))
    query = select(AuthorityRow.label, AuthorityRow.state, AuthorityRow.not_after).where(kinds)
    for label, state, ends in session.execute(query):
        authorities |= _at_fault(label, state, ends, near)
    held: dict[str, Why] = {}
    for label, state in session.execute(select(CardMasterRow.label, CardMasterRow.state)):
        held |= _at_fault(label, state, near, now)  # a master key has no end of its own
    return KeysAtFault(signers, authorities, masters.current(session), held, near)


def _at_fault(label: str, state: int, ends: datetime, near: datetime) -> dict[str, Why]:
    if state == KeyState.COMPROMISED:
        return {label: Why.COMPROMISED}
    if ends <= near:
        return {label: Why.ENDING}
    return {label: Why.REPLACED} if state == KeyState.RETIRED else {}


def causes_of(session: Session, card: Card, keys: KeysAtFault) -> tuple[Cause, ...]:
    """All that is due on one card; nothing for a card without a chip, or one that is not encoded yet."""
    if card.credential is None:
        return ()
    found = [
        *_cause(keys, card, What.CREDENTIAL, card.credential_label),
        *_cause(keys, card, What.IDENTITY, card.identity_label),
        *_cause(keys, card, What.CONTENT, card.content_label),
        *_cause(keys, card, What.KEYS, card.master_label),
    ]
    query = select(CardCertificate.issuer_label, func.min(CardCertificate.not_after))
    issued = query.where(CardCertificate.card_id == card.id).group_by(CardCertificate.issuer_label)
    for label, ends in session.execute(issued.order_by(CardCertificate.issuer_label)):
        causes = _cause(keys, card, What.CERTIFICATES, label)
        if not any(one.is_pressing for one in causes) and ends <= keys.near and keys.outlives(card):
            causes = [Cause(What.CERTIFICATES, label, Why.ENDING)]
        found += causes
    return tuple(found)


def _cause(keys: KeysAtFault, card: Card, what: What, label: str | None) -> list[Cause]:
    why = keys.why(what, label, card)
    return [] if why is None or label is None else [Cause(what, label, why)]


def is_outdated(keys: KeysAtFault, only: str | None = None) -> ColumnElement[bool]:
    """The condition on cards that have to be called in; `only`: for what this one key signed."""
    columns = {
        What.CREDENTIAL: Card.credential_label,
        What.IDENTITY: Card.identity_label,
        What.CONTENT: Card.content_label,
        What.KEYS: Card.master_label,
    }
    outlives = Card.expires_on > local_day(keys.near)
    found: list[ColumnElement[bool]] = []
    for what, column in columns.items():
        if fallen := _only(keys.pressing(what, Why.COMPROMISED), only):
            found.append(column.in_(fallen))
        if ending := _only(keys.pressing(what, Why.ENDING), only):
            found.append(and_(outlives, column.in_(ending)))
    # the other way round, a look at the certificates of every card, would take seconds for a large agency
    of_cards, own = select(CardCertificate.card_id), CardCertificate
    if fallen := _only(keys.pressing(What.CERTIFICATES, Why.COMPROMISED), only):
        found.append(Card.id.in_(of_cards.where(own.issuer_label.in_(fallen))))
    near = own.not_after <= keys.near
    if only is not None:
        near = and_(near, own.issuer_label == only)
    found.append(and_(outlives, Card.id.in_(of_cards.where(near))))
    if ending := _only(keys.pressing(What.CERTIFICATES, Why.ENDING), only):
        found.append(and_(outlives, Card.id.in_(of_cards.where(own.issuer_label.in_(ending)))))
    return and_(Card.credential.is_not(None), Card.state.in_([str(one) for one in UPDATABLE]), or_(*found))


def _only(labels: Iterable[str], only: str | None) -> list[str]:
    return [label for label in labels if only in (None, label)]


def parts_of(causes: Iterable[Cause]) -> tuple[Part, ...]:
    """What an update renews for these causes, in the order in which it is done."""
    found = {part for cause in causes for part in _PARTS[cause.what]}
    return tuple(part for part in Part if part in found)


def require_updatable(card: Card) -> None:
    """Raise Refused for a card that does not count as it stands: blocked, out of use, or not encoded yet."""
    if card.state in BLOCKED:
        raise Refused("updates.blocked", card=str(card.uuid))
    if card.state not in UPDATABLE:
        code = "cards.not_encoded" if card.state in IN_THE_MAKING else "updates.ended"
        raise Refused(code, card=str(card.uuid))


def plan_for_update(profile: CardProfile, parts: Collection[Part]) -> Plan:
    """The plan of an update: the key set before what is written under it, the credential after all it stands beside."""
    keys = (Step(Act.NEW_KEYS, Act.NEW_KEYS), Step(Act.NEW_ADMIN_KEY, Act.NEW_ADMIN_KEY)) if Part.KEYS in parts else ()
    rows = rows_of(profile, parts)
    data = (Step(Act.SIGN_ANEW, Act.SIGN_ANEW), *map(write_of, rows)) if rows else ()
    return Plan(profile, (*keys, *data, Step(Act.LOOK, Act.LOOK)))


def rows_of(profile: CardProfile, parts: Collection[Part]) -> tuple[Container, ...]:
    """What an update writes, in the product's own order."""
    certificates = [slot.container for slot in profile.slots] if Part.CERTIFICATES in parts else []
    content = _CONTENT_ROWS if Part.CONTENT in parts else ()
    statements = (CARD_CREDENTIAL, IDENTITY_STATEMENT) if Part.STATEMENTS in parts else ()
    wanted = {row.tag for row in (*certificates, *content, *statements)}
    own = (MESSAGING_CVC,) if Part.CONTENT in parts and profile.messaging is not None else ()
    return (*own, *(row for row in profile.containers if row.tag in wanted))
