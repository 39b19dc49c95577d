"""One token of a PKCS#11 device, from inside the worker: finds keys, makes them, works with them.

python-pkcs11 is not for two threads and a library must not cross a fork: there is one thread here, in a process that
was started afresh. Handles are kept, as a search costs more than a signature.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.util.ec import encode_named_curve_parameters

from cardlink.gp.keys import filled_up
from cardlink.gp.scp03 import BLOCK_BYTES, KEY_BYTES
from issuer.trust.pkcs11_errors import STALE, in_our_words, refusal_of
from issuer.trust.pkcs11_keys import (
    ACTIVE,
    AES,
    CARD_MASTER,
    ED25519,
    ENDED,
    PARTS,
    ROOT,
    SCP03_SET,
    SIGNING_KINDS,
    STAYING_USES,
    TRANSPORT,
    WRAP,
    Entry,
    Mark,
    check_label,
    gather,
    is_kept,
    is_made_inside,
)
from issuer.trust.pkcs11_login import find_token, log_in
from issuer.trust.pkcs11_notes import Notes
from issuer.trust.pkcs11_signer import Signer
from issuer.trust.pkcs11_wire import DEVICE_LOST, Refused

AUTHORITY_USE = "ca"
RANDOM_MAX_BYTES = 1024
EDWARDS25519 = bytes.fromhex("06032b6570")
"""CKA_EC_PARAMS: id-Ed25519 (RFC 8410 §3), as PKCS#11 v3.1 §6.3.5 has it."""
PRIVATE = {Attribute.PRIVATE: True}
"""Goes into every search: what is not private may have been put there without a PIN."""
WRAP_MECHANISMS = (Mechanism.AES_KEY_WRAP_KWP, Mechanism.AES_KEY_WRAP_PAD)
"""RFC 5649 (PKCS#11 v3.1 §6.13.3). CKM_AES_KEY_WRAP_PAD, which v3.1 gave up for its two readings, is it in SoftHSM."""
KEPT = {Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.MODIFIABLE: False}
UNUSED = dict.fromkeys((Attribute.DECRYPT, Attribute.VERIFY, Attribute.WRAP, Attribute.UNWRAP, Attribute.DERIVE), False)
"""What a loaded key is not for: where nothing is said, devices allow it."""
FIXED = {Attribute.PRIVATE: True, Attribute.MODIFIABLE: False}


def kept(*, is_exportable: bool = False) -> dict[Attribute, Any]:
    """What keeps a key inside, or lets it leave enciphered under another key alone."""
    return {**KEPT, Attribute.EXTRACTABLE: is_exportable}


