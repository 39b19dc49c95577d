"""The peer of the card benchmark: the card emulator of Debian's vsmartcard-vpicc, called in process, timing itself.

Runs in .venv-foreign, driven line by line: each `turn N` on stdin asks every command N times and answers one JSON line
with the seconds of one call of each. The emulator is taken as it is shipped, quiet as without -v. Its card has one
application, a PIN and a short file; data objects it has none, since its version 3.3 cannot pack a TLV under Python 3.
Arguments: the directory that holds the package `virtualsmartcard`; then NAME=HEX, the commands.
"""

import json
import logging
import sys
from time import perf_counter
from typing import Any

AID = bytes.fromhex("A000000308000010000100")
PIN = b"123456\xff\xff"
FILE_ID, SHORT_FILE_ID, FILE_BYTES = 0x0101, 1, 20


def make_card() -> Any:
    """Its ISO 7816 card, built as its own generator does."""
    from virtualsmartcard.ConstantDefinitions import FDB
    from virtualsmartcard.SmartcardFilesystem import DF, MF, TransparentStructureEF
    from virtualsmartcard.SmartcardSAM import SAM
    from virtualsmartcard.VirtualSmartcard import Iso7816OS

    sam, root = SAM(PIN, b"1234567890"), MF(filedescriptor=FDB["DF"])
    sam.set_MF(root)
    application = DF(parent=root, fid=0x1001, dfname=AID)
    file = TransparentStructureEF(
        parent=application,
        fid=FILE_ID,
        shortfid=SHORT_FILE_ID,
        filedescriptor=FDB["EFSTRUCTURE_TRANSPARENT"],
        data=bytes(FILE_BYTES),
    )
    application.append(file)
    root.append(application)
    return Iso7816OS(root, sam)


def main() -> None:
    logging.basicConfig(level=logging.CRITICAL)
    sys.path.insert(0, sys.argv[1])
    commands = {name: bytes.fromhex(text) for name, _, text in (word.partition("=") for word in sys.argv[2:])}
    card = make_card()
    for name, apdu in commands.items():
        answer = card.execute(apdu)
        if not answer.endswith(b"\x90\x00"):
            raise RuntimeError(f"{name}: {answer.hex()}")
    print("ready", flush=True)
    for line in sys.stdin:
        calls = int(line.split()[1])
        spent_s = {}
        for name, apdu in commands.items():
            started_s = perf_counter()
            for _ in range(calls):
                card.execute(apdu)
            spent_s[name] = (perf_counter() - started_s) / calls
        print(json.dumps(spent_s), flush=True)


if __name__ == "__main__":
    main()
