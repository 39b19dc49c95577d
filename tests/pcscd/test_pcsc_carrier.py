"""The PC/SC carrier over a real pcscd: every way in which a card, a reader or pcscd can go.

pcsc-lite looks up PCSCLITE_CSOCK_NAME once a process, so each scenario runs in a process of its own with its own pcscd.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from cardlink.errors import LinkLost
from cardlink.iso7816.atr import CARD_ATR
from demo.pcscd import CONTACT_PORT, CONTACT_READER, CONTACTLESS_READER, VirtualReader, virtual_reader

PLAIN = bytes.fromhex("00A4040000")
MUTE = bytes.fromhex("00020000")
LEAVE = bytes.fromhex("00030000")
RESETS = bytes.fromhex("0004000000")
SEEN_S = 5.0  # insertion is seen after one poll of 400 ms; the rest is for a busy machine


@contextmanager
def card_in(reader: VirtualReader) -> Iterator[subprocess.Popen[bytes]]:
    card = subprocess.Popen(
        [*reader.enter, sys.executable, str(Path(__file__).with_name("quick_card.py")), str(CONTACT_PORT)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        yield card
    finally:
        card.kill()
        card.wait()


@contextmanager
def pcscd() -> Iterator[VirtualReader]:
    with virtual_reader() as reader:
        os.environ["PCSCLITE_CSOCK_NAME"] = str(reader.socket)
        yield reader


def refusal(call: Callable[[], object]) -> tuple[str, float]:
    """Why the link was lost, and after how many seconds."""
    started = time.monotonic()
    with pytest.raises(LinkLost) as lost:
        call()
    return str(lost.value), time.monotonic() - started


def readers_are_found_by_name_or_unique_part() -> None:
    from cardlink.transport.pcsc import find_reader, reader_names

    with pcscd():
        assert reader_names() == (CONTACT_READER, CONTACTLESS_READER)
        assert find_reader(CONTACT_READER) == CONTACT_READER
        assert find_reader("00 01") == CONTACTLESS_READER
        assert "several readers named 'Virtual'" in refusal(lambda: find_reader("Virtual"))[0]
        assert "no reader named 'ACR'" in refusal(lambda: find_reader("ACR"))[0]


def a_card_comes_speaks_and_goes() -> None:
    from cardlink.transport.pcsc import Reader

    with pcscd() as reader, Reader(CONTACT_READER) as slot:
        assert not slot.wait_for_card(0.1)
        assert "no smart card" in refusal(slot.connect)[0].lower()
        with card_in(reader):
            assert slot.wait_for_card(SEEN_S)
            with slot.connect() as connection:
                assert connection.atr() == CARD_ATR
                assert connection.transmit(PLAIN) == b"\x90\x00"
                for size in (0, 254, 256, 1000, 65_000):
                    answer = connection.transmit(bytes((0x00, 0x01)) + size.to_bytes(2, "big") + b"\x00")
                    assert answer == bytes(size) + b"\x90\x00"
                assert connection.transmit(b"\x00\xdb\x3f\xff\x00\xfd\xe8" + bytes(65_000)) == b"\x90\x00"
            assert "closed" in refusal(lambda: connection.transmit(PLAIN))[0]
            assert not slot.wait_for_removal(0.1)
        assert slot.wait_for_removal(SEEN_S)
        assert slot.wait_for_removal(0)


def a_card_forgets_at_the_end_of_a_connection_unless_told_otherwise() -> None:
    from cardlink.transport.pcsc import Disposition, Reader

    with pcscd() as reader, card_in(reader), Reader(CONTACT_READER) as slot:
        assert slot.wait_for_card(SEEN_S)
        counts = []
        for disposition in (Disposition.LEAVE, Disposition.LEAVE, Disposition.RESET, Disposition.LEAVE):
            with slot.connect(disposition=disposition) as connection:
                counts.append(connection.transmit(RESETS)[0])
        assert counts[0] == counts[1] == counts[2]
        assert counts[3] == counts[2] + 1
        with slot.connect() as connection:
            connection.reset()
            assert connection.transmit(RESETS)[0] == counts[3] + 1


def nobody_else_speaks_during_a_transaction() -> None:
    from cardlink.transport.pcsc import PcscConnection, Reader, Share

    with pcscd() as reader, card_in(reader), Reader(CONTACT_READER) as one, Reader(CONTACT_READER) as other:
        assert one.wait_for_card(SEEN_S)
        first = one.connect()

        def take(connection: PcscConnection) -> None:
            with connection.transaction():
                pass

        # pcsc-lite lets the others wait, for ever; the bound ends it
        attempts: tuple[Callable[[PcscConnection], object], ...] = (
            lambda connection: connection.transmit(PLAIN),
            take,
            lambda connection: other.connect(answer_wait_s=0.5),
        )
        for attempt in attempts:
            second = other.connect(answer_wait_s=0.5)
            with first.transaction():
                why, seconds = refusal(partial(attempt, second))
                assert "no answer within 0.5 s" in why
                assert 0.4 < seconds < 3
                assert first.transmit(PLAIN) == b"\x90\x00"
            second.close()
        second = other.connect()
        with second.transaction():
            assert second.transmit(PLAIN) == b"\x90\x00"
        assert "sharing violation" in refusal(lambda: other.connect(Share.EXCLUSIVE))[0].lower()
        first.close()
        second.close()
        time.sleep(1)  # pcscd tidies up after cut sessions in its own time
        with other.connect(Share.EXCLUSIVE) as alone:
            assert "sharing violation" in refusal(one.connect)[0].lower()
            assert alone.transmit(PLAIN) == b"\x90\x00"


def a_card_that_leaves_in_the_middle_is_lost_at_once() -> None:
    from cardlink.transport.pcsc import Reader

    with pcscd() as reader, Reader(CONTACT_READER) as slot:
        with card_in(reader):
            assert slot.wait_for_card(SEEN_S)
            with slot.connect() as connection, connection.transaction():
                why, seconds = refusal(lambda: connection.transmit(LEAVE))
                assert "Virtual PCD 00 00" in why
                assert seconds < 2
        assert slot.wait_for_removal(SEEN_S)
        with card_in(reader):
            assert slot.wait_for_card(SEEN_S)
            with slot.connect() as connection:
                assert connection.transmit(PLAIN) == b"\x90\x00"


def a_mute_card_is_lost_within_the_bound_and_the_other_reader_goes_on() -> None:
    from cardlink.transport.pcsc import Reader

    with pcscd() as reader, Reader(CONTACT_READER) as slot, Reader(CONTACTLESS_READER) as other:
        with card_in(reader):
            assert slot.wait_for_card(SEEN_S)
            connection = slot.connect(answer_wait_s=0.5)
            ended = threading.Event()
            lost: list[tuple[str, float]] = []

            def wait_for_answer() -> None:
                lost.append(refusal(lambda: connection.transmit(MUTE)))
                ended.set()

            threading.Thread(target=wait_for_answer).start()
            assert not other.wait_for_card(0.2)
            assert ended.wait(10)
            ((why, seconds),) = lost
            assert "no answer within 0.5 s" in why
            assert 0.4 < seconds < 3
            started = time.monotonic()
            connection.close()
            assert time.monotonic() - started < 1
            # the driver still waits for the mute card, so the reader answers nobody, within the bound as well
            assert refusal(lambda: slot.connect(answer_wait_s=0.5))[1] < 3
        assert slot.wait_for_removal(SEEN_S)
        with card_in(reader):
            assert slot.wait_for_card(SEEN_S)
            with slot.connect() as connection:
                assert connection.transmit(PLAIN) == b"\x90\x00"


def a_killed_pcscd_is_noticed_and_found_again() -> None:
    from cardlink.transport.pcsc import Reader, reader_names

    with tempfile.TemporaryDirectory(dir="/tmp") as home, Reader(CONTACT_READER) as slot:
        link = Path(home) / "pcscd.comm"
        os.environ["PCSCLITE_CSOCK_NAME"] = str(link)
        assert "PC/SC" in refusal(reader_names)[0]
        with virtual_reader() as reader:
            link.symlink_to(reader.socket)
            with card_in(reader):
                assert slot.wait_for_card(SEEN_S)
                connection = slot.connect()
                assert connection.transmit(PLAIN) == b"\x90\x00"
                os.kill(reader.pid, signal.SIGKILL)
                assert refusal(lambda: connection.transmit(PLAIN))[1] < 2
                connection.close()
                for _ in range(3):
                    assert refusal(lambda: slot.wait_for_card(5))[1] < 2
        link.unlink()
        with virtual_reader() as reader:
            link.symlink_to(reader.socket)
            with card_in(reader):
                assert slot.wait_for_card(SEEN_S)
                with slot.connect() as connection:
                    assert connection.transmit(PLAIN) == b"\x90\x00"


def nothing_is_left_behind() -> None:
    from cardlink.transport.pcsc import Reader, reader_names

    with pcscd() as reader, card_in(reader):
        reader_names()
        with Reader(CONTACT_READER) as slot:
            assert slot.wait_for_card(SEEN_S)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            reader_names()
            with Reader(CONTACT_READER) as slot, slot.connect() as connection:
                connection.transmit(PLAIN)
        with Reader(CONTACT_READER) as slot, slot.connect(answer_wait_s=0.1) as connection:
            refusal(lambda: connection.transmit(MUTE))
        assert len(os.listdir("/proc/self/fd")) == before
        time.sleep(0.5)
        assert [one.name for one in threading.enumerate() if "watchdog" in one.name] == []


@pytest.mark.parametrize(
    "scenario",
    [
        readers_are_found_by_name_or_unique_part,
        a_card_comes_speaks_and_goes,
        a_card_forgets_at_the_end_of_a_connection_unless_told_otherwise,
        nobody_else_speaks_during_a_transaction,
        a_card_that_leaves_in_the_middle_is_lost_at_once,
        a_mute_card_is_lost_within_the_bound_and_the_other_reader_goes_on,
        a_killed_pcscd_is_noticed_and_found_again,
        nothing_is_left_behind,
    ],
    ids=lambda scenario: scenario.__name__,
)
def test_over_a_real_pcscd(scenario: Callable[[], None]) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as apart:
        apart.submit(scenario).result(timeout=120)
