"""What somebody tried and may not do, in the audit log: the act itself was rolled back, so its refusal stands alone."""

from datetime import datetime

from issuer import database
from issuer.audit import log as audit
from issuer.database import SessionFactory
from issuer.errors import Forbidden
from issuer.policy import Actor

ACTION = "refused"


def note(factory: SessionFactory, actor: Actor, error: Forbidden, now: datetime) -> None:
    """Write down a refusal in a transaction of its own; the subject is the refusal's code."""
    facts = {name: str(value) for name, value in error.facts.items()}
    with database.transaction(factory) as session:
        audit.append(session, actor, ACTION, error.code, facts, now)
