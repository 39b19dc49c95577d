"""A stolen issuing process: it has the everyday PIN and nothing else. Jobs, caps and roles are what hold it."""

import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest
from asn1crypto import x509 as asn1
from card_office import ENCODER as OFFICE
from card_office import HOME, OTHER, TRANSPORT_LABEL, VERIFY_URL, Blank
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from key_drill import COMMAND_WAIT_S, KeyRoom, open_key_room, right_now
from sqlalchemy import select

from cardlink.check.cache import CredentialCache
from cardlink.check.card import verify_credential
from cardlink.gp.commands import initialize_update
from cardlink.piv import commands as piv
from cardlink.piv.tables import Algorithm, KeyRef
from cardlink.statements.card import issue_card_credential, read_card_credential
from cardlink.statements.refusal import Refused as Judged
from cardlink.statements.trust import accept_trust_list, issue_trust_list
from cardlink.transport.connection import command
from hsm_sim.client import Capped, Client, Denied, NoSuchKey, NotAllocated, Role
from issuer import database
from issuer.cards import lifecycle, personalise, queries
from issuer.cards.tables import Card, CardCertificate
from issuer.errors import Refused
from issuer.trust.paths import validate
from issuer.trust.port import HsmError
from issuer.trust.sim import Allocator
from issuer.trust.tables import AuthorityRow, SignerRow

ALLOCATOR_PIN = "allo-123"
C_ALL = 0x33
CAP = 3
CARD_KEY = f"card-{HOME}-1"


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyRoom]:
    with open_key_room(tmp_path_factory.mktemp("room"), allocator_pin=ALLOCATOR_PIN) as opened:
        (opened.folder / "allocator.pin").write_text(ALLOCATOR_PIN + "\n")
        opened.type(*("users", "add", "cap.the", "--name", "Vàng Đức Sơn", "--role", "card_office@*"), officer=None)
        yield opened


@pytest.fixture
def thief(room: KeyRoom) -> Iterator[Client]:
    """Somebody in the issuing process, with its connection to the HSM."""
    with room.hsm_process.client(Role.USER) as client:
        yield client


def open_session(client: Client, job: str, blank: Blank) -> int:
    """Ask for a channel to a blank card, as the issuing process does."""
    challenge = secrets.token_bytes(8)
    answer = command(blank.connect(), initialize_update(0, challenge))
    kdd = bytes.fromhex(blank.serial)
    return client.open_session(job, "transport", TRANSPORT_LABEL, kdd, 0, challenge, answer, C_ALL).session


