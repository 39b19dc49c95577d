"""The kinds of certificate as one table: who is named, what the key may do, under which policy, how long, where to ask.

X.509: RFC 5280; cards: FIPS 201-3 §4.2 and §5.2; OCSP responders: RFC 6960 §4.2.2.2. `docs/certificates.md` shows the
same rows, and a test compares both.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from issuer.trust.oids import KeyPurpose, Policy


class Subject(StrEnum):
    """Whom the subject names, after the levels of the agency code."""

    AUTHORITY = "authority"  # CN: what it is
    PERSON = "person"  # CN: the holder; serialNumber: the card UUID
    CARD = "card"  # CN: the card UUID; nobody is named


class Altname(StrEnum):
    """What stands in subjectAltName."""

    NONE = "none"
    CARD = "card"  # FASC-N and URN of the card UUID (FIPS 201-3 §4.2.1)


class Asking(StrEnum):
    """Where a certificate tells others to ask whether it still counts, and for its issuer's certificate."""

    NOWHERE = "nowhere"
    CRL = "crl"
    CRL_AND_OCSP = "crl, ocsp"


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of certificate."""

    name: str
    subject: Subject
    usage: frozenset[str]
    purposes: tuple[KeyPurpose, ...]
    purposes_critical: bool
    policy: Policy | None
    altname: Altname
    years: int  # the longest life; a card certificate ends with its card
    asking: Asking
    path_length: int | None = None
    is_ca: bool = False
    is_never_checked: bool = False  # id-pkix-ocsp-nocheck (RFC 6960 §4.2.2.2.1)


CARD_YEARS = 5
ISSUING_YEARS = 15
CONTENT_YEARS = 11  # signs for five years at most and outlives every 9E certificate it stands beside
OCSP_LIFE = timedelta(days=60)
"""Nobody can revoke an OCSP responder's certificate, so it is short; the centre renews it by itself."""

_CA = frozenset({"key_cert_sign", "crl_sign"})
_SIGNS = frozenset({"digital_signature"})
_SIGNS_FOR_GOOD = frozenset({"digital_signature", "non_repudiation"})
_AGREES = frozenset({"key_agreement"})
_P, _S, _A, _Q = KeyPurpose, Subject, Altname, Asking
_MAIL_AND_DOCUMENTS = (_P.EMAIL_PROTECTION, _P.DOCUMENT_SIGNING)

# fmt: off
ROOT = Profile("root", _S.AUTHORITY, _CA, (), False, None, _A.NONE, 25, _Q.NOWHERE, 2, True)
LINK = Profile("link", _S.AUTHORITY, _CA, (), False, None, _A.NONE, 25, _Q.CRL, 1, True)
ISSUING = Profile("issuing", _S.AUTHORITY, _CA, (), False, None, _A.NONE, ISSUING_YEARS, _Q.CRL, 0, True)
CONTENT_SIGNER = Profile("content-signer", _S.AUTHORITY, _SIGNS, (_P.PIV_CONTENT_SIGNING,), True,
                         Policy.CONTENT_SIGNING, _A.NONE, CONTENT_YEARS, _Q.CRL_AND_OCSP)
OCSP_SIGNER = Profile("ocsp-signer", _S.AUTHORITY, _SIGNS, (_P.OCSP_SIGNING,), True,
                      None, _A.NONE, 0, _Q.NOWHERE, is_never_checked=True)
CARD_PROFILES: dict[str, Profile] = {row.name: row for row in (
    Profile("9A", _S.PERSON, _SIGNS, (_P.CLIENT_AUTH,), False,
            Policy.PIV_AUTH, _A.CARD, CARD_YEARS, _Q.CRL_AND_OCSP),
    Profile("9C", _S.PERSON, _SIGNS_FOR_GOOD, _MAIL_AND_DOCUMENTS, False,
            Policy.SIGNATURE, _A.NONE, CARD_YEARS, _Q.CRL_AND_OCSP),
    Profile("9D", _S.PERSON, _AGREES, (_P.EMAIL_PROTECTION,), False,
            Policy.KEY_MANAGEMENT, _A.NONE, CARD_YEARS, _Q.CRL_AND_OCSP),
    Profile("9E", _S.CARD, _SIGNS, (_P.PIV_CARD_AUTH,), True,
            Policy.CARD_AUTH, _A.CARD, CARD_YEARS, _Q.CRL_AND_OCSP),
)}
# fmt: on
ALL_PROFILES = (ROOT, LINK, ISSUING, CONTENT_SIGNER, OCSP_SIGNER, *CARD_PROFILES.values())
