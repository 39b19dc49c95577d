"""The feed over real HTTP, with a real SQLite file and a real HSM process: what doors get and what they send back."""

import http.client
import socket
import time
import uuid
from collections.abc import Iterator

import pytest
from feed_centre import ADMIN, INSTALLATION, OWNER, Centre, DoorKey, DoorLog, Listener, now, open_centre
from ports import free_port

from cardlink.statements import bundle as bundle_wire
from cardlink.statements import cbor
from cardlink.statements import status as wire
from cardlink.statements.record import record_hash
from cardlink.statements.refusal import Refused
from cardlink.statements.status import Status
from cardlink.statements.status_state import StatusState, adopt_snapshots, apply_event, read_entry
from cardlink.statements.trust import Trust
from hsm_sim.client import Role
from issuer import database
from issuer.access import alarms, bundles, receipts, rules
from issuer.access.rules import Effect, RulePlan
from issuer.trust import status, trust_list
from issuer.trust.sim import Ceremony
from issuer.trust.status import Position


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    with open_centre(tmp_path_factory.mktemp("feed"), free_port()) as centre:
        yield centre


def head(centre: Centre) -> Position:
    with database.reading(centre.factory) as session:
        return status.head(session)


def wait_for_snapshot(centre: Centre, at: Position) -> wire.Snapshot:
    """The snapshot once it has come as far as `at`: it follows the feed at some distance."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        held = wire.read_snapshot(centre.get("/status/1")).value
        if Position(held.epoch, held.seq) >= at:
            return held
        time.sleep(0.2)
    raise TimeoutError


def caught_up(centre: Centre, trust: Trust) -> StatusState:
    """A door's state from snapshot and events, every signature checked."""
    received = wire.read_snapshot(centre.get("/status/1"))
    assert not isinstance(wire.verify_feed_message(received, trust, now()), Refused)
    state = adopt_snapshots(None, [received.value], trust.lists)
    assert isinstance(state, StatusState), state
    while page := events_after(centre, state.epoch, state.seq):
        for raw in page:
            event = wire.read_event(raw)
            assert not isinstance(wire.verify_feed_message(event, trust, now()), Refused)
            after = apply_event(state, event.value)
            assert isinstance(after, StatusState), after
            state = after
    return state


def events_after(centre: Centre, epoch: int, after: int) -> list[bytes]:
    body = cbor.decode(centre.get(f"/events?epoch={epoch}&after={after}"), max_bytes=1 << 22, max_depth=1)
    assert isinstance(body, list)
    return body


def test_the_trust_list_verifies_under_the_root_keys(centre: Centre) -> None:
    trust = centre.trust()
    assert [one.number for one in trust.content.lists] == [1]
    assert trust.signers[trust.lists[1].signer].entry.scope == (INSTALLATION,)


def test_snapshot_and_events_lead_to_the_state_of_the_database(centre: Centre) -> None:
    centre.change(5)
    trust = centre.trust()
    state = caught_up(centre, trust)
    assert Position(state.epoch, state.seq) == head(centre)
    with database.reading(centre.factory) as session:
        signer = status.status_signer(session, centre.hsm, now())
        exact = wire.read_snapshot(status.snapshot(session, signer, 1, now()).body).value
    assert state.lists[1].packed == exact.packed


def test_the_snapshot_file_follows_the_feed_and_any_web_server_can_carry_it(centre: Centre) -> None:
    held = wait_for_snapshot(centre, centre.change())
    assert (centre.folder / "snapshots" / "1.cwt").read_bytes() == centre.get("/status/1")
    assert held.issuer == INSTALLATION


def test_events_come_in_order_each_after_its_commit(centre: Centre) -> None:
    listener = centre.listen(after=centre.settled().seq)
    card_id = centre.new_card()
    for value in [Status.SUSPENDED, Status.VALID] * 10:
        at = centre.set_status(card_id, value)
        frame = listener.next("status")
        event = wire.read_event(frame.body()).value
        assert (event.epoch, event.seq, event.entries[0].status) == (at.epoch, at.seq, value)
    listener.close()


