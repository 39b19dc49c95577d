"""Attacks and faults at the centre (docs, attack rows "At the centre"), against the real engine, HSM and card."""

import secrets
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from card_office import (
    APPROVER,
    ENCODER,
    HOME,
    HR,
    OTHER,
    SECOND,
    TRANSPORT_KEYS,
    Blank,
    Centre,
    officer,
    open_centre,
    silent,
)

from cardlink.gp.commands import PutKey
from cardlink.iso7816.apdu import Command, Ins
from cardlink.piv import commands as piv
from cardlink.piv.pins import encode_pin
from cardlink.piv.tables import CARD_CREDENTIAL, IDENTITY_STATEMENT, PIV_AID, KeyRef
from cardlink.transport.connection import Connection
from cardos.card import Card as ChipCard
from cardos.factory import make_blank
from cardos.image import FileStore
from issuer import database
from issuer.cards import lifecycle, personalise
from issuer.cards.guards import live_cards
from issuer.cards.journal import LEASE
from issuer.cards.personalise import Done, Job, Send, Spoiled, next_command
from issuer.cards.profiles import THEMO
from issuer.cards.run import run
from issuer.cards.states import CardState
from issuer.cards.talk import CARD, TRANSPORT, Channel, Talk
from issuer.errors import Conflict, Forbidden, Refused
from issuer.policy import Role as Office
from issuer.trust.port import HsmError, WrongAnswer
from issuer.trust.tables import SignerRow

Change = Callable[[bytes, bytes], bytes]


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    with open_centre(tmp_path_factory.mktemp("centre")) as opened:
        yield opened


@dataclass
class Station:
    """A station that changes what passes: `change` is given the command and the answer."""

    below: Connection
    change: Change

    def transmit(self, apdu: bytes) -> bytes:
        return self.change(apdu, self.below.transmit(apdu))


def walk(job: Job, connection: Connection, exchanges: int) -> None:
    """Carry so many exchanges and then fall silent, as a station whose power went."""
    answer: bytes | None = None
    for _ in range(exchanges):
        following = next_command(job, answer)
        assert isinstance(following, Send)
        answer = connection.transmit(following.apdu)


def carry_talk(talk: Talk[None], connection: Connection) -> None:
    """Carry one conversation to its end."""
    answer: bytes | None = None
    try:
        while True:
            apdu = next(talk) if answer is None else talk.send(answer)
            answer = connection.transmit(apdu)
    except StopIteration:
        return


def assert_encodes(centre: Centre, card_id: uuid.UUID, blank: Blank) -> None:
    card = centre.card(card_id)
    assert centre.encode(card.id, blank.connect()).outcome == Done(card.id, card.uuid)
    with database.reading(centre.factory) as session:
        assert [one.id for one in live_cards(session, card.person_id)] == [card.id]


def test_a_station_that_swaps_the_cards_public_key_is_found_out(centre: Centre) -> None:
    card, blank = centre.allocated()

    def swap(apdu: bytes, answer: bytes) -> bytes:
        if apdu[1] == Ins.GENERATE_ASYMMETRIC_KEY_PAIR:
            return secrets.token_bytes(len(answer) - 2) + answer[-2:]
        return answer

    with pytest.raises(WrongAnswer) as refused:
        run(Station(blank.connect(), swap), centre.job(card.id), silent)
    assert refused.value.code == "hsm.wrong_answer"
    assert centre.card(card.id).state == CardState.ALLOCATED
    assert_encodes(centre, card.id, blank)


@pytest.mark.parametrize("bit", [0, 7])
def test_a_single_changed_bit_in_a_wrapped_command_changes_nothing_on_the_card(centre: Centre, bit: int) -> None:
    card, blank = centre.allocated()

    class Flips:
        """Changes one bit of the first PUT DATA."""

        def __init__(self) -> None:
            self.below = blank.connect()

        def transmit(self, apdu: bytes) -> bytes:
            if apdu[1] == Ins.PUT_DATA:
                apdu = apdu[:10] + bytes([apdu[10] ^ 1 << bit]) + apdu[11:]
            return self.below.transmit(apdu)

    with pytest.raises(Refused) as refused:
        run(Flips(), centre.job(card.id), silent)
    assert refused.value.code == "cards.channel_lost"
    assert blank.chip.persistent.objects == {}
    assert_encodes(centre, card.id, blank)


