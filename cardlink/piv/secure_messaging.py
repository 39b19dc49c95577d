"""PIV secure messaging: cipher suites, derivation, cryptogram, encryption, MACs and data objects; no protocol state.

Who may send what, when a counter advances and what an error destroys is written twice, on the card and on the host.
Source: SP 800-73pt2-5 §4 ("§").
"""

import hashlib
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.cmac import CMAC

from cardlink.errors import Malformed
from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import SHORT_NE_MAX, Command, Ins
from cardlink.iso7816.counter_cbc import CounterCbc
from cardlink.iso7816.padding import BLOCK_BYTES
from cardlink.piv.tables import Algorithm, KeyRef

CLA_SECURE = 0x0C
MAC_BYTES = 8
ID_BYTES = 8
CRYPTOGRAM_BYTES = 16
FIRST_CHAINING_VALUE = bytes(BLOCK_BYTES)  # of commands and of responses, each with a chain of its own (§4.2)
FIRST_COUNTER = 1
RESPONSE_MARK = 0x80 << 120  # §4.2.2: the most significant byte of a response's counter block
# §4.2: what secure messaging can be applied to; card management has channels of its own.
PROTECTED_COMMANDS = frozenset((Ins.GET_DATA, Ins.VERIFY, Ins.CHANGE_REFERENCE_DATA, Ins.GENERAL_AUTHENTICATE))
ENCRYPTED, CHECKSUM, LE, STATUS = 0x87, 0x8E, 0x97, 0x99
_HEADER_PADDING = bytes.fromhex("800000000000000000000000")
_PADDED = b"\x01"  # padding content indicator
_WHAT = "secure messaging"


@dataclass(frozen=True, slots=True, eq=False)
class Suite:
    """One cipher suite (§4.1.4): `hash_name` is of the derivation, `mark` the algorithm's number in OtherInfo.

    There are two, CS2 and CS7, compared by identity.
    """

    algorithm: Algorithm
    curve: ec.EllipticCurve
    curve_oid: bytes
    coordinate_bytes: int
    key_bytes: int
    nonce_bytes: int
    hash_name: str
    signature_hash: hashes.HashAlgorithm
    signature_oid: bytes
    mark: int


CS2 = Suite(
    Algorithm.CS2,
    ec.SECP256R1(),
    bytes.fromhex("2A8648CE3D030107"),
    32,
    16,
    16,
    "sha256",
    hashes.SHA256(),
    bytes.fromhex("2A8648CE3D040302"),  # ecdsa-with-SHA256
    0x09,
)
CS7 = Suite(
    Algorithm.CS7,
    ec.SECP384R1(),
    bytes.fromhex("2B81040022"),
    48,
    32,
    24,
    "sha384",
    hashes.SHA384(),
    bytes.fromhex("2A8648CE3D040303"),  # ecdsa-with-SHA384
    0x0D,
)
SUITES: dict[int, Suite] = {suite.algorithm: suite for suite in (CS2, CS7)}


@dataclass(frozen=True, slots=True)
class Agreement:
    """What both ends know of one key establishment beside the shared secret. `host_point` is 04||X||Y."""

    suite: Suite
    host_id: bytes
    host_point: bytes
    card_id: bytes
    nonce: bytes
    host_control: int = 0x00


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """SKcfrm, SKmac, SKenc and SKrmac (§4.1.6)."""

    confirmation: bytes = field(repr=False)
    mac: bytes = field(repr=False)
    enc: bytes = field(repr=False)
    rmac: bytes = field(repr=False)


def card_id(cvc: bytes) -> bytes:
    """IDsICC: the first 8 bytes of the SHA-256 of the card's certificate, 7F21 and all (§4.1.1, C1)."""
    return hashlib.sha256(cvc).digest()[:ID_BYTES]


