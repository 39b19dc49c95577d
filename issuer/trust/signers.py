"""Statement signers: which key of the HSM signs what for whom now (docs/formats.md, F2 and F8)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from cardlink.statements.akp_key import StatementKey, from_public_bytes
from cardlink.statements.trust import KeyState
from issuer.errors import NotFound
from issuer.policy import covers
from issuer.trust.port import Signing
from issuer.trust.signature_check import require_of
from issuer.trust.tables import SignerRow

AGENCY_USES = ("card", "identity", "qr", "bundle")
"""Each agency that issues cards signs these with keys of its own."""
INSTALLATION_USES = ("status", "command")
"""The installation signs these for all its agencies."""


@dataclass(frozen=True, slots=True)
class Signer:
    """One key at work: `sign` takes the bytes to be signed and answers the raw signature.

    `agency` goes into `iss` of status and bundle, while a card statement names the card's own agency, which the
    signer's `scope` must cover.
    """

    label: str
    use: str
    agency: str
    scope: tuple[str, ...]
    kid: bytes
    cose_key: StatementKey
    sign: Callable[[bytes], bytes]


def bind(hsm: Signing, row: SignerRow) -> Signer:
    """Give a row its key in the HSM."""

    label, use, point = row.label, row.use, row.point  # a signer outlives the session that the row came from

    def sign(data: bytes) -> bytes:
        return require_of(label, point, data, hsm.sign(label, use, data))

    return Signer(label, use, row.agency_code, tuple(row.scope), row.kid, from_public_bytes(row.point), sign)


def signer_for(session: Session, hsm: Signing, agency_code: str, use: str, now: datetime) -> Signer:
    """Find the signer nearest to an agency: its own, else that of a body above it whose scope covers it.

    Raises NotFound when none may sign now.
    """
    fitting = [row for row in _active(session, use, now) if any(covers(prefix, agency_code) for prefix in row.scope)]
    if not fitting:
        raise NotFound("trust.no_signer", use=use, agency=agency_code)
    return bind(hsm, max(fitting, key=lambda row: (len(row.agency_code), row.signs_from)))


def installation_signer(session: Session, hsm: Signing, use: str, now: datetime) -> Signer:
    """Find the signer of a use that the installation has once: status, command. Raises NotFound."""
    rows = _active(session, use, now)
    if not rows:
        raise NotFound("trust.no_signer", use=use, agency="*")
    return bind(hsm, max(rows, key=lambda row: row.signs_from))


def status_signer(session: Session, hsm: Signing, now: datetime) -> Signer:
    """The key that signs status lists and events of this installation."""
    return installation_signer(session, hsm, "status", now)


def _active(session: Session, use: str, now: datetime) -> list[SignerRow]:
    """Those that may sign now: one whose successor is announced (issuer/trust/rotation.py) signs until that begins."""
    rows = session.scalars(select(SignerRow).where(SignerRow.use == use, SignerRow.state != KeyState.COMPROMISED))
    return [row for row in rows if row.signs_from <= now < row.signs_until]
