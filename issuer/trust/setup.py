"""The keys of an installation, made once: roots, authorities, signers, card master (`issuer keys init`).

Keys and certificates come first, with nothing locked while persons agree to them; then one transaction writes all rows
and the trust list. A set-up that broke off is simply run again: a key that the HSM holds without a row of ours is taken
over when its use and scope are the ones wanted.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from cardlink.statements.akp_key import from_public_bytes
from cardlink.statements.cose_key import from_point
from cardlink.statements.trust import KeyState
from issuer import database
from issuer.audit import checkpoints
from issuer.audit import log as audit
from issuer.audit.tables import AuditKeyRow, AuditRow
from issuer.database import SessionFactory
from issuer.errors import Conflict, Refused
from issuer.policy import Action, Actor, covers, require_anywhere
from issuer.trust import authorities, ca, key_labels, masters, publication, signers, status, trust_list
from issuer.trust.authorities import Draft, point_of
from issuer.trust.port import Capabilities, Ceremony, KeyExists, KeyInfo, Signing
from issuer.trust.tables import AuthorityRow, ForeignAnchorRow, RootKeyRow, SignerRow

EC, AES = "ec-p256", "aes-256"
SIGNS_FOR = timedelta(days=4 * 365)
CARD_VERIFIES_FOR = timedelta(days=5 * 366 + 180)  # the cards signed on the last day, and half a year of grace
FEED_VERIFIES_FOR = timedelta(days=30)
VERIFIES_FOR = {
    "card": CARD_VERIFIES_FOR,
    "identity": CARD_VERIFIES_FOR,
    "qr": CARD_VERIFIES_FOR,
    "bundle": FEED_VERIFIES_FOR,
    "status": FEED_VERIFIES_FOR,
    "command": FEED_VERIFIES_FOR,
}

OnKey = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class AgencyName:
    """An agency that issues cards: its code is the scope of its keys."""

    code: str
    name: str


@dataclass(frozen=True, slots=True)
class Roots:
    """How many root keys there are and how many must sign."""

    keys: int = 1
    threshold: int = 1


class Part(StrEnum):
    """What a key is made for."""

    ROOT = "root"
    X509_ROOT = "x509-root"
    MASTER = "master"
    AUDIT = "audit"
    SIGNER = "signer"
    ISSUING = "issuing"
    CONTENT = "content"
    OCSP = "ocsp"


ROWLESS = (Part.MASTER, Part.OCSP)
"""The HSM alone knows whether these are there."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A key that has no row yet."""

    part: Part
    stem: str
    kind: str
    use: str
    agency: str = ""
    number: int = 1

    @property
    def label(self) -> str:
        """What it is called, unless that name was used before."""
        return f"{self.stem}-{self.number}"

    @property
    def scope(self) -> tuple[str, ...]:
        """Root keys and masters have none."""
        return (self.agency,) if self.agency else ()


@dataclass(frozen=True, slots=True)
class _Key:
    """What the HSM holds for it, and whether this run made it."""

    wanted: Wanted
    info: KeyInfo
    is_new: bool


def require_kinds(factory: SessionFactory, can: Capabilities) -> None:
    """Raise Refused for a device that cannot hold every key of `init`, before the first of them is made."""
    with database.reading(factory) as session:
        has_audit_key = session.scalars(select(AuditKeyRow).limit(1)).first() is not None
    if not (can.has_ed25519 or has_audit_key):
        raise Refused("trust.no_ed25519")


