"""What this door knows: trust list, card status, rules and how fresh they are. Judged before it counts, kept on disk.

A tap takes one `View` and decides with that. The feed's thread puts new statements in; each is verified here, whatever
channel carried it. The highest numbers are on disk, so an older statement is refused also after a restart.

Staleness is monotonic time since the last answer to this door's nonce. Over a restart the door is conservative: it
takes the larger of wall time since that answer and what it had counted, and adds `CHECKPOINT_S` for the start itself,
so that cutting its power again and again does not keep it fresh.
"""

import hmac
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from cardlink.errors import Malformed
from cardlink.statements.bundle import AntiPassback, Bundle, accept_bundle
from cardlink.statements.record import ClockQuality
from cardlink.statements.refusal import Reason, Refused
from cardlink.statements.status import read_snapshot
from cardlink.statements.status_state import adopt_snapshots, apply_event, apply_fresh, apply_heartbeat
from cardlink.statements.trust import KeyState, Trust, Use, accept_trust_list, reload_trust_list
from reader_daemon.clock import Clock
from reader_daemon.database import Database
from reader_daemon.enrol import Enrolment
from reader_daemon.errors import NotDurable, ZoneMissing
from reader_daemon.judging import (
    Rolled,
    as_snapshots,
    judge_event,
    judge_fresh,
    judge_heartbeat,
    roll_forward,
)
from reader_daemon.reasons import AnyReason, DoorReason
from reader_daemon.rules import compile_rules
from reader_daemon.state_store import Kept, StateStore
from reader_daemon.view import View

log = logging.getLogger(__name__)

CHECKPOINT_S = 300
Alarm = Callable[[AnyReason, str], None]


@dataclass(frozen=True, slots=True)
class Question:
    """A nonce on its way: when it was drawn (monotonic), and up to where the door stood then."""

    nonce: bytes
    asked_at_s: float
    seq: int