class Device:
    """A token with its user logged in."""

    def __init__(self, module: str, token: str, pin: str) -> None:
        found = find_token(module, token)
        self.session = log_in(found, pin)
        with in_our_words():
            self._mechanisms = frozenset(found.slot.get_mechanisms())
        self._signer = Signer(self._mechanisms, pin)
        self.product = f"{found.manufacturer_id} {found.model} {'.'.join(map(str, found.firmware_version))}".strip()
        self._notes = Notes(self.session)
        self._known: dict[str, Entry] = {}
        self._seen: str | None = None
        """A key that was there. Where even that one is not found any more, the token is gone, not the key."""
        with in_our_words():
            first = list(islice(self.session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY, **PRIVATE}), 10))
            self._seen = next(iter(gather(first)), None)

    @property
    def has_cmac(self) -> bool:
        """Whether AES-CMAC is done in the device: without it no card master key can stay in there."""
        return Mechanism.AES_CMAC in self._mechanisms

    @property
    def wrap_mechanism(self) -> Mechanism | None:
        """AES key wrap with padding (RFC 5649) by the name that the device has for it; None: it has not."""
        return next((one for one in WRAP_MECHANISMS if one in self._mechanisms), None)

    @property
    def has_ed25519(self) -> bool:
        """Whether the device makes and uses Ed25519 keys."""
        return {Mechanism.EDDSA, Mechanism.EC_EDWARDS_KEY_PAIR_GEN} <= self._mechanisms

    # --- keys

    def find(self, label: str, *, is_anew: bool = False) -> Entry:
        """The key of that label; `is_anew`: in the state that the token notes now. Raises Refused."""
        known = self._known.get(label)
        if known is not None and is_anew:
            with in_our_words():
                known.state = self._notes.states(label).get(label, ACTIVE)
        if known is None:
            known = self._search({Attribute.LABEL: label}).get(label)
            if known is None:
                self._require_token()
                raise Refused("no-such-key", label)
            self._known[label] = known
            self._seen = label
        return known

    def forget(self, label: str) -> None:
        """Look a key up again the next time: another process may have changed which objects it is made of."""
        self._known.pop(label, None)

    def _require_token(self) -> None:
        """Raise Refused where the token is gone: some libraries say then that it holds nothing, not that it is gone."""
        if self._seen is not None and self._seen not in self._search({Attribute.LABEL: self._seen}):
            raise Refused(DEVICE_LOST, f"{self._seen}, which was there, is not")

    def entries(self) -> list[Entry]:
        """Every key, by its label, to be told of: of a pair the public half alone is looked at."""
        found = self._search({Attribute.CLASS: ObjectClass.PUBLIC_KEY}, {Attribute.CLASS: ObjectClass.SECRET_KEY})
        if self._seen not in (None, *found):
            raise Refused(DEVICE_LOST, f"{self._seen}, which was there, is not")
        return [found[label] for label in sorted(found)]

    def _search(self, *searches: dict[Attribute, Any]) -> dict[str, Entry]:
        label = searches[0].get(Attribute.LABEL)
        with in_our_words():
            found = gather([one for search in searches for one in self.session.get_objects({**search, **PRIVATE})])
            for name, state in self._notes.states(label).items():
                if name in found:
                    found[name].state = state
        return found

    def using(self, label: str, act: Callable[[Entry], Any]) -> Any:
        """Do something with a key. A handle that another process made stale is looked up again, once."""
        entry = self.find(label)
        try:
            return act(entry)
        except STALE:
            self._known.clear()
            with in_our_words():
                return act(self.find(label))
        except pkcs11.PKCS11Error as error:
            raise refusal_of(error) from error

    def generate(
        self, label: str, kind: str, use: str, scope: tuple[str, ...], *, is_exportable: bool = False
    ) -> Entry:
        """Make a key inside. Raises Refused for a label in use and for what the device cannot keep."""
        self.check_new(label)
        is_exportable = is_exportable and use not in STAYING_USES
        mark = Mark.new(kind, use, scope, int(time.time()))
        if kind not in (*SIGNING_KINDS, AES):
            raise Refused("denied", f"no PKCS #11 device makes keys of kind {kind[:16]} for us")
        if (kind == AES) != (use in (CARD_MASTER, WRAP)) or use == TRANSPORT:
            raise Refused("bad-request", f"no key of kind {kind} for use {use}")
        with in_our_words():
            if kind == AES:
                template = kept(is_exportable=is_exportable)
                does = self._can_do(use)
                self.session.generate_key(
                    KeyType.AES, 256, mark.encode(), label, store=True, capabilities=does, template=template
                )
            else:
                self._generate_pair(label, mark, kept(is_exportable=is_exportable))
        return self.made(label, mark, is_exportable=is_exportable)

    def _can_do(self, use: str) -> MechanismFlag:
        """What an AES key of this use does in the device. Raises Refused for a device that cannot."""
        if use == WRAP:
            if self.wrap_mechanism is None:
                raise Refused("denied", "the device has no AES key wrap with padding")
            return MechanismFlag.WRAP | MechanismFlag.UNWRAP
        if not self.has_cmac:
            raise Refused("denied", "the device has no AES-CMAC: it could not use a card master key itself")
        return MechanismFlag.SIGN

    def _generate_pair(self, label: str, mark: Mark, template: dict[Attribute, Any]) -> None:
        if mark.kind == ED25519 and not self.has_ed25519:
            raise Refused("denied", "the device has no Ed25519")
        is_edwards = mark.kind == ED25519
        curve = EDWARDS25519 if is_edwards else encode_named_curve_parameters("secp256r1")
        kind = KeyType.EC_EDWARDS if is_edwards else KeyType.EC
        parameters = self.session.create_domain_parameters(kind, {Attribute.EC_PARAMS: curve}, local=True)
        parameters.generate_keypair(
            id=mark.encode(),
            label=label,
            store=True,
            capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
            mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN if is_edwards else None,
            public_template=FIXED,
            private_template=template,
        )

    def load_transport(self, label: str, keys: Sequence[bytes], created: int) -> Entry:
        """Put the three transport keys of a delivery in; from then on they only work in there."""
        self.check_new(label)
        if len(keys) != len(PARTS) or len({len(one) for one in keys}) != 1 or len(keys[0]) not in KEY_BYTES:
            raise Refused("bad-request", "want three AES keys of one length")
        if not self.has_cmac:
            raise Refused("denied", "the device has no AES-CMAC: it could not use transport keys itself")
        mark = Mark.new(SCP03_SET, TRANSPORT, (), created)
        for part, value in zip(PARTS, keys, strict=True):
            own = Mark(mark.kind, mark.use, mark.scope, mark.created, mark.nonce, part)
            with in_our_words():
                self.session.create_object(
                    {
                        Attribute.CLASS: ObjectClass.SECRET_KEY,
                        Attribute.KEY_TYPE: KeyType.AES,
                        Attribute.TOKEN: True,
                        Attribute.ID: own.encode(),
                        Attribute.LABEL: label,
                        Attribute.VALUE: value,
                        **UNUSED,
                        Attribute.SIGN: part != "dek",
                        Attribute.ENCRYPT: part == "dek",
                        **KEPT,
                    }
                )
        return self.made(label, mark)

    def check_new(self, label: str) -> None:
        """Raise Refused for a label that is none or in use."""
        check_label(label)
        if label in self._search({Attribute.LABEL: label}):
            raise Refused("key-exists", label)

    def made(self, label: str, mark: Mark, *, is_exportable: bool = False) -> Entry:
        """The key as the token holds it now; two that were made at once under one label end as one."""
        entry = self.find(label)
        if entry.mark.nonce != mark.nonce:
            self.destroy(label, mark.nonce)
            raise Refused("key-exists", label)
        with in_our_words():
            if not all(is_kept(one, is_exportable=is_exportable) for one in entry.objects.values()):
                self._known.pop(label)
                self.destroy(label, mark.nonce)
                raise Refused("error", f"the device does not keep {label} to itself, unchangeable")
        return entry

    def destroy(self, label: str, nonce: bytes) -> None:
        """Take away what was made under this label with this nonce."""
        self.forget(label)
        with in_our_words():
            for one in list(self.session.get_objects({Attribute.LABEL: label, **PRIVATE})):
                mark = None if one.object_class is ObjectClass.DATA else Mark.decode(one[Attribute.ID])
                if mark is not None and mark.nonce == nonce:
                    one.destroy()

    def set_state(self, label: str, state: str) -> None:
        """End a key's life. PKCS#11 has no such states, so that the private half of a signing key is destroyed: it
        signs no more for anybody. Symmetric keys stay, and our worker refuses them.
        """
        entry = self.find(label)
        if state not in ENDED:
            raise Refused("denied", f"a PKCS #11 device knows no state {state[:16]}")
        with in_our_words():
            self._notes.set_state(label, state)
            if entry.mark.kind in SIGNING_KINDS or state == ENDED[-1]:
                for one in entry.objects.values():
                    one.destroy()
        self._known.pop(label, None)

    def attest(self, label: str) -> tuple[bool, bool]:
        """What the device says of a key: it was made inside and never left; it cannot be taken out or changed."""

        def ask(entry: Entry) -> tuple[bool, bool]:
            parts = list(entry.objects.values())
            if not parts:
                entry.work()
            return all(map(is_made_inside, parts)), all(map(is_kept, parts))

        answer: tuple[bool, bool] = self.using(label, ask)
        return answer

    # --- what keys do

    def sign_many(self, label: str, use: str, data: Sequence[bytes]) -> list[bytes]:
        """Sign each: ES256 as r ‖ s, or Ed25519."""

        def sign(entry: Entry) -> list[bytes]:
            if entry.mark.use != use or entry.mark.kind not in SIGNING_KINDS:
                raise Refused("denied", f"{label} is no key for {use}")
            return self._signer.sign(entry, data)

        signed: list[bytes] = self.using(label, sign)
        return signed

    def sign_digest(self, label: str, use: str, digest: bytes) -> bytes:
        """Sign data of this SHA-256 with ES256: r ‖ s. Keys of use `ca` alone, and no more than that."""

        def sign(entry: Entry) -> bytes:
            if (entry.mark.use, use) != (AUTHORITY_USE, AUTHORITY_USE) or len(digest) != hashlib.sha256().digest_size:
                raise Refused("denied", f"{label} signs no digest")
            return self._signer.sign_digest(entry, digest)

        signed: bytes = self.using(label, sign)
        return signed

    def mac_with(self, label: str, part: str = "", *, even_ended: bool = False) -> Callable[[bytes], bytes]:
        """AES-CMAC under a key inside the device."""

        def act(entry: Entry, data: bytes) -> bytes:
            answer: bytes = entry.work(part, even_ended=even_ended).sign(data, mechanism=Mechanism.AES_CMAC)
            return answer

        def mac(data: bytes) -> bytes:
            answer: bytes = self.using(label, lambda entry: act(entry, data))
            return answer

        return mac

    def encrypt_with(self, label: str, part: str) -> Callable[[bytes], bytes]:
        """AES-CBC with a zero IV under a key inside the device, as a DEK encrypts a key (Amd D §6.2.8)."""

        def encrypt(key: bytes) -> bytes:
            answer: bytes = self.using(
                label,
                lambda entry: entry.work(part).encrypt(
                    filled_up(key), mechanism=Mechanism.AES_CBC, mechanism_param=bytes(BLOCK_BYTES)
                ),
            )
            return answer

        return encrypt

    def key_bits(self, label: str, part: str) -> int:
        """How long an AES key is."""
        return 8 * int(self.using(label, lambda entry: entry.mark.key_bytes or entry.work(part)[Attribute.VALUE_LEN]))

    def random(self, n: int) -> bytes:
        """Draw random bytes in the device."""
        if not 1 <= n <= RANDOM_MAX_BYTES:
            raise Refused("bad-request", f"1 to {RANDOM_MAX_BYTES} bytes")
        with in_our_words():
            return bytes(self.session.generate_random(8 * n))

    # --- card PINs that wait for their letter

    def job(self, job: str) -> tuple[bytes, bytes] | None:
        """The card and the PIN of a job."""
        with in_our_words():
            known = self._notes.job(job)
        if known is None:
            self._require_token()
        return known

    def keep_job(self, job: str, kdd: bytes, pin: bytes) -> None:
        """Keep the PIN of a job until it is told."""
        with in_our_words():
            self._notes.keep_job(job, kdd, pin)

    def forget_job(self, job: str) -> None:
        """Destroy the PIN of a job."""
        with in_our_words():
            self._notes.forget_job(job)

    def jobs(self) -> int:
        """How many PINs wait."""
        with in_our_words():
            return self._notes.jobs()

    def close(self) -> None:
        """Log out and let go of the token. One that is gone already is no error."""
        with suppress(pkcs11.PKCS11Error):
            self.session.close()


def is_root(use: str) -> bool:
    """Whether keys of this use stand in the security officer's token."""
    return use == ROOT