def init(
    factory: SessionFactory,
    hsm: Signing,
    actor: Actor,
    installation: AgencyName,
    agencies: Iterable[AgencyName],
    roots: Roots | None,
    list_bits: int,
    now: datetime,
    on_key: OnKey,
    public_url: str = "",
) -> int:
    """Make what is missing of all keys, open a status list of 2^list_bits cards if there is none, publish a trust list.

    Answers the trust list's number. `roots`: None takes those there are, or one. `on_key` hears each new label.
    `public_url`: where this centre will answer for its certificates; without one they name no list and no responder.
    Nothing is locked while persons agree. Raises Conflict where somebody else made some of it meanwhile: run again.
    """
    require_anywhere(actor, Action.KEYS_MANAGE)
    if roots is not None and not 1 <= roots.threshold <= roots.keys:
        raise Refused("trust.bad_threshold", keys=roots.keys, threshold=roots.threshold)
    named = {agency.code: agency.name for agency in agencies}
    with database.reading(factory) as session:
        _require_ours(session, named)
        wanted = _missing(session, installation.code, tuple(named), roots)
        used = key_labels.known(session)
    keys: list[_Key] = []
    for one in wanted:
        keys.append(_key(factory, hsm, one, used))
        if keys[-1].is_new:
            on_key(keys[-1].info.label)
    with database.reading(factory) as session:
        drafts = _drafts(session, keys, installation.name, named, now, public_url)
    certified = authorities.sign(hsm, drafts)
    with database.reading(factory) as session:
        authorities.require_paths(session, certified, now)

    def change(session: Session, signing: Signing) -> None:
        _require_ours(session, named)
        if _missing(session, installation.code, tuple(named), roots) != wanted:
            raise Conflict("trust.made_meanwhile")
        for key in keys:
            _note(session, actor, key, now)
            _write(session, key, (roots or Roots()).threshold, installation.code, now)
        for one in certified:
            authorities.take_into_use(session, one)
        if not status.lists(session):
            status.create_list(session, list_bits, now)

    return publication.publish(factory, hsm, now, change)


def count_keys(roots: int, agencies: int) -> int:
    """How many keys a new installation gets: for a progress display."""
    of_agency = len(signers.AGENCY_USES) + 3  # and its issuing authority, content signer and OCSP key
    return roots + 3 + len(signers.INSTALLATION_USES) + agencies * of_agency


def load_transport(
    session: Session, hsm: Ceremony, actor: Actor, label: str, keys: tuple[bytes, bytes, bytes], now: datetime
) -> None:
    """Put the transport keys of a delivery of blanks into the HSM."""
    require_anywhere(actor, Action.KEYS_MANAGE)
    hsm.load_transport(label, *keys)
    audit.append(session, actor, "key.transport_loaded", label, {}, now)


def _require_ours(session: Session, codes: Iterable[str]) -> None:
    """Raise Refused for an agency whose cards a foreign authority issues: nobody could tell its cards from ours."""
    anchors = session.scalars(select(ForeignAnchorRow).order_by(ForeignAnchorRow.name)).all()
    for code in codes:
        for one in anchors:
            if covers(one.agency_code, code) or covers(code, one.agency_code):
                raise Refused("anchor.foreign_agency", agency=code, name=one.name, foreign=one.agency_code)


def _missing(session: Session, installation: str, codes: Sequence[str], roots: Roots | None) -> list[Wanted]:
    """The keys without a row. Raises Refused for other roots than there are: they change by a ceremony of their own."""
    found: list[Wanted] = []
    held = session.scalars(select(RootKeyRow).where(RootKeyRow.until.is_(None))).all()
    if held and roots is not None and roots != Roots(len(held), held[0].threshold):
        raise Refused("trust.roots_exist", keys=len(held), threshold=held[0].threshold)
    if not held:
        use, numbers = trust_list.ROOT_USE, range(1, (roots or Roots()).keys + 1)
        found += [Wanted(Part.ROOT, "root", EC, use, number=number) for number in numbers]
    if not _has_authority(session, ca.ROOT, ""):
        found.append(Wanted(Part.X509_ROOT, "x509-root", EC, ca.KEY_USE[ca.ROOT]))
    found.append(Wanted(Part.MASTER, masters.USE, AES, masters.USE))
    if session.scalars(select(AuditKeyRow).limit(1)).first() is None:
        found.append(
            Wanted(Part.AUDIT, f"{checkpoints.USE}-{installation}", checkpoints.KIND, checkpoints.USE, installation)
        )
    found += _missing_signers(session, signers.INSTALLATION_USES, installation)
    for code in codes:
        found += _missing_signers(session, signers.AGENCY_USES, code)
        if not _has_authority(session, ca.ISSUING, code):
            found.append(Wanted(Part.ISSUING, f"x509-ca-{code}", EC, ca.KEY_USE[ca.ISSUING], code))
        if not _has_authority(session, ca.CONTENT, code):
            found.append(Wanted(Part.CONTENT, f"x509-content-{code}", EC, ca.KEY_USE[ca.CONTENT], code))
        found.append(Wanted(Part.OCSP, f"x509-ocsp-{code}", EC, ca.OCSP_USE, code))
    return found


