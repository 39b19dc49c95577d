"""Debian's SoftHSM with two tokens of ours in a folder, and its adapter; what a device's holder can do to it."""

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from issuer.config import Secret
from issuer.trust.pkcs11 import Ceremony, Pkcs11
from issuer.trust.pkcs11_link import Login, Worker
from issuer.trust.pkcs11_token import set_up

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
TOKEN, ROOT_TOKEN = "centre", "root-centre"
SETTINGS = "directories.tokendir = {folder}\nobjectstore.backend = file\nlog.level = ERROR\n"


class Tokens:
    """Two tokens: for every day, and for root keys."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "tokens"
        self.settings = folder / "softhsm2.conf"
        self.store.mkdir(mode=0o700)
        self.settings.write_text(SETTINGS.format(folder=self.store), encoding="ascii")
        self.so_pin, self.user_pin, self.officer_pin = (Secret(secrets.token_hex(6)) for _ in range(3))
        self._workers: list[Worker] = []

    def set_up(self, *, has_roots: bool) -> None:
        """What `issuer hsm init-tokens` does."""
        set_up(MODULE, TOKEN, self.so_pin, self.user_pin)
        if has_roots:
            set_up(MODULE, ROOT_TOKEN, self.so_pin, self.officer_pin)

    def everyday(self, pin: Secret | None = None) -> Pkcs11:
        return Pkcs11(self._worker(Login(MODULE, TOKEN, pin or self.user_pin, False, True)))

    def ceremony(self, officer_pin: Secret | None = None, *, makes_exportable: bool = False) -> Ceremony:
        everyday = self._worker(Login(MODULE, TOKEN, self.user_pin, True, True))
        roots = self._worker(Login(MODULE, ROOT_TOKEN, officer_pin or self.officer_pin, True, True))
        return Ceremony(everyday, roots, makes_exportable=makes_exportable)

    def in_one(self) -> tuple[Pkcs11, Ceremony]:
        """The everyday token taken for all keys: everyday login and ceremony."""
        logins = [Login(MODULE, TOKEN, self.user_pin, is_officer, False) for is_officer in (False, True, True)]
        everyday, maker, roots = map(self._worker, logins)
        return Pkcs11(everyday), Ceremony(maker, roots)

    def add(self, label: str) -> None:
        """One more token, made by SoftHSM's own program, which lets two bear one label."""
        pins = ["--so-pin", self.so_pin.text, "--pin", self.user_pin.text]
        command = ["softhsm2-util", "--init-token", "--free", "--label", label, *pins]
        subprocess.run(command, env=environ_of(self), capture_output=True, check=True)

    def change_pin(self, old: Secret, new: Secret) -> None:
        """Change the everyday PIN with another program."""
        done = tool(self, TOKEN, old, "--change-pin", "--new-pin", new.text)
        assert done.returncode == 0, done.stderr

    def _worker(self, login: Login) -> Worker:
        made = Worker(login)
        self._workers.append(made)
        return made

    def close(self) -> None:
        for one in self._workers:
            one.close()

    @contextmanager
    def unplugged(self) -> Iterator[None]:
        """The device is gone for a while."""
        away = self.store.with_name("away")
        self.store.rename(away)
        self.store.mkdir(mode=0o700)
        try:
            yield
        finally:
            self.store.rmdir()
            away.rename(self.store)


@contextmanager
def softhsm(folder: Path, *, has_roots: bool = True) -> Iterator[Tokens]:
    """Tokens that are set up, with the settings that SoftHSM looks for in the environment of its process."""
    found = Tokens(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(found.settings))
        found.set_up(has_roots=has_roots)
        try:
            yield found
        finally:
            found.close()


def environ_of(tokens: Tokens) -> dict[str, str]:
    """The environment of a process that uses these tokens."""
    return {**os.environ, "SOFTHSM2_CONF": str(tokens.settings)}


def tool(tokens: Tokens, token: str, pin: Secret, *words: str) -> subprocess.CompletedProcess[str]:
    """OpenSC's pkcs11-tool, its PIN from the environment."""
    command = ["pkcs11-tool", "--module", MODULE, "--token-label", token, "--login", "--pin", "env:TOKEN_PIN"]
    environ = {**environ_of(tokens), "TOKEN_PIN": pin.text}
    return subprocess.run(
        [*command, *words], env=environ, capture_output=True, text=True, errors="replace", check=False
    )


def workers() -> set[int]:
    """The workers that this process has."""
    command = ["ps", "-o", "pid=,args=", "--ppid", str(os.getpid())]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {int(line.split(maxsplit=1)[0]) for line in told.splitlines() if "pkcs11_worker" in line}


@contextmanager
def started() -> Iterator[list[int]]:
    """The workers that are started in here, in no order, once it is left."""
    before = workers()
    new: list[int] = []
    yield new
    new += sorted(workers() - before)
