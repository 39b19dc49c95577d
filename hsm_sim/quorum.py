"""Operations that take several persons: one proposes, others approve what they were shown, the proposer carries it out.

A proposal stands for exactly one operation with exactly these arguments: everybody approves its hash. It ends with its
time, with being carried out, and with the process; its nonce serves once.
"""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cbor2

from hsm_sim.errors import BadRequest, Denied, NeedsQuorum

PROPOSAL_S = 3600
PROPOSALS_MAX = 64
NONCE_BYTES = 16


def operation_hash(op: str, args: list[Any]) -> bytes:
    """SHA-256 of the operation and its arguments as they cross the socket."""
    return hashlib.sha256(b"themo-hsm-proposal-1" + cbor2.dumps([op, args])).digest()


@dataclass(slots=True)
class Proposal:
    """One operation waiting for persons. The first of them is who proposed it."""

    nonce: bytes
    op: str
    args: list[Any] = field(repr=False)
    digest: bytes
    ends_s: int
    persons: list[str]


class Quorum:
    """The proposals of a running HSM. Any thread may call."""

    def __init__(self, random: Callable[[int], bytes], clock_s: Callable[[], float]) -> None:
        self._random = random
        self._clock_s = clock_s
        self._held: dict[bytes, Proposal] = {}
        self._lock = threading.Lock()

    def propose(self, person: str, op: str, args: list[Any]) -> Proposal:
        """Put an operation up for approval. Raises BadRequest when too many wait."""
        with self._lock:
            self._forget_old()
            if len(self._held) >= PROPOSALS_MAX:
                raise BadRequest(f"{PROPOSALS_MAX} proposals are waiting")
            made = Proposal(
                self._random(NONCE_BYTES),
                op,
                args,
                operation_hash(op, args),
                int(self._clock_s()) + PROPOSAL_S,
                [person],
            )
            self._held[made.nonce] = made
            return made

    def approve(self, person: str, nonce: bytes, digest: bytes) -> Proposal:
        """Add one person to a proposal. `digest` is the hash of what that person was shown."""
        with self._lock:
            found = self._find(nonce)
            if digest != found.digest:
                raise Denied("this is not what was proposed")
            if person in found.persons:
                raise Denied(f"{person} has agreed already", "proposal.twice")
            found.persons.append(person)
            return found

    def take(self, person: str, nonce: bytes, needed: int) -> Proposal:
        """Use a proposal up. Raises NeedsQuorum while persons are missing, Denied for another than who proposed it."""
        with self._lock:
            found = self._find(nonce)
            if found.persons[0] != person:
                raise Denied("whoever proposes carries out")
            if len(found.persons) < needed:
                raise NeedsQuorum(f"{len(found.persons)} of {needed} persons")
            del self._held[nonce]
            return found

    def waiting(self) -> list[Proposal]:
        """The proposals that wait, the oldest first."""
        with self._lock:
            self._forget_old()
            return list(self._held.values())

    def _find(self, nonce: bytes) -> Proposal:
        self._forget_old()
        found = self._held.get(nonce)
        if found is None:
            raise Denied("no such proposal: it was carried out, or its time is over")
        return found

    def _forget_old(self) -> None:
        now_s = self._clock_s()
        for nonce in [nonce for nonce, one in self._held.items() if one.ends_s <= now_s]:
            del self._held[nonce]
