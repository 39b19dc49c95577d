"""The console over a small register for tests with Flask's own client: keys in memory, a clock the test moves."""

import re
import uuid
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from html import unescape
from pathlib import Path
from tempfile import TemporaryDirectory

from card_register import HOME, NOW, OTHER, Register, open_register
from flask import Flask
from flask.testing import FlaskClient
from signing_keys import LocalKeys
from werkzeug.test import TestResponse

from demo.portraits import draw_portrait
from issuer import config, database
from issuer.accounts import invitations, sessions, users
from issuer.accounts.users import Grant
from issuer.policy import Actor
from issuer.registry import people, photos
from issuer.registry.record import PersonFacts
from issuer.trust import trust_list
from web.app import create_app
from web.auth import COOKIE
from web.site import Parts

SETUP = users.local_administrator("root")
PASSWORD = "một mật khẩu dài"  # made up, for tests alone
ROLES = {
    "hoa": ("Trần Thị Hoa", f"hr@{HOME}"),
    "lan": ("Lê Ngọc Lan", f"hr@{HOME}"),
    "son": ("Phạm Đức Sơn", f"approver@{HOME}"),
    "the": ("Vũ Văn Thể", f"card_office@{HOME}"),
    "cua": ("Đỗ Minh Cửa", f"door_admin@{HOME}"),
    "soat": ("Ngô Quang Soát", "auditor@*"),
    "soat38": ("Bùi Thị Soát", f"auditor@{HOME}"),
    "quan": ("Hồ Công Quản", "admin@*"),
    "binh": ("Dương Văn Bình", f"hr@{OTHER}"),
    "dung": ("Lý Thị Dung", f"approver@{OTHER}"),
}


@dataclass
class Console:
    """One installation and its pages."""

    register: Register
    app: Flask
    known: dict[str, Actor]

    def client(self, login: str | None = None) -> FlaskClient:
        """A browser, signed in if a login is named."""
        made = self.app.test_client()
        if login is not None:
            with database.transaction(self.register.factory) as session:
                token = sessions.begin(session, users.by_login(session, login), self.register.now)
            made.set_cookie(COOKIE, token)
        return made

    def invite(self, login: str) -> str:
        with database.transaction(self.register.factory) as session:
            return invitations.invite(session, SETUP, login, self.register.now)

    def declare(self, name: str, number: int, agency: str = HOME, title: str = "Chuyên viên") -> uuid.UUID:
        """A person as an officer enters one."""
        facts = PersonFacts(
            citizen_number=f"001085{number:06d}",
            full_name=name,
            birth_date=date(1985, 5, 17),
            sex=1,
            agency_code=agency,
            unit="Văn phòng",
            position_code="01.003",
            title=title,
            category="CC",
            attested_on=date(2026, 1, 15),
            photo_sha256=None,
        )
        with database.transaction(self.register.factory) as session:
            clerk = self.known["hoa" if agency == HOME else "binh"]
            return people.declare(session, clerk, facts, "test", self.register.now).id

    def portrait(self, person_id: uuid.UUID) -> None:
        """Give a person a picture that can be drawn."""
        with database.transaction(self.register.factory) as session:
            name = photos.store(session, draw_portrait("1", True, 40), self.register.now)
        self.register.change(person_id, photo_sha256=name)

    def actor(self, login: str) -> Actor:
        return self.known[login]


def open_console(folder: Path) -> Console:
    """A register, ten officers, and the pages over them."""
    made = _made()
    path = folder / "centre.db"
    path.write_bytes(made.database)
    register = Register(database.session_factory(database.engine_at(f"sqlite:///{path}")), made.keys)
    settings = folder / "centre.toml"
    settings.write_text(
        f'[centre]\ndata_dir = "{folder}"\ninstallation = "{HOME}"\nverify_url = "http://the.example/v"\n',
        encoding="utf-8",
    )
    parts = Parts(config.load(settings, {}), register.factory, register.keys, lambda: register.now)
    return Console(register, create_app(parts), made.known)


@dataclass(frozen=True)
class _Made:
    """What every console of a run begins with."""

    database: bytes
    keys: LocalKeys
    known: dict[str, Actor]


@cache
def _made() -> _Made:
    """A register with keys and officers, made once."""
    known: dict[str, Actor] = {}
    with TemporaryDirectory() as folder:
        register = open_register(Path(folder))
        with database.transaction(register.factory) as session:
            for login, (name, role) in ROLES.items():
                user = users.add(session, SETUP, login, name, [Grant.parse(role)], NOW)
                known[login] = users.actor_for(session, user)
            trust_list.publish(session, register.keys, NOW)
        register.factory.kw["bind"].dispose()  # the last connection takes the write-ahead log into the file
        return _Made((Path(folder) / "centre.db").read_bytes(), register.keys, known)


def page(answer: TestResponse, status: int = 200) -> str:
    """The text of a page that came as it should."""
    assert answer.status_code == status, (answer.status, answer.request.path, text_of(answer))
    return answer.get_data(as_text=True)


def text_of(answer: TestResponse) -> str:
    """What a person reads on a page."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.get_data(as_text=True))).split())


def post(client: FlaskClient, path: str, seen: str, **fields: str) -> TestResponse:
    """Send a form as the page at `seen` has it, and look at where that leads."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', page(client.get(seen)))
    assert found is not None, f"{seen} has no form"
    return client.post(path, data={"csrf_token": found[1], **fields}, follow_redirects=True)


def as_https(console: Console) -> Console:
    """The same console as it is set up behind a proxy that ends TLS."""
    parts = console.app.extensions["themo"]
    assert isinstance(parts, Parts)
    secure = replace(parts, config=replace(parts.config, public_url="https://the.example", web_proxies=1))
    return Console(console.register, create_app(secure), console.known)