def test_a_station_sees_neither_keys_nor_pin_nor_names(centre: Centre) -> None:
    card, blank = centre.allocated()
    seen: list[bytes] = []

    def watch(apdu: bytes, answer: bytes) -> bytes:
        seen.append(apdu + answer)
        return answer

    run(Station(blank.connect(), watch), centre.job(card.id), silent)
    with database.transaction(centre.factory) as session:
        pin = personalise.reveal_pin(session, centre.hsm, ENCODER, card.id, centre.clock())
    wire = b"".join(seen)
    assert encode_pin(pin) not in wire
    assert card.identifier.encode() not in wire
    assert blank.chip.persistent.references[KeyRef.PUK].value not in wire
    assert blank.chip.persistent.admin.key not in wire


def test_two_stations_at_one_job_are_told_apart(centre: Centre) -> None:
    card, blank = centre.allocated()
    first = centre.job(card.id)
    walk(first, blank.connect(), 20)
    with pytest.raises(Conflict) as refused:
        personalise.start(centre.factory, centre.hsm, SECOND, card.id, centre.clock)
    assert refused.value.code == "cards.job_taken"
    first.abandon()
    assert_encodes(centre, card.id, blank)


def test_a_station_that_fell_silent_loses_its_job_and_writes_nothing_more(centre: Centre) -> None:
    card, blank = centre.allocated()
    slow, connection = centre.job(card.id), blank.connect()
    walk(slow, connection, 20)
    centre.clock.pass_by(LEASE + timedelta(seconds=1))
    assert_encodes(centre, card.id, blank)
    with pytest.raises(Conflict, match=r"cards\.job_lost"):
        slow._work.journal.begin("rotate")  # the slow station's next commit


@pytest.mark.parametrize("exchanges", [1, 9, 30, 90])
def test_a_job_whose_station_died_goes_on_after_its_lease(centre: Centre, exchanges: int) -> None:
    card, blank = centre.allocated()
    walk(centre.job(card.id), blank.connect(), exchanges)
    with pytest.raises(Conflict, match=r"cards\.job_taken"):
        centre.job(card.id)
    centre.clock.pass_by(LEASE)
    assert_encodes(centre, card.id, blank)


IMAGE_SECRET = bytes(32)
KILLED = """
import os, signal, sys, uuid
from datetime import UTC, datetime
from pathlib import Path
from cardos.card import Card
from cardos.image import FileStore
from hsm_sim.client import Client
from issuer import database
from issuer.cards import personalise
from issuer.cards.run import run
from issuer.policy import Actor, Role
from issuer.trust.sim import Sim

url, socket, card_id, image, actor_id, kill_at, after = sys.argv[1:]
chip = Card(FileStore(Path(image), bytes(32)))
count = 0

class Doomed:
    def transmit(self, apdu):
        global count
        count += 1
        if count == int(kill_at) and after == "no":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = chip.transmit(apdu)
        if count == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

factory = database.session_factory(database.engine_at(url))
actor = Actor(uuid.UUID(actor_id), "station", ((Role.CARD_OFFICE, "*"),))
hsm = Sim(Client(socket, "user", sys.stdin.readline().strip()))
job = personalise.start(factory, hsm, actor, uuid.UUID(card_id), lambda: datetime(2026, 3, 2, 8, 0, tzinfo=UTC))
run(Doomed(), job, lambda progress: None)
"""


