"""`cardos` on the command line: blank, inspect, clone; errors say why and what to do."""

import errno
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from cardlink.piv import commands as piv
from cardlink.piv.commands import unwrap_object
from cardlink.piv.objects import decode_certificate
from cardlink.piv.tables import CERT_ATTESTATION, KEYS, Interface
from cardlink.piv.yubico import Origin
from cardos.__main__ import main
from cardos.card import Card
from cardos.cli.serve import until_told
from cardos.factory import make_blank
from cardos.files import failed
from cardos.image import FileStore
from cardos.maker_file import FILE_NAME
from cardos.messages.catalogue import Texts
from cardos.picture import as_text, view_of
from cardos.piv.auth import default_pin_policy
from cardos.piv.keys import generate, save_private
from cardos.records import Kind, SlotKey, StoredObject
from cardos.state import Persistent
from cardos.store import MemoryStore
from cardos.trace import TRAFFIC, Traced

SERIAL = "0001000200C0FFEE0001"


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEMO_LANG", "en")


def make(tmp_path: Path, *more: str) -> Path:
    image, keys = tmp_path / "a.card", tmp_path / "transport"
    keys.write_text("\n".join(f"{one:02X}" * 32 for one in (1, 2, 3)), encoding="ascii")
    command = ["blank", "--image", str(image), "--serial", SERIAL, "--transport-keys-file", str(keys), *more]
    assert main(command) == 0
    return image


def opened(image: Path) -> FileStore:
    return FileStore(image, bytes.fromhex(image.with_name(image.name + ".key").read_text(encoding="ascii")))


def test_a_blank_card_is_made_sealed_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = make(tmp_path)
    assert capsys.readouterr().out == f"{image}: blank card, serial {SERIAL}\n"
    assert (tmp_path / "a.card.key").stat().st_mode & 0o777 == 0o600
    assert main(["inspect", "--image", str(image)]) == 0
    told = re.sub(r"\d+ bytes", "NNN bytes", capsys.readouterr().out)
    for line in (
        "Card a, serial 00C0FFEE",
        "  Life cycle: prepared",
        "    OP_READY → [INITIALIZED] → SECURED → CARD_LOCKED → TERMINATED",
        "    the PIV application   SELECTABLE",
        "    SCP03 option i = 60",
        "    PIN            ██████████  5 of 5 tries (factory value)",
        "    Secure channel key set 30, AES-256",
        "    9B  AES-192 (factory value)",
        "  Private keys: 1",
        "    F9  attestation                P-256     imported, no PIN",
        "  Data: 1 objects, NNN bytes",
    ):
        assert line in told.splitlines()


def test_the_makers_certificates_bear_a_card_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = make(tmp_path)
    maker = tmp_path / FILE_NAME
    capsys.readouterr()
    assert main(["maker", "--maker", str(maker), "--batch", "0001"]) == 0
    batch, root = x509.load_pem_x509_certificates(capsys.readouterr().out.encode("ascii"))
    store = opened(image)
    content = unwrap_object(CERT_ATTESTATION.tag, Persistent(store).objects[CERT_ATTESTATION.tag])
    store.close()
    f9 = x509.load_der_x509_certificate(decode_certificate(content).certificate)
    f9.verify_directly_issued_by(batch)
    batch.verify_directly_issued_by(root)
    for wrong in (["--maker", str(maker), "--batch", "1"], ["--maker", str(maker), "--batch", "000001"]):
        assert main(["maker", *wrong]) == 1
    assert main(["maker", "--maker", str(tmp_path / "nobody"), "--batch", "0001"]) == 1
    assert not (tmp_path / "nobody").exists()


def test_a_secret_of_its_own_opens_it_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = tmp_path / "secret"
    secret.write_text("5E" * 32 + "\n", encoding="ascii")
    image = make(tmp_path, "--secret-file", str(secret))
    assert not (tmp_path / "a.card.key").exists()
    assert main(["inspect", "--image", str(image), "--secret-file", str(secret)]) == 0
    secret.write_text("5F" * 32, encoding="ascii")
    assert main(["inspect", "--image", str(image), "--secret-file", str(secret)]) == 1
    assert "hint: give the secret it was made with" in capsys.readouterr().err


def test_secrets_come_by_descriptor(tmp_path: Path) -> None:
    keys, secret = tmp_path / "keys", tmp_path / "secret"
    keys.write_text(" ".join(["00" * 16] * 3), encoding="ascii")
    secret.write_text("5E" * 16, encoding="ascii")
    with keys.open("rb") as first, secret.open("rb") as second:
        fds = ["--transport-keys-fd", str(os.dup(first.fileno())), "--secret-fd", str(os.dup(second.fileno()))]
        assert main(["blank", "--image", str(tmp_path / "b.card"), "--serial", SERIAL, *fds]) == 0
    FileStore(tmp_path / "b.card", bytes.fromhex("5E" * 16)).close()


