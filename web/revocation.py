"""What others need to judge our certificates: revocation lists, authorities' certificates, OCSP. Public, no cookies."""

import base64
import binascii
import time
from datetime import datetime
from urllib.parse import unquote_to_bytes

from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import TooManyRequests

from issuer.trust import ca, ocsp, revocation
from issuer.trust.crl import Kind
from issuer.trust.ocsp import Failure
from issuer.trust.ocsp_responder import OcspService, Reply
from web.site import now, parts, reading

pages = Blueprint("revocation", __name__)

OCSP = "themo_ocsp"
CRL_TYPE, CERTIFICATE_TYPE = "application/pkix-crl", "application/pkix-cert"  # RFC 5280 §4.2.1.13, §4.2.2.1
OCSP_TYPE = "application/ocsp-response"  # RFC 6960 Appendix A
LIST_AGE_S = 300
"""A cache on the way holds a list for some minutes; by its own word it is good for much longer."""


@pages.before_request
def keep_within_the_limit() -> Response | None:
    """Refuse who asks too often: in OCSP's own words where OCSP is asked."""
    wait_s = parts().revocation_questions.wait_s(request.remote_addr or "", time.monotonic())
    if not wait_s:
        return None
    if request.endpoint in ("revocation.ask_by_get", "revocation.ask_by_post"):
        answer = _ocsp(Reply(ocsp.failure(Failure.TRY_LATER)))
        answer.headers["Retry-After"] = str(int(wait_s) + 1)
        return answer
    raise TooManyRequests(retry_after=int(wait_s) + 1)


@pages.get("/crl/<label>.crl")
def full_list(label: str) -> Response:
    """The newest full list of an authority."""
    return _list(label, Kind.FULL)


@pages.get("/crl/delta/<label>.crl")
def delta_list(label: str) -> Response:
    """The newest delta list of an authority."""
    return _list(label, Kind.DELTA)


@pages.get("/crl/<label>.cer")
def authority(label: str) -> Response:
    """The certificate of an authority."""
    with reading() as session:
        row = ca.published(session, label)
    return _certificate(row.certificate, row.serial, row.not_before)


@pages.get("/crl/<label>.by-<issuer>.cer")
def other_certificate(label: str, issuer: str) -> Response:
    """The certificate of an authority's key by another root than its own: one of before, or a link between roots."""
    with reading() as session:
        row = ca.other(session, label, issuer)
    return _certificate(row.certificate, row.serial, row.not_before)


@pages.get("/ocsp/<path:encoded>", merge_slashes=False)
def ask_by_get(encoded: str) -> Response:
    """OCSP with the request in the address (RFC 6960 Appendix A.1)."""
    try:
        raw = base64.b64decode(unquote_to_bytes(encoded), validate=True)
    except binascii.Error:
        return _ocsp(Reply(ocsp.failure(Failure.MALFORMED_REQUEST)))
    return _ocsp(_service().answer(raw, now()))


@pages.post("/ocsp")
def ask_by_post() -> Response:
    """OCSP with the request in the body."""
    if request.content_length is None or request.content_length > ocsp.MAX_REQUEST_BYTES:
        return _ocsp(Reply(ocsp.failure(Failure.MALFORMED_REQUEST)))
    return _ocsp(_service().answer(request.get_data(cache=False), now()))


def _service() -> OcspService:
    found = current_app.extensions[OCSP]
    if not isinstance(found, OcspService):
        raise TypeError("the application was made without its OCSP service")
    return found


def _list(label: str, kind: Kind) -> Response:
    with reading() as session:
        head = revocation.describe(session, label, kind)
        # A list may be many megabytes: whoever has it gets none.
        answer = Response(mimetype=CRL_TYPE)
        answer.set_etag(head.sha256.hex()[:32])
        _cacheable(answer, head.this_update)
        if answer.status_code != 304:
            answer.set_data(revocation.find(session, label, kind).body)
    return answer


def _certificate(certificate: bytes, serial: str, since: datetime) -> Response:
    answer = Response(certificate, mimetype=CERTIFICATE_TYPE)
    answer.set_etag(serial)
    return _cacheable(answer, since)


def _cacheable(answer: Response, since: datetime) -> Response:
    answer.last_modified = since
    answer.cache_control.public = True
    answer.cache_control.max_age = LIST_AGE_S
    answer.make_conditional(request)
    return answer


def _ocsp(reply: Reply) -> Response:
    """An answer with what RFC 5019 §6.2 says to caches: good ones until they end, all others never."""
    answer = Response(reply.body, mimetype=OCSP_TYPE)
    if reply.since is None or reply.until is None:
        answer.cache_control.no_store = True
        return answer
    answer.set_etag(reply.etag())
    answer.last_modified, answer.expires = reply.since, reply.until
    answer.cache_control.public = True
    answer.cache_control.no_transform = True
    answer.cache_control.must_revalidate = True
    answer.cache_control.max_age = max(0, int((reply.until - now()).total_seconds()))
    if request.method == "GET":
        answer.make_conditional(request)
    return answer
