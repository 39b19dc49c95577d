"""The peer of `./run bench hsm`: SoftHSM through python-pkcs11, on a token of its own; and our adapter over it."""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pkcs11
from pkcs11.util.ec import encode_named_curve_parameters

from issuer.config import Secret
from issuer.trust.pkcs11 import Pkcs11
from issuer.trust.pkcs11_link import Login, Worker

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
TOKEN = "bench"  # noqa: S105 a label
PIN = "bench-pin-1"  # of a token that is deleted with the benchmark


class NoSoftHsm(Exception):
    """The module is not installed."""


class SoftHsm:
    """A session with a P-256 key whose handle is kept."""

    def __init__(self, module: str, session: pkcs11.Session) -> None:
        self._module = module
        self._session = session
        self._curve = encode_named_curve_parameters("secp256r1")
        self._key = self.generate()

    def generate(self) -> pkcs11.SignMixin:
        """Make a key pair that stays on the token."""
        parameters = self._session.create_domain_parameters(
            pkcs11.KeyType.EC, {pkcs11.Attribute.EC_PARAMS: self._curve}, local=True
        )
        _, private = parameters.generate_keypair(store=True)
        if not isinstance(private, pkcs11.SignMixin):
            raise TypeError("SoftHSM made a key that does not sign")
        return private

    def sign(self, data: bytes) -> bytes:
        """ES256: r and s. Debian's SoftHSM signs a hash that was made outside."""
        signature: bytes = self._key.sign(hashlib.sha256(data).digest(), mechanism=pkcs11.Mechanism.ECDSA)
        return signature

    def random(self, size: int) -> bytes:
        """Random bytes of the token."""
        drawn: bytes = self._session.generate_random(size * 8)
        return drawn

    @contextmanager
    def adapter(self) -> Iterator[Pkcs11]:
        """Our adapter on the same token, with a key `adapter` of use `card`."""
        worker = Worker(Login(self._module, TOKEN, Secret(PIN), True, False))
        try:
            opened = Pkcs11(worker)
            opened.generate("adapter", "ec-p256", "card", ())
            yield opened
        finally:
            worker.close()


@contextmanager
def soft_hsm(folder: Path) -> Iterator[SoftHsm]:
    """A new token in `folder`. Raises NoSoftHsm."""
    module = next((path for path in MODULES if Path(path).exists()), None)
    if module is None:
        raise NoSoftHsm("libsofthsm2.so is missing: apt-get install softhsm2")
    tokens = folder / "tokens"
    tokens.mkdir()
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(config)
    made = ["softhsm2-util", "--init-token", "--free", "--label", TOKEN, "--so-pin", PIN, "--pin", PIN]
    subprocess.run(made, check=True, capture_output=True)
    token = pkcs11.lib(module).get_token(token_label=TOKEN)
    with token.open(rw=True, user_pin=PIN) as session:
        yield SoftHsm(module, session)
