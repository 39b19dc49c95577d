"""Agencies and positions: lists that load twice without harm, closed codes with successors, an editable palette."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from centre import CLERK, NOW, SETUP, make_factory, officer
from sqlalchemy.orm import Session

from issuer import database
from issuer.cards.face import SHAPES as DRAWN_SHAPES
from issuer.errors import Conflict, Forbidden, NotFound, Refused
from issuer.policy import Role
from issuer.registry import agencies, positions
from issuer.registry.agencies import Loaded, parse_rows
from issuer.registry.tables import Place

HEAD = "code,name,kind,closed_on,successor"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with database.transaction(make_factory(tmp_path)) as session:
        yield session


def test_the_shipped_list_holds_those_open_and_those_closed_in_2025(session: Session) -> None:
    assert len(agencies.all_agencies(session)) == 90
    assert len(agencies.all_agencies(session, date(2025, 6, 30))) == 22 + 63
    assert len(agencies.all_agencies(session, date(2025, 7, 1))) == 22 + 34


def test_loading_again_changes_nothing(session: Session) -> None:
    assert agencies.load(session, SETUP, agencies.shipped_rows(), NOW) == Loaded(0, 0, 90)
    assert agencies.load_places(session) == 0
    assert positions.load_shipped(session) == 0


def test_yen_bai_goes_on_as_lao_cai_from_its_day(session: Session) -> None:
    assert agencies.current(session, "H63", date(2025, 6, 30)).code == "H63"
    assert agencies.current(session, "H63", date(2025, 7, 1)).code == "H38"
    assert agencies.get(session, "H38").valid_to is None
    assert {session.get_one(Place, code).name for code in ("010", "015")} == {"Lào Cai", "Yên Bái"}


def test_a_circle_of_successors_ends_in_a_refusal(session: Session) -> None:
    agencies.close(session, SETUP, "H38", date(2026, 1, 1), "H63", NOW)
    with pytest.raises(NotFound, match=r"agencies\.no_successor"):
        agencies.current(session, "H38", date(2026, 1, 1))


def test_a_changed_list_changes_what_it_names(session: Session) -> None:
    rows = parse_rows([HEAD, "H38,Tỉnh Lào Cai,province,,", "H38.05,Sở Y tế,unit,,"], "x.csv")
    assert agencies.load(session, SETUP, rows, NOW) == Loaded(1, 1, 0)
    assert agencies.get(session, "H38.05").parent == "H38"


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (["code;name", "x"], "agencies.bad_columns"),
        ([], "agencies.bad_columns"),
        ([HEAD, "h38,x,unit,,"], "agencies.bad_row"),
        ([HEAD, "H38,x,unit,31/12/2025,"], "agencies.bad_row"),
        ([HEAD, "H38"], "agencies.bad_row"),
        ([HEAD, "H38,x,unit,,H99"], "agencies.no_successor"),
    ],
)
def test_a_wrong_list_is_refused(session: Session, lines: list[str], code: str) -> None:
    with pytest.raises(Refused) as refused:
        agencies.load(session, SETUP, parse_rows(lines, "x.csv"), NOW)
    assert refused.value.code == code


def test_a_list_comes_from_a_file_in_utf8(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(f"{HEAD}\n000.00.00.H38,Lào Cai,province,,\n".encode("utf-8-sig"))
    assert agencies.read_rows(path)[0].code == "H38"
    path.write_bytes("Lào Cai".encode("utf-16"))
    with pytest.raises(Refused, match=r"file\.not_utf8"):
        agencies.read_rows(path)
    with pytest.raises(NotFound):
        agencies.read_rows(tmp_path / "none.csv")


def test_agencies_are_added_set_and_closed_by_administrators_only(session: Session) -> None:
    assert agencies.add(session, SETUP, "H38.01", "Sở Nội vụ", "unit", NOW).parent == "H38"
    with pytest.raises(Conflict, match=r"agencies\.exists"):
        agencies.add(session, SETUP, "H38.01", "x", "unit", NOW)
    with pytest.raises(Refused, match=r"agencies\.bad_code"):
        agencies.add(session, SETUP, "H38.123456789012", "x", "unit", NOW)
    with pytest.raises(Refused, match=r"agencies\.no_name"):
        agencies.add(session, SETUP, "H38.02", " ", "unit", NOW)
    assert agencies.set_scheme(session, SETUP, "H38", 2, NOW).scheme == 2
    with pytest.raises(Refused, match=r"agencies\.bad_scheme"):
        agencies.set_scheme(session, SETUP, "H38", 3, NOW)
    with pytest.raises(Refused, match=r"agencies\.own_successor"):
        agencies.close(session, SETUP, "H38", date(2026, 1, 1), "H38", NOW)
    with pytest.raises(Forbidden):
        agencies.add(session, CLERK, "H38.03", "x", "unit", NOW)
    local = officer(7, "quan", (Role.ADMIN, "H38"))
    assert agencies.add(session, local, "H38.03", "x", "unit", NOW).code == "H38.03"
    with pytest.raises(Forbidden):
        agencies.load(session, local, [], NOW)


def test_a_position_is_put_and_changed(session: Session) -> None:
    positions.put(session, SETUP, "05.01", "Trưởng phòng", "lãnh đạo", "#112233", "diamond", NOW)
    positions.put(session, SETUP, "05.01", "Trưởng phòng", "lãnh đạo", "#112233", "ring", NOW)
    assert positions.get(session, "05.01").shape == "ring"
    with pytest.raises(NotFound):
        positions.get(session, "05.02")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"code": "a b"}, "positions.bad_code"),
        ({"name": " "}, "positions.no_name"),
        ({"colour": "red"}, "positions.bad_colour"),
        ({"colour": "#12345"}, "positions.bad_colour"),
        ({"shape": "cat"}, "positions.bad_shape"),
    ],
)
def test_a_wrong_position_is_refused(session: Session, changes: dict[str, str], code: str) -> None:
    told = {"code": "05.01", "name": "x", "level": "y", "colour": "#112233", "shape": "ring"} | changes
    with pytest.raises(Refused) as refused:
        positions.put(session, SETUP, **told, now=NOW)
    assert refused.value.code == code


def test_every_shape_of_a_position_can_be_drawn_and_groups_differ_in_more_than_colour(session: Session) -> None:
    assert set(positions.SHAPES) == set(DRAWN_SHAPES)
    groups = {row.level: (row.colour, row.shape) for row in positions.all_positions(session)}
    assert len({shape for _, shape in groups.values()}) == len(groups)
