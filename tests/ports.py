"""Free ports for servers that a test starts, and starts again on the same port."""

import random
import socket

BELOW_EPHEMERAL = range(20_000, 32_000)
"""The kernel gives outgoing connections higher ports: none of them takes one of these while its server is down."""


def free_port() -> int:
    """A port of the loopback that nobody has; by lot, for another process may be looking for one at this moment."""
    while True:
        port = random.choice(BELOW_EPHEMERAL)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