@pytest.mark.parametrize(("kill_at", "after"), [(6, "yes"), (9, "no"), (13, "yes"), (40, "yes"), (110, "no")])
def test_a_killed_station_process_leaves_a_card_that_is_resumed(tmp_path: Path, kill_at: int, after: str) -> None:
    with open_centre(tmp_path) as centre:
        card, blank = centre.allocated()
        image = tmp_path / "card.image"
        FileStore.create(image, IMAGE_SECRET, make_blank(bytes.fromhex(blank.serial), TRANSPORT_KEYS)).close()
        engine = centre.factory.kw["bind"]
        arguments = [str(engine.url), str(centre.process.socket), str(card.id), str(image)]
        killed = subprocess.run(
            [sys.executable, "-c", KILLED, *arguments, str(ENCODER.user_id), str(kill_at), after],
            input=centre.process.pins["user"] + "\n",
            capture_output=True,
            text=True,
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        centre.clock.pass_by(LEASE)
        chip = Blank(blank.serial, ChipCard(FileStore(image, IMAGE_SECRET)))
        assert_encodes(centre, card.id, chip)


def test_an_hsm_killed_in_the_middle_leaves_a_card_that_is_resumed(centre: Centre) -> None:
    card, blank = centre.allocated()
    job, connection = centre.job(card.id), blank.connect()
    walk(job, connection, 40)
    centre.process.restart()
    with pytest.raises(HsmError) as refused:
        job.advance(b"\x90\x00")
    assert refused.value.code == "hsm.session_lost"
    assert centre.card(card.id).job_token is None
    assert_encodes(centre, card.id, blank)


def test_a_stolen_centre_cannot_load_keys_or_pins_of_its_own_over_a_cards_channel(centre: Centre) -> None:
    _, blank = centre.encoded()
    channel = Channel(centre.hsm, "a job", blank.serial, THEMO, {CARD: "card-master-1", TRANSPORT: "none"})
    connection = blank.connect()
    carry_talk(channel.open(PIV_AID, (CARD,), centre.hsm.random(8)), connection)
    for forbidden in (
        PutKey(0x01, 0x02, 0x01, ()).encode(),
        piv.change_reference_data(KeyRef.PIN, encode_pin("123456"), encode_pin("111111")),
        piv.reset_retry_counter(b"12345678", encode_pin("111111")),
        piv.verify(encode_pin("123456")),
        Command(0x00, 0xFF, 0xFF, 0xFF, bytes(35)),
    ):
        with pytest.raises(HsmError) as refused:
            centre.hsm.wrap(channel.session, forbidden.encode())
        assert refused.value.code == "hsm.denied"
    channel.drop()


def test_a_stolen_centre_makes_no_keys_and_signs_no_trust_list(centre: Centre) -> None:
    with pytest.raises(HsmError, match=r"hsm\.denied"):
        centre.hsm.generate("mine", "ec-p256", "card", (HOME,))
    with pytest.raises(HsmError, match=r"hsm\.denied"):
        centre.hsm.sign("root-1", "root", b"a trust list")
    with pytest.raises(HsmError, match=r"hsm\.denied"):
        centre.hsm.sign(f"card-{HOME}-1", "identity", b"with another use")


def test_who_approved_a_card_does_not_encode_it(centre: Centre) -> None:
    card, _ = centre.allocated()
    both = officer(APPROVER.name, Office.CARD_OFFICE)
    with pytest.raises(Forbidden) as refused:
        personalise.start(centre.factory, centre.hsm, both, card.id, centre.clock)
    assert refused.value.code == "cards.approver_encodes"


def test_a_station_of_another_agency_gets_no_job(centre: Centre) -> None:
    card, _ = centre.allocated()
    for actor, code in (
        (officer("người lạ", Office.CARD_OFFICE, OTHER), "policy.other_agency"),
        (HR, "policy.no_role"),
    ):
        with pytest.raises(Forbidden) as refused:
            personalise.start(centre.factory, centre.hsm, actor, card.id, centre.clock)
        assert refused.value.code == code


def test_a_thing_on_the_reader_that_is_no_card_of_ours_is_left_alone(centre: Centre) -> None:
    card, blank = centre.allocated()

    class Ticket:
        """A bus ticket."""

        def transmit(self, apdu: bytes) -> bytes:
            return b"\x6d\x00"

    with pytest.raises(Refused) as refused:
        centre.encode(card.id, Ticket())
    assert refused.value.code == "cards.not_our_product"
    assert_encodes(centre, card.id, blank)


def test_a_card_that_lets_anybody_read_the_identity_is_spoiled(centre: Centre) -> None:
    card, blank = centre.allocated()
    wanted = piv.get_data(IDENTITY_STATEMENT.tag).encode()

    def leak(apdu: bytes, answer: bytes) -> bytes:
        return b"\x53\x00\x90\x00" if apdu == wanted else answer

    outcome = run(Station(blank.connect(), leak), centre.job(card.id), silent).outcome
    assert isinstance(outcome, Spoiled)
    assert outcome.reason == "read-back: object 5FFF21 is read without a PIN"


def test_a_card_that_holds_another_credential_than_was_written_is_spoiled(centre: Centre) -> None:
    other, _ = centre.encoded()
    card, blank = centre.allocated()
    wanted = piv.get_data(CARD_CREDENTIAL.tag).encode()
    assert other.credential is not None
    put = piv.wrap_object(CARD_CREDENTIAL.tag, other.credential) + b"\x90\x00"

    def swap(apdu: bytes, answer: bytes) -> bytes:
        return put if apdu == wanted else answer

    outcome = run(Station(blank.connect(), swap), centre.job(card.id), silent).outcome
    assert isinstance(outcome, Spoiled)
    assert outcome.reason == "read-back: credential: bad-signature"
    assert centre.card(card.id).state == CardState.SPOILED


def test_no_card_is_written_that_no_door_would_know(centre: Centre) -> None:
    card, blank = centre.allocated()
    with database.transaction(centre.factory) as session:
        row = session.get_one(SignerRow, f"card-{HOME}-1")
        label, kid = row.label, row.kid
        row.kid = bytes(8)  # as if a signer had been put beside the trust list
    try:
        with pytest.raises(Refused) as refused:
            centre.encode(card.id, blank.connect())
        assert refused.value.code == "trust.list_stale"
    finally:
        with database.transaction(centre.factory) as session:
            session.get_one(SignerRow, label).kid = kid
    assert CARD_CREDENTIAL.tag not in blank.chip.persistent.objects
    assert_encodes(centre, card.id, blank)


def test_the_hsm_refuses_a_job_with_two_cards(centre: Centre) -> None:
    """A PIN belongs to one job and one chip."""
    card, blank = centre.allocated()
    walk(job := centre.job(card.id), blank.connect(), 30)
    job.abandon()
    other = centre.blank()
    channel = Channel(
        centre.hsm, str(card.id), other.serial, THEMO, {CARD: "card-master-1", TRANSPORT: "transport-batch-1"}
    )
    connection = other.connect()
    with pytest.raises(HsmError) as refused:
        carry_talk(channel.open(PIV_AID, (TRANSPORT,), centre.hsm.random(8)), connection)
    assert refused.value.code == "hsm.denied"
    assert blank.serial != other.serial


def test_a_spoiled_card_of_a_torn_job_stays_in_the_register_with_its_reason(centre: Centre) -> None:
    card, blank = centre.allocated()
    walk(job := centre.job(card.id), blank.connect(), 30)
    job.abandon()
    with database.transaction(centre.factory) as session:
        lifecycle.spoil(session, centre.hsm, ENCODER, card.id, "rơi vỡ", centre.clock())
    with pytest.raises(Refused) as refused:
        centre.encode(card.id, blank.connect())
    assert (refused.value.code, refused.value.facts["state"]) == ("cards.not_to_encode", CardState.SPOILED)
    assert centre.card(card.id).state_reason == "rơi vỡ"