def test_the_picture_of_a_full_card_shows_keys_and_objects_and_no_secret(tmp_path: Path) -> None:
    image = make(tmp_path)
    store = opened(image)
    card = Persistent(store)
    private = save_private(generate(0x11))
    card.commit(
        [
            SlotKey(0x9C, 0x11, private, Origin.GENERATED, default_pin_policy(KEYS[0x9C])),
            StoredObject(0x5FC102, piv.wrap_object(0x5FC102, bytes(20))),
            StoredObject(0x5FFF00, piv.wrap_object(0x5FFF00, bytes(20))),
        ]
    )
    text = as_text(view_of(card, "a", Texts("en"), datetime(2026, 1, 1, tzinfo=UTC)), Texts("en"))
    store.close()
    assert "    9C  signature                  P-256     generated, PIN at each use\n" in text
    assert "    5FC102  CHUID                               22  anybody            anybody\n" in text
    assert "    5FFF00  tool data                           22  anybody            never\n" in text
    assert private.hex() not in text.lower()
    assert "123456" not in text


def test_a_clone_is_made_from_what_anybody_can_read(tmp_path: Path) -> None:
    image, copy = make(tmp_path), tmp_path / "copy.card"
    store = opened(image)
    Card(store).persistent.commit(
        [StoredObject(tag, piv.wrap_object(tag, b"data")) for tag in (0x5FFF20, 0x5FFF21, 0x5FC109)]
    )
    store.close()
    assert main(["clone", "--image", str(image), "--out", str(copy)]) == 0
    store = opened(copy)
    names = store.load().keys()
    store.close()
    assert [int.from_bytes(name[1:], "big") for name in names if name[0] == Kind.OBJECT] == [0x5FFF20]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["inspect", "--image", "{tmp}/none.card"], "no such file"),
        (["blank", "--image", "{image}", "--serial", SERIAL, "--transport-keys-file", "{keys}"], "exists already"),
        (["blank", "--image", "{tmp}/b", "--serial", "XY", "--transport-keys-file", "{keys}"], "not hexadecimal"),
        (["blank", "--image", "{tmp}/b", "--serial", "00", "--transport-keys-file", "{keys}"], "want 10"),
        (["blank", "--image", "{tmp}/b", "--serial", SERIAL, "--transport-keys-file", "{image}.key"], "1 transport"),
        (
            ["blank", "--image", "{tmp}/b", "--serial", SERIAL, "--transport-keys-file", "{keys}", "--scp03", "62"],
            "no option 62",
        ),
        (["serve", "--image", "{image}", "--interface", "none", "--port", "1"], "--port without a slot"),
        (["inspect", "--image", "{image}", "--secret-file", "{short}"], "secret of 1 bytes"),
        (["inspect", "--image", "{keys}", "--secret-file", "{image}.key"], "no card image"),
    ],
)
def test_an_error_says_why_and_what_to_do(
    command: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = make(tmp_path)
    (tmp_path / "short").write_text("00", encoding="ascii")
    names = {"tmp": str(tmp_path), "image": str(image), "keys": str(tmp_path / "transport")}
    names["short"] = str(tmp_path / "short")
    capsys.readouterr()
    assert main([one.format(**names) for one in command]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("cardos: error: ")
    assert words in lines[0]
    assert lines[1].startswith("cardos: hint: ")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("nowhere/a.card", "make that folder"), ("none.card", "make a card with"), ("none.txt", "look at the name")],
)
def test_a_missing_file_gets_a_hint_that_fits_it(
    name: str, hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["trace", str(tmp_path / name)] if name.endswith(".txt") else ["inspect", "--image", str(tmp_path / name)]
    assert main(command) == 1
    assert f"cardos: hint: {hint}" in capsys.readouterr().err


def test_a_file_of_keys_that_is_no_text_is_an_error_and_no_crash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "keys").write_bytes(b"\xff\xfe")
    keys = ["--transport-keys-file", str(tmp_path / "keys")]
    assert main(["blank", "--image", str(tmp_path / "a.card"), "--serial", "00" * 10, *keys]) == 1
    assert "is not text" in capsys.readouterr().err


