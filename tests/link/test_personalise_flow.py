"""A whole personalisation over the in-process carrier, with a real HSM process: what the card is afterwards."""

import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from asn1crypto import cms
from card_office import (
    ENCODER,
    HOME,
    HR,
    TRANSPORT_KEYS,
    VERIFY_URL,
    Blank,
    Centre,
    open_centre,
    silent,
)
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from cardlink.errors import CardStatus
from cardlink.gp import commands as gp
from cardlink.gp import inventory, scp03
from cardlink.gp.inventory import LifeCycle
from cardlink.iso7816.sw import SW
from cardlink.piv import commands as piv
from cardlink.piv import yubico
from cardlink.piv.biometrics import decode_face, decode_facial_image
from cardlink.piv.chuid import decode_chuid
from cardlink.piv.objects import decode_certificate, decode_printed
from cardlink.piv.pins import encode_pin
from cardlink.piv.security_object import decode_lds, decode_security_object
from cardlink.piv.tables import (
    CARD_CREDENTIAL,
    CHUID,
    FACIAL_IMAGE,
    FINGERPRINTS,
    IDENTITY_STATEMENT,
    PRINTED_INFORMATION,
    SECURITY_OBJECT,
    KeyRef,
)
from cardlink.piv.templates import Authentication, decode_authentication
from cardlink.statements.card import MAX_CREDENTIAL_BYTES, read_card_credential
from cardlink.statements.identity import read_identity
from cardlink.statements.status import Status
from cardlink.transport.connection import Connection, command
from cardos.records import Owner
from hsm_sim.client import NoSuchKey, Role
from issuer import database
from issuer.cards import lifecycle, personalise, stock
from issuer.cards.personalise import Done
from issuer.cards.profiles import THEMO
from issuer.cards.run import Progress, run
from issuer.cards.states import CardState
from issuer.cards.stock import StockState
from issuer.cards.tables import Card, CardCertificate, PersonalisationObject, PersonalisationStep
from issuer.errors import Forbidden, Refused
from issuer.trust import ca, masters, status


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    with open_centre(tmp_path_factory.mktemp("centre")) as opened:
        yield opened


@pytest.fixture(scope="module")
def encoded(centre: Centre) -> tuple[Card, Blank, str]:
    """One finished card and its PIN."""
    card, blank = centre.encoded()
    with database.transaction(centre.factory) as session:
        pin = personalise.reveal_pin(session, centre.hsm, ENCODER, card.id, centre.clock())
    return card, blank, pin


@pytest.fixture
def on_card(encoded: tuple[Card, Blank, str]) -> Connection:
    """A fresh power-up of that card, PIV selected."""
    connection = encoded[1].connect()
    command(connection, piv.select())
    return connection


def read(connection: Connection, tag: int) -> bytes:
    return piv.unwrap_object(tag, command(connection, piv.get_data(tag)))


def verify(connection: Connection, pin: str) -> None:
    command(connection, piv.verify(encode_pin(pin)))


def test_a_run_ends_done_with_its_count_and_its_steps_in_order(centre: Centre) -> None:
    card, blank = centre.allocated()
    seen: list[Progress] = []
    report = run(blank.connect(), centre.job(card.id), seen.append)
    assert report.outcome == Done(card.id, card.uuid)
    assert report.tally.exchanges == len(seen)
    assert 100 < report.tally.exchanges < 250
    numbers = [one.number for one in seen]
    assert numbers == sorted(numbers)
    assert {one.number for one in seen} == set(range(1, seen[0].steps + 1)) - {9}  # PREPARE is the centre's alone


def test_the_register_says_encoded_and_the_blank_is_used(centre: Centre, encoded: tuple[Card, Blank, str]) -> None:
    card, blank, _ = encoded
    assert (card.state, card.kvn, card.encoded_by) == (CardState.ENCODED, THEMO.card_kvn, ENCODER.user_id)
    assert card.job_token is None
    with database.reading(centre.factory) as session:
        assert [one for one in stock.items(session, ENCODER, StockState.USED) if one.serial == blank.serial]
        steps = session.query(PersonalisationStep).filter_by(job=card.id).all()
        assert all(step.state == "done" and step.tries == 1 for step in steps)
        assert session.query(PersonalisationObject).filter_by(job=card.id).count() == 0
        assert int(status.value_of(session, card.id)) == Status.SUSPENDED


def test_the_credential_is_short_and_over_the_key_on_the_card(
    encoded: tuple[Card, Blank, str], on_card: Connection
) -> None:
    card = encoded[0]
    raw = read(on_card, CARD_CREDENTIAL.tag)
    assert raw == card.credential
    assert len(raw) <= MAX_CREDENTIAL_BYTES
    said = read_card_credential(raw).value
    assert (said.agency, said.card_uuid, said.key.key_hash()) == (HOME, card.uuid.bytes, card.key_hash)
    assert (said.status_list, said.status_index) == (card.status_list, card.status_idx)


