"""The trace of a card: nothing secret in the file, everything that matters in words."""

import io
import json
import threading
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from cardlink.errors import LinkLost
from cardlink.iso7816.apdu import Command, Ins, split_chain
from cardlink.iso7816.sw import SW
from cardlink.language.catalogue import Language
from cardlink.piv import commands as piv
from cardlink.piv.tables import CONTAINERS, KEYS, Access, Interface
from cardlink.piv.yubico import Origin
from cardos import faults
from cardos.__main__ import main
from cardos.card import Card
from cardos.control import ask, obey, run_control
from cardos.factory import make_blank
from cardos.messages.catalogue import Texts
from cardos.piv.auth import default_pin_policy
from cardos.piv.keys import generate, save_private
from cardos.records import SlotKey, StoredObject
from cardos.store import MemoryStore
from cardos.timing import parse_timing
from cardos.trace import MASK, Masker, Trace, Traced
from cardos.transcript import Exchange, Transcript, object_name
from cardos.vpcd import Slots

KEYS_OF_BATCH = (bytes(16), bytes(16), bytes(16))  # made up for these tests
SECRET = b"\x51\xec\x3e\x7b" * 8
CONTACT = Interface.CONTACT


def issued() -> Card:
    card = Card(MemoryStore(make_blank(bytes(10), KEYS_OF_BATCH)))
    card.persistent.commit(
        [
            StoredObject(0x5FC109, piv.wrap_object(0x5FC109, SECRET * 12)),
            StoredObject(0x5FC101, piv.wrap_object(0x5FC101, bytes(300))),
            SlotKey(0x9E, 0x11, save_private(generate(0x11)), Origin.GENERATED, default_pin_policy(KEYS[0x9E])),
        ]
    )
    return card


def talk(card: Traced, *commands: Command) -> None:
    for one in commands:
        card.transmit(one.encode(), CONTACT)


def traced(tmp_path: Path, *commands: Command) -> Path:
    path = tmp_path / "apdu.log"
    trace = Trace(path, clock=lambda: 1_790_000_000.0)
    card = Traced(issued(), "a", trace)
    card.reset()
    talk(card, *commands)
    trace.close()
    return path


def rendered(path: Path, *options: str) -> str:
    with redirect_stdout(io.StringIO()) as out:
        assert main(["trace", str(path), *options]) == 0
    return out.getvalue()


GET_RESPONSE = Command(0, Ins.GET_RESPONSE, 0, 0, b"", 256)


def test_no_secret_reaches_the_file(tmp_path: Path) -> None:
    verify = piv.verify(b"123456\xff\xff")
    path = traced(
        tmp_path,
        piv.select(),
        verify,
        piv.get_data(0x5FC109),
        GET_RESPONSE,
        *split_chain(piv.put_data(0x5FC109, SECRET * 20)),
        *split_chain(Command(0, 0xFE, 0x11, 0x9E, SECRET * 16)),
        Command(0, 0xFF, 0xFF, 0xFF, b"\x0c\x9b\x20" + SECRET),
        piv.reset_retry_counter(b"12345678", b"654321\xff\xff"),
        piv.sign(0x11, 0x9E, SECRET),
        Command(0x84, Ins.STORE_DATA, 0x80, 0, SECRET),
        Command(0, Ins.INTERNAL_AUTHENTICATE, 0, 0x9E, SECRET, 65_536, True),
        Command(0, 0x01, 0, 0, SECRET),
    )
    text = path.read_text(encoding="ascii")
    for secret in (SECRET, b"123456", b"12345678", b"654321"):
        assert secret.hex() not in text
    assert path.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines[0] == {"at": 1_790_000_000.0, "card": "a", "event": "reset"}
    assert lines[2]["command"] == "0020008008" + MASK * 8
    assert lines[3]["answer"].startswith(MASK * 256)


@pytest.mark.parametrize("tag", [tag for tag, row in CONTAINERS.items() if row.contact_read is not Access.ALWAYS])
def test_what_not_everybody_may_read_is_masked_when_it_is_written_and_read(tag: int) -> None:
    masker = Masker()
    put, *rest = (one.encode() for one in split_chain(piv.put_data(tag, SECRET * 10)))
    assert SECRET.hex() not in "".join(masker.command(apdu) for apdu in (put, *rest))
    masker.command(piv.get_data(tag).encode())
    assert masker.answer(SECRET + b"\x61\x10") == MASK * 32 + "6110"
    masker.command(GET_RESPONSE.encode())
    assert masker.answer(SECRET + b"\x90\x00") == MASK * 32 + "9000"


@pytest.mark.parametrize("between", ["reset", "get response", "another command"])
def test_what_follows_a_chain_that_was_dropped_is_masked_by_its_own_rule(tmp_path: Path, between: str) -> None:
    first, *_ = split_chain(piv.put_data(0x5FC101, bytes(300)))
    secret = piv.put_data(0x5FC109, SECRET)
    trace = Trace(tmp_path / "trace.jsonl")
    card = Traced(issued(), "a", trace)
    talk(card, piv.select(), first)
    match between:
        case "reset":
            card.reset()
        case "get response":
            talk(card, GET_RESPONSE)
        case _:
            talk(card, Command(0x00, Ins.PUT_DATA, 0x3F, 0xFE, b"\x00"))
    talk(card, secret)
    trace.close()
    assert SECRET.hex() not in trace.path.read_text(encoding="ascii")


