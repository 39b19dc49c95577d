"""Card sessions inside the HSM: opening, loading keys and secrets, what it refuses to say over a channel."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hsm_world import KDD, CardEnd, HsmWorld

from cardlink.gp.commands import parse_put_key
from cardlink.gp.host_channel import HostChannel
from cardlink.gp.keys import derive_card_keys, derive_card_secrets, key_check_value
from cardlink.gp.loading import make_card_pin
from cardlink.gp.scp03 import StaticKeys
from cardlink.iso7816.apdu import Command, split_chain
from hsm_sim.core import Hsm, Peer
from hsm_sim.errors import BadRequest, Denied, NoSuchKey, NotAllocated, SessionLost, WrongAnswer, WrongCryptogram
from hsm_sim.keys import Role

TRANSPORT = StaticKeys(*(bytes(range(start, start + 16)) for start in (0, 16, 32)))  # made up, for tests alone
OFFICER = Peer(Role.SO, 0)


@pytest.fixture
def hsm(tmp_path: Path) -> Any:
    opened = HsmWorld(tmp_path).open()
    opened.call(OFFICER, "generate", ["master", "aes-256", "card-master", [], [0, 0, 0], True])
    opened.call(OFFICER, "load_transport", ["batch", TRANSPORT.enc, TRANSPORT.mac, TRANSPORT.dek])
    opened.call(OFFICER, "generate", ["signer", "ec-p256", "card", [], [0, 0, 0], True])
    yield opened
    opened.close()


@pytest.fixture
def user() -> Peer:
    return Peer(Role.USER, 0)


def master_secret(hsm: Hsm) -> bytes:
    return hsm.state.keys["master"].secret


def open_with(
    hsm: Hsm,
    user: Peer,
    card: CardEnd,
    key_set: str = "transport",
    job: str = "job-1",
    level: int = 0x33,
    bits: int = 256,
) -> int:
    challenge = hsm.call(user, "random", [16 if card.option & 1 else 8])
    label = "batch" if key_set == "transport" else "master"
    answer = card.initialize_update(challenge) + b"\x90\x00"
    args = [job, key_set, label, KDD, card.kvn, challenge, answer, level, bits]
    session, authentication = hsm.call(user, "open_session", args)
    assert card.external_authenticate(authentication) == b"\x90\x00"
    assert isinstance(session, int)
    return session


@pytest.mark.parametrize("level", [0x01, 0x03, 0x11, 0x13, 0x33])
def test_a_session_opens_with_the_transport_set_and_carries_commands(hsm: Hsm, user: Peer, level: int) -> None:
    card = CardEnd(TRANSPORT)
    session = open_with(hsm, user, card, level=level)
    command = Command(0x00, 0xCB, 0x3F, 0xFF, b"\x5c\x01\x7e", 256)
    answered = card.transmit(hsm.call(user, "wrap", [session, command.encode()]), b"discovery")
    assert hsm.call(user, "unwrap", [session, answered]) == b"discovery\x90\x00"
    assert card.seen == [command]
    hsm.call(user, "close_session", [session])
    with pytest.raises(SessionLost):
        hsm.call(user, "wrap", [session, command.encode()])


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_keys_are_rotated_from_transport_to_the_cards_own_and_open_the_next_session(
    hsm: Hsm, user: Peer, bits: int
) -> None:
    card = CardEnd(TRANSPORT)
    session = open_with(hsm, user, card)
    wrapped = hsm.call(user, "put_keys", [session, "master", KDD, 0x31, 0x30, bits])
    own = derive_card_keys(master_secret(hsm), KDD, 0x31, bits)
    answer = bytes((0x31,)) + b"".join(key_check_value(one) for one in (own.enc, own.mac, own.dek))
    hsm.call(user, "check_put_keys", [session, card.transmit(wrapped, answer)])
    put_key = parse_put_key(card.seen[-1])
    assert (put_key.replace_kvn, put_key.new_kvn, put_key.first_key_id) == (0x30, 0x31, 1)
    assert StaticKeys(*(one.decrypt(TRANSPORT.dek) for one in put_key.keys)) == own
    assert hsm.call(user, "derive_check", ["master", KDD, 0x31, bits]) == [one.kcv for one in put_key.keys]

    rotated = CardEnd(own, kvn=0x31)
    session = open_with(hsm, user, rotated, key_set="card", bits=bits)
    assert hsm.call(user, "unwrap", [session, b"\x90\x00"]) == b"\x90\x00"


@pytest.mark.parametrize("state", ["deactivated", "compromised"])
def test_a_master_that_has_ended_opens_its_cards_for_the_put_key_of_another_and_for_nothing_else(
    hsm: Hsm, user: Peer, state: str
) -> None:
    hsm.call(OFFICER, "generate", ["next", "aes-256", "card-master", [], [0, 0, 0], True])
    own, following = (derive_card_keys(hsm.state.keys[one].secret, KDD, 0x01) for one in ("master", "next"))
    hsm.call(OFFICER, "set_state", ["master", state])
    session = open_with(hsm, user, CardEnd(own, kvn=0x01), key_set="card")
    read = Command(0x80, 0xCA, 0x00, 0xE0).encode()
    refused: list[tuple[str, list[Any]]] = [
        ("wrap", [session, read]),
        ("wrap_chain", [session, [read]]),
        *(("put_secret", [session, kind, "next", KDD, 0x01, None]) for kind in ("9b", "puk", "pin", "verify-pin")),
    ]
    for op, args in refused:
        with pytest.raises(Denied, match="has ended"):
            hsm.call(user, op, args)
    for op, args in (("put_keys", [session, "master", KDD, 2, 1, 256]), ("derive_check", ["master", KDD, 1, 256])):
        with pytest.raises(NoSuchKey):
            hsm.call(user, op, args)
    card = CardEnd(own, kvn=0x01)
    session = open_with(hsm, user, card, key_set="card")
    card.transmit(hsm.call(user, "put_keys", [session, "next", KDD, 0x01, 0x01, 256]))
    put_key = parse_put_key(card.seen[-1])
    assert StaticKeys(*(one.decrypt(own.dek) for one in put_key.keys)) == following


@pytest.mark.parametrize("state", ["suspended", "deactivated", "compromised"])
@pytest.mark.parametrize("key_set", ["card", "transport"])
def test_an_open_session_does_no_more_than_its_key_would_open_now(
    hsm: Hsm, user: Peer, key_set: str, state: str
) -> None:
    hsm.call(OFFICER, "generate", ["next", "aes-256", "card-master", [], [0, 0, 0], True])
    own = derive_card_keys(master_secret(hsm), KDD, 0x01)
    card = CardEnd(own, kvn=0x01) if key_set == "card" else CardEnd(TRANSPORT, kvn=0x01)
    session = open_with(hsm, user, card, key_set=key_set)
    read = Command(0x80, 0xCA, 0x00, 0xE0).encode()
    hsm.call(user, "unwrap", [session, card.transmit(hsm.call(user, "wrap", [session, read]))])
    hsm.call(OFFICER, "set_state", ["master" if key_set == "card" else "batch", state])
    put_keys: tuple[str, list[Any]] = ("put_keys", [session, "next", KDD, 2, 1, 256])
    refused: list[tuple[str, list[Any]]] = [
        ("wrap", [session, read]),
        ("wrap_chain", [session, [read]]),
        ("put_secret", [session, "9b", "next", KDD, 0x01, None]),
    ]
    is_for_other_keys = key_set == "card" and state != "suspended"
    for op, args in refused if is_for_other_keys else [*refused, put_keys]:
        with pytest.raises((Denied, NoSuchKey)):
            hsm.call(user, op, args)
    if is_for_other_keys:
        card.transmit(hsm.call(user, *put_keys))


@pytest.mark.parametrize("has_pin", [False, True])
def test_an_open_session_ends_with_its_job(hsm: Hsm, user: Peer, has_pin: bool) -> None:
    hsm.call(OFFICER, "set_pin", ["allocator", "allocator-1"])
    hsm.call(Peer(Role.ALLOCATOR, 0), "allocate", ["job-1", KDD])
    card = CardEnd(TRANSPORT)
    session = open_with(hsm, user, card)
    if has_pin:
        wrapped = hsm.call(user, "put_secret", [session, "pin", "master", KDD, 0x30, None])
        hsm.call(user, "unwrap", [session, card.transmit(wrapped)])
    hsm.call(user, "end_job", ["job-1", False])
    read = Command(0x80, 0xCA, 0x00, 0xE0).encode()
    refused: list[tuple[str, list[Any]]] = [
        ("wrap", [session, read]),
        ("wrap_chain", [session, [read]]),
        ("put_keys", [session, "master", KDD, 0x31, 0x30, 256]),
        *(("put_secret", [session, kind, "master", KDD, 0x01, None]) for kind in ("9b", "puk", "pin", "verify-pin")),
    ]
    for op, args in refused:
        with pytest.raises(NotAllocated):
            hsm.call(user, op, args)


def test_a_job_that_named_no_card_serves_the_quicker_of_two(
    hsm: Hsm, user: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hsm.call(OFFICER, "set_pin", ["allocator", "allocator-1"])
    hsm.call(Peer(Role.ALLOCATOR, 0), "allocate", ["job-1", b""])
    other, check = bytes(10), HostChannel.of_keys

    def check_slowly(*args: Any) -> HostChannel:
        hsm.change(lambda state: replace(state, jobs={"job-1": replace(state.jobs["job-1"], kdd=other)}))
        return check(*args)

    monkeypatch.setattr(HostChannel, "of_keys", check_slowly)
    with pytest.raises(Denied, match="another card"):
        open_with(hsm, user, CardEnd(TRANSPORT))
    assert hsm.state.jobs["job-1"].kdd == other
    assert not user.sessions


def test_a_transport_set_that_has_ended_opens_nothing(hsm: Hsm, user: Peer) -> None:
    hsm.call(OFFICER, "set_state", ["batch", "compromised"])
    with pytest.raises(NoSuchKey):
        open_with(hsm, user, CardEnd(TRANSPORT))


@pytest.mark.parametrize("answer", [b"", b"\x31" + bytes(9), b"\x30"])
def test_wrong_key_check_values_end_the_session(hsm: Hsm, user: Peer, answer: bytes) -> None:
    card = CardEnd(TRANSPORT)
    session = open_with(hsm, user, card)
    wrapped = hsm.call(user, "put_keys", [session, "master", KDD, 0x31, 0x30, 256])
    with pytest.raises(WrongAnswer, match="check values"):
        hsm.call(user, "check_put_keys", [session, card.transmit(wrapped, answer)])
    with pytest.raises(SessionLost):
        hsm.call(user, "wrap", [session, Command(0x80, 0xCA, 0x00, 0xE0).encode()])


def test_a_refused_put_key_is_told_with_its_status(hsm: Hsm, user: Peer) -> None:
    card = CardEnd(TRANSPORT)
    session = open_with(hsm, user, card)
    wrapped = hsm.call(user, "put_keys", [session, "master", KDD, 0x31, 0x30, 256])
    with pytest.raises(WrongAnswer, match="6A84"):
        hsm.call(user, "check_put_keys", [session, card.transmit(wrapped, b"", 0x6A84)])
    with pytest.raises(BadRequest, match="no PUT KEY"):
        hsm.call(user, "check_put_keys", [session, b"\x90\x00"])


def test_the_admin_key_and_the_puk_are_the_derived_ones(hsm: Hsm, user: Peer) -> None:
    card = CardEnd(TRANSPORT)
    session = open_with(hsm, user, card)
    secrets = derive_card_secrets(master_secret(hsm), KDD, 0x31)
    wrapped = hsm.call(user, "put_secret", [session, "9b", "master", KDD, 0x31, None])
    hsm.call(user, "unwrap", [session, card.transmit(wrapped)])
    assert card.seen[-1] == Command(0x00, 0xFF, 0xFF, 0xFF, b"\x0c\x9b\x20" + secrets.admin_key)
    wrapped = hsm.call(user, "put_secret", [session, "puk", "master", KDD, 0x31, None])
    hsm.call(user, "unwrap", [session, card.transmit(wrapped)])
    assert card.seen[-1] == Command(0x00, 0x24, 0x00, 0x81, b"12345678" + secrets.puk)
    assert secrets.puk.isdigit()


def test_the_version_in_the_derivation_is_by_default_the_newest_on_the_card(hsm: Hsm, user: Peer) -> None:
    card = CardEnd(TRANSPORT)
    session = open_with(hsm, user, card)
    wrapped = hsm.call(user, "put_keys", [session, "master", KDD, 0x31, 0x30, 256])
    checks = b"".join(hsm.call(user, "derive_check", ["master", KDD, 0x31, 256]))
    hsm.call(user, "check_put_keys", [session, card.transmit(wrapped, b"\x31" + checks)])
    card.transmit(hsm.call(user, "put_secret", [session, "puk", "master", None, None, None]))
    assert card.seen[-1].data[8:] == derive_card_secrets(master_secret(hsm), KDD, 0x31).puk


def test_a_jobs_pin_is_made_once_loaded_verified_and_revealed_once(tmp_path: Path, user: Peer) -> None:
    world = HsmWorld(tmp_path)
    hsm = world.open()
    hsm.call(OFFICER, "load_transport", ["batch", TRANSPORT.enc, TRANSPORT.mac, TRANSPORT.dek])
    loaded = []
    for _ in range(2):  # the second time after a restart, as after a torn personalisation
        card = CardEnd(TRANSPORT)
        session = open_with(hsm, user, card)
        hsm.call(user, "unwrap", [session, b"\x90\x00"])
        wrapped = hsm.call(user, "put_secret", [session, "pin", None, KDD, None, None])
        hsm.call(user, "unwrap", [session, card.transmit(wrapped)])
        loaded.append(card.seen[-1])
        wrapped = hsm.call(user, "put_secret", [session, "verify-pin", None, None, None, None])
        hsm.call(user, "unwrap", [session, card.transmit(wrapped)])
        loaded.append(card.seen[-1])
        hsm.close()
        hsm = world.open()
        user.sessions.clear()
    change, verify = loaded[0], loaded[1]
    assert loaded == [change, verify] * 2
    assert (change.ins, change.p2, change.data[:8]) == (0x24, 0x80, b"123456\xff\xff")
    assert (verify.ins, verify.p2, verify.data) == (0x20, 0x80, change.data[8:])
    pin = hsm.call(user, "reveal_pin", ["job-1"])
    assert pin.encode().ljust(8, b"\xff") == change.data[8:]
    with pytest.raises(NoSuchKey, match="job-1"):
        hsm.call(user, "reveal_pin", ["job-1"])
    hsm.close()


def test_another_factory_pin_is_taken_from_the_caller(hsm: Hsm, user: Peer) -> None:
    card = CardEnd(TRANSPORT)
    session = open_with(hsm, user, card)
    card.transmit(hsm.call(user, "put_secret", [session, "pin", None, None, None, b"000000"]))
    assert card.seen[-1].data[:8] == b"000000\xff\xff"
    with pytest.raises(BadRequest, match="8 bytes"):
        hsm.call(user, "put_secret", [session, "pin", None, None, None, b"123456789"])


@pytest.mark.parametrize("kind", ["9b", "puk", "pin", "verify-pin"])
@pytest.mark.parametrize("level", [0x01, 0x11])
def test_secrets_do_not_go_over_a_channel_without_encryption(hsm: Hsm, user: Peer, level: int, kind: str) -> None:
    session = open_with(hsm, user, CardEnd(TRANSPORT), level=level)
    with pytest.raises(Denied, match="encrypted"):
        hsm.call(user, "put_secret", [session, kind, "master" if kind in ("9b", "puk") else None, KDD, 0x31, None])


@pytest.mark.parametrize(
    "ins", [0xD8, 0x24, 0x2C, 0x20, 0xFF, 0xFA, 0xFE, 0xFB, 0xF6, 0xE4, 0xE6, 0xE8, 0xA4, 0x50, 0x82]
)
def test_a_command_that_could_load_a_secret_is_not_wrapped(hsm: Hsm, user: Peer, ins: int) -> None:
    card = CardEnd(TRANSPORT)
    session = open_with(hsm, user, card)
    for cla in (0x00, 0x10, 0x80, 0x84, 0x01):
        with pytest.raises(Denied, match="not wrapped"):
            hsm.call(user, "wrap", [session, Command(cla, ins, 0x00, 0x80, bytes(16)).encode()])
    with pytest.raises(BadRequest):
        hsm.call(user, "wrap", [session, b"\x00\xdb"])
    card.transmit(hsm.call(user, "wrap", [session, Command(0x00, 0xDB, 0x3F, 0xFF, b"x").encode()]))
    assert len(card.seen) == 1


def test_a_chain_goes_through_in_two_calls_and_stands_in_the_log(hsm: Hsm, user: Peer, tmp_path: Path) -> None:
    card = CardEnd(TRANSPORT)
    session = open_with(hsm, user, card)
    blocks = split_chain(Command(0x00, 0xDB, 0x3F, 0xFF, bytes(500)), 223)
    wrapped = hsm.call(user, "wrap_chain", [session, [one.encode() for one in blocks]])
    assert hsm.call(user, "unwrap_chain", [session, [card.transmit(one) for one in wrapped]]) == [b"\x90\x00"] * 3
    assert '"wrap_chain","do","job-1","3 00db3fff"' in (tmp_path / "store.log").read_text()


@pytest.mark.parametrize("ins", [0x24, 0xD8, 0xFE])
def test_one_block_that_could_load_a_secret_refuses_the_whole_chain(hsm: Hsm, user: Peer, ins: int) -> None:
    card = CardEnd(TRANSPORT)
    session = open_with(hsm, user, card)
    good = Command(0x10, 0xDB, 0x3F, 0xFF, b"x").encode()
    with pytest.raises(Denied, match=f"{ins:02X}"):
        hsm.call(user, "wrap_chain", [session, [good, Command(0x00, ins, 0x3F, 0xFF, b"x").encode()]])
    one = Command(0x00, 0xDB, 0x3F, 0xFF, b"x")
    assert hsm.call(user, "unwrap", [session, card.transmit(hsm.call(user, "wrap", [session, one.encode()]))])


@pytest.mark.parametrize("given", [[], ["text"], [b"\x00\xdb\x3f\xff"] * 257])
def test_a_chain_is_a_bounded_list_of_byte_strings(hsm: Hsm, user: Peer, given: list[Any]) -> None:
    session = open_with(hsm, user, CardEnd(TRANSPORT))
    for operation in ("wrap_chain", "unwrap_chain"):
        with pytest.raises(BadRequest, match="byte strings"):
            hsm.call(user, operation, [session, given])


def test_the_key_set_that_is_not_alive_is_a_wrong_cryptogram(hsm: Hsm, user: Peer) -> None:
    own = derive_card_keys(master_secret(hsm), KDD, 0x31)
    with pytest.raises(WrongCryptogram):
        open_with(hsm, user, CardEnd(own, kvn=0x31), key_set="transport")
    with pytest.raises(WrongCryptogram):
        open_with(hsm, user, CardEnd(TRANSPORT), key_set="card")
    assert not user.sessions


def test_a_job_belongs_to_one_card(hsm: Hsm, user: Peer) -> None:
    card = CardEnd(TRANSPORT)
    session = open_with(hsm, user, card)
    hsm.call(
        user, "unwrap", [session, card.transmit(hsm.call(user, "put_secret", [session, "pin", None, None, None, None]))]
    )
    challenge, other = bytes(8), bytes(10)
    answer = CardEnd(TRANSPORT, kdd=other).initialize_update(challenge)
    with pytest.raises(Denied, match="another card"):
        hsm.call(user, "open_session", ["job-1", "transport", "batch", other, 0x30, challenge, answer, 0x33, 256])


def test_a_request_about_another_card_than_the_sessions_is_refused(hsm: Hsm, user: Peer) -> None:
    session = open_with(hsm, user, CardEnd(TRANSPORT))
    with pytest.raises(BadRequest, match="another card"):
        hsm.call(user, "put_keys", [session, "master", bytes(10), 0x31, 0x30, 256])
    with pytest.raises(BadRequest, match="another card"):
        hsm.call(user, "put_secret", [session, "9b", "master", bytes(10), 0x31, None])


@pytest.mark.parametrize(
    ("key_set", "label", "kdd", "kvn", "error"),
    [
        ("transport", "master", KDD, 0x30, BadRequest),
        ("card", "batch", KDD, 0x30, BadRequest),
        ("both", "batch", KDD, 0x30, BadRequest),
        ("transport", "signer", KDD, 0x30, Denied),
        ("transport", "none", KDD, 0x30, NoSuchKey),
        ("transport", "batch", bytes(10), 0x30, BadRequest),
        ("transport", "batch", KDD, 0x31, BadRequest),
    ],
)
def test_a_session_opens_only_as_named(
    hsm: Hsm, user: Peer, key_set: str, label: str, kdd: bytes, kvn: int, error: type[Exception]
) -> None:
    answer = CardEnd(TRANSPORT).initialize_update(bytes(8))
    with pytest.raises(error):
        hsm.call(user, "open_session", ["job", key_set, label, kdd, kvn, bytes(8), answer, 0x33, 256])


@pytest.mark.parametrize(
    ("new_kvn", "replace_kvn", "bits"), [(0, 0x30, 256), (0x80, 0x30, 256), (1, 0x80, 256), (1, 0, 100)]
)
def test_put_keys_of_a_version_that_does_not_exist_are_refused(
    hsm: Hsm, user: Peer, new_kvn: int, replace_kvn: int, bits: int
) -> None:
    session = open_with(hsm, user, CardEnd(TRANSPORT))
    with pytest.raises(BadRequest):
        hsm.call(user, "put_keys", [session, "master", KDD, new_kvn, replace_kvn, bits])
    with pytest.raises(Denied):
        hsm.call(user, "put_keys", [session, "batch", KDD, 0x31, 0x30, 256])
    with pytest.raises(NoSuchKey):
        hsm.call(user, "put_secret", [session, "9b", None, KDD, 0x31, None])
    with pytest.raises(BadRequest, match="no secret"):
        hsm.call(user, "put_secret", [session, "everything", None, KDD, 0x31, None])
    with pytest.raises(NoSuchKey, match="no PIN"):
        hsm.call(user, "put_secret", [session, "verify-pin", None, KDD, 0x31, None])


def test_sessions_belong_to_their_connection_and_are_not_endless(hsm: Hsm, user: Peer) -> None:
    session = open_with(hsm, user, CardEnd(TRANSPORT))
    with pytest.raises(SessionLost):
        hsm.call(Peer(Role.USER, 0), "wrap", [session, Command(0x80, 0xCA, 0x00, 0xE0).encode()])
    for _ in range(31):
        open_with(hsm, user, CardEnd(TRANSPORT))
    with pytest.raises(Denied, match="32 sessions"):
        open_with(hsm, user, CardEnd(TRANSPORT))
    user.sessions[session].channel.close()
    open_with(hsm, user, CardEnd(TRANSPORT))


def test_a_card_pin_has_six_digits_and_is_none_of_the_first_guesses() -> None:
    drawn = iter([n.to_bytes(16, "big") for n in (123456, 0, 999999, 987654, 42)])
    assert make_card_pin(lambda _: next(drawn)) == b"000042"
    assert all(len(make_card_pin(os.urandom)) == 6 for _ in range(50))


def test_many_cards_are_derived_in_one_request(hsm: Hsm, user: Peer) -> None:
    cards = [number.to_bytes(10, "big") for number in range(5)]
    told = hsm.call(user, "derive_checks", ["master", cards, 3, 256])
    assert told == [b"".join(hsm.call(user, "derive_check", ["master", kdd, 3, 256])) for kdd in cards]
    keys = derive_card_keys(master_secret(hsm), cards[4], 3)
    assert told[4] == b"".join(key_check_value(one) for one in (keys.enc, keys.mac, keys.dek))
    for wrong in ([*cards, 1], [b"short"], [KDD] * 4097):
        with pytest.raises(BadRequest):
            hsm.call(user, "derive_checks", ["master", wrong, 3, 256])
