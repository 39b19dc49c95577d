"""Signature algorithms of statements by their COSE numbers, and how long their signatures are."""

from typing import Final

ES256: Final = -7  # ECDSA P-256 with SHA-256, r‖s (RFC 9053 §2.1)
ML_DSA_44: Final = -48  # FIPS 204, pure, empty context (RFC 9964 §2)
SIGNATURE_BYTES: Final = {ES256: 64, ML_DSA_44: 2420}  # FIPS 204 §4, table 2
LONGEST_SIGNATURE: Final = 8192  # of an algorithm that this program does not know
