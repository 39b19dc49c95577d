"""The carrier over a real pcscd and the virtual reader: one SELECT, both faces, a pulled card, an exclusive session."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from card_slot import ROOT, ServedCard, served_card

from cardlink.errors import LinkLost
from cardlink.piv import commands
from cardlink.transport.connection import Connection, Counted, command
from cardlink.transport.pcsc import Reader, reader_names
from demo.pcscd import VirtualReader

SERIAL = "00010203040506070809"
TRANSPORT = "404142434445464748494a4b4c4d4e4f 505152535455565758595a5b5c5d5e5f 606162636465666768696a6b6c6d6e6f"


@pytest.fixture(scope="module")
def blank(virtual: VirtualReader, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedCard]:
    folder = tmp_path_factory.mktemp("card")
    (folder / "keys").write_text(TRANSPORT)
    image = folder / "c.card"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "cardos",
            "blank",
            "--image",
            str(image),
            "--serial",
            SERIAL,
            "--transport-keys-file",
            str(folder / "keys"),
        ],
        check=True,
    )
    with served_card(virtual, image) as card:
        yield card


def select_until_lost(connection: Connection) -> None:
    """The removal reaches pcscd a moment after the card is out."""
    for _ in range(500):
        command(connection, commands.select())


def test_both_slots_of_the_virtual_reader_are_listed(virtual: VirtualReader) -> None:
    assert len([name for name in reader_names() if name.startswith("Virtual PCD")]) == 2


def test_pcscd_ends_with_a_run_that_is_killed() -> None:
    script = (
        "from demo.pcscd import virtual_reader\nwith virtual_reader() as r: print(r.pid, r.socket, flush=True); input()"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert run.stdout is not None
    pid, socket = run.stdout.readline().split()
    pcscd = Path("/proc", pid)
    assert pcscd.exists()
    run.kill()
    run.communicate()
    deadline = time.monotonic() + 5
    while pcscd.exists():
        assert time.monotonic() < deadline, "pcscd outlived the run"
        time.sleep(0.02)
    shutil.rmtree(Path(socket).parent.parent)  # a killed run sweeps nothing


@pytest.mark.parametrize("interface", ["contact", "contactless"])
def test_a_blank_card_answers_select_on_either_face(blank: ServedCard, interface: str) -> None:
    name = blank.insert(interface)
    with Reader(name) as reader:
        assert reader.wait_for_card(5)
        with reader.connect() as connection, connection.transaction():
            counted = Counted(connection)
            answer = command(counted, commands.select())
    assert answer[:1] == b"\x61"
    assert counted.exchanges == 1


def test_a_pulled_card_is_a_lost_link_and_the_next_one_is_found(blank: ServedCard) -> None:
    name = blank.insert("contact")
    with Reader(name) as reader:
        assert reader.wait_for_card(5)
        with reader.connect() as connection:
            command(connection, commands.select())
            blank.tell("remove")
            with pytest.raises(LinkLost):
                select_until_lost(connection)
        assert reader.wait_for_removal(5)
        blank.tell("insert contact")
        assert reader.wait_for_card(5)
        with reader.connect() as connection:
            assert command(connection, commands.select())


def test_no_other_program_talks_to_the_card_inside_a_transaction(blank: ServedCard) -> None:
    name = blank.insert("contact")
    foreign = ["opensc-tool", "-r", name, "-s", "00:A4:04:00:05:A0:00:00:03:08"]
    with Reader(name) as reader:
        assert reader.wait_for_card(5)
        with reader.connect() as connection:
            with connection.transaction():
                command(connection, commands.select())
                other = subprocess.Popen(foreign, env=blank.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                with pytest.raises(subprocess.TimeoutExpired):
                    other.wait(1.0)
                command(connection, commands.select())
            # The transaction is over: the other program gets its turn.
            output, _ = other.communicate(timeout=10)
    assert b"SW1=0x90, SW2=0x00" in output
