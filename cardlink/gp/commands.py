"""GlobalPlatform commands of a secure channel and of key loading: each one built and parsed in one place.

Source: GlobalPlatform Card Specification v2.3.1 ("GPCS") §11; SCP03's own commands: Amendment D v1.1.2 ("Amd D") §7.
A parser takes the plain command, after the secure channel was taken off, and raises Malformed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from cardlink.errors import Malformed
from cardlink.gp.keys import KCV_BYTES, KDD_BYTES, decrypt_key, encrypt_key, key_check_value
from cardlink.gp.scp03 import BLOCK_BYTES, KEY_BYTES, LEVELS, Level, Option, StaticKeys
from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import Command, Ins

CLA_GP = 0x80
ISD_AID = bytes.fromhex("A000000151000000")  # GPCS §H.1.3
SCP03 = 0x03
KEY_TYPE_AES = 0x88  # GPCS Table 11-16
SEQUENCE_COUNTER_BYTES = 3
FIRST_KEY_ID = 0x01  # ENC; MAC and DEK follow (Amd D §6.1)
MULTIPLE_KEYS = 0x80
LAST_BLOCK = 0x80
DGI_STRUCTURE = 0x08


def select(aid: bytes = ISD_AID) -> Command:
    """SELECT by AID (GPCS §11.9)."""
    return Command(0x00, Ins.SELECT, 0x04, 0x00, aid, 256)


@dataclass(frozen=True, slots=True)
class Fci:
    """Answer to SELECT of a security domain (GPCS §11.9.3.1): its AID and the longest command data it takes."""

    aid: bytes
    max_command_bytes: int

    def encode(self) -> bytes:
        """Write 6F {84 AID, A5 {9F65 length}}."""
        size = max(1, (self.max_command_bytes.bit_length() + 7) // 8)
        proprietary = tlv.encode(0x9F65, self.max_command_bytes.to_bytes(size, "big"))
        return tlv.encode(0x6F, tlv.encode(0x84, self.aid) + tlv.encode(0xA5, proprietary))


def decode_fci(answer: bytes) -> Fci:
    """Read a security domain's FCI; what else stands in it is not ours to judge.

    Cards leave out A5 or the length in it, and then take 255 bytes.
    """
    template = dict(tlv.parse(tlv.unwrap(answer, 0x6F), repeats=True))
    if 0x84 not in template:
        raise Malformed("FCI", "without an AID")
    size = dict(tlv.parse(template.get(0xA5, b""), repeats=True)).get(0x9F65, b"\xff")
    return Fci(template[0x84], int.from_bytes(size, "big"))


def initialize_update(kvn: int, host_challenge: bytes, key_id: int = 0) -> Command:
    """INITIALIZE UPDATE; `kvn` 0 takes the card's first set (Amd D §7.1.1)."""
    return Command(CLA_GP, Ins.INITIALIZE_UPDATE, kvn, key_id, host_challenge, 256)


def parse_initialize_update(command: Command) -> tuple[int, bytes]:
    """Give the key version and the host challenge of an INITIALIZE UPDATE."""
    if command.p2 != 0:
        raise Malformed("INITIALIZE UPDATE", f"key identifier {command.p2:02X}, want 00")
    if len(command.data) not in (8, 16):
        raise Malformed("INITIALIZE UPDATE", f"host challenge of {len(command.data)} bytes")
    return command.p1, command.data


@dataclass(frozen=True, slots=True)
class InitializeUpdateAnswer:
    """Answer to INITIALIZE UPDATE (Amd D §7.1.1.6). The sequence counter is there with option 10, else empty."""

    kdd: bytes
    kvn: int
    option: int
    card_challenge: bytes
    card_cryptogram: bytes
    sequence_counter: bytes = b""

    @property
    def mac_bytes(self) -> int:
        """Length of challenges, cryptograms and MACs: 16 in S16 mode, else 8."""
        return 16 if self.option & Option.S16 else 8

    def encode(self) -> bytes:
        """Write the answer."""
        key_info = bytes((self.kvn, SCP03, self.option))
        return self.kdd + key_info + self.card_challenge + self.card_cryptogram + self.sequence_counter


