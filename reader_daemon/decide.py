"""May this card open this door now? Pure: values in, one value out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cardlink.check.card import StatusPlace, VerifiedCard
from cardlink.statements.agency import covers, is_in_scope
from cardlink.statements.bundle import Mechanism, Rule
from cardlink.statements.record import ClockQuality
from cardlink.statements.refusal import Refused as StatementRefused
from cardlink.statements.status import Status
from cardlink.statements.status_state import status_of
from reader_daemon.calendar import LocalMinute, is_open, local_minute
from reader_daemon.reasons import AnyReason, DoorReason
from reader_daemon.rules import Holder, Rules
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
    """Say whether this card, which has proved itself, opens this door now."""
    rules = check_standing(view, now, quality)
    return rules if isinstance(rules, Refused) else decide_by(rules, card, view, now, stale_s)


def decide_by(rules: Rules, card: VerifiedCard, view: View, now: datetime, stale_s: float) -> Granted | Refused:
    """The same at a door known to stand: status first, so that a stolen card is noticed at every door; then rules."""
    now_s = now.timestamp()
    if card.status is not None:
        refusal = _check_status(card.status, view, now_s)
        if refusal is not None:
            return refusal
    settings = rules.bundle.settings
    if stale_s > settings.deny_stale_s:
        return Refused(DoorReason.STALE, f"{stale_s:.0f} s")
    return _apply_rules(card, rules, now, now_s, stale_s > settings.flag_stale_s)


def _check_status(place: StatusPlace, view: View, now_s: float) -> Refused | None:
    if view.status is None:
        return Refused(view.no_status)
    if now_s > view.status_expires_s:
        return Refused(DoorReason.STATUS_EXPIRED)
    status = status_of(view.status, place.list_number, place.index)
    if isinstance(status, StatementRefused):
        return Refused(status.reason, status.detail)
    if status is not Status.VALID:
        return Refused(_STATUS_REASONS[status])
    return None


def _apply_rules(card: VerifiedCard, rules: Rules, now: datetime, now_s: float, is_stale: bool) -> Granted | Refused:
    """Deny beats allow; no rule in its calendar means no access."""
    holder = rules.holders.get(card.card_uuid)
    if holder is not None and holder.key_hash != card.key_hash:
        return Refused(DoorReason.KEY_HASH_MISMATCH, f"holder {holder.index}")
    speaking = _rules_about(card, holder, rules)
    if not speaking:
        if not covers(rules.bundle.owner, card.agency):
            return Refused(DoorReason.NOT_THIS_AGENCY, card.agency)
        return Refused(DoorReason.UNKNOWN_CARD if holder is None else DoorReason.NO_RULE)
    at = local_minute(now, rules.zone)
    granting: Rule | None = None
    demanding: Rule | None = None
    for rule in speaking:
        if not _is_in_force(rule, now_s) or not _is_open(rule, rules, at):
            continue
        if not rule.allows:
            return Refused(DoorReason.DENIED, f"rule {rule.rule_id}")
        if not rule.demands or _meets(rule, card.mechanism):
            granting = granting or rule
        else:
            demanding = rule
    if granting is not None:
        return Granted(card.card_uuid, granting.rule_id, rules.bundle.settings.unlock_ms, is_stale)
    if demanding is not None:
        return Refused(DoorReason.DEMANDS_MORE, f"rule {demanding.rule_id}")
    return _why_not_now(speaking, now_s)


def _rules_about(card: VerifiedCard, holder: Holder | None, rules: Rules) -> Sequence[Rule]:
    """The rules that speak of this card: those of its holder, then those of its agency.

    A card without a status can only be taken back by taking its holder out: no rule for an agency lets it in.
    """
    named = rules.of_holder.get(holder.index, ()) if holder is not None else ()
    if not rules.of_agencies:
        return named
    by_agency = [rule for rule in rules.of_agencies if is_in_scope(rule.agencies, card.agency)]
    return [*named, *(rule for rule in by_agency if card.status is not None or not rule.allows)]


def _meets(rule: Rule, mechanism: Mechanism) -> bool:
    """Is this mechanism among those demanded. The door application shows what the credential shows, by the same key."""
    return mechanism in rule.demands or (
        mechanism is Mechanism.DOOR_APPLICATION and Mechanism.CREDENTIAL in rule.demands
    )


def _why_not_now(speaking: Sequence[Rule], now_s: float) -> Refused:
    """None of the rules that speak of a card is open: the nearest reason."""
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
