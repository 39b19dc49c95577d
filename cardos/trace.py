"""What passes between reader and card, for the log: level TRAFFIC, with everything masked that may hold a secret."""

import logging

from cardlink.iso7816.apdu import Ins
from cardlink.piv.tables import Interface
from cardlink.piv.yubico import YubicoIns
from cardos.faults import Faulty
from cardos.vpcd import Answering

log = logging.getLogger(__name__)

TRAFFIC = 5
_HEADER_BYTES = 4
_MASKED = frozenset(
    (
        Ins.VERIFY,
        Ins.CHANGE_REFERENCE_DATA,
        Ins.RESET_RETRY_COUNTER,
        Ins.GENERAL_AUTHENTICATE,
        Ins.PUT_KEY,
        YubicoIns.IMPORT_KEY,
        YubicoIns.SET_MANAGEMENT_KEY,
    )
)


def masked(apdu: bytes) -> str:
    """A command as hex, its body only counted where it may hold a PIN, a key or a shared secret."""
    if len(apdu) > _HEADER_BYTES + 1 and apdu[1] in _MASKED:
        return f"{apdu[:_HEADER_BYTES].hex()} ({len(apdu) - _HEADER_BYTES} bytes)"
    return apdu.hex()


def traced(card: Answering) -> Faulty:
    """The card, with a line in the log for each exchange."""

    def transmit(apdu: bytes, interface: Interface) -> bytes:
        answer = card.transmit(apdu, interface)
        hidden = len(apdu) > 1 and apdu[1] in _MASKED
        shown = answer[-2:].hex() if hidden else answer.hex()
        log.log(TRAFFIC, "exchange slot=%s command=%s answer=%s", interface.value, masked(apdu), shown)
        return answer

    return Faulty(card, transmit)
