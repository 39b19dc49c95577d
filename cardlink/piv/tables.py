"""The rows of the PIV standard: application identifier, keys, algorithms and containers, and who may read or use them.

Sources: SP 800-73pt1-5 (§2, §3.5, §4, §5, Appendix A), SP 800-78-5 (§6.2). Card and host read the same row.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum

NIST_RID = bytes.fromhex("A000000308")
PIV_PIX = bytes.fromhex("000010000100")  # application PIV, version 1.0
PIV_AID = NIST_RID + PIV_PIX
PIV_AID_TRUNCATED = PIV_AID[:9]  # without the version: selects as well (SP 800-73pt1-5 §2.2)


class Interface(Enum):
    """The face of the card over which a command comes."""

    CONTACT = "contact"
    CONTACTLESS = "contactless"


class Access(Enum):
    """What must hold before a container is read or a key is used over one interface.

    PIN means application or Global PIN, OCC a fingerprint compared on the card, VCI the virtual contact interface.
    EACH_USE: verified by the command immediately before. SM: under secure messaging.
    """

    ALWAYS = "always"
    PIN = "PIN"
    PIN_OR_OCC = "PIN or OCC"
    PIN_OR_OCC_EACH_USE = "PIN or OCC, each use"
    SM = "SM"
    VCI = "VCI"
    VCI_AND_PIN = "VCI and PIN"
    VCI_AND_PIN_OR_OCC = "VCI and (PIN or OCC)"
    VCI_AND_PIN_OR_OCC_EACH_USE = "VCI and (PIN or OCC), each use"
    NEVER = "never"


class Presence(Enum):
    """Must the card have it (SP 800-73pt1-5, Table 1); OWN: outside NIST's range, ours or a maker's."""

    MANDATORY = "mandatory"
    CONDITIONAL = "conditional"
    OPTIONAL = "optional"
    OWN = "own"


class Algorithm(IntEnum):
    """Cryptographic mechanism identifiers (SP 800-78-5 §6.2); the last three are vendors' (YubiKey 5.7)."""

    TDES_3KEY_DEFAULT = 0x00
    TDES_3KEY = 0x03
    RSA_3072 = 0x05
    RSA_1024 = 0x06
    RSA_2048 = 0x07
    AES_128 = 0x08
    AES_192 = 0x0A
    AES_256 = 0x0C
    P_256 = 0x11
    P_384 = 0x14
    CS2 = 0x27  # secure messaging: P-256, AES-128, SHA-256
    CS7 = 0x2E  # secure messaging: P-384, AES-256, SHA-384
    RSA_4096 = 0x16
    ED25519 = 0xE0
    X25519 = 0xE1


RSA_BITS = {
    Algorithm.RSA_1024: 1024,
    Algorithm.RSA_2048: 2048,
    Algorithm.RSA_3072: 3072,
    Algorithm.RSA_4096: 4096,
}
EC_COORDINATE_BYTES = {Algorithm.P_256: 32, Algorithm.P_384: 48, Algorithm.CS2: 32, Algorithm.CS7: 48}
OCTET_KEY_BYTES = {Algorithm.ED25519: 32, Algorithm.X25519: 32}  # keys that are a string of bytes (RFC 8032, RFC 7748)
BLOCK_CIPHER_KEY_BYTES = {
    Algorithm.TDES_3KEY_DEFAULT: 24,
    Algorithm.TDES_3KEY: 24,
    Algorithm.AES_128: 16,
    Algorithm.AES_192: 24,
    Algorithm.AES_256: 32,
}
_TDES_IDS = (Algorithm.TDES_3KEY_DEFAULT, Algorithm.TDES_3KEY)
BLOCK_BYTES = {alg: 8 if alg in _TDES_IDS else 16 for alg in BLOCK_CIPHER_KEY_BYTES}


