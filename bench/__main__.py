"""`./run bench NAME`: measure against a peer or a limit in the same run."""

import argparse
import importlib
import logging
import sys

NAMES = ("door", "personalise")


def main() -> int:
    """Run the named benchmarks; exit 1 when a goal was missed."""
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("name", choices=(*NAMES, "all"), help="which benchmark")
    chosen = parser.parse_args().name
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    met = True
    for name in NAMES if chosen == "all" else (chosen,):
        met = importlib.import_module(f"bench.{name}").run() and met
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
