"""A whole key ceremony as persons type it: torn, gone on with, signed at its end, taken over by `issuer keys init`."""

import hashlib
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hsm_sim.__main__ import main
from hsm_sim.backup import check_values
from hsm_sim.ceremony_book import Book
from hsm_sim.client import Client
from hsm_sim.shares import look
from hsm_sim.store import read_state

PLAN = """
installation = "H38"
agencies = ["H38", "G09"]
officers = ["Lan", "Minh"]
auditors = ["Cường"]
witnesses = ["Bà Tư"]
persons_needed = 2
exportable = true

[shares]
holders = ["Lan", "Minh", "Hoa"]
threshold = 2

[roots]
keys = 3
threshold = 2

[backup]
holders = ["Hoa", "Huy", "Minh"]
threshold = 2
"""
PINS = {"Lan": "mat-khau-lan", "Minh": "mat-khau-minh", "Cường": "mat-khau-cuong"}
WAIT_S = 60.0
KEYS = 3 + 1 + 1 + 3 + 2 * 7


@dataclass
class Room:
    """The ceremony's machine, and everybody around it, who answer what they are asked."""

    folder: Path
    asked: list[str] = field(default_factory=list)
    holders: list[str] = field(default_factory=lambda: ["Hoa", "Lan"])

    def __post_init__(self) -> None:
        (self.folder / "plan.toml").write_text(PLAN, encoding="utf-8")

    @property
    def kept(self) -> Path:
        return self.folder / "ceremony"

    @property
    def usb(self) -> Path:
        return self.folder / "usb"

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-W", "error", "-m", "hsm_sim", "--lang", "en", *words]

    def hold(self, until: str | None = None, killed: bool = False) -> tuple[int, str]:
        """Hold the ceremony; `until`: leave (or kill it) when something that matches is asked."""
        argv = self.argv("ceremony", "--plan", str(self.folder / "plan.toml"))
        argv += ["--folder", str(self.kept), "--hand-out", str(self.usb)]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert process.stdin is not None
        assert process.stdout is not None
        shown, seen, waiting = "", 0, list(self.holders)
        deadline = time.monotonic() + WAIT_S
        with process.stdin, process.stdout:
            while time.monotonic() < deadline:
                ready, _, _ = select.select([process.stdout], [], [], 0.5)
                raw = os.read(process.stdout.fileno(), 65536) if ready else b""
                if ready and not raw:
                    break
                shown += raw.decode()
                question = shown[seen:].rpartition("\n")[2]
                if not question.endswith(": "):
                    continue
                if until is not None and re.search(until, question):
                    if killed:
                        process.kill()
                    break
                seen = len(shown)
                self.asked.append(question)
                process.stdin.write((self.answer(question, waiting) + "\n").encode())
                process.stdin.flush()
            process.stdin.close()
            shown += process.stdout.read().decode()
        return process.wait(20), shown

    def answer(self, question: str, waiting: list[str]) -> str:
        if "enters a share" in question:
            return (self.usb / f"share-{waiting.pop(0)}.txt").read_text(encoding="utf-8").strip()
        if found := re.search(r"(.+), word (\d+) on your paper", question):
            words = (self.usb / f"backup-share-{found[1]}.txt").read_text(encoding="utf-8").split()
            is_first = sum("on your paper" in one for one in self.asked) == 1
            return "wrong" if is_first else words[int(found[2]) - 1]
        if found := re.search(r"all together, ([0-9a-f]{4})", question):
            return found[1]
        name = re.split(r"[,:]", question)[0]
        if "PIN" in question or "once more" in question:
            return PINS[name if name in PINS else self.asked[-2].split(",")[0]]
        return name

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.argv(*words), capture_output=True, text=True, timeout=WAIT_S, check=False)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    return Room(tmp_path_factory.mktemp("ceremony"))


def test_it_is_torn_again_and_again_and_goes_on(room: Room) -> None:
    code, shown = room.hold(until="Bà Tư, type your name")
    assert (code, "goes on here" in shown) == (1, True)
    code, shown = room.hold(until="Minh, your new PIN", killed=True)
    assert code == -9
    code, _ = room.hold(until="agree to root-2", killed=True)
    assert code == -9
    code, shown = room.hold(until="Bà Tư reads")  # root keys are made, nobody has read them aloud
    assert code == 1
    assert "Done before: store" in shown
    assert "1 of 2 shares" in shown
    code, shown = room.hold(until="Huy, word", killed=True)  # a backup is made, not every share is written down
    assert code == -9
    assert "Done before: store" in shown
    assert shown.count("agree to root-") == 0  # the three that the run before has made are taken
    assert "agree to x509-root-1" in shown
    assert shown.count("Not that word") == 1
    torn = (room.kept / "hsm.backup").read_bytes()
    code, shown = room.hold()
    assert code == 0, shown
    assert f"check values of {KEYS} keys: all the same" in shown
    assert (room.kept / "hsm.backup").read_bytes() != torn
    assert sorted(path.name for path in room.kept.glob("hsm.*")) == [
        *("hsm.backup", "hsm.store", "hsm.store.lock", "hsm.store.log")
    ]


