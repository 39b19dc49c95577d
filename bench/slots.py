"""Cards in the virtual reader, each a process of its own, and the readers as this process sees them."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from cardlink.piv.tables import Interface
from cardlink.transport.pcsc import Reader
from demo.pcscd import CONTACT_READER, CONTACTLESS_READER, VirtualReader, virtual_reader
from demo.slots import CardFile
from demo.supervisor import Program, Supervisor, command

READER_OF = {Interface.CONTACT: CONTACT_READER, Interface.CONTACTLESS: CONTACTLESS_READER}
SEEN_WAIT_S = 10.0


class Slots:
    """Puts cards into the slots of a virtual reader."""

    def __init__(self, supervisor: Supervisor, reader: VirtualReader) -> None:
        self._supervisor = supervisor
        self.reader = reader
        self._number = 0

    @contextmanager
    def card(self, card: CardFile, interface: Interface) -> Iterator[Reader]:
        """A card of ours in a slot."""
        # The image is not flushed at each of the card's writes: what is measured is the issuer and the door, and a chip
        # has no disk. Neither has the constant card.
        argv = [command("cardos"), "serve", "--image", str(card.image), "--no-sync"]
        with self._served(argv, interface) as reader:
            yield reader

    @contextmanager
    def constant(self, lengths: list[int], interface: Interface) -> Iterator[Reader]:
        """A card that answers at once, with answers of these lengths."""
        argv = [sys.executable, "-m", "bench.constant_card", "--lengths", ",".join(map(str, lengths))]
        with self._served(argv, interface) as reader:
            yield reader

    @contextmanager
    def _served(self, argv: list[str], interface: Interface) -> Iterator[Reader]:
        self._number += 1
        name = f"card-{self._number}"
        output = self._supervisor.output(name)

        def is_inserted() -> bool:
            return output.exists() and "inserted" in output.read_text(encoding="utf-8", errors="replace")

        whole = [*self.reader.enter, *argv, "--interface", interface.value]
        self._supervisor.start(Program(name, whole, is_inserted))
        try:
            with Reader(READER_OF[interface]) as reader:
                if not reader.wait_for_card(SEEN_WAIT_S):
                    raise TimeoutError(f"no card seen in {reader.name}")
                yield reader
        finally:
            self._supervisor.stop(name)
            with Reader(READER_OF[interface]) as reader:
                reader.wait_for_removal(SEEN_WAIT_S)


@contextmanager
def open_slots(supervisor: Supervisor) -> Iterator[Slots]:
    """A pcscd with a virtual reader, and this process its client. pcsc-lite finds it once a process: never a second."""
    with virtual_reader() as reader:
        os.environ.update(reader.environ({}))
        yield Slots(supervisor, reader)
