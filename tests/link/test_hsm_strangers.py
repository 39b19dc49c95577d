"""What a stranger to `hsm-sim` types wrong: each time one clear sentence, what to do next, exit 1, and no traceback."""

import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cardlink.language.catalogue import Language
from hsm_sim import texts
from hsm_sim.__main__ import main, make_parser
from hsm_sim.core import Hsm, Peer
from hsm_sim.errors import ERRORS
from hsm_sim.keys import Role
from hsm_sim.log import Log
from hsm_sim.ops import SPECS
from hsm_sim.reasons import REASONS
from hsm_sim.server import Server, listen
from hsm_sim.store import Store
from hsm_sim.unseal import gather

HSM_SIM = Path(__file__).resolve().parents[2] / "hsm_sim"
SECRET, OTHER = bytes([0x11] * 32), bytes([0x22] * 32)  # made up, for tests alone
PINS = {Role.SO: "so-12345", Role.USER: "user-123", Role.AUDITOR: "audit-12"}
VIETNAMESE = set("ạảãàáâậầấẩẫăắằặẳẵóòọõỏôộổỗồốơờớợởỡéèẻẹẽêếềệểễúùụủũưựữửừứíìịỉĩýỳỷỵỹđ")


@dataclass
class Room:
    """A directory with everything that one can confuse, and an HSM that is open, and one that is sealed."""

    folder: Path

    def say(self, *words: str) -> list[str]:
        """The command's words; those with a dot stand for files of this directory."""
        return [str(self.folder / word[2:]) if word.startswith("./") else word for word in words]


NO_SIGNAL = socket.socketpair()


def started(folder: Path, name: str, hsm: Hsm) -> Server:
    listener = listen(folder / name, 0o600)
    server = Server(listener, folder / name, [os.getuid()])
    threading.Thread(target=server.serve, args=(hsm, NO_SIGNAL[0]), daemon=True).start()
    return server


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    folder = tmp_path_factory.mktemp("strangers")
    for name, secret in (("store", SECRET), ("theirs", OTHER), ("closed", SECRET)):
        store = Store(folder / name, secret, os.urandom, create=True)
        hsm = Hsm(SPECS, store, Log(folder / f"{name}.log"), os.urandom, lambda: 1_770_000_000.0)
        hsm.set_pins(PINS)
        hsm.found(1)
        if name != "store":
            hsm.close()
            continue
        hsm.call(Peer(Role.SO, 0), "generate", ["key", "ec-p256", "card", [], [0, 0, 0], True])
        open_one, running = started(folder, "open.sock", hsm), hsm
    sealed = listen(folder / "sealed.sock", 0o600)
    threading.Thread(target=gather_quietly, args=(sealed,), daemon=True).start()
    (folder / "secret.json").write_text(json.dumps({"store_secret": SECRET.hex()}))
    (folder / "with-pins.json").write_text(
        json.dumps({"store_secret": SECRET.hex(), "pins": {str(role): pin for role, pin in PINS.items()}})
    )
    (folder / "other.json").write_text(json.dumps({"store_secret": OTHER.hex()}))
    (folder / "half.json").write_text('{"store_secret": "11"}')
    for name, text in (("so.pin", "so-12345"), ("wrong.pin", "so-12346"), ("short.pin", "12345"), ("empty", "")):
        (folder / name).write_text(text + "\n")
    (folder / "binary").write_bytes(b"\xff\xfe\x00\n")
    (folder / "locked").mkdir()
    (folder / "user.pin").write_text("user-123\n")
    (folder / "plan.toml").write_text("installation = 3")
    for name in ("a", "b"):
        outs = [word for n in (1, 2) for word in ("--share-file", f"./{name}{n}")]
        words = ["split", "--secret-file", "./secret.json", "--threshold", "2", *outs]
        assert main(Room(folder).say(*words)) == 0
    words = ["backup", "--store", "./closed", "--secret-file", "./secret.json", "--to", "./backup", "--threshold", "2"]
    assert main(Room(folder).say(*words, "--share-file", "./w1", "--share-file", "./w2")) == 0
    yield Room(folder)
    open_one.stop()
    sealed.close()
    running.close()


