"""The demo's installation: folders, settings, secrets, the people at their desks, and the commands they type."""

import json
import re
import secrets
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import MappingProxyType

from demo.key_room import KeyRoom, Opened, Simulator
from demo.register import Register, make_register, write_photos, write_sheet
from demo.slots import CardFile
from demo.supervisor import Program, Supervisor, command

AGENCIES = ("G09", "H38")
PROVINCE = "H38,Ủy ban nhân dân tỉnh Lào Cai"
BATCH = "LO-2026-01"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
CODE = re.compile(r"[0-9A-Z]{5}(?:-[0-9A-Z]{5}){4}")
STAFF = (
    ("to.chuc", "Lò Thị Mai (tổ chức cán bộ)", ("hr@*", "approver@*")),
    ("kiem.tra", "Trịnh Công Đạt (kiểm tra, thẩm định)", ("hr@*",)),
    ("phe.duyet", "Đặng Khánh Yến (phê duyệt)", ("approver@*",)),
    ("cap.the", "Vàng Đức Sơn (bộ phận cấp thẻ)", ("card_office@*",)),
    ("quan.tri", "Ngô Diệu Linh (quản trị)", ("admin@*",)),
)
"""Who works here: no one person can take a card from the request to the holder's hand."""
PREFERRED_PORTS = (8440, 8441)
NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Place:
    """Where the demo keeps what it makes."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "centre.toml"

    @property
    def door_config(self) -> Path:
        return self.folder / "door.toml"

    @property
    def sheet(self) -> Path:
        return self.folder / "danh-sach.xlsx"

    @property
    def returned(self) -> Path:
        return self.folder / "tra-lai.xlsx"

    @property
    def photos(self) -> Path:
        return self.folder / "anh"

    @property
    def faces(self) -> Path:
        return self.folder / "mat-the"


def make_secrets() -> dict[str, bytes]:
    """The secrets of one run: the HSM store's, the PINs, the transport keys that a card maker would deliver."""
    pins = {role: secrets.token_hex(8) for role in ("so", "user", "auditor", "allocator")}
    transport = " ".join(secrets.token_hex(32) for _ in range(3))
    sealed = json.dumps({"store_secret": secrets.token_hex(32), "pins": pins})
    return {
        "hsm": sealed.encode(),
        "user-pin": pins["user"].encode() + b"\n",
        "allocator-pin": pins["allocator"].encode() + b"\n",
        "officer-pin": pins["so"].encode() + b"\n",
        "token-so-pin": secrets.token_hex(8).encode() + b"\n",
        "transport": transport.encode() + b"\n",
    }


def free_port(preferred: int | None) -> int:
    """A free port on loopback, the preferred one if nobody has it."""
    for wanted in (preferred, 0):
        if wanted is None:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on loopback")


