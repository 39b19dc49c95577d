"""The door bundle (F7)."""

from dataclasses import replace

import pytest
from statement_vectors import at, load, public_key, raw, rows, sign_with, trust_of

from cardlink.errors import Malformed
from cardlink.statements.bundle import Bundle, Mechanism, accept_bundle, issue_bundle, read_bundle
from cardlink.statements.refusal import Refused

FILE = load("bundle")
TRUST = trust_of(FILE)
HELD = read_bundle(bytes.fromhex(FILE["held"])).value


def _accept(bundle: bytes, held: Bundle | None) -> Bundle | Refused:
    return accept_bundle(bundle, held, TRUST, bytes.fromhex(FILE["door"]), FILE["owner"], at(FILE))


@rows("bundle", "good")
def test_a_bundle_is_accepted_on_the_one_held(row: dict[str, str]) -> None:
    accepted = _accept(raw(row), HELD)
    assert isinstance(accepted, Bundle)
    assert _accept(raw(row), None) == accepted
    assert read_bundle(issue_bundle(accepted, public_key("bundle").kid(), sign_with("bundle"))).value == accepted


@rows("bundle", "bad")
def test_a_bundle_is_refused_for_its_reason(row: dict[str, str]) -> None:
    if row["refusal"] == "malformed":
        with pytest.raises(Malformed, match=row["why"]):
            _accept(raw(row), HELD)
        return
    refused = _accept(raw(row), HELD)
    assert isinstance(refused, Refused)
    assert refused.reason == row["refusal"]


def test_a_bundle_reads_as_it_was_meant() -> None:
    assert HELD.settings.mechanisms == (Mechanism.CREDENTIAL, Mechanism.PKI_CAK)
    assert HELD.rules[0].holders == (0,)
    assert HELD.rules[1].agencies == ("G09",)
    assert not HELD.rules[2].allows
    assert HELD.calendars[1].week[0] == ((450, 690), (780, 1020))
    assert HELD.calendars[1].dates == {20260902: ()}
    assert HELD.holders[0][0].key_hash == public_key("card-9e").key_hash()


def test_a_bundle_may_know_nobody() -> None:
    nobody = replace(HELD, seq=4, rules=(), calendars={}, holders=())
    assert _accept(issue_bundle(nobody, public_key("bundle").kid(), sign_with("bundle")), HELD) == nobody
