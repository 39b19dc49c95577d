"""Keys that come to a PKCS#11 device and leave it enciphered: AES key wrap with padding (RFC 5649), done in the device.

What comes in is tried before it is kept: as an object of the session alone, with which the check value is worked out or
a signature made. A key-encryption key comes in components; their exclusive or is in this worker's memory for a moment,
and which person entered which, a device does not know.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.constants import DEFAULT
from pkcs11.util.ec import encode_named_curve_parameters

from cardlink.gp.keys import key_check_value
from cardlink.gp.scp03 import BLOCK_BYTES, KEY_BYTES
from issuer.trust.pkcs11_device import FIXED, UNUSED, Device, kept
from issuer.trust.pkcs11_errors import in_our_words
from issuer.trust.pkcs11_keys import (
    ACTIVE,
    AES,
    CARD_MASTER,
    DER_OCTET_STRING,
    EC,
    PARTS,
    POINT_BYTES,
    SCP03_SET,
    SIGNING_KINDS,
    STAYING_USES,
    TRANSPORT,
    WRAP,
    Entry,
    Mark,
)
from issuer.trust.pkcs11_wire import Refused
from issuer.trust.port import KeyInfo
from issuer.trust.signature_check import is_signature

COMPONENTS = (2, 3)
KEK_BYTES = 32
KCV_BYTES = 3
EXTRA_BYTES = 8
"""What enciphering adds to a key whose length is a multiple of 8."""
P256 = encode_named_curve_parameters("secp256r1")
NO_SECRET_USE = dict.fromkeys((Attribute.ENCRYPT, Attribute.WRAP, Attribute.VERIFY), DEFAULT)
"""Left out for a private key: these are attributes of the other kinds."""
TAKES_NO_SUCH = (
    *(pkcs11.TemplateIncomplete, pkcs11.TemplateInconsistent, pkcs11.AttributeTypeInvalid, pkcs11.AttributeReadOnly),
    *(pkcs11.AttributeValueInvalid, pkcs11.FunctionNotSupported, pkcs11.MechanismInvalid),
)
"""What a device answers that cannot take this kind of key enciphered, whatever comes."""
TRIED = b"themo-wrapped-key"


class Wrapping:
    """Enciphers and deciphers keys in one device; holds the components that one ceremony enters."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._entered: dict[str, dict[int, bytes]] = {}

    # --- key-encryption keys

    def load_component(self, label: str, number: int, count: int, component: bytes) -> list[Any]:
        """Take one component; the last makes the key. Answers its check value, how many there are, that of the key."""
        if count not in COMPONENTS or not 1 <= number <= count or len(component) != KEK_BYTES or not any(component):
            raise Refused("bad-request", f"a key comes in 2 or 3 components of {KEK_BYTES} bytes, numbered from 1")
        self._device.check_new(label)
        entered = {**self._entered.get(label, {}), number: component}
        if max(entered) > count:
            raise Refused("bad-request", f"{label} was begun with more components")
        self._entered[label] = entered
        answer = [key_check_value(component), len(entered), b""]
        if len(entered) == count:
            whole = _exclusive_or(list(entered.values()))
            self._keep_kek(label, whole)
            del self._entered[label]
            answer[2] = key_check_value(whole)
        return answer

    def _keep_kek(self, label: str, value: bytes) -> None:
        if self._device.wrap_mechanism is None:
            raise Refused("denied", "the device has no AES key wrap with padding")
        mark = Mark.new(AES, WRAP, (), int(time.time()))
        with in_our_words():
            self._device.session.create_object(
                {
                    Attribute.CLASS: ObjectClass.SECRET_KEY,
                    Attribute.KEY_TYPE: KeyType.AES,
                    Attribute.TOKEN: True,
                    Attribute.ID: mark.encode(),
                    Attribute.LABEL: label,
                    Attribute.VALUE: value,
                    **UNUSED,
                    Attribute.SIGN: False,
                    Attribute.ENCRYPT: False,
                    Attribute.WRAP: True,
                    Attribute.UNWRAP: True,
                    **kept(),
                }
            )
        self._device.made(label, mark)

    def _cipher(self, label: str) -> tuple[Any, Mechanism]:
        """The object that enciphers, and how. Raises Refused."""
        entry = self._device.find(label, is_anew=True)
        mechanism = self._device.wrap_mechanism
        if entry.mark.use != WRAP or mechanism is None:
            raise Refused("denied", f"{label} enciphers no keys")
        return entry.work(), mechanism

    # --- out

    def wrap_key(self, label: str, kek: str) -> list[bytes]:
        """An exportable key, enciphered, and its check value."""
        entry = self._device.find(label, is_anew=True)
        if entry.mark.use in STAYING_USES:
            raise Refused("denied", f"keys of use {entry.mark.use} never leave")
        cipher, mechanism = self._cipher(kek)
        parts = PARTS if entry.mark.kind == SCP03_SET else ("",)
        with in_our_words():
            try:
                wrapped = [cipher.wrap_key(entry.work(part), mechanism=mechanism) for part in parts]
            except pkcs11.KeyUnextractable as error:
                raise Refused("not-exportable", label) from error
            except (pkcs11.KeyNotWrappable, pkcs11.KeySizeRange, pkcs11.FunctionNotSupported) as error:
                raise Refused("denied", f"the device enciphers no keys of kind {entry.mark.kind}") from error
        return [b"".join(wrapped), entry.public or self._kcv(kek, wrapped[0])]

    # --- in

    def unwrap_key(
        self,
        kek: str,
        wrapped: bytes,
        label: str,
        kind: str,
        use: str,
        scope: list[str],
        check: bytes,
        is_exportable: bool,
    ) -> Entry:
        """Take an enciphered key in. Raises Refused."""
        device = self._device
        self._take_half_away(label)
        device.check_new(label)
        mark = Mark.new(kind, use, tuple(scope), int(time.time()))
        mark.encode()
        if use in STAYING_USES:
            raise Refused("denied", f"keys of use {use} do not come enciphered")
        if (kind == AES, kind == SCP03_SET) != (use == CARD_MASTER, use == TRANSPORT):
            raise Refused("bad-request", f"no key of kind {kind} for use {use}")
        self._cipher(kek)
        if kind in (AES, SCP03_SET):
            self._take_secrets(kek, wrapped, label, mark, check, is_exportable)
        elif kind == EC:
            self._take_signer(kek, wrapped, label, mark, check, is_exportable)
        else:
            raise Refused("denied", f"no keys of kind {kind[:16]} come to a PKCS #11 device enciphered")
        return device.made(label, mark, is_exportable=is_exportable)

    def _take_half_away(self, label: str) -> None:
        """Destroy what a worker left that ended in between: a private half without its public one, a set in part."""
        self._device.forget(label)
        with suppress(Refused):
            found = self._device.find(label, is_anew=True)
            is_half = found.mark.kind in SIGNING_KINDS and found.public is None
            is_part = found.mark.kind == SCP03_SET and set(found.objects) < set(PARTS)
            if (is_half or is_part) and found.state == ACTIVE:
                self._device.destroy(label, found.mark.nonce)

    def _take_secrets(
        self, kek: str, wrapped: bytes, label: str, mark: Mark, check: bytes, is_exportable: bool
    ) -> None:
        """An AES key, or the three of a transport set, each enciphered by itself."""
        parts = PARTS if mark.kind == SCP03_SET else ("",)
        third, left = divmod(len(wrapped), len(parts))
        size = third - EXTRA_BYTES
        if left or size not in (KEY_BYTES if mark.kind == SCP03_SET else (KEK_BYTES,)):
            wanted = "three keys, each enciphered by itself" if len(parts) > 1 else "a key of 32 bytes"
            raise Refused("wrong-key", f"{len(wrapped)} bytes are not {wanted}")
        pieces = [wrapped[begin : begin + third] for begin in range(0, len(wrapped), third)]
        values = [self._kcv(kek, one) for one in pieces]
        if check and check != values[0]:
            raise Refused("wrong-key", "the check value is another one")
        for part, piece in zip(parts, pieces, strict=True):
            own = Mark(mark.kind, mark.use, mark.scope, mark.created, mark.nonce, part, size)
            does = MechanismFlag.ENCRYPT if part == "dek" else MechanismFlag.SIGN
            template = {**UNUSED, **kept(is_exportable=is_exportable)}
            self._unwrapped(kek, piece, KeyType.AES, does, template, label=label, id=own.encode(), store=True)

    def _take_signer(self, kek: str, wrapped: bytes, label: str, mark: Mark, check: bytes, is_exportable: bool) -> None:
        """A P-256 key and, beside it, its public half, which a device does not tell of what came enciphered."""
        if len(check) != POINT_BYTES[EC]:
            raise Refused("bad-request", "a signing key comes with its public key as check value")
        template = {**NO_SECRET_USE, Attribute.DECRYPT: False, Attribute.UNWRAP: False, Attribute.DERIVE: False}
        trial = self._unwrapped(kek, wrapped, KeyType.EC, MechanismFlag.SIGN, {**template, **kept()})
        try:
            with in_our_words():
                signature = trial.sign(hashlib.sha256(TRIED).digest(), mechanism=Mechanism.ECDSA)
            info = KeyInfo(label, mark.kind, mark.use, mark.scope, check, ACTIVE)
            if not _is_signature(info, TRIED, signature):
                raise Refused("wrong-key", "the check value is another one")
        finally:
            trial.destroy()
        template |= kept(is_exportable=is_exportable)
        stands = {"label": label, "id": mark.encode(), "store": True}
        private = self._unwrapped(kek, wrapped, KeyType.EC, MechanismFlag.SIGN, template, **stands)
        try:
            with in_our_words():
                self._device.session.create_object(
                    {
                        Attribute.CLASS: ObjectClass.PUBLIC_KEY,
                        Attribute.KEY_TYPE: KeyType.EC,
                        Attribute.TOKEN: True,
                        Attribute.ID: mark.encode(),
                        Attribute.LABEL: label,
                        Attribute.EC_PARAMS: P256,
                        Attribute.EC_POINT: bytes((DER_OCTET_STRING, len(check))) + check,
                        Attribute.VERIFY: True,
                        **FIXED,
                    }
                )
        except Refused:
            private.destroy()
            raise

    def _kcv(self, kek: str, wrapped: bytes) -> bytes:
        """The check value of an enciphered AES key: it works as an object of this session, and only to encipher."""
        template = {**UNUSED, **kept()}
        trial = self._unwrapped(kek, wrapped, KeyType.AES, MechanismFlag.ENCRYPT, template)
        try:
            block: bytes = trial.encrypt(b"\x01" * BLOCK_BYTES, mechanism=Mechanism.AES_ECB)
        except pkcs11.PKCS11Error as error:
            raise Refused("wrong-key", f"no AES key: {type(error).__name__}") from error
        finally:
            trial.destroy()
        return block[:KCV_BYTES]

    def _unwrapped(
        self, kek: str, wrapped: bytes, key_type: KeyType, does: MechanismFlag, template: dict[Any, Any], **stands: Any
    ) -> Any:
        """What was enciphered, as an object of the device; of the session alone where nothing else is said."""
        cipher, mechanism = self._cipher(kek)
        kind = ObjectClass.SECRET_KEY if key_type is KeyType.AES else ObjectClass.PRIVATE_KEY
        with self._as_bad_wrapping(kek):
            return cipher.unwrap_key(
                kind, key_type, wrapped, mechanism=mechanism, capabilities=does, template=template, **stands
            )

    @contextmanager
    def _as_bad_wrapping(self, kek: str) -> Iterator[None]:
        """Devices answer with any error to what does not open; where the token is gone, that is said instead."""
        try:
            yield
        except TAKES_NO_SUCH as error:
            raise Refused("denied", f"the device takes no such key: {type(error).__name__}") from error
        except pkcs11.PKCS11Error as error:
            self._device.find(kek, is_anew=True)
            raise Refused("bad-wrapping", f"changed, or under another key: {type(error).__name__}") from error


def _exclusive_or(components: list[bytes]) -> bytes:
    whole = 0
    for one in components:
        whole ^= int.from_bytes(one, "big")
    if not whole:
        raise Refused("bad-request", "the components cancel each other out")
    return whole.to_bytes(KEK_BYTES, "big")


def _is_signature(info: KeyInfo, data: bytes, signature: bytes) -> bool:
    """False also where the check value is no point of the curve."""
    try:
        return is_signature(info, data, signature)
    except ValueError:
        return False