class YubicoIns(IntEnum):
    """Instruction bytes of Yubico's extensions to PIV (yubikit 5)."""

    MOVE_KEY = 0xF6
    GET_METADATA = 0xF7
    GET_SERIAL = 0xF8
    ATTEST = 0xF9
    SET_PIN_RETRIES = 0xFA
    RESET = 0xFB
    GET_VERSION = 0xFD
    IMPORT_KEY = 0xFE
    SET_MANAGEMENT_KEY = 0xFF


class KeyRef(IntEnum):
    """Key references (SP 800-73pt1-5 §5.1, Tables 6 and 7)."""

    GLOBAL_PIN = 0x00
    SECURE_MESSAGING = 0x04
    PIN = 0x80
    PUK = 0x81
    PRIMARY_FINGER = 0x96
    SECONDARY_FINGER = 0x97
    PAIRING_CODE = 0x98
    PIV_AUTH = 0x9A
    ADMIN = 0x9B
    SIGNATURE = 0x9C
    KEY_MANAGEMENT = 0x9D
    CARD_AUTH = 0x9E  # the CAK: no PIN, contact and contactless
    RETIRED_1 = 0x82
    RETIRED_2 = 0x83
    RETIRED_3 = 0x84
    RETIRED_4 = 0x85
    RETIRED_5 = 0x86
    RETIRED_6 = 0x87
    RETIRED_7 = 0x88
    RETIRED_8 = 0x89
    RETIRED_9 = 0x8A
    RETIRED_10 = 0x8B
    RETIRED_11 = 0x8C
    RETIRED_12 = 0x8D
    RETIRED_13 = 0x8E
    RETIRED_14 = 0x8F
    RETIRED_15 = 0x90
    RETIRED_16 = 0x91
    RETIRED_17 = 0x92
    RETIRED_18 = 0x93
    RETIRED_19 = 0x94
    RETIRED_20 = 0x95
    ATTESTATION = 0xF9  # Yubico


RETIRED_KEYS = tuple(KeyRef(ref) for ref in range(0x82, 0x96))


@dataclass(frozen=True, slots=True)
class Container:
    """One row of the PIV data model (SP 800-73pt1-5, Appendix A).

    `tag` is what GET DATA names; `inner` are the tags inside, in the order in which they stand; `min_bytes` is the
    capacity a card must offer. The value travels in 53, but that of 7E and 7F61 under its own tag.
    """

    name: str
    tag: int
    container_id: int
    min_bytes: int
    contact_read: Access
    contactless_read: Access
    presence: Presence
    inner: tuple[int, ...] = ()

    def read_access(self, interface: Interface) -> Access:
        """What must hold before GET DATA over that interface."""
        return self.contact_read if interface is Interface.CONTACT else self.contactless_read


_CERT = (0x70, 0x71, 0xFE)
_A = Access
_M, _C, _O, _OWN = Presence.MANDATORY, Presence.CONDITIONAL, Presence.OPTIONAL, Presence.OWN

