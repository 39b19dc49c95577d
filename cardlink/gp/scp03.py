"""The arithmetic of Secure Channel Protocol 03: derivation, cryptograms, MACs and encryption; no protocol state.

Who may send what, when a counter advances and what an error closes is written twice, on the card and in the HSM.
Source: GlobalPlatform Card Technology, Secure Channel Protocol '03', Card Specification v2.3 Amendment D v1.1.2
("Amd D"); S16 mode after Amendment D v1.2.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from functools import partial

from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.cmac import CMAC

from cardlink.errors import Malformed
from cardlink.iso7816.counter_cbc import CounterCbc
from cardlink.iso7816.padding import BLOCK_BYTES as BLOCK_BYTES
from cardlink.iso7816.padding import pad as pad
from cardlink.iso7816.padding import unpad as unpad

KEY_BYTES = (16, 24, 32)
FIRST_CHAINING_VALUE = bytes(BLOCK_BYTES)  # Amd D §6.2.3
CLA_SECURE = 0x04
RESPONSE_ICV = 0x80 << 120  # Amd D §6.2.7: most significant byte of the counter block of a response


class Level(IntFlag):
    """Security level, P1 of EXTERNAL AUTHENTICATE (Amd D §7.1.2.1, Table 7-6)."""

    C_MAC = 0x01
    C_ENC = 0x02
    R_MAC = 0x10
    R_ENC = 0x20


# Amd D Table 7-6: every other value is reserved.
LEVELS = frozenset({Level(0x01), Level(0x03), Level(0x11), Level(0x13), Level(0x33)})


class Option(IntFlag):
    """Implementation option "i" (Amd D §5.1, Table 5-1)."""

    S16 = 0x01  # v1.2: challenges, cryptograms and MACs of 16 bytes
    PSEUDO_RANDOM_CHALLENGE = 0x10
    R_MAC = 0x20
    R_ENC = 0x40


# Each of them with and without R-MAC, R-ENC (never without R-MAC) and a challenge that can be foretold; S8 and S16.
OPTIONS = frozenset(
    protection | challenge | size for protection in (0x00, 0x20, 0x60) for challenge in (0x00, 0x10) for size in (0, 1)
)


def offers(option: int, level: int) -> bool:
    """Can a card with this option protect what this level asks for (Amd D Table 5-1)."""
    needs = (Option.R_MAC if level & Level.R_MAC else 0) | (Option.R_ENC if level & Level.R_ENC else 0)
    return option & needs == needs


class Constant(IntEnum):
    """Data derivation constants (Amd D §4.1.5, Table 4-1)."""

    CARD_CRYPTOGRAM = 0x00
    HOST_CRYPTOGRAM = 0x01
    CARD_CHALLENGE = 0x02
    S_ENC = 0x04
    S_MAC = 0x06
    S_RMAC = 0x07


@dataclass(frozen=True, slots=True)
class StaticKeys:
    """One SCP03 key set: Key-ENC, Key-MAC, Key-DEK (Amd D §6.1), all of one length."""

    enc: bytes = field(repr=False)
    mac: bytes = field(repr=False)
    dek: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.enc) not in KEY_BYTES or {len(self.mac), len(self.dek)} != {len(self.enc)}:
            raise Malformed("SCP03 key set", "want three AES keys of one length, 16, 24 or 32 bytes")


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """S-ENC, S-MAC and S-RMAC of one session (Amd D §6.2.1)."""

    enc: bytes = field(repr=False)
    mac: bytes = field(repr=False)
    rmac: bytes = field(repr=False)


def cmac(key: bytes, data: bytes) -> bytes:
    """AES-CMAC, all 16 bytes (SP 800-38B)."""
    context = CMAC(algorithms.AES(key))
    context.update(data)
    return context.finalize()


def derive(key: bytes, constant: Constant, context: bytes, bits: int) -> bytes:
    """Derive under a key whose value is at hand; see `derive_by`."""
    return derive_by(partial(cmac, key), constant, context, bits)


def derive_by(mac: Callable[[bytes], bytes], constant: Constant, context: bytes, bits: int) -> bytes:
    """Derive `bits` bits: label of 11 zeros and the constant, 00, L on 2 bytes, i on 1 byte, context (Amd D §4.1.5)."""
    fixed = bytes(11) + bytes((constant, 0)) + bits.to_bytes(2, "big")
    blocks = -(-bits // 128)
    output = b"".join(mac(fixed + bytes((i,)) + context) for i in range(1, blocks + 1))
    return output[: bits // 8]


def derive_session(keys: StaticKeys, host_challenge: bytes, card_challenge: bytes) -> SessionKeys:
    """Derive the session keys of a key set whose values are at hand."""
    return derive_session_by(
        partial(cmac, keys.enc), partial(cmac, keys.mac), 8 * len(keys.enc), host_challenge, card_challenge
    )


def derive_session_by(
    enc: Callable[[bytes], bytes],
    mac: Callable[[bytes], bytes],
    bits: int,
    host_challenge: bytes,
    card_challenge: bytes,
) -> SessionKeys:
    """Derive the session keys from both challenges, by AES-CMAC under Key-ENC and Key-MAC (Amd D §6.2.1)."""
    context = host_challenge + card_challenge
    return SessionKeys(
        derive_by(enc, Constant.S_ENC, context, bits),
        derive_by(mac, Constant.S_MAC, context, bits),
        derive_by(mac, Constant.S_RMAC, context, bits),
    )


def card_cryptogram(session: SessionKeys, host_challenge: bytes, card_challenge: bytes) -> bytes:
    """What the card proves itself with; as long as a challenge (Amd D §6.2.2.2)."""
    context = host_challenge + card_challenge
    return derive(session.mac, Constant.CARD_CRYPTOGRAM, context, 8 * len(card_challenge))


def host_cryptogram(session: SessionKeys, host_challenge: bytes, card_challenge: bytes) -> bytes:
    """What the host proves itself with; as long as a challenge (Amd D §6.2.2.3)."""
    context = host_challenge + card_challenge
    return derive(session.mac, Constant.HOST_CRYPTOGRAM, context, 8 * len(host_challenge))


def pseudo_random_challenge(enc: bytes, sequence_counter: bytes, aid: bytes, size_bytes: int = 8) -> bytes:
    """The card challenge of option 10, from Key-ENC, the 3 bytes of the counter and the AID (Amd D §6.2.2.1)."""
    return derive(enc, Constant.CARD_CHALLENGE, sequence_counter + aid, 8 * size_bytes)


def protected_cla(cla: int) -> int:
    """The class byte of the command as it is sent: the one given with its secure messaging bit set.

    Channels 0-3 carry the bit at 04, channels 4-19 at 20 (GPCS v2.3.1 §11.1.4, Tables 11-11 and 11-12).
    """
    return cla | 0x20 if cla & 0x40 else cla | CLA_SECURE


def maced_cla(cla: int) -> int:
    """The class byte as it goes into the C-MAC: channel 0, secure messaging; the chaining bit stays (Amd D §6.2.4)."""
    return (cla & 0x90) | CLA_SECURE if cla & 0x40 else (cla & 0xF0) | CLA_SECURE


_MACED_CLA = bytes(maced_cla(cla) for cla in range(0x100))


def maced_header(header: bytes, lc: int, extended: bool = False) -> bytes:
    """CLA INS P1 P2 Lc as they go into the C-MAC; `lc` counts the MAC itself (Amd D §6.2.4)."""
    cla = _MACED_CLA[header[0]]
    if extended or lc > 0xFF:
        return bytes((cla, header[1], header[2], header[3], 0)) + lc.to_bytes(2, "big")
    return bytes((cla, header[1], header[2], header[3], lc))


def is_protected_sw(sw: int) -> bool:
    """Whether an answer with this status word carries an R-MAC: 9000 and warnings do, errors do not (Amd D §6.2.5)."""
    return sw == 0x9000 or sw >> 8 in (0x62, 0x63)


def max_plain_bytes(level: int, mac_bytes: int = 8) -> int:
    """The longest command data that one short APDU can carry at this level."""
    room = 0xFF - mac_bytes
    return room - room % BLOCK_BYTES - 1 if level & Level.C_ENC else room


class SessionCiphers:
    """The four operations of a session on ready AES contexts. Chaining value and counter come in with each call.

    Not for two threads.
    """

    __slots__ = ("_cbc", "_mac", "_rmac", "mac_bytes")

    def __init__(self, keys: SessionKeys, mac_bytes: int = 8) -> None:
        self.mac_bytes = mac_bytes
        self._mac = CMAC(algorithms.AES(keys.mac))
        self._rmac = CMAC(algorithms.AES(keys.rmac))
        self._cbc = CounterCbc(keys.enc)

    def c_mac(self, chaining_value: bytes, maced: bytes) -> bytes:
        """All 16 bytes of the C-MAC: the next chaining value, whose first `mac_bytes` are sent (Amd D §6.2.4)."""
        context = self._mac.copy()
        context.update(chaining_value + maced)
        return context.finalize()

    def r_mac(self, chaining_value: bytes, data: bytes, sw: int) -> bytes:
        """The R-MAC as sent, over the C-MAC of the command, the data as sent and the status word (Amd D §6.2.5)."""
        context = self._rmac.copy()
        context.update(chaining_value + data + sw.to_bytes(2, "big"))
        return context.finalize()[: self.mac_bytes]

    def is_r_mac(self, chaining_value: bytes, data: bytes, sw: int, received: bytes) -> bool:
        """Compare a received R-MAC in constant time."""
        return hmac.compare_digest(self.r_mac(chaining_value, data, sw), received)

    def encrypt_command(self, counter: int, data: bytes) -> bytes:
        """Pad and encrypt command data under the ICV of `counter` (Amd D §6.2.6)."""
        return self._cbc.encrypt(counter, data)

    def decrypt_command(self, counter: int, encrypted: bytes) -> bytes:
        """Decrypt and unpad command data. Raises Malformed for a broken length or padding."""
        return self._cbc.decrypt(counter, encrypted)

    def encrypt_response(self, counter: int, data: bytes) -> bytes:
        """Pad and encrypt response data under the counter of its command, marked 80 (Amd D §6.2.7)."""
        return self._cbc.encrypt(counter | RESPONSE_ICV, data)

    def decrypt_response(self, counter: int, encrypted: bytes) -> bytes:
        """Decrypt and unpad response data. Raises Malformed for a broken length or padding."""
        return self._cbc.decrypt(counter | RESPONSE_ICV, encrypted)
