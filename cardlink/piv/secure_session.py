"""The host's end of PIV secure messaging: establish keys with a card and prove whose it is, then talk under protection.

Does no I/O of its own: `say` carries one command (`functools.partial(transport.connection.command, connection)`), cuts
long ones into a chain and fetches long answers. Written apart from the card's end; only the arithmetic is shared.
Source: SP 800-73pt2-5 §4 ("§").
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cardlink.errors import CardStatus, LinkLost, Malformed
from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import SHORT_NE_MAX, Command, command_name
from cardlink.iso7816.sw import as_sw
from cardlink.piv import secure_messaging as arithmetic
from cardlink.piv.commands import get_data, unwrap_object
from cardlink.piv.cvc import Cvc, Signer, check_card_cvc, decode_cvc
from cardlink.piv.objects import decode_certificate
from cardlink.piv.secure_messaging import Agreement, Request, SessionCiphers, Suite
from cardlink.piv.tables import SM_CERT_SIGNER
from cardlink.piv.templates import decode_response

Say = Callable[[Command], bytes]
NO_HOST_ID = bytes(arithmetic.ID_BYTES)
_WHAT = "secure messaging"
_SUCCESS = 0x9000


class SecureSession:
    """An open session with the card of `cvc`. Whatever goes wrong under way ends it: its keys are let go."""

    __slots__ = ("_chaining_value", "_ciphers", "_counter", "_response_chaining_value", "_say", "cvc")

    def __init__(self, say: Say, cvc: Cvc, ciphers: SessionCiphers) -> None:
        self._say = say
        self._ciphers: SessionCiphers | None = ciphers
        self._chaining_value = self._response_chaining_value = arithmetic.FIRST_CHAINING_VALUE
        self._counter = arithmetic.FIRST_COUNTER
        self.cvc = cvc

    @property
    def is_open(self) -> bool:
        """Can another command be said."""
        return self._ciphers is not None

    def close(self) -> None:
        """Let the keys go."""
        self._ciphers = None

    def command(self, command: Command) -> bytes:
        """Say one command under protection and return the data of its answer.

        Raises CardStatus with the status word inside the protection (the session goes on), or with the bare one that
        the card gave instead of a protected answer, and Malformed or LinkLost (the session is over).
        """
        ciphers = self._ciphers
        if ciphers is None:
            raise Malformed(_WHAT, "the session is over")
        try:
            answer = self._say(self._protect(ciphers, command))
            data, sw = self._open(ciphers, answer)
        except (CardStatus, Malformed, LinkLost):
            self.close()
            raise
        self._counter += 1
        if sw != _SUCCESS:
            raise CardStatus(command_name(command.ins), as_sw(sw))
        return data

    def _protect(self, ciphers: SessionCiphers, command: Command) -> Command:
        """Encrypt, then MAC, the whole command; whoever carries it cuts it into a chain afterwards (§4.2)."""
        if command.ins not in arithmetic.PROTECTED_COMMANDS or command.cla:
            raise Malformed(_WHAT, f"{command_name(command.ins)} has no protected form")
        objects = arithmetic.encode_encrypted(ciphers.encrypt(self._counter, command.data)) if command.data else b""
        if command.le is not None:
            objects += arithmetic.LE_OBJECT
        mac = ciphers.c_mac(self._chaining_value, command.ins, command.p1, command.p2, objects)
        self._chaining_value = mac
        data = objects + arithmetic.encode_mac(mac)
        return Command(arithmetic.CLA_SECURE, command.ins, command.p1, command.p2, data, SHORT_NE_MAX)

    def _open(self, ciphers: SessionCiphers, answer: bytes) -> tuple[bytes, int]:
        """Check the R-MAC, with data or without, then decrypt. Raises Malformed."""
        secured = arithmetic.decode_secured(answer, arithmetic.RESPONSE_ORDER)
        if secured.status is None or not secured.mac:
            raise Malformed(_WHAT, "the answer lacks its status word or MAC")
        mac = ciphers.r_mac(self._response_chaining_value, secured.objects)
        if not hmac.compare_digest(mac[: arithmetic.MAC_BYTES], secured.mac):
            raise Malformed(_WHAT, "the answer's MAC is wrong")
        self._response_chaining_value = mac
        if not secured.encrypted:
            return b"", secured.status
        return ciphers.decrypt(self._counter | arithmetic.RESPONSE_MARK, secured.encrypted), secured.status


@dataclass(frozen=True, slots=True)
class Opening:
    """A key establishment under way, for hosts that carry the bytes themselves: say `command`, then `finish`."""

    command: Command
    suite: Suite
    host_id: bytes
    point: bytes
    private: ec.EllipticCurvePrivateKey = field(repr=False)

    def finish(self, answer: bytes, signer: Signer, intermediate: Cvc | None = None) -> tuple[Cvc, SessionCiphers]:
        """The steps H4 to H13 with the card's answer. Raises Malformed unless the card proves a certified key."""
        suite = self.suite
        reply = arithmetic.decode_reply(suite, decode_response(answer))
        if reply.card_control != 0x00:
            raise Malformed(_WHAT, f"the card's control byte is {reply.card_control:02X}")
        cvc = decode_cvc(reply.cvc)
        check_card_cvc(cvc, suite, signer, intermediate)
        secret = self.private.exchange(ec.ECDH(), cvc.public_key)
        agreement = Agreement(suite, self.host_id, self.point, arithmetic.card_id(cvc.raw), reply.nonce)
        keys = arithmetic.derive(agreement, secret)
        if not hmac.compare_digest(arithmetic.cryptogram(agreement, keys), reply.cryptogram):
            raise Malformed(_WHAT, "the card does not hold the key of its certificate")
        return cvc, SessionCiphers(keys)


