"""The door process at a real pcscd and virtual reader: cards come, leave, are torn away; pcscd dies and returns."""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from door_cards import Issued, card_records
from feed_fixture import CODE, Centre, serving, world_now

from cardlink.piv.tables import CARD_CREDENTIAL
from cardlink.statements.status import Status
from cardos.image import FileStore
from demo.pcscd import CONTACTLESS_READER, VirtualReader, virtual_reader

ROOT = Path(__file__).resolve().parent.parent.parent
WAIT_S = 20.0


def save(card: Issued, path: Path) -> Path:
    """The card as a file that `cardos serve` can hold."""
    secret = os.urandom(32)
    path.with_name(path.name + ".key").write_text(secret.hex() + "\n", encoding="ascii")
    FileStore.create(path, secret, card_records(card.key, {CARD_CREDENTIAL.tag: card.raw})).close()
    return path


class CardProcess:
    """A virtual card whose owner can lay it on the reader and take it away."""

    def __init__(self, reader: VirtualReader, image: Path, *more: str) -> None:
        self.process = subprocess.Popen(
            [
                *(*reader.enter, sys.executable, "-m", "cardos", "serve", "--image", str(image)),
                *("--interface", "none", "--control", "-", *more),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().startswith("ok"), line

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


class DoorProcess:
    """`reader-daemon run --events-stdout`, its lines read by a thread."""

    def __init__(self, directory: Path, url: str, comm: Path) -> None:
        self.toml = directory / "door.toml"
        self.toml.write_text(
            f'data_dir = "{directory / "door"}"\nfeed_url = "{url}"\nreader = "{CONTACTLESS_READER}"\n',
            encoding="utf-8",
        )
        environ = {**os.environ, "PCSCLITE_CSOCK_NAME": str(comm)}
        subprocess.run(self._command("enrol"), cwd=ROOT, check=True, capture_output=True, input=CODE.encode())
        with (directory / "door.log").open("wb") as log:
            self.process = subprocess.Popen(
                self._command("run", "--events-stdout"), cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=log
            )
        self.lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        assert self.next()["event"] == "started"

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "reader_daemon", *arguments, "--config", str(self.toml)]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)

    def next(self) -> dict[str, Any]:
        found = json.loads(self.lines.get(timeout=WAIT_S))
        assert isinstance(found, dict)
        return found

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(WAIT_S)
        self.thread.join(WAIT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@contextmanager
def office(directory: Path) -> Iterator[tuple[Centre, str, Issued]]:
    world = world_now()
    card = world.issue()
    centre = Centre(world)
    centre.publish(world.everybody(card))
    with serving(centre) as url:
        yield centre, url, card


def wait_applied(centre: Centre, seq: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while not any(receipt.seq >= seq for _, receipt in centre.receipts):
        assert time.monotonic() < deadline, "no receipt"
        time.sleep(0.01)


@pytest.mark.slow
def test_a_door_at_a_real_reader_over_all_that_can_happen_to_it(tmp_path: Path) -> None:
    with ExitStack() as stack:
        centre, url, card = stack.enter_context(office(tmp_path))
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="themo-door-", dir="/tmp"))
        comm = Path(home) / "pcscd.comm"
        first = stack.enter_context(ExitStack())
        reader = first.enter_context(virtual_reader())
        comm.symlink_to(reader.socket)
        door = DoorProcess(tmp_path, url, comm)
        stack.callback(door.process.kill)
        wait_applied(centre, 0)

        image = save(card, tmp_path / "card")
        good = CardProcess(reader, image)
        good.say("insert contactless")
        tap = door.next()
        assert (tap["decision"], tap["exchanges"], tap["opened"]) == ("granted", 3, True)
        assert tap["bytes_out"] + tap["bytes_in"] <= 450
        assert tap["card_ms"] > 0
        good.say("remove")
        good.say("insert contactless")
        assert door.next()["decision"] == "granted"  # each insertion is one tap
        good.say("remove")
        good.end()

        torn = CardProcess(reader, image, "--tear-at", "2")
        torn.say("insert contactless")
        assert door.next()["reason"] == "link-lost"
        torn.end()
        time.sleep(1)  # pcscd does not see a card that is put down within a poll of one torn away

        endless = CardProcess(reader, image, "--fault", "endless-61")
        endless.say("insert contactless")
        assert door.next()["reason"] == "too-much"
        endless.say("remove")
        endless.end()

        os.kill(reader.pid, signal.SIGKILL)
        comm.unlink()
        first.close()
        reader = stack.enter_context(virtual_reader())
        comm.symlink_to(reader.socket)
        centre.set_status(card, Status.REVOKED)
        wait_applied(centre, 1)
        again = CardProcess(reader, image)
        stack.callback(again.end)
        again.say("insert contactless")
        tap = door.next()
        assert (tap["decision"], tap["reason"], tap["opened"]) == ("refused", "revoked", False)
        assert tap["text_vi"] == "Thẻ đã bị thu hồi"
        assert door.end() == 0, (tmp_path / "door.log").read_text(encoding="utf-8")
