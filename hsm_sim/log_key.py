"""The key that seals the log: in the store, replaced under the log's own eyes.

The next key is in the store before the log names it, and takes its place there after. Who dies in between is told by
the log whether the change counts.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ed25519

from hsm_sim.errors import BadRequest
from hsm_sim.log import Log
from hsm_sim.store import State

if TYPE_CHECKING:
    from hsm_sim.core import Hsm

LOG_KEY, NEXT = "log-key", "log-key-next"
"""The settings of the store that hold the key, and the one that is about to follow it."""

Key = ed25519.Ed25519PrivateKey


def sealing_key(settings: Mapping[str, Any], log: Log) -> Key | None:
    """The key that seals the log now: the store's, or its follower where the log has named it already."""
    held, following = settings.get(LOG_KEY), settings.get(NEXT)
    if held is not None and following is not None:
        key = Key.from_private_bytes(following)
        if log.has_named(key.public_key().public_bytes_raw()):
            return key
    return Key.from_private_bytes(held) if held is not None else None


def with_key(state: State, key: Key) -> State:
    """The state in which this key seals and no other waits."""
    kept = {name: value for name, value in state.settings.items() if name != NEXT}
    return replace(state, settings={**kept, LOG_KEY: key.private_bytes_raw()})


def settle(hsm: "Hsm", change: Callable[[Callable[[State], State]], None]) -> None:
    """Seal with the key that counts, and end in the store what a change of it left half done."""
    key = sealing_key(hsm.state.settings, hsm.log)
    if key is None:
        return
    hsm.log.seal_with(key)
    if NEXT in hsm.state.settings:
        change(lambda state: with_key(state, key))


def rotate(hsm: "Hsm", change: Callable[[Callable[[State], State]], None], doubted_after: int | None) -> None:
    """Make a new key, let the old one name it in the log, and seal with it from now on. Raises HsmError."""
    if doubted_after is not None and not 0 <= doubted_after <= hsm.log.head.count:
        raise BadRequest(f"the log has no line {doubted_after}", "log.line")
    if NEXT in hsm.state.settings:
        settle(hsm, change)
    key = Key.from_private_bytes(hsm.random(32))
    change(lambda state: replace(state, settings={**state.settings, NEXT: key.private_bytes_raw()}))
    hsm.log.change_key(key, doubted_after)
    change(lambda state: with_key(state, key))
