"""Run a personalisation over a connection in this process: what the CLI, the demo and the tests do."""

from collections.abc import Callable
from dataclasses import dataclass

from cardlink.errors import LinkLost
from cardlink.transport.connection import Connection
from issuer.cards.personalise import Job, Outcome, Send, next_command
from issuer.cards.plan import Act
from issuer.station.carry import Tally, carry


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands: the step, its number, how many there are, and what passed so far."""

    step: str
    act: Act
    number: int
    steps: int
    tally: Tally


@dataclass(frozen=True, slots=True)
class Report:
    """How a run ended, and what it took."""

    outcome: Outcome
    tally: Tally


def run(connection: Connection, job: Job, on_progress: Callable[[Progress], None]) -> Report:
    """Carry a job to its end. Raises LinkLost when the card goes; the job can then be started again."""
    outcome: list[Outcome] = []

    def ask(answer: bytes | None) -> bytes | None:
        following = next_command(job, answer)
        if isinstance(following, Send):
            return following.apdu
        outcome.append(following)
        return None

    def tell(tally: Tally) -> None:
        on_progress(Progress(job.step, job.plan.act(job.step), job.plan.number(job.step), len(job.plan.steps), tally))

    try:
        tally = carry(connection, ask, tell)
    except LinkLost:
        job.abandon()
        raise
    return Report(outcome[0], tally)