def _missing_signers(session: Session, uses: Iterable[str], code: str) -> list[Wanted]:
    query = select(SignerRow.use).where(SignerRow.agency_code == code, SignerRow.state == KeyState.ACTIVE)
    held = set(session.scalars(query))
    return [Wanted(Part.SIGNER, f"{use}-{code}", EC, use, code) for use in uses if use not in held]


def _has_authority(session: Session, kind: str, code: str) -> bool:
    query = select(AuthorityRow.label).where(
        AuthorityRow.kind == kind, AuthorityRow.agency_code == code, AuthorityRow.state == KeyState.ACTIVE
    )
    return session.scalars(query).first() is not None


def _key(factory: SessionFactory, hsm: Signing, one: Wanted, used: set[str]) -> _Key:
    """Make a key in the HSM, or take the one of this name when it is the one wanted."""
    if one.part not in ROWLESS and one.label in used:
        return _Key(one, key_labels.next_key(factory, hsm, one.stem, one.kind, one.use, one.scope), True)
    try:
        return _Key(one, hsm.generate(one.label, one.kind, one.use, one.scope), True)
    except KeyExists:
        info = hsm.info(one.label)
        if (info.kind, info.use, tuple(info.scope)) != (one.kind, one.use, one.scope):
            raise Refused("trust.other_key", label=one.label) from None
        return _Key(one, info, False)


def _drafts(
    session: Session, keys: Sequence[_Key], organization: str, named: dict[str, str], now: datetime, public_url: str
) -> list[Draft]:
    """The certificates of the authorities among these keys, each below those that are there or made with it."""
    held = {(key.wanted.part, key.wanted.agency): key.info for key in keys}
    made: list[Draft] = []
    if (Part.X509_ROOT, "") in held:
        made.append(authorities.draft_root(session, held[Part.X509_ROOT, ""], organization, now, public_url))
        root = made[0].of
    else:
        root = authorities.parent_of(session, ca.current(session, ca.ROOT, "", now))
    for code, name in named.items():
        authority = None
        if (Part.ISSUING, code) in held:
            made.append(authorities.draft_issuing(session, held[Part.ISSUING, code], code, name, now, root))
            authority = made[-1].of
        if (Part.CONTENT, code) in held:
            above = authority or authorities.parent_of(session, ca.current(session, ca.ISSUING, code, now))
            made.append(authorities.draft_content(held[Part.CONTENT, code], code, name, now, above))
    return made


def _note(session: Session, actor: Actor, key: _Key, now: datetime) -> None:
    """Write down once where a key came from; `found`: a ceremony made it, or a run that broke off."""
    label, one = key.info.label, key.wanted
    facts: dict[str, object] = {"kind": one.kind, "use": one.use, "scope": list(one.scope)}
    if not key.is_new:
        noted = select(AuditRow.n).where(AuditRow.subject == label, AuditRow.action == "key.made").limit(1)
        if session.scalars(noted).first() is not None:
            return
        facts["found"] = True
    audit.append(session, actor, "key.made", label, facts, now)


def _write(session: Session, key: _Key, threshold: int, installation: str, now: datetime) -> None:
    """The row of a key; authorities get theirs with their certificates."""
    info, one, begins = key.info, key.wanted, now.replace(microsecond=0)
    match one.part:
        case Part.ROOT:
            add_root(session, info, threshold, 1)
        case Part.AUDIT:
            checkpoints.add_key(session, info, installation, now)
        case Part.SIGNER:
            add_signer(session, info, one.use, one.agency, begins)


def add_signer(session: Session, info: KeyInfo, use: str, agency_code: str, begins: datetime) -> None:
    """Write the row of a new signer."""
    point = point_of(info)
    session.add(
        SignerRow(
            label=info.label,
            kid=from_public_bytes(point).kid(),
            use=use,
            agency_code=agency_code,
            scope=[agency_code],
            point=point,
            signs_from=begins,
            signs_until=begins + SIGNS_FOR,
            verifies_until=begins + SIGNS_FOR + VERIFIES_FOR[use],
            state=int(KeyState.ACTIVE),
        )
    )
    session.flush()


def add_root(session: Session, info: KeyInfo, threshold: int, since: int) -> None:
    """Write the row of a new root key."""
    point = point_of(info)
    kid = from_point(point).kid()
    session.add(RootKeyRow(label=info.label, kid=kid, point=point, threshold=threshold, since=since, until=None))
    session.flush()
