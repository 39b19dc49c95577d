"""Tables of trust: statement signers, root keys, X.509 authorities and the trust lists as published."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from issuer.database import Base


class SignerRow(Base):
    """One statement key of use card, identity, qr, status, bundle, command, door or audit (F2)."""

    __tablename__ = "signers"
    __table_args__ = (
        Index(
            "uq_signers_active",
            "agency_code",
            "use",
            unique=True,
            sqlite_where=text("state = 0"),
            postgresql_where=text("state = 0"),
        ),
    )

    label: Mapped[str] = mapped_column(primary_key=True)
    kid: Mapped[bytes] = mapped_column(unique=True)
    use: Mapped[str]
    agency_code: Mapped[str]
    scope: Mapped[list[Any]]
    point: Mapped[bytes]
    signs_from: Mapped[datetime]
    signs_until: Mapped[datetime]
    verifies_until: Mapped[datetime]
    state: Mapped[int]  # KeyState of cardlink.statements.trust
    # A compromised key: what it signed for cards of our register up to then stays good (the allow-list of F8).
    known_good_until: Mapped[datetime | None]


class CardMasterRow(Base):
    """One master key that card keys are derived from; the newest active one is for new cards."""

    __tablename__ = "card_masters"

    label: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime]
    state: Mapped[int]  # KeyState as above; compromised: its cards have to get other keys


class RootKeyRow(Base):
    """One root key of the trust list: counted in list numbers `since` up to `until` (None: still)."""

    __tablename__ = "root_keys"

    label: Mapped[str] = mapped_column(primary_key=True)
    kid: Mapped[bytes] = mapped_column(unique=True)
    point: Mapped[bytes]
    threshold: Mapped[int]  # how many of the roots must sign, the same on every row that is counted together
    since: Mapped[int]
    until: Mapped[int | None]


class AuthorityRow(Base):
    """One X.509 authority or content signer: `kind` is root, issuing or content."""

    __tablename__ = "authorities"
    __table_args__ = (UniqueConstraint("kind", "agency_code", "serial"),)

    label: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    agency_code: Mapped[str]  # empty for the root
    serial: Mapped[str]  # hex
    point: Mapped[bytes]
    certificate: Mapped[bytes]
    not_before: Mapped[datetime]
    not_after: Mapped[datetime]
    signs_until: Mapped[datetime]
    state: Mapped[int]


class OtherCertificateRow(Base):
    """One more certificate of an authority's key than the one in its row: by another root, or a link between two roots.

    It counts as long as the authority that issued it.
    """

    __tablename__ = "authority_certificates"

    issuer_label: Mapped[str] = mapped_column(ForeignKey("authorities.label"), primary_key=True)
    serial: Mapped[str] = mapped_column(primary_key=True)  # hex
    label: Mapped[str] = mapped_column(ForeignKey("authorities.label"))
    certificate: Mapped[bytes]
    not_before: Mapped[datetime]
    not_after: Mapped[datetime]


class ForeignAnchorRow(Base):
    """An authority that is not ours whose PIV cards our doors may take; its cards count as those of `agency_code`."""

    __tablename__ = "foreign_anchors"

    name: Mapped[str] = mapped_column(primary_key=True)
    agency_code: Mapped[str]
    certificate: Mapped[bytes]
    not_after: Mapped[datetime]
    added: Mapped[datetime]


class TrustListRow(Base):
    """One trust list as published, never changed."""

    __tablename__ = "trust_lists"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    epoch: Mapped[int]
    body: Mapped[bytes]
    issued: Mapped[datetime]
    expires: Mapped[datetime]