CCC = Container(
    "card capability container",
    0x5FC107,
    0xDB00,
    170,
    _A.ALWAYS,
    _A.VCI,
    _M,
    (0xF0, 0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE),
)
CHUID = Container("CHUID", 0x5FC102, 0x3000, 2881, _A.ALWAYS, _A.ALWAYS, _M, (0x30, 0x34, 0x35, 0x36, 0x3E, 0xFE))
CERT_PIV_AUTH = Container("certificate 9A", 0x5FC105, 0x0101, 1857, _A.ALWAYS, _A.VCI, _M, _CERT)
FINGERPRINTS = Container("fingerprints", 0x5FC103, 0x6010, 4006, _A.PIN, _A.VCI_AND_PIN, _M, (0xBC, 0xFE))
SECURITY_OBJECT = Container("security object", 0x5FC106, 0x9000, 1336, _A.ALWAYS, _A.VCI, _M, (0xBA, 0xBB, 0xFE))
FACIAL_IMAGE = Container("facial image", 0x5FC108, 0x6030, 12710, _A.PIN, _A.VCI_AND_PIN, _M, (0xBC, 0xFE))
CERT_CARD_AUTH = Container("certificate 9E", 0x5FC101, 0x0500, 1857, _A.ALWAYS, _A.ALWAYS, _M, _CERT)
CERT_SIGNATURE = Container("certificate 9C", 0x5FC10A, 0x0100, 1857, _A.ALWAYS, _A.VCI, _C, _CERT)
CERT_KEY_MANAGEMENT = Container("certificate 9D", 0x5FC10B, 0x0102, 1857, _A.ALWAYS, _A.VCI, _C, _CERT)
PRINTED_INFORMATION = Container(
    "printed information",
    0x5FC109,
    0x3001,
    245,
    _A.PIN_OR_OCC,
    _A.VCI_AND_PIN_OR_OCC,
    _O,
    (0x01, 0x02, 0x04, 0x05, 0x06, 0x07, 0x08, 0xFE),
)
DISCOVERY = Container("discovery object", 0x7E, 0x6050, 19, _A.ALWAYS, _A.ALWAYS, _O, (0x4F, 0x5F2F))
KEY_HISTORY = Container("key history", 0x5FC10C, 0x6060, 128, _A.ALWAYS, _A.VCI, _O, (0xC1, 0xC2, 0xF3, 0xFE))
RETIRED_CERTS = tuple(
    Container(
        f"certificate {0x82 + index:X}",
        0x5FC10D + index,
        0x1001 + index,
        1895,
        _A.ALWAYS,
        _A.VCI,
        _O,
        (0x70, 0x71, 0x72, 0xFE),
    )
    for index in range(20)
)
IRIS = Container("iris images", 0x5FC121, 0x1015, 7106, _A.PIN, _A.VCI_AND_PIN, _O, (0xBC, 0xFE))
BIT_GROUP = Container("biometric information templates group", 0x7F61, 0x1016, 65, _A.ALWAYS, _A.ALWAYS, _O)
SM_CERT_SIGNER = Container(
    "secure messaging certificate signer",
    0x5FC122,
    0x1017,
    2471,
    _A.ALWAYS,
    _A.ALWAYS,
    _O,
    (0x70, 0x71, 0x7F21, 0xFE),
)
PAIRING_CODE_REFERENCE = Container(
    "pairing code reference", 0x5FC123, 0x1018, 12, _A.PIN_OR_OCC, _A.VCI_AND_PIN_OR_OCC, _O, (0x99, 0xFE)
)
# Our own, outside NIST's range 5FC1xx and clear of Yubico's 5FFF00 to 5FFF15 (docs/formats.md, F3 and F4).
CARD_CREDENTIAL = Container("card credential", 0x5FFF20, 0xFF20, 252, _A.ALWAYS, _A.ALWAYS, _OWN)
# 3382 bytes hold an identity statement by ML-DSA-44; by ES256 it has at most 1024.
IDENTITY_STATEMENT = Container("identity statement", 0x5FFF21, 0xFF21, 3382, _A.PIN, _A.VCI_AND_PIN, _OWN)
# Yubico: the certificate of the key F9, which signs attestations.
CERT_ATTESTATION = Container("certificate F9", 0x5FFF01, 0xFF01, 1857, _A.ALWAYS, _A.VCI, _OWN, _CERT)

CONTAINERS: dict[int, Container] = {
    row.tag: row
    for row in (
        CCC,
        CHUID,
        CERT_PIV_AUTH,
        FINGERPRINTS,
        SECURITY_OBJECT,
        FACIAL_IMAGE,
        CERT_CARD_AUTH,
        CERT_SIGNATURE,
        CERT_KEY_MANAGEMENT,
        PRINTED_INFORMATION,
        DISCOVERY,
        KEY_HISTORY,
        *RETIRED_CERTS,
        IRIS,
        BIT_GROUP,
        SM_CERT_SIGNER,
        PAIRING_CODE_REFERENCE,
        CARD_CREDENTIAL,
        IDENTITY_STATEMENT,
        CERT_ATTESTATION,
    )
}