def other_info(agreement: Agreement) -> bytes:
    """OtherInfo, each part behind its length (§4.1.6); of the point the first 16 bytes of X."""
    fields = (
        bytes((agreement.suite.mark,)) * 4,
        agreement.host_id,
        bytes((agreement.host_control,)),
        agreement.host_point[1:17],
        agreement.card_id,
        agreement.nonce,
        b"\x00",  # CBicc: this card and this host know no persistent binding
    )
    return b"".join(bytes((len(one),)) + one for one in fields)


def derive(agreement: Agreement, secret: bytes) -> SessionKeys:
    """The four keys from the shared secret Z: the one-step function of SP 800-56A §5.8.1 with a hash (§4.1.6)."""
    suite = agreement.suite
    size = suite.key_bytes
    info = other_info(agreement)
    material, counter = b"", 0
    while len(material) < 4 * size:
        counter += 1
        material += hashlib.new(suite.hash_name, counter.to_bytes(4, "big") + secret + info).digest()
    return SessionKeys(*(material[at : at + size] for at in range(0, 4 * size, size)))


def cryptogram(agreement: Agreement, keys: SessionKeys) -> bytes:
    """What the card proves its key with (§4.1.7)."""
    context = CMAC(algorithms.AES(keys.confirmation))
    context.update(b"KC_1_V" + agreement.card_id + agreement.host_id + agreement.host_point[1:])
    return context.finalize()


class SessionCiphers:
    """The operations of a session. Counters and chaining values come in with each call; SKcfrm is not kept."""

    __slots__ = ("_cbc", "_mac", "_rmac")

    def __init__(self, keys: SessionKeys) -> None:
        self._cbc = CounterCbc(keys.enc)
        self._mac = CMAC(algorithms.AES(keys.mac))
        self._rmac = CMAC(algorithms.AES(keys.rmac))

    def c_mac(self, chaining_value: bytes, ins: int, p1: int, p2: int, objects: bytes) -> bytes:
        """All 16 bytes of the C-MAC over header and data objects: the next chaining value (§4.2.3)."""
        context = self._mac.copy()
        context.update(chaining_value + bytes((CLA_SECURE, ins, p1, p2)) + _HEADER_PADDING + objects)
        return context.finalize()

    def r_mac(self, chaining_value: bytes, objects: bytes) -> bytes:
        """All 16 bytes of the R-MAC: the next chaining value of responses (§4.2.5)."""
        context = self._rmac.copy()
        context.update(chaining_value + objects)
        return context.finalize()

    def encrypt(self, block: int, data: bytes) -> bytes:
        """Pad and encrypt; the IV is the enciphered counter, `block`, marked RESPONSE_MARK in a response (§4.2.2)."""
        return self._cbc.encrypt(block, data)

    def decrypt(self, block: int, encrypted: bytes) -> bytes:
        """Decrypt and unpad. Raises Malformed for a broken length or padding."""
        return self._cbc.decrypt(block, encrypted)


@dataclass(frozen=True, slots=True)
class Request:
    """What the host sends to establish keys: CBh, IDsH and its ephemeral point 04||X||Y."""

    host_control: int
    host_id: bytes
    host_point: bytes


def establish(suite: Suite, request: Request) -> Command:
    """GENERAL AUTHENTICATE with key 04: 7C {81 {CBh || IDsH || QeH}, 82 empty} in the order of §4.1.8."""
    sent = bytes((request.host_control,)) + request.host_id + request.host_point
    template = tlv.encode(0x7C, tlv.encode(0x81, sent) + b"\x82\x00")
    return Command(0x00, Ins.GENERAL_AUTHENTICATE, suite.algorithm, KeyRef.SECURE_MESSAGING, template, SHORT_NE_MAX)


def decode_request(suite: Suite, sent: bytes) -> Request:
    """Read what stands in 81. Raises Malformed for another length or form of the point."""
    if len(sent) != 1 + ID_BYTES + 1 + 2 * suite.coordinate_bytes or sent[1 + ID_BYTES] != 0x04:
        raise Malformed(_WHAT, f"key establishment of {len(sent)} bytes")
    return Request(sent[0], sent[1 : 1 + ID_BYTES], sent[1 + ID_BYTES :])


