"""The door: authenticates, decides, unlocks, logs, also without a network."""