def test_without_a_poke_the_feed_looks_by_itself(centre: Centre) -> None:
    listener = centre.listen(after=centre.settled().seq)
    card_id = centre.new_card()
    with database.transaction(centre.factory) as session:
        at = status.set_status(session, centre.hsm, card_id, Status.STOLEN, now())
    frame = listener.next("status")
    assert wire.read_event(frame.body()).value.seq == at.seq
    listener.close()


def test_a_listener_first_hears_what_it_missed_and_nothing_twice(centre: Centre) -> None:
    before = head(centre).seq
    centre.change(30)
    listener = centre.listen(after=before)
    centre.change(5)
    heard = [wire.read_event(listener.next("status").body()).value.seq for _ in range(35)]
    assert heard == list(range(before + 1, before + 36))
    listener.close()


def test_many_listeners_hear_the_same(centre: Centre) -> None:
    before = centre.settled().seq
    listeners = [centre.listen(after=before) for _ in range(30)]
    at = centre.change()
    assert {wire.read_event(one.next("status").body()).value.seq for one in listeners} == {at.seq}
    for one in listeners:
        one.close()


def test_heartbeats_keep_coming_and_their_time_goes_up(centre: Centre) -> None:
    listener, trust = centre.listen(after=centre.settled().seq), centre.trust()
    beats = [wire.read_heartbeat(listener.next("heartbeat").body()) for _ in range(2)]
    listener.close()
    assert beats[0].value.issued_s < beats[1].value.issued_s
    assert Position(beats[1].value.epoch, beats[1].value.seq) == head(centre)
    assert not isinstance(wire.verify_feed_message(beats[1], trust, now()), Refused)


def test_a_nonce_is_answered_with_the_place_of_the_feed(centre: Centre) -> None:
    nonce, at = b"\x07" * 16, centre.settled()
    code, body = centre.request("POST", "/fresh", nonce)
    received = wire.read_fresh(body)
    assert (code, received.value.nonce) == (200, nonce)
    assert Position(received.value.epoch, received.value.seq) == at
    assert not isinstance(wire.verify_feed_message(received, centre.trust(), now()), Refused)


def test_an_address_that_asks_too_often_is_told_to_wait(centre: Centre) -> None:
    """The proxy on this machine names the address; another address goes on being answered."""

    def ask(address: str) -> tuple[int, str | None]:
        connection = http.client.HTTPConnection("127.0.0.1", centre.feed.port, timeout=10)
        connection.request("POST", "/fresh", b"n" * 16, {"X-Forwarded-For": f"192.0.2.1, {address}"})
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status, response.getheader("Retry-After")

    answers = [ask("192.0.2.7") for _ in range(40)]
    assert answers[0] == (200, None)
    assert answers[-1] == (429, "1")
    assert ask("192.0.2.8") == (200, None)


def test_who_is_of_another_epoch_or_far_behind_takes_a_snapshot(centre: Centre) -> None:
    for epoch in (0, 2):
        refused = Listener(centre.feed.port, epoch, 0)
        assert refused.response.status == 409
        assert b"feed.take_snapshot" in refused.response.read()
        refused.close()


def test_a_new_trust_list_and_a_new_bundle_are_announced(centre: Centre) -> None:
    door_id, _ = centre.enrolled()
    before = centre.settled().seq
    mine = centre.listen(after=before, door=door_id)
    others = centre.listen(after=before, door=uuid.uuid4())
    with database.transaction(centre.factory) as session:
        plan = RulePlan(Effect.ALLOW, agencies=(INSTALLATION,))
        rules.add(session, ADMIN, door_id, plan, now())
        made = bundles.publish(session, centre.hsm, door_id, now())
    centre.poke()
    assert int(mine.next("bundle").data) == made.seq
    at = centre.change()
    frame = others.frame()
    while frame.event == "heartbeat":
        frame = others.frame()
    assert (frame.event, wire.read_event(frame.body()).value.seq) == ("status", at.seq)
    mine.close()
    others.close()


def test_a_door_fetches_its_bundle_signed_by_its_owner(centre: Centre) -> None:
    door_id, _ = centre.enrolled()
    assert centre.error("GET", f"/bundles/{door_id}") == (404, "feed.no_bundle")
    with database.transaction(centre.factory) as session:
        bundles.publish(session, centre.hsm, door_id, now())
    raw = centre.get(f"/bundles/{door_id}")
    accepted = bundle_wire.accept_bundle(raw, None, centre.trust(), door_id.bytes, OWNER, now())
    assert not isinstance(accepted, Refused), accepted


