"""A door in a process of its own, to be killed: `python door_process.py DIRECTORY MODE`.

`at-unlock` kills itself with SIGKILL at the moment the lock would move: after the event, before the lock.
`at-commit` does so when the event is about to be committed. `until-killed` taps on and on, a line for each unlock.
"""

import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

from door_world import World

from reader_daemon.door import FileLock


class Killing(FileLock):
    """A lock at which the power goes."""

    def unlock(self, open_ms: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Telling(FileLock):
    """A lock that says when it has opened."""

    def unlock(self, open_ms: int) -> None:
        super().unlock(open_ms)
        os.write(1, b"unlocked\n")


class Dying:
    """A database connection whose commit never comes back: the power goes right before it."""

    def __init__(self, below: sqlite3.Connection) -> None:
        self._below = below

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql == "COMMIT":
            os.kill(os.getpid(), signal.SIGKILL)
        return self._below.execute(sql, *values)


def main() -> None:
    directory, mode = Path(sys.argv[1]), sys.argv[2]
    world = World()
    card = world.issue()
    lock = (Killing if mode == "at-unlock" else Telling)(directory / "lock.json")
    door = world.ready_door(directory / "door", world.everybody(card), lock=lock)
    if mode == "at-commit":
        setattr(door.daemon.database, "_connection", Dying(door.daemon.database._connection))  # noqa: B010 it stands in
    os.write(1, b"ready\n")
    while True:
        door.loop.tap(card.connect())


if __name__ == "__main__":
    main()
