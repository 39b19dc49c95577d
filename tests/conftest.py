"""What tests over real parts share: one pcscd with the virtual reader for the whole run."""

import os
from collections.abc import Iterator

import pytest

from demo.pcscd import VirtualReader, virtual_reader


@pytest.fixture(scope="session")
def virtual() -> Iterator[VirtualReader]:
    """A pcscd of this run's own. Clients in this process find it too, since libpcsclite reads the variable late."""
    with virtual_reader() as reader:
        before = os.environ.get("PCSCLITE_CSOCK_NAME")
        os.environ["PCSCLITE_CSOCK_NAME"] = str(reader.socket)
        yield reader
        if before is None:
            del os.environ["PCSCLITE_CSOCK_NAME"]
        else:
            os.environ["PCSCLITE_CSOCK_NAME"] = before
