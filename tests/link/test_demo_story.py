"""The demo as a user runs it: the whole story, once over the real pcscd with a torn card, once in this process."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def run_demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "demo", "--once", "--folder", str(folder), *options],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
def test_the_story_comes_out_over_pcscd_with_a_card_pulled_at_exchange_60(tmp_path: Path) -> None:
    done = run_demo(tmp_path, "--tear", "60")
    assert done.returncode == 0, done.stdout + done.stderr
    for told in (
        "pcscd thật",
        "ở lượt trao đổi 60",
        "ghi tiếp và xong",
        "CHO VÀO",
        "[bad-signature]",
        "[unknown-signer]",
        "dù người này được phép vào",
        "[malformed-credential]",
        "[forged-statement]",
    ):
        assert told in " ".join(done.stdout.split())
    assert "[suspended]" in done.stdout
    assert "[revoked]" in done.stdout


@pytest.mark.slow
def test_the_story_comes_out_in_this_process_and_leaves_no_key_in_the_clear(tmp_path: Path) -> None:
    done = run_demo(tmp_path, "--in-process", "--lang", "en")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "using the in-process carrier, all else is the same" in done.stdout
    assert "the card is suspended [suspended]" in done.stdout
    # The HSM's store is sealed: no private key in PKCS #8, no label, no PIN can be found in it.
    store = (tmp_path / "data" / "hsm.store").read_bytes()
    marks = (b"PRIVATE KEY", bytes.fromhex("06072a8648ce3d0201"), b"card-master", b"pins")
    assert [mark for mark in marks if mark in store] == []
