"""ML-DSA-44 beside ES256: keys in the trust list, identity statements, and algorithms that are not ours."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from statement_vectors import at, load, private_key, public_key, raw, rows, sign_with, trust_of

from cardlink.check.cache import CredentialCache
from cardlink.check.card import check_identity, verify_credential
from cardlink.errors import Malformed
from cardlink.statements import cose
from cardlink.statements.akp_key import AkpKey, decode_akp_key, from_public_bytes
from cardlink.statements.algorithms import ES256, ML_DSA_44
from cardlink.statements.identity import MAX_ML_DSA_BYTES, Identity, issue_identity, read_identity
from cardlink.statements.refusal import Reason, Refused
from cardlink.statements.signers import find_signer
from cardlink.statements.trust import OtherKey, Use

FILE = load("ml_dsa")
NOW = at(FILE)
TRUST = trust_of(FILE)
SEED = bytes(range(32))


def judged(statement: bytes) -> Identity | Refused:
    beside = verify_credential(bytes.fromhex(FILE["credential"]), TRUST, NOW, CredentialCache())
    assert not isinstance(beside, Refused)
    return check_identity(statement, beside, TRUST, NOW)


def test_the_thumbprint_is_that_of_rfc_9964() -> None:
    example = FILE["thumbprint"]
    public = MLDSA44PrivateKey.from_seed_bytes(bytes.fromhex(example["seed"])).public_key().public_bytes_raw()
    key = from_public_bytes(public)
    assert isinstance(key, AkpKey)
    assert key.thumbprint().hex() == example["sha256"]
    assert key.kid().hex() == example["sha256"][:16]
    assert decode_akp_key(key.fields()) == key


def test_a_public_key_of_another_length_is_malformed() -> None:
    for size in (0, 1311, 1313):
        with pytest.raises(Malformed):
            from_public_bytes(bytes(size))


@rows("ml_dsa", "good")
def test_a_statement_of_either_algorithm_is_taken(row: dict[str, Any]) -> None:
    identity = judged(raw(row))
    assert isinstance(identity, Identity)
    assert read_identity(raw(row)).statement.alg == row["alg"]


@rows("ml_dsa", "bad")
def test_a_statement_is_refused_for_its_reason(row: dict[str, Any]) -> None:
    refused = judged(raw(row))
    assert isinstance(refused, Refused)
    assert refused.reason == row["refusal"]
    assert row["why"] in refused.detail


def test_a_key_of_an_algorithm_unknown_here_leaves_the_rest_of_the_list_in_force() -> None:
    later = [one for one in TRUST.signers.values() if isinstance(one.entry.key, OtherKey)]
    assert len(later) == 1
    assert later[0].public_key is None
    assert isinstance(judged(raw(FILE["good"][1])), Identity)


def test_what_a_door_reads_stays_es256() -> None:
    card = [one for one in TRUST.signers.values() if isinstance(one.entry.key, AkpKey) and one.entry.use is Use.CARD]
    assert [one.public_key for one in card] == [None]
    statement = cose.parse_sign1(cose.sign1(b"", card[0].entry.kid, sign_with("card")), max_bytes=252)
    refused = find_signer(statement, Use.CARD, "H49", TRUST)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.UNSUPPORTED_ALGORITHM
    with pytest.raises(Malformed, match="alg is not ES256"):
        cose.parse_sign1(raw(FILE["good"][0]), max_bytes=1 << 16)


def test_a_signature_counts_only_with_the_algorithm_of_its_key() -> None:
    private = MLDSA44PrivateKey.from_seed_bytes(SEED)
    made = cose.sign1(b"x", bytes(8), private.sign, alg=ML_DSA_44)
    statement = cose.parse_sign1(made, max_bytes=4096, is_agile=True)
    assert cose.verify_sign1(statement, private.public_key())
    assert not cose.verify_sign1(statement, private_key("card").public_key())
    assert not cose.verify_sign1(statement._replace(alg=ES256), private.public_key())
    assert not cose.verify_sign1(statement._replace(payload=b"y"), private.public_key())


def test_the_longest_identity_fits_under_either_algorithm() -> None:
    """The claims are bound to what fits into 1024 bytes with ES256; ML-DSA-44 adds what its signature is longer."""
    private = MLDSA44PrivateKey.from_seed_bytes(SEED)
    kid, sign = public_key("identity").kid(), sign_with("identity")
    identity = replace(read_identity(raw(FILE["good"][1])).value, agency_name="Ở" * 150, title="Ở" * 90)
    room = 1024 - len(issue_identity(identity, kid, sign))
    longest = replace(identity, title=identity.title + "T" * room)
    short = issue_identity(longest, kid, sign)
    made = issue_identity(longest, bytes(8), private.sign, ML_DSA_44)
    assert (len(short), len(made)) == (1024, MAX_ML_DSA_BYTES)
    assert read_identity(made).value == read_identity(short).value == longest
    longer = replace(longest, title=longest.title + "T")
    with pytest.raises(Malformed, match="too long"):
        issue_identity(longer, kid, sign)
    with pytest.raises(Malformed, match="too long"):
        issue_identity(longer, bytes(8), private.sign, ML_DSA_44)
    with pytest.raises(Malformed, match="signature"):
        issue_identity(longest, bytes(8), private.sign, ES256)
