"""The centre behaves the same on SQLite and on a real PostgreSQL."""

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from io import BytesIO
from itertools import count
from pathlib import Path

import postgres
import pytest
from PIL import Image
from signing_keys import LocalKeys
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from demo.register import make_register, write_photos, write_sheet
from issuer import database, outbox
from issuer.accounts import invitations, sessions, sign_in, users
from issuer.accounts.sign_in import TurnedAway, Welcome
from issuer.accounts.users import Grant
from issuer.audit import checkpoints, log, tree
from issuer.audit.log import Break, Broken, Intact
from issuer.database import SessionFactory
from issuer.errors import Conflict, IssuerError, NotFound
from issuer.ids import new_id
from issuer.migrations import schema
from issuer.outbox import Kind
from issuer.policy import Actor, Role
from issuer.registry import agencies, freshness, importer, intake, people, photos, positions, record, workflow
from issuer.registry.names import sort_key
from issuer.registry.record import PersonFacts
from issuer.registry.tables import RecordState
from issuer.registry.workflow import Step

NOW = datetime(2026, 3, 2, 1, 30, 0, 123456, tzinfo=UTC)
TODAY = date(2026, 3, 2)
SETUP = users.local_administrator("root")
CLERK = Actor(new_id(), "hoa", ((Role.HR, "*"),))
CHECKER = Actor(new_id(), "lan", ((Role.HR, "*"),))
APPROVER = Actor(new_id(), "son", ((Role.APPROVER, "*"),))
NAMES = (
    "Đặng Thị Ánh", "Dương Văn Anh", "Lê Dạng", "Trần Thị Đang", "Nguyễn Văn Hoà", "Bùi Thị Hòa", "Đặng Văn Ước",
    "H'Hen Niê", "Y Phôn Ksơr", "Phạm Ân", "Phạm An", "Phạm Ăn", "Vũ Thị Ý", "Vũ Thị Yến", "Ô Đê", "Đỗ Đê", "Đỗ Dê",
)  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    with postgres.server() as folder:
        yield folder


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return count(1)


@pytest.fixture(params=["sqlite", "postgresql"])
def factory(request: pytest.FixtureRequest, tmp_path: Path, numbers: Iterator[int]) -> Iterator[SessionFactory]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'centre.db'}"
    else:
        url = postgres.make_database(request.getfixturevalue("server"), f"centre{next(numbers)}")
    engine = database.engine_at(url)
    schema.upgrade(engine)
    factory = database.session_factory(engine)
    with database.transaction(factory) as session:
        agencies.load(session, SETUP, agencies.shipped_rows(), NOW)
        agencies.load_places(session)
        positions.load_shipped(session)
    yield factory
    engine.dispose()


def facts(number: str, name: str = "Đặng Văn Ước", title: str = "Chuyên viên") -> PersonFacts:
    return PersonFacts(
        number, name, date(1985, 6, 7), 1, "H38", "Sở Nội vụ", "01.003", title, "CC", date(2026, 1, 15), None
    )  # fmt: skip


def test_the_migrated_tables_are_those_of_the_models(factory: SessionFactory) -> None:
    with factory() as session:
        engine = session.get_bind().engine
    assert schema.differences(engine) == []
    assert schema.current(engine) == schema.head()


def test_names_are_ordered_the_same_whatever_the_database_thinks(factory: SessionFactory) -> None:
    with database.transaction(factory) as session:
        for n, name in enumerate(NAMES):
            people.declare(session, CLERK, facts(f"0100850000{n:02d}", name), "form", NOW)
    with database.reading(factory) as session:
        found: list[str] = []
        after = None
        while True:
            page = people.search(session, CLERK, limit=5, after=after)
            found += [person.full_name for person in page.people]
            after = page.following
            if after is None:
                break
    assert [sort_key(name) for name in found] == sorted(map(sort_key, NAMES))
    assert found[:4] == ["Phạm An", "Dương Văn Anh", "Đặng Thị Ánh", "Phạm Ăn"]


