"""Every table of the centre in one place: importing this fills `Base.metadata` for migrations and tests."""

from issuer import outbox
from issuer.access import tables as access
from issuer.accounts import tables as accounts
from issuer.audit import tables as audit
from issuer.cards import tables as cards
from issuer.database import Base
from issuer.registry import tables as registry
from issuer.trust import revocation_tables as revocation
from issuer.trust import status_tables as status
from issuer.trust import tables as trust

TABLE_MODULES = (access, accounts, audit, cards, outbox, registry, revocation, status, trust)
"""Named so that each import is a use; each part adds the module that holds its tables."""

metadata = Base.metadata
