"""Signing in: counted before it is judged, locked for login and address, silent about which part was wrong."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from centre import NOW, SETUP, make_factory
from sqlalchemy import select

from issuer import database
from issuer.accounts import invitations, passwords, sessions, sign_in, users
from issuer.accounts.sign_in import TurnedAway, Welcome
from issuer.accounts.tables import SignInCount
from issuer.accounts.users import Grant
from issuer.audit import log
from issuer.database import SessionFactory
from issuer.policy import Role

PASSWORD = "một câu dài dễ nhớ"
ADDRESS = "192.0.2.7"


@pytest.fixture(scope="module")
def with_hoa(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a database with one user, who has chosen a password: to hash it takes its time on purpose."""
    folder = tmp_path_factory.mktemp("with-hoa")
    factory = make_factory(folder)
    with database.transaction(factory) as session:
        users.add(session, SETUP, "hoa", "Nguyễn Thị Hoa", [Grant(Role.HR, "H38")], NOW)
        token = invitations.invite(session, SETUP, "hoa", NOW)
    invitations.accept(factory, token, PASSWORD, NOW)
    factory.kw["bind"].dispose()  # the last connection takes the write-ahead log into the file
    return (folder / "centre.db").read_bytes()


@pytest.fixture
def factory(tmp_path: Path, with_hoa: bytes) -> SessionFactory:
    path = tmp_path / "centre.db"
    path.write_bytes(with_hoa)
    return database.session_factory(database.engine_at(f"sqlite:///{path}"))


def attempt(factory: SessionFactory, password: str, login: str = "hoa", seconds: int = 0) -> Welcome | TurnedAway:
    return sign_in.sign_in(factory, login, password, ADDRESS, NOW + timedelta(seconds=seconds))


def test_the_right_password_opens_a_session(factory: SessionFactory) -> None:
    found = attempt(factory, PASSWORD, " HOA ")
    assert isinstance(found, Welcome)
    signed_in = sessions.resume(factory, found.token, NOW)
    assert signed_in is not None
    assert signed_in.login == "hoa"
    with database.reading(factory) as session:
        assert log.entries(session)[0].action == "user.signed_in"


def test_a_password_is_the_same_from_every_keyboard() -> None:
    stored = passwords.make_hash("ma\u0302\u0323t kh\u1ea9u \u0111\u1ed9c l\u1ead")
    assert passwords.matches(stored, "m\u1eadt kh\u1ea9u \u0111\u1ed9c l\u1ead")


def test_wrong_password_and_unknown_login_are_told_alike(factory: SessionFactory) -> None:
    assert attempt(factory, "wrong") == attempt(factory, "wrong", "nobody") == TurnedAway("accounts.wrong_password")
    with database.reading(factory) as session:
        assert {row.subject for row in log.entries(session, action="user.sign_in_failed")} == {"hoa", "?"}


@pytest.mark.parametrize("login", ["hoa", "nobody"])
def test_after_five_failures_the_right_password_is_locked_out_too(factory: SessionFactory, login: str) -> None:
    for _ in range(sign_in.LOGIN_ATTEMPTS):
        assert attempt(factory, "wrong", login) == TurnedAway("accounts.wrong_password")
    until = NOW + sign_in.LOCKED
    assert attempt(factory, PASSWORD, login) == TurnedAway("accounts.locked", until)
    assert attempt(factory, PASSWORD, login, seconds=60) == TurnedAway("accounts.locked", until)
    later = attempt(factory, PASSWORD, login, seconds=15 * 60 + 1)
    assert isinstance(later, Welcome) is (login == "hoa")


def test_success_forgets_the_failures_of_the_login(factory: SessionFactory) -> None:
    for _ in range(3):
        for _ in range(sign_in.LOGIN_ATTEMPTS - 1):
            attempt(factory, "wrong")
        assert isinstance(attempt(factory, PASSWORD), Welcome)


def test_an_address_that_tries_many_logins_is_locked(factory: SessionFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in, "ADDRESS_ATTEMPTS", 6)
    for n in range(6):
        assert attempt(factory, "wrong", f"user{n}") == TurnedAway("accounts.wrong_password")
    assert attempt(factory, PASSWORD) == TurnedAway("accounts.locked", NOW + sign_in.LOCKED)
    elsewhere = sign_in.sign_in(factory, "hoa", PASSWORD, "192.0.2.8", NOW)
    assert isinstance(elsewhere, Welcome)


def test_a_locked_address_fills_no_table_with_made_up_logins(
    factory: SessionFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_in, "ADDRESS_ATTEMPTS", 2)
    for n in range(9):
        attempt(factory, "wrong", f"user{n}")
    with database.reading(factory) as session:
        kept = session.scalars(select(SignInCount.key)).all()
    # The third attempt locks the address; of those after it nothing stays.
    assert sorted(kept) == ["address:192.0.2.7", "login:user0", "login:user1", "login:user2"]


def test_guesses_at_the_same_moment_are_limited_too(factory: SessionFactory) -> None:
    found: list[Welcome | TurnedAway] = []
    threads = [threading.Thread(target=lambda: found.append(attempt(factory, "wrong"))) for _ in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    codes = [it.code for it in found if isinstance(it, TurnedAway)]
    assert codes.count("accounts.wrong_password") == sign_in.LOGIN_ATTEMPTS
    assert codes.count("accounts.locked") == 4


def test_a_closed_account_does_not_sign_in(factory: SessionFactory) -> None:
    with database.transaction(factory) as session:
        users.deactivate(session, SETUP, users.by_login(session, "hoa").id, NOW)
    assert attempt(factory, PASSWORD) == TurnedAway("accounts.wrong_password")


def test_an_account_without_a_password_does_not_sign_in(factory: SessionFactory) -> None:
    with database.transaction(factory) as session:
        users.add(session, SETUP, "lan", "Lan", [Grant(Role.HR, "H38")], NOW)
    assert attempt(factory, "", "lan") == TurnedAway("accounts.wrong_password")
    assert passwords.matches(None, "a password that nobody has") is False
