"""The keys of an installation, made once: roots, authorities, signers, card master (`issuer keys init`).

Every step finds what is there already, so that a set-up that broke off is simply run again: a key that the HSM holds
without a row of ours (its transaction was lost) is taken over when its use and scope are the ones wanted.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from cardlink.statements.cose_key import from_point
from cardlink.statements.trust import KeyState
from issuer.audit import checkpoints
from issuer.audit import log as audit
from issuer.audit.tables import AuditKeyRow
from issuer.errors import Refused
from issuer.policy import Action, Actor, require_anywhere
from issuer.trust import ca, masters, signers, status, trust_list
from issuer.trust.port import Ceremony, KeyExists, KeyInfo, Signing
from issuer.trust.tables import AuthorityRow, RootKeyRow, SignerRow

EC, AES = "ec-p256", "aes-256"
CARD_MASTER = masters.FIRST
CARD_MASTER_USE = masters.USE
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


def init(
    session: Session,
    hsm: Signing,
    actor: Actor,
    installation: AgencyName,
    agencies: Iterable[AgencyName],
    roots: Roots,
    list_bits: int,
    now: datetime,
    on_key: OnKey,
    public_url: str = "",
) -> int:
    """Make what is missing of all keys, open a status list of 2^list_bits cards if there is none, publish a trust list.

    Answers the trust list's number. `on_key` hears each new label. `public_url`: where this centre will answer for its
    certificates; without one they name no list and no responder.
    """
    require_anywhere(actor, Action.KEYS_MANAGE)
    if not 1 <= roots.threshold <= roots.keys:
        raise Refused("trust.bad_threshold", keys=roots.keys, threshold=roots.threshold)
    work = _Work(session, hsm, actor, now, on_key, public_url)
    work.make_roots(roots)
    work.make_x509_root(installation)
    work.make_master()
    work.make_audit_key(installation.code)
    for use in signers.INSTALLATION_USES:
        work.make_signer(use, installation.code)
    for agency in agencies:
        work.make_agency(agency)
    if not status.lists(session):
        status.create_list(session, list_bits, now)
    return trust_list.publish(session, hsm, now)


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


def add_agency(session: Session, hsm: Signing, actor: Actor, agency: AgencyName, now: datetime, on_key: OnKey) -> int:
    """Make the keys of one more agency and publish a trust list. Answers its number."""
    require_anywhere(actor, Action.KEYS_MANAGE)
    _Work(session, hsm, actor, now, on_key).make_agency(agency)
    return trust_list.publish(session, hsm, now)


@dataclass(frozen=True, slots=True)
class _Work:
    """One run of a set-up."""

    session: Session
    hsm: Signing
    actor: Actor
    now: datetime
    on_key: OnKey
    public_url: str = ""

    def make_roots(self, roots: Roots) -> None:
        """Make the root keys of the trust list, unless there are some: roots change by a ceremony, not by a re-run."""
        held = self.session.scalars(select(RootKeyRow)).all()
        if held:
            if len(held) != roots.keys or held[0].threshold != roots.threshold:
                raise Refused("trust.roots_exist", keys=len(held), threshold=held[0].threshold)
            return
        for number in range(1, roots.keys + 1):
            info = self.key(f"root-{number}", EC, trust_list.ROOT_USE, ())
            point = _point(info)
            kid = from_point(point).kid()
            row = RootKeyRow(label=info.label, kid=kid, point=point, threshold=roots.threshold, since=1, until=None)
            self.session.add(row)
        self.session.flush()

    def make_x509_root(self, installation: AgencyName) -> None:
        """Make the X.509 root."""
        if self._authority(ca.ROOT, "") is None:
            info = self.key("x509-root-1", EC, ca.KEY_USE[ca.ROOT], ())
            ca.make_root(self.session, self.hsm, info.label, installation.name, self.now, self.public_url)

    def make_master(self) -> None:
        """Make the master key that the keys of cards are derived from (docs/formats.md, F11)."""
        self.key(CARD_MASTER, AES, CARD_MASTER_USE, ())

    def make_audit_key(self, installation: str) -> None:
        """Make the key that signs checkpoints of the audit log (docs/formats.md, F10)."""
        if self.session.scalars(select(AuditKeyRow).limit(1)).first() is None:
            info = self.key(f"audit-{installation}-1", checkpoints.KIND, checkpoints.USE, (installation,))
            checkpoints.add_key(self.session, info, installation, self.now)

    def make_agency(self, agency: AgencyName) -> None:
        """Make the signers, the issuing authority, the content signer and the OCSP key of an agency."""
        for use in signers.AGENCY_USES:
            self.make_signer(use, agency.code)
        if self._authority(ca.ISSUING, agency.code) is None:
            info = self.key(f"x509-ca-{agency.code}-1", EC, ca.KEY_USE[ca.ISSUING], (agency.code,))
            ca.make_issuing(self.session, self.hsm, info.label, agency.code, agency.name, self.now)
        if self._authority(ca.CONTENT, agency.code) is None:
            info = self.key(f"x509-content-{agency.code}-1", EC, ca.KEY_USE[ca.CONTENT], (agency.code,))
            ca.make_content_signer(self.session, self.hsm, info.label, agency.code, agency.name, self.now)
        self.key(ca.ocsp_key_label(agency.code), EC, ca.OCSP_USE, (agency.code,))

    def make_signer(self, use: str, agency_code: str) -> None:
        """Make the statement key of one use for one agency."""
        query = select(SignerRow).where(
            SignerRow.use == use, SignerRow.agency_code == agency_code, SignerRow.state == KeyState.ACTIVE
        )
        if self.session.scalars(query).first() is not None:
            return
        info = self.key(f"{use}-{agency_code}-1", EC, use, (agency_code,))
        point = _point(info)
        self.session.add(
            SignerRow(
                label=info.label,
                kid=from_point(point).kid(),
                use=use,
                agency_code=agency_code,
                scope=[agency_code],
                point=point,
                signs_from=self.now.replace(microsecond=0),
                signs_until=self.now.replace(microsecond=0) + SIGNS_FOR,
                verifies_until=self.now.replace(microsecond=0) + SIGNS_FOR + VERIFIES_FOR[use],
                state=KeyState.ACTIVE,
            )
        )
        self.session.flush()

    def key(self, label: str, kind: str, use: str, scope: tuple[str, ...]) -> KeyInfo:
        """Make a key in the HSM, or take the one of this name when it is the one wanted."""
        try:
            info = self.hsm.generate(label, kind, use, scope)
        except KeyExists:
            info = self.hsm.info(label)
            if (info.kind, info.use, tuple(info.scope)) != (kind, use, scope):
                raise Refused("trust.other_key", label=label) from None
            return info
        facts = {"kind": kind, "use": use, "scope": list(scope)}
        audit.append(self.session, self.actor, "key.made", label, facts, self.now)
        self.on_key(label)
        return info

    def _authority(self, kind: str, agency_code: str) -> AuthorityRow | None:
        query = select(AuthorityRow).where(
            AuthorityRow.kind == kind, AuthorityRow.agency_code == agency_code, AuthorityRow.state == KeyState.ACTIVE
        )
        return self.session.scalars(query).first()


def _point(info: KeyInfo) -> bytes:
    if info.public is None:
        raise Refused("trust.no_public_key", label=info.label)
    return info.public
