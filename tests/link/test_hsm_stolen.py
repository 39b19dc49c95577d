"""A stolen issuing process: it has the everyday PIN and nothing else. Jobs, caps and roles are what hold it."""

import os
import secrets
import subprocess
from collections.abc import Iterator

import pytest
from card_office import ENCODER as OFFICE
from card_office import HOME, TRANSPORT_LABEL, VERIFY_URL, Blank
from key_drill import COMMAND_WAIT_S, KeyRoom, open_key_room, right_now

from cardlink.gp.commands import initialize_update
from cardlink.transport.connection import command
from hsm_sim.client import Capped, Client, Denied, Role
from issuer import database
from issuer.cards import lifecycle, queries
from issuer.trust.port import HsmError
from issuer.trust.sim import Allocator

ALLOCATOR_PIN = "allo-123"
C_ALL = 0x33
CAP = 3


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyRoom]:
    with open_key_room(tmp_path_factory.mktemp("room"), allocator_pin=ALLOCATOR_PIN) as opened:
        (opened.folder / "allocator.pin").write_text(ALLOCATOR_PIN + "\n")
        opened.type(*("users", "add", "cap.the", "--name", "Vàng Đức Sơn", "--role", "card_office@*"), officer=None)
        yield opened


@pytest.fixture
def thief(room: KeyRoom) -> Iterator[Client]:
    """Somebody in the issuing process, with its connection to the HSM."""
    with room.hsm_process.client(Role.USER) as client:
        yield client


def open_session(client: Client, job: str, blank: Blank) -> int:
    """Ask for a channel to a blank card, as the issuing process does."""
    challenge = secrets.token_bytes(8)
    answer = command(blank.connect(), initialize_update(0, challenge))
    kdd = bytes.fromhex(blank.serial)
    return client.open_session(job, "transport", TRANSPORT_LABEL, kdd, 0, challenge, answer, C_ALL).session


def allocate(room: KeyRoom, request: object, serial: str) -> str:
    """`issuer cards allocate`, in a process that has the allocator's PIN."""
    argv = room.argv("cards", "allocate", str(request), "--serial", serial, officer=None)
    more = {"THEMO_HSM_ALLOCATOR_PIN_FILE": str(room.folder / "allocator.pin")}
    done = subprocess.run(
        argv,
        env={**os.environ, "THEMO_AS": "cap.the", **more},
        capture_output=True,
        text=True,
        timeout=COMMAND_WAIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_opens_no_channel_for_a_job_that_nobody_allocated(room: KeyRoom, thief: Client) -> None:
    blank = room.centre.blank()
    with pytest.raises(Denied, match="was not allocated"):
        open_session(thief, "a job of its own", blank)


def test_it_allocates_no_job_for_itself(thief: Client) -> None:
    with pytest.raises(Denied):
        thief.allocate("a-job-of-its-own")


def test_the_console_allocates_the_job_and_the_issuing_process_encodes_that_card(room: KeyRoom) -> None:
    blank = room.centre.blank()
    request = room.centre.approved()
    card_uuid = allocate(room, request.id, blank.serial)
    with database.reading(room.centre.factory) as session:
        card = queries.named(session, OFFICE, card_uuid)
    room.centre.encode(card.id, blank.connect())
    assert room.centre.card(card.id).state == "encoded"


def test_an_allocated_job_serves_for_one_card(room: KeyRoom, thief: Client) -> None:
    first, second = room.centre.blank(), room.centre.blank()
    with Client(room.hsm_process.socket, Role.ALLOCATOR, ALLOCATOR_PIN) as allocator:
        Allocator(allocator).allocate("one-job")
        Allocator(allocator).allocate("one-job")
    assert open_session(thief, "one-job", first)
    with pytest.raises(Denied, match="belongs to another card"):
        open_session(thief, "one-job", second)


def test_a_card_made_without_the_allocator_is_not_encoded(room: KeyRoom) -> None:
    blank = room.centre.blank()
    request = room.centre.approved()
    with database.transaction(room.centre.factory) as session:
        made = lifecycle.allocate(session, room.centre.hsm, OFFICE, request.id, blank.serial, VERIFY_URL, right_now())
    with pytest.raises(HsmError) as refused:
        room.centre.encode(made.id, blank.connect())
    assert refused.value.code == "hsm.denied"


def test_the_allocator_signs_nothing_and_opens_no_channel(room: KeyRoom) -> None:
    with Client(room.hsm_process.socket, Role.ALLOCATOR, ALLOCATOR_PIN) as allocator:
        with pytest.raises(Denied):
            allocator.sign(f"card-{HOME}-1", "card", b"a card of my own")
        with pytest.raises(Denied):
            open_session(allocator, "one-job", room.centre.blank())


def test_it_signs_no_more_than_the_cap_of_the_day_also_after_the_hsm_was_killed(room: KeyRoom) -> None:
    label = f"qr-{HOME}-1"
    used = used_today(room, label)
    room.hsm_sim("Lan", "cap", "--per-day", str(used + CAP), label)
    with room.hsm_process.client(Role.USER) as thief:
        for number in range(CAP - 1):
            thief.sign(label, "qr", bytes([number]))
    room.hsm_process.kill()
    room.hsm_process.start()
    with room.hsm_process.client(Role.USER) as thief:
        thief.sign(label, "qr", b"the last one")
        with pytest.raises(Capped):
            thief.sign(label, "qr", b"one too many")
        with pytest.raises(Capped):
            thief.sign_many(label, "qr", [b"one", b"two"])


def used_today(room: KeyRoom, label: str) -> int:
    """How often this key was used so far."""
    with room.hsm_process.client(Role.USER) as client:
        return client.info(label).uses


def test_it_makes_no_key_and_signs_no_list(thief: Client) -> None:
    with pytest.raises(Denied):
        thief.generate("card-H38-9", "ec-p256", "card", (HOME,))
    with pytest.raises(Denied):
        thief.sign("root-1", "root", b"a list of my own")
    with pytest.raises(Denied):
        thief.set_state(f"card-{HOME}-1", "compromised")
