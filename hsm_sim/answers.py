"""What the HSM answers, as its clients hold it; `hsm_sim.client` hands these on."""

from dataclasses import dataclass
from typing import Any

from hsm_sim.keys import Role


@dataclass(frozen=True, slots=True)
class HsmStatus:
    """How the HSM stands. `started` is UTC seconds; `pending_pins` counts card PINs not revealed yet."""

    started: int
    keys: int
    pending_pins: int
    log_lines: int
    store_generation: int
    jobs: int


@dataclass(frozen=True, slots=True)
class CapInForce:
    """How often a client may use a key (0: no limit), and how often the one that used it most has done so today."""

    per_second: int
    per_day: int
    today: int


@dataclass(frozen=True, slots=True)
class LogHead:
    """Where the HSM's log stands."""

    count: int
    size_bytes: int
    last_hash: bytes
    seal_key: bytes | None = None
    """The Ed25519 public key that seals the log."""


@dataclass(frozen=True, slots=True)
class ComponentTaken:
    """A component that was entered: its check value, how many there are, and once that is all, that of the key."""

    kcv: bytes
    have: int
    key_kcv: bytes


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """An enciphered key (RFC 5649), and its check value: the public key, or the key check value."""

    wrapped: bytes
    check: bytes


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may log in, and how many wrong PINs in a row there were."""

    name: str
    role: Role
    tries: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """An operation that waits for persons: approve `digest` only when `op` and `args` are what you want."""

    nonce: bytes
    op: str
    args: list[Any]
    digest: bytes
    ends: int
    persons: list[str]
    needed: int


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """A new SCP03 session: its handle, and the EXTERNAL AUTHENTICATE to send to the card."""

    session: int
    external_authenticate: bytes