@dataclass(frozen=True, slots=True)
class Key:
    """One row of the key references (SP 800-73pt1-5, Tables 6 and 7; algorithms: SP 800-78-5, Table 9).

    `can_generate`: GENERATE ASYMMETRIC KEY PAIR names it; `can_agree`: 7C 85 (ECDH) is allowed with it. The vendors'
    algorithms stand where they can be used: Ed25519 signs and X25519 agrees, so neither takes the other's place.
    """

    ref: KeyRef
    contact_use: Access
    contactless_use: Access
    algorithms: frozenset[Algorithm] = frozenset()
    can_generate: bool = False
    can_agree: bool = False
    certificate: Container | None = None

    def use_access(self, interface: Interface) -> Access:
        """What must hold before the key is used over that interface."""
        return self.contact_use if interface is Interface.CONTACT else self.contactless_use


_PAIR = frozenset(
    {Algorithm.RSA_2048, Algorithm.RSA_3072, Algorithm.RSA_4096, Algorithm.P_256, Algorithm.P_384},
)
_SIGNING = _PAIR | {Algorithm.ED25519}
_MANAGING = _PAIR | {Algorithm.X25519}
_BLOCK = frozenset({Algorithm.AES_128, Algorithm.AES_192, Algorithm.AES_256})
_TDES = frozenset({Algorithm.TDES_3KEY_DEFAULT, Algorithm.TDES_3KEY})
_SM = frozenset({Algorithm.CS2, Algorithm.CS7})

KEYS: dict[int, Key] = {
    row.ref: row
    for row in (
        Key(KeyRef.GLOBAL_PIN, _A.ALWAYS, _A.VCI),
        Key(KeyRef.PIN, _A.ALWAYS, _A.VCI),
        Key(KeyRef.PUK, _A.ALWAYS, _A.NEVER),
        Key(KeyRef.PRIMARY_FINGER, _A.ALWAYS, _A.SM),
        Key(KeyRef.SECONDARY_FINGER, _A.ALWAYS, _A.SM),
        Key(KeyRef.PAIRING_CODE, _A.ALWAYS, _A.SM),
        Key(KeyRef.SECURE_MESSAGING, _A.ALWAYS, _A.ALWAYS, _SM, can_generate=True),
        Key(
            KeyRef.PIV_AUTH,
            _A.PIN_OR_OCC,
            _A.VCI_AND_PIN_OR_OCC,
            _SIGNING,
            can_generate=True,
            certificate=CERT_PIV_AUTH,
        ),
        Key(KeyRef.ADMIN, _A.ALWAYS, _A.NEVER, _BLOCK | _TDES),
        Key(
            KeyRef.SIGNATURE,
            _A.PIN_OR_OCC_EACH_USE,
            _A.VCI_AND_PIN_OR_OCC_EACH_USE,
            _SIGNING,
            can_generate=True,
            certificate=CERT_SIGNATURE,
        ),
        Key(
            KeyRef.KEY_MANAGEMENT,
            _A.PIN_OR_OCC,
            _A.VCI_AND_PIN_OR_OCC,
            _MANAGING,
            can_generate=True,
            can_agree=True,
            certificate=CERT_KEY_MANAGEMENT,
        ),
        Key(
            KeyRef.CARD_AUTH,
            _A.ALWAYS,
            _A.ALWAYS,
            _SIGNING | _BLOCK,
            can_generate=True,
            certificate=CERT_CARD_AUTH,
        ),
        *(
            Key(
                ref,
                _A.PIN_OR_OCC,
                _A.VCI_AND_PIN_OR_OCC,
                _MANAGING | {Algorithm.RSA_1024},
                can_agree=True,
                certificate=RETIRED_CERTS[index],
            )
            for index, ref in enumerate(RETIRED_KEYS)
        ),
    )
}
# Yubico's F9 is in no table of the standard: it signs attestations and nothing that a host chooses.
ATTESTATION_ALGORITHMS = _PAIR
KEYS_THAT_GENERATE = tuple(sorted(ref for ref, row in KEYS.items() if row.can_generate))
PIN_TRIES_MAX = 10  # consecutive wrong tries of PIN and OCC (FIPS 201-3 §4.3.1)
