"""The trial restore of a backup: it compares what the secrets give, and finds what is not as it was."""

from dataclasses import replace
from pathlib import Path

import pytest

from hsm_sim import backup
from hsm_sim.errors import BadRequest, StoreSealed
from hsm_sim.keys import Key, KeyState, Kind, Use, make_key
from hsm_sim.store import State

CARD = make_key("card", Kind.EC_P256, Use.CARD, ("H49",), 1, bytes(31) + b"\1")  # made up, for tests alone
MASTER = make_key("master", Kind.AES_256, Use.CARD_MASTER, (), 1, bytes(32))
AUDIT = make_key("audit", Kind.ED25519, Use.AUDIT, (), 1, bytes(32))
OLD = make_key("old", Kind.EC_P256, Use.CARD, (), 1, bytes(31) + b"\2").in_state(KeyState.COMPROMISED)
STATE = State(keys={key.info.label: key for key in (CARD, MASTER, AUDIT, OLD.in_state(KeyState.DESTROYED))})


class Copy:
    """A backup of a state, and its shares."""

    def __init__(self, folder: Path, state: State = STATE) -> None:
        wrap_key, shares = backup.new_shares(2, 3)
        self.path, self.scratch, self.words = folder / "backup", folder / "trial", list(shares.words)
        backup.write(state, wrap_key, self.path)

    def trial(self, words: list[str] | None = None) -> int:
        return backup.trial(self.path, words or self.words, 2, self.scratch, backup.check_values(STATE))


def test_a_good_backup_gives_every_check_value_and_leaves_no_scratch_store(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    copy.scratch.write_bytes(b"left by a trial that was torn")
    assert copy.trial() == 4
    assert [path.name for path in tmp_path.iterdir()] == ["backup"]


def test_a_check_value_is_worked_out_from_the_secret(tmp_path: Path) -> None:
    swapped = Key(CARD.info, bytes(31) + b"\3")  # says that it is the same key
    with pytest.raises(StoreSealed, match="trial restore: card "):
        Copy(tmp_path, replace(STATE, keys={**STATE.keys, "card": swapped})).trial()
    assert not (tmp_path / "trial").exists()


@pytest.mark.parametrize("label", ["master", "more"])
def test_a_missing_key_and_one_too_many_are_named(tmp_path: Path, label: str) -> None:
    keys = {name: key for name, key in STATE.keys.items() if name != label}
    if label == "more":
        keys[label] = make_key(label, Kind.AES_256, Use.CARD_MASTER, (), 1, bytes(32))
    with pytest.raises(StoreSealed, match=f"trial restore: {label} "):
        Copy(tmp_path, State(keys=keys)).trial()


def test_every_share_is_tried(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    (tmp_path / "other").mkdir()
    other = Copy(tmp_path / "other")
    for at in range(3):
        with pytest.raises(BadRequest, match="give no secret"):
            copy.trial([other.words[at] if number == at else share for number, share in enumerate(copy.words)])
    with pytest.raises(StoreSealed, match="wrong secret"):
        copy.trial(other.words)
