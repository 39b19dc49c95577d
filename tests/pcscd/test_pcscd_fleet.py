"""A fleet behind a real pcscd: cards in and out by `cardos insert`, `remove` and `list`, read along by `trace live`."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cardlink.piv import commands
from cardlink.piv.yubico import decode_serial, get_serial
from cardlink.transport.connection import command
from cardlink.transport.pcsc import Reader
from demo.pcscd import CONTACT_READER, CONTACTLESS_READER, VirtualReader

ROOT = Path(__file__).resolve().parent.parent.parent
CARDOS = [sys.executable, "-m", "cardos"]
READY_S, SEEN_S = 20.0, 5.0


def cardos(*words: str) -> str:
    """Run one command in Vietnamese and give what it said."""
    environ = {**os.environ, "THEMO_LANG": "vi"}
    return subprocess.run(
        [*CARDOS, *words], cwd=ROOT, env=environ, capture_output=True, text=True, check=True, timeout=30
    ).stdout


@pytest.fixture(scope="module")
def fleet(virtual: VirtualReader, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fleet of 200 blanks inside the reader's network namespace; its control socket."""
    folder = tmp_path_factory.mktemp("fleet")
    control, trace = folder / "control", folder / "apdu.log"
    argv = [*virtual.enter, *CARDOS, "fleet", "200", "--control", str(control), "--trace", str(trace)]
    process = subprocess.Popen(argv, cwd=ROOT)
    try:
        deadline = time.monotonic() + READY_S
        while not control.exists():
            assert process.poll() is None, "cardos ended"
            assert time.monotonic() < deadline, "cardos was not ready"
            time.sleep(0.02)
        yield control
    finally:
        process.terminate()
        process.wait(10)


def serial_in(name: str) -> int:
    with Reader(name) as reader:
        assert reader.wait_for_card(SEEN_S)
        with reader.connect() as connection:
            assert command(connection, commands.select())
            if name == CONTACTLESS_READER:  # a card keeps its number to itself there
                return 0
            return decode_serial(command(connection, get_serial()))


def test_cards_of_a_fleet_come_and_go_in_a_real_reader(fleet: Path) -> None:
    where = ("--control", str(fleet))
    assert cardos("insert", "card-00042", "contact", *where) == "đã đưa card-00042 vào khe tiếp xúc\n"
    assert cardos("insert", "card-00199", "contactless", *where) == "đã đưa card-00199 vào khe không tiếp xúc\n"
    assert (serial_in(CONTACT_READER), serial_in(CONTACTLESS_READER)) == (42, 0)
    assert cardos("list", "--inserted", *where).splitlines() == [
        "card-00042  tiếp xúc", "card-00199  không tiếp xúc", "200 thẻ, 2 đang nằm trong khe",
    ]  # fmt: skip
    assert cardos("remove", "card-00042", *where) == "đã lấy thẻ ra\n"
    with Reader(CONTACT_READER) as reader:
        assert reader.wait_for_removal(SEEN_S)
    assert cardos("insert", "card-00007", "contact", *where)
    assert serial_in(CONTACT_READER) == 7
    told = cardos("trace", str(fleet.with_name("apdu.log")))
    assert "Thẻ card-00042" in told
    assert "→ GET SERIAL" in told
    for slot in ("contact", "contactless"):
        cardos("remove", slot, *where)
    for name in (CONTACT_READER, CONTACTLESS_READER):
        with Reader(name) as reader:
            assert reader.wait_for_removal(SEEN_S)
