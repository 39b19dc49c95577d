"""The trust list (F8)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from statement_vectors import at, load, public_key, raw, read_key, rows, sign_with, trust_of

from cardlink.errors import Malformed
from cardlink.statements.refusal import Reason, Refused
from cardlink.statements.trust import (
    OtherKey,
    Roots,
    Trust,
    accept_trust_list,
    encode_trust_list,
    issue_trust_list,
    reload_trust_list,
)

FILE = load("trust")
NOW = at(FILE)
ROOTS = Roots(FILE["threshold"], tuple(read_key(key) for key in FILE["roots"]))


def _held() -> Trust:
    return trust_of({"trust": FILE["held"], "now": FILE["now"]})


@rows("trust", "good")
def test_a_list_is_accepted_on_the_one_held(row: dict[str, str]) -> None:
    accepted = accept_trust_list(raw(row), _held(), NOW)
    assert isinstance(accepted, Trust)
    assert accepted.raw == raw(row)
    assert reload_trust_list(raw(row)) == accepted
    assert accepted.content.number >= 7


@rows("trust", "bad")
def test_a_list_is_refused_for_its_reason(row: dict[str, str]) -> None:
    if row["refusal"] == "malformed":
        with pytest.raises(Malformed, match=row["why"]):
            accept_trust_list(raw(row), _held(), NOW)
        return
    refused = accept_trust_list(raw(row), _held(), NOW)
    assert isinstance(refused, Refused)
    assert refused.reason == row["refusal"]


def test_a_door_starts_from_its_pinned_roots() -> None:
    assert isinstance(accept_trust_list(bytes.fromhex(FILE["held"]), ROOTS, NOW), Trust)
    others = Roots(1, (public_key("clone"),))
    refused = accept_trust_list(bytes.fromhex(FILE["held"]), others, NOW)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.THRESHOLD_NOT_MET


def test_what_is_issued_is_what_is_read() -> None:
    held = _held()
    signers = [(public_key(root).kid(), sign_with(root)) for root in ("root-1", "root-3")]
    following = replace(held.content, number=8)
    accepted = accept_trust_list(issue_trust_list(following, signers), held, NOW)
    assert isinstance(accepted, Trust)
    assert accepted.content == following
    assert encode_trust_list(held.content) == encode_trust_list(replace(following, number=7))


def test_a_list_that_no_door_would_read_is_not_issued() -> None:
    held = _held().content
    with pytest.raises(Malformed, match="30 days"):
        issue_trust_list(replace(held, expires_s=held.issued_s + 31 * 86_400), [])


def test_a_key_of_a_later_algorithm_does_not_spoil_the_list() -> None:
    signers = [one for one in _held().signers.values() if isinstance(one.entry.key, OtherKey)]
    assert len(signers) == 1
    assert signers[0].public_key is None


def test_roots_are_replaced_step_by_step() -> None:
    """2 of {1, 2, 3} → 2 of {1, 2, 4} → 2 of {1, 4, 5}: a door at the first takes the third only over the second."""
    held = _held()

    def following(roots: tuple[str, ...], number: int, signers: tuple[str, ...]) -> bytes:
        content = replace(held.content, number=number, roots=Roots(2, tuple(public_key(one) for one in roots)))
        return issue_trust_list(content, [(public_key(one).kid(), sign_with(one)) for one in signers])

    second = following(("root-1", "root-2", "root-4"), 8, ("root-1", "root-2"))
    third = following(("root-1", "root-4", "root-5"), 9, ("root-1", "root-4"))
    jumped = accept_trust_list(third, held, NOW)
    assert isinstance(jumped, Refused)
    assert jumped.reason is Reason.THRESHOLD_NOT_MET
    stepped: Any = accept_trust_list(second, held, NOW)
    stepped = accept_trust_list(third, stepped, NOW)
    assert isinstance(stepped, Trust)
    rolled_back = accept_trust_list(second, stepped, NOW)
    assert isinstance(rolled_back, Refused)


def test_an_old_stored_list_is_read_back_and_trusts_nobody_later() -> None:
    stored = reload_trust_list(bytes.fromhex(FILE["held"]))
    assert isinstance(stored, Trust)
    refused = accept_trust_list(bytes.fromhex(FILE["held"]), stored, NOW + timedelta(days=20))
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.EXPIRED


def test_a_stored_list_whose_signature_broke_is_refused() -> None:
    broken = bytes.fromhex(FILE["held"])
    refused = reload_trust_list(broken[:-1] + bytes((broken[-1] ^ 1,)))
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.FORGED_STATEMENT
