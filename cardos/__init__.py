"""The card's operating system, and virtual cards that run on it."""
