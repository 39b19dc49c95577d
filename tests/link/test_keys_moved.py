"""Keys that move as persons type it: out of the HSM simulator under a key in components, into SoftHSM, where they work.

And a card maker's transport keys, which nobody has in plain.
"""

import json
from collections.abc import Iterator

import pytest
from card_office import HOME
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from hsm_card import TRANSPORT_KEYS, TestCard
from key_drill import COMMAND_WAIT_S, OFFICERS, KeyRoom, agreeing, open_key_room
from softhsm_tokens import MODULE, ROOT_TOKEN, TOKEN, Tokens, softhsm
from typed import typed

from cardlink.gp.keys import key_check_value
from hsm_sim.client import Client
from issuer import database
from issuer.audit.tables import AuditRow
from issuer.errors import Refused
from issuer.trust.moving import MovedKey

COMPONENTS = {"Lan": bytes(range(32)), "Minh": bytes(range(100, 132))}  # made up, for tests alone
KEK = bytes(a ^ b for a, b in zip(*COMPONENTS.values(), strict=True))
CARD, MASTER = f"card-{HOME}-1", "card-master-1"


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyRoom]:
    """A key room for two, whose keys may leave (but for roots), and in which both have entered their component."""
    with open_key_room(tmp_path_factory.mktemp("moved"), persons=2, init_words=["--exportable"]) as opened:
        for number, (name, component) in enumerate(COMPONENTS.items(), 1):
            (opened.folder / f"{name}.component").write_text(component.hex() + "\n")
            with Client(opened.hsm_process.socket, name, OFFICERS[name]) as officer:
                told = officer.load_component("kek-1", number, len(COMPONENTS), component)
        assert told.key_kcv == key_check_value(KEK)
        opened.centre.ceremony.generate("stays", "ec-p256", "card", (HOME,))
        yield opened


@pytest.fixture(scope="module")
def device(room: KeyRoom) -> Iterator[Tokens]:
    """SoftHSM beside it, and the settings of an installation that has the same database and that device."""
    with softhsm(room.folder) as tokens:
        for name, pin in (("device-user", tokens.user_pin), ("device-so", tokens.officer_pin)):
            (room.folder / f"{name}.pin").write_text(pin.text + "\n")
        plain = room.config.read_text()
        lines = [line for line in plain.splitlines() if not line.startswith(("socket", "pin_file"))]
        at = lines.index("[hsm]") + 1
        lines[at:at] = [
            'kind = "pkcs11"',
            f'pkcs11_module = "{MODULE}"',
            f'pkcs11_token = "{TOKEN}"',
            f'pkcs11_root_token = "{ROOT_TOKEN}"',
            f'pin_file = "{room.folder / "device-user.pin"}"',
        ]
        (room.folder / "device.toml").write_text("\n".join(lines) + "\n")
        yield tokens


def at_device(room: KeyRoom, *words: str, code: int = 0) -> str:
    """Type a command of the installation that has the device."""
    given = ["--config", str(room.folder / "device.toml"), "--lang", "en", *words]
    given += ["--officer-pin-file", str(room.folder / "device-so.pin")]
    done = typed("issuer", given, timeout_s=COMMAND_WAIT_S)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def test_a_card_signer_and_a_card_master_move_to_a_device_and_work_there(room: KeyRoom, device: Tokens) -> None:
    for label in (CARD, MASTER):
        with agreeing(room):
            told = room.type("keys", "wrap", label, "--with", "kek-1", "--out", str(room.folder / f"{label}.key"))
        assert f"key {label} is enciphered under kek-1" in told
    files = [word for name in COMPONENTS for word in ("--component-file", str(room.folder / f"{name}.component"))]
    told = at_device(room, "keys", "load-kek", "kek-1", "--of", "2", *files)
    assert told.splitlines()[-1] == f"key kek-1 is made, check value {key_check_value(KEK).hex().upper()}"
    for label in (CARD, MASTER):
        told = at_device(room, "keys", "unwrap", str(room.folder / f"{label}.key"), "--with", "kek-1")
        check = json.loads((room.folder / f"{label}.key").read_text())["check"]
        assert told.splitlines()[-1] == f"check value {check.upper()}"
    there, here = device.everyday(), room.centre.hsm
    assert there.info(CARD) == here.info(CARD)
    assert here.verify(CARD, b"claims", there.sign(CARD, "card", b"claims"))
    for kdd in (bytes(10), bytes(range(10))):
        assert there.derive_check(MASTER, kdd, 1) == here.derive_check(MASTER, kdd, 1)
    assert (there.attest(MASTER).is_made_inside, there.attest(MASTER).is_kept) == (False, True)
    with database.reading(room.centre.factory) as session:
        told_of = {(row.action, row.subject) for row in session.query(AuditRow)}
    assert {("key.wrapped", MASTER), ("key.unwrapped", MASTER), ("key.component_entered", "kek-1")} <= told_of


