"""The class byte, for all 256 values."""

from dataclasses import dataclass
from enum import Enum

from cardlink.errors import Malformed


class ClaKind(Enum):
    """Who defines the command (ISO/IEC 7816-4 §5.4.1; GlobalPlatform Card Specification v2.3.1 §11.1.4)."""

    FIRST = "first interindustry"  # 00-1F: channels 0 to 3
    FURTHER = "further interindustry"  # 40-7F: channels 4 to 19
    RESERVED = "reserved by ISO"  # 20-3F
    GP_FIRST = "GlobalPlatform, channels 0 to 3"  # 80-8F, proprietary to ISO
    GP_FURTHER = "GlobalPlatform, channels 4 to 19"  # C0-CF, E0-EF, proprietary to ISO
    PROPRIETARY = "proprietary"  # the rest from 90 to FE
    INVALID = "invalid"  # FF: taken by PPS


class SecureMessaging(Enum):
    """What the class byte says about protection (ISO/IEC 7816-4 Table 2)."""

    NONE = 0
    PROPRIETARY = 1  # GlobalPlatform SCP02/SCP03
    ISO = 2  # command header not authenticated, or not said (further interindustry)
    ISO_HEADER = 3  # command header authenticated: PIV secure messaging (0C, 1C)


@dataclass(frozen=True, slots=True)
class Cla:
    """A decoded class byte. `chained` means that more blocks of this command follow."""

    value: int
    kind: ClaKind
    secure_messaging: SecureMessaging = SecureMessaging.NONE
    chained: bool = False
    channel: int = 0

    @property
    def is_proprietary(self) -> bool:
        """Proprietary in the sense of ISO: bit 8 is set; GlobalPlatform's own commands are among these."""
        return self.kind in (ClaKind.GP_FIRST, ClaKind.GP_FURTHER, ClaKind.PROPRIETARY)


def _decode(value: int) -> Cla:
    """Follow the tables bit by bit."""
    if value == 0xFF:
        return Cla(value, ClaKind.INVALID)
    proprietary = bool(value & 0x80)
    if value & 0x40:
        if proprietary and value & 0x10:
            return Cla(value, ClaKind.PROPRIETARY)
        # one bit says "protected" without saying how: in GlobalPlatform's class that is its own channel
        how = SecureMessaging.PROPRIETARY if proprietary else SecureMessaging.ISO
        return Cla(
            value,
            ClaKind.GP_FURTHER if proprietary else ClaKind.FURTHER,
            how if value & 0x20 else SecureMessaging.NONE,
            bool(value & 0x10),
            4 + (value & 0x0F),
        )
    if value & 0x20:
        return Cla(value, ClaKind.PROPRIETARY if proprietary else ClaKind.RESERVED)
    if proprietary and value & 0x10:
        return Cla(value, ClaKind.PROPRIETARY)
    return Cla(
        value,
        ClaKind.GP_FIRST if proprietary else ClaKind.FIRST,
        SecureMessaging((value >> 2) & 3),
        bool(value & 0x10),
        value & 3,
    )


def _get_response(cla: Cla) -> int:
    """GET RESPONSE stays on the channel of its command, in the interindustry class and in the clear."""
    return cla.channel if cla.channel < 4 else 0x40 | (cla.channel - 4)


CLA_TABLE = tuple(_decode(value) for value in range(256))
GET_RESPONSE_CLA = bytes(_get_response(cla) for cla in CLA_TABLE)
CHAIN_BIT = 0x10


def decode_cla(value: int) -> Cla:
    """Read a class byte. Every value from 0 to 255 has a meaning, if only INVALID or RESERVED."""
    if not 0 <= value <= 0xFF:
        raise Malformed("CLA", f"{value} is not a byte")
    return CLA_TABLE[value]
