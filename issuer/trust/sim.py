"""The HSM simulator behind the port: its client's calls, its errors in the centre's words.

`Sim` is the everyday user; `Ceremony` adds the security officer, who alone makes keys and signs with root keys.
"""

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, cast

from hsm_sim import client
from hsm_sim.client import Client, Role
from issuer.config import Config, Secret, read_secret
from issuer.trust import port
from issuer.trust.port import KeyInfo, OpenedSession
from issuer.trust.trust_list import ROOT_USE

KeySet = Literal["transport", "card"]
SecretKind = Literal["9b", "puk", "pin", "verify-pin"]

_TRANSLATED: dict[type[client.HsmError], type[port.HsmError]] = {
    client.KeyExists: port.KeyExists,
    client.WrongCryptogram: port.WrongCryptogram,
    client.WrongAnswer: port.WrongAnswer,
}


class Sim:
    """The HSM as the role `user`: signs, and speaks to cards."""

    def __init__(self, user: Client) -> None:
        self._user = user

    def generate(self, label: str, kind: str, use: str, scope: tuple[str, ...]) -> KeyInfo:
        """Refused by the HSM: the everyday user makes no keys."""
        with _translated():
            return _info(self._user.generate(label, kind, use, scope))

    def info(self, label: str) -> KeyInfo:
        """Describe one key."""
        with _translated():
            return _info(self._user.info(label))

    def keys(self) -> Sequence[KeyInfo]:
        """Describe all keys."""
        with _translated():
            return [_info(one) for one in self._user.keys()]  # noqa: SIM118 - a call, not a mapping

    def sign(self, label: str, use: str, data: bytes) -> bytes:
        """Sign with ES256: r ‖ s."""
        with _translated():
            return self._user.sign(label, use, data)

    def sign_many(self, label: str, use: str, data: Sequence[bytes]) -> list[bytes]:
        """Sign each of several with one call."""
        with _translated():
            return self._user.sign_many(label, use, data)

    def random(self, n: int) -> bytes:
        """Draw random bytes."""
        with _translated():
            return self._user.random(n)

    def open_session(
        self,
        job: str,
        key_set: str,
        label: str,
        kdd: bytes,
        kvn: int,
        host_challenge: bytes,
        initialize_update_answer: bytes,
        level: int,
    ) -> OpenedSession:
        """Open an SCP03 session. Raises WrongCryptogram."""
        with _translated():
            opened = self._user.open_session(
                job, cast(KeySet, key_set), label, kdd, kvn, host_challenge, initialize_update_answer, level
            )
        return OpenedSession(opened.session, opened.external_authenticate)

    def wrap(self, session: int, apdu: bytes) -> bytes:
        """Protect one command."""
        with _translated():
            return self._user.wrap(session, apdu)

    def unwrap(self, session: int, answer: bytes) -> bytes:
        """Check and open one answer."""
        with _translated():
            return self._user.unwrap(session, answer)

    def wrap_chain(self, session: int, apdus: Sequence[bytes]) -> list[bytes]:
        """Protect all blocks of one chained command."""
        with _translated():
            return self._user.wrap_chain(session, apdus)

    def unwrap_chain(self, session: int, answers: Sequence[bytes]) -> list[bytes]:
        """Check and open the answers to a chain."""
        with _translated():
            return self._user.unwrap_chain(session, answers)

    def put_keys(self, session: int, master_label: str, kdd: bytes, new_kvn: int, replace_kvn: int) -> bytes:
        """Build and protect PUT KEY."""
        with _translated():
            return self._user.put_keys(session, master_label, kdd, new_kvn, replace_kvn)

    def check_put_keys(self, session: int, answer: bytes) -> None:
        """Open the answer of PUT KEY and compare the check values."""
        with _translated():
            self._user.check_put_keys(session, answer)

    def put_secret(self, session: int, kind: str, master_label: str | None, kdd: bytes, kvn: int) -> bytes:
        """Build and protect the command that loads a secret."""
        with _translated():
            return self._user.put_secret(session, cast(SecretKind, kind), master_label, kdd, kvn)

    def close_session(self, session: int) -> None:
        """Forget a session."""
        with _translated():
            self._user.close_session(session)

    def reveal_pin(self, job: str) -> str:
        """Tell the PIN of a job, once."""
        with _translated():
            return self._user.reveal_pin(job)


class Ceremony(Sim):
    """The HSM with the security officer present: makes keys and signs with root keys."""

    def __init__(self, user: Client, officer: Client) -> None:
        super().__init__(user)
        self._officer = officer

    def generate(self, label: str, kind: str, use: str, scope: tuple[str, ...]) -> KeyInfo:
        """Make a key."""
        with _translated():
            return _info(self._officer.generate(label, kind, use, scope))

    def load_transport(self, label: str, enc: bytes, mac: bytes, dek: bytes) -> KeyInfo:
        """Load the transport keys of a delivery of blanks."""
        with _translated():
            return _info(self._officer.load_transport(label, enc, mac, dek))

    def sign(self, label: str, use: str, data: bytes) -> bytes:
        """Sign: with root keys as the officer, with all others as the user."""
        with _translated():
            return (self._officer if use == ROOT_USE else self._user).sign(label, use, data)


def connect(config: Config) -> Sim:
    """The HSM of this installation, with the everyday PIN from its descriptor or file.

    The connection is closed with the last reference to what this gives, so a single command need not.
    """
    opened = open_client(config, Role.USER, read_secret(config.hsm_pin_fd, config.hsm_pin_file))
    made = Sim(opened)
    weakref.finalize(made, opened.close)
    return made


@contextmanager
def ceremony(config: Config, officer_pin: Secret) -> Iterator[Ceremony]:
    """The HSM of this installation with the security officer present, for as long as the ceremony lasts."""
    user_pin = read_secret(config.hsm_pin_fd, config.hsm_pin_file)
    with open_client(config, Role.USER, user_pin) as user, open_client(config, Role.SO, officer_pin) as officer:
        yield Ceremony(user, officer)


def open_client(config: Config, role: Role, pin: Secret) -> Client:
    """A client under one role; it connects with its first call."""
    return Client(config.hsm_socket, role, pin.text)


def _info(info: client.KeyInfo) -> KeyInfo:
    return KeyInfo(info.label, str(info.kind), str(info.use), tuple(info.scope), info.public, str(info.state))


@contextmanager
def _translated() -> Iterator[None]:
    """Raise the simulator's errors as the port's; the code `hsm.<error>` is a key of the message catalogue."""
    try:
        yield
    except client.HsmError as error:
        kind: Callable[..., port.HsmError] = _TRANSLATED.get(type(error), port.HsmError)
        raise kind(f"hsm.{error.code.replace('-', '_')}", detail=error.detail) from error
