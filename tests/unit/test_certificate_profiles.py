"""Every profile as OpenSSL prints it, and as docs/certificates.md shows it to whoever must read such certificates."""

import re
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from card_register import HOME, NOW
from cryptography import x509 as crypto
from revocation_office import URL, RevocationOffice, open_revocation_office

from issuer import database
from issuer.trust import authorities, ca, profiles
from issuer.trust.oids import OWN_ARC
from issuer.trust.profiles import Altname, Asking, Profile, Subject

PAGE = Path(__file__).resolve().parents[2] / "docs" / "certificates.md"
USAGE = {
    "key_cert_sign": "Certificate Sign",
    "crl_sign": "CRL Sign",
    "digital_signature": "Digital Signature",
    "non_repudiation": "Non Repudiation",
    "key_agreement": "Key Agreement",
}
SUBJECT = {
    Subject.AUTHORITY: "CN: the authority",
    Subject.PERSON: "CN: the holder; serialNumber: card UUID",
    Subject.CARD: "CN: card UUID",
}
ALTNAME = {Altname.NONE: "", Altname.CARD: "FASC-N, urn:uuid of the card"}
ASKING = {
    Asking.NOWHERE: "",
    Asking.CRL: "CRL, issuer's certificate",
    Asking.CRL_AND_OCSP: "CRL, OCSP, issuer's certificate",
}


def life(row: Profile) -> str:
    if row in profiles.CARD_PROFILES.values():
        return f"the card's, at most {row.years} years"
    return f"{row.years} years" if row.years else f"{profiles.OCSP_LIFE.days} days"


def shown(row: Profile) -> str:
    """A row of the page's table."""
    usage = ", ".join(USAGE[one] for one in sorted(row.usage))
    purposes = ", ".join(one.name.lower().replace("_", "-") for one in row.purposes)
    purposes += " (critical)" if row.purposes_critical else ""
    policy = "" if row.policy is None else row.policy.removeprefix(OWN_ARC)
    more = [f"CA, path length {row.path_length}"] if row.is_ca else []
    more += ["agency's names only"] if row is profiles.ISSUING else []
    more += ["no revocation check"] if row.is_never_checked else []
    cells = (row.name, SUBJECT[row.subject], ALTNAME[row.altname], usage, purposes, policy, life(row))
    return "| " + " | ".join((*cells, ASKING[row.asking], "; ".join(more))) + " |"


def test_the_page_shows_every_profile_as_it_is() -> None:
    rows = re.findall(r"^\| (?!Profile|-).*\|$", PAGE.read_text(encoding="utf-8").split("## Lists")[0], re.MULTILINE)
    assert rows == [shown(row) for row in profiles.ALL_PROFILES]
    assert OWN_ARC in PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> RevocationOffice:
    return open_revocation_office(tmp_path_factory.mktemp("profiles"))


@pytest.fixture(scope="module")
def made(office: RevocationOffice) -> dict[str, bytes]:
    """One certificate of each profile."""
    keys, name = office.register.keys, "Ủy ban nhân dân tỉnh Thử"
    with database.transaction(office.register.factory) as session:
        ca.find(session, office.issuing).state = 1  # retired: the second one takes over
        root = authorities.parent_of(session, ca.find(session, office.root))
        key = keys.generate("x509-ca-H38-2", "ec-p256", "ca", (HOME,))
        drafted = authorities.draft_issuing(session, key, HOME, name, NOW, root)
        issuing = authorities.make(session, keys, drafted)
        key = keys.generate("content-2", "ec-p256", "content", (HOME,))
        content = authorities.make(session, keys, authorities.draft_content(key, HOME, name, NOW, drafted.of))
        other = authorities.draft_root(session, keys.generate("x509-root-2", "ec-p256", "root", ()), name, NOW, URL).of
        (link,) = authorities.sign(keys, [authorities.draft_link(other, root, NOW, NOW + timedelta(days=9))])
        responder = ca.ocsp_certificate(session, keys, issuing, ca.ocsp_key_label(HOME), NOW)
    own = {"root": office.authority(office.root), "issuing": issuing.certificate, "ocsp-signer": responder}
    return {**own, "link": link.certificate, "content-signer": content.certificate, **office.card()[1]}


@pytest.mark.parametrize("row", profiles.ALL_PROFILES, ids=lambda row: row.name)
def test_openssl_prints_what_the_profile_says(office: RevocationOffice, made: dict[str, bytes], row: Profile) -> None:
    path = office.write(f"{row.name}.pem", "CERTIFICATE", made[row.name])
    command = ["openssl", "x509", "-in", path, "-noout", "-text", "-nameopt", "RFC2253,-esc_msb,utf8"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Version: 3 (0x2)" in text
    assert "ecdsa-with-SHA256" in text
    usage = re.search(r"X509v3 Key Usage: critical\n\s+(.*)", text)
    assert usage is not None
    assert set(usage[1].split(", ")) == {USAGE[one] for one in row.usage}
    assert ("X509v3 Extended Key Usage" in text) == bool(row.purposes)
    assert ("X509v3 Extended Key Usage: critical" in text) == row.purposes_critical
    policies = re.findall(r"Policy: (\S+)", text)
    assert policies == ([str(row.policy)] if row.policy else [])
    assert not any(one.startswith("2.16.840.1.101.3.2.1.3") for one in policies)  # never the US policies
    assert ("X509v3 Basic Constraints: critical" in text) == row.is_ca
    if row.is_ca:
        assert f"CA:TRUE, pathlen:{row.path_length}" in text
    assert ("OCSP No Check" in text) == row.is_never_checked
    assert ("X509v3 Name Constraints: critical" in text) == (row is profiles.ISSUING)
    label = "x509-ca-H38-2"
    at = {
        Asking.NOWHERE: [],
        Asking.CRL: [f"{URL}/crl/{office.root}.crl", f"{URL}/crl/{office.root}.cer"],
        Asking.CRL_AND_OCSP: [f"{URL}/crl/{label}.crl", f"{URL}/ocsp", f"{URL}/crl/{label}.cer"],
    }
    assert re.findall(r"URI:(http\S+)", text) == at[row.asking]
    assert ("URI:urn:uuid:" in text) == (row.altname is Altname.CARD)
    assert ("CN=Đặng Thị Ánh" in text) == (row.subject is Subject.PERSON)


def test_a_serial_number_says_nothing_and_is_never_used_twice(made: dict[str, bytes]) -> None:
    numbers = [crypto.load_der_x509_certificate(one).serial_number for one in made.values()]
    assert len(set(numbers)) == len(numbers)
    assert all(number.bit_length() <= 159 for number in numbers)
    assert all(number.bit_length() > 64 for number in numbers)  # 159 random bits: shorter once in 2^95 certificates


def test_a_card_certificate_ends_with_its_card(made: dict[str, bytes]) -> None:
    ends = {crypto.load_der_x509_certificate(made[slot]).not_valid_after_utc for slot in profiles.CARD_PROFILES}
    (end,) = ends
    assert end.replace(year=end.year - profiles.CARD_YEARS) <= NOW.replace(hour=17)


def test_every_certificate_fits_the_cards_container(made: dict[str, bytes]) -> None:
    assert max(len(made[slot]) for slot in profiles.CARD_PROFILES) <= 1024
