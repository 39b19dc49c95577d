"""Revocation lists on a real PostgreSQL: the same lists, also when many move cards and publish at once."""

import importlib
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import postgres
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from asn1crypto import crl as asn1_crl
from card_register import open_register
from revocation_office import URL, RevocationOffice, open_revocation_office
from sqlalchemy import delete, select

from cardlink.statements.status import Status
from issuer import database
from issuer.cards.states import CardState
from issuer.cards.tables import CardCertificate
from issuer.trust import ca, revocation, status
from issuer.trust.crl import CrlReason, Kind
from issuer.trust.revocation_tables import RevocationHead, RevokedCertificate

THREADS, EACH = 4, 6
NUMBERS = count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    with postgres.server() as folder:
        yield folder


@pytest.fixture
def office(server: Path, tmp_path: Path) -> Iterator[RevocationOffice]:
    register = open_register(tmp_path, postgres.make_database(server, f"revocation{next(NUMBERS)}"))
    with database.transaction(register.factory) as session:
        revocation.settle_url(session, URL)
        issuing = ca.current(session, ca.ISSUING, "H38", register.now).label
        root = ca.current(session, ca.ROOT, "", register.now).label
    yield RevocationOffice(register, tmp_path, issuing, root)
    register.factory.kw["bind"].dispose()


def test_no_revocation_is_lost_between_those_who_revoke_and_those_who_publish(office: RevocationOffice) -> None:
    factory, keys, now = office.register.factory, office.register.keys, office.now
    office.publish()
    faults: list[BaseException] = []
    numbers: list[int] = []

    def revoke(thread: int) -> None:
        for n in range(EACH):
            serial = f"{thread * 100 + n + 1:040x}"
            with database.transaction(factory) as session:
                held = [revocation.Certificate(office.issuing, serial, now.replace(year=now.year + 1))]
                revocation.mark(session, held, CrlReason.CERTIFICATE_HOLD, now)

    def publish() -> None:
        for _ in range(EACH):
            numbers.extend(one.number for one in revocation.publish(factory, keys, office.issuing, Kind.DELTA, now))

    def caught(what: object, *arguments: int) -> None:
        try:
            what(*arguments)  # type: ignore[operator]
        except BaseException as fault:  # noqa: BLE001 - told below
            faults.append(fault)

    threads = [threading.Thread(target=caught, args=(revoke, n)) for n in range(THREADS)]
    threads += [threading.Thread(target=caught, args=(publish,)) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert faults == []
    assert len(set(numbers)) == len(numbers)
    revocation.publish_due(factory, keys, now)
    with database.reading(factory) as session:
        head = session.get_one(RevocationHead, office.issuing)
        assert head.told == head.changes == THREADS * EACH
        delta = asn1_crl.CertificateList.load(revocation.find(session, office.issuing, Kind.DELTA).body, strict=True)
    assert len(delta["tbs_cert_list"]["revoked_certificates"]) == THREADS * EACH


def test_cards_blocked_before_there_were_lists_stand_on_the_first(office: RevocationOffice) -> None:
    carried_over(office)


def test_the_same_on_sqlite(tmp_path: Path) -> None:
    carried_over(open_revocation_office(tmp_path))


def carried_over(office: RevocationOffice) -> None:
    """The migration takes over what doors refuse already; a card that nobody has yet is not blocked."""
    (_good, _), (held, _), (gone, _), (making, _) = (office.card() for _ in range(4))
    office.block(held)
    office.revoke(gone)
    office.register.put(making, state=CardState.PRINTED)
    with database.transaction(office.register.factory) as session:  # as it was before there were lists
        status.set_status(session, office.register.keys, making.id, Status.SUSPENDED, office.now)
        session.execute(delete(RevokedCertificate))
        session.execute(delete(RevocationHead))
        migration = importlib.import_module("issuer.migrations.versions.0002_revocation")
        with Operations.context(MigrationContext.configure(session.connection())):
            migration._carry_over()
    with database.reading(office.register.factory) as session:
        row = RevokedCertificate
        told = select(CardCertificate.card_id, row.reason, row.revoked_s)
        found = session.execute(told.join(row, CardCertificate.serial == row.serial)).all()
    at_s = int(office.now.timestamp())
    assert {tuple(row) for row in found} == {(held.id, 6, at_s), (gone.id, 0, at_s)}
    assert len(found) == 8
    assert office.publish()[Kind.FULL].entries == 8
