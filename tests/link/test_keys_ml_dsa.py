"""Another algorithm by command: identity statements go over to ML-DSA-44, cards and doors that are out go on."""

from collections.abc import Iterator

import pytest
from card_office import HOME
from key_drill import KeyRoom, open_key_room, right_now, tap, within

from cardlink.check.cache import CredentialCache
from cardlink.check.card import check_identity, verify_credential
from cardlink.statements.akp_key import AkpKey
from cardlink.statements.algorithms import ES256, ML_DSA_44
from cardlink.statements.cose_key import CoseKey
from cardlink.statements.identity import Identity, read_identity
from cardlink.statements.trust import Use
from issuer.cards.tables import Card


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyRoom]:
    with open_key_room(tmp_path_factory.mktemp("room")) as opened:
        opened.start_feed()
        yield opened


def judged(room: KeyRoom, card: Card) -> tuple[int, Identity]:
    """The algorithm of a card's identity statement, and what it says to a reader that trusts the list in force."""
    trust = room.list_in_force()
    assert card.credential is not None
    assert card.identity is not None
    beside = verify_credential(card.credential, trust, right_now(), CredentialCache())
    identity = check_identity(card.identity, beside, trust, right_now())  # type: ignore[arg-type]  # a refusal fails below
    assert isinstance(identity, Identity), identity
    return read_identity(card.identity).statement.alg, identity


def test_identity_statements_go_over_to_ml_dsa_44(room: KeyRoom) -> None:
    door = room.door()
    old, old_blank = room.active_card()
    assert judged(room, old)[0] == ES256

    told = room.type("keys", "rotate", "identity", "--agency", HOME, "--alg", "ml-dsa-44")
    assert told.splitlines()[0] == f"identity-{HOME}-2"
    keys = [one.key for one in room.list_in_force().content.keys if one.use is Use.IDENTITY and one.scope == (HOME,)]
    assert sorted(type(key).__name__ for key in keys) == [AkpKey.__name__, CoseKey.__name__]
    room.follows(door)

    new, new_blank = room.active_card()  # encoded, and read back by the centre under the new list
    assert judged(room, new)[0] == ML_DSA_44
    assert judged(room, old)[0] == ES256
    room.poke()
    within(10, lambda: (tap(door, old_blank), tap(door, new_blank)) == ("granted", "granted"))

    told = room.type("keys", "compromised", f"identity-{HOME}-2")
    assert room.centre.hsm.info(f"identity-{HOME}-3").kind == "ml-dsa-44"
    room.type("keys", "rotate", "identity", "--agency", HOME, "--alg", "es256")
    assert room.centre.hsm.info(f"identity-{HOME}-4").kind == "ec-p256"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("card", "--agency", HOME, "--alg", "ml-dsa-44"), "signs with ES256 alone"),
        (("identity", "--agency", HOME, "--alg", "rsa"), "no algorithm rsa"),
    ],
)
def test_what_signs_with_es256_alone_stays_so(room: KeyRoom, words: tuple[str, ...], why: str) -> None:
    number = room.list_number()
    assert why in room.type("keys", "rotate", *words, code=1)
    assert room.list_number() == number
