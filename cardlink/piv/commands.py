"""The eight PIV commands, as pairs: what the host builds and what the card reads.

`parse_*` is the card's side: it takes a command whose INS matched and raises CardStatus with the status word that the
standard gives for what is wrong. The data of a chain is put together before it is parsed; Le never matters.
Source: SP 800-73pt2-5 §3.
"""

from dataclasses import dataclass, field

from cardlink.errors import CardStatus, Malformed
from cardlink.iso7816 import tlv
from cardlink.iso7816.apdu import SHORT_NE_MAX, Command, Ins
from cardlink.iso7816.sw import SW
from cardlink.piv.tables import BIT_GROUP, CARD_CREDENTIAL, CERT_CARD_AUTH, CHUID, DISCOVERY, PIV_AID, Algorithm, KeyRef
from cardlink.piv.templates import (
    Authentication,
    KeyRequest,
    decode_authentication,
    decode_key_request,
    encode_authentication,
    encode_key_request,
)

# These two travel under their own tag, all other objects in 53 (SP 800-73pt2-5 §3.1.2).
_OWN_TAG = frozenset((DISCOVERY.tag, BIT_GROUP.tag))
DATA_OBJECT = 0x53


def require(condition: bool, command: str, sw: SW) -> None:
    """On the card: answer `sw` unless the condition holds."""
    if not condition:
        raise CardStatus(command, sw)


def select(aid: bytes = PIV_AID) -> Command:
    """SELECT an application by its AID, whole or right-truncated."""
    return Command(0x00, Ins.SELECT, 0x04, 0x00, aid, SHORT_NE_MAX)


def parse_select(command: Command) -> bytes:
    """The AID to select; b"" names the default application."""
    if command.p1 != 0x04 or command.p2 != 0x00:  # written out here and in GET DATA: each tap pays for it
        raise CardStatus("SELECT", SW.INCORRECT_P1P2)
    if len(command.data) > 16:
        raise CardStatus("SELECT", SW.INCORRECT_DATA)
    return command.data


def get_data(tag: int) -> Command:
    """GET DATA: read one object."""
    return Command(0x00, Ins.GET_DATA, 0x3F, 0xFF, tlv.encode(0x5C, tlv.encode_tag(tag)), SHORT_NE_MAX)


def parse_get_data(command: Command) -> int:
    """The tag of the object to read."""
    if command.p1 != 0x3F or command.p2 != 0xFF:
        raise CardStatus("GET DATA", SW.INCORRECT_P1P2)
    data = command.data
    size = len(data)
    if not 3 <= size <= 5 or data[0] != 0x5C or data[1] != size - 2:
        raise CardStatus("GET DATA", SW.INCORRECT_DATA)
    return int.from_bytes(data[2:], "big")


def wrap_object(tag: int, content: bytes) -> bytes:
    """An object as GET DATA answers and PUT DATA takes it: in 53, discovery object and BIT group in their own tag."""
    return tlv.encode(tag if tag in _OWN_TAG else DATA_OBJECT, content)


def unwrap_object(tag: int, answer: bytes) -> bytes:
    """The content of the object `tag` in the answer to GET DATA; b"" is an object that was created and not filled."""
    return tlv.unwrap(answer, tag if tag in _OWN_TAG else DATA_OBJECT)


@dataclass(frozen=True, slots=True)
class Verify:
    """A parsed VERIFY. Without data it asks whether `ref` is verified or, with `clear`, sets it to not verified."""

    ref: int
    data: bytes = field(default=b"", repr=False)
    clear: bool = False


def verify(data: bytes, ref: int = KeyRef.PIN) -> Command:
    """VERIFY: show a reference of 8 bytes (pins.encode_pin); b"" asks for the state and the tries left."""
    return Command(0x00, Ins.VERIFY, 0x00, ref, data)


def verify_clear(ref: int = KeyRef.PIN) -> Command:
    """VERIFY with P1 FF: take the verification back."""
    return Command(0x00, Ins.VERIFY, 0xFF, ref)


