"""Rotation as rehearsed commands: `issuer keys rotate ...`, with a real door that follows over the real feed."""

import itertools
import random
import subprocess
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from asn1crypto import pem
from card_certificates import authority, certificate
from card_office import ENCODER, HOME, OTHER
from key_drill import KeyRoom, open_key_room, right_now, tap, within
from sqlalchemy import select

from cardlink.check.path import verify_card_certificate
from cardlink.statements.cose import parse_sign1
from cardlink.statements.record import Kind, decode_record
from cardlink.statements.refusal import Reason, Refused
from cardlink.statements.trust import KeyEntry, KeyState, Use
from issuer import database
from issuer.access import bundles
from issuer.cards import blocking
from issuer.cards.blocking import BlockReason
from issuer.cards.tables import CardCertificate
from issuer.registry.tables import Agency
from issuer.trust import ca, masters, profiles, revocation, rotation, signers, x509_roots
from issuer.trust.port import HsmError
from issuer.trust.tables import SignerRow
from reader_daemon.daemon import Daemon

SEED = 22_112_026
KILLS = 2  # at each step, without a process: tests/unit/test_keys_killed.py
KILLED_AFTER_S = (0.0, 0.3)
"""From the moment at which the new key is in the HSM: before that there is nothing to tear."""


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyRoom]:
    with open_key_room(tmp_path_factory.mktemp("room")) as opened:
        opened.start_feed()
        yield opened


@pytest.fixture(scope="module")
def door(room: KeyRoom) -> Daemon:
    return room.door()


def entries(room: KeyRoom, use: Use) -> list[KeyEntry]:
    """The keys of one use of HOME in the list in force, the oldest first."""
    found = [one for one in room.list_in_force().content.keys if one.use is use and one.scope == (HOME,)]
    return sorted(found, key=lambda one: one.signs_from_s)


def alarms(door: Daemon) -> list[str]:
    rows = door.database.rows("SELECT record FROM records ORDER BY boot, seq")
    records = [decode_record(row[0]) for row in rows if isinstance(row[0], bytes)]
    return [str(one.reason) for one in records if one.kind == Kind.ALARM]


def test_a_card_signer_is_replaced_and_the_door_takes_cards_of_both(room: KeyRoom, door: Daemon) -> None:
    _, old = room.active_card()
    within(10, lambda: tap(door, old) == "granted")
    told = room.type("keys", "rotate", "card", "--agency", HOME)
    assert told.splitlines()[0] == "card-H38-2"
    room.follows(door)
    assert room.state_of("card-H38-1") == "deactivated"
    with pytest.raises(HsmError):
        room.centre.hsm.sign("card-H38-1", "card", b"one more")
    _, new = room.active_card()
    room.poke()
    within(10, lambda: tap(door, new) == "granted")
    assert tap(door, old) == "granted"
    assert [one.state for one in entries(room, Use.CARD)] == [KeyState.RETIRED, KeyState.ACTIVE]


def test_what_the_retired_signer_signed_verifies_as_long_as_its_last_card(room: KeyRoom) -> None:
    retired = entries(room, Use.CARD)[0]
    five_years_s = 5 * 365 * 86_400
    assert retired.verifies_until_s - retired.signs_until_s > five_years_s
    assert abs(retired.signs_until_s - right_now().timestamp()) < 600


@pytest.mark.parametrize("use", ["identity", "qr"])
def test_the_other_signers_of_an_agency_are_replaced(room: KeyRoom, door: Daemon, use: str) -> None:
    assert f"{use}-{HOME}-2" in room.type("keys", "rotate", use, "--agency", HOME)
    room.follows(door)
    assert room.state_of(f"{use}-{HOME}-1") == "deactivated"
    _, blank = room.active_card()
    room.poke()
    within(10, lambda: tap(door, blank) == "granted")


def test_the_bundle_signer_is_replaced_and_the_door_has_its_rules_under_the_new_key(
    room: KeyRoom, door: Daemon
) -> None:
    before = door.state.view.rules
    assert before is not None
    room.type("keys", "rotate", "bundle", "--agency", HOME)
    room.follows(door)
    within(10, lambda: door.state.view.rules is not None and door.state.view.rules.bundle.seq > before.bundle.seq)
    with database.reading(room.centre.factory) as session:
        _, body = bundles.current(session, uuid.UUID(bytes=door.enrolment.door))
    assert parse_sign1(body, max_bytes=1 << 20).kid == entries(room, Use.BUNDLE)[-1].kid


