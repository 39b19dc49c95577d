"""What a door tells on its standard output: whole lines, though its log may go to the same file."""

import os
import subprocess
import sys

SAYS = """
import sys, threading
from reader_daemon.__main__ import tell

def log():
    for _ in range(3000):
        sys.stderr.write("a line of the log\\n")

other = threading.Thread(target=log)
other.start()
for number in range(3000):
    tell('{"event": "tap", "number": %d}' % number)
other.join()
"""


def test_a_log_to_the_same_file_never_comes_between_a_line_and_its_end() -> None:
    told = subprocess.run(
        [sys.executable, "-u", "-c", SAYS], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True, env=os.environ
    ).stdout.decode()
    lines = told.splitlines()
    assert [one for one in lines if one.startswith("{")] == [
        f'{{"event": "tap", "number": {number}}}' for number in range(3000)
    ]
    assert lines.count("a line of the log") == 3000
    assert len(lines) == 6000
