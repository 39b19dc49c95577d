"""A small made-up centre for tests: a database with the shipped lists, officers with roles, people."""

import uuid
from datetime import UTC, date, datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from issuer import database, tables
from issuer.accounts import users
from issuer.database import SessionFactory
from issuer.policy import Actor, Role
from issuer.registry import agencies, positions
from issuer.registry.record import PersonFacts

NOW = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)
TODAY = date(2026, 3, 2)
SETUP = users.local_administrator("root")


def officer(n: int, name: str, *roles: tuple[Role, str]) -> Actor:
    """A named user with roles, known by the number n."""
    return Actor(uuid.UUID(int=n), name, roles)


CLERK = officer(1, "hoa", (Role.HR, "H38"))
CHECKER = officer(2, "lan", (Role.HR, "H38"))
APPROVER = officer(3, "son", (Role.APPROVER, "H38"))
STRANGER = officer(4, "binh", (Role.HR, "G09"))


def make_factory(folder: Path) -> SessionFactory:
    """A new SQLite database with agencies, places and positions."""
    path = folder / "centre.db"
    path.write_bytes(_filled())
    return database.session_factory(database.engine_at(f"sqlite:///{path}"))


@cache
def _filled() -> bytes:
    """The file of a filled database, made once."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "centre.db"
        engine = database.engine_at(f"sqlite:///{path}")
        tables.metadata.create_all(engine)
        fill(database.session_factory(engine))
        engine.dispose()  # the last connection takes the write-ahead log into the file
        return path.read_bytes()


def fill(factory: SessionFactory) -> None:
    """Load the shipped lists."""
    with database.transaction(factory) as session:
        agencies.load(session, SETUP, agencies.shipped_rows(), NOW)
        agencies.load_places(session)
        positions.load_shipped(session)


def facts(number: str = "010085012345", name: str = "Đặng Văn Ước", **changes: object) -> PersonFacts:
    """A correct declaration of a man of Lào Cai born in 1985."""
    told: dict[str, object] = {
        "citizen_number": number,
        "full_name": name,
        "birth_date": date(1985, 6, 7),
        "sex": 1,
        "agency_code": "H38",
        "unit": "Sở Nội vụ",
        "position_code": "01.003",
        "title": "Chuyên viên",
        "category": "CC",
        "attested_on": date(2026, 1, 15),
        "photo_sha256": None,
    }
    return PersonFacts(**{**told, **changes})  # type: ignore[arg-type]  # each key is a field


def jpeg(width: int = 354, height: int = 472, colour: str = "#88aacc") -> bytes:
    """A plain picture."""
    made = BytesIO()
    Image.new("RGB", (width, height), colour).save(made, "JPEG")
    return made.getvalue()
