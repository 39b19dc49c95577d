"""The file that names chip makers, and what a chip says of a key beside the key in hand."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from test_card_attest import MAKER, SINCE, equipped, f9_certificate
from test_card_yubico import send

from cardlink.piv import commands as piv
from cardlink.piv import yubico
from cardlink.piv.attestation import Attestation
from cardlink.piv.tables import Algorithm
from cardlink.piv.templates import EcPublicKey, decode_public_key
from cardlink.statements.refusal import Reason, Refused
from issuer.cards.makers import NOBODY, judge, read_makers
from issuer.errors import ConfigError

NOW = SINCE + timedelta(days=30)


def test_roots_and_batches_are_read_from_one_file_and_judge_a_key(tmp_path: Path) -> None:
    file = tmp_path / "makers.pem"
    file.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in (MAKER.batch(7), MAKER.root(), MAKER.batch(1))))
    makers = read_makers(file)
    assert (len(makers.roots), len(makers.below)) == (1, 2)
    card = equipped()
    key = decode_public_key(send(card, piv.generate_key(0x9E, Algorithm.P_256)), Algorithm.P_256)
    assert isinstance(key, EcPublicKey)
    attester = f9_certificate(card).public_bytes(Encoding.DER)
    told = send(card, yubico.attest(0x9E))
    assert isinstance(judge(makers, told, attester, key.point, NOW), Attestation)
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    swapped = judge(makers, told, attester, other.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint), NOW)
    for judged, reason in (
        (swapped, Reason.KEY_MISMATCH),
        (judge(makers, told, b"no certificate", key.point, NOW), Reason.MALFORMED_CERTIFICATE),
        (judge(NOBODY, told, attester, key.point, NOW), Reason.UNKNOWN_SIGNER),
    ):
        assert isinstance(judged, Refused)
        assert judged.reason is reason


def test_a_file_without_a_makers_root_is_refused(tmp_path: Path) -> None:
    assert read_makers(None) is NOBODY
    with pytest.raises(ConfigError, match="makers_unreadable"):
        read_makers(tmp_path / "none.pem")
    for held in (
        b"",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        MAKER.batch(1).public_bytes(Encoding.PEM),
    ):
        (tmp_path / "makers.pem").write_bytes(held)
        with pytest.raises(ConfigError, match="no_makers"):
            read_makers(tmp_path / "makers.pem")
