"""What a measured thing contains at the least: the bare cryptography of `cryptography`, bare commits, bare calls."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

ES256 = ec.ECDSA(hashes.SHA256())
_PREHASHED = ec.ECDSA(Prehashed(hashes.SHA256()))


class BareEcdsa:
    """P-256 signatures and verifications over messages as long as a credential's, with keys that lie ready."""

    def __init__(self) -> None:
        self._message = os.urandom(200)
        self._digest = os.urandom(32)
        self._private = ec.generate_private_key(ec.SECP256R1())
        self._public = self._private.public_key()
        self._signature = self._private.sign(self._message, ES256)

    def sign(self) -> None:
        """One signature."""
        self._private.sign(self._message, ES256)

    def sign_digest(self) -> None:
        """One signature over a digest, as a card makes it."""
        self._private.sign(self._digest, _PREHASHED)

    def verify(self) -> None:
        """One verification."""
        self._public.verify(self._signature, self._message, ES256)

    def make_key(self) -> None:
        """One key pair."""
        ec.generate_private_key(ec.SECP256R1())

    def door_check(self) -> None:
        """What a door check contains: the card's signature, and the door's two verifications."""
        self.sign()
        self.verify()
        self.verify()

    def cached_check(self) -> None:
        """The same with the credential cached."""
        self.sign()
        self.verify()


def bare_protection(command_bytes: int, answer_bytes: int) -> Callable[[], None]:
    """The AES-256 of one protected exchange on both sides: MAC and encryption of the command, and of the answer."""
    key, block = os.urandom(32), os.urandom(16)
    texts = [bytes((size // 16 + 1) * 16) for size in (command_bytes, answer_bytes)]

    def run() -> None:
        for text in texts:
            for _ in range(2):  # who protects, and who checks
                mac = CMAC(algorithms.AES(key))
                mac.update(block + text)
                mac.finalize()
                Cipher(algorithms.AES(key), modes.CBC(block)).encryptor().update(text)

    return run


class BareScp03:
    """The AES of one SCP03 exchange at the card: C-MAC, decryption, encryption and R-MAC, keys expanded beforehand.

    A MAC is a copy of a ready one. Each of the two ICVs is one block of a ready ECB context and starts a CBC context of
    its own, as `cryptography` has it. `running` is less than any card can do with it: the CBC contexts just run on,
    under the wrong ICV.
    """

    def __init__(self, command_bytes: int, answer_bytes: int, key_bytes: int = 32) -> None:
        """Of data in the clear: header, padding and chaining value are added."""
        self._aes = algorithms.AES(os.urandom(key_bytes))
        self._mac = CMAC(self._aes)
        self._icv = Cipher(self._aes, modes.ECB()).encryptor()  # noqa: S305 one block, a counter
        running = Cipher(self._aes, modes.CBC(bytes(16)))
        self._encryptor, self._decryptor = running.encryptor(), running.decryptor()
        self._command = bytes((command_bytes // 16 + 1) * 16)
        self._answer = bytes((answer_bytes // 16 + 1) * 16)
        self._maced = (bytes(16 + 5) + self._command, bytes(16) + self._answer + bytes(2))
        self._counter = bytes(16)

    def __call__(self) -> None:
        """The operations of one exchange."""
        self._two_macs()
        Cipher(self._aes, modes.CBC(self._icv.update(self._counter))).decryptor().update(self._command)
        Cipher(self._aes, modes.CBC(self._icv.update(self._counter))).encryptor().update(self._answer)

    def running(self) -> None:
        """The same without setting up a context for an ICV."""
        self._two_macs()
        self._icv.update(self._counter)
        self._decryptor.update(self._command)
        self._icv.update(self._counter)
        self._encryptor.update(self._answer)

    def _two_macs(self) -> None:
        for text in self._maced:
            mac = self._mac.copy()
            mac.update(text)
            mac.finalize()


class BareCommit:
    """One row changed in a SQLite database of the centre's kind: WAL, on the disk when it returns."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("CREATE TABLE steps (n INTEGER PRIMARY KEY, state TEXT, at TEXT)")
        self._connection.execute("INSERT INTO steps VALUES (1, 'started', '')")

    def __call__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("UPDATE steps SET state = ?, at = ? WHERE n = 1", ("done", os.urandom(8).hex()))
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """End the connection."""
        self._connection.close()
