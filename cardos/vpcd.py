"""The card's end of vpcd, the virtual reader of pcscd: a TCP client that is the card in one slot of the reader.

Framing: two bytes of length, then as many bytes. One byte alone is a control message (00 power off, 01 power on,
02 reset, 04 "your ATR?", the only one that is answered); anything else is an APDU.
"""

import logging
import socket
import threading
from dataclasses import dataclass, field
from typing import Protocol

from cardlink.errors import LinkLost
from cardlink.piv.tables import Interface

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
CONTACT_PORT = 35963
CONTACTLESS_PORT = 35964
POWER_OFF, POWER_ON, RESET, GET_ATR = b"\x00", b"\x01", b"\x02", b"\x04"
_CONNECT_TIMEOUT_S = 1.0
_RETRY_S = 0.1
_INSERT_TIMEOUT_S = 10.0
_LEAVE_TIMEOUT_S = 2.0


class Answering(Protocol):
    """What can lie in a reader: a card, or one that misbehaves."""

    @property
    def atr(self) -> bytes:
        """The answer to reset."""
        ...

    def transmit(self, apdu: bytes, interface: Interface) -> bytes:
        """Answer one APDU. Raises LinkLost when the card leaves instead of answering."""
        ...

    def reset(self) -> None:
        """Power off and on."""
        ...


class Gone(Exception):
    """The reader closed the connection."""


@dataclass(slots=True)
class _Insertion:
    """One stay of the card in one slot, served by a thread of its own."""

    interface: Interface
    stopping: threading.Event = field(default_factory=threading.Event)
    connected: threading.Event = field(default_factory=threading.Event)
    link: socket.socket | None = None
    thread: threading.Thread | None = None


class Slots:
    """The slots of a virtual reader and one card, which is in one of them or in none.

    Not for two threads at once; the serving thread is its own affair.
    """

    def __init__(self, card: Answering, ports: dict[Interface, int], host: str = LOOPBACK) -> None:
        self._card = card
        self._ports = ports
        self._host = host
        self._stay: _Insertion | None = None
        self._lock = threading.Lock()

    @property
    def inserted(self) -> Interface | None:
        """The slot in which the card lies now. A card that left by itself is in none."""
        stay = self._stay
        return stay.interface if stay is not None and stay.thread is not None and stay.thread.is_alive() else None

    def insert(self, interface: Interface, wait_s: float = _INSERT_TIMEOUT_S) -> bool:
        """Put the card in that slot, out of any other; true once the reader has taken the connection.

        A reader that is not there yet is tried again and again until the card is removed. A card that lies there
        already is not moved.
        """
        if self._stay is not None and self.inserted is interface:
            return self._stay.connected.wait(wait_s)
        self.remove()
        self._stay = stay = _Insertion(interface)
        stay.thread = threading.Thread(target=self._serve, args=(stay,), name=f"card-{interface.value}", daemon=True)
        stay.thread.start()
        return stay.connected.wait(wait_s)

    def remove(self) -> None:
        """Take the card out; a command in its midst gets no answer."""
        stay, self._stay = self._stay, None
        if stay is None:
            return
        stay.stopping.set()
        with self._lock:
            if stay.link is not None:
                _shut(stay.link)
        if stay.thread is not None:
            # a card that keeps its reader waiting is left behind; what it says later goes nowhere
            stay.thread.join(_LEAVE_TIMEOUT_S)

    def _serve(self, stay: _Insertion) -> None:
        address = (self._host, self._ports[stay.interface])
        while not stay.stopping.is_set():
            try:
                connection = socket.create_connection(address, timeout=_CONNECT_TIMEOUT_S)
            except OSError:
                stay.stopping.wait(_RETRY_S)
                continue
            with connection:
                with self._lock:
                    stay.link = connection
                    if stay.stopping.is_set():
                        break
                stay.connected.set()
                self._card.reset()
                try:
                    _converse(connection, self._card, stay.interface)
                except LinkLost as lost:
                    log.info("card left slot=%s reason=%s", stay.interface.value, lost)
                    return
                except (Gone, OSError) as error:
                    log.debug("reader closed slot=%s reason=%s", stay.interface.value, error)
                finally:
                    with self._lock:
                        stay.link = None
            stay.stopping.wait(_RETRY_S)


def _converse(connection: socket.socket, card: Answering, interface: Interface) -> None:
    """Answer the reader until it or the card goes."""
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        message = _receive(connection, int.from_bytes(_receive(connection, 2), "big"))
        if message == GET_ATR:
            answer = card.atr
        elif message in (POWER_OFF, POWER_ON, RESET):
            card.reset()
            continue
        else:
            answer = card.transmit(message, interface)
        connection.sendall(len(answer).to_bytes(2, "big") + answer)


def _receive(connection: socket.socket, size: int) -> bytes:
    """Read exactly `size` bytes.

    vpcd sends length and body apart. Without an immediate acknowledgement of the first its kernel holds the second
    back for 40 ms; the option wears off, so it is set before every read. Measured beside this: to read more at once
    saves nothing, and to be woken by the third byte (SO_RCVLOWAT) brings the 40 ms back.
    """
    received = b""
    while len(received) < size:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        part = connection.recv(size - len(received))
        if not part:
            raise Gone("end of stream")
        received = received + part if received else part
    return received


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError as error:
        log.debug("connection was down already reason=%s", error)
