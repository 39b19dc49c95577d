"""The demo as a user runs it: the whole story, once over the real pcscd with a torn card, once in one process.

What it leaves running is used: foreign programs read its card, the link opens the console, Ctrl-C ends it.
"""

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from foreign.programs import FOREIGN, PKCS11_MODULE, run

from demo.books import Books
from demo.office import AGENCIES, Place
from demo.supervisor import command

ROOT = Path(__file__).resolve().parent.parent.parent
DEMO = str(ROOT / "run")
LIMIT_S = 300.0
END_S = 30.0
SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
SLOTS = ("9a", "9c", "9d", "9e")
PKCS11_IDS = ("01", "02", "03", "04")

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class LeftRunning:
    """A demo that has told its story and waits for Ctrl-C."""

    process: subprocess.Popen[bytes]
    folder: Path
    told: str

    @property
    def environ(self) -> dict[str, str]:
        return {**os.environ, "PCSCLITE_CSOCK_NAME": str(self.pcscd)}

    @property
    def pcscd(self) -> Path:
        return Path(self._shown(r"PCSCLITE_CSOCK_NAME=(\S+)"))

    @property
    def reader(self) -> str:
        return self._shown(r"opensc-tool -r '([^']+)'")

    @property
    def link(self) -> str:
        return self._shown(r"(http://127\.0\.0\.1:\d+/invite/\S+)")

    def _shown(self, pattern: str) -> str:
        found = re.search(pattern, self.told)
        assert found, self.told
        return found[1]

    def processes(self) -> list[str]:
        """The command lines of the demo's processes that live now."""
        lines = [self._command_line(one) for one in Path("/proc").glob("[0-9]*/cmdline")]
        marks = (str(self.folder), str(self.pcscd.parent))
        return [line for line in lines if any(mark in line for mark in marks)]

    @staticmethod
    def _command_line(path: Path) -> str:
        try:
            return path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return ""


@pytest.fixture(scope="module")
def left_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeftRunning]:
    home = tmp_path_factory.mktemp("left-running")
    folder, output = home / "demo", home / "output"
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [DEMO, "demo", "--tear", "60", "--folder", str(folder)],
            cwd=ROOT, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + LIMIT_S
        while "Ctrl-C" not in output.read_text(encoding="utf-8"):
            assert process.poll() is None, output.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, output.read_text(encoding="utf-8")
            time.sleep(0.1)
        yield LeftRunning(process, folder, output.read_text(encoding="utf-8"))
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(END_S)


@pytest.fixture(scope="module")
def authorities(left_running: LeftRunning) -> tuple[Path, Path]:
    """The demo's root certificate, and with it the one that signed the visitor's card."""
    root, chain = left_running.folder / "root.pem", left_running.folder / "chain.pem"
    environ = {**os.environ, "THEMO_CONFIG": str(Place(left_running.folder).config)}
    run([command("issuer"), "keys", "export-root", "--out", str(root)], environ)
    run([command("issuer"), "keys", "export-chain", AGENCIES[0], "--out", str(chain)], environ)
    return root, chain


def assert_verifies(certificate: Path, authorities: tuple[Path, Path]) -> None:
    root, chain = authorities
    told = run(["openssl", "verify", "-x509_strict", "-CAfile", str(root), "-untrusted", str(chain), str(certificate)])
    assert told.strip() == f"{certificate}: OK"


def test_the_story_comes_out_over_pcscd_with_a_card_pulled_at_exchange_60(left_running: LeftRunning) -> None:
    told = " ".join(left_running.told.split())
    for words in (
        "pcscd thật",
        "ở lượt trao đổi 60",
        "ghi tiếp và xong",
        "CHO VÀO",
        "[bad-signature]",
        "[unknown-signer]",
        "dù người này được phép vào",
        "[malformed-credential]",
        "[forged-statement]",
        "[suspended]",
        "[revoked]",
    ):
        assert words in told


def test_opensc_takes_the_demos_card_for_a_piv_card(left_running: LeftRunning) -> None:
    told = run(["opensc-tool", "--reader", left_running.reader, "-n"], left_running.environ)
    assert told.strip() == "Personal Identity Verification Card"


def test_piv_tool_tells_the_uuid_of_a_card_in_the_demos_register(left_running: LeftRunning) -> None:
    told = run(["piv-tool", "--reader", left_running.reader, "--serial"], left_running.environ)
    books = Books(Place(left_running.folder).config)
    try:
        assert books.has_key(bytes.fromhex(told[:48]).hex())
    finally:
        books.close()


