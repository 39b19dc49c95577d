"""The configuration of a door process."""

from pathlib import Path

import pytest

from reader_daemon.config import load
from reader_daemon.errors import ConfigError


def write(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "door.toml"
    path.write_text(content, encoding="utf-8")
    return path


def test_a_file_gives_every_setting(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        'data_dir = "/var/lib/door"\nfeed_url = "http://127.0.0.1:8441/"\nreader = "Virtual PCD 00 01"\n'
        'lock = "file"\nlock_file = "/run/lock.json"\nhead_every_records = 8\n',
    )
    config = load(path, {})
    assert config.data_dir == Path("/var/lib/door")
    assert config.feed_url == "http://127.0.0.1:8441"
    assert config.readers == ("Virtual PCD 00 01",)
    assert config.lock_file == Path("/run/lock.json")
    assert config.head_every_records == 8


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, 'data_dir = "/a"\n')
    config = load(path, {"THEMO_DOOR_DATA_DIR": "/b", "THEMO_DOOR_READERS": "A,B"})
    assert config.data_dir == Path("/b")
    assert config.readers == ("A", "B")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "config-missing"),
        ("data_dir = 1", "config-wrong"),
        ('data_dir = "/a"\ncolour = "red"', "config-unknown"),
        ('data_dir = "/a"\nlock = "magnet"', "lock-unknown"),
        ('data_dir = "/a"\nlock = "file"', "config-missing"),
        ('data_dir = "/a"\nfeed_url = "ftp://x"', "config-wrong"),
        ('data_dir = "/a"\nreaders = [1]', "config-wrong"),
        ('data_dir = "/a"\nhead_every_s = 0', "config-wrong"),
        ('data_dir = "/a"\nhead_every_s = "soon"', "config-wrong"),
        ("data_dir = ", "config-unreadable"),
    ],
)
def test_a_wrong_configuration_names_what_is_wrong(tmp_path: Path, content: str, code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, content), {})
    assert caught.value.code == code


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="config-unreadable"):
        load(tmp_path / "none.toml", {})