def as_allocator(room: KeyRoom, *words: str) -> str:
    """An `issuer` command in a process that has the allocator's PIN."""
    argv = room.argv(*words, officer=None)
    more = {"THEMO_HSM_ALLOCATOR_PIN_FILE": str(room.folder / "allocator.pin")}
    done = subprocess.run(
        argv,
        env={**os.environ, "THEMO_AS": "cap.the", **more},
        capture_output=True,
        text=True,
        timeout=COMMAND_WAIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_opens_no_channel_for_a_job_that_nobody_allocated(room: KeyRoom, thief: Client) -> None:
    blank = room.centre.blank()
    with pytest.raises(NotAllocated, match="was not allocated"):
        open_session(thief, "a job of its own", blank)


def test_it_allocates_no_job_for_itself(thief: Client) -> None:
    with pytest.raises(Denied):
        thief.allocate("a-job-of-its-own")
    with pytest.raises(Denied):
        thief.allow_pin("a-job-of-its-own")


@pytest.fixture(scope="module")
def blank(room: KeyRoom) -> Blank:
    return room.centre.blank()


@pytest.fixture(scope="module")
def encoded(room: KeyRoom, blank: Blank) -> Card:
    """A card whose job a process with the allocator's PIN opened, and the issuing process encoded."""
    request = room.centre.approved()
    card_uuid = as_allocator(room, "cards", "allocate", str(request.id), "--serial", blank.serial)
    with database.reading(room.centre.factory) as session:
        card = queries.named(session, OFFICE, card_uuid)
    room.centre.encode(card.id, blank.connect())
    return room.centre.card(card.id)


def test_the_console_allocates_the_job_and_the_issuing_process_encodes_that_card(encoded: Card) -> None:
    assert encoded.state == "encoded"


def test_it_signs_nothing_in_the_name_of_the_holder_of_a_card_that_waits(
    room: KeyRoom, thief: Client, encoded: Card, blank: Blank
) -> None:
    line, kdd, challenge = blank.connect(), bytes.fromhex(blank.serial), secrets.token_bytes(8)
    assert encoded.master_label is not None
    command(line, piv.select())
    answer = command(line, initialize_update(0, challenge))
    asked = (str(encoded.id), "card", encoded.master_label, kdd, 0, challenge, answer, C_ALL)
    with pytest.raises(NotAllocated, match="has ended"):
        thief.open_session(*asked)
    with Client(room.hsm_process.socket, Role.ALLOCATOR, ALLOCATOR_PIN) as allocator:
        allocator.allocate(str(encoded.id))  # as it stood while the card was made
    opened = thief.open_session(*asked)
    thief.unwrap(opened.session, line.transmit(opened.external_authenticate))
    verify = thief.put_secret(opened.session, "verify-pin", None, kdd)
    assert thief.unwrap(opened.session, line.transmit(verify)) == b"\x90\x00"
    contract = piv.sign(Algorithm.P_256, KeyRef.SIGNATURE, bytes(32)).encode()
    with pytest.raises(Denied, match="not wrapped"):
        thief.wrap(opened.session, contract)
    assert line.transmit(contract) == b"\x69\x82"  # past the channel the card knows no PIN


def reveal(room: KeyRoom, card: Card) -> str:
    """`issuer cards pin`, in the issuing process."""
    with database.transaction(room.centre.factory) as session:
        return personalise.reveal_pin(session, room.centre.hsm, OFFICE, card.id, right_now())


def test_it_learns_the_pin_of_a_card_that_waits_once_the_allocator_lets_it(room: KeyRoom, encoded: Card) -> None:
    with pytest.raises(HsmError) as refused:
        reveal(room, encoded)
    assert refused.value.code == "hsm.not_allocated"
    assert "lets the PIN" in str(refused.value)
    as_allocator(room, "cards", "allow-pin", str(encoded.uuid))
    assert re.fullmatch(r"\d{6}", reveal(room, encoded))
    with pytest.raises(Refused, match="no_pin"):
        reveal(room, encoded)
    with room.hsm_process.client(Role.USER) as thief, pytest.raises(NoSuchKey):
        thief.reveal_pin(str(encoded.id))
    told = (room.folder / "store.log").read_text(encoding="utf-8")
    assert f'"reveal_pin","not-allocated","{encoded.id}"' in told
    assert f'"reveal_pin","do","{encoded.id}"' in told


def test_an_allocated_job_serves_for_one_card(room: KeyRoom, thief: Client) -> None:
    first, second, third = (room.centre.blank() for _ in range(3))
    with Client(room.hsm_process.socket, Role.ALLOCATOR, ALLOCATOR_PIN) as allocator:
        Allocator(allocator).allocate("one-job")
        Allocator(allocator).allocate("one-job")
        Allocator(allocator).allocate("job-of-the-third", bytes.fromhex(third.serial))
    assert open_session(thief, "one-job", first)
    for job in ("one-job", "job-of-the-third"):
        with pytest.raises(Denied, match="belongs to another card"):
            open_session(thief, job, second)
    assert open_session(thief, "job-of-the-third", third)


def test_a_card_made_without_the_allocator_is_not_encoded(room: KeyRoom) -> None:
    blank = room.centre.blank()
    request = room.centre.approved()
    with database.transaction(room.centre.factory) as session:
        made = lifecycle.allocate(session, room.centre.hsm, OFFICE, request.id, blank.serial, VERIFY_URL, right_now())
    with pytest.raises(HsmError) as refused:
        room.centre.encode(made.id, blank.connect())
    assert refused.value.code == "hsm.not_allocated"
    assert as_allocator(room, "cards", "allocate", str(request.id)) == str(made.uuid)
    room.centre.encode(made.id, blank.connect())
    assert room.centre.card(made.id).state == "encoded"


def test_the_allocator_signs_nothing_and_opens_no_channel(room: KeyRoom) -> None:
    with Client(room.hsm_process.socket, Role.ALLOCATOR, ALLOCATOR_PIN) as allocator:
        with pytest.raises(Denied):
            allocator.sign(f"card-{HOME}-1", "card", b"a card of my own")
        with pytest.raises(Denied):
            open_session(allocator, "one-job", room.centre.blank())


def test_it_signs_no_more_than_the_cap_of_the_day_also_after_the_hsm_was_killed(room: KeyRoom) -> None:
    label = f"qr-{HOME}-1"
    used = used_today(room, label)
    room.hsm_sim("Lan", "cap", "--per-day", str(used + CAP), label)
    with room.hsm_process.client(Role.USER) as thief:
        for number in range(CAP - 1):
            thief.sign(label, "qr", bytes([number]))
    room.hsm_process.kill()
    room.hsm_process.start()
    with room.hsm_process.client(Role.USER) as thief:
        assert thief.caps()[label].today == used + CAP - 1
        thief.sign(label, "qr", b"the last one")
        with pytest.raises(Capped):
            thief.sign(label, "qr", b"one too many")
        with pytest.raises(Capped):
            thief.sign_many(label, "qr", [b"one", b"two"])


def test_it_asks_for_no_more_pins_than_the_cap_of_the_day_also_after_the_hsm_was_killed(room: KeyRoom) -> None:
    with room.hsm_process.client(Role.USER) as thief:
        used = thief.caps()["reveal-pin"].today
    room.hsm_sim("Lan", "cap", "--per-day", str(used + 2), "reveal-pin")
    for number in range(2):
        with room.hsm_process.client(Role.USER) as thief, pytest.raises(NoSuchKey):
            thief.reveal_pin(f"guess {number}")
        room.hsm_process.kill()
        room.hsm_process.start()
    with room.hsm_process.client(Role.USER) as thief, pytest.raises(Capped, match="uses today"):
        thief.reveal_pin("guess 3")
    told = room.type("hsm", "status", officer=None)
    assert re.search(rf"\(reveal-pin\) .* {used + 2} +{used + 2}$", told, re.MULTILINE)


def used_today(room: KeyRoom, label: str) -> int:
    """How often this key was used so far."""
    with room.hsm_process.client(Role.USER) as client:
        return client.info(label).uses


def kid_of(room: KeyRoom, label: str) -> bytes:
    with database.reading(room.centre.factory) as session:
        return session.scalars(select(SignerRow.kid).where(SignerRow.label == label)).one()


def refusal(judged: object) -> str:
    assert isinstance(judged, Judged), judged
    return str(judged.reason)


def test_a_trust_list_signed_by_everyday_keys_is_no_trust_list(room: KeyRoom, thief: Client) -> None:
    held = room.list_in_force()
    root = held.content.roots.keys[0].kid()
    own = replace(held.content, number=held.content.number + 1)
    for kid, reason in ((root, "forged-statement"), (kid_of(room, CARD_KEY), "threshold-not-met")):
        signed = issue_trust_list(own, [(kid, lambda data: thief.sign(CARD_KEY, "card", data))])
        assert refusal(accept_trust_list(signed, held, right_now())) == reason


def test_a_credential_signed_by_a_key_of_another_use_or_agency_is_refused(
    room: KeyRoom, thief: Client, encoded: Card
) -> None:
    assert encoded.credential is not None
    claims, now, trust = read_card_credential(encoded.credential).value, right_now(), room.list_in_force()
    for label, use, reason in (
        (f"bundle-{HOME}-1", "bundle", "wrong-use"),
        (f"identity-{HOME}-1", "identity", "wrong-use"),
        (f"card-{OTHER}-1", "card", "out-of-scope"),
    ):
        with pytest.raises(Denied):  # the HSM holds a key to its use by the name of the use
            thief.sign(CARD_KEY, use if use != "card" else "bundle", b"")
        forged = issue_card_credential(claims, kid_of(room, label), partial(thief.sign, label, use))
        assert refusal(verify_credential(forged, trust, now, CredentialCache())) == reason


def test_a_certificate_signed_by_a_card_signer_has_no_path(room: KeyRoom, thief: Client, encoded: Card) -> None:
    with database.reading(room.centre.factory) as session:
        issued = session.scalars(select(CardCertificate).where(CardCertificate.card_id == encoded.id)).first()
        above = session.scalars(select(AuthorityRow)).all()
    assert issued is not None
    roots = [one.certificate for one in above if one.kind == "root"]
    chain = [one.certificate for one in above if one.kind == "issuing"]
    validate([issued.certificate], chain, roots, right_now())
    forged = asn1.Certificate.load(issued.certificate)
    raw = thief.sign(CARD_KEY, "card", forged["tbs_certificate"].dump())
    forged["signature_value"] = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    with pytest.raises(Refused, match="no_path"):
        validate([forged.dump(force=True)], chain, roots, right_now())
    with pytest.raises(Denied):  # nor does it sign a digest: authorities alone do
        thief.sign_digest(CARD_KEY, "card", bytes(32))


def test_it_makes_no_key_and_signs_no_list(thief: Client) -> None:
    with pytest.raises(Denied):
        thief.generate("card-H38-9", "ec-p256", "card", (HOME,))
    with pytest.raises(Denied):
        thief.sign("root-1", "root", b"a list of my own")
    with pytest.raises(Denied):
        thief.set_state(f"card-{HOME}-1", "compromised")