def test_no_officer_takes_a_key_out_alone_and_no_key_that_was_not_made_to_leave(room: KeyRoom) -> None:
    out = room.folder / "stolen.key"
    told = room.type("keys", "wrap", "stays", "--with", "kek-1", "--out", str(out), code=1)
    assert "was not made to leave" in told
    assert not out.exists()
    listed = dict(line.split("\t", 1) for line in room.hsm_sim("Lan", "keys").splitlines())
    may_leave = {label for label, rest in listed.items() if rest.endswith("\texportable")}
    assert {CARD, MASTER} <= may_leave
    assert not may_leave & {"stays", "kek-1", "root-1", "x509-root-1"}
    assert {"stays", "kek-1", "root-1"} <= listed.keys()
    assert "hsm-sim load-component kek-9" in room.type("keys", "load-kek", "kek-9", code=1)


def test_a_file_that_was_changed_is_refused(room: KeyRoom) -> None:
    here, spoilt = room.centre.hsm.info(MASTER), room.folder / "spoilt.key"
    wrapped = bytearray(aes_key_wrap_with_padding(KEK, bytes(range(32))))
    wrapped[5] ^= 1
    moved = MovedKey("another", here.kind, here.use, here.scope, "kek-1", b"", bytes(wrapped))
    spoilt.write_text(moved.to_text())
    with agreeing(room):
        told = room.type("keys", "unwrap", str(spoilt), "--with", "kek-1", code=1)
    assert "cannot be opened with that key-encryption key" in told
    assert "another" not in {one.label for one in room.centre.hsm.keys()}  # noqa: SIM118 - a call


@pytest.mark.parametrize(
    "change", [{"form": "another"}, {"more": 1}, {"scope": [1]}, {"check": "0"}, {"wrapped": None}, {"label": 7}]
)
def test_a_file_of_another_form_is_no_moved_key(change: dict[str, object]) -> None:
    good = MovedKey("card-1", "ec-p256", "card", ("H38",), "kek-1", b"point", b"wrapped")
    assert MovedKey.from_text(good.to_text()) == good
    for text in (json.dumps({**json.loads(good.to_text()), **change}), "", "[]"):
        with pytest.raises(Refused, match="bad_moved_key"):
            MovedKey.from_text(text)


def test_a_card_makers_keys_are_loaded_as_he_enciphered_them_and_open_his_blanks(room: KeyRoom) -> None:
    parts = (TRANSPORT_KEYS.enc, TRANSPORT_KEYS.mac, TRANSPORT_KEYS.dek)
    file = room.folder / "delivery.txt"
    file.write_text(" ".join(aes_key_wrap_with_padding(KEK, one).hex().upper() for one in parts) + "\n")
    with agreeing(room):
        told = room.type("keys", "load-transport", "batch-9", "--wrapped", str(file), "--with", "kek-1")
    assert "batch-9" in told
    TestCard.blank().rotate(room.centre.hsm, "batch-9", MASTER)
