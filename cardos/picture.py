"""A card for people to look at: what it is, how far it has come, what is on it and who may read it. Never a secret."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from cardlink.errors import Malformed
from cardlink.gp.inventory import AppState, LifeCycle
from cardlink.piv.commands import unwrap_object
from cardlink.piv.objects import decode_certificate
from cardlink.piv.tables import CONTAINERS, KEYS, Access, Interface, Key
from cardlink.piv.yubico import Origin, PinPolicy
from cardos.gp.keys import counter_of
from cardos.messages.catalogue import Texts
from cardos.records import Owner, SlotKey
from cardos.state import Persistent
from cardos.transcript import algorithm_name, object_name

_BAR = 10
_CERTIFICATE = 0x70


@dataclass(frozen=True, slots=True)
class Counter:
    """A retry counter: `left` of `limit`."""

    name: str
    left: int
    limit: int
    is_factory: bool


@dataclass(frozen=True, slots=True)
class KeyLine:
    """A private key and, as far as it is on the card, its certificate."""

    ref: int
    name: str
    algorithm: str
    origin: str
    pin: str
    subject: str = ""
    expires: str = ""
    is_expired: bool = False


@dataclass(frozen=True, slots=True)
class ObjectLine:
    """A data object: its size, and who may read it over each face."""

    tag: int
    name: str
    size: int
    contact: str
    contactless: str
    is_public: bool


@dataclass(frozen=True, slots=True)
class CardView:
    """Everything that a picture of a card shows, in the words of one language."""

    name: str
    serial: str
    kdd: str
    states: tuple[tuple[str, str, bool], ...]
    applications: tuple[tuple[str, str], ...]
    is_dead: bool
    key_sets: tuple[str, ...]
    admin: str
    channel: tuple[str, ...]
    counters: tuple[Counter, ...]
    keys: tuple[KeyLine, ...]
    objects: tuple[ObjectLine, ...]


def view_of(card: Persistent, name: str, texts: Texts, now: datetime) -> CardView:
    """Look at a card; `now` says which certificates have expired."""
    life = card.life[Owner.CARD]
    keys = [card.keys[ref] for ref in sorted(card.keys)]
    return CardView(
        name=name,
        serial=card.chip.serial.hex().upper(),
        kdd=card.chip.kdd.hex().upper(),
        states=tuple((one.name, texts(f"life.{one.name}"), one == life) for one in LifeCycle),
        applications=tuple(
            (texts(f"application.{one.name.lower()}"), _application(card.life[one], texts))
            for one in (Owner.PIV, Owner.DOOR, Owner.PKOC)
        ),
        is_dead=life == LifeCycle.TERMINATED,
        key_sets=tuple(
            texts("picture.key-set", kvn=f"{kvn:02X}", bits=8 * len(card.key_sets[kvn].keys.enc))
            for kvn in sorted(card.key_sets)
        ),
        admin=algorithm_name(card.admin.algorithm) + (_factory(texts) if card.admin.is_default else ""),
        channel=tuple(_channel(card, texts)),
        counters=tuple(
            Counter(texts(f"key.{ref:02X}"), one.left, one.limit, one.is_default)
            for ref, one in sorted(card.references.items())
        ),
        keys=tuple(_key(card, key, texts, now) for key in keys),
        objects=tuple(_object(tag, card.objects[tag], texts) for tag in sorted(card.objects)),
    )


def as_text(view: CardView, texts: Texts) -> str:
    """The picture in characters."""
    states = " → ".join(f"[{name}]" if is_now else name for name, _, is_now in view.states)
    now = ", ".join(said for _, said, is_now in view.states if is_now)
    width = max(len(name) for name, _ in view.applications)
    lines = [
        f"{texts('picture.title', name=view.name, serial=view.serial)}",
        "",
        f"  {texts('picture.life')}: {now}",
        f"    {states}",
        *(f"    {name:<{width}}  {state}" for name, state in view.applications),
        "",
        f"  {texts('picture.counters')}",
    ]
    for one in view.counters:
        full = round(_BAR * one.left / max(1, one.limit))
        bar = "█" * full + "░" * (_BAR - full)
        state = texts("picture.tries", left=one.left, limit=one.limit) if one.left else texts("picture.blocked")
        lines.append(f"    {one.name:<14} {bar}  {state}{_factory(texts) if one.is_factory else ''}")
    lines += [
        "",
        f"  {texts('picture.channel')}",
        *(f"    {one}" for one in administration(view)),
        "",
    ]
    lines.append(f"  {texts('picture.keys', count=len(view.keys))}")
    for key in view.keys:
        lines.append(f"    {key.ref:02X}  {key.name:<26} {key.algorithm:<9} {key.origin}, {key.pin}")
        if key.subject:
            lines.append(f"        {texts('picture.certificate', subject=key.subject)}")
            lines.append(f"        {until(key, texts)}")
    lines += ["", f"  {texts('picture.objects', count=len(view.objects), bytes=sum(o.size for o in view.objects))}"]
    if view.objects:
        head = (texts("picture.object"), texts("picture.size"), texts("face.contact"), texts("face.contactless"))
        lines.append(f"    {'':<6}  {head[0]:<30} {head[1]:>7}  {head[2]:<18} {head[3]}")
    for item in view.objects:
        lines.append(f"    {item.tag:06X}  {item.name:<30} {item.size:>7}  {item.contact:<18} {item.contactless}")
    return "\n".join(lines) + "\n"


def administration(view: CardView) -> tuple[str, ...]:
    """The lines about who may administer the card, and how it protects what it says."""
    return (*view.key_sets, f"9B  {view.admin}", *view.channel)


def _channel(card: Persistent, texts: Texts) -> Iterator[str]:
    counters = ", ".join(f"{kvn:02X}: {count}" for kvn in sorted(card.key_sets) if (count := counter_of(card, kvn)))
    yield texts("picture.scp03", option=f"{card.channel_option:02X}") + (
        texts("picture.sequences", counters=counters) if counters else ""
    )
    if card.messaging_suite:
        yield texts("picture.messaging", suite=algorithm_name(card.messaging_suite))


def _key(card: Persistent, key: SlotKey, texts: Texts, now: datetime) -> KeyLine:
    row = KEYS.get(key.number)
    subject, expires, is_expired = _certificate(card, row, now)
    return KeyLine(
        key.number,
        texts.maybe(f"role.{key.number:02X}") or texts("role.retired" if row is not None else "role.other"),
        algorithm_name(key.algorithm),
        texts(f"picture.{Origin(key.origin).name.lower()}"),
        texts(f"picture.pin-{PinPolicy(key.pin_policy).name.lower()}"),
        subject,
        expires,
        is_expired,
    )


def _certificate(card: Persistent, row: Key | None, now: datetime) -> tuple[str, str, bool]:
    """Subject and expiry of a key's certificate; nothing where there is none that can be read."""
    if row is None or row.certificate is None or row.certificate.tag not in card.objects:
        return "", "", False
    tag = row.certificate.tag
    try:
        der = decode_certificate(unwrap_object(tag, card.objects[tag])).certificate
        certificate = x509.load_der_x509_certificate(der)
        names = [str(one.value) for one in certificate.subject]
        ends = certificate.not_valid_after_utc
        return _printable(", ".join(names)), f"{ends:%d/%m/%Y}", ends < now
    except (Malformed, ValueError, x509.InvalidVersion):
        return "", "", False


def _printable(said: str) -> str:
    """Without what would move a terminal's cursor or break a drawing: the card may hold anybody's certificate."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in said)


def _object(tag: int, answer: bytes, texts: Texts) -> ObjectLine:
    row = CONTAINERS.get(tag)
    # a tool's own object: SP 800-73 says nothing of it; the card lets anybody read it over contact and nobody else
    contact = row.read_access(Interface.CONTACT) if row is not None else Access.ALWAYS
    contactless = row.read_access(Interface.CONTACTLESS) if row is not None else Access.NEVER
    return ObjectLine(
        tag,
        object_name(texts, tag),
        len(answer),
        texts(f"access.{contact.name}"),
        texts(f"access.{contactless.name}"),
        contactless is Access.ALWAYS,
    )


def _application(state: int, texts: Texts) -> str:
    locked = f", {texts('picture.locked')}" if state & AppState.LOCKED else ""
    return AppState(state & ~AppState.LOCKED).name + locked


def until(key: KeyLine, texts: Texts) -> str:
    """When the certificate ends, or that it has ended."""
    return texts("picture.expired" if key.is_expired else "picture.until", day=key.expires)


def _factory(texts: Texts) -> str:
    return f" ({texts('picture.factory')})"
