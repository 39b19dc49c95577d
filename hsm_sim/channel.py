"""The host side of one SCP03 session: its state, and what may be said over it.

Written apart from the card's side (cardos.gp); both use the arithmetic of cardlink.gp. Source: GlobalPlatform
Amendment D v1.1.2 §5.6 (protocol rules), §6.2.3 to 6.2.7.
"""

import hmac
from enum import Enum

from cardlink.errors import Malformed
from cardlink.gp import scp03
from cardlink.gp.commands import InitializeUpdateAnswer, external_authenticate
from cardlink.gp.scp03 import LEVELS, Level, SessionCiphers, StaticKeys
from cardlink.iso7816.apdu import EXTENDED_DATA_MAX, SHORT_DATA_MAX, Command, Ins, decode_response
from hsm_sim.errors import BadRequest, Denied, SessionLost, WrongAnswer, WrongCryptogram

SW_SUCCESS = 0x9000
PIV_ADMIN_KEY_REFERENCE = 0x9B
BER_TLV_BLOCK = 0x10  # STORE DATA, P1 without its last-block bit

# Vendor instructions of PIV cards that only read (yubikit): metadata, serial number, version, attestation.
READING_VENDOR_INS = frozenset({0xF7, 0xF8, 0xFD, 0xF9})
PLAIN_INS = READING_VENDOR_INS | {
    *(Ins.GET_DATA, Ins.GP_GET_DATA, Ins.GET_RESPONSE, Ins.GET_STATUS, Ins.SET_STATUS),
    *(Ins.PUT_DATA, Ins.GENERATE_ASYMMETRIC_KEY_PAIR),
}


def check_is_plain(command: Command) -> None:
    """Raise Denied unless this command can load no key, PIN or code: those are built inside the HSM.

    The list says what passes. So PUT KEY, CHANGE REFERENCE DATA, RESET RETRY COUNTER, VERIFY, the vendors' key import,
    management key, retries, reset and moving of keys, and everything unknown are refused.
    """
    ins = command.ins
    if ins in PLAIN_INS:
        return
    if ins == Ins.GENERAL_AUTHENTICATE and command.p2 != PIV_ADMIN_KEY_REFERENCE:
        return
    if ins == Ins.STORE_DATA and command.p1 & 0x7F == BER_TLV_BLOCK:
        return
    raise Denied(f"INS {ins:02X} P1 P2 {command.p1:02X}{command.p2:02X} is not wrapped for others")


class Phase(Enum):
    """Where the session stands."""

    OPENING = "EXTERNAL AUTHENTICATE was handed out"
    READY = "a command may go"
    WAITING = "the answer to the last command is due"
    CLOSED = "closed"


class HostChannel:
    """One session with one card. Not for two threads at once."""

    __slots__ = ("_chaining", "_ciphers", "_counter", "_keys", "_phase", "authentication", "level")

    def __init__(self, keys: StaticKeys, host_challenge: bytes, answer: InitializeUpdateAnswer, level: int) -> None:
        """Check the card's cryptogram; raises WrongCryptogram when the card holds another key set."""
        if level not in LEVELS:
            raise BadRequest(f"security level {level:02X}")
        if len(host_challenge) != answer.mac_bytes:
            raise BadRequest(f"host challenge of {len(host_challenge)} bytes, the card works with {answer.mac_bytes}")
        session = scp03.derive_session(keys, host_challenge, answer.card_challenge)
        expected = scp03.card_cryptogram(session, host_challenge, answer.card_challenge)
        if not hmac.compare_digest(expected, answer.card_cryptogram):
            raise WrongCryptogram(f"key version {answer.kvn:02X}")
        self.level = Level(level)
        self._keys = keys
        self._ciphers = SessionCiphers(session, answer.mac_bytes)
        self._counter = 0
        self._chaining = scp03.FIRST_CHAINING_VALUE
        cryptogram = scp03.host_cryptogram(session, host_challenge, answer.card_challenge)
        self.authentication = self._protect(external_authenticate(level, cryptogram), 0)
        self._phase = Phase.OPENING

    @property
    def dek(self) -> bytes:
        """The static DEK of the key set in use."""
        self._require(Phase.OPENING, Phase.READY)
        return self._keys.dek

    @property
    def is_closed(self) -> bool:
        """Whether nothing goes over this session any more."""
        return self._phase is Phase.CLOSED

    def wrap(self, command: Command) -> bytes:
        """Protect one command. The caller owes `unwrap` its answer before the next."""
        self._require(Phase.OPENING, Phase.READY)
        counter = self._counter + 1
        wrapped = self._protect(command, counter if self.level & Level.C_ENC else 0)
        # what could not be sent must not count: both sides would part
        self._counter = counter
        self._phase = Phase.WAITING
        return wrapped

    def _protect(self, command: Command, counter: int) -> bytes:
        """Encrypt under `counter` (0: not at all), append the C-MAC, remember it as the next chaining value."""
        data = command.data
        if counter and data:
            data = self._ciphers.encrypt_command(counter, data)
        size = len(data) + self._ciphers.mac_bytes
        if size > (EXTENDED_DATA_MAX if command.extended else SHORT_DATA_MAX):
            raise BadRequest(f"{len(command.data)} bytes do not fit the APDU at level {int(self.level):02X}")
        header = bytes((command.cla, command.ins, command.p1, command.p2))
        maced = scp03.maced_header(header, size, command.extended) + data
        self._chaining = self._ciphers.c_mac(self._chaining, maced)
        cla = scp03.protected_cla(command.cla)
        body = data + self._chaining[: self._ciphers.mac_bytes]
        return Command(cla, command.ins, command.p1, command.p2, body, command.le, command.extended).encode()

    def _require(self, *phases: Phase) -> None:
        if self._phase is Phase.CLOSED:
            raise SessionLost("closed")
        if self._phase not in phases:
            raise BadRequest(f"out of turn: {self._phase.value}")

    def unwrap(self, answer: bytes) -> bytes:
        """Check and open one answer, data and status word; gives both back in the clear.

        The R-MAC of every 9000, 62xx and 63xx is checked, with data or without. An error status has neither MAC nor
        data and may come from anyone on the way; it is passed on and changes nothing here. Raises WrongAnswer, and the
        session is then closed.
        """
        self._require(Phase.OPENING, Phase.WAITING)
        try:
            data = self._check(answer)
        except Malformed as error:
            self.close()
            raise WrongAnswer(str(error)) from error
        except WrongAnswer:
            self.close()
            raise
        self._phase = Phase.READY
        return data + answer[-2:]

    def _check(self, answer: bytes) -> bytes:
        response = decode_response(answer)
        if self._phase is Phase.OPENING:
            if response.data or response.sw != SW_SUCCESS:
                raise WrongAnswer(f"EXTERNAL AUTHENTICATE: {response.sw:04X}")
            return b""
        if not scp03.is_protected_sw(response.sw):
            if response.data:
                raise WrongAnswer(f"data beside {response.sw:04X}")
            return b""
        return self._open(response.data, response.sw) if self.level & Level.R_MAC else response.data

    def _open(self, data: bytes, sw: int) -> bytes:
        end = len(data) - self._ciphers.mac_bytes
        if end < 0 or not self._ciphers.is_r_mac(self._chaining, data[:end], sw, data[end:]):
            raise WrongAnswer(f"R-MAC of {sw:04X}")
        data = data[:end]
        return self._ciphers.decrypt_response(self._counter, data) if data and self.level & Level.R_ENC else data

    def close(self) -> None:
        """End the session."""
        self._phase = Phase.CLOSED
