"""A software HSM in a process of its own: keys by handle, never by value."""
