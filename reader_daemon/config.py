"""The configuration of a door process: a TOML file, over it the environment (THEMO_DOOR_<KEY>). It holds no secret."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reader_daemon.errors import ConfigError

ENV_PREFIX = "THEMO_DOOR_"
KEYS = (
    "data_dir",
    "feed_url",
    "readers",
    "lock",
    "lock_file",
    "head_every_records",
    "head_every_s",
    "insert_wait_s",
)


@dataclass(frozen=True, slots=True)
class Config:
    """What a door needs to run. `readers` are parts of PC/SC reader names; none means every reader."""

    data_dir: Path
    feed_url: str | None = None
    readers: tuple[str, ...] = ()
    lock: str = "log"
    lock_file: Path | None = None
    head_every_records: int = 64
    head_every_s: int = 300
    insert_wait_s: float = 1.0

    @property
    def database_path(self) -> Path:
        return self.data_dir / "door.db"

    @property
    def key_path(self) -> Path:
        """The door's own signing key: PKCS#8 in PEM, readable by its owner alone."""
        return self.data_dir / "door.key"

    @property
    def enrolment_path(self) -> Path:
        return self.data_dir / "enrolment.cbor"


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read the file and the environment. Raises ConfigError naming the key that is missing, unknown or wrong."""
    raw: dict[str, object] = {}
    if path is not None:
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError("config-unreadable", path=path, why=error) from error
    if "reader" in raw:  # one reader may be written in the singular
        raw["readers"] = [raw.pop("reader")]
    for key in KEYS:
        if (value := environ.get(ENV_PREFIX + key.upper())) is not None:
            raw[key] = value.split(",") if key == "readers" else value
    if unknown := sorted(set(raw) - set(KEYS)):
        raise ConfigError("config-unknown", key=unknown[0])
    if not raw.get("data_dir"):
        raise ConfigError("config-missing", key="data_dir", env=ENV_PREFIX + "DATA_DIR")
    return _typed(raw)


def _typed(raw: Mapping[str, object]) -> Config:
    lock_file = _text(raw, "lock_file")
    config = Config(
        data_dir=Path(_text(raw, "data_dir") or ""),
        feed_url=(_text(raw, "feed_url") or "").rstrip("/") or None,
        readers=_names(raw),
        lock=_text(raw, "lock") or "log",
        lock_file=Path(lock_file) if lock_file else None,
        head_every_records=int(_number(raw, "head_every_records", 64)),
        head_every_s=int(_number(raw, "head_every_s", 300)),
        insert_wait_s=_number(raw, "insert_wait_s", 1.0),
    )
    if config.feed_url is not None and not config.feed_url.startswith(("http://", "https://")):
        raise ConfigError("config-wrong", key="feed_url", value=config.feed_url)
    if config.lock not in ("log", "file"):
        raise ConfigError("lock-unknown", driver=config.lock)
    if config.lock == "file" and config.lock_file is None:
        raise ConfigError("config-missing", key="lock_file", env=ENV_PREFIX + "LOCK_FILE")
    return config


def _text(raw: Mapping[str, object], key: str) -> str | None:
    value = raw.get(key)
    if value is not None and not isinstance(value, str):
        raise ConfigError("config-wrong", key=key, value=value)
    return value


def _names(raw: Mapping[str, object]) -> tuple[str, ...]:
    value = raw.get("readers", [])
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise ConfigError("config-wrong", key="readers", value=value)
    return tuple(value)


def _number(raw: Mapping[str, object], key: str, default: float) -> float:
    value = raw.get(key, default)
    try:
        number = float(str(value))
    except ValueError as error:
        raise ConfigError("config-wrong", key=key, value=value) from error
    if isinstance(value, bool) or not 0 < number < 1e6:
        raise ConfigError("config-wrong", key=key, value=value)
    return number
