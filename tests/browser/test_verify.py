"""The public page behind the QR in a real browser: what it says of a code, and that no personal data leaves it."""

import re
import time
from dataclasses import replace

import pytest
from console_world import HOME, OTHER, Held, World, now, within
from cryptography.hazmat.primitives.asymmetric import ec
from playwright.sync_api import Page, Request, expect
from signing_keys import sign_with

from cardlink.statements import qr
from cardlink.statements.cose_key import from_public_key
from cardlink.statements.identifier import build_identifier
from issuer import database, outbox
from issuer.cards import blocking
from issuer.cards.blocking import BlockReason
from issuer.cards.states import Form
from issuer.trust import signers


@pytest.fixture(scope="module")
def card(world: World) -> Held:
    return world.card(Form.PLASTIC)


def digits_of(raw: bytes) -> str:
    return str(int.from_bytes(b"\x01" + raw, "big"))


def verdict(page: Page, world: World, digits: str) -> str:
    """What the page makes of a code that was scanned: the text of the one box it shows."""
    page.goto("about:blank")
    page.goto(f"{world.web.url}/v#{digits}")
    page.wait_for_selector("html[data-verdict]")
    shown = page.locator("[data-verdict-section]:visible")
    expect(shown).to_have_count(1)
    return shown.locator("strong").inner_text()


def test_a_good_code_shows_who_holds_the_card_and_sends_none_of_it(page: Page, world: World, card: Held) -> None:
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request))
    assert verdict(page, world, card.digits) == "Đang hoạt động"
    face = qr.read_qr(qr.parse_fragment(card.digits)).value
    number = face.identifier.citizen_number
    assert page.inner_text("#holder-name") == card.name
    assert page.inner_text("#holder-number") == number
    assert re.fullmatch(r"\d\d/\d\d/\d{4}", page.inner_text("#holder-birth"))
    assert page.inner_text("#holder-expires")[-4:] == str(now().year + 5)
    assert page.inner_text("#holder-agency") == f"Lào Cai ({HOME})"
    assert page.inner_text("#holder-category") == "Công chức"
    assert [one.url.removeprefix(world.web.url) for one in sent if one.url.startswith("http")] == [
        "/v", "/static/style.css", "/static/verify.js", "/v/keys",
        f"/v/status?list={face.status_list}&idx={face.status_index}",
    ]  # fmt: skip
    for one in sent:
        told = f"{one.url.partition('#')[0]} {one.headers} {one.post_data or ''}"
        for secret in (card.digits[:40], number, card.name, face.title, str(face.birth_date)):
            assert secret not in told


def test_the_other_language_shows_the_same_card(page: Page, world: World, card: Held) -> None:
    verdict(page, world, card.digits)
    page.click("#language")
    page.wait_for_url(re.compile("lang=en"))
    page.wait_for_selector("html[data-verdict=active]")
    expect(page.locator("#state-active strong")).to_have_text("Active")
    assert page.inner_text("#holder-name") == card.name


def test_a_changed_code_is_told(page: Page, world: World, card: Held) -> None:
    raw = qr.parse_fragment(card.digits)
    renamed = raw.replace(card.name.encode(), card.name.encode()[:-1] + b"x")
    assert renamed != raw
    for changed in (
        renamed,
        raw[:-1] + bytes([raw[-1] ^ 1]),
        raw + b"\x00",
        raw[:-10],
        bytes([0xD9, 0x00, 0x12]) + raw[1:],  # the tag written longer than it must be
    ):
        assert verdict(page, world, digits_of(changed)) == "Mã đã bị sửa"
        expect(page.locator("#holder")).to_be_hidden()
    assert verdict(page, world, card.digits[:-1]) in ("Mã đã bị sửa", "Không rõ cơ quan ký")
    assert verdict(page, world, "0" + card.digits) == "Mã đã bị sửa"
    assert verdict(page, world, "javascript:alert(1)") == "Mã đã bị sửa"


def test_a_code_of_an_unknown_signer_is_told(page: Page, world: World, card: Held) -> None:
    face = qr.read_qr(qr.parse_fragment(card.digits)).value
    key = ec.generate_private_key(ec.SECP256R1())
    forged = qr.issue_qr(face, from_public_key(key.public_key()).kid(), lambda data: sign_with(key, data))
    assert verdict(page, world, digits_of(forged)) == "Không rõ cơ quan ký"
    expect(page.locator("#holder")).to_be_hidden()


def test_a_signer_speaks_only_for_its_own_agency(page: Page, world: World, card: Held) -> None:
    face = qr.read_qr(qr.parse_fragment(card.digits)).value
    theirs = replace(
        face,
        identifier=build_identifier(
            face.identifier.scheme, OTHER, face.identifier.citizen_number, face.identifier.third
        ),
    )
    with database.reading(world.factory) as session:
        signer = signers.signer_for(session, world.hsm, HOME, "qr", now())
    for issuer in (HOME, OTHER):
        claimed = replace(theirs, issuer=issuer)
        assert verdict(page, world, digits_of(qr.issue_qr(claimed, signer.kid, signer.sign))) == "Không rõ cơ quan ký"


def test_an_expired_code_is_told(page: Page, world: World, card: Held) -> None:
    face = replace(qr.read_qr(qr.parse_fragment(card.digits)).value, expires_s=int(time.time()) - 60)
    with database.reading(world.factory) as session:
        signer = signers.signer_for(session, world.hsm, HOME, "qr", now())
    assert verdict(page, world, digits_of(qr.issue_qr(face, signer.kid, signer.sign))) == "Hết hạn"


def test_a_blocked_and_a_revoked_card_are_told(page: Page, world: World) -> None:
    lost = world.card(Form.PLASTIC)
    for act, text in (
        (
            lambda session: blocking.block(session, world.hsm, world.known["hoa"], lost.id, BlockReason.LOST, now()),
            "Đã khóa",
        ),
        (lambda session: blocking.revoke(session, world.hsm, world.known["the"], lost.id, "mất", now()), "Đã thu hồi"),
    ):
        with database.transaction(world.factory) as session:
            act(session)
        assert verdict(page, world, lost.digits) == text
        expect(page.locator("#holder-name")).to_have_text(lost.name)
    outbox.poke_at(world.folder / "feed.sock")


def test_without_a_network_nothing_is_claimed(page: Page, world: World, card: Held) -> None:
    page.route("**/v/status*", lambda route: route.abort())
    assert verdict(page, world, card.digits) == "Chữ ký đúng, chưa rõ trạng thái"
    page.route("**/v/keys", lambda route: route.abort())
    assert verdict(page, world, card.digits) == "Không liên lạc được máy chủ"
    expect(page.locator("#holder")).to_be_hidden()


def test_a_second_scan_in_the_same_window_is_checked_anew(page: Page, world: World, card: Held) -> None:
    verdict(page, world, card.digits)
    page.evaluate("() => { location.hash = '1234'; }")
    page.wait_for_selector("html[data-verdict=changed]")
    expect(page.locator("#holder")).to_be_hidden()
    page.evaluate("() => { location.hash = ''; }")
    page.wait_for_selector("html[data-verdict=nothing]")


def test_the_code_on_the_card_is_the_one_on_the_page(world: World, card: Held) -> None:
    assert card.qr.startswith(f"{world.web.url}/v#")
    within(1, lambda: world.state(card) == "active")
