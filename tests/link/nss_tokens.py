"""Mozilla's NSS as a PKCS#11 device: a database in a folder as its token, behind p11-kit, which tells it where.

NSS takes its folder in the call that begins it, which our library makes without a word; p11-kit's configuration has the
words. For root p11-kit reads the system's configuration alone: there a worker sees ours in its place, in a mount
namespace of its own.
"""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from issuer.config import Secret
from issuer.trust.pkcs11 import Ceremony, Pkcs11
from issuer.trust.pkcs11_link import Login, Worker

MODULE = "/usr/lib/x86_64-linux-gnu/libp11-kit.so.0"
SOFTOKEN = "/usr/lib/x86_64-linux-gnu/libsoftokn3.so"
OF_THE_SYSTEM = "/usr/share/p11-kit/modules"
TOKEN = "centre"
CONFIGURED = """module: {module}
x-init-reserved: configdir='sql:{folder}' dbTokenDescription='{token}'
critical: yes
"""
LAUNCHER = """#!/bin/sh
[ "$(id -u)" != 0 ] && exec "{python}" "$@"
exec unshare --mount sh -c 'mount --bind "{modules}" {system} && exec "{python}" "$@"' sh "$@"
"""
# The officer of a new database has an empty PIN, until the user has one.
FIRST_PIN = """
import sys
import pkcs11

session = pkcs11.lib(sys.argv[1]).get_token(token_label=sys.argv[2]).open(rw=True, so_pin="")
session.init_pin(sys.stdin.readline().strip())
"""


class NssTokens:
    """One token for all keys, and the logins to it."""

    def __init__(self, folder: Path) -> None:
        self.user_pin = Secret(secrets.token_hex(6))
        modules = folder / "pkcs11" / "modules"
        database = folder / "database"
        for one in (modules, database):
            one.mkdir(parents=True)
        (folder / "pkcs11" / "pkcs11.conf").write_text("user-config: only\n", encoding="ascii")
        told = CONFIGURED.format(module=SOFTOKEN, folder=database, token=TOKEN)
        self._module = modules / "nss.module"
        self._module.write_text(told, encoding="utf-8")
        self.launcher = folder / "python"
        self.launcher.write_text(LAUNCHER.format(python=sys.executable, modules=modules, system=OF_THE_SYSTEM))
        self.launcher.chmod(0o700)
        self._workers: list[Worker] = []

    def set_up(self) -> None:
        """Give the user a PIN."""
        command = [self.launcher, "-c", FIRST_PIN, MODULE, TOKEN]
        subprocess.run(command, input=self.user_pin.text + "\n", text=True, check=True, timeout=20)

    def everyday(self, pin: str | None = None) -> Pkcs11:
        return Pkcs11(self._worker(pin, is_officer=False))

    def ceremony(self, officer_pin: str | None = None, *, makes_exportable: bool = False) -> Ceremony:
        logins = self._worker(None, is_officer=True), self._worker(officer_pin, is_officer=True)
        return Ceremony(*logins, makes_exportable=makes_exportable)

    def custodians(self) -> tuple[Ceremony, Ceremony]:
        made = self.ceremony(makes_exportable=True)
        return made, made

    @contextmanager
    def told(self) -> Iterator[None]:
        """Workers that are started in here write each call of the device to their standard error."""
        before = self._module.read_text(encoding="utf-8")
        self._module.write_text(before + "log-calls: yes\n", encoding="utf-8")
        try:
            yield
        finally:
            self._module.write_text(before, encoding="utf-8")

    def _worker(self, pin: str | None, *, is_officer: bool) -> Worker:
        made = Worker(Login(MODULE, TOKEN, Secret(pin or self.user_pin.text), is_officer, False))
        self._workers.append(made)
        return made

    def close(self) -> None:
        for one in self._workers:
            one.close()


@contextmanager
def nss(folder: Path) -> Iterator[NssTokens]:
    """A token that is set up; workers are started so that they find it."""
    found = NssTokens(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", os.fspath(folder))
        patch.setattr(sys, "executable", os.fspath(found.launcher))
        found.set_up()
        try:
            yield found
        finally:
            found.close()
