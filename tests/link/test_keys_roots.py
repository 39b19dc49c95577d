"""Root keys with thresholds and several persons: each list by commands, with a door that follows or refuses."""

import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta

import pytest
from key_drill import KeyRoom, agreeing, open_key_room, right_now, tap, within

from cardlink.statements.cose import parse_several
from cardlink.statements.trust import MAX_TRUST_BYTES, Roots, Trust, accept_trust_list
from issuer import database
from issuer.registry.tables import Agency
from issuer.trust import rotation, trust_list
from reader_daemon.daemon import Daemon


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyRoom]:
    with open_key_room(tmp_path_factory.mktemp("room"), persons=2, roots=(3, 2)) as opened:
        opened.start_feed()
        yield opened


@pytest.fixture(scope="module")
def door(room: KeyRoom) -> Daemon:
    return room.door()


def body(room: KeyRoom) -> bytes:
    with database.reading(room.centre.factory) as session:
        return trust_list.current(session)


def test_a_list_waits_until_the_other_person_has_typed_what_it_says(room: KeyRoom, door: Daemon) -> None:
    before = room.list_number()
    waiting = subprocess.Popen(
        room.argv("keys", "trust-list", "--publish"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert waiting.stderr is not None
    assert waiting.stdout is not None
    for root in ("root-1", "root-2", "root-3"):
        told = waiting.stderr.readline()
        found = re.fullmatch(
            rf"sign {root}: takes 2 persons. The others type: (hsm-sim approve [0-9a-f]{{32}})\n", told
        )
        assert found, told
        assert re.fullmatch(r"hash of the operation: [0-9a-f]{64}\n", waiting.stderr.readline())
        assert room.list_number() == before
        room.centre.person()  # the register is written to meanwhile: nothing is locked
        room.hsm_sim("Minh", *found[1].split()[1:])
    assert waiting.wait(20) == 0
    assert f"trust list {before + 1}" in waiting.stdout.read()
    waiting.stdout.close()
    waiting.stderr.close()
    room.poke()
    room.follows(door)


def test_one_more_agency_locks_nothing_while_persons_agree_and_goes_on_after_a_kill(room: KeyRoom) -> None:
    with database.transaction(room.centre.factory) as session:
        session.add(Agency(code="G01", name="Bộ Mới", short_name="Mới", kind="ministry", scheme=1))
    command = ("keys", "init", "--agency", "G01")
    waiting = subprocess.Popen(room.argv(*command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert waiting.stderr is not None
    assert waiting.stderr.readline().startswith("sign x509-root-1: takes 2 persons")
    room.centre.person()  # the register is written to meanwhile: nothing is locked
    waiting.kill()
    waiting.communicate()
    left = room.type("keys", "status", officer=None)
    assert len(re.findall(r"^\S+-G01-1 .*type the command that broke off again", left, re.M)) == 7
    with agreeing(room):
        assert room.type(*command).splitlines() == [f"trust list {room.list_number()} is in force"]  # no key was made
    assert "no key was left behind" in room.type("keys", "status", officer=None)
    assert ("G01",) in {one.scope for one in room.list_in_force().content.keys}


def test_the_root_of_certificates_takes_two_persons_who_agree_to_all_certificates_at_once(room: KeyRoom) -> None:
    with agreeing(room):
        rotating = subprocess.run(room.argv("keys", "rotate", "x509-root"), capture_output=True, text=True, check=True)
    asked = re.findall(r"^(\w+ [\w-]+): takes 2 persons", rotating.stderr, re.M)
    assert asked[:3] == ["generate x509-root-2", "sign_many x509-root-2", "sign x509-root-1"]
    assert "x509-root-2" in rotating.stdout


def test_a_root_key_is_replaced_and_the_list_bears_both_thresholds(room: KeyRoom, door: Daemon) -> None:
    held = room.list_in_force()
    _, blank = room.active_card()
    with agreeing(room):
        assert "root-4" in room.type("keys", "rotate", "root", "root-1")
    room.follows(door)
    assert len(room.list_in_force().content.roots.keys) == 3
    assert room.list_in_force().content.roots != held.content.roots
    assert isinstance(accept_trust_list(body(room), held, right_now()), Trust)
    within(10, lambda: tap(door, blank) == "granted")


def test_a_compromised_root_signs_nothing_and_the_two_that_are_left_change_the_roots(
    room: KeyRoom, door: Daemon
) -> None:
    held = room.list_in_force()
    lost = next(key.kid() for key in held.content.roots.keys)
    with database.reading(room.centre.factory) as session:
        label = next(row.label for row in trust_list._counted(session, held.content.number) if row.kid == lost)
    with agreeing(room):
        told = room.type("keys", "compromised", label)
    assert "signed by enough of the roots" in told
    room.follows(door)
    assert room.state_of(label) == "compromised"
    signed_by = {one.kid for one in parse_several(body(room), max_bytes=MAX_TRUST_BYTES).signatures}
    assert lost not in signed_by
    assert lost not in {key.kid() for key in room.list_in_force().content.roots.keys}
    assert isinstance(accept_trust_list(body(room), held, right_now()), Trust)


def test_all_roots_are_replaced_by_more_and_a_door_that_missed_lists_still_follows(room: KeyRoom, door: Daemon) -> None:
    pinned = room.list_in_force().content.roots
    with agreeing(room):
        room.type("keys", "rotate", "root", "--roots", "4", "--threshold", "3")
        room.type("keys", "trust-list", "--publish")
    room.follows(door)
    now_held = room.list_in_force().content.roots
    assert (now_held.threshold, len(now_held.keys)) == (3, 4)
    assert set(now_held.keys).isdisjoint(pinned.keys)
    # a door that was away for both lists knows the old roots only, and takes the newest list by their signatures
    assert isinstance(accept_trust_list(body(room), Roots(pinned.threshold, pinned.keys), right_now()), Trust)


def test_replaced_roots_end_in_the_hsm_when_no_door_can_need_them(room: KeyRoom) -> None:
    assert room.state_of("root-1") == "active"
    assert rotation.sweep(room.centre.factory, room.centre.ceremony, right_now()) == ()
    later = right_now() + trust_list.LIFE + timedelta(days=1)
    ended = rotation.sweep(room.centre.factory, room.centre.ceremony, later)
    assert "root-1" in ended
    assert room.state_of("root-1") == "deactivated"


def test_too_few_roots_sign_no_list(room: KeyRoom) -> None:
    with database.reading(room.centre.factory) as session:
        labels = [row.label for row in trust_list._counted(session, trust_list.current_number(session))]
    for label in labels[:2]:
        room.hsm_sim("Lan", "state", label, "compromised")
    assert "only 2 root keys" in room.type("keys", "trust-list", "--publish", code=1)
