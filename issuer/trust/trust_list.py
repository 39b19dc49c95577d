"""Trust lists (docs/formats.md, F8): built from the tables, signed by the roots, numbered, stored, sent to the feed."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cardlink.statements.akp_key import from_public_bytes
from cardlink.statements.cose import Sign, parse_several
from cardlink.statements.cose_key import from_point
from cardlink.statements.trust import (
    MAX_TRUST_BYTES,
    Anchor,
    KeyEntry,
    KeyState,
    ListEntry,
    Profile,
    Roots,
    Trust,
    TrustList,
    Use,
    accept_trust_list,
    decode_claims,
)
from cardlink.statements.trust import issue_trust_list as sign_list
from issuer import outbox
from issuer.errors import NotFound, Refused
from issuer.trust import allow_list, ca, signers
from issuer.trust.port import Signing
from issuer.trust.status_tables import StatusHead, StatusList
from issuer.trust.tables import AuthorityRow, ForeignAnchorRow, RootKeyRow, SignerRow, TrustListRow

LIFE = timedelta(days=30)
RENEW_WITHIN = timedelta(days=14)
"""A list that ends sooner than this is replaced, so that a door may be offline for two weeks."""
ROOT_USE = "root"
ACTIVE = "active"
"""The state of a key in the HSM that works."""


def publish(session: Session, hsm: Signing, now: datetime) -> int:
    """Build, sign, number and store the next trust list, and hand it to the feed. Answers its number."""
    outbox.lock(session)
    number = (session.scalar(select(func.max(TrustListRow.number))) or 0) + 1
    content = build(session, hsm, number, now)
    if len(content.allowed) > allow_list.ENTRIES_MAX:
        raise Refused("trust.allow_list_too_long", cards=len(content.allowed), most=allow_list.ENTRIES_MAX)
    body = sign_list(content, _root_signers(session, hsm, number))
    session.add(TrustListRow(number=number, epoch=content.epoch, body=body, issued=now, expires=now + LIFE))
    session.flush()
    outbox.put(session, outbox.Kind.TRUST, str(number), body, now)
    return number


def require_believed(session: Session, number: int, now: datetime) -> None:
    """See that a door that knows the roots of the list before takes this one. Raises Refused."""
    row, before = session.get_one(TrustListRow, number), session.get(TrustListRow, number - 1)
    held = decode_claims(parse_several((before or row).body, max_bytes=MAX_TRUST_BYTES).payload).roots
    judged = accept_trust_list(row.body, held, now)
    if not isinstance(judged, Trust):
        raise Refused("trust.not_believed", number=number, why=judged.detail)


def build(session: Session, hsm: Signing, number: int, now: datetime) -> TrustList:
    """What the tables say now, as a trust list of this number."""
    roots = _counted(session, number)
    if not roots:
        raise NotFound("trust.no_root")
    issued_s = int(now.timestamp())
    return TrustList(
        expires_s=issued_s + int(LIFE.total_seconds()),
        issued_s=issued_s,
        epoch=session.scalar(select(func.max(StatusHead.epoch))) or 1,
        number=number,
        roots=Roots(roots[0].threshold, tuple(from_point(row.point) for row in roots)),
        keys=tuple(_key_entry(row) for row in _keys(session, now)),
        anchors=tuple(_anchors(session, now)),
        lists=_lists(session, hsm, now),
        allowed=allow_list.allowed(session, now),
    )


def current(session: Session) -> bytes:
    """The newest trust list as it was signed. Raises NotFound before the first one."""
    row = _newest(session)
    if row is None:
        raise NotFound("trust.no_list")
    return row.body


def current_number(session: Session) -> int:
    """The number of the newest trust list, 0 before the first one."""
    row = _newest(session)
    return 0 if row is None else row.number


def roots(session: Session) -> Roots:
    """The root keys and their threshold, as a door is given them at its enrolment."""
    rows = _counted(session, max(1, current_number(session)))
    if not rows:
        raise NotFound("trust.no_root")
    return Roots(rows[0].threshold, tuple(from_point(row.point) for row in rows))


def is_due(session: Session, now: datetime) -> bool:
    """Say whether the list must be replaced soon, or does not name every status list yet."""
    row = _newest(session)
    if row is None or row.expires - now < RENEW_WITHIN:
        return True
    held = decode_claims(parse_several(row.body, max_bytes=MAX_TRUST_BYTES).payload)
    return {one.number for one in held.lists} != set(session.scalars(select(StatusList.n)))


def _newest(session: Session) -> TrustListRow | None:
    return session.scalars(select(TrustListRow).order_by(TrustListRow.number.desc()).limit(1)).first()


def _counted(session: Session, number: int) -> Sequence[RootKeyRow]:
    """The root keys that count in the list of this number."""
    until = RootKeyRow.until
    query = select(RootKeyRow).where(RootKeyRow.since <= number, until.is_(None) | (until >= number))
    return session.scalars(query.order_by(RootKeyRow.label)).all()


def _root_signers(session: Session, hsm: Signing, number: int) -> list[tuple[bytes, Sign]]:
    """Root keys of this list and of the one before it: a new list needs the thresholds of both (F8).

    A root key that signs no more (lost, compromised) is left out; Refused when too few are left then.
    """
    usable: dict[str, RootKeyRow] = {}
    for counted in (_counted(session, number - 1), _counted(session, number)):
        able = [row for row in counted if _signs(hsm, row)]
        if counted and len(able) < counted[0].threshold:
            raise Refused("trust.too_few_roots", able=len(able), threshold=counted[0].threshold)
        usable |= {row.label: row for row in able}
    for row in session.scalars(select(RootKeyRow).where(RootKeyRow.until < number - 1).order_by(RootKeyRow.label)):
        if _signs(hsm, row):  # replaced not long ago: for doors that have missed lists
            usable[row.label] = row
    return [(row.kid, _root_sign(hsm, row.label)) for row in usable.values()]


def _signs(hsm: Signing, row: RootKeyRow) -> bool:
    """Say whether a root key works still. Raises Refused where the HSM holds another key under its label."""
    info = hsm.info(row.label)
    if info.state == ACTIVE and info.public != row.point:
        raise Refused("trust.another_key", label=row.label)
    return info.state == ACTIVE


def _root_sign(hsm: Signing, label: str) -> Sign:
    def sign(data: bytes) -> bytes:
        return hsm.sign(label, ROOT_USE, data)

    return sign


def _keys(session: Session, now: datetime) -> Sequence[SignerRow]:
    """Every key that is still verified with; a compromised one stays named."""
    query = select(SignerRow).where(SignerRow.verifies_until > now)
    return session.scalars(query.order_by(SignerRow.label)).all()


def _key_entry(row: SignerRow) -> KeyEntry:
    return KeyEntry(
        kid=row.kid,
        key=from_public_bytes(row.point),
        scope=tuple(row.scope),
        use=Use(row.use),
        signs_from_s=int(row.signs_from.timestamp()),
        signs_until_s=int(row.signs_until.timestamp()),
        verifies_until_s=int(row.verifies_until.timestamp()),
        state=KeyState(row.state),
    )


def _anchors(session: Session, now: datetime) -> list[Anchor]:
    """Our issuing authorities, by their certificates of before as well, and those of others that were added."""
    query = select(AuthorityRow).where(AuthorityRow.kind == ca.ISSUING, AuthorityRow.state != KeyState.COMPROMISED)
    rows = {row.label: row for row in session.scalars(query.order_by(AuthorityRow.label))}
    held = [(row.label, row.certificate, row.not_after) for row in rows.values()]
    held += [(one.label, one.certificate, one.not_after) for one in ca.others(session) if one.label in rows]
    own = [
        Anchor(certificate, (rows[label].agency_code,), Profile.OWN)
        for label, certificate, not_after in held
        if not_after > now
    ]
    foreign = session.scalars(select(ForeignAnchorRow).where(ForeignAnchorRow.not_after > now))
    in_order = sorted(foreign, key=lambda row: row.name)
    return own + [Anchor(row.certificate, (row.agency_code,), Profile.FOREIGN_PIV) for row in in_order]


def _lists(session: Session, hsm: Signing, now: datetime) -> tuple[ListEntry, ...]:
    rows = session.scalars(select(StatusList).order_by(StatusList.n)).all()
    if not rows:
        return ()
    kid = signers.status_signer(session, hsm, now).kid
    return tuple(ListEntry(row.n, row.length, kid) for row in rows)
