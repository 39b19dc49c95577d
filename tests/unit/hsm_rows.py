"""Every operation of the HSM, and how it is asked for; for tests that go through all of them."""

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hsm_world import KDD, CardEnd

from cardlink.gp.keys import derive_card_keys, key_check_value
from cardlink.gp.scp03 import StaticKeys
from cardlink.iso7816.apdu import Command
from hsm_sim.core import Hsm, Peer
from hsm_sim.errors import KeyExists
from hsm_sim.keys import Role
from hsm_sim.policy import Op
from hsm_sim.wrapping import wrap

TRANSPORT = StaticKeys(*(bytes(range(start, start + 16)) for start in (0, 16, 32)))  # made up, for tests alone
SO, LAN, MINH = Peer(Role.SO, 0), Peer(Role.SO, 0, "Lan"), Peer(Role.SO, 0, "Minh")
COMMAND = Command(0x00, 0xCB, 0x3F, 0xFF, b"\x5c\x01\x7e", 256).encode()
DATA, DIGEST = b"data", hashlib.sha256(b"data").digest()


@dataclass
class Scene:
    """What an operation needs that lives in the process alone: a session with a card, a proposal."""

    hsm: Hsm
    peer: Peer
    session: int = 0
    card: CardEnd | None = None
    said: bytes = b""
    nonce: bytes = b""
    digest: bytes = b""


Prepare = Callable[[Scene], None]


def with_session(scene: Scene) -> None:
    scene.card = CardEnd(TRANSPORT)
    args = opening(scene)
    scene.session, authentication = scene.hsm.call(scene.peer, "open_session", args)
    scene.card.external_authenticate(authentication)
    scene.hsm.call(scene.peer, "unwrap", [scene.session, b"\x90\x00"])


def opening(scene: Scene) -> list[Any]:
    scene.card = CardEnd(TRANSPORT)
    challenge = bytes(8)
    answer = scene.card.initialize_update(challenge) + b"\x90\x00"
    return ["job-1", "transport", "batch", KDD, scene.card.kvn, challenge, answer, 0x33, 256]


def with_answer(scene: Scene) -> None:
    with_session(scene)
    assert scene.card
    scene.said = scene.card.transmit(scene.hsm.call(scene.peer, "wrap", [scene.session, COMMAND]), b"yes")


def with_put_keys(scene: Scene) -> None:
    with_session(scene)
    wrapped = scene.hsm.call(scene.peer, "put_keys", [scene.session, "master", KDD, 0x31, 0x30, 256])
    own = derive_card_keys(scene.hsm.state.keys["master"].secret, KDD, 0x31, 256)
    checks = b"".join(key_check_value(one) for one in (own.enc, own.mac, own.dek))
    assert scene.card
    scene.said = scene.card.transmit(wrapped, b"\x31" + checks)


def proposal(op: str, args: Sequence[Any], *, is_agreed: bool = True) -> Prepare:
    def prepare(scene: Scene) -> None:
        scene.nonce, _, _, scene.digest, *_ = scene.hsm.call(LAN, "propose", [op, list(args)])
        if is_agreed:
            scene.hsm.call(MINH, "approve", [scene.nonce, scene.digest])

    return prepare


def with_component(scene: Scene) -> None:
    with contextlib.suppress(KeyExists):
        scene.hsm.call(LAN, "load_component", ["kek-2", 1, 2, bytes(31) + b"\1"])


def with_wrapped(scene: Scene) -> None:
    keys = scene.hsm.state.keys
    wrapped = wrap(keys["kek"].secret, keys["movable"])
    with contextlib.suppress(KeyExists):  # once it is there it cannot be proposed again, so nothing is carried out
        proposal("unwrap_key", ["kek", wrapped, "moved", "ec-p256", "card", [], [0, 0, 0], b""])(scene)


@dataclass(frozen=True)
class Row:
    """How an operation is asked for. `changes`: it changes the store; `again`: how one that was done is refused."""

    peer: Peer
    args: Callable[[Scene], list[Any]]
    prepare: Prepare = lambda scene: None
    changes: bool = False
    again: str = ""
    agreed: str = ""
    """What is carried out, where the operation that crosses the socket is `carry_out`."""


USER, AUDITOR, ALLOCATOR = Peer(Role.USER, 0), Peer(Role.AUDITOR, 0), Peer(Role.ALLOCATOR, 0)


def reads(peer: Peer, *args: Any) -> Row:
    return Row(peer, lambda scene: list(args))


