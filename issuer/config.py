"""The settings of one installation: a TOML file, with `THEMO_<SECTION>_<KEY>` in the environment above it.

No setting holds a secret: a PIN comes from a descriptor or a file, a database password from libpq's own password file.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from issuer.errors import ConfigError

MAX_SECRET_BYTES = 4096
MAX_PROXIES = 5
SIM, PKCS11 = "sim", "pkcs11"
TOKEN_LABEL_BYTES = 32
"""As long as a token's label may be (PKCS#11 v3.1 §3.2, CK_TOKEN_INFO)."""
ROOT_TOKEN_PREFIX = "root-"  # noqa: S105 - a label; in front, as some tools find a token by how its label begins
PRODUCTS = ("themo", "themo-attested", "themo-vci", "themo-vci-attested")
"""Card products (issuer/cards/profiles.py): with secure messaging and the virtual contact interface; with the chip
maker's word on the keys made on it."""
STATUS_LIST_BITS = range(8, 23)
"""A status list is a shard of up to 2^22 cards (docs/formats.md, F6)."""


@dataclass(frozen=True, slots=True)
class Config:
    """One installation of the centre. Paths are absolute; `installation` is the agency that signs status and trust.

    `hsm_kind` says what holds the keys: `sim`, the HSM simulator at `hsm_socket`, or `pkcs11`, a device behind a
    PKCS#11 module, with a token for everyday and one for the root keys. `web_proxies` is how many proxies of this
    installation stand before the console: their word on the visitor's address and scheme counts, nobody else's. The
    allocator's PIN is for the process that makes cards of requests alone; who encodes them has the everyday PIN.
    `card_product` is what blanks become where a command names no other; `card_makers_file` (PEM) are the roots of chip
    makers whose word on keys counts, and authorities below them. `station_reader` is the name of a card reader at the
    console's machine, or part of it: issued cards are updated on it from the console; empty where there is none.
    """

    data_dir: Path
    database_url: str
    installation: str
    hsm_socket: Path
    hsm_pin_fd: int | None
    hsm_pin_file: Path | None
    feed_poke: Path
    feed_listen: str
    feed_url: str
    web_listen: str
    web_proxies: int
    public_url: str
    verify_url: str
    status_list_bits: int
    hsm_kind: str = SIM
    hsm_pkcs11_module: Path | None = None
    hsm_pkcs11_token: str = ""
    hsm_pkcs11_root_token: str = ""
    hsm_allocator_pin_fd: int | None = None
    hsm_allocator_pin_file: Path | None = None
    card_product: str = PRODUCTS[0]
    card_makers_file: Path | None = None
    station_reader: str = ""


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret text whose `repr` does not show it."""

    text: str

    def __repr__(self) -> str:
        return "Secret(...)"


KEYS: dict[str, tuple[str, ...]] = {
    "centre": ("data_dir", "database_url", "installation", "public_url", "verify_url"),
    "hsm": (
        *("kind", "socket", "pin_fd", "pin_file", "allocator_pin_fd", "allocator_pin_file"),
        *("pkcs11_module", "pkcs11_token", "pkcs11_root_token"),
    ),
    "card": ("product", "makers_file"),
    "station": ("reader",),
    "feed": ("listen", "url", "poke"),
    "web": ("listen", "proxies"),
    "status": ("list_bits",),
}


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read the settings from `path`, else from the file that THEMO_CONFIG names, else from the environment alone.

    Relative paths in the file are relative to the file. Raises ConfigError.
    """
    named = path if path is not None else _path(environ.get("THEMO_CONFIG"))
    told = _read_file(named) if named is not None else {}
    base = named.resolve().parent if named is not None else Path.cwd()
    for section, keys in KEYS.items():
        for key in keys:
            value = environ.get(f"THEMO_{section}_{key}".upper())
            if value is not None:
                told[section, key] = value
    return _build(told, base)


def read_secret(fd: int | None, file: Path | None) -> Secret:
    """Read one secret from a descriptor (closed afterwards) or from a file: the first line, without its end."""
    if fd is not None:
        try:
            with os.fdopen(fd, "rb") as source:
                raw = source.read(MAX_SECRET_BYTES + 1)
        except OSError as error:
            raise ConfigError("config.secret_unreadable", source=f"fd {fd}", why=error.strerror) from error
    elif file is not None:
        try:
            raw = file.read_bytes()[: MAX_SECRET_BYTES + 1]
        except OSError as error:
            raise ConfigError("config.secret_unreadable", source=str(file), why=error.strerror) from error
    else:
        raise ConfigError("config.secret_missing")
    first = raw.split(b"\n", 1)[0].rstrip(b"\r")
    if not first or len(raw) > MAX_SECRET_BYTES or not first.isascii():
        raise ConfigError("config.secret_unreadable", source=f"fd {fd}" if fd is not None else str(file), why="empty")
    return Secret(first.decode("ascii"))


