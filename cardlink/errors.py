"""The three errors that cardlink raises; it raises nothing else.

One part has errors of its own, because it is no edge but an inside: `cardlink.gp.host_channel`, which runs in an HSM.
"""

from enum import IntEnum


class Malformed(Exception):
    """The bytes break the standard. `what` names the thing being read, `why` the rule it broke."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(what, why)
        self.what = what
        self.why = why

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


class CardStatus(Exception):
    """The card said no: `command` is the command's name, `sw` its status word (an `SW` where the value has a name).

    The host raises it for any answer but 9000. On the card, handlers raise it and one place turns it into SW1 SW2.
    """

    def __init__(self, command: str, sw: int) -> None:
        super().__init__(command, sw)
        self.command = command
        self.sw = sw

    def __str__(self) -> str:
        name = f" {self.sw.name.lower().replace('_', ' ')}" if isinstance(self.sw, IntEnum) else ""
        return f"{self.command}: {int(self.sw):04X}{name}"


class LinkLost(Exception):
    """The reader or the card is gone, mute or taken: nothing more can be said to it over this connection."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return self.why
