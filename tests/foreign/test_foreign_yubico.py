"""Yubico's programs manage a card of ours: yubico-piv-tool (C) and ykman."""

import re

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from foreign.conftest import Inserted
from foreign.programs import FOREIGN, attempt, run

SLOTS = ("9a", "9c", "9d", "9e")


def piv_tool(inserted: Inserted, *arguments: str) -> str:
    return run(["yubico-piv-tool", "-r", inserted.reader, *arguments], inserted.environ)


def reset(inserted: Inserted) -> None:
    """Forget the PIN that a test before this one may have given."""
    run(["opensc-tool", "--reader", inserted.reader, "--reset"], inserted.environ)


def read_certificate(inserted: Inserted, slot: str) -> x509.Certificate:
    pem = piv_tool(inserted, "-a", "read-certificate", "-s", slot)
    return x509.load_pem_x509_certificate(pem.encode())


def test_status_shows_the_chuid_the_four_slots_and_the_tries(inserted: Inserted) -> None:
    reset(inserted)
    told = piv_tool(inserted, "-a", "status")
    chuid = re.search(r"^CHUID:\t([0-9a-f]+)$", told, re.MULTILINE)
    assert chuid
    assert "3410" + inserted.card.row.uuid.hex in chuid[1]
    assert re.search(r"^CCC:\tf015a000000116ff02", told, re.MULTILINE)
    assert re.search(r"^PIN tries left:\t5$", told, re.MULTILINE)
    assert re.findall(r"^Slot (..):", told, re.MULTILINE) == list(SLOTS)
    assert told.count("Algorithm:\tECCP256") == len(SLOTS)
    for slot in SLOTS:
        certificate = read_certificate(inserted, slot)
        assert f"Fingerprint:\t{certificate.fingerprint(hashes.SHA256()).hex()}" in told


def test_it_verifies_the_pin_that_the_hsm_revealed_and_no_other(inserted: Inserted) -> None:
    wrong = "000000" if inserted.card.pin != "000000" else "111111"
    refused = attempt(["yubico-piv-tool", "-r", inserted.reader, "-a", "verify-pin", "-P", wrong], inserted.environ)
    assert refused.returncode != 0
    assert "4 tries left" in refused.stderr
    piv_tool(inserted, "-a", "verify-pin", "-P", inserted.card.pin)
    reset(inserted)
    assert "PIN tries left:\t5" in piv_tool(inserted, "-a", "status")


def test_the_factory_management_key_does_not_open_the_card(inserted: Inserted) -> None:
    argv = ["yubico-piv-tool", "-r", inserted.reader, "-a", "set-chuid"]
    refused = attempt(argv, inserted.environ)
    assert refused.returncode != 0
    assert "3410" + inserted.card.row.uuid.hex in piv_tool(inserted, "-a", "status")


def test_ykman_shows_holder_keys_and_tries(inserted: Inserted) -> None:
    reset(inserted)
    told = run([str(FOREIGN / "ykman"), "--reader", inserted.reader, "piv", "info"], inserted.environ)
    assert "PIN tries remaining:      5/5" in told
    assert "WARNING" not in told
    assert told.count("CN=Nguyễn Thị Ánh") == 3
    assert re.findall(r"^Slot (..) ", told, re.MULTILINE) == [slot.upper() for slot in SLOTS]