def test_done_once_more_it_changes_nothing(room: Room) -> None:
    before = (room.kept / "transcript.txt").read_bytes()
    code, shown = room.hold()
    assert code == 0, shown
    assert (room.kept / "transcript.txt").read_bytes() == before


def test_the_transcript_says_who_was_there_and_every_key(room: Room) -> None:
    text = (room.kept / "transcript.txt").read_text(encoding="utf-8")
    assert text.startswith("BIÊN BẢN NGHI LỄ KHÓA\n")
    for said in ("Bà Tư", "Cường", "card-H38-1", "x509-ocsp-G09-1", "root-3", "card-master-1"):
        assert said in text
    assert len(re.findall(r"  [0-9a-f]{4} [0-9a-f]{4} [0-9a-f]{4} [0-9a-f]{4}$", text, re.M)) >= KEYS - 1
    assert text.count("may leave (enciphered)") == KEYS - 3 - 1  # all but the roots
    assert not re.search(r"root-\d .*\n +.*may leave", text)
    for secret in (*PINS.values(), (room.usb / "pin-user.txt").read_text().strip()):
        assert secret not in text
        assert secret.encode() not in (room.kept / "ceremony.book").read_bytes()


def test_the_transcript_names_the_backup_and_who_holds_what(room: Room) -> None:
    text = (room.kept / "transcript.txt").read_text(encoding="utf-8")
    assert hashlib.sha256((room.kept / "hsm.backup").read_bytes()).hexdigest() in text
    shares = [(room.usb / f"backup-share-{name}.txt").read_text(encoding="utf-8") for name in ("Hoa", "Huy", "Minh")]
    (share_set,) = {look(share).split for share in shares}
    assert f"Share set: {share_set}; " in text
    assert f"{KEYS} khóa, giá trị kiểm tra khớp hết" in text
    for number, (name, share) in enumerate(zip(("Hoa", "Huy", "Minh"), shares, strict=True), 1):
        assert f"{name}: #{number}, " in text
        assert share.strip() not in text


