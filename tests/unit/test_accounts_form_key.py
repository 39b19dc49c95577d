"""The key of the console's forms: made whole or not at all, the same for who comes second, private."""

import stat
import threading
from pathlib import Path

import pytest

from issuer.accounts.form_key import FILE, KEY_BYTES, form_key
from issuer.errors import ConfigError


def test_it_is_made_once_for_this_user_alone(tmp_path: Path) -> None:
    key = form_key(tmp_path)
    assert len(key) == KEY_BYTES
    assert form_key(tmp_path) == key
    assert [stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()] == [0o600]


def test_two_who_make_it_at_once_get_the_same(tmp_path: Path) -> None:
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(form_key(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.parametrize("held", [b"", b"half a key"])
def test_a_file_that_holds_less_than_a_key_is_no_key(tmp_path: Path, held: bytes) -> None:
    (tmp_path / FILE).write_bytes(held)
    with pytest.raises(ConfigError, match="secret_unreadable"):
        form_key(tmp_path)
