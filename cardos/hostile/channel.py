"""Cards whose protected answers are not what they should be: SCP03 and PIV secure messaging."""

from cardlink.iso7816.apdu import Ins
from cardlink.iso7816.sw import SUCCESS_BYTES
from cardlink.piv.tables import Interface
from cardos.hostile.faulty import Faulty, change_answers, ins_of
from cardos.vpcd import Answering

MAC_BYTES = 8
_SECURE_BITS = 0x0C
_CRYPTOGRAM_AT = 10 + 3 + 8  # behind key diversification data, key information and card challenge
_MAC_OBJECT = b"\x8e\x08"


def _is_protected(apdu: bytes) -> bool:
    """Came it under a secure channel; EXTERNAL AUTHENTICATE is protected and its answer never is."""
    return len(apdu) > 4 and bool(apdu[0] & _SECURE_BITS) and apdu[1] != Ins.EXTERNAL_AUTHENTICATE


def wrong_mac(card: Answering) -> Faulty:
    """Protects its answers with a MAC in which one bit is wrong."""

    def change(apdu: bytes, data: bytes) -> bytes:
        return data[:-1] + bytes((data[-1] ^ 0x01,)) if len(data) >= MAC_BYTES else data

    return change_answers(card, _is_protected, change)


def no_mac(card: Answering) -> Faulty:
    """Leaves the MAC of its answers out."""

    def change(apdu: bytes, data: bytes) -> bytes:
        head = data[:-MAC_BYTES]
        return head.removesuffix(_MAC_OBJECT)

    return change_answers(card, _is_protected, change)


def replayed_answers(card: Answering) -> Faulty:
    """Answers each protected command with its answer to the first."""
    recorded: bytes | None = None

    def change(apdu: bytes, data: bytes) -> bytes:
        nonlocal recorded
        recorded = data if recorded is None else recorded
        return recorded

    return change_answers(card, _is_protected, change)


def plain_errors(card: Answering, sw: int) -> Faulty:
    """Ends every protected command with this status word, in the clear."""

    def transmit(apdu: bytes, interface: Interface) -> bytes:
        return sw.to_bytes(2, "big") if _is_protected(apdu) else card.transmit(apdu, interface)

    return Faulty(card, transmit)


def wrong_cryptogram(card: Answering) -> Faulty:
    """Does not know the key set that it names: its cryptogram in INITIALIZE UPDATE is wrong."""

    def transmit(apdu: bytes, interface: Interface) -> bytes:
        answer = card.transmit(apdu, interface)
        if ins_of(apdu) != Ins.INITIALIZE_UPDATE or not answer.endswith(SUCCESS_BYTES):
            return answer
        at = _CRYPTOGRAM_AT
        return answer[:at] + bytes((answer[at] ^ 0x01,)) + answer[at + 1 :]

    return Faulty(card, transmit)