class DoorState:
    """The view, and everything that changes it. One thread at a time changes; any number look."""

    def __init__(self, database: Database, enrolment: Enrolment, clock: Clock, alarm: Alarm) -> None:
        self._store = StateStore(database)
        self._enrolment = enrolment
        self._clock = clock
        self._alarm = alarm
        self._guard = threading.RLock()
        self.is_disk_behind = False
        self._bundle: Bundle | None = None
        self.view = View(fresh_at_s=self._fresh_at_start())
        self._load()

    # -- start ---------------------------------------------------------------------------------------------------

    def _fresh_at_start(self) -> float | None:
        kept = self._store.freshness()
        if kept is None:
            return None
        fresh_s, counted_s = kept
        stale_s = max(self._clock.now_s() - fresh_s, float(counted_s)) + CHECKPOINT_S
        self._store.keep_staleness(int(stale_s), self._newest())
        return self._clock.monotonic_s() - stale_s

    def _load(self) -> None:
        raw = self._store.statement(Kept.TRUST)
        if raw is None:
            return
        try:
            trust = reload_trust_list(raw)
        except Malformed as error:
            trust = Refused(Reason.MALFORMED_STATEMENT, str(error))
        if isinstance(trust, Trust) and trust.content.number < self._store.number("trust_number"):
            trust = Refused(Reason.OLDER, "the stored trust list")
        if isinstance(trust, Refused):
            self._refuse("stored trust list", trust)
            return
        self._put_trust(trust)

    def _put_trust(self, trust: Trust) -> None:
        """Take a trust list into use; what it no longer supports is dropped with it."""
        self.view = replace(self.view, trust=trust)
        self._load_status()
        self._load_bundle()

    def _load_status(self) -> None:
        snapshots, events = self._store.status()
        if not snapshots:
            return
        result = self._roll_forward(snapshots, events)
        if isinstance(result, Refused):
            if result.reason is Reason.UNKNOWN_LIST and self.view.status is not None:
                return  # the new trust list names a list more: what is held counts until its snapshot is here
            is_held = self.view.status is not None
            if result.reason is Reason.WRONG_LIST_SIGNER and is_held and self._is_retired(snapshots):
                self.is_disk_behind = True  # the lists have a new signer: what the old one told counts until it speaks
                return
            expired = result.reason is Reason.EXPIRED
            no_status = DoorReason.STATUS_EXPIRED if expired else DoorReason.NO_STATUS
            self.view = replace(self.view, status=None, no_status=no_status)
            self._refuse("stored status lists", result, is_alarm=not expired)
            return
        if (result.status.epoch, result.status.seq) < self._store.status_floor():
            self.view = replace(self.view, status=None)
            self._refuse("stored status lists", Refused(Reason.OLDER, f"seq {result.status.seq}"))
            return
        if self.view.status is None or self.view.status.epoch != result.status.epoch:
            self.view = replace(self.view, status=result.status, status_expires_s=result.expires_s)

    def _is_retired(self, snapshots: list[bytes]) -> bool:
        """Say whether the stored snapshots were signed by keys that may have: known, of this use, not compromised."""
        trust = self.view.trust
        signers = [trust.signers.get(read_snapshot(raw).statement.kid) for raw in snapshots] if trust else [None]
        return all(
            one is not None and one.entry.use is Use.STATUS and one.entry.state is not KeyState.COMPROMISED
            for one in signers
        )

    def _load_bundle(self) -> None:
        raw = self._store.statement(Kept.BUNDLE)
        if raw is None:
            return
        self.view = replace(self.view, rules=None)
        self._bundle = None
        result = self._judge_bundle(raw)
        if isinstance(result, Refused):
            is_expired = result.reason is Reason.EXPIRED
            self.view = replace(self.view, no_rules=DoorReason.BUNDLE_EXPIRED if is_expired else DoorReason.NO_BUNDLE)
            self._refuse("stored bundle", result, is_alarm=not is_expired)
            return
        self._put_bundle(result)

    def _put_bundle(self, bundle: Bundle) -> None:
        self._bundle = bundle
        if bundle.settings.anti_passback is not AntiPassback.OFF:
            log.warning("bundle asks for anti-passback, which this door does not have seq=%d", bundle.seq)
        try:
            self.view = replace(self.view, rules=compile_rules(bundle))
        except ZoneMissing as error:
            log.error("bundle unusable seq=%d why=%s", bundle.seq, error)
            self.view = replace(self.view, rules=None, no_rules=DoorReason.ZONE_MISSING)

    def refuse_older_than(self, status: tuple[int, int], bundle_seq: int) -> None:
        """Drop stored state that is older than what the log says was judged with: an old disk was put back."""
        with self._guard:
            held = self.view.status
            if held is not None and (held.epoch, held.seq) < status:
                self.view = replace(self.view, status=None)
                self._refuse("stored status lists", Refused(Reason.OLDER, f"seq {held.seq}, log has {status[1]}"))
            bundle = self._bundle
            if bundle is not None and bundle.seq < bundle_seq:
                self._bundle, self.view = None, replace(self.view, rules=None)
                self._refuse("stored bundle", Refused(Reason.OLDER, f"seq {bundle.seq}, log has {bundle_seq}"))
            self._store.raise_floors(status, bundle_seq)

    # -- what the feed brings ------------------------------------------------------------------------------------

    def take_trust(self, raw: bytes) -> Refused | None:
        """Take a trust list: signed by the roots of the one held, or by the pinned ones when there is none."""
        with self._guard:
            held = self.view.trust
            if held is not None and raw == held.raw:
                return None
            try:
                now = self._now_for(raw)
                trust = accept_trust_list(raw, held if held is not None else self._enrolment.roots, now)
            except Malformed as error:
                return self._refuse("trust list", Refused(Reason.MALFORMED_STATEMENT, str(error)))
            if isinstance(trust, Trust) and trust.content.number < self._store.number("trust_number"):
                trust = Refused(Reason.OLDER, f"trust list {trust.content.number}")
            if isinstance(trust, Refused):
                return self._refuse("trust list", trust)
            self._hear(trust.content.issued_s)
            self._store.keep_trust(raw, trust.content.number, self._newest())
            self._put_trust(trust)
            log.info("trust list taken number=%d epoch=%d", trust.content.number, trust.content.epoch)
            return None

    def _now_for(self, raw: bytes) -> datetime:
        """Now; for a lost clock not earlier than the trust list's own time, or it could never hear the right time."""
        now = self._clock.now()
        if self._clock.quality is ClockQuality.LOST:
            content = reload_trust_list(raw)
            if isinstance(content, Trust):
                return max(now, datetime.fromtimestamp(content.content.issued_s, UTC))
        return now

    def take_bundle(self, raw: bytes) -> Refused | None:
        """Take this door's rules: signed by its owner, newer than what it has."""
        with self._guard:
            result = self._judge_bundle(raw)
            if isinstance(result, Refused):
                return self._refuse("bundle", result)
            if result == self._bundle:
                return None
            bundle = result
            self._hear(bundle.issued_s)
            self._store.keep_bundle(raw, bundle.epoch, bundle.seq, self._newest())
            self._put_bundle(result)
            log.info("bundle taken seq=%d rules=%d holders=%d", bundle.seq, len(bundle.rules), len(bundle.holders))
            return None

    def take_snapshots(self, snapshots: list[bytes], events: list[bytes]) -> Refused | None:
        """Take one snapshot of each list and the events after the oldest of them; together not older than the state."""
        with self._guard:
            result = self._roll_forward(snapshots, events)
            if isinstance(result, Refused):
                return self._refuse("status snapshots", result)
            status, expires_s = result.status, result.expires_s
            held, trust = self.view.status, self.view.trust
            if held is not None and trust is not None and held.epoch == status.epoch:
                refusal = adopt_snapshots(held, as_snapshots(status, expires_s), trust.lists)
                if isinstance(refusal, Refused):
                    return self._refuse("status snapshots", refusal)
                status = replace(status, heard_s=held.heard_s)
            if (status.epoch, status.seq) < self._store.status_floor():
                return self._refuse("status snapshots", Refused(Reason.OLDER, f"seq {status.seq}"))
            self.view = replace(self.view, status=status, status_expires_s=expires_s)
            self._store.keep_snapshots(result.snapshots, result.events, (status.epoch, status.seq), self._newest())
            self.is_disk_behind = False
            log.info("status taken epoch=%d seq=%d lists=%d", status.epoch, status.seq, len(status.lists))
            return None

    def take_event(self, raw: bytes) -> Refused | None:
        """Apply the next event: at once in memory, then on disk. GAP asks for what is missing before it."""
        with self._guard:
            trust, status = self.view.trust, self.view.status
            if trust is None or status is None:
                return Refused(Reason.GAP, "no status yet")
            judged = judge_event(raw, trust, self._clock.now())
            if isinstance(judged, Refused):
                return self._refuse("status event", judged)
            applied = apply_event(status, judged)
            if isinstance(applied, Refused):
                stored = self._store.event(judged.epoch, judged.seq) if applied.reason is Reason.OLDER else None
                if stored is not None and stored != raw:
                    return self._refuse("status event", Refused(Reason.FORKED, f"two events {judged.seq}"))
                # fetched and streamed, an event may come twice
                is_quiet = applied.reason in (Reason.OLDER, Reason.GAP)
                return self._refuse("status event", applied, is_alarm=not is_quiet)
            self.view = replace(self.view, status=applied)
            self._hear(judged.issued_s)
            try:
                self._store.keep_event(judged.epoch, judged.seq, raw, self._newest())
            except NotDurable:
                self.is_disk_behind = True  # new snapshots close the hole; no receipt until then
                raise
            return None

    def take_heartbeat(self, raw: bytes) -> Refused | None:
        """Note that the feed lives and where it stands. GAP: events were withheld or are still on their way."""
        with self._guard:
            trust, status = self.view.trust, self.view.status
            if trust is None or status is None:
                return Refused(Reason.GAP, "no status yet")
            beat = judge_heartbeat(raw, trust, self._clock.now())
            if isinstance(beat, Refused):
                return self._refuse("heartbeat", beat)
            applied = apply_heartbeat(status, beat)
            if isinstance(applied, Refused):
                # a beat that an event overtook is late; one not newer than the last is a replay
                is_late = applied.reason is Reason.OLDER and beat.issued_s > status.heard_s
                return self._refuse("heartbeat", applied, is_alarm=not (is_late or applied.reason is Reason.GAP))
            self.view = replace(self.view, status=applied)
            self._hear(beat.issued_s)
            return None

    def ask(self, nonce: bytes) -> Question:
        """Note what stands when a nonce goes out: its answer is judged by that."""
        status = self.view.status
        return Question(nonce, self._clock.monotonic_s(), status.seq if status is not None else 0)

    def take_fresh(self, raw: bytes, question: Question) -> Refused | None:
        """Take the answer to a nonce: the clock follows it, and the state is as fresh as the moment of asking.

        GAP: fetch events, then ask again. NOT_YET_VALID: the clock has moved one step and has further to go; ask again.
        """
        with self._guard:
            trust, status = self.view.trust, self.view.status
            if trust is None:
                return Refused(Reason.GAP, "no trust list yet")
            fresh = judge_fresh(raw, trust, self._newest())
            if isinstance(fresh, Refused):
                return self._refuse("fresh", fresh)
            if not hmac.compare_digest(fresh.nonce, question.nonce):
                return self._refuse("fresh", Refused(Reason.WRONG_NONCE, "not the answer to this door's question"))
            if self._hear(fresh.issued_s, is_fresh=True):
                return Refused(Reason.NOT_YET_VALID, "the clock is still behind")
            if status is None:
                return Refused(Reason.GAP, "no status yet")
            applied = apply_fresh(status, fresh, question.nonce)
            if isinstance(applied, Refused):
                is_overtaken = applied.reason is Reason.OLDER and fresh.seq >= question.seq  # by an event on the stream
                if not is_overtaken:
                    return self._refuse("fresh", applied, is_alarm=applied.reason is not Reason.GAP)
                applied = status
            self.view = replace(self.view, status=applied, fresh_at_s=question.asked_at_s)
            self._store.keep_fresh(int(self._clock.now_s()), self._newest())
            return None

    # -- how it stands -------------------------------------------------------------------------------------------

    def stale_s(self) -> float:
        """Seconds since the last answer to a nonce; without end when there never was one."""
        fresh_at_s = self.view.fresh_at_s
        return float("inf") if fresh_at_s is None else self._clock.monotonic_s() - fresh_at_s

    def checkpoint(self) -> None:
        """Keep the staleness so far; to be called every `CHECKPOINT_S`."""
        if self.view.fresh_at_s is not None:
            self._store.keep_staleness(int(self.stale_s()), self._newest())

    def stored_events(self) -> int:
        """How many events lie behind the snapshots; a door with many takes new snapshots."""
        return self._store.event_count()

    # -- judging -------------------------------------------------------------------------------------------------

    def _roll_forward(self, snapshots: list[bytes], events: list[bytes]) -> Rolled | Refused:
        trust = self.view.trust
        if trust is None:
            return Refused(Reason.UNKNOWN_SIGNER, "no trust list")
        return roll_forward(snapshots, events, trust, self._clock.now())

    def _judge_bundle(self, raw: bytes) -> Bundle | Refused:
        trust = self.view.trust
        if trust is None:
            return Refused(Reason.UNKNOWN_SIGNER, "no trust list")
        enrolled, now = self._enrolment, self._clock.now()
        try:
            bundle = accept_bundle(raw, self._bundle, trust, enrolled.door, enrolled.owner, now)
        except Malformed as error:
            return Refused(Reason.MALFORMED_STATEMENT, str(error))
        if isinstance(bundle, Bundle) and (bundle.epoch, bundle.seq) < self._store.bundle_floor():
            return Refused(Reason.OLDER, f"bundle {bundle.seq}")
        return bundle

    def _newest(self) -> int:
        return self._clock.newest_signed_s

    def _hear(self, signed_s: int, *, is_fresh: bool = False) -> bool:
        """Let the clock follow a verified time; True when that is further than one step, which is an alarm."""
        step = self._clock.hear(signed_s, is_fresh=is_fresh)
        if step.is_capped:
            self._alarm(Reason.NOT_YET_VALID, f"signed time {signed_s} is far ahead; clock moved {step.moved_s:.0f} s")
        return step.is_capped

    def _refuse(self, what: str, refusal: Refused, *, is_alarm: bool = True) -> Refused:
        if is_alarm:
            self._alarm(refusal.reason, f"{what}: {refusal.detail}")
        else:
            log.info("%s not taken reason=%s detail=%s", what, refusal.reason, refusal.detail)
        return refusal
