"""Secrets on the command line: by descriptor or file, never as an argument."""

import argparse
import os
from pathlib import Path

from cardos.errors import Failed
from cardos.sealing import decode_hex, decode_secret, read_secret


def read_text(fd: int | None, path: Path | None) -> str:
    """Text from a descriptor or a file."""
    if fd is None:
        return path.read_text(encoding="ascii") if path is not None else ""
    with os.fdopen(fd, "r", encoding="ascii", closefd=True) as file:
        return file.read()


def secret_of(options: argparse.Namespace) -> bytes:
    """The secret of `options.image`: from the descriptor or file named, else from beside it."""
    return given_secret(options) or read_secret(options.image)


def given_secret(options: argparse.Namespace) -> bytes | None:
    """The secret from the descriptor or file named, if one is."""
    if options.secret_fd is None and options.secret_file is None:
        return None
    return decode_secret(read_text(options.secret_fd, options.secret_file))


def transport_keys_of(options: argparse.Namespace) -> tuple[bytes, bytes, bytes]:
    """ENC, MAC and DEK of a batch. Raises Failed unless there are three words of hex."""
    words = read_text(options.transport_keys_fd, options.transport_keys_file).split()
    if len(words) != 3:
        raise Failed("keys.count", count=len(words))
    enc, mac, dek = (decode_hex(word, "transport key") for word in words)
    return enc, mac, dek