def test_pkcs11_reads_the_demos_card_and_its_certificates_verify_up_to_the_root(
    left_running: LeftRunning, authorities: tuple[Path, Path], tmp_path: Path
) -> None:
    argv = ["pkcs11-tool", "--module", PKCS11_MODULE, "--slot-description", left_running.reader]
    listed = run([*argv, "-O"], left_running.environ)
    assert listed.count("Certificate Object") == len(PKCS11_IDS)
    assert listed.count("EC_POINT 256 bits") == len(PKCS11_IDS)
    for number in PKCS11_IDS:
        der, pem = tmp_path / f"{number}.der", tmp_path / f"{number}.pem"
        wanted = ["--read-object", "--type", "cert", "--id", number, "--output-file", str(der)]
        run([*argv, *wanted], left_running.environ)
        pem.write_bytes(x509.load_der_x509_certificate(der.read_bytes()).public_bytes(Encoding.PEM))
        assert_verifies(pem, authorities)


def test_yubico_piv_tool_reads_the_demos_card_and_its_certificates_verify_up_to_the_root(
    left_running: LeftRunning, authorities: tuple[Path, Path], tmp_path: Path
) -> None:
    argv = ["yubico-piv-tool", "-r", left_running.reader]
    status = run([*argv, "-a", "status"], left_running.environ)
    assert re.findall(r"^Slot (..):", status, re.MULTILINE) == list(SLOTS)
    for slot in SLOTS:
        pem = tmp_path / f"{slot}.pem"
        pem.write_text(run([*argv, "-a", "read-certificate", "-s", slot], left_running.environ), encoding="ascii")
        assert_verifies(pem, authorities)


def test_yubikit_reads_the_demos_card_and_its_certificates_verify_up_to_the_root(
    left_running: LeftRunning, authorities: tuple[Path, Path], tmp_path: Path
) -> None:
    script = Path(__file__).with_name("yubikit_look.py")
    told = json.loads(run([str(FOREIGN / "python"), str(script), left_running.reader], left_running.environ))
    serial = run(["piv-tool", "--reader", left_running.reader, "--serial"], left_running.environ)
    assert told["guid"] == bytes.fromhex(serial[:48]).hex()
    assert set(told["certificates"]) == set(SLOTS)
    for slot, pem in told["certificates"].items():
        path = tmp_path / f"{slot}.pem"
        path.write_text(pem, encoding="ascii")
        assert_verifies(path, authorities)


def test_the_link_that_it_shows_opens_the_console(left_running: LeftRunning) -> None:
    with urllib.request.urlopen(left_running.link, timeout=10) as page:  # noqa: S310 - the address is on loopback
        assert page.status == 200
        assert 'name="password"' in page.read().decode()


def test_ctrl_c_ends_it_all(left_running: LeftRunning) -> None:
    assert len(left_running.processes()) >= 6  # demo, HSM, feed, console, door, card and pcscd
    os.killpg(left_running.process.pid, signal.SIGINT)  # as a terminal does: to everything in its foreground
    assert left_running.process.wait(END_S) == 0
    assert left_running.processes() == []
    assert not left_running.pcscd.parent.exists()


def test_the_story_comes_out_in_this_process_and_leaves_no_key_in_the_clear(tmp_path: Path) -> None:
    argv = [DEMO, "demo", "--once", "--in-process", "--lang", "en", "--tear", "140", "--folder", str(tmp_path)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "using the in-process carrier, all else is the same" in done.stdout
    assert "the card was pulled at exchange 140" in done.stdout
    assert "the card is suspended [suspended]" in done.stdout
    assert "the HSM opens channels for the cards that this process allocated alone" in done.stdout
    lines = (tmp_path / "data" / "hsm.store.log").read_text(encoding="utf-8")
    allocated = set(re.findall(r'\["allocator",\d+,"allocate","do","(\S+?)"', lines))
    opened = set(re.findall(r'\["user",\d+,"open_session","do","(\S+) ', lines))
    assert opened == allocated
    assert len(opened) == 3
    # The HSM's store is sealed: no private key in PKCS #8, no label, no PIN can be found in it.
    store = (tmp_path / "data" / "hsm.store").read_bytes()
    marks = (b"PRIVATE KEY", bytes.fromhex("06072a8648ce3d0201"), b"card-master", b"pins")
    assert [mark for mark in marks if mark in store] == []


def test_the_story_comes_out_over_pcscd_with_the_keys_in_softhsm(tmp_path: Path) -> None:
    argv = [DEMO, "demo", "--once", "--lang", "en", "--tear", "60", "--folder", str(tmp_path)]
    argv += ["--hsm", f"pkcs11:{SOFTHSM}"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    told = " ".join(done.stdout.split())
    for words in (
        "Keys are held by SoftHSM project SoftHSM v2 2.6 (pkcs11)",
        "derives_inside",
        "a real pcscd",
        "the card was pulled at exchange 60",
        "GRANTED",
        "[suspended]",
        "none can be taken out or changed",
    ):
        assert words in told
    assert not (tmp_path / "data" / "hsm.store").exists()


@pytest.mark.parametrize("hsm", ["pkcs11:/nowhere/none.so", SOFTHSM, "sim"])
def test_a_key_room_that_is_not_there_is_said_at_once(hsm: str) -> None:
    argv = [command("python"), "-m", "demo", "--once", "--hsm", hsm]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert done.returncode == 2
    assert "--hsm: " in done.stderr
