"""Commands that load a card's secrets, and the PIN that is drawn for it: what an HSM puts together inside.

They go over an encrypted channel only (`cardlink.gp.host_channel`); what builds them is shared by every HSM of ours, so
that a card personalised with one goes on with another. PIV's numbers are those of `cardlink.piv`.
"""

from collections.abc import Callable
from itertools import pairwise

from cardlink.errors import Malformed
from cardlink.iso7816.apdu import Command, Ins
from cardlink.piv import pins
from cardlink.piv.tables import Algorithm, KeyRef, YubicoIns

PIV_PIN, PIV_PUK = int(KeyRef.PIN), int(KeyRef.PUK)
FACTORY_PIN, FACTORY_PUK = pins.FACTORY_PIN.encode("ascii"), pins.FACTORY_PUK.encode("ascii")
CARD_PIN_DIGITS = 6


def set_admin_key(key: bytes) -> Command:
    """SET MANAGEMENT KEY (yubikit; also OpenFIPS201's sources): algorithm, reference, length, key."""
    data = bytes((Algorithm.AES_256, KeyRef.ADMIN, len(key))) + key
    return Command(0x00, YubicoIns.SET_MANAGEMENT_KEY, 0xFF, 0xFF, data)


def change_reference(reference: int, old: bytes, new: bytes) -> Command:
    """CHANGE REFERENCE DATA of PIN or PUK (SP 800-73pt2-5 §3.2.2). Raises Malformed for one that is too long."""
    return Command(0x00, Ins.CHANGE_REFERENCE_DATA, 0x00, reference, piv_padded(old) + piv_padded(new))


def verify_pin(pin: bytes) -> Command:
    """VERIFY with the card's PIN (SP 800-73pt2-5 §3.2.1)."""
    return Command(0x00, Ins.VERIFY, 0x00, PIV_PIN, piv_padded(pin))


def piv_padded(pin: bytes) -> bytes:
    """A PIV PIN or PUK on the wire: 8 bytes, filled up with FF (SP 800-73pt2-5 §2.4.3)."""
    if len(pin) > pins.REFERENCE_BYTES:
        raise Malformed("PIN or PUK", f"want at most {pins.REFERENCE_BYTES} bytes, got {len(pin)}")
    return pin.ljust(pins.REFERENCE_BYTES, b"\xff")


def make_card_pin(random: Callable[[int], bytes]) -> bytes:
    """Draw a card PIN of 6 digits, none of the ones that people try first."""
    while True:
        pin = b"%0*d" % (CARD_PIN_DIGITS, int.from_bytes(random(16), "big") % 10**CARD_PIN_DIGITS)
        steps = {after - before for before, after in pairwise(pin)}
        if steps not in ({0}, {1}, {-1}):
            return pin