def test_a_terminal_without_vietnamese_letters_still_gets_its_answer(tmp_path: Path) -> None:
    image = make(tmp_path)
    shown = subprocess.run(
        [sys.executable, "-m", "cardos", "--lang", "vi", "inspect", "--image", str(image)],
        env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "PIN" in shown.stdout
    assert "\\u" in shown.stdout


def test_wrong_usage_is_exit_2() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serve"])
    assert caught.value.code == 2


def test_wrong_usage_says_so_with_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--lang", "vi", "trace"])
    told = capsys.readouterr().err
    assert told.startswith("cardos: error: cách gọi sai: ")
    assert "cardos: hint: xem: cardos trace --help" in told


def test_help_is_vietnamese_first(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THEMO_LANG")
    for argv, words in (
        (["--help"], "cách dùng: cardos"),
        (["serve", "--help", "--lang", "en"], "usage: cardos serve"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(argv)
        assert ended.value.code == 0
        assert words in capsys.readouterr().out


def test_the_log_shows_exchanges_and_masks_what_may_be_secret(caplog: pytest.LogCaptureFixture) -> None:
    card = Traced(Card(MemoryStore(make_blank(bytes.fromhex(SERIAL), (bytes(16), bytes(16), bytes(16))))))
    with caplog.at_level(TRAFFIC):
        for one in (
            piv.select(),
            piv.verify(b"123456\xff\xff"),
            piv.change_reference_data(0x81, b"12345678", bytes(8)),
        ):
            card.transmit(one.encode(), Interface.CONTACT)
    assert "command=00a404000ba00000030800001000010000 answer=61" in caplog.messages[0]
    assert caplog.messages[1].endswith("command=0020008008**************** answer=9000")
    assert caplog.messages[2].endswith(f"command=0024008110{'**' * 16} answer=9000")
    assert "31323334" not in caplog.text


@pytest.mark.parametrize("port", ["99999", "65536", "0", "-1", "abc", "", "１"])
@pytest.mark.parametrize("option", ["--port", "--contact-port", "--contactless-port"])
def test_a_port_that_is_none_is_wrong_usage(capsys: pytest.CaptureFixture[str], option: str, port: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--lang", "vi", "serve", "--image", "a.card", f"{option}={port}"])
    assert ended.value.code == 2
    assert f"{option}: {port} không phải số cổng (1 đến 65535)" in capsys.readouterr().err


def test_a_slot_of_a_fleet_wants_a_real_port(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet", "1", "--slot", "door=contact:99999", "--control", "none"]) == 1
    assert "cardos: error: door=contact:99999 is no slot" in capsys.readouterr().err


def test_a_second_signal_does_not_interrupt_the_closing() -> None:
    before = signal.getsignal(signal.SIGTERM)
    closed: list[str] = []
    with until_told(), ExitStack() as held:
        held.callback(closed.append, "last")
        for number in (signal.SIGTERM, signal.SIGINT):
            held.callback(os.kill, os.getpid(), number)
        os.kill(os.getpid(), signal.SIGTERM)
        closed.append("never")
    assert closed == ["last"]
    assert signal.getsignal(signal.SIGTERM) is before


@contextmanager
def writing_at_most(limit: int) -> Iterator[None]:
    """A disk that is full after so many bytes of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 40, 70, 500])
def test_a_full_disk_leaves_nothing_half_and_it_works_when_there_is_room(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], room: int
) -> None:
    keys = tmp_path / "transport"
    keys.write_text(" ".join(["01" * 32] * 3), encoding="ascii")
    image, maker = tmp_path / "a.card", tmp_path / FILE_NAME
    command = ["--lang", "vi", "blank", "--image", str(image), "--serial", SERIAL, "--transport-keys-file", str(keys)]
    with writing_at_most(room):
        assert main(command) == 1
    told = capsys.readouterr().err
    assert "đĩa đầy" in told
    assert "hint: dọn đĩa rồi làm lại" in told
    left = {one.name for one in tmp_path.iterdir()}
    whole = {maker.name, f"{maker.name}.key"} if maker.exists() else set()
    assert left == {"transport"} | whole  # a maker is whole or not there, with its secret
    assert main(command) == 0
    assert main(["inspect", "--image", str(image)]) == 0


def test_what_the_system_refuses_is_a_sentence_with_a_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = make(tmp_path)
    key = tmp_path / "a.card.key"
    (tmp_path / "folder").mkdir()
    for arguments, said in (
        (["inspect", "--image", str(image), "--svg", str(tmp_path / "folder")], "là thư mục, không phải tệp"),
        (["inspect", "--image", str(key / "x.card")], "không phải thư mục"),
        (["inspect", "--image", str(tmp_path / f"{'n' * 300}.card")], "tên quá dài"),
        (["inspect", "--image", str(image), "--secret-fd", "987"], "mô tả tệp được nêu không mở"),
        (
            ["serve", "--image", str(image), "--interface", "none", "--control", f"/tmp/{'s' * 120}"],
            "đường dẫn quá dài",
        ),
    ):
        assert main(["--lang", "vi", *arguments]) == 1
        told = capsys.readouterr().err
        assert said in told
        assert "Errno" not in told
        assert "cardos: hint: " in told


def test_an_error_that_has_no_sentence_is_told_by_its_name() -> None:
    told = failed(OSError(errno.ENODEV, "x", "/dev/none"))
    assert str(told) == "/dev/none: the machine could not do it (ENODEV)"
    assert failed(OSError("AF_UNIX path too long")).code == "disk.other"
