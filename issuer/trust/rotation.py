"""Rotation: a new key takes over from an old one, and every door hears of it by a trust list (`issuer keys rotate`).

The old signer is told as retired: it signs until its successor begins, and verifies until the last card it signed has
ended. In the HSM it works no more once that moment has come; `sweep` does that for successors that were announced.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from cardlink.statements.akp_key import from_public_bytes
from cardlink.statements.algorithms import ES256, ML_DSA_44
from cardlink.statements.trust import AGILE_USES, KeyState
from issuer import database
from issuer.audit import checkpoints
from issuer.audit import log as audit
from issuer.database import SessionFactory
from issuer.errors import NotFound, Refused
from issuer.policy import Action, Actor, require_anywhere
from issuer.trust import authorities, ca, masters, publication, trust_list
from issuer.trust.authorities import Certified, Draft
from issuer.trust.key_labels import next_key
from issuer.trust.port import Ceremony, KeyInfo, Signing
from issuer.trust.publication import Change, nothing
from issuer.trust.setup import AES, EC, VERIFIES_FOR, AgencyName, Roots, add_root, add_signer
from issuer.trust.tables import AuthorityRow, RootKeyRow, SignerRow, TrustListRow

DEACTIVATED = "deactivated"
KIND_OF = {ES256: EC, ML_DSA_44: "ml-dsa-44"}
"""What kind of key of the HSM signs with an algorithm."""
AHEAD_MAX = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Rotated:
    """The new keys, the ones they took over from, and the trust list that says so (None: no list speaks of them)."""

    made: tuple[str, ...]
    replaced: tuple[str, ...]
    number: int | None


def rotate_signer(
    factory: SessionFactory,
    hsm: Ceremony,
    actor: Actor,
    use: str,
    agency_code: str,
    now: datetime,
    ahead: timedelta = timedelta(),
    afterwards: Change = nothing,
    alg: int | None = None,
) -> Rotated:
    """Replace the signer of one use of one agency, at once or after a time in which doors hear of the new one.

    The new key is for the algorithm `alg`; None: for that of the old one. What the old one signed stays good, so that
    statements by both algorithms are in use side by side.
    """
    require_anywhere(actor, Action.KEYS_MANAGE)
    if alg not in (None, ES256) and use not in AGILE_USES:
        raise Refused("trust.not_agile", use=use)
    if not timedelta() <= ahead <= AHEAD_MAX:
        raise Refused("trust.bad_ahead", most=AHEAD_MAX.days)
    moment = now.replace(microsecond=0)
    with database.reading(factory) as session:
        held = active_signer(session, use, agency_code)
        label, kind = held.label, KIND_OF[from_public_bytes(held.point).alg if alg is None else alg]
    info = next_key(factory, hsm, f"{use}-{agency_code}", kind, use, (agency_code,))

    def change(session: Session, signing: Signing) -> None:
        old = active_signer(session, use, agency_code)
        if old.label != label:
            raise Refused("trust.rotated_meanwhile", label=old.label)
        begins = max(moment + ahead, old.signs_from + timedelta(seconds=1))
        retire(old, begins)
        session.flush()
        add_signer(session, info, use, agency_code, begins)
        facts = {"replaced": label, "use": use, "from": begins.isoformat()}
        audit.append(session, actor, "key.rotated", info.label, facts, now)

    number = publication.publish(factory, hsm, now, change, afterwards)
    if not ahead:
        hsm.set_state(label, DEACTIVATED)
    return Rotated((info.label,), (label,), number)


def rotate_authority(
    factory: SessionFactory, hsm: Ceremony, actor: Actor, kind: str, agency: AgencyName, now: datetime
) -> Rotated:
    """Replace the issuing authority or the content signer of an agency.

    A retired issuing authority stays an anchor of the doors until its certificate ends, and its key goes on in the HSM
    for its CRL alone: nothing asks it for certificates any more.
    """
    require_anywhere(actor, Action.KEYS_MANAGE)
    with database.reading(factory) as session:
        old = active_authority(session, kind, agency.code).label
    made = make_authority(factory, hsm, kind, agency, now)

    def change(session: Session, signing: Signing) -> None:
        row = active_authority(session, kind, agency.code)
        if row.label != old:
            raise Refused("trust.rotated_meanwhile", label=row.label)
        row.state, row.signs_until = int(KeyState.RETIRED), now
        session.flush()
        authorities.take_into_use(session, made)
        audit.append(session, actor, "key.rotated", made.draft.of.label, {"replaced": old, "kind": kind}, now)

    number = publication.publish(factory, hsm, now, change)
    if kind == ca.CONTENT:
        hsm.set_state(old, DEACTIVATED)
    return Rotated((made.draft.of.label,), (old,), number)


def rotate_master(factory: SessionFactory, hsm: Ceremony, actor: Actor, now: datetime) -> Rotated:
    """Let new cards get their keys from a new master key. Cards of the old one are still opened by it."""
    require_anywhere(actor, Action.KEYS_MANAGE)
    info = next_key(factory, hsm, masters.USE, AES, masters.USE, ())
    with database.transaction(factory) as session:
        old = masters.put(session, info.label, now)
        audit.append(session, actor, "key.rotated", info.label, {"replaced": old, "use": masters.USE}, now)
    return Rotated((info.label,), (old,), None)


def rotate_audit(factory: SessionFactory, hsm: Ceremony, actor: Actor, installation: str, now: datetime) -> Rotated:
    """Let a new key sign the checkpoints of the audit log. What the old ones signed is still checked with them.

    For an installation from before there were checkpoints it makes the first.
    """
    require_anywhere(actor, Action.KEYS_MANAGE)
    stem = f"{checkpoints.USE}-{installation}"
    info = next_key(factory, hsm, stem, checkpoints.KIND, checkpoints.USE, (installation,))
    with database.transaction(factory) as session:
        old = checkpoints.active_label(session)
        checkpoints.add_key(session, info, installation, now)
        audit.append(session, actor, "key.rotated", info.label, {"replaced": old, "use": checkpoints.USE}, now)
    if old is not None:
        hsm.set_state(old, DEACTIVATED)
    return Rotated((info.label,), (old,) if old is not None else (), None)


def replace_root(factory: SessionFactory, hsm: Ceremony, actor: Actor, label: str, now: datetime) -> Rotated:
    """Put a new root key into the place of one, which may be lost or compromised: the threshold stays as it is.

    A replaced root that is neither goes on signing beside the others for as long as a list lives: a door that was away
    meanwhile knows the old ones only (`sweep` ends it).
    """
    require_anywhere(actor, Action.KEYS_MANAGE)
    info = next_key(factory, hsm, "root", EC, trust_list.ROOT_USE, ())

    def change(session: Session, signing: Signing) -> None:
        number = trust_list.current_number(session)
        row = session.get(RootKeyRow, label)
        if row is None or row.until is not None:
            raise NotFound("trust.unknown_root", label=label)
        row.until = number
        add_root(session, info, row.threshold, number + 1)
        audit.append(session, actor, "key.rotated", info.label, {"replaced": label, "use": trust_list.ROOT_USE}, now)

    number = publication.publish(factory, hsm, now, change)
    return Rotated((info.label,), (label,), number)


def replace_roots(factory: SessionFactory, hsm: Ceremony, actor: Actor, roots: Roots, now: datetime) -> Rotated:
    """Replace all root keys at once, with another count or threshold: from 1 of 1 to 2 of 3."""
    require_anywhere(actor, Action.KEYS_MANAGE)
    if not 1 <= roots.threshold <= roots.keys:
        raise Refused("trust.bad_threshold", keys=roots.keys, threshold=roots.threshold)
    infos: list[KeyInfo] = []
    for _ in range(roots.keys):
        infos.append(next_key(factory, hsm, "root", EC, trust_list.ROOT_USE, (), [one.label for one in infos]))
    replaced: list[str] = []

    def change(session: Session, signing: Signing) -> None:
        number = trust_list.current_number(session)
        replaced.clear()
        for row in session.scalars(select(RootKeyRow).where(RootKeyRow.until.is_(None)).order_by(RootKeyRow.label)):
            row.until = number
            replaced.append(row.label)
        for info in infos:
            add_root(session, info, roots.threshold, number + 1)
        facts = {"replaced": list(replaced), "threshold": roots.threshold}
        audit.append(session, actor, "key.rotated", ",".join(one.label for one in infos), facts, now)

    number = publication.publish(factory, hsm, now, change)
    return Rotated(tuple(one.label for one in infos), tuple(replaced), number)


def sweep(factory: SessionFactory, hsm: Ceremony, now: datetime) -> tuple[str, ...]:
    """Let keys sign no more in the HSM that are over."""
    with database.reading(factory) as session:
        labels = over(session, now)
    return tuple(label for label in labels if _end(hsm, label))


def over(session: Session, now: datetime) -> list[str]:
    """Keys that sign no more: their successors have begun meanwhile, or, of roots, no door needs them any more."""
    query = select(SignerRow.label).where(SignerRow.state == KeyState.RETIRED, SignerRow.signs_until <= now)
    found = list(session.scalars(query.order_by(SignerRow.label)))
    content = select(AuthorityRow.label).where(AuthorityRow.kind == ca.CONTENT, AuthorityRow.state == KeyState.RETIRED)
    found += session.scalars(content.order_by(AuthorityRow.label))
    ended = select(AuthorityRow.label).where(
        AuthorityRow.kind.in_((ca.ROOT, ca.ISSUING)), AuthorityRow.not_after <= now
    )
    found += session.scalars(ended.where(AuthorityRow.state == KeyState.RETIRED).order_by(AuthorityRow.label))
    found += checkpoints.retired_labels(session)
    for row in session.scalars(select(RootKeyRow).where(RootKeyRow.until.is_not(None)).order_by(RootKeyRow.label)):
        replaced_in = session.get(TrustListRow, (row.until or 0) + 1)
        if replaced_in is not None and replaced_in.expires <= now:
            found.append(row.label)
    return found


def _end(hsm: Ceremony, label: str) -> bool:
    if hsm.info(label).state != trust_list.ACTIVE:
        return False
    hsm.set_state(label, DEACTIVATED)
    return True


# --- what rotation and compromise share


def active_signer(session: Session, use: str, agency_code: str) -> SignerRow:
    """The signer of a use of an agency. Raises NotFound."""
    query = select(SignerRow).where(
        SignerRow.use == use, SignerRow.agency_code == agency_code, SignerRow.state == KeyState.ACTIVE
    )
    row = session.scalars(query).first()
    if row is None:
        raise NotFound("trust.no_signer", use=use, agency=agency_code)
    return row


def active_authority(session: Session, kind: str, agency_code: str) -> AuthorityRow:
    """The authority of a kind of an agency itself. Raises NotFound."""
    query = select(AuthorityRow).where(
        AuthorityRow.kind == kind, AuthorityRow.agency_code == agency_code, AuthorityRow.state == KeyState.ACTIVE
    )
    row = session.scalars(query).first()
    if row is None:
        raise NotFound("trust.no_authority", kind=kind, agency=agency_code)
    return row


def retire(row: SignerRow, ends: datetime) -> None:
    """Let a signer sign until then, and verify as long as what it signed last."""
    row.state = int(KeyState.RETIRED)
    row.signs_until = min(row.signs_until, ends)
    row.verifies_until = min(row.verifies_until, row.signs_until + VERIFIES_FOR[row.use])


STEMS = {ca.ISSUING: "x509-ca", ca.CONTENT: "x509-content"}


def make_authority(factory: SessionFactory, hsm: Ceremony, kind: str, agency: AgencyName, now: datetime) -> Certified:
    """Make key and certificate of an authority; its row is for the transaction that takes it into use."""
    scope = (agency.code,)
    info = next_key(factory, hsm, f"{STEMS[kind]}-{agency.code}", EC, ca.KEY_USE[kind], scope)
    with database.reading(factory) as session:
        if kind == ca.ISSUING:
            root = authorities.parent_of(session, ca.current(session, ca.ROOT, "", now))
            draft = authorities.draft_issuing(session, info, agency.code, agency.name, now, root)
        else:
            above = authorities.parent_of(session, ca.current(session, ca.ISSUING, agency.code, now))
            draft = authorities.draft_content(info, agency.code, agency.name, now, above)
    return certify(factory, hsm, [draft], now)[0]


def certify(factory: SessionFactory, hsm: Ceremony, drafts: Sequence[Draft], now: datetime) -> list[Certified]:
    """Have drafts signed, with nothing locked, and see that others can follow them up to a root."""
    made = authorities.sign(hsm, drafts)
    with database.reading(factory) as session:
        authorities.require_paths(session, made, now)
    return made
