"""Both adapters of the HSM's port, each over the real thing: what the contract's tests ask of either."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from hsm_process import HsmProcess
from softhsm_tokens import Tokens, softhsm

from hsm_sim.client import Client, Role
from issuer.config import Secret
from issuer.trust.port import CeremonyHsm, Hsm
from issuer.trust.sim import Ceremony, Sim

CUSTODIANS = ("Lan", "Minh")


class Room(Protocol):
    """A running HSM and the ways in."""

    def everyday(self, pin: str | None = None) -> Hsm:
        """A new login with the everyday PIN."""

    def ceremony(self, officer_pin: str | None = None) -> CeremonyHsm:
        """A new login with the security officer present."""

    def custodians(self) -> tuple[CeremonyHsm, CeremonyHsm]:
        """Two who enter components, two persons where the HSM knows persons; the keys that they make may leave."""

    @property
    def user_pin(self) -> str:
        """The everyday PIN."""

    def gone(self) -> None:
        """The HSM is not there any more."""

    def back(self) -> None:
        """And there again."""


class SimRoom:
    """`hsm-sim serve` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._process = HsmProcess(folder).start("--init")
        self._clients: list[Client] = []

    @property
    def user_pin(self) -> str:
        return "user-123"

    def everyday(self, pin: str | None = None) -> Sim:
        return Sim(self._client(Role.USER, pin))

    def ceremony(self, officer_pin: str | None = None) -> Ceremony:
        return Ceremony(self._client(Role.USER), self._client(Role.SO, officer_pin))

    def custodians(self) -> tuple[Ceremony, Ceremony]:
        with self._process.client(Role.SO) as officer:
            for name in CUSTODIANS:
                officer.add_person(name, Role.SO, f"mat-khau-{name}")
        first, second = (Client(self._process.socket, name, f"mat-khau-{name}") for name in CUSTODIANS)
        self._clients += [first, second]
        user = self._client(Role.USER)
        return Ceremony(user, first, makes_exportable=True), Ceremony(user, second, makes_exportable=True)

    def _client(self, role: Role, pin: str | None = None) -> Client:
        made = self._process.client(role, pin, wait_s=0.5 if self._clients else 10)
        self._clients.append(made)
        return made

    def gone(self) -> None:
        self._process.kill()

    def back(self) -> None:
        self._process.start()
        with self._process.client() as waiting:
            waiting.status()

    def close(self) -> None:
        for one in self._clients:
            one.close()
        self._process.stop()


class SoftHsmRoom:
    """Tokens of SoftHSM, each login with its worker."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._away = tokens.unplugged()

    @property
    def user_pin(self) -> str:
        return self._tokens.user_pin.text

    def everyday(self, pin: str | None = None) -> Hsm:
        return self._tokens.everyday(None if pin is None else Secret(pin))

    def ceremony(self, officer_pin: str | None = None) -> CeremonyHsm:
        return self._tokens.ceremony(None if officer_pin is None else Secret(officer_pin))

    def custodians(self) -> tuple[CeremonyHsm, CeremonyHsm]:
        made = self._tokens.ceremony(makes_exportable=True)
        return made, made

    def gone(self) -> None:
        self._away = self._tokens.unplugged()
        self._away.__enter__()

    def back(self) -> None:
        self._away.__exit__(None, None, None)


@contextmanager
def room(kind: str, folder: Path) -> Iterator[Room]:
    """One of them, running."""
    if kind == "softhsm2":
        with softhsm(folder) as tokens:
            yield SoftHsmRoom(tokens)
    else:
        opened = SimRoom(folder)
        try:
            yield opened
        finally:
            opened.close()
