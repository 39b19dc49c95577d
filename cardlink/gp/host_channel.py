"""The host side of one SCP03 session: its state, and what may be said over it.

It lives inside an HSM: in hsm_sim, or in the worker beside a PKCS#11 device. Written apart from the card's side
(cardos.gp); both use the arithmetic of cardlink.gp. Source: GlobalPlatform Amendment D v1.1.2 §5.6 (protocol rules),
§6.2.3 to 6.2.7.
"""

import hmac
from collections.abc import Callable, Sequence
from enum import Enum

from cardlink.errors import Malformed
from cardlink.gp import scp03
from cardlink.gp.commands import InitializeUpdateAnswer, external_authenticate
from cardlink.gp.inventory import LifeCycle, Scope
from cardlink.gp.scp03 import LEVELS, Level, SessionCiphers, SessionKeys, StaticKeys
from cardlink.iso7816.apdu import EXTENDED_DATA_MAX, SHORT_DATA_MAX, Command, Ins, decode_response
from cardlink.iso7816.cla import CHAIN_BIT
from cardlink.iso7816.sw import SUCCESS_BYTES
from cardlink.piv.tables import KeyRef, YubicoIns

SW_SUCCESS = 0x9000
PIV_OBJECTS = (0x3F, 0xFF)  # P1 P2 of PUT DATA; other cards load keys with other values (OpenFIPS201: 3F00)
BER_TLV_BLOCK = 0x10  # STORE DATA, P1 without its last-block bit

# Vendor instructions of PIV cards that only read.
READING_VENDOR_INS = frozenset({YubicoIns.GET_METADATA, YubicoIns.GET_SERIAL, YubicoIns.GET_VERSION, YubicoIns.ATTEST})
INTERINDUSTRY, GLOBALPLATFORM = frozenset({0x00, CHAIN_BIT}), frozenset({0x80, 0x80 | CHAIN_BIT})
PLAIN_CLASSES: dict[int, frozenset[int]] = {
    **dict.fromkeys(READING_VENDOR_INS, INTERINDUSTRY),
    Ins.GET_DATA: INTERINDUSTRY,
    Ins.PUT_DATA: INTERINDUSTRY,
    Ins.GENERATE_ASYMMETRIC_KEY_PAIR: INTERINDUSTRY,
    Ins.GENERAL_AUTHENTICATE: INTERINDUSTRY,
    Ins.GET_RESPONSE: INTERINDUSTRY | GLOBALPLATFORM,
    Ins.GP_GET_DATA: INTERINDUSTRY | GLOBALPLATFORM,
    Ins.GET_STATUS: GLOBALPLATFORM,
    Ins.SET_STATUS: GLOBALPLATFORM,
    Ins.STORE_DATA: GLOBALPLATFORM,
}
"""What is wrapped for others: instructions, each in the classes in which it is known. One byte more may mean another
command to another card."""
HARMLESS: dict[int, Callable[[Command], bool]] = {
    Ins.PUT_DATA: lambda command: (command.p1, command.p2) == PIV_OBJECTS,
    Ins.GENERATE_ASYMMETRIC_KEY_PAIR: lambda command: (
        not command.p1 and command.p2 not in (KeyRef.ADMIN, KeyRef.ATTESTATION)
    ),
    # a card proves itself, and neither signs nor decrypts for its holder
    Ins.GENERAL_AUTHENTICATE: lambda command: command.p2 in (KeyRef.PIV_AUTH, KeyRef.CARD_AUTH),
    Ins.STORE_DATA: lambda command: command.p1 & 0x7F == BER_TLV_BLOCK,
    # a card is brought into use, never locked or ended
    Ins.SET_STATUS: lambda command: (
        command.p1 == Scope.ISSUER_DOMAIN and command.p2 in (LifeCycle.INITIALIZED, LifeCycle.SECURED)
    ),
}
"""Which of their forms: with none here, all of them."""


class ChannelError(Exception):
    """What a host's channel refuses with. It stays inside an HSM, which says it in its own words."""


class Misused(ChannelError):
    """A call out of turn, or one that this card, level or APDU size cannot take. Nothing was changed by it."""


class NotForOthers(ChannelError):
    """This command may load a secret: it is built inside the HSM and wrapped for nobody else."""


