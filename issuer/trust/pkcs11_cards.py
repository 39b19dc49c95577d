"""The host side of SCP03 beside a PKCS#11 device: sessions with cards, and what is loaded over them.

Master and transport keys work in the device and never leave it: it gives AES-CMACs under them, and encrypts under a
transport DEK. What PKCS#11 has no words for is done here, in the worker's memory and for one session: the keys derived
for one card, the session keys, the plain text of PUT KEY, 9B, PUK and PIN.
"""

import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from cardlink.gp import scp03
from cardlink.gp.commands import InitializeUpdateAnswer, decode_initialize_update, put_key_set_by
from cardlink.gp.host_channel import HostChannel, check_is_plain
from cardlink.gp.keys import derive_card_keys_by, derive_card_secrets_by, encrypt_key, key_check_value
from cardlink.gp.loading import (
    FACTORY_PIN,
    FACTORY_PUK,
    PIV_PIN,
    PIV_PUK,
    change_reference,
    make_card_pin,
    set_admin_key,
    verify_pin,
)
from cardlink.gp.scp03 import Level, SessionKeys, StaticKeys
from cardlink.iso7816.apdu import Command, decode_command
from cardlink.iso7816.sw import SUCCESS_BYTES
from issuer.trust.pkcs11_device import Device
from issuer.trust.pkcs11_keys import CARD_MASTER, TRANSPORT
from issuer.trust.pkcs11_wire import Refused

SESSIONS_MAX = 32
JOB_MAX_CHARS = 64
CHAIN_MAX_BLOCKS = 256
CARD_KEY_BITS = 256
USE_OF_KEY_SET = {"transport": TRANSPORT, "card": CARD_MASTER}
STATUS_LENGTHS = (31, 34, 47, 50)
"""An INITIALIZE UPDATE answer of these lengths ends in its status word; those without one are 29, 32, 45 or 48."""


@dataclass(slots=True)
class CardSession:
    """One session of one job with one card: `label` names the key that opened it.

    `kvn` is the newest key version known on the card.
    """

    channel: HostChannel
    job: str
    label: str
    kdd: bytes
    kvn: int
    encrypt: Callable[[bytes], bytes] = field(repr=False)
    put_keys_answer: bytes = b""


