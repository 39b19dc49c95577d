"""How authorities come into being: drafted, signed, taken into use.

Root keys may take several persons, who take their time. So a draft is read from a view of the database, all drafts of
one key are signed by one call of the HSM with nothing locked, and what comes out goes into the transaction that takes
it into use.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cardlink.statements.trust import KeyState
from issuer.errors import Refused
from issuer.trust import ca, der, profiles, x509
from issuer.trust.port import KeyInfo, Signing
from issuer.trust.profiles import Profile
from issuer.trust.revocation_tables import RevocationHead
from issuer.trust.tables import AuthorityRow, OtherCertificateRow

SIGNS_YEARS = {ca.ROOT: 10, ca.ISSUING: 4, ca.CONTENT: 4}
"""How long each signs: what it signs last must end before it does (4 + 11 = 15 for the content signer's issuer)."""
ROOT_COMMON_NAME = "Thẻ Mở Root CA"


@dataclass(frozen=True, slots=True)
class Parent:
    """An authority as the certificates below it name it: one in use, or one made in the same run."""

    label: str
    kind: str
    name: bytes  # DER
    point: bytes
    agency_code: str
    url: str  # where its lists stand

    def issuer(self) -> x509.Issuer:
        """As the issuer of a draft, which signs nothing."""
        at = ca.pointers_at(self.url, self.label)
        return x509.Issuer(self.name, x509.key_id(self.point), _unsigned, at, self.agency_code)


@dataclass(frozen=True, slots=True)
class Draft:
    """A certificate that waits for its signature: of whom, by whom, and the bytes."""

    of: Parent
    by: Parent
    serial: str  # hex
    not_before: datetime
    not_after: datetime
    body: bytes


@dataclass(frozen=True, slots=True)
class Certified:
    """A draft and its certificate."""

    draft: Draft
    certificate: bytes

    def row(self) -> AuthorityRow:
        """The authority as the database holds it."""
        draft = self.draft
        return AuthorityRow(
            label=draft.of.label,
            kind=draft.of.kind,
            agency_code=draft.of.agency_code,
            serial=draft.serial,
            point=draft.of.point,
            certificate=self.certificate,
            not_before=draft.not_before,
            not_after=draft.not_after,
            signs_until=years_after(draft.not_before, SIGNS_YEARS[draft.of.kind]),
            state=int(KeyState.ACTIVE),
        )

    def other_row(self) -> OtherCertificateRow:
        """One more certificate of an authority that has its own already."""
        draft = self.draft
        return OtherCertificateRow(
            issuer_label=draft.by.label,
            serial=draft.serial,
            label=draft.of.label,
            certificate=self.certificate,
            not_before=draft.not_before,
            not_after=draft.not_after,
        )


def parent_of(session: Session, row: AuthorityRow) -> Parent:
    """An authority in use."""
    head = session.get(RevocationHead, row.label)
    url = "" if head is None else head.url
    return Parent(row.label, row.kind, ca.subject_of(row.certificate), row.point, row.agency_code, url)


def draft_root(session: Session, info: KeyInfo, organization: str, now: datetime, url: str) -> Draft:
    """A self-signed root; `url`: where its revocation list will stand."""
    name = x509.root_name(organization, _numbered(session, ca.ROOT, "", ROOT_COMMON_NAME))
    root = Parent(info.label, ca.ROOT, name, point_of(info), "", url)
    return _draft(root, root, profiles.ROOT, now)


def draft_issuing(session: Session, info: KeyInfo, code: str, agency_name: str, now: datetime, root: Parent) -> Draft:
    """The issuing authority of an agency, constrained to names at or below its code.

    Its certificates say that its lists and OCSP answers are found where the root's list is.
    """
    common_name = _numbered(session, ca.ISSUING, code, f"Thẻ Mở CA {code}")
    name = x509.agency_name(code, agency_name, common_name)
    return _draft(Parent(info.label, ca.ISSUING, name, point_of(info), code, root.url), root, profiles.ISSUING, now)


def draft_content(info: KeyInfo, code: str, agency_name: str, now: datetime, authority: Parent) -> Draft:
    """The content signer of an agency, below its issuing authority."""
    name = x509.agency_name(code, agency_name, f"Thẻ Mở content signer {code}")
    return _draft(
        Parent(info.label, ca.CONTENT, name, point_of(info), code, ""), authority, profiles.CONTENT_SIGNER, now
    )


def draft_again(authority: Parent, root: Parent, now: datetime, not_after: datetime | None = None) -> Draft:
    """An issuing authority that keeps name and key, below another root."""
    return _draft(authority, root, profiles.ISSUING, now, not_after)


def draft_link(of: Parent, by: Parent, not_before: datetime, not_after: datetime) -> Draft:
    """One root's key certified by another root, for who knows the other one alone (RFC 4210 §4.4)."""
    return _draft(of, by, profiles.LINK, not_before, not_after)


def sign(hsm: Signing, drafts: Sequence[Draft]) -> list[Certified]:
    """Have drafts signed, in their order: all of one key by one call."""
    by: dict[tuple[str, str], list[Draft]] = {}
    for draft in drafts:
        by.setdefault((draft.by.label, ca.KEY_USE[draft.by.kind]), []).append(draft)
    made: dict[str, Certified] = {}
    for (label, use), ones in by.items():
        bodies = [one.body for one in ones]
        signatures = [hsm.sign(label, use, bodies[0])] if len(bodies) == 1 else hsm.sign_many(label, use, bodies)
        for one, signature in zip(ones, signatures, strict=True):
            made[one.serial] = Certified(one, der.signed(one.body, signature))
    return [made[draft.serial] for draft in drafts]


def make(session: Session, hsm: Signing, draft: Draft) -> AuthorityRow:
    """Sign a draft and take it into use at once: where no person has to agree."""
    (certified,) = sign(hsm, [draft])
    require_paths(session, [certified], draft.not_before)
    return take_into_use(session, certified)


def require_paths(session: Session, made: Sequence[Certified], now: datetime) -> None:
    """Refuse authorities that others could not follow up to a root: better none than one that nobody believes."""
    from issuer.trust import paths  # only ceremonies need it, and every command would load it for 60 ms

    new_roots = [one.certificate for one in made if one.draft.of == one.draft.by]
    below = [one.certificate for one in made if one.draft.of != one.draft.by]
    paths.validate([*new_roots, *below], [*ca.chain(session), *below], [*ca.roots(session), *new_roots], now)


def take_into_use(session: Session, certified: Certified) -> AuthorityRow:
    """Write the row of an authority, and its place for revocation lists, whose numbers begin here."""
    row, of = certified.row(), certified.draft.of
    session.add(row)
    session.flush()
    if of.kind != ca.CONTENT:
        none = {"changes": 0, "told": 0, "number": 0, "base_number": 0, "base_changes": 0}
        session.add(RevocationHead(label=of.label, url=of.url, **none))
        session.flush()
    return row


def point_of(info: KeyInfo) -> bytes:
    """The public point of a key. Raises Refused for a key without one."""
    if info.public is None:
        raise Refused("trust.no_public_key", label=info.label)
    return info.public


def years_after(moment: datetime, years: int) -> datetime:
    """The same day, so many years later."""
    try:
        return moment.replace(year=moment.year + years)
    except ValueError:  # 29 February
        return moment.replace(year=moment.year + years, day=28) + timedelta(days=1)


def labels_of(made: Iterable[Certified]) -> tuple[str, ...]:
    """The labels of the keys that were certified."""
    return tuple(one.draft.of.label for one in made)


def _draft(of: Parent, by: Parent, profile: Profile, not_before: datetime, not_after: datetime | None = None) -> Draft:
    ends = not_after or years_after(not_before, profile.years)
    constrained_to = (of.agency_code,) if of.kind == ca.ISSUING else ()
    number, issuer = ca.random_serial(), by.issuer()
    body = x509.to_sign(issuer, of.name, of.point, profile, number, not_before, ends, constrained_to=constrained_to)
    return Draft(of, by, f"{number:040x}", not_before, ends, body)


def _unsigned(data: bytes) -> bytes:
    raise TypeError("a draft is signed by `sign`")


def _numbered(session: Session, kind: str, agency_code: str, common_name: str) -> str:
    """The name of the next authority of its kind: two keys never share a name, so each list is all its name signed."""
    query = select(func.count()).where(AuthorityRow.kind == kind, AuthorityRow.agency_code == agency_code)
    before = session.scalar(query) or 0
    return f"{common_name} {before + 1}" if before else common_name