def test_the_status_signer_is_replaced_and_a_block_reaches_the_door_under_the_new_key(
    room: KeyRoom, door: Daemon
) -> None:
    card, blank = room.active_card()
    room.poke()
    within(10, lambda: tap(door, blank) == "granted")
    before = alarms(door)
    room.type("keys", "rotate", "status")
    room.follows(door)
    assert tap(door, blank) == "granted"
    with database.transaction(room.centre.factory) as session:
        blocking.block(session, room.centre.hsm, ENCODER, card.id, BlockReason.LOST, right_now())
    room.poke()
    within(10, lambda: tap(door, blank) != "granted")
    assert alarms(door) == before
    within(20, lambda: (door.state.stale_s() or 99) < 60)


def test_the_command_signer_is_replaced(room: KeyRoom, door: Daemon) -> None:
    assert f"command-{HOME}-2" in room.type("keys", "rotate", "command")
    room.follows(door)
    assert room.state_of(f"command-{HOME}-1") == "deactivated"


def test_a_signer_announced_ahead_begins_later_and_the_old_one_signs_until_then(room: KeyRoom, door: Daemon) -> None:
    assert f"card-{OTHER}-2" in room.type("keys", "rotate", "card", "--agency", OTHER, "--ahead-days", "14")
    room.follows(door)
    assert room.state_of(f"card-{OTHER}-1") == "active"
    with database.reading(room.centre.factory) as session:
        now = signers.signer_for(session, room.centre.hsm, OTHER, "card", right_now())
        later = signers.signer_for(session, room.centre.hsm, OTHER, "card", right_now() + timedelta(days=15))
    assert (now.label, later.label) == (f"card-{OTHER}-1", f"card-{OTHER}-2")


def test_issuing_authority_and_content_signer_are_replaced_and_certificates_of_both_hold(
    room: KeyRoom, door: Daemon
) -> None:
    card, _ = room.active_card()
    assert f"x509-ca-{HOME}-2" in room.type("keys", "rotate", "ca", "--agency", HOME)
    assert f"x509-content-{HOME}-2" in room.type("keys", "rotate", "content", "--agency", HOME)
    room.follows(door)
    anchors = [one for one in room.list_in_force().content.anchors if one.scope == (HOME,)]
    assert len(anchors) == 2
    assert room.state_of(f"x509-ca-{HOME}-1") == "active"  # for its CRL
    assert room.state_of(f"x509-content-{HOME}-1") == "deactivated"
    again, _ = room.active_card()
    with database.reading(room.centre.factory) as session:
        query = select(CardCertificate.issuer_label).where(CardCertificate.card_id.in_([card.id, again.id]))
        issuers = set(session.scalars(query))
    assert issuers == {f"x509-ca-{HOME}-1", f"x509-ca-{HOME}-2"}


def test_the_root_of_certificates_is_replaced_and_old_and_new_certificates_hold_under_both(
    room: KeyRoom, door: Daemon, tmp_path: Path
) -> None:
    cards = [room.active_card()[0]]
    root, issuing = authorities_in_use(room)
    told = room.type("keys", "rotate", "x509-root")
    assert told.splitlines()[:2] == ["x509-root-2", "in place of x509-root-1"]
    room.follows(door)
    card, blank = room.active_card()  # read back by the centre under the new list
    cards.append(card)
    room.poke()
    within(10, lambda: tap(door, blank) == "granted")
    exported = room.type("keys", "export-root", "--links", officer=None)
    new_root, *links = (one for _, _, one in pem.unarmor(exported.encode(), multiple=True))
    assert (new_root, len(links)) == (authorities_in_use(room)[0], 2)
    assert all(x509_roots.fingerprint(one) in told for one in (root, new_root))
    new_issuing = authorities_in_use(room)[1]
    leaf = tmp_path / "leaf.cer"
    for card in cards:
        with database.reading(room.centre.factory) as session:
            held = session.scalars(select(CardCertificate).where(CardCertificate.card_id == card.id)).all()
        for one in held:
            leaf.write_bytes(one.certificate)
            for anchor, below in itertools.product((root, new_root), (issuing, new_issuing)):
                assert openssl_verifies(leaf, anchor, below, *links)
            if one.slot == "9E":
                trust = room.list_in_force()
                assert not isinstance(verify_card_certificate(one.certificate, trust, right_now()), Refused)
    revocation.publish_due(room.centre.factory, room.centre.hsm, right_now())
    assert "the certificate is good" in room.type("keys", "crl", "check", str(leaf), officer=None)
    lists = room.type("keys", "crl", "publish", "--root")
    assert [line.split()[1] for line in lists.splitlines()] == ["x509-root-1", "x509-root-2"]
    assert room.state_of("x509-root-1") == "active"  # for its list


