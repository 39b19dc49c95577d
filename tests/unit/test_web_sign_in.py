"""Signing in: passwords, lock-out, where it leads, one-time links, sessions that end, forged forms."""

from datetime import timedelta
from pathlib import Path

import pytest
from web_console import HOME, PASSWORD, SETUP, Console, as_https, open_console, page, post, text_of

from issuer import database
from issuer.accounts import sessions, sign_in, users
from issuer.accounts.users import Grant
from issuer.audit import log as audit
from web.auth import COOKIE


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return open_console(tmp_path)


@pytest.fixture
def with_password(console: Console) -> Console:
    token = console.invite("hoa")
    client = console.client()
    answer = post(client, f"/invite/{token}", f"/invite/{token}", password=PASSWORD, again=PASSWORD)
    assert "Trần Thị Hoa" in page(answer)
    return console


def test_a_stranger_is_led_to_the_sign_in_and_then_to_the_page_asked_for(with_password: Console) -> None:
    client = with_password.client()
    answer = client.get("/people?q=dang")
    assert answer.status_code == 302
    assert answer.location == "/sign-in?next=/people?q%3Ddang"
    inside = post(client, "/sign-in", "/sign-in", login="hoa", password=PASSWORD, next="/people?q=dang")
    assert (inside.request.path, inside.request.args["q"]) == ("/people", "dang")


def test_a_wrong_password_says_neither_which_part_was_wrong_nor_lets_in(with_password: Console) -> None:
    client = with_password.client()
    wrong = post(client, "/sign-in", "/sign-in", login="hoa", password="một mật khẩu khác")
    nobody = post(client, "/sign-in", "/sign-in", login="nguoi-la", password="một mật khẩu khác")
    assert wrong.status_code == nobody.status_code == 401
    assert "mật khẩu không đúng" in text_of(wrong)
    assert text_of(wrong) == text_of(nobody).replace("nguoi-la", "hoa")
    assert client.get("/people").status_code == 302


def test_many_wrong_passwords_lock_the_right_one_out_until_a_named_time(with_password: Console) -> None:
    client = with_password.client()
    for _ in range(sign_in.LOGIN_ATTEMPTS):
        post(client, "/sign-in", "/sign-in", login="hoa", password="sai")
    locked = post(client, "/sign-in", "/sign-in", login="hoa", password=PASSWORD)
    assert locked.status_code == 401
    assert "02/03/2026 15:15" in text_of(locked)  # local time, fifteen minutes from now
    with_password.register.pass_by(sign_in.LOCKED + timedelta(seconds=1))
    assert post(client, "/sign-in", "/sign-in", login="hoa", password=PASSWORD).request.path == "/"


@pytest.mark.parametrize(
    "target",
    [
        "https://the.example/",
        "//the.example",
        "/\\the.example",
        "/\t/the.example",
        "\\\\the.example",
        "javascript:alert(1)",
        "people",
        "",
    ],
)
def test_signing_in_leads_nowhere_else(with_password: Console, target: str) -> None:
    client = with_password.client()
    token = page(client.get("/sign-in")).split('name="csrf_token" value="')[1].split('"')[0]
    answer = client.post("/sign-in", data={"csrf_token": token, "login": "hoa", "password": PASSWORD, "next": target})
    assert (answer.status_code, answer.location) == (302, "/")


def test_a_one_time_link_is_looked_at_often_and_used_once(console: Console) -> None:
    token = console.invite("son")
    client = console.client()
    for _ in range(2):
        assert "Phạm Đức Sơn" in page(client.get(f"/invite/{token}"))
    path = f"/invite/{token}"
    assert "không giống nhau" in page(post(client, path, path, password=PASSWORD, again="khác"))
    assert "12" in page(post(client, path, path, password="ngắn", again="ngắn"))
    assert post(client, path, path, password=PASSWORD, again=PASSWORD).request.path == "/"
    page(console.client().get(path), 404)
    page(console.client().get("/invite/no-such-link"), 404)


