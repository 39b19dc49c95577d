"""What a card of the factory has until it is personalised: published values, which protect nothing."""

from cardlink.piv.pins import FACTORY_PIN, FACTORY_PUK, encode_pin
from cardlink.piv.tables import Algorithm, KeyRef
from cardos.records import AdminKey, Reference

PIV_VERSION = bytes((5, 7, 0))
FACTORY_ADMIN_KEY = bytes.fromhex("0102030405060708") * 3  # AES-192, as new YubiKeys have it
PIN_TRIES = 5
PUK_TRIES = 5
TRIES_MAX = 15  # what 63Cx can say


def default_references(pin_tries: int = PIN_TRIES, puk_tries: int = PUK_TRIES) -> tuple[Reference, Reference]:
    """PIN and PUK of the factory."""
    return (
        Reference(KeyRef.PIN, encode_pin(FACTORY_PIN), pin_tries, pin_tries, True),
        Reference(KeyRef.PUK, FACTORY_PUK.encode("ascii"), puk_tries, puk_tries, True),
    )


def default_admin_key() -> AdminKey:
    """9B of the factory."""
    return AdminKey(Algorithm.AES_192, FACTORY_ADMIN_KEY, True)


def is_factory_value(number: int, value: bytes) -> bool:
    """Is this the value that a PIN or PUK has from the factory: GET METADATA says so, and tools warn of it."""
    return any(one.number == number and one.value == value for one in default_references())
