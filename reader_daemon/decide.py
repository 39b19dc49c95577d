"""May this card open this door now? Pure: values in, one value out."""

from dataclasses import dataclass
from datetime import datetime

from cardlink.check.card import StatusPlace, VerifiedCard
from cardlink.statements.agency import covers, is_in_scope
from cardlink.statements.bundle import Rule
from cardlink.statements.record import ClockQuality
from cardlink.statements.refusal import Refused as StatementRefused
from cardlink.statements.status import Status
from cardlink.statements.status_state import status_of
from reader_daemon.calendar import LocalMinute, is_open, local_minute
from reader_daemon.reasons import AnyReason, DoorReason
from reader_daemon.rules import Rules
from reader_daemon.view import View


@dataclass(frozen=True, slots=True)
class Granted:
    """Open for `open_ms`, by this rule. `is_stale`: the door has not heard from the centre for long; a flag."""

    card_uuid: bytes
    rule_id: int
    open_ms: int
    is_stale: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """Stay shut. `detail` is for logs, in English."""

    reason: AnyReason
    detail: str = ""


_STATUS_REASONS = {
    Status.REVOKED: DoorReason.REVOKED,
    Status.SUSPENDED: DoorReason.SUSPENDED,
    Status.STOLEN: DoorReason.STOLEN,
}


def check_standing(view: View, now: datetime, quality: ClockQuality) -> Rules | Refused:
    """Say whether the door itself may judge anybody: its clock, its trust list, its rules."""
    if quality is ClockQuality.LOST:
        return Refused(DoorReason.CLOCK_LOST)
    if view.trust is None:
        return Refused(DoorReason.NO_TRUST)
    rules = view.rules
    if rules is None:
        return Refused(view.no_rules)
    now_s = now.timestamp()
    if now_s >= rules.bundle.expires_s:
        return Refused(DoorReason.BUNDLE_EXPIRED, f"bundle {rules.bundle.seq}")
    if now_s < rules.bundle.not_before_s:
        return Refused(DoorReason.BUNDLE_NOT_YET_VALID, f"bundle {rules.bundle.seq}")
    return rules


def decide(card: VerifiedCard, view: View, now: datetime, quality: ClockQuality, stale_s: float) -> Granted | Refused:
    """Judge a card that has proved itself: status first, so that a stolen card is noticed at every door; then rules."""
    rules = check_standing(view, now, quality)
    if isinstance(rules, Refused):
        return rules
    if card.status is not None:
        refusal = _check_status(card.status, view, now)
        if refusal is not None:
            return refusal
    if stale_s > rules.bundle.settings.deny_stale_s:
        return Refused(DoorReason.STALE, f"{stale_s:.0f} s")
    is_stale = stale_s > rules.bundle.settings.flag_stale_s
    return _apply_rules(card, rules, now, is_stale)


def _check_status(place: StatusPlace, view: View, now: datetime) -> Refused | None:
    if view.status is None:
        return Refused(view.no_status)
    if now.timestamp() > view.status_expires_s:
        return Refused(DoorReason.STATUS_EXPIRED)
    status = status_of(view.status, place.list_number, place.index)
    if isinstance(status, StatementRefused):
        return Refused(status.reason, status.detail)
    if status is not Status.VALID:
        return Refused(_STATUS_REASONS[status])
    return None


def _apply_rules(card: VerifiedCard, rules: Rules, now: datetime, is_stale: bool) -> Granted | Refused:
    """Deny beats allow; no rule in its calendar means no access."""
    holder = rules.holders.get(card.card_uuid)
    if holder is not None and holder.key_hash != card.key_hash:
        return Refused(DoorReason.KEY_HASH_MISMATCH, f"holder {holder.index}")
    speaking = list(rules.of_holder.get(holder.index, ())) if holder is not None else []
    for rule in rules.of_agencies:
        # a card without a status can only be taken back by taking its holder out: no rule for an agency lets it in
        if (card.status is not None or not rule.allows) and is_in_scope(rule.agencies, card.agency):
            speaking.append(rule)
    if not speaking:
        if not covers(rules.bundle.owner, card.agency):
            return Refused(DoorReason.NOT_THIS_AGENCY, card.agency)
        return Refused(DoorReason.UNKNOWN_CARD if holder is None else DoorReason.NO_RULE)
    at = local_minute(now, rules.zone)
    now_s = now.timestamp()
    open_now = []
    for rule in speaking:
        if _is_in_force(rule, now_s) and _is_open(rule, rules, at):
            if not rule.allows:
                return Refused(DoorReason.DENIED, f"rule {rule.rule_id}")
            open_now.append(rule)
    for rule in open_now:
        if not rule.demands or card.mechanism in rule.demands:
            return Granted(card.card_uuid, rule.rule_id, rules.bundle.settings.unlock_ms, is_stale)
    if open_now:
        return Refused(DoorReason.DEMANDS_MORE, f"rule {open_now[0].rule_id}")
    allowing = [rule for rule in speaking if rule.allows]
    if not allowing:
        return Refused(DoorReason.NO_RULE)
    if not any(_is_in_force(rule, now_s) for rule in allowing):
        return Refused(DoorReason.RULE_NOT_IN_FORCE)
    return Refused(DoorReason.OUTSIDE_CALENDAR)


def _is_in_force(rule: Rule, now_s: float) -> bool:
    return (rule.from_s is None or rule.from_s <= now_s) and (rule.until_s is None or now_s < rule.until_s)


def _is_open(rule: Rule, rules: Rules, at: LocalMinute) -> bool:
    calendar = rules.bundle.calendars[rule.calendar]
    return is_open(calendar.week, calendar.dates, at)
