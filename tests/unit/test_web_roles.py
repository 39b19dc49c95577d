"""Who sees and does what: an officer of one agency learns nothing of another's; nobody approves their own request."""

import json
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from web_console import HOME, OTHER, Console, open_console, page, post, text_of

from issuer import database
from issuer.access import doors
from issuer.access.doors import DoorPlan
from issuer.audit import log as audit
from issuer.cards.states import CardState, Form
from issuer.cards.tables import CardRequest

ALL = ("hoa", "lan", "son", "the", "cua", "soat", "soat38", "quan", "binh", "dung")


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return open_console(tmp_path)


def may(console: Console, path: str) -> set[str]:
    """The officers to whom a page opens; the others must be told 403 or 404."""
    answers = {login: console.client(login).get(path).status_code for login in ALL}
    assert set(answers.values()) <= {200, 403, 404}
    return {login for login, status in answers.items() if status == 200}


def test_each_page_opens_to_its_roles_alone(console: Console) -> None:
    everybody = set(ALL)
    assert may(console, "/") == everybody
    assert may(console, "/doors") == {"cua", "soat", "soat38", "quan"}
    assert may(console, "/audit") == {"soat", "quan"}
    assert may(console, "/hsm") == {"quan"}
    person = console.declare("Đặng Văn Ước", 1)
    assert may(console, f"/people/{person}") == everybody - {"binh", "dung"}


def test_an_officer_of_one_agency_sees_nothing_of_another(console: Console) -> None:
    theirs = console.declare("Giàng A Bí", 7, OTHER)
    console.register.change(theirs, state="approved")
    card = console.register.active()
    console.register.put(card, agency_code=OTHER)
    with database.transaction(console.register.factory) as session:
        session.get_one(CardRequest, card.request_id).agency_code = OTHER
    console.register.change(card.person_id, agency_code=OTHER, full_name="Lò Thị Kín", name_fold="lo thi kin")
    with database.transaction(console.register.factory) as session:
        plan = DoorPlan("Cửa kín", "Tầng 9", "Kho", 2, OTHER, {})
        door = doors.add(session, console.actor("quan"), plan, console.register.now)
    paths = [
        f"/people/{theirs}", f"/people/{theirs}/photo", f"/cards/{card.id}", f"/cards/{card.id}/front.png",
        f"/cards/{card.id}/confirmations", f"/doors/{door.id}", "/people", "/people?q=kin", f"/people?agency={OTHER}",
        "/people?q=001085", "/cards", f"/cards?agency={OTHER}", "/requests", "/doors", "/events", "/",
    ]  # fmt: skip
    secret = ("Giàng A Bí", "Lò Thị Kín", "001085000007", "Cửa kín", card.identifier, str(card.uuid))
    for login in ("hoa", "son", "the", "cua", "soat38"):
        for path in paths:
            answer = console.client(login).get(path)
            told = answer.get_data(as_text=True)
            assert answer.status_code in (200, 403, 404), (login, path)
            assert not [word for word in secret if word in told], (login, path)
            if str(theirs) in path or str(card.id) in path or str(door.id) in path:
                assert answer.status_code in (403, 404), (login, path)
    assert "Giàng A Bí" in page(console.client("binh").get("/people"))


def test_an_officer_of_one_agency_does_nothing_in_another(console: Console) -> None:
    person = console.register.person()
    request = console.register.request(person)
    card = console.register.active()
    theirs = console.client("dung")
    for path, fields in (
        (f"/people/{person}/request", {"form": "plastic", "kind": "new"}),
        (f"/people/{person}/step", {"step": "check", "version": "1"}),
        (f"/requests/{request.id}/approve", {}),
        (f"/requests/{request.id}/reject", {"reason": "không"}),
        (f"/cards/{card.id}/block", {"reason": "lost"}),
        (f"/cards/{card.id}/unblock", {}),
        (f"/cards/{card.id}/revoke", {"reason": "không"}),
        (f"/cards/{card.id}/activate", {}),
    ):
        answer = post(theirs, path, "/", **fields)
        assert answer.status_code in (403, 404), path
        assert "001185" not in answer.get_data(as_text=True)
    assert console.register.state(card) == CardState.ACTIVE


def test_doors_of_other_agencies_are_counted_and_not_named(console: Console) -> None:
    card = console.register.active()
    with database.transaction(console.register.factory) as session:
        for name, agency in (("Cửa nhà", HOME), ("Cửa kín", OTHER)):
            door = doors.add(
                session, console.actor("quan"), DoorPlan(name, "", "", 0, agency, {}), console.register.now
            )
            door.enrolled_at = console.register.now
    told = json.loads(page(console.client("hoa").get(f"/cards/{card.id}/confirmations")))
    assert told == {"confirmed": 0, "total": 2, "waiting": "Cửa nhà, 1 cửa của cơ quan khác"}
    assert "Cửa kín" in json.loads(page(console.client("quan").get(f"/cards/{card.id}/confirmations")))["waiting"]