class ChannelClosed(ChannelError):
    """Nothing goes over this channel any more."""


class WrongCryptogram(ChannelError):
    """The card's cryptogram does not come from this key set."""


class WrongAnswer(ChannelError):
    """The card's answer fails its MAC, padding or status; the channel is closed."""


def check_is_plain(command: Command) -> None:
    """Raise NotForOthers unless this command can load no key, PIN or code: those are built inside the HSM.

    The list says what passes. So PUT KEY, CHANGE REFERENCE DATA, RESET RETRY COUNTER, VERIFY, the vendors' key import,
    management key, retries, reset and moving of keys, and everything unknown are refused, in every class.
    """
    ins = command.ins
    is_harmless = HARMLESS.get(ins)
    if command.cla in PLAIN_CLASSES.get(ins, ()) and (is_harmless is None or is_harmless(command)):
        return
    head = bytes((command.cla, ins, command.p1, command.p2)).hex().upper()
    raise NotForOthers(f"{head} is not wrapped for others")


def check_is_chain(commands: Sequence[Command]) -> None:
    """Raise Misused unless these are all blocks of one command (ISO/IEC 7816-4 §5.3.3)."""
    if not commands:
        raise Misused("a chain of no blocks")
    last = commands[-1]
    head = (last.cla | CHAIN_BIT, last.ins, last.p1, last.p2)
    if last.cla & CHAIN_BIT or any((one.cla, one.ins, one.p1, one.p2) != head for one in commands[:-1]):
        raise Misused("not the blocks of one chain")


class Phase(Enum):
    """Where the session stands."""

    OPENING = "EXTERNAL AUTHENTICATE was handed out"
    READY = "a command may go"
    WAITING = "the answer to the last command is due"
    CLOSED = "closed"


