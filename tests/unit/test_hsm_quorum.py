"""What takes several persons: proposed, approved by its hash, carried out once, by whoever proposed it."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from hsm_world import HsmWorld

from hsm_sim.core import Hsm, Peer
from hsm_sim.errors import BadRequest, Denied, HsmError, NeedsQuorum, PinLocked, WrongPin
from hsm_sim.keys import KeyState, Kind, Role, Use, make_key
from hsm_sim.quorum import PROPOSAL_S, PROPOSALS_MAX, Quorum, operation_hash

SO = Peer(Role.SO, 0)
LAN, MINH = Peer(Role.SO, 0, "Lan"), Peer(Role.SO, 0, "Minh")
USER, AUDITOR = Peer(Role.USER, 0), Peer(Role.AUDITOR, 0)
ROOT = ["root-1", "ec-p256", "root", [], [0, 0, 0], True]


@pytest.fixture
def hsm(tmp_path: Path) -> Any:
    opened = HsmWorld(tmp_path).open()
    opened.call(SO, "generate", ROOT)
    opened.call(SO, "generate", ["key", "ec-p256", "card", [], [0, 0, 0], True])
    opened.call(SO, "generate", ["movable", "ec-p256", "card", [], [0, 0, 0, "exportable"], True])
    opened.add_key(make_key("kek", Kind.AES_256, Use.WRAP, (), 0, KEK))
    for person in (LAN, MINH):
        opened.call(SO, "add_person", [person.name, "so", "mat-khau-" + person.name])
    opened.call(SO, "set_persons_needed", [2])
    yield opened
    opened.close()


def proposed(hsm: Hsm, op: str, args: list[Any], peer: Peer = LAN) -> tuple[bytes, bytes]:
    nonce, _, _, digest, _, persons, needed = hsm.call(peer, "propose", [op, args])
    assert (persons, needed) == ([peer.name], 2)
    return nonce, digest


def agreed(hsm: Hsm, op: str, args: list[Any]) -> Any:
    nonce, digest = proposed(hsm, op, args)
    hsm.call(MINH, "approve", [nonce, digest])
    return hsm.call(LAN, "carry_out", [nonce])


KEK = bytes(range(32))  # made up, for tests alone
WRAPPED = aes_key_wrap_with_padding(KEK, bytes(range(32, 64)))
SEVERAL: list[tuple[str, list[Any]]] = [
    ("sign", ["root-1", "root", b"trust list"]),
    ("sign_many", ["root-1", "root", [b"trust list"]]),
    ("generate", ["root-2", *ROOT[1:]]),
    ("destroy", ["key"]),
    ("set_cap", ["key", 0, 0]),
    ("set_pin", ["user", "mat-khau-moi"]),
    ("add_person", ["Hoa", "so", "mat-khau-Hoa"]),
    ("remove_person", ["Minh"]),
    ("set_persons_needed", [1]),
    ("generate", ["kek-2", "aes-256", "wrap", [], [0, 0, 0], True]),
    ("wrap_key", ["movable", "kek"]),
    ("unwrap_key", ["kek", WRAPPED, "moved", "aes-256", "card-master", [], [0, 0, 0], b""]),
]


@pytest.mark.parametrize(("op", "args"), SEVERAL)
def test_one_person_alone_does_none_of_it(hsm: Hsm, op: str, args: list[Any]) -> None:
    with pytest.raises(NeedsQuorum, match="2 persons"):
        hsm.call(LAN, op, args)
    nonce, _ = proposed(hsm, op, args)
    with pytest.raises(NeedsQuorum, match="1 of 2"):
        hsm.call(LAN, "carry_out", [nonce])


@pytest.mark.parametrize(("op", "args"), [one for one in SEVERAL if one[0] != "destroy"])
def test_two_persons_do_it(hsm: Hsm, op: str, args: list[Any]) -> None:
    agreed(hsm, op, args)


def test_two_persons_destroy_a_key_that_is_out_of_use(hsm: Hsm) -> None:
    hsm.call(LAN, "set_state", ["key", "compromised"])  # one is enough to stop a key
    agreed(hsm, "destroy", ["key"])
    assert hsm.state.keys["key"].info.state is KeyState.DESTROYED


def test_the_same_person_is_not_two(hsm: Hsm) -> None:
    nonce, digest = proposed(hsm, "destroy", ["key"])
    with pytest.raises(Denied, match="already"):
        hsm.call(LAN, "approve", [nonce, digest])
    with pytest.raises(Denied, match="already"):
        hsm.call(Peer(Role.SO, 99, "Lan"), "approve", [nonce, digest])


def test_what_is_approved_is_what_was_shown(hsm: Hsm) -> None:
    nonce, _ = proposed(hsm, "set_cap", ["key", 0, 1_000_000])
    with pytest.raises(Denied, match="not what was proposed"):
        hsm.call(MINH, "approve", [nonce, operation_hash("set_cap", ["key", 0, 10])])
    with pytest.raises(NeedsQuorum):
        hsm.call(LAN, "carry_out", [nonce])


def test_a_proposal_serves_once_and_only_who_made_it(hsm: Hsm) -> None:
    nonce, digest = proposed(hsm, "set_cap", ["key", 0, 5])
    hsm.call(MINH, "approve", [nonce, digest])
    with pytest.raises(Denied, match="carries out"):
        hsm.call(MINH, "carry_out", [nonce])
    hsm.call(LAN, "carry_out", [nonce])
    for peer in (LAN, MINH):
        with pytest.raises(Denied, match="no such proposal"):
            hsm.call(peer, "carry_out", [nonce])


def test_an_approval_does_not_outlive_its_hour() -> None:
    now_s = [1000.0]
    quorum = Quorum(lambda size: bytes(size), lambda: now_s[0])
    made = quorum.propose("Lan", "destroy", ["key"])
    quorum.approve("Minh", made.nonce, made.digest)
    now_s[0] += PROPOSAL_S
    with pytest.raises(Denied, match="time is over"):
        quorum.take("Lan", made.nonce, 2)
    assert quorum.waiting() == []


def test_proposals_are_bounded() -> None:
    numbers = iter(range(1000))
    quorum = Quorum(lambda size: next(numbers).to_bytes(size, "big"), lambda: 0.0)
    for number in range(PROPOSALS_MAX):
        quorum.propose("Lan", "destroy", [str(number)])
    with pytest.raises(BadRequest, match="waiting"):
        quorum.propose("Lan", "destroy", ["one more"])


@pytest.mark.parametrize(
    ("op", "args", "error"),
    [
        ("sign", ["key", "card", b"data"], Denied),
        ("status", [], BadRequest),
        ("set_state", ["key", "suspended"], BadRequest),
        ("carry_out", [b"x"], BadRequest),
        ("propose", ["destroy", ["key"]], BadRequest),
        ("destroy", [], BadRequest),
        ("destroy", ["nobody"], HsmError),
        ("nothing", [], BadRequest),
    ],
)
def test_only_what_takes_several_is_proposed(hsm: Hsm, op: str, args: list[Any], error: type[HsmError]) -> None:
    with pytest.raises(error):
        hsm.call(LAN, "propose", [op, args])


@pytest.mark.parametrize("peer", [USER, AUDITOR, Peer(Role.ALLOCATOR, 0)])
def test_no_other_role_proposes_or_approves(hsm: Hsm, peer: Peer) -> None:
    nonce, digest = proposed(hsm, "destroy", ["key"])
    for name, args in (("propose", ["destroy", ["key"]]), ("approve", [nonce, digest]), ("carry_out", [nonce])):
        with pytest.raises(Denied):
            hsm.call(peer, name, args)


def test_a_proposed_pin_is_shown_to_nobody_and_in_no_log(hsm: Hsm, tmp_path: Path) -> None:
    proposed(hsm, "add_person", ["Hoa", "so", "mat-khau-Hoa"])
    proposed(hsm, "set_pin", ["user", "mat-khau-moi"])
    told = repr(hsm.call(AUDITOR, "proposals", []))
    assert "Hoa" in told
    for secret in ("mat-khau-Hoa", "mat-khau-moi"):
        assert secret not in told
        assert secret.encode() not in (tmp_path / "store.log").read_bytes()


def test_persons_come_log_in_and_go(hsm: Hsm) -> None:
    assert hsm.login("Lan", "mat-khau-Lan", 5).client == "Lan/5"
    agreed(hsm, "add_person", ["Hoa", "auditor", "mat-khau-Hoa"])
    assert hsm.login("Hoa", "mat-khau-Hoa", 5).role is Role.AUDITOR
    for _ in range(10):
        with pytest.raises(WrongPin):
            hsm.login("Hoa", "falsch", 5)
    with pytest.raises(PinLocked):
        hsm.login("Hoa", "mat-khau-Hoa", 5)
    agreed(hsm, "set_pin", ["Hoa", "mat-khau-moi"])
    assert hsm.login("Hoa", "mat-khau-moi", 5).role is Role.AUDITOR
    agreed(hsm, "remove_person", ["Hoa"])
    with pytest.raises(Denied):
        hsm.login("Hoa", "mat-khau-moi", 5)
    assert [row[0] for row in hsm.call(AUDITOR, "persons", [])] == ["so", "user", "auditor", "Lan", "Minh"]


@pytest.mark.parametrize("name", ["", "a", "x" * 33, "a/b", "a\nb", "Lan"])
def test_a_name_is_short_printable_and_new(hsm: Hsm, name: str) -> None:
    with pytest.raises(BadRequest):
        agreed(hsm, "add_person", [name, "so", "mat-khau-moi"])


def test_a_quorum_can_always_meet(hsm: Hsm) -> None:
    with pytest.raises(BadRequest, match="1 to 3"):
        agreed(hsm, "set_persons_needed", [4])
    agreed(hsm, "set_persons_needed", [3])
    nonce, digest = hsm.call(LAN, "propose", ["remove_person", ["so"]])[0:4:3]
    for peer in (MINH, SO):
        hsm.call(peer, "approve", [nonce, digest])
    with pytest.raises(Denied, match="too few"):
        hsm.call(LAN, "carry_out", [nonce])
