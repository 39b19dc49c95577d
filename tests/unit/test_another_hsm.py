"""The same register at another HSM: names that the register knows are taken there, and no other key answers to them."""

from datetime import timedelta
from pathlib import Path

import pytest
from card_register import ADMIN, HOME, NOW, Register, open_register
from signing_keys import LocalKeys

from issuer import database
from issuer.audit import checkpoints
from issuer.errors import Refused
from issuer.trust import ca, publication, rotation, signers, trust_list, x509_roots
from issuer.trust.key_labels import next_key
from issuer.trust.port import KeyInfo
from issuer.trust.tables import AuthorityRow, RootKeyRow, SignerRow

LATER = NOW + timedelta(hours=1)
ANOTHER = r"trust\.another_key"


class Elsewhere(LocalKeys):
    """Another HSM: it holds nothing yet."""

    def set_state(self, label: str, state: str) -> None:
        raise AssertionError(f"{label} is not to become {state}")


@pytest.fixture
def register(tmp_path: Path) -> Register:
    return open_register(tmp_path)


@pytest.mark.parametrize("stem", ["root", "x509-root", f"card-{HOME}"])
def test_a_name_that_the_register_knows_is_not_given_again(register: Register, stem: str) -> None:
    elsewhere = Elsewhere()
    assert next_key(register.factory, elsewhere, stem, "ec-p256", "root", ()).label == f"{stem}-2"
    elsewhere.generate(f"{stem}-1", "ec-p256", "root", ())
    assert next_key(register.factory, elsewhere, stem, "ec-p256", "root", ()).label == f"{stem}-2"  # left behind


def test_a_list_is_not_signed_with_another_root_of_that_name(register: Register) -> None:
    elsewhere = Elsewhere()
    elsewhere.made = {**register.keys.made}
    elsewhere.generate("root-1", "ec-p256", "root", ())
    with pytest.raises(Refused, match=ANOTHER):
        rotation.replace_root(register.factory, elsewhere, ADMIN, "root-1", LATER)
    with database.reading(register.factory) as session:
        assert trust_list.current_number(session) == 1
        assert [row.label for row in session.query(RootKeyRow)] == ["root-1"]


def test_a_list_that_no_door_would_take_is_not_kept(register: Register) -> None:
    class Lying(Elsewhere):
        """Tells the public half of one key and signs with another."""

        def info(self, label: str) -> KeyInfo:
            return register.keys.info(label)

    lying = Lying()
    lying.made = {**register.keys.made}
    lying.generate("root-1", "ec-p256", "root", ())
    with pytest.raises(Refused, match=r"trust\.not_believed"):
        publication.publish(register.factory, lying, LATER)
    with database.reading(register.factory) as session:
        assert trust_list.current_number(session) == 1


def test_no_other_key_signs_for_signers_authorities_and_the_log(register: Register) -> None:
    elsewhere = Elsewhere()
    for info in register.keys.keys():  # noqa: SIM118 - a call
        elsewhere.generate(info.label, info.kind, info.use, info.scope)
    with database.reading(register.factory) as session:
        row = session.get_one(SignerRow, f"card-{HOME}-1")
        assert signers.bind(register.keys, row).sign(b"claims")
        with pytest.raises(Refused, match=ANOTHER):
            signers.bind(elsewhere, row).sign(b"claims")
        authority = session.get_one(AuthorityRow, f"x509-ca-{HOME}-1")
        assert ca.sign_bodies(register.keys, authority, [b"body"])
        for data in (b"body", bytes(ca.LONG_BYTES + 1)):
            assert ca.issuer_of(session, register.keys, authority).sign(data)
            with pytest.raises(Refused, match=ANOTHER):
                ca.issuer_of(session, elsewhere, authority).sign(data)
        with pytest.raises(Refused, match=ANOTHER):
            ca.sign_bodies(elsewhere, authority, [b"body"])
    with pytest.raises(Refused, match=ANOTHER):
        checkpoints.make(register.factory, elsewhere, LATER)
    with pytest.raises(Refused):
        x509_roots.rotate(register.factory, elsewhere, ADMIN, LATER)
