"""The host's end of PIV secure messaging against the card, and against a card that lies."""

from collections.abc import Callable
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from messaging_card import (
    CARD_UUID,
    CODE,
    CONTACT,
    CONTACTLESS,
    PIN,
    SLOT_ALGORITHM,
    SUITES,
    WRONG,
    become_admin,
    certified,
    content_of,
    give_messaging_key,
    issued,
    office,
    opened,
    point_of,
    policy,
    rsa_office,
    sayer,
    sign_rsa,
)

from cardlink.errors import CardStatus, LinkLost, Malformed
from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import Command
from cardlink.piv import commands as piv
from cardlink.piv import secure_messaging as sm
from cardlink.piv.cvc import CVC_TAG, Signer, decode_cvc, issue_card_cvc, issue_intermediate_cvc, signer_of
from cardlink.piv.objects import encode_certificate
from cardlink.piv.secure_messaging import CS2, CS7, Suite
from cardlink.piv.secure_session import SecureSession, authenticate, open_session, read_signer
from cardlink.piv.tables import SM_CERT_SIGNER, Interface
from cardlink.piv.templates import decode_response, encode_response
from cardlink.transport.connection import command as say
from cardlink.transport.loopback import Loopback

NAMED = {"ids": lambda one: one.algorithm.name if isinstance(one, Suite) else one.value}
Answer = Callable[[bytes], bytes]


@pytest.mark.parametrize("suite", SUITES, **NAMED)
@pytest.mark.parametrize("interface", list(Interface), **NAMED)
def test_both_ends_agree_over_both_faces(suite: Suite, interface: Interface) -> None:
    session = opened(issued(suite), interface, suite)
    assert session.cvc.subject == CARD_UUID
    with pytest.raises(CardStatus, match="63C5"):
        session.command(piv.verify(b""))
    with pytest.raises(CardStatus, match="63C4"):
        session.command(piv.verify(WRONG))
    assert session.command(piv.verify(PIN)) == b""
    assert session.command(piv.verify(b"")) == b""
    # several fragments of answer, then several of command
    read = session.command(piv.get_data(0x5FC109))
    assert piv.unwrap_object(0x5FC109, read) == content_of(0x5FC109)
    digest = bytes(suite.coordinate_bytes)
    assert decode_response(session.command(piv.sign(SLOT_ALGORITHM[suite], 0x9A, digest)))[0] == 0x30
    session.command(piv.change_reference_data(0x80, PIN, WRONG))
    session.command(piv.change_reference_data(0x80, WRONG, PIN))
    assert session.is_open


def test_a_long_command_is_protected_whole_and_then_cut() -> None:
    card = issued(CS2)
    send = sayer(card)
    become_admin(card)
    send(piv.generate_key(0x9E, 0x07))
    seen: list[bytes] = []

    def transmit(apdu: bytes) -> bytes:
        seen.append(apdu)
        return card.transmit(apdu, CONTACTLESS)

    over = partial(say, Loopback(transmit))
    over(piv.select())
    session = open_session(over, CS2, office(CS2).signer)
    seen.clear()
    block = b"\x00" + bytes(255)
    assert len(decode_response(session.command(piv.sign(0x07, 0x9E, block)))) == 256
    assert [one[0] for one in seen] == [0x1C, 0x0C, 0x00]
    assert [len(one) for one in seen[:1]] == [5 + 255]
    assert seen[1][-1] == 0x00
    assert session.command(piv.get_data(0x5FC102))


@pytest.mark.parametrize("suite", SUITES, **NAMED)
def test_sm_auth_is_the_exchange_alone(suite: Suite) -> None:
    card = issued(suite)
    count = 0

    def counted(command: Command) -> bytes:
        nonlocal count
        count += 1
        return sayer(card, CONTACTLESS)(command)

    counted(piv.select())
    assert authenticate(counted, suite, office(suite).signer).subject == CARD_UUID
    assert count == 2


def test_the_signer_read_from_the_card_is_the_one_that_certified_it() -> None:
    card = issued(CS7)
    send = sayer(card, CONTACTLESS)
    send(piv.select())
    certificate, intermediate = read_signer(send)
    assert intermediate is None
    assert certificate == office(CS7).certificate
    assert open_session(send, CS7, signer_of(certificate)).is_open


