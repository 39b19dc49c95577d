"""What the HSM refuses with. Each error has a code that crosses the socket; the client raises the same class again."""

from typing import Any, ClassVar

from cardlink.errors import Malformed
from cardlink.gp import host_channel
from cardlink.gp.host_channel import ChannelError


class HsmError(Exception):
    """The HSM or the way to it said no. `detail` is a fact for the log, never a secret.

    `reason` says more closely than the code what a person can do something about (`hsm_sim/reasons.py`).
    """

    code: ClassVar[str] = "error"

    def __init__(self, detail: str = "", reason: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.reason = reason

    def to_wire(self) -> list[Any]:
        """The answer that tells it."""
        return [False, self.code, self.detail, *([self.reason] if self.reason else [])]

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}" if self.detail else self.code


class Denied(HsmError):
    """Role, use, user of the system or command: the policy does not allow it."""

    code = "denied"


class NotAllocated(HsmError):
    """The role that allocates jobs has not opened this job, or does not let its PIN be told now."""

    code = "not-allocated"


class WrongPin(HsmError):
    """The PIN was wrong; `detail` says how many tries are left."""

    code = "wrong-pin"


class PinLocked(HsmError):
    """Ten wrong PINs in a row: this role is locked until its PIN is set again."""

    code = "pin-locked"


class Capped(HsmError):
    """This client has used that key as often as it may in this second, on this day, or altogether."""

    code = "capped"


class NeedsQuorum(HsmError):
    """More than one person must want this: propose it, have it approved, carry it out."""

    code = "needs-quorum"


class Busy(HsmError):
    """Not now: ask again."""

    code = "busy"


class Zeroised(HsmError):
    """Somebody opened the case: there are no keys any more."""

    code = "zeroised"


class NoSuchKey(HsmError):
    """No key with that label that is active now; no PIN for that job."""

    code = "no-such-key"


class KeyExists(HsmError):
    """The label is taken. A key's attributes never change, so nothing is overwritten."""

    code = "key-exists"


class NotExportable(HsmError):
    """The key was not made to leave."""

    code = "not-exportable"


class BadWrapping(HsmError):
    """The enciphered key does not open: it was changed, or it was enciphered under another key."""

    code = "bad-wrapping"


class WrongKey(HsmError):
    """What came out of an enciphered key is not what was named: another kind, length or check value."""

    code = "wrong-key"


class SessionLost(HsmError):
    """The SCP03 session is gone: it ends with its connection, with the process, and at the first wrong answer."""

    code = "session-lost"


class BadRequest(HsmError):
    """The request breaks the protocol or carries malformed bytes."""

    code = "bad-request"


class LogFull(HsmError):
    """The log cannot take another entry, so nothing is done."""

    code = "log-full"


class LogBroken(HsmError):
    """The log was changed, shortened or cannot be read."""

    code = "log-broken"


class StoreSealed(HsmError):
    """The store does not open with this secret, or it was changed or set back."""

    code = "store-sealed"


class WrongCryptogram(HsmError):
    """The card answered with another key set than the one named; nothing was sent to it."""

    code = "wrong-cryptogram"


class WrongAnswer(HsmError):
    """The card's answer fails its MAC, its padding or its key check values; the session is closed."""

    code = "wrong-answer"


class HsmGone(HsmError):
    """No HSM answers at that socket, or it went away in a call that must not be made twice."""

    code = "hsm-gone"


ERRORS: dict[str, type[HsmError]] = {
    one.code: one
    for one in (
        *(
            Denied,
            NotAllocated,
            WrongPin,
            PinLocked,
            Capped,
            NeedsQuorum,
            Busy,
            Zeroised,
            NoSuchKey,
            KeyExists,
            SessionLost,
            BadRequest,
        ),
        *(NotExportable, BadWrapping, WrongKey),
        *(LogFull, LogBroken, StoreSealed, WrongCryptogram, WrongAnswer, HsmGone),
    )
}


def error_from_wire(code: str, detail: str, reason: str = "") -> HsmError:
    """The error that a code stands for."""
    return ERRORS.get(code, HsmError)(detail, reason)


_OF_CHANNEL: dict[type[ChannelError], type[HsmError]] = {
    host_channel.Misused: BadRequest,
    host_channel.NotForOthers: Denied,
    host_channel.ChannelClosed: SessionLost,
    host_channel.WrongCryptogram: WrongCryptogram,
    host_channel.WrongAnswer: WrongAnswer,
}


def of_card(error: ChannelError | Malformed) -> HsmError:
    """What a channel or a card's bytes refused with, in the HSM's words."""
    return (BadRequest if isinstance(error, Malformed) else _OF_CHANNEL[type(error)])(str(error))
