"""Paths as the centre judges them: the same verdicts as OpenSSL's, on the same certificates and lists."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from card_register import HOME, NOW, OTHER
from cryptography import x509 as crypto
from cryptography.x509 import verification
from revocation_office import RevocationOffice, open_revocation_office

from cardlink.piv.fascn import NON_FEDERAL, encode_fascn
from issuer import database
from issuer.errors import Refused
from issuer.trust import ca, paths, profiles, x509
from issuer.trust.crl import Kind


@pytest.fixture
def office(tmp_path: Path) -> RevocationOffice:
    return open_revocation_office(tmp_path)


def judge(office: RevocationOffice, certificates: Sequence[bytes], lists: Sequence[bytes] = ()) -> str:
    """Empty when all is well, else why not."""
    chain, roots = [office.authority(office.issuing)], [office.authority(office.root)]
    try:
        paths.validate(certificates, chain, roots, office.now + timedelta(minutes=1), lists)
    except Refused as refused:
        return f"{refused.code}: {refused.facts['why']}"
    return ""


def stray(office: RevocationOffice, agency: str) -> bytes:
    """A certificate that the authority of HOME signed for a card of another agency, past the centre's own refusal."""
    keys = office.register.keys
    point = keys.generate("stray", "ec-p256", "card", ()).public
    assert point is not None
    with database.reading(office.register.factory) as session:
        issuer = ca.issuer_of(session, keys, ca.find(session, office.issuing))
    card = x509.CardNames(office.card()[0].uuid, encode_fascn(NON_FEDERAL))
    name = x509.agency_name(agency, "Cơ quan khác", "x")
    until = office.now + timedelta(days=9)
    return x509.issue(issuer, name, point, profiles.CARD_PROFILES["9E"], 77, office.now, until, card=card)


def test_every_certificate_of_a_card_has_its_path(office: RevocationOffice) -> None:
    assert judge(office, list(office.card()[1].values())) == ""


def test_a_path_is_judged_also_from_within_an_event_loop(office: RevocationOffice) -> None:
    """As in the feed. In a thread of its own: in this one a browser's loop may run, where other tests came before."""
    certificates = list(office.card()[1].values())

    async def inside() -> str:
        return judge(office, certificates)

    with ThreadPoolExecutor(1) as own:
        assert own.submit(lambda: asyncio.run(inside())).result() == ""


@pytest.mark.parametrize("agency", [OTHER, "H381", "G01.H38"])
def test_a_name_outside_the_agency_has_no_path(office: RevocationOffice, agency: str) -> None:
    assert "permitted" in judge(office, [stray(office, agency)])
    assert office.verify(stray(office, agency), [])[0] != 0


def test_the_library_at_hand_cannot_judge_our_constraints(office: RevocationOffice) -> None:
    """Why there is another one (docs/adr/0015): if this ever passes, `cryptography` alone will do."""
    load = crypto.load_der_x509_certificate
    policy = verification.ExtensionPolicy.permit_all().require_present(
        crypto.BasicConstraints, verification.Criticality.AGNOSTIC, None
    )
    builder = verification.PolicyBuilder().store(verification.Store([load(office.authority(office.root))]))
    builder = builder.time(NOW.replace(tzinfo=None) + timedelta(minutes=1)).extension_policies(
        ca_policy=policy, ee_policy=verification.ExtensionPolicy.permit_all()
    )
    leaf = load(office.card()[1]["9A"])
    with pytest.raises(verification.VerificationError, match="directoryName"):
        builder.build_client_verifier().verify(leaf, [load(office.authority(office.issuing))])


def test_lists_are_heeded_and_asked_for(office: RevocationOffice) -> None:
    (_, good), (gone, bad) = office.card(), office.card()
    root = office.publish(label=office.root)[Kind.FULL].body
    made = office.publish()
    full = made[Kind.FULL].body
    assert judge(office, [good["9A"], bad["9A"]], [root, full, made[Kind.DELTA].body]) == ""
    assert "not available" in judge(office, [good["9A"]], [root, full])  # the changes that the full list points to
    office.revoke(gone)
    delta = office.publish(Kind.DELTA)[Kind.DELTA].body
    assert "revoked" in judge(office, [bad["9A"]], [root, full, delta])
    assert judge(office, [good["9A"]], [root, full, delta]) == ""
    assert "trust.no_path" in judge(office, [good["9A"]], [root])  # no list of its issuer


def test_out_of_date_and_foreign_roots_have_no_path(office: RevocationOffice) -> None:
    certificates = office.card()[1]
    chain = [office.authority(office.issuing)]
    (office.folder / "other").mkdir()
    other = open_revocation_office(office.folder / "other", is_fresh=True)
    with pytest.raises(Refused, match=r"trust\.no_path"):
        paths.validate([certificates["9A"]], chain, [other.authority(other.root)], office.now)
    with pytest.raises(Refused, match=r"trust\.no_path"):
        paths.validate([certificates["9A"]], chain, [office.authority(office.root)], office.now + timedelta(days=2000))


@pytest.mark.parametrize("junk", [b"", b"\x30\x00", bytes(50)])
def test_junk_has_no_path(office: RevocationOffice, junk: bytes) -> None:
    assert judge(office, [junk]) != ""


def test_the_agency_stands_in_its_authoritys_own_certificate(office: RevocationOffice) -> None:
    issuing = crypto.load_der_x509_certificate(office.authority(office.issuing))
    constraints = issuing.extensions.get_extension_for_class(crypto.NameConstraints)
    assert constraints.critical
    (permitted,) = constraints.value.permitted_subtrees or ()
    assert [one.value for one in permitted.value] == ["VN", HOME]
