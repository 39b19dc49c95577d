"""Keys with states, in an HSM that outlives a command; and a command that ends after a number of lasting steps."""

from card_register import Register
from signing_keys import LocalKeys
from sqlalchemy import event
from sqlalchemy.orm import Session

from issuer.trust.port import KeyExists, KeyInfo


class Killed(BaseException):
    """The process is gone: nothing catches this."""


class Room(LocalKeys):
    """The keys of a register; after `left` steps the command is killed."""

    def __init__(self, register: Register, left: int | None = None) -> None:
        super().__init__()
        self.made = dict(register.keys.made)
        register.keys = self
        self.states: dict[str, str] = {}
        self.left = left
        event.listen(register.factory, "after_commit", self.step)

    def step(self, _: Session | None = None) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise Killed

    def generate(self, label: str, kind: str, use: str, scope: tuple[str, ...]) -> KeyInfo:
        if label in self.made:
            raise KeyExists("hsm.key_exists", detail=label)
        info = super().generate(label, kind, use, scope)
        self.step()
        return info

    def info(self, label: str) -> KeyInfo:
        held = super().info(label)
        return KeyInfo(label, held.kind, held.use, held.scope, held.public, self.states.get(label, "active"))

    def keys(self) -> list[KeyInfo]:
        return [self.info(label) for label in self.made]

    def sign(self, label: str, use: str, data: bytes) -> bytes:
        assert self.info(label).state == "active", label
        return super().sign(label, use, data)

    def set_state(self, label: str, state: str) -> None:
        self.states[label] = state
        self.step()

    def load_transport(self, label: str, enc: bytes, mac: bytes, dek: bytes) -> KeyInfo:
        return super().generate(label, "scp03-set", "transport", ())