def changes(peer: Peer, *args: Any, again: str = "") -> Row:
    return Row(peer, lambda scene: list(args), changes=True, again=again)


def by_two(op: str, *args: Any, again: str = "", changes: bool = True) -> Row:
    """What takes two persons is carried out after both have agreed."""
    return Row(LAN, lambda scene: [scene.nonce], proposal(op, args), changes=changes, again=again, agreed=op)


def on_card(make: Callable[[Scene], list[Any]], prepare: Prepare = with_session, changes: bool = False) -> Row:
    return Row(USER, make, prepare, changes)


ROWS: dict[str, Row] = {
    Op.STATUS: reads(USER),
    Op.KEYS: reads(USER, "", 10),
    Op.INFO: reads(USER, "signer"),
    Op.GENERATE: changes(SO, "new", "ec-p256", "card", ["H49"], [0, 0, 0], True, again="key-exists"),
    Op.LOAD_TRANSPORT: changes(SO, "batch-2", bytes(16), bytes(16), bytes(16), again="key-exists"),
    Op.LOAD_COMPONENT: Row(
        MINH, lambda scene: ["kek-2", 2, 2, b"\1" * 32], with_component, changes=True, again="key-exists"
    ),
    Op.WRAP_KEY: by_two("wrap_key", "movable", "kek", changes=False),
    Op.UNWRAP_KEY: Row(
        LAN, lambda scene: [scene.nonce], with_wrapped, changes=True, again="denied", agreed="unwrap_key"
    ),
    Op.SET_STATE: changes(SO, "signer", "suspended", again="bad-request"),
    Op.DESTROY: by_two("destroy", "old", again="bad-request"),
    Op.SET_CAP: by_two("set_cap", "signer", 0, 1000),
    Op.CAPS: reads(USER),
    Op.SET_PIN: by_two("set_pin", "user", "another-pin"),
    Op.ADD_PERSON: by_two("add_person", "Hoa", "so", "mat-khau-hoa", again="bad-request"),
    Op.REMOVE_PERSON: by_two("remove_person", "so", again="bad-request"),
    Op.PERSONS: reads(AUDITOR),
    Op.SET_PERSONS_NEEDED: by_two("set_persons_needed", 1),
    Op.PROPOSE: reads(LAN, "destroy", ["old"]),
    Op.PROPOSALS: reads(AUDITOR),
    Op.APPROVE: Row(
        MINH, lambda scene: [scene.nonce, scene.digest], proposal("set_cap", ["signer", 0, 0], is_agreed=False)
    ),
    Op.CARRY_OUT: by_two("sign", "root-1", "root", DATA, changes=False),
    Op.ALLOCATE: changes(ALLOCATOR, "job-9", KDD),
    Op.ALLOW_PIN: changes(ALLOCATOR, "job-told"),
    Op.END_JOB: changes(USER, "job-told", False),
    Op.SIGN: reads(USER, "signer", "card", DATA),
    Op.SIGN_MANY: reads(USER, "signer", "card", [DATA, DATA]),
    Op.SIGN_DIGEST: reads(USER, "ca", "ca", DIGEST),
    Op.RANDOM: reads(USER, 8),
    Op.DERIVE_CHECK: reads(USER, "master", KDD, 1, 256),
    Op.DERIVE_CHECKS: reads(USER, "master", [KDD], 1, 256),
    Op.OPEN_SESSION: Row(USER, opening, changes=True),
    Op.WRAP: on_card(lambda scene: [scene.session, COMMAND]),
    Op.UNWRAP: on_card(lambda scene: [scene.session, scene.said], with_answer),
    Op.WRAP_CHAIN: on_card(lambda scene: [scene.session, [COMMAND]]),
    Op.UNWRAP_CHAIN: on_card(lambda scene: [scene.session, [scene.said]], with_answer),
    Op.PUT_KEYS: on_card(lambda scene: [scene.session, "master", KDD, 0x31, 0x30, 256]),
    Op.CHECK_PUT_KEYS: on_card(lambda scene: [scene.session, scene.said], with_put_keys),
    Op.PUT_SECRET: on_card(lambda scene: [scene.session, "pin", None, KDD, None, None], changes=True),
    Op.CLOSE_SESSION: on_card(lambda scene: [scene.session]),
    Op.REVEAL_PIN: changes(USER, "job-told", again="no-such-key"),
    Op.LOG_HEAD: reads(AUDITOR),
    Op.ROTATE_LOG_KEY: by_two("rotate_log_key", None),
}
