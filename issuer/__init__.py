"""The centre: accounts, registry, cards, trust, access, audit."""
