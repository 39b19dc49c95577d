"""A door following a real HTTP feed: revocation, receipts, freshness, records; and a channel that lies or dies."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from door_cards import Issued, connect
from door_world import ListLock
from feed_fixture import Centre, serving, world_now

from cardlink.statements.record import Kind, decode_record
from cardlink.statements.status import Status
from reader_daemon.centre import Centre as Client
from reader_daemon.clock import ClockQuality
from reader_daemon.daemon import Daemon
from reader_daemon.errors import FeedError

BEAT_S = 0.2


class Link:
    """A door with its feed, and the centre."""

    def __init__(self, tmp_path: Path) -> None:
        self.world = world_now()
        self.card = self.world.issue()
        self.other = self.world.issue()
        self.centre = Centre(self.world, BEAT_S)
        self.centre.publish(self.world.everybody(self.card, self.other))
        self.config = self.world.install(tmp_path / "door")
        self.door = Daemon.open(self.config, lock=ListLock())
        self.centre.door_key = self.door.key.public

    def follow(self, url: str) -> None:
        self.door.start_feed(url, BEAT_S)
        assert until(lambda: self.door.state.stale_s() < 60 and self.door.state.view.rules is not None), "never ready"

    def tap(self, card: Issued) -> str:
        result = self.door.loop.tap(connect(card.card))
        return str(result.reason) if result.reason is not None else "granted"

    def seq(self) -> int:
        status = self.door.state.view.status
        return status.seq if status is not None else -1

    def alarms(self) -> list[str | None]:
        stored = [row[0] for row in self.door.database.rows("SELECT record FROM records")]
        raws = [raw for raw in [*stored, *self.centre.records.values()] if isinstance(raw, bytes)]
        return [one.reason for one in map(decode_record, raws) if one.kind == Kind.ALARM]


@pytest.fixture
def link(tmp_path: Path) -> Iterator[Link]:
    made = Link(tmp_path)
    yield made
    made.door.close()


@pytest.fixture
def url(link: Link) -> Iterator[str]:
    with serving(link.centre) as address:
        link.follow(address)
        yield address


def until(condition: Callable[[], bool], wait_s: float = 8.0) -> bool:
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.002)
    return condition()


def test_a_new_door_fetches_everything_and_opens(link: Link, url: str) -> None:
    assert link.tap(link.card) == "granted"
    assert link.door.clock.quality is ClockQuality.CONFIRMED


def test_a_block_reaches_the_door_at_once_and_is_confirmed_by_a_signed_receipt(link: Link, url: str) -> None:
    assert link.tap(link.card) == "granted"
    for number in range(20):
        card = link.world.issue()
        link.centre.set_status(card, Status.SUSPENDED)
        assert until(lambda wanted=number + 1: link.seq() == wanted)
        assert until(lambda wanted=number + 1: link.centre.receipts[-1][1].seq == wanted)
    link.centre.set_status(link.card, Status.REVOKED)
    assert until(lambda: link.tap(link.card) == "revoked")
    assert link.tap(link.other) == "granted"
    assert {receipt.door_uuid for _, receipt in link.centre.receipts} == {link.world.door}


def test_records_reach_the_centre_once_and_leave_the_door_when_acknowledged(link: Link, url: str) -> None:
    for _ in range(5):
        link.tap(link.card)
    place = link.door.events.place()
    assert until(lambda: (place.boot, place.seq) in link.centre.records)
    assert until(lambda: not link.door.database.rows("SELECT 1 FROM records"))
    link.tap(link.card)
    assert until(lambda: (place.boot, place.seq + 1) in link.centre.records)


def test_lost_acknowledgements_lose_and_double_nothing(link: Link, url: str) -> None:
    link.centre.is_forgetting_answers = True
    link.tap(link.card)
    place = link.door.events.place()
    assert until(lambda: (place.boot, place.seq) in link.centre.records)
    assert link.door.database.rows("SELECT 1 FROM records WHERE seq = ?", place.seq)
    link.centre.is_forgetting_answers = False
    assert until(lambda: not link.door.database.rows("SELECT 1 FROM records"))
    assert link.alarms() == []


def test_records_that_a_forged_answer_took_from_the_door_are_a_gap_at_the_next_tap(link: Link, url: str) -> None:
    link.tap(link.card)
    assert until(lambda: not link.door.database.rows("SELECT 1 FROM records"))
    link.centre.records.clear()  # who stands in the channel answered: the centre never saw them
    link.tap(link.card)
    assert until(lambda: "gap" in link.alarms())
    assert link.door.database.rows("SELECT 1 FROM records")


def test_a_centre_with_other_records_under_the_doors_numbers_is_an_alarm(link: Link) -> None:
    link.tap(link.card)
    page = link.door.events.waiting()
    assert page is not None
    link.centre.records[link.door.events.boot, 1] = page.records[1]
    with serving(link.centre) as address:
        link.follow(address)
        assert until(lambda: "forked" in link.alarms())
        assert link.door.database.rows("SELECT 1 FROM records WHERE seq = 1")


def test_a_new_bundle_is_fetched_when_the_feed_names_it(link: Link, url: str) -> None:
    link.centre.publish(link.world.rules())
    assert until(lambda: link.tap(link.card) == "unknown-card")


def test_withheld_events_show_in_the_heartbeat_and_are_fetched(link: Link, url: str) -> None:
    link.centre.is_withholding = True
    link.centre.set_status(link.card, Status.REVOKED)
    assert until(lambda: link.tap(link.card) == "revoked", 4 * BEAT_S + 1)


def test_events_in_the_wrong_order_are_put_right_by_fetching(link: Link, url: str) -> None:
    link.centre.is_withholding = True
    link.centre.set_status(10, Status.SUSPENDED)
    second = link.centre.set_status(link.card, Status.SUSPENDED)
    link.centre.push_event(second)
    assert until(lambda: link.tap(link.card) == "suspended", 1.0)
    assert link.seq() == 2


@pytest.mark.parametrize("fault", ["is_silent", "is_dripping"])
def test_a_stream_that_says_nothing_good_is_left_within_two_beats(link: Link, url: str, fault: str) -> None:
    link.door.signals.alive_at_s = link.door.clock.monotonic_s()
    setattr(link.centre, fault, True)
    started = time.monotonic()
    streams = link.centre.requests.count("/stream")
    assert until(lambda: link.door.signals.alive_at_s is None)
    assert time.monotonic() - started < 2 * BEAT_S + 1.5  # the watch looks once a second
    link.centre.set_status(link.card, Status.REVOKED)
    setattr(link.centre, fault, False)
    assert until(lambda: link.centre.requests.count("/stream") > streams)
    assert until(lambda: link.tap(link.card) == "revoked")


def test_old_heartbeats_again_and_again_are_no_sign_of_life(link: Link, url: str) -> None:
    link.centre.replayed_beat = link.world.heartbeat(issued_s=link.centre.sign_time())
    streams = link.centre.requests.count("/stream")
    assert until(lambda: link.centre.requests.count("/stream") > streams)
    assert until(lambda: "older" in link.alarms())


def test_an_answer_to_a_nonce_that_hides_events_makes_nothing_fresh(link: Link, url: str) -> None:
    link.centre.set_status(10, Status.SUSPENDED)
    assert until(lambda: link.seq() == 1)
    link.centre.fresh_seq = 0
    before = link.door.state.view.fresh_at_s
    time.sleep(2.1)  # the courier asks again at the earliest after two seconds
    link.door.signals.tell(wants_fresh=True)
    assert until(lambda: "older" in link.alarms())
    assert link.door.state.view.fresh_at_s == before


def test_a_centre_that_goes_away_and_comes_back_is_found_again(link: Link, tmp_path: Path) -> None:
    with serving(link.centre) as address:
        link.follow(address)
        port = int(address.rpartition(":")[2])
    assert link.tap(link.card) == "granted"  # offline it goes on
    assert until(lambda: link.door.signals.alive_at_s is None)
    link.world.set_status(link.card, Status.REVOKED)  # while the door is cut off
    assert link.tap(link.card) == "granted"
    link.centre.is_down = False
    from http.server import ThreadingHTTPServer

    from feed_fixture import Handler

    class Bound(Handler):
        pass

    Bound.centre = link.centre
    server = ThreadingHTTPServer(("127.0.0.1", port), Bound)
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    assert until(lambda: link.tap(link.card) == "revoked", 20)
    link.centre.is_down = True
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_half_open_connection_ends_in_a_typed_error_within_its_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = Client(f"http://127.0.0.1:{listening.getsockname()[1]}", timeout_s=0.3)
        started = time.monotonic()
        with pytest.raises(FeedError, match="feed-unreachable"):
            client.trust()
        with pytest.raises(FeedError):
            list(client.stream(1, 0, bytes(16)))
        assert time.monotonic() - started < 2
        client.close()


def test_another_epoch_is_taken_only_with_a_trust_list_that_opens_it(link: Link, url: str) -> None:
    link.world.epoch = 2
    link.world.seq, link.world.events, link.world.statuses = 0, [], {}
    link.centre.snapshot = link.world.snapshot()
    time.sleep(3 * BEAT_S)
    status = link.door.state.view.status
    assert status is not None
    assert status.epoch == 1
    link.centre.trust = link.world.issue_trust(link.world.trust_list(2))
    link.centre._push(b"event: trust\ndata: 2\n\n")

    def has_moved() -> bool:
        status = link.door.state.view.status
        return status is not None and status.epoch == 2

    assert until(has_moved, 15)
    assert link.tap(link.card) == "granted"


def test_a_door_far_behind_takes_the_snapshot(link: Link) -> None:
    for index in range(100, 140):
        link.world.set_status(index, Status.SUSPENDED)
    link.centre.snapshot = link.world.snapshot()
    for index in range(140, 150):
        link.world.set_status(index, Status.SUSPENDED)  # the snapshot lags the stream by these
    with serving(link.centre) as address:
        link.follow(address)
        assert link.seq() == 50
        assert link.door.state.stored_events() == 10


@pytest.mark.parametrize(
    ("body", "status"), [(b"", 200), (b"\xff", 200), (b"[]", 200), (b"x" * (5 << 20), 200), (b"", 404), (b"", 500)]
)
def test_a_centre_that_answers_nonsense_leaves_the_door_as_it_was(link: Link, body: bytes, status: int) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Nonsense(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class's name
            """Say nothing."""

        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = HTTPServer(("127.0.0.1", 0), Nonsense)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    from reader_daemon.feed import Feed, Signals

    link.door.state.take_trust(link.centre.trust)
    link.door.state.take_snapshots([link.centre.snapshot], [])
    feed = Feed(f"http://127.0.0.1:{server.server_port}", link.world.door, link.door.state, link.door.clock, Signals())
    client = Client(f"http://127.0.0.1:{server.server_port}")
    with suppress(FeedError):  # an error or a refusal: either way the state stays
        feed.sync(client)
    assert link.seq() == 0
    client.close()
    server.shutdown()
    server.server_close()
    thread.join()
