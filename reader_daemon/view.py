"""What a tap decides with: taken once, unchanged while it decides, whatever the feed does meanwhile."""

from dataclasses import dataclass

from cardlink.statements.status_state import StatusState
from cardlink.statements.trust import Trust
from reader_daemon.reasons import DoorReason
from reader_daemon.rules import Rules


@dataclass(frozen=True, slots=True)
class View:
    """All that a tap decides with, taken at once. `fresh_at_s` is on the monotonic clock; None: never."""

    trust: Trust | None = None
    status: StatusState | None = None
    status_expires_s: int = 0
    no_status: DoorReason = DoorReason.NO_STATUS
    rules: Rules | None = None
    no_rules: DoorReason = DoorReason.NO_BUNDLE
    fresh_at_s: float | None = None

    def numbers(self) -> tuple[int, int, int]:
        """Bundle seq, status epoch and seq, as they stand in a door record; 0 for nothing."""
        bundle = self.rules.bundle.seq if self.rules is not None else 0
        return (bundle, self.status.epoch, self.status.seq) if self.status is not None else (bundle, 0, 0)
