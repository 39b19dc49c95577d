"""`kill -9` of pcscd under a running door: the door finds the new one by itself, and its log has no hole."""

import os
import signal
import tempfile
from contextlib import ExitStack
from pathlib import Path

from running_system import System, running, within

from demo.pcscd import CONTACTLESS_READER, virtual_reader


def tap_once(system: System, first: ExitStack, socket: Path, image: Path, name: str) -> dict[str, object]:
    """Start a pcscd where the door looks for one, and lay a card on its reader."""
    reader = first.enter_context(virtual_reader())
    socket.unlink(missing_ok=True)
    socket.symlink_to(reader.socket)
    told = system.tap(system.serve(reader, name, image))
    system.supervisor.stop(name)
    os.kill(reader.pid, signal.SIGKILL)
    return told


def test_a_door_outlives_pcscd(tmp_path: Path) -> None:
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="themo-pcsc-", dir="/tmp")))
        socket = home / "pcscd.comm"  # a Unix socket's path is short
        system = stack.enter_context(running(tmp_path / "system"))
        system.office.start_feed()
        door = system.door()
        _, image = system.chip_card(tmp_path)
        # The door is there before any pcscd is.
        system.start_door(door, CONTACTLESS_READER, {"PCSCLITE_CSOCK_NAME": str(socket)})
        within(20, lambda: system.is_confirmed(system.head()))
        for n in range(3):
            with ExitStack() as first:
                assert tap_once(system, first, socket, image, f"card{n}")["decision"] == "granted"
        within(20, lambda: sum(one.kind == "tap" for one in system.door_records(door)) == 3)
        assert {one.boot for one in system.door_records(door)} == {1}  # it was never started again
        system.assert_books_are_whole()
