"""A virtual card in a slot of the virtual reader, for tests over a real pcscd."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cardlink.transport.pcsc import Reader
from demo.pcscd import CONTACT_READER, CONTACTLESS_READER, VirtualReader

ROOT = Path(__file__).resolve().parent.parent
INSERT_TIMEOUT_S = 10.0
INSERT_TRIES = 4
SETTLE_S = 0.5
SEEN_TIMEOUT_S = 2.0


@dataclass(slots=True)
class ServedCard:
    """A running `cardos serve`, told what to do over its control socket."""

    process: subprocess.Popen[bytes]
    control: Path
    environ: dict[str, str]

    def tell(self, line: str) -> str:
        """Send one line and return the answer."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(str(self.control))
            client.sendall(line.encode() + b"\n")
            return client.makefile("r").readline().strip()

    def insert(self, interface: str) -> str:
        """Put the card into a slot and wait until PC/SC sees it; return the reader's name."""
        reader_name = CONTACT_READER if interface == "contact" else CONTACTLESS_READER
        # Saying it again would take the card out and put it in once more, and break a session that had just begun.
        if self.tell("status") == f"ok {interface}":
            return reader_name
        with Reader(reader_name) as reader:
            for _ in range(INSERT_TRIES):
                # pcscd looks every 400 ms: a card put in sooner after another one left is not seen as new, or not at
                # all until it leaves again.
                assert reader.wait_for_removal(INSERT_TIMEOUT_S), f"a card was still seen in {reader_name}"
                time.sleep(SETTLE_S)
                assert self.tell(f"insert {interface}").startswith("ok")
                if reader.wait_for_card(SEEN_TIMEOUT_S):
                    return reader_name
                self.tell("remove")
        raise AssertionError(f"no card was seen in {reader_name}")


@contextmanager
def served_card(virtual: VirtualReader, image: Path, *options: str) -> Iterator[ServedCard]:
    """Run `cardos serve` for an image inside the reader's network namespace, the card in no slot yet."""
    control = image.with_suffix(".control")
    process = subprocess.Popen(
        [*virtual.enter, sys.executable, "-m", "cardos", "serve", "--image", str(image), "--interface", "none",
         "--control", str(control), *options],
        cwd=ROOT,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + INSERT_TIMEOUT_S
        while not control.exists():
            assert process.poll() is None, "cardos ended"
            assert time.monotonic() < deadline, "cardos was not ready"
            time.sleep(0.02)
        yield ServedCard(process, control, virtual.environ())
    finally:
        process.terminate()
        process.wait(10)
