"""A fleet: many cards in one process, in and out of slots by calls, by lines and by a script."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from bench import fleet as measure
from cardlink.piv import commands as piv
from cardlink.piv.tables import Interface
from cardos.__main__ import main
from cardos.cli.serve import load_images
from cardos.control import Quit, ask, default_socket, run_control
from cardos.errors import Failed, ImageInUse
from cardos.factory import make_blank
from cardos.faults import faulty
from cardos.fleet import SHARED_MAX, Fleet, Shared, Slot
from cardos.fleet_script import FleetScript
from cardos.image import FileStore
from cardos.sealing import make_secret, read_secret

KEYS = (bytes(16), bytes(16), bytes(16))  # made up for these tests
CONTACT = Interface.CONTACT


class Slotted:
    """The reader's end of one slot."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(5)
        self.slot = Slot(CONTACT, self.server.getsockname()[1])

    def ask(self, body: bytes) -> bytes:
        link, _ = self.server.accept()
        link.settimeout(5)
        with link:
            link.sendall(len(body).to_bytes(2, "big") + body)
            size = int.from_bytes(link.recv(2), "big")
            return link.recv(size)

    def close(self) -> None:
        self.server.close()


@contextmanager
def fleet_of(count: int, *slots: str) -> Iterator[tuple[Fleet, dict[str, Slotted]]]:
    readers = {name: Slotted() for name in slots}
    fleet = Fleet({name: reader.slot for name, reader in readers.items()})
    fleet.make(count, KEYS)
    try:
        yield fleet, readers
    finally:
        fleet.close()
        for reader in readers.values():
            reader.close()


def image(folder: Path, name: str) -> Path:
    path = folder / f"{name}.card"
    FileStore.create(path, make_secret(path), make_blank(bytes(10), KEYS)).close()
    return path


def test_cards_are_made_by_number_each_with_a_serial_of_its_own() -> None:
    with fleet_of(3) as (fleet, _):
        assert list(fleet) == ["card-00001", "card-00002", "card-00003"]
        assert fleet.make(1, KEYS) == ["card-00004"]
        with fleet.powered("card-00002") as card:
            assert card.persistent.chip.serial == bytes((0, 0, 0, 2))
        assert len(fleet) == 4
        assert "card-00004" in fleet


def test_equal_records_of_a_batch_are_kept_once() -> None:
    shared = Shared()
    one = shared.records(make_blank(bytes(10), KEYS))
    other = shared.records(make_blank(b"\x01" * 10, KEYS))
    assert sum(one[name] is not other[name] for name in one) == 1  # the chip's own number
    for number in range(SHARED_MAX + 10):
        shared.value(b"\x03\0\0\0\0", number.to_bytes(8, "big"))
    assert shared.value(b"\x03\0\0\0\0", b"new") == b"new"


def test_what_a_card_changed_is_there_when_it_comes_back() -> None:
    with fleet_of(1) as (fleet, _):
        with fleet.powered("card-00001") as card:
            card.transmit(piv.select().encode(), CONTACT)
            card.transmit(piv.verify(b"999999\xff\xff").encode(), CONTACT)
        with fleet.powered("card-00001") as card:
            card.transmit(piv.select().encode(), CONTACT)
            assert card.transmit(piv.verify(b"").encode(), CONTACT) == b"\x63\xc4"


def test_what_a_card_does_after_it_was_taken_out_changes_nothing() -> None:
    fleet = Fleet()
    (name,) = fleet.make(1, KEYS)
    with fleet.powered(name) as left:
        left.transmit(piv.select().encode())
    assert left.transmit(piv.verify(b"654321\xff\xff").encode()) == b"\x65\x81"
    with fleet.powered(name) as again:
        again.transmit(piv.select().encode())
        assert again.transmit(piv.verify(b"").encode()) == b"\x63\xc5"


def test_a_card_answers_in_its_slot_and_moves_to_another() -> None:
    with fleet_of(2, "left", "right") as (fleet, readers):
        assert fleet.insert("card-00001", "left")
        assert readers["left"].ask(bytes.fromhex("00A4040005A000000308"))[-2:] == b"\x90\x00"
        assert fleet.place_of("card-00001") == "left"
        assert fleet.insert("card-00001", "right")
        assert fleet.card_in("left") is None
        assert fleet.insert("card-00002", "right")
        assert (fleet.card_in("right"), fleet.place_of("card-00001")) == ("card-00002", None)
        assert fleet.remove("right") == "card-00002"
        assert fleet.remove("right") is None


def test_names_that_are_not_there_are_refused() -> None:
    with fleet_of(1, "left") as (fleet, _):
        for call, code in (
            (lambda: fleet.insert("nobody", "left"), "fleet.no-card"),
            (lambda: fleet.insert("card-00001", "up"), "fleet.no-slot"),
            (lambda: fleet.add("card-00001", {}), "fleet.name-taken"),
            (lambda: fleet.make(-1, KEYS), "fleet.too-many"),
        ):
            with pytest.raises(Failed) as failed:
                call()
            assert failed.value.code == code
        assert fleet.insert("card-00001", "left")
        with pytest.raises(Failed, match="lies in slot left"), fleet.powered("card-00001"):
            raise AssertionError


