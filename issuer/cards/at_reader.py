"""A job carried over a reader of this machine, from its start to its end."""

from collections.abc import Callable

from cardlink.transport.pcsc import Reader, find_reader
from issuer.cards.personalise import Job
from issuer.cards.run import Progress, Report, run


def run_at(reader: str, start: Callable[[], Job], on_progress: Callable[[Progress], None]) -> Report:
    """Find the reader and the card in it, and only then take the job and carry it. Raises LinkLost."""
    with Reader(find_reader(reader)) as opened, opened.connect() as connection, connection.transaction():
        return run(connection, start(), on_progress)
