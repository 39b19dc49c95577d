"""Tables of X.509 revocation: revoked certificates, the lists of each authority and where they stand, OCSP."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from issuer.database import Base


class RevocationHead(Base):
    """Where the lists of one authority stand. `changes` counts its revocations; the lock of this row orders them."""

    __tablename__ = "revocation_heads"

    label: Mapped[str] = mapped_column(ForeignKey("authorities.label"), primary_key=True)
    url: Mapped[str]  # where this centre answers others, as the certificates say; empty: they say nothing
    changes: Mapped[int]
    told: Mapped[int]  # the changes that the newest list, full or delta, has told
    number: Mapped[int]  # of the newest list, 0 before the first
    base_number: Mapped[int]  # of the newest full list
    base_changes: Mapped[int]  # the changes that it has told
    base_at: Mapped[datetime | None]


class RevokedCertificate(Base):
    """One certificate that is, or was, on a list. `reason` is a CRLReason; 8: it was on hold and counts again."""

    __tablename__ = "revoked_certificates"
    __table_args__ = (
        Index("ix_revoked_certificates_changed", "issuer_label", "changed"),
        {"sqlite_with_rowid": False},  # kept in the order in which a list is written
    )

    issuer_label: Mapped[str] = mapped_column(ForeignKey("authorities.label"), primary_key=True)
    serial: Mapped[str] = mapped_column(primary_key=True)  # hex, 40 digits
    not_after: Mapped[datetime]
    revoked_s: Mapped[int]  # UTC seconds: hundreds of thousands of them are written into a list
    reason: Mapped[int]
    changed: Mapped[int]  # the authority's count of changes when this row was written


class PublishedCrl(Base):
    """The newest full and the newest delta list of an authority."""

    __tablename__ = "published_crls"

    issuer_label: Mapped[str] = mapped_column(ForeignKey("authorities.label"), primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int]
    entries: Mapped[int]
    this_update: Mapped[datetime]
    next_update: Mapped[datetime]
    sha256: Mapped[bytes]
    body: Mapped[bytes]


class OcspCertificate(Base):
    """The certificate with which an authority lets a key of the HSM answer for it."""

    __tablename__ = "ocsp_certificates"

    issuer_label: Mapped[str] = mapped_column(ForeignKey("authorities.label"), primary_key=True)
    key_label: Mapped[str]
    certificate: Mapped[bytes]
    not_before: Mapped[datetime]
    not_after: Mapped[datetime]
