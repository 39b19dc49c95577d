"""A refused statement or card is an answer, not an exception: the reasons, and the value that carries one."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why bytes or a card did not count. Stable codes: logs, door records and message catalogues hang on them."""

    # the bytes
    MALFORMED_CREDENTIAL = "malformed-credential"
    MALFORMED_IDENTITY = "malformed-identity"
    MALFORMED_CERTIFICATE = "malformed-certificate"
    MALFORMED_CHUID = "malformed-chuid"
    MALFORMED_SECURITY_OBJECT = "malformed-security-object"
    MALFORMED_STATEMENT = "malformed-statement"
    # who signed
    FORGED_STATEMENT = "forged-statement"  # the statement's own signature is wrong
    UNKNOWN_SIGNER = "unknown-signer"
    WRONG_USE = "wrong-use"
    OUT_OF_SCOPE = "out-of-scope"
    FOREIGN_OBJECT = "foreign-object"  # what the statement speaks of does not belong to its issuer
    UNSUPPORTED_ALGORITHM = "unsupported-algorithm"  # of the statement or of its signer's key
    ALGORITHM_MISMATCH = "algorithm-mismatch"  # the statement's algorithm is not its signer's
    COMPROMISED_SIGNER = "compromised-signer"
    REVOKED_SIGNER = "revoked-signer"  # the signer's time to verify is over
    SIGNER_PERIOD = "signer-period"  # signed before or after the signer was allowed to sign
    SELF_SIGNED = "self-signed"
    WRONG_EKU = "wrong-eku"
    WRONG_CERTIFICATE = "wrong-certificate"  # a certificate of another kind: a CA's, wrong key usage
    # when
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"
    TRUST_EXPIRED = "trust-expired"
    # the card in hand
    BAD_SIGNATURE = "bad-signature"  # the answer to the challenge is not by the key that the card presents
    KEY_MISMATCH = "key-mismatch"
    UUID_MISMATCH = "uuid-mismatch"
    AGENCY_MISMATCH = "agency-mismatch"
    EXPIRY_MISMATCH = "expiry-mismatch"
    HASH_MISMATCH = "hash-mismatch"  # an object is not the one that the security object lists
    # trust list, status feed, bundle
    THRESHOLD_NOT_MET = "threshold-not-met"
    OLDER = "older"
    FORKED = "forked"  # the number of what is held, with other content
    GAP = "gap"
    WRONG_EPOCH = "wrong-epoch"
    TERMINAL_STATUS = "terminal-status"  # would take a revocation back
    UNKNOWN_LIST = "unknown-list"
    BEYOND_END = "index-beyond-end"
    WRONG_LIST_LENGTH = "wrong-list-length"
    WRONG_LIST_SIGNER = "wrong-list-signer"
    WRONG_NONCE = "wrong-nonce"
    WRONG_OWNER = "wrong-owner"
    WRONG_DOOR = "wrong-door"
    # a door's log
    BROKEN_CHAIN = "broken-chain"
    SHORTENED = "shortened-log"


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer no. `detail` is for logs, in English; decisions hang on `reason` alone."""

    reason: Reason
    detail: str = ""
