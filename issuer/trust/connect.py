"""The HSM of this installation, whichever it is: the one place that knows both adapters.

`hsm.kind` in the settings says which: the HSM simulator, or a PKCS#11 device. What the device cannot do by itself is
in its `Capabilities`; `issuer hsm status`, the console's page of the HSM and the log show it.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from issuer.config import PKCS11, Config, Secret, read_secret
from issuer.errors import ConfigError
from issuer.trust import pkcs11, sim
from issuer.trust.pkcs11 import Pkcs11
from issuer.trust.pkcs11_link import Login, Worker
from issuer.trust.port import Allocating, CeremonyHsm, Hsm
from issuer.trust.sim import OnWait

SECURITY_OFFICER = "so"


def connect(config: Config) -> Hsm:
    """The HSM with the everyday PIN from its descriptor or file; it connects with its first call.

    The connection is closed with the last reference to what this gives, so a single command need not.
    """
    if config.hsm_kind != PKCS11:
        return sim.connect(config)
    everyday = Worker(_everyday(config, read_secret(config.hsm_pin_fd, config.hsm_pin_file)))
    made = Pkcs11(everyday)
    weakref.finalize(made, everyday.close)
    return made


def allocator(config: Config) -> Allocating | None:
    """Who opens jobs for cards, where this process has the allocator's PIN; a device without such a role has none."""
    has_pin = config.hsm_allocator_pin_fd is not None or config.hsm_allocator_pin_file is not None
    if config.hsm_kind == PKCS11 or not has_pin:
        return None
    return sim.allocator(config, read_secret(config.hsm_allocator_pin_fd, config.hsm_allocator_pin_file))


@contextmanager
def ceremony(
    config: Config,
    officer_pin: Secret,
    officer: str = SECURITY_OFFICER,
    on_wait: OnWait | None = None,
    *,
    makes_exportable: bool = False,
) -> Iterator[CeremonyHsm]:
    """The HSM with a security officer present, for as long as the ceremony lasts.

    `officer` and `on_wait` are for an HSM that knows persons; a PKCS#11 device knows one PIN for each token.
    `makes_exportable`: keys that are made or taken in may leave again, enciphered.
    """
    if config.hsm_kind != PKCS11:
        with sim.ceremony(config, officer_pin, officer, on_wait, makes_exportable=makes_exportable) as present:
            yield present
        return
    user_pin = read_secret(config.hsm_pin_fd, config.hsm_pin_file)
    everyday = Worker(_everyday(config, user_pin, is_officer=True))
    roots = Worker(Login(_module(config), config.hsm_pkcs11_root_token, officer_pin, True, _separates(config)))
    try:
        yield pkcs11.Ceremony(everyday, roots, makes_exportable=makes_exportable)
    finally:
        everyday.close()
        roots.close()


def _everyday(config: Config, pin: Secret, *, is_officer: bool = False) -> Login:
    return Login(_module(config), config.hsm_pkcs11_token, pin, is_officer, _separates(config))


def _separates(config: Config) -> bool:
    return config.hsm_pkcs11_root_token != config.hsm_pkcs11_token


def _module(config: Config) -> str:
    if config.hsm_pkcs11_module is None:
        raise ConfigError("config.missing", key="hsm.pkcs11_module", variable="THEMO_HSM_PKCS11_MODULE")
    return str(config.hsm_pkcs11_module)
