"""What officers, holders of shares and auditors type, against a running HSM: quorum, shares, backup, sealed log."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hsm_process import PINS, SECRET, HsmProcess

from cardlink.gp.keys import key_check_value
from hsm_sim.__main__ import main
from hsm_sim.client import Client, HsmGone, KeyState, NeedsQuorum
from hsm_sim.keys import Role

OFFICERS = {"Lan": "mat-khau-lan", "Minh": "mat-khau-minh"}


class Desk:
    """A terminal: commands with a PIN file, as a person types them."""

    def __init__(self, folder: Path, hsm: HsmProcess) -> None:
        self.folder, self.hsm = folder, hsm
        for name, pin in ({str(role): pin for role, pin in PINS.items()} | OFFICERS).items():
            (folder / f"{name}.pin").write_text(pin + "\n")

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-W", "error", "-m", "hsm_sim", "--lang", "en", *words]

    def run(self, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.argv(*words), input=typed, capture_output=True, text=True, timeout=30, check=False)

    def officer(self, name: str, *words: str) -> list[str]:
        command, *rest = words
        asked = [command, "--socket", str(self.hsm.socket), "--as", name]
        return [*asked, "--pin-file", str(self.folder / f"{name}.pin"), *rest]

    def do(self, name: str, *words: str) -> str:
        done = self.run(*self.officer(name, *words))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def begin(self, name: str, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(self.argv(*self.officer(name, *words)), stdout=subprocess.PIPE, text=True)

    def secret_file(self) -> Path:
        path = self.folder / "secret.json"
        path.write_text(json.dumps(SECRET) + "\n")
        return path


@pytest.fixture
def hsm(tmp_path: Path) -> Iterator[HsmProcess]:
    process = HsmProcess(tmp_path).start("--init", "--persons-needed", "2", secret=SECRET | {"officers": OFFICERS})
    with process.client() as user:
        user.status()
    yield process
    if process.process is not None and process.process.poll() is None:
        process.stop()


@pytest.fixture
def desk(tmp_path: Path, hsm: HsmProcess) -> Desk:
    return Desk(tmp_path, hsm)


def test_a_key_is_destroyed_by_two_officers_each_at_a_terminal(desk: Desk, hsm: HsmProcess) -> None:
    with hsm.client(Role.SO) as officer:
        officer.generate("signer", "ec-p256", "card", ("H49",))
    assert desk.do("Lan", "state", "signer", "compromised") == "done\n"
    waiting = desk.begin("Lan", "destroy", "signer")
    assert waiting.stdout is not None
    told = waiting.stdout.readline()
    nonce = re.search(r"approve ([0-9a-f]{32})", told)
    assert nonce, told
    (line,) = desk.do("auditor", "proposals").splitlines()
    assert line.split("\t")[:4] == [nonce[1], "destroy", "signer", "Lan"]
    refused = desk.run(*desk.officer("Lan", "approve", nonce[1]))
    assert (refused.returncode, "agreed already" in refused.stderr) == (1, True)
    assert desk.do("Minh", "approve", nonce[1][:8]) == "destroy\tsigner\n2 of 2 persons\n"
    assert waiting.wait(10) == 0
    assert waiting.stdout.read().endswith("done\n")
    waiting.stdout.close()
    with hsm.client() as user:
        assert user.info("signer").state is KeyState.DESTROYED
    assert "signer\tec-p256\tcard\tH49\tdestroyed" in desk.do("user", "keys")


def test_one_officer_alone_signs_with_no_root_key(hsm: HsmProcess) -> None:
    with Client(hsm.socket, "Lan", OFFICERS["Lan"]) as lan, Client(hsm.socket, "Minh", OFFICERS["Minh"]) as minh:
        with pytest.raises(NeedsQuorum):
            lan.generate("root-1", "ec-p256", "root")
        lan.agreed(
            "generate", ["root-1", "ec-p256", "root", [], [0, 0, 0], True], lambda one: ignore(minh.approve(one)), 10
        )
        with pytest.raises(NeedsQuorum):
            lan.sign("root-1", "root", b"trust list")
        signature = lan.agreed("sign", ["root-1", "root", b"trust list"], lambda one: ignore(minh.approve(one)), 10)
        assert len(signature) == 64
        with pytest.raises(NeedsQuorum):
            lan.agreed("sign", ["root-1", "root", b"another"], ignore, 0.3)


def ignore(_: object) -> None:
    """Somebody saw it."""


def test_caps_and_persons_at_a_terminal(desk: Desk, hsm: HsmProcess) -> None:
    with hsm.client(Role.SO) as officer:
        officer.generate("signer", "ec-p256", "card", ("H49",))
    waiting = desk.begin("Minh", "cap", "--per-day", "2", "signer")
    assert waiting.stdout is not None
    nonce = waiting.stdout.readline().split()[-1]
    desk.do("so", "approve", nonce)
    assert waiting.wait(10) == 0
    waiting.stdout.close()
    with hsm.client() as user:
        assert user.caps()["signer"].per_day == 2
    assert [line.split("\t")[:2] for line in desk.do("auditor", "persons").splitlines()] == [
        ["so", "so"],
        ["user", "user"],
        ["auditor", "auditor"],
        ["Lan", "so"],
        ["Minh", "so"],
    ]


def test_an_hsm_in_shares_does_nothing_until_enough_holders_came(desk: Desk, hsm: HsmProcess, tmp_path: Path) -> None:
    with hsm.client(Role.SO) as officer:
        info = officer.generate("signer", "ec-p256", "card", ("H49",))
    hsm.stop()
    files = [tmp_path / f"share-{number}" for number in range(3)]
    outs = [word for path in files for word in ("--share-file", str(path))]
    done = desk.run("split", "--secret-file", str(desk.secret_file()), "--threshold", "2", *outs)
    assert done.returncode == 0, done.stderr
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)

    started = desk.argv("serve", "--shares", "--socket", str(hsm.socket), "--store", str(hsm.store))
    process = subprocess.Popen(started, stderr=subprocess.PIPE, text=True)
    hsm.process = process
    wait_for(hsm.socket)
    with pytest.raises(HsmGone), hsm.client(wait_s=0.2) as user:
        user.status()
    unseal = ("unseal", "--socket", str(hsm.socket))
    wrong = desk.run(*unseal, typed="no share at all\n")
    assert (wrong.returncode, "no share" in wrong.stderr) == (1, True)
    assert desk.run(*unseal, typed=files[2].read_text()).stdout == "share taken: 1 of 2\n"
    again = desk.run(*unseal, "--share-file", str(files[2]))
    assert again.stdout == "share taken: 1 of 2\n"
    assert desk.run(*unseal, "--share-file", str(files[0])).stdout == "2 shares: the HSM is open\n"
    with hsm.client() as user:
        assert user.info("signer") == info


def test_shares_of_another_store_open_nothing_and_the_right_ones_still_do(
    desk: Desk, hsm: HsmProcess, tmp_path: Path
) -> None:
    hsm.stop()
    desk.secret_file()
    (tmp_path / "other.json").write_text(json.dumps({"store_secret": "11" * 32}) + "\n")
    for name in ("secret", "other"):
        outs = [word for number in range(2) for word in ("--share-file", str(tmp_path / f"{name}-{number}"))]
        assert (
            desk.run("split", "--secret-file", str(tmp_path / f"{name}.json"), "--threshold", "2", *outs).returncode
            == 0
        )
    started = desk.argv("serve", "--shares", "--socket", str(hsm.socket), "--store", str(hsm.store))
    hsm.process = subprocess.Popen(started, stderr=subprocess.PIPE, text=True)
    wait_for(hsm.socket)
    answers = [
        desk.run("unseal", "--socket", str(hsm.socket), "--share-file", str(tmp_path / name))
        for name in ("other-0", "secret-0", "other-1", "secret-0", "secret-1")
    ]
    assert [one.returncode for one in answers] == [0, 1, 1, 0, 0]
    assert "another split" in answers[1].stderr
    assert "wrong secret" in answers[2].stderr
    with hsm.client() as user:
        assert user.status().keys == 0


def test_a_backup_opens_with_its_shares_and_gives_the_same_keys(desk: Desk, hsm: HsmProcess, tmp_path: Path) -> None:
    with hsm.client(Role.SO) as officer:
        info = officer.generate("signer", "ec-p256", "card", ("H49",))
    hsm.stop()
    secret = desk.secret_file()
    outs = [word for number in range(3) for word in ("--share-file", str(tmp_path / f"wrap-{number}"))]
    copied = tmp_path / "backup"
    made = desk.run(
        "backup",
        "--store",
        str(hsm.store),
        "--secret-file",
        str(secret),
        "--to",
        str(copied),
        "--threshold",
        "2",
        *outs,
    )
    assert made.returncode == 0, made.stderr
    other = tmp_path / "other"
    other.mkdir()
    one_share = desk.run(
        "restore", "--backup", str(copied), "--store", str(other / "store"), "--secret-file", str(secret), *outs[:2]
    )
    assert one_share.returncode == 1
    assert not (other / "store").exists()
    restored = desk.run(
        "restore", "--backup", str(copied), "--store", str(other / "store"), "--secret-file", str(secret), *outs[2:]
    )
    assert restored.returncode == 0, restored.stderr
    elsewhere = HsmProcess(other).start()
    with elsewhere.client() as user:
        assert user.info("signer") == info
    elsewhere.stop()


def test_the_auditor_checks_the_log_with_the_key_that_seals_it(desk: Desk, hsm: HsmProcess, tmp_path: Path) -> None:
    head = dict(part.split("=") for part in desk.do("auditor", "log-head").split())
    hsm.stop()
    verify = ("verify-log", "--log", str(tmp_path / "store.log"), "--seal-key")
    good = desk.run(*verify, head["seal-key"])
    assert good.returncode == 0, good.stderr
    assert "every seal is right; 0 lines" in good.stdout
    other = desk.run(*verify, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")  # RFC 8032 §7.1
    assert (other.returncode, "no seal of this HSM" in other.stderr) == (1, True)


def test_two_officers_replace_the_key_that_seals_the_log_and_the_auditor_follows(
    desk: Desk, hsm: HsmProcess, tmp_path: Path
) -> None:
    heads = tmp_path / "heads.txt"  # what the auditor keeps elsewhere
    heads.write_text(desk.do("auditor", "log-head"))
    kept = dict(part.split("=") for part in heads.read_text().split())
    waiting = desk.begin("Lan", "rotate-log-key", "--compromised-after", kept["lines"])
    assert waiting.stdout is not None
    told = waiting.stdout.readline().split()[-1]
    assert desk.do("Minh", "approve", told) == f"rotate_log_key\t{kept['lines']}\n2 of 2 persons\n"
    assert waiting.wait(10) == 0
    *_, said, head = waiting.stdout.read().splitlines()
    waiting.stdout.close()
    assert said == "a new key seals the log; keep this line elsewhere:"
    hsm.stop()
    verify = ("verify-log", "--log", str(tmp_path / "store.log"), "--seal-key", kept["seal-key"], "--heads", str(heads))
    doubted = desk.run(*verify)
    assert (doubted.returncode, f"log-doubted: line {int(kept['lines']) + 1}" in doubted.stderr) == (1, True)
    heads.write_text(heads.read_text() + head + "\n")
    good = desk.run(*verify)
    assert good.returncode == 0, good.stderr
    assert f"the old one was in other hands after line {kept['lines']}" in good.stdout
    assert "2 heads kept elsewhere fit" in good.stdout


def wait_for(path: Path) -> None:
    ends_s = time.monotonic() + 10
    while not path.exists() and time.monotonic() < ends_s:
        time.sleep(0.01)
    assert path.exists()


def test_two_officers_enter_a_key_encryption_key_each_a_component(
    desk: Desk, hsm: HsmProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = bytes(range(32)), bytes(range(100, 132))  # made up, for tests alone
    files = {}
    for name, value in (("Lan", first), ("Minh", second)):
        files[name] = tmp_path / f"{name}.component"
        files[name].write_text(value.hex() + "\n")

    def enter(name: str, number: int, *words: str) -> tuple[int, str]:
        asked = ["load-component", "kek-1", "--number", str(number), "--of", "2", *words]
        code = main(["--lang", "en", *desk.officer(name, *asked, "--component-file", str(files[name]))])
        told = capsys.readouterr()
        return code, told.out + told.err

    code, told = enter("Lan", 1, "--kcv", "000000")
    assert (code, "wrong-key" in told, "nothing was sent" in told) == (1, True, True)
    kcv = key_check_value(first).hex().upper()
    assert enter("Lan", 1, "--kcv", kcv) == (0, f"component 1/2 taken, check value {kcv}; 1 of 2 are there\n")
    code, told = enter("Lan", 2)
    assert (code, "each person enters one" in told) == (1, True)
    code, told = enter("Minh", 2)
    whole = key_check_value(bytes(a ^ b for a, b in zip(first, second, strict=True)))
    assert (code, told.splitlines()[1]) == (
        0,
        f"all components are there: key kek-1 is made, check value {whole.hex().upper()}",
    )
    assert f"kek-1\taes-256\twrap\t-\tactive\t0\tkcv={whole.hex()}" in desk.do("Lan", "keys")
