"""The sealed store: one file that holds every key, opened by a secret that is never on this disk.

File: magic (8 bytes), salt (16); then frames, one for each change: length (4), nonce (12), ChaCha20-Poly1305 of the
CBOR [generation, anchor, {table: [[name, row or null], ...]}], with magic, salt and the frame's number as associated
data, so that frames cannot be moved, left out or mixed between files. A frame that was torn off at the end is as if it
had never been written. A file that has grown to a multiple of what it holds is written anew.

The sealing key is HKDF-SHA256 of the 32-byte secret given at start, by descriptor or put together from the shares of
several persons (`hsm_sim/shares.py`). Whoever copies the file alone has nothing.

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
from hsm_sim.keys import Key, KeyInfo, Kind, Role, Terms, Use, make_key, read_state_name
from hsm_sim.log import Head
from hsm_sim.meter import Cap, Count

MAGIC = b"THEMOHS2"
OLD_MAGIC = b"THEMOHS1"  # the whole state in one frame without a length
SALT_BYTES = 16
NONCE_BYTES = 12
TAG_BYTES = 16
SECRET_BYTES = 32
HEAD_BYTES = len(MAGIC) + SALT_BYTES
LENGTH_BYTES = 4
COMPACT_FROM_BYTES = 1 << 18
COMPACT_RATIO = 4

Rows = dict[str, list[list[Any]]]


@dataclass(frozen=True, slots=True)
class PinRecord:
    """A person's role, PIN as salt and scrypt hash, and how many wrong tries in a row came before."""

    salt: bytes
    digest: bytes = field(repr=False)
    tries: int = 0
    role: Role | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """What is known of one personalisation job: its card, once there was one, and the PIN made for it until it is told.

    `is_allocated`: opened by the role that allocates jobs. `pin_until`: until when that role lets its PIN be told (UTC
    seconds). `is_ended`: no channel is opened for it any more, its PIN may still be told. `open_until`: the same from
    then on (UTC seconds) without anybody's word; 0: never, for jobs of before that was kept.
    """

    kdd: bytes
    pin: bytes = field(repr=False)
    is_allocated: bool = False
    pin_until: int = 0
    is_ended: bool = False
    open_until: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """What the store holds. A change makes a new one; a mapping that did not change stays the same object."""

    keys: Mapping[str, Key] = field(default_factory=dict)
    pins: Mapping[str, PinRecord] = field(default_factory=dict)
    jobs: Mapping[str, Job] = field(default_factory=dict)
    caps: Mapping[str, Cap] = field(default_factory=dict)
    counts: Mapping[str, Count] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    anchor: Head = field(default_factory=Head)
    generation: int = 0


@dataclass(frozen=True, slots=True)
class _Table:
    """How the rows of one mapping of the state are written and read."""

    write: Callable[[Any], Any]
    read: Callable[[str, Any], Any]


def _key_row(key: Key) -> list[Any]:
    info = key.info
    what = [str(info.kind), str(info.use), list(info.scope), info.public, info.kcv, info.created]
    return [*what, str(info.state), info.terms.to_wire(), key.secret, info.is_delivered]


def _read_key(label: str, row: list[Any]) -> Key:
    kind, use, scope, public, kcv, created, state, terms, secret, *more = row
    info = KeyInfo(
        label,
        Kind(kind),
        Use(use),
        tuple(scope),
        public,
        kcv,
        created,
        read_state_name(state),
        Terms.from_wire(terms),
        is_delivered=bool(more and more[0]),  # stores written before that was kept have no word on it
    )
    return Key(info, secret)


def _read_pin(name: str, row: list[Any]) -> PinRecord:
    salt, digest, tries, role = row
    return PinRecord(salt, digest, tries, Role(role))


TABLES: dict[str, _Table] = {
    "keys": _Table(_key_row, _read_key),
    "pins": _Table(lambda one: [one.salt, one.digest, one.tries, str(one.role)], _read_pin),
    "jobs": _Table(
        lambda one: [one.kdd, one.pin, one.is_allocated, one.pin_until, one.is_ended, one.open_until],
        lambda _, row: Job(*row),
    ),
    "caps": _Table(lambda one: [one.per_second, one.per_day], lambda _, row: Cap(*row)),
    "counts": _Table(lambda one: [one.total, one.day, one.today], lambda _, row: Count(*row)),
    "settings": _Table(lambda one: one, lambda _, row: row),
}


