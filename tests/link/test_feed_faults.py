"""The feed process killed, the HSM killed, both restarted: nothing lost, nothing doubled, never something untrue."""

import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator

import pytest
from feed_centre import Centre, DoorLog, Listener, open_centre
from ports import free_port
from sqlalchemy import select

from cardlink.statements import cbor
from cardlink.statements import status as wire
from cardlink.statements.record import record_hash
from cardlink.statements.status import Status
from issuer import database
from issuer.access import receipts
from issuer.access.tables import DoorEvent
from issuer.trust import status
from issuer.trust.status import Position


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    with open_centre(tmp_path_factory.mktemp("feed"), free_port()) as centre:
        yield centre


def head(centre: Centre) -> Position:
    with database.reading(centre.factory) as session:
        return status.head(session)


def within(seconds: float, what: Callable[[], bool]) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def heard(listener: Listener, count: int) -> list[int]:
    return [wire.read_event(listener.next("status").body()).value.seq for _ in range(count)]


def stored(centre: Centre, door_id: uuid.UUID) -> list[int]:
    with database.reading(centre.factory) as session:
        query = select(DoorEvent.seq).where(DoorEvent.door_id == door_id).order_by(DoorEvent.id)
        return list(session.scalars(query))


def test_events_of_a_time_without_feed_are_heard_once_after_it(centre: Centre) -> None:
    before = head(centre).seq
    listener = centre.listen(after=before)
    centre.change(3)
    assert heard(listener, 3) == [before + 1, before + 2, before + 3]
    centre.feed.kill()
    with pytest.raises((EOFError, ConnectionError)):
        listener.next("status")
    listener.close()
    centre.change(4)
    centre.feed.start()
    again = centre.listen(after=before + 3)
    centre.change(2)
    assert heard(again, 6) == list(range(before + 4, before + 10))
    again.close()


def test_a_feed_killed_while_events_are_made_loses_none(centre: Centre) -> None:
    """A door that reconnects each time, asking from where it stands, hears every number once."""
    before, stop = head(centre).seq, threading.Event()
    made: list[int] = []

    def make() -> None:
        while not stop.is_set():
            made.append(centre.change().seq)

    writer = threading.Thread(target=make)
    writer.start()
    got: list[int] = []
    for _ in range(3):
        listener = centre.listen(after=before + len(got))
        got += heard(listener, 10)
        centre.feed.kill()
        listener.close()
        centre.feed.start()
    stop.set()
    writer.join()
    listener = centre.listen(after=before + len(got))
    got += heard(listener, len(made) - len(got))
    listener.close()
    assert got == made == list(range(before + 1, before + 1 + len(made)))


def test_records_whose_acknowledgement_was_lost_are_stored_once(centre: Centre) -> None:
    door_id, key = centre.enrolled()
    log = DoorLog(door_id, key)
    records: list[bytes] = []
    for _ in range(3):
        records += log.write(200)
        sender = socket.create_connection(("127.0.0.1", centre.feed.port))
        body = log.message(records)
        sender.sendall(f"POST /records/{door_id} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        sender.sendall(body)
        time.sleep(0.03)
        centre.feed.kill()
        sender.close()
        centre.feed.start()
    code, answer = centre.request("POST", f"/records/{door_id}", log.message(records))
    assert code == 200
    assert cbor.decode(answer, max_bytes=200) == {"boot": 1, "seq": 600, "hash": record_hash(records[-1])}
    assert stored(centre, door_id) == list(range(1, 601))


def test_a_confirmation_survives_the_feed(centre: Centre) -> None:
    door_id, key = centre.enrolled()
    at = centre.change()
    assert centre.request("POST", "/receipts", key.receipt(door_id, at))[0] == 204
    centre.feed.kill()
    centre.feed.start()
    assert centre.request("POST", "/receipts", key.receipt(door_id, at))[0] == 204
    with database.reading(centre.factory) as session:
        told = receipts.confirmations(session, *at)
    assert [one.is_confirmed for one in told.doors if one.door_id == door_id] == [True]


def test_without_hsm_nothing_is_claimed_and_after_it_all_goes_on(centre: Centre) -> None:
    listener = centre.listen(after=centre.settled().seq)
    card_id = centre.new_card()
    within(20, lambda: centre.request("GET", "/status/1")[0] == 200)  # a feed's first list comes right after its start
    centre.hsm_process.kill()
    try:
        code, error = centre.error("POST", "/fresh", b"n" * 16)
        assert (code, error) == (503, "feed.no_hsm")
        assert centre.request("GET", "/trust")[0] == 200
        assert centre.request("GET", "/status/1")[0] == 200
    finally:
        centre.hsm_process.start()
    assert centre.request("POST", "/fresh", b"n" * 16)[0] == 200
    at = centre.set_status(card_id, Status.REVOKED)
    assert heard(listener, 1) == [at.seq]
    assert wire.read_heartbeat(listener.next("heartbeat").body()).value.seq == at.seq
    listener.close()


def test_a_second_feed_of_the_same_installation_is_refused(centre: Centre) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "issuer", "--lang", "en", "--config", str(centre.feed.config), "feed", "serve"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 1
    assert "another feed process is running" in second.stderr
    assert "issuer: hint:" in second.stderr
    assert centre.request("GET", "/trust")[0] == 200


def test_a_feed_told_to_stop_ends_its_streams_and_cleans_up(centre: Centre) -> None:
    before = head(centre).seq
    listeners = [centre.listen(after=before) for _ in range(3)]
    assert centre.feed.stop() == 0
    for one in listeners:
        with pytest.raises((EOFError, ConnectionError)):
            one.next("status")
        one.close()
    assert not (centre.folder / "feed.sock").exists()
    assert "Traceback" not in centre.feed.log()
    centre.feed.start()


def test_a_port_in_use_is_said(centre: Centre) -> None:
    centre.feed.stop()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", centre.feed.port))
        taken.listen()
        told = subprocess.run(
            [sys.executable, "-m", "issuer", "--config", str(centre.feed.config), "feed", "serve"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert told.returncode == 1
    assert f"không mở được 127.0.0.1:{centre.feed.port}" in told.stderr
    centre.feed.start()
