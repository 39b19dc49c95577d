"""What passes between reader and card, written down with everything masked that may hold a secret.

Masked are the bodies of all commands but those known to carry none, the values in GENERAL AUTHENTICATE and INTERNAL
AUTHENTICATE (their tags and lengths stay), and the content of every object that not everybody may read. A masked byte
is written `**`, so that lengths stay true.
"""

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from cardlink.errors import LinkLost, Malformed
from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import Ins
from cardlink.iso7816.cla import CHAIN_BIT
from cardlink.piv.tables import CONTAINERS, Access, Interface, YubicoIns
from cardos.vpcd import Answering

log = logging.getLogger(__name__)

TRAFFIC = 5
HEADER_BYTES = 4
MASK = "**"
_TEMPLATE = 0x7C
_WHOLE_AUTHENTICATIONS = frozenset((Ins.GENERAL_AUTHENTICATE, Ins.INTERNAL_AUTHENTICATE))
_OPEN = frozenset(
    (
        Ins.SELECT,
        Ins.GET_RESPONSE,
        Ins.MANAGE_CHANNEL,
        Ins.GENERATE_ASYMMETRIC_KEY_PAIR,
        Ins.INITIALIZE_UPDATE,
        Ins.EXTERNAL_AUTHENTICATE,
        Ins.GP_GET_DATA,
        Ins.GET_STATUS,
        Ins.SET_STATUS,
        Ins.DELETE,
        YubicoIns.GET_METADATA,
        YubicoIns.GET_SERIAL,
        YubicoIns.GET_VERSION,
        YubicoIns.ATTEST,
        YubicoIns.MOVE_KEY,
        YubicoIns.SET_PIN_RETRIES,
        YubicoIns.RESET,
    )
)


class Masker:
    """Masks one card's traffic; it remembers what a GET RESPONSE or the next block of a chain goes on with."""

    __slots__ = ("_chain", "_how")

    def __init__(self) -> None:
        self._how = "open"
        self._chain: tuple[bytes, str] | None = None

    def reset(self) -> None:
        """The card was reset: no chain goes on."""
        self._chain = None

    def command(self, apdu: bytes) -> str:
        """The command as hex. To be asked before its answer."""
        ins = apdu[1] if len(apdu) > 1 else -1
        if ins == Ins.GET_RESPONSE:
            self._chain = None
            return apdu.hex()
        start = 7 if len(apdu) > 7 and apdu[4] == 0 else 5
        goes_on = bool(apdu) and bool(apdu[0] & CHAIN_BIT)
        head = bytes((apdu[0] & ~CHAIN_BIT, *apdu[1:HEADER_BYTES])) if apdu else b""
        if self._chain is not None and self._chain[0] == head:
            self._how = self._chain[1]
        else:
            self._how = _how(ins, apdu[start:])
            if goes_on and self._how == "values":
                self._how = "hidden"  # a block is no template
        self._chain = (head, self._how) if goes_on else None
        if len(apdu) <= start or self._how == "open" or ins == Ins.GET_DATA:
            return apdu.hex()
        if self._how == "values":
            return apdu[:start].hex() + _values_masked(apdu[start:])
        shown = min(len(apdu), start + _tag_list_bytes(apdu[start:])) if ins == Ins.PUT_DATA else start
        return apdu[:shown].hex() + MASK * (len(apdu) - shown)

    def answer(self, answer: bytes) -> str:
        """The answer to the last command."""
        if self._how == "open" or len(answer) <= 2:
            return answer.hex()
        data = _values_masked(answer[:-2]) if self._how == "values" else MASK * (len(answer) - 2)
        return data + answer[-2:].hex()


def _how(ins: int, body: bytes) -> str:
    """What may be shown of a command and its answer: all (open), tags and lengths (values), nothing (hidden)."""
    if ins in _OPEN:
        return "open"
    if ins in _WHOLE_AUTHENTICATIONS:
        return "values"
    if ins in (Ins.GET_DATA, Ins.PUT_DATA):
        size = _tag_list_bytes(body)
        row = CONTAINERS.get(int.from_bytes(body[2:size], "big"))
        return "open" if row is not None and row.contact_read is Access.ALWAYS else "hidden"
    return "hidden"


def _tag_list_bytes(body: bytes) -> int:
    """The size of 5C and its tag at the start of GET DATA or PUT DATA; 0 when there is none (7E, 7F61, ciphertext)."""
    return 2 + body[1] if len(body) > 2 and body[0] == 0x5C and body[1] <= 3 else 0


def _values_masked(body: bytes) -> str:
    """Data objects with their values masked; all of it masked where they are none."""
    for size in (len(body), len(body) - 1, len(body) - 2):  # Le may stand behind
        try:
            objects = tlv.parse(body[:size], repeats=True) if size > 1 else ()
        except Malformed:
            continue
        if not objects:
            continue
        text = ""
        for tag, value in objects:
            head = tlv.encode(tag, value)[: -len(value) or None]
            text += head.hex() + (_values_masked(value) if tag == _TEMPLATE and value else MASK * len(value))
        return text + body[size:].hex()
    return MASK * len(body)


class Trace:
    """A log file of exchanges, one JSON object a line, for the own user only."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._file: TextIO = os.fdopen(fd, "a", encoding="ascii")

    def write(self, **fields: object) -> None:
        """Write one line."""
        self._file.write(json.dumps({"at": round(self._clock(), 6), **fields}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """End the file."""
        self._file.close()


class Traced:
    """A card whose exchanges are written down: in a trace, in the log at level TRAFFIC, or in both."""

    __slots__ = ("_below", "_masker", "_name", "_trace")

    def __init__(self, below: Answering, name: str = "card", trace: Trace | None = None) -> None:
        self._below = below
        self._masker = Masker()
        self._name = name
        self._trace = trace

    @property
    def atr(self) -> bytes:
        """The ATR of the card below."""
        return self._below.atr

    def transmit(self, apdu: bytes, interface: Interface) -> bytes:
        """The answer of the card below; also one that never came is written down."""
        command = self._masker.command(apdu)
        began = time.perf_counter()
        try:
            answer = self._below.transmit(apdu, interface)
        except LinkLost as lost:
            self._write(command, "", interface, began, str(lost))
            raise
        self._write(command, self._masker.answer(answer), interface, began)
        return answer

    def reset(self) -> None:
        """Reset the card below."""
        self._masker.reset()
        self._below.reset()
        if self._trace is not None:
            self._trace.write(card=self._name, event="reset")

    def _write(self, command: str, answer: str, interface: Interface, began: float, lost: str = "") -> None:
        slot = interface.value
        log.log(TRAFFIC, "exchange card=%s slot=%s command=%s answer=%s", self._name, slot, command, answer or lost)
        if self._trace is not None:
            spent = round((time.perf_counter() - began) * 1e6)
            fields = {"lost": lost} if lost else {"answer": answer}
            self._trace.write(card=self._name, slot=slot, command=command, us=spent, **fields)
