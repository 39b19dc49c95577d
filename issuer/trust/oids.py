"""Object identifiers: our own private arc in one table, beside the published ones that tools look for.

The arc lies under 2.25, where a UUID is the number (ITU-T X.667 §7): it needs no registration and collides with nobody.
The PIV key-purpose and content-type OIDs stay as published; the US certificate policies are never used.
"""

from enum import StrEnum

OWN_ARC = "2.25.166296268497973285168390389602371392228"


class Policy(StrEnum):
    """Certificate policies of this project: what the key behind a certificate is protected by."""

    PIV_AUTH = f"{OWN_ARC}.1.1"  # 9A: key made on the card, used after the PIN
    CARD_AUTH = f"{OWN_ARC}.1.2"  # 9E: key made on the card, used without a PIN
    SIGNATURE = f"{OWN_ARC}.1.3"  # 9C: key made on the card, PIN before each use
    KEY_MANAGEMENT = f"{OWN_ARC}.1.4"  # 9D: key made on the card, used after the PIN
    CONTENT_SIGNING = f"{OWN_ARC}.1.5"  # the centre's key in its HSM


class KeyPurpose(StrEnum):
    """Extended key usages (RFC 5280 §4.2.1.12; FIPS 201-3 profile of PIV)."""

    CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
    EMAIL_PROTECTION = "1.3.6.1.5.5.7.3.4"
    OCSP_SIGNING = "1.3.6.1.5.5.7.3.9"  # RFC 6960 §4.2.2.2
    DOCUMENT_SIGNING = "1.3.6.1.5.5.7.3.36"  # RFC 9336
    PIV_CONTENT_SIGNING = "2.16.840.1.101.3.6.7"
    PIV_CARD_AUTH = "2.16.840.1.101.3.6.8"


PIV_FASC_N = "2.16.840.1.101.3.6.6"  # otherName in subjectAltName (FIPS 201-3 §4.2.1)
ORGANIZATION_IDENTIFIER = "2.5.4.97"  # the agency code in a subject (ITU-T X.520 §6.4.4)
