"""Faults that an HSM is started with: each is what its name says, and shows in the log or the answer."""

import os
from pathlib import Path
from typing import Any

import pytest
from hsm_world import KDD, PINS, SECRET, HsmWorld

from hsm_sim.core import Hsm, Peer
from hsm_sim.errors import BadRequest, Busy, HsmError, LogFull, NoSuchKey, Zeroised
from hsm_sim.faults import NAMES, Faults, read_faults
from hsm_sim.keys import Role
from hsm_sim.log import Log, scan_log
from hsm_sim.ops import SPECS
from hsm_sim.store import Store

OFFICER, USER = Peer(Role.SO, 0), Peer(Role.USER, 0)
NOW_S = 1_770_000_000


def open_with(folder: Path, **on: float) -> Hsm:
    healthy = HsmWorld(folder).open()
    healthy.call(OFFICER, "generate", ["key", "ec-p256", "card", [], [NOW_S - 10, NOW_S + 10, 0], True])
    healthy.call(OFFICER, "generate", ["master", "aes-256", "card-master", [], [0, 0, 0], True])
    healthy.found(1)
    healthy.close()
    store = Store(folder / "store", SECRET, os.urandom)
    faults = Faults({name.replace("_", "-"): number for name, number in on.items()}, sleep=lambda seconds: None)
    return Hsm(SPECS, store, Log(folder / "store.log", store.state.anchor), os.urandom, lambda: NOW_S, faults)


def sign(hsm: Hsm) -> Any:
    return hsm.call(USER, "sign", ["key", "card", b"data"])


def outcomes(hsm: Hsm, count: int) -> list[str]:
    said = []
    for _ in range(count):
        try:
            sign(hsm)
            said.append("ok")
        except HsmError as error:
            said.append(error.code)
    return said


def test_busy_comes_every_so_often(tmp_path: Path) -> None:
    hsm = open_with(tmp_path, busy=3)
    assert outcomes(hsm, 7) == ["ok", "ok", Busy.code, "ok", "ok", Busy.code, "ok"]
    hsm.close()


def test_a_log_without_room_stops_everything_from_then_on(tmp_path: Path) -> None:
    hsm = open_with(tmp_path, log_full=3)
    assert outcomes(hsm, 4) == ["ok", "ok", LogFull.code, LogFull.code]
    hsm.close()


@pytest.mark.parametrize(("off_s", "works"), [(0, True), (5, True), (10, False), (-11, False)])
def test_a_clock_that_is_off_takes_keys_out_of_their_time(tmp_path: Path, off_s: int, works: bool) -> None:
    hsm = open_with(tmp_path, clock=off_s)
    if works:
        sign(hsm)
    else:
        with pytest.raises(NoSuchKey, match="outside its time"):
            sign(hsm)
    hsm.close()


def test_wrong_check_values_are_told(tmp_path: Path) -> None:
    hsm = open_with(tmp_path, wrong_kcv=1)
    wrong = hsm.call(OFFICER, "derive_check", ["master", KDD, 1, 256])
    hsm.faults = None
    right = hsm.call(OFFICER, "derive_check", ["master", KDD, 1, 256])
    assert wrong == [bytes(255 - byte for byte in one) for one in right]
    hsm.close()


def test_latency_is_waited_out(tmp_path: Path) -> None:
    waited: list[float] = []
    hsm = open_with(tmp_path, latency=0.25)
    assert hsm.faults is not None
    hsm.faults.sleep = waited.append
    sign(hsm)
    assert waited == [0.25]
    hsm.close()


def test_an_opened_case_leaves_nothing(tmp_path: Path) -> None:
    hsm = open_with(tmp_path, tamper=2)
    assert outcomes(hsm, 4) == ["ok", *[Zeroised.code] * 3]
    with pytest.raises(HsmError):
        hsm.login("user", PINS[Role.USER], 0)
    hsm.close()
    assert not (tmp_path / "store").exists()
    assert b'"zeroise","ok","2"' in (tmp_path / "store.log").read_bytes()
    assert scan_log(tmp_path / "store.log").torn_bytes == 0


def test_faults_are_read_by_name() -> None:
    read = read_faults([f"{name}=2" for name in NAMES])
    assert read is not None
    assert set(read.on) == set(NAMES)
    assert read_faults([]) is None
    for wrong in ("busy", "busy=x", "nothing=1", "=1"):
        with pytest.raises(BadRequest):
            read_faults([wrong])
