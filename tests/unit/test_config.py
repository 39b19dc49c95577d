"""Settings: a file, the environment above it, no secrets in either, and every mistake named."""

import os
from pathlib import Path

import pytest

from issuer import config
from issuer.cards import profiles
from issuer.config import PRODUCTS, load, read_secret
from issuer.errors import ConfigError

MINIMAL = '[centre]\ndata_dir = "data"\ninstallation = "G09"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "centre.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_smallest_file_gets_defaults_beside_its_data(tmp_path: Path) -> None:
    found = load(written(tmp_path, MINIMAL), {})
    assert found.data_dir == tmp_path / "data"
    assert found.database_url == f"sqlite:///{tmp_path / 'data' / 'centre.db'}"
    assert found.installation == "G09"
    assert found.hsm_socket == tmp_path / "data" / "hsm.sock"
    assert found.feed_poke == tmp_path / "data" / "feed.sock"
    assert (found.feed_listen, found.feed_url) == ("127.0.0.1:8441", "http://127.0.0.1:8441")
    assert (found.public_url, found.verify_url) == ("http://127.0.0.1:8440", "http://127.0.0.1:8440/v")
    assert found.hsm_pin_fd is None
    assert found.hsm_pin_file is None
    assert (found.status_list_bits, found.web_proxies) == (16, 0)


def test_the_environment_stands_above_the_file(tmp_path: Path) -> None:
    environ = {"THEMO_CENTRE_INSTALLATION": "H38", "THEMO_FEED_LISTEN": "127.0.0.1:9000", "THEMO_HSM_PIN_FD": "7"}
    found = load(written(tmp_path, MINIMAL), environ)
    assert (found.installation, found.feed_url, found.hsm_pin_fd) == ("H38", "http://127.0.0.1:9000", 7)


def test_the_file_can_be_named_by_the_environment(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL)
    assert load(None, {"THEMO_CONFIG": str(path)}).installation == "G09"


def test_the_environment_alone_is_enough(tmp_path: Path) -> None:
    environ = {"THEMO_CENTRE_INSTALLATION": "H38", "THEMO_CENTRE_DATA_DIR": str(tmp_path)}
    assert load(None, environ).data_dir == tmp_path


def test_postgresql_is_reached_through_psycopg(tmp_path: Path) -> None:
    text = MINIMAL + 'database_url = "postgresql:///centre?host=/run/postgresql"\n'
    assert load(written(tmp_path, text), {}).database_url.startswith("postgresql+psycopg:///centre")


def test_a_pkcs11_module_puts_the_keys_into_its_device(tmp_path: Path) -> None:
    assert load(written(tmp_path, MINIMAL), {}).hsm_kind == "sim"
    found = load(written(tmp_path, MINIMAL + '[hsm]\npkcs11_module = "/lib/p11.so"\npkcs11_token = "centre"\n'), {})
    assert (found.hsm_kind, found.hsm_pkcs11_module) == ("pkcs11", Path("/lib/p11.so"))
    assert (found.hsm_pkcs11_token, found.hsm_pkcs11_root_token) == ("centre", "root-centre")
    text = MINIMAL + '[hsm]\nkind = "sim"\npkcs11_module = "/lib/p11.so"\npkcs11_token = "centre"\n'
    assert load(written(tmp_path, text), {}).hsm_kind == "sim"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "config.missing"),
        ('[centre]\ninstallation = "G09"\n', "config.missing"),
        (MINIMAL + '[hsm]\nkind = "pkcs11"\n', "config.missing"),
        (MINIMAL + '[hsm]\npkcs11_module = "/lib/p11.so"\n', "config.missing"),
        (MINIMAL + '[hsm]\nkind = "paper"\n', "config.bad_hsm"),
        (MINIMAL + f'[hsm]\npkcs11_module = "/p.so"\npkcs11_token = "{"x" * 28}"\n', "config.long_token"),
        (MINIMAL + '[card]\nproduct = "gold"\n', "config.unknown_product"),
        (MINIMAL + '[card]\nmaker = "x.pem"\n', "config.unknown_key"),
        ('[centre]\ndata_dir = "d"\n', "config.missing"),
        (MINIMAL + 'colour = "red"\n', "config.unknown_key"),
        (MINIMAL + '[hsm]\npin = "123456"\n', "config.unknown_key"),
        (MINIMAL + "[doors]\n", "config.unknown_key"),
        ("centre = 1\n", "config.unknown_key"),
        (MINIMAL + "[centre]\n", "config.not_toml"),
        (MINIMAL + '[web]\nlisten = "8440"\n', "config.bad_listen"),
        (MINIMAL + '[feed]\nlisten = "host:99999"\n', "config.bad_listen"),
        (MINIMAL + "[web]\nproxies = 6\n", "config.bad_number"),
        (MINIMAL + "[status]\nlist_bits = 40\n", "config.bad_number"),
        (MINIMAL + '[hsm]\npin_fd = "three"\n', "config.bad_number"),
        (MINIMAL + 'database_url = "postgresql://u:secret@h/d"\n', "config.password_in_url"),
        (MINIMAL + 'database_url = "postgresql://h/d?password=x"\n', "config.password_in_url"),
        (MINIMAL + 'database_url = "mysql://h/d"\n', "config.bad_database"),
        (MINIMAL + 'database_url = "nonsense"\n', "config.bad_database"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, code: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(written(tmp_path, text), {})
    assert refused.value.code == code
    assert "secret" not in str(refused.value)


def test_the_card_product_has_a_name_and_its_makers_a_file(tmp_path: Path) -> None:
    plain = load(written(tmp_path, MINIMAL), {})
    assert (plain.card_product, plain.card_makers_file) == ("themo", None)
    text = MINIMAL + '[card]\nproduct = "themo-vci-attested"\nmakers_file = "makers.pem"\n'
    found = load(written(tmp_path, text), {})
    assert (found.card_product, found.card_makers_file) == ("themo-vci-attested", tmp_path / "makers.pem")
    assert set(PRODUCTS) == set(profiles.PRODUCTS)
    with pytest.raises(ConfigError) as refused:
        load(written(tmp_path, text), {"THEMO_CARD_PRODUCT": "gold"})
    assert refused.value.facts == {"value": "gold", "known": ", ".join(PRODUCTS)}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.unreadable"):
        load(tmp_path / "none.toml", {})


def test_a_secret_comes_from_a_descriptor_once(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"123456\nrest")
    os.close(writer)
    secret = read_secret(reader, None)
    assert secret.text == "123456"
    assert "123456" not in repr(secret)
    with pytest.raises(ConfigError, match=r"config\.secret_unreadable"):
        read_secret(reader, None)


def test_a_secret_comes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pin"
    path.write_text("123456\r\n")
    assert read_secret(None, path).text == "123456"


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * (config.MAX_SECRET_BYTES + 1)])
def test_a_broken_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pin"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"config\.secret_unreadable"):
        read_secret(None, path)


def test_no_source_of_a_secret_is_an_error_and_not_a_default() -> None:
    with pytest.raises(ConfigError, match=r"config\.secret_missing"):
        read_secret(None, None)
