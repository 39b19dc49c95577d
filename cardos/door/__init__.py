"""The door application."""
