"""The door bundle (F7): settings, rules, calendars and people of one door, from its owner."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Final

from cardlink.errors import Malformed
from cardlink.statements import cbor
from cardlink.statements.agency import check_agency_code
from cardlink.statements.claims import (
    KEY_HASH_BYTES,
    UUID_BYTES,
    Claim,
    day,
    fields,
    items,
    octets,
    second,
    text,
    uint,
)
from cardlink.statements.cose import Received, Sign, parse_sign1, sign1
from cardlink.statements.refusal import Reason, Refused
from cardlink.statements.signers import verify_statement
from cardlink.statements.trust import Trust, Use

MAX_BUNDLE_BYTES: Final = 16 << 20
MINUTES_OF_DAY: Final = 24 * 60
DAYS_OF_WEEK: Final = 7
MAX_RANGES: Final = 48
MAX_MS: Final = 600_000
MAX_STALE_S: Final = 10 * 365 * 86_400
_WHAT: Final = "door bundle"
_CLAIMS: Final = (
    Claim.ISS,
    Claim.SUB,
    Claim.EXP,
    Claim.NBF,
    Claim.IAT,
    Claim.EPOCH,
    Claim.SEQ,
    Claim.SETTINGS,
    Claim.RULES,
    Claim.CALENDARS,
    Claim.HOLDERS,
)


class AreaLevel(IntEnum):
    """How much the area asks for (SP 800-116r1)."""

    CONTROLLED = 0
    LIMITED = 1
    EXCLUSION = 2


class Mechanism(IntEnum):
    """How a card is authenticated at a door."""

    CREDENTIAL = 1
    DOOR_APPLICATION = 2
    PKI_CAK = 3
    PKI_AUTH_PIN = 4
    PKOC = 5
    SM_AUTH = 6


class AntiPassback(IntEnum):
    """What happens when a card enters twice without leaving."""

    OFF = 0
    SOFT = 1
    TIMED = 2
    HARD = 3


@dataclass(frozen=True, slots=True)
class Settings:
    """How the door behaves. Staleness is the time since the last `fresh` answer."""

    area_level: AreaLevel
    mechanisms: tuple[Mechanism, ...]
    unlock_ms: int
    budget_ms: int
    flag_stale_s: int
    deny_stale_s: int
    anti_passback: AntiPassback
    time_zone: str


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may enter when, or may not. Subjects: holders by index, agencies by prefix. Times are half-open."""

    rule_id: int
    allows: bool
    holders: tuple[int, ...]
    agencies: tuple[str, ...]
    calendar: int
    from_s: int | None = None
    until_s: int | None = None
    demands: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Calendar:
    """Open times: minutes of the day, [from, until), for each weekday from Monday, and for dates (yyyymmdd)."""

    week: tuple[tuple[tuple[int, int], ...], ...]
    dates: Mapping[int, tuple[tuple[int, int], ...]]


@dataclass(frozen=True, slots=True)
class HolderCard:
    """One card of a person. UUID and key-hash must both match."""

    card_uuid: bytes
    key_hash: bytes


@dataclass(frozen=True, slots=True)
class Bundle:
    """All that a door's owner tells it. `holders`: one tuple of cards for each person."""

    owner: str
    door_uuid: bytes
    expires_s: int
    not_before_s: int
    issued_s: int
    epoch: int
    seq: int
    settings: Settings
    rules: tuple[Rule, ...]
    calendars: Mapping[int, Calendar]
    holders: tuple[tuple[HolderCard, ...], ...]


def encode_bundle(bundle: Bundle) -> bytes:
    """The claims to be signed."""
    return cbor.encode(
        {
            Claim.ISS: bundle.owner,
            Claim.SUB: bundle.door_uuid,
            Claim.EXP: bundle.expires_s,
            Claim.NBF: bundle.not_before_s,
            Claim.IAT: bundle.issued_s,
            Claim.EPOCH: bundle.epoch,
            Claim.SEQ: bundle.seq,
            Claim.SETTINGS: _settings_fields(bundle.settings),
            Claim.RULES: [_rule_fields(rule) for rule in bundle.rules],
            Claim.CALENDARS: {number: _calendar_fields(one) for number, one in bundle.calendars.items()},
            Claim.HOLDERS: [[[card.card_uuid, card.key_hash] for card in cards] for cards in bundle.holders],
        }
    )


def issue_bundle(bundle: Bundle, kid: bytes, sign: Sign) -> bytes:
    """Sign a bundle. Raises Malformed for one that no door would read."""
    payload = encode_bundle(bundle)
    decode_claims(payload)
    return sign1(payload, kid, sign)


