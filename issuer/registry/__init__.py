"""Agencies, positions and people: one lifelong record per person."""