def _difference(before: State, after: State) -> Rows:
    """The rows that a change writes: those that are new or other, and null for those that are gone."""
    rows: Rows = {}
    for name, table in TABLES.items():
        old, new = getattr(before, name), getattr(after, name)
        if old is new:
            continue
        changed = [[key, table.write(value)] for key, value in new.items() if old.get(key) is not value]
        changed += [[key, None] for key in old if key not in new]
        if changed:
            rows[name] = changed
    return rows


def _encode(state: State, rows: Rows) -> bytes:
    anchor = [state.anchor.count, state.anchor.size_bytes, state.anchor.last_hash]
    return cbor2.dumps([state.generation, anchor, rows])


class _Tables:
    """The mappings of a state while its file is read."""

    def __init__(self) -> None:
        self._held: dict[str, dict[str, Any]] = {name: {} for name in TABLES}
        self._anchor, self._generation = Head(), 0

    def apply(self, plain: bytes) -> None:
        """Take one frame."""
        self._generation, anchor, rows = cbor2.loads(plain)
        self._anchor = Head(*anchor)
        for name, changed in rows.items():
            table, held = TABLES[name], self._held[name]
            for key, row in changed:
                if row is None:
                    held.pop(key, None)
                else:
                    held[key] = table.read(key, row)

    def state(self) -> State:
        """What they come to."""
        return State(**self._held, anchor=self._anchor, generation=self._generation)


def _read_old(plain: bytes) -> State:
    """The state of a store of the first format."""
    generation, keys, pins, jobs, anchor = cbor2.loads(plain)
    return State(
        keys={
            row[0]: make_key(row[0], Kind(row[1]), Use(row[2]), tuple(row[3]), row[4], row[5], read_state_name(row[6]))
            for row in keys
        },
        pins={role: PinRecord(salt, digest, tries, Role(role)) for role, salt, digest, tries in pins},
        jobs={name: Job(kdd, pin) for name, kdd, pin in jobs},
        anchor=Head(*anchor),
        generation=generation,
    )


def _sealing_key(secret: bytes, salt: bytes) -> ChaCha20Poly1305:
    if len(secret) != SECRET_BYTES:
        raise StoreSealed(f"the secret has {SECRET_BYTES} bytes, got {len(secret)}")
    return ChaCha20Poly1305(HKDF(hashes.SHA256(), 32, salt, b"themo-hsm-store-1").derive(secret))


@dataclass(frozen=True, slots=True)
class _Read:
    """What a file gave: its state, how many frames, where they end, and whether it has the first format."""

    state: State
    frames: int
    end: int
    is_old: bool = False


def _read_file(path: Path, secret: bytes) -> _Read:
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise StoreSealed(f"{path} is missing; --init makes a new store", "store.missing") from error
    if len(raw) < HEAD_BYTES or not raw.startswith((MAGIC, OLD_MAGIC)):
        raise StoreSealed(f"{path} is no store", "store.none")
    head = raw[:HEAD_BYTES]
    cipher = _sealing_key(secret, head[len(MAGIC) :])
    if raw.startswith(OLD_MAGIC):
        nonce, sealed = raw[HEAD_BYTES : HEAD_BYTES + NONCE_BYTES], raw[HEAD_BYTES + NONCE_BYTES :]
        try:
            return _Read(_read_old(cipher.decrypt(nonce, sealed, head)), 1, len(raw), is_old=True)
        except (InvalidTag, ValueError) as error:
            raise StoreSealed("wrong secret, or the file was changed", "store.secret") from error
    tables, frames, at = _Tables(), 0, HEAD_BYTES
    while at + LENGTH_BYTES <= len(raw):
        begin = at + LENGTH_BYTES
        end = begin + int.from_bytes(raw[at:begin], "big")
        if end == begin and frames:
            break  # zeros: a frame that a power cut kept from the disk, though not its room in the file
        try:
            plain = cipher.decrypt(
                raw[begin : begin + NONCE_BYTES], raw[begin + NONCE_BYTES : end], _bound(head, frames)
            )
        except (InvalidTag, ValueError) as error:
            if frames and end >= len(raw):
                break  # the last one, cut or half on the disk: whether it ever counted, the log knows
            raise StoreSealed("wrong secret, or the file was changed", "store.secret") from error
        tables.apply(plain)
        frames, at = frames + 1, end
    if not frames:
        raise StoreSealed(f"{path} was never finished", "store.unfinished")
    return _Read(tables.state(), frames, at)


def _bound(head: bytes, frames: int) -> bytes:
    return head + frames.to_bytes(8, "big")


