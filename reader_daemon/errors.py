"""What a door says when it cannot go on. A refused card is no error: it is an answer (`decide`)."""


class DoorError(Exception):
    """The base. `code` names the text in `messages`; `facts` fill it in."""

    def __init__(self, code: str, **facts: object) -> None:
        super().__init__(code, facts)
        self.code = code
        self.facts = facts

    def __str__(self) -> str:
        return " ".join([self.code, *(f"{name}={value}" for name, value in self.facts.items())])


class ConfigError(DoorError):
    """The configuration misses something or contradicts itself; the process ends with 2."""


class NotEnrolled(DoorError):
    """No enrolment, or one that cannot be read: this door has no roots and no owner to trust."""


class EnrolmentRefused(DoorError):
    """The centre said no, or its answer is not what the technician was told to expect."""


class StorageDamaged(DoorError):
    """The database is not what this program wrote. What is wrong is in the facts."""


class NotDurable(DoorError):
    """Something could not be put on disk; if it was a tap's event, the lock must not move."""


class LogBroken(DoorError):
    """The door's log was edited, shortened or forked. The facts name the record."""


class FeedError(DoorError):
    """The centre cannot be reached, or does not speak as agreed. The door goes on with what it has."""


class ZoneMissing(DoorError):
    """The bundle names a time zone this machine has no rules for; without it no calendar can be read."""