def gather_quietly(listener: socket.socket) -> None:
    """Wait for shares until the test is over."""
    with contextlib.suppress(OSError, ValueError):
        gather(listener, NO_SIGNAL[0], [os.getuid()], lambda secret: None)


SERVE = ("serve", "--socket", "./new.sock", "--store")
SO = ("--socket", "./open.sock", "--as", "so", "--pin-file", "./so.pin")
SHARES = ("--share-file", "./n1", "--share-file", "./n2")
BACKUP = ("backup", "--secret-file", "./secret.json", "--threshold", "2", *SHARES, "--store")
RESTORE_TO = ("restore", "--secret-file", "./secret.json", "--share-file", "./w1", "--store")
RESTORE = ("restore", "--secret-file", "./secret.json", "--backup", "./backup", "--store", "./again")
VERIFY = ("verify-log", "--log", "./closed.log")
CEREMONY = ("ceremony", "--folder", "./ceremony", "--hand-out", "./usb", "--plan")

PLAN = """
installation = "H38"
agencies = ["H38"]
officers = ["Lan"]
auditors = ["Cường"]
persons_needed = 1
shares = { holders = ["Lan", "Hoa"], threshold = 2 }
roots = { keys = 1, threshold = 1 }
"""

ROWS: list[tuple[str, tuple[str, ...]]] = [
    # starting it
    ("file.missing", (*SERVE, "./closed", "--secret-file", "./nothing")),
    ("file.text", (*SERVE, "./closed", "--secret-file", "./binary")),
    ("file.empty", (*SERVE, "./closed", "--secret-file", "./empty")),
    ("secret.form", (*SERVE, "./closed", "--secret-file", "./so.pin")),
    ("secret.form", (*SERVE, "./closed", "--secret-file", "./half.json")),
    ("secret.choice", (*SERVE, "./closed")),
    ("store.missing", (*SERVE, "./nothing", "--secret-file", "./secret.json")),
    ("store.none", (*SERVE, "./so.pin", "--secret-file", "./secret.json")),
    ("store.secret", (*SERVE, "./theirs", "--secret-file", "./secret.json")),
    ("store.taken", (*SERVE, "./store", "--secret-file", "./secret.json")),
    ("store.exists", (*SERVE, "./closed", "--init", "--secret-file", "./with-pins.json")),
    ("init.pins", (*SERVE, "./fresh", "--init", "--secret-file", "./secret.json")),
    ("init.shares", (*SERVE, "./fresh", "--init", "--shares")),
    ("set-pins.shares", (*SERVE, "./closed", "--set-pins", "--shares")),
    ("init.log", (*SERVE, "./fresh", "--init", "--log", "./closed.log", "--secret-file", "./with-pins.json")),
    ("log.missing", (*SERVE, "./closed", "--log", "./nothing", "--secret-file", "./secret.json")),
    ("log.short", (*SERVE, "./closed", "--log", "./empty", "--secret-file", "./secret.json")),
    ("file.directory", (*SERVE, "./locked", "--secret-file", "./secret.json")),
    ("file.missing", (*SERVE, "./nowhere/store", "--init", "--secret-file", "./with-pins.json")),
    ("socket.long", ("serve", "--socket", "./" + "s" * 120, "--store", "./closed", "--secret-file", "./secret.json")),
    ("socket-taken", (*SERVE, "./fresh", "--socket", "./open.sock", "--init", "--secret-file", "./with-pins.json")),
    ("fault.form", (*SERVE, "./closed", "--secret-file", "./secret.json", "--fault", "rain=1")),
    # asking it
    ("hsm-gone", ("keys", "--socket", "./nothing", "--pin-file", "./so.pin")),
    ("hsm-gone", ("unseal", "--socket", "./nothing", "--share-file", "./a1")),
    ("share.sealed", ("keys", "--socket", "./sealed.sock", "--pin-file", "./so.pin")),
    ("wrong-pin", ("keys", "--socket", "./open.sock", "--as", "so", "--pin-file", "./wrong.pin")),
    ("file.empty", ("keys", "--socket", "./open.sock", "--as", "so", "--pin-file", "./empty")),
    ("file.text", ("keys", "--socket", "./open.sock", "--as", "so", "--pin-file", "./binary")),
    ("file.missing", ("keys", "--socket", "./open.sock", "--as", "so", "--pin-file", "./nothing")),
    ("no-file", ("keys", "--socket", "./open.sock", "--as", "so", "--pin-fd", "917")),
    ("person.none", ("status", "--socket", "./open.sock", "--as", "Nobody", "--pin-file", "./so.pin")),
    ("denied", ("log-head", "--socket", "./open.sock", "--as", "user", "--pin-file", "./user.pin")),
    ("no-such-key", ("state", *SO, "nothing", "active")),
    ("key.step", ("state", *SO, "key", "pre-active")),
    ("no-such-key", ("destroy", *SO, "nothing")),
    ("key.step", ("destroy", *SO, "key")),
    ("cap.range", ("cap", *SO, "key", "--per-day", "-1")),
    ("denied", ("persons", "--socket", "./open.sock", "--as", "user", "--pin-file", "./user.pin")),
    ("pin.length", ("add-person", *SO, "Hoa", "so", "--new-pin-file", "./short.pin")),
    ("file.empty", ("add-person", *SO, "Hoa", "so", "--new-pin-file", "./empty")),
    ("person.name", ("add-person", *SO, "a/b", "so", "--new-pin-file", "./so.pin")),
    ("person.taken", ("add-person", *SO, "user", "so", "--new-pin-file", "./so.pin")),
    ("person.none", ("remove-person", *SO, "Nobody")),
    ("person.none", ("set-pin", *SO, "Nobody", "--new-pin-file", "./user.pin")),
    ("pin.length", ("set-pin", *SO, "auditor", "--new-pin-file", "./short.pin")),
    ("person.officers", ("remove-person", *SO, "so")),
    ("persons.range", ("persons-needed", *SO, "7")),
    ("denied", ("proposals", "--socket", "./open.sock", "--as", "user", "--pin-file", "./user.pin")),
    ("proposal.none", ("approve", *SO, "0123456789")),
    ("component.form", ("load-component", *SO, "kek", "--number", "1", "--of", "2", "--component-file", "./so.pin")),
    ("log.line", ("rotate-log-key", *SO, "--compromised-after", "123456789")),
    ("share.not-sealed", ("unseal", "--socket", "./open.sock", "--share-file", "./a1")),
    ("share.words", ("unseal", "--socket", "./sealed.sock", "--share-file", "./so.pin")),
    ("file.text", ("unseal", "--socket", "./sealed.sock", "--share-file", "./binary")),
    ("file.missing", ("unseal", "--socket", "./sealed.sock", "--share-file", "./nothing")),
    # shares and backups
    ("share.count", ("split", "--secret-file", "./secret.json", "--threshold", "3", *SHARES)),
    ("file.exists", ("split", "--secret-file", "./secret.json", "--threshold", "2", "--share-file", "./a1", *SHARES)),
    ("file.twice", ("split", "--secret-file", "./secret.json", "--threshold", "2", *SHARES, *SHARES)),
    ("file.missing", (*BACKUP, "./closed", "--to", "./x/y")),
    ("store.secret", (*BACKUP, "./theirs", "--to", "./x")),
    ("file.exists", (*BACKUP, "./closed", "--to", "./theirs")),
    ("share.few", (*RESTORE, "--share-file", "./w1")),
    ("share.few", (*RESTORE, "--share-file", "./w1", "--share-file", "./w1")),
    ("share.other", (*RESTORE, "--share-file", "./w1", "--share-file", "./a2")),
    ("share.words", (*RESTORE, "--share-file", "./w1", "--share-file", "./so.pin")),
    ("store.secret", (*RESTORE, "--share-file", "./a1", "--share-file", "./a2")),
    ("store.missing", (*RESTORE_TO, "./again", "--share-file", "./w2", "--backup", "./nothing")),
    ("file.exists", (*RESTORE_TO, "./closed", "--share-file", "./w2", "--backup", "./backup")),
    # logs and transcripts
    ("log.choice", ("verify-log",)),
    ("file.missing", ("verify-log", "--log", "./nothing")),
    ("log.none", ("verify-log", "--log", "./binary")),
    ("log.none", ("verify-log", "--log", "./store")),
    ("seal-key.form", (*VERIFY, "--seal-key", "abc")),
    ("log-broken", (*VERIFY, "--seal-key", "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")),
    ("heads.form", (*VERIFY, "--heads", "./so.pin")),
    ("file.text", (*VERIFY, "--heads", "./binary")),
    ("log-doubted", (*VERIFY, "--doubted-after", "3")),
    ("store.secret", ("verify-log", "--store", "./theirs", "--secret-file", "./secret.json")),
    ("transcript.none", ("ceremony-verify", "./so.pin")),
    ("file.text", ("ceremony-verify", "./binary")),
    ("file.missing", ("ceremony-verify", "./nothing.pdf")),
    ("file.missing", (*CEREMONY, "./nothing")),
    ("plan.form", (*CEREMONY, "./binary")),
    ("plan.form", (*CEREMONY, "./so.pin")),
    ("plan.form", (*CEREMONY, "./plan.toml")),
]  # fmt: skip


