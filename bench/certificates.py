"""`./run bench certificates`: a list of 100,000 revoked certificates beside `openssl ca`, and OCSP answers a second.

Ours is built from the database, signed by the HSM simulator through its socket, and stored; OpenSSL reads its own text
file, signs with a key in its process and writes a file.
"""

import secrets
import statistics
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from time import perf_counter

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import OCSPNonce
from cryptography.x509 import ocsp as crypto_ocsp
from sqlalchemy import insert

from bench.centre import AGENCY, Centre, now, open_centre
from bench.report import Row, faster, limit, publish, told
from issuer import config, database
from issuer.limits import RateLimit
from issuer.trust import ca, ocsp, revocation
from issuer.trust.crl import CrlReason, Kind
from issuer.trust.ocsp import IssuerId
from issuer.trust.ocsp_responder import OcspService
from issuer.trust.revocation_tables import RevokedCertificate
from web.app import create_app
from web.site import Parts

CERTIFICATES = 100_000
CHANGED = 400  # a hundred cards in an hour
RUNS = 3
ASKED = 400
LIST_S = 2.0  # the bound that is promised for a list; the feed looks every five seconds
BOUNDLESS = 1e9


def run() -> bool:
    """Measure; say whether every goal was met."""
    with open_centre() as centre:
        serials = fill(centre)
        rows = [*lists(centre, serials), *answers(centre, serials)]
    return publish("certificates", rows)


def fill(centre: Centre) -> list[int]:
    """Revoke certificates of cards that never were."""
    serials = [secrets.randbits(159) for _ in range(CERTIFICATES)]
    at_s, reasons = int(now().timestamp()), (1, 4, 5, 6, 9)
    rows = [
        {
            "issuer_label": label(centre),
            "serial": f"{one:040x}",
            "not_after": now() + timedelta(days=900),
            "revoked_s": at_s - 600 * n,
            "reason": reasons[n % len(reasons)],
            "changed": 0,
        }
        for n, one in enumerate(serials)
    ]
    with database.transaction(centre.factory) as session:
        session.execute(insert(RevokedCertificate), rows)
    return serials


def label(centre: Centre) -> str:
    """The authority that is measured."""
    with database.reading(centre.factory) as session:
        return ca.current(session, ca.ISSUING, AGENCY, now()).label


def lists(centre: Centre, serials: list[int]) -> list[Row]:
    """Full lists in turn with OpenSSL's, then deltas."""
    ours, theirs, sizes = [], [], []
    foreign = ForeignAuthority(centre.folder / "openssl", serials)
    for _ in range(RUNS):
        started_s = perf_counter()
        made = revocation.publish(centre.factory, centre.hsm, label(centre), Kind.FULL, now())
        ours.append(perf_counter() - started_s)
        sizes += [len(one.body) for one in made if one.kind is Kind.FULL]
        theirs.append(timed(foreign.write_list))
    with database.transaction(centre.factory) as session:
        marked = [
            revocation.Certificate(label(centre), f"{secrets.randbits(159):040x}", now() + timedelta(days=9))
            for _ in range(CHANGED)
        ]
        revocation.mark(session, marked, CrlReason.CERTIFICATE_HOLD, now())
    delta = timed(lambda: revocation.publish(centre.factory, centre.hsm, label(centre), Kind.DELTA, now()))
    best, their_best = statistics.median(ours), statistics.median(theirs)
    return [
        limit(f"a full list of {CERTIFICATES:,}: read, built, signed, stored", best, "s", LIST_S),
        faster("the same", best, "s", "openssl ca -gencrl", their_best, 1.0),
        told("its size", sizes[0] / 1e6, "MB"),
        told(f"a delta of {CHANGED} beside it", delta, "s"),
    ]


class ForeignAuthority:
    """An authority of OpenSSL's with as many revoked certificates."""

    def __init__(self, folder: Path, serials: list[int]) -> None:
        folder.mkdir()
        self.folder = folder
        at = datetime.now(UTC)
        until = f"{at + timedelta(days=900):%y%m%d%H%M%SZ}"
        with (folder / "index.txt").open("w", encoding="ascii") as index:
            for n, serial in enumerate(serials):
                digits = f"{serial:X}"
                when = f"{at - timedelta(minutes=10 * n):%y%m%d%H%M%SZ}"
                index.write(f"R\t{until}\t{when},superseded\t{digits.zfill(len(digits) + len(digits) % 2)}\tx\t/CN=x\n")
        (folder / "number").write_text("01\n")
        (folder / "ca.cnf").write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index.txt\ncrlnumber={folder}/number\ndefault_md=sha256\n"
            "default_crl_days=7\nunique_subject=no\n"
        )
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key.pem")
        self._openssl("req", "-x509", *key, "-out", "ca.pem", "-subj", "/CN=x")

    def write_list(self) -> None:
        """Build and sign the list."""
        self._openssl(
            "ca", "-config", "ca.cnf", "-gencrl", "-keyfile", "key.pem", "-cert", "ca.pem", "-out", "list.pem"
        )

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)


def answers(centre: Centre, serials: list[int]) -> list[Row]:
    """OCSP: signed one by one, and given again; by the service and through the web application."""
    with database.reading(centre.factory) as session:
        row = ca.find(session, label(centre))
        issuer = ocsp.issuer_ids(ca.subject_of(row.certificate), row.point)[0]
    service = OcspService(centre.factory, centre.hsm, budget=RateLimit(BOUNDLESS, int(BOUNDLESS)))
    plain = [request(issuer, serial) for serial in serials[:ASKED]]
    service.answer(plain[0], now())
    numbers = count()
    signed = timed(lambda: [service.answer(request(issuer, serials[0], next(numbers)), now()) for _ in plain]) / ASKED
    first = timed(lambda: [service.answer(one, now()) for one in plain]) / ASKED
    again = timed(lambda: [service.answer(one, now()) for one in plain]) / ASKED
    settings = config.load(centre.office.place.config, {})
    boundless = RateLimit(BOUNDLESS, int(BOUNDLESS))
    app = create_app(Parts(settings, centre.factory, centre.hsm, now, revocation_questions=boundless))
    client = app.test_client()
    for one in plain:
        client.post("/ocsp", data=one)
    through = timed(lambda: [client.post("/ocsp", data=one) for one in plain]) / ASKED
    return [
        told("OCSP: signed for this nonce", 1 / signed, "answers/s"),
        told("OCSP: signed for the first who asks", 1 / first, "answers/s"),
        told("OCSP: given again while it is good", 1 / again, "answers/s"),
        told("the same through the web application", 1 / through, "answers/s"),
    ]


def request(issuer: IssuerId, serial: int, nonce: int | None = None) -> bytes:
    """What a client sends."""
    asked = crypto_ocsp.OCSPRequestBuilder()
    asked = asked.add_certificate_by_hash(issuer.name_hash, issuer.key_hash, serial, SHA1())  # noqa: S303
    if nonce is not None:
        asked = asked.add_extension(OCSPNonce(nonce.to_bytes(16, "big")), critical=False)
    return asked.build().public_bytes(Encoding.DER)


def timed(what: Callable[[], object]) -> float:
    """How long it takes, in seconds."""
    started_s = perf_counter()
    what()
    return perf_counter() - started_s
