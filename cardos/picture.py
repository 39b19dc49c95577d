"""A card as text, for people: what it is, how far it has come, what is on it. Never a secret."""

from cardlink.gp.inventory import AppState, LifeCycle
from cardlink.piv.tables import CONTAINERS, KEYS, RSA_BITS, Algorithm, KeyRef
from cardlink.piv.yubico import Origin, PinPolicy
from cardos.records import Owner, SlotKey
from cardos.state import Persistent

_NAMED = KEYS.keys() | {KeyRef.ATTESTATION}
_PIN_WORDS = {PinPolicy.NEVER: "no PIN", PinPolicy.ONCE: "PIN", PinPolicy.ALWAYS: "PIN at each use"}


def picture(card: Persistent) -> str:
    """The card in some thirty lines."""
    chip = card.chip
    lines = [
        f"chip      serial {chip.serial.hex().upper()}, diversification data {chip.kdd.hex().upper()}",
        f"life      card {LifeCycle(card.life[Owner.CARD]).name}, PIV {_app_state(card.life[Owner.PIV])}",
    ]
    for kvn in sorted(card.key_sets):
        lines.append(f"key set   version {kvn:02X}, AES-{8 * len(card.key_sets[kvn].keys.enc)}")
    for ref in sorted(card.references):
        one = card.references[ref]
        state = f"{one.left} of {one.limit} tries" if one.left else "blocked"
        lines.append(f"{KeyRef(ref).name:<9} {state}{_factory(one.is_default)}")
    lines.append(f"9B        {_algorithm(card.admin.algorithm)}{_factory(card.admin.is_default)}")
    lines += [f"key {ref:02X}    {_key(card.keys[ref])}" for ref in sorted(card.keys)]
    for tag in sorted(card.objects):
        name = CONTAINERS[tag].name if tag in CONTAINERS else "tool data"
        lines.append(f"object    {tag:06X} {name}, {len(card.objects[tag])} bytes")
    return "\n".join(lines) + "\n"


def _key(key: SlotKey) -> str:
    role = KeyRef(key.number).name.lower().replace("_", " ") if key.number in _NAMED else "key"
    return f"{role}, {_algorithm(key.algorithm)}, {Origin(key.origin).name.lower()}, {_PIN_WORDS[key.pin_policy]}"


def _algorithm(algorithm: int) -> str:
    known = Algorithm(algorithm)
    return f"RSA-{RSA_BITS[known]}" if known in RSA_BITS else known.name.replace("_", "-")


def _app_state(state: int) -> str:
    return AppState(state & ~AppState.LOCKED).name + (", locked" if state & AppState.LOCKED else "")


def _factory(is_default: bool) -> str:
    return ", factory value" if is_default else ""
