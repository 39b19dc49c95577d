"""Where the demo's keys live: in the HSM simulator, or in a PKCS#11 device whose tokens it sets up."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from demo.supervisor import Program, Supervisor, command

PREFIX = "pkcs11:"
TOKEN = "the-mo-demo"  # noqa: S105 - a label


@dataclass(frozen=True, slots=True)
class Opened:
    """What the display says of a key room: the key of a text, and lines in the HSM's own words."""

    text: str
    lines: list[str]


class KeyRoom(Protocol):
    """What holds the keys of the demo's centre."""

    def settings(self) -> str:
        """What stands in the centre's settings."""

    def environ(self, folder: Path) -> dict[str, str]:
        """What its processes need in their environment."""

    def allocating(self) -> dict[str, str]:
        """What a process that makes cards of requests needs beside it; nothing where jobs are not allocated."""

    def start(self, folder: Path, supervisor: Supervisor, issuer: Callable[..., str]) -> Opened:
        """Bring it up, empty."""

    def proof(self, folder: Path, supervisor: Supervisor, issuer: Callable[..., str]) -> tuple[str, str]:
        """Check it at the end of the story: the key of a text, and its words."""


class Simulator:
    """`hsm-sim serve`, a process of its own with a sealed store."""

    def settings(self) -> str:
        """Its socket is where the centre looks for it anyway."""
        return ""

    def environ(self, folder: Path) -> dict[str, str]:
        """Nothing."""
        return {}

    def allocating(self) -> dict[str, str]:
        """The allocator's PIN, by a descriptor of that process alone."""
        return {"THEMO_HSM_ALLOCATOR_PIN_FD": "{fd:allocator-pin}"}

    def start(self, folder: Path, supervisor: Supervisor, issuer: Callable[..., str]) -> Opened:
        """Start it with a new store."""
        socket, store = folder / "data" / "hsm.sock", folder / "data" / "hsm.store"
        serve = [command("hsm-sim"), "serve", "--socket", str(socket), "--store", str(store)]
        serve += ["--secret-fd", "{fd:hsm}"]
        supervisor.start(Program("hsm", [*serve, "--init"], socket.exists))
        # From now on a restart opens this store; --init would refuse to overwrite it.
        supervisor.again("hsm", serve)
        return Opened("keys.hsm", [])

    def proof(self, folder: Path, supervisor: Supervisor, issuer: Callable[..., str]) -> tuple[str, str]:
        """Its log is whole."""
        log = str(folder / "data" / "hsm.store.log")
        words = supervisor.run([command("hsm-sim"), "verify-log", "--log", log])
        return "proof.hsm", words.strip().splitlines()[-1]


@dataclass(frozen=True, slots=True)
class Device:
    """A PKCS#11 module. SoftHSM gets a folder of its own for tokens; another device must have two free ones."""

    module: Path

    def settings(self) -> str:
        """The module and its everyday token; root keys go to a second one."""
        return f'\n[hsm]\nkind = "pkcs11"\npkcs11_module = "{self.module}"\npkcs11_token = "{TOKEN}"\n'

    def environ(self, folder: Path) -> dict[str, str]:
        """Where SoftHSM finds its settings."""
        return {"SOFTHSM2_CONF": str(_softhsm_settings(folder))} if "softhsm" in self.module.name else {}

    def allocating(self) -> dict[str, str]:
        """Nothing: a device knows no such role."""
        return {}

    def start(self, folder: Path, supervisor: Supervisor, issuer: Callable[..., str]) -> Opened:
        """Set both tokens up, and say what the device does not do by itself."""
        if "softhsm" in self.module.name:
            tokens = folder / "data" / "tokens"
            tokens.mkdir(mode=0o700)
            _softhsm_settings(folder).write_text(
                f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n", encoding="utf-8"
            )
        issuer("hsm", "init-tokens", "--so-pin-fd", "{fd:token-so-pin}", "--officer-pin-fd", "{fd:officer-pin}")
        return Opened("keys.device", issuer("hsm", "status").strip().splitlines())

    def proof(self, folder: Path, supervisor: Supervisor, issuer: Callable[..., str]) -> tuple[str, str]:
        """The device says of every key that it keeps it."""
        return "proof.device", str(len(issuer("hsm", "attest").strip().splitlines()))


def chosen(wanted: str | None) -> KeyRoom:
    """The key room that `--hsm` names: `pkcs11:MODULE`, or none for the simulator. Raises ValueError."""
    if wanted is None:
        return Simulator()
    module = Path(wanted.removeprefix(PREFIX)).absolute()
    if not wanted.startswith(PREFIX) or not module.is_file():
        raise ValueError(f"{wanted} is not {PREFIX}MODULE with a module that is there")
    return Device(module)


def _softhsm_settings(folder: Path) -> Path:
    return folder / "softhsm2.conf"