def test_people_are_found_the_same(factory: SessionFactory) -> None:
    with database.transaction(factory) as session:
        for n, name in enumerate(NAMES):
            people.declare(session, CLERK, facts(f"0100850000{n:02d}", name), "form", NOW)
    with database.reading(factory) as session:
        dang = [person.full_name for person in people.search(session, CLERK, "dang").people]
        assert dang == ["Đặng Thị Ánh", "Lê Dạng", "Trần Thị Đang", "Đặng Văn Ước"]
        assert len(people.search(session, CLERK, "0100850000").people) == len(NAMES)
        assert people.search(session, CLERK, "100%").people == []


def test_a_whole_register_goes_from_sheet_to_approved(factory: SessionFactory, tmp_path: Path) -> None:
    register = make_register(TODAY, 120)
    write_sheet(register, tmp_path / "ds.xlsx")
    write_photos(register, tmp_path / "anh", TODAY)
    with database.reading(factory) as session:
        known = intake.known(session)
    sheet = intake.read_sheet(tmp_path / "ds.xlsx", known, TODAY)
    assert (len(sheet.to_confirm), len(sheet.wrong)) == (len(register.robbed), len(register.wrong))
    portraits = photos.list_folder(tmp_path / "anh")
    tried = importer.run(factory, CLERK, sheet.confirm(), portraits, NOW, dry_run=True)
    done = importer.run(factory, CLERK, sheet.confirm(), portraits, NOW)
    again = importer.run(factory, CLERK, sheet.confirm(), portraits, NOW)
    assert tried.new == done.new == again.unchanged == 120 - len(register.wrong)
    for actor, step in ((CHECKER, Step.CHECK), (CHECKER, Step.APPRAISE), (APPROVER, Step.APPROVE)):
        assert sum(workflow.advance_many(factory, actor, step, it, "", NOW).done for it in ("G09", "H38")) == done.new
    with database.reading(factory) as session:
        assert people.counts(session, CLERK)[RecordState.APPROVED] == done.new
        judged = list(freshness.findings_of(session, people.keys(session, CLERK), NOW))
        unfit = {person.citizen_number for person, found in judged if found}
        assert unfit == register.faulty() - set(register.wrong)
        assert all(record.first_false_version(session, person.id) is None for person, _ in judged)
        assert isinstance(log.verify(session), Intact)


def test_a_portrait_comes_back_byte_for_byte(factory: SessionFactory) -> None:
    made = BytesIO()
    Image.new("RGB", (300, 400), "#204060").save(made, "JPEG")
    with database.transaction(factory) as session:
        name = photos.store(session, made.getvalue(), NOW)
    with database.reading(factory) as session:
        assert photos.read_portrait(made.getvalue()).jpeg == photos.get(session, name).jpeg


def test_a_revision_that_was_overtaken_is_refused(factory: SessionFactory) -> None:
    with database.transaction(factory) as session:
        person = people.declare(session, CLERK, facts("010085000001"), "form", NOW)
        people.revise(session, CLERK, person.id, 1, facts("010085000001", title="A"), "form", NOW)
    change = people.Change(person.id, 1, facts("010085000001", title="B"))

    def overtaken() -> None:
        with database.transaction(factory) as session:
            people.write(session, CLERK, [change], "form", NOW)

    with pytest.raises(Conflict):
        overtaken()
    with database.reading(factory) as session:
        assert [row.facts["title"] for row in record.history(session, person.id)] == ["Chuyên viên", "A"]


def in_parallel(work: "list[threading.Thread]") -> None:
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()


def test_the_audit_chain_holds_under_writers_at_the_same_moment(factory: SessionFactory) -> None:
    def write() -> None:
        for n in range(15):
            with database.transaction(factory) as session:
                log.append(session, CLERK, "test.act", str(n), {"n": n, "chữ": "đ"}, NOW)

    in_parallel([threading.Thread(target=write) for _ in range(4)])
    with database.reading(factory) as session:
        found = log.verify(session)
        assert isinstance(found, Intact)
        assert found.rows == 61  # with the row of the agencies
        assert log.entries(session, limit=1)[0].at == NOW
    with database.transaction(factory) as session:
        session.execute(text("UPDATE audit_log SET subject = 'x' WHERE n = 30"))
    with database.reading(factory) as session:
        assert log.verify(session) == Broken(30, Break.HASH)


