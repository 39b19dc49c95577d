"""The process beside a PKCS#11 device: the only one that loads the module, logs in, and holds what a session derives.

Started afresh (never forked) by `issuer.trust.pkcs11_link` with one end of a socket pair; the PIN comes over that. It
ends with the other end, and after any loss of the device: a library that lost its token is best begun anew.
"""

import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from cardlink.errors import Malformed
from cardlink.gp import host_channel
from cardlink.gp.host_channel import ChannelError
from issuer.trust.pkcs11_cards import Cards
from issuer.trust.pkcs11_device import Device, is_root
from issuer.trust.pkcs11_wire import DEVICE_LOST, PeerGone, Refused, receive, send
from issuer.trust.pkcs11_wrapping import Wrapping

OFFICER_OPS = frozenset({"generate", "load_transport", "load_component", "wrap_key", "unwrap_key", "set_state"})
_OF_CHANNEL: dict[type[ChannelError], str] = {
    host_channel.Misused: "bad-request",
    host_channel.NotForOthers: "denied",
    host_channel.ChannelClosed: "session-lost",
    host_channel.WrongCryptogram: "wrong-cryptogram",
    host_channel.WrongAnswer: "wrong-answer",
}


class Worker:
    """Does what the other end asks, one request after the other."""

    def __init__(self, device: Device, is_officer: bool) -> None:
        self._device = device
        self._is_officer = is_officer
        self._cards = cards = Cards(device)
        self._wrapping = wrapping = Wrapping(device)
        self._does: dict[str, Callable[..., Any]] = {
            "status": lambda: [device.product, len(device.entries()), device.jobs()],
            "keys": lambda: [one.to_wire() for one in device.entries()],
            "info": lambda label: device.find(label).to_wire(),
            "attest": lambda label: list(device.attest(label)),
            "generate": self._generate,
            "load_transport": lambda label, *keys: device.load_transport(label, keys, int(time.time())).to_wire(),
            "load_component": wrapping.load_component,
            "wrap_key": wrapping.wrap_key,
            "unwrap_key": lambda *args: wrapping.unwrap_key(*args).to_wire(),
            "set_state": device.set_state,
            "sign_many": self._sign_many,
            "sign_digest": device.sign_digest,
            "random": device.random,
            "open_session": cards.open_session,
            "wrap": cards.wrap,
            "unwrap": cards.unwrap,
            "wrap_chain": cards.wrap_chain,
            "unwrap_chain": cards.unwrap_chain,
            "put_keys": cards.put_keys,
            "check_put_keys": cards.check_put_keys,
            "put_secret": cards.put_secret,
            "close_session": cards.close_session,
            "reveal_pin": cards.reveal_pin,
            "forget_pin": cards.forget_pin,
            "derive_check": cards.derive_check,
        }

    def _generate(self, label: str, kind: str, use: str, scope: list[str], is_exportable: bool) -> list[Any]:
        return self._device.generate(label, kind, use, tuple(scope), is_exportable=is_exportable).to_wire()

    def _sign_many(self, label: str, use: str, data: list[bytes]) -> list[bytes]:
        if is_root(use) and not self._is_officer:
            raise Refused("denied", "root keys sign for the security officer alone")
        return self._device.sign_many(label, use, data)

    def answer(self, op: str, args: list[Any]) -> Any:
        """Do one request. Raises Refused."""
        if op in OFFICER_OPS and not self._is_officer:
            raise Refused("denied", f"user may not {op}")
        try:
            return self._does[op](*args)
        except ChannelError as error:
            raise Refused(_OF_CHANNEL[type(error)], str(error)) from error
        except Malformed as error:
            raise Refused("bad-request", str(error)) from error

    @property
    def can(self) -> list[bool]:
        """What not every device can do: AES-CMAC, Ed25519, AES key wrap with padding."""
        return [self._device.has_cmac, self._device.has_ed25519, self._device.wrap_mechanism is not None]


def serve(peer: socket.socket) -> None:
    """Log in with what the first frame says, then answer until the other end or the device is gone."""
    module, token, pin, is_officer = receive(peer)
    try:
        device = Device(module, token, pin)
    except Refused as error:
        send(peer, [False, error.code, error.detail])
        return
    try:
        worker = Worker(device, is_officer)
        send(peer, [True, [device.product, *worker.can]])
        while _answer_one(peer, worker):
            pass
    finally:
        device.close()


def _answer_one(peer: socket.socket, worker: Worker) -> bool:
    op, *args = receive(peer)
    try:
        send(peer, [True, worker.answer(op, args)])
    except Refused as error:
        send(peer, [False, error.code, error.detail])
        return error.code != DEVICE_LOST
    return True


def main() -> None:
    """The worker's process: `python -m issuer.trust.pkcs11_worker DESCRIPTOR`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one, which ends it
    with socket.socket(fileno=int(sys.argv[1])) as peer:
        try:
            serve(peer)
        except PeerGone:
            return


if __name__ == "__main__":
    main()
