"""The process that carries signed statements to the doors and takes theirs back."""
