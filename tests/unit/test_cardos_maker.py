"""The maker's sealed file: made once, the same for everybody, silent without its secret."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cardos.errors import Failed, ImageDamaged, WrongSecret
from cardos.maker_file import FILE_NAME, open_maker
from cardos.sealing import secret_path

NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
LATER = datetime(2027, 1, 1, tzinfo=UTC)


def test_the_first_card_makes_the_maker_and_later_ones_find_it(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    maker = open_maker(path, NOW)
    assert maker.since == datetime(2026, 3, 4, tzinfo=UTC)
    assert open_maker(path, LATER) == maker
    assert open_maker(tmp_path / "other", NOW).seed != maker.seed
    for one in (path, secret_path(path)):
        assert one.stat().st_mode & 0o777 == 0o600
    assert maker.seed not in path.read_bytes()
    assert not list(tmp_path.glob("*.new"))


def test_a_maker_half_made_is_made_whole(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    secret_path(path).touch()
    (tmp_path / (FILE_NAME + ".new")).write_bytes(b"torn")
    assert open_maker(path, NOW) == open_maker(path, LATER)


def test_two_processes_that_begin_together_have_one_maker(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    script = (
        "import sys, pathlib, datetime; from cardos.maker_file import open_maker; "
        "print(open_maker(pathlib.Path(sys.argv[1]), datetime.datetime.now(datetime.UTC)).seed.hex())"
    )
    argv = [sys.executable, "-c", script, str(path)]
    started = [subprocess.Popen(argv, stdout=subprocess.PIPE) for _ in range(3)]
    assert len({process.communicate(timeout=60)[0] for process in started}) == 1
    assert all(process.returncode == 0 for process in started)


def test_the_file_opens_with_its_secret_alone_and_only_whole(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    open_maker(path, NOW)
    raw, secret = path.read_bytes(), secret_path(path).read_text()
    secret_path(path).write_text("00" * 32)
    with pytest.raises(WrongSecret):
        open_maker(path, NOW)
    secret_path(path).write_text("00")
    with pytest.raises(Failed, match="secret of 1 bytes"):
        open_maker(path, NOW)
    secret_path(path).write_text(secret)
    for at in (15, len(raw) // 2, len(raw) - 1):
        path.write_bytes(raw[:at] + bytes((raw[at] ^ 1,)) + raw[at + 1 :])
        with pytest.raises(WrongSecret):
            open_maker(path, NOW)
    for cut in (raw[:30], raw[:-1]):
        path.write_bytes(cut)
        with pytest.raises(WrongSecret):
            open_maker(path, NOW)
    for other in (b"", b"THEMO-CARD", raw[:20]):
        path.write_bytes(other)
        with pytest.raises(ImageDamaged, match="no card maker's file"):
            open_maker(path, NOW)
    path.write_bytes(raw[:11] + b"\0\2" + raw[13:])
    with pytest.raises(ImageDamaged, match="version 2"):
        open_maker(path, NOW)
    path.write_bytes(raw)
    assert open_maker(path, NOW).since.year == 2026
