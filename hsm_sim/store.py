"""The sealed store: one file that holds every key, opened by a secret that is never on this disk.

File: magic (8 bytes), salt (16), nonce (12), ChaCha20-Poly1305 of the deterministic CBOR of the state, with magic and
salt as associated data. The sealing key is HKDF-SHA256 of the 32-byte secret given at start. Where that secret comes
from is not decided here: the demonstration's supervisor hands it over by descriptor; an installation will put it
together from shares of several persons at each start. Whoever copies the file alone has nothing.

An old copy of the store put back beside the newer log is refused. Old copies of both together cannot be told from the
real thing in here: the auditor's `log_head`, kept elsewhere, shows them.
"""

import fcntl
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cbor2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hsm_sim.errors import StoreSealed
from hsm_sim.keys import Key, KeyState, Kind, Role, Use, load_key
from hsm_sim.log import Head

MAGIC = b"THEMOHS1"
SALT_BYTES = 16
NONCE_BYTES = 12
SECRET_BYTES = 32
HEAD_BYTES = len(MAGIC) + SALT_BYTES


@dataclass(frozen=True, slots=True)
class PinRecord:
    """A role's PIN as salt and scrypt hash, and how many wrong tries in a row came before."""

    salt: bytes
    digest: bytes = field(repr=False)
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """The PIN made for the card of one personalisation job, until it is revealed."""

    kdd: bytes
    pin: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class State:
    """What the store holds. A change makes a new one."""

    keys: Mapping[str, Key] = field(default_factory=dict)
    pins: Mapping[Role, PinRecord] = field(default_factory=dict)
    jobs: Mapping[str, Job] = field(default_factory=dict)
    anchor: Head = field(default_factory=Head)
    generation: int = 0

    def encode(self) -> bytes:
        """Write the state as CBOR."""
        keys = [_row(one) for one in self.keys.values()]
        pins = [[str(role), one.salt, one.digest, one.tries] for role, one in self.pins.items()]
        jobs = [[name, one.kdd, one.pin] for name, one in self.jobs.items()]
        anchor = [self.anchor.count, self.anchor.size_bytes, self.anchor.last_hash]
        return cbor2.dumps([self.generation, keys, pins, jobs, anchor])


def _decode(plain: bytes) -> State:
    generation, keys, pins, jobs, anchor = cbor2.loads(plain)
    return State(
        {row[0]: _key(row) for row in keys},
        {Role(role): PinRecord(salt, digest, tries) for role, salt, digest, tries in pins},
        {name: Job(kdd, pin) for name, kdd, pin in jobs},
        Head(*anchor),
        generation,
    )


def _row(key: Key) -> list[Any]:
    info = key.info
    return [info.label, str(info.kind), str(info.use), list(info.scope), info.created, key.secret, str(info.state)]


def _key(row: list[Any]) -> Key:
    label, kind, use, scope, created, secret, state = row
    return load_key(label, Kind(kind), Use(use), tuple(scope), created, secret, KeyState(state))


def _sealing_key(secret: bytes, salt: bytes) -> ChaCha20Poly1305:
    if len(secret) != SECRET_BYTES:
        raise StoreSealed(f"the secret has {SECRET_BYTES} bytes, got {len(secret)}")
    return ChaCha20Poly1305(HKDF(hashes.SHA256(), 32, salt, b"themo-hsm-store-1").derive(secret))


def read_state(path: Path, secret: bytes) -> State:
    """Open a store file and give its state. Raises StoreSealed for another secret or a changed file."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise StoreSealed(f"{path} is missing; --init makes a new store") from error
    body = HEAD_BYTES + NONCE_BYTES
    salt, nonce, sealed = raw[len(MAGIC) : HEAD_BYTES], raw[HEAD_BYTES:body], raw[body:]
    if not raw.startswith(MAGIC) or len(raw) < body:
        raise StoreSealed(f"{path} is no store")
    try:
        return _decode(_sealing_key(secret, salt).decrypt(nonce, sealed, raw[:HEAD_BYTES]))
    except InvalidTag as error:
        raise StoreSealed("wrong secret, or the file was changed") from error


class Store:
    """The store of a running HSM. Not for two threads at once."""

    def __init__(self, path: Path, secret: bytes, random: Callable[[int], bytes], create: bool = False) -> None:
        self._path = path
        self._random = random
        self._lock_file = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if create and path.exists():
                raise StoreSealed(f"{path} is there already")
            self.state = State() if create else read_state(path, secret)
            self._salt = random(SALT_BYTES) if create else path.read_bytes()[len(MAGIC) : HEAD_BYTES]
            self._cipher = _sealing_key(secret, self._salt)
        except BlockingIOError as error:
            os.close(self._lock_file)
            raise StoreSealed(f"another process holds {path}") from error
        except BaseException:
            os.close(self._lock_file)
            raise

    def save(self, state: State, anchor: Head) -> None:
        """Write a new state beside the old file, bring it to the disk, put it in the old one's place, then use it."""
        state = replace(state, anchor=anchor, generation=self.state.generation + 1)
        head, nonce = MAGIC + self._salt, self._random(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, state.encode(), head)
        beside = self._path.with_name(self._path.name + ".new")
        try:
            file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(file, "wb") as stream:
                stream.write(head + nonce + sealed)
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(self._path)
            _sync_directory(self._path.parent)
        except OSError as error:
            raise StoreSealed(f"the store cannot be written: {error.strerror}") from error
        self.state = state

    def close(self) -> None:
        """Let the next process have it."""
        os.close(self._lock_file)


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
