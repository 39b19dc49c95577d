"""Doors, their rules, the signed bundles made of them, and what the doors send back."""
