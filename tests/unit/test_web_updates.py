"""The console on cards that wait for an update: how many, how far, and calling one in."""

from pathlib import Path

import pytest
from card_register import HOME, OTHER
from web_console import Console, open_console, page, post, text_of

from cardlink.statements.trust import KeyState
from issuer import database
from issuer.cards import update
from issuer.cards.states import CardState, Form
from issuer.cards.tables import Card, CardUpdate
from issuer.trust.tables import SignerRow

LABEL = f"card-{HOME}-1"


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return open_console(tmp_path)


def fallen(console: Console) -> Card:
    """An active card with a chip under a signer that has fallen."""
    card = console.register.active(Form.CHIP)
    console.register.put(card, credential_label=LABEL)
    with database.transaction(console.register.factory) as session:
        session.get_one(SignerRow, LABEL).state = int(KeyState.COMPROMISED)
    return card


def test_where_nothing_has_fallen_no_card_waits(console: Console) -> None:
    card = console.register.active(Form.CHIP)
    console.register.put(card, credential_label=LABEL)
    client = console.client("the")
    assert "Không có thẻ nào chờ cập nhật." in page(client.get("/cards/outdated"))
    assert "gọi về" not in page(client.get("/")) + page(client.get("/cards"))
    assert 'id="update"' not in page(client.get(f"/cards/{card.id}"))


def test_the_waiting_are_counted_listed_and_followed_to_the_last(console: Console) -> None:
    first, second = fallen(console), fallen(console)
    client = console.client("the")
    for path in ("/", "/cards"):
        assert "2 thẻ đã cấp phải gọi về để cập nhật." in text_of(client.get(path))
    told = text_of(client.get("/cards/outdated"))
    assert f"{LABEL} Khóa bị lộ. Đã cập nhật 0 / 2 thẻ; còn 2 thẻ chờ." in told
    assert (first.identifier in told, second.identifier in told) == (True, True)
    with database.transaction(console.register.factory) as session:
        done = update.order(session, console.actor("the"), first.id, console.register.now)
        done.ended = console.register.now
        session.get_one(Card, first.id).credential_label = f"card-{HOME}-2"
    html = page(client.get("/cards/outdated"))
    assert '<progress value="1" max="2"' in html
    assert first.identifier not in html
    for login in ("binh", "dung"):
        assert LABEL not in page(console.client(login).get("/cards/outdated"))
    assert "1 of 2 cards are updated; 1 wait." in page(client.get("/cards/outdated?lang=en"))


def test_an_officer_of_the_card_office_opens_an_update_and_the_page_says_what_to_do(console: Console) -> None:
    card = fallen(console)
    seen = f"/cards/{card.id}"
    assert "Chứng thực thẻ. Khóa bị lộ." in text_of(console.client("hoa").get(seen))
    assert f"{seen}/update" not in page(console.client("hoa").get(seen))
    assert "Đã mở việc cập nhật." in page(post(console.client("the"), f"{seen}/update", seen))
    assert f"issuer cards update {card.uuid} --reader" in page(console.client("the").get(seen))
    assert console.register.state(card) == CardState.ACTIVE
    assert "card.update_begun" in console.register.audited(card.uuid)


@pytest.mark.parametrize("login", ["hoa", "quan", "dung"])
def test_nobody_else_opens_one(console: Console, login: str) -> None:
    card = fallen(console)
    answer = post(console.client(login), f"/cards/{card.id}/update", "/")
    assert answer.status_code in (200, 403, 404)
    assert "Đã mở việc cập nhật." not in answer.get_data(as_text=True)
    with database.reading(console.register.factory) as session:
        assert session.query(CardUpdate).count() == 0
    assert OTHER != HOME


def test_a_blocked_card_is_not_called_in(console: Console) -> None:
    card = fallen(console)
    console.register.put(card, state=CardState.LOST)
    client = console.client("the")
    assert "đang bị khóa hoặc không còn dùng" in page(client.get(f"/cards/{card.id}"))
    answer = post(client, f"/cards/{card.id}/update", f"/cards/{card.id}")
    assert "đang bị khóa: không cập nhật" in page(answer)
    assert "gọi về" not in page(client.get("/"))
