"""A signature that was admitted before is not asked about again; whatever would refuse it refuses it all the same."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hsm_world import NOW_S, HsmWorld

from hsm_sim.core import Hsm, Peer
from hsm_sim.errors import BadRequest, Capped, Denied, HsmError, NeedsQuorum, NoSuchKey
from hsm_sim.keys import Role

OFFICER, USER, OTHER = Peer(Role.SO, 0), Peer(Role.USER, 0), Peer(Role.USER, 8)


def make(hsm: Hsm, label: str = "key", use: str = "card", terms: list[int] | None = None) -> None:
    hsm.call(OFFICER, "generate", [label, "ec-p256", use, [], terms or [0, 0, 0], True])


def sign(hsm: Hsm, *args: Any, peer: Peer = USER) -> bytes:
    given = [*args, *["key", "card", b"data"][len(args) :]]
    signature: bytes = hsm.call(peer, "sign", given)
    return signature


def lines(world: HsmWorld) -> list[list[Any]]:
    text = world.log_path.read_text(encoding="utf-8").rstrip("\0")
    return [json.loads(line.split("\t")[0])["e"] for line in text.splitlines()]


@pytest.fixture
def world(tmp_path: Path) -> HsmWorld:
    return HsmWorld(tmp_path)


@pytest.fixture
def hsm(world: HsmWorld) -> Hsm:
    """An HSM that has signed for this client before."""
    hsm = world.open()
    make(hsm)
    for _ in range(3):
        sign(hsm)
    return hsm


def state(name: str) -> Callable[[Hsm], object]:
    return lambda hsm: hsm.call(OFFICER, "set_state", ["key", name])


@pytest.mark.parametrize(
    ("before", "args", "error"),
    [
        (None, ["key", "qr"], Denied),
        (None, ["key", "card", "text"], BadRequest),
        (None, ["key", "card", 7], BadRequest),
        (None, ["key", 7], BadRequest),
        (None, [["key"]], BadRequest),
        (None, ["key", "card", b"data", b"more"], BadRequest),
        (None, ["other"], NoSuchKey),
        (state("suspended"), [], NoSuchKey),
        (state("compromised"), [], NoSuchKey),
        (lambda hsm: hsm.call(OFFICER, "set_cap", ["key", 0, 3]), [], Capped),
        (lambda hsm: hsm.zeroise(), [], NoSuchKey),
    ],
)
def test_what_is_refused_once_is_refused_again(
    world: HsmWorld, hsm: Hsm, before: Callable[[Hsm], object] | None, args: list[Any], error: type[HsmError]
) -> None:
    if before is not None:
        before(hsm)
    said = {BadRequest: [], Denied: ["do", Denied.code]}.get(error, [error.code])
    for _ in range(2):
        count = hsm.log.head.count
        with pytest.raises(error):
            sign(hsm, *args)
        assert [one[2:4] for one in lines(world)[count:]] == [["sign", code] for code in said]


def test_every_signature_is_counted_for_its_client_and_has_its_line(world: HsmWorld, hsm: Hsm) -> None:
    before = len(lines(world))
    for peer in (USER, OTHER, USER, OTHER, OTHER):
        sign(hsm, peer=peer)
    assert [one[1:5] for one in lines(world)[before:]] == [[n, "sign", "do", "key"] for n in (0, 8, 0, 8, 8)]
    assert (hsm.uses_of("key"), hsm.uses_today("key")) == (8, 5)
    assert len({one[5] for one in lines(world)[before:]}) == 1  # the same data: the same half of its hash
    sign(hsm, "key", "card", b"other data")
    assert lines(world)[-1][5] != lines(world)[-2][5]


def test_a_cap_counts_what_was_signed_before_it_and_lets_the_rest(hsm: Hsm) -> None:
    hsm.call(OFFICER, "set_cap", ["key", 0, 5])
    sign(hsm)
    sign(hsm)
    for _ in range(2):
        with pytest.raises(Capped, match="5 of 5 uses today"):
            sign(hsm)
    sign(hsm, peer=OTHER)
    hsm.call(OFFICER, "set_cap", ["key", 0, 0])
    sign(hsm)


def test_a_key_that_is_used_up_is_used_up(hsm: Hsm) -> None:
    make(hsm, "few", terms=[0, 0, 3])
    for _ in range(3):
        sign(hsm, "few")
    for _ in range(2):
        with pytest.raises(Capped, match="used 3 of 3 times"):
            sign(hsm, "few")


def test_a_key_whose_time_is_over_signs_no_more(hsm: Hsm) -> None:
    make(hsm, "short", terms=[0, NOW_S + 10, 0])
    for _ in range(3):
        sign(hsm, "short")
    hsm.clock_s = lambda: NOW_S + 10.0
    with pytest.raises(NoSuchKey, match="outside its time"):
        sign(hsm, "short")
    sign(hsm)


def test_who_may_sign_is_asked_for_each_role_and_each_number_of_persons(hsm: Hsm) -> None:
    make(hsm, "root", "root")
    sign(hsm, "root", "root", peer=OFFICER)
    for _ in range(2):
        with pytest.raises(Denied):
            sign(hsm, "root", "root")
        with pytest.raises(Denied):
            sign(hsm, peer=OFFICER)
    hsm.call(OFFICER, "add_person", ["Lan", "so", "mat-khau-Lan"])
    hsm.call(OFFICER, "set_persons_needed", [2])
    for _ in range(2):
        with pytest.raises(NeedsQuorum):
            sign(hsm, "root", "root", peer=OFFICER)


def test_nothing_of_an_older_state_is_kept(hsm: Hsm) -> None:
    sign(hsm)
    assert hsm._known.calls
    hsm.call(OFFICER, "set_state", ["key", "compromised"])
    assert hsm._known.state is hsm.state
    make(hsm, "next")
    sign(hsm, "next")
    hsm.zeroise()
    assert hsm._known.state is hsm.state
    assert not hsm._known.state.keys
    assert not hsm._known.calls
