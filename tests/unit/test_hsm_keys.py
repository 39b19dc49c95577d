"""Keys, roles and uses, PINs and the sealed store, in one process."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hsm_world import PINS, SECRET, HsmWorld

from hsm_sim import policy
from hsm_sim.core import Hsm, Peer
from hsm_sim.errors import (
    BadRequest,
    Denied,
    HsmError,
    KeyExists,
    PinLocked,
    StoreSealed,
    WrongPin,
)
from hsm_sim.keys import SIGNING_USES, KeyInfo, Kind, Role, Use
from hsm_sim.ops import SPECS
from hsm_sim.policy import Op
from hsm_sim.store import read_state

AES_SET = [bytes(range(start, start + 16)) for start in (0, 16, 32)]


@pytest.fixture
def world(tmp_path: Path) -> HsmWorld:
    return HsmWorld(tmp_path)


@pytest.fixture
def hsm(world: HsmWorld) -> Any:
    opened = world.open()
    yield opened
    opened.close()


def generate(hsm: Hsm, label: str, use: Use, kind: Kind = Kind.EC_P256) -> KeyInfo:
    args = [label, str(kind), str(use), ["H49"], [0, 0, 0], True]
    return KeyInfo.from_wire(hsm.call(Peer(Role.SO, 0), "generate", args))


def verify_es256(public: bytes, signature: bytes, data: bytes) -> None:
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    key.verify(der, data, ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize("use", sorted(SIGNING_USES))
def test_a_key_signs_for_its_use_and_for_no_other(hsm: Hsm, use: Use) -> None:
    info = generate(hsm, "key", use)
    peer = Peer(Role.SO if use is Use.ROOT else Role.USER, 0)
    assert info.public
    for data in (b"", b"claims"):
        verify_es256(info.public, hsm.call(peer, "sign", ["key", str(use), data]), data)
    with pytest.raises(InvalidSignature):
        verify_es256(info.public, hsm.call(peer, "sign", ["key", str(use), b"a"]), b"b")
    batch = [bytes((n,)) for n in range(9)]
    for data, signature in zip(batch, hsm.call(peer, "sign_many", ["key", str(use), batch]), strict=True):
        verify_es256(info.public, signature, data)
    for other in set(Use) - {use}:
        with pytest.raises(Denied, match="is for"):
            hsm.call(peer, "sign", ["key", str(other), b"claims"])


def test_an_identity_key_may_be_ml_dsa_44(world: HsmWorld) -> None:
    hsm = world.open()
    info = generate(hsm, "identity", Use.IDENTITY, Kind.ML_DSA_44)
    assert info.public
    public = mldsa.MLDSA44PublicKey.from_public_bytes(info.public)
    for data in (b"", b"claims"):
        public.verify(hsm.call(Peer(Role.USER, 0), "sign", ["identity", "identity", data]), data)
    batch = [bytes((n,)) for n in range(3)]
    for data, made in zip(
        batch, hsm.call(Peer(Role.USER, 0), "sign_many", ["identity", "identity", batch]), strict=True
    ):
        public.verify(made, data)
    hsm.close()
    hsm = world.open()
    public.verify(hsm.call(Peer(Role.USER, 0), "sign", ["identity", "identity", b"later"]), b"later")
    with pytest.raises(BadRequest, match="no key of kind"):
        generate(hsm, "card", Use.CARD, Kind.ML_DSA_44)
    hsm.close()


def test_an_audit_key_may_be_ed25519(hsm: Hsm) -> None:
    info = generate(hsm, "audit", Use.AUDIT, Kind.ED25519)
    assert info.public
    signature = hsm.call(Peer(Role.USER, 0), "sign", ["audit", "audit", b"checkpoint"])
    ed25519.Ed25519PublicKey.from_public_bytes(info.public).verify(signature, b"checkpoint")


@pytest.mark.parametrize(
    ("kind", "use"),
    [
        ("aes-256", "card"),
        ("ec-p256", "card-master"),
        ("ed25519", "card"),
        ("rsa", "card"),
        ("ec-p256", "door"),
        ("scp03-set", "transport"),
        ("ec-p256", "everything"),
    ],
)
def test_a_kind_that_does_not_fit_its_use_is_refused(hsm: Hsm, kind: str, use: str) -> None:
    with pytest.raises((BadRequest, Denied)):
        hsm.call(Peer(Role.SO, 0), "generate", ["key", kind, use, [], [0, 0, 0], True])


@pytest.mark.parametrize("label", ["", "x" * 65, "a\nb"])
def test_a_label_must_be_short_and_printable(hsm: Hsm, label: str) -> None:
    with pytest.raises(BadRequest, match="label"):
        hsm.call(Peer(Role.SO, 0), "generate", [label, "ec-p256", "card", [], [0, 0, 0], True])


def test_a_label_is_given_once(hsm: Hsm) -> None:
    generate(hsm, "key", Use.CARD)
    with pytest.raises(KeyExists):
        generate(hsm, "key", Use.QR)


def test_master_and_transport_keys_do_not_sign(hsm: Hsm) -> None:
    generate(hsm, "master", Use.CARD_MASTER, Kind.AES_256)
    hsm.call(Peer(Role.SO, 0), "load_transport", ["batch", *AES_SET])
    for label, use in (("master", "card-master"), ("batch", "transport")):
        with pytest.raises(Denied):
            hsm.call(Peer(Role.USER, 0), "sign", [label, use, b"data"])


def test_nothing_that_is_told_of_a_key_holds_its_secret(hsm: Hsm) -> None:
    generate(hsm, "key", Use.CARD)
    generate(hsm, "master", Use.CARD_MASTER, Kind.AES_256)
    hsm.call(Peer(Role.SO, 0), "load_transport", ["batch", *AES_SET])
    told = repr(hsm.call(Peer(Role.USER, 0), "keys", ["", 100])) + repr(hsm.state)
    for key in hsm.state.keys.values():
        assert key.secret.hex() not in told
        assert repr(key.secret) not in told


OFFICERS_ALONE = {
    *(Op.SET_STATE, Op.DESTROY, Op.SET_CAP, Op.SET_PIN, Op.ADD_PERSON, Op.REMOVE_PERSON, Op.SET_PERSONS_NEEDED),
    *(Op.PROPOSE, Op.APPROVE, Op.CARRY_OUT, Op.ROTATE_LOG_KEY),
    *(Op.LOAD_COMPONENT, Op.WRAP_KEY, Op.UNWRAP_KEY),
}
MAY = {
    (Role.SO, Op.GENERATE),
    (Role.SO, Op.LOAD_TRANSPORT),
    *((Role.SO, op) for op in OFFICERS_ALONE),
    (Role.SO, Op.SIGN),
    (Role.SO, Op.SIGN_MANY),
    (Role.SO, Op.RANDOM),
    (Role.SO, Op.LOG_HEAD),
    (Role.SO, Op.DERIVE_CHECK),
    (Role.SO, Op.DERIVE_CHECKS),
    (Role.ALLOCATOR, Op.ALLOCATE),
    (Role.ALLOCATOR, Op.ALLOW_PIN),
    *((Role.AUDITOR, op) for op in (Op.LOG_HEAD, Op.CAPS, Op.PERSONS, Op.PROPOSALS)),
    *((Role.SO, op) for op in (Op.CAPS, Op.PERSONS, Op.PROPOSALS)),
    *(
        (Role.USER, op)
        for op in set(Op)
        - {Op.GENERATE, Op.LOAD_TRANSPORT, Op.LOG_HEAD, Op.ALLOCATE, Op.ALLOW_PIN, Op.PERSONS, Op.PROPOSALS}
        - OFFICERS_ALONE
    ),
    *((role, op) for role in Role for op in (Op.STATUS, Op.KEYS, Op.INFO)),
}


@pytest.mark.parametrize("op", list(Op))
@pytest.mark.parametrize("role", list(Role))
def test_a_role_may_do_what_the_table_says_and_nothing_else(role: Role, op: Op) -> None:
    allowed = [use for use in (None, *Use) if use in policy.ALLOWED[op].get(role, ())]
    assert bool(allowed) == ((role, op) in MAY)
    for use in (None, *Use):
        if use in allowed:
            policy.check(role, op, use)
        else:
            with pytest.raises(Denied):
                policy.check(role, op, use)


def test_root_keys_sign_for_the_security_officer_alone(hsm: Hsm) -> None:
    generate(hsm, "root", Use.ROOT)
    with pytest.raises(Denied, match="user may not"):
        hsm.call(Peer(Role.USER, 0), "sign", ["root", "root", b"trust"])
    generate(hsm, "card", Use.CARD)
    with pytest.raises(Denied, match="so may not"):
        hsm.call(Peer(Role.SO, 0), "sign", ["card", "card", b"claims"])


def test_every_operation_has_a_row_in_both_tables() -> None:
    assert set(SPECS) == set(policy.ALLOWED) == set(Op)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("sign", ["k", "card"]),
        ("sign", ["k", "card", "text"]),
        ("sign", [1, "card", b""]),
        ("nothing", []),
        (7, []),
        (None, []),
        ("random", [True]),
        ("random", [0]),
        ("random", [4097]),
        ("random", [1 << 64]),
        ("unwrap", [10**5000, b""]),
        ("sign_many", ["k", "card", [b"", 1]]),
        ("sign_many", ["k", "card", [b""] * 4097]),
        ("generate", ["x", "ec-p256", "card", [1], [0, 0, 0], True]),
        ("generate", ["x", "ec-p256", "card", [], [0, 0], True]),
        ("generate", ["x", "ec-p256", "card", [], [2, 1, 0], True]),
        ("generate", ["x", "ec-p256", "card", [], [0, 0, -1], True]),
        ("generate", ["x", "ec-p256", "card", []]),
    ],
)
def test_a_request_of_another_form_is_refused(hsm: Hsm, name: Any, args: list[Any]) -> None:
    generate(hsm, "k", Use.CARD)
    with pytest.raises((BadRequest, Denied)):
        hsm.call(Peer(Role.USER, 0), name, args)
    with pytest.raises((BadRequest, Denied)):
        hsm.call(Peer(Role.SO, 0), name, args)


def test_ten_wrong_pins_lock_a_role_across_restarts(world: HsmWorld) -> None:
    hsm = world.open()
    for left in range(9, 4, -1):
        with pytest.raises(WrongPin, match=f"{left} tries"):
            hsm.login("user", "wrong-pin", 0)
    hsm.close()
    hsm = world.open()
    for left in range(4, -1, -1):
        with pytest.raises(WrongPin, match=f"{left} tries"):
            hsm.login("user", "wrong-pin", 0)
    for pin in ("wrong-pin", PINS[Role.USER]):
        with pytest.raises(PinLocked):
            hsm.login("user", pin, 0)
    officer = world.login(hsm, Role.SO)
    hsm.call(officer, "set_pin", ["user", "another-pin"])
    assert hsm.login("user", "another-pin", 0).role is Role.USER
    hsm.close()


def test_the_right_pin_starts_the_count_anew(world: HsmWorld, hsm: Hsm) -> None:
    for _ in range(2):
        for _ in range(6):
            with pytest.raises(WrongPin):
                hsm.login("user", "wrong-pin", 0)
        world.login(hsm, Role.USER)


def test_the_count_of_tries_is_on_disk_before_the_pin_is_compared(
    world: HsmWorld, hsm: Hsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCut(Exception):
        pass

    def cut(*_: object) -> bool:
        raise PowerCut

    monkeypatch.setattr("hsm_sim.core.is_pin", cut)
    with pytest.raises(PowerCut):
        hsm.login("user", "wrong-pin", 0)
    assert read_state(world.store_path, SECRET).pins[Role.USER].tries == 1


@pytest.mark.parametrize(("role", "pin"), [("root", "so-12345"), ("", ""), ("SO", "so-12345")])
def test_an_unknown_role_is_refused(hsm: Hsm, role: str, pin: str) -> None:
    with pytest.raises(Denied, match="no role"):
        hsm.login(role, pin, 0)


@pytest.mark.parametrize("pin", ["", "12345", "x" * 65])
def test_a_new_pin_must_have_a_decent_length(hsm: Hsm, pin: str) -> None:
    with pytest.raises(BadRequest, match="PIN"):
        hsm.call(Peer(Role.SO, 0), "set_pin", ["user", pin])


def test_keys_are_the_same_after_a_restart(world: HsmWorld) -> None:
    hsm = world.open()
    info = generate(hsm, "key", Use.CARD)
    generate(hsm, "master", Use.CARD_MASTER, Kind.AES_256)
    before = hsm.call(Peer(Role.USER, 0), "keys", ["", 100])
    hsm.close()
    hsm = world.open()
    assert hsm.call(Peer(Role.USER, 0), "keys", ["", 100]) == before
    assert info.public
    verify_es256(info.public, hsm.call(Peer(Role.USER, 0), "sign", ["key", "card", b"x"]), b"x")
    hsm.close()


def test_a_copied_store_opens_with_its_secret_alone(world: HsmWorld) -> None:
    hsm = world.open()
    generate(hsm, "key", Use.CARD)
    secret = hsm.state.keys["key"].secret
    hsm.close()
    raw = world.store_path.read_bytes()
    assert secret not in raw
    assert b"key" not in raw
    for wrong in (bytes(32), SECRET[:31], SECRET[:-1] + b"\0"):
        with pytest.raises(StoreSealed):
            read_state(world.store_path, wrong)


@pytest.mark.parametrize("at", [0, 10, 30, 40, -1])
def test_a_changed_store_does_not_open(world: HsmWorld, at: int) -> None:
    world.open().close()
    raw = bytearray(world.store_path.read_bytes())
    raw[at] ^= 1
    world.store_path.write_bytes(raw)
    with pytest.raises(StoreSealed):
        world.open()


@pytest.mark.parametrize("size", [0, 7, 30, 100])
def test_a_shortened_store_does_not_open(world: HsmWorld, size: int) -> None:
    world.open().close()
    world.store_path.write_bytes(world.store_path.read_bytes()[:size])
    with pytest.raises(StoreSealed):
        world.open()


def test_an_old_copy_of_the_store_is_noticed(world: HsmWorld) -> None:
    hsm = world.open()
    hsm.close()
    old = world.store_path.read_bytes()
    hsm = world.open()
    with pytest.raises(WrongPin):
        hsm.login("user", "wrong-pin", 0)
    hsm.close()
    world.store_path.write_bytes(old)
    with pytest.raises(StoreSealed, match="old copy"):
        world.open()


def test_two_processes_do_not_share_a_store(world: HsmWorld, hsm: Hsm) -> None:
    code = (
        "import sys, pathlib, os; from hsm_sim.store import Store; from hsm_sim.errors import StoreSealed\n"
        "try: Store(pathlib.Path(sys.argv[1]), bytes(range(32)), os.urandom)\n"
        "except StoreSealed as error: sys.exit(str(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, world.store_path], capture_output=True, text=True, check=False)
    assert "another process" in done.stderr


def test_a_store_that_cannot_be_written_changes_nothing(
    world: HsmWorld, hsm: Hsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("hsm_sim.store.os.pwrite", lambda file, data, at: os.write(file, data[:9]))
        with pytest.raises(StoreSealed, match="cannot be written"):
            generate(hsm, "key", Use.CARD)
    assert "key" not in hsm.state.keys
    generate(hsm, "key", Use.CARD)
    assert "key" in read_state(world.store_path, SECRET).keys


def test_a_state_is_read_back_as_it_was_written(world: HsmWorld, hsm: Hsm) -> None:
    generate(hsm, "key", Use.CARD)
    state = read_state(world.store_path, SECRET)
    assert replace(state, keys={}) == replace(hsm.state, keys={})
    assert [one.info for one in state.keys.values()] == [one.info for one in hsm.state.keys.values()]


def test_files_are_for_their_owner_only(world: HsmWorld, hsm: Hsm) -> None:
    for path in (world.store_path, world.log_path):
        assert path.stat().st_mode & 0o777 == 0o600


def test_every_error_has_a_code_of_its_own() -> None:
    from hsm_sim.errors import ERRORS, error_from_wire

    assert len(ERRORS) == len(HsmError.__subclasses__())
    for code, kind in ERRORS.items():
        assert type(error_from_wire(code, "x")) is kind
