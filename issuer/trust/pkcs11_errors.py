"""What a PKCS#11 library raises, in the words of the port."""

from collections.abc import Iterator
from contextlib import contextmanager

import pkcs11

from issuer.trust.pkcs11_wire import DEVICE_LOST, Refused

GONE = (
    pkcs11.DeviceRemoved,
    pkcs11.DeviceError,
    pkcs11.TokenNotPresent,
    pkcs11.TokenNotRecognised,
    pkcs11.SessionHandleInvalid,
    pkcs11.SessionClosed,
    pkcs11.UserNotLoggedIn,
    pkcs11.GeneralError,
    pkcs11.FunctionFailed,
    pkcs11.SlotIDInvalid,
)
STALE = (pkcs11.ObjectHandleInvalid, pkcs11.KeyHandleInvalid)
_CODES: tuple[tuple[type[pkcs11.PKCS11Error], str], ...] = (
    (pkcs11.PinLocked, "pin-locked"),
    (pkcs11.PinIncorrect, "wrong-pin"),
    (pkcs11.PinInvalid, "wrong-pin"),
    (pkcs11.PinLenRange, "wrong-pin"),
)


@contextmanager
def in_our_words() -> Iterator[None]:
    """Raise what the library raises as Refused."""
    try:
        yield
    except pkcs11.PKCS11Error as error:
        raise refusal_of(error) from error


def refusal_of(error: pkcs11.PKCS11Error) -> Refused:
    """The refusal for an error of the library."""
    name = type(error).__name__
    detail = f"{name}: {error}" if str(error) else name
    if isinstance(error, GONE):
        return Refused(DEVICE_LOST, detail)
    return Refused(next((code for kind, code in _CODES if isinstance(error, kind)), "error"), detail)