def test_an_intermediate_certificate_stands_between_card_and_signer() -> None:
    card = issued(CS2)
    become_admin(card)
    send = sayer(card)
    key = ec.generate_private_key(CS2.curve)
    top = certified(rsa_office())
    middle = issue_intermediate_cvc(CS2, point_of(key), signer_of(top).issuer_id, sign_rsa)
    point = decode_cvc(card.persistent.cvc).point
    issuer_id = decode_cvc(middle).subject
    mine = issue_card_cvc(CS2, point, CARD_UUID, issuer_id, lambda body: key.sign(body, ec.ECDSA(CS2.signature_hash)))
    send(piv.put_data(CVC_TAG, mine))
    held = encode_certificate(top.public_bytes(Encoding.DER), intermediate=tlv.unwrap(middle, 0x7F21))
    send(piv.put_data(SM_CERT_SIGNER.tag, held))
    certificate, intermediate = read_signer(send)
    assert intermediate is not None
    assert authenticate(send, CS2, signer_of(certificate), intermediate=intermediate).subject == CARD_UUID
    with pytest.raises(Malformed, match="curve"):
        authenticate(send, CS2, Signer(signer_of(certificate).key))


def test_a_card_certified_by_another_signer_opens_nothing() -> None:
    card = issued(CS2)
    send = sayer(card)
    send(piv.select())
    with pytest.raises(Malformed, match="card verifiable certificate"):
        authenticate(send, CS2, signer_of(certified(ec.generate_private_key(CS2.curve))))


def test_a_broken_signer_object_is_malformed() -> None:
    card = issued(CS2)
    become_admin(card)
    send = sayer(card)
    send(piv.put_data(SM_CERT_SIGNER.tag, encode_certificate(b"\x30\x03\x02\x01\x01")))
    with pytest.raises(Malformed, match="content signing certificate"):
        read_signer(send)


def test_a_host_identifier_has_eight_bytes() -> None:
    card = issued(CS2)
    send = sayer(card)
    send(piv.select())
    assert open_session(send, CS2, office(CS2).signer, host_id=b"door 117").is_open
    with pytest.raises(Malformed, match="8 bytes"):
        open_session(send, CS2, office(CS2).signer, host_id=b"door")


# --- a card that lies while keys are established ----------------------------------------------------------------------


def lying(change: Callable[[sm.Reply], sm.Reply]) -> Callable[[Command], bytes]:
    card = issued(CS2)
    send = sayer(card, CONTACTLESS)
    send(piv.select())

    def say(command: Command) -> bytes:
        reply = sm.decode_reply(CS2, decode_response(send(command)))
        return encode_response(sm.encode_reply(change(reply)))

    return say


def other_card() -> bytes:
    """The certificate of another card of the same office, whose key this one does not have."""
    point = point_of(ec.generate_private_key(CS2.curve))
    signer = office(CS2)
    return issue_card_cvc(CS2, point, bytes(16), signer.signer.issuer_id, signer.sign)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda reply: sm.Reply(0x10, reply.nonce, reply.cryptogram, reply.cvc), "control byte"),
        (lambda reply: sm.Reply(0x01, reply.nonce, reply.cryptogram, reply.cvc), "control byte"),
        (lambda reply: sm.Reply(0, bytes(16), reply.cryptogram, reply.cvc), "does not hold the key"),
        (lambda reply: sm.Reply(0, reply.nonce, bytes(16), reply.cvc), "does not hold the key"),
        (lambda reply: sm.Reply(0, reply.nonce, reply.cryptogram, other_card()), "does not hold the key"),
        (lambda reply: sm.Reply(0, reply.nonce, reply.cryptogram, reply.cvc[:-1]), "TLV"),
        (lambda reply: sm.Reply(0, reply.nonce, reply.cryptogram, b""), "answer to the key establishment"),
    ],
)
def test_a_card_that_does_not_prove_its_key_opens_nothing(change: Callable[[sm.Reply], sm.Reply], why: str) -> None:
    with pytest.raises(Malformed, match=why):
        open_session(lying(change), CS2, office(CS2).signer)


