"""Who may do what, where."""

import uuid

import pytest

from issuer import policy
from issuer.errors import Forbidden
from issuer.policy import ALLOWED, EVERYWHERE, Action, Actor, Role

HOA = Actor(uuid.UUID(int=1), "hoa", ((Role.HR, "H38"), (Role.APPROVER, "G09.01")))


@pytest.mark.parametrize(
    ("prefix", "code", "covered"),
    [
        ("H49", "H49", True),
        ("H49", "H49.01.02", True),
        ("H4", "H49", False),
        ("H49.01", "H49", False),
        ("H49.0", "H49.01", False),
        (EVERYWHERE, "H49", True),
        ("H49", EVERYWHERE, False),
    ],
)
def test_a_prefix_covers_whole_levels(prefix: str, code: str, covered: bool) -> None:
    assert policy.covers(prefix, code) is covered


def test_every_role_has_its_row_and_nobody_may_do_everything() -> None:
    assert set(ALLOWED) == set(Role)
    for actions in ALLOWED.values():
        assert actions < set(Action)


def test_every_action_belongs_to_somebody() -> None:
    assert set().union(*ALLOWED.values()) == set(Action)


@pytest.mark.parametrize(
    ("asks", "decides"),
    [(Action.CARD_REQUEST, Action.CARD_APPROVE), (Action.PERSON_DECLARE, Action.PERSON_APPROVE)],
)
def test_no_role_may_both_ask_and_approve(asks: Action, decides: Action) -> None:
    assert not [role for role, actions in ALLOWED.items() if {asks, decides} <= actions]


def test_the_administrator_approves_neither_records_nor_cards() -> None:
    assert not ALLOWED[Role.ADMIN] & {Action.PERSON_APPROVE, Action.CARD_APPROVE, Action.CARD_REQUEST}


def test_an_officer_acts_within_the_own_agency_only() -> None:
    policy.require(HOA, Action.PERSON_DECLARE, "H38.02")
    with pytest.raises(Forbidden) as refused:
        policy.require(HOA, Action.PERSON_DECLARE, "H39")
    assert refused.value.code == "policy.other_agency"


def test_a_role_in_one_agency_gives_nothing_in_another() -> None:
    with pytest.raises(Forbidden):
        policy.require(HOA, Action.CARD_APPROVE, "H38")
    policy.require(HOA, Action.CARD_APPROVE, "G09.01.05")


def test_who_may_do_it_nowhere_is_told_so() -> None:
    with pytest.raises(Forbidden) as refused:
        policy.require(HOA, Action.KEYS_MANAGE, "H38")
    assert refused.value.code == "policy.no_role"
    with pytest.raises(Forbidden):
        policy.require_anywhere(HOA, Action.USERS_MANAGE)


def test_the_second_person_is_another_named_user() -> None:
    policy.require_other(HOA, uuid.UUID(int=2), "cards.own_request")
    with pytest.raises(Forbidden, match=r"cards\.own_request"):
        policy.require_other(HOA, uuid.UUID(int=1), "cards.own_request")
    with pytest.raises(Forbidden, match=r"policy\.needs_user"):
        policy.require_other(Actor(None, "local:root", ()), uuid.UUID(int=1), "cards.own_request")
