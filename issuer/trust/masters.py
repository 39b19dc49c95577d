"""The card master key that new cards get: the newest one; older ones stay, so that older cards can still be opened."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from cardlink.statements.trust import KeyState
from issuer.trust.tables import CardMasterRow

FIRST = "card-master-1"
USE = "card-master"


def current(session: Session) -> str:
    """The label of the master key of new cards. Without a row it is the one of the set-up."""
    query = select(CardMasterRow.label).where(CardMasterRow.state == KeyState.ACTIVE)
    return session.scalar(query.order_by(CardMasterRow.since.desc()).limit(1)) or FIRST


def put(session: Session, label: str, now: datetime) -> str:
    """Let new cards get this key from now on. Answers the label of the one before."""
    before = current(session)
    held = session.get(CardMasterRow, before)
    if held is None:
        session.add(CardMasterRow(label=before, since=datetime.fromtimestamp(0, now.tzinfo), state=KeyState.RETIRED))
    elif held.state == KeyState.ACTIVE:
        held.state = KeyState.RETIRED
    session.add(CardMasterRow(label=label, since=now, state=KeyState.ACTIVE))
    session.flush()
    return before