class HostChannel:
    """One session with one card. Not for two threads at once."""

    __slots__ = ("_chaining", "_ciphers", "_counter", "_due", "_phase", "authentication", "level")

    def __init__(self, session: SessionKeys, host_challenge: bytes, answer: InitializeUpdateAnswer, level: int) -> None:
        """Check the card's cryptogram; raises WrongCryptogram when the card holds another key set."""
        if level not in LEVELS:
            raise Misused(f"security level {level:02X}")
        if not scp03.offers(answer.option, level):
            raise Misused(f"security level {level:02X}, the card's option {answer.option:02X} does not offer it")
        if len(host_challenge) != answer.mac_bytes:
            raise Misused(f"host challenge of {len(host_challenge)} bytes, the card works with {answer.mac_bytes}")
        expected = scp03.card_cryptogram(session, host_challenge, answer.card_challenge)
        if not hmac.compare_digest(expected, answer.card_cryptogram):
            raise WrongCryptogram(f"key version {answer.kvn:02X}")
        self.level = Level(level)
        self._ciphers = SessionCiphers(session, answer.mac_bytes)
        self._counter = 0
        self._chaining = scp03.FIRST_CHAINING_VALUE
        self._due: list[tuple[bytes, int]] = []  # chaining value and counter of each command that awaits its answer
        cryptogram = scp03.host_cryptogram(session, host_challenge, answer.card_challenge)
        self.authentication = self._protect(external_authenticate(level, cryptogram), 0)
        self._phase = Phase.OPENING

    @classmethod
    def of_keys(
        cls, keys: StaticKeys, host_challenge: bytes, answer: InitializeUpdateAnswer, level: int
    ) -> "HostChannel":
        """The channel of a key set whose values are at hand."""
        return cls(scp03.derive_session(keys, host_challenge, answer.card_challenge), host_challenge, answer, level)

    @property
    def is_closed(self) -> bool:
        """Whether nothing goes over this session any more."""
        return self._phase is Phase.CLOSED

    def wrap(self, command: Command) -> bytes:
        """Protect one command. The caller owes `unwrap` its answer before the next."""
        return self._wrap((command,))[0]

    def wrap_chain(self, commands: Sequence[Command]) -> list[bytes]:
        """Protect all blocks of one chained command: the C-MAC of each follows from the one before, not from answers.

        The caller owes `unwrap_chain` the answers before the next command.
        """
        check_is_chain(commands)
        return self._wrap(commands)

    def _wrap(self, commands: Sequence[Command]) -> list[bytes]:
        self._require(Phase.OPENING, Phase.READY)
        chaining, counter = self._chaining, self._counter
        wrapped, due = [], []
        try:
            for command in commands:
                counter += 1
                wrapped.append(self._protect(command, counter if self.level & Level.C_ENC else 0))
                due.append((self._chaining, counter))
        except Misused:
            self._chaining = chaining  # what could not be sent must not count: both sides would part
            raise
        self._counter, self._due = counter, due
        self._phase = Phase.WAITING
        return wrapped

    def _protect(self, command: Command, counter: int) -> bytes:
        """Encrypt under `counter` (0: not at all), append the C-MAC, remember it as the next chaining value."""
        data = command.data
        if counter and data:
            data = self._ciphers.encrypt_command(counter, data)
        size = len(data) + self._ciphers.mac_bytes
        if size > (EXTENDED_DATA_MAX if command.extended else SHORT_DATA_MAX):
            raise Misused(f"{len(command.data)} bytes do not fit the APDU at level {int(self.level):02X}")
        header = bytes((command.cla, command.ins, command.p1, command.p2))
        maced = scp03.maced_header(header, size, command.extended) + data
        self._chaining = self._ciphers.c_mac(self._chaining, maced)
        cla = scp03.protected_cla(command.cla)
        body = data + self._chaining[: self._ciphers.mac_bytes]
        return Command(cla, command.ins, command.p1, command.p2, body, command.le, command.extended).encode()

    def _require(self, *phases: Phase) -> None:
        if self._phase is Phase.CLOSED:
            raise ChannelClosed("closed")
        if self._phase not in phases:
            raise Misused(f"out of turn: {self._phase.value}")

    def unwrap(self, answer: bytes) -> bytes:
        """Check and open one answer, data and status word; gives both back in the clear.

        The R-MAC of every 9000, 62xx and 63xx is checked, with data or without. An error status has neither MAC nor
        data and may come from anyone on the way; it is passed on and changes nothing here. Raises WrongAnswer, and the
        session is then closed.
        """
        return self.unwrap_chain((answer,))[0]

    def unwrap_chain(self, answers: Sequence[bytes]) -> list[bytes]:
        """Check and open the answers to a chain, each as `unwrap` does, all or none.

        There are fewer than blocks only where the last one is not 9000: the blocks after it were not sent, and as they
        are counted here already, the session ends.
        """
        self._require(Phase.OPENING, Phase.WAITING)
        blocks = 1 if self._phase is Phase.OPENING else len(self._due)
        if not 1 <= len(answers) <= blocks or (len(answers) < blocks and answers[-1][-2:] == SUCCESS_BYTES):
            raise Misused(f"{len(answers)} answers to {blocks} blocks")
        try:
            opened = [self._check(answer, place) + answer[-2:] for place, answer in enumerate(answers)]
        except Malformed as error:
            self.close()
            raise WrongAnswer(str(error)) from error
        except WrongAnswer:
            self.close()
            raise
        self._phase = Phase.READY if len(answers) == blocks else Phase.CLOSED
        self._due = []
        return opened

    def _check(self, answer: bytes, place: int) -> bytes:
        response = decode_response(answer)
        if self._phase is Phase.OPENING:
            if response.data or response.sw != SW_SUCCESS:
                raise WrongAnswer(f"EXTERNAL AUTHENTICATE: {response.sw:04X}")
            return b""
        if not scp03.is_protected_sw(response.sw):
            if response.data:
                raise WrongAnswer(f"data beside {response.sw:04X}")
            return b""
        return self._open(response.data, response.sw, place) if self.level & Level.R_MAC else response.data

    def _open(self, data: bytes, sw: int, place: int) -> bytes:
        chaining, counter = self._due[place]
        end = len(data) - self._ciphers.mac_bytes
        if end < 0 or not self._ciphers.is_r_mac(chaining, data[:end], sw, data[end:]):
            raise WrongAnswer(f"R-MAC of {sw:04X}")
        data = data[:end]
        return self._ciphers.decrypt_response(counter, data) if data and self.level & Level.R_ENC else data

    def close(self) -> None:
        """End the session."""
        self._phase = Phase.CLOSED