def test_who_the_holder_is_needs_the_pin_of_this_card(encoded: tuple[Card, Blank, str], on_card: Connection) -> None:
    card, _, pin = encoded
    for tag in (IDENTITY_STATEMENT.tag, FACIAL_IMAGE.tag, PRINTED_INFORMATION.tag, FINGERPRINTS.tag):
        with pytest.raises(CardStatus) as refused:
            read(on_card, tag)
        assert refused.value.sw == SW.SECURITY_STATUS_NOT_SATISFIED
    verify(on_card, pin)
    identity = read_identity(read(on_card, IDENTITY_STATEMENT.tag)).value
    assert (str(identity.identifier), identity.key_hash) == (card.identifier, card.key_hash)
    printed = decode_printed(read(on_card, PRINTED_INFORMATION.tag))
    assert printed.name.startswith("NGUYEN THI ANH")
    assert printed.expires == card.expires_on
    assert decode_face(decode_facial_image(read(on_card, FACIAL_IMAGE.tag)).record).startswith(b"\xff\xd8")


def test_pin_puk_and_admin_key_are_no_longer_the_factorys(
    encoded: tuple[Card, Blank, str], on_card: Connection
) -> None:
    for ref in (KeyRef.PIN, KeyRef.PUK, KeyRef.ADMIN):
        metadata = yubico.decode_metadata(command(on_card, yubico.get_metadata(ref)))
        assert not isinstance(metadata, yubico.KeyMetadata)
        assert not metadata.is_default
    with pytest.raises(CardStatus) as refused:
        verify(on_card, "123456")
    assert int(refused.value.sw) & 0xFFF0 == 0x63C0
    verify(on_card, encoded[2])
    with pytest.raises(CardStatus):
        command(on_card, piv.reset_retry_counter(b"12345678", encode_pin("111111")))
    challenge = decode_authentication(
        command(on_card, piv.general_authenticate(0x0C, KeyRef.ADMIN, Authentication(challenge=b"")))
    ).challenge
    assert challenge is not None
    factory = Cipher(algorithms.AES(bytes.fromhex("0102030405060708") * 4), modes.ECB()).encryptor()  # noqa: S305 - one block
    with pytest.raises(CardStatus):
        command(
            on_card, piv.general_authenticate(0x0C, KeyRef.ADMIN, Authentication(response=factory.update(challenge)))
        )


def test_the_transport_keys_are_dead(encoded: tuple[Card, Blank, str]) -> None:
    connection = encoded[1].connect()
    command(connection, gp.select())
    with pytest.raises(CardStatus) as refused:
        command(connection, gp.initialize_update(THEMO.transport_kvn, bytes(8)))
    assert refused.value.sw == SW.REFERENCE_NOT_FOUND
    answer = gp.decode_initialize_update(command(connection, gp.initialize_update(0, bytes(8))))
    session = scp03.derive_session(TRANSPORT_KEYS, bytes(8), answer.card_challenge)
    assert scp03.card_cryptogram(session, bytes(8), answer.card_challenge) != answer.card_cryptogram


def test_the_card_is_secured_and_takes_no_command_of_a_stranger(
    encoded: tuple[Card, Blank, str], on_card: Connection
) -> None:
    assert encoded[1].chip.persistent.life[Owner.CARD] == LifeCycle.SECURED
    for forbidden in (
        piv.put_data(CARD_CREDENTIAL.tag, b"x"),
        piv.generate_key(KeyRef.CARD_AUTH, 0x11),
        inventory.get_status(inventory.Scope.ISSUER_DOMAIN),
    ):
        with pytest.raises(CardStatus):
            command(on_card, forbidden)


def test_the_security_object_vouches_for_what_is_on_the_card(
    encoded: tuple[Card, Blank, str], on_card: Connection
) -> None:
    verify(on_card, encoded[2])
    found = decode_security_object(read(on_card, SECURITY_OBJECT.tag))
    by_id = {row.container_id: row.tag for row in THEMO.containers}
    signed = cms.ContentInfo.load(found.signature, strict=True)["content"]
    hashes = decode_lds(signed["encap_content_info"]["content"].native)
    assert set(hashes) == set(found.groups)
    for number, container_id in found.groups.items():
        assert sha256(read(on_card, by_id[container_id])).digest() == hashes[number]