def test_the_backup_of_the_ceremony_is_restored_by_the_command(room: Room, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text('{"store_secret": "%s"}\n' % ("22" * 32))
    words = ["restore", "--backup", str(room.kept / "hsm.backup"), "--secret-file", str(tmp_path / "secret.json")]
    for holder in ("Minh", "Huy"):
        words += ["--share-file", str(room.usb / f"backup-share-{holder}.txt")]
    assert main([*words, "--store", str(tmp_path / "store")]) == 0
    held = check_values(read_state(tmp_path / "store", bytes.fromhex("22" * 32)))
    text = (room.kept / "ceremony.book").read_text(encoding="utf-8")
    assert len(held) == KEYS
    assert all(value.hex() in text for value in held.values())


@pytest.mark.parametrize("name", ["transcript.txt", "transcript.pdf"])
def test_a_command_verifies_the_signature_and_finds_a_changed_byte(room: Room, tmp_path: Path, name: str) -> None:
    good = room.run("ceremony-verify", str(room.kept / name))
    assert good.returncode == 0, good.stderr
    shown = re.search(r"fingerprint ([0-9a-f ]{19})", good.stdout)
    assert shown
    assert shown[1] in (room.kept / "transcript.txt").read_text(encoding="utf-8")
    raw = bytearray((room.kept / name).read_bytes())
    raw[len(raw) // 3] ^= 1
    (tmp_path / name).write_bytes(raw)
    if name.endswith(".pdf"):
        (tmp_path / f"{name}.sig").write_bytes((room.kept / f"{name}.sig").read_bytes())
    bad = room.run("ceremony-verify", str(tmp_path / name))
    assert (bad.returncode, "was changed" in bad.stderr) == (1, True)
    other = room.run("ceremony-verify", str(room.kept / name), "--key", "00" * 32)
    assert (other.returncode, "another key" in other.stderr) == (1, True)


def test_a_changed_book_and_another_plan_are_refused(room: Room, tmp_path: Path) -> None:
    other = Room(tmp_path)
    other.kept.mkdir()
    raw = (room.kept / "ceremony.book").read_bytes()
    (other.kept / "ceremony.book").write_bytes(raw.replace(b"Hoa", b"Huy", 1))
    code, shown = other.hold()
    assert (code, "was changed" in shown) == (1, True)
    (other.kept / "ceremony.book").write_bytes(raw)
    (other.folder / "plan.toml").write_text(PLAN.replace("keys = 3", "keys = 4"), encoding="utf-8")
    code, shown = other.hold()
    assert (code, "another plan" in shown) == (1, True)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("persons_needed = 2", "persons_needed = 3"),
        ("threshold = 2\n\n[roots]", "threshold = 4\n\n[roots]"),
        ('auditors = ["Cường"]', 'auditors = ["Lan"]'),
        ("[roots]", "[rots]"),
        ('"Hoa"', '"../Hoa"'),
        ('["Hoa", "Huy", "Minh"]', '["Hoa"]'),
        ("exportable = true", "exportable = 1"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(tmp_path: Path, old: str, new: str) -> None:
    bad = Room(tmp_path)
    (tmp_path / "plan.toml").write_text(PLAN.replace(old, new), encoding="utf-8")
    code, shown = bad.hold()
    assert (code, "bad-request: plan" in shown) == (1, True)
    assert not (bad.kept / "hsm.store").exists()


@pytest.fixture
def served(room: Room) -> Iterator[Path]:
    """The HSM of the ceremony at work: started sealed, opened by two holders."""
    socket = room.folder / "hsm.sock"
    store = str(room.kept / "hsm.store")
    argv = room.argv("serve", "--shares", "--socket", str(socket), "--store", store)
    process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not socket.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        for holder in ("Minh", "Hoa"):
            share = str(room.usb / f"share-{holder}.txt")
            assert room.run("unseal", "--socket", str(socket), "--share-file", share).returncode == 0
        yield socket
    finally:
        process.terminate()
        process.wait(20)


def test_the_centre_takes_the_keys_over_and_makes_none(room: Room, served: Path, tmp_path: Path) -> None:
    import threading

    from card_office import fill
    from key_drill import agree_to_all

    import issuer.tables
    from issuer import database

    engine = database.engine_at(f"sqlite:///{tmp_path / 'centre.db'}")
    issuer.tables.metadata.create_all(engine)
    with database.transaction(database.session_factory(engine)) as session:
        fill(session)
    engine.dispose()
    config = tmp_path / "centre.toml"
    user_pin = room.usb / "pin-user.txt"
    hsm = f'[hsm]\nsocket = "{served}"\npin_file = "{user_pin}"\n'
    config.write_text(f'[centre]\ndata_dir = "{tmp_path}"\ninstallation = "H38"\n{hsm}')
    (tmp_path / "Lan.pin").write_text(PINS["Lan"] + "\n")
    command = [sys.executable, "-W", "error", "-m", "issuer", "--config", str(config), "--lang", "en", "keys", "init"]
    command += ["--agency", "H38", "--agency", "G09", "--roots", "3", "--threshold", "2"]
    command += ["--officer", "Lan", "--officer-pin-file", str(tmp_path / "Lan.pin")]
    done = threading.Event()
    minh = Client(served, "Minh", PINS["Minh"])
    person = threading.Thread(target=agree_to_all, args=(minh, done))
    person.start()
    try:
        made = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    finally:
        done.set()
        person.join(20)
    assert made.returncode == 0, made.stderr
    assert made.stdout.splitlines() == ["trust list 1 is in force"]
    with Client(served, "user", user_pin.read_text().strip()) as user:
        assert len(user.keys()) == KEYS


def test_a_book_on_a_full_disk_keeps_its_whole_lines_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = Book(tmp_path / "book", lambda: 1_770_000_000.0)
    book.add("gather", ("Lan",), {})
    before, real = book.path.read_bytes(), os.write
    monkeypatch.setattr("os.write", lambda file, data: real(file, data[:20]))
    with pytest.raises(OSError, match="not all bytes"):
        book.add("store", ("Lan",), {})
    monkeypatch.undo()
    assert (book.path.read_bytes(), book.find("store")) == (before, None)
    book.add("store", ("Lan",), {})
    assert [line.step for line in Book(book.path, book.clock_s).lines] == ["gather", "store"]
