"""The connection to a card and its carriers."""