def test_nobody_approves_their_own_request(console: Console) -> None:
    person = console.register.person()
    asking = replace(console.actor("son"), roles=console.actor("hoa").roles)
    request = console.register.request(person, actor=asking)
    client = console.client("son")
    seen = f"/requests/{request.id}"
    html = page(client.get(seen))
    assert "Bạn là người đề nghị" in html
    assert f"{seen}/approve" not in html
    answer = post(client, f"{seen}/approve", seen)
    assert "Chờ phê duyệt" in text_of(answer)
    assert "người khác" in page(answer)


def test_a_request_goes_from_asking_to_approval_on_pages(console: Console) -> None:
    person = console.register.person(full_name="Lê Thị Ánh")
    asked = post(console.client("hoa"), f"/people/{person}/request", f"/people/{person}", form="chip", kind="new")
    assert "Đã gửi đề nghị cấp thẻ" in page(asked)
    link = asked.get_data(as_text=True).split('href="/requests/')[1].split('"')[0]
    approver = console.client("son")
    approved = post(approver, f"/requests/{link}/approve", f"/requests/{link}")
    assert "Đã phê duyệt đề nghị." in page(approved)
    again = post(approver, f"/requests/{link}/reject", f"/requests/{link}", reason="nhầm")
    assert "Đã phê duyệt" in text_of(again)
    assert "Đã từ chối đề nghị." not in page(again)


def test_turning_a_request_down_needs_a_reason(console: Console) -> None:
    request = console.register.request()
    path = f"/requests/{request.id}"
    without = post(console.client("son"), f"{path}/reject", path)
    assert "Đã từ chối đề nghị." not in page(without)
    assert "lý do" in page(without)
    assert "Đã từ chối đề nghị." in page(post(console.client("son"), f"{path}/reject", path, reason="Chưa cần"))


def test_a_form_that_says_nothing_asks_for_no_card(console: Console) -> None:
    person = console.register.person()
    answer = post(console.client("hoa"), f"/people/{person}/request", f"/people/{person}", form="gold", kind="new")
    assert "Biểu mẫu thiếu" in page(answer)
    assert "Không có đề nghị nào" in page(console.client("hoa").get("/requests"))
    odd = post(console.client("lan"), f"/people/{person}/step", f"/people/{person}", step="fly", version="1")
    assert "Biểu mẫu thiếu" in page(odd)


def test_blocking_takes_one_click_and_a_reason_and_two_persons_to_undo_later(console: Console) -> None:
    card = console.register.active(Form.PLASTIC)
    path = f"/cards/{card.id}"
    blocked = post(console.client("hoa"), f"{path}/block", path, reason="stolen", note="Mất ở chợ")
    assert (blocked.request.path, blocked.request.args["seq"] > "0") == (path, True)
    assert "Mất ở chợ" in page(blocked)
    assert console.register.status(card) == 3
    assert "Cần người thứ hai".lower() in page(post(console.client("son"), f"{path}/unblock", path)).lower()
    assert console.register.state(card) == CardState.STOLEN
    assert "Đã mở khóa thẻ." in page(post(console.client("the"), f"{path}/unblock", path))
    assert console.register.status(card) == 0
    assert console.register.audited(card.uuid)[-1] == "card.active"


def test_a_plastic_card_is_handed_over_on_its_page(console: Console) -> None:
    card = console.register.allocated(Form.PLASTIC)
    path = f"/cards/{card.id}"
    assert f"{path}/activate" not in page(console.client("hoa").get(path))
    assert "Đã bàn giao thẻ" in page(post(console.client("the"), f"{path}/activate", path))
    assert console.register.state(card) == CardState.ACTIVE


def test_a_block_without_a_reason_is_none(console: Console) -> None:
    card = console.register.active()
    answer = post(console.client("hoa"), f"/cards/{card.id}/block", f"/cards/{card.id}", reason="whim")
    assert "lý do" in page(answer)
    assert console.register.state(card) == CardState.ACTIVE


def test_a_revoked_card_stays_revoked(console: Console) -> None:
    card = console.register.active()
    path = f"/cards/{card.id}"
    assert "Đã thu hồi thẻ." in page(post(console.client("son"), f"{path}/revoke", path, reason="Nghỉ việc"))
    assert console.register.status(card) == 1
    after = post(console.client("son"), f"{path}/unblock", "/")
    assert "Đã mở khóa thẻ." not in page(after)
    assert f"{path}/block" not in page(console.client("son").get(path))
    page(console.client("son").get(f"/cards/{uuid.uuid4()}"), 404)


def test_what_somebody_tried_and_may_not_do_stands_in_the_audit_log(console: Console) -> None:
    person = console.declare("Lê Thị Thử", 8)
    answer = post(console.client("dung"), f"/people/{person}/step", "/", step="check", version="1")
    assert answer.status_code in (403, 404)
    with database.reading(console.register.factory) as session:
        refused = audit.entries(session, action="refused")
    # The step itself, and the page that the browser was led to afterwards.
    assert [(row.actor, row.subject) for row in refused] == [
        ("dung", "policy.other_agency"), ("dung", "policy.no_role")
    ]  # fmt: skip
