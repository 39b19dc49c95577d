"""How the HSM's life before this one ended, as its log shows: stopped, killed, or with the power.

What stands in the log survives the process. A power cut takes what was not flushed: at most the last 10 ms. Both leave
a log that does not end with a stop; where its last line is older than the machine's start, the power was gone.
"""

import json
import os
import time
from enum import StrEnum
from pathlib import Path

TAIL_BYTES = 8192
"""More than the last line and a seal after it."""


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
    with path.open("rb") as file:
        file.seek(max(0, size_bytes - TAIL_BYTES), os.SEEK_SET)
        tail = file.read(min(size_bytes, TAIL_BYTES))
    lines = [json.loads(line.rpartition(b"\t")[0]) for line in tail.splitlines()[-2:] if line.startswith(b"{")]
    last = lines[-1]
    is_stopped = any(line["e"][2:4] == ["stop", "ok"] for line in lines) and last["e"][2] in ("stop", "seal")
    if is_stopped and not is_torn:
        return Ending.STOPPED
    return Ending.POWER if last["t"] < machine_start_ms else Ending.KILLED
