"""yubikit's SCP03 on a card from the factory, to the security domain and to PIV, over extended and over short APDUs."""

import json
from typing import Any

import pytest

from foreign.factory_card import ADMIN_KEY, TRANSPORT_KEYS, TRANSPORT_KVN, FactoryCard

KVN = f"{TRANSPORT_KVN:02X}"
KEYS = [key.hex() for key in TRANSPORT_KEYS]


@pytest.fixture(scope="module", params=["extended", "short"])
def told(request: pytest.FixtureRequest, card: FactoryCard) -> dict[str, Any]:
    card.ykman("piv", "reset", "-f")
    said: dict[str, Any] = json.loads(card.yubikit("yubikit_scp03.py", request.param, KVN, *KEYS))
    return said


def test_the_domain_tells_its_keys_and_what_it_speaks(told: dict[str, Any]) -> None:
    domain = told["domain"]
    assert domain["keys"] == {f"[{number}, {TRANSPORT_KVN}]": {"136": 16} for number in (1, 2, 3)}
    assert domain["recognition"].startswith("06072a864886fc6b01")
    assert "2a864886fc6b0403" in domain["recognition"]  # SCP03


def test_wrong_keys_open_no_channel(told: dict[str, Any]) -> None:
    assert told["domain"]["wrong_keys"] == "Incorrect SCP parameters"
    assert told["domain"]["wrong_kvn"] == "Incorrect SCP parameters"


def test_a_key_set_is_added_replaced_and_deleted(told: dict[str, Any]) -> None:
    domain = told["domain"]
    assert domain["added"] == [TRANSPORT_KVN, TRANSPORT_KVN + 1]
    assert domain["replaced"] is None  # under its own old keys, without an error
    assert domain["deleted"] == [TRANSPORT_KVN]
    assert domain["deleted_key"] == "Incorrect SCP parameters"


def test_data_is_stored_inside_a_channel_and_not_in_the_clear(told: dict[str, Any]) -> None:
    assert told["domain"]["stored"] == "4204564e544d"
    assert told["domain"]["clear"] == "6982"


def test_piv_is_administered_and_used_inside_a_channel(told: dict[str, Any]) -> None:
    piv = told["piv"]
    assert all(piv[f"object {size}"] for size in (1, 200, 230, 300, 3000))
    assert piv["wrong_puk"] == "4 left"
    assert piv["after_an_error"] == 5


def test_what_the_channel_proved_ends_with_it(told: dict[str, Any]) -> None:
    assert told["piv"]["clear_again"] == "6982"


def test_ykman_opens_channels_too(card: FactoryCard) -> None:
    keys = ":".join(KEYS)
    assert "PIV version:" in card.ykman("--scp", keys, "--scp-sd", "1", str(TRANSPORT_KVN), "piv", "info")
    card.ykman("--scp", keys, "piv", "objects", "generate", "-m", ADMIN_KEY, "CCC")
    assert "CCC: No data" not in card.ykman("piv", "info")
    wrong = ":".join(reversed(KEYS))
    assert card.try_ykman("--scp", wrong, "piv", "info").returncode == 1


def test_ykman_adds_and_deletes_a_key_set(card: FactoryCard) -> None:
    keys, added = ":".join(KEYS), ":".join(f"{byte:02x}" * 16 for byte in (0xC1, 0xC2, 0xC3))
    card.ykman("--scp", keys, "sd", "keys", "import", "1", "50", added)
    assert "KVN=0x32" in card.ykman("sd", "info")
    by_the_new = ["--scp", added, "--scp-sd", "1", "50"]
    assert "PIV version:" in card.ykman(*by_the_new, "piv", "info")
    card.ykman("--scp", keys, "--scp-sd", "1", str(TRANSPORT_KVN), "sd", "keys", "delete", "0", "50", "-f")
    assert "KVN=0x32" not in card.ykman("sd", "info")
    assert card.try_ykman(*by_the_new, "piv", "info").returncode == 1
