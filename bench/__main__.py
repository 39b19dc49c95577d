"""`./run bench NAME`: measure against a peer or a limit in the same run."""

import argparse
import importlib
import logging
import subprocess
import sys

NAMES = ("door", "personalise", "card", "hsm", "certificates")


def main() -> int:
    """Run the named benchmarks; exit 1 when a goal was missed.

    Each of `all` runs in a process of its own: pcsc-lite looks for its daemon once a process, and each starts its own.
    """
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("name", choices=(*NAMES, "all"), help="which benchmark")
    chosen = parser.parse_args().name
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    if chosen == "all":
        return max([subprocess.run([sys.executable, "-m", "bench", name], check=False).returncode for name in NAMES])
    return 0 if importlib.import_module(f"bench.{chosen}").run() else 1


if __name__ == "__main__":
    sys.exit(main())
