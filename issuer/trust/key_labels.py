"""Labels of keys, `<what>-<agency>-<n>`: which the database names, which comes next, which nobody uses.

A run that breaks off leaves keys in the HSM that no row names. The next run of the same command takes them: their
labels and uses are the ones it wants, and nothing was ever believed of them.
"""

import re
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from issuer import database
from issuer.audit.tables import AuditKeyRow
from issuer.database import SessionFactory
from issuer.errors import Refused
from issuer.trust import ca, masters
from issuer.trust.port import KeyExists, KeyInfo, Signing
from issuer.trust.revocation_tables import OcspCertificate
from issuer.trust.tables import AuthorityRow, CardMasterRow, RootKeyRow, SignerRow

ACTIVE = "active"
LABELS_MAX = 10_000
TRANSPORT = "transport"


def known(session: Session) -> set[str]:
    """Every label that the database names; transport keys are named by deliveries of blanks, not here."""
    found = {masters.FIRST}
    columns = (SignerRow.label, RootKeyRow.label, AuthorityRow.label, CardMasterRow.label, AuditKeyRow.label)
    for column in (*columns, OcspCertificate.key_label):
        found.update(session.scalars(select(column)))
    issuing = select(AuthorityRow.agency_code).where(AuthorityRow.kind == ca.ISSUING)
    found.update(ca.ocsp_key_label(code) for code in session.scalars(issuing))
    return found


def next_key(
    factory: SessionFactory,
    hsm: Signing,
    stem: str,
    kind: str,
    use: str,
    scope: tuple[str, ...],
    but: Sequence[str] = (),
) -> KeyInfo:
    """The next key `<stem>-<n>`: one that a broken run has left behind, else a new one.

    A label that the database names is taken, also where this HSM holds no such key: it may stand in another one.
    """
    with database.reading(factory) as session:
        used = known(session)
    held = {number: one for one in hsm.keys() if (number := _number(stem, one.label))}  # noqa: SIM118 - a call
    last = max((_number(stem, label) for label in used), default=0)
    for number in sorted(held):
        one = held[number]
        is_wanted = (one.kind, one.use, tuple(one.scope), one.state) == (kind, use, scope, ACTIVE)
        if number > last and is_wanted and one.label not in used and one.label not in but:
            return one
    for number in range(max(last, *held, 0) + 1, LABELS_MAX):
        try:
            return hsm.generate(f"{stem}-{number}", kind, use, scope)
        except KeyExists:
            continue
    raise Refused("trust.too_many_keys", label=stem)


def unused(session: Session, hsm: Signing) -> list[KeyInfo]:
    """Keys of the HSM that would work and that no row names."""
    used = known(session)
    keys = hsm.keys()
    return [one for one in keys if one.state == ACTIVE and one.use != TRANSPORT and one.label not in used]


def _number(stem: str, label: str) -> int:
    found = re.fullmatch(re.escape(stem) + r"-([1-9]\d{0,8})", label)
    return int(found[1]) if found else 0
