"""The card's end of a secure messaging session: what a command must carry, how the answer goes back, what is next.

Written apart from the host's end; only the arithmetic is shared. Source: SP 800-73pt2-5 §4.2 ("§").
"""

import hmac
from dataclasses import dataclass

from cardlink.errors import CardStatus, Malformed
from cardlink.iso7816.apdu import SHORT_NE_MAX, Command, command_name
from cardlink.iso7816.sw import SW
from cardlink.piv.secure_messaging import (
    COMMAND_ORDER,
    FIRST_CHAINING_VALUE,
    MAC_BYTES,
    RESPONSE_MARK,
    SessionCiphers,
    decode_secured,
    encode_encrypted,
    encode_mac,
    encode_status,
)


@dataclass(slots=True)
class MessagingSession:
    """An open session. `counter` is the number of the command at hand: the first one makes it 1.

    Any error ends it: the caller drops this object, and with it the only references to the session's keys.
    """

    ciphers: SessionCiphers
    command_chaining_value: bytes = FIRST_CHAINING_VALUE
    response_chaining_value: bytes = FIRST_CHAINING_VALUE
    counter: int = 0

    def unprotect(self, command: Command) -> Command:
        """Check and decrypt one whole command (joined, if it came as a chain).

        Raises CardStatus 6987 where the MAC is missing, 6988 where anything is wrong.
        """
        try:
            secured = decode_secured(command.data, COMMAND_ORDER)
        except Malformed as error:
            raise _refuse(command, SW.SECURE_MESSAGING_INCORRECT) from error
        if not secured.mac:
            raise _refuse(command, SW.SECURE_MESSAGING_MISSING)
        whole = self.ciphers.c_mac(self.command_chaining_value, command.ins, command.p1, command.p2, secured.objects)
        if not hmac.compare_digest(whole[:MAC_BYTES], secured.mac):
            raise _refuse(command, SW.SECURE_MESSAGING_INCORRECT)
        self.command_chaining_value = whole
        self.counter += 1
        data = b""
        if secured.encrypted:
            try:
                data = self.ciphers.decrypt(self.counter, secured.encrypted)
            except Malformed as error:
                raise _refuse(command, SW.SECURE_MESSAGING_INCORRECT) from error
        le = SHORT_NE_MAX if secured.has_le else None
        return Command(0x00, command.ins, command.p1, command.p2, data, le)

    def protect(self, data: bytes, sw: int) -> bytes:
        """The answer as it is sent, before it is cut: 87 where there are data, 99 with its status word, 8E (§4.2.6)."""
        objects = encode_status(sw)
        if data:
            objects = encode_encrypted(self.ciphers.encrypt(self.counter | RESPONSE_MARK, data)) + objects
        self.response_chaining_value = self.ciphers.r_mac(self.response_chaining_value, objects)
        return objects + encode_mac(self.response_chaining_value)


def _refuse(command: Command, sw: SW) -> CardStatus:
    return CardStatus(command_name(command.ins), sw)