def parse_verify(command: Command) -> Verify:
    """Read VERIFY; whether `ref` exists and the data fit it is the card's to say."""
    require(command.p1 in (0x00, 0xFF), "VERIFY", SW.INCORRECT_P1P2)
    clear = command.p1 == 0xFF
    require(not (clear and command.data), "VERIFY", SW.INCORRECT_DATA)
    return Verify(command.p2, command.data, clear)


@dataclass(frozen=True, slots=True)
class ChangeReference:
    """A parsed CHANGE REFERENCE DATA. Without `old` the administrator sets the Global PIN."""

    ref: int
    old: bytes = field(repr=False)
    new: bytes = field(repr=False)


def change_reference_data(ref: int, old: bytes, new: bytes) -> Command:
    """CHANGE REFERENCE DATA: replace PIN or PUK, both written in 8 bytes."""
    return Command(0x00, Ins.CHANGE_REFERENCE_DATA, 0x00, ref, old + new)


def set_reference_data(ref: int, new: bytes) -> Command:
    """CHANGE REFERENCE DATA with P1 01, the new value alone (ISO/IEC 7816-4): the administrator's Global PIN."""
    return Command(0x00, Ins.CHANGE_REFERENCE_DATA, 0x01, ref, new)


def parse_change_reference_data(command: Command) -> ChangeReference:
    """Read CHANGE REFERENCE DATA of the references 00, 80 and 81; P1 01 goes with 00 alone."""
    name = "CHANGE REFERENCE DATA"
    if command.p1 == 0x01 and command.p2 == KeyRef.GLOBAL_PIN:
        require(len(command.data) == 8, name, SW.INCORRECT_DATA)
        return ChangeReference(command.p2, b"", command.data)
    require(command.p1 == 0x00, name, SW.INCORRECT_P1P2)
    require(command.p2 in (KeyRef.GLOBAL_PIN, KeyRef.PIN, KeyRef.PUK), name, SW.REFERENCE_NOT_FOUND)
    require(len(command.data) == 16, name, SW.INCORRECT_DATA)
    return ChangeReference(command.p2, command.data[:8], command.data[8:])


@dataclass(frozen=True, slots=True)
class ResetRetry:
    """A parsed RESET RETRY COUNTER."""

    puk: bytes = field(repr=False)
    new_pin: bytes = field(repr=False)


def reset_retry_counter(puk: bytes, new_pin: bytes) -> Command:
    """RESET RETRY COUNTER: the PUK gives the PIN a new value and its tries back."""
    return Command(0x00, Ins.RESET_RETRY_COUNTER, 0x00, KeyRef.PIN, puk + new_pin)


def parse_reset_retry_counter(command: Command) -> ResetRetry:
    """Read RESET RETRY COUNTER of the reference 80."""
    name = "RESET RETRY COUNTER"
    require(command.p1 == 0x00, name, SW.INCORRECT_P1P2)
    require(command.p2 == KeyRef.PIN, name, SW.REFERENCE_NOT_FOUND)
    require(len(command.data) == 16, name, SW.INCORRECT_DATA)
    return ResetRetry(command.data[:8], command.data[8:])


@dataclass(frozen=True, slots=True)
class GeneralAuthenticate:
    """A parsed GENERAL AUTHENTICATE."""

    algorithm: int
    ref: int
    template: Authentication


def general_authenticate(algorithm: int, ref: int, template: Authentication) -> Command:
    """GENERAL AUTHENTICATE with any template 7C; long ones go as a chain."""
    return Command(0x00, Ins.GENERAL_AUTHENTICATE, algorithm, ref, encode_authentication(template), SHORT_NE_MAX)


def sign(algorithm: int, ref: int, to_sign: bytes) -> Command:
    """GENERAL AUTHENTICATE that asks the private key for its operation on `to_sign`: a hash, or a padded RSA block."""
    return general_authenticate(algorithm, ref, Authentication(challenge=to_sign, response=b""))


