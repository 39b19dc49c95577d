"""Card products: what personalisation must know of one. Data, not code: another product is another row."""

from dataclasses import dataclass, replace

from cardlink.gp.scp03 import LEVELS, Level, max_plain_bytes
from cardlink.piv.objects import VCI_BIT
from cardlink.piv.secure_messaging import CS2, Suite
from cardlink.piv.tables import (
    CARD_CREDENTIAL,
    CCC,
    CERT_CARD_AUTH,
    CERT_KEY_MANAGEMENT,
    CERT_PIV_AUTH,
    CERT_SIGNATURE,
    CHUID,
    DISCOVERY,
    FACIAL_IMAGE,
    FINGERPRINTS,
    IDENTITY_STATEMENT,
    PRINTED_INFORMATION,
    SECURITY_OBJECT,
    SM_CERT_SIGNER,
    Access,
    Algorithm,
    Container,
    KeyRef,
)
from issuer.errors import Refused

PROTECTED = Level(0x33)
"""SCP03 with C-MAC, C-ENC, R-MAC and R-ENC: the station sees ciphertext and can change nothing unseen."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A key pair made on the card: its reference, the profile of its certificate, where that is stored."""

    ref: KeyRef
    certificate_profile: str
    container: Container


@dataclass(frozen=True, slots=True)
class CardProfile:
    """One card product.

    `security_level`: what SCP03 of this product can do: 33, or 13 or 03 where it does not encrypt or not even protect
    its answers. Never without C-ENC, since the PIN and the PUK go over the channel. `mac_bytes`: 8, or 16 in S16 mode.
    `face_bytes`: how large the portrait on the chip may be. `has_metadata`: it answers Yubico's GET METADATA, so a
    torn change of PIN or PUK can be told from one that did not happen. `messaging`: with a secure messaging key of this
    suite; the content signer's key is on P-256, so cipher suite 2. `is_attested`: the chip's maker vouches for the keys
    made on it; such a chip that does not prove it is refused.
    """

    name: str
    transport_kvn: int
    card_kvn: int
    security_level: Level
    mac_bytes: int
    algorithm: Algorithm
    slots: tuple[Slot, ...]
    containers: tuple[Container, ...]
    pin_policy: int
    face_bytes: int
    has_metadata: bool
    messaging: Suite | None = None
    is_attested: bool = False

    def __post_init__(self) -> None:
        if self.security_level not in LEVELS or not self.security_level & Level.C_ENC:
            raise ValueError(f"{self.name}: security level {self.security_level:02X}")
        if self.messaging not in (None, CS2):
            raise ValueError(f"{self.name}: a content signer on P-256 certifies cipher suite 2 alone")
        if self.pin_policy & VCI_BIT and self.messaging is None:
            raise ValueError(f"{self.name}: PIN usage policy {self.pin_policy:02X} without secure messaging")

    @property
    def block_bytes(self) -> int:
        """The most plain data of one command that is still short when it is protected."""
        return max_plain_bytes(self.security_level, self.mac_bytes)


THEMO = CardProfile(
    name="themo",
    transport_kvn=0x30,
    card_kvn=0x01,
    security_level=PROTECTED,
    mac_bytes=8,
    algorithm=Algorithm.P_256,
    slots=(
        Slot(KeyRef.PIV_AUTH, "9A", CERT_PIV_AUTH),
        Slot(KeyRef.SIGNATURE, "9C", CERT_SIGNATURE),
        Slot(KeyRef.KEY_MANAGEMENT, "9D", CERT_KEY_MANAGEMENT),
        Slot(KeyRef.CARD_AUTH, "9E", CERT_CARD_AUTH),
    ),
    containers=(
        CCC,
        DISCOVERY,
        CHUID,
        PRINTED_INFORMATION,
        FACIAL_IMAGE,
        FINGERPRINTS,
        SECURITY_OBJECT,
        CERT_PIV_AUTH,
        CERT_SIGNATURE,
        CERT_KEY_MANAGEMENT,
        CERT_CARD_AUTH,
        CARD_CREDENTIAL,
        IDENTITY_STATEMENT,
    ),
    pin_policy=0x40,  # the application PIN; no secure messaging, so no virtual contact interface
    face_bytes=10_000,
    has_metadata=True,
)

THEMO_VCI = replace(
    THEMO,
    name="themo-vci",
    messaging=CS2,
    containers=(SM_CERT_SIGNER, *THEMO.containers),
    pin_policy=0x4C,  # secure messaging opens the virtual contact interface to our own terminals without pairing code
)

PRODUCTS = {
    one.name: one
    for base in (THEMO, THEMO_VCI)
    for one in (base, replace(base, name=f"{base.name}-attested", is_attested=True))
}
"""The products by the names that settings and commands know (`issuer.config.PRODUCTS`)."""


def named(product: str) -> CardProfile:
    """The product of that name. Raises Refused."""
    if product not in PRODUCTS:
        raise Refused("cards.unknown_product", product=product, known=", ".join(PRODUCTS))
    return PRODUCTS[product]


def needs_pin(container: Container) -> bool:
    """Say whether reading this container over contact takes the PIN."""
    return container.contact_read is not Access.ALWAYS
