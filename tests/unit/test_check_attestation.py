"""An attestation counts up to a trusted maker's root, and no other way."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from test_card_attest import MAKER, SINCE, equipped, f9_certificate
from test_card_yubico import send

from cardlink.check.attestation import verify_attestation
from cardlink.piv import commands as piv
from cardlink.piv import yubico
from cardlink.piv.attestation import Attestation
from cardlink.piv.tables import Algorithm
from cardlink.statements.refusal import Reason, Refused
from cardos.maker import LIFE, Maker

NOW = SINCE + timedelta(days=30)
ROOT = MAKER.root().public_bytes(Encoding.DER)
BATCH = MAKER.batch(1).public_bytes(Encoding.DER)
OTHER = Maker(bytes(32), SINCE, "another maker")
FALSE = Maker(bytes(32), SINCE)  # the same names, other keys


@pytest.fixture(scope="module")
def card() -> tuple[bytes, bytes]:
    """An attestation and the certificate of F9."""
    one = equipped()
    send(one, piv.generate_key(0x9E, Algorithm.P_256))
    return send(one, yubico.attest(0x9E)), f9_certificate(one).public_bytes(Encoding.DER)


def test_the_attestation_of_a_makers_card_counts(card: tuple[bytes, bytes]) -> None:
    other = OTHER.root().public_bytes(Encoding.DER)
    judged = verify_attestation(card[0], [card[1], BATCH], [other, ROOT], NOW)
    assert isinstance(judged, Attestation)
    assert judged.claims.serial == 0x00C0FFEE
    # whoever trusts the batch alone needs nothing above it
    assert isinstance(verify_attestation(card[0], [card[1]], [BATCH], NOW), Attestation)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("no root", Reason.UNKNOWN_SIGNER),
        ("another maker", Reason.UNKNOWN_SIGNER),
        ("a maker of the same name", Reason.FORGED_STATEMENT),
        ("a batch left out", Reason.UNKNOWN_SIGNER),
        ("another card's F9", Reason.FORGED_STATEMENT),
        ("another batch", Reason.FORGED_STATEMENT),
        ("a changed bit", Reason.FORGED_STATEMENT),
        ("the attestation above itself", Reason.WRONG_CERTIFICATE),
        ("F9 twice", Reason.WRONG_CERTIFICATE),
        ("no attestation", Reason.MALFORMED_CERTIFICATE),
        ("no certificate above", Reason.MALFORMED_CERTIFICATE),
        ("before its time", Reason.NOT_YET_VALID),
        ("after its time", Reason.EXPIRED),
    ],
)
def test_any_other_chain_is_refused(card: tuple[bytes, bytes], case: str, reason: Reason) -> None:
    der, f9 = card
    above, roots, now = [f9, BATCH], [ROOT], NOW
    match case:
        case "no root":
            roots = []
        case "another maker":
            roots = [OTHER.root().public_bytes(Encoding.DER)]
        case "a maker of the same name":
            roots = [FALSE.root().public_bytes(Encoding.DER)]
        case "a batch left out":
            above = [f9]
        case "another card's F9":
            above = [f9_certificate(equipped()).public_bytes(Encoding.DER), BATCH]
        case "another batch":
            above = [f9, MAKER.batch(2).public_bytes(Encoding.DER)]
        case "a changed bit":
            der = der[:-1] + bytes((der[-1] ^ 1,))
        case "the attestation above itself":
            above = [der, f9, BATCH]
        case "F9 twice":
            above = [f9, f9, BATCH]
        case "no attestation":
            der = f9
        case "no certificate above":
            above = [f9[:-1], BATCH]
        case "before its time":
            now = SINCE - timedelta(seconds=1)
        case "after its time":
            now = datetime.fromtimestamp((SINCE + LIFE).timestamp() + 1, UTC)
    judged = verify_attestation(der, above, roots, now)
    assert isinstance(judged, Refused)
    assert judged.reason is reason