def decode_initialize_update(answer: bytes) -> InitializeUpdateAnswer:
    """Read the answer to INITIALIZE UPDATE, without status word. Raises Malformed for another protocol or length."""
    head = KDD_BYTES + 3
    if len(answer) < head or answer[KDD_BYTES + 1] != SCP03:
        raise Malformed("INITIALIZE UPDATE answer", "want key diversification data and SCP 03")
    option = answer[KDD_BYTES + 2]
    size = 16 if option & Option.S16 else 8
    counter = SEQUENCE_COUNTER_BYTES if option & Option.PSEUDO_RANDOM_CHALLENGE else 0
    if len(answer) != head + 2 * size + counter:
        raise Malformed("INITIALIZE UPDATE answer", f"{len(answer)} bytes with option {option:02X}")
    middle, end = head + size, head + 2 * size
    kdd, kvn = answer[:KDD_BYTES], answer[KDD_BYTES]
    return InitializeUpdateAnswer(kdd, kvn, option, answer[head:middle], answer[middle:end], answer[end:])


def external_authenticate(level: int, host_cryptogram: bytes) -> Command:
    """EXTERNAL AUTHENTICATE before its C-MAC is appended (Amd D §7.1.2); it is never encrypted."""
    return Command(CLA_GP, Ins.EXTERNAL_AUTHENTICATE, level, 0x00, host_cryptogram)


@dataclass(frozen=True, slots=True)
class ExternalAuthenticate:
    """What EXTERNAL AUTHENTICATE carries."""

    level: Level
    host_cryptogram: bytes
    mac: bytes


def parse_external_authenticate(command: Command) -> ExternalAuthenticate:
    """Read EXTERNAL AUTHENTICATE with its C-MAC. Raises Malformed for a reserved level or P2."""
    level = Level(command.p1 & 0x33)
    if command.p1 != level or level not in LEVELS or command.p2 != 0:
        raise Malformed("EXTERNAL AUTHENTICATE", f"P1 P2 {command.p1:02X}{command.p2:02X}")
    if len(command.data) not in (16, 32):
        raise Malformed("EXTERNAL AUTHENTICATE", f"{len(command.data)} bytes")
    half = len(command.data) // 2
    return ExternalAuthenticate(level, command.data[:half], command.data[half:])


@dataclass(frozen=True, slots=True)
class LoadedKey:
    """One key of PUT KEY: still encrypted under the DEK, its length in clear, its check value."""

    encrypted: bytes = field(repr=False)
    key_bytes: int
    kcv: bytes

    def decrypt(self, dek: bytes) -> bytes:
        """Decrypt the key and compare its check value. Raises Malformed when it does not fit."""
        key = decrypt_key(dek, self.encrypted, self.key_bytes)
        if self.kcv and key_check_value(key) != self.kcv:
            raise Malformed("PUT KEY", "key check value does not fit")
        return key


@dataclass(frozen=True, slots=True)
class PutKey:
    """PUT KEY with AES keys whose identifiers follow each other (GPCS §11.8, Amd D §7.2)."""

    replace_kvn: int
    new_kvn: int
    first_key_id: int
    keys: tuple[LoadedKey, ...]

    def encode(self) -> Command:
        """Write the command; each key as 88, length, length of the clear key, encrypted key, 03, check value."""
        body = bytearray((self.new_kvn,))
        for key in self.keys:
            body += bytes((KEY_TYPE_AES, len(key.encrypted) + 1, key.key_bytes)) + key.encrypted
            body += bytes((len(key.kcv),)) + key.kcv
        p2 = self.first_key_id | (MULTIPLE_KEYS if len(self.keys) > 1 else 0)
        return Command(CLA_GP, Ins.PUT_KEY, self.replace_kvn, p2, bytes(body), 256)

    def answer(self) -> bytes:
        """What the card answers: the new version and every check value (GPCS §11.8.3.1)."""
        return bytes((self.new_kvn,)) + b"".join(key.kcv for key in self.keys)


def put_key_set(keys: StaticKeys, dek: bytes, new_kvn: int, replace_kvn: int = 0) -> PutKey:
    """PUT KEY of a whole SCP03 set under a DEK at hand; `replace_kvn` 0 adds it, else that set is replaced."""
    return put_key_set_by(keys, partial(encrypt_key, dek), new_kvn, replace_kvn)


def put_key_set_by(keys: StaticKeys, encrypt: Callable[[bytes], bytes], new_kvn: int, replace_kvn: int) -> PutKey:
    """PUT KEY of a whole SCP03 set; `encrypt` is `encrypt_key` under the DEK, wherever that is."""
    three = (keys.enc, keys.mac, keys.dek)
    loaded = tuple(LoadedKey(encrypt(one), len(one), key_check_value(one)) for one in three)
    return PutKey(replace_kvn, new_kvn, FIRST_KEY_ID, loaded)


