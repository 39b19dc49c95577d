"""The card's end of an SCP03 session: what a command must carry, when the counter advances, what closes the channel.

Written apart from the host's end; only the arithmetic is shared. Source: GlobalPlatform Amendment D v1.1.2 ("Amd D").
"""

import hmac
from dataclasses import dataclass, field

from cardlink.errors import CardStatus, Malformed
from cardlink.gp.commands import ExternalAuthenticate
from cardlink.gp.scp03 import (
    FIRST_CHAINING_VALUE,
    Level,
    SessionCiphers,
    StaticKeys,
    card_cryptogram,
    derive_session,
    host_cryptogram,
    is_protected_sw,
    maced_header,
)
from cardlink.iso7816.apdu import Command, command_name
from cardlink.iso7816.sw import SW
from cardos.buffers import Chain

SECURE_BIT = 0x04
# As plain numbers: every protected command asks, and an IntFlag's operators make a new member each time.
_C_ENC, _R_MAC, _R_ENC = int(Level.C_ENC), int(Level.R_MAC), int(Level.R_ENC)


@dataclass(slots=True)
class Handshake:
    """Between INITIALIZE UPDATE and EXTERNAL AUTHENTICATE: good for one try."""

    aid: bytes
    keys: StaticKeys
    ciphers: SessionCiphers
    card_cryptogram: bytes
    host_cryptogram: bytes
    mac_bytes: int


@dataclass(slots=True)
class Channel:
    """An open session: it belongs to the application `aid` in which it was opened, under the key set `keys`.

    `stored` holds the blocks of STORE DATA until the last one comes, `cut` those of a command that was protected whole.
    """

    aid: bytes
    keys: StaticKeys
    ciphers: SessionCiphers
    level: int
    chaining_value: bytes
    mac_bytes: int = 8
    counter: int = 0
    stored: list[bytes] = field(default_factory=list)
    cut: Chain | None = None

    def unprotect(self, command: Command) -> Command:
        """Check and take off C-MAC and encryption. Raises CardStatus; the caller then closes the channel."""
        received = command.data
        mac_bytes = self.mac_bytes
        size = len(received) - mac_bytes
        if size < 0:
            raise _refusal(command)
        data = received[:size]
        ciphers = self.ciphers
        whole = ciphers.c_mac(self.chaining_value, _maced_header(command) + data)
        if not hmac.compare_digest(whole[:mac_bytes], received[size:]):
            raise _refusal(command)
        self.chaining_value = whole
        self.counter += 1
        if data and self.level & _C_ENC:
            try:
                data = ciphers.decrypt_command(self.counter, data)
            except Malformed as error:
                raise _refusal(command) from error
        cla = command.cla & ~SECURE_BIT
        return Command(cla, command.ins, command.p1, command.p2, data, command.le, command.extended)

    def protect(self, data: bytes, sw: int) -> bytes:
        """The data of an answer as it is sent: encrypted and with its R-MAC, where level and status word ask for it."""
        if not self.level & _R_MAC or not is_protected_sw(sw):
            return data
        if data and self.level & _R_ENC:
            data = self.ciphers.encrypt_response(self.counter, data)
        return data + self.ciphers.r_mac(self.chaining_value, data, sw)


def begin(aid: bytes, keys: StaticKeys, host_challenge: bytes, card_challenge: bytes) -> Handshake:
    """Answer INITIALIZE UPDATE: derive the session and both cryptograms; the challenge sets the length of all MACs."""
    session = derive_session(keys, host_challenge, card_challenge)
    return Handshake(
        aid,
        keys,
        SessionCiphers(session, len(card_challenge)),
        card_cryptogram(session, host_challenge, card_challenge),
        host_cryptogram(session, host_challenge, card_challenge),
        len(card_challenge),
    )


def complete(handshake: Handshake, command: Command, request: ExternalAuthenticate) -> Channel:
    """Check EXTERNAL AUTHENTICATE, C-MAC first, and open the channel. Raises CardStatus 6988 or 6300."""
    header = _maced_header(command)
    whole = handshake.ciphers.c_mac(FIRST_CHAINING_VALUE, header + request.host_cryptogram)
    if not hmac.compare_digest(whole[: handshake.mac_bytes], request.mac):
        raise CardStatus("EXTERNAL AUTHENTICATE", SW.SECURE_MESSAGING_INCORRECT)
    if not hmac.compare_digest(handshake.host_cryptogram, request.host_cryptogram):
        raise CardStatus("EXTERNAL AUTHENTICATE", SW.VERIFICATION_FAILED)
    return Channel(handshake.aid, handshake.keys, handshake.ciphers, int(request.level), whole, handshake.mac_bytes)


def _refusal(command: Command) -> CardStatus:
    return CardStatus(command_name(command.ins), SW.SECURE_MESSAGING_INCORRECT)


def _maced_header(command: Command) -> bytes:
    head = bytes((command.cla, command.ins, command.p1, command.p2))
    return maced_header(head, len(command.data), command.extended)
