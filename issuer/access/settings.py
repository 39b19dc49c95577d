"""The settings of a door (docs/formats.md, F7): defaults by the level of its area, and what a door has otherwise."""

from collections.abc import Mapping
from zoneinfo import available_timezones

from cardlink.statements.bundle import MAX_MS, MAX_STALE_S, AntiPassback, AreaLevel, Mechanism, Settings
from issuer.errors import Refused

HOUR_S = 3600

DEFAULTS: Mapping[AreaLevel, Settings] = {
    AreaLevel.CONTROLLED: Settings(
        area_level=AreaLevel.CONTROLLED,
        mechanisms=(Mechanism.DOOR_APPLICATION, Mechanism.CREDENTIAL),
        unlock_ms=5000,
        budget_ms=1500,
        flag_stale_s=150,  # two answers to a nonce missed (one a minute), and a little
        deny_stale_s=24 * HOUR_S,
        anti_passback=AntiPassback.OFF,
        time_zone="Asia/Ho_Chi_Minh",
    ),
    AreaLevel.LIMITED: Settings(
        area_level=AreaLevel.LIMITED,
        mechanisms=(Mechanism.DOOR_APPLICATION, Mechanism.CREDENTIAL),
        unlock_ms=5000,
        budget_ms=1000,
        flag_stale_s=150,
        deny_stale_s=4 * HOUR_S,
        anti_passback=AntiPassback.OFF,
        time_zone="Asia/Ho_Chi_Minh",
    ),
    AreaLevel.EXCLUSION: Settings(
        area_level=AreaLevel.EXCLUSION,
        mechanisms=(Mechanism.PKI_AUTH_PIN,),
        unlock_ms=5000,
        budget_ms=30_000,  # somebody types a PIN
        flag_stale_s=150,
        deny_stale_s=900,
        anti_passback=AntiPassback.OFF,
        time_zone="Asia/Ho_Chi_Minh",
    ),
}
NAMES = tuple(name for name in Settings.__dataclass_fields__ if name != "area_level")
"""What a door may have otherwise than its level's default."""


def build(level: int, overrides: Mapping[str, object]) -> Settings:
    """The settings of a door: its level's defaults, with its own values above them.

    Raises Refused("door.bad_setting") for a name or a value that F7 does not have.
    """
    if level not in set(AreaLevel):
        raise Refused("door.bad_level", level=level)
    unknown = [name for name in overrides if name not in NAMES]
    if unknown:
        raise Refused("door.bad_setting", name=unknown[0], value=str(overrides[unknown[0]]))
    base = DEFAULTS[AreaLevel(level)]
    return Settings(
        area_level=base.area_level,
        mechanisms=_mechanisms(overrides.get("mechanisms", list(base.mechanisms))),
        unlock_ms=_number("unlock_ms", overrides.get("unlock_ms", base.unlock_ms), 100, MAX_MS),
        budget_ms=_number("budget_ms", overrides.get("budget_ms", base.budget_ms), 50, MAX_MS),
        flag_stale_s=_number("flag_stale_s", overrides.get("flag_stale_s", base.flag_stale_s), 1, MAX_STALE_S),
        deny_stale_s=_number("deny_stale_s", overrides.get("deny_stale_s", base.deny_stale_s), 1, MAX_STALE_S),
        anti_passback=AntiPassback(
            _number("anti_passback", overrides.get("anti_passback", int(base.anti_passback)), 0, max(AntiPassback))
        ),
        time_zone=_time_zone(overrides.get("time_zone", base.time_zone)),
    )


def _number(name: str, value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Refused("door.bad_setting", name=name, value=str(value))
    return value


def _mechanisms(value: object) -> tuple[Mechanism, ...]:
    if (
        not isinstance(value, list)
        or not value
        or not set(value) <= set(map(int, Mechanism))
        or len(set(value)) != len(value)
    ):
        raise Refused("door.bad_setting", name="mechanisms", value=str(value))
    return tuple(Mechanism(one) for one in value)


def _time_zone(value: object) -> str:
    if not isinstance(value, str) or value not in available_timezones():
        raise Refused("door.bad_setting", name="time_zone", value=str(value))
    return value
