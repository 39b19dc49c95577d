"""Every table of the centre in one place: importing this fills `Base.metadata` for migrations and tests."""

from issuer import outbox
from issuer.database import Base

TABLE_MODULES = (outbox,)
"""Named so that each import is a use; each part adds the module that holds its tables."""

metadata = Base.metadata
