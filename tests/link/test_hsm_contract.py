"""What the port promises, asked of both adapters: the HSM simulator, and Debian's SoftHSM through PKCS#11."""

import hashlib
import os
import threading
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding, aes_key_wrap_with_padding
from hsm_card import TRANSPORT_KEYS, TestCard
from hsm_rooms import Room, room

from cardlink.gp.commands import select
from cardlink.gp.keys import key_check_value
from cardlink.iso7816.apdu import Command, split_chain
from cardlink.iso7816.sw import SUCCESS_BYTES
from cardlink.piv import commands as piv
from cardlink.piv.tables import PIV_AID
from issuer.trust.port import REVEAL_PIN, CeremonyHsm, Hsm, HsmError, KeyExists, KeyInfo, WrongAnswer, WrongCryptogram

BATCH, MASTER, SIGNER, ROOT = "batch-1", "card-master-1", "card-H38-1", "root-1"
GET_DISCOVERY = piv.get_data(0x7E).encode()
WITHIN_S = 20.0


@pytest.fixture(scope="module", params=["hsm-sim", "softhsm2"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def hall(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with room(kind, tmp_path_factory.mktemp(kind)) as opened:
        yield opened


@pytest.fixture(scope="module")
def officer(hall: Room) -> CeremonyHsm:
    made = hall.ceremony()
    made.generate(SIGNER, "ec-p256", "card", ("H38",))
    made.generate(ROOT, "ec-p256", "root", ())
    made.generate(MASTER, "aes-256", "card-master", ())
    made.load_transport(BATCH, TRANSPORT_KEYS.enc, TRANSPORT_KEYS.mac, TRANSPORT_KEYS.dek)
    return made


@pytest.fixture(scope="module")
def hsm(hall: Room, officer: CeremonyHsm) -> Hsm:
    return hall.everyday()


def refused(code: str) -> "pytest.RaisesExc[HsmError]":
    return pytest.raises(HsmError, check=lambda error: error.code == f"hsm.{code}")


# --- keys


def test_a_key_is_made_once_and_described_without_its_value(officer: CeremonyHsm, hsm: Hsm) -> None:
    made = officer.generate("qr-H38-1", "ec-p256", "qr", ("H38", "H38.1"))
    assert made.public is not None
    assert (len(made.public), made.public[0]) == (65, 4)
    assert made == KeyInfo("qr-H38-1", "ec-p256", "qr", ("H38", "H38.1"), made.public, "active")
    assert hsm.info("qr-H38-1") == made
    listed = hsm.keys()
    assert made in listed
    with pytest.raises(KeyExists):
        officer.generate("qr-H38-1", "ec-p256", "qr", ("H38",))
    assert hsm.info("qr-H38-1") == made


def test_every_key_is_listed_once_with_its_use_and_scope(officer: CeremonyHsm, hsm: Hsm) -> None:
    listed = officer.keys()
    found = {one.label: (one.kind, one.use, one.scope) for one in listed}
    assert len(found) == len(listed)
    assert found[SIGNER] == ("ec-p256", "card", ("H38",))
    assert found[MASTER] == ("aes-256", "card-master", ())
    assert found[BATCH] == ("scp03-set", "transport", ())
    assert found[ROOT] == ("ec-p256", "root", ())
    assert hsm.info(MASTER).public is None


@pytest.mark.parametrize(
    ("label", "kind_of_key", "use", "code"),
    [
        ("", "ec-p256", "card", "bad_request"),
        ("x" * 65, "ec-p256", "card", "bad_request"),
        ("tab\tin it", "ec-p256", "card", "bad_request"),
        ("master-2", "ec-p256", "card-master", "bad_request"),
        ("signer-2", "aes-256", "card", "bad_request"),
    ],
)
def test_what_is_no_key_is_not_made(officer: CeremonyHsm, label: str, kind_of_key: str, use: str, code: str) -> None:
    with refused(code):
        officer.generate(label, kind_of_key, use, ())


def test_signatures_verify_one_by_one_and_many_at_once(hsm: Hsm) -> None:
    batch = [b"%d" % n for n in range(300)]
    signed = list(zip(batch, hsm.sign_many(SIGNER, "card", batch), strict=True))
    for data, signature in signed[:10] + signed[250:260] + signed[-1:]:
        assert len(signature) == 64
        assert hsm.verify(SIGNER, data, signature)
    signature = hsm.sign(SIGNER, "card", b"claims")
    assert hsm.verify(SIGNER, b"claims", signature)
    assert not hsm.verify(SIGNER, b"Claims", signature)
    assert not hsm.verify(SIGNER, b"claims", signature[:-1])
    assert hsm.sign_many(SIGNER, "card", []) == []


def test_an_authority_signs_what_is_long_by_its_digest(officer: CeremonyHsm, hsm: Hsm) -> None:
    officer.generate("x509-ca-1", "ec-p256", "ca", ("H38",))
    long = bytes(2_000_000)
    digest = hashlib.sha256(long).digest()
    signature = hsm.sign_digest("x509-ca-1", "ca", digest)
    assert hsm.verify("x509-ca-1", long, signature)
    with refused("denied"):
        hsm.sign_digest(SIGNER, "card", digest)


def test_the_audit_key_signs_with_ed25519(officer: CeremonyHsm, hsm: Hsm) -> None:
    assert hsm.capabilities().has_ed25519
    made = officer.generate("audit-1", "ed25519", "audit", ())
    assert made.public is not None
    assert len(made.public) == 32
    assert hsm.verify("audit-1", b"checkpoint", hsm.sign("audit-1", "audit", b"checkpoint"))


def test_a_key_for_after_quantum_computers_is_made_where_that_is_declared(officer: CeremonyHsm, hsm: Hsm) -> None:
    if not hsm.capabilities().has_ml_dsa:
        with refused("denied"):
            officer.generate("identity-H38-2", "ml-dsa-44", "identity", ("H38",))
        return
    officer.generate("identity-H38-2", "ml-dsa-44", "identity", ("H38",))
    assert hsm.verify("identity-H38-2", b"claims", hsm.sign("identity-H38-2", "identity", b"claims"))


def test_a_key_signs_for_its_own_use_alone(hsm: Hsm) -> None:
    with refused("denied"):
        hsm.sign(SIGNER, "qr", b"claims")
    with refused("denied"):
        hsm.sign(MASTER, "card-master", b"claims")
    with refused("no_such_key"):
        hsm.sign("none", "card", b"claims")
    with refused("no_such_key"):
        hsm.info("none")


def test_random_bytes_are_drawn_and_no_more_than_asked_for(hsm: Hsm) -> None:
    assert len({hsm.random(8) for _ in range(20)}) == 20
    for n in (0, 100_000):
        with refused("bad_request"):
            hsm.random(n)


def test_the_hsm_says_how_it_holds_its_keys(hsm: Hsm) -> None:
    for label in (SIGNER, MASTER):
        found = hsm.attest(label)
        assert (found.label, found.is_made_inside, found.is_kept) == (label, True, True)
    delivered = hsm.attest(BATCH)
    assert (delivered.is_made_inside, delivered.is_kept) == (False, True)
    assert hsm.status().keys == len(hsm.keys())


def test_a_key_that_ended_signs_no_more(officer: CeremonyHsm, hsm: Hsm) -> None:
    officer.generate("old", "ec-p256", "identity", ())
    signature = hsm.sign("old", "identity", b"claims")
    officer.set_state("old", "deactivated")
    with refused("no_such_key"):
        hsm.sign("old", "identity", b"claims")
    found = hsm.info("old")
    assert found.state == "deactivated"
    assert hsm.verify("old", b"claims", signature)
    with pytest.raises(KeyExists):
        officer.generate("old", "ec-p256", "identity", ())


# --- who may


def test_the_everyday_login_makes_no_keys_and_signs_with_no_root_key(officer: CeremonyHsm, hsm: Hsm) -> None:
    with refused("denied"):
        hsm.generate("mine", "ec-p256", "card", ())
    with refused("denied"):
        hsm.sign(ROOT, "root", b"a trust list")
    assert officer.verify(ROOT, b"a trust list", officer.sign(ROOT, "root", b"a trust list"))


def test_a_wrong_pin_is_said_and_not_tried_again(hall: Room, officer: CeremonyHsm) -> None:
    wrong = hall.everyday("not-the-pin")
    for _ in range(12):
        with refused("wrong_pin"):
            wrong.keys()
    assert hall.everyday().keys()


def test_nothing_is_made_with_a_wrong_officers_pin(hall: Room, officer: CeremonyHsm, hsm: Hsm) -> None:
    with refused("wrong_pin"):
        hall.ceremony("not-the-pin").generate("mine", "ec-p256", "card", ())
    with refused("no_such_key"):
        hsm.info("mine")


# --- several at once


def test_what_one_process_makes_another_uses_at_once(hall: Room, officer: CeremonyHsm, hsm: Hsm) -> None:
    other = hall.everyday()
    assert other.keys()
    officer.generate("made-later", "ec-p256", "status", ())
    for one in (hsm, other):
        assert one.verify("made-later", b"event", one.sign("made-later", "status", b"event"))


def test_many_threads_and_logins_sign_at_once(hall: Room, hsm: Hsm) -> None:
    wrong: list[bytes] = []

    def work(login: Hsm, name: int) -> None:
        for n in range(15):
            data = b"%d %d" % (name, n)
            if not login.verify(SIGNER, data, login.sign(SIGNER, "card", data)):
                wrong.append(data)

    logins = [hsm, hsm, hall.everyday()]
    threads = [threading.Thread(target=work, args=(login, n)) for n, login in enumerate(logins)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(WITHIN_S)
    assert not any(one.is_alive() for one in threads)
    assert wrong == []


def test_a_forked_process_gets_a_way_of_its_own(hsm: Hsm) -> None:
    assert hsm.random(8)
    child = os.fork()
    if child == 0:
        is_done = all(hsm.verify(SIGNER, b"%d" % n, hsm.sign(SIGNER, "card", b"%d" % n)) for n in range(20))
        os._exit(0 if is_done else 1)
    for n in range(20):
        assert hsm.verify(SIGNER, b"%d" % n, hsm.sign(SIGNER, "card", b"%d" % n))
    assert os.waitpid(child, 0)[1] == 0


# --- cards


def test_a_blank_gets_its_own_keys_and_is_reached_with_them_alone(hsm: Hsm) -> None:
    card = TestCard.blank()
    session = card.open(hsm, "transport", BATCH, aid=select().data)
    answer = card.say(hsm.put_keys(session, MASTER, card.kdd, 0x01, 0x30))
    hsm.check_put_keys(session, answer)
    hsm.close_session(session)
    with pytest.raises(WrongCryptogram):
        card.open(hsm, "transport", BATCH)
    session = card.open(hsm, "card", MASTER)
    assert card.over(hsm, session, GET_DISCOVERY)[-2:] in (SUCCESS_BYTES, b"\x6a\x82")
    hsm.close_session(session)
    with refused("session_lost"):
        hsm.wrap(session, GET_DISCOVERY)


def test_the_check_values_of_a_card_are_those_of_the_keys_on_it(hsm: Hsm) -> None:
    card = TestCard.blank()
    card.rotate(hsm, BATCH, MASTER)
    on_card = card.chip.persistent.key_sets[0x01].keys
    values = tuple(key_check_value(one) for one in (on_card.enc, on_card.mac, on_card.dek))
    assert hsm.derive_check(MASTER, card.kdd, 0x01) == values
    assert hsm.derive_check(MASTER, card.kdd, 0x01) != hsm.derive_check(MASTER, card.kdd, 0x02)
    assert hsm.derive_check(MASTER, card.kdd, 0x01) != hsm.derive_check(MASTER, bytes(10), 0x01)


@pytest.mark.parametrize("level", [0x03, 0x13, 0x33])
def test_long_data_go_as_a_chain_at_every_level(hsm: Hsm, level: int) -> None:
    card = TestCard.blank()
    session = card.open(hsm, "transport", BATCH, level=level)
    blocks = [one.encode() for one in split_chain(piv.put_data(0x5FC102, bytes(900)), 220)]
    answers = [card.say(one) for one in hsm.wrap_chain(session, blocks)]
    assert hsm.unwrap_chain(session, answers) == [SUCCESS_BYTES] * len(blocks)


def test_9b_puk_and_pin_are_loaded_and_the_pin_is_told_once(hsm: Hsm) -> None:
    card = TestCard.blank()
    job = f"job-{card.kdd.hex()}"
    card.rotate(hsm, BATCH, MASTER)
    pending = hsm.status().pending_pins
    for _ in range(2):  # torn after the first time: the PIN of the job stays the same, and the card refuses the rest
        session = card.open(hsm, "card", MASTER, job)
        for secret in ("9b", "puk", "pin"):
            wrapped = hsm.put_secret(session, secret, MASTER if secret != "pin" else None, card.kdd, 0x01)
            hsm.unwrap(session, card.say(wrapped))
        verify = hsm.put_secret(session, "verify-pin", None, card.kdd, 0x01)
        assert hsm.unwrap(session, card.say(verify)) == SUCCESS_BYTES
        hsm.close_session(session)
    assert hsm.status().pending_pins == pending + 1
    pin = hsm.reveal_pin(job)
    assert (len(pin), pin.isdigit()) == (6, True)
    assert card.say(select(PIV_AID).encode()).endswith(SUCCESS_BYTES)
    assert card.say(piv.verify(pin.encode().ljust(8, b"\xff")).encode()) == SUCCESS_BYTES
    with refused("no_such_key"):
        hsm.reveal_pin(job)
    assert hsm.status().pending_pins == pending


def test_a_job_belongs_to_its_first_card(hsm: Hsm) -> None:
    first, second = TestCard.blank(), TestCard.blank()
    session = first.open(hsm, "transport", BATCH, "one-job")
    hsm.put_secret(session, "pin", None, first.kdd, 0x01)
    with refused("denied"):
        second.open(hsm, "transport", BATCH, "one-job")
    hsm.reveal_pin("one-job")


def test_when_a_card_is_done_its_job_ends_and_its_pin_is_told_or_forgotten(hsm: Hsm) -> None:
    card, pending = TestCard.blank(), hsm.status().pending_pins
    for job, forgets in (("done-job", False), ("spoiled-job", True)):
        session = card.open(hsm, "transport", BATCH, job)
        hsm.put_secret(session, "pin", None, card.kdd, 0x01)
        hsm.close_session(session)
        for _ in range(2):
            hsm.end_job(job, forgets_pin=forgets)
    assert hsm.status().pending_pins == pending + 1
    if hsm.capabilities().has_allocator:  # a device knows no jobs: it goes by PINs alone
        with refused("not_allocated"):
            card.open(hsm, "transport", BATCH, "done-job")
    hsm.reveal_pin("done-job")
    with refused("no_such_key"):
        hsm.reveal_pin("spoiled-job")


def test_caps_are_told_where_there_are_any(hsm: Hsm) -> None:
    caps = {one.label: one for one in hsm.caps()}
    assert (REVEAL_PIN in caps) is hsm.capabilities().has_caps
    assert all(one.today >= 0 for one in caps.values())


def test_nothing_that_loads_a_secret_is_wrapped_for_others(hsm: Hsm) -> None:
    card = TestCard.blank()
    session = card.open(hsm, "transport", BATCH)
    for ins in (0xD8, 0x24, 0x2C, 0x20, 0xFF, 0xFE, 0xFA, 0xF6, 0xE4):
        with refused("denied"):
            hsm.wrap(session, Command(0x00, ins, 0xFF, 0x80, bytes(16)).encode())
    with refused("denied"):
        hsm.wrap_chain(session, [Command(0x10, 0x24, 0, 0x80, bytes(9)).encode(), Command(0, 0x24, 0, 0x80).encode()])
    assert card.over(hsm, session, piv.get_data(0x5FC102).encode())[-2:] == b"\x6a\x82"


def test_a_master_that_has_ended_opens_its_cards_for_other_keys_and_for_nothing_else(
    officer: CeremonyHsm, hsm: Hsm
) -> None:
    for label in ("fallen-master", "next-master"):
        officer.generate(label, "aes-256", "card-master", ())
    card = TestCard.blank()
    card.rotate(hsm, BATCH, "fallen-master")
    officer.set_state("fallen-master", "compromised")
    session = card.open(hsm, "card", "fallen-master", aid=select().data)
    for refuse in (
        lambda: hsm.wrap(session, GET_DISCOVERY),
        lambda: hsm.wrap_chain(session, [GET_DISCOVERY]),
        lambda: hsm.put_secret(session, "9b", "next-master", card.kdd, 0x01),
    ):
        with refused("denied"):
            refuse()
    with refused("no_such_key"):
        hsm.put_keys(session, "fallen-master", card.kdd, 0x02, 0x01)
    hsm.check_put_keys(session, card.say(hsm.put_keys(session, "next-master", card.kdd, 0x02, 0x01)))
    hsm.close_session(session)
    with pytest.raises(WrongCryptogram):
        card.open(hsm, "card", "fallen-master")
    assert card.over(hsm, card.open(hsm, "card", "next-master"), GET_DISCOVERY)[-2:] in (SUCCESS_BYTES, b"\x6a\x82")


def test_a_session_that_is_open_when_its_master_ends_is_for_other_keys_and_for_nothing_else(
    officer: CeremonyHsm, hsm: Hsm
) -> None:
    for label in ("falling-master", "later-master"):
        officer.generate(label, "aes-256", "card-master", ())
    card = TestCard.blank()
    card.rotate(hsm, BATCH, "falling-master")
    session = card.open(hsm, "card", "falling-master", aid=select().data)
    officer.set_state("falling-master", "compromised")
    for refuse in (
        lambda: hsm.wrap(session, GET_DISCOVERY),
        lambda: hsm.wrap_chain(session, [GET_DISCOVERY]),
        lambda: hsm.put_secret(session, "9b", "later-master", card.kdd, 0x01),
    ):
        with refused("denied"):
            refuse()
    hsm.check_put_keys(session, card.say(hsm.put_keys(session, "later-master", card.kdd, 0x02, 0x01)))


def test_secrets_go_over_an_encrypted_channel_alone(hsm: Hsm) -> None:
    card = TestCard.blank()
    session = card.open(hsm, "transport", BATCH, level=0x01)
    with refused("denied"):
        hsm.put_secret(session, "pin", None, card.kdd, 0x01)


def test_a_session_is_with_one_card_and_takes_its_turn(hsm: Hsm) -> None:
    card = TestCard.blank()
    session = card.open(hsm, "transport", BATCH)
    for call in (
        lambda: hsm.put_keys(session, MASTER, bytes(10), 0x01, 0x30),
        lambda: hsm.put_keys(session, MASTER, card.kdd, 0x80, 0x30),
        lambda: hsm.put_secret(session, "pin", None, bytes(10), 0x01),
        lambda: hsm.check_put_keys(session, SUCCESS_BYTES),
        lambda: hsm.unwrap(session, SUCCESS_BYTES),
        lambda: hsm.wrap_chain(session, []),
    ):
        with refused("bad_request"):
            call()
    assert card.over(hsm, session, piv.get_data(0x5FC102).encode())[-2:] == b"\x6a\x82"


def test_a_changed_answer_or_check_value_ends_the_session(hsm: Hsm) -> None:
    for spoil in (lambda raw: bytes((raw[0] ^ 1,)) + raw[1:], lambda raw: SUCCESS_BYTES):
        card = TestCard.blank()
        session = card.open(hsm, "transport", BATCH, aid=select().data)
        answer = card.say(hsm.put_keys(session, MASTER, card.kdd, 0x01, 0x30))
        with pytest.raises(WrongAnswer):
            hsm.check_put_keys(session, spoil(answer))
        with refused("session_lost"):
            hsm.wrap(session, GET_DISCOVERY)


def test_a_key_opens_only_the_kind_of_set_that_it_is_for(hsm: Hsm) -> None:
    card = TestCard.blank()
    for key_set, label in (("card", BATCH), ("transport", MASTER), ("card", SIGNER), ("other", BATCH)):
        with pytest.raises(HsmError) as error:
            card.open(hsm, key_set, label)
        assert error.value.code in ("hsm.bad_request", "hsm.denied")


# --- keys that come and go enciphered


COMPONENTS = bytes(range(32)), bytes(range(100, 132))  # made up, for tests alone
KEK = bytes(a ^ b for a, b in zip(*COMPONENTS, strict=True))
MOVERS = ("ec-p256", "card", ("H38",)), ("aes-256", "card-master", ())


@pytest.fixture(scope="module")
def mover(hall: Room, officer: CeremonyHsm) -> CeremonyHsm:
    """An officer whose keys may leave, with the key-encryption key `kek` put together and one key of each kind."""
    first, second = hall.custodians()
    taken = first.load_component("kek", 1, 2, COMPONENTS[0])
    assert (taken.kcv, taken.have, taken.key_kcv) == (key_check_value(COMPONENTS[0]), 1, b"")
    with refused("no_such_key"):
        first.info("kek")
    taken = second.load_component("kek", 2, 2, COMPONENTS[1])
    assert (taken.kcv, taken.have, taken.key_kcv) == (key_check_value(COMPONENTS[1]), 2, key_check_value(KEK))
    for kind_of_key, use, scope in MOVERS:
        first.generate(f"movable-{use}", kind_of_key, use, scope)
    return first


@pytest.mark.parametrize(("kind_of_key", "use", "scope"), MOVERS)
def test_an_exportable_key_leaves_enciphered_and_comes_in_the_same(
    mover: CeremonyHsm, hsm: Hsm, kind_of_key: str, use: str, scope: tuple[str, ...]
) -> None:
    label = f"movable-{use}"
    gone = mover.wrap_key(label, "kek")
    plain = aes_key_unwrap_with_padding(KEK, gone.wrapped)
    found = mover.unwrap_key("kek", gone.wrapped, f"moved-{use}", kind_of_key, use, scope, gone.check)
    assert (found.kind, found.use, found.scope, found.state) == (kind_of_key, use, scope, "active")
    assert found.public == hsm.info(label).public
    if use == "card":
        assert gone.check == found.public
        assert hsm.verify(label, b"claims", hsm.sign("moved-card", "card", b"claims"))
    else:
        assert gone.check == key_check_value(plain)
        assert hsm.derive_check(label, bytes(10), 1) == hsm.derive_check("moved-card-master", bytes(10), 1)
    assert not hsm.attest(label).is_kept
    assert not hsm.attest(f"moved-{use}").is_made_inside
    with pytest.raises(KeyExists):
        mover.unwrap_key("kek", gone.wrapped, f"moved-{use}", kind_of_key, use, scope, gone.check)


def test_a_set_of_a_card_maker_comes_in_enciphered_and_opens_its_cards(mover: CeremonyHsm, hsm: Hsm) -> None:
    parts = (TRANSPORT_KEYS.enc, TRANSPORT_KEYS.mac, TRANSPORT_KEYS.dek)
    wrapped = b"".join(aes_key_wrap_with_padding(KEK, one) for one in parts)
    mover.unwrap_key("kek", wrapped, "batch-2", "scp03-set", "transport", (), key_check_value(TRANSPORT_KEYS.enc))
    card = TestCard.blank()
    card.rotate(hsm, "batch-2", MASTER)
    assert card.over(hsm, card.open(hsm, "card", MASTER), GET_DISCOVERY)[-2:] in (SUCCESS_BYTES, b"\x6a\x82")


def test_what_was_not_made_to_leave_does_not_and_neither_do_roots_and_their_like(
    mover: CeremonyHsm, officer: CeremonyHsm
) -> None:
    for label in (SIGNER, MASTER, BATCH):
        with refused("not_exportable"):
            officer.wrap_key(label, "kek")
    mover.generate("root-of-mover", "ec-p256", "root", ())
    for label in ("root-of-mover", "kek"):
        with pytest.raises(HsmError) as error:
            mover.wrap_key(label, "kek")
        assert error.value.code in ("hsm.denied", "hsm.no_such_key")
    with refused("denied"):
        mover.wrap_key("movable-card", MASTER)
    for use in ("root", "wrap"):
        with refused("denied"):
            mover.unwrap_key("kek", bytes(40), "taken-in", "aes-256", use, ())


def test_changed_at_any_bit_or_something_else_it_is_not_kept(mover: CeremonyHsm, hsm: Hsm) -> None:
    before = hsm.keys()
    signer, master = mover.wrap_key("movable-card", "kek"), mover.wrap_key("movable-card-master", "kek")

    def comes(code: str, wrapped: bytes, kind_of_key: str, use: str, check: bytes = b"") -> None:
        with refused(code):
            mover.unwrap_key("kek", wrapped, "taken-in", kind_of_key, use, (), check)

    for bit in range(0, 8 * len(master.wrapped), 7):
        number = int.from_bytes(master.wrapped, "big") ^ 1 << bit
        comes("bad_wrapping", number.to_bytes(len(master.wrapped), "big"), "aes-256", "card-master")
    for at in range(0, len(signer.wrapped), 9):
        changed = bytes((*signer.wrapped[:at], signer.wrapped[at] ^ 0x10, *signer.wrapped[at + 1 :]))
        comes("bad_wrapping", changed, "ec-p256", "card", signer.check)
    comes("bad_wrapping", aes_key_wrap_with_padding(bytes(32), bytes(range(32))), "aes-256", "card-master")
    comes("wrong_key", aes_key_wrap_with_padding(KEK, bytes(range(16))), "aes-256", "card-master")
    comes("wrong_key", aes_key_wrap_with_padding(KEK, bytes(range(27))), "aes-256", "card-master")
    comes("wrong_key", master.wrapped, "scp03-set", "transport")
    comes("wrong_key", master.wrapped, "aes-256", "card-master", bytes(3))
    comes("wrong_key", signer.wrapped, "ec-p256", "card", hsm.info(SIGNER).public or b"")
    comes("bad_request", master.wrapped, "aes-256", "card")
    assert hsm.keys() == before


def test_the_everyday_login_moves_no_keys(mover: CeremonyHsm, hall: Room) -> None:
    assert not hasattr(hall.everyday(), "wrap_key")
    with pytest.raises(HsmError):
        mover.load_component("kek", 1, 2, COMPONENTS[0])  # a label that is taken
    with refused("bad_request"):
        mover.load_component("kek-2", 1, 4, COMPONENTS[0])
    with refused("bad_request"):
        mover.load_component("kek-2", 1, 2, bytes(32))


# --- gone, and back


def test_when_the_hsm_goes_it_says_so_and_when_it_comes_back_work_goes_on(hall: Room, hsm: Hsm) -> None:
    card = TestCard.blank()
    session = card.open(hsm, "transport", BATCH)
    assert hsm.sign(SIGNER, "card", b"before")
    hall.gone()
    try:
        for call in (lambda: hsm.sign(SIGNER, "card", b"meanwhile"), hsm.keys, lambda: hsm.info(SIGNER)):
            with refused("hsm_gone"):
                call()
        with refused("session_lost"):
            hsm.wrap(session, GET_DISCOVERY)
        hsm.close_session(session)
    finally:
        hall.back()
    assert hsm.verify(SIGNER, b"after", hsm.sign(SIGNER, "card", b"after"))
    with refused("session_lost"):
        hsm.wrap(session, GET_DISCOVERY)
    assert TestCard.blank().open(hsm, "transport", BATCH)