def authorities_in_use(room: KeyRoom) -> tuple[bytes, bytes]:
    """The root and the issuing authority of HOME."""
    with database.reading(room.centre.factory) as session:
        root, issuing = (ca.current(session, *one, right_now()) for one in ((ca.ROOT, ""), (ca.ISSUING, HOME)))
    return root.certificate, issuing.certificate


def openssl_verifies(leaf: Path, root: bytes, *chain: bytes) -> bool:
    """What OpenSSL says to somebody who trusts this root alone."""
    trusted, others = leaf.with_name("root.pem"), leaf.with_name("chain.pem")
    trusted.write_bytes(ca.to_pem(root))
    others.write_bytes(b"".join(map(ca.to_pem, chain)))
    command = ["openssl", "verify", "-x509_strict", "-CAfile", str(trusted), "-untrusted", str(others), str(leaf)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_new_cards_get_the_new_master_key_and_old_cards_are_still_opened(room: KeyRoom) -> None:
    card, _ = room.active_card()
    waiting, blank = room.centre.allocated()
    assert "card-master-2" in room.type("keys", "rotate", "card-master")
    room.centre.encode(waiting.id, blank.connect())  # begun under the old one: it keeps that
    fresh, _ = room.active_card()
    labels = [room.centre.card(one.id).master_label for one in (card, waiting, fresh)]
    assert labels == ["card-master-1", "card-master-1", "card-master-2"]
    with database.reading(room.centre.factory) as session:
        assert masters.current(session) == "card-master-2"
    assert room.state_of("card-master-1") == "active"


def test_a_foreign_authority_is_added_and_its_cards_are_taken_until_it_is_removed(
    room: KeyRoom, door: Daemon, tmp_path: Path
) -> None:
    with database.transaction(room.centre.factory) as session:
        session.add(Agency(code="F01", name="Cơ quan bạn", short_name="Bạn", kind="unit", scheme=1))
    theirs, now = tmp_path / "theirs.pem", right_now()
    theirs.write_bytes(ca.to_pem(authority("theirs", now)))
    card = certificate("card-9e", "theirs", profiles.CARD_PROFILES["9E"], now, card_uuid=bytes(16))

    def judged() -> str:
        assert door.state.view.trust is not None
        found = verify_card_certificate(card, door.state.view.trust, right_now())
        return str(found.reason) if isinstance(found, Refused) else found.agency

    assert judged() == str(Reason.UNKNOWN_SIGNER)
    told = room.type("keys", "anchor", "add", str(theirs), "--name", "bạn", "--agency", "F01")
    assert "its cards count as those of F01" in told
    assert "add the authority below it" in told  # this one signed itself
    room.follows(door)
    assert judged() == "F01"
    assert room.type("keys", "anchor", "list", officer=None).split()[:2] == ["bạn", "F01"]
    assert "removed bạn" in room.type("keys", "anchor", "remove", "bạn")
    room.follows(door)
    assert judged() == str(Reason.UNKNOWN_SIGNER)
    assert "no foreign authority" in room.type("keys", "anchor", "remove", "bạn", code=1)


def test_a_rotation_that_was_killed_is_run_again_and_leaves_one_signer(room: KeyRoom, door: Daemon) -> None:
    chance = random.Random(SEED)
    for _ in range(KILLS):
        made = len(room.centre.hsm.keys())
        killed = subprocess.Popen(
            room.argv("keys", "rotate", "qr", "--agency", HOME), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while len(room.centre.hsm.keys()) == made and killed.poll() is None:
            time.sleep(0.002)
        time.sleep(chance.uniform(*KILLED_AFTER_S))
        killed.kill()
        killed.wait()
        found = [one for one in entries(room, Use.QR) if one.state is KeyState.ACTIVE]
        assert len(found) == 1
    last = room.type("keys", "rotate", "qr", "--agency", HOME).splitlines()[0]
    room.type("keys", "trust-list", "--publish")
    room.follows(door)
    with database.reading(room.centre.factory) as session:
        assert rotation.active_signer(session, "qr", HOME).label == last
        rows = session.scalars(select(SignerRow).where(SignerRow.use == "qr", SignerRow.agency_code == HOME)).all()
    assert {row.label: room.state_of(row.label) for row in rows if row.label != last} == {
        row.label: "deactivated" for row in rows if row.label != last
    }
    _, blank = room.active_card()
    room.poke()
    within(10, lambda: tap(door, blank) == "granted")


def test_a_kind_that_does_not_exist_and_an_agency_left_out_are_refused(room: KeyRoom) -> None:
    assert "no kind of key" in room.type("keys", "rotate", "colour", code=1)
    assert "--agency" in room.type("keys", "rotate", "card", code=1)
    assert "name the root key" in room.type("keys", "rotate", "root", code=1)
