"""The parts that a benchmark measures with: the card that answers at once, the software card, the bare limits."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from bench.constant_card import ConstantCard
from bench.limits import BareCommit, BareEcdsa, BareScp03, bare_protection
from bench.sample_card import GET_SHORT, SELECT, SIGN, VERIFY, write_image
from bench.software_card import software_card
from cardlink.piv.commands import GET_CARD_CREDENTIAL_APDU, SELECT_PIV_APDU, sign_with_card_key_apdu, unwrap_object
from cardlink.piv.tables import CARD_CREDENTIAL, Interface
from cardlink.piv.templates import decode_response
from cardlink.statements.challenge import verify_answer
from cardlink.transport.connection import command
from cardlink.transport.loopback import Loopback
from cardos.card import Card
from cardos.image import FileStore


def test_the_constant_card_answers_with_the_lengths_asked_for_and_begins_again_at_a_reset() -> None:
    card = ConstantCard([2, 28, 222])
    lengths = [len(card.transmit(b"\x00\xa4\x04\x00", Interface.CONTACT)) for _ in range(4)]
    assert lengths == [2, 28, 222, 2]
    card.reset()
    answer = card.transmit(b"", Interface.CONTACTLESS)
    assert answer == b"\x90\x00"


def test_a_software_card_shows_its_credential_and_signs_with_its_key() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    card = software_card(private, b"a credential")
    connection = Loopback(lambda apdu: card.transmit(apdu, Interface.CONTACTLESS))
    command(connection, SELECT_PIV_APDU)
    assert unwrap_object(CARD_CREDENTIAL.tag, command(connection, GET_CARD_CREDENTIAL_APDU)) == b"a credential"
    digest = bytes(range(32))
    answer = decode_response(command(connection, sign_with_card_key_apdu(digest)))
    assert verify_answer(private.public_key(), digest, answer)


def test_the_bare_limits_run(tmp_path: Path) -> None:
    bare = BareEcdsa()
    bare.door_check()
    bare.cached_check()
    bare.make_key()
    bare_protection(255, 10)()
    bare.sign_digest()
    protection = BareScp03(5, 21)
    protection()
    protection.running()
    commit = BareCommit(tmp_path / "bare.db")
    commit()
    commit.close()


def test_the_sample_card_in_a_file_answers_what_the_benchmark_asks(tmp_path: Path) -> None:
    file = write_image(tmp_path)
    store = FileStore(file.image, file.secret)
    card = Card(store)
    try:
        sizes = [len(command(Loopback(card.transmit), apdu)) for apdu in (SELECT, GET_SHORT, VERIFY, SIGN)]
    finally:
        store.close()
    assert sizes[:3] == [24, 20, 0]
    assert sizes[3] > 70
