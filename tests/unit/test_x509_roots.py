"""Certificates of cards when the root above them changes, judged by OpenSSL and by the centre, with lists in force."""

import subprocess
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from asn1crypto import x509 as asn1
from card_register import ADMIN, HOME
from cryptography import x509 as crypto
from key_steps import Room
from revocation_office import URL, RevocationOffice, open_revocation_office
from web_console import open_console

from cardlink.check.path import find_anchor, load_certificate, verify_card_certificate
from cardlink.statements.refusal import Refused
from cardlink.statements.trust import Trust, reload_trust_list
from issuer import database, errors
from issuer.trust import ca, compromise, paths, revocation, trust_list, x509_roots
from issuer.trust.crl import Kind
from issuer.trust.tables import AuthorityRow

OLD, NEW, CA = "x509-root-1", "x509-root-2", f"x509-ca-{HOME}-1"
HOUR = timedelta(hours=1)


@dataclass
class Change:
    """An office before and after; what others may hold of it."""

    office: RevocationOffice
    room: Room
    before: bytes  # certificate of 9A from before the change
    former: bytes  # of the issuing authority, by the old root

    @property
    def old(self) -> bytes:
        return self.office.authority(OLD)

    @property
    def new(self) -> bytes:
        return self.office.authority(NEW)

    def link(self, label: str, by: str) -> bytes:
        with database.reading(self.office.register.factory) as session:
            return ca.other(session, label, by).certificate

    def lists(self) -> list[bytes]:
        """Every list in force."""
        with database.reading(self.office.register.factory) as session:
            held = revocation.described(session)
            return [revocation.find(session, one.label, one.kind).body for one in held if one.kind is Kind.FULL]

    def judged(self, leaf: bytes, root: bytes, *chain: bytes) -> tuple[bool, bool]:
        """What OpenSSL and the centre say to somebody who trusts this root alone and was given this chain."""
        office = self.office
        files = [
            *("-CAfile", office.write("root.pem", "CERTIFICATE", root)),
            *("-untrusted", office.write("chain.pem", "CERTIFICATE", *chain)),
            *("-CRLfile", office.write("lists.pem", "X509 CRL", *self.lists())),
        ]
        now = office.now + timedelta(minutes=1)
        command = ["openssl", "verify", "-x509_strict", "-crl_check_all", "-attime", str(int(now.timestamp()))]
        command += [*map(str, files), str(office.write("leaf.pem", "CERTIFICATE", leaf))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        with database.reading(office.register.factory) as session:
            deltas = [one for one in revocation.described(session) if one.kind is Kind.DELTA]
            lists = self.lists() + [revocation.find(session, one.label, Kind.DELTA).body for one in deltas]
        try:
            paths.validate([leaf], chain, [root], now, lists)
        except errors.Refused:
            return done.returncode == 0, False
        return done.returncode == 0, True

    def trust(self) -> Trust:
        with database.reading(self.office.register.factory) as session:
            found = reload_trust_list(trust_list.current(session))
        assert isinstance(found, Trust)
        return found


def open_change(folder: Path) -> Change:
    office = open_revocation_office(folder)
    office.publish(label=OLD)
    office.publish()
    before = office.card()[1]["9A"]
    room = Room(office.register)
    office.register.pass_by(HOUR)
    return Change(office, room, before, office.authority(CA))


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> Change:
    change = open_change(tmp_path_factory.mktemp("rotated"))
    done = x509_roots.rotate(change.office.register.factory, change.room, ADMIN, change.office.now)
    assert (done.made, done.replaced) == ((NEW,), (OLD,))
    return change


def test_old_and_new_certificates_hold_whichever_root_somebody_knows(rotated: Change) -> None:
    after = rotated.office.card()[1]["9A"]
    old, new, former, again = rotated.old, rotated.new, rotated.former, rotated.office.authority(CA)
    for leaf in (rotated.before, after):
        assert rotated.judged(leaf, old, former) == (True, True)
        assert rotated.judged(leaf, new, again) == (True, True)
        assert rotated.judged(leaf, new, former, rotated.link(OLD, by=NEW)) == (True, True)  # old with new
        assert rotated.judged(leaf, old, again, rotated.link(NEW, by=OLD)) == (True, True)  # new with old
        assert rotated.judged(leaf, new, former) == (False, False)
        assert rotated.judged(leaf, old, again) == (False, False)


def test_an_authority_keeps_name_and_key_and_links_end_with_the_old_root(rotated: Change) -> None:
    former, again = (asn1.Certificate.load(one) for one in (rotated.former, rotated.office.authority(CA)))
    assert former.subject.dump() == again.subject.dump()
    assert former.public_key.dump() == again.public_key.dump()
    assert former.issuer.dump() != again.issuer.dump()
    old, new = (crypto.load_der_x509_certificate(one) for one in (rotated.old, rotated.new))
    for link, subject, issuer in (
        (rotated.link(OLD, by=NEW), old, new),
        (rotated.link(NEW, by=OLD), new, old),
    ):
        made = crypto.load_der_x509_certificate(link)
        made.verify_directly_issued_by(issuer)
        assert (made.subject, made.public_key()) == (subject.subject, subject.public_key())
        assert made.not_valid_after_utc == old.not_valid_after_utc
        points = made.extensions.get_extension_for_class(crypto.CRLDistributionPoints).value
        assert points[0].full_name is not None
        assert points[0].full_name[0].value == f"{URL}/crl/{OLD if issuer is old else NEW}.crl"


def test_doors_get_both_and_take_the_one_that_is_in_its_time(rotated: Change) -> None:
    anchors = rotated.trust().content.anchors
    mine = [one.certificate for one in anchors if one.scope == (HOME,)]
    assert mine == [rotated.office.authority(CA), rotated.former]
    leaf = load_certificate(rotated.office.card()[1]["9E"])
    for now, expected in ((rotated.office.now + HOUR, mine[0]), (rotated.office.now - HOUR / 2, mine[1])):
        found = find_anchor(leaf, anchors, now)
        assert not isinstance(found, Refused)
        assert found[0].certificate == expected


def test_each_root_goes_on_with_a_list_of_its_own(rotated: Change) -> None:
    now = rotated.office.now + revocation.ROOT_LIFE
    made = revocation.publish_due(rotated.office.register.factory, rotated.room, now, ca.ROOT)
    assert {one.label for one in made} == {OLD, NEW}


def test_a_root_whose_time_to_sign_is_over_is_replaced_all_the_same(tmp_path: Path) -> None:
    change = open_change(tmp_path)
    factory, now = change.office.register.factory, change.office.now
    with database.transaction(factory) as session:
        session.get_one(AuthorityRow, OLD).signs_until = now - HOUR
    with pytest.raises(errors.NotFound), database.reading(factory) as session:
        ca.current(session, ca.ROOT, "", now)
    assert x509_roots.rotate(factory, change.room, ADMIN, now).made == (NEW,)
    assert change.judged(change.before, change.new, change.office.authority(CA)) == (True, True)


def test_an_authority_that_falls_later_is_on_the_lists_of_both(tmp_path: Path) -> None:
    change = open_change(tmp_path)
    factory = change.office.register.factory
    x509_roots.rotate(factory, change.room, ADMIN, change.office.now)
    compromise.compromised(factory, change.room, ADMIN, CA, change.office.now)
    for root, chain in ((change.old, change.former), (change.new, change.office.authority(CA))):
        assert change.judged(change.before, root, chain) == (False, False)
    with database.reading(factory) as session:
        listed = {one.label: one.entries for one in revocation.described(session)}
    assert (listed[OLD], listed[NEW]) == (1, 1)


def test_a_fallen_root_is_no_anchor_and_its_links_are_revoked(tmp_path: Path) -> None:
    change = open_change(tmp_path)
    office, factory = change.office, change.office.register.factory
    x509_roots.rotate(factory, change.room, ADMIN, office.now)
    link = change.link(OLD, by=NEW)
    drill = compromise.compromised(factory, change.room, ADMIN, OLD, office.now)
    assert (drill.made, drill.cards) == ((), ())  # the other one goes on
    assert change.room.states[OLD] == "compromised"
    assert [one.certificate for one in change.trust().content.anchors if one.scope == (HOME,)] == [office.authority(CA)]
    assert change.judged(change.before, change.new, office.authority(CA)) == (True, True)
    assert change.judged(change.before, change.new, change.former, link) == (False, False)
    with database.reading(factory) as session:
        assert ca.roots(session) == [office.authority(NEW)]
        assert {one.label for one in revocation.described(session)} >= {NEW, CA}
        assert OLD not in {one.label for one in revocation.described(session)}
        with pytest.raises(errors.NotFound):
            ca.published(session, OLD)
        with pytest.raises(errors.NotFound):
            ca.other(session, OLD, NEW)


def test_others_fetch_both_roots_their_links_and_former_certificates_and_nothing_of_a_fallen_one(
    tmp_path: Path,
) -> None:
    console = open_console(tmp_path)
    register, visitor = console.register, console.client()
    room, factory = Room(register), register.factory
    x509_roots.rotate(factory, room, ADMIN, register.now)
    links = {f"/crl/{OLD}.by-{NEW}.cer", f"/crl/{NEW}.by-{OLD}.cer"}
    of_old = {f"/crl/{OLD}.crl", f"/crl/{OLD}.cer", f"/crl/{CA}.by-{OLD}.cer"}
    revocation.publish(factory, room, OLD, Kind.FULL, register.now)
    for path in (*links, *of_old, f"/crl/{NEW}.crl", f"/crl/{NEW}.cer", f"/crl/{CA}.cer"):
        assert visitor.get(path).status_code == 200, path
    with database.reading(factory) as session:
        assert visitor.get(f"/crl/{OLD}.by-{NEW}.cer").data == ca.other(session, OLD, NEW).certificate
    compromise.compromised(factory, room, ADMIN, OLD, register.now)
    for path in links | of_old:
        assert visitor.get(path).status_code == 404, path
    assert visitor.get(f"/crl/{NEW}.crl").status_code == 200


def test_when_the_root_in_use_falls_another_takes_its_place_without_a_link(tmp_path: Path) -> None:
    change = open_change(tmp_path)
    office, factory = change.office, change.office.register.factory
    drill = compromise.compromised(factory, change.room, ADMIN, OLD, office.now)
    assert drill.made == (NEW,)
    after = office.card()[1]
    for leaf in (change.before, after["9A"]):
        assert change.judged(leaf, change.new, office.authority(CA)) == (True, True)
        assert change.judged(leaf, change.new, change.former) == (False, False)
    assert not isinstance(verify_card_certificate(after["9E"], change.trust(), office.now + HOUR), Refused)
    again = compromise.compromised(factory, change.room, ADMIN, OLD, office.now)
    assert again.made == ()
    with database.reading(factory) as session:
        assert ca.current(session, ca.ROOT, "", office.now).label == NEW
        with pytest.raises(errors.NotFound):
            ca.other(session, NEW, OLD)
