"""The certificates that foreign programs read from a card lead to the root of its installation, and to no other."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from foreign.conftest import Inserted, Issued, openssl_time
from foreign.programs import attempt
from foreign.test_foreign_opensc import read_certificate as read_with_opensc
from foreign.test_foreign_yubico import SLOTS
from foreign.test_foreign_yubico import read_certificate as read_with_yubico


@pytest.fixture(scope="module")
def pem_files(inserted: Inserted, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The four certificates, as two programs read them."""
    folder = tmp_path_factory.mktemp("certificates")
    files = {}
    for number, slot in enumerate(SLOTS, start=1):
        certificate = read_with_yubico(inserted, slot)
        assert certificate == read_with_opensc(inserted, f"0{number}", folder)
        files[slot] = folder / f"{slot}.pem"
        files[slot].write_bytes(certificate.public_bytes(Encoding.PEM))
    return files


def verify(certificate: Path, root: Path, issuing: Path | None, *options: str) -> str:
    between = [] if issuing is None else ["-untrusted", str(issuing)]
    argv = ["openssl", "verify", "-x509_strict", *openssl_time(), "-CAfile", str(root), *between, *options]
    done = attempt([*argv, str(certificate)])
    return "OK" if done.returncode == 0 and done.stdout.strip() == f"{certificate}: OK" else done.stderr


@pytest.mark.parametrize("slot", SLOTS)
def test_a_certificate_verifies_up_to_the_root(pem_files: dict[str, Path], issued: Issued, slot: str) -> None:
    assert verify(pem_files[slot], issued.root, issued.issuing) == "OK"


@pytest.mark.parametrize(("slot", "purpose"), [("9a", "sslclient"), ("9c", "smimesign")])
def test_a_certificate_is_fit_for_its_purpose(
    pem_files: dict[str, Path], issued: Issued, slot: str, purpose: str
) -> None:
    assert verify(pem_files[slot], issued.root, issued.issuing, "-purpose", purpose) == "OK"


def test_the_key_of_a_door_signs_in_to_no_server(pem_files: dict[str, Path], issued: Issued) -> None:
    said = verify(pem_files["9e"], issued.root, issued.issuing, "-purpose", "sslclient")
    assert "certificate purpose" in said


@pytest.mark.parametrize("slot", SLOTS)
def test_it_does_not_verify_up_to_the_root_of_another_installation(
    pem_files: dict[str, Path], issued: Issued, slot: str
) -> None:
    for issuing in (issued.issuing, issued.foreign_issuing):
        assert "unable to get" in verify(pem_files[slot], issued.foreign_root, issuing)
    assert verify(pem_files[slot], issued.root, issued.foreign_issuing) != "OK"
    assert verify(pem_files[slot], issued.root, None) != "OK"


def test_after_the_card_has_expired_nothing_verifies(pem_files: dict[str, Path], issued: Issued) -> None:
    late = str(int(openssl_time()[1]) + 6 * 366 * 86_400)
    said = verify(pem_files["9a"], issued.root, issued.issuing, "-attime", late)
    assert "certificate has expired" in said