def read_bundle(raw: bytes) -> Received[Bundle]:
    """Take a bundle apart. Raises Malformed, also for a rule that names a calendar or holder it does not bring."""
    statement = parse_sign1(raw, max_bytes=MAX_BUNDLE_BYTES)
    if statement.typ is not None:
        raise Malformed(_WHAT, "unexpected type header")
    return Received(decode_claims(statement.payload), statement)


def accept_bundle(
    raw: bytes, held: Bundle | None, trust: Trust, door_uuid: bytes, owner: str, now: datetime
) -> Bundle | Refused:
    """Judge a bundle at the door: for this door, signed for the pinned owner, in its time, not older than `held`.

    The same bundle again is accepted again. Raises Malformed.
    """
    received = read_bundle(raw)
    bundle, now_s = received.value, now.timestamp()
    if bundle.owner != owner:
        return Refused(Reason.WRONG_OWNER, f"bundle of {bundle.owner}, door belongs to {owner}")
    if bundle.door_uuid != door_uuid:
        return Refused(Reason.WRONG_DOOR, f"bundle for {bundle.door_uuid.hex()}")
    signer = verify_statement(received.statement, Use.BUNDLE, owner, bundle.issued_s, trust, now)
    if isinstance(signer, Refused):
        return signer
    if now_s < bundle.not_before_s:
        return Refused(Reason.NOT_YET_VALID, f"bundle {bundle.seq}")
    if now_s >= bundle.expires_s:
        return Refused(Reason.EXPIRED, f"bundle {bundle.seq}")
    if held is not None:
        if (bundle.epoch, bundle.seq) < (held.epoch, held.seq):
            return Refused(Reason.OLDER, f"bundle {bundle.seq} after {held.seq}")
        if (bundle.epoch, bundle.seq) == (held.epoch, held.seq) and bundle != held:
            return Refused(Reason.FORKED, f"two bundles {bundle.seq}")
    return bundle


def decode_claims(payload: bytes) -> Bundle:
    """Read the claims of a bundle."""
    claims = fields(cbor.decode(payload, max_bytes=MAX_BUNDLE_BYTES), _WHAT, _CLAIMS)
    holders = tuple(_decode_holder(one) for one in items(claims[Claim.HOLDERS], "holders"))
    cards = [card.card_uuid for person in holders for card in person]
    if len(set(cards)) != len(cards):
        raise Malformed("holders", "one card twice")
    calendars = _decode_calendars(claims[Claim.CALENDARS])
    rules = tuple(_decode_rule(one, len(holders), calendars) for one in items(claims[Claim.RULES], "rules"))
    if len({rule.rule_id for rule in rules}) != len(rules):
        raise Malformed("rules", "one rule id twice")
    bundle = Bundle(
        owner=check_agency_code(claims[Claim.ISS]),
        door_uuid=octets(claims[Claim.SUB], "door UUID", UUID_BYTES),
        expires_s=second(claims[Claim.EXP], "bundle exp"),
        not_before_s=second(claims[Claim.NBF], "bundle nbf"),
        issued_s=second(claims[Claim.IAT], "bundle iat"),
        epoch=uint(claims[Claim.EPOCH], "bundle epoch"),
        seq=uint(claims[Claim.SEQ], "bundle seq"),
        settings=_decode_settings(claims[Claim.SETTINGS]),
        rules=rules,
        calendars=calendars,
        holders=holders,
    )
    if bundle.expires_s <= bundle.not_before_s:
        raise Malformed(_WHAT, "expires before it begins")
    return bundle


def _settings_fields(settings: Settings) -> dict[int, object]:
    return {
        1: int(settings.area_level),
        2: [int(one) for one in settings.mechanisms],
        3: settings.unlock_ms,
        4: settings.budget_ms,
        5: settings.flag_stale_s,
        6: settings.deny_stale_s,
        7: int(settings.anti_passback),
        8: settings.time_zone,
    }


def _rule_fields(rule: Rule) -> dict[int, object]:
    subjects: dict[int, object] = {}
    if rule.holders:
        subjects[1] = list(rule.holders)
    if rule.agencies:
        subjects[2] = list(rule.agencies)
    written: dict[int, object] = {1: rule.rule_id, 2: int(rule.allows), 3: subjects, 4: rule.calendar}
    if rule.from_s is not None:
        written[5] = rule.from_s
    if rule.until_s is not None:
        written[6] = rule.until_s
    if rule.demands:
        written[7] = list(rule.demands)
    return written


