"""Who signed a statement, and whether that key may have: use, scope and times of the trust list (F2, F8)."""

from datetime import datetime

from cardlink.statements.agency import is_in_scope
from cardlink.statements.algorithms import SIGNATURE_BYTES
from cardlink.statements.cose import Sign1, verify_sign1
from cardlink.statements.refusal import Reason, Refused
from cardlink.statements.trust import SKEW_S, KeyState, Signer, Trust, Use


def find_signer(statement: Sign1, use: Use, issuer: str, trust: Trust) -> Signer | Refused:
    """Look the signer of a statement up by kid: its use must be `use`, its scope cover the issuer."""
    signer = trust.signers.get(statement.kid)
    if signer is None:
        return Refused(Reason.UNKNOWN_SIGNER, f"kid {statement.kid.hex()}")
    if signer.entry.use is not use:
        return Refused(Reason.WRONG_USE, f"want {use}, kid {statement.kid.hex()} is for {signer.entry.use}")
    if not is_in_scope(signer.entry.scope, issuer):
        return Refused(Reason.OUT_OF_SCOPE, f"kid {statement.kid.hex()} may not sign for {issuer}")
    if signer.public_key is None:
        return Refused(Reason.UNSUPPORTED_ALGORITHM, f"kid {statement.kid.hex()}")
    if statement.alg != signer.alg:
        reason = Reason.ALGORITHM_MISMATCH if statement.alg in SIGNATURE_BYTES else Reason.UNSUPPORTED_ALGORITHM
        return Refused(reason, f"kid {statement.kid.hex()} is for {signer.alg}, not {statement.alg}")
    return signer


def check_signer_times(
    signer: Signer, signed_s: int, trust: Trust, now_s: float, card: tuple[bytes, bytes] | None = None
) -> Signer | Refused:
    """Judge when a statement was signed and is being verified. `card` (UUID, key-hash) may stand on the allow-list.

    This is the part of the judgement that a cache must not keep: it depends on the time.
    """
    entry = signer.entry
    if now_s >= trust.content.expires_s:
        return Refused(Reason.TRUST_EXPIRED, f"trust list {trust.content.number}")
    if entry.state is KeyState.COMPROMISED and (card is None or card not in trust.allowed):
        return Refused(Reason.COMPROMISED_SIGNER, f"kid {entry.kid.hex()}")
    if not entry.signs_from_s <= signed_s <= entry.signs_until_s:
        return Refused(Reason.SIGNER_PERIOD, f"kid {entry.kid.hex()} did not sign at {signed_s}")
    if now_s >= entry.verifies_until_s:
        return Refused(Reason.REVOKED_SIGNER, f"kid {entry.kid.hex()}")
    return signer


def check_not_ahead(signed_s: int, now_s: float) -> Refused | None:
    """Refuse what was signed later than now, but for the clocks' five minutes; None for the rest."""
    if signed_s > now_s + SKEW_S:
        return Refused(Reason.NOT_YET_VALID, f"signed at {signed_s}, later than now")
    return None


def check_signature(statement: Sign1, signer: Signer) -> Signer | Refused:
    """Verify the statement's own signature, over the bytes received."""
    if signer.public_key is None:
        return Refused(Reason.UNSUPPORTED_ALGORITHM, f"kid {statement.kid.hex()}")
    if not verify_sign1(statement, signer.public_key):
        return Refused(Reason.FORGED_STATEMENT, f"kid {statement.kid.hex()}")
    return signer


def verify_statement(
    statement: Sign1,
    use: Use,
    issuer: str,
    signed_s: int,
    trust: Trust,
    now: datetime,
    *,
    may_be_ahead: bool = False,
    card: tuple[bytes, bytes] | None = None,
) -> Signer | Refused:
    """The whole judgement of an envelope: signer, times, signature; cheapest first.

    `may_be_ahead`: the message tells a door the time (F6), so its own must not be measured by the door's clock.
    `card` (UUID, key-hash): the card that the statement speaks of; on the allow-list it outlives its signer's fall.
    """
    signer = find_signer(statement, use, issuer, trust)
    if isinstance(signer, Refused):
        return signer
    now_s = now.timestamp()
    timely = check_signer_times(signer, signed_s, trust, now_s, card)
    if isinstance(timely, Refused):
        return timely
    ahead = None if may_be_ahead else check_not_ahead(signed_s, now_s)
    if ahead is not None:
        return ahead
    return check_signature(statement, signer)
