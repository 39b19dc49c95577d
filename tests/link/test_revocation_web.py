"""Revocation as others see it: certificates of real cards, lists and OCSP of the running processes, judged by OpenSSL.

HSM, feed, console and card are real; a card is blocked and revoked at the console.
"""

import base64
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from asn1crypto import pem
from console_world import HOME, PASSWORD, Held, World, now, open_world, within
from cryptography import x509 as crypto
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.ocsp import OCSPResponseStatus
from sqlalchemy import select
from web_visitor import Visitor

from issuer import database
from issuer.cards.tables import CardCertificate
from issuer.trust import ca, profiles, revocation
from issuer.trust.crl import Kind

OCSP_TYPE = "application/ocsp-response"


@dataclass
class Outside:
    """A stranger with OpenSSL, the root certificate, and what a card's certificate says."""

    world: World
    folder: Path
    root: Path
    issuing: Path
    label: str

    def certificates(self, held: Held) -> dict[str, Path]:
        """A card's certificates as files, by slot."""
        with database.reading(self.world.factory) as session:
            rows = session.scalars(select(CardCertificate).where(CardCertificate.card_id == held.id)).all()
        return {row.slot: self.write(f"{held.id}-{row.slot}", row.certificate) for row in rows}

    def write(self, name: str, *ders: bytes, label: str = "CERTIFICATE") -> Path:
        path = self.folder / f"{name}.pem"
        path.write_bytes(b"".join(pem.armor(label, der) for der in ders))
        return path

    def told(self, certificate: Path, *what: str) -> str:
        return openssl("x509", "-in", certificate, "-noout", *what).stdout.strip()

    def ocsp(self, certificate: Path, *more: str) -> str:
        """Ask as anybody would: at the address in the certificate."""
        url = self.told(certificate, "-ocsp_uri")
        trust = ("-CAfile", self.root, "-issuer", self.issuing)
        answer = openssl("ocsp", "-url", url, *trust, *more, "-cert", certificate)
        return answer.stdout + answer.stderr

    def verify(self, certificate: Path, *more: object) -> str:
        """`openssl verify` with all the lists that the certificate, and the lists, point to."""
        full_url = re.findall(r"URI:(\S+\.crl)", self.told(certificate, "-ext", "crlDistributionPoints"))[0]
        root_url = re.findall(r"URI:(\S+\.crl)", self.told(self.issuing, "-ext", "crlDistributionPoints"))[0]
        full = fetch(full_url)[1]
        (freshest,) = crypto.load_der_x509_crl(full).extensions.get_extension_for_class(crypto.FreshestCRL).value
        assert freshest.full_name is not None
        lists = self.write("lists", full, fetch(freshest.full_name[0].value)[1], fetch(root_url)[1], label="X509 CRL")
        command = ("-x509_strict", "-crl_check_all", "-use_deltas", "-CAfile", self.root, "-untrusted", self.issuing)
        answer = openssl("verify", *command, "-CRLfile", lists, *more, certificate)
        return answer.stdout + answer.stderr

    def number(self, kind: Kind) -> int:
        with database.reading(self.world.factory) as session:
            return revocation.describe(session, self.label, kind).number


def openssl(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


def fetch(url: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, named), timeout=20) as answer:  # noqa: S310 - ours
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read(), dict(error.headers)


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    with open_world(tmp_path_factory.mktemp("revocation")) as world:
        with database.reading(world.factory) as session:
            issuing = ca.current(session, ca.ISSUING, HOME, now())
            root = ca.current(session, ca.ROOT, "", now())
        made = revocation.publish(world.factory, world.ceremony, root.label, Kind.FULL, now())
        assert [one.kind for one in made] == [Kind.FULL]
        folder = tmp_path_factory.mktemp("outside")
        known = Outside(world, folder, Path(), Path(), issuing.label)
        known.root, known.issuing = known.write("root", root.certificate), known.write("issuing", issuing.certificate)
        yield known


@pytest.fixture(scope="module")
def card(outside: Outside) -> Held:
    return outside.world.card()


