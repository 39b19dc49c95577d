"""The plan of a job at a card: its steps as a value, in order, each one safe to repeat."""

from dataclasses import dataclass
from enum import StrEnum

from cardlink.piv.cvc import MESSAGING_CVC
from cardlink.piv.tables import Container
from issuer.cards.profiles import CardProfile, Slot


class Act(StrEnum):
    """What a step does. PREPARE and SIGN_ANEW happen at the centre alone; the rest speaks to the card."""

    ROTATE = "rotate"
    ADMIN_KEY = "admin-key"
    PUK = "puk"
    PIN = "pin"
    MAKE_KEY = "make-key"
    MESSAGING_KEY = "messaging-key"
    ATTEST = "attest"
    PREPARE = "prepare"
    WRITE = "write"
    SECURE = "secure"
    READ_BACK = "read-back"
    # of an update (issuer/cards/update_plan.py)
    NEW_KEYS = "new-keys"
    NEW_ADMIN_KEY = "new-admin-key"
    SIGN_ANEW = "sign-anew"
    LOOK = "look"


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `name` is what the journal and the progress display call it."""

    name: str
    act: Act
    slot: Slot | None = None
    container: Container | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of one card."""

    profile: CardProfile
    steps: tuple[Step, ...]

    def number(self, name: str) -> int:
        """The place of a step, from 1."""
        return next(n for n, step in enumerate(self.steps, start=1) if step.name == name)

    def act(self, name: str) -> Act:
        """What a step does."""
        return next(step.act for step in self.steps if step.name == name)


def write_of(row: Container) -> Step:
    """The step that writes one object."""
    return Step(f"{Act.WRITE}-{row.tag:X}", Act.WRITE, container=row)


def plan_for(profile: CardProfile, *, asks_maker: bool = False) -> Plan:
    """The plan for a card product: keys before what they sign, the credential after all it stands beside.

    `asks_maker`: the chip is asked for its maker's word on the keys, also where the product does not promise it.
    """
    return Plan(
        profile,
        (
            Step(Act.ROTATE, Act.ROTATE),
            Step(Act.ADMIN_KEY, Act.ADMIN_KEY),
            Step(Act.PUK, Act.PUK),
            Step(Act.PIN, Act.PIN),
            *(Step(f"{Act.MAKE_KEY}-{slot.certificate_profile}", Act.MAKE_KEY, slot=slot) for slot in profile.slots),
            *((Step(Act.MESSAGING_KEY, Act.MESSAGING_KEY),) if profile.messaging else ()),
            *((Step(Act.ATTEST, Act.ATTEST),) if profile.is_attested or asks_maker else ()),
            Step(Act.PREPARE, Act.PREPARE),
            # the card takes a discovery object with the virtual contact interface only after this certificate
            *((write_of(MESSAGING_CVC),) if profile.messaging else ()),
            *(write_of(row) for row in profile.containers),
            Step(Act.SECURE, Act.SECURE),
            Step(Act.READ_BACK, Act.READ_BACK),
        ),
    )
