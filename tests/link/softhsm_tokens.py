"""Debian's SoftHSM with two tokens of ours in a folder, and its adapter; what a device's holder can do to it."""

import os
import secrets
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

    def set_up(self) -> None:
        """What `issuer hsm init-tokens` does."""
        set_up(MODULE, TOKEN, self.so_pin, self.user_pin)
        set_up(MODULE, ROOT_TOKEN, self.so_pin, self.officer_pin)

    def everyday(self, pin: Secret | None = None) -> Pkcs11:
        return Pkcs11(self._worker(Login(MODULE, TOKEN, pin or self.user_pin, False, True)))

    def ceremony(self, officer_pin: Secret | None = None) -> Ceremony:
        everyday = self._worker(Login(MODULE, TOKEN, self.user_pin, True, True))
        return Ceremony(everyday, self._worker(Login(MODULE, ROOT_TOKEN, officer_pin or self.officer_pin, True, True)))

    def in_one(self) -> tuple[Pkcs11, Ceremony]:
        """The everyday token taken for all keys: everyday login and ceremony."""
        logins = [Login(MODULE, TOKEN, self.user_pin, is_officer, False) for is_officer in (False, True, True)]
        everyday, maker, roots = map(self._worker, logins)
        return Pkcs11(everyday), Ceremony(maker, roots)

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
def softhsm(folder: Path) -> Iterator[Tokens]:
    """Tokens that are set up, with the settings that SoftHSM looks for in the environment of its process."""
    found = Tokens(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(found.settings))
        found.set_up()
        try:
            yield found
        finally:
            found.close()


def environ_of(tokens: Tokens) -> dict[str, str]:
    """The environment of a process that uses these tokens."""
    return {**os.environ, "SOFTHSM2_CONF": str(tokens.settings)}