def test_an_enrolled_door_is_told_what_to_pin(centre: Centre) -> None:
    (door_id, code), key = centre.new_door(), DoorKey()
    asked = cbor.encode({"code": code, "key": key.public.fields(), "door": door_id.bytes})
    answers = {centre.request("POST", "/enrol", asked) for _ in range(2)}
    ((http_code, body),) = answers
    told = cbor.decode(body, max_bytes=1 << 20)
    assert http_code == 200
    assert isinstance(told, dict)
    assert told.keys() == {"door", "name", "owner", "roots", "epoch", "trust"}
    assert (told["door"], told["owner"], told["epoch"]) == (door_id.bytes, OWNER, 1)
    assert told["trust"] == centre.get("/trust")
    other = cbor.encode({"code": code, "key": DoorKey().public.fields()})
    assert centre.error("POST", "/enrol", other) == (403, "feed.bad_code")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        cbor.encode([]),
        cbor.encode({"code": "x"}),
        cbor.encode({"code": 5, "key": {}}),
        cbor.encode({"code": "x", "key": {1: 2, -1: 1, -2: b"\xff" * 32, -3: True}}),
        cbor.encode({"code": "x", "key": DoorKey().public.fields(), "door": b"short"}),
        cbor.encode({"code": "x", "key": DoorKey().public.fields(), "more": 1}),
        cbor.encode({"code": "x" * 2000, "key": DoorKey().public.fields()}),
    ],
    ids=["nothing", "no CBOR", "a list", "no key", "no code", "no point", "short door", "one more", "long code"],
)
def test_a_malformed_enrolment_is_refused(centre: Centre, body: bytes) -> None:
    assert centre.error("POST", "/enrol", body) == (400, "feed.malformed")


def test_receipts_are_counted_only_when_the_door_signed_them(centre: Centre) -> None:
    fleet = [centre.enrolled() for _ in range(3)]
    at = centre.change()
    for door_id, key in fleet[:2]:
        assert centre.request("POST", "/receipts", key.receipt(door_id, at)) == (204, b"")
    forged = DoorKey().receipt(fleet[2][0], at)
    for body in (forged, b"", forged[:-1], b"x" * 5000):
        assert centre.error("POST", "/receipts", body) == (403, "feed.bad_receipt")
    with database.reading(centre.factory) as session:
        told = receipts.confirmations(session, *at)
    mine = {one.door_id: one.is_confirmed for one in told.doors}
    assert [mine[door_id] for door_id, _ in fleet] == [True, True, False]


def test_records_are_stored_once_and_acknowledged(centre: Centre) -> None:
    door_id, key = centre.enrolled()
    log = DoorLog(door_id, key)
    records = log.write(40)
    message = log.message(records)
    acknowledged = {"boot": 1, "seq": 40, "hash": record_hash(records[-1])}
    for _ in range(3):
        code, body = centre.request("POST", f"/records/{door_id}", message)
        assert (code, cbor.decode(body, max_bytes=200)) == (200, acknowledged)
    later = log.write(2)
    code, body = centre.request("POST", f"/records/{door_id}", log.message(later[1:]))
    assert (code, cbor.decode(body, max_bytes=200)) == (409, acknowledged)
    code, _ = centre.request("POST", f"/records/{door_id}", log.message([*records, *later]))
    assert code == 200


def test_a_forked_log_is_refused_and_the_alarm_kept(centre: Centre) -> None:
    door_id, key = centre.enrolled()
    log, twin = DoorLog(door_id, key), DoorLog(door_id, key)
    centre.request("POST", f"/records/{door_id}", log.message(log.write(3)))
    forked = twin.message(twin.write(3, reason="not-this-door"))
    assert centre.error("POST", f"/records/{door_id}", forked) == (409, "feed.fork")
    with database.reading(centre.factory) as session:
        kinds = {(alarm.door_id, alarm.kind) for alarm, _ in alarms.waiting(session, ADMIN)}
    assert (door_id, "fork") in kinds