def test_images_of_a_folder_are_opened_only_while_they_are_inserted(tmp_path: Path) -> None:
    paths = [image(tmp_path, name) for name in ("a", "b")]
    with fleet_of(0, "left") as (fleet, readers):
        assert load_images(fleet, tmp_path) == 2
        FileStore(paths[0], read_secret(paths[0])).close()  # nobody holds it yet
        assert fleet.insert("a", "left")
        with pytest.raises(ImageInUse):
            FileStore(paths[0], read_secret(paths[0]))
        assert readers["left"].ask(bytes.fromhex("00A4040005A000000308"))[-2:] == b"\x90\x00"
        fleet.remove("left")
        FileStore(paths[0], read_secret(paths[0])).close()
    with fleet_of(0) as (fleet, _), pytest.raises(Failed, match=r"no \.card file"):
        load_images(fleet, tmp_path / "cards")


def script_of(fleet: Fleet) -> FleetScript:
    return FleetScript(fleet, KEYS, lambda folder: load_images(fleet, folder), lambda name: _dressed(name))


def _dressed(name: str):  # type: ignore[no-untyped-def]
    spoil = faulty(name)
    return lambda card_name, card: spoil(card)


def test_lines_move_the_cards(tmp_path: Path) -> None:
    image(tmp_path, "own")
    with fleet_of(1, "left") as (fleet, readers):
        script = script_of(fleet)
        assert script.obey("make 2") == "ok 2"
        assert script.obey(f"load {tmp_path}") == "ok 1"
        assert script.obey("insert card-00003 left") == "ok left"
        assert script.obey("list inserted") == "card card-00003 left\nok 1"
        assert script.obey("list").splitlines() == [
            "card card-00001 -", "card card-00002 -", "card card-00003 left", "card own -", "ok 4",
        ]  # fmt: skip
        assert script.obey("status") == "ok 4 cards left=card-00003"
        assert script.obey("remove card-00003") == "ok removed"
        assert script.obey("remove card-00003") == "ok removed"
        assert script.obey("insert card-00001 left only-uid") == "ok left"
        readers["left"].server.accept()[0].close()  # card-00003, which is gone
        assert readers["left"].ask(bytes.fromhex("00A4040005A000000308")) == b"\x6a\x82"
        assert script.obey("wait 0") == "ok"
        for wrong in ("make x", "remove nobody", "insert nobody left", "insert own left nothing", "jump", "trace"):
            assert script.obey(wrong).startswith("error "), wrong
        with pytest.raises(Quit):
            script.obey("quit")


def test_a_script_stops_at_its_first_error_and_names_the_line() -> None:
    with fleet_of(0) as (fleet, _):
        said: list[str] = []
        with pytest.raises(Failed, match=r"line 4: remove nobody: there is no card nobody"):
            script_of(fleet).run(["# cards", "make 1  # one", "", "remove nobody", "make 9"], said.append)
        assert said == ["ok 1"]
        assert len(fleet) == 1


def test_commands_talk_to_a_running_fleet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "control"
    with fleet_of(2, "left") as (fleet, _):
        thread = threading.Thread(target=run_control, args=(str(place), script_of(fleet).obey, print))
        thread.start()
        while not place.exists():
            pass
        where = ["--control", str(place), "--lang", "vi"]
        assert main(["insert", "card-00002", "left", *where]) == 0
        assert main(["list", *where]) == 0
        assert main(["list", "--inserted", *where]) == 0
        assert main(["remove", "left", *where]) == 0
        assert main(["insert", "nobody", "left", *where]) == 1
        told = capsys.readouterr()
        assert told.out.splitlines() == [
            "đã đưa card-00002 vào khe left",
            "card-00001  -",
            "card-00002  left",
            "2 thẻ, 1 đang nằm trong khe",
            "card-00002  left",
            "2 thẻ, 1 đang nằm trong khe",
            "đã lấy thẻ ra",
        ]
        assert told.err.splitlines()[0] == "cardos: error: không có thẻ nobody"
        assert ask(place, "quit") == []
        thread.join(5)
    assert main(["list", *where]) == 1
    assert "không ai nghe" in capsys.readouterr().err


def test_the_default_place_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_socket({"XDG_RUNTIME_DIR": str(tmp_path)}) == tmp_path / "cardos.control"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    missing = {"XDG_RUNTIME_DIR": str(tmp_path / "none")}
    place = default_socket(missing)
    assert place.parent.stat().st_mode & 0o777 == 0o700
    place.parent.chmod(0o755)
    with pytest.raises(Failed) as failed:
        default_socket(missing)
    assert failed.value.code == "control.bad-folder"


def test_the_installed_command_runs_a_script_over_a_thousand_cards(tmp_path: Path) -> None:
    with closing(Slotted()) as reader:
        script = tmp_path / "script"
        script.write_text("insert card-00777 gate\nlist inserted\nremove gate\n", encoding="utf-8")
        slot = f"gate=contact:{reader.slot.port}"
        done = subprocess.run(
            [sys.executable, "-m", "cardos", "fleet", "1000", "--slot", slot, "--script", str(script)],
            capture_output=True, text=True, timeout=60, check=True, env={**os.environ, "THEMO_LANG": "en"},
        )  # fmt: skip
    assert done.stdout == "ok gate\ncard card-00777 gate\nok 1\nok removed\n"
    assert done.stderr == "1000 cards ready\n"


def test_what_the_bench_measures_is_there() -> None:
    code = "from bench import fleet; print(fleet.memory(2000).beyond_data_bytes)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert float(said.stdout) < 20_000
    with fleet_of(5) as (fleet, _):
        assert len(measure.insertions(5, fleet)) == 5
