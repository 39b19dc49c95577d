"""Keys that come and go enciphered: components of a key-encryption key, AES key wrap with padding, who may, what never.

The attacks are those of docs/attacks.md: a person who wants a key outside and alone does not get it, a key that was not
made to leave does not leave, and what comes in changed or under another name is not kept.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding, aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hsm_world import NOW_S, HsmWorld

from cardlink.gp.keys import key_check_value
from hsm_sim.components import WAIT_S, Components
from hsm_sim.core import Hsm, Peer
from hsm_sim.errors import (
    BadRequest,
    BadWrapping,
    Capped,
    Denied,
    HsmError,
    KeyExists,
    NeedsQuorum,
    NoSuchKey,
    NotExportable,
    WrongKey,
)
from hsm_sim.keys import EXPORTABLE, Key, KeyInfo, Kind, Role, Terms, Use, make_key
from hsm_sim.log import scan_log
from hsm_sim.store import TABLES
from hsm_sim.wrapping import decipher, encipher

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "keywrap" / "rfc5649.json").read_text())["cases"]
SO, USER, AUDITOR = Peer(Role.SO, 0), Peer(Role.USER, 0), Peer(Role.AUDITOR, 0)
LAN, MINH, HOA = (Peer(Role.SO, 0, name) for name in ("Lan", "Minh", "Hoa"))
FIRST, SECOND, THIRD = bytes(range(32)), bytes(range(100, 132)), b"\x5a" * 32  # made up, for tests alone
KEK = bytes(a ^ b for a, b in zip(FIRST, SECOND, strict=True))
SET = bytes(range(200, 248))
MAY_LEAVE = [0, 0, 0, EXPORTABLE]
STAYS = [0, 0, 0]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> HsmWorld:
    return HsmWorld(tmp_path_factory.mktemp("moving"))


@pytest.fixture(scope="module")
def opened(world: HsmWorld) -> Iterator[Hsm]:
    hsm = world.open()
    hsm.add_key(make_key("kek", Kind.AES_256, Use.WRAP, (), NOW_S, KEK, is_delivered=True))
    for kind, use in ((Kind.EC_P256, Use.CARD), (Kind.ED25519, Use.AUDIT), (Kind.ML_DSA_44, Use.IDENTITY)):
        generate(hsm, f"{use}-1", kind, use, MAY_LEAVE)
    generate(hsm, "master", Kind.AES_256, Use.CARD_MASTER, MAY_LEAVE)
    generate(hsm, "stays", Kind.EC_P256, Use.CARD, STAYS)
    yield hsm
    hsm.close()


@pytest.fixture
def hsm(opened: Hsm) -> Iterator[Hsm]:
    """The same HSM for each test; what it held before is all that it holds after."""
    before = opened.state.keys
    yield opened
    opened.components.forget()
    opened.change(lambda state: replace(state, keys=before))


def generate(hsm: Hsm, label: str, kind: Kind, use: Use, terms: list[Any]) -> KeyInfo:
    return KeyInfo.from_wire(hsm.call(SO, "generate", [label, str(kind), str(use), ["H49"], terms, True]))


def wrapped_of(hsm: Hsm, label: str) -> tuple[bytes, bytes]:
    wrapped, check = hsm.call(SO, "wrap_key", [label, "kek"])
    return wrapped, check


def come(hsm: Hsm, wrapped: bytes, kind: Kind, use: Use, check: bytes = b"", terms: list[Any] = STAYS) -> KeyInfo:
    args = ["kek", wrapped, "new", str(kind), str(use), ["H49"], terms, check]
    return KeyInfo.from_wire(hsm.call(SO, "unwrap_key", args))


def pkcs8(private: ec.EllipticCurvePrivateKey) -> bytes:
    return private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


# --- the cipher


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
def test_the_examples_of_the_standard_come_out(case: dict[str, str]) -> None:
    kek, key, wrapped = (bytes.fromhex(case[name]) for name in ("kek", "key", "wrapped"))
    assert encipher(kek, key) == wrapped
    assert decipher(kek, wrapped) == key
    for bit in range(8 * len(wrapped)):
        changed = (int.from_bytes(wrapped, "big") ^ 1 << bit).to_bytes(len(wrapped), "big")
        with pytest.raises(BadWrapping):
            decipher(kek, changed)


# --- components


def test_two_officers_enter_a_key_each_their_component_and_see_its_check_value(hsm: Hsm) -> None:
    assert hsm.call(LAN, "load_component", ["kek-2", 1, 2, FIRST]) == [key_check_value(FIRST), 1, b""]
    with pytest.raises(NoSuchKey):
        hsm.find_key("kek-2")
    told = hsm.call(MINH, "load_component", ["kek-2", 2, 2, SECOND])
    assert told == [key_check_value(SECOND), 2, key_check_value(KEK)]
    info = KeyInfo.from_wire(hsm.call(USER, "info", ["kek-2"]))
    assert (info.kind, info.use, info.kcv, info.is_delivered) == (Kind.AES_256, Use.WRAP, key_check_value(KEK), True)
    assert hsm.find_key("kek-2").secret == KEK
    with pytest.raises(KeyExists):
        hsm.call(LAN, "load_component", ["kek-2", 1, 2, FIRST])


def test_a_key_may_come_in_three_components_in_any_order(hsm: Hsm) -> None:
    for number, peer, value in ((3, HOA, THIRD), (1, LAN, FIRST), (2, MINH, SECOND)):
        told = hsm.call(peer, "load_component", ["kek-3", number, 3, value])
    assert hsm.find_key("kek-3").secret == bytes(a ^ b for a, b in zip(KEK, THIRD, strict=True))
    assert told[1:] == [3, key_check_value(hsm.find_key("kek-3").secret)]


def test_nobody_enters_two_components_and_a_mistyped_one_is_entered_again(hsm: Hsm) -> None:
    hsm.call(LAN, "load_component", ["kek-2", 1, 2, THIRD])
    for peer in (LAN, Peer(Role.SO, 99, "Lan")):
        with pytest.raises(Denied, match="each person enters one"):
            hsm.call(peer, "load_component", ["kek-2", 2, 2, SECOND])
    with pytest.raises(Denied, match="entered by Lan"):
        hsm.call(MINH, "load_component", ["kek-2", 1, 2, FIRST])
    assert hsm.call(LAN, "load_component", ["kek-2", 1, 2, FIRST])[1] == 1
    assert hsm.call(MINH, "load_component", ["kek-2", 2, 2, SECOND])[2] == key_check_value(KEK)


@pytest.mark.parametrize(
    ("number", "count", "value"),
    [(1, 1, FIRST), (1, 4, FIRST), (0, 2, FIRST), (3, 2, FIRST), (1, 2, FIRST[:16]), (1, 2, bytes(32)), (2, 3, SECOND)],
)
def test_what_is_no_component_is_not_taken(hsm: Hsm, number: int, count: int, value: bytes) -> None:
    hsm.call(MINH, "load_component", ["kek-2", 2, 2, SECOND])
    with pytest.raises(BadRequest):
        hsm.call(LAN, "load_component", ["kek-2", number, count, value])


def test_equal_components_make_no_key_and_the_log_has_check_values_alone(world: HsmWorld, hsm: Hsm) -> None:
    hsm.call(LAN, "load_component", ["kek-2", 1, 2, SECOND])
    with pytest.raises(BadRequest, match="cancel"):
        hsm.call(MINH, "load_component", ["kek-2", 2, 2, SECOND])
    assert "kek-2" not in hsm.state.keys
    hsm.log.flush()
    lines = world.log_path.read_text()
    assert f'"load_component","do","kek-2","1/2 {key_check_value(SECOND).hex()}"' in lines
    assert SECOND.hex() not in lines


def test_components_wait_for_an_hour_and_so_do_few_keys() -> None:
    now_s = [0.0]
    waiting = Components(lambda: now_s[0])
    assert waiting.take("kek", 1, 2, FIRST, "Lan") == (1, b"")
    now_s[0] = WAIT_S
    assert waiting.take("kek", 2, 2, SECOND, "Minh") == (1, b"")
    for number in range(7):
        waiting.take(f"kek-{number}", 1, 2, FIRST, "Lan")
    with pytest.raises(BadRequest, match="too many"):
        waiting.take("one-more", 1, 2, FIRST, "Lan")


def test_where_three_persons_are_needed_two_make_no_key(hsm: Hsm) -> None:
    before = hsm.state.settings
    hsm.change(lambda state: replace(state, settings={**before, "persons": 3}))
    try:
        with pytest.raises(Denied, match="3 persons"):
            hsm.call(LAN, "load_component", ["kek-2", 1, 2, FIRST])
        assert hsm.call(LAN, "load_component", ["kek-3", 1, 3, FIRST])[1] == 1
    finally:
        hsm.change(lambda state: replace(state, settings=before))


# --- out and in


@pytest.mark.parametrize(
    ("label", "kind", "use"),
    [
        ("card-1", Kind.EC_P256, Use.CARD),
        ("audit-1", Kind.ED25519, Use.AUDIT),
        ("identity-1", Kind.ML_DSA_44, Use.IDENTITY),
        ("master", Kind.AES_256, Use.CARD_MASTER),
    ],
)
def test_a_key_of_each_kind_goes_out_and_comes_in_the_same(hsm: Hsm, label: str, kind: Kind, use: Use) -> None:
    wrapped, check = wrapped_of(hsm, label)
    before = hsm.state.keys[label]
    assert check == (before.info.public or before.info.kcv)
    info = come(hsm, wrapped, kind, use, check)
    after = hsm.state.keys["new"]
    assert after.secret == before.secret
    assert (info.scope, info.is_delivered, info.terms) == (("H49",), True, Terms())
    with pytest.raises(NotExportable):  # what came in stays, unless it was said that it may leave again
        wrapped_of(hsm, "new")


def test_what_is_enciphered_is_what_the_standards_say(hsm: Hsm) -> None:
    plain = aes_key_unwrap_with_padding(KEK, wrapped_of(hsm, "master")[0])
    assert plain == hsm.state.keys["master"].secret
    plain = aes_key_unwrap_with_padding(KEK, wrapped_of(hsm, "card-1")[0])
    assert plain == pkcs8(ec.derive_private_key(int.from_bytes(hsm.state.keys["card-1"].secret, "big"), ec.SECP256R1()))


def test_a_card_makers_set_opens_in_one_piece_or_in_three_and_leaves_in_three(hsm: Hsm) -> None:
    parts = [SET[begin : begin + 16] for begin in (0, 16, 32)]
    pieces = b"".join(aes_key_wrap_with_padding(KEK, one) for one in parts)
    for wrapped in (aes_key_wrap_with_padding(KEK, SET), pieces):
        info = come(hsm, wrapped, Kind.SCP03_SET, Use.TRANSPORT, key_check_value(SET[:16]), MAY_LEAVE)
        assert hsm.state.keys["new"].secret == SET
        assert info.kcv == key_check_value(SET[:16])
        assert wrapped_of(hsm, "new")[0] == pieces
        hsm.change(lambda state: replace(state, keys=without(state.keys, "new")))


def without(keys: Any, label: str) -> dict[str, Key]:
    return {name: one for name, one in keys.items() if name != label}


def test_zeros_that_a_device_enciphers_after_a_key_are_no_part_of_it(hsm: Hsm) -> None:
    private = ec.derive_private_key(7, ec.SECP256R1())
    plain = pkcs8(private)
    filled = plain + bytes(-len(plain) % 8)
    come(hsm, aes_key_wrap_with_padding(KEK, filled), Kind.EC_P256, Use.CARD)
    for spoilt in (plain + bytes(8), plain + b"\1" * (-len(plain) % 8), plain + bytes(-len(plain) % 8 + 8)):
        with pytest.raises((WrongKey, KeyExists)):
            hsm.call(
                SO,
                "unwrap_key",
                ["kek", aes_key_wrap_with_padding(KEK, spoilt), "newer", "ec-p256", "card", [], STAYS, b""],
            )
    assert "newer" not in hsm.state.keys


# --- the attacks


def test_a_key_that_was_not_made_to_leave_does_not_leave(hsm: Hsm) -> None:
    with pytest.raises(NotExportable):
        wrapped_of(hsm, "stays")
    hsm.call(SO, "load_transport", ["batch", bytes(16), bytes(16), bytes(16)])
    with pytest.raises(NotExportable):
        wrapped_of(hsm, "batch")


@pytest.mark.parametrize(("kind", "use"), [(Kind.EC_P256, Use.ROOT), (Kind.AES_256, Use.WRAP)])
def test_roots_and_keys_that_encipher_never_leave_whatever_their_making_asked(hsm: Hsm, kind: Kind, use: Use) -> None:
    with pytest.raises(BadRequest, match="never leave"):
        generate(hsm, "new", kind, use, MAY_LEAVE)
    generate(hsm, "new", kind, use, STAYS)
    with pytest.raises(Denied):
        wrapped_of(hsm, "new")
    with pytest.raises(Denied):
        hsm.call(SO, "unwrap_key", ["kek", bytes(40), "newer", str(kind), str(use), [], STAYS, b""])


def test_a_key_is_enciphered_under_no_other_key_than_one_for_that(hsm: Hsm) -> None:
    for kek in ("master", "card-1", "stays"):
        with pytest.raises(Denied, match="enciphers no keys"):
            hsm.call(SO, "wrap_key", ["card-1", kek])
    hsm.call(SO, "set_state", ["kek", "suspended"])
    with pytest.raises(NoSuchKey):
        wrapped_of(hsm, "card-1")


@pytest.mark.parametrize("peer", [USER, AUDITOR], ids=["user", "auditor"])
def test_a_stolen_centre_and_an_auditor_take_no_key_out_and_bring_none_in(hsm: Hsm, peer: Peer) -> None:
    for op, args in (
        ("wrap_key", ["card-1", "kek"]),
        ("unwrap_key", ["kek", wrapped_of(hsm, "master")[0], "new", "aes-256", "card-master", [], STAYS, b""]),
        ("load_component", ["kek-2", 1, 2, FIRST]),
    ):
        with pytest.raises(Denied, match=f"{peer.role} may not"):
            hsm.call(peer, op, args)
    assert "new" not in hsm.state.keys


def test_one_officer_alone_takes_nothing_out_even_under_a_key_of_his_own(tmp_path: Path) -> None:
    """He makes an exportable key, and would encipher it under a key that he knows: each step wants another person."""
    world = HsmWorld(tmp_path)
    hsm = world.open()
    for name in ("Lan", "Minh"):
        hsm.call(SO, "add_person", [name, "so", "mat-khau-" + name])
    hsm.call(SO, "generate", ["kek", "aes-256", "wrap", [], STAYS, True])
    hsm.call(SO, "generate", ["movable", "ec-p256", "card", [], MAY_LEAVE, True])
    hsm.found(2)
    for name, args in (
        ("generate", ["own", "aes-256", "wrap", [], STAYS, True]),
        ("wrap_key", ["movable", "kek"]),
        ("unwrap_key", ["kek", bytes(40), "new", "ec-p256", "card", [], STAYS, b""]),
        ("add_person", ["Ma", "so", "mat-khau-Ma"]),
    ):
        with pytest.raises(NeedsQuorum):
            hsm.call(LAN, name, args)
    hsm.call(LAN, "load_component", ["own", 1, 2, FIRST])
    with pytest.raises(Denied, match="each person"):
        hsm.call(LAN, "load_component", ["own", 2, 2, SECOND])
    nonce, *_ = hsm.call(LAN, "propose", ["wrap_key", ["movable", "kek"]])
    with pytest.raises(NeedsQuorum):
        hsm.call(LAN, "carry_out", [nonce])
    hsm.call(MINH, "approve", [nonce, hsm.quorum.waiting()[0].digest])
    assert len(hsm.call(LAN, "carry_out", [nonce])[0]) > 100
    hsm.close()


def test_changed_at_any_bit_nothing_is_kept(hsm: Hsm) -> None:
    wrapped, _ = wrapped_of(hsm, "master")
    before = hsm.state
    for bit in range(8 * len(wrapped)):
        changed = (int.from_bytes(wrapped, "big") ^ 1 << bit).to_bytes(len(wrapped), "big")
        with pytest.raises(BadWrapping):
            come(hsm, changed, Kind.AES_256, Use.CARD_MASTER)
    for cut in (b"", wrapped[:-8], wrapped[:-1], wrapped + bytes(8), bytes(2000)):
        with pytest.raises(BadWrapping):
            come(hsm, cut, Kind.AES_256, Use.CARD_MASTER)
    assert hsm.state is before


def test_what_opens_and_is_something_else_is_not_kept(hsm: Hsm) -> None:
    other = ec.generate_private_key(ec.SECP384R1())
    cases: list[tuple[bytes, Kind, Use, type[HsmError]]] = [
        (wrapped_of(hsm, "master")[0], Kind.EC_P256, Use.CARD, WrongKey),
        (wrapped_of(hsm, "card-1")[0], Kind.AES_256, Use.CARD_MASTER, WrongKey),
        (wrapped_of(hsm, "audit-1")[0], Kind.EC_P256, Use.AUDIT, WrongKey),
        (wrapped_of(hsm, "card-1")[0], Kind.ML_DSA_44, Use.IDENTITY, WrongKey),
        (aes_key_wrap_with_padding(KEK, pkcs8(other)), Kind.EC_P256, Use.CARD, WrongKey),
        (aes_key_wrap_with_padding(KEK, bytes(range(16))), Kind.AES_256, Use.CARD_MASTER, WrongKey),
        (wrapped_of(hsm, "master")[0], Kind.SCP03_SET, Use.TRANSPORT, WrongKey),
        (aes_key_wrap_with_padding(KEK, SET[:47]), Kind.SCP03_SET, Use.TRANSPORT, WrongKey),
        (aes_key_wrap_with_padding(THIRD, SET), Kind.SCP03_SET, Use.TRANSPORT, BadWrapping),
        (wrapped_of(hsm, "master")[0], Kind.AES_256, Use.CARD, BadRequest),
    ]
    before = hsm.state
    for wrapped, kind, use, error in cases:
        with pytest.raises(error):
            come(hsm, wrapped, kind, use)
    assert hsm.state is before


def test_a_key_with_another_check_value_than_named_is_not_kept(hsm: Hsm) -> None:
    for label, kind, use in (("master", Kind.AES_256, Use.CARD_MASTER), ("card-1", Kind.EC_P256, Use.CARD)):
        wrapped, check = wrapped_of(hsm, label)
        with pytest.raises(WrongKey, match="check value"):
            come(hsm, wrapped, kind, use, bytes(len(check)))
    assert "new" not in hsm.state.keys


def test_a_label_that_is_taken_is_said_before_anybody_is_asked(hsm: Hsm) -> None:
    wrapped, _ = wrapped_of(hsm, "master")
    args = ["kek", wrapped, "stays", "aes-256", "card-master", [], STAYS, b""]
    for op, words in (("unwrap_key", args), ("propose", ["unwrap_key", args])):
        with pytest.raises(KeyExists):
            hsm.call(SO, op, words)


# --- counted, logged, remembered


def test_moves_are_counted_and_capped_by_the_key_that_enciphers_also_after_a_kill(tmp_path: Path) -> None:
    world = HsmWorld(tmp_path)
    hsm = world.open()
    generate(hsm, "kek", Kind.AES_256, Use.WRAP, STAYS)
    generate(hsm, "movable", Kind.EC_P256, Use.CARD, MAY_LEAVE)
    hsm.call(SO, "set_cap", ["kek", 0, 3])
    wrapped, _ = wrapped_of(hsm, "movable")
    come(hsm, wrapped, Kind.EC_P256, Use.CARD)
    wrapped_of(hsm, "movable")
    hsm.log.flush()
    uses = scan_log(world.log_path).uses
    assert sum(count for (label, *_), count in uses.items() if label == "kek") == 3
    with pytest.raises(Capped):
        wrapped_of(hsm, "movable")
    assert (hsm.uses_of("kek"), hsm.uses_of("movable")) == (3, 0)
    hsm.close()
    lines = world.log_path.read_text()
    assert '"wrap_key","do","kek","movable"' in lines
    assert '"unwrap_key","do","kek","new ec-p256 card"' in lines
    assert f'"generate","do","movable","ec-p256 card {EXPORTABLE}"' in lines


def test_whether_a_key_may_leave_is_kept_and_an_old_store_says_that_it_may_not(world: HsmWorld, hsm: Hsm) -> None:
    table = TABLES["keys"]
    for label in ("master", "stays", "kek"):
        key = hsm.state.keys[label]
        assert table.read(label, cbor2.loads(cbor2.dumps(table.write(key)))) == key
    row = table.write(hsm.state.keys["master"])
    *old, terms, secret, _ = row
    found = table.read("master", [*old, terms[:3], secret])
    assert (found.info.terms.is_exportable, found.info.is_delivered) == (False, False)
    for broken in ([0, 0], [0, 0, 0, "other"], [0, 0, 0, EXPORTABLE, 1], [0, 0, 0, True]):
        with pytest.raises(BadRequest):
            Terms.from_wire(broken)
