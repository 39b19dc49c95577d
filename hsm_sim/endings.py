"""How the HSM's life before this one ended, as its log shows: stopped, killed, or with the power.

What stands in the log survives the process. A power cut takes what was not flushed: at most the last 10 ms. Both leave
a log that does not end with a stop; where its last line is older than the machine's start, the power was gone.
"""

import json
import os
import time
from enum import StrEnum
from pathlib import Path

from hsm_sim.errors import LogBroken

TAIL_BYTES = 8192
"""How much is read first: as a rule more than the last line and a seal after it."""


class Ending(StrEnum):
    """How a life ended."""

    NONE = "none"  # there was none
    STOPPED = "stopped"
    KILLED = "killed"  # nothing is missing
    POWER = "power"  # up to 10 ms of lines may be missing


def booted_ms() -> int:
    """When this machine started, by its clock of now (UTC milliseconds)."""
    return time.time_ns() // 1_000_000 - int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1000)


def last_ending(path: Path, size_bytes: int, machine_start_ms: int, *, is_torn: bool = False) -> Ending:
    """Look at the end of the whole lines of a log, which fit their chain. `is_torn`: half a line stood after them."""
    if not size_bytes:
        return Ending.NONE
    try:
        lines = [json.loads(line.rpartition(b"\t")[0]) for line in _last_two(path, size_bytes)]
        last, ops = lines[-1], [line["e"][2:4] for line in lines]
        is_stopped = ["stop", "ok"] in ops and ops[-1][0] in ("stop", "seal")
        is_older = last["t"] < machine_start_ms
    except (ValueError, LookupError, TypeError) as error:  # it stands before the anchor, where the chain is not read
        raise LogBroken("the last lines are none of a log") from error
    if is_stopped and not is_torn:
        return Ending.STOPPED
    return Ending.POWER if is_older else Ending.KILLED


def _last_two(path: Path, size_bytes: int) -> list[bytes]:
    """The last two whole lines, however long they are; one, where there is no other."""
    window = TAIL_BYTES
    with path.open("rb") as file:
        while True:
            begin = max(0, size_bytes - window)
            file.seek(begin, os.SEEK_SET)
            pieces = file.read(size_bytes - begin).split(b"\n")[:-1]
            if begin == 0 or len(pieces) > 2:  # the first piece may be the end of a line that begins further up
                return pieces[-2:]
            window *= 4
