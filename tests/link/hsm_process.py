"""Starts, kills and restarts a real `hsm-sim serve`; the secret goes in by descriptor, as the supervisor does it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from hsm_sim.client import Client, Role

STORE_SECRET = bytes(range(32)).hex()  # made up, for tests alone
PINS = {"so": "so-12345", "user": "user-123", "auditor": "audit-12"}
SECRET = {"store_secret": STORE_SECRET, "pins": PINS}


@dataclass
class HsmProcess:
    """One HSM with its files in `folder`."""

    folder: Path
    process: subprocess.Popen[str] | None = field(default=None)

    @property
    def socket(self) -> Path:
        return self.folder / "hsm.sock"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def start(self, *options: str, secret: object = SECRET) -> "HsmProcess":
        read, write = os.pipe()
        os.write(write, json.dumps(secret).encode() + b"\n")
        os.close(write)
        command = [sys.executable, "-m", "hsm_sim", "--lang", "en", "serve", "--socket", str(self.socket)]
        command += ["--store", str(self.store), "--secret-fd", str(read), *options]
        self.process = subprocess.Popen(command, pass_fds=(read,), stderr=subprocess.PIPE, text=True)
        os.close(read)
        return self

    def client(self, role: Role = Role.USER, pin: str | None = None, wait_s: float = 10) -> Client:
        return Client(self.socket, role, PINS[role] if pin is None else pin, wait_s)

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.communicate()

    def stop(self) -> str:
        assert self.process
        self.process.terminate()
        return self.process.communicate(timeout=10)[1]

    def ended(self) -> tuple[int, str]:
        assert self.process
        errors = self.process.communicate(timeout=10)[1]
        return self.process.returncode, errors