def test_every_certificate_on_the_card_verifies_up_to_the_root(
    centre: Centre, encoded: tuple[Card, Blank, str], on_card: Connection, tmp_path: Path
) -> None:
    with database.reading(centre.factory) as session:
        (tmp_path / "root.pem").write_bytes(ca.root_pem(session, centre.clock()))
        (tmp_path / "chain.pem").write_bytes(ca.chain_pem(session, HOME, centre.clock()))
        kept = {row.slot: row.certificate for row in session.query(CardCertificate).filter_by(card_id=encoded[0].id)}
    moment = str(int(centre.clock().timestamp()) + 60)
    for slot in THEMO.slots:
        certificate = decode_certificate(read(on_card, slot.container.tag)).certificate
        assert certificate == kept[slot.certificate_profile]
        (tmp_path / "leaf.pem").write_bytes(ca.to_pem(certificate))
        trusted = ("-CAfile", str(tmp_path / "root.pem"), "-untrusted", str(tmp_path / "chain.pem"))
        command_line = ["openssl", "verify", "-x509_strict", "-attime", moment, *trusted, str(tmp_path / "leaf.pem")]
        answer = subprocess.run(command_line, capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stderr


def test_the_chuid_is_signed_by_a_certificate_that_verifies(
    centre: Centre, encoded: tuple[Card, Blank, str], on_card: Connection, tmp_path: Path
) -> None:
    chuid = decode_chuid(read(on_card, CHUID.tag))
    assert (chuid.guid, chuid.expires) == (encoded[0].uuid, encoded[0].expires_on)
    with database.reading(centre.factory) as session:
        (tmp_path / "trusted.pem").write_bytes(ca.chain_pem(session, HOME, centre.clock()))
    (tmp_path / "signature").write_bytes(chuid.signature)
    (tmp_path / "content").write_bytes(chuid.signed_part)
    moment = str(int(centre.clock().timestamp()) + 60)
    what = ("-in", str(tmp_path / "signature"), "-content", str(tmp_path / "content"))
    trusted = ("-CAfile", str(tmp_path / "trusted.pem"), "-purpose", "any", "-attime", moment)
    command_line = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", *what, *trusted]
    answer = subprocess.run(command_line, capture_output=True, check=False)
    assert answer.returncode == 0, answer.stderr


def test_the_pin_is_told_once_and_to_the_card_office_alone(centre: Centre) -> None:
    card, blank = centre.allocated()
    with database.transaction(centre.factory) as session, pytest.raises(Refused, match=r"cards\.no_pin"):
        personalise.reveal_pin(session, centre.hsm, ENCODER, card.id, centre.clock())
    centre.encode(card.id, blank.connect())
    with database.transaction(centre.factory) as session, pytest.raises(Forbidden, match=r"policy\.no_role"):
        personalise.reveal_pin(session, centre.hsm, HR, card.id, centre.clock())
    with database.transaction(centre.factory) as session:
        pin = personalise.reveal_pin(session, centre.hsm, ENCODER, card.id, centre.clock())
    assert len(pin) == 6
    with database.transaction(centre.factory) as session, pytest.raises(Refused, match=r"cards\.no_pin"):
        personalise.reveal_pin(session, centre.hsm, ENCODER, card.id, centre.clock())
    with centre.process.client(Role.USER) as client, pytest.raises(NoSuchKey):
        client.reveal_pin(str(card.id))


def test_every_card_has_keys_of_its_own(centre: Centre) -> None:
    kdds = [bytes.fromhex(centre.encoded()[1].serial) for _ in range(2)]
    with centre.process.client(Role.USER) as client:
        first, second = (client.derive_check(masters.FIRST, kdd, THEMO.card_kvn) for kdd in kdds)
    assert not set(first) & set(second)


def test_a_handed_over_card_counts_at_once(centre: Centre) -> None:
    card, _ = centre.active()
    assert card.state == CardState.ACTIVE
    with database.reading(centre.factory) as session:
        assert int(status.value_of(session, card.id)) == Status.VALID


def test_an_encoded_card_is_not_encoded_again(centre: Centre) -> None:
    card, blank = centre.encoded()
    with pytest.raises(Refused) as refused:
        centre.encode(card.id, blank.connect())
    assert refused.value.code == "cards.not_to_encode"


def test_a_used_card_on_the_reader_is_no_blank_for_another_request(centre: Centre) -> None:
    _, used = centre.encoded()
    card, _ = centre.allocated()
    before = used.chip.persistent.objects[CHUID.tag]
    with pytest.raises(Refused) as refused:
        run(used.connect(), centre.job(card.id), silent)
    assert (refused.value.code, refused.value.facts["found"]) == ("cards.other_blank", used.serial)
    assert used.chip.persistent.objects[CHUID.tag] == before


def test_a_card_is_allocated_with_the_qr_of_the_installation(centre: Centre) -> None:
    card = centre.allocate(centre.approved().id, centre.blank().serial)
    assert card.qr_text is not None
    assert card.qr_text.startswith(f"{VERIFY_URL}#")
    with database.reading(centre.factory) as session:
        assert lifecycle.find(session, card.id).state == CardState.ALLOCATED
