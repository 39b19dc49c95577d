"""Ten million APDUs to a card, and what else of its tests is too long for the suite: `./run soak card`.

Blocks of sequences are played by one process a core. A block is told by its number and the seed, so that a soak can be
interrupted and goes on where it was, and a failure is played again alone. What a process holds in memory must stop to
grow. Then: the model of the card for longer, coverage-guided APDUs, and the file of a card cut at every byte.
"""

import argparse
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fuzz_moves import STEPS, Broken, play

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SEQUENCES = 400  # of a block: 10,000 APDUs
BLOCK = SEQUENCES * STEPS
WARM_BLOCKS = 10  # until every module is loaded and every cache full
GROWTH_BYTES_MAX = 24 << 20
PROGRESS_S = 5.0
PYTEST = ("-m", "pytest", "-q")
MODELS = (
    "tests/conformance/test_conformance_machine.py",
    "tests/conformance/test_conformance_vci_machine.py",
)
PAGE_BYTES = os.sysconf("SC_PAGESIZE")


@dataclass(frozen=True, slots=True)
class Played:
    """What a process tells of a block."""

    number: int
    pid: int
    held_bytes: int
    failure: str = ""


def held_bytes() -> int:
    """What this process holds in memory now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES


def play_block(seed: int, number: int) -> Played:
    try:
        for at in range(SEQUENCES):
            play(f"{seed} {number} {at}")
    except Broken as error:
        return Played(number, os.getpid(), held_bytes(), str(error))
    return Played(number, os.getpid(), held_bytes())


def start_worker() -> None:
    # the parent alone answers Ctrl-C
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Memory:
    """Each process's size once it is warm, and whether it has grown since."""

    def __init__(self) -> None:
        self._blocks: dict[int, int] = {}
        self._warm: dict[int, int] = {}
        self.largest = 0

    def note(self, played: Played) -> str:
        """Note a block; what is wrong, or "" where nothing is."""
        self._blocks[played.pid] = self._blocks.get(played.pid, 0) + 1
        self.largest = max(self.largest, played.held_bytes)
        if self._blocks[played.pid] <= WARM_BLOCKS:
            self._warm[played.pid] = max(played.held_bytes, self._warm.get(played.pid, 0))
            return ""
        grown = played.held_bytes - self._warm[played.pid]
        return f"a process grew by {grown >> 20} MB" if grown > GROWTH_BYTES_MAX else ""


def soak_apdus(seed: int, first: int, blocks: int, jobs: int) -> bool:
    """Play these blocks; True when all held."""
    memory = Memory()
    began = said = time.monotonic()
    done = 0
    with multiprocessing.get_context("spawn").Pool(jobs, start_worker) as pool:
        waiting = [
            pool.apply_async(play_block, (seed, number)) for number in range(first, min(first + 4 * jobs, blocks))
        ]
        ahead = first + len(waiting)
        try:
            while waiting:
                played = waiting.pop(0).get()
                if ahead < blocks:
                    waiting.append(pool.apply_async(play_block, (seed, ahead)))
                    ahead += 1
                done += 1
                wrong = played.failure or memory.note(played)
                if wrong:
                    tell(f"block {played.number} of seed {seed}: {wrong}")
                    tell(f"again: ./run soak card {BLOCK} --seed {seed} --from-block {played.number}")
                    return False
                if time.monotonic() - said > PROGRESS_S or not waiting:
                    said = time.monotonic()
                    rate = done * BLOCK / (said - began)
                    left = (blocks - first - done) * BLOCK / rate
                    tell(
                        f"{done * BLOCK:,} of {(blocks - first) * BLOCK:,} APDUs, {rate:,.0f} a second, "
                        f"{memory.largest >> 20} MB a process, {left:,.0f} s left"
                    )
        except KeyboardInterrupt:
            next_block = first + done
            rest = (blocks - next_block) * BLOCK
            tell(f"interrupted; go on with: ./run soak card {rest} --seed {seed} --from-block {next_block}")
            pool.terminate()
            return False
    return True


def soak_program(name: str, *words: str) -> bool:
    """Run another part in a process of its own; True when it succeeds."""
    tell(name)
    paths = os.pathsep.join((str(ROOT), str(HERE), os.environ.get("PYTHONPATH", "")))
    environment = {**os.environ, "PYTHONPATH": paths, "THEMO_SOAK": "1"}
    return subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, check=False).returncode == 0


def soak_guided(inputs: int, seed: int) -> bool:
    """Let coverage lead, where atheris is installed."""
    if find_spec("atheris") is None:
        tell("left out: APDUs led by coverage, since atheris is not installed")
        return True
    return soak_program("APDUs led by coverage", str(HERE / "card_guided.py"), str(inputs), str(seed))


def tell(text: str) -> None:
    print(f"soak card: {text}", file=sys.stderr, flush=True)


def main(words: Sequence[str]) -> int:
    """The program; 0 when all held."""
    parser = argparse.ArgumentParser(prog="./run soak card", description=__doc__)
    parser.add_argument("apdus", nargs="?", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--from-block", type=int, default=0, metavar="N", help="go on at this block")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--guided-inputs", type=int, default=200_000, help="inputs that coverage leads")
    parser.add_argument("--only-apdus", action="store_true", help="leave the other parts out")
    options = parser.parse_args(words)
    blocks = options.from_block + max(1, -(-options.apdus // BLOCK))
    if not soak_apdus(options.seed, options.from_block, blocks, options.jobs):
        return 1
    if options.only_apdus:
        return 0
    held = [
        soak_guided(options.guided_inputs, options.seed),
        soak_program("the models of the card", *PYTEST, *MODELS),
        soak_program("power cut at every byte", *PYTEST, "-m", "soak", "tests/unit/test_card_tear.py"),
    ]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
