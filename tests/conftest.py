"""How workers share the tests, and what tests over real parts share: a pcscd with the virtual reader in each worker."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from demo.pcscd import VirtualReader, virtual_reader

TOGETHER = ("tests/browser/",)
"""Folders whose tests share an installation and a browser: one worker has them all."""


class Shares(LoadFileScheduling):
    """A file, or a folder of TOGETHER, goes to whichever worker is done first."""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in TOGETHER if nodeid.startswith(folder)), super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    """Share by files, for a file's tests share what is started for them."""
    return Shares(config, log)


@pytest.fixture(scope="session")
def virtual() -> Iterator[VirtualReader]:
    """A pcscd of this worker's own. Clients in this process find it too, since libpcsclite reads the variable late."""
    with virtual_reader() as reader:
        before = os.environ.get("PCSCLITE_CSOCK_NAME")
        os.environ["PCSCLITE_CSOCK_NAME"] = str(reader.socket)
        yield reader
        if before is None:
            del os.environ["PCSCLITE_CSOCK_NAME"]
        else:
            os.environ["PCSCLITE_CSOCK_NAME"] = before


def pytest_configure() -> None:
    """An example of hypothesis that takes for ever fails; one that waits for a processor does not."""
    settings.register_profile("suite", deadline=10_000, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("suite")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the soak out, unless it is asked for by its name."""
    if "soak" in config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("soak")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
