"""Write the statement vectors, or with --check say whether the committed ones are what this program writes.

python tests/vectors/statements/make.py [--check]
"""

import json
import sys
from pathlib import Path
from typing import Any

import bundles
import cards
import feeds
import layers
import ml_dsa
import people
import records
import trusts

HERE = Path(__file__).resolve().parent
KEYS = (
    "Made by make.py. The private keys are SHA-256 of 'themo test key ' and a label (world.py): "
    "generated for these tests, public, good for nothing else."
)


def build() -> dict[str, dict[str, Any]]:
    """Every file by name."""
    files: dict[str, dict[str, Any]] = {}
    for module in (layers, cards, people, trusts, feeds, bundles, records, ml_dsa):
        files.update(module.build())
    return files


def main() -> int:
    """Write or compare."""
    stale = []
    for name, content in build().items():
        path = HERE / f"{name}.json"
        text = json.dumps({"source": content.pop("source", ""), "keys": KEYS, **content}, indent=1, ensure_ascii=False)
        if "--check" in sys.argv:
            if not path.exists() or path.read_text(encoding="utf-8") != text + "\n":
                stale.append(path.name)
        else:
            path.write_text(text + "\n", encoding="utf-8")
    for name in stale:
        print(f"{name} is not what make.py writes", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