def test_answers_of_yesterday_prove_nothing() -> None:
    """The whole answer of a real card, recorded and played again to another opening."""
    recorded: list[bytes] = []
    card = issued(CS2)
    send = sayer(card, CONTACTLESS)
    send(piv.select())

    def record(command: Command) -> bytes:
        recorded.append(send(command))
        return recorded[-1]

    authenticate(record, CS2, office(CS2).signer)
    with pytest.raises(Malformed, match="does not hold the key"):
        authenticate(lambda command: recorded[0], CS2, office(CS2).signer)


# --- a card, or something between, that lies later --------------------------------------------------------------------


def cut_by(change: Answer) -> SecureSession:
    """A session whose protected answers pass through `change`."""
    send = sayer(issued(CS2), CONTACTLESS)
    send(piv.select())
    return open_session(
        lambda command: change(send(command)) if command.cla else send(command), CS2, office(CS2).signer
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: answer[:-1] + bytes((answer[-1] ^ 1,)),
        lambda answer: answer[:5] + bytes((answer[5] ^ 1,)) + answer[6:],
        lambda answer: b"",
        lambda answer: answer[-14:],
        lambda answer: answer[:-14] + answer[-10:],
        lambda answer: answer[:-10],
        lambda answer: answer[:-10] + b"\x8e\x04" + answer[-8:-4],
        lambda answer: answer[:-12] + b"\x6a\x82" + answer[-10:],
        lambda answer: answer + b"\x00",
        lambda answer: b"\x53\x01\x00",
    ],
)
def test_a_changed_answer_ends_the_session(change: Answer) -> None:
    session = cut_by(change)
    with pytest.raises(Malformed):
        session.command(piv.get_data(0x5FC102))
    assert not session.is_open
    with pytest.raises(Malformed, match="over"):
        session.command(piv.get_data(0x5FC102))


def test_an_answer_said_twice_ends_the_session() -> None:
    kept: list[bytes] = []

    def again(answer: bytes) -> bytes:
        kept.append(answer)
        return kept[0]

    session = cut_by(again)
    assert session.command(piv.get_data(0x5FC102))
    with pytest.raises(Malformed, match="MAC"):
        session.command(piv.get_data(0x5FC102))


def test_a_bare_status_word_ends_the_session_and_a_protected_one_does_not() -> None:
    card = issued(CS2)
    session = opened(card)
    with pytest.raises(CardStatus, match="6982"):
        session.command(piv.get_data(0x5FC109))
    assert session.is_open
    card.reset()
    sayer(card, CONTACTLESS)(piv.select())
    with pytest.raises(CardStatus, match="6982"):
        session.command(piv.get_data(0x5FC102))
    assert not session.is_open


def test_a_lost_card_ends_the_session() -> None:
    def gone(answer: bytes) -> bytes:
        raise LinkLost("the card left")

    session = cut_by(gone)
    with pytest.raises(LinkLost):
        session.command(piv.get_data(0x5FC102))
    assert not session.is_open


@pytest.mark.parametrize("command", [piv.select(), piv.put_data(0x5FC102, b""), piv.reset_retry_counter(PIN, PIN)])
def test_what_has_no_protected_form_is_not_sent(command: Command) -> None:
    session = opened(issued(CS2))
    with pytest.raises(Malformed, match="no protected form"):
        session.command(command)


def test_the_pairing_code_opens_the_virtual_contact_interface() -> None:
    session = opened(issued(CS2, 0x48))
    with pytest.raises(CardStatus, match="6982"):
        session.command(piv.get_data(0x5FC105))
    with pytest.raises(CardStatus, match="6300"):
        session.command(piv.verify(b"00000000", 0x98))
    session.command(piv.verify(CODE, 0x98))
    assert session.command(piv.get_data(0x5FC105))


def test_a_new_key_pair_needs_a_new_certificate() -> None:
    card = issued(CS2)
    become_admin(card)
    policy(card, 0x40)
    give_messaging_key(card, CS7)
    assert authenticate(sayer(card), CS7, office(CS7).signer).suite is CS7
    with pytest.raises(CardStatus, match="6A86"):
        authenticate(sayer(card), CS2, office(CS2).signer)
    assert card.transmit(piv.SELECT_PIV_APDU, CONTACT)[-10:-2].hex().endswith("ac0680012e060100")
