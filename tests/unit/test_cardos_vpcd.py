"""The card's end of vpcd against the reader's end of it, written here: framing, power, insertion, leaving."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cardlink.iso7816.atr import CARD_ATR
from cardlink.piv import commands as piv
from cardlink.piv.tables import Interface
from cardos import faults
from cardos.card import Card
from cardos.control import Quit, obey, run_control
from cardos.factory import make_blank
from cardos.store import MemoryStore
from cardos.vpcd import Slots

SERIAL = bytes.fromhex("0001000200C0FFEE0001")
TRANSPORT = (bytes(16), bytes(16), bytes(16))  # made up for these tests
CONTACT, CONTACTLESS = Interface.CONTACT, Interface.CONTACTLESS
APT = bytes.fromhex("61164F0BA00000030800001000010079074F05A0000003089000")


class Reader:
    """vpcd's side of one slot: it listens, sends length and body in two sends, and asks for the ATR."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._server.settimeout(5)
        self._link: socket.socket | None = None

    def accept(self) -> "Reader":
        self._link, _ = self._server.accept()
        self._link.settimeout(5)
        return self

    def send(self, body: bytes) -> None:
        assert self._link is not None
        self._link.sendall(len(body).to_bytes(2, "big"))
        self._link.sendall(body)

    def receive(self) -> bytes:
        return self._exactly(int.from_bytes(self._exactly(2), "big"))

    def ask(self, body: bytes) -> bytes:
        self.send(body)
        return self.receive()

    def is_empty(self) -> bool:
        """Has the card gone."""
        assert self._link is not None
        return not self._link.recv(1)

    def drop(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def close(self) -> None:
        self.drop()
        self._server.close()

    def _exactly(self, size: int) -> bytes:
        assert self._link is not None
        got = b""
        while len(got) < size:
            part = self._link.recv(size - len(got))
            assert part, "the card left"
            got += part
        return got


@contextmanager
def two_slots() -> Iterator[tuple[Reader, Reader, dict[Interface, int]]]:
    contact, contactless = Reader(), Reader()
    try:
        yield contact, contactless, {CONTACT: contact.port, CONTACTLESS: contactless.port}
    finally:
        contact.close()
        contactless.close()


def blank() -> Card:
    return Card(MemoryStore(make_blank(SERIAL, TRANSPORT)))


@contextmanager
def inserted(slots: Slots, interface: Interface, reader: Reader) -> Iterator[Reader]:
    assert slots.insert(interface)
    try:
        yield reader.accept()
    finally:
        slots.remove()


def test_the_card_tells_its_atr_and_answers_apdus() -> None:
    with two_slots() as (contact, _, ports), inserted(Slots(blank(), ports), CONTACT, contact) as reader:
        reader.send(b"\x01")
        assert reader.ask(b"\x04") == CARD_ATR
        assert reader.ask(piv.SELECT_PIV_APDU) == APT
        assert reader.ask(bytes.fromhex("00FD000000")) == bytes.fromhex("0507009000")


@pytest.mark.parametrize("control", [b"\x00", b"\x01", b"\x02"])
def test_power_and_reset_forget_the_security_status_without_an_answer(control: bytes) -> None:
    with two_slots() as (contact, _, ports), inserted(Slots(blank(), ports), CONTACT, contact) as reader:
        reader.ask(piv.SELECT_PIV_APDU)
        assert reader.ask(piv.verify(b"123456\xff\xff").encode()) == b"\x90\x00"
        reader.send(control)
        reader.ask(piv.SELECT_PIV_APDU)
        assert reader.ask(piv.verify(b"").encode()) == b"\x63\xc5"


def test_an_extended_apdu_passes() -> None:
    with two_slots() as (contact, _, ports), inserted(Slots(blank(), ports), CONTACT, contact) as reader:
        assert reader.ask(bytes.fromhex("00870000") + b"\x00\xfd\xe8" + bytes(65_000)) == b"\x6d\x00"


def test_one_card_moves_between_the_two_slots_of_a_reader() -> None:
    with two_slots() as (contact, contactless, ports):
        slots = Slots(blank(), ports)
        assert slots.inserted is None
        with inserted(slots, CONTACT, contact) as reader:
            assert slots.inserted is CONTACT
            reader.ask(piv.SELECT_PIV_APDU)
            assert reader.ask(piv.verify(b"").encode()) == b"\x63\xc5"
            assert slots.insert(CONTACTLESS)
            assert contact.is_empty()
            contactless.accept()
            contactless.ask(piv.SELECT_PIV_APDU)
            assert contactless.ask(piv.verify(b"").encode()) == b"\x69\x82"
            assert slots.inserted is CONTACTLESS
        assert contactless.is_empty()
        assert slots.inserted is None


def test_the_card_comes_back_when_the_reader_restarts() -> None:
    with two_slots() as (contact, _, ports), inserted(Slots(blank(), ports), CONTACT, contact) as reader:
        reader.drop()
        reader.accept()
        assert reader.ask(piv.SELECT_PIV_APDU) == APT


def test_a_reader_that_is_not_there_yet_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    slots = Slots(blank(), {CONTACT: port})
    assert not slots.insert(CONTACT, wait_s=0.05)
    slots.remove()


def test_a_mute_card_leaves_the_slot() -> None:
    with two_slots() as (contact, _, ports):
        slots = Slots(faults.mute(blank(), after=1), ports)
        with inserted(slots, CONTACT, contact) as reader:
            assert reader.ask(b"\x04") == CARD_ATR
            assert reader.ask(piv.SELECT_PIV_APDU) == APT
            reader.send(piv.SELECT_PIV_APDU)
            assert reader.is_empty()
            deadline = time.monotonic() + 5
            while slots.inserted is not None and time.monotonic() < deadline:
                time.sleep(0.001)
            assert slots.inserted is None


# --- the lines that move it -----------------------------------------------------------------------------------------


def test_lines_move_the_card() -> None:
    with two_slots() as (contact, contactless, ports):
        slots = Slots(blank(), ports)
        assert obey("status", slots) == "ok removed"
        assert obey("insert contact", slots) == "ok contact"
        contact.accept()
        assert obey("insert contactless\n", slots) == "ok contactless"
        contactless.accept()
        assert obey("status", slots) == "ok contactless"
        assert obey("remove", slots) == "ok removed"
        assert obey("jump", slots).startswith("error want: insert contact")
        with pytest.raises(Quit):
            obey("quit", slots)


def test_inserting_twice_does_not_disturb_the_session() -> None:
    with two_slots() as (contact, _, ports):
        slots = Slots(blank(), ports)
        with inserted(slots, CONTACT, contact) as reader:
            reader.ask(piv.SELECT_PIV_APDU)
            assert reader.ask(piv.verify(b"123456\xff\xff").encode()) == b"\x90\x00"
            assert slots.insert(CONTACT)
            assert reader.ask(piv.verify(b"").encode()) == b"\x90\x00"


def test_a_socket_left_by_a_killed_process_is_taken_over_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        with pytest.raises(OSError, match="in use"):
            run_control(str(path), lambda line: "ok", lambda line: None)
    thread = threading.Thread(
        target=run_control, args=(str(path), lambda line: obey(line, Slots(blank(), {})), lambda line: None)
    )
    thread.start()
    with socket.socket(socket.AF_UNIX) as client:
        while True:
            try:
                client.connect(str(path))
                break
            except OSError:
                time.sleep(0.001)
        client.sendall(b"quit\n")
    thread.join(5)
    assert not thread.is_alive()


def test_a_unix_socket_takes_the_same_lines_from_the_own_user_only(tmp_path: Path) -> None:
    path = tmp_path / "control"
    slots = Slots(blank(), {})
    thread = threading.Thread(target=run_control, args=(str(path), lambda line: obey(line, slots), lambda line: None))
    thread.start()
    while not path.exists():
        pass
    for lines, answer in ((b"status\n\n", b"ok removed\n"), (b"status\nquit\n", b"ok removed\n")):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))  # a socket that is there is listened to
            assert path.stat().st_mode & 0o777 == 0o600
            client.sendall(lines)
            client.shutdown(socket.SHUT_WR)
            with client.makefile("rb") as got:
                assert got.read() == answer
    thread.join(5)
    assert not thread.is_alive()
    assert list(tmp_path.iterdir()) == []


def test_the_installed_command_serves_a_card_and_ends_with_its_input(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "cardos"]
    keys = tmp_path / "transport"
    keys.write_text(" ".join(["00" * 16] * 3), encoding="ascii")
    image = tmp_path / "a.card"
    blank_command = ["blank", "--image", str(image), "--serial", SERIAL.hex(), "--transport-keys-file", str(keys)]
    subprocess.run([*run, *blank_command], check=True, capture_output=True)
    with two_slots() as (contact, contactless, ports):
        serve = ["serve", "--image", str(image), "--control", "-", "--port", str(ports[CONTACT])]
        process = subprocess.Popen(
            [*run, *serve, "--contactless-port", str(ports[CONTACTLESS])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        with process:
            contact.accept()
            assert contact.ask(piv.SELECT_PIV_APDU) == APT
            assert process.stdout is not None
            assert process.stdin is not None
            assert process.stdout.readline() == b"inserted contact\n"
            process.stdin.write(b"insert contactless\n")
            process.stdin.flush()
            contactless.accept()
            assert process.stdout.readline() == b"ok contactless\n"
            process.stdin.close()
            assert process.wait(5) == 0