def begin(suite: Suite, host_id: bytes = NO_HOST_ID) -> Opening:
    """Draw an ephemeral key: the steps H1 to H3. `suite` is the one that SELECT's answer names."""
    if len(host_id) != arithmetic.ID_BYTES:
        raise Malformed(_WHAT, f"a host identifier has {arithmetic.ID_BYTES} bytes")
    private = ec.generate_private_key(suite.curve)
    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return Opening(arithmetic.establish(suite, Request(0x00, host_id, point)), suite, host_id, point, private)


def open_session(
    say: Say, suite: Suite, signer: Signer, *, intermediate: Cvc | None = None, host_id: bytes = NO_HOST_ID
) -> SecureSession:
    """Establish keys with the card (PIV is selected), after the steps H1 to H13, and open the session.

    `suite` is the one that SELECT's answer names; `signer` and `intermediate` certify the card's key.
    Raises Malformed unless the card proves the key of a certificate of that signer; CardStatus and LinkLost as `say`.
    """
    opening = begin(suite, host_id)
    cvc, ciphers = opening.finish(say(opening.command), signer, intermediate)
    return SecureSession(say, cvc, ciphers)


def authenticate(
    say: Say, suite: Suite, signer: Signer, *, intermediate: Cvc | None = None, host_id: bytes = NO_HOST_ID
) -> Cvc:
    """SM-AUTH: the exchange alone as one-factor proof of the card; its certificate, whose subject is the card UUID.

    Raises as `open_session` does. The keys are let go at once.
    """
    session = open_session(say, suite, signer, intermediate=intermediate, host_id=host_id)
    session.close()
    return session.cvc


def read_signer(say: Say) -> tuple[x509.Certificate, Cvc | None]:
    """Read the secure messaging certificate signer 5FC122: its X.509 certificate and the intermediate one beside it.

    Read from the card, so proof of nothing until the caller has validated the certificate against its own trust.
    Raises Malformed and CardStatus.
    """
    held = decode_certificate(unwrap_object(SM_CERT_SIGNER.tag, say(get_data(SM_CERT_SIGNER.tag))))
    try:
        certificate = x509.load_der_x509_certificate(held.certificate)
    except ValueError as error:
        raise Malformed("content signing certificate", str(error)) from error
    return certificate, decode_cvc(tlv.encode(0x7F21, held.intermediate)) if held.intermediate else None
