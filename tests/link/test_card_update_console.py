"""The console's button and the command: a card on a reader is updated through a real pcscd, as officers do it."""

import re
import time
from pathlib import Path

import pytest
from card_office import ADMIN, ENCODER, HOME
from card_slot import served_card
from key_drill import KeyRoom, open_key_room, right_now
from test_personalise_pcscd import PCSCD_LOOKS_S, encode, make_image

from demo.pcscd import CONTACT_READER, VirtualReader
from issuer import config, database
from issuer.__main__ import run as issuer_command
from issuer.accounts import sessions, users
from issuer.accounts.users import Grant
from issuer.cards import lifecycle
from issuer.cards.tables import Card
from issuer.trust import compromise
from issuer.trust.connect import connect
from web.app import create_app
from web.auth import COOKIE
from web.site import Parts


def test_one_button_and_one_command_bring_the_card_on_the_reader_up_to_date(
    virtual: VirtualReader, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_key_room(tmp_path) as room:
        loaded = config.load(room.config, {"THEMO_STATION_READER": CONTACT_READER})
        client = create_app(Parts(loaded, room.centre.factory, connect(loaded), right_now)).test_client()
        with database.transaction(room.centre.factory) as session:
            user = users.add(session, ADMIN, "the", "Vũ Văn Thể", [Grant.parse(f"card_office@{HOME}")], right_now())
            client.set_cookie(COOKIE, sessions.begin(session, user, right_now()))
        card, blank = room.centre.allocated()
        with served_card(virtual, make_image(tmp_path, blank.serial)) as served:
            encode(room.centre, card, served)
            with database.transaction(room.centre.factory) as session:
                lifecycle.activate(session, room.centre.hsm, ENCODER, card.id, right_now())
            fallen(room, card)
            seen = f"/cards/{card.id}"
            page = client.get(seen).get_data(as_text=True)
            assert "Cập nhật thẻ đang đặt trên đầu đọc" in page
            form = re.search(r'name="csrf_token" value="([^"]+)"', page[page.index('id="update"') :])
            assert form is not None
            token = {"csrf_token": form[1]}
            done = client.post(f"{seen}/update", data=token, follow_redirects=True).get_data(as_text=True)
            assert "Đã cập nhật thẻ." in done
            assert 'id="update"' not in done
            assert room.centre.card(card.id).credential_label == f"card-{HOME}-2"

            fallen(room, card)
            words = ["--config", str(room.config), "--lang", "en", "--as", "the", "cards", "update", str(card.uuid)]
            assert issuer_command([*words, "--reader", CONTACT_READER]) == 0
            told = capsys.readouterr().out
            assert f"card credential: its key is compromised (card-{HOME}-2)" in told
            assert f"card {card.uuid} is up to date: " in told

            fallen(room, card)
            served.tell("remove")
            time.sleep(PCSCD_LOOKS_S)
            away = client.post(f"{seen}/update", data=token, follow_redirects=True).get_data(as_text=True)
            assert "Mất liên lạc với thẻ" in away


def fallen(room: KeyRoom, card: Card) -> None:
    """The signer of a card's credential falls."""
    label = room.centre.card(card.id).credential_label or ""
    compromise.compromised(room.centre.factory, room.centre.ceremony, ADMIN, label, right_now())
