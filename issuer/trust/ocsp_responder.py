"""Answers OCSP for all issuing authorities of an installation (RFC 6960), by keys that each authority delegated.

Answers without a nonce are signed once and given to everybody for some minutes, as long as the status stands. Those
with a nonce are each signed, within a budget for the whole process; beyond it the ready answer is given, as RFC 5019
§4 allows. So the HSM's load is bounded whatever is asked, and a revocation is told by the next answer.
"""

import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from cardlink.errors import Malformed
from cardlink.statements.trust import KeyState
from issuer import database
from issuer.cards.tables import CardCertificate
from issuer.database import SessionFactory
from issuer.limits import RateLimit
from issuer.trust import ca, ocsp, profiles, revocation
from issuer.trust.crl import CrlReason
from issuer.trust.ocsp import Answer, Failure, Good, IssuerId, Question, Revoked, Status, Unknown
from issuer.trust.port import HsmError, Signing
from issuer.trust.revocation_tables import OcspCertificate, RevokedCertificate
from issuer.trust.tables import AuthorityRow

log = logging.getLogger(__name__)

ANSWER_LIFE = timedelta(minutes=10)
READY_FOR = timedelta(minutes=5)
"""How long a signed answer is given again: whoever gets it last still has it for as long."""
AUTHORITIES_FOR_S = 60.0
READY_MAX = 20_000
SIGNATURES_PER_S, SIGNATURES_AT_ONCE = 100.0, 500
HSM = "hsm"


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back. `until`: others may give it again until then; None: to nobody else."""

    body: bytes
    since: datetime | None = None
    until: datetime | None = None

    def etag(self) -> str:
        """A name for these bytes."""
        return hashlib.sha256(self.body).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Responder:
    """One authority and the key that answers for it."""

    authority: str
    key_label: str
    point: bytes
    certificate: bytes
    not_after: datetime


@dataclass(slots=True)
class OcspService:
    """Any thread may ask."""

    factory: SessionFactory
    hsm: Signing
    monotonic_s: Callable[[], float] = time.monotonic
    budget: RateLimit = field(default_factory=lambda: RateLimit(SIGNATURES_PER_S, SIGNATURES_AT_ONCE))
    _responders: Mapping[IssuerId, Responder] = field(default_factory=dict)
    _looked_s: float = float("-inf")
    _ready: OrderedDict[tuple[Question, Status], Reply] = field(default_factory=OrderedDict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, raw: bytes, now: datetime) -> Reply:
        """Answer one request; what cannot be answered gets one of the failures of RFC 6960 §4.2.1."""
        try:
            question = ocsp.read_request(raw)
        except ocsp.SeveralAsked:
            return _failed(Failure.UNAUTHORIZED)
        except Malformed as error:
            log.info("ocsp request refused why=%s", error)
            return _failed(Failure.MALFORMED_REQUEST)
        try:
            responder = self._find(question.issuer, now)
            if responder is None:
                return _failed(Failure.UNAUTHORIZED)
            if now >= responder.not_after:
                return _failed(Failure.TRY_LATER)
            with database.reading(self.factory) as session:
                status = _status(session, responder.authority, question.serial)
            return self._told(question, status, responder, now)
        except (HsmError, SQLAlchemyError) as error:
            log.warning("ocsp not answered why=%s", error)
            return _failed(Failure.TRY_LATER)

    def _told(self, question: Question, status: Status, responder: Responder, now: datetime) -> Reply:
        plain = replace(question, nonce=None)
        if question.nonce is not None and self._may_sign():
            return self._sign(question, status, responder, now)
        with self._guard:
            held = self._ready.get((plain, status))
        if held is not None and held.since is not None and held.since <= now < held.since + READY_FOR:
            return held
        if question.nonce is not None or not self._may_sign():
            return _failed(Failure.TRY_LATER)
        made = self._sign(plain, status, responder, now)
        with self._guard:
            self._ready[plain, status] = made
            self._ready.move_to_end((plain, status))
            if len(self._ready) > READY_MAX:
                self._ready.popitem(last=False)
        return made

    def _may_sign(self) -> bool:
        return self.budget.wait_s(HSM, self.monotonic_s()) == 0

    def _sign(self, question: Question, status: Status, responder: Responder, now: datetime) -> Reply:
        since = now.replace(microsecond=0)
        until = min(since + ANSWER_LIFE, responder.not_after)
        body = ocsp.to_sign(Answer(question, status, since, until, responder.point))
        made = ocsp.signed(body, self.hsm.sign(responder.key_label, ca.OCSP_USE, body), responder.certificate)
        return Reply(made, since, until) if question.nonce is None else Reply(made)

    def _find(self, issuer: IssuerId, now: datetime) -> Responder | None:
        """Who answers for this issuer; what is known of the authorities is read again every minute."""
        if self.monotonic_s() >= self._looked_s + AUTHORITIES_FOR_S:
            self._responders = _load(self.factory, self.hsm, now)
            self._looked_s = self.monotonic_s()
        return self._responders.get(issuer)


def renew(factory: SessionFactory, hsm: Signing, now: datetime) -> int:
    """Give each authority's OCSP key a new certificate when half of the old one's time is over. Answers how many."""
    with database.reading(factory) as session:
        due = [row.label for row in _authorities(session, now) if _is_due(session.get(OcspCertificate, row.label), now)]
    for label in due:
        with database.transaction(factory) as session:
            row = session.get_one(AuthorityRow, label)
            key_label = ca.ocsp_key_label(row.agency_code)
            certificate = ca.ocsp_certificate(session, hsm, row, key_label, now)
            until = min(now + profiles.OCSP_LIFE, row.not_after)
            session.merge(
                OcspCertificate(
                    issuer_label=label, key_label=key_label, certificate=certificate, not_before=now, not_after=until
                )
            )
        log.info("ocsp certificate renewed issuer=%s until=%s", label, until.isoformat())
    return len(due)


def _load(factory: SessionFactory, hsm: Signing, now: datetime) -> dict[IssuerId, Responder]:
    try:
        renew(factory, hsm, now)
    except HsmError as error:  # what is still good goes on
        log.warning("ocsp certificates not renewed why=%s", error)
    found: dict[IssuerId, Responder] = {}
    with database.reading(factory) as session:
        for row in _authorities(session, now):
            held = session.get(OcspCertificate, row.label)
            if held is None:
                continue
            point = ca.public_point(hsm, held.key_label)
            responder = Responder(row.label, held.key_label, point, held.certificate, held.not_after)
            found |= dict.fromkeys(ocsp.issuer_ids(ca.subject_of(row.certificate), row.point), responder)
    return found


def _authorities(session: Session, now: datetime) -> list[AuthorityRow]:
    """The authorities whose certificates may still count."""
    query = select(AuthorityRow).where(AuthorityRow.kind == ca.ISSUING, AuthorityRow.state != KeyState.COMPROMISED)
    return [row for row in session.scalars(query) if now < row.not_after]


def _is_due(held: OcspCertificate | None, now: datetime) -> bool:
    return held is None or now >= held.not_before + (held.not_after - held.not_before) / 2


def _status(session: Session, authority: str, number: int) -> Status:
    """What is known of a certificate: the list first, then whether it was issued at all."""
    serial = f"{number:040x}"
    row, card = RevokedCertificate, CardCertificate
    listed = session.execute(
        select(row.reason, row.revoked_s).where(row.issuer_label == authority, row.serial == serial)
    ).one_or_none()
    if listed is not None and listed.reason != CrlReason.REMOVE_FROM_CRL:
        return Revoked(datetime.fromtimestamp(listed.revoked_s, UTC), listed.reason)
    issued = select(card.serial).where(card.serial == serial, card.issuer_label == authority)
    if listed is not None or session.execute(issued).one_or_none() is not None:
        return Good()
    content = session.scalar(select(AuthorityRow).where(AuthorityRow.kind == ca.CONTENT, AuthorityRow.serial == serial))
    is_known = content is not None and revocation.issuer_label(session, content) == authority
    return Good() if is_known else Unknown()


def _failed(kind: Failure) -> Reply:
    return Reply(ocsp.failure(kind))