def published(outside: Outside, kind: Kind) -> bool:
    with database.reading(outside.world.factory) as session:
        return any((one.label, one.kind) == (outside.label, kind) for one in revocation.described(session))


def test_the_feed_publishes_what_openssl_checks_by_the_addresses_in_the_certificates(
    outside: Outside, card: Held
) -> None:
    within(20, lambda: published(outside, Kind.FULL))
    for certificate in outside.certificates(card).values():
        assert outside.verify(certificate).strip().endswith("OK")


def test_openssl_accepts_the_answer_of_the_running_responder(outside: Outside, card: Held) -> None:
    for certificate in outside.certificates(card).values():
        for more in ((), ("-no_nonce",), ("-sha256",)):
            said = outside.ocsp(certificate, *more)
            assert "Response verify OK" in said
            assert f"{certificate}: good" in said
            assert "WARNING: no nonce" not in said


def test_a_card_blocked_and_revoked_at_the_console_is_so_for_openssl(outside: Outside) -> None:
    held = outside.world.card()
    certificate = outside.certificates(held)["9A"]
    assert f"{certificate}: good" in outside.ocsp(certificate, "-no_nonce")
    console = Visitor(outside.world.web).sign_in("hoa", PASSWORD)
    page, before = f"/cards/{held.id}", outside.number(Kind.DELTA)
    assert console.send(f"{page}/block", page, reason="lost") == 302
    said = outside.ocsp(certificate, "-no_nonce")  # at once
    assert "Response verify OK" in said
    assert f"{certificate}: revoked" in said
    assert "Reason: certificateHold" in said
    within(20, lambda: outside.number(Kind.DELTA) > before)
    assert "certificate revoked" in outside.verify(certificate)
    assert console.send(f"{page}/unblock", page) == 302
    assert f"{certificate}: good" in outside.ocsp(certificate)
    before = outside.number(Kind.DELTA)
    within(20, lambda: outside.number(Kind.DELTA) > before or outside.verify(certificate).strip().endswith("OK"))
    within(20, lambda: outside.verify(certificate).strip().endswith("OK"))
    decider = Visitor(outside.world.web).sign_in("son", PASSWORD)
    assert decider.send(f"{page}/revoke", page, reason="nghỉ việc", confirm="yes") == 302
    assert outside.world.state(held) == "revoked"
    said = outside.ocsp(certificate)
    assert f"{certificate}: revoked" in said
    assert "certificateHold" not in said  # it is privilegeWithdrawn, which this OpenSSL has no word for in OCSP
    within(20, lambda: "certificate revoked" in outside.verify(certificate))


def test_an_unknown_certificate_is_unknown_to_the_responder(outside: Outside, card: Held) -> None:
    url = outside.told(outside.certificates(card)["9A"], "-ocsp_uri")
    asked = ("-CAfile", outside.root, "-issuer", outside.issuing, "-serial", "0x1234567890abcdef")
    answer = openssl("ocsp", "-url", url, *asked)
    assert "Response verify OK" in answer.stderr
    assert "0x1234567890abcdef: unknown" in answer.stdout


def test_openssl_refuses_the_responder_when_its_certificate_is_out_of_date(outside: Outside, card: Held) -> None:
    certificate = outside.certificates(card)["9C"]
    later = str(int(time.time() + profiles.OCSP_LIFE.total_seconds() + 60))
    said = outside.ocsp(certificate, "-attime", later)
    assert "Response Verify Failure" in said
    assert "certificate has expired" in said


def test_a_responder_of_another_agency_is_refused_by_openssl(outside: Outside, card: Held) -> None:
    """An answer of one agency's responder, given for a card of another: it is not delegated by the card's issuer."""
    certificate = outside.certificates(card)["9A"]
    url = outside.told(certificate, "-ocsp_uri")
    with database.reading(outside.world.factory) as session:
        other = outside.write("other", ca.current(session, ca.ISSUING, "G09", now()).certificate)
    path = outside.folder / "other.der"
    trust = ("-CAfile", outside.root, "-issuer", other, "-serial", "0x77")
    assert "0x77: unknown" in openssl("ocsp", "-url", url, *trust, "-respout", path).stdout
    trust = ("-CAfile", outside.root, "-issuer", outside.issuing)
    said = openssl("ocsp", "-respin", path, "-no_nonce", *trust, "-cert", certificate)
    assert "No Status found" in said.stdout + said.stderr