CHILD = """
import contextlib, io, json, signal, sys
from hsm_sim.__main__ import main
for words in json.load(sys.stdin):
    signal.alarm(20)  # whatever waits for ever ends here
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        code = main(words)
    print(json.dumps([code, told.getvalue()]), flush=True)
"""


@pytest.fixture(scope="module")
def answers(room: Room) -> list[tuple[int, str]]:
    """What every row is answered with; all of them typed to one process."""
    before = {path.name for path in room.folder.iterdir()}
    asked = [["--lang", "vi", *room.say(*words)] for _, words in ROWS]
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILD],
        input=json.dumps(asked), capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    told = [json.loads(line) for line in child.stdout.splitlines()]
    assert len(told) == len(asked), (asked[len(told)], child.stderr)
    left = {path.name for path in room.folder.iterdir()} - before
    assert not {name for name in left if not name.endswith(".lock")}
    return [(code, text) for code, text in told]


@pytest.mark.parametrize("number", range(len(ROWS)), ids=[f"{words[0]}-{reason}" for reason, words in ROWS])
def test_it_says_what_is_wrong_and_what_to_do_next(answers: list[tuple[int, str]], number: int) -> None:
    reason, (code, told) = ROWS[number][0], answers[number]
    error, hint = told.splitlines()[-2:]
    row = REASONS.get(reason)
    text = row.told("vi", error.partition(" (")[2])[0] if row else texts.text(texts.ERRORS, reason, "vi")
    assert code == 1
    assert error.startswith(f"hsm-sim: error: {text} ("), error
    assert hint.startswith("hsm-sim: hint: ")
    assert VIETNAMESE & set(text)


