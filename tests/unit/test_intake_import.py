"""Read sheets into the register: new, changed, unchanged; portraits; what goes back; nothing twice."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from centre import CLERK, NOW, SETUP, STRANGER, facts, jpeg, make_factory, officer
from sqlalchemy import func, select

from issuer import database
from issuer.audit import log
from issuer.database import SessionFactory
from issuer.errors import Forbidden
from issuer.policy import Role
from issuer.registry import importer, people, photos
from issuer.registry.columns import Header
from issuer.registry.intake import Intake, ReadRow
from issuer.registry.record import PersonFacts
from issuer.registry.sheets import Line
from issuer.registry.tables import Person, PersonRevision, Photo, RecordState


@pytest.fixture
def factory(tmp_path: Path) -> SessionFactory:
    return make_factory(tmp_path)


def intake(*told: PersonFacts) -> Intake:
    header = Header(Line(1, ("x",)), (), {}, ())
    rows = tuple(ReadRow(Line(n, (it.citizen_number,)), it) for n, it in enumerate(told, start=2))
    return Intake("ds.xlsx", header, rows, (), ())


def crowd(count: int) -> list[PersonFacts]:
    return [facts(f"0100850{n:05d}") for n in range(count)]


def stored(factory: SessionFactory) -> Sequence[Person]:
    with database.reading(factory) as session:
        return session.scalars(select(Person).order_by(Person.citizen_number)).all()


def test_rows_become_declared_records_with_versions_and_progress(factory: SessionFactory) -> None:
    told: list[tuple[int, int]] = []
    done = importer.run(
        factory, CLERK, intake(*crowd(1201)), {}, NOW, progress=lambda n, total: told.append((n, total))
    )
    assert (done.new, done.changed, done.unchanged, done.without_photo) == (1201, 0, 0, 1201)
    assert told == [(500, 1201), (1000, 1201), (1201, 1201)]
    found = stored(factory)
    assert len(found) == 1201
    assert {person.state for person in found} == {RecordState.DECLARED}
    with database.reading(factory) as session:
        assert session.scalar(select(func.count()).select_from(PersonRevision)) == 1201
        rows = log.entries(session, action="people.imported")
        assert [row.facts["new"] for row in rows] == [201, 500, 500]


def test_the_same_sheet_again_changes_nothing(factory: SessionFactory) -> None:
    importer.run(factory, CLERK, intake(*crowd(3)), {}, NOW)
    done = importer.run(factory, CLERK, intake(*crowd(3)), {}, NOW)
    assert (done.new, done.changed, done.unchanged) == (0, 0, 3)
    assert {person.version for person in stored(factory)} == {1}


def test_an_interrupted_import_goes_on_where_it_was(factory: SessionFactory) -> None:
    class Interrupted(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        importer.run(factory, CLERK, intake(*crowd(700)), {}, NOW, progress=stop)
    assert len(stored(factory)) == 500
    done = importer.run(factory, CLERK, intake(*crowd(700)), {}, NOW)
    assert (done.new, done.unchanged) == (200, 500)


def test_a_changed_row_is_a_new_version(factory: SessionFactory) -> None:
    first, second = crowd(2)
    importer.run(factory, CLERK, intake(first, second), {}, NOW)
    done = importer.run(factory, CLERK, intake(first, replace(second, title="Phó phòng")), {}, NOW)
    assert (done.new, done.changed, done.unchanged) == (0, 1, 1)
    assert [(person.version, person.title) for person in stored(factory)] == [(1, "Chuyên viên"), (2, "Phó phòng")]


def test_a_dry_run_tells_the_same_and_writes_nothing(factory: SessionFactory, tmp_path: Path) -> None:
    picture = tmp_path / "010085000000.jpg"
    picture.write_bytes(jpeg())
    done = importer.run(factory, CLERK, intake(*crowd(3)), {"010085000000": picture}, NOW, dry_run=True)
    assert (done.new, done.photos_new, done.without_photo) == (3, 1, 2)
    assert stored(factory) == []
    with database.reading(factory) as session:
        assert session.scalar(select(func.count()).select_from(Photo)) == 0


def test_portraits_come_from_the_folder_and_stay_without_it(factory: SessionFactory, tmp_path: Path) -> None:
    folder = tmp_path / "anh"
    folder.mkdir()
    (folder / "010085000000.jpg").write_bytes(jpeg())
    (folder / "010085000001.jpg").write_bytes(b"no picture")
    (folder / "../010085000002.jpg").write_bytes(jpeg())
    done = importer.run(factory, CLERK, intake(*crowd(3)), photos.list_folder(folder), NOW)
    assert (done.new, done.photos_new, done.without_photo) == (3, 1, 2)
    assert [row.problems[0].code for row in done.bad_photos] == ["photos.not_jpeg"]
    again = importer.run(factory, CLERK, intake(*crowd(3)), {}, NOW)
    assert (again.unchanged, again.without_photo) == (3, 2)
    (folder / "010085000000.jpg").write_bytes(jpeg(colour="#101010"))
    changed = importer.run(factory, CLERK, intake(*crowd(3)), photos.list_folder(folder), NOW)
    assert (changed.changed, changed.photos_new) == (1, 1)


def test_one_portrait_for_two_people_is_kept_once(factory: SessionFactory, tmp_path: Path) -> None:
    paths = {}
    for person in crowd(2):
        paths[person.citizen_number] = tmp_path / f"{person.citizen_number}.jpg"
        paths[person.citizen_number].write_bytes(jpeg())
    importer.run(factory, CLERK, intake(*crowd(2)), paths, NOW)
    assert len({person.photo_sha256 for person in stored(factory)}) == 1


def test_a_row_of_another_agency_goes_back(factory: SessionFactory) -> None:
    importer.run(factory, STRANGER, intake(facts("010085000001", agency_code="G09")), {}, NOW)
    rows = intake(facts("010085000000", agency_code="G09"), facts("010085000001"), facts("010085000002"))
    done = importer.run(factory, CLERK, rows, {}, NOW)
    assert [row.problems[0].code for row in done.sent_back] == ["intake.other_agency", "intake.held_elsewhere"]
    assert done.new == 1
    assert [person.agency_code for person in stored(factory)] == ["G09", "H38"]


def test_an_import_needs_a_named_user_with_the_role(factory: SessionFactory) -> None:
    for actor in (SETUP, officer(9, "x", (Role.AUDITOR, "H38"))):
        with pytest.raises(Forbidden):
            importer.run(factory, actor, intake(*crowd(1)), {}, NOW)
    with database.reading(factory) as session:
        assert people.keys(session, CLERK) == []
