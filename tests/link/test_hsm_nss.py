"""The port's contract over a third device, which signs with CKM_ECDSA_SHA256: Mozilla's NSS, behind p11-kit.

Not of the contract: NSS 3.87 has no Ed25519, does not say that it made a key itself, keeps no data objects in its token
(so no states of keys and no PINs of cards), and works on with the files of a token that was taken away.
"""

import re
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hsm_card import TestCard
from nss_tokens import NssTokens, nss
from test_hsm_contract import (  # noqa: F401  # run again here, over this `hall`
    BATCH,
    KEK,
    MASTER,
    SIGNER,
    hsm,
    mover,
    officer,
    refused,
    test_a_blank_gets_its_own_keys_and_is_reached_with_them_alone,
    test_a_changed_answer_or_check_value_ends_the_session,
    test_a_forked_process_gets_a_way_of_its_own,
    test_a_key_for_after_quantum_computers_is_made_where_that_is_declared,
    test_a_key_is_made_once_and_described_without_its_value,
    test_a_key_opens_only_the_kind_of_set_that_it_is_for,
    test_a_key_signs_for_its_own_use_alone,
    test_a_session_is_with_one_card_and_takes_its_turn,
    test_a_set_of_a_card_maker_comes_in_enciphered_and_opens_its_cards,
    test_a_wrong_pin_is_said_and_not_tried_again,
    test_an_authority_signs_what_is_long_by_its_digest,
    test_every_key_is_listed_once_with_its_use_and_scope,
    test_long_data_go_as_a_chain_at_every_level,
    test_many_threads_and_logins_sign_at_once,
    test_nothing_is_made_with_a_wrong_officers_pin,
    test_nothing_that_loads_a_secret_is_wrapped_for_others,
    test_random_bytes_are_drawn_and_no_more_than_asked_for,
    test_secrets_go_over_an_encrypted_channel_alone,
    test_signatures_verify_one_by_one_and_many_at_once,
    test_the_check_values_of_a_card_are_those_of_the_keys_on_it,
    test_the_everyday_login_makes_no_keys_and_signs_with_no_root_key,
    test_what_is_no_key_is_not_made,
    test_what_one_process_makes_another_uses_at_once,
)

from cardlink.gp.keys import derive_card_keys, key_check_value
from issuer.trust.port import CeremonyHsm, Hsm

ECDSA_SHA256 = "CKM_0x00001044"
"""What p11-kit calls CKM_ECDSA_SHA256 (PKCS #11 v3.1, 6.3.1)."""


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NssTokens]:
    with nss(tmp_path_factory.mktemp("nss")) as opened:
        yield opened


def test_aes_keys_come_in_enciphered_no_signing_keys_and_python_pkcs11_takes_none_out(
    mover: CeremonyHsm,  # noqa: F811  # a fixture
    hsm: Hsm,  # noqa: F811  # a fixture
) -> None:
    """NSS wants attributes of its own with a signing key, and says that an enciphered key is shorter than it is."""
    private = ec.generate_private_key(ec.SECP256R1())
    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    pkcs8 = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    with refused("denied"):
        mover.unwrap_key("kek", aes_key_wrap_with_padding(KEK, pkcs8), "came", "ec-p256", "card", ("H38",), point)
    with refused("no_such_key"):
        hsm.info("came")
    master = bytes(range(32))
    check = key_check_value(master)
    mover.unwrap_key("kek", aes_key_wrap_with_padding(KEK, master), "master-2", "aes-256", "card-master", (), check)
    own = derive_card_keys(master, bytes(10), 1, 256)
    assert hsm.derive_check("master-2", bytes(10), 1) == tuple(map(key_check_value, (own.enc, own.mac, own.dek)))
    for wrapped, code in ((bytes(40), "bad_wrapping"), (aes_key_wrap_with_padding(KEK, bytes(16)), "wrong_key")):
        with refused(code):
            mover.unwrap_key("kek", wrapped, "came-2", "aes-256", "card-master", ())
    with refused("error"):
        mover.wrap_key("movable-card", "kek")


def test_data_go_to_the_device_whole_which_hashes_them_itself(
    hall: NssTokens,
    officer: CeremonyHsm,  # noqa: F811  # a fixture
    capfd: pytest.CaptureFixture[str],
) -> None:
    with hall.told():
        told = hall.everyday()
        signature = told.sign(SIGNER, "card", b"claims")
        told.close()
    assert told.verify(SIGNER, b"claims", signature)
    calls = capfd.readouterr().err
    assert re.findall(r"C_SignInit.*?mechanism: (\w+)", calls, re.DOTALL) == [ECDSA_SHA256]
    assert '"claims"' in calls


def test_what_this_device_has_not_is_declared(officer: CeremonyHsm, hsm: Hsm) -> None:  # noqa: F811  # fixtures
    assert not hsm.capabilities().has_ed25519
    with refused("denied"):
        officer.generate("audit-1", "ed25519", "audit", ())
    for label in (SIGNER, MASTER, BATCH):
        found = hsm.attest(label)
        assert (found.is_made_inside, found.is_kept) == (False, True)


def test_what_it_cannot_keep_is_refused_and_nothing_ends_by_half(officer: CeremonyHsm, hsm: Hsm) -> None:  # noqa: F811
    with refused("denied"):
        officer.set_state(SIGNER, "deactivated")
    assert hsm.info(SIGNER).state == "active"
    assert hsm.verify(SIGNER, b"claims", hsm.sign(SIGNER, "card", b"claims"))
    card = TestCard.blank()
    session = card.open(hsm, "transport", BATCH)
    with refused("denied"):
        hsm.put_secret(session, "pin", None, card.kdd, 0x01)
