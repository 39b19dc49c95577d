"""Accounts: roles by agency, invitations used once, sessions that end at once."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from centre import NOW, SETUP, make_factory, officer
from sqlalchemy.orm import Session

from issuer import database
from issuer.accounts import invitations, passwords, sessions, users
from issuer.accounts.tables import User
from issuer.accounts.users import Grant
from issuer.audit import log
from issuer.database import SessionFactory
from issuer.errors import Conflict, Forbidden, NotFound, Refused
from issuer.policy import Action, Role, allows

PASSWORD = "một câu dài dễ nhớ"
HR = Grant(Role.HR, "H38")
ADMIN = Grant(Role.ADMIN, "*")


@pytest.fixture
def factory(tmp_path: Path) -> SessionFactory:
    return make_factory(tmp_path)


@pytest.fixture
def session(factory: SessionFactory) -> Iterator[Session]:
    with database.transaction(factory) as session:
        yield session


def hoa(session: Session, *grants: Grant) -> User:
    return users.add(session, SETUP, "hoa", "Nguyễn Thị Hoa", grants or (HR,), NOW)


def test_a_user_has_roles_and_no_password_yet(session: Session) -> None:
    user = users.add(session, SETUP, " Hoa ", "Nguyễn  Thị Hoa", [HR, HR], NOW)
    assert (user.login, user.full_name, user.password_hash) == ("hoa", "Nguyễn Thị Hoa", None)
    assert users.roles_of(session, user.id) == (HR,)
    actor = users.actor_for(session, user)
    assert allows(actor, Action.PERSON_DECLARE, "H38.01")
    assert log.entries(session)[0].action == "user.added"


@pytest.mark.parametrize(
    ("login", "name", "code"),
    [
        ("h", "Hoa", "accounts.bad_login"),
        ("hoa nguyễn", "Hoa", "accounts.bad_login"),
        ("-hoa", "Hoa", "accounts.bad_login"),
        ("hoa", " ", "accounts.bad_name"),
        ("hoa", "x" * 101, "accounts.bad_name"),
    ],
)
def test_a_wrong_account_is_refused(session: Session, login: str, name: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        users.add(session, SETUP, login, name, [HR], NOW)
    assert refused.value.code == code


def test_a_login_is_taken_once(session: Session) -> None:
    hoa(session)
    with pytest.raises(Conflict, match=r"accounts\.login_taken"):
        users.add(session, SETUP, "HOA", "Khác", [HR], NOW)


@pytest.mark.parametrize("text", ["hr", "boss@H38", "hr@", "hr@h38", "@H38"])
def test_a_role_is_written_role_at_agency(text: str) -> None:
    with pytest.raises(Refused):
        Grant.parse(text)
    assert Grant.parse("hr@H38") == HR
    assert Grant.parse(str(ADMIN)) == ADMIN


def test_an_agency_administrator_makes_users_of_the_own_agency_only(session: Session) -> None:
    local = officer(7, "quan", (Role.ADMIN, "H38"))
    user = users.add(session, local, "lan", "Lan", [HR], NOW)
    for grant in (ADMIN, Grant(Role.HR, "G09")):
        with pytest.raises(Forbidden):
            users.add(session, local, "mai", "Mai", [grant], NOW)
        with pytest.raises(Forbidden):
            users.grant_role(session, local, user.id, grant, NOW)
    chief = users.add(session, SETUP, "chief", "Trưởng", [ADMIN], NOW)
    for act in (users.deactivate, users.reactivate):
        with pytest.raises(Forbidden):
            act(session, local, chief.id, NOW)
    with pytest.raises(Forbidden):
        invitations.invite(session, local, "chief", NOW)
    assert [user.login for user, _ in users.listed(session, local)] == ["lan"]
    assert [user.login for user, _ in users.listed(session, SETUP)] == ["chief", "lan"]


def test_the_last_administrator_stays(session: Session) -> None:
    chief = hoa(session, ADMIN)
    with pytest.raises(Refused, match=r"accounts\.last_administrator"):
        users.deactivate(session, SETUP, chief.id, NOW)
    with pytest.raises(Refused, match=r"accounts\.last_administrator"):
        users.revoke_role(session, SETUP, chief.id, ADMIN, NOW)
    users.add(session, SETUP, "mai", "Mai", [ADMIN], NOW)
    users.deactivate(session, SETUP, chief.id, NOW)
    assert not chief.is_active


def test_an_invitation_sets_the_password_once(session: Session, factory: SessionFactory) -> None:
    hoa(session)
    token = invitations.invite(session, SETUP, "hoa", NOW)
    assert invitations.look(session, token, NOW).login == "hoa"
    session.commit()
    user = invitations.accept(factory, token, PASSWORD, NOW)
    assert passwords.matches(user.password_hash, PASSWORD)
    assert PASSWORD not in str(user.password_hash)
    with pytest.raises(NotFound, match=r"accounts\.dead_link"):
        invitations.accept(factory, token, PASSWORD + "!", NOW)


def test_of_two_who_use_a_link_at_once_one_comes_through(session: Session, factory: SessionFactory) -> None:
    hoa(session)
    token = invitations.invite(session, SETUP, "hoa", NOW)
    session.commit()
    said: list[str] = []

    def use(password: str) -> None:
        try:
            invitations.accept(factory, token, password, NOW)
            said.append("in")
        except NotFound as refused:
            said.append(refused.code)

    both = [threading.Thread(target=use, args=(f"{PASSWORD} {number}",)) for number in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert sorted(said) == ["accounts.dead_link", "in"]


def test_an_invitation_dies_with_time_a_newer_one_and_the_account(factory: SessionFactory) -> None:
    with database.transaction(factory) as session:
        user = hoa(session)
        late = invitations.invite(session, SETUP, "hoa", NOW)
        with pytest.raises(NotFound):
            invitations.look(session, late, NOW + invitations.LIFETIME)
        newer = invitations.invite(session, SETUP, "hoa", NOW)
        with pytest.raises(NotFound):
            invitations.look(session, late, NOW)
        users.deactivate(session, SETUP, user.id, NOW)
    with pytest.raises(NotFound):
        invitations.accept(factory, newer, PASSWORD, NOW)
    with database.transaction(factory) as session:
        with pytest.raises(Refused, match=r"accounts\.inactive"):
            invitations.invite(session, SETUP, "hoa", NOW)
        with pytest.raises(NotFound):
            invitations.look(session, "guess", NOW)


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("ngắn", "accounts.password_length"),
        ("x" * 201, "accounts.password_length"),
        ("aaaaaaaaaaaaaaa", "accounts.password_weak"),
        ("my name is HOA, yes", "accounts.password_weak"),
    ],
)
def test_a_weak_password_is_refused_and_the_link_lives_on(factory: SessionFactory, password: str, code: str) -> None:
    with database.transaction(factory) as session:
        hoa(session)
        token = invitations.invite(session, SETUP, "hoa", NOW)
    with pytest.raises(Refused) as refused:
        invitations.accept(factory, token, password, NOW)
    assert refused.value.code == code
    with database.reading(factory) as session:
        assert invitations.look(session, token, NOW)


def opened(factory: SessionFactory, *grants: Grant) -> tuple[User, str]:
    with database.transaction(factory) as session:
        user = hoa(session, *grants)
        return user, sessions.begin(session, user, NOW)


def test_a_session_carries_the_roles_of_the_moment(factory: SessionFactory) -> None:
    user, token = opened(factory)
    found = sessions.resume(factory, token, NOW)
    assert found is not None
    assert found.actor.roles == ((Role.HR, "H38"),)
    with database.transaction(factory) as session:
        users.grant_role(session, SETUP, user.id, Grant(Role.AUDITOR, "H38"), NOW)
    again = sessions.resume(factory, token, NOW)
    assert again is not None
    assert len(again.actor.roles) == 2


def test_taking_a_role_or_the_account_ends_the_session_at_once(factory: SessionFactory) -> None:
    user, token = opened(factory)
    with database.transaction(factory) as session:
        users.revoke_role(session, SETUP, user.id, HR, NOW)
    assert sessions.resume(factory, token, NOW) is None
    with database.transaction(factory) as session:
        with pytest.raises(NotFound):
            users.revoke_role(session, SETUP, user.id, HR, NOW)
        second = sessions.begin(session, session.get_one(User, user.id), NOW)
    assert sessions.resume(factory, second, NOW) is not None
    with database.transaction(factory) as session:
        users.deactivate(session, SETUP, user.id, NOW)
    assert sessions.resume(factory, second, NOW) is None
    with database.transaction(factory) as session:
        users.reactivate(session, SETUP, user.id, NOW)
    assert sessions.resume(factory, second, NOW) is None


def test_a_session_ends_by_itself_after_its_time_or_idle(factory: SessionFactory) -> None:
    _, token = opened(factory)
    assert sessions.resume(factory, token, NOW + sessions.IDLE + timedelta(seconds=1)) is None
    moment = NOW
    while moment < NOW + sessions.LIFETIME:
        assert sessions.resume(factory, token, moment) is not None
        moment += timedelta(minutes=50)
    assert sessions.resume(factory, token, NOW + sessions.LIFETIME) is None


def test_signing_out_ends_the_session_and_a_guess_finds_none(factory: SessionFactory) -> None:
    _, token = opened(factory)
    with database.transaction(factory) as session:
        sessions.end(session, token, NOW)
    assert sessions.resume(factory, token, NOW) is None
    assert sessions.resume(factory, "guess", NOW) is None
    with database.transaction(factory) as session:
        assert sessions.sweep(session, NOW) == 0
        assert sessions.sweep(session, NOW + timedelta(days=40)) == 1


def test_names_stand_behind_logins_and_nobody_behind_others(session: Session) -> None:
    hoa(session)
    assert users.names_of(session, ["hoa", "hoa", "local:root", "door Cửa chính"]) == {"hoa": "Nguyễn Thị Hoa"}
    assert users.names_of(session, []) == {}
