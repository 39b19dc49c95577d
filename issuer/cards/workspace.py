"""What the steps of one job work with: its facts, its journal, its channel, what it has prepared."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy.orm import Session

from cardlink.piv.tables import KeyRef
from issuer import database
from issuer.cards import journal
from issuer.cards.journal import Journal
from issuer.cards.makers import NOBODY, Makers
from issuer.cards.plan import Act, Plan
from issuer.cards.talk import CARD, TRANSPORT, Channel
from issuer.database import SessionFactory
from issuer.policy import Actor
from issuer.trust.port import Hsm

T = TypeVar("T")
RANDOM_BYTES = 256
"""Drawn at once: about what the challenges of one job take."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What does not change during a job."""

    card_id: uuid.UUID
    card_uuid: uuid.UUID
    person_id: uuid.UUID
    serial: str
    transport_label: str
    master_label: str


def for_personalisation(
    factory: SessionFactory,
    hsm: Hsm,
    actor: Actor,
    subject: Subject,
    plan: Plan,
    token: bytes,
    clock: Callable[[], datetime],
    makers: Makers = NOBODY,
) -> "Workspace":
    """The things of a job that makes a card: it bears the card's name."""
    labels = {TRANSPORT: subject.transport_label, CARD: subject.master_label}
    channel = Channel(hsm, str(subject.card_id), subject.serial, plan.profile, labels)
    own_journal = Journal(factory, subject.card_id, token, plan, clock)
    return Workspace(factory, hsm, actor, subject, plan, own_journal, channel, clock, makers)


class Workspace:
    """One job's things, in the hand of one station."""

    def __init__(
        self,
        factory: SessionFactory,
        hsm: Hsm,
        actor: Actor,
        subject: Subject,
        plan: Plan,
        own_journal: Journal,
        channel: Channel,
        clock: Callable[[], datetime],
        makers: Makers = NOBODY,
    ) -> None:
        self.factory = factory
        self.hsm = hsm
        self.actor = actor
        self.subject = subject
        self.plan = plan
        self.clock = clock
        self.makers = makers
        self.journal = own_journal
        self.journal.load()
        self.channel = channel
        self._contents: Mapping[int, bytes] | None = None
        self._random = b""

    def read(self, build: Callable[[Session], T]) -> T:
        """Read from the register in a transaction of its own."""
        with database.reading(self.factory) as session:
            return build(session)

    def random(self, size: int) -> bytes:
        """Random bytes of the HSM, each given once."""
        if len(self._random) < size:
            self._random = self.hsm.random(max(size, RANDOM_BYTES))
        taken, self._random = self._random[:size], self._random[size:]
        return taken

    def points(self) -> dict[KeyRef, bytes]:
        """The public points of the keys made on the card, as its protected answers told them."""
        points: dict[KeyRef, bytes] = {}
        for step in self.plan.steps:
            entry = self.journal.entry(step.name)
            if step.slot is not None and entry is not None:
                points[step.slot.ref] = bytes.fromhex(entry.facts["point"])
        return points

    def messaging_point(self) -> bytes | None:
        """The public point of the secure messaging key, where the product has one."""
        entry = self.journal.entry(Act.MESSAGING_KEY)
        return bytes.fromhex(entry.facts["point"]) if entry is not None else None

    def contents(self) -> Mapping[int, bytes]:
        """The prepared objects, read once."""
        if self._contents is None:
            job, book = self.journal.job, self.journal.book
            self._contents = self.read(lambda session: journal.objects_of(session, job, book))
        return self._contents

    def keep_contents(self, contents: Mapping[int, bytes]) -> None:
        """Remember the objects that were just prepared and stored."""
        self._contents = contents