class Cards:
    """The sessions of one worker with cards; they end with it."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._sessions: dict[int, CardSession] = {}

    def open_session(
        self,
        job: str,
        key_set: str,
        label: str,
        kdd: bytes,
        kvn: int,
        host_challenge: bytes,
        raw_answer: bytes,
        level: int,
    ) -> tuple[int, bytes]:
        """Check the card's cryptogram and open. Answers the session and EXTERNAL AUTHENTICATE.

        A master key that has ended still opens the cards that bear its keys: how else would they get others.
        """
        use, entry = USE_OF_KEY_SET.get(key_set), self._device.find(label, is_anew=True)
        if not 1 <= len(job) <= JOB_MAX_CHARS or use is None or entry.mark.use != use:
            raise Refused("bad-request", f"{label[:64]} gives no key set of kind {key_set[:16]}")
        for number in [number for number, one in self._sessions.items() if one.channel.is_closed]:
            del self._sessions[number]
        if len(self._sessions) >= SESSIONS_MAX:
            raise Refused("denied", f"{SESSIONS_MAX} sessions are open")
        self._require_own(job, kdd)
        answer = decode_initialize_update(
            raw_answer.removesuffix(SUCCESS_BYTES) if len(raw_answer) in STATUS_LENGTHS else raw_answer
        )
        if answer.kdd != kdd or (kvn and answer.kvn != kvn):
            raise Refused("bad-request", "the card is not the one named")
        if use == TRANSPORT:
            keys, encrypt = self._of_transport(label, host_challenge, answer)
        else:
            static = self._card_keys(label, kdd, answer.kvn, even_ended=True)
            keys = scp03.derive_session(static, host_challenge, answer.card_challenge)
            encrypt = partial(encrypt_key, static.dek)
        channel = HostChannel(keys, host_challenge, answer, level)
        number = secrets.randbits(48) or 1
        self._sessions[number] = CardSession(channel, job, label, kdd, answer.kvn, encrypt)
        return number, channel.authentication

    def _of_transport(
        self, label: str, host_challenge: bytes, answer: InitializeUpdateAnswer
    ) -> tuple[SessionKeys, Callable[[bytes], bytes]]:
        enc, mac = (self._device.mac_with(label, part) for part in ("enc", "mac"))
        bits = self._device.key_bits(label, "enc")
        keys = scp03.derive_session_by(enc, mac, bits, host_challenge, answer.card_challenge)
        return keys, self._device.encrypt_with(label, "dek")

    def _card_keys(self, master_label: str, kdd: bytes, kvn: int, *, even_ended: bool = False) -> StaticKeys:
        return derive_card_keys_by(self._master(master_label, even_ended=even_ended), kdd, kvn, CARD_KEY_BITS)

    def _master(self, label: str, *, even_ended: bool = False) -> Callable[[bytes], bytes]:
        if self._device.find(label, is_anew=True).mark.use != CARD_MASTER:
            raise Refused("denied", f"{label} is no card master key")
        return self._device.mac_with(label, even_ended=even_ended)

    def wrap_chain(self, session: int, apdus: Sequence[bytes]) -> list[bytes]:
        """Protect all blocks of one chained command, none of which may load a secret."""
        commands = _plain(apdus)
        return self._lasting(session).channel.wrap_chain(commands)

    def wrap(self, session: int, apdu: bytes) -> bytes:
        """Protect one command that loads no secret."""
        (command,) = _plain([apdu])
        return self._lasting(session).channel.wrap(command)

    def unwrap_chain(self, session: int, answers: Sequence[bytes]) -> list[bytes]:
        """Check and open the answers to a chain."""
        return self._find(session).channel.unwrap_chain(answers)

    def unwrap(self, session: int, answer: bytes) -> bytes:
        """Check and open one answer."""
        return self._find(session).channel.unwrap(answer)

    def put_keys(self, session: int, master_label: str, kdd: bytes, new_kvn: int, replace_kvn: int) -> bytes:
        """Build and protect PUT KEY of the card's own derived keys."""
        found = self._same_card(session, kdd)
        entry = self._device.find(found.label, is_anew=True)
        if entry.mark.use != CARD_MASTER and entry.has_ended:
            raise Refused("no-such-key", f"{found.label} is {entry.state}")
        if not 1 <= new_kvn <= 0x7F or not 0 <= replace_kvn <= 0x7F:
            raise Refused("bad-request", "key versions are 01 to 7F")
        put_key = put_key_set_by(self._card_keys(master_label, kdd, new_kvn), found.encrypt, new_kvn, replace_kvn)
        wrapped = found.channel.wrap(put_key.encode())
        found.put_keys_answer = put_key.answer()
        return wrapped

    def check_put_keys(self, session: int, answer: bytes) -> None:
        """Open the answer of PUT KEY and compare the check values."""
        found = self._find(session)
        expected, found.put_keys_answer = found.put_keys_answer, b""
        if not expected:
            raise Refused("bad-request", "no PUT KEY was wrapped before")
        opened = found.channel.unwrap(answer)
        if not opened.endswith(SUCCESS_BYTES):
            raise Refused("wrong-answer", f"PUT KEY: {opened[-2:].hex().upper()}")
        if not hmac.compare_digest(opened[:-2], expected):
            found.channel.close()
            raise Refused("wrong-answer", "PUT KEY: key check values")
        found.kvn = expected[0]

    def put_secret(self, session: int, kind: str, master_label: str | None, kdd: bytes, kvn: int) -> bytes:
        """Build and protect the command that loads 9B, PUK or PIN, or verifies the PIN of this job."""
        self._lasting(session)
        found = self._same_card(session, kdd)
        if not found.channel.level & Level.C_ENC:
            raise Refused("denied", "secrets go over an encrypted channel only")
        return found.channel.wrap(self._secret_command(found, kind, master_label, kvn))

    def _secret_command(self, session: CardSession, kind: str, master_label: str | None, kvn: int) -> Command:
        if kind in ("9b", "puk"):
            if master_label is None:
                raise Refused("no-such-key", f"{kind} is derived from a card master key")
            derived = derive_card_secrets_by(self._master(master_label), session.kdd, kvn)
            if kind == "9b":
                return set_admin_key(derived.admin_key)
            return change_reference(PIV_PUK, FACTORY_PUK, derived.puk)
        if kind == "pin":
            return change_reference(PIV_PIN, FACTORY_PIN, self._pin_of(session))
        if kind == "verify-pin":
            known = self._device.job(session.job)
            if known is None or known[0] != session.kdd:
                raise Refused("no-such-key", f"no PIN for job {session.job}")
            return verify_pin(known[1])
        raise Refused("bad-request", f"no secret of kind {kind[:16]}")

    def _pin_of(self, session: CardSession) -> bytes:
        """The job's PIN, made once: a torn personalisation goes on with the same one."""
        self._require_own(session.job, session.kdd)
        known = self._device.job(session.job)
        if known is None:
            known = session.kdd, make_card_pin(self._device.random)
            self._device.keep_job(session.job, *known)
        return known[1]

    def _require_own(self, job: str, kdd: bytes) -> None:
        """Raise Refused for a job whose PIN was made for another card."""
        known = self._device.job(job)
        if known is not None and known[0] != kdd:
            raise Refused("denied", f"job {job} belongs to another card")

    def close_session(self, session: int) -> None:
        """Forget a session. One that is lost already is no error."""
        found = self._sessions.pop(session, None)
        if found is not None:
            found.channel.close()

    def reveal_pin(self, job: str) -> str:
        """The PIN of a job, once: it is destroyed in the token before it is told."""
        known = self._device.job(job)
        if known is None:
            raise Refused("no-such-key", f"no PIN for job {job}")
        self._device.forget_job(job)
        return known[1].decode("ascii")

    def forget_pin(self, job: str) -> None:
        """Destroy the PIN of a job that nobody will be told. None there: nothing more."""
        if self._device.job(job) is not None:
            self._device.forget_job(job)

    def derive_check(self, master_label: str, kdd: bytes, kvn: int) -> list[bytes]:
        """Check values of a card's derived ENC, MAC and DEK."""
        keys = self._card_keys(master_label, kdd, kvn)
        return [key_check_value(one) for one in (keys.enc, keys.mac, keys.dek)]

    def _find(self, session: int) -> CardSession:
        found = self._sessions.get(session)
        if found is None:
            raise Refused("session-lost", "no such session")
        return found

    def _lasting(self, session: int) -> CardSession:
        """A session that may do more than replace its own keys: not one under a key that has ended by now."""
        found = self._find(session)
        if self._device.find(found.label, is_anew=True).has_ended:
            raise Refused("denied", "the key of this session has ended: it is for keys of another one alone")
        return found

    def _same_card(self, session: int, kdd: bytes) -> CardSession:
        found = self._find(session)
        if found.kdd != kdd:
            raise Refused("bad-request", "the session is with another card")
        return found


def _plain(apdus: Sequence[bytes]) -> list[Command]:
    if not 1 <= len(apdus) <= CHAIN_MAX_BLOCKS:
        raise Refused("bad-request", f"want 1 to {CHAIN_MAX_BLOCKS} commands")
    commands = [decode_command(one) for one in apdus]
    for command in commands:
        check_is_plain(command)
    return commands
