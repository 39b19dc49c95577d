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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the soak out, unless it is asked for by its name."""
    if "soak" in config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("soak")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