def is_listening(port: int) -> bool:
    """Say whether something answers on a port of loopback."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Office:
    """Types the commands of an office. Every method is one or a few of the installed commands."""

    def __init__(
        self, place: Place, supervisor: Supervisor, web_port: int, feed_port: int, key_room: KeyRoom | None = None
    ) -> None:
        self.place = place
        self._key_room = key_room or Simulator()
        self._supervisor = supervisor
        self.web_port = web_port
        self.feed_port = feed_port

    @property
    def console_url(self) -> str:
        return f"http://127.0.0.1:{self.web_port}"

    @property
    def feed_url(self) -> str:
        return f"http://127.0.0.1:{self.feed_port}"

    def write_settings(self) -> None:
        """Write the settings of centre and door; no secret is in them."""
        self.place.config.write_text(
            f'[centre]\ndata_dir = "data"\ninstallation = "{AGENCIES[0]}"\npublic_url = "{self.console_url}"\n'
            f'verify_url = "{self.console_url}/v"\n\n[web]\nlisten = "127.0.0.1:{self.web_port}"\n\n'
            f'[feed]\nlisten = "127.0.0.1:{self.feed_port}"\nurl = "{self.feed_url}"\n{self._key_room.settings()}',
            encoding="utf-8",
        )
        door = self.place.folder / "door"
        door.mkdir()
        self.place.door_config.write_text(
            f'data_dir = "{door}"\nlock = "file"\nlock_file = "{door / "lock"}"\ninsert_wait_s = 0.2\n',
            encoding="utf-8",
        )

    def start_hsm(self) -> Opened:
        """Bring the HSM up, empty."""
        (self.place.folder / "data").mkdir(mode=0o700)
        return self._key_room.start(self.place.folder, self._supervisor, self.issuer)

    def check_hsm(self) -> tuple[str, str]:
        """Check the HSM: the key of a text, and its words."""
        return self._key_room.proof(self.place.folder, self._supervisor, self.issuer)

    def make_keys(self) -> str:
        """Make the database, every key, and take in the batch's transport keys."""
        self.issuer("init")
        # The shipped list names a province by its name alone; the office writes itself as it stands on a face.
        named = self.place.folder / "co-quan.csv"
        named.write_text(f"code,name,kind,closed_on,successor\n{PROVINCE},province,,\n", encoding="utf-8")
        self.issuer("agencies", "load", str(named))
        told = self.issuer(
            "keys",
            "init",
            *(word for code in AGENCIES for word in ("--agency", code)),
            "--officer-pin-fd",
            "{fd:officer-pin}",
        )
        self.issuer(
            "keys", "load-transport", BATCH, "--keys-fd", "{fd:transport}", "--officer-pin-fd", "{fd:officer-pin}"
        )
        return told

    def add_staff(self) -> None:
        """Give everybody an account."""
        self._together(
            [
                ["users", "add", login, "--name", name, *(word for role in roles for word in ("--role", role))]
                for login, name, roles in STAFF
            ]
        )

    def start_feed(self) -> None:
        """Start the process that carries signed statements to the doors."""
        argv = [command("issuer"), "feed", "serve", "--quiet"]
        self._supervisor.start(Program("feed", argv, lambda: is_listening(self.feed_port), self._with_pin()))

    def start_web(self) -> None:
        """Start console and public page."""
        argv = [command("themo-web"), "serve", "--config", str(self.place.config)]
        self._supervisor.start(Program("web", argv, lambda: is_listening(self.web_port), self._with_pin()))

    def write_register(self, today: date) -> Register:
        """Make up the sheet and the portraits that an office would send."""
        register = make_register(today)
        write_sheet(register, self.place.sheet)
        write_photos(register, self.place.photos, today)
        return register

    def import_sheet(self, *, confirm_zeros: bool) -> str:
        """Import the sheet. Rows that go back end the command with 1: nothing of theirs is lost."""
        options = ["--photos", str(self.place.photos), "--errors", str(self.place.returned)]
        more = ["--confirm-zeros"] if confirm_zeros else ["--dry-run"]
        return self.issuer("people", "import", str(self.place.sheet), *options, *more, by="to.chuc", allowed=(0, 1))

    def approve_records(self) -> None:
        """Kiểm tra, thẩm định, phê duyệt: three steps, by two other people than who declared."""
        for step, login in (("check", "kiem.tra"), ("appraise", "kiem.tra"), ("approve", "phe.duyet")):
            self._together([["people", step, "--agency", code] for code in AGENCIES], by=login)

    def freshness(self) -> str:
        """Who may get no card, and why."""
        return self.issuer("people", "freshness", by="to.chuc", allowed=(0, 1))

    def request_cards(self, wanted: Sequence[tuple[str, str]]) -> list[str]:
        """Ask for cards: (citizen number, form) each; answers the requests."""
        told = self._together([["cards", "request", number, "--form", form] for number, form in wanted], by="to.chuc")
        return [_uuid(one) for one in told]

    def approve_requests(self) -> None:
        """Approve every request; never by who asked."""
        self._together([["cards", "approve", "--agency", code] for code in AGENCIES], by="phe.duyet")

    def allocate(self, requests: Sequence[str], serials: Sequence[str | None]) -> list[str]:
        """Make cards of approved requests, where the allocator's PIN is at hand; answers their UUIDs."""
        told = self._together(
            [
                ["cards", "allocate", request, *(["--serial", serial] if serial else [])]
                for request, serial in zip(requests, serials, strict=True)
            ],
            by="cap.the",
            more=self._key_room.allocating(),
        )
        return [_uuid(one) for one in told]

    def blank(self, name: str) -> CardFile:
        """A blank card as its maker delivers it, and its serial in the stock."""
        image = self.place.folder / f"{name}.card"
        serial = secrets.token_hex(10)
        self._supervisor.run(
            [
                command("cardos"),
                "blank",
                "--image",
                str(image),
                "--serial",
                serial,
                "--transport-keys-fd",
                "{fd:transport}",
            ]
        )
        return CardFile(name, image, serial)

    def add_stock(self, cards: Sequence[CardFile]) -> None:
        """Take the blanks into the stock."""
        serials = [word for card in cards for word in ("--serial", card.serial)]
        self.issuer("stock", "add", BATCH, "--transport", BATCH, *serials, by="cap.the")

    def activate(self, cards: Sequence[str]) -> None:
        """Printed, checked, handed over: from now on the cards count."""
        self.issuer("cards", "activate", *cards, by="cap.the")

    def draw_faces(self, cards: Sequence[str]) -> list[tuple[Path, Path]]:
        """Both faces of each card as files."""
        told = self.issuer("cards", "faces", *cards, "--out", str(self.place.faces), by="cap.the")
        files = [Path(line) for line in told.splitlines()]
        return list(zip(files[::2], files[1::2], strict=True))

    def add_door(self, name: str, owner: str) -> None:
        """Make a door known and enrol it with its one-time code."""
        told = self.issuer("doors", "add", name, "--owner", owner, "--place", "Tầng 2, nhà A", by="quan.tri")
        found = CODE.search(told)
        if found is None:
            raise ValueError(f"no enrolment code in: {told}")
        self._supervisor.run(
            [command("reader-daemon"), "enrol", "--config", str(self.place.door_config), "--url", self.feed_url],
            stdin=found[0] + "\n",
        )

    def allow(self, door: str, *, people: Sequence[str], agency: str) -> None:
        """Give the door a rule for these people (citizen numbers), and one for an agency's visitors."""
        wanted = [[word for number in people for word in ("--person", number)], ["--agency", agency]]
        self._together([["doors", "rule", "add", door, *whom] for whom in wanted], by="quan.tri")

    def invite(self, login: str) -> str:
        """A one-time link for a user."""
        return self.issuer("users", "invite", login).strip().splitlines()[-1]

    @property
    def has_allocator(self) -> bool:
        """Do card keys work for allocated jobs alone."""
        return bool(self._key_room.allocating())

    def issuer(
        self, *words: str, by: str | None = None, allowed: tuple[int, ...] = (0,), more: Mapping[str, str] = NOTHING
    ) -> str:
        """One call of the command `issuer`, as a user or as the machine's administrator; `more` for its environment."""
        environ = {**self._with_pin(), **({"THEMO_AS": by} if by else {}), **more}
        return self._supervisor.run([command("issuer"), *words], environ, allowed=allowed)

    def _together(
        self, calls: Sequence[Sequence[str]], by: str | None = None, more: Mapping[str, str] = NOTHING
    ) -> list[str]:
        """Several calls at once: each is a process of its own."""
        with ThreadPoolExecutor(max_workers=4) as pool:
            return list(pool.map(lambda words: self.issuer(*words, by=by, more=more), calls))

    def _with_pin(self) -> dict[str, str]:
        return {"THEMO_HSM_PIN_FD": "{fd:user-pin}"}


def _uuid(told: str) -> str:
    found = UUID.search(told)
    if found is None:
        raise ValueError(f"no UUID in: {told}")
    return found[0]
