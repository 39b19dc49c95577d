"""The public page behind the QR: no sign-in, nothing personal, one word for a card's status."""

import base64
import json
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from web_console import HOME, OTHER, Console, open_console, page

from cardlink.statements import cose, qr
from issuer import database
from issuer.cards import blocking
from issuer.cards.blocking import BlockReason
from web.site import QUESTIONS_AT_ONCE


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return open_console(tmp_path)


def number(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "="), "big")


def test_the_page_is_the_same_for_everybody_and_names_nobody(console: Console) -> None:
    console.register.active()
    assert page(console.client().get("/v")) == page(console.client().get("/v"))
    assert "csrf" not in page(console.client().get("/v"))
    assert "Nguyễn" not in page(console.client().get("/v"))


def test_the_keys_verify_a_qr_that_was_printed_and_say_who_signs(console: Console) -> None:
    card = console.register.active()
    assert card.qr_text is not None
    raw = qr.parse_fragment(card.qr_text.partition("#")[2])
    statement = qr.read_qr(raw).statement
    keys = json.loads(page(console.client().get("/v/keys")))["keys"]
    (key,) = [one for one in keys if one["kid"] == statement.kid.hex()]
    assert key["scope"] == [HOME]
    assert key["names"] == {HOME: "Ủy ban nhân dân tỉnh Thử"}
    assert {one["scope"][0] for one in keys} == {HOME, OTHER}
    public = ec.EllipticCurvePublicNumbers(number(key["x"]), number(key["y"]), ec.SECP256R1()).public_key()
    assert cose.verify_sign1(statement, public)


def test_a_trust_list_out_of_date_vouches_for_nobody(console: Console) -> None:
    console.register.pass_by(timedelta(days=400))
    page(console.client().get("/v/keys"), 503)


def test_the_status_is_one_word(console: Console) -> None:
    card = console.register.active()
    path = f"/v/status?list={card.status_list}&idx={card.status_idx}"
    told = json.loads(page(console.client().get(path)))
    assert told == {"state": "active", "at": "2026-03-02T08:00:00+00:00"}
    with database.transaction(console.register.factory) as session:
        blocking.block(
            session, console.register.keys, console.actor("hoa"), card.id, BlockReason.STOLEN, console.register.now
        )
    assert json.loads(page(console.client().get(path)))["state"] == "blocked"
    with database.transaction(console.register.factory) as session:
        blocking.revoke(session, console.register.keys, console.actor("son"), card.id, "hết", console.register.now)
    assert json.loads(page(console.client().get(path)))["state"] == "withdrawn"
    nobody = f"/v/status?list={card.status_list}&idx={(card.status_idx + 1) % 1024}"
    assert json.loads(page(console.client().get(nobody)))["state"] == "unknown"


@pytest.mark.parametrize("query", ["", "list=1", "idx=1", "list=x&idx=1", "list=-1&idx=1", "list=1&idx=1e9"])
def test_a_question_that_is_none_is_refused(console: Console, query: str) -> None:
    page(console.client().get(f"/v/status?{query}"), 400)


def test_who_walks_through_a_list_is_told_to_wait(console: Console) -> None:
    client = console.client()
    answers = [client.get("/v/status?list=1&idx=0").status_code for _ in range(QUESTIONS_AT_ONCE + 20)]
    assert answers[0] == 200
    assert answers[-1] == 429
    late = client.get("/v/keys")
    assert late.status_code == 429
    assert int(late.headers["Retry-After"]) >= 1
    assert client.get("/v").status_code == 200
