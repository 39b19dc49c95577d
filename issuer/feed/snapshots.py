"""Snapshots as plain files, `<data_dir>/snapshots/<n>.cwt`, replaced as a whole: any web server can carry them."""

import logging
import os
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cardlink.errors import Malformed
from cardlink.statements.status import read_snapshot
from issuer.feed.signing import FeedSigner
from issuer.feed.source import Source
from issuer.trust.status import SNAPSHOT_LIFE, Position

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/statuslist+cwt"
REST_S = 2.0
"""A list that changes is built again at most this often; doors read the events since by number."""
REST_RATIO = 20
"""And at most a twentieth of the time goes into building it."""
RENEW_AT_AGE = SNAPSHOT_LIFE / 2


@dataclass(slots=True)
class _Built:
    position: Position
    issued: datetime
    rest_until_s: float
    kid: bytes


@dataclass(slots=True)
class Snapshots:
    """The files, and when each has to be made again. `refresh` blocks and runs in a worker thread."""

    directory: Path
    source: Source
    signer: FeedSigner
    built: dict[int, _Built] = field(default_factory=dict)

    def path(self, list_n: int) -> Path:
        """Where a list's snapshot lies."""
        return self.directory / f"{list_n}.cwt"

    def load(self, now: datetime) -> None:
        """Take up files of an earlier run; a file that is no snapshot is made again."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for file in self.directory.glob("*.cwt"):
            try:
                received = read_snapshot(file.read_bytes())
            except Malformed as error:
                log.warning("snapshot unreadable file=%s why=%s", file, error)
                continue
            held = received.value
            issued = datetime.fromtimestamp(held.issued_s, now.tzinfo)
            self.built[held.number] = _Built(Position(held.epoch, held.seq), issued, 0.0, received.statement.kid)

    def refresh(self, position: Position, now: datetime) -> int:
        """Build what is missing, behind or old. Answers how many were built. Raises HsmError."""
        made = 0
        kid = self.signer.signer(now).kid
        for list_n in self.source.lists():
            if self._is_due(list_n, position, now, kid):
                self._build(list_n, now)
                made += 1
        return made

    def _is_due(self, list_n: int, position: Position, now: datetime, kid: bytes) -> bool:
        held = self.built.get(list_n)
        if held is None or held.kid != kid or held.position.epoch != position.epoch or now - held.issued > RENEW_AT_AGE:
            return True
        # Clocks go back: a snapshot from the future would never be made again.
        if held.issued > now + timedelta(minutes=5):
            return True
        return held.position != position and time.monotonic() >= held.rest_until_s

    def _build(self, list_n: int, now: datetime) -> None:
        started_s = time.monotonic()
        made = self.signer.snapshot(list_n, now)
        write_whole(self.path(list_n), made.body)
        took_s = time.monotonic() - started_s
        rest_s = max(REST_S, took_s * REST_RATIO)
        self.built[list_n] = _Built(made.position, now, time.monotonic() + rest_s, made.kid)
        log.info(
            "snapshot list=%d epoch=%d seq=%d bytes=%d ms=%d", list_n, *made.position, len(made.body), took_s * 1000
        )


def write_whole(path: Path, body: bytes) -> None:
    """Replace a file by another as a whole: a reader sees the one or the other, also after a power cut."""
    staged = path.with_suffix(".new")
    with staged.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
