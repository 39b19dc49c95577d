"""The SCP03 sessions of tests/vectors/gp: published ones, and those of the second computation."""

import json
from pathlib import Path
from typing import Any

from cardlink.gp.scp03 import StaticKeys

FOLDER = Path(__file__).parents[1] / "vectors" / "gp"
PUBLISHED: list[dict[str, Any]] = json.loads((FOLDER / "scp03.json").read_text())["sessions"]
COMPUTED: list[dict[str, Any]] = json.loads((FOLDER / "scp03_computed.json").read_text())["sessions"]
SESSIONS = [*PUBLISHED, *COMPUTED]
NAMES = [one["name"] for one in SESSIONS]


def keys_of(session: dict[str, Any]) -> StaticKeys:
    """The static keys of a session."""
    return StaticKeys(**{name: bytes.fromhex(value) for name, value in session["keys"].items()})
