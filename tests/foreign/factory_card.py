"""A card as its maker delivers it, alone in a virtual reader of its own, and the foreign programs pointed at it.

Each such reader has its own pcscd, so that a program which looks at every card finds this one only, and what a module
does to its card reaches no other.
"""

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from card_slot import INSERT_TIMEOUT_S, SETTLE_S, ServedCard, served_card

from cardos.factory import make_blank
from cardos.image import FileStore
from cardos.maker import Maker
from demo.pcscd import NAME, virtual_reader
from foreign.programs import FOREIGN, LIMIT_S, PKCS11_MODULE, attempt

SECRET = bytes(range(32))  # seals the images of these tests' cards
SERIAL = bytes.fromhex("0102030405060708090A")
MAKER = Maker(bytes(range(32)), datetime(2026, 1, 1, tzinfo=UTC))
TRANSPORT_KVN = 0x30
TRANSPORT_KEYS = (bytes([0xA1] * 16), bytes([0xA2] * 16), bytes([0xA3] * 16))
PIN = "123456"
PUK = "12345678"
ADMIN_KEY = "010203040506070801020304050607080102030405060708"
AES_192, TDEA = "0A", "03"
HERE = Path(__file__).parent

Done = subprocess.CompletedProcess[str]


class Ykman:
    """ykman, imported once for the whole run; see `ykman_lines`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [FOREIGN / "python", HERE / "ykman_lines.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def attempt(self, arguments: list[str], environ: Mapping[str, str], stdin: str = "") -> Done:
        """Run one command line to its end, however that is."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"arguments": arguments, "environ": dict(environ), "stdin": stdin}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        return Done(["ykman", *arguments], told["code"], told["stdout"], told["stderr"])

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=10)


def succeeded(done: Done) -> str:
    """The standard output of a program that must have succeeded."""
    assert done.returncode == 0, f"{done.args}: {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class FactoryCard:
    """The card in its reader. Each method runs one program on it; those named `try_` leave its outcome to the test."""

    served: ServedCard
    reader: str
    image: Path
    program: Ykman
    environ: dict[str, str] = field(repr=False)

    @property
    def folder(self) -> Path:
        """Where files for the programs may lie."""
        return self.image.parent

    def try_ykman(self, *arguments: str, stdin: str = "") -> Done:
        return self.program.attempt(["--reader", self.reader, *arguments], self.environ, stdin)

    def ykman(self, *arguments: str, stdin: str = "") -> str:
        return succeeded(self.try_ykman(*arguments, stdin=stdin))

    def try_yubico(self, *arguments: str, stdin: str | None = None) -> Done:
        return attempt(["yubico-piv-tool", "-r", self.reader, *arguments], self.environ, stdin)

    def yubico(self, *arguments: str, stdin: str | None = None) -> str:
        return succeeded(self.try_yubico(*arguments, stdin=stdin))

    def try_piv_tool(self, *arguments: str) -> Done:
        return attempt(["piv-tool", "--reader", self.reader, *arguments], self.environ)

    def piv_tool(self, *arguments: str) -> str:
        return succeeded(self.try_piv_tool(*arguments))

    def try_pkcs11(self, *arguments: str, configuration: Path | None = None, module: str = PKCS11_MODULE) -> Done:
        environ = self.environ if configuration is None else {**self.environ, "OPENSC_CONF": str(configuration)}
        return attempt(["pkcs11-tool", "--module", module, "--slot-description", self.reader, *arguments], environ)

    def pkcs11(self, *arguments: str, configuration: Path | None = None, module: str = PKCS11_MODULE) -> str:
        return succeeded(self.try_pkcs11(*arguments, configuration=configuration, module=module))

    def try_pkcs15(self, *arguments: str) -> Done:
        return attempt(["pkcs15-tool", "--reader", self.reader, *arguments], self.environ)

    def pkcs15(self, *arguments: str) -> str:
        return succeeded(self.try_pkcs15(*arguments))

    def sign_with_pkcs15(self, key: str, digest: bytes) -> bytes:
        """An ECDSA signature by pkcs15-crypt, which unlike pkcs11-tool asks for no PIN where none is needed."""
        (self.folder / "digest").write_bytes(digest)
        files = ["--input", str(self.folder / "digest"), "--output", str(self.folder / "signature")]
        argv = ["pkcs15-crypt", "--reader", self.reader, "--sign", "--key", key, "--signature-format", "openssl"]
        succeeded(attempt([*argv, *files], self.environ))
        return (self.folder / "signature").read_bytes()

    def yubikit(self, script: str, *arguments: str, limit_s: float = LIMIT_S) -> str:
        """Run a script of this folder in the environment of the foreign Python programs."""
        argv = [str(FOREIGN / "python"), str(HERE / script), self.reader, *arguments]
        return succeeded(attempt(argv, self.environ, limit_s=limit_s))

    def insert(self) -> None:
        """Put the card into its slot and wait until a PC/SC client sees it."""
        deadline = time.monotonic() + INSERT_TIMEOUT_S
        slot = "contact" if self.reader.endswith("00") else "contactless"
        assert self.served.tell(f"insert {slot}").startswith("ok")
        while not self.is_seen():
            assert time.monotonic() < deadline, "no card was seen"

    def on_its_other_face(self) -> "FactoryCard":
        """The same card taken out of its slot and put into the other one: contact 00, contactless 01."""
        self.remove()
        other = "01" if self.reader.endswith("00") else "00"
        turned = replace(self, reader=self.reader[:-2] + other)
        turned.insert()
        return turned

    def remove(self) -> None:
        """Take the card out and wait until pcscd has noticed, which looks every 400 ms."""
        self.served.tell("remove")
        while self.is_seen():
            pass
        time.sleep(SETTLE_S)

    def is_seen(self) -> bool:
        # not with a call of this process: libpcsclite keeps to the first pcscd that it was pointed at
        return attempt(["opensc-tool", "--reader", self.reader, "--atr"], self.environ).returncode == 0

    def reset(self) -> None:
        """A warm reset: the card forgets who was verified."""
        succeeded(attempt(["opensc-tool", "--reader", self.reader, "--reset"], self.environ))


@contextmanager
def factory_card(folder: Path, program: Ykman, name: str = NAME) -> Iterator[FactoryCard]:
    """Make a card and insert it into the contact slot of a reader of its own, which bears that name."""
    image = folder / "factory.card"
    blank = make_blank(SERIAL, TRANSPORT_KEYS, maker=MAKER)
    FileStore.create(image, SECRET, blank, sync=False).close()
    image.with_name(image.name + ".key").write_text(SECRET.hex(), encoding="ascii")
    key = folder / "admin.key"
    key.write_text(":".join(ADMIN_KEY[at : at + 2] for at in range(0, len(ADMIN_KEY), 2)), encoding="ascii")
    with virtual_reader(name=name) as virtual, served_card(virtual, image, "--no-sync") as served:
        environ = {**virtual.environ(), "PIV_EXT_AUTH_KEY": str(key)}
        card = FactoryCard(served, f"{name} 00 00", image, program, environ)
        card.insert()
        yield card