def test_every_command_has_a_row() -> None:
    parser = make_parser(Language.EN)
    (commands,) = [action.choices for action in parser._actions if isinstance(action.choices, dict)]
    assert set(commands) - {words[0] for _, words in ROWS} == set()


def test_every_code_and_reason_has_a_text_and_a_hint_in_both_languages() -> None:
    for code in ERRORS:
        assert code in REASONS or (code in texts.ERRORS and code in texts.HINTS), code
    for reason, row in REASONS.items():
        assert all(row), reason
        assert VIETNAMESE & set(row.vi), reason
        assert not VIETNAMESE & set(row.en + row.next_en), reason


def test_every_reason_that_the_code_gives_has_its_text() -> None:
    given = set()
    for path in HSM_SIM.glob("*.py"):
        if path.name not in ("reasons.py", "texts.py"):
            given |= set(re.findall(r'"((?:[a-z-]+)\.(?:[a-z-]+))"\)', path.read_text(encoding="utf-8")))
    given = {one for one in given if not one.endswith((".py", ".txt", ".pdf", ".store", ".log", ".sock"))}
    assert len(given) > 40
    assert given <= REASONS.keys()


# --- a disk that is full


def on_a_full_disk(room: Room, limit: int, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command that cannot make a file longer than `limit` bytes."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    argv = [sys.executable, "-W", "error", "-m", "hsm_sim", "--lang", "vi", *room.say(*words)]
    return subprocess.run(argv, preexec_fn=limited, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (50, ("split", "--secret-file", "./secret.json", "--threshold", "2", *SHARES)),
        (200, (*BACKUP, "./closed", "--to", "./x")),
        (200, (*RESTORE, "--share-file", "./w1", "--share-file", "./w2")),
        (200, (*SERVE, "./fresh", "--init", "--secret-file", "./with-pins.json")),
    ],
    ids=["split", "backup", "restore", "serve"],
)  # fmt: skip
def test_on_a_full_disk_it_says_so_and_leaves_nothing_half_done(room: Room, limit: int, words: tuple[str, ...]) -> None:
    before = {path.name: path.read_bytes() for path in room.folder.iterdir() if path.is_file()}
    done = on_a_full_disk(room, limit, *words)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    error, hint = done.stderr.splitlines()[-2:]
    assert error.startswith("hsm-sim: error: ")
    assert "ổ đĩa" in error + hint
    after = {path.name: path.read_bytes() for path in room.folder.iterdir() if path.is_file()}
    del before["store.log"], after["store.log"]  # the HSM that is open writes on
    assert {name for name in after if not name.endswith(".lock")} == {n for n in before if not n.endswith(".lock")}
    assert all(after[name] == before[name] for name in before if name in after)


