"""`hsm-sim serve` that sends itself SIGKILL after the given write from the line of the log on that names an operation.

python mortal_hsm.py OPERATION WRITE serve --socket ...
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from hsm_sim.__main__ import main
from hsm_sim.log_file import LogFile


def let_die(op: str, at: int) -> None:
    """Count the writes to files once the log has named the operation; the write of that line is the first."""
    mark = f',"{op}","do","'.encode()
    count, counted = 0, 0

    def dying(real: Callable[..., Any], puts_lines: bool = False) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            nonlocal count, counted
            done = real(*args)
            caller = threading.get_ident()  # what the log's flusher does meanwhile is not counted
            if caller == counted or (puts_lines and not counted and mark in args[1]):
                counted, count = caller, count + 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return call

    for name in ("write", "pwrite", "fsync", "fdatasync"):
        setattr(os, name, dying(getattr(os, name)))
    LogFile.put = dying(LogFile.put, puts_lines=True)  # type: ignore[method-assign]


if __name__ == "__main__":
    let_die(sys.argv[1], int(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
