"""OpenSSH signs in with a card of ours: its agent holds the card's keys through OpenSC's PKCS #11 module."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from foreign.conftest import Inserted
from foreign.programs import LIMIT_S, PKCS11_MODULE, attempt, run
from foreign.test_foreign_opensc import read_certificate

WHO = "anh@themo.example"


@pytest.fixture
def agent(inserted: Inserted, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment in which OpenSSH's programs find an agent of this test's own, and the PIN."""
    socket = tmp_path / "agent"
    ask = tmp_path / "ask"
    ask.write_text('#!/bin/sh\nprintf "%s\\n" "$CARD_PIN"\n', encoding="ascii")
    ask.chmod(0o700)
    environ = {**inserted.environ, "SSH_AUTH_SOCK": str(socket), "SSH_ASKPASS": str(ask),
               "SSH_ASKPASS_REQUIRE": "force", "CARD_PIN": inserted.card.pin}  # fmt: skip
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], env=environ, stdout=subprocess.DEVNULL) as running:
        try:
            deadline = time.monotonic() + LIMIT_S
            while not socket.exists():
                assert time.monotonic() < deadline, "no agent"
                time.sleep(0.01)
            yield environ
        finally:
            running.terminate()


def test_it_lists_the_keys_of_the_card(inserted: Inserted, tmp_path: Path) -> None:
    listed = run(["ssh-keygen", "-D", PKCS11_MODULE], inserted.environ)
    for number in ("01", "02", "03", "04"):
        key = read_certificate(inserted, number, tmp_path).public_key()
        assert key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() in listed


def test_its_agent_signs_with_the_authentication_key_and_it_verifies(
    inserted: Inserted, agent: dict[str, str], tmp_path: Path
) -> None:
    run(["ssh-add", "-s", PKCS11_MODULE], agent)
    key = read_certificate(inserted, "01", tmp_path).public_key()
    public = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert public in run(["ssh-add", "-L"], agent)
    (tmp_path / "key.pub").write_text(f"{public}\n")
    (tmp_path / "allowed").write_text(f"{WHO} {public}\n")
    (tmp_path / "said").write_text("Thẻ mở cửa")
    run(["ssh-keygen", "-Y", "sign", "-n", "file", "-f", str(tmp_path / "key.pub"), str(tmp_path / "said")], agent)
    judged = ["-f", str(tmp_path / "allowed"), "-I", WHO, "-s", str(tmp_path / "said.sig")]
    verify = ["ssh-keygen", "-Y", "verify", "-n", "file", *judged]
    assert "Good" in run(verify, agent, "Thẻ mở cửa")
    assert attempt(verify, agent, "Thẻ mở cổng").returncode != 0
    run(["ssh-add", "-e", PKCS11_MODULE], agent)
    assert public not in attempt(["ssh-add", "-L"], agent).stdout
