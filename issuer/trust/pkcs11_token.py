"""Set a token up on a PKCS#11 device: its label, the PIN that resets its PIN, and its PIN. Never one that is in use.

It runs in a process of its own, as everything does that loads a module. python-pkcs11 has no C_InitToken, so that one
function is called through ctypes; modules export it beside C_GetFunctionList, which alone the standard asks for.
"""

import ctypes
import subprocess
import sys

import cbor2
import pkcs11
from pkcs11 import Slot, TokenFlag

from issuer.config import TOKEN_LABEL_BYTES, Secret
from issuer.trust.pkcs11_link import error_of
from issuer.trust.pkcs11_login import load
from issuer.trust.pkcs11_wire import Refused
from issuer.trust.port import HsmError

WAIT_S = 60.0
CKR_OK = 0


def set_up(module: str, label: str, so_pin: Secret, pin: Secret) -> None:
    """Make a token. Raises HsmError where one of that label is there, or no slot has a token that is not in use yet."""
    request = cbor2.dumps([module, label, so_pin.text, pin.text])
    command = [sys.executable, "-m", "issuer.trust.pkcs11_token"]
    try:
        done = subprocess.run(command, input=request, capture_output=True, check=False, timeout=WAIT_S)
        code, detail = cbor2.loads(done.stdout)
    except (subprocess.TimeoutExpired, cbor2.CBORDecodeError) as error:
        raise HsmError("hsm.hsm_gone", detail=f"{module} did not answer") from error
    if code:
        raise error_of(code, detail)


def _set_up(module: str, label: str, so_pin: str, pin: str) -> tuple[str, str]:
    """The error's code and detail; an empty code when it is done."""
    try:
        library = load(module)
        slots = library.get_slots(token_present=True)
        tokens = [(slot, slot.get_token()) for slot in slots]
        if any(token.label == label for _, token in tokens):
            return "token-exists", label
        free = [slot for slot, token in tokens if not token.flags & TokenFlag.TOKEN_INITIALIZED]
        if not free:
            return "no-free-token", module
        answer = _init_token(module, free[0], label, so_pin)
        if answer != CKR_OK:
            return "error", f"C_InitToken: {answer:08X}"
        library.reinitialize()
        session = library.get_token(token_label=label).open(rw=True, so_pin=so_pin)
        session.init_pin(pin)
        session.close()
    except Refused as refused:
        return refused.code, refused.detail
    except pkcs11.PKCS11Error as error:
        return "error", f"{type(error).__name__} {error}".strip()
    return "", ""


def _init_token(module: str, slot: Slot, label: str, so_pin: str) -> int:
    init_token = ctypes.CDLL(module).C_InitToken
    init_token.argtypes = (ctypes.c_ulong, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
    init_token.restype = ctypes.c_ulong
    raw = so_pin.encode()
    return int(init_token(slot.slot_id, raw, len(raw), label.encode().ljust(TOKEN_LABEL_BYTES)))


def main() -> None:
    """The process: a request of CBOR on standard input, the answer on standard output."""
    module, label, so_pin, pin = cbor2.load(sys.stdin.buffer)
    sys.stdout.buffer.write(cbor2.dumps(_set_up(module, label, so_pin, pin)))


if __name__ == "__main__":
    main()
