"""Cards whose protected answers are not what they should be: SCP03 and PIV secure messaging."""

from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import Ins
from cardlink.piv.tables import Algorithm, Interface, KeyRef
from cardlink.piv.templates import encode_response
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
        return _flipped(data, len(data) - 1) if len(data) >= MAC_BYTES else data

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
    """Does not know the keys that it names: its cryptogram, in INITIALIZE UPDATE or for PIV's session, is wrong."""

    def concerns(apdu: bytes) -> bool:
        opens = ins_of(apdu) == Ins.GENERAL_AUTHENTICATE and apdu[3] == KeyRef.SECURE_MESSAGING
        return opens or ins_of(apdu) == Ins.INITIALIZE_UPDATE

    def change(apdu: bytes, data: bytes) -> bytes:
        if ins_of(apdu) == Ins.INITIALIZE_UPDATE:
            return _flipped(data, _CRYPTOGRAM_AT)
        response = tlv.unwrap(tlv.unwrap(data, 0x7C), 0x82)
        nonce_bytes = 16 if apdu[2] == Algorithm.CS2 else 24
        return encode_response(_flipped(response, 1 + nonce_bytes))

    return change_answers(card, concerns, change)


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 0x01,)) + data[at + 1 :]
