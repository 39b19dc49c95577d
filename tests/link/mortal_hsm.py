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


def let_die(op: str, at: int) -> None:
    """Count the writes to files once the log has named the operation; the write of that line is the first."""
    mark = f',"{op}","do","'.encode()
    count, counted = 0, 0

    def dying(real: Callable[..., Any], is_write: bool) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            nonlocal count, counted
            done = real(*args)
            caller = threading.get_ident()  # what the log's flusher does meanwhile is not counted
            if caller == counted or (is_write and not counted and mark in args[1]):
                counted, count = caller, count + 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return call

    os.write, os.pwrite, os.fsync = dying(os.write, True), dying(os.pwrite, False), dying(os.fsync, False)


if __name__ == "__main__":
    let_die(sys.argv[1], int(sys.argv[2]))
    sys.exit(main(sys.argv[3:]))
