"""A card of ours, read by programs of others."""
