"""Cards with a secure messaging key, and what their host knows: shared by the tests of secure messaging.

The keys of the signers are made for each run.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cardlink.errors import CardStatus
from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import Command, split_chain
from cardlink.piv import commands as piv
from cardlink.piv.cvc import CVC_TAG, Signer, issue_card_cvc, signer_of
from cardlink.piv.objects import Discovery, encode_certificate, encode_discovery, encode_pairing_code_reference
from cardlink.piv.secure_messaging import CS2, CS7, Suite
from cardlink.piv.secure_session import SecureSession, open_session
from cardlink.piv.tables import CONTAINERS, DISCOVERY, PAIRING_CODE_REFERENCE, SM_CERT_SIGNER, Algorithm, Interface
from cardlink.piv.templates import Authentication, EcPublicKey, decode_public_key
from cardlink.transport.connection import command as say
from cardlink.transport.loopback import Loopback
from cardos.card import Card
from cardos.defaults import FACTORY_ADMIN_KEY
from cardos.factory import make_blank
from cardos.store import MemoryStore

SERIAL = bytes.fromhex("0001000200C0FFEE0001")
TRANSPORT = (bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48)))  # made up for these tests
CARD_UUID = bytes.fromhex("0FBD5EB7B8F14A0E9D7E6B0A12345678")
PIN, WRONG, GLOBAL, CODE = b"123456\xff\xff", b"654321\xff\xff", b"24681357", b"20304050"
CONTACT, CONTACTLESS = Interface.CONTACT, Interface.CONTACTLESS
SUITES = (CS2, CS7)
SLOT_ALGORITHM = {CS2: Algorithm.P_256, CS7: Algorithm.P_384}


@dataclass(frozen=True, slots=True)
class Office:
    """A content signer of one suite: its key and its certificate."""

    suite: Suite
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def signer(self) -> Signer:
        return signer_of(self.certificate)

    def sign(self, body: bytes) -> bytes:
        return self.key.sign(body, ec.ECDSA(self.suite.signature_hash))


def certified(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, *, with_identifier: bool = True) -> x509.Certificate:
    """A content signing certificate over that key, signed by itself."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "content signer of the tests")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
    if with_identifier:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return builder.sign(key, hashes.SHA256())


@cache
def office(suite: Suite) -> Office:
    key = ec.generate_private_key(suite.curve)
    return Office(suite, key, certified(key))


@cache
def rsa_office() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def sign_rsa(body: bytes) -> bytes:
    return rsa_office().sign(body, padding.PKCS1v15(), hashes.SHA256())


def point_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def a_point(suite: Suite) -> bytes:
    return point_of(ec.derive_private_key(99, suite.curve))


def sayer(card: Card, interface: Interface = CONTACT) -> Callable[[Command], bytes]:
    """Says one command over that face: chains, GET RESPONSE, CardStatus."""
    return partial(say, Loopback(lambda apdu: card.transmit(apdu, interface)))


def sw(card: Card, apdu: Command | bytes | str, interface: Interface = CONTACT) -> int:
    """The status word to one command; a text is an APDU in hex, a long command goes as a chain."""
    if isinstance(apdu, Command):
        raws = [one.encode() for one in split_chain(apdu)]
    else:
        raws = [bytes.fromhex(apdu) if isinstance(apdu, str) else apdu]
    answers = [card.transmit(raw, interface) for raw in raws]
    assert all(one == b"\x90\x00" for one in answers[:-1]) or answers[-1] != b"\x90\x00"
    return int.from_bytes(answers[-1][-2:], "big")


def status(say: Callable[[Command], bytes], command: Command) -> int:
    """What the command comes to, inside the protection or in the clear."""
    try:
        say(command)
    except CardStatus as refused:
        return int(refused.sw)
    return 0x9000


def become_admin(card: Card) -> None:
    send = sayer(card)
    send(piv.select())
    template = tlv.unwrap(send(piv.general_authenticate(0x0A, 0x9B, Authentication(challenge=b""))), 0x7C)
    cipher = Cipher(algorithms.AES(FACTORY_ADMIN_KEY), modes.ECB())  # noqa: S305 one block
    shown = cipher.encryptor().update(tlv.unwrap(template, 0x81))
    send(piv.general_authenticate(0x0A, 0x9B, Authentication(response=shown)))


def give_messaging_key(card: Card, suite: Suite) -> bytes:
    """Make key 04 and certify it, the administrator being there; the certificate."""
    send = sayer(card)
    public = decode_public_key(send(piv.generate_key(0x04, suite.algorithm)), suite.algorithm)
    assert isinstance(public, EcPublicKey)
    signer = office(suite)
    cvc = issue_card_cvc(suite, public.point, CARD_UUID, signer.signer.issuer_id, signer.sign)
    send(piv.put_data(CVC_TAG, cvc))
    return cvc


def policy(card: Card, first: int, second: int = 0x00) -> None:
    """Write the PIN usage policy, the administrator being there."""
    sayer(card)(piv.put_data(DISCOVERY.tag, encode_discovery(Discovery(first, second))))


@cache
def records(suite: Suite, usage: int = 0x4C) -> dict[bytes, bytes]:
    """An issued card: keys in all kinds of slots, every object, key 04, that PIN usage policy, a Global PIN."""
    store = MemoryStore(make_blank(SERIAL, TRANSPORT))
    card = Card(store)
    become_admin(card)
    send = sayer(card)
    for ref in (0x9A, 0x9C, 0x9D, 0x9E, 0x82, 0x95):
        send(piv.generate_key(ref, SLOT_ALGORITHM[suite]))
    give_messaging_key(card, suite)
    send(piv.set_reference_data(0x00, GLOBAL))
    for tag in CONTAINERS:
        if tag not in (DISCOVERY.tag, PAIRING_CODE_REFERENCE.tag, SM_CERT_SIGNER.tag):
            send(piv.put_data(tag, content_of(tag)))
    send(piv.put_data(PAIRING_CODE_REFERENCE.tag, encode_pairing_code_reference(CODE)))
    der = office(suite).certificate.public_bytes(Encoding.DER)
    send(piv.put_data(SM_CERT_SIGNER.tag, encode_certificate(der)))
    policy(card, usage, 0x10 if usage & 0x20 else 0x00)
    return store.load()


def content_of(tag: int) -> bytes:
    """What the tests keep in an object: enough for several fragments."""
    return hashlib.sha256(tag.to_bytes(3, "big")).digest() * 17


def issued(suite: Suite = CS2, usage: int = 0x4C, store: MemoryStore | None = None) -> Card:
    return Card(store or MemoryStore(records(suite, usage)))


def opened(card: Card, interface: Interface = CONTACTLESS, suite: Suite = CS2) -> SecureSession:
    """Select PIV over that face and open a session."""
    send = sayer(card, interface)
    send(piv.select())
    return open_session(send, suite, office(suite).signer)