def test_lengths_and_the_tags_of_an_authentication_stay() -> None:
    masker = Masker()
    apdu = piv.sign(0x11, 0x9E, SECRET).encode()
    shown = masker.command(apdu)
    assert shown == "0087119e267c2482008120" + MASK * 32 + "00"
    assert len(shown) == 2 * len(apdu)
    assert masker.answer(bytes.fromhex("7c048202aabb9000")) == "7c048202" + MASK * 2 + "9000"
    assert masker.command(b"") == ""
    assert masker.command(piv.select().encode()) == piv.select().encode().hex()


def test_a_transcript_is_read_in_words(tmp_path: Path) -> None:
    path = traced(
        tmp_path,
        piv.select(),
        piv.verify(b"111111\xff\xff"),
        piv.get_data(0x5FC101),
        GET_RESPONSE,
        piv.sign(0x11, 0x9E, bytes(32)),
        piv.verify(b""),
        Command(0x84, Ins.PUT_DATA, 0x3F, 0xFF, bytes(20)),
        Command(0x0C, Ins.GET_DATA, 0x3F, 0xFF, bytes(20)),
    )
    told = rendered(path, "--lang", "en", "--timing", "jcop4@424,512/32")
    for words in (
        "Card a",
        "-- the card starts anew",
        "→ SELECT  the PIV application",
        "→ VERIFY  PIN",
        "63C4 wrong, 4 tries left",
        "→ GET DATA  certificate 9E (5FC101)",
        "6130 48 bytes more",
        "→ GENERAL AUTHENTICATE  card key 9E, P-256, challenge",
        "9000 done  7C:",
        "→ VERIFY  PIN: ask for the tries left",
        "→ [SCP03] PUT DATA",
        "→ [SM] GET DATA",
        "real card 37.",
        "In all: 8 exchanges, ",
        "; a real card (jcop4) takes",
    ):
        assert words in told, words
    assert "→ VERIFY  PIN: hỏi số lần thử" in rendered(path)
    assert "sai, còn 4 lần thử" in rendered(path, "--lang", "vi")


def test_a_card_that_left_is_told(tmp_path: Path) -> None:
    trace = Trace(tmp_path / "t")
    card = Traced(faults.mute(issued()), "m", trace)
    with pytest.raises(LinkLost):
        card.transmit(piv.SELECT_PIV_APDU, CONTACT)
    trace.close()
    assert "← không trả lời: the card is mute" in rendered(tmp_path / "t")


@pytest.mark.parametrize("line", ["", "{}", "[]", '{"at": 1, "card": "a", "command": "0"}'])
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t").write_text(line + "\n", encoding="ascii")
    assert main(["--lang", "en", "trace", str(tmp_path / "t")]) == 1
    assert "line 1 is no APDU log" in capsys.readouterr().err


def test_live_asks_the_running_card_where_it_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, place = traced(tmp_path, piv.select()), tmp_path / "control"
    slots = Slots(issued(), {})
    for trace in (path, None):
        thread = threading.Thread(
            target=run_control, args=(str(place), lambda line, trace=trace: obey(line, slots, "a", trace), print)
        )
        thread.start()
        while not place.exists():
            pass
        monkeypatch.setattr("cardos.cli.reading.time.sleep", _stop)
        code = main(["trace", "live", "--control", str(place)])
        told = capsys.readouterr()
        if trace is None:
            assert code == 1
            assert "không ghi nhật ký APDU" in told.err
        else:
            assert code == 0
            assert "SELECT  ứng dụng PIV" in told.out
        ask(place, "quit")
        thread.join(5)
        capsys.readouterr()


def _stop(seconds: float) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("lang", list(Language))
def test_every_status_word_object_and_key_has_its_words(lang: str) -> None:
    texts = Texts(lang)
    transcript = Transcript(texts, parse_timing("median"))
    assert [sw for sw in SW if transcript.status(sw) == texts("sw.other")] == []
    assert [f"{tag:X}" for tag in CONTAINERS if object_name(texts, tag) == texts("object.tool")] == []
    assert [f"{ref:02X}" for ref in KEYS if transcript.key(ref) == texts("key.other", ref=f"{ref:02X}")] == []
    assert transcript.status(0x61FF)
    assert transcript.status(0x6C00)
    assert transcript.status(0x1234) == texts("sw.other")


def test_any_bytes_can_be_told() -> None:
    transcript = Transcript(Texts("en"), parse_timing("slowest"))
    for first in range(256):
        for raw in (bytes((first,)), bytes((0, first, 0, 0)), bytes((first, 0xCB, 0x3F, 0xFF, 3, 0x5C, 1, 0x7E))):
            masker = Masker()
            masker.command(raw)
            masker.answer(raw)
            assert list(transcript.lines(Exchange(0.0, "c", "contact", raw, raw)))
