"""Authorities that are not ours: what may be added, what doors then make of their cards, what stands in the log."""

from datetime import timedelta
from pathlib import Path

import pytest
from asn1crypto import pem
from card_certificates import authority, certificate
from card_register import ADMIN, HOME, HR, NOW, Register, open_register
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from key_steps import Room

from cardlink.check.path import CardCertificate, verify_card_certificate
from cardlink.statements.refusal import Reason, Refused
from cardlink.statements.trust import Profile, Trust, accept_trust_list
from issuer import database, errors
from issuer.registry.tables import Agency
from issuer.trust import ca, foreign_anchors, profiles, setup, trust_list

THEM = "F01"
UUID = bytes(15) + b"\x01"
CA = authority("ca", NOW)
CARD = certificate("card-9e", "ca", profiles.CARD_PROFILES["9E"], NOW, card_uuid=UUID)
LATER = NOW + timedelta(hours=1)


@pytest.fixture
def register(tmp_path: Path) -> Register:
    made = open_register(tmp_path)
    with database.transaction(made.factory) as session:
        for code in (THEM, f"{THEM}.07", f"{HOME}.09"):
            session.add(Agency(code=code, name="Cơ quan bạn", short_name="Bạn", kind="unit", scheme=1))
    Room(made)
    return made


def add(register: Register, der: bytes = CA, name: str = "bạn", agency: str = THEM) -> int:
    return foreign_anchors.add(register.factory, register.keys, ADMIN, name, agency, der, LATER)[1]


def trust(register: Register) -> Trust:
    with database.reading(register.factory) as session:
        found = accept_trust_list(trust_list.current(session), trust_list.roots(session), LATER)
    assert isinstance(found, Trust)
    return found


def test_doors_take_its_cards_as_those_of_the_agency_named_until_it_is_removed(register: Register) -> None:
    before = verify_card_certificate(CARD, trust(register), LATER)
    assert isinstance(before, Refused)
    number = add(register)
    assert trust(register).content.number == number
    (anchor,) = (one for one in trust(register).content.anchors if one.profile is Profile.FOREIGN_PIV)
    assert (anchor.certificate, anchor.scope) == (CA, (THEM,))
    taken = verify_card_certificate(CARD, trust(register), LATER)
    assert isinstance(taken, CardCertificate)
    assert (taken.agency, taken.card_uuid) == (THEM, UUID)
    assert foreign_anchors.remove(register.factory, register.keys, ADMIN, "bạn", LATER) == number + 1
    after = verify_card_certificate(CARD, trust(register), LATER)
    assert isinstance(after, Refused)
    assert after.reason is Reason.UNKNOWN_SIGNER
    assert register.audited("bạn") == ["anchor.added", "anchor.removed"]


def test_one_that_is_over_falls_out_of_the_next_list(register: Register) -> None:
    add(register, authority("ca", NOW, ends=timedelta(days=2)))
    assert len(trust(register).content.anchors) == 3
    with database.transaction(register.factory) as session:
        trust_list.publish(session, register.keys, NOW + timedelta(days=3))
        held = accept_trust_list(trust_list.current(session), trust_list.roots(session), NOW + timedelta(days=3))
        assert len(foreign_anchors.described(session)) == 1
    assert isinstance(held, Trust)
    assert len(held.content.anchors) == 2


@pytest.mark.parametrize(
    ("der", "code"),
    [
        (b"junk", "anchor.bad"),
        (CA[:-1], "anchor.bad"),
        (CARD, "anchor.no_authority"),
        (authority("ca", NOW, ends=timedelta(minutes=30)), "anchor.untimely"),
        (authority("ca", NOW, starts=timedelta(days=1)), "anchor.untimely"),
    ],
)
def test_what_is_no_authority_in_its_time_is_refused(register: Register, der: bytes, code: str) -> None:
    with pytest.raises(errors.Refused) as refused:
        add(register, der)
    assert refused.value.code == code
    assert trust(register).content.number == 1


def test_a_weak_key_is_refused(register: Register) -> None:
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505 - this is what is refused
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "weak")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=9))
    weak = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    with pytest.raises(errors.Refused, match="weak_key"):
        add(register, weak.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))


def test_our_own_authorities_and_agencies_are_not_foreign(register: Register) -> None:
    with database.reading(register.factory) as session:
        ours = [ca.current(session, *one, LATER).certificate for one in ((ca.ISSUING, HOME), (ca.ROOT, ""))]
    for der in ours:
        with pytest.raises(errors.Refused, match=r"anchor\.ours"):
            add(register, der)
    for agency in (HOME, f"{HOME}.09"):
        with pytest.raises(errors.Refused, match="own_agency"):
            add(register, agency=agency)
    with pytest.raises(errors.NotFound, match="unknown"):
        add(register, agency="F99")


def test_an_agency_below_which_we_sign_is_not_foreign(register: Register) -> None:
    with database.transaction(register.factory) as session:
        for code in ("X01", "X01.05"):
            session.add(Agency(code=code, name="Cơ quan trên", short_name="Trên", kind="unit", scheme=1))
    init(register, "X01.05")
    with pytest.raises(errors.Refused, match="own_agency"):
        add(register, agency="X01")


@pytest.mark.parametrize("code", [THEM, f"{THEM}.07"])
def test_an_agency_whose_cards_a_foreign_authority_issues_gets_no_keys_of_ours(register: Register, code: str) -> None:
    add(register, agency=f"{THEM}.07" if code == THEM else THEM)
    labels = set(register.keys.made)
    with pytest.raises(errors.Refused, match="foreign_agency"):
        init(register, code)
    assert set(register.keys.made) == labels
    foreign_anchors.remove(register.factory, register.keys, ADMIN, "bạn", LATER)
    init(register, code)


def init(register: Register, code: str) -> None:
    """`issuer keys init` for one more agency."""
    own, more = setup.AgencyName(HOME, "Sở"), [setup.AgencyName(code, "Cơ quan bạn")]
    setup.init(register.factory, register.keys, ADMIN, own, more, None, 12, LATER, lambda _: None)


def test_a_name_or_a_key_is_there_once(register: Register) -> None:
    add(register)
    for der, name, code in ((authority("other", NOW), "bạn", "name_taken"), (CA, "bạn 2", "key_taken")):
        with pytest.raises(errors.Conflict, match=code):
            add(register, der, name)
    for name in ("", " bạn", "b\nạn", "b" * 65):
        with pytest.raises(errors.Refused, match="bad_name"):
            add(register, name=name)
    with pytest.raises(errors.NotFound, match=r"anchor\.unknown"):
        foreign_anchors.remove(register.factory, register.keys, ADMIN, "ai đó", LATER)


def test_a_file_holds_one_certificate() -> None:
    armoured: bytes = pem.armor("CERTIFICATE", CA)
    assert foreign_anchors.read(armoured) == foreign_anchors.read(CA) == CA
    for raw in (armoured * 2, pem.armor("X509 CRL", CA), armoured[:40]):
        with pytest.raises(errors.Refused, match=r"anchor\.bad"):
            foreign_anchors.read(raw)


def test_only_an_administrator_adds_one(register: Register) -> None:
    with pytest.raises(errors.Forbidden):
        foreign_anchors.add(register.factory, register.keys, HR, "bạn", THEM, CA, LATER)
    with pytest.raises(errors.Forbidden):
        foreign_anchors.remove(register.factory, register.keys, HR, "bạn", LATER)