def _calendar_fields(calendar: Calendar) -> dict[int, object]:
    written: dict[int, object] = {1: [[list(one) for one in ranges] for ranges in calendar.week]}
    if calendar.dates:
        written[2] = {date: [list(one) for one in ranges] for date, ranges in calendar.dates.items()}
    return written


def _decode_settings(value: object) -> Settings:
    settings = fields(value, "settings", range(1, 9))
    mechanisms = [uint(one, "mechanism", 6) for one in items(settings[2], "mechanisms", 1, 6)]
    if 0 in mechanisms or len(set(mechanisms)) != len(mechanisms):
        raise Malformed("mechanisms", "want each of 1 to 6 at most once")
    return Settings(
        area_level=AreaLevel(uint(settings[1], "area level", 2)),
        mechanisms=tuple(map(Mechanism, mechanisms)),
        unlock_ms=uint(settings[3], "unlock ms", MAX_MS),
        budget_ms=uint(settings[4], "budget ms", MAX_MS),
        flag_stale_s=uint(settings[5], "flag after s", MAX_STALE_S),
        deny_stale_s=uint(settings[6], "deny after s", MAX_STALE_S),
        anti_passback=AntiPassback(uint(settings[7], "anti-passback", 3)),
        time_zone=text(settings[8], "time zone", 64),
    )


def _decode_rule(value: object, holder_count: int, calendars: Mapping[int, Calendar]) -> Rule:
    rule = fields(value, "rule", (1, 2, 3, 4), (5, 6, 7))
    subjects = fields(rule[3], "rule subjects", (), (1, 2))
    if not subjects:
        raise Malformed("rule", "speaks of nobody")
    holders = tuple(uint(one, "holder index") for one in items(subjects.get(1, []), "rule holders", int(1 in subjects)))
    if any(index >= holder_count for index in holders):
        raise Malformed("rule", "holder index beyond the holders")
    agencies = items(subjects.get(2, []), "rule agencies", int(2 in subjects))
    calendar = uint(rule[4], "rule calendar")
    if calendar not in calendars:
        raise Malformed("rule", f"no calendar {calendar}")
    decoded = Rule(
        rule_id=uint(rule[1], "rule id"),
        allows=uint(rule[2], "rule effect", 1) == 1,
        holders=holders,
        agencies=tuple(check_agency_code(one, "rule agency") for one in agencies),
        calendar=calendar,
        from_s=second(rule[5], "rule from") if 5 in rule else None,
        until_s=second(rule[6], "rule until") if 6 in rule else None,
        demands=tuple(uint(one, "demand", 255) for one in items(rule.get(7, []), "demands", int(7 in rule))),
    )
    if decoded.from_s is not None and decoded.until_s is not None and decoded.until_s <= decoded.from_s:
        raise Malformed("rule", "ends before it begins")
    return decoded


def _decode_calendars(value: object) -> dict[int, Calendar]:
    if type(value) is not dict:
        raise Malformed("calendars", "want a map")
    return {uint(number, "calendar number"): _decode_calendar(one) for number, one in value.items()}


def _decode_calendar(value: object) -> Calendar:
    calendar = fields(value, "calendar", (1,), (2,))
    week = tuple(_decode_ranges(one) for one in items(calendar[1], "week", DAYS_OF_WEEK, DAYS_OF_WEEK))
    dates = calendar.get(2, {})
    if type(dates) is not dict or (2 in calendar and not dates):
        raise Malformed("calendar", "want dates in a map")
    return Calendar(week, {day(date, "calendar date"): _decode_ranges(one) for date, one in dates.items()})


def _decode_ranges(value: object) -> tuple[tuple[int, int], ...]:
    ranges = []
    last = -1
    for item in items(value, "times of a day", 0, MAX_RANGES):
        pair = items(item, "times of a day", 2, 2)
        start, end = (uint(one, "minute of the day", MINUTES_OF_DAY) for one in pair)
        if not last < start < end:
            raise Malformed("times of a day", "want rising ranges that do not touch")
        ranges.append((start, end))
        last = end
    return tuple(ranges)


def _decode_holder(value: object) -> tuple[HolderCard, ...]:
    return tuple(_decode_card(one) for one in items(value, "holder", 1, 64))


def _decode_card(value: object) -> HolderCard:
    card_uuid, key_hash = items(value, "holder's card", 2, 2)
    return HolderCard(octets(card_uuid, "card UUID", UUID_BYTES), octets(key_hash, "key-hash", KEY_HASH_BYTES))
