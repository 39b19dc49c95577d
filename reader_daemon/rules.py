"""A bundle made ready for taps: who holds which card, which rules speak of whom."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo

from cardlink.statements.bundle import Bundle, Rule
from reader_daemon.calendar import zone


@dataclass(frozen=True, slots=True)
class Holder:
    """The person a card belongs to, as an index into the bundle, and the key-hash the card must have."""

    index: int
    key_hash: bytes


@dataclass(frozen=True, slots=True)
class Rules:
    """A bundle with its look-ups. Rules of agencies stand apart: there are few, and each is tried by its prefix."""

    bundle: Bundle = field(repr=False)
    zone: tzinfo
    holders: Mapping[bytes, Holder] = field(repr=False)
    of_holder: Mapping[int, tuple[Rule, ...]] = field(repr=False)
    of_agencies: tuple[Rule, ...] = field(repr=False)


def compile_rules(bundle: Bundle) -> Rules:
    """Build the look-ups once for each bundle. Raises ZoneMissing."""
    holders = {
        card.card_uuid: Holder(index, card.key_hash) for index, cards in enumerate(bundle.holders) for card in cards
    }
    of_holder: dict[int, tuple[Rule, ...]] = {}
    for rule in bundle.rules:
        for index in rule.holders:
            of_holder[index] = (*of_holder.get(index, ()), rule)
    agencies = tuple(rule for rule in bundle.rules if rule.agencies)
    return Rules(bundle, zone(bundle.settings.time_zone), holders, of_holder, agencies)
