"""Runs ykman many times. Runs in .venv-foreign: one command line in JSON on each line of stdin, its outcome on stdout.

Importing ykman takes ten times as long as what it then does, so it is imported once. Each command line gets a process
of its own, forked before anything was connected, and runs ykman's own `main`.
"""

import json
import os
import sys
import tempfile
from typing import Any

import ykman._cli.__main__ as program


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Run one command line to its end."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained, tempfile.TemporaryFile() as given:
        given.write(request["stdin"].encode())
        given.seek(0)
        child = os.fork()
        if not child:
            for number, stream in enumerate((given, said, complained)):
                os.dup2(stream.fileno(), number)
            os.environ.update(request["environ"])
            sys.argv = ["ykman", *request["arguments"]]
            code = 1
            try:
                program.main()
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        complained.seek(0)
        return {
            "code": os.waitstatus_to_exitcode(status),
            "stdout": said.read().decode("utf-8", "surrogateescape"),
            "stderr": complained.read().decode("utf-8", "surrogateescape"),
        }


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
