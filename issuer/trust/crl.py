"""Certificate revocation lists as bytes: entries, full and delta lists (RFC 5280 §5).

A list covers everything that its issuer's name ever signed: each key of an authority has a name of its own. So none
carries an issuing distribution point (§5.2.5), which is critical and which not every program knows. All is pure.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum, StrEnum

from cardlink.iso7816 import tlv
from issuer.trust import der
from issuer.trust.der import Tag
from issuer.trust.x509 import Issuer, distribution_point

DAY_S = 86_400
_REASON, _NUMBER, _DELTA, _AUTHORITY_KEY_ID, _FRESHEST = "2.5.29.21", "2.5.29.20", "2.5.29.27", "2.5.29.35", "2.5.29.46"


class CrlReason(IntEnum):
    """Why a certificate stands on a list (RFC 5280 §5.3.1)."""

    UNSPECIFIED = 0
    KEY_COMPROMISE = 1
    CA_COMPROMISE = 2
    AFFILIATION_CHANGED = 3
    SUPERSEDED = 4
    CESSATION_OF_OPERATION = 5
    CERTIFICATE_HOLD = 6
    REMOVE_FROM_CRL = 8  # in delta lists alone
    PRIVILEGE_WITHDRAWN = 9


class Kind(StrEnum):
    """What a list tells: all, or what changed since a full one."""

    FULL = "full"
    DELTA = "delta"


@dataclass(frozen=True, slots=True)
class Frame:
    """A list without its entries. `base`: the full list that a delta goes on from; `freshest`: where the delta is."""

    number: int
    this_update: datetime
    next_update: datetime
    base: int | None = None
    freshest: str | None = None


def to_sign(issuer: Issuer, frame: Frame, entries: Iterable[bytes]) -> bytes:
    """Build the TBSCertList (RFC 5280 §5.1.2)."""
    listed = b"".join(entries)
    return der.long_sequence(
        _VERSION_2,
        der.ECDSA_SHA256,
        issuer.name,
        der.time(frame.this_update),
        der.time(frame.next_update),
        der.long_sequence(listed) if listed else b"",  # §5.1.2.6: absent when nothing is revoked
        tlv.encode(Tag.CONSTRUCTED_0, der.sequence(*_extensions(issuer, frame))),
    )


_VERSION_2 = der.integer(1)


def _extensions(issuer: Issuer, frame: Frame) -> list[bytes]:
    authority = der.sequence(tlv.encode(Tag.PRIMITIVE_0, issuer.key_id))
    rows = [_extension(_AUTHORITY_KEY_ID, authority), _extension(_NUMBER, der.integer(frame.number))]
    if frame.base is not None:
        rows.append(_extension(_DELTA, der.integer(frame.base), is_critical=True))
    elif frame.freshest is not None:
        rows.append(_extension(_FRESHEST, distribution_point(frame.freshest)))
    return rows


def _extension(kind: str, value: bytes, *, is_critical: bool = False) -> bytes:
    return der.sequence(der.oid(kind), der.TRUE if is_critical else b"", der.octet_string(value))


class EntryWriter:
    """Writes entries: what many of a list share is made once, for lists have hundreds of thousands."""

    def __init__(self) -> None:
        self._days: dict[int, bytes] = {}

    def entries(self, rows: Iterable[tuple[str, int, int]]) -> Iterator[bytes]:
        """One revokedCertificates entry for each row: serial (hex, positive), UTC seconds, reason.

        Source: RFC 5280 §5.1.2.6, §5.3; the date is UTCTime, which ends with 2049.
        """
        days, ends = self._days, _ENDS
        for serial, revoked_s, reason in rows:
            number = bytes.fromhex(serial).lstrip(b"\0")
            if number[0] & 0x80:
                number = b"\0" + number
            day, second = divmod(revoked_s, DAY_S)
            date = days.get(day) or self._date(day)
            end = ends[reason]
            size = len(number)
            yield b"\x30%c\x02%c%b\x17\x0d%b%02d%02d%02dZ%b" % (
                size + 17 + len(end),
                size,
                number,
                date,
                second // 3600,
                second // 60 % 60,
                second % 60,
                end,
            )

    def _date(self, day: int) -> bytes:
        moment = datetime.fromtimestamp(day * DAY_S, UTC)
        if moment.year >= 2050:
            raise ValueError(f"revoked in {moment.year}: UTCTime ends with 2049")
        made = self._days[day] = f"{moment:%y%m%d}".encode()
        return made


# crlEntryExtensions by reason; nothing is said by "unspecified", so it is left out (RFC 5280 §5.3.1)
_ENDS: dict[int, bytes] = {
    int(reason): der.sequence(_extension(_REASON, der.enumerated(reason))) if reason else b"" for reason in CrlReason
}