def test_a_one_time_link_dies_after_a_day(console: Console) -> None:
    token = console.invite("son")
    console.register.pass_by(timedelta(hours=25))
    page(console.client().get(f"/invite/{token}"), 404)


def test_ended_sessions_end_at_once(console: Console) -> None:
    client = console.client("hoa")
    page(client.get("/people"))
    with database.transaction(console.register.factory) as session:
        users.deactivate(session, SETUP, users.by_login(session, "hoa").id, console.register.now)
    assert client.get("/people").status_code == 302
    assert client.get("/events").status_code == 302


def test_a_role_taken_away_counts_at_once(console: Console) -> None:
    client = console.client("hoa")
    with database.transaction(console.register.factory) as session:
        key = users.by_login(session, "hoa").id
        users.revoke_role(session, SETUP, key, Grant.parse(f"hr@{HOME}"), console.register.now)
    assert client.get("/people").status_code == 302  # that ends sessions too
    page(console.client("hoa").get("/people"), 403)


def test_an_idle_session_and_an_old_one_end(console: Console) -> None:
    client = console.client("hoa")
    console.register.pass_by(sessions.IDLE + timedelta(seconds=1))
    assert client.get("/").status_code == 302
    client = console.client("hoa")
    for _ in range(11):
        console.register.pass_by(timedelta(minutes=55))
        last = client.get("/").status_code
    assert last == 302


def test_signing_out_ends_the_session_in_the_database_too(console: Console) -> None:
    client = console.client("hoa")
    cookie = client.get_cookie(COOKIE)
    assert cookie is not None
    assert post(client, "/sign-out", "/").request.path == "/sign-in"
    copied = console.client()
    copied.set_cookie(COOKIE, cookie.value)
    assert copied.get("/").status_code == 302


def test_a_form_from_elsewhere_is_refused_and_changes_nothing(console: Console) -> None:
    card = console.register.active()
    client = console.client("hoa")
    for token in ({}, {"csrf_token": "made up"}):
        answer = client.post(f"/cards/{card.id}/block", data={"reason": "lost", **token})
        assert "chưa có gì thay đổi" in page(answer, 400)
    other = console.client("son")
    theirs = page(other.get(f"/cards/{card.id}")).split('name="csrf_token" value="')[1].split('"')[0]
    page(client.post(f"/cards/{card.id}/block", data={"reason": "lost", "csrf_token": theirs}), 400)
    assert console.register.state(card) == "active"


def test_behind_https_forms_work_and_cookies_are_for_https_alone(console: Console) -> None:
    secure = as_https(console)
    token = secure.invite("hoa")
    client = secure.client()
    at = f"https://localhost/invite/{token}"
    seen = client.get(at)
    assert seen.headers["Referrer-Policy"] == "same-origin"
    form = page(seen).split('name="csrf_token" value="')[1].split('"')[0]
    fields = {"csrf_token": form, "password": PASSWORD, "again": PASSWORD}
    answer = client.post(at, data=fields, headers={"Referer": at})
    assert answer.status_code == 302
    assert all("Secure" in one and "HttpOnly" in one for one in answer.headers.getlist("Set-Cookie"))
    page(client.post(at, data=fields, headers={"Referer": "https://the.example/"}), 400)


def test_a_visitor_has_the_address_that_the_own_proxy_tells_and_nobody_elses(console: Console) -> None:
    told = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
    for made, address in ((console, "127.0.0.1"), (as_https(console), "198.51.100.7")):
        client = made.client()
        form = page(client.get("/sign-in")).split('name="csrf_token" value="')[1].split('"')[0]
        client.post("/sign-in", data={"csrf_token": form, "login": "hoa", "password": "sai"}, headers=told)
        with database.reading(console.register.factory) as session:
            assert audit.entries(session, action="user.sign_in_failed")[0].facts == {"address": address}