def test_who_stops_a_command_that_waits_reads_one_sentence(room: Room) -> None:
    plan = room.folder / "good.toml"
    plan.write_text(PLAN, encoding="utf-8")
    argv = [sys.executable, "-W", "error", "-m", "hsm_sim", "--lang", "vi", *room.say(*CEREMONY, "./good.toml")]
    waiting = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hears_interrupts,
    )
    assert waiting.stdout is not None
    while "BƯỚC" not in waiting.stdout.readline():
        pass
    waiting.send_signal(signal.SIGINT)
    waiting.wait(20)  # before its input ends: that would be another sentence
    _, told = waiting.communicate()
    assert waiting.returncode == 1
    assert told.splitlines()[-2].startswith("hsm-sim: error: đã dừng theo yêu cầu")
    assert "Traceback" not in told


def hears_interrupts() -> None:
    """What a shell starts in the background has SIGINT ignored, and so has all that it starts, such as these tests."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_a_locked_pin_is_opened_by_what_the_hint_says(room: Room, capsys: pytest.CaptureFixture[str]) -> None:
    auditor = ("status", "--socket", "./open.sock", "--as", "auditor", "--pin-file")
    for _ in range(10):
        assert main(room.say(*auditor, "./wrong.pin")) == 1
    capsys.readouterr()
    assert main(["--lang", "en", *room.say(*auditor, "./wrong.pin")]) == 1
    assert "let an officer set a new PIN: hsm-sim set-pin;" in capsys.readouterr().err
    assert main(room.say("set-pin", *SO, "auditor", "--new-pin-file", "./user.pin")) == 0
    assert main(room.say(*auditor, "./user.pin")) == 0