def test_records_of_nobody_are_refused(centre: Centre) -> None:
    door_id, key = centre.enrolled()
    log = DoorLog(door_id, key)
    records = log.write(1)
    stranger = DoorLog(door_id, DoorKey())
    assert centre.error("POST", f"/records/{door_id}", stranger.message(records)) == (403, "feed.bad_head")
    assert centre.error("POST", f"/records/{uuid.uuid4()}", log.message(records)) == (404, "feed.unknown_door")
    assert centre.error("POST", f"/records/{door_id}", b"\x80") == (400, "feed.malformed")
    assert centre.error("POST", f"/records/{door_id}", cbor.encode(["text"])) == (400, "feed.malformed")


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "error"),
    [
        ("GET", "/status/2", None, 404, "feed.no_snapshot"),
        ("GET", "/events", None, 400, "feed.malformed"),
        ("GET", "/events?epoch=1&after=-1", None, 400, "feed.malformed"),
        ("GET", "/events?epoch=1&after=99999999999999999999", None, 400, "feed.malformed"),
        ("GET", "/stream?epoch=1", None, 400, "feed.malformed"),
        ("GET", "/stream?epoch=1&after=0&door=x", None, 400, "feed.malformed"),
        ("GET", "/bundles/x", None, 400, "feed.malformed"),
        ("POST", "/fresh", b"short", 400, "feed.malformed"),
        ("POST", "/fresh", b"x" * 17, 400, "feed.malformed"),
    ],
)
def test_a_wrong_question_gets_a_reason(
    centre: Centre, method: str, path: str, body: bytes | None, code: int, error: str
) -> None:
    assert centre.error(method, path, body) == (code, error)


def test_a_body_beyond_any_message_is_not_read(centre: Centre) -> None:
    code, _ = centre.request("POST", f"/records/{uuid.uuid4()}", bytes(1 << 20))
    assert code == 413


def test_a_slow_listener_is_dropped_and_finds_everything_by_number(centre: Centre) -> None:
    """It never reads; the others go on hearing, and what it missed is there when it asks."""
    with database.transaction(centre.factory) as session:
        cards = [uuid.uuid4() for _ in range(400)]
        for card_id in cards:
            status.allocate(session, card_id, now())
    before = centre.settled().seq
    with socket.socket() as slow:
        slow.settimeout(20)
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", centre.feed.port))
        slow.sendall(f"GET /stream?epoch=1&after={before} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert slow.recv(1) == b"H"  # it is listened to, and reads no more
        quick = centre.listen(after=before)
        for number in range(100):
            value = (Status.SUSPENDED, Status.VALID)[number % 2]
            with database.transaction(centre.factory) as session:
                at = status.set_statuses(session, centre.hsm, [(card, value) for card in cards], now())
            centre.poke()
            assert wire.read_event(quick.next("status").body()).value.seq == at.seq
            if "slow listener dropped" in centre.feed.log():
                break
        else:
            pytest.fail("the slow listener was kept")
    quick.close()
    again = centre.listen(after=before)
    assert wire.read_event(again.next("status").body()).value.seq == before + 1
    again.close()


def test_the_feed_rotates_to_a_new_epoch_with_the_trust_list_that_names_it(centre: Centre) -> None:
    """Last in this module: the installation lives in epoch 2 from here on."""
    card_id = centre.new_card()
    listener = centre.listen(after=centre.settled().seq)
    old = centre.trust()
    with (
        database.transaction(centre.factory) as session,
        centre.hsm_process.client(Role.SO) as officer,
        centre.hsm_process.client(Role.USER) as user,
    ):
        status.start_epoch(session)
        number = trust_list.publish(session, Ceremony(user, officer), now())
    at = centre.set_status(card_id, Status.REVOKED)
    assert at == Position(2, 1)
    heard = [listener.frame() for _ in range(2)]
    assert {frame.event for frame in heard} <= {"status", "trust", "heartbeat"}
    listener.close()
    assert number == old.content.number + 1
    trust = centre.trust()
    assert trust.content.epoch == 2
    held = wait_for_snapshot(centre, at)
    with database.reading(centre.factory) as session:
        place = status.place_of(session, card_id)
    assert read_entry(held.packed, place.idx) is Status.REVOKED