@dataclass(frozen=True, slots=True)
class Reply:
    """What the card answers: CBicc, Nicc, AuthCryptogram and its certificate as received."""

    card_control: int
    nonce: bytes
    cryptogram: bytes
    cvc: bytes


def encode_reply(reply: Reply) -> bytes:
    """Write what stands in 82."""
    return bytes((reply.card_control,)) + reply.nonce + reply.cryptogram + reply.cvc


def decode_reply(suite: Suite, sent: bytes) -> Reply:
    """Read what stands in 82. Raises Malformed when it is too short to hold a certificate."""
    nonce_end = 1 + suite.nonce_bytes
    cryptogram_end = nonce_end + CRYPTOGRAM_BYTES
    if len(sent) <= cryptogram_end:
        raise Malformed(_WHAT, f"answer to the key establishment of {len(sent)} bytes")
    return Reply(sent[0], sent[1:nonce_end], sent[nonce_end:cryptogram_end], sent[cryptogram_end:])


@dataclass(frozen=True, slots=True)
class Secured:
    """The data objects of one protected command or response; `objects` are the bytes under the MAC.

    `mac` is b"" where 8E is missing, `status` None where 99 is, `encrypted` b"" where no data travel.
    """

    objects: bytes = field(repr=False)
    encrypted: bytes = field(repr=False)
    has_le: bool
    status: int | None
    mac: bytes


def encode_encrypted(encrypted: bytes) -> bytes:
    """Write 87 {01, cipher text}; nothing where nothing was encrypted."""
    return tlv.encode(ENCRYPTED, _PADDED + encrypted) if encrypted else b""


LE_OBJECT = bytes((LE, 1, 0x00))


def encode_status(sw: int) -> bytes:
    """Write 99 {SW1 SW2}."""
    return bytes((STATUS, 2)) + sw.to_bytes(2, "big")


def encode_mac(mac: bytes) -> bytes:
    """Write 8E with the first 8 bytes of a MAC."""
    return bytes((CHECKSUM, MAC_BYTES)) + mac[:MAC_BYTES]


def decode_secured(data: bytes, order: tuple[int, ...]) -> Secured:
    """Read the data objects of a command (order 87 97 8E) or a response (87 99 8E); each may be missing.

    Raises Malformed for another order, an unknown or repeated object, or one of another size.
    """
    objects = tlv.parse(data)
    tags = [tag for tag, _ in objects]
    if tags != [tag for tag in order if tag in tags]:
        raise Malformed(_WHAT, f"data objects {[f'{tag:X}' for tag in tags]}")
    fields = dict(objects)
    encrypted, mac, status = fields.get(ENCRYPTED), fields.get(CHECKSUM, b""), fields.get(STATUS)
    if encrypted is not None and (encrypted[:1] != _PADDED or len(encrypted) == 1):
        raise Malformed(_WHAT, "87 does not hold 01 and cipher text")
    if CHECKSUM in fields and len(mac) != MAC_BYTES:
        raise Malformed(_WHAT, f"a MAC of {len(mac)} bytes")
    if len(fields.get(LE, b"\x00")) != 1 or len(status or b"\x90\x00") != 2:
        raise Malformed(_WHAT, "97 has one byte, 99 two")
    end = len(data) - (2 + MAC_BYTES) if mac else len(data)
    return Secured(
        data[:end],
        encrypted[1:] if encrypted else b"",
        LE in fields,
        int.from_bytes(status, "big") if status is not None else None,
        mac,
    )


COMMAND_ORDER = (ENCRYPTED, LE, CHECKSUM)
RESPONSE_ORDER = (ENCRYPTED, STATUS, CHECKSUM)
