"""What a measured thing contains at the least: the bare cryptography of `cryptography`, bare commits, bare calls."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

ES256 = ec.ECDSA(hashes.SHA256())


class BareEcdsa:
    """P-256 signatures and verifications over messages as long as a credential's, with keys that lie ready."""

    def __init__(self) -> None:
        self._message = os.urandom(200)
        self._private = ec.generate_private_key(ec.SECP256R1())
        self._public = self._private.public_key()
        self._signature = self._private.sign(self._message, ES256)

    def sign(self) -> None:
        """One signature."""
        self._private.sign(self._message, ES256)

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
