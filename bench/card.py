"""`./run bench card`: the card beside one that answers at once, beside its cryptography, beside another emulator.

Contenders take turns, and each figure is a median.
"""

import os
import tempfile
from pathlib import Path

from bench.card_fleet import of_fleet
from bench.card_messaging import secure_messaging
from bench.card_pcscd import through_pcscd
from bench.card_process import in_process
from bench.card_vicc import NoPeer, beside_vicc
from bench.report import publish
from bench.sample_card import write_image
from bench.slots import open_slots
from demo.pcscd import NoVirtualReader
from demo.supervisor import Supervisor


def run() -> bool:
    """Measure everything and publish it; True when every goal was met."""
    rows = [*in_process(), *secure_messaging(), *of_fleet()]
    try:
        rows += beside_vicc()
    except NoPeer as missing:
        print(f"bench: {missing}: nothing was measured beside it")
    with tempfile.TemporaryDirectory(prefix="themo-bench-") as name:
        folder = Path(name)
        environ = {"PATH": os.environ.get("PATH", "")}
        try:
            with Supervisor(folder / "logs", {}, environ) as supervisor, open_slots(supervisor) as slots:
                rows += through_pcscd(slots, write_image(folder))
        except NoVirtualReader as missing:
            print(f"bench: {missing}: nothing was measured through pcscd")
    return publish("card", rows)
