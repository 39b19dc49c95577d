"""Puts a card of another maker into a virtual reader: the emulator of Debian's vsmartcard-vpicc. Runs in .venv-foreign.

Of its cards one works under Python 3: a card after ISO/IEC 7816-4 with files, and no application to select by a name
(its answer to that cannot be packed). Arguments: the directory with the package `virtualsmartcard`, the slot's port.
"""

import logging
import sys


def main() -> None:
    where, port = sys.argv[1:]
    sys.path.insert(0, where)
    from virtualsmartcard.VirtualSmartcard import VirtualICC

    VirtualICC(None, "iso7816", "localhost", int(port), logginglevel=logging.CRITICAL).run()


if __name__ == "__main__":
    main()