def test_the_tree_grows_and_is_signed_by_several_at_the_same_moment(factory: SessionFactory) -> None:
    keys = LocalKeys()
    info = keys.generate("audit-G09-1", "ed25519", "audit", ("G09",))
    with database.transaction(factory) as session:
        checkpoints.add_key(session, info, "G09", NOW)
        session.execute(text("DELETE FROM audit_log"))
    stop = threading.Event()
    failed: list[Exception] = []

    def write() -> None:
        for n in range(60):
            with database.transaction(factory) as session:
                log.append(session, CLERK, "test.act", str(n), {"n": n}, NOW)

    def sign() -> None:
        while not stop.is_set():
            try:
                checkpoints.make(factory, keys, NOW)
            except NotFound:
                continue  # no row yet
            except (IssuerError, DBAPIError) as error:
                failed.append(error)
                return

    signers = [threading.Thread(target=sign) for _ in range(3)]
    for signer in signers:
        signer.start()
    in_parallel([threading.Thread(target=write) for _ in range(5)])
    stop.set()
    for signer in signers:
        signer.join()
    assert failed == []
    last = checkpoints.make(factory, keys, NOW)
    with database.reading(factory) as session:
        found = checkpoints.verify(session)
        assert isinstance(found, checkpoints.Verified)
        assert (found.chain.rows, found.uncovered, tree.size_of(session), last.size) == (300, 0, 300, 300)
        checkpoints.prove_row(session, 257)


def test_a_reader_of_the_outbox_never_misses_a_number(factory: SessionFactory) -> None:
    stop = threading.Event()
    seen: list[int] = []

    def write() -> None:
        for n in range(20):
            with database.transaction(factory) as session:
                outbox.put(session, Kind.STATUS, str(n), b"body", NOW)

    def follow() -> None:
        while not stop.is_set() or len(seen) < 80:
            with database.reading(factory) as session:
                seen.extend(row.id for row in outbox.after(session, seen[-1] if seen else 0))

    reader = threading.Thread(target=follow)
    reader.start()
    in_parallel([threading.Thread(target=write) for _ in range(4)])
    stop.set()
    reader.join(20)
    assert len(seen) == 80
    assert seen == sorted(set(seen))


def test_reading_may_not_write(factory: SessionFactory) -> None:
    with database.reading(factory) as session, pytest.raises(DBAPIError, match=r"read-?\s?only"):
        outbox.put(session, Kind.STATUS, "1", b"x", NOW)


def test_one_number_declared_twice_at_the_same_moment_is_one_record(factory: SessionFactory) -> None:
    done: list[str] = []

    def declare() -> None:
        try:
            with database.transaction(factory) as session:
                people.declare(session, CLERK, facts("010085000001"), "form", NOW)
            done.append("declared")
        except Conflict as refused:
            done.append(refused.code)

    in_parallel([threading.Thread(target=declare) for _ in range(5)])
    assert sorted(done) == ["declared"] + ["people.exists"] * 4


def test_signing_in_works_and_ends(factory: SessionFactory) -> None:
    with database.transaction(factory) as session:
        user = users.add(session, SETUP, "hoa", "Hoa", [Grant(Role.HR, "H38")], NOW)
        token = invitations.invite(session, SETUP, "hoa", NOW)
    invitations.accept(factory, token, "một câu dài dễ nhớ", NOW)
    assert sign_in.sign_in(factory, "hoa", "wrong", "192.0.2.1", NOW) == TurnedAway("accounts.wrong_password")
    found = sign_in.sign_in(factory, "hoa", "một câu dài dễ nhớ", "192.0.2.1", NOW)
    assert isinstance(found, Welcome)
    assert sessions.resume(factory, found.token, NOW) is not None
    with database.transaction(factory) as session:
        users.deactivate(session, SETUP, user.id, NOW)
    assert sessions.resume(factory, found.token, NOW) is None