def parse_put_key(command: Command) -> PutKey:
    """Read PUT KEY.

    Two forms of the key field are in use: with the clear length before the encrypted key (Amd D, GlobalPlatformPro) and
    without it (GPCS Table 11-71, yubikit). They differ in length by one byte, so that both can be told apart.
    """
    data, keys = command.data, []
    if not data or not 1 <= data[0] <= 0x7F or command.p1 > 0x7F:
        raise Malformed("PUT KEY", "want a key version of 01 to 7F and a single command")
    at = 1
    while at < len(data):
        if data[at] != KEY_TYPE_AES or at + 2 > len(data):
            raise Malformed("PUT KEY", f"want key type {KEY_TYPE_AES:02X}")
        size, at = data[at + 1], at + 2
        component = data[at : at + size]
        at += size
        kcv_size = data[at] if at < len(data) else -1
        kcv = data[at + 1 : at + 1 + kcv_size]
        if kcv_size not in (0, KCV_BYTES) or len(kcv) != kcv_size:
            raise Malformed("PUT KEY", "broken length or check value")
        at += 1 + kcv_size
        if size % BLOCK_BYTES == 1:
            key_bytes, component = component[0], component[1:]
        else:
            key_bytes = size
        if key_bytes not in KEY_BYTES or len(component) != -(-key_bytes // BLOCK_BYTES) * BLOCK_BYTES:
            raise Malformed("PUT KEY", f"component of {size} bytes")
        keys.append(LoadedKey(component, key_bytes, kcv))
    if not keys or (len(keys) > 1) != bool(command.p2 & MULTIPLE_KEYS):
        raise Malformed("PUT KEY", f"{len(keys)} keys with P2 {command.p2:02X}")
    return PutKey(command.p1, data[0], command.p2 & 0x7F, tuple(keys))


def delete_key_set(kvn: int) -> Command:
    """DELETE of all keys of one version (GPCS §11.2.2.3, Table 11-23)."""
    return Command(CLA_GP, Ins.DELETE, 0x00, 0x00, tlv.encode(0xD2, bytes((kvn,))), 256)


@dataclass(frozen=True, slots=True)
class Deletion:
    """What DELETE names: an application's AID, or a key version with or without a key identifier; 0 stands for none."""

    aid: bytes = b""
    kvn: int = 0
    key_id: int = 0


def parse_delete(command: Command) -> Deletion:
    """Read the data of DELETE: 4F AID, or D2 version and D0 identifier."""
    objects = dict(tlv.parse(command.data))
    if objects.keys() == {0x4F}:
        return Deletion(objects[0x4F])
    if not objects or objects.keys() - {0xD0, 0xD2} or any(len(value) != 1 for value in objects.values()):
        raise Malformed("DELETE", "want 4F, or D0 and D2 of one byte each")
    return Deletion(b"", objects.get(0xD2, b"\0")[0], objects.get(0xD0, b"\0")[0])


def store_data(data: bytes, block: int, is_last: bool, structure: int = 0x10) -> Command:
    """STORE DATA, one block of at most 255 bytes; `structure` is the rest of P1: 10 for BER-TLV, 08 for DGIs
    (GPCS §11.11.2.1, Table 11-89)."""
    return Command(CLA_GP, Ins.STORE_DATA, structure | (LAST_BLOCK if is_last else 0), block, data)


@dataclass(frozen=True, slots=True)
class StoreData:
    """What one STORE DATA carries; `structure` is the rest of its P1."""

    data: bytes
    block: int
    is_last: bool
    structure: int

    @property
    def is_encrypted(self) -> bool:
        """Do the data say that they are encrypted (b7 and b6 of P1)."""
        return bool(self.structure & 0x60)

    @property
    def is_dgi(self) -> bool:
        """Are the data DGIs; else they are BER-TLV, or it is for the security domain to know (b5 and b4 of P1)."""
        return self.structure & 0x18 == DGI_STRUCTURE


def parse_store_data(command: Command) -> StoreData:
    """Read one block of STORE DATA. Raises Malformed for reserved bits of P1."""
    structure = command.p1 & ~LAST_BLOCK
    if structure & ~0x79 or structure & 0x18 == 0x18:
        raise Malformed("STORE DATA", f"P1 {command.p1:02X}")
    return StoreData(command.data, command.p2, bool(command.p1 & LAST_BLOCK), structure)