def write_copy(path: Path, secret: bytes, state: State, random: Callable[[int], bytes]) -> None:
    """Write a state to a new file under another secret: a backup, or a store made from one. Raises StoreSealed."""
    copy = Store(path, secret, random, create=True)
    try:
        copy.save(state, state.anchor)
    finally:
        copy.close()
        path.with_name(path.name + ".lock").unlink(missing_ok=True)


def read_state(path: Path, secret: bytes) -> State:
    """Open a store file and give its state. Raises StoreSealed for another secret or a changed file."""
    return _read_file(path, secret).state


class Store:
    """The store of a running HSM. Not for two threads at once."""

    def __init__(self, path: Path, secret: bytes, random: Callable[[int], bytes], create: bool = False) -> None:
        self._path = path
        self._random = random
        self._secret = secret
        self._file = -1
        self._is_broken = False
        self._lock_file = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if create and path.exists():
                raise StoreSealed(f"{path} is there already", "store.exists")
            if create:
                _sealing_key(secret, b"")
                self.state = State()
                return
            read = _read_file(path, secret)
            self.state = read.state
            if read.is_old:
                self._write_anew(read.state)
                return
            self._head = path.read_bytes()[:HEAD_BYTES]
            self._cipher = _sealing_key(secret, self._head[len(MAGIC) :])
            self._frames, self._end, self._whole_bytes = read.frames, read.end, read.end
            self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            os.ftruncate(self._file, read.end)
        except BlockingIOError as error:
            os.close(self._lock_file)
            raise StoreSealed(f"another process holds {path}", "store.taken") from error
        except BaseException:
            os.close(self._lock_file)
            raise

    def save(self, state: State, anchor: Head) -> None:
        """Bring a changed state to the disk, then use it. Raises StoreSealed; then nothing has changed."""
        if self._is_broken:
            raise StoreSealed("the disk failed while the store was replaced: restart, and look at it")
        state = replace(state, anchor=anchor, generation=self.state.generation + 1)
        try:
            if self._file < 0 or self._end > max(COMPACT_FROM_BYTES, COMPACT_RATIO * self._whole_bytes):
                self._write_anew(state)
            else:
                self._append(state)
        except OSError as error:
            raise StoreSealed(f"the store cannot be written: {error.strerror}", "store.disk") from error
        self.state = state

    def _append(self, state: State) -> None:
        frame = self._seal(_encode(state, _difference(self.state, state)), self._cipher, self._head, self._frames)
        try:
            if os.pwrite(self._file, frame, self._end) != len(frame):
                raise OSError(28, "not all bytes could be written")
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._end)
            raise
        self._frames, self._end = self._frames + 1, self._end + len(frame)

    def _seal(self, plain: bytes, cipher: ChaCha20Poly1305, head: bytes, frames: int) -> bytes:
        nonce = self._random(NONCE_BYTES)
        sealed = nonce + cipher.encrypt(nonce, plain, _bound(head, frames))
        return len(sealed).to_bytes(LENGTH_BYTES, "big") + sealed

    def _write_anew(self, state: State) -> None:
        """Write all of a state beside the old file, bring it to the disk, put it in the old one's place."""
        head = MAGIC + self._random(SALT_BYTES)
        cipher = _sealing_key(self._secret, head[len(MAGIC) :])
        raw = head + self._seal(_encode(state, _difference(State(), state)), cipher, head, 0)
        beside = self._path.with_name(self._path.name + ".new")
        file = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(raw)
            while view:
                view = view[os.write(file, view) :]
            os.fsync(file)
            beside.replace(self._path)
        except OSError:
            os.close(file)
            beside.unlink(missing_ok=True)
            raise
        if self._file >= 0:
            os.close(self._file)
        self._file, self._head, self._cipher = file, head, cipher
        self._frames, self._end, self._whole_bytes = 1, len(raw), len(raw)
        try:
            _sync_directory(self._path.parent)
        except OSError:
            # nobody knows now which of the two files a restart would find
            self._is_broken = True
            raise

    def zeroise(self) -> None:
        """Overwrite the file, take it away, and forget the state."""
        self.state, self._is_broken, self._secret = State(), True, b""
        if self._file >= 0:
            os.pwrite(self._file, bytes(self._end), 0)
            os.fsync(self._file)
        self._path.unlink(missing_ok=True)
        _sync_directory(self._path.parent)

    def close(self) -> None:
        """Let the next process have it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        os.close(self._lock_file)


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
