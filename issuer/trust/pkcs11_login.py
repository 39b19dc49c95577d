"""The way into a token: the module loaded, the token found by its label in whichever slot, its user logged in."""

from contextlib import suppress
from typing import Any

import pkcs11
from pkcs11 import Session, Token

from issuer.trust.pkcs11_errors import GONE, in_our_words, refusal_of
from issuer.trust.pkcs11_wire import DEVICE_LOST, Refused

LABELS_TOLD = 5


def load(module: str) -> Any:
    """The module. Raises Refused for a path that is none, and for one that does not begin its work."""
    try:
        return pkcs11.lib(module)
    except GONE as error:
        raise refusal_of(error) from error
    except pkcs11.PKCS11Error as error:
        why = str(error).removeprefix(f"OS exception while loading {module}: ") or type(error).__name__
        raise Refused("no-module", why if module in why else f"{module}: {why}") from error


def find_token(module: str, label: str) -> Token:
    """The token of that label: slots may change their numbers and order, and other slots may be out of order.

    Raises Refused where it is not there, or two bear the label.
    """
    library = load(module)
    tokens: list[Token] = []
    with in_our_words():
        for slot in library.get_slots():
            with suppress(pkcs11.PKCS11Error):  # an empty slot, or another device's trouble
                tokens.append(slot.get_token())
        found = [one for one in tokens if one.label == label]
        if not found:
            there = ", ".join(one.label for one in tokens[:LABELS_TOLD] if one.label)
            raise Refused(DEVICE_LOST, f"no token {label}; there: {there or '-'}")
        if len(found) > 1:
            raise Refused("two-tokens", label)
    return found[0]


def log_in(token: Token, pin: str) -> Session:
    """A session with the user logged in.

    Where the device says that the user is in already, that login counts: some share it among the processes of a host.
    """
    with in_our_words():
        try:
            return token.open(rw=True, user_pin=pin)
        except pkcs11.UserAlreadyLoggedIn:
            return token.open(rw=True)