def agree(algorithm: int, ref: int, point: bytes) -> Command:
    """GENERAL AUTHENTICATE that asks for the shared secret with the other side's `point` (04||X||Y)."""
    return general_authenticate(algorithm, ref, Authentication(exponentiation=point, response=b""))


def parse_general_authenticate(command: Command) -> GeneralAuthenticate:
    """Read GENERAL AUTHENTICATE; a template that is not one is 6A80."""
    try:
        template = decode_authentication(command.data)
    except Malformed as error:
        raise CardStatus("GENERAL AUTHENTICATE", SW.INCORRECT_DATA) from error
    return GeneralAuthenticate(command.p1, command.p2, template)


def put_data(tag: int, content: bytes) -> Command:
    """PUT DATA: write one object, b"" empties it; long ones go as a chain. Of 7E and 7F61 give what stands inside."""
    wrapped = wrap_object(tag, content)
    data = wrapped if tag in _OWN_TAG else tlv.encode(0x5C, tlv.encode_tag(tag)) + wrapped
    return Command(0x00, Ins.PUT_DATA, 0x3F, 0xFF, data)


def parse_put_data(command: Command) -> tuple[int, bytes]:
    """The tag of the object to write, and its content."""
    require(command.p1 == 0x3F and command.p2 == 0xFF, "PUT DATA", SW.INCORRECT_P1P2)
    try:
        tag, value, rest = tlv.split_first(command.data)
        if tag in _OWN_TAG and not rest:
            return tag, value
        named = int.from_bytes(value, "big")
        if tag == 0x5C and named not in _OWN_TAG and tlv.encode_tag(named) == value:
            return named, tlv.unwrap(rest, DATA_OBJECT)
    except Malformed as error:
        raise CardStatus("PUT DATA", SW.INCORRECT_DATA) from error
    raise CardStatus("PUT DATA", SW.INCORRECT_DATA)


def generate_key(ref: int, algorithm: int, *, pin_policy: int = 0, touch_policy: int = 0) -> Command:
    """GENERATE ASYMMETRIC KEY PAIR; the policies are Yubico's and stand only where they are not 0."""
    data = encode_key_request(KeyRequest(algorithm, pin_policy, touch_policy))
    return Command(0x00, Ins.GENERATE_ASYMMETRIC_KEY_PAIR, 0x00, ref, data, SHORT_NE_MAX)


def parse_generate_key(command: Command) -> tuple[int, KeyRequest]:
    """The key reference and what is asked of it; which pairs exist is the card's to say."""
    name = "GENERATE ASYMMETRIC KEY PAIR"
    require(command.p1 == 0x00, name, SW.INCORRECT_P1P2)
    try:
        return command.p2, decode_key_request(command.data)
    except Malformed as error:
        raise CardStatus(name, SW.INCORRECT_DATA) from error


# What a door says at each tap, ready to be sent.
SELECT_PIV_APDU = select().encode()
GET_CARD_CREDENTIAL_APDU = get_data(CARD_CREDENTIAL.tag).encode()
GET_CHUID_APDU = get_data(CHUID.tag).encode()
GET_CERT_CARD_AUTH_APDU = get_data(CERT_CARD_AUTH.tag).encode()
_SIGN_P256_HEAD = bytes(
    (0x00, Ins.GENERAL_AUTHENTICATE, Algorithm.P_256, KeyRef.CARD_AUTH, 38, 0x7C, 36, 0x82, 0x00, 0x81, 32)
)


def sign_with_card_key_apdu(digest: bytes) -> bytes:
    """The APDU that asks 9E for a P-256 signature over a digest of 32 bytes; the same as `sign(...).encode()`."""
    if len(digest) != 32:
        raise Malformed("challenge", f"want a digest of 32 bytes, got {len(digest)}")
    return _SIGN_P256_HEAD + digest + b"\x00"
