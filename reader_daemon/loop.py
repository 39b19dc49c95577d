"""One tap from the card to the lock: evidence, check, decision, event on disk, lock. In this order, always."""

import logging
import os
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from cardlink.check.cache import CredentialCache
from cardlink.check.card import VerifiedCard, check_certificate, check_credential
from cardlink.check.evidence import CredentialEvidence
from cardlink.statements.bundle import Mechanism
from cardlink.statements.record import Decision, Kind
from cardlink.statements.refusal import Refused as StatementRefused
from cardlink.transport.connection import Connection
from reader_daemon.clock import Clock
from reader_daemon.decide import Granted, Refused, check_standing, decide_by
from reader_daemon.door import Door
from reader_daemon.errors import NotDurable
from reader_daemon.events import EventLog, Happening, Stored
from reader_daemon.evidence import Draw, Evidence, Metered, NoEvidence, collect
from reader_daemon.reasons import ALARMS, AnyReason, DoorReason
from reader_daemon.state import DoorState
from reader_daemon.view import View

log = logging.getLogger(__name__)

DEFAULT_BUDGET_S = 2.0  # while the door has no rules that name one
ALARM_EVERY_S = 60.0
READABLE = (Mechanism.DOOR_APPLICATION, Mechanism.CREDENTIAL, Mechanism.PKI_CAK)


class TapResult(NamedTuple):
    """What one tap came to, and what it cost. `total_s` is from the first byte to the lock, the commit included."""

    decision: Granted | Refused
    card: VerifiedCard | None
    opened: bool
    event: Stored | None
    exchanges: int
    bytes_out: int
    bytes_in: int
    card_s: float
    check_s: float
    commit_s: float
    total_s: float
    reader: str = ""

    @property
    def reason(self) -> AnyReason | None:
        """Why not; None when granted."""
        return self.decision.reason if isinstance(self.decision, Refused) else None


class _Caches(threading.local):
    """One cache of verified credentials for each reader's thread."""

    def __init__(self) -> None:
        self.credentials = CredentialCache()


@dataclass(slots=True)
class Loop:
    """The parts of a running door, wired together. `tap` may be called from one thread for each reader."""

    door_uuid: bytes
    state: DoorState
    events: EventLog
    door: Door
    clock: Clock
    draw: Draw = os.urandom
    head_every_records: int = 64
    head_every_s: float = 300.0
    caches: _Caches = field(default_factory=_Caches)

    def tap(self, connection: Connection, reader: str = "") -> TapResult:
        """Judge the card on this connection and move the lock. Raises nothing for what a card or a full disk does."""
        started_s = time.perf_counter()
        view = self.state.view
        settings = view.rules.bundle.settings if view.rules is not None else None
        metered = Metered(connection, settings.budget_ms / 1000 if settings is not None else DEFAULT_BUDGET_S)
        evidence = collect(
            metered, self.door_uuid, settings.mechanisms if settings is not None else READABLE, self.draw
        )
        card, decision = self.judge(evidence, view, self.clock.now())
        elapsed_s = time.perf_counter() - started_s
        check_s = elapsed_s - metered.card_s
        try:
            event = self.events.append(_happening(card, decision, view, elapsed_s))
        except NotDurable as error:
            log.critical("door shut: the event could not be stored reader=%s why=%s", reader, error)
            refused = Refused(DoorReason.LOG_UNAVAILABLE, str(error))
            return _result(refused, card, None, metered, check_s, started_s, reader)
        opened = self.door.act(decision, event)
        result = _result(decision, card, event, metered, check_s, started_s, reader, opened=opened)
        _tell(result)
        self.sign_head_if_due()
        return result

    def judge(self, evidence: Evidence, view: View, now: datetime) -> tuple[VerifiedCard | None, Granted | Refused]:
        """Say what the evidence is worth and whether it opens the door now."""
        if isinstance(evidence, NoEvidence):
            return None, Refused(evidence.reason, evidence.detail)
        if view.trust is None:
            return None, Refused(DoorReason.NO_TRUST)
        rules = check_standing(view, now, self.clock.quality)
        if isinstance(rules, Refused):
            return None, rules
        if isinstance(evidence, CredentialEvidence):
            checked = check_credential(evidence, view.trust, now, self.caches.credentials)
        else:
            checked = check_certificate(evidence, view.trust, now)
        if isinstance(checked, StatementRefused):
            return None, Refused(checked.reason, checked.detail)
        return checked, decide_by(rules, checked, view, now, self.state.stale_s())

    def sign_head_if_due(self) -> None:
        """Sign the log's head when it is time; a disk that is full now is no reason to stop."""
        try:
            self.events.sign_head_if_due(self.head_every_records, self.head_every_s)
        except NotDurable as error:
            log.error("head not stored why=%s", error)


class AlarmSink:
    """Writes alarms that no tap stands for into the log: one a minute for each reason, so that noise fills no disk."""

    def __init__(self, events: EventLog, clock: Clock) -> None:
        self._events = events
        self._clock = clock
        self._last_s: dict[AnyReason, float] = {}

    def __call__(self, reason: AnyReason, detail: str) -> None:
        """Take one alarm."""
        now_s = self._clock.monotonic_s()
        log.warning("alarm reason=%s detail=%s", reason, detail)
        if now_s - self._last_s.get(reason, float("-inf")) < ALARM_EVERY_S:
            return
        self._last_s[reason] = now_s
        try:
            self._events.append(Happening(Kind.ALARM, reason=reason))
        except NotDurable as error:
            log.critical("alarm not stored reason=%s why=%s", reason, error)


def _happening(card: VerifiedCard | None, decision: Granted | Refused, view: View, elapsed_s: float) -> Happening:
    is_granted = isinstance(decision, Granted)
    reason = ("stale" if decision.is_stale else None) if isinstance(decision, Granted) else str(decision.reason)
    return Happening(
        kind=Kind.TAP,
        numbers=view.numbers(),
        card_uuid=card.card_uuid if card is not None else None,
        mechanism=card.mechanism if card is not None else None,
        decision=Decision.GRANTED if is_granted else Decision.REFUSED,
        reason=reason,
        elapsed_us=int(elapsed_s * 1_000_000),
    )


def _result(
    decision: Granted | Refused,
    card: VerifiedCard | None,
    event: Stored | None,
    metered: Metered,
    check_s: float,
    started_s: float,
    reader: str,
    *,
    opened: bool = False,
) -> TapResult:
    return TapResult(
        decision=decision,
        card=card,
        opened=opened,
        event=event,
        exchanges=metered.exchanges,
        bytes_out=metered.bytes_out,
        bytes_in=metered.bytes_in,
        card_s=metered.card_s,
        check_s=check_s,
        commit_s=event.commit_s if event is not None else 0.0,
        total_s=time.perf_counter() - started_s,
        reader=reader,
    )


def _tell(result: TapResult) -> None:
    decision = result.decision
    if isinstance(decision, Granted):
        log.info("door opened reader=%s card=%s rule=%d", result.reader, decision.card_uuid.hex(), decision.rule_id)
        return
    card = result.card.card_uuid.hex() if result.card is not None else "-"
    level = logging.WARNING if decision.reason in ALARMS else logging.INFO
    alarm = " alarm" if level == logging.WARNING else ""
    log.log(
        level,
        "door refused%s reader=%s card=%s reason=%s detail=%s",
        alarm,
        result.reader,
        card,
        decision.reason,
        decision.detail,
    )