def request_for(outside: Outside, certificate: Path) -> bytes:
    leaf = crypto.load_pem_x509_certificate(certificate.read_bytes())
    issuer = crypto.load_pem_x509_certificate(outside.issuing.read_bytes())
    builder = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, SHA1())  # noqa: S303 - what clients use
    return builder.build().public_bytes(Encoding.DER)


def test_a_request_in_the_address_is_answered_and_caches_may_keep_it(outside: Outside, card: Held) -> None:
    raw = request_for(outside, outside.certificates(card)["9E"])
    url = f"{outside.world.web.url}/ocsp/"
    for text in (quote(base64.b64encode(raw), safe=""), base64.b64encode(raw).decode()):
        code, body, headers = fetch(url + text)
        assert (code, headers["Content-Type"]) == (200, OCSP_TYPE)
        assert ocsp.load_der_ocsp_response(body).response_status is OCSPResponseStatus.SUCCESSFUL
        assert {"public", "must-revalidate", "no-transform"} <= set(headers["Cache-Control"].split(", "))
        assert {"ETag", "Last-Modified", "Expires"} <= headers.keys()
        assert "Set-Cookie" not in headers
    assert fetch(url + text, if_none_match=headers["ETag"])[0] == 304
    code, _, headers = fetch(f"{outside.world.web.url}/ocsp", raw, content_type="application/ocsp-request")
    assert (code, headers["Content-Type"]) == (200, OCSP_TYPE)


def test_junk_is_malformed_and_kept_by_nobody(outside: Outside) -> None:
    for path, body in (("/ocsp/MAA=", None), ("/ocsp/%%%", None), ("/ocsp", b"junk"), ("/ocsp", bytes(100_000))):
        code, answer, headers = fetch(outside.world.web.url + path, body)
        assert (code, headers["Cache-Control"]) == (200, "no-store")
        assert ocsp.load_der_ocsp_response(answer).response_status is OCSPResponseStatus.MALFORMED_REQUEST


def test_lists_have_dates_and_names_for_caches(outside: Outside, card: Held) -> None:
    within(20, lambda: published(outside, Kind.FULL))
    for path, kind in ((f"/crl/{outside.label}.crl", "crl"), (f"/crl/{outside.label}.cer", "cert")):
        code, body, headers = fetch(outside.world.web.url + path)
        assert (code, headers["Content-Type"]) == (200, f"application/pkix-{kind}")
        assert int(headers["Content-Length"]) == len(body)
        assert "max-age" in headers["Cache-Control"]
        for name, value in (("if_none_match", headers["ETag"]), ("if_modified_since", headers["Last-Modified"])):
            again, nothing, _ = fetch(outside.world.web.url + path, **{name: value})
            assert (again, nothing) == (304, b"")
    for path in ("/crl/nobody.crl", "/crl/delta/nobody.crl", "/crl/../web.key", "/crl/x509-content-H38-1.cer"):
        assert fetch(outside.world.web.url + path)[0] == 404


def test_who_asks_too_often_is_told_to_come_later(outside: Outside, card: Held) -> None:
    raw = request_for(outside, outside.certificates(card)["9D"])
    url = f"{outside.world.web.url}/ocsp"
    answers = [fetch(url, raw) for _ in range(260)]
    said = [ocsp.load_der_ocsp_response(body).response_status for _, body, _ in answers]
    assert said[0] is OCSPResponseStatus.SUCCESSFUL
    assert OCSPResponseStatus.TRY_LATER in said
    assert all("Retry-After" in headers for (_, _, headers), one in zip(answers, said, strict=True) if one.value == 3)
    assert fetch(f"{outside.world.web.url}/crl/{outside.label}.crl")[0] in (200, 429)


def test_nothing_was_written_that_names_a_secret_or_a_fault(outside: Outside) -> None:
    said = outside.world.web.log.read_text()
    assert "Traceback" not in said