def listen_address(text: str) -> tuple[str, int]:
    """Split `host:port`. Raises ConfigError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError("config.bad_listen", value=text)
    return host, int(port)


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _read_file(path: Path) -> dict[tuple[str, str], str | int]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError("config.unreadable", path=str(path), why=error.strerror) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("config.not_toml", path=str(path), why=str(error)) from error
    told: dict[tuple[str, str], str | int] = {}
    for section, values in document.items():
        if section not in KEYS or not isinstance(values, dict):
            raise ConfigError("config.unknown_key", path=str(path), key=section)
        for key, value in values.items():
            if key not in KEYS[section] or not isinstance(value, str | int) or isinstance(value, bool):
                raise ConfigError("config.unknown_key", path=str(path), key=f"{section}.{key}")
            told[section, key] = value
    return told


def _build(told: Mapping[tuple[str, str], str | int], base: Path) -> Config:
    def text(section: str, key: str, default: str | None = None) -> str:
        value = told.get((section, key), default)
        if value is None or value == "":
            raise ConfigError("config.missing", key=f"{section}.{key}", variable=f"THEMO_{section}_{key}".upper())
        return str(value)

    def number(section: str, key: str) -> int | None:
        value = told.get((section, key))
        if value is None:
            return None
        if not str(value).isdecimal():
            raise ConfigError("config.bad_number", key=f"{section}.{key}", value=str(value))
        return int(value)

    data_dir = base / text("centre", "data_dir")
    feed_listen = text("feed", "listen", "127.0.0.1:8441")
    web_listen = text("web", "listen", "127.0.0.1:8440")
    for listen in (feed_listen, web_listen):
        listen_address(listen)
    public_url = text("centre", "public_url", f"http://{web_listen}").rstrip("/")
    pin_file = told.get(("hsm", "pin_file"))
    allocator_file = told.get(("hsm", "allocator_pin_file"))
    kind = text("hsm", "kind", PKCS11 if told.get(("hsm", "pkcs11_module")) else SIM)
    if kind not in (SIM, PKCS11):
        raise ConfigError("config.bad_hsm", value=kind)
    token = text("hsm", "pkcs11_token") if kind == PKCS11 else ""
    root_token = text("hsm", "pkcs11_root_token", f"{ROOT_TOKEN_PREFIX}{token}") if kind == PKCS11 else ""
    if max(len(token.encode()), len(root_token.encode())) > TOKEN_LABEL_BYTES:
        raise ConfigError("config.long_token", value=max(token, root_token, key=len), most=TOKEN_LABEL_BYTES)
    product, makers_file = text("card", "product", PRODUCTS[0]), told.get(("card", "makers_file"))
    if product not in PRODUCTS:
        raise ConfigError("config.unknown_product", value=product, known=", ".join(PRODUCTS))
    list_bits = number("status", "list_bits")
    if list_bits is not None and list_bits not in STATUS_LIST_BITS:
        raise ConfigError("config.bad_number", key="status.list_bits", value=str(list_bits))
    proxies = number("web", "proxies")
    if proxies is not None and proxies > MAX_PROXIES:
        raise ConfigError("config.bad_number", key="web.proxies", value=str(proxies))
    return Config(
        data_dir=data_dir,
        database_url=_database_url(text("centre", "database_url", f"sqlite:///{data_dir / 'centre.db'}")),
        installation=text("centre", "installation"),
        hsm_socket=base / text("hsm", "socket", str(data_dir / "hsm.sock")),
        hsm_pin_fd=number("hsm", "pin_fd"),
        hsm_pin_file=base / str(pin_file) if pin_file is not None else None,
        feed_poke=base / text("feed", "poke", str(data_dir / "feed.sock")),
        feed_listen=feed_listen,
        feed_url=text("feed", "url", f"http://{feed_listen}").rstrip("/"),
        web_listen=web_listen,
        web_proxies=proxies or 0,
        public_url=public_url,
        verify_url=text("centre", "verify_url", f"{public_url}/v"),
        status_list_bits=16 if list_bits is None else list_bits,
        hsm_kind=kind,
        hsm_pkcs11_module=base / text("hsm", "pkcs11_module") if kind == PKCS11 else None,
        hsm_pkcs11_token=token,
        hsm_pkcs11_root_token=root_token,
        hsm_allocator_pin_fd=number("hsm", "allocator_pin_fd"),
        hsm_allocator_pin_file=base / str(allocator_file) if allocator_file is not None else None,
        card_product=product,
        card_makers_file=base / str(makers_file) if makers_file is not None else None,
        station_reader=str(told.get(("station", "reader"), "")),
    )


def _database_url(text: str) -> str:
    """Name the driver of PostgreSQL; refuse other databases, and a password inside the URL."""
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise ConfigError("config.bad_database", value=text) from error
    if url.password is not None or "password" in url.query:
        raise ConfigError("config.password_in_url")
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "postgresql+psycopg"):
        raise ConfigError("config.bad_database", value=text)
    return url.render_as_string(hide_password=False)
