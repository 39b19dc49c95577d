"""`issuer doors` as an administrator types it, down to what a listening door hears."""

import os
import re
import time
import uuid
from collections.abc import Iterator

import pytest
from feed_centre import INSTALLATION, OWNER, Centre, DoorKey, open_centre
from ports import free_port
from typed import typed as forked

from cardlink.statements import bundle as bundle_wire
from cardlink.statements import cbor
from issuer.__main__ import run


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    with open_centre(tmp_path_factory.mktemp("feed"), free_port()) as centre:
        yield centre


def issuer(centre: Centre, *arguments: str, code: int = 0) -> tuple[str, str]:
    done = forked("issuer", arguments, env={**os.environ, "THEMO_CONFIG": str(centre.feed.config), "COLUMNS": "200"})
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def typed(centre: Centre, capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    """The same command in this process: quicker, for those that need no HSM."""
    assert run(["--config", str(centre.feed.config), *arguments]) == code
    said = capsys.readouterr()
    return said.out, said.err


def test_from_a_new_door_to_all_doors_confirmed(centre: Centre, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--owner", OWNER, "--place", "Tầng 1", "--set", "unlock_ms=8000")
    said, _ = typed(centre, capsys, "doors", "add", "Cửa chính", *arguments)
    code = re.search(r"mã ghi danh: ([0-9A-Z-]{29})\n", said)
    fingerprint = re.search(r"dấu vân tay.*: ([0-9a-f]{64})", said)
    assert code is not None
    assert fingerprint is not None
    key = DoorKey()
    http_code, body = centre.request("POST", "/enrol", cbor.encode({"code": code[1], "key": key.public.fields()}))
    assert http_code == 200
    told = cbor.decode(body, max_bytes=1 << 20)
    assert isinstance(told, dict)
    door = uuid.UUID(bytes=told["door"])
    listener = centre.listen(door=door)

    said, _ = issuer(centre, "doors", "rule", "add", "Cửa chính", "--agency", INSTALLATION, "--until", "31/12/2030")
    assert "gói số 1" in said
    assert listener.next("bundle").data == "1"
    held = bundle_wire.read_bundle(centre.get(f"/bundles/{door}")).value
    assert (held.settings.unlock_ms, held.rules[0].agencies) == (8000, (INSTALLATION,))
    said, _ = typed(centre, capsys, "doors", "rule", "list", "Cửa chính")
    assert "cho vào" in said
    said, _ = issuer(centre, "doors", "publish")
    assert said.startswith("0 gói mới trên 1 cửa")

    said, _ = typed(centre, capsys, "doors", "list")
    assert "Cửa chính" in said
    at = centre.change()
    said, error = typed(centre, capsys, "doors", "confirmations", code=1)
    assert "0 trên 1 cửa đã xác nhận" in error
    centre.request("POST", "/receipts", key.receipt(door, at))
    said, _ = typed(centre, capsys, "doors", "confirmations", "--seq", str(at.seq))
    assert "1 trên 1 cửa đã xác nhận" in said

    said, _ = issuer(centre, "doors", "rule", "remove", str(held.rules[0].rule_id))
    assert listener.next("bundle").data == "2"
    listener.close()
    said, _ = typed(centre, capsys, "--lang", "en", "doors", "enrol-code", "Cửa chính")
    assert "enrolment code: " in said
    typed(centre, capsys, "doors", "events")
    typed(centre, capsys, "doors", "alarms")
    typed(centre, capsys, "doors", "retire", "Cửa chính")
    assert "Cửa chính" not in typed(centre, capsys, "doors", "list")[0]


def test_one_more_status_list_is_opened_and_named_by_the_next_trust_list(centre: Centre) -> None:
    officer = centre.folder / "officer.pin"
    officer.write_text(centre.hsm_process.pins["so"])
    listener = centre.listen(after=centre.change().seq)
    before = centre.trust().content.number
    issuer(centre, "keys", "trust-list", "--new-status-list", "--officer-pin-file", str(officer))
    assert int(listener.next("trust").data) == before + 1
    listener.close()
    assert sorted(centre.trust().lists) == [1, 2]
    deadline = time.monotonic() + 10
    while centre.request("GET", "/status/2")[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("doors", "rule", "list", "không có"), 1, "không có cửa không có"),
        (("doors", "add", "X", "--owner", OWNER, "--set", "unlock_ms=never"), 1, "không nhận giá trị never"),
        (("doors", "add", "X", "--owner", OWNER, "--set", "speed=1"), 1, "mechanisms, unlock_ms"),
        (("doors", "add", "X"), 2, "--owner"),
        (("doors", "rule", "remove", "99"), 1, "không có quy tắc số 99"),
    ],
)
def test_what_cannot_be_done_is_said_with_a_hint(
    centre: Centre, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, said: str
) -> None:
    _, error = typed(centre, capsys, *arguments, code=code)
    assert said in error
    assert "Traceback" not in error
